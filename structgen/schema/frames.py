"""Pieces that all JSON frames are made of: whitespace, literals, value dispatch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from structgen.automaton.step import BASE, DEAD, MAP, NO_LIMIT
from structgen.automaton.tables import Automaton, Edge, pop, push
from structgen.regular.dfa import DFA

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

        def build(q: int) -> None:
            here = list(edges())
            spaces = self.whitespace
            if not spaces.entries:
                self.automaton.set_bytes(q, here)
                return
            after = self.automaton.new_state(
                lambda state: self.automaton.set_bytes(state, here), hi=hi
            )
            back = self.automaton.new_return([(after, 0)])
            blanks = [(first, push(back, target)) for first, target in spaces.entries]
            self.automaton.set_bytes(q, [*(here if spaces.optional else []), *blanks])

        return self.automaton.new_state(build, hi=hi)

    def final(self, cls: int, *, hi: int = NO_LIMIT) -> int:
        """A state that ends its frame with class ``cls``; entered with a counter up to ``hi``."""
        state = self._finals.get((cls, hi))
        if state is None:
            state = self._finals[cls, hi] = self.automaton.reserve_state(hi=hi)
            self.automaton.set_final(state, cls)
        return state

    def value(self, entries: Sequence[Entry], return_point: int) -> list[ByteEdge]:
        """The edges that begin a value which returns to ``return_point``."""
        return [(first, push(return_point, target)) for first, target in entries]


def place_bytes(automaton: Automaton, dfa: DFA, classes: Sequence[int] | None = None) -> int:
    """Append a byte automaton that pops, where it is final, on each byte it cannot use.

    ``classes`` renames its final classes. Returns the state of its start.
    """
    first = automaton.n_states
    numbers = [automaton.reserve_state() for _ in range(dfa.n_states)]
    offsets, lo, hi = dfa.offsets.tolist(), dfa.lo.tolist(), dfa.hi.tolist()
    target, final = dfa.target.tolist(), dfa.final.tolist()
    for s, q in enumerate(numbers):
        cls = final[s]
        if cls >= 0 and classes is not None:
            cls = classes[cls]
        rest: Edge = pop(cls) if cls >= 0 else (DEAD, -1, 0)
        row = bytearray(256)
        edges = [rest]
        at: dict[int, int] = {}
        for k in range(offsets[s], offsets[s + 1]):
            c = at.get(target[k])
            if c is None:
                c = at[target[k]] = len(edges)
                edges.append((first + target[k], -1, 0))
            for b in range(lo[k], min(hi[k], 255) + 1):
                row[b] = c
        automaton.set_state(q, automaton.class_map(bytes(row)), edges, end=cls)
    return first


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
