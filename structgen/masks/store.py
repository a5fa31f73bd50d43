"""The store of rows and exit sets: computed when first needed, kept, equal ones stored once.

For a state q (and a counter), the walk yields a *local row* (tokens that end inside the frame) and
an *exit set* (trie nodes at which control returns to the caller). For an exit set and a return
point the same walk yields again a row and an exit set, so a mask is

    local(q) | row(E, r1) | row(E', r2) | ...     down the stack until the exit set is empty.

======== ========= =============================================================================
table    shape     columns
======== ========= =============================================================================
entries  [n, 5]    ROW, EXIT ids; LOW, HIGH counters on which they hold; NEXT entry, or -1
heads    [states]  first entry of a state, or -1
keys     [2**k]    int64 hash table of ``exit << 32 | return point``, -1 where free
values   [2**k]    first entry of that pair
rows     [n, 3]    KIND (0 list, 1 bitmap), OFFSET into ``lists`` or row of ``bitmaps``, LENGTH
lists    [*]       token ids, ascending
bitmaps  [*, W]    int32 words, bit t of word t >> 5 is token t
======== ========= =============================================================================

Row and exit ids: 0 is the empty one; ids with bit 30 belong to the library's store, which all
grammars of a vocabulary share.
"""

from __future__ import annotations

import numpy as np

from structgen.automaton.tables import Automaton
from structgen.masks.counted import bounds
from structgen.masks.rows import to_bitmap
from structgen.masks.tokens import Template, TokenTables, Walked

ROW, EXIT, LOW, HIGH, NEXT = range(5)
LIST, BITMAP = 0, 1
SHARED = 1 << 30


