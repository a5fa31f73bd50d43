"""The one table format: a deterministic pushdown automaton over bytes.

A configuration is a state ``q``, the counter ``v`` of the current frame, and a stack of suspended
frames ``(return point, counter)``. For a state and a byte the tables say one of three things.

======== ============ ======================================================================
table    shape        columns
======== ============ ======================================================================
states   [N, 5]       MAP   row of ``maps`` (its byte classes), -1 where not built yet
                      BASE  first edge; the edge of byte b is ``BASE + maps[MAP, b]``
                      LO,HI counter values with which the state may be entered
                      END   final class at the end of the text, -1 where it must go on; leaves
                            one frame
maps     [M, 256]     uint8, byte -> byte class; equal maps are stored once
edges    [E, 3]       TARGET >= 0: move there; -1: dead; -2 - c: pop with final class c
                      ARG    of a move: return point to push first, or -1 (bit 30: the inner
                             frame begins with the outer one's counter instead of 0);
                             of a pop: number of frames to leave (1, or a reduction's length)
                      COUNT  change of the frame's counter: 0 none, n > 0 add n, -1 - n set to n
returns  [R, 2]       first entry in ``gotos`` and number of final classes
gotos    [G, 2]       state to continue in for a final class, or -1, and the change of the counter
======== ============ ======================================================================

A pop consumes nothing: the same byte is looked up again in the state that ``gotos`` names. The
change of the counter comes first, then the push, then the check against LO and HI. Tables grow
while a text is generated: a state is allocated before it is built, and built when first entered.
Invariant: every built state is productive, from each counter value that it admits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from structgen.automaton.step import (
    ARG,
    BASE,
    DEAD,
    END,
    HI,
    INHERIT,
    LO,
    MAP,
    NO_LIMIT,
    TARGET,
    UNBUILT,
)
from structgen.errors import LimitExceeded

Edge = tuple[int, int, int]  # TARGET, ARG, COUNT

NO_EDGE: Edge = (DEAD, -1, 0)


def move(target: int, count: int = 0) -> Edge:
    return (target, -1, count)


def push(return_point: int, target: int, *, inherit: bool = False) -> Edge:
    return (target, return_point + INHERIT if inherit else return_point, 0)


def pop(cls: int, frames: int = 1) -> Edge:
    return (-2 - cls, frames, 0)


def set_counter(value: int) -> int:
    """The COUNT that sets a counter to ``value``."""
    return -1 - value


class Automaton:
    """Growable tables (see the module's text) and the builders of states not built yet.

    The arrays are replaced when they grow; whoever keeps addresses registers with ``on_grow``.
    """

    def __init__(self, base: Automaton | None = None, *, max_states: int = NO_LIMIT) -> None:
        self.max_states = max_states
        self.on_grow: Callable[[], None] | None = None
        # States inside a string of any text whose length is bounded: (lowest, highest).
        self.counted: dict[int, tuple[int, int]] = {}
        self._builders: dict[int, Callable[[int], None]] = {}
        self._map_ids: dict[bytes, int]
        if base is None:
            self.states = np.zeros((64, 5), np.int32)
            self.maps = np.zeros((16, 256), np.uint8)
            self.edges = np.zeros((256, 3), np.int32)
            self.returns = np.zeros((16, 2), np.int32)
            self.gotos = np.zeros((16, 2), np.int32)
            self.n_states = self.n_maps = self.n_edges = self.n_returns = self.n_gotos = 0
            self._map_ids = {}
            self.class_map(bytes(256))  # map 0: one class; the states that only end their frame
        else:
            # The library's states keep their numbers in every grammar, so their rows are shared.
            for name in ("states", "maps", "edges", "returns", "gotos"):
                n = getattr(base, "n_" + name)
                old = getattr(base, name)
                new = np.empty((n + n // 2 + 64, *old.shape[1:]), old.dtype)
                new[:n] = old[:n]
                setattr(self, name, new)
                setattr(self, "n_" + name, n)
            self._map_ids = dict(base._map_ids)

    # -- growth ---------------------------------------------------------------------------------

    def _reserve(self, name: str, extra: int) -> int:
        """Room for ``extra`` more rows of a table; returns the index of the first."""
        array: np.ndarray = getattr(self, name)
        n: int = getattr(self, "n_" + name)
        if name == "states" and n + extra > self.max_states:
            raise LimitExceeded(limit="states", value=self.max_states, where="the automaton")
        if n + extra > array.shape[0]:
            grown = np.zeros((max(2 * array.shape[0], n + extra), *array.shape[1:]), array.dtype)
            grown[:n] = array[:n]
            setattr(self, name, grown)
            if self.on_grow is not None:
                self.on_grow()
        setattr(self, "n_" + name, n + extra)
        return n

    @property
    def nbytes(self) -> int:
        tables = (self.states, self.maps, self.edges, self.returns, self.gotos)
        return sum(t.nbytes for t in tables) + 320 * len(self._map_ids) + 200 * len(self._builders)

    # -- building -------------------------------------------------------------------------------

    def class_map(self, byte_classes: bytes) -> int:
        """The row of ``maps`` that holds these 256 byte classes."""
        found = self._map_ids.get(byte_classes)
        if found is None:
            found = self._reserve("maps", 1)
            self.maps[found] = np.frombuffer(byte_classes, np.uint8)
            self._map_ids[byte_classes] = found
        return found

    def new_state(self, builder: Callable[[int], None], *, lo: int = 0, hi: int = NO_LIMIT) -> int:
        """Allocate a state. ``builder(state)`` is called when it is first entered."""
        q = self.reserve_state(lo=lo, hi=hi)
        self._builders[q] = builder
        return q

    def reserve_state(self, *, lo: int = 0, hi: int = NO_LIMIT) -> int:
        """Allocate a state that the caller gives its edges before anything can enter it."""
        q = self._reserve("states", 1)
        self.states[q] = (UNBUILT, 0, lo, hi, -1)
        return q

    def alias(self, q: int, other: int) -> None:
        """Give state ``q`` the edges of ``other``, its own counter bounds kept."""
        row, model = self.states[q], self.states[other]
        row[BASE], row[END], row[MAP] = model[BASE], model[END], model[MAP]

    def set_state(self, q: int, class_map: int, edges: Sequence[Edge], *, end: int = -1) -> None:
        """Give state ``q`` its edges, one for each byte class of ``class_map``."""
        base = self._reserve("edges", len(edges))
        self.edges[base : base + len(edges)] = edges
        row = self.states[q]
        row[BASE] = base
        row[END] = end
        row[MAP] = class_map

    def set_bytes(self, q: int, by_byte: Iterable[tuple[bytes, Edge]], *, end: int = -1) -> None:
        """Give state ``q`` edges by the bytes that take them; every other byte is dead."""
        classes = bytearray(256)
        edges: list[Edge] = [NO_EDGE]
        for symbols, edge in by_byte:
            for b in symbols:
                classes[b] = len(edges)
            edges.append(edge)
        self.set_state(q, self.class_map(bytes(classes)), edges, end=end)

    def append(self, states: np.ndarray, edges: np.ndarray, maps: np.ndarray) -> int:
        """Add a block of built states; returns the number of its first.

        ``states`` int32 [n, 5] and ``edges`` int32 [m, 4] count from the block's start; a non-zero
        fourth column says that an edge's TARGET is not a state of the block. ``maps`` are the
        block's class maps.
        """
        map_ids = np.array([self.class_map(row.tobytes()) for row in maps], np.int32)
        first_state = self._reserve("states", len(states))
        first_edge = self._reserve("edges", len(edges))
        placed = self.states[first_state : first_state + len(states)]
        placed[:] = states
        placed[:, MAP] = map_ids[states[:, MAP]]
        placed[:, BASE] += first_edge
        new = self.edges[first_edge : first_edge + len(edges)]
        new[:] = edges[:, :3]
        new[:, TARGET] += np.where(edges[:, 3] == 0, first_state, 0).astype(np.int32)
        return first_state

    def set_final(self, q: int, cls: int) -> None:
        """State ``q`` is the end of its frame: every byte, and the end, pops with class ``cls``."""
        self.set_state(q, self.class_map(bytes(256)), [pop(cls)], end=cls)

    def new_return(self, gotos: Sequence[tuple[int, int]]) -> int:
        """A return point: for each final class ``(state or -1, change of the counter)``."""
        base = self._reserve("gotos", len(gotos))
        self.gotos[base : base + len(gotos)] = gotos
        r = self._reserve("returns", 1)
        self.returns[r] = (base, len(gotos))
        return r

    def is_built(self, q: int) -> bool:
        return self.states[q, MAP] != UNBUILT

    def build(self, q: int) -> None:
        """Build a state that was entered for the first time."""
        while self.states[q, MAP] == UNBUILT:
            self._builders[q](q)  # kept until it succeeded, so that a failure can be repeated
            del self._builders[q]

    def built(self, q: int) -> int:
        """``q``, built."""
        self.build(q)
        return q

    def build_all(self, limit: int = NO_LIMIT) -> None:
        """Build all states that are waiting (they may add more); stops at ``limit`` states."""
        while self._builders and self.n_states < limit:
            self.build(next(iter(self._builders)))

    # -- looking at it --------------------------------------------------------------------------

    def verify(self) -> None:
        """Check the format's invariants; raises ValueError naming the first broken one."""
        n = self.n_states
        states, edges = self.states[:n], self.edges[: self.n_edges]
        built = np.flatnonzero(states[:, MAP] != UNBUILT)
        _check(states[built, MAP] < self.n_maps, built, "class map out of range")
        classes = self.maps[: self.n_maps].max(axis=1).astype(np.int64)
        last = states[built, BASE] + classes[states[built, MAP]]
        _check((states[built, BASE] >= 0) & (last < self.n_edges), built, "edges out of range")
        _check(states[:, LO] >= 0, np.arange(n), "negative counter bound")
        _check(states[:, LO] <= states[:, HI], np.arange(n), "state that admits no counter value")
        moves = np.flatnonzero(edges[:, TARGET] >= 0)
        _check(edges[moves, TARGET] < n, moves, "edge to a state that does not exist")
        points = np.where(edges[moves, ARG] < 0, 0, edges[moves, ARG] & ~INHERIT)
        _check((edges[moves, ARG] < 0) | (points < self.n_returns), moves, "unknown return point")
        pops = np.flatnonzero(edges[:, TARGET] < DEAD)
        _check(edges[pops, ARG] >= 1, pops, "pop of no frame")
        returns, gotos = self.returns[: self.n_returns], self.gotos[: self.n_gotos]
        _check(returns.sum(axis=1) <= self.n_gotos, np.arange(len(returns)), "gotos out of range")
        _check((gotos[:, 0] >= -1) & (gotos[:, 0] < n), np.arange(len(gotos)), "goto out of range")
        waiting = set(np.flatnonzero(states[:, MAP] == UNBUILT).tolist())
        if waiting != set(self._builders):
            odd = min(waiting ^ set(self._builders))
            raise ValueError(f"state {odd}: unbuilt states and their builders disagree")
        for q in built.tolist():
            used = np.unique(self.maps[states[q, MAP]])
            if (edges[states[q, BASE] + used, TARGET] == DEAD).all() and states[q, END] < 0:
                raise ValueError(f"state {q}: dead end")

    def dump(self, start: int | None = None, *, limit: int = 2000) -> str:
        """A readable listing of the built states (from ``start``: those reachable from it)."""
        order = list(range(self.n_states)) if start is None else self._reachable(start, limit)
        lines = []
        for q in order[:limit]:
            lines.append(self._describe(q))
        if len(order) > limit:
            lines.append(f"... {len(order) - limit} more states")
        return "\n".join(lines)

    def _edges_of(self, q: int) -> list[tuple[list[int], np.ndarray]]:
        """The bytes of each byte class of a built state, with the edge that they take."""
        row = self.maps[self.states[q, MAP]]
        groups: dict[int, list[int]] = {}
        for b in range(256):
            groups.setdefault(int(row[b]), []).append(b)
        return [(group, self.edges[self.states[q, BASE] + c]) for c, group in groups.items()]

    def _reachable(self, start: int, limit: int) -> list[int]:
        order, seen = [start], {start}
        for q in order:
            if len(order) > limit or not self.is_built(q):
                continue
            for _, (target, arg, _count) in self._edges_of(q):
                follow = [int(target)] if target >= 0 else []
                if target >= 0 and arg >= 0:
                    base, size = self.returns[arg & ~INHERIT]
                    follow += [int(t) for t in self.gotos[base : base + size, 0] if t >= 0]
                for t in follow:
                    if t not in seen:
                        seen.add(t)
                        order.append(t)
        return order

    def _describe(self, q: int) -> str:
        _, _, lo, hi, end = (int(x) for x in self.states[q])
        head = f"state {q}"
        if lo or hi != NO_LIMIT:
            head += f" [{lo} <= v <= {'*' if hi == NO_LIMIT else hi}]"
        if not self.is_built(q):
            return head + ": not built yet"
        if end >= 0:
            head += f" final {end}"
        lines = [head]
        for group, (target, arg, count) in self._edges_of(q):
            if target == DEAD:
                continue
            if target < DEAD:
                what = f"pop {-2 - target}" + (f" x{arg}" if arg > 1 else "")
            elif arg >= 0:
                arg &= ~INHERIT
                base, size = self.returns[arg]
                back = ", ".join(str(t) for t in self.gotos[base : base + size, 0])
                what = f"push {arg} (back to {back}), go to {target}"
            else:
                what = f"go to {target}"
            if count:
                what += f", v += {count}" if count > 0 else f", v = {-1 - count}"
            lines.append(f"  {_show_bytes(group):<24} {what}")
        return "\n".join(lines)


def _check(good: np.ndarray, index: np.ndarray, what: str) -> None:
    if not good.all():
        raise ValueError(f"entry {int(index[np.flatnonzero(~good)[0]])}: {what}")


def _show_bytes(values: list[int]) -> str:
    """Bytes as character ranges, hexadecimal where they are not printable ASCII."""
    parts: list[str] = []
    first = previous = values[0]
    for b in [*values[1:], 999]:
        if b != previous + 1:
            ends = [chr(x) if 32 < x < 127 else f"\\x{x:02x}" for x in (first, previous)]
            parts.append(ends[0] if first == previous else f"{ends[0]}-{ends[1]}")
            first = b
        previous = b
    return "any byte" if len(values) == 256 else " ".join(parts)
