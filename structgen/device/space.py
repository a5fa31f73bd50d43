"""Which parts of the arena are free."""

from __future__ import annotations

from bisect import insort

ALIGNMENT = 32  # words: 128 bytes, a line of the cache


def aligned(length: int) -> int:
    """So many words are taken for ``length``."""
    return -(-max(length, 1) // ALIGNMENT) * ALIGNMENT


class Space:
    """Which parts of a row of words are free: first fit, neighbours joined when they are freed."""

    def __init__(self, size: int) -> None:
        self.size, self.used = size, 0
        self._free = [(0, size)]  # offset, length; ascending

    def take(self, length: int) -> int:
        """The offset of ``length`` free words, or -1."""
        length = aligned(length)
        for i, (offset, room) in enumerate(self._free):
            if room >= length:
                if room == length:
                    del self._free[i]
                else:
                    self._free[i] = (offset + length, room - length)
                self.used += length
                return offset
        return -1

    def give(self, offset: int, length: int) -> None:
        """Free what :meth:`take` gave."""
        length = aligned(length)
        self.used -= length
        insort(self._free, (offset, length))
        i = self._free.index((offset, length))
        if i + 1 < len(self._free) and offset + length == self._free[i + 1][0]:
            length += self._free.pop(i + 1)[1]
            self._free[i] = (offset, length)
        if i and sum(self._free[i - 1]) == offset:
            before = self._free[i - 1][0]
            del self._free[i]
            self._free[i - 1] = (before, offset + length - before)
