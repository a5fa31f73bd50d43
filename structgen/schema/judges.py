"""What several schemas can say of one value in the end, as far as it has been read.

A *judge* follows the atoms (shapes) of a few type formulas, the *goals*, along a value. Its
state says which atoms still hold (*alive*, a bit mask) and what they count. A *verdict* is the
bit mask of the goals that hold for a finished value. Whether a verdict can be reached from a state
is a search in depth; all that can be are found by following all states at once.
:mod:`structgen.schema.vectors` asks for those of nested values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

from structgen import budget
from structgen.errors import LimitExceeded, UnsupportedSchemaError
from structgen.limits import Limits
from structgen.schema.algebra import ANYTHING, ARRAY, OBJECT, Formula
from structgen.schema.atoms import ArrayShape, Contains, UniqueItems
from structgen.schema.circuit import Circuit
from structgen.schema.distinct import ENOUGH, Value
from structgen.schema.keyspace import KeySpace
from structgen.schema.node import Unsupported
from structgen.schema.satisfy import Conjunct, Satisfiability, property_order

if TYPE_CHECKING:
    from structgen.schema.vectors import Vectors

MOST_JUDGED = 12  # values of items that are told apart to judge ``uniqueItems``
MOST_DECIDING = 10  # atoms of which all combinations are looked at, for what it decides


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


class State(NamedTuple):
    """Atoms that still hold, and what is counted (properties, or items that match).

    ``used``: the values that items had, as a mask, where ``uniqueItems`` is judged.
    """

    alive: int
    counts: tuple[int, ...] = ()
    used: int = 0


class Nested(NamedTuple):
    """The formulas that judge a nested value, and for each of them the mask of its atoms.

    From index ``len(atoms)`` on they are about single values that items of an array may have, of
    which at most one holds.
    """

    formulas: tuple[Formula, ...]
    atoms: tuple[int, ...]

    def failed(self, verdict: int) -> int:
        """The atoms that do not hold any more where the nested value has this verdict."""
        lost = 0
        for k, mask in enumerate(self.atoms):
            if not verdict >> k & 1:
                lost |= mask
        return lost


class Judge:
    """What objects and arrays have in common.

    A *place* is a pair of where in the value it is (the declared properties that are over, the
    number of items) and a state. From each place some end can be reached; what follows on a place
    is another one, and no way leads back to it.
    """

    slot: int

    def __init__(
        self,
        sat: Satisfiability,
        ids: Sequence[int],
        limits: Limits,
        forms: Sequence[Sequence[Conjunct]] | None = None,
    ) -> None:
        """Judge by ``ids``; with ``forms``, by their equivalent alternatives of conjunctions."""
        self.sat, self.ids, self.limits = sat, tuple(ids), limits
        if forms is None:
            self.circuit = Circuit.of(sat.algebra, self.ids)
        else:
            self.circuit = Circuit(tuple(dict.fromkeys(a for f in forms for c in f for a in c)))
        self.atoms: tuple[Any, ...] = self.circuit.atoms
        for atom in self.atoms:
            if isinstance(atom, Unsupported):
                raise atom.error()
        self.mask = self.circuit.mask
        self.goals: list[list[int]] | None = None
        if forms is not None:
            self.goals = [[self.mask(c) for c in goal] for goal in forms]
            for goal in self.goals:
                self.circuit.add_alternatives(goal)
        self._verdict_of: dict[int, int] = {}
        self._bounds_of: dict[tuple[int, int], tuple[int, int, int]] = {}
        # By the verdicts asked for: the places from which one of them is known (not) to be reached.
        self._reached: dict[frozenset[int], dict[Any, bool]] = {}
        self._epoch = 0

    def nested(self, alive: int, formula_of: Callable[[Any], Formula]) -> Nested:
        """What judges a nested value, for the atoms that still hold."""
        distinct: dict[Formula, int] = {}
        while alive:
            bit = alive & -alive
            alive ^= bit
            formula = formula_of(self.atoms[bit.bit_length() - 1])
            if formula != ANYTHING:
                distinct[formula] = distinct.get(formula, 0) | bit
        return Nested(tuple(distinct), tuple(distinct.values()))

    def verdict(self, true: int) -> int:
        """The goals that hold where these atoms do."""
        found = self._verdict_of.get(true)
        if found is None:
            found = self._verdict_of[true] = self.circuit.evaluate(true)
        return found

    def _bounds(self, alive: int, certain: int = 0) -> tuple[int, int, int]:
        """The goals that hold in the end for certain, those that may, the atoms that matter."""
        certain &= alive
        found = self._bounds_of.get((alive, certain))
        if found is None:
            must, may, deciding = self.circuit.bounds(alive, certain)
            found = self._bounds_of[alive, certain] = must, may, deciding | certain
        return found

    def check(self, states: Sized) -> None:
        budget.check("a value judged by many schemas at once")
        if len(states) > self.limits.judge_states:
            raise LimitExceeded(
                limit="judge_states",
                value=self.limits.judge_states,
                where="a value judged by many schemas at once",
            )

    # -- what can be reached --------------------------------------------------------------------

    def finals(self, vectors: Vectors) -> frozenset[int]:
        """The achievable verdicts."""
        if len(self.ids) > 1 or not self.may_stop(vectors):
            return self.all_finals(vectors)
        # Whether the one goal can hold, and whether it can fail: two ways are enough.
        start = self.start()
        return frozenset(v for v in (0, 1) if self.reaches(vectors, 0, start, frozenset((v,))))

    def reaches(self, vectors: Vectors, at: int, state: State, verdicts: frozenset[int]) -> bool:
        """Can one of these verdicts be reached?

        A search in depth that stops at the first way; what it has learned of places is kept.
        """
        root = self.place(at, state)
        while True:
            if self._epoch != vectors.epoch:
                self._refresh(vectors.epoch)
            known = self._reached.setdefault(verdicts, {})
            found = self._search(vectors, root, verdicts, known)
            # Asking for nested values may have thrown away what this came from.
            if self._epoch == vectors.epoch:
                return found

    def _search(
        self, vectors: Vectors, root: Any, verdicts: frozenset[int], known: dict[Any, bool]
    ) -> bool:
        found = known.get(root)
        if found is None:
            found = self._is_decided(root, verdicts)
        if found is not None:
            return found
        path: list[tuple[Any, Iterator[Any]]] = [(root, iter(self.following(vectors, root)))]
        while path:
            self.check(known)
            place, following = path[-1]
            for t in following:
                if t == place:
                    continue
                found = known.get(t)
                if found is None:
                    found = self._is_decided(t, verdicts)
                if found is None:
                    path.append((t, iter(self.following(vectors, t))))
                    break
                if found:
                    known.update((before, True) for before, _ in path)
                    return True
            else:
                known[place] = False
                path.pop()
        return False

    def _is_decided(self, place: Any, verdicts: frozenset[int]) -> bool | None:
        """Whether one of the verdicts is reached, where what still holds says so already."""
        alive, certain, end = self.ends(place)
        if end >= 0 and self.verdict(end) in verdicts:
            return True
        must, may, _ = self._bounds(alive, certain)
        if must == may:
            return must in verdicts
        if any(v & must == must and v & may == v for v in verdicts):
            return None
        return False

    def _refresh(self, epoch: int) -> None:
        """Nested values may have more verdicts now: what was reached can still be reached."""
        self._epoch = epoch
        for known in self._reached.values():
            for place in [p for p, found in known.items() if not found]:
                del known[place]

    def start(self) -> State:
        raise AssertionError("defined by the kinds of judges")

    def may_stop(self, vectors: Vectors) -> bool:
        """Is it enough to look until all verdicts were found?"""
        return True

    def all_finals(self, vectors: Vectors) -> frozenset[int]:
        """The achievable verdicts, by way of all states."""
        raise AssertionError("defined by the kinds of judges")

    def place(self, at: int, state: State) -> Any:
        raise AssertionError("defined by the kinds of judges")

    def following(self, vectors: Vectors, place: Any) -> Iterable[Any]:
        """The places that can come next; those where fewer atoms hold first."""
        raise AssertionError("defined by the kinds of judges")

    def ends(self, place: Any) -> tuple[int, int, int]:
        """The atoms that still hold, and of them those that do whatever comes.

        The third are those that hold if the value ends here (-1: it does not).
        """
        raise AssertionError("defined by the kinds of judges")


class ObjectJudge(Judge):
    """Follows the shapes of objects. ``State.counts`` is the number of properties, if it counts.

    Inside, a state is one integer, the *code*: the mask of the atoms that hold, and the number
    behind. What properties say of an object does not depend on their order; they are looked at as
    declared, undeclared ones in the end.
    """

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
        self.keys = KeySpace(sat, self.atoms, self.order, limits)
        self._everything = (1 << len(self.order)) - 1
        position = {name: i for i, name in enumerate(self.order)}
        self.requiring = [0] * len(self.order)
        self.cap = 0
        self._counting = 0
        for k, shape in enumerate(self.atoms):
            for name in shape.required:
                self.requiring[position[name]] |= 1 << k
            top = 0 if shape.maximum is None else shape.maximum + 1
            self.cap = max(self.cap, shape.minimum, top)
            if shape.minimum or top:
                self._counting |= 1 << k
        if self.cap > self.limits.classes:
            raise LimitExceeded(
                limit="classes", value=self.limits.classes, where="the number of properties"
            )
        # By the number of properties: the shapes that want fewer, and those that want more.
        self._over, self._short = [0] * (self.cap + 1), [0] * (self.cap + 1)
        for k, shape in enumerate(self.atoms):
            for n in range(self.cap + 1):
                if shape.maximum is not None and n > shape.maximum:
                    self._over[n] |= 1 << k
                if n < shape.minimum:
                    self._short[n] |= 1 << k
        self._width = len(self.atoms)
        self._all = (1 << self._width) - 1
        self._relevant: dict[tuple[str | None, int], int] = {}
        self._lasting: dict[int, int] = {}
        self._nested: dict[tuple[int, str | None, int], Nested] = {}
        self._kept: dict[tuple[int, str | None, int], list[int]] = {}

    def start(self) -> State:
        return State(self._all, (0,) if self.cap else ())

    def skip(self, state: State, j: int) -> State:
        """Property ``j`` does not come."""
        return self._state(self._code(state) & ~self.requiring[j])

    def property(self, state: State, name: str | None, kind: int) -> Nested:
        """What judges the value of a property."""
        key = (state.alive & self._relevance(name, kind), name, kind)
        found = self._nested.get(key)
        if found is None:
            found = self._nested[key] = self.nested(
                key[0], lambda shape: self.keys.formula(shape, name, kind)
            )
        return found

    def _relevance(self, name: str | None, kind: int) -> int:
        """The atoms that say something of the value of a property."""
        found = self._relevant.get((name, kind))
        if found is None:
            formulas = (self.keys.formula(shape, name, kind) for shape in self.atoms)
            found = sum(1 << k for k, f in enumerate(formulas) if f != ANYTHING)
            self._relevant[name, kind] = found
        return found

    def after(self, state: State, nested: Nested, verdict: int) -> State:
        """The state after a property whose value has this verdict."""
        return self._state(self._counted(self._code(state)) & ~nested.failed(verdict))

    def end(self, state: State, passed: int) -> int:
        """The atoms that hold if the object ends; ``passed``: mask of properties that are over."""
        alive = state.alive
        for j, requiring in enumerate(self.requiring):
            if not passed >> j & 1:
                alive &= ~requiring
        return alive & ~self._short[state.counts[0] if state.counts else 0]

    # -- codes ----------------------------------------------------------------------------------

    def _code(self, state: State) -> int:
        return state.alive | state.counts[0] << self._width if state.counts else state.alive

    def _state(self, code: int) -> State:
        # What no atom that still holds counts is not counted.
        n = code >> self._width if code & self._counting else 0
        return State(code & self._all, (n,) if self.cap else ())

    def _certain(self, passed: int) -> int:
        """The atoms that no property can make false any more, where these are over."""
        found = self._lasting.get(passed)
        if found is None:
            open_to = self._counting
            for kind in self.keys.possible_kinds():
                open_to |= self._relevance(None, kind)
            for j, name in enumerate(self.order):
                if not passed >> j & 1:
                    open_to |= self._relevance(name, 0) | self.requiring[j]
            found = self._lasting[passed] = self._all & ~open_to
        return found

    def _reduced(self, code: int, passed: int) -> int:
        """The code without atoms that decide nothing, and what none that is left counts."""
        alive = code & self._all
        useless = alive & ~self._bounds(alive, self._certain(passed))[2]
        code &= ~useless
        return code if code & self._counting else code & self._all

    def _counted(self, code: int) -> int:
        """One property more, whatever its value."""
        if not self.cap:
            return code
        n = code >> self._width
        if n < self.cap:
            code += 1 << self._width
            n += 1
        return code & ~self._over[n]

    def _after_property(
        self, vectors: Vectors, code: int, passed: int, name: str | None, kind: int
    ) -> list[int]:
        """The codes after a property, by the verdicts that its value may have.

        ``passed``: the properties that are over then.
        """
        key = (code & self._relevance(name, kind), name, kind)
        kept = self._kept.get(key)
        if kept is None:
            nested = self.property(State(key[0]), name, kind)
            masks = {~nested.failed(v) for v in vectors.of(nested.formulas)}
            # Where fewer atoms hold, less is undecided.
            kept = sorted(masks, key=lambda m: (m & self._all).bit_count())
            self._kept[key] = kept
        code = self._counted(code)
        return [self._reduced(code & m, passed) for m in kept]

    def _refresh(self, epoch: int) -> None:
        super()._refresh(epoch)
        self._kept.clear()

    # -- what can be reached --------------------------------------------------------------------

    def place(self, at: int, state: State) -> tuple[int, int]:
        return at, self._code(state)

    def ends(self, place: tuple[int, int]) -> tuple[int, int, int]:
        passed, code = place
        alive = code & self._all
        end = alive & ~self._short[code >> self._width] if passed == self._everything else -1
        return alive, self._certain(passed), end

    def following(self, vectors: Vectors, place: tuple[int, int]) -> Iterator[tuple[int, int]]:
        passed, code = place
        rest = self._everything & ~passed
        if not rest:
            for kind in self.keys.possible_kinds():
                for c in self._after_property(vectors, code, passed, None, kind):
                    yield passed, c
            return
        j = (rest & -rest).bit_length() - 1  # the first that is not over
        passed |= 1 << j
        yield passed, self._reduced(code & ~self.requiring[j], passed)
        for c in self._after_property(vectors, code, passed, self.order[j], 0):
            yield passed, c

    def all_finals(self, vectors: Vectors) -> frozenset[int]:
        if self._epoch != vectors.epoch:
            self._refresh(vectors.epoch)
        codes = {self._code(self.start())}
        for j, name in enumerate(self.order):
            following: set[int] = set()
            passed = (2 << j) - 1
            for code in codes:
                following.add(self._reduced(code & ~self.requiring[j], passed))
                following.update(self._after_property(vectors, code, passed, name, 0))
            self.check(following)
            codes = following
        queue = list(codes)
        for code in queue:
            for kind in self.keys.possible_kinds():
                for c in self._after_property(vectors, code, self._everything, None, kind):
                    if c not in codes:
                        codes.add(c)
                        queue.append(c)
            self.check(queue)
        return frozenset(
            self.verdict(code & self._all & ~self._short[code >> self._width]) for code in codes
        )


class ArrayJudge(Judge):
    """Follows the shapes of arrays. ``State.counts`` are the matches of each ``contains``.

    ``compares``: the matcher keeps the items different (see ``masks/unique.py``) where that
    matters, so arrays that repeat one have no verdict. A verdict is achievable then if it can be
    reached whatever values the items before have.
    """

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
        self._shapes = self.mask(a for a in self.atoms if isinstance(a, ArrayShape))
        # The values that items are told apart by; none where the matcher compares them.
        self.values: list[Formula] = self._tracked() if self.unique else []
        self.compares = bool(self.unique) and not self.values
        self._influences: dict[int, tuple[bool, bool]] = {}
        self._counts: dict[tuple[tuple[Formula, ...], int], int] = {}
        # From this many items on, all positions are alike.
        self.last = self._prefix = 0
        for shape in self.atoms:
            if isinstance(shape, ArrayShape):
                self._prefix = max(self._prefix, len(shape.prefix))
                top = 0 if shape.maximum is None else shape.maximum + 1
                self.last = max(self.last, len(shape.prefix), shape.minimum, top)
        if self.last > limits.classes:
            raise LimitExceeded(
                limit="classes",
                value=limits.classes,
                where=f"alternatives with arrays of up to {self.last:,} items",
            )

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
            nested = Nested((*nested.formulas, *self.values), nested.atoms)
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
            if len(rest) > MOST_DECIDING:
                return True, False  # too many combinations to look
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
        """The state after an item with this verdict."""
        alive, counts, used = state.alive, state.counts, state.used
        failed = nested.failed(verdict)
        if counts:
            numbers = list(counts)
            for at, k in enumerate(self.contains):
                if alive >> k & 1 and not failed >> k & 1:
                    atom = self.atoms[k]
                    top = atom.minimum if atom.maximum is None else atom.maximum + 1
                    numbers[at] = min(numbers[at] + 1, max(top, atom.minimum))
                    if atom.maximum is not None and numbers[at] > atom.maximum:
                        alive &= ~(1 << k)
            counts = tuple(numbers)
        alive &= ~(failed & self._shapes)
        if len(nested.formulas) > len(nested.atoms):
            value = verdict >> len(nested.atoms)
            other = 1 << len(self.values)
            if value & used:
                alive &= ~self.unique
            elif not value and used & other:
                used |= other << 1  # two values that are not told apart
            used |= value or other
        return State(alive, counts, used if self.matters(alive) else 0)

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

    # -- what can be reached --------------------------------------------------------------------

    def may_stop(self, vectors: Vectors) -> bool:
        """Not where it is still to be seen whether ``uniqueItems`` can be judged."""
        if not self.unique:
            return True
        if not self.values:
            return False
        start = self.start()
        for k in range(self.last + 1):
            rest, nested = self.item(start, k)
            for v in vectors.of(nested.formulas):
                # Values that are not told apart: two of them may be too many.
                if not v >> len(nested.atoms) and self.matters(self.after(rest, nested, v).alive):
                    return False
        return True

    def place(self, at: int, state: State) -> tuple[int, State]:
        return min(at, self.last), state

    def ends(self, place: tuple[int, State]) -> tuple[int, int, int]:
        k, state = place
        return state.alive, 0, self.end(state, k)

    def following(self, vectors: Vectors, place: tuple[int, State]) -> list[tuple[int, State]]:
        states = {self._reduced(t) for t, certain in self._items(vectors, *place) if certain}
        following = min(place[0] + 1, self.last)
        return [(following, t) for t in sorted(states, key=lambda t: t.alive.bit_count())]

    def _reduced(self, state: State) -> State:
        """The state without atoms that decide nothing."""
        return state._replace(alive=state.alive & self._bounds(state.alive)[2])

    def _items(self, vectors: Vectors, k: int, state: State) -> Iterator[tuple[State, bool]]:
        """The states after item ``k``, and whether it can be there whatever items were before."""
        rest, nested = self.item(state, k)
        differs = self.compares and self.matters(rest.alive)
        for v in vectors.of(nested.formulas):
            yield self.after(rest, nested, v), not differs or self._is_left(k, rest, nested, v)

    def _is_left(self, k: int, state: State, nested: Nested, verdict: int) -> bool:
        """Has an item with this verdict a value that none of the ``k`` before it has?"""
        alive, failed = state.alive, nested.failed(verdict)
        used = k if k < self.last else ENOUGH - 1
        if k >= self._prefix and failed & alive & self._shapes:
            # Past the prefixes no item had this verdict: the shapes would not hold any more.
            used = min(used, self._prefix)
        for n, j in zip(state.counts, self.contains, strict=True):
            matches = alive >> j & 1 and not failed >> j & 1
            if matches and (n < self.atoms[j].minimum or self.atoms[j].maximum is not None):
                used = min(used, n)  # all items with this verdict match
        return self.n_values(nested, verdict) > used

    def n_values(self, nested: Nested, verdict: int) -> int:
        """How many values have this verdict, or a lower bound."""
        key = (nested.formulas, verdict)
        found = self._counts.get(key)
        if found is None:
            algebra = self.sat.algebra
            item = algebra.conjunction(
                f if verdict >> j & 1 else algebra.complement(f)
                for j, f in enumerate(nested.formulas)
            )
            found = self._counts[key] = self.sat.distinct.count(item)
        return found

    def all_finals(self, vectors: Vectors) -> frozenset[int]:
        found: set[int] = set()
        seen = {(0, self.start())}
        queue = list(seen)
        for k, s in queue:
            found.add(self.verdict(self.end(s, k)))
            following = min(k + 1, self.last)
            for t, certain in self._items(vectors, k, s):
                if self.values and t.used >> len(self.values) + 1:
                    # Two values that are not told apart.
                    self.values, self.compares = [], True
                    self._reached.clear()
                    return self.all_finals(vectors)
                if certain and (following, t) not in seen:
                    seen.add((following, t))
                    queue.append((following, t))
            self.check(queue)
        return frozenset(found)

    def check_unique(self, vectors: Vectors) -> None:
        """Raise where comparing items leaves out arrays that have another verdict.

        Those that repeat an item, and those whose last items depend on which values are left.
        """
        vectors.nested(ARRAY, self.ids)  # it may turn out that values are not told apart
        if not self.compares:
            return
        # By place: the achievable verdicts, with and without regard to the items before.
        free: dict[tuple[int, State], set[int]] = {}
        bound: dict[tuple[int, State], set[int]] = {}
        ways: dict[tuple[int, State], list[tuple[tuple[int, State], bool]]] = {}
        queue = [(0, self.start())]
        for place in queue:
            if place in ways:
                continue
            k, s = place
            following = min(k + 1, self.last)
            ways[place] = []
            free[place], bound[place] = ({self.verdict(self.end(s, k))} for _ in range(2))
            for t, certain in self._items(vectors, k, s):
                decided, by_requiring = self._influence(t.alive)
                if decided and not by_requiring:
                    raise self.unsupported()  # an array that repeats an item may satisfy a goal
                ways[place].append(((following, t), certain))
                queue.append((following, t))
            self.check(ways)
        changed = True
        while changed:
            changed = False
            for place, after in reversed(ways.items()):
                before = len(free[place]), len(bound[place])
                for other, certain in after:
                    free[place] |= free[other]
                    if certain:
                        bound[place] |= bound[other]
                changed |= before != (len(free[place]), len(bound[place]))
        if free != bound:
            raise self.unsupported()
