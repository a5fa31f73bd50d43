"""What several schemas can say of one value in the end, as far as it has been read.

A *judge* follows the atoms (shapes) of a few type formulas, the *goals*, along a value. Its
state says which atoms still hold (*alive*, a bit mask) and what they count. A *verdict* is the
bit mask of the goals that hold for a finished value. Which verdicts are achievable, from a state or
for a nested value judged by several formulas, is computed over sets of states, to a least fixed
point where values nest in values of the same kind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from itertools import product
from typing import Any, NamedTuple

from structgen import budget
from structgen.errors import LimitExceeded, UnsupportedSchemaError
from structgen.limits import Limits
from structgen.schema.algebra import (
    ANYTHING,
    ARRAY,
    NUMBER,
    OBJECT,
    STRING,
    TRUE,
    Formula,
)
from structgen.schema.atoms import ArrayShape, Contains, UniqueItems
from structgen.schema.distinct import ENOUGH, Value
from structgen.schema.keyspace import KeySpace
from structgen.schema.node import Unsupported
from structgen.schema.satisfy import Conjunct, Satisfiability, property_order

MOST_JUDGED = 12  # values of items that are told apart to judge ``uniqueItems``


class Requirement(NamedTuple):
    """The verdicts that may be returned: those that contain a clause, or those listed."""

    clauses: tuple[int, ...] | None = None
    masks: frozenset[int] = frozenset()

    def admits(self, verdict: int) -> bool:
        if self.clauses is None:
            return verdict in self.masks
        return any(c & verdict == c for c in self.clauses)


def minimal_masks(masks: Iterable[int]) -> list[int]:
    """Without masks that contain another one."""
    unique = list(dict.fromkeys(masks))
    return [m for m in unique if not any(o != m and o & m == o for o in unique)]


class Split(NamedTuple):
    """Formulas seen by values of one type: which hold anyway, and the type formulas that decide.

    ``members[k]`` is the mask of the formulas that type formula ``ids[k]`` decides.
    """

    known: int
    ids: tuple[int, ...]
    members: tuple[int, ...]

    def whole(self, verdict: int) -> int:
        """The mask of the formulas that hold, from the mask of the type formulas that do."""
        return self.known | sum(m for k, m in enumerate(self.members) if verdict >> k & 1)

    def part(self, whole: int) -> int | None:
        """The inverse of :meth:`whole`; None for a mask that no value of the type can have."""
        verdict = sum(1 << k for k, m in enumerate(self.members) if m & whole == m)
        return verdict if self.whole(verdict) == whole else None


def split(formulas: Sequence[Formula], slot: int) -> Split:
    known = 0
    groups: dict[int, int] = {}
    for k, f in enumerate(formulas):
        if f[slot] == TRUE:
            known |= 1 << k
        elif f[slot]:
            groups[f[slot]] = groups.get(f[slot], 0) | 1 << k
    return Split(known, tuple(groups), tuple(groups.values()))


class State(NamedTuple):
    """Atoms that still hold, and what is counted (properties, or items that match).

    ``used``: the values that items had, as a mask, where ``uniqueItems`` is judged.
    """

    alive: int
    counts: tuple[int, ...] = ()
    used: int = 0


class Nested(NamedTuple):
    """The formulas that judge a nested value, and for each atom the index of its own (-1: any).

    From index ``values`` on they are about single values that items of an array may have, of
    which at most one holds.
    """

    formulas: tuple[Formula, ...]
    own: tuple[int, ...]
    values: int = 0


class Judge:
    """What objects and arrays have in common.

    ``compares``: the matcher keeps the items of arrays different; see ``masks/unique.py``.
    """

    slot: int
    compares = False

    def __init__(
        self,
        sat: Satisfiability,
        ids: Sequence[int],
        limits: Limits,
        forms: Sequence[Sequence[Conjunct]] | None = None,
    ) -> None:
        """Judge by ``ids``; with ``forms``, by their equivalent alternatives of conjunctions."""
        self.sat, self.ids, self.limits = sat, tuple(ids), limits
        atoms: dict[Any, None] = {}
        for i in ids if forms is None else ():
            atoms.update(dict.fromkeys(sat.algebra.atoms(i)))
        for goal in forms or ():
            for conjunct in goal:
                atoms.update(dict.fromkeys(conjunct))
        self.atoms: tuple[Any, ...] = tuple(atoms)
        for atom in self.atoms:
            if isinstance(atom, Unsupported):
                raise atom.error()
        self._bits = {atom: 1 << k for k, atom in enumerate(self.atoms)}
        self._verdict_of: dict[int, int] = {}
        self._finals: dict[tuple[int, State], frozenset[int]] = {}
        self._epoch = -1
        self.goals: list[list[int]] | None = None
        if forms is not None:
            self.goals = [[self.mask(c) for c in goal] for goal in forms]

    def mask(self, atoms: Iterable[Any]) -> int:
        return sum(self._bits[atom] for atom in atoms)

    def nested(self, alive: int, formula_of: Callable[[Any], Formula]) -> Nested:
        """What judges a nested value, for the atoms that still hold."""
        distinct: dict[Formula, int] = {}
        own = [-1] * len(self.atoms)
        for k, atom in enumerate(self.atoms):
            if alive >> k & 1:
                formula = formula_of(atom)
                if formula != ANYTHING:
                    own[k] = distinct.setdefault(formula, len(distinct))
        return Nested(tuple(distinct), tuple(own))

    def verdict(self, true: int) -> int:
        """The goals that hold where these atoms do."""
        found = self._verdict_of.get(true)
        if found is None:
            found = self._verdict_of[true] = self._evaluate(true)
        return found

    def _evaluate(self, true: int) -> int:
        if self.goals is not None:
            return sum(
                1 << k for k, goal in enumerate(self.goals) if any(m & true == m for m in goal)
            )
        algebra = self.sat.algebra
        return sum(
            1 << k
            for k, i in enumerate(self.ids)
            if algebra.evaluate(i, lambda atom: bool(true & self._bits[atom]))
        )

    def check(self, states: Sized) -> None:
        budget.check("a value judged by many schemas at once")
        if len(states) > self.limits.judge_states:
            raise LimitExceeded(
                limit="judge_states",
                value=self.limits.judge_states,
                where="a value judged by many schemas at once",
            )


class ObjectJudge(Judge):
    """Follows the shapes of objects. ``State.counts`` is the number of properties, if it counts."""

    slot = OBJECT

    def __init__(
        self,
        sat: Satisfiability,
        ids: Sequence[int],
        limits: Limits,
        forms: Sequence[Sequence[Conjunct]] | None = None,
    ) -> None:
        super().__init__(sat, ids, limits, forms)
        self.order = property_order(self.atoms)
        self._nested: dict[tuple[int, str | None, int], Nested] = {}
        self.keys = KeySpace(sat, self.atoms, self.order, limits)
        position = {name: i for i, name in enumerate(self.order)}
        self.requiring = [0] * len(self.order)
        self.cap = 0
        self.counting = 0
        for k, shape in enumerate(self.atoms):
            for name in shape.required:
                self.requiring[position[name]] |= 1 << k
            top = 0 if shape.maximum is None else shape.maximum + 1
            self.cap = max(self.cap, shape.minimum, top)
            if shape.minimum or top:
                self.counting |= 1 << k
        if self.cap > self.limits.classes:
            raise LimitExceeded(
                limit="classes", value=self.limits.classes, where="the number of properties"
            )

    def start(self) -> State:
        return State((1 << len(self.atoms)) - 1, (0,) if self.cap else ())

    def skip(self, state: State, j: int) -> State:
        """Property ``j`` does not come."""
        return self._state(state.alive & ~self.requiring[j], state.counts)

    def _state(self, alive: int, counts: tuple[int, ...]) -> State:
        """A state; what no atom that still holds counts is not counted."""
        return State(alive, counts if alive & self.counting else counts and (0,))

    def property(self, state: State, name: str | None, kind: int) -> Nested:
        key = (state.alive, name, kind)
        found = self._nested.get(key)
        if found is None:
            found = self._nested[key] = self.nested(
                state.alive, lambda shape: self.keys.formula(shape, name, kind)
            )
        return found

    def after(self, state: State, nested: Nested, verdict: int) -> State:
        """The state after a property whose value has this verdict."""
        alive, counts = state.alive, state.counts
        for k, own in enumerate(nested.own):
            if own >= 0 and not verdict >> own & 1:
                alive &= ~(1 << k)
        if counts:
            n = min(counts[0] + 1, self.cap)
            counts = (n,)
            for k, shape in enumerate(self.atoms):
                if shape.maximum is not None and n > shape.maximum:
                    alive &= ~(1 << k)
        return self._state(alive, counts)

    def end(self, state: State, passed: int) -> int:
        """The atoms that hold if the object ends; ``passed``: mask of properties that are over."""
        alive = state.alive
        for j, requiring in enumerate(self.requiring):
            if not passed >> j & 1:
                alive &= ~requiring
        for k, shape in enumerate(self.atoms):
            if shape.minimum and (not state.counts or state.counts[0] < shape.minimum):
                alive &= ~(1 << k)
        return alive

    def finals(self, vectors: Vectors, passed: int, state: State) -> frozenset[int]:
        """The achievable verdicts where the properties of the mask ``passed`` are over.

        What properties say of an object does not depend on their order, so neither does this.
        """
        if self._epoch != vectors.epoch:
            self._finals, self._epoch = {}, vectors.epoch
        known = self._finals
        everything = (1 << len(self.order)) - 1
        stack = [(passed, state)]
        opened: dict[tuple[int, State], list[tuple[int, State]]] = {}
        while stack:
            key = at, here = stack[-1]
            if key in known:
                stack.pop()
                continue
            if not here.alive:
                known[key] = frozenset((self.verdict(0),))
                continue
            if at == everything:
                known[key] = self._undeclared(vectors, here)
                continue
            keys = opened.pop(key, None)
            if keys is None:
                rest = ~at & everything
                j = (rest & -rest).bit_length() - 1  # the first that is not over
                nested = self.property(here, self.order[j], 0)
                following = {self.skip(here, j)}
                following.update(self.after(here, nested, v) for v in vectors.of(nested.formulas))
                opened[key] = [(at | 1 << j, s) for s in following]
                stack.extend(k for k in opened[key] if k not in known)
                self.check(opened)
                continue
            known[key] = frozenset().union(*(known[k] for k in keys))
            self.check(known)
        return known[passed, state]

    def _undeclared(self, vectors: Vectors, state: State) -> frozenset[int]:
        """The achievable verdicts where only undeclared properties may still come."""
        states, queue = {state}, [state]
        for s in queue:
            for kind in self.keys.possible_kinds():
                nested = self.property(s, None, kind)
                for v in vectors.of(nested.formulas):
                    t = self.after(s, nested, v)
                    if t not in states:
                        states.add(t)
                        queue.append(t)
            self.check(queue)
        everything = (1 << len(self.order)) - 1
        return frozenset(self.verdict(self.end(s, everything)) for s in states)


class ArrayJudge(Judge):
    """Follows the shapes of arrays. ``State.counts`` are the matches of each ``contains``."""

    slot = ARRAY

    def __init__(
        self,
        sat: Satisfiability,
        ids: Sequence[int],
        limits: Limits,
        forms: Sequence[Sequence[Conjunct]] | None = None,
    ) -> None:
        super().__init__(sat, ids, limits, forms)
        self.contains = [k for k, atom in enumerate(self.atoms) if isinstance(atom, Contains)]
        self.unique = self.mask(a for a in self.atoms if isinstance(a, UniqueItems))
        # The values that items are told apart by; none where the matcher compares them.
        self.values: list[Formula] = []
        self._influences: dict[int, tuple[bool, bool]] = {}
        if self.unique:
            self.values = self._tracked()
        self.compares = bool(self.unique) and not self.values
        # From this many items on, all positions are alike.
        self.last = 0
        for shape in self.atoms:
            if isinstance(shape, ArrayShape):
                top = 0 if shape.maximum is None else shape.maximum + 1
                self.last = max(self.last, len(shape.prefix), shape.minimum, top)
        if self.last > limits.classes:
            raise LimitExceeded(
                limit="classes",
                value=limits.classes,
                where=f"alternatives with arrays of up to {self.last:,} items",
            )

    @property
    def room(self) -> int:
        """The least number of values that items judged alike must have where they differ.

        Past ``last`` items no more are needed, but for those that ``contains`` counts.
        """
        return ENOUGH if self.contains else max(1, self.last)

    def _tracked(self) -> list[Formula]:
        """The values of items, where all shapes but a few leave few; empty where they do not."""
        distinct, sat = self.sat.distinct, self.sat
        found: dict[Value, None] = {}
        for shape in self.atoms:
            if not isinstance(shape, ArrayShape):
                continue
            for k in range(len(shape.prefix) + 1):
                f = sat.shape_item(shape, k)
                if not (f[ARRAY] or f[OBJECT]) and distinct.count(f) <= MOST_JUDGED:
                    found.update(dict.fromkeys(distinct.values(f)))
                if len(found) > MOST_JUDGED:
                    return []
        return [sat.reader.value_formula(slot, value) for slot, value in found]

    def start(self) -> State:
        return State((1 << len(self.atoms)) - 1, (0,) * len(self.contains))

    def item(self, state: State, k: int) -> tuple[State, Nested]:
        """Item ``k`` comes: what is left of the state, and what judges the item."""
        alive = state.alive
        for i, shape in enumerate(self.atoms):
            top = shape.maximum if isinstance(shape, ArrayShape) else None
            if top is not None and top < k + 1:
                alive &= ~(1 << i)
        sat = self.sat

        def formula(atom: Any) -> Formula:
            if isinstance(atom, Contains):
                return sat.node_formula(atom.item)
            return ANYTHING if isinstance(atom, UniqueItems) else sat.shape_item(atom, k)

        nested = self.nested(alive, formula)
        if self.values and self.matters(alive):
            formulas = (*nested.formulas, *self.values)
            nested = Nested(formulas, nested.own, len(nested.formulas))
            return State(alive, state.counts, state.used), nested
        return State(alive, state.counts), nested

    def matters(self, alive: int) -> bool:
        """Where these atoms may hold in the end, does ``uniqueItems`` decide anything?"""
        return self._influence(alive)[0]

    def _influence(self, alive: int) -> tuple[bool, bool]:
        """Does ``uniqueItems`` decide a goal, and only by being required for it?"""
        if not alive & self.unique:
            return False, True
        found = self._influences.get(alive)
        if found is None:
            rest = [1 << k for k in range(len(self.atoms)) if (alive & ~self.unique) >> k & 1]
            decided = without = 0
            if len(rest) > 10:
                raise self.unsupported()
            for chosen in product((0, 1), repeat=len(rest)):
                others = sum(bit for bit, c in zip(rest, chosen, strict=True) if c)
                repeats = self.verdict(others)
                decided |= repeats ^ self.verdict(others | alive & self.unique)
                without |= repeats
            found = self._influences[alive] = (decided != 0, not decided & without)
        return found

    def unsupported(self) -> UnsupportedSchemaError:
        """``uniqueItems`` is judged in a way that is not enforced."""
        pointer = next(a.pointer for a in self.atoms if isinstance(a, UniqueItems))
        message = "uniqueItems under not, oneOf or anyOf, or with contains, is not enforced here"
        return UnsupportedSchemaError(message, keyword="uniqueItems", pointer=pointer)

    def after(self, state: State, nested: Nested, verdict: int) -> State:
        alive, counts, used = state.alive, list(state.counts), state.used
        for k, own in enumerate(nested.own):
            if not alive >> k & 1:
                continue
            holds = own < 0 or verdict >> own & 1
            atom = self.atoms[k]
            if not isinstance(atom, Contains):
                if not holds:
                    alive &= ~(1 << k)
            elif holds:
                at = self.contains.index(k)
                top = atom.minimum if atom.maximum is None else atom.maximum + 1
                counts[at] = min(counts[at] + 1, max(top, atom.minimum))
                if atom.maximum is not None and counts[at] > atom.maximum:
                    alive &= ~(1 << k)
        if self.values and len(nested.formulas) > nested.values:
            value = verdict >> nested.values
            other = 1 << len(self.values)
            if value & used:
                alive &= ~self.unique
            elif not value and used & other:
                used |= other << 1  # two values that are not told apart
            used |= value or other
        return State(alive, tuple(counts), used if self.matters(alive) else 0)

    def end(self, state: State, k: int) -> int:
        """The atoms that hold if the array ends after ``k`` items."""
        alive = state.alive
        for i, atom in enumerate(self.atoms):
            if isinstance(atom, Contains):
                if state.counts[self.contains.index(i)] < atom.minimum:
                    alive &= ~(1 << i)
            elif isinstance(atom, ArrayShape) and atom.minimum > k:
                alive &= ~(1 << i)
        return alive

    def finals(self, vectors: Vectors, i: int, state: State) -> frozenset[int]:
        """The achievable verdicts after ``i`` items."""
        found: set[int] = set()
        seen = {(min(i, self.last), state)}
        queue = list(seen)
        for k, s in queue:
            found.add(self.verdict(self.end(s, k)))
            rest, nested = self.item(s, k)
            for v in vectors.of(nested.formulas):
                t = (min(k + 1, self.last), self.after(rest, nested, v))
                if t not in seen:
                    seen.add(t)
                    queue.append(t)
                if self.unique and self.matters(t[1].alive):
                    self._check_unique(k, rest, nested, v, t[1])
            self.check(queue)
        return frozenset(found)

    def _check_unique(
        self, k: int, state: State, nested: Nested, verdict: int, following: State
    ) -> None:
        """Raise where the verdict on an array would need more than is known of its items."""
        if self.values:
            if following.used >> len(self.values) + 1:
                raise self.unsupported()
            return
        if not self._influence(following.alive)[1]:
            raise self.unsupported()  # an array that repeats an item may satisfy a goal
        # Enough different items can come, or what must come can come once.
        for j, atom in enumerate(self.atoms):
            own = nested.own[j]
            if isinstance(atom, Contains) and own >= 0 and verdict >> own & 1:
                if atom.minimum > 1 or atom.maximum is not None:
                    raise self.unsupported()
                return
        algebra = self.sat.algebra
        item = algebra.conjunction(
            f if verdict >> j & 1 else algebra.complement(f) for j, f in enumerate(nested.formulas)
        )
        if self.sat.distinct.count(item) < self.room:
            raise self.unsupported()


class Vectors:
    """Which sets of formulas can hold at once for one value."""

    def __init__(self, sat: Satisfiability, limits: Limits) -> None:
        self.sat, self.limits = sat, limits
        self._known: dict[tuple[int, tuple[int, ...]], frozenset[int]] = {}
        self._settled: set[tuple[int, tuple[int, ...]]] = set()
        self._visited: set[tuple[int, tuple[int, ...]]] | None = None
        self._changed = self._unfinished = False
        # Changes where what judges have computed before may not hold any more.
        self.epoch = 0
        self._judges: dict[tuple[int, tuple[int, ...]], ObjectJudge | ArrayJudge] = {}
        self._of: dict[tuple[Formula, ...], frozenset[int]] = {}

    def of(self, formulas: tuple[Formula, ...]) -> frozenset[int]:
        """The masks of ``formulas`` that some value satisfies exactly."""
        found = self._of.get(formulas)
        if found is None:
            found = self._of[formulas] = frozenset(self._masks(formulas))
        return found

    def _masks(self, formulas: tuple[Formula, ...]) -> Iterator[int]:
        for part, bit in ((0, 1), (1, 1), (1, 2)):
            yield sum(1 << k for k, f in enumerate(formulas) if f[part] & bit)
        for slot in (NUMBER, STRING, ARRAY, OBJECT):
            known, ids, _ = parts = split(formulas, slot)
            if not ids:
                yield known
            elif slot in (NUMBER, STRING):
                yield from map(parts.whole, self.sat.scalars.verdicts(slot, ids))
            else:
                yield from map(parts.whole, self.nested(slot, ids))

    def judge(self, slot: int, ids: tuple[int, ...]) -> ObjectJudge | ArrayJudge:
        found = self._judges.get((slot, ids))
        if found is None:
            kind = ArrayJudge if slot == ARRAY else ObjectJudge
            found = self._judges[slot, ids] = kind(self.sat, ids, self.limits)
        return found

    def nested(self, slot: int, ids: tuple[int, ...]) -> frozenset[int]:
        """The achievable verdicts of an object or array over these goals."""
        key = (slot, ids)
        if key in self._settled:
            return self._known[key]
        if self._visited is not None:
            return self._evaluate(key)
        # Values may nest in values of the same kind: repeat until nothing is added.
        while True:
            self._visited, self._changed, self._unfinished = set(), False, False
            self.epoch += 1
            self._of.clear()
            try:
                found = self._evaluate(key)
                visited = self._visited
            except Exception:
                self._of.clear()  # of an iteration that was not finished
                self.epoch += 1
                raise
            finally:
                self._visited = None
            if not (self._changed and self._unfinished):
                self._settled |= visited
                return found

    def _evaluate(self, key: tuple[int, tuple[int, ...]]) -> frozenset[int]:
        assert self._visited is not None
        if key in self._settled:
            return self._known[key]
        if key in self._visited:
            self._unfinished = True
            return self._known.get(key, frozenset())
        self._visited.add(key)
        judge = self.judge(*key)
        try:
            found = judge.finals(self, 0, judge.start())
        except RecursionError:
            raise LimitExceeded(
                limit="nesting", value=self.limits.nesting, where="schemas judged at once"
            ) from None
        if found != self._known.get(key):
            self._known[key] = found
            self._changed = True
        return found
