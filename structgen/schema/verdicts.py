"""Frames of objects and arrays judged by several schemas at once.

The frame follows a judge's state; its final class is the verdict's place in a list. A state from
which no verdict that may be returned can be reached any more is never entered. Where the goals are
disjunctions of conjunctions of shapes, and a verdict may be returned that contains enough goals,
that is a matter of masks (*terms*); otherwise the judge computes what is achievable.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

from structgen.automaton.step import NO_LIMIT
from structgen.automaton.tables import move, push
from structgen.errors import LimitExceeded
from structgen.schema.algebra import OBJECT
from structgen.schema.base import Builder
from structgen.schema.frames import ByteEdge, Entry
from structgen.schema.judges import (
    ArrayJudge,
    Judge,
    Nested,
    ObjectJudge,
    Requirement,
    State,
    minimal_masks,
)
from structgen.schema.keyspace import Choice
from structgen.schema.satisfy import Conjunct


class _Verdicts:
    """What objects and arrays have in common.

    ``verdicts`` are the goals' masks that may be returned; the final class is the index.
    """

    def __init__(
        self, builder: Builder, judge: Judge, requirement: Requirement, verdicts: Sequence[int]
    ) -> None:
        self.builder, self.automaton = builder, builder.automaton
        self.judge, self.requirement = judge, requirement
        self.classes = {mask: cls for cls, mask in enumerate(verdicts)}
        self.terms: list[int] | None = None
        if requirement.clauses is not None:
            self.terms = self._monotone_terms(requirement.clauses)
        self._after: dict[tuple[int, State], int] = {}

    def _monotone_terms(self, clauses: Sequence[int]) -> list[int]:
        """Masks of shapes of which one must hold to the end."""
        sat, slot = self.builder.sat, self.judge.slot
        goals = self.judge.goals or []
        limit = self.builder.limits.branches
        terms: list[int] = []
        for clause in clauses:
            ways = [goal for k, goal in enumerate(goals) if clause >> k & 1]
            for combination in product(*ways):
                mask = 0
                for m in combination:
                    mask |= m
                terms.append(mask)
                if len(terms) > limit:
                    raise LimitExceeded(limit="branches", value=limit, where="nested anyOf")
        return [t for t in minimal_masks(terms) if sat.is_shape_satisfiable(slot, self._shapes(t))]

    def _shapes(self, mask: int) -> Conjunct:
        return tuple(a for k, a in enumerate(self.judge.atoms) if mask >> k & 1)

    def entries(self, bracket: bytes) -> list[Entry]:
        start = self.judge.start()
        if not self.is_possible(0, start):
            return []
        frames = self.builder.frames

        def build(q: int) -> None:
            frames.set_position(q, self.edges(0, start, True))

        return [(bracket, self.automaton.new_state(build))]

    def edges(self, i: int, state: State, at_start: bool) -> list[ByteEdge]:
        raise AssertionError("defined by the kinds of frames")

    def is_possible(self, i: int, state: State) -> bool:
        """Can a verdict that may be returned still be reached?"""
        if self.terms is not None:
            return any(t & state.alive == t for t in self.terms)
        return self.judge.reaches(self.builder.vectors, i, state, self.requirement.masks)

    def end(self, true: int) -> int | None:
        """The final state where these atoms hold in the end, or None where it must not end."""
        cls = self.classes.get(self.judge.verdict(true))
        return None if cls is None else self.builder.frames.final(cls)

    def inner(self, state: State, nested: Nested, following: int) -> Requirement | None:
        """The verdicts that a nested value may have; None: there is none."""
        if self.terms is None:
            judge: Any = self.judge
            masks = frozenset(
                v
                for v in self.builder.vectors.of(nested.formulas)
                if self.is_possible(following, judge.after(state, nested, v))
            )
            return Requirement(None, masks) if masks else None
        clauses: list[int] = []
        for t in self.terms:
            if t & state.alive != t:
                continue
            clause = 0
            for k, atoms in enumerate(nested.atoms):
                if t & atoms:
                    clause |= 1 << k
            parts = [f for k, f in enumerate(nested.formulas) if clause >> k & 1]
            if self.builder.sat.is_satisfiable(self.builder.algebra.conjunction(parts)):
                clauses.append(clause)
        return Requirement(tuple(minimal_masks(clauses))) if clauses else None

    def after_state(self, i: int, state: State) -> int:
        """The automaton's state after a property or item."""
        found = self._after.get((i, state))
        if found is None:
            found = self._after[i, state] = self.builder.frames.position(
                lambda: self.edges(i, state, False)
            )
        return found


