"""Strings and numbers: regular languages, so every Boolean combination of them is one automaton."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any

import numpy as np

from structgen import budget
from structgen.automaton.placing import place_bytes
from structgen.automaton.step import NO_LIMIT
from structgen.automaton.tables import NO_EDGE, Automaton, move
from structgen.errors import GrammarSyntaxError, LimitExceeded, SchemaError
from structgen.limits import Limits
from structgen.regular import numbers
from structgen.regular.charset import Ranges, normalize
from structgen.regular.counting import Counted, compile_counted
from structgen.regular.dfa import DFA, any_string, combine, intersect, length, lengths, union
from structgen.regular.ecma import compile_full, compile_pattern
from structgen.regular.formats import compile_format, format_bound
from structgen.schema.algebra import NUMBER, STRING, TRUE, Algebra
from structgen.schema.atoms import (
    MultipleOf,
    NumberIn,
    NumberRange,
    StringFormat,
    StringIn,
    StringLength,
    StringPattern,
)
from structgen.schema.circuit import Circuit
from structgen.schema.frames import Entry, byte_entries
from structgen.schema.intervals import ENDLESS, join_ranges, length_set
from structgen.schema.keys import SCALARS, key_block
from structgen.schema.library import Library
from structgen.schema.node import Reader, Unsupported

_pattern = lru_cache(maxsize=4096)(compile_pattern)
_whole = lru_cache(maxsize=1024)(compile_full)


class Scalars:
    """Automata and frames of strings and numbers."""

    def __init__(
        self,
        automaton: Automaton,
        library: Library,
        algebra: Algebra,
        limits: Limits,
        reader: Reader,
    ) -> None:
        self.automaton, self.library = automaton, library
        self.algebra, self.limits, self.reader = algebra, limits, reader
        self._dfas: dict[tuple[int, int], DFA] = {}
        self._counted: dict[int, tuple[DFA, int, np.ndarray] | None] = {}
        self._entries: dict[tuple[int, int], list[Entry]] = {}
        self._verdicts: dict[tuple[int, tuple[int, ...], bool], tuple[DFA, list[int]]] = {}
        self._masks: dict[tuple[int, tuple[int, ...]], list[int]] = {}
        self._length_sets: dict[int, Ranges | None] = {}

    # -- languages ------------------------------------------------------------------------------

    def is_empty(self, slot: int, i: int) -> bool:
        """Does no string (or number) satisfy type formula ``i``?"""
        if i <= TRUE:
            return i != TRUE
        term = self.algebra.terms[i]
        if isinstance(term.atom, StringLength):
            return term.atom.maximum is not None and term.atom.maximum < term.atom.minimum
        if isinstance(term.atom, StringIn | NumberIn | MultipleOf):
            return False
        lengths = self.lengths_only(i) if slot == STRING else None
        if lengths is not None:
            return lengths.maximum is not None and lengths.maximum < lengths.minimum
        if slot == STRING:
            spans = length_set(self.algebra, i, self._length_sets)
            if spans is not None or self.counted_pattern(i) is not None:
                return spans == ()
        return self.language(slot, i).is_empty

    def language(self, slot: int, i: int) -> DFA:
        """The strings (code points) or number literals (bytes) that satisfy type formula ``i``."""
        found = self._dfas.get((slot, i))
        if found is None:
            found = self._dfas[slot, i] = self._language(slot, i)
        return found

    def _language(self, slot: int, i: int) -> DFA:
        if i == TRUE:
            return any_string() if slot == STRING else numbers.number()
        term = self.algebra.terms[i]
        if term.kind == "atom":
            return self._atom(term.atom)
        if slot == STRING:
            spans = length_set(self.algebra, i, self._length_sets)
            if spans is not None:
                return self._lengths(spans)
        if not self.algebra.has_negation(i):
            return self._joined(slot, i)
        circuit = Circuit.of(self.algebra, (i,))
        return self._judge_atoms(slot, circuit, lambda holds: holds - 1, exact=True)

    def _joined(self, slot: int, i: int) -> DFA:
        """A formula of conjunctions and disjunctions, put together from the automata of its parts.

        An automaton of everything at once would tell apart, in each of its states, the states of
        all atoms; here what is joined is minimal before it is joined again.
        """
        terms = self.algebra.terms
        # Of each part its automaton, or an atom that says the same.
        value: dict[int, Any] = {}
        stack = [i]
        while stack:
            term = terms[stack[-1]]
            waiting = [p for p in term.parts if p not in value and terms[p].kind != "atom"]
            if waiting:
                stack.extend(waiting)
                continue
            j = stack.pop()
            if j in value:
                continue
            budget.check("a combination of strings or numbers")
            parts = [terms[p].atom if terms[p].kind == "atom" else value[p] for p in term.parts]
            atoms = [p for p in parts if not isinstance(p, DFA)]
            rest = [p for p in parts if isinstance(p, DFA)]
            if term.kind == "or":
                value[j] = self._any_of(slot, atoms, rest)
            elif all(isinstance(p, NumberRange) for p in parts):
                value[j] = _merge_ranges(parts)
            elif all(isinstance(p, StringLength) for p in parts):
                value[j] = _merge_lengths(parts)
            elif rest:
                operands = [self._all_atoms(slot, atoms), *rest] if atoms else rest
                value[j] = combine(operands, _all_accept, max_states=self.limits.pattern_states)
            else:
                value[j] = self._all_atoms(slot, atoms)
        return value[i] if isinstance(value[i], DFA) else self._atom(value[i])

    def _any_of(self, slot: int, atoms: Sequence[Any], others: Sequence[DFA]) -> Any:
        """A disjunction of atoms and automata, like atoms merged first: an automaton or an atom."""
        kinds = (StringLength, NumberRange, StringIn, NumberIn)
        parts = [self._atom(a) for a in atoms if not isinstance(a, kinds)]
        bounds = [a for a in atoms if isinstance(a, StringLength)]
        if bounds:
            spans = ((a.minimum, ENDLESS if a.maximum is None else a.maximum) for a in bounds)
            parts.append(self._lengths(normalize(spans)))
        ranges = join_ranges(a for a in atoms if isinstance(a, NumberRange))
        if len(ranges) == 1 and not others and all(isinstance(a, NumberRange) for a in atoms):
            return ranges[0]
        parts += map(self._atom, ranges)
        texts = [s for a in atoms if isinstance(a, StringIn) for s in a.values]
        values = [v for a in atoms if isinstance(a, NumberIn) for v in a.values]
        if texts:
            parts.append(_literal_strings(list(dict.fromkeys(texts))))
        if values:
            parts.append(self._values(values, ""))
        return union(*parts, *others, max_states=self.limits.pattern_states)

    def _lengths(self, spans: Ranges) -> DFA:
        """The strings of these lengths."""
        limit = self.limits.pattern_states
        largest = max((lo if hi == ENDLESS else hi for lo, hi in spans), default=0)
        if largest > limit:
            where = f"a length of {largest:,} combined with others"
            raise LimitExceeded(limit="pattern_states", value=limit, where=where)
        return lengths([(lo, None if hi == ENDLESS else hi) for lo, hi in spans])

    def _judge_atoms(
        self,
        slot: int,
        circuit: Circuit,
        judge: Callable[[int], int],
        *,
        exact: bool,
    ) -> DFA:
        """The final class that ``judge`` gives, told which of the circuit's outputs hold.

        With ``exact``, texts for which that is not certain are refused: numbers with an exponent,
        and strings that a format's automaton refuses though they may be valid.
        """
        base = any_string() if slot == STRING else numbers.number(exponent=not exact)
        atoms = circuit.atoms
        bounds: dict[Any, DFA] = {}
        for atom in atoms if exact else ():
            if isinstance(atom, StringFormat) and atom.name not in self.reader.options.formats:
                bound = format_bound(atom.name)
                if bound is not None:
                    bounds[atom] = bound
        order = range(len(atoms))
        index = {atom: k for k, atom in enumerate(atoms)}
        doubtful = [(index[atom], len(atoms) + k) for k, atom in enumerate(bounds)]

        def decide(classes: tuple[int, ...]) -> int:
            if classes[-1] < 0 or any(classes[k] < 0 <= classes[b] for k, b in doubtful):
                return -1
            return judge(circuit.evaluate(sum(1 << k for k in order if classes[k] >= 0)))

        operands = [*map(self._atom, atoms), *bounds.values(), base]
        return combine(operands, decide, max_states=self.limits.pattern_states)

    def _all_atoms(self, slot: int, atoms: Sequence[Any]) -> DFA:
        """The automaton of a conjunction of atoms, cheap ones merged first."""
        if slot == NUMBER:
            return self._all_numbers(atoms)
        finite = [a for a in atoms if isinstance(a, StringIn)]
        others = [a for a in atoms if not isinstance(a, StringIn)]
        bound = _merge_lengths([a for a in others if isinstance(a, StringLength)])
        rest = [self._atom(a) for a in others if not isinstance(a, StringLength)]
        if finite:
            texts = [
                s
                for s in finite[0].values
                if all(s in a.values for a in finite[1:])
                and bound.minimum <= len(s)
                and (bound.maximum is None or len(s) <= bound.maximum)
                and all(d.accepts(s) >= 0 for d in rest)
            ]
            return _literal_strings(texts)
        if bound != StringLength():
            rest.append(self._atom(bound))
        if len(rest) == 1:
            return rest[0]
        return combine(rest, _all_accept, max_states=self.limits.pattern_states)

    def _all_numbers(self, atoms: Sequence[Any]) -> DFA:
        bound = _merge_ranges([a for a in atoms if isinstance(a, NumberRange)])
        finite = [a for a in atoms if isinstance(a, NumberIn)]
        steps = [a.divisor for a in atoms if isinstance(a, MultipleOf)]
        if finite:
            values = [
                v
                for v in finite[0].values
                if all(v in a.values for a in finite[1:])
                and _within(v, bound)
                and all(numbers.is_multiple(v, d) for d in steps)
            ]
            return self._values(values, bound.integral)
        parts = [] if bound == NumberRange() and steps else [self._atom(bound)]
        parts += [numbers.multiple_of(d, max_states=self.limits.pattern_states) for d in steps]
        return parts[0] if len(parts) == 1 else intersect(*parts)

    def _values(self, values: Sequence[Decimal], integral: str) -> DFA:
        dfa = numbers.one_of(values) if values else _literal_strings([])
        if integral == "literal" and values:
            dfa = intersect(dfa, numbers.number(integer=True, integral_fraction=False))
        return dfa

    def _atom(self, atom: Any) -> DFA:
        limit = self.limits.pattern_states
        if isinstance(atom, Unsupported):
            raise atom.error()
        if isinstance(atom, StringPattern):
            return self.pattern(atom.pattern)
        if isinstance(atom, StringLength):
            largest = atom.minimum if atom.maximum is None else atom.maximum
            if largest > limit:
                raise LimitExceeded(
                    limit="pattern_states",
                    value=limit,
                    where=f"a length of {largest:,} combined with a pattern",
                )
            return length(atom.minimum, atom.maximum)
        if isinstance(atom, StringFormat):
            own = self.reader.options.formats.get(atom.name)
            dfa = compile_format(atom.name) if own is None else self._own_format(atom.name, own)
            return any_string() if dfa is None else dfa
        if isinstance(atom, StringIn):
            return _literal_strings(atom.values)
        if isinstance(atom, NumberIn):
            return self._values(atom.values, "")
        if isinstance(atom, MultipleOf):
            return numbers.multiple_of(atom.divisor, max_states=limit)
        return numbers.number(
            minimum=atom.minimum,
            maximum=atom.maximum,
            exclusive_minimum=atom.exclusive_minimum,
            exclusive_maximum=atom.exclusive_maximum,
            integer=bool(atom.integral),
            integral_fraction=atom.integral != "literal",
        )

    # -- frames ---------------------------------------------------------------------------------

    def entries(self, slot: int, i: int) -> list[Entry]:
        """How a value that satisfies type formula ``i`` may begin; its frame ends with class 0."""
        if i == TRUE:
            return self.library.string if slot == STRING else self.library.number
        found = self._entries.get((slot, i))
        if found is None:
            build = self._string_entries if slot == STRING else self._number_entries
            found = self._entries[slot, i] = build(i)
        return found

    def _number_entries(self, i: int) -> list[Entry]:
        if self.algebra.terms[i].atom == NumberRange(integral="value"):
            return self.library.integer
        return byte_entries(self.automaton, place_bytes(self.automaton, self.language(NUMBER, i)))

    def _string_entries(self, i: int) -> list[Entry]:
        a, lift = self.automaton, self.library.lift
        closing = move(self.library.end)
        lengths = self.lengths_only(i)
        if lengths is not None and lengths.maximum == 0:
            return self._place(key_block([("", closing, NO_LIMIT)], self.library))
        if lengths is not None:
            end = a.reserve_state(lo=lengths.minimum)
            a.set_final(end, 0)
            limit = NO_LIMIT if lengths.maximum is None else lengths.maximum
            limits = np.array([limit], np.int32)
            inside = lift(any_string(), [move(end)], limits=limits, count=1).place(a)
            a.counted[inside] = (lengths.minimum, limit)
            return [(b'"', inside)]
        counted = self.counted_pattern(i)
        if counted is not None:
            dfa, minimum, limits = counted
            end = a.reserve_state(lo=minimum)
            a.set_final(end, 0)
            quotes = [move(end) if c >= 0 else NO_EDGE for c in dfa.final.tolist()]
            return self._place(lift(dfa, quotes, limits=limits, count=1))
        atom = self.algebra.terms[i].atom
        if isinstance(atom, StringIn):
            return self._place(
                key_block([(s, closing, NO_LIMIT) for s in atom.values], self.library)
            )
        dfa = self.language(STRING, i)
        quotes = [closing if c >= 0 else NO_EDGE for c in dfa.final.tolist()]
        tail = _any_string_state(dfa)
        if tail == 0:
            return self.library.string
        known = None if tail is None else (tail, self.library.string_states)
        return self._place(lift(dfa, quotes, tail=known))

    def counted_pattern(self, i: int) -> tuple[DFA, int, np.ndarray] | None:
        """:meth:`_count_pattern`, once for a formula."""
        if i not in self._counted:
            self._counted[i] = self._count_pattern(i)
        return self._counted[i]

    def _count_pattern(self, i: int) -> tuple[DFA, int, np.ndarray] | None:
        """A conjunction of patterns and a length, where a counter can stand for the length.

        Returns the automaton of the patterns, the least length, and for each state the greatest
        number of code points with which a text can still be completed. None where this does not
        fit: the lengths of what is accepted leave gaps, or end below the least length.
        """
        term = self.algebra.terms[i]
        parts = term.parts if term.kind == "and" else (i,)
        atoms = [self.algebra.terms[p].atom for p in parts]
        bounds = [a for a in atoms if isinstance(a, StringLength)]
        rest = [a for a in atoms if not isinstance(a, StringLength)]
        if not rest or any(a is None or isinstance(a, StringIn) for a in rest):
            return None
        counts = {a: self.counts(a.pattern) for a in rest if isinstance(a, StringPattern)}
        bounds += [StringLength(c.minimum, c.maximum) for c in counts.values() if c is not None]
        bound = _merge_lengths(bounds)
        if bound.minimum <= 8 and (bound.maximum is None or bound.maximum <= 8):
            return None
        operands: list[DFA] = []
        for atom in rest:
            count = counts.get(atom)
            operands.append(self._atom(atom) if count is None else count.dfa)
        dfa = operands[0]
        if len(operands) > 1:
            dfa = combine(operands, _all_accept, max_states=self.limits.pattern_states)
        if dfa.is_empty:
            return None
        shortest, longest, widest_gap = accepted_lengths(dfa, bound.minimum, bound.maximum)
        depths = _depths(dfa)
        if (depths + longest < bound.minimum).any():
            return None
        if bound.maximum is None:
            return dfa, bound.minimum, np.full(dfa.n_states, NO_LIMIT, np.int32)
        limits = bound.maximum - shortest
        if limits[0] < 0 or widest_gap > bound.maximum - bound.minimum + 1:
            return None
        keep = limits >= depths
        if not keep.all():
            # States too far from any end: cut them off, so that no edge leads there.
            dfa, limits = _without(dfa, keep), limits[keep]
        return dfa, bound.minimum, limits.astype(np.int32)

    def _place(self, lifted: Any) -> list[Entry]:
        return [(b'"', lifted.place(self.automaton))]

    def lengths_only(self, i: int) -> StringLength | None:
        """The bounds of a formula that says nothing but that the length lies within them."""
        spans = length_set(self.algebra, i, self._length_sets)
        if spans is None or len(spans) > 1:
            return None
        if not spans:
            return StringLength(1, 0)
        low, high = spans[0]
        return StringLength(low, None if high == ENDLESS else high)

    def classified(
        self, slot: int, ids: Sequence[int], allowed: Callable[[int], bool], *, exact: bool
    ) -> tuple[list[Entry], list[int]]:
        """A frame that ends with a class for each set of the formulas ``ids`` that hold.

        Returns its entries, and for each final class the set as a bit mask. Sets that are not
        ``allowed`` are removed. With ``exact``, a formula that is not in a set is false (and not
        merely unproven, as of a number with an exponent).
        """
        dfa, every = self._verdict_automaton(slot, tuple(ids), exact)
        masks = [m for m in every if allowed(m)]
        if not masks:
            return [], masks
        index = {every.index(m): cls for cls, m in enumerate(masks)}
        if len(masks) < len(every) or any(k != v for k, v in index.items()):
            dfa = combine([dfa], lambda c: index.get(c[0], -1))
        a = self.automaton
        if slot == NUMBER:
            return byte_entries(a, place_bytes(a, dfa)), masks
        ends = []
        for cls in range(len(masks)):
            end = a.reserve_state()
            a.set_final(end, cls)
            ends.append(end)
        quotes = [move(ends[c]) if c >= 0 else NO_EDGE for c in dfa.final.tolist()]
        return self._place(self.library.lift(dfa, quotes)), masks

    def verdicts(self, slot: int, ids: tuple[int, ...]) -> list[int]:
        """The sets of formulas, as bit masks, that some string (or number) satisfies exactly."""
        found = self._masks.get((slot, ids))
        if found is None:
            circuit = Circuit.of(self.algebra, ids)
            if all(isinstance(a, StringIn | NumberIn) for a in circuit.atoms):
                found = _masks_of_values(circuit)
            else:
                found = self._verdict_automaton(slot, ids, True)[1]
            self._masks[slot, ids] = found
        return found

    def _verdict_automaton(
        self, slot: int, ids: tuple[int, ...], exact: bool
    ) -> tuple[DFA, list[int]]:
        """Final class k is the k-th of the returned sets of formulas that hold."""
        key = (slot, ids, exact)
        found = self._verdicts.get(key)
        if found is not None:
            return found
        masks: dict[int, int] = {}

        def judge(mask: int) -> int:
            return masks.setdefault(mask, len(masks))

        dfa = self._judge_atoms(slot, Circuit.of(self.algebra, ids), judge, exact=exact)
        # Sets that no text reaches were seen on the way and are dropped.
        used = sorted(set(dfa.final.tolist()) - {-1})
        every = list(masks)
        rename = {old: new for new, old in enumerate(used)}
        final = np.array([rename.get(c, -1) for c in dfa.final.tolist()], np.int32)
        renamed = DFA(dfa.offsets, dfa.lo, dfa.hi, dfa.target, final)
        found = self._verdicts[key] = (renamed, [every[c] for c in used])
        return found

    def _own_format(self, name: str, pattern: str) -> DFA:
        try:
            return _whole(pattern, max_states=self.limits.pattern_states)
        except GrammarSyntaxError as error:
            raise SchemaError(f"the pattern of format {name!r}: {error}") from None

    def counts(self, pattern: str) -> Counted | None:
        """The automaton of a pattern and the lengths it counts, where that can be told apart."""
        try:
            return compile_counted(pattern, max_states=self.limits.pattern_states)
        except GrammarSyntaxError as error:
            raise SchemaError(f"pattern: {error}") from None

    def pattern(self, pattern: str) -> DFA:
        """The automaton of a ``pattern``, an ECMA-262 search."""
        try:
            return _pattern(pattern, max_states=self.limits.pattern_states)
        except GrammarSyntaxError as error:
            raise SchemaError(f"pattern: {error}") from None


def _any_string_state(dfa: DFA) -> int | None:
    """A state from which every string is accepted (a minimal automaton has one at most)."""
    few = np.diff(dfa.offsets) == len(SCALARS)
    for s in np.flatnonzero((dfa.final >= 0) & few).tolist():
        k = slice(int(dfa.offsets[s]), int(dfa.offsets[s + 1]))
        own = zip(dfa.lo[k].tolist(), dfa.hi[k].tolist(), dfa.target[k].tolist(), strict=True)
        if list(own) == [(lo, hi, s) for lo, hi in SCALARS]:
            return s
    return None


def accepted_lengths(
    dfa: DFA, minimum: int, maximum: int | None
) -> tuple[np.ndarray, np.ndarray, int]:
    """The lengths of the texts accepted from each state, as far as the bounds can tell them apart.

    Returns the least and the greatest length for each state (int64 [n]; a greatest one that is at
    least ``minimum`` stands for itself or more), and the widest step between two lengths that
    follow each other, below ``maximum``.
    """
    n = dfa.n_states
    horizon = max(minimum, maximum or 0, n) + 1
    tails = np.repeat(np.arange(n), np.diff(dfa.offsets))
    now = dfa.final >= 0
    shortest = np.full(n, np.iinfo(np.int64).max // 2)
    longest = np.full(n, -1, np.int64)
    widest = 0
    seen: dict[bytes, int] = {}
    stop = horizon
    endless = np.zeros(n, bool)
    for n_points in range(horizon + 1):
        budget.check("the lengths that a pattern accepts")
        # Once a set of states comes back, everything repeats: one more round tells the steps.
        if stop == horizon:
            before = seen.setdefault(now.tobytes(), n_points)
            if before < n_points:
                stop = min(horizon, 2 * n_points - before)
        if stop < horizon:
            endless |= now
        if n_points > stop:
            longest[endless] = horizon
            break
        steps = (n_points - longest)[now & (longest >= 0)]
        if len(steps):
            widest = max(widest, int(steps.max()))
        shortest[now & (longest < 0)] = n_points
        longest[now] = n_points
        following = np.zeros(n, bool)
        np.logical_or.at(following, tails, now[dfa.target])
        if not following.any():
            break
        now = following
    return shortest, longest, widest


def _depths(dfa: DFA) -> np.ndarray:
    """The least number of symbols that lead from the start to each state, int64 [n]."""
    depths = np.full(dfa.n_states, -1, np.int64)
    depths[0] = 0
    level = [0]
    while level:
        below: list[int] = []
        for s in level:
            for t in dfa.target[dfa.offsets[s] : dfa.offsets[s + 1]].tolist():
                if depths[t] < 0:
                    depths[t] = depths[s] + 1
                    below.append(t)
        level = below
    return depths


def _without(dfa: DFA, keep: np.ndarray) -> DFA:
    """The automaton without the states that are not kept; the start is kept."""
    rename = np.cumsum(keep) - 1
    tails = np.repeat(np.arange(dfa.n_states), np.diff(dfa.offsets))
    edges = keep[tails] & keep[dfa.target]
    counts = np.bincount(rename[tails[edges]], minlength=int(keep.sum()))
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    target = rename[dfa.target[edges]].astype(np.int32)
    return DFA(offsets, dfa.lo[edges], dfa.hi[edges], target, dfa.final[keep])


def _masks_of_values(circuit: Circuit) -> list[int]:
    """The outputs that hold for each value that an atom lists, and for any other; each once."""
    holding: dict[Any, int] = {}
    for k, atom in enumerate(circuit.atoms):
        for value in atom.values:
            holding[value] = holding.get(value, 0) | 1 << k
    return list({circuit.evaluate(atoms): None for atoms in (*holding.values(), 0)})


def _all_accept(classes: tuple[int, ...]) -> int:
    return 0 if min(classes) >= 0 else -1


def _literal_strings(texts: Sequence[str]) -> DFA:
    from structgen.regular.dfa import empty, literals

    if not texts:
        return empty()
    dfa = literals(texts)
    return combine([dfa], _all_accept) if len(texts) > 1 else dfa


def _merge_lengths(bounds: Sequence[StringLength]) -> StringLength:
    tops = [b.maximum for b in bounds if b.maximum is not None]
    return StringLength(max((b.minimum for b in bounds), default=0), min(tops, default=None))


def _merge_ranges(bounds: Sequence[NumberRange]) -> NumberRange:
    low, low_open, high, high_open, integral = None, False, None, False, ""
    for b in bounds:
        if b.minimum is not None and (low is None or b.minimum >= low):
            low_open = b.exclusive_minimum or (low_open and b.minimum == low)
            low = b.minimum
        if b.maximum is not None and (high is None or b.maximum <= high):
            high_open = b.exclusive_maximum or (high_open and b.maximum == high)
            high = b.maximum
        if b.integral:
            integral = "literal" if "literal" in (b.integral, integral) else "value"
    return NumberRange(low, high, low_open, high_open, integral)


def _within(value: Decimal, bound: NumberRange) -> bool:
    if bound.integral and value != value.to_integral_value():
        return False
    if bound.minimum is not None and (
        value < bound.minimum or (bound.exclusive_minimum and value == bound.minimum)
    ):
        return False
    return bound.maximum is None or not (
        value > bound.maximum or (bound.exclusive_maximum and value == bound.maximum)
    )
