"""Objects that satisfy one conjunction of shapes.

Properties come in one order: declared ones as the schema lists them, then required names that are
not declared, then others. The frame's counter is the index of the next declared property, so one
automaton of names serves all positions between two required properties: a name may be begun where
the counter is not past the last property that its beginning can still become.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from structgen.automaton.step import NO_LIMIT
from structgen.automaton.tables import move, push, set_counter
from structgen.schema.algebra import Formula
from structgen.schema.base import Builder
from structgen.schema.frames import ByteEdge, Entry
from structgen.schema.keyspace import Choice, KeySpace
from structgen.schema.node import Node
from structgen.schema.satisfy import Conjunct, property_order


@dataclass(frozen=True, slots=True)
class _Property:
    name: str
    place: Node | Formula  # what the value must satisfy; a node that was not read yet
    required: bool
    possible: bool  # some value satisfies it


class ObjectFrame:
    """One object, from after its opening brace; ends with class 0."""

    def __init__(self, builder: Builder, shapes: Conjunct) -> None:
        self.builder, self.shapes = builder, shapes
        self.automaton = builder.automaton

    def entries(self) -> list[Entry]:
        return [(b"{", self.automaton.new_state(self._build_start))]

    def _prepare(self) -> None:
        sat = self.builder.sat
        required = {name for shape in self.shapes for name in shape.required}
        self.properties: list[_Property] = []
        for name in property_order(self.shapes):
            place: Node | Formula | None = sat.unread_property(self.shapes, name)
            possible = place is not None
            if place is None:
                place = sat.property_formula(self.shapes, name)
                possible = sat.is_satisfiable(place)
            self.properties.append(_Property(name, place, name in required, possible))
        order = [p.name for p in self.properties]
        self.keys = KeySpace(sat, self.shapes, order, self.builder.limits)
        # The kinds of undeclared names that may come, with what their values must satisfy.
        self.others: list[tuple[int, Formula]] = []
        for kind in self.keys.possible_kinds():
            formula = sat.algebra.conjunction(
                self.keys.formula(shape, None, kind) for shape in self.shapes
            )
            if sat.is_satisfiable(formula):
                self.others.append((kind, formula))
        # Segment s ends with the s-th required property; the last one with the object.
        self.first_of: list[int] = [0]
        for i, p in enumerate(self.properties):
            if p.required:
                self.first_of.append(i + 1)
        n = len(self.first_of)
        self._comma: list[int | None] = [None] * n
        self._quotes: list[ByteEdge | None] = [None] * n
        self._return: list[int | None] = [None] * n
        self._colons: dict[tuple[Node | Formula, int], int] = {}
        self._after_colon: dict[int, tuple[Node | Formula, int]] = {}

    def _build_start(self, q: int) -> None:
        self._prepare()
        self.builder.frames.set_position(q, self._begin(True))

    # -- segments -------------------------------------------------------------------------------

    def _segment(self, s: int) -> list[tuple[int, _Property]]:
        """Index and property of those that segment ``s`` can produce."""
        first = self.first_of[s]
        last = self.first_of[s + 1] if s + 1 < len(self.first_of) else len(self.properties)
        return [(i, self.properties[i]) for i in range(first, last) if self.properties[i].possible]

    def _is_last(self, s: int) -> bool:
        return s == len(self.first_of) - 1

    def _highest(self, s: int) -> int:
        """The highest counter with which segment ``s`` can still produce a property, -1: none."""
        if not self._is_last(s) or self.others:
            return NO_LIMIT
        names = self._segment(s)
        return names[-1][0] if names else -1

    def _begin(self, at_start: bool, s: int = 0) -> list[ByteEdge]:
        """The edges at the start of the object, or after a value of segment ``s``."""
        edges: list[ByteEdge] = []
        if self._highest(s) >= 0:
            if at_start:
                edges.append(self._quote(s))
            else:
                edges.append((b",", move(self._comma_state(s))))
        if self._is_last(s):
            edges.append((b"}", move(self.builder.library.end)))
        return edges

    def _comma_state(self, s: int) -> int:
        state = self._comma[s]
        if state is None:
            state = self._comma[s] = self.builder.frames.place(
                [self._quote(s)], hi=self._highest(s)
            )
        return state

    def _quote(self, s: int) -> ByteEdge:
        """The edge that begins the name of a property of segment ``s``.

        The name is a frame of its own that inherits the counter; its final class says which it is.
        Class 0 is an undeclared name where there is one kind of them: any string ends so.
        """
        edge = self._quotes[s]
        if edge is None:
            last = self._is_last(s)
            names = self._segment(s)
            # Where only one property can come next, the counter says nothing.
            single = len(names) == 1 and not last
            others = self.others if last else []
            following = [s + 1 if p.required else s for _, p in names]
            colons = self._colon_states(
                [(formula, s) for _, formula in others]
                + [(p.place, after) for (_, p), after in zip(names, following, strict=True)]
            )
            choices: list[Choice] = []
            gotos: list[tuple[int, int]] = [(-1, 0)]
            for (kind, _), colon in zip(others, colons[: len(others)], strict=True):
                goto = (colon, set_counter(len(self.properties)))
                if self.keys.is_plain:
                    gotos[0] = goto
                    choices.append(Choice(None, kind, 0))
                else:
                    choices.append(Choice(None, kind, len(gotos)))
                    gotos.append(goto)
            for (i, p), colon in zip(names, colons[len(others) :], strict=True):
                limit = NO_LIMIT if single or p.required else i
                choices.append(Choice(p.name, 0, len(gotos), limit))
                gotos.append((colon, set_counter(i + 1)))
            block = self.keys.block(choices, self.builder.library, self.builder.frames)
            back = self.automaton.new_return(gotos)
            state = block.place(self.automaton)
            edge = self._quotes[s] = (b'"', push(back, state, inherit=True))
        return edge

    # -- after a name ---------------------------------------------------------------------------

    def _colon_states(self, wanted: Sequence[tuple[Node | Formula, int]]) -> list[int]:
        """States after a name: what its value must satisfy, and the segment that follows."""
        known = self._colons
        new = [key for key in dict.fromkeys(wanted) if key not in known]
        first = self.automaton.new_states(len(new), self._build_colon)
        for q, key in enumerate(new, first):
            known[key], self._after_colon[q] = q, key
        return [known[key] for key in wanted]

    def _build_colon(self, q: int) -> None:
        # With the colon's first mask come tokens that hold the beginning of the value.
        frames = self.builder.frames
        place, following = self._after_colon[q]
        builder = self.builder
        entries = builder.entries(place) if isinstance(place, tuple) else builder.value_of(place)
        edges = frames.value(entries, self._return_point(following))
        frames.set_position(q, [(b":", move(frames.place(edges)))])

    def _return_point(self, s: int) -> int:
        """Where values before segment ``s`` return to."""
        point = self._return[s]
        if point is None:
            after = self.builder.frames.position(lambda: self._begin(False, s))
            point = self._return[s] = self.automaton.new_return([(after, 0)])
        return point
