"""The one table format: a deterministic pushdown automaton over bytes.

A configuration is a state ``q``, the counter ``v`` of the current frame, and a stack of suspended
frames ``(return point, counter)``. For a state and a byte the tables say one of three things.

======== ============ ======================================================================
table    shape        columns
======== ============ ======================================================================
states   [N, 5]       MAP   row of ``maps`` (its byte classes), -1 where not built yet
                      BASE  first edge; the edge of byte b is ``BASE + maps[MAP, b]``
                      LO,HI counter values with which the state may be entered
                      END   final class at the end of the text, which leaves one frame; -1 where
                            it must go on; -2 - e where it is one of those of fork e
maps     [M, 256]     uint8, byte -> byte class; equal maps are stored once
edges    [E, 3]       TARGET >= 0: move there; -1: dead; -2 - c: pop with final class c;
                             FORK - n: one of n edges, which one is not known yet
                      ARG    of a move: return point to push first, or -1 (bit 30: the inner
                             frame begins with the outer one's counter instead of 0; bit 29:
                             an entry of ``pushes`` instead of a return point);
                             of a pop: number of frames to leave (1, or a reduction's length);
                             of a fork: the first of its edges
                      COUNT  change of the frame's counter: 0 none, n > 0 add n, -1 - n set to n
returns  [R, 3]       first entry in ``gotos``, number of final classes there, and 1 where what
                      is not there must be asked for
gotos    [G, 2]       state to continue in for a final class, -1 or -2 (not known yet), and the
                      change of the counter
pushes   [P, 2]       a return point to push and the next entry (the frame above it), or -1
======== ============ ======================================================================

A pop consumes nothing: the same byte is looked up again in the state that ``gotos`` names. The
change of the counter comes first, then the push, then the check against LO and HI. Tables grow
while a text is generated: a state is allocated before it is built, and built when first entered.
Invariant: every built state is productive, from each counter value that it admits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

import numpy as np

from structgen import budget
from structgen.automaton.byte_classes import intern_map, rehash
from structgen.automaton.step import (
    ARG,
    BASE,
    CLASS_BITS,
    DEAD,
    END,
    FORK,
    HI,
    INHERIT,
    LO,
    MAP,
    NO_LIMIT,
    SEVERAL,
    TARGET,
    UNBUILT,
    UNKNOWN,
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


@lru_cache(maxsize=4096)
def classes_of(*symbols: bytes) -> bytes:
    """A class map: the bytes of the k-th of these have class k + 1, all others class 0."""
    classes = bytearray(256)
    for c, some in enumerate(symbols, 1):
        for b in some:
            classes[b] = c
    return bytes(classes)


ONE_CLASS = 0  # the first of ``maps``
TABLES = ("states", "maps", "edges", "returns", "gotos", "pushes")
# Rows of a new grammar's tables before they grow: enough for most schemas.
HEADROOM = {
    "states": 1024, "maps": 192, "edges": 2560, "returns": 256, "gotos": 512, "pushes": 16,
}  # fmt: skip


class Automaton:
    """Growable tables (see the module's text) and the builders of states not built yet.

    The arrays are replaced when they grow; whoever keeps addresses registers with ``on_grow``.
    Who owns the automaton closes it, and then what registered with ``on_close`` is called.
    """

    def __init__(self, base: Automaton | None = None, *, max_states: int = NO_LIMIT) -> None:
        self.max_states = max_states
        self.on_grow: Callable[[], None] | None = None
        self.on_close: list[Callable[[], None]] = []
        self.version = 0  # changes before something is built
        # States inside a string of any text whose length is bounded: (lowest, highest).
        self.counted: dict[int, tuple[int, int]] = {}
        # By return point: 0, or 1 + the least number of different values that an item may have
        # which returns there and must differ from the array's others (see masks/unique.py).
        self.unique = np.zeros(16, np.int64)
        self.has_unique, self.least_room = False, NO_LIMIT
        self.forks = False  # does some edge have alternatives?
        self.symbols = False  # are there tokens that a text must be, whatever they spell?
        self._builders: dict[int, Callable[[int], object]] = {}
        self._resolvers: dict[int, Callable[[int], int]] = {}
        self._push_ids: dict[tuple[int, ...], int] = {}
        self._map_ids: dict[bytes, int]  # of the maps that were asked for by their bytes
        if base is None:
            self.states = np.zeros((64, 5), np.int32)
            self.maps = np.zeros((16, 256), np.uint8)
            self.edges = np.zeros((256, 3), np.int32)
            self.returns = np.zeros((16, 3), np.int32)
            self.gotos = np.zeros((16, 2), np.int32)
            self.pushes = np.zeros((1, 2), np.int32)
            self.n_states = self.n_maps = self.n_edges = self.n_returns = self.n_gotos = 0
            self.n_pushes = 0
            self.map_slots = np.full(64, -1, np.int32)
            self._map_ids = {}
            self.class_map(bytes(256))  # of the states that only end their frame
        else:
            # The library's states keep their numbers in every grammar, so their rows are shared.
            for name in TABLES:
                n = getattr(base, "n_" + name)
                old = getattr(base, name)
                new = np.empty((n + HEADROOM[name], *old.shape[1:]), old.dtype)
                new[:n] = old[:n]
                setattr(self, name, new)
                setattr(self, "n_" + name, n)
            self.map_slots = base.map_slots.copy()
            self._map_ids = dict(base._map_ids)

    # -- growth ---------------------------------------------------------------------------------

    def _reserve(self, name: str, extra: int) -> int:
        """Room for ``extra`` more rows of a table; returns the index of the first."""
        n: int = getattr(self, "n_" + name)
        if n + extra > len(getattr(self, name)):
            self._grow(name, n + extra)
        setattr(self, "n_" + name, n + extra)
        return n

    def _grow(self, name: str, rows: int) -> None:
        """Replace a table by one that has at least so many rows."""
        budget.check("the automaton")
        array: np.ndarray = getattr(self, name)
        n: int = getattr(self, "n_" + name)
        room = max(2 * len(array), rows)
        budget.charge(array[:1].nbytes * (room - len(array)), "the automaton")
        grown = np.zeros((room, *array.shape[1:]), array.dtype)
        grown[:n] = array[:n]
        setattr(self, name, grown)
        if self.on_grow is not None:
            self.on_grow()

    def make_room(self, *, states: int = 0, edges: int = 0, maps: int = 0) -> None:
        """Room for so many more rows, for a kernel that fills them and counts what it used.

        Raises:
            LimitExceeded: there are more states than allowed already.
        """
        budget.check("the automaton")
        if self.n_states > self.max_states:
            raise LimitExceeded(limit="states", value=self.max_states, where="the automaton")
        if self.n_states + states > len(self.states):
            self._grow("states", self.n_states + states)
        if self.n_edges + edges > len(self.edges):
            self._grow("edges", self.n_edges + edges)
        if self.n_maps + maps > len(self.maps):
            self._grow("maps", self.n_maps + maps)
        if 2 * (self.n_maps + maps) > len(self.map_slots):
            # At least half of the slots stay free.
            self.map_slots = np.full(1 << (4 * (self.n_maps + maps)).bit_length(), -1, np.int32)
            rehash(self.maps, self.n_maps, self.map_slots)

    def close(self) -> None:
        """Let go of the builders, which refer back to the tables: no state is built any more."""
        self._builders.clear()
        self._resolvers.clear()
        self.on_grow = None
        while self.on_close:
            self.on_close.pop()()

    @property
    def nbytes(self) -> int:
        return (
            sum(getattr(self, name).nbytes for name in TABLES)
            + self.map_slots.nbytes
            + 320 * len(self._map_ids)
            + 200 * len(self._builders)
        )

    # -- building -------------------------------------------------------------------------------

    def class_map(self, byte_classes: bytes) -> int:
        """The row of ``maps`` that holds these 256 byte classes."""
        found = self._map_ids.get(byte_classes)
        if found is None:
            self.make_room(maps=1)
            row = np.frombuffer(bytearray(byte_classes), np.uint8)
            found = intern_map(row, self.maps, self.map_slots, self.n_maps)
            self.n_maps = max(self.n_maps, found + 1)
            self._map_ids[byte_classes] = found
        return found

    def new_state(
        self, builder: Callable[[int], object], *, lo: int = 0, hi: int = NO_LIMIT
    ) -> int:
        """Allocate a state. ``builder(state)`` is called when it is first entered."""
        q = self.reserve_state(lo=lo, hi=hi)
        self._builders[q] = builder
        return q

    def new_states(self, n: int, builder: Callable[[int], object]) -> int:
        """Allocate ``n`` states, each of which ``builder`` builds; returns the first."""
        q = self.reserve_states(n)
        self.states[q : q + n] = (UNBUILT, 0, 0, NO_LIMIT, -1)
        self.defer(range(q, q + n), builder)
        return q

    def reserve_state(self, *, lo: int = 0, hi: int = NO_LIMIT) -> int:
        """Allocate a state that the caller gives its edges before anything can enter it."""
        q = self.reserve_states(1)
        self.states[q] = (UNBUILT, 0, lo, hi, -1)
        return q

    def reserve_states(self, n: int) -> int:
        """Allocate ``n`` states whose rows the caller writes; returns the first.

        Raises:
            LimitExceeded: that would be more states than allowed.
        """
        q = self.n_states
        if q + n > self.max_states:
            raise LimitExceeded(limit="states", value=self.max_states, where="the automaton")
        if q + n > len(self.states):
            self._grow("states", q + n)
        self.n_states = q + n
        return q

    def defer(self, states: Iterable[int], builder: Callable[[int], object]) -> None:
        """Say who builds allocated states once one of them is entered; see :meth:`new_state`."""
        self._builders.update(dict.fromkeys(states, builder))

    def alias(self, q: int, other: int) -> None:
        """Give state ``q`` the edges of ``other``, its own counter bounds kept."""
        row, model = self.states[q], self.states[other]
        row[BASE], row[END], row[MAP] = model[BASE], model[END], model[MAP]

    def set_state(self, q: int, class_map: int, edges: Sequence[Edge], *, end: int = -1) -> None:
        """Give state ``q`` its edges, one for each byte class of ``class_map``."""
        self.set_row(q, class_map, self.add_edges(edges), end=end)

    def add_edges(self, edges: Sequence[Edge]) -> int:
        """Add edges; returns the number of the first."""
        base, n = self.n_edges, len(edges)
        if base + n > len(self.edges):
            self._grow("edges", base + n)
        self.n_edges = base + n
        self.edges[base : base + n] = edges
        return base

    def set_row(self, q: int, class_map: int, base: int, *, end: int = -1) -> None:
        """Give state ``q`` the edges from ``base`` on, one for each byte class of ``class_map``."""
        row = self.states[q]
        row[BASE] = base
        row[END] = end
        row[MAP] = class_map

    def set_end(self, q: int, cls: int) -> None:
        """A text may end in built state ``q`` with class ``cls``, whatever was said before."""
        self.states[q, END] = cls

    def set_bytes(self, q: int, by_byte: Iterable[tuple[bytes, Edge]], *, end: int = -1) -> None:
        """Give state ``q`` edges by the bytes that take them; every other byte is dead."""
        symbols, edges = [], [NO_EDGE]
        for some, edge in by_byte:
            symbols.append(some)
            edges.append(edge)
        self.set_state(q, self.class_map(classes_of(*symbols)), edges, end=end)

    def set_final(self, q: int, cls: int) -> None:
        """State ``q`` is the end of its frame: every byte, and the end, pops with class ``cls``."""
        self.set_state(q, ONE_CLASS, [pop(cls)], end=cls)

    def new_return(self, gotos: Sequence[tuple[int, int]]) -> int:
        """A return point: for each final class ``(state or -1, change of the counter)``."""
        base, n = self.n_gotos, len(gotos)
        if base + n > len(self.gotos):
            self._grow("gotos", base + n)
        self.n_gotos = base + n
        self.gotos[base : base + n] = gotos
        r = self.n_returns
        if r >= len(self.returns):
            self._grow("returns", r + 1)
        self.n_returns = r + 1
        self.returns[r] = (base, n, 0)
        return r

    def new_lazy_return(self, resolve: Callable[[int], int]) -> int:
        """A return point whose gotos are asked for: ``resolve(class)`` is a state, or -1."""
        r = self._reserve("returns", 1)
        self.returns[r] = (0, 0, 1)
        self._resolvers[r] = resolve
        return r

    def _resolve(self, r: int, cls: int) -> None:
        """Fill in the goto of return point ``r`` for ``cls``."""
        target = self._resolvers[r](cls)
        base, size, lazy = self.returns[r].tolist()
        if cls >= size:
            # The old entries stay behind: a kernel that runs beside this one may read them.
            room = max(8, 2 * size, cls + 1)
            moved = self._reserve("gotos", room)
            self.gotos[moved : moved + room] = (UNKNOWN, 0)
            self.gotos[moved : moved + size] = self.gotos[base : base + size]
            # Nor may it meet a new place with an old size: the two change in a table of their own.
            self.returns = self.returns.copy()
            self.returns[r] = (moved, room, lazy)
            if self.on_grow is not None:
                self.on_grow()
            base = moved
        self.gotos[base + cls] = (target, 0)

    def several(self, return_points: Sequence[int]) -> int:
        """The ARG of a move that pushes these return points, the last on top; -1 for none."""
        if len(return_points) < 2:
            return return_points[0] if return_points else -1
        key = tuple(return_points)
        found = self._push_ids.get(key)
        if found is None:
            found = self._reserve("pushes", len(key))
            following = [*range(found + 1, found + len(key)), -1]
            self.pushes[found : found + len(key)] = list(zip(key, following, strict=True))
            self._push_ids[key] = found
        return found | SEVERAL

    def fork(self, edges: Sequence[Edge]) -> Edge:
        """One edge for several, of which more than one may turn out right."""
        if len(edges) < 2:
            return edges[0] if edges else NO_EDGE
        first = self._reserve("edges", len(edges))
        self.edges[first : first + len(edges)] = edges
        self.forks = True
        return (FORK - len(edges), first, 0)

    def ends(self, classes: Sequence[int]) -> int:
        """The END of a state in which a text may end with one of these classes."""
        distinct = list(dict.fromkeys(classes))
        if len(distinct) < 2:
            return distinct[0] if distinct else -1
        fork = self.fork([pop(cls) for cls in distinct])
        e = self._reserve("edges", 1)
        self.edges[e] = fork
        return -2 - e

    def alternatives(self, q: int, byte: int) -> list[Edge]:
        """The edges of built state ``q`` by a byte: none, one, or a fork's."""
        target, arg, count = self.edges[self.states[q, BASE] + self.maps[self.states[q, MAP], byte]]
        if target < FORK:
            return [tuple(edge) for edge in self.edges[arg : arg + FORK - target].tolist()]
        return [] if target == DEAD else [(int(target), int(arg), int(count))]

    def undecided(self, start: int) -> int:
        """A copy of state ``start`` whose frames may end wherever they are final.

        A number's frame goes on with every byte that can be its own. In the copy it may also end
        before such a byte. Only what is read in the frames that ``start`` itself enters is copied.
        """
        copies: dict[int, int] = {}
        waiting: list[int] = []

        def copy(q: int) -> int:
            if q not in copies:
                lo, hi = self.states[q, LO : HI + 1].tolist()
                copies[q] = self.reserve_state(lo=lo, hi=hi)
                waiting.append(q)
            return copies[q]

        self.build(start)
        root = self.reserve_state()
        queue = [(start, root)]
        for q, twin in queue:
            self.build(q)
            class_map, base, end = self.states[q, [MAP, BASE, END]].tolist()
            n = int(self.maps[class_map].max()) + 1
            edges = []
            for target, arg, count in self.edges[base : base + n].tolist():
                enters = (arg >= 0) == (q == start)
                edge = (copy(target) if target >= 0 and enters else target, arg, count)
                if end >= 0 and target >= 0:
                    edge = self.fork([edge, pop(end)])
                edges.append(edge)
            self.set_state(twin, class_map, edges, end=end)
            queue += [(other, copies[other]) for other in waiting]
            waiting.clear()
        return root

    def pushed(self, arg: int) -> tuple[int, ...]:
        """The return points that a move with this ARG pushes."""
        if arg < 0 or not arg & SEVERAL:
            return () if arg < 0 else (arg,)
        found = []
        entry = arg & ~SEVERAL
        while entry >= 0:
            point, entry = self.pushes[entry].tolist()
            found.append(point)
        return tuple(found)

    def mark_unique(self, return_point: int, room: int) -> None:
        """Values that return to ``return_point`` are items that differ; see ``unique``."""
        if return_point >= len(self.unique):
            grown = np.zeros(2 * return_point, np.int64)
            grown[: len(self.unique)] = self.unique
            self.unique = grown
        self.unique[return_point] = 1 + room
        self.least_room = min(self.least_room, room)

    def is_built(self, q: int) -> bool:
        return self.states[q, MAP] != UNBUILT

    def build(self, q: int) -> None:
        """Build a state that was entered for the first time, or a goto (see ``CLASS_BITS``)."""
        self.version += 1
        if q < 0:
            r, cls = divmod(-1 - q, 1 << CLASS_BITS)
            self._resolve(r, cls)
            return
        if self.states[q, MAP] != UNBUILT:
            return
        budget.check("the automaton")
        try:
            self._builders[q](q)
        finally:  # kept until it succeeded, so that a failure can be repeated
            if self.states[q, MAP] != UNBUILT:
                self._builders.pop(q, None)

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
        args = edges[moves, ARG]
        lists = (args >= 0) & (args & SEVERAL != 0)
        points = np.where(args < 0, 0, args & ~(INHERIT | SEVERAL))
        top = np.where(lists, self.n_pushes, self.n_returns)
        _check((args < 0) | (points < top), moves, "unknown return point")
        pushes = self.pushes[: self.n_pushes]
        _check(pushes[:, 0] < self.n_returns, np.arange(len(pushes)), "unknown return point")
        pops = np.flatnonzero((edges[:, TARGET] < DEAD) & (edges[:, TARGET] >= FORK))
        _check(edges[pops, ARG] >= 1, pops, "pop of no frame")
        forks = np.flatnonzero(edges[:, TARGET] < FORK)
        ends = edges[forks, ARG] + (FORK - edges[forks, TARGET])
        _check((edges[forks, ARG] >= 0) & (ends <= self.n_edges), forks, "fork out of range")
        returns, gotos = self.returns[: self.n_returns], self.gotos[: self.n_gotos]
        ends = returns[:, 0] + returns[:, 1]
        _check(ends <= self.n_gotos, np.arange(len(returns)), "gotos out of range")
        good = (gotos[:, 0] >= UNKNOWN) & (gotos[:, 0] < n)
        _check(good, np.arange(len(gotos)), "goto out of range")
        waiting = set(np.flatnonzero(states[:, MAP] == UNBUILT).tolist())
        if waiting != set(self._builders):
            odd = min(waiting ^ set(self._builders))
            raise ValueError(f"state {odd}: unbuilt states and their builders disagree")
        for q in built.tolist():
            used = np.unique(self.maps[states[q, MAP]])
            if (edges[states[q, BASE] + used, TARGET] == DEAD).all() and states[q, END] == -1:
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
            for _, edge in self._edges_of(q):
                for target, arg, _ in self._spread(edge):
                    follow = [target] if target >= 0 else []
                    for point in self.pushed(arg) if target >= 0 else ():
                        base, size, _ = self.returns[point & ~INHERIT].tolist()
                        follow += [t for t in self.gotos[base : base + size, 0].tolist() if t >= 0]
                    for t in follow:
                        if t not in seen:
                            seen.add(t)
                            order.append(t)
        return order

    def _spread(self, edge: np.ndarray) -> list[Edge]:
        """An edge's alternatives, or itself."""
        target, arg, count = edge.tolist()
        if target < FORK:
            return [tuple(e) for e in self.edges[arg : arg + FORK - target].tolist()]
        return [(target, arg, count)]

    def _describe(self, q: int) -> str:
        _, _, lo, hi, end = (int(x) for x in self.states[q])
        head = f"state {q}"
        if lo or hi != NO_LIMIT:
            head += f" [{lo} <= v <= {'*' if hi == NO_LIMIT else hi}]"
        if not self.is_built(q):
            return head + ": not built yet"
        if end >= 0:
            head += f" final {end}"
        elif end < -1:
            classes = [-2 - target for target, _, _ in self._spread(self.edges[-2 - end])]
            head += f" final {' or '.join(map(str, classes))}"
        lines = [head]
        for group, edge in self._edges_of(q):
            if edge[TARGET] != DEAD:
                what = " | ".join(self._show_edge(*e) for e in self._spread(edge))
                lines.append(f"  {_show_bytes(group):<24} {what}")
        return "\n".join(lines)

    def _show_edge(self, target: int, arg: int, count: int) -> str:
        if target < DEAD:
            return f"pop {-2 - target}" + (f" x{arg}" if arg > 1 else "")
        what = f"go to {target}"
        if arg >= 0:
            shown = []
            for point in self.pushed(arg):
                base, size, lazy = self.returns[point & ~INHERIT].tolist()
                known = self.gotos[base : base + size, 0].tolist()
                back = ", ".join(str(t) for t in known if t >= 0 or not lazy)
                shown.append(f"{point & ~INHERIT} (back to {back or '?'})")
            what = f"push {', '.join(shown)}, {what}"
        if count:
            what += f", v += {count}" if count > 0 else f", v = {-1 - count}"
        return what


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