class RowStore:
    """Rows and exit sets of one automaton; ``shared`` is the library's store."""

    def __init__(
        self, tokens: TokenTables, automaton: Automaton, shared: RowStore | None = None
    ) -> None:
        self.tokens, self.automaton, self.shared = tokens, automaton, shared
        self.words = tokens.words
        self.template: Template = tokens.no_template() if shared is None else shared.template
        self.counted: Template = self.template
        self.longest = 0
        self.by_length: dict[tuple[int, int], tuple[int, int]] = {}
        self.entries = np.zeros((64, 5), np.int32)
        self.heads = np.full(max(256, 2 * automaton.n_states), -1, np.int32)
        self.keys = np.full(64, -1, np.int64)
        self.values = np.full(64, -1, np.int32)
        self.rows = np.zeros((16, 3), np.int32)
        self.lists = np.zeros(256, np.int32)
        self.bitmaps = np.zeros((1, self.words), np.int32)
        self.n_entries = self.n_keys = self.n_lists = self.n_bitmaps = 0
        self.n_rows = 1  # row 0 is the empty list
        self._row_ids: dict[bytes, int] = {b"": 0}
        self._exit_ids: dict[bytes, int] = {b"": 0}
        empty = np.zeros(0, np.int32)
        self._exits: list[tuple[np.ndarray, np.ndarray]] = [(empty, empty)]
        self._exit_bytes = 0
        # A list costs four bytes a token, a bitmap a bit for each of the vocabulary's.
        # Never as many ids as a bitmap has words: their keys have different lengths.
        self.list_limit = max(1, min(max(8, self.words // 8), self.words - 1))

    @property
    def nbytes(self) -> int:
        """Bytes held, rows shared with other grammars not counted."""
        arrays = (
            self.entries, self.heads, self.keys, self.values, self.rows, self.lists, self.bitmaps,
        )  # fmt: skip
        interned = 2 * 4 * self.n_lists + self._exit_bytes * 2 + 100 * self.n_rows
        return sum(a.nbytes for a in arrays) + interned

    # -- computing ------------------------------------------------------------------------------

    def compute_local(self, q: int, v: int) -> None:
        """Add the entry of state ``q`` with counter ``v``, unless another thread just did."""
        if q < len(self.heads) and self._holds(int(self.heads[q]), v):
            return
        counted = self.automaton.counted.get(q)
        if counted is not None and self.shared is not None:
            row, exit_, low, high = self._counted(self.shared, v, *counted)
        else:
            row, exit_, low, high = self._walk(q, v, -1, self._exits[0])
        self._ensure_heads(q)
        self.heads[q] = self._add_entry(row, exit_, low, high, int(self.heads[q]))

    def compute_resume(self, exit_: int, return_point: int, v: int) -> None:
        """Add the entry of exit set ``exit_`` at ``return_point`` with its saved counter ``v``."""
        if self._holds(int(self.values[self._slot(exit_ << 32 | return_point)]), v):
            return
        row, onward, low, high = self._walk(0, v, return_point, self.exit_set(exit_))
        slot = self._slot(exit_ << 32 | return_point)
        self.values[slot] = self._add_entry(row, onward, low, high, int(self.values[slot]))

    def _holds(self, entry: int, v: int) -> bool:
        """Does a chain of entries have one for counter ``v``?"""
        while entry >= 0:
            _, _, low, high, following = self.entries[entry].tolist()
            if low <= v <= high:
                return True
            entry = following
        return False

    def exit_set(self, exit_: int) -> tuple[np.ndarray, np.ndarray]:
        """Trie nodes and final classes of an exit set, int32 each."""
        if exit_ & SHARED and self.shared is not None:
            return self.shared._exits[exit_ & ~SHARED]
        return self._exits[exit_ & ~SHARED]

    def _walk(
        self, q: int, v: int, return_point: int, entries: tuple[np.ndarray, np.ndarray]
    ) -> tuple[int, int, int, int]:
        found = self.tokens.walk(self.automaton, self.template, q, v, return_point, entries)
        row = self._intern_row(found)
        return row, self._intern_exit(found.exit_nodes, found.exit_classes), found.low, found.high

    def _counted(
        self, shared: RowStore, v: int, lowest: int, highest: int
    ) -> tuple[int, int, int, int]:
        """The entry inside a string of bounded length, kept in the library's store."""
        template = shared.counted
        missing, left, low, high = bounds(v, lowest, highest, shared.longest)
        found = shared.by_length.get((missing, left))
        if found is None:
            walked = self.tokens.select(template, missing, left)
            row = shared._intern_row(walked)
            found = (row, shared._intern_exit(walked.exit_nodes, walked.exit_classes))
            shared.by_length[missing, left] = found
        return (*found, low, high)

    def set_library(self, inside: int, end: int, counted: int) -> None:
        """Take the walks inside any string (state ``inside``), and with its length counted."""
        # Walks share their scratch space, whichever compiler they are for.
        with self.tokens.lock:
            template = self.tokens.template(self.automaton, counted, end)
            self.counted = template
            needs = np.concatenate([template.token_needs, template.exit_needs])
            self.longest = max(int(needs.max(initial=0)), -1 - int(needs.min(initial=-1)))
            self.template = self.tokens.template(self.automaton, inside, end)

    # -- interning ------------------------------------------------------------------------------

    def _intern_row(self, found: Walked) -> int:
        """The row of the ids that a walk found."""
        template = self.template
        length = len(found.ids) + int((found.ranges[:, 1] - found.ranges[:, 0]).sum())
        if length <= self.list_limit:
            ids = np.concatenate([found.ids, *(template.ids[a:b] for a, b in found.ranges)])
            ids = np.unique(ids) if self.automaton.forks else np.sort(ids)
            length = len(ids)
            key = ids.tobytes()
        else:
            bitmap = np.empty(self.words, np.int32)
            to_bitmap(found.ids, found.ranges, template.ids, template.bitmap, bitmap)
            key = bitmap.tobytes()
        row = self._find(self._row_ids, "_row_ids", key)
        if row is not None:
            return row
        if length <= self.list_limit:
            self._grow("lists", self.n_lists, length)
            self.lists[self.n_lists : self.n_lists + length] = ids
            entry = (LIST, self.n_lists, length)
            self.n_lists += length
        else:
            self._grow("bitmaps", self.n_bitmaps, 1)
            self.bitmaps[self.n_bitmaps] = bitmap
            entry = (BITMAP, self.n_bitmaps, length)
            self.n_bitmaps += 1
        self._grow("rows", self.n_rows, 1)
        self.rows[self.n_rows] = entry
        self.n_rows += 1
        return self._name(self._row_ids, key, self.n_rows - 1)

    def _intern_exit(self, nodes: np.ndarray, classes: np.ndarray) -> int:
        key = nodes.tobytes() + classes.tobytes()
        found = self._find(self._exit_ids, "_exit_ids", key)
        if found is not None:
            return found
        self._exits.append((nodes.copy(), classes.copy()))
        self._exit_bytes += len(key)
        return self._name(self._exit_ids, key, len(self._exits) - 1)

    def _find(self, ids: dict[bytes, int], attribute: str, key: bytes) -> int | None:
        found = ids.get(key)
        if found is None and self.shared is not None:
            found = getattr(self.shared, attribute).get(key)
        return found

    def _name(self, ids: dict[bytes, int], key: bytes, number: int) -> int:
        number |= SHARED if self.shared is None else 0
        # The content of a bitmap is its own key; a digest would do, at the price of a doubt.
        ids[key] = number
        return number

    # -- growing --------------------------------------------------------------------------------

    def _add_entry(self, row: int, exit_: int, low: int, high: int, after: int) -> int:
        self._grow("entries", self.n_entries, 1)
        self.entries[self.n_entries] = (row, exit_, low, high, after)
        self.n_entries += 1
        return self.n_entries - 1

    def _ensure_heads(self, q: int) -> None:
        n = len(self.heads)
        if q >= n:
            grown = np.full(max(2 * n, q + 1), -1, np.int32)
            grown[:n] = self.heads
            self.heads = grown
            self.on_grow()

    def _grow(self, name: str, used: int, extra: int) -> None:
        array: np.ndarray = getattr(self, name)
        if used + extra > len(array):
            grown = np.zeros((max(2 * len(array), used + extra), *array.shape[1:]), array.dtype)
            grown[:used] = array[:used]
            setattr(self, name, grown)
            self.on_grow()

    def _slot(self, key: int) -> int:
        """The hash slot of ``key``, taken for it if it is new."""
        if 2 * self.n_keys >= len(self.keys):
            old_keys, old_values = self.keys, self.values
            self.keys = np.full(2 * len(old_keys), -1, np.int64)
            self.values = np.full(2 * len(old_keys), -1, np.int32)
            for k, value in zip(old_keys.tolist(), old_values.tolist(), strict=True):
                if k >= 0:
                    slot = self._probe(k)
                    self.keys[slot], self.values[slot] = k, value
            self.on_grow()
        slot = self._probe(key)
        if self.keys[slot] < 0:
            self.keys[slot] = key
            self.n_keys += 1
        return slot

    def _probe(self, key: int) -> int:
        mask = len(self.keys) - 1
        slot = hash_pair(key) & mask
        while self.keys[slot] >= 0 and self.keys[slot] != key:
            slot = (slot + 1) & mask
        return slot

    def on_grow(self) -> None:
        """Called after an array was replaced; whoever keeps addresses overrides it."""


def hash_pair(key: int) -> int:
    """The hash of ``exit << 32 | return point``; the kernels compute the same."""
    return ((key >> 32) * 40503 + (key & 0xFFFFFFFF) * 9973) & 0x7FFFFFFF
