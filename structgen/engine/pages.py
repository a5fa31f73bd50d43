"""Pages of the KV cache: which are free, and how many owners hold each of the others.

A page holds the keys and values of ``page_size`` consecutive tokens of one text. Owners are running
sequences and the prefix cache; each holds a page at most once and gives it back with
:meth:`PagePool.release`. A page that several hold is read only, but for slots that none of the
others counts on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np


class PagePool:
    """Reference counts of pages 0 ... n_pages - 1, and those that are free.

    Page 0 is never given out: writes of padding go there. What was freed last is allocated first.
    All calls take constant time for each page.

    Attributes:
        references: int32 [n_pages], how many owners hold each page; to be read only.

    Raises:
        ValueError: no page besides page 0, or pages without a slot.
    """

    def __init__(self, n_pages: int, page_size: int) -> None:
        if n_pages < 2 or page_size < 1:
            raise ValueError(
                f"{n_pages} pages of {page_size} tokens: 2 pages and 1 token are the least, "
                "as page 0 is for padding"
            )
        self.n_pages, self.page_size = n_pages, page_size
        self.references = np.zeros(n_pages, np.int32)
        self._free = list(range(n_pages - 1, 0, -1))  # the last one is next

    @property
    def n_free(self) -> int:
        """Pages that nobody holds, without page 0."""
        return len(self._free)

    def allocate(self, n: int) -> list[int] | None:
        """``n`` free pages, held once; None, and nothing changed, where fewer are free."""
        if n < 0:
            raise ValueError(f"{n} pages cannot be allocated")
        left = len(self._free) - n
        if left < 0:
            return None
        pages = self._free[left:][::-1]
        del self._free[left:]
        self.references[pages] = 1
        return pages

    def share(self, pages: Sequence[int]) -> None:
        """One more owner holds each of the pages.

        Raises:
            ValueError: one of them is free or page 0; nothing changed.
        """
        held = self._index(pages)
        np.add.at(self.references, held, 1)

    def release(self, pages: Sequence[int]) -> None:
        """One owner less holds each of the pages; those that nobody holds any more are free.

        Raises:
            ValueError: one of them is held less often than it is given back; nothing changed.
        """
        held = self._index(pages)
        np.subtract.at(self.references, held, 1)
        left = self.references[held]
        if (left < 0).any():
            np.add.at(self.references, held, 1)
            page = int(held[left < 0][0])
            raise ValueError(f"page {page} is given back more often than it is held")
        # In reverse: the pages of a text that starts again come in the order they had.
        self._free += dict.fromkeys(held[left == 0][::-1].tolist())

    def _index(self, pages: Sequence[int]) -> np.ndarray:
        index = np.asarray(pages, np.int64)
        outside = (index < 1) | (index >= self.n_pages)
        if outside.any():
            raise ValueError(f"page {index[outside][0]} is not one of 1 ... {self.n_pages - 1}")
        free = self.references[index] == 0
        if free.any():
            raise ValueError(f"page {index[free][0]} is free: nobody can share or release it")
        return index

    def verify(self, owners: Iterable[Sequence[int]]) -> None:
        """Check the books against what all the owners hold.

        Args:
            owners: the pages of each owner.

        Raises:
            ValueError: an owner holds a page twice or one that does not exist, a page's count is
                not the number of its owners, or the free list is not the pages without owners.
        """
        counts = np.zeros(self.n_pages, np.int64)
        for owner, pages in enumerate(owners):
            index = np.asarray(pages, np.int64)
            if ((index < 1) | (index >= self.n_pages)).any():
                raise ValueError(f"owner {owner} holds a page outside of 1 ... {self.n_pages - 1}")
            mine = np.bincount(index, minlength=self.n_pages)
            if (mine > 1).any():
                raise ValueError(f"owner {owner} holds page {mine.argmax()} twice")
            counts += mine
        wrong = np.flatnonzero(counts != self.references)
        if len(wrong):
            page = wrong[0]
            raise ValueError(
                f"page {page} is held {counts[page]} times, {self.references[page]} are counted"
            )
        free = np.bincount(np.asarray(self._free, np.int64), minlength=self.n_pages)
        expected = (counts == 0).astype(np.int64)
        expected[0] = 0
        wrong = np.flatnonzero(free != expected)
        if len(wrong):
            page = wrong[0]
            raise ValueError(
                f"page {page}, held {counts[page]} times, is {free[page]} times in the free list"
            )
