"""The store of rows and exit sets: computed when first needed, kept, equal ones stored once.

For a state q (and a counter), the walk yields a *local row* (tokens that end inside the frame) and
an *exit set* (trie nodes at which control returns to the caller). For an exit set and a return
point the same walk yields again a row and an exit set, so a mask is

    local(q) | row(E, r1) | row(E', r2) | ...     down the stack until the exit set is empty.

========== ========= =============================================================================
table      shape     columns
========== ========= =============================================================================
entries    [n, 5]    ROW, EXIT ids; LOW, HIGH counters on which they hold; NEXT entry, or -1
heads      [states]  first entry of a state, or -1
keys       [2**k]    int64 hash table of ``exit << 32 | return point``, -1 where free
values     [2**k]    first entry of that pair
rows       [n, 3]    KIND (0 list, 1 bitmap), OFFSET into ``lists`` or row of ``bitmaps``, LENGTH
lists      [*]       token ids, ascending
bitmaps    [*, W]    int32 words, bit t of word t >> 5 is token t
exits      [n, 2]    OFFSET into ``nodes`` and ``classes``, LENGTH
nodes      [*]       trie nodes, ascending
classes    [*]       final class at each of them
========== ========= =============================================================================

Row and exit ids: 0 is the empty one; ids with bit 30 belong to the library's store, which all
grammars of a vocabulary share. Rows and exit sets are found by their hashes (``row_hashes`` int64
[n], ``row_table`` int32 [2**k]; for exit sets alike). ``loops`` keeps byte sets (``loops.py``).

They are written by the kernels of ``rows.py``, which find them through the store's block. An entry
is linked last, so that a reader never meets half of one.
"""

from __future__ import annotations

import numpy as np

from structgen.automaton.tables import Automaton
from structgen.masks import rows as r
from structgen.masks import walk as w
from structgen.masks.blocks import SHARED, slot_of_pair
from structgen.masks.counted import bounds
from structgen.masks.tokens import Template, TokenTables

# Growable tables: attribute, dtype, columns (0: a vector, -1: the vocabulary's words), rows at
# first, and where the block counts the rows in use.
_TABLES = (
    ("row_hashes", np.int64, 0, 64, r.STORE_N_ROWS),
    ("exit_hashes", np.int64, 0, 64, r.STORE_N_EXITS),
    ("loops", np.int64, 4, 16, r.STORE_N_LOOPS),
    ("entries", np.int32, 5, 128, r.STORE_N_ENTRIES),
    ("rows", np.int32, 3, 64, r.STORE_N_ROWS),
    ("lists", np.int32, 0, 1024, r.STORE_N_LISTS),
    ("bitmaps", np.int32, -1, 1, r.STORE_N_BITMAPS),
    ("exits", np.int32, 2, 64, r.STORE_N_EXITS),
    ("nodes", np.int32, 0, 512, r.STORE_N_NODES),
    ("classes", np.int32, 0, 512, r.STORE_N_NODES),
)
_START = sum(np.dtype(d).itemsize * max(1, c) * n for _, d, c, n, _ in _TABLES if c >= 0)
# Where the block keeps address and room of a table.
_PLACES = {
    "entries": (r.STORE_ENTRIES, r.STORE_ENTRY_ROOM),
    "rows": (r.STORE_ROWS, r.STORE_ROW_ROOM),
    "row_hashes": (r.STORE_ROW_HASHES, r.STORE_ROW_ROOM),
    "row_table": (r.STORE_ROW_TABLE, r.STORE_ROW_TABLE_SIZE),
    "lists": (r.STORE_LISTS, r.STORE_LIST_ROOM),
    "bitmaps": (r.STORE_BITMAPS, r.STORE_BITMAP_ROOM),
    "exits": (r.STORE_EXITS, r.STORE_EXIT_ROOM),
    "exit_hashes": (r.STORE_EXIT_HASHES, r.STORE_EXIT_ROOM),
    "exit_table": (r.STORE_EXIT_TABLE, r.STORE_EXIT_TABLE_SIZE),
    "nodes": (r.STORE_NODES, r.STORE_NODE_ROOM),
    "classes": (r.STORE_CLASSES, r.STORE_NODE_ROOM),
    "loops": (r.STORE_LOOPS, r.STORE_LOOP_ROOM),
    "loop_ids": (r.STORE_LOOP_IDS, r.STORE_N_LOOP_IDS),
    "heads": (r.STORE_HEADS, r.STORE_N_HEADS),
    "keys": (r.STORE_KEYS, r.STORE_KEY_ROOM),
    "values": (r.STORE_VALUES, r.STORE_KEY_ROOM),
}
# Tables that fill gets from the grammar's block: whoever keeps their addresses must be told.
_READ = ("entries", "rows", "lists", "bitmaps")
_KEYS = 128  # of a new store