class ObjectVerdicts(_Verdicts):
    """An object; see the module's text."""

    judge: ObjectJudge

    @property
    def any_order(self) -> bool:
        return self.builder.options.property_order == "any"

    def edges(self, i: int, state: State, at_start: bool) -> list[ByteEdge]:
        choices, colons = self._choices(i, state)
        frames = self.builder.frames
        edges: list[ByteEdge] = []
        if choices:
            back = self.automaton.new_return([(colon, 0) for colon in colons])

            def names(q: int) -> None:
                block = self.judge.keys.block(choices, self.builder.library, frames)
                self.automaton.alias(q, block.place(self.automaton))

            quote: ByteEdge = (b'"', push(back, self.automaton.new_state(names)))
            if at_start:
                edges.append(quote)
            else:
                edges.append((b",", move(frames.position(lambda: [quote]))))
        end = self.end(self.judge.end(state, i))
        if end is not None:
            edges.append((b"}", move(end)))
        return edges

    def _choices(self, passed: int, state: State) -> tuple[list[Choice], list[int]]:
        """The names that may come, each with the state after it.

        ``passed`` is the mask of the declared properties that cannot come any more.

        An undeclared name of the only kind gets class 0, which is how any string ends.
        """
        judge = self.judge
        named: list[tuple[str | None, int, int]] = []
        others = True
        for j, name in enumerate(judge.order):
            if passed >> j & 1:
                continue
            following = passed | 1 << j if self.any_order else (2 << j) - 1
            colon = self._colon_state(state, name, 0, following)
            if colon is not None:
                named.append((name, 0, colon))
            if not self.any_order:
                state = judge.skip(state, j)
                passed |= 1 << j
                if not self.is_possible(passed, state):
                    others = False
                    break
        for kind in reversed(judge.keys.possible_kinds()) if others else ():
            colon = self._colon_state(state, None, kind, passed)
            if colon is not None:
                named.insert(0, (None, kind, colon))
        if judge.keys.is_plain and named and named[0][0] is not None:
            # Class 0 stands for undeclared names even where none may come.
            choices = [Choice(name, kind, cls) for cls, (name, kind, _) in enumerate(named, 1)]
            return choices, [-1, *(colon for _, _, colon in named)]
        choices = [Choice(name, kind, cls) for cls, (name, kind, _) in enumerate(named)]
        return choices, [colon for _, _, colon in named]

    def _colon_state(self, state: State, name: str | None, kind: int, following: int) -> int | None:
        """The state after a property's name, or None where it must not come."""
        nested = self.judge.property(state, name, kind)
        requirement = self.inner(state, nested, following)
        if requirement is None:
            return None

        def follow(verdict: int) -> int:
            return self.after_state(following, self.judge.after(state, nested, verdict))

        frames = self.builder.frames

        def colon() -> list[ByteEdge]:
            value = frames.position(
                lambda: self.builder.judged(nested.formulas, requirement, follow)
            )
            return [(b":", move(value))]

        return frames.position(colon)


class ArrayVerdicts(_Verdicts):
    """An array; see the module's text."""

    judge: ArrayJudge

    def edges(self, i: int, state: State, at_start: bool) -> list[ByteEdge]:
        item = self._item(i, state)
        if item and not at_start:
            more = self.builder.frames.position(lambda: item)
            edges: list[ByteEdge] = [(b",", move(more))]
        else:
            edges = list(item)
        end = self.end(self.judge.end(state, i))
        if end is not None:
            edges.append((b"]", move(end)))
        return edges

    def _item(self, k: int, state: State) -> list[ByteEdge]:
        judge, following = self.judge, min(k + 1, self.judge.last)
        rest, nested = judge.item(state, k)
        requirement = self.inner(rest, nested, following)
        if requirement is None:
            return []

        def follow(verdict: int) -> int:
            return self.after_state(following, judge.after(rest, nested, verdict))

        def room(verdict: int) -> int | None:
            return self._room(following, judge.after(rest, nested, verdict))

        compares = judge.compares and judge.matters(rest.alive)
        return self.builder.judged(
            nested.formulas, requirement, follow, room=room if compares else None
        )

    def _room(self, k: int, state: State) -> int | None:
        """How many values item ``k`` may have, at least; None where items need not differ."""
        if not self.judge.matters(state.alive):
            return None
        rest, nested = self.judge.item(state, k)
        requirement = self.inner(rest, nested, min(k + 1, self.judge.last))
        masks = requirement.masks if requirement is not None else ()
        return max((self.judge.n_values(nested, v) for v in masks), default=NO_LIMIT)


def verdict_entries(
    builder: Builder,
    slot: int,
    ids: tuple[int, ...],
    requirement: Requirement,
    verdicts: Sequence[int],
) -> list[Entry]:
    """How a value judged by the goals ``ids`` may begin; ends with the index of its verdict."""
    judge: Judge = builder.vectors.judge(slot, ids)
    if isinstance(judge, ArrayJudge) and judge.values:
        builder.vectors.nested(slot, ids)  # are there values that it does not tell apart?
    if requirement.clauses is not None:
        forms = [builder.sat.conjuncts(slot, i) or [] for i in ids]
        kind = ObjectJudge if slot == OBJECT else ArrayJudge
        judge = kind(builder.sat, ids, builder.limits, forms)
    if slot == OBJECT:
        return ObjectVerdicts(builder, judge, requirement, verdicts).entries(b"{")
    return ArrayVerdicts(builder, judge, requirement, verdicts).entries(b"[")
