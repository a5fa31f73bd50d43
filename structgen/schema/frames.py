"""Pieces that all JSON frames are made of: whitespace, literals, value dispatch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from structgen.automaton.step import BASE, MAP, NO_LIMIT
from structgen.automaton.tables import NO_EDGE, ONE_CLASS, Automaton, Edge, classes_of, pop, push

WHITESPACE = b" \t\n\r"

# How a value may begin: bytes, and the state of the value's frame after each of them.
Entry = tuple[bytes, int]
ByteEdge = tuple[bytes, Edge]


@dataclass(frozen=True, slots=True)
class Whitespace:
    """How whitespace between tokens is read: the states to push into, by first byte.

    ``optional`` is False for a pattern that does not accept the empty text.
    """

    entries: tuple[Entry, ...]
    optional: bool = True


NO_WHITESPACE = Whitespace(())


class Frames:
    """Builds states of JSON frames in an automaton, with one kind of whitespace."""

    def __init__(self, automaton: Automaton, whitespace: Whitespace = NO_WHITESPACE) -> None:
        self.automaton = automaton
        self.whitespace = whitespace
        self._finals: dict[tuple[int, int], int] = {}

    def position(
        self,
        edges: Callable[[], Iterable[ByteEdge]],
        *,
        hi: int = NO_LIMIT,
    ) -> int:
        """A state between two tokens: whitespace, then one of ``edges``, asked for when entered."""
        return self.automaton.new_state(lambda q: self.set_position(q, edges(), hi=hi), hi=hi)

    def place(self, edges: Iterable[ByteEdge], *, hi: int = NO_LIMIT) -> int:
        """A state between two tokens, built at once."""
        return self.set_position(self.automaton.reserve_state(hi=hi), edges, hi=hi)

    def set_position(self, q: int, edges: Iterable[ByteEdge], *, hi: int = NO_LIMIT) -> int:
        """Give state ``q`` whitespace and what follows it; returns ``q``.

        After the whitespace comes a state that the counter may enter up to ``hi``. It has the
        edges of ``q``, those that begin whitespace left out.
        """
        a, spaces = self.automaton, self.whitespace
        firsts: list[bytes] = []
        targets: list[Edge] = [NO_EDGE]
        for first, edge in edges:
            firsts.append(first)
            targets.append(edge)
        here = a.class_map(classes_of(*firsts))
        if not spaces.entries:
            a.set_state(q, here, targets)
            return q
        after = a.reserve_states(1)
        back = a.new_return(((after, 0),))
        if not spaces.optional:
            firsts = [b""] * len(firsts)
        for first, target in spaces.entries:
            firsts.append(first)
            targets.append(push(back, target))
        base = a.add_edges(targets)
        a.states[after] = (here, base, 0, hi, -1)
        a.set_row(q, a.class_map(classes_of(*firsts)), base)
        return q

    def final(self, cls: int) -> int:
        """A state that ends its frame with class ``cls``."""
        return self.finals([(cls, NO_LIMIT)])[0]

    def finals(self, ends: Sequence[tuple[int, int]]) -> list[int]:
        """For each class and counter, a state that ends its frame with this class.

        It is entered with counters up to the given one.
        """
        known, a = self._finals, self.automaton
        new = [end for end in dict.fromkeys(ends) if end not in known]
        if new:
            first = a.reserve_states(len(new))
            base = a.add_edges([pop(cls) for cls, _ in new])
            a.states[first : first + len(new)] = [
                (ONE_CLASS, base + k, 0, hi, cls) for k, (cls, hi) in enumerate(new)
            ]
            known.update(zip(new, range(first, first + len(new)), strict=True))
        return [known[end] for end in ends]

    def value(self, entries: Sequence[Entry], return_point: int) -> list[ByteEdge]:
        """The edges that begin a value which returns to ``return_point``."""
        return [(first, push(return_point, target)) for first, target in entries]


def byte_entries(automaton: Automaton, start: int) -> list[Entry]:
    """How a placed byte automaton may begin: its start state's bytes and the states after them."""
    row = automaton.maps[automaton.states[start, MAP]]
    base = int(automaton.states[start, BASE])
    firsts: dict[int, bytearray] = {}
    for b in range(256):
        target, arg, _ = automaton.edges[base + int(row[b])]
        if target >= 0 and arg < 0:
            firsts.setdefault(int(target), bytearray()).append(b)
    return [(bytes(symbols), target) for target, symbols in firsts.items()]


def add_literal(automaton: Automaton, text: bytes, end: int) -> Entry:
    """A frame that reads ``text`` (two bytes or more) and ends in state ``end``."""
    nxt = end
    for b in reversed(text[1:]):
        q = automaton.reserve_state()
        automaton.set_bytes(q, [(bytes([b]), (nxt, -1, 0))])
        nxt = q
    return text[:1], nxt
