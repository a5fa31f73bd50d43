"""How many different values satisfy a formula, and which: what ``uniqueItems`` has to know.

Values are counted as they can be spelled: once for a number however many zeros follow it, once for
a string whatever its escapes. Of objects and arrays the number is only bounded from below.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from structgen.automaton.step import NO_LIMIT
from structgen.errors import UnsupportedSchemaError
from structgen.limits import Limits
from structgen.regular.charset import BYTES
from structgen.regular.dfa import DFA, intersect
from structgen.regular.ecma import compile_full
from structgen.schema.algebra import ARRAY, FALSE, NUMBER, OBJECT, STRING, TRUE, Formula
from structgen.schema.atoms import ObjectShape, UniqueItems
from structgen.schema.satisfy import Conjunct, Satisfiability, array_bounds

# A value of a finite set: the place of its type in a formula (0 null, 1 boolean) and the value.
Value = tuple[int, Any]

ENOUGH = 1 << 20  # as good as infinitely many, where nothing is known to need more
MOST_TRACKED = 32  # values that the automaton's states tell apart


class Plan(NamedTuple):
    """How the items of an array are kept different.

    ``values``: the values that item k may have, by position (the last list is that of all further
    items); the automaton's states remember which were used. None: the matcher compares them, and
    ``room`` is the least number of values that the items of one position have.
    """

    values: list[list[Value]] | None
    room: int = NO_LIMIT


class Distinct:
    """Counts and lists the values of formulas, each formula once."""

    def __init__(self, sat: Satisfiability, limits: Limits) -> None:
        self.sat, self.limits = sat, limits
        self._counts: dict[Formula, int] = {}
        self._short: dict[Conjunct, bool] = {}
        self._enforced: dict[Conjunct, bool] = {}

    # -- arrays ---------------------------------------------------------------------------------

    def is_short(self, conjunct: Conjunct) -> bool:
        """Are there certainly too few different items for the least length?"""
        found = self._short.get(conjunct)
        if found is None:
            found = self._short[conjunct] = self._is_short(conjunct)
        return found

    def _is_short(self, conjunct: Conjunct) -> bool:
        low, _, prefix = array_bounds(conjunct)
        formulas = [self.sat.item_formula(conjunct, k) for k in range(min(low, prefix + 1))]
        if any(f[ARRAY] or f[OBJECT] for f in formulas):
            return False
        counts = [self.count(f) for f in formulas]
        if all(n > min(k, low - 1) for k, n in enumerate(counts[:prefix])) and (
            low <= prefix or counts[prefix] >= low
        ):
            return False
        if max(counts) > self.limits.classes:
            return self._are_few_short(formulas, counts, low)
        sets = [self.values(f) for f in formulas]
        return not are_different(sets, 0, low, frozenset())

    def _are_few_short(self, formulas: Sequence[Formula], counts: list[int], low: int) -> bool:
        """:meth:`is_short` by the positions with few values alone; the others have enough."""
        few = [
            self.values(f)
            for f, n in zip(formulas[: len(counts)], counts, strict=True)
            if n <= self.limits.classes
        ]
        if len(formulas) < low and counts[-1] <= self.limits.classes:
            few += [self.values(formulas[-1])] * (low - len(formulas))
        return not are_different(few, 0, len(few), frozenset())

    def is_enforced(self, conjunct: Conjunct) -> bool:
        """Are there enough different items, and is there a way to keep them different?"""
        found = self._enforced.get(conjunct)
        if found is None:
            try:
                found = not self.is_short(conjunct) and bool(self.plan(conjunct))
            except UnsupportedSchemaError:
                found = False
            self._enforced[conjunct] = found
        return found

    def plan(self, conjunct: Conjunct) -> Plan:
        """How to keep the items of such an array different.

        Raises UnsupportedSchemaError where it is not certain that the array can be completed
        whatever its first items are.
        """
        low, high, prefix = array_bounds(conjunct)
        formulas = []
        for k in range(min(prefix + 1, high)):
            formulas.append(self.sat.item_formula(conjunct, k))
            if not self.sat.is_satisfiable(formulas[-1]):
                formulas.pop()
                break
        if len(formulas) < min(low, prefix + 1):
            return Plan(None)  # there is no such array
        counts = [self.count(f) for f in formulas]
        deep = any(f[ARRAY] or f[OBJECT] for f in formulas)
        if not deep and sum(counts) <= 2 * MOST_TRACKED:
            sets = [self.values(f) for f in formulas]
            if len({value for values in sets for value in values}) <= MOST_TRACKED:
                ends = len(sets) <= prefix  # no item beyond these
                return Plan([*sets, []] if ends or not sets else sets)
        for k in range(low):
            # Whatever the items before are, one value is left; so every prefix can be completed.
            if counts[min(k, len(counts) - 1)] <= k:
                pointer = next(a.pointer for a in conjunct if isinstance(a, UniqueItems))
                raise UnsupportedSchemaError(
                    f"uniqueItems of {low} items or more, of which one may have too few values "
                    "left, is not enforced",
                    keyword="uniqueItems",
                    pointer=pointer,
                )
            if k > prefix and counts[-1] >= low:
                break
        return Plan(None, min(counts, default=0))

    # -- values ---------------------------------------------------------------------------------

    def values(self, f: Formula) -> list[Value]:
        """All scalars that satisfy a formula, of which there are few."""
        found: list[Value] = [(0, None)] if f[0] else []
        found += [(1, b) for b in (False, True) if f[1] & (2 if b else 1)]
        for text in _texts(self._numbers(f[NUMBER])) if f[NUMBER] else ():
            found.append((NUMBER, Decimal(text)))
        if f[STRING] and not self.sat.scalars.is_empty(STRING, f[STRING]):
            found += [(STRING, text) for text in _texts(self._strings(f[STRING]))]
        return found

    def count(self, f: Formula) -> int:
        """How many values satisfy a formula, or a lower bound; NO_LIMIT: infinitely many."""
        found = self._counts.get(f)
        if found is None:
            self._counts[f] = 1  # of values nested in their own kind
            try:
                found = self._counts[f] = min(self._count(f), NO_LIMIT)
            except Exception:
                del self._counts[f]
                raise
        return found

    def _count(self, f: Formula) -> int:
        if TRUE in f[2:]:
            return NO_LIMIT
        total = f[0] + f[1].bit_count()
        if f[NUMBER]:
            total += _size(self._numbers(f[NUMBER]))
        if f[STRING] and not self.sat.scalars.is_empty(STRING, f[STRING]):
            total += self._count_strings(f[STRING])
        for slot in (ARRAY, OBJECT):
            if f[slot] != FALSE:
                total += self._count_nested(slot, f[slot])
        return total

    def _numbers(self, i: int) -> DFA:
        """The numbers that satisfy a type formula, each in one spelling."""
        return intersect(self.sat.scalars.language(NUMBER, i), _plain_numbers(), alphabet=BYTES)

    def _strings(self, i: int) -> DFA:
        return self.sat.scalars.language(STRING, i)

    def _count_strings(self, i: int) -> int:
        bounds = self.sat.scalars.lengths_only(i)
        if bounds is not None:
            return 1 if bounds.maximum == 0 else NO_LIMIT if bounds.maximum is None else ENOUGH
        counted = self.sat.scalars.counted_pattern(i)
        if counted is not None:
            dfa, minimum, limits = counted
            if _is_infinite(dfa) and int(limits.max()) == NO_LIMIT:
                return NO_LIMIT
            return _size(dfa, minimum, limits)
        return _size(self._strings(i))

    def _count_nested(self, slot: int, i: int) -> int:
        """A lower bound for arrays or objects: 1, or infinitely many where that is easily seen."""
        conjuncts = self.sat.conjuncts(slot, i)
        if conjuncts is None:
            return 1
        count = self._count_array if slot == ARRAY else self._count_object
        return max(
            (count(c) for c in conjuncts if self.sat.is_shape_satisfiable(slot, c)), default=0
        )

    def _count_array(self, conjunct: Conjunct) -> int:
        low, high, prefix = array_bounds(conjunct)
        rest = self.count(self.sat.item_formula(conjunct, prefix))
        if high == NO_LIMIT and rest > 0 and not any(isinstance(a, UniqueItems) for a in conjunct):
            return NO_LIMIT
        if low == 0 or high == 0:
            return max(1, min(high, 1) * self.count(self.sat.item_formula(conjunct, 0)))
        if low == 1 or not any(isinstance(a, UniqueItems) for a in conjunct):
            return self.count(self.sat.item_formula(conjunct, 0))
        return 1

    def _count_object(self, conjunct: Conjunct) -> int:
        shapes: list[ObjectShape] = list(conjunct)
        most = 1
        for name in dict.fromkeys(n for s in shapes for n in (*s.required, *s.properties)):
            required = any(name in s.required for s in shapes)
            here = self.count(self.sat.property_formula(conjunct, name)) + (not required)
            most = min(most * max(1, here), NO_LIMIT)
        if all(s.additional is None and s.names is None and not s.patterns for s in shapes):
            return NO_LIMIT  # any further name
        return most


def are_different(
    sets: Sequence[Sequence[Value]], first: int, low: int, used: frozenset[Value]
) -> bool:
    """Can positions ``first`` to ``low - 1`` get different values, none of them used?

    ``sets`` by position, the last one for all further positions. A maximum matching, by augmenting
    paths.
    """
    position: dict[Value, int] = {}
    last = len(sets) - 1

    def place(k: int, tried: set[Value]) -> bool:
        mine = [v for v in sets[min(k, last)] if v not in used and v not in tried]
        tried.update(mine)
        for value in mine:
            if value not in position:
                position[value] = k
                return True
        for value in mine:
            if place(position[value], tried):
                position[value] = k
                return True
        return False

    if first < low and len(sets[last]) + last < low:
        return False
    return all(place(k, set()) for k in range(first, low))


@cache
def _plain_numbers() -> DFA:
    """One spelling of every number: no exponent, no zeros at the end of a fraction, no -0."""
    return compile_full(r"0|-?[1-9][0-9]*|-?(0|[1-9][0-9]*)\.[0-9]*[1-9]")


def _is_infinite(dfa: DFA) -> bool:
    """Does a trimmed automaton accept infinitely many texts: has it a cycle?"""
    degree = np.bincount(dfa.target, minlength=dfa.n_states)
    ready = [0] if not degree[0] else []
    for s in ready:
        for t in dfa.target[dfa.offsets[s] : dfa.offsets[s + 1]].tolist():
            degree[t] -= 1
            if not degree[t]:
                ready.append(t)
    return len(ready) < dfa.n_states


def _size(dfa: DFA, minimum: int = 0, limits: np.ndarray | None = None) -> int:
    """How many texts an automaton accepts; about, where there are very many.

    ``limits`` are for each state the greatest length with which a text may be in it.
    """
    if limits is None and _is_infinite(dfa):
        return NO_LIMIT
    tails = np.repeat(np.arange(dfa.n_states), np.diff(dfa.offsets))
    width = (dfa.hi - dfa.lo + 1).astype(np.float64)
    here = np.zeros(dfa.n_states)
    here[0] = 1.0
    total, length = 0.0, 0
    while here.any() and total < ENOUGH:
        if length >= minimum:
            total += float(here[dfa.final >= 0].sum())
        following = np.zeros_like(here)
        np.add.at(following, dfa.target, np.minimum(here[tails] * width, float(NO_LIMIT)))
        length += 1
        if limits is not None:
            following[limits < length] = 0.0
        here = following
    return min(int(total), NO_LIMIT)


def _texts(dfa: DFA) -> list[str]:
    """The texts that a finite automaton accepts, in order of their symbols."""
    found: list[str] = []
    stack: list[tuple[int, str]] = [(0, "")]
    while stack:
        state, text = stack.pop()
        if dfa.final[state] >= 0:
            found.append(text)
        for k in reversed(range(int(dfa.offsets[state]), int(dfa.offsets[state + 1]))):
            for symbol in range(int(dfa.hi[k]), int(dfa.lo[k]) - 1, -1):
                stack.append((int(dfa.target[k]), text + chr(symbol)))
    return found
