"""Objects and arrays judged by several schemas at once.

The frame follows all shapes together and remembers which of them still hold (*alive*, a bit mask).
What it is asked is a list of *goals*, each a disjunction of conjunctions of shapes; its final class
is the bit mask of the goals that hold in the end. Only verdicts that contain one of the given
*clauses* (bit masks of goals) may be returned, so a state from which none of them can be reached
any more is never entered.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

from structgen.automaton.step import NO_LIMIT
from structgen.automaton.tables import move, push
from structgen.errors import LimitExceeded
from structgen.schema.algebra import ANYTHING, ARRAY, OBJECT, Formula
from structgen.schema.base import Builder
from structgen.schema.frames import ByteEdge, Entry
from structgen.schema.keys import Key, key_block
from structgen.schema.objects import property_order
from structgen.schema.satisfy import Conjunct


def minimal_masks(masks: Sequence[int]) -> list[int]:
    """Without masks that contain another one."""
    unique = list(dict.fromkeys(masks))
    return [m for m in unique if not any(o != m and o & m == o for o in unique)]


class _Verdicts:
    """What objects and arrays have in common: shapes, goals, terms, final states."""

    slot: int

    def __init__(
        self,
        builder: Builder,
        goals: Sequence[Sequence[Conjunct]],
        clauses: Sequence[int],
        *,
        class_zero: bool,
    ) -> None:
        self.builder = builder
        self.automaton = builder.automaton
        shapes: dict[object, None] = {}
        for goal in goals:
            for conjunct in goal:
                shapes.update(dict.fromkeys(conjunct))
        self.shapes: Conjunct = tuple(shapes)
        index = {shape: i for i, shape in enumerate(self.shapes)}
        # Each goal as masks of shapes; each term as a mask that makes a whole clause true.
        self.goals = [
            [sum(1 << index[shape] for shape in conjunct) for conjunct in goal] for goal in goals
        ]
        terms: list[int] = []
        for clause in clauses:
            ways = [g for k, g in enumerate(self.goals) if clause >> k & 1]
            for combination in product(*ways):
                mask = 0
                for m in combination:
                    mask |= m
                terms.append(mask)
                if len(terms) > builder.limits.branches:
                    raise LimitExceeded(
                        limit="branches", value=builder.limits.branches, where="nested anyOf"
                    )
        self.terms = [
            t
            for t in minimal_masks(terms)
            if builder.sat.is_shape_satisfiable(self.slot, self.conjunct(t))
        ]
        self.clauses = list(clauses)
        # Where only one verdict may be returned, it is class 0, as in frames without verdicts.
        self.class_zero = class_zero
        self._ends: dict[int, int] = {}

    def conjunct(self, mask: int) -> Conjunct:
        return tuple(s for i, s in enumerate(self.shapes) if mask >> i & 1)

    def is_possible(self, alive: int) -> bool:
        return any(t & alive == t for t in self.terms)

    def verdict(self, alive: int) -> int:
        return sum(1 << k for k, goal in enumerate(self.goals) if any(m & alive == m for m in goal))

    def end(self, alive: int) -> int | None:
        """The final state for a value that ends here, or None where it must not."""
        verdict = self.verdict(alive)
        if not any(c & verdict == c for c in self.clauses):
            return None
        state = self._ends.get(verdict)
        if state is None:
            state = self._ends[verdict] = self.automaton.reserve_state()
            self.automaton.set_final(state, 0 if self.class_zero else verdict)
        return state

    def nested(
        self, alive: int, formula_of: Callable[[int], Formula]
    ) -> tuple[list[Formula], list[int], list[int]]:
        """The formulas that a nested value is judged by.

        Returns the distinct formulas, for each shape the index of its own (-1: anything), and the
        clauses over the formulas of which one must hold. No clauses: no value is possible.
        """
        distinct: dict[Formula, int] = {}
        own = [-1] * len(self.shapes)
        for i in range(len(self.shapes)):
            if alive >> i & 1:
                formula = formula_of(i)
                if formula != ANYTHING:
                    own[i] = distinct.setdefault(formula, len(distinct))
        formulas = list(distinct)
        clauses: list[int] = []
        for t in self.terms:
            if t & alive != t:
                continue
            clause = 0
            for i, k in enumerate(own):
                if t >> i & 1 and k >= 0:
                    clause |= 1 << k
            parts = [f for k, f in enumerate(formulas) if clause >> k & 1]
            if self.builder.sat.is_satisfiable(self.builder.algebra.conjunction(parts)):
                clauses.append(clause)
        return formulas, own, minimal_masks(clauses)

    def survivors(self, alive: int, own: Sequence[int], verdict: int) -> int:
        """The shapes alive after a nested value with this verdict over its formulas."""
        for i, k in enumerate(own):
            if k >= 0 and not verdict >> k & 1:
                alive &= ~(1 << i)
        return alive


class ObjectVerdicts(_Verdicts):
    """An object judged by several shapes; see the module's text."""

    slot = OBJECT

    def __init__(
        self,
        builder: Builder,
        goals: Sequence[Sequence[Conjunct]],
        clauses: Sequence[int],
        *,
        class_zero: bool,
    ) -> None:
        super().__init__(builder, goals, clauses, class_zero=class_zero)
        self.order = property_order(self.shapes)
        position = {name: i for i, name in enumerate(self.order)}
        # The shapes that require each property.
        self.requiring = [0] * len(self.order)
        for i, shape in enumerate(self.shapes):
            for name in shape.required:
                self.requiring[position[name]] |= 1 << i
        self._after: dict[tuple[int, int], int] = {}

    def entries(self) -> list[Entry]:
        everything = (1 << len(self.shapes)) - 1
        if not self.is_possible(everything):
            return []
        frames = self.builder.frames

        def build(q: int) -> None:
            start = frames.position(lambda: self._edges(0, everything, True))
            self.automaton.alias(q, self.automaton.built(start))

        return [(b"{", self.automaton.new_state(build))]

    def _edges(self, i: int, alive: int, at_start: bool) -> list[ByteEdge]:
        names, other = self._choices(i, alive)
        edges: list[ByteEdge] = []
        if names or other is not None:
            back = self.automaton.new_return(
                [(-1 if other is None else other, 0), *((colon, 0) for _, colon in names)]
            )
            state = self.automaton.new_state(
                lambda q: self._build_names(q, [name for name, _ in names], other is not None)
            )
            quote: ByteEdge = (b'"', push(back, state))
            if at_start:
                edges.append(quote)
            else:
                edges.append((b",", move(self.builder.frames.position(lambda: [quote]))))
        rest = alive
        for requiring in self.requiring[i:]:
            rest &= ~requiring
        end = self.end(rest)
        if end is not None:
            edges.append((b"}", move(end)))
        return edges

    def _build_names(self, q: int, names: list[str], others: bool) -> None:
        """The names that may come, each with a class of its own; 0: none that is declared."""
        keys: list[Key] = [
            (name, move(self.builder.frames.final(cls)), NO_LIMIT)
            for cls, name in enumerate(names, 1)
        ]
        if others:
            chosen = set(names)
            keys += [(name, None, -1) for name in self.order if name not in chosen]
        block = key_block(keys, self.builder.library, others=others)
        self.automaton.alias(q, block.place(self.automaton))

    def _choices(self, i: int, alive: int) -> tuple[list[tuple[str, int]], int | None]:
        """The properties that may come at position ``i``, each with the state after its name, and
        that state for undeclared ones."""
        names: list[tuple[str, int]] = []
        for j in range(i, len(self.order)):
            colon = self._colon_state(self.order[j], j + 1, alive)
            if colon is not None:
                names.append((self.order[j], colon))
            alive &= ~self.requiring[j]
            if not self.is_possible(alive):
                return names, None
        return names, self._colon_state(None, len(self.order), alive)

    def _colon_state(self, name: str | None, following: int, alive: int) -> int | None:
        """The state after a property's name, or None where it must not come."""
        sat = self.builder.sat
        formulas, own, clauses = self.nested(
            alive, lambda k: sat.shape_property(self.shapes[k], name)
        )
        if not clauses:
            return None

        def follow(verdict: int) -> int:
            return self._after_state(following, self.survivors(alive, own, verdict))

        frames = self.builder.frames

        def colon() -> list[ByteEdge]:
            value = frames.position(lambda: self.builder.judged(formulas, clauses, follow))
            return [(b":", move(value))]

        return frames.position(colon)

    def _after_state(self, i: int, alive: int) -> int:
        state = self._after.get((i, alive))
        if state is None:
            state = self._after[i, alive] = self.builder.frames.position(
                lambda: self._edges(i, alive, False)
            )
        return state


