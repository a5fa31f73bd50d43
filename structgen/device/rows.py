"""The rows of a store in the arena, and its entries, which say where they are.

Both are shared by all grammars that use the store, the library's by all of a vocabulary. Neither is
ever moved, so a number of an entry, once given, stays good: it is that of a line of the arena.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from structgen.device.space import aligned
from structgen.device.staging import LINE, Staging
from structgen.kernels import layout
from structgen.masks.blocks import (
    ENTRY_EXIT,
    ENTRY_HIGH,
    ENTRY_LOW,
    ENTRY_NEXT,
    ENTRY_ROW,
    ROW_KIND,
    ROW_LENGTH,
    SHARED,
)
from structgen.masks.store import RowStore

assert layout.ENTRY_WIDTH.value == LINE


class StoredRows:
    """What of a store is in the arena.

    Attributes:
        numbers: int32 [entries or more], the line of each entry that is there.
        n_entries: how many are.
        parts: offset and length of all words that were taken.
        users: grammars in the arena that use the store.
    """

    def __init__(self, store: RowStore) -> None:
        self.numbers = np.zeros(64, np.int32)
        self.n_entries, self.users = 0, 0
        self.parts: list[tuple[int, int]] = []
        self._offsets = np.full(max(64, store.n_rows), -1, np.int32)  # of rows; -1 where not there
        self._next = self._stop = 0  # lines that are free for entries

    def follow(
        self,
        store: RowStore,
        shared: StoredRows,
        take: Callable[[int], int],
        staging: Staging,
    ) -> None:
        """Bring entries that were added, and their rows; called under the vocabulary's lock.

        Args:
            store: whose rows these are; :attr:`shared` are those of its library, or these.
            take: gives the offset of so many words, or raises; what is there is then still whole.
        """
        first, last = self.n_entries, store.n_entries
        if first == last:
            return
        new = store.entries[first:last]
        content = np.zeros((last - first, LINE), np.int32)
        is_shared = new[:, ENTRY_ROW] & SHARED != 0
        rows = new[:, ENTRY_ROW] & ~SHARED
        for owner, known, mine in (
            (store.shared or store, shared, np.flatnonzero(is_shared)),
            (store, self, np.flatnonzero(~is_shared)),
        ):
            if len(mine):
                content[mine, layout.OFFSET.value] = known._place(owner, rows[mine], take, staging)
                found = owner.rows[rows[mine]]
                content[mine, layout.KIND.value] = found[:, ROW_KIND]
                content[mine, layout.LENGTH.value] = found[:, ROW_LENGTH]
        content[:, layout.EXIT.value] = new[:, ENTRY_EXIT]
        content[:, layout.LOW.value] = new[:, ENTRY_LOW]
        content[:, layout.HIGH.value] = new[:, ENTRY_HIGH]
        lines = self._lines(last - first, take)
        if last > len(self.numbers):
            grown = np.zeros(2 * last, np.int32)
            grown[:first] = self.numbers[:first]
            self.numbers = grown
        self.numbers[first:last] = lines
        following = new[:, ENTRY_NEXT]
        content[:, layout.NEXT.value] = np.where(following < 0, -1, self.numbers[following])
        self.n_entries = last
        staging.add(lines, content)

    def _lines(self, n: int, take: Callable[[int], int]) -> np.ndarray:
        """Lines for ``n`` more entries, int64."""
        here = min(n, self._stop - self._next)
        lines = np.arange(self._next, self._next + n)
        if here < n:
            room = max(n - here, 16, self.n_entries // 2)
            offset = take(room * LINE)
            self.parts.append((offset, room * LINE))
            self._next, self._stop = offset // LINE, offset // LINE + room
            lines[here:] = np.arange(self._next, self._next + n - here)
            n -= here
        self._next += n
        return lines

    def _place(
        self, store: RowStore, rows: np.ndarray, take: Callable[[int], int], staging: Staging
    ) -> np.ndarray:
        """The offsets of rows of the store, those that are new taken to the arena first."""
        if store.n_rows > len(self._offsets):
            grown = np.full(2 * store.n_rows, -1, np.int32)
            grown[: len(self._offsets)] = self._offsets
            self._offsets = grown
        missing = sorted(set(rows[self._offsets[rows] < 0].tolist()))
        if missing:
            size, parts = 0, []
            for kind, at, length in store.rows[missing].tolist():
                found = store.bitmaps[at] if kind else store.lists[at : at + length]
                parts.append((size, found))
                size += aligned(len(found))
            # One part for all that came together.
            offset = take(size)
            self.parts.append((offset, size))
            block = np.zeros(size, np.int32)
            for start, found in parts:
                block[start : start + len(found)] = found
            self._offsets[missing] = [offset + start for start, _ in parts]
            lines = np.arange(offset // LINE, (offset + size) // LINE)
            staging.add(lines, block.reshape(-1, LINE))
        return self._offsets[rows]
