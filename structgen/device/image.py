"""A grammar's tables as the kernels read them (``kernels/layout.py``), kept up to date.

Each table is kept on the host as it is on the device. An update derives only rows whose source has
changed: what was added, what compares as different, and moves to a state that is different now.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from structgen.automaton import step
from structgen.automaton.tables import Automaton
from structgen.device.rows import StoredRows
from structgen.device.space import aligned
from structgen.device.staging import LINE, Staging
from structgen.errors import LimitExceeded
from structgen.kernels import layout
from structgen.masks import rows as r
from structgen.masks.store import RowStore

_COLUMNS = {
    "states": layout.D_STATES.value, "maps": layout.D_MAPS.value, "edges": layout.D_EDGES.value,
    "returns": layout.D_RETURNS.value, "gotos": layout.D_GOTOS.value,
    "pushes": layout.D_PUSHES.value, "pairs": layout.D_PAIRS.value,
}  # fmt: skip


class Table:
    """A table on the host, and where it is on the device.

    Attributes:
        rows: int32 [room, width], as on the device after the next :meth:`send`.
        offset: in words; -1 where it has no place yet.
    """

    def __init__(self, width: int) -> None:
        self.rows = np.zeros((0, width), np.int32)
        self.offset = -1
        self._changed: list[np.ndarray] = []

    def enlarge(self, room: int) -> None:
        """Replace the rows by more, the old ones first."""
        width = self.rows.shape[1]
        larger = np.zeros((aligned(room * width) // width, width), np.int32)
        larger[: len(self.rows)] = self.rows
        self.rows = larger

    def note(self, rows: np.ndarray) -> None:
        """These rows are to be sent."""
        if len(rows):
            self._changed.append(rows)

    def send(self, n: int, whole: bool, staging: Staging) -> None:
        """Give the changed of ``n`` rows to ``staging``, or, with ``whole``, all of them."""
        width = self.rows.shape[1]
        if whole:
            lines = np.arange(-(-n * width // LINE))
        elif not self._changed:
            return
        else:
            # A line may come up twice, with the same content: that costs less than to look for it.
            lines = np.concatenate(self._changed)
            if width > LINE:
                many = width // LINE
                lines = (lines[:, None] * many + np.arange(many)).reshape(-1)
            elif width < LINE:
                lines = lines // (LINE // width)
        self._changed = []
        staging.add(self.offset // LINE + lines, self.rows.reshape(-1, LINE)[lines])


class Image:
    """The tables of one grammar.

    Attributes:
        tables: by name.
    """

    def __init__(self, stores: Sequence[RowStore]) -> None:
        """``stores``: whose entries it has, the library's first."""
        edge = layout.EDGE_WIDTH.value
        self.tables = {
            "states": Table(layout.STATE_WIDTH.value), "maps": Table(64), "edges": Table(edge),
            "returns": Table(layout.RETURN_WIDTH.value), "gotos": Table(edge),
            "pushes": Table(layout.PUSH_WIDTH.value), "pairs": Table(layout.PAIR_WIDTH.value),
        }  # fmt: skip
        self._stores = tuple(stores)
        self._n_entries = [0] * len(stores)  # of each store: how many are linked here
        self._version = -1
        self._n = dict.fromkeys(self.tables, 0)
        self._moved: set[str] = set()  # tables with a place that was not written to yet
        self._left: dict[str, tuple[int, int]] = {}  # their places in the directory
        # Sources of what is changed in place, as they were.
        self._sources = {
            "states": np.zeros((0, 5), np.int32), "returns": np.zeros((0, 3), np.int32),
            "gotos": np.zeros((0, 2), np.int32),
        }  # fmt: skip
        # What moves lead to: 1 + state, or 0.
        self._targets = {name: np.zeros(0, np.int64) for name in ("edges", "gotos")}
        # The hash table of the pairs, as a store has it; values are lines of the arena.
        self._keys, self._values = np.zeros(0, np.int64), np.zeros(0, np.int32)

    # -- room -----------------------------------------------------------------------------------

    def places(self) -> list[tuple[int, int]]:
        """Offset and length in words of all that the tables take."""
        here = [(t.offset, t.rows.size) for t in self.tables.values() if t.offset >= 0]
        return [*here, *self._left.values()]

    def reserve(
        self, a: Automaton, take: Callable[[int], int], give: Callable[[int, int], None]
    ) -> None:
        """Give new places to tables that outgrew theirs.

        ``take`` may raise LimitExceeded; nothing has changed then.
        """
        n_pairs = sum(int(store.block[r.STORE_N_KEYS]) for store in self._stores)
        wanted: dict[str, int] = {}
        for name, table in self.tables.items():
            if name == "pairs":  # at most half full
                if 2 * n_pairs > len(table.rows) or table.offset < 0:
                    wanted[name] = max(16, 1 << (2 * n_pairs).bit_length())
            else:
                n: int = getattr(a, "n_" + name)
                if n > len(table.rows) or table.offset < 0:
                    wanted[name] = n + n // 2
        taken: dict[str, int] = {}
        try:
            for name, room in wanted.items():
                taken[name] = take(room * self.tables[name].rows.shape[1])
        except LimitExceeded:
            for name, offset in taken.items():
                give(offset, wanted[name] * self.tables[name].rows.shape[1])
            raise
        for name, offset in taken.items():
            table = self.tables[name]
            before = table.offset, table.rows.size
            if name in self._moved:  # and not in the directory
                give(*before)
            elif table.offset >= 0:
                self._left[name] = before
            table.enlarge(wanted[name])
            table.offset = offset
            self._moved.add(name)

    def leave(self, give: Callable[[int, int], None]) -> None:
        """Free what tables left: the directory names the new places."""
        for place in self._left.values():
            give(*place)
        self._left.clear()

    def directory(self, a: Automaton) -> tuple[int, ...]:
        """The grammar's row of ``grammars``: where everything is."""
        row = [0] * layout.D_WIDTH.value  # entries begin at 0: a number says where an entry is
        for name, column in _COLUMNS.items():
            row[column] = self.tables[name].offset
        row[layout.D_PAIR_MASK.value] = len(self.tables["pairs"].rows) - 1
        row[layout.D_SYMBOLS.value] = int(a.symbols)
        return tuple(row)

    # -- what changed ---------------------------------------------------------------------------

    def follow(self, a: Automaton, stored: Sequence[StoredRows], staging: Staging) -> None:
        """Bring what changed since the last time; called under the vocabulary's lock.

        Args:
            a: the grammar's automaton; there is room for its tables.
            stored: where the stores' entries are, all of them.
        """
        sizes = {name: getattr(a, "n_" + name) for name in self.tables if name != "pairs"}
        if a.version != self._version or any(self._n[name] != n for name, n in sizes.items()):
            self._follow_automaton(a)
            self._n |= sizes
            self._version = a.version
        self._n["pairs"] = len(self.tables["pairs"].rows)
        self._link(stored, "pairs" in self._moved)
        for name, table in self.tables.items():
            table.send(self._n[name], name in self._moved, staging)
        self._moved.clear()

    def _follow_automaton(self, a: Automaton) -> None:
        before = self._n["states"]
        states = self._differ("states", a.states[: a.n_states])
        rows = self.tables["states"].rows
        rows[states, : step.END + 1] = a.states[states]
        rows[before : a.n_states, layout.HEAD.value] = -1
        rows[states, layout.FINAL.value] = -1
        rows[states, layout.FRAMES.value] = -1
        final = states[a.states[states, step.MAP] == 0]
        target, frames, _ = a.edges[a.states[final, step.BASE]].T
        ends = (target >= step.FORK) & (target < step.DEAD)
        rows[final[ends], layout.FINAL.value] = -2 - target[ends]
        rows[final[ends], layout.FRAMES.value] = frames[ends]
        self.tables["states"].note(states)

        changed = states[: np.searchsorted(states, before)]
        edges = np.arange(self._n["edges"], a.n_edges)
        self._lead("edges", a.edges, edges, a.states, changed)
        gotos = self._differ("gotos", a.gotos[: a.n_gotos])
        self._lead("gotos", a.gotos, gotos, a.states, changed)

        returns = self._differ("returns", a.returns[: a.n_returns])
        self.tables["returns"].rows[returns, :3] = a.returns[returns]
        self.tables["returns"].note(returns)
        for name in ("maps", "pushes"):  # which are only added to
            first, last = self._n[name], getattr(a, "n_" + name)
            source = getattr(a, name)[first:last].view(np.int32)
            self.tables[name].rows[first:last] = source
            self.tables[name].note(np.arange(first, last))

    def _differ(self, name: str, source: np.ndarray) -> np.ndarray:
        """Rows of ``source`` that are not what they were, and new ones, ascending."""
        n, kept = self._n[name], self._sources[name]
        if len(source) > len(kept):
            larger = np.zeros((len(self.tables[name].rows), source.shape[1]), np.int32)
            larger[:n] = kept[:n]
            kept = self._sources[name] = larger
        # As one row of numbers: numpy is slow where the last axis is short.
        changed = np.flatnonzero(source[:n].reshape(-1) != kept[:n].reshape(-1))
        changed //= source.shape[1]
        if len(changed) > 1:
            once = np.ones(len(changed), np.bool_)
            once[1:] = changed[1:] != changed[:-1]
            changed = changed[once]
        rows = np.concatenate([changed, np.arange(n, len(source))])
        kept[rows] = source[rows]
        return rows

    def _lead(
        self,
        name: str,
        source: np.ndarray,
        rows: np.ndarray,
        states: np.ndarray,
        changed: np.ndarray,
    ) -> None:
        """Derive ``rows`` of a table of moves, and those that lead to the states ``changed``."""
        table, known, n = self.tables[name].rows, self._targets[name], self._n[name]
        if len(known) < len(table):
            larger = np.zeros(len(table), np.int64)
            larger[:n] = known[:n]
            known = self._targets[name] = larger
        if len(changed) and n:
            flags = np.zeros(self._n["states"] + 1, np.bool_)
            flags[changed + 1] = True
            led = np.flatnonzero(flags[known[:n]])
            rows = np.concatenate([led, rows])
        here = source[rows]
        table[rows, : source.shape[1]] = here
        known[rows] = np.maximum(here[:, step.TARGET], -1) + 1
        moves = here[:, step.TARGET] >= 0
        table[rows[moves], layout.TO_MAP.value : layout.TO_HI.value + 1] = states[
            here[moves, step.TARGET], step.MAP : step.HI + 1
        ]
        self.tables[name].note(rows)

    def _link(self, stored: Sequence[StoredRows], anew: bool) -> None:
        """Link the entries that were added: the first one of each state, and of each pair.

        ``anew``: the hash table of the pairs is another one.
        """
        states, pairs = self.tables["states"], self.tables["pairs"]
        if anew:
            self._keys = np.full(len(pairs.rows), -1, np.int64)
            self._values = np.full(len(pairs.rows), -1, np.int32)
            pairs.rows[:] = -1
        linked = False
        for i, (store, known) in enumerate(zip(self._stores, stored, strict=True)):
            first, self._n_entries[i] = self._n_entries[i], known.n_entries
            if first < known.n_entries:
                # Whatever was linked anew leads to an entry that is new.
                heads = store.heads[: self._n["states"]]
                new = np.flatnonzero(heads >= first)
                states.rows[new, layout.HEAD.value] = known.numbers[heads[new]]
                states.note(new)
            first = 0 if anew else first
            if first < known.n_entries:
                new = np.flatnonzero(store.values >= first)
                firsts = known.numbers[store.values[new]]
                r.place_pairs(store.keys[new], firsts, self._keys, self._values)
                linked |= len(new) > 0
        if linked:
            new = np.flatnonzero(self._values != pairs.rows[:, 2])
            keys = self._keys[new]
            pairs.rows[new, 0], pairs.rows[new, 1] = keys >> 32, keys & 0xFFFFFFFF
            pairs.rows[new, 2] = self._values[new]
            pairs.note(new)