class ArrayVerdicts(_Verdicts):
    """An array judged by several shapes; see the module's text."""

    slot = ARRAY

    def __init__(
        self,
        builder: Builder,
        goals: Sequence[Sequence[Conjunct]],
        clauses: Sequence[int],
        *,
        class_zero: bool,
    ) -> None:
        super().__init__(builder, goals, clauses, class_zero=class_zero)
        # From this many items on, all positions are alike.
        self.last = 0
        for shape in self.shapes:
            top = 0 if shape.maximum is None else shape.maximum + 1
            self.last = max(self.last, len(shape.prefix), shape.minimum, top)
        if self.last > builder.limits.classes:
            raise LimitExceeded(
                limit="classes",
                value=builder.limits.classes,
                where=f"alternatives with arrays of up to {self.last:,} items",
            )
        self._after: dict[tuple[int, int], int] = {}

    def entries(self) -> list[Entry]:
        everything = (1 << len(self.shapes)) - 1
        if not self.is_possible(everything):
            return []
        frames = self.builder.frames

        def build(q: int) -> None:
            def edges() -> list[ByteEdge]:
                return [*self._item(0, everything), *self._close(0, everything)]

            self.automaton.alias(q, self.automaton.built(frames.position(edges)))

        return [(b"[", self.automaton.new_state(build))]

    def _close(self, k: int, alive: int) -> list[ByteEdge]:
        for i, shape in enumerate(self.shapes):
            if shape.minimum > k:
                alive &= ~(1 << i)
        end = self.end(alive)
        return [] if end is None else [(b"]", move(end))]

    def _item(self, k: int, alive: int) -> list[ByteEdge]:
        sat = self.builder.sat
        for i, shape in enumerate(self.shapes):
            if shape.maximum is not None and shape.maximum < k + 1:
                alive &= ~(1 << i)
        formulas, own, clauses = self.nested(alive, lambda i: sat.shape_item(self.shapes[i], k))
        if not clauses:
            return []

        def follow(verdict: int) -> int:
            return self._after_state(min(k + 1, self.last), self.survivors(alive, own, verdict))

        return self.builder.judged(formulas, clauses, follow)

    def _after_state(self, k: int, alive: int) -> int:
        state = self._after.get((k, alive))
        if state is None:

            def edges() -> list[ByteEdge]:
                item = self._item(k, alive)
                more = self.builder.frames.position(lambda: item)
                return [*([(b",", move(more))] if item else []), *self._close(k, alive)]

            state = self._after[k, alive] = self.builder.frames.position(edges)
        return state
