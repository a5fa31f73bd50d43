"""The names of properties that several shapes tell apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from structgen import budget
from structgen.automaton.lift import Lifted
from structgen.automaton.step import NO_LIMIT
from structgen.automaton.tables import NO_EDGE, Edge, move
from structgen.limits import Limits
from structgen.regular.dfa import DFA, any_string, combine, literals
from structgen.schema.algebra import NOTHING, STRING, Formula
from structgen.schema.atoms import ObjectShape
from structgen.schema.frames import Frames
from structgen.schema.keys import Key, Names, key_block
from structgen.schema.library import Library
from structgen.schema.satisfy import Conjunct, Satisfiability


class Choice(NamedTuple):
    """A name that may come: a declared one, or (``name`` None) one of a kind of undeclared ones.

    ``kind`` is the index of the kind; ``end`` the state that its name ends in; ``limit`` the
    highest counter with which it may be begun.
    """

    name: str | None
    kind: int
    end: int
    limit: int = NO_LIMIT


class KeySpace:
    """Declared names in order, and the kinds of undeclared names that shapes tell apart.

    Without ``patternProperties`` and ``propertyNames`` there is one kind. Otherwise a kind is a
    set of patterns and conditions that the name satisfies; kinds that no name has are left out.
    """

    def __init__(
        self, sat: Satisfiability, shapes: Conjunct, order: Sequence[str], limits: Limits
    ) -> None:
        self.sat, self.shapes, self.order, self.limits = sat, shapes, list(order), limits
        patterns: dict[str, None] = {}
        conditions: dict[int, None] = {}
        for shape in shapes:
            patterns.update((pattern, None) for pattern, _ in shape.patterns)
            if shape.names is not None:
                conditions[sat.node_formula(shape.names)[STRING]] = None
        self.patterns, self.conditions = list(patterns), list(conditions)
        # For each kind, whether each pattern and then each condition holds.
        self.kinds: list[tuple[bool, ...]] = [()]
        self._dfa: DFA | None = None
        self._formulas: dict[tuple[ObjectShape, str | None, int], Formula] = {}
        if self.patterns or self.conditions:
            self._classify()

    @property
    def is_plain(self) -> bool:
        return self._dfa is None

    def _tests(self) -> list[DFA]:
        scalars = self.sat.scalars
        tests = [scalars.pattern(p) for p in self.patterns]
        return [*tests, *(scalars.language(STRING, i) for i in self.conditions)]

    def _classify(self) -> None:
        """One automaton whose final class is a declared name's index or, behind, a kind."""
        n = len(self.order)
        kinds: dict[tuple[bool, ...], int] = {}

        def decide(classes: tuple[int, ...]) -> int:
            if classes[-1] < 0:
                return -1
            if n and classes[0] >= 0:
                return classes[0]
            kind = tuple(c >= 0 for c in classes[1 if n else 0 : -1])
            return n + kinds.setdefault(kind, len(kinds))

        parts = [literals(self.order)] if n else []
        self._dfa = combine(
            [*parts, *self._tests(), any_string()], decide, max_states=self.limits.pattern_states
        )
        used = set(self._dfa.final.tolist())
        self.kinds = list(kinds)
        self._empty_kinds = {k for k in range(len(kinds)) if n + k not in used}

    def possible_kinds(self) -> list[int]:
        if self.is_plain:
            return [0]
        return [k for k in range(len(self.kinds)) if k not in self._empty_kinds]

    def formula(self, shape: ObjectShape, name: str | None, kind: int) -> Formula:
        """What a shape says of the value of a declared name, or of an undeclared one of a kind."""
        key = (shape, name, kind)  # judges ask for each set of shapes that still hold
        found = self._formulas.get(key)
        if found is None:
            found = self._formulas[key] = self._formula(shape, name, kind)
        return found

    def _formula(self, shape: ObjectShape, name: str | None, kind: int) -> Formula:
        sat = self.sat
        if name is not None:
            return sat.shape_property(shape, name)
        if self.is_plain:
            return sat.node_formula(shape.additional)
        holds = self.kinds[kind]
        if shape.names is not None:
            condition = self.conditions.index(sat.node_formula(shape.names)[STRING])
            if not holds[len(self.patterns) + condition]:
                return NOTHING
        parts = [
            sat.node_formula(node)
            for pattern, node in shape.patterns
            if holds[self.patterns.index(pattern)]
        ]
        return sat.algebra.conjunction(parts or [sat.node_formula(shape.additional)])

    # -- automata -------------------------------------------------------------------------------

    def block(self, choices: Sequence[Choice], library: Library, frames: Frames) -> Lifted | Names:
        """The names that ``choices`` allow; a name ends its frame with its choice's class."""
        finals = frames.finals([(c.end, c.limit) for c in choices])
        if self.is_plain:
            others = any(c.name is None for c in choices)
            keys: list[Key] = [(name, None, -1) for name in self.order] if others else []
            keys += (
                (c.name, move(final), c.limit)
                for c, final in zip(choices, finals, strict=True)
                if c.name is not None
            )
            return key_block(keys, library, others=others)
        n = len(self.order)
        index = {name: i for i, name in enumerate(self.order)}
        by_class = {
            (index[c.name] if c.name is not None else n + c.kind): (final, c.limit)
            for c, final in zip(choices, finals, strict=True)
        }
        return self._pattern_block(by_class, library)

    def _pattern_block(self, by_class: Mapping[int, tuple[int, int]], library: Library) -> Lifted:
        """``by_class``: the state that a name ends in and its highest counter, by class."""
        assert self._dfa is not None
        dfa = combine([self._dfa], lambda c: c[0] if c[0] in by_class else -1)
        classes = dfa.final.tolist()
        quotes: list[Edge] = []
        limits = np.full(dfa.n_states, -1, np.int64)
        for s, cls in enumerate(classes):
            found = by_class.get(cls)
            quotes.append(NO_EDGE if found is None else move(found[0]))
            if found is not None:
                limits[s] = found[1]
        # A name may be begun where one of its continuations may.
        tails = np.repeat(np.arange(dfa.n_states), np.diff(dfa.offsets))
        while True:
            budget.check("names of properties by patterns")
            before = limits.copy()
            np.maximum.at(limits, tails, limits[dfa.target])
            if (limits == before).all():
                break
        return library.lift(dfa, quotes, limits=limits.astype(np.int32))