class RowStore:
    """Rows and exit sets of one automaton; ``shared`` is the library's store."""

    entries: np.ndarray
    rows: np.ndarray
    row_hashes: np.ndarray
    lists: np.ndarray
    bitmaps: np.ndarray
    exits: np.ndarray
    exit_hashes: np.ndarray
    nodes: np.ndarray
    classes: np.ndarray
    loops: np.ndarray
    loop_ids: np.ndarray
    heads: np.ndarray
    keys: np.ndarray
    values: np.ndarray
    row_table: np.ndarray
    exit_table: np.ndarray

    def __init__(
        self, tokens: TokenTables, automaton: Automaton, shared: RowStore | None = None
    ) -> None:
        self.tokens, self.automaton, self.shared = tokens, automaton, shared
        self.words = tokens.words
        if shared is None:
            self._template_block = np.zeros(w.P_LENGTH, np.int64)
            self.template_address = int(self._template_block.ctypes.data)
            self._set_template(tokens.no_template())
            self.counted: Template = self.template
        self.longest = 0
        self.by_length: dict[tuple[int, int], tuple[int, int]] = {}
        self.block = np.zeros(r.STORE_LENGTH, np.int64)
        self.address = int(self.block.ctypes.data)
        self._out = np.zeros(4, np.int64)
        self.block[r.STORE_MARK] = SHARED if shared is None else 0
        # A list costs four bytes a token, a bitmap a bit for each of the vocabulary's.
        self.block[r.STORE_LIST_LIMIT] = max(8, self.words // 8)
        # Row 0 is the empty list, exit set 0 is empty, and so is byte set 0.
        self.block[[r.STORE_N_ROWS, r.STORE_N_EXITS, r.STORE_N_LOOPS]] = 1
        # All tables are parts of two arrays at first: many grammars are small and soon gone.
        n = max(128, 2 * automaton.n_states)
        free = np.full(3 * _KEYS + 384 + 2 * n, -1, np.int32)
        address, at = int(free.ctypes.data), 2 * _KEYS
        self._place("keys", free[:at].view(np.int64), address)
        for name, size in (
            ("values", _KEYS), ("row_table", 256), ("exit_table", 128), ("heads", n),
            ("loop_ids", n),
        ):  # fmt: skip
            self._place(name, free[at : at + size], address + 4 * at)
            at += size
        space = np.zeros(_START + 4 * self.words, np.uint8)
        address, at = int(space.ctypes.data), 0
        for name, dtype, columns, room, _ in _TABLES:
            width = self.words if columns < 0 else columns
            size = np.dtype(dtype).itemsize * max(1, width) * room
            part = space[at : at + size].view(dtype)
            self._place(name, part.reshape(room, width) if width else part, address + at)
            at += size

    def _place(self, name: str, table: np.ndarray, address: int | None = None) -> None:
        """Take a table, and write its address and room into the block."""
        setattr(self, name, table)
        if name in _PLACES:
            where, room = _PLACES[name]
            self.block[where] = table.ctypes.data if address is None else address
            self.block[room] = len(table)

    @property
    def nbytes(self) -> int:
        """Bytes held, rows shared with other grammars not counted."""
        arrays = [getattr(self, name) for name, *_ in _TABLES]
        arrays += [self.heads, self.loop_ids, self.keys, self.values]
        arrays += [self.row_table, self.exit_table]
        return sum(a.nbytes for a in arrays)

    @property
    def n_entries(self) -> int:
        return int(self.block[r.STORE_N_ENTRIES])

    @property
    def n_rows(self) -> int:
        """Rows in use, the empty one counted."""
        return int(self.block[r.STORE_N_ROWS])

    # -- entries --------------------------------------------------------------------------------

    def holds_local(self, q: int, v: int) -> bool:
        """Is there an entry of state ``q`` for counter ``v``?"""
        return q < len(self.heads) and self._holds(int(self.heads[q]), v)

    def holds_resume(self, exit_: int, return_point: int, v: int) -> bool:
        """Is there an entry of that pair for the saved counter ``v``?"""
        return self._holds(self.first_entry(exit_, return_point), v)

    def first_entry(self, exit_: int, return_point: int) -> int:
        """The first entry of a pair, or -1."""
        return int(self.values[slot_of_pair(self.keys, exit_, return_point)])

    def exit_of(self, entry: int, v: int) -> int:
        """The exit set of the entry for counter ``v``, from that one on; there is one."""
        while True:
            _, exit_, low, high, following = self.entries[entry].tolist()
            if low <= v <= high:
                return int(exit_)
            entry = following

    def _holds(self, entry: int, v: int) -> bool:
        while entry >= 0:
            _, _, low, high, following = self.entries[entry].tolist()
            if low <= v <= high:
                return True
            entry = following
        return False

    def counted_entry(self, v: int, lowest: int, highest: int) -> tuple[int, int, int, int]:
        """Row, exit set and counters inside a string of bounded length, kept by the library."""
        shared = self.shared or self
        template = shared.counted
        missing, left, low, high = bounds(v, lowest, highest, shared.longest)
        found = shared.by_length.get((missing, left))
        if found is None:
            ids, nodes, classes = self.tokens.select(template, missing, left)
            found = shared.by_length[missing, left] = shared.intern(ids, nodes, classes)
        return (*found, low, high)

    def intern(self, ids: np.ndarray, nodes: np.ndarray, classes: np.ndarray) -> tuple[int, int]:
        """Row of the ``ids`` and exit set of nodes (ascending) and classes, int32 each."""
        shared = self.shared or self
        tokens = self.tokens.address
        while r.intern(
            self.address, shared.address, tokens, ids, nodes, classes, self._out
        ) != r.KEPT:  # fmt: skip
            self.reserve(len(nodes))
        row, exit_, *_ = self._out.tolist()
        return row, exit_

    def set_library(self, inside: int, end: int, counted: int) -> None:
        """Take the walks inside any string (state ``inside``), and with its length counted."""
        # Walks share their scratch space, whichever compiler they are for.
        with self.tokens.lock:
            template = self.tokens.template(self.automaton, counted, end)
            self.counted = template
            needs = np.concatenate([template.token_needs, template.exit_needs])
            self.longest = max(int(needs.max(initial=0)), -1 - int(needs.min(initial=-1)))
            self._set_template(self.tokens.template(self.automaton, inside, end))

    def _set_template(self, template: Template) -> None:
        self.template = template
        b = self._template_block
        b[w.P_END] = template.end
        b[w.P_N_EXITS], b[w.P_N_IDS] = len(template.exit_nodes), len(template.ids)
        for at, array in (
            (w.P_AT, template.at), (w.P_RANK, template.rank),
            (w.P_EXIT_RANK, template.exit_rank), (w.P_EXIT_NODES, template.exit_nodes),
            (w.P_IDS, template.ids), (w.P_BITMAP, template.bitmap),
        ):  # fmt: skip
            b[at] = array.ctypes.data

    # -- growing --------------------------------------------------------------------------------

    def reserve(self, n_exits: int) -> None:
        """Make room for an entry, a pair, a row of either kind, an exit set of so many nodes."""
        b = self.block
        extra = {r.STORE_N_LISTS: int(b[r.STORE_LIST_LIMIT]), r.STORE_N_NODES: n_exits}
        grown = False
        for name, _, _, _, used in _TABLES:
            array: np.ndarray = getattr(self, name)
            n = int(b[used])
            need = n + extra.get(used, 1)
            if need > len(array):
                larger = np.zeros((max(2 * len(array), need), *array.shape[1:]), array.dtype)
                larger[:n] = array[:n]
                self._place(name, larger)
                grown |= name in _READ
        for name, hashes, used in (
            ("row_table", self.row_hashes, r.STORE_N_ROWS),
            ("exit_table", self.exit_hashes, r.STORE_N_EXITS),
        ):
            if 2 * len(hashes) > len(getattr(self, name)):
                table = np.full(1 << (2 * len(hashes)).bit_length(), -1, np.int32)
                r.place_hashes(hashes, 1, int(b[used]), table)
                self._place(name, table)
        if 2 * int(b[r.STORE_N_KEYS]) >= len(self.keys):
            keys = np.full(2 * len(self.keys), -1, np.int64)
            values = np.full(len(keys), -1, np.int32)
            r.place_pairs(self.keys, self.values, keys, values)
            self._place("keys", keys)
            self._place("values", values)
            grown = True
        if grown:
            self.on_grow()

    def follow_states(self) -> None:
        """Make room for what is kept of each state; called after states were added."""
        n, old = self.automaton.n_states, len(self.heads)
        if n > old:
            for name in ("heads", "loop_ids"):
                larger = np.full(max(2 * old, n), -1, np.int32)
                larger[:old] = getattr(self, name)
                self._place(name, larger)
            self.on_grow()

    def on_grow(self) -> None:
        """Called after an array was replaced; whoever keeps addresses overrides it."""
