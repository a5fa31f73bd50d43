"""Arrays whose items must differ and come from small finite sets.

A state of the frame knows which values were used, so the next item is one of those left. States
exist for the sets that a text has visited. The least length is met by a matching: a value is
offered where the positions still required can get different values after it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from structgen.automaton.placing import place_bytes
from structgen.automaton.step import NO_LIMIT
from structgen.automaton.tables import move
from structgen.regular.charset import BYTES
from structgen.regular.dfa import combine
from structgen.regular.numbers import equal
from structgen.schema.algebra import NUMBER, STRING
from structgen.schema.base import Builder
from structgen.schema.distinct import Value, are_different
from structgen.schema.frames import ByteEdge, Entry, byte_entries
from structgen.schema.keys import key_block
from structgen.schema.satisfy import Conjunct, array_bounds


class UniqueFrame:
    """One array, from after its opening bracket; ends with class 0.

    ``values`` are those of each position, the last list for all further ones.
    """

    def __init__(self, builder: Builder, shapes: Conjunct, values: list[list[Value]]) -> None:
        self.builder, self.automaton = builder, builder.automaton
        self.shapes, self.values = shapes, values
        self.minimum, self.maximum, _ = array_bounds(shapes)
        self._after: dict[frozenset[Value], int] = {}

    def entries(self) -> list[Entry]:
        def build(q: int) -> None:
            self.builder.frames.set_position(q, self._edges(0, frozenset()))

        return [(b"[", self.automaton.new_state(build))]

    def _edges(self, k: int, used: frozenset[Value]) -> list[ByteEdge]:
        """The edges after ``k`` items."""
        item = self._item(k, used)
        edges = item
        if k and item:
            edges = [(b",", move(self.builder.frames.position(lambda: item)))]
        if k >= self.minimum:
            edges = [*edges, (b"]", move(self.builder.library.end))]
        return edges

    def _item(self, k: int, used: frozenset[Value]) -> list[ByteEdge]:
        """The edges that begin item ``k``."""
        if k >= self.maximum:
            return []
        position = min(k, len(self.values) - 1)
        left = [
            value
            for value in self.values[position]
            if value not in used
            and (
                k + 1 >= self.minimum
                or are_different(self.values, k + 1, self.minimum, used | {value})
            )
        ]
        edges: list[ByteEdge] = []
        for values, entries in self._entries(k, left):
            gotos = [(self._state(k + 1, used | {value}), 0) for value in values]
            edges += self.builder.frames.value(entries, self.automaton.new_return(gotos))
        return edges

    def _entries(self, k: int, left: Sequence[Value]) -> Iterator[tuple[list[Value], list[Entry]]]:
        """Values that item ``k`` may have, and how they begin; final class j is the j-th value."""
        a, library = self.automaton, self.builder.library
        literals = {(0, None): library.null, (1, False): library.false, (1, True): library.true}
        for value in left:
            if value[0] <= 1:
                yield [value], literals[value]
        numbers = [value for value in left if value[0] == NUMBER]
        if numbers:
            # The formula says which spellings count: draft 4 has no 1.0 among the integers.
            i = self.builder.sat.item_formula(self.shapes, k)[NUMBER]
            language = self.builder.scalars.language(NUMBER, i)
            operands = [language, *(equal(number) for _, number in numbers)]
            dfa = combine(operands, _which, alphabet=BYTES)
            yield numbers, byte_entries(a, place_bytes(a, dfa))
        strings = [value for value in left if value[0] == STRING]
        if strings:
            final = self.builder.frames.final
            keys = [(text, move(final(j)), NO_LIMIT) for j, (_, text) in enumerate(strings)]
            yield strings, [(b'"', key_block(keys, library).place(a))]

    def _state(self, k: int, used: frozenset[Value]) -> int:
        """The state after ``k`` items."""
        found = self._after.get(used)
        if found is None:
            found = self._after[used] = self.builder.frames.position(lambda: self._edges(k, used))
        return found


def _which(classes: tuple[int, ...]) -> int:
    """The operand, of those behind the first, that accepts what the first does."""
    if classes[0] < 0:
        return -1
    return next((j for j, cls in enumerate(classes[1:]) if cls >= 0), -1)
