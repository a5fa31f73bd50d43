"""What is on its way to a device: gathered, copied once, and put where it belongs there.

A copy from pinned memory is ordered by the stream and not waited for, so the memory must not change
before it is done. Pinning costs more than such a copy, so one pinned buffer is used in turns.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np
import torch

LINE = 8  # words: the least that is written, 32 bytes, a sector of the memory
_RING = 1 << 20  # int64: 8 MiB


class Ring:
    """Which parts of a buffer may be written: taken in turns, free again when they were read."""

    def __init__(self, size: int) -> None:
        self.size, self._next = size, 0
        self._taken: deque[tuple[int, Callable[[], bool]]] = deque()  # start, was it read?

    def take(self, length: int) -> int:
        """Where ``length`` > 0 free places begin, or -1; :meth:`keep` follows."""
        while self._taken and self._taken[0][1]():
            self._taken.popleft()
        if not self._taken:
            self._next = 0
            return 0 if length <= self.size else -1
        oldest, start = self._taken[0][0], self._next
        if start <= oldest:
            return start if start + length <= oldest else -1
        if start + length <= self.size:
            return start
        return 0 if length <= oldest else -1

    def keep(self, start: int, length: int, is_read: Callable[[], bool]) -> None:
        """Leave what was taken as it is until ``is_read()``."""
        self._taken.append((start, is_read))
        self._next = start + length


class Staging:
    """Writes to the words of a device, in the order of its stream, none of them waited for."""

    def __init__(self, words: torch.Tensor) -> None:
        """``words``: int32 [N], N a multiple of ``LINE``."""
        self._lines = words.view(-1, LINE)
        self._device = words.device
        self._numbers: list[np.ndarray] = []
        self._contents: list[np.ndarray] = []
        self._ring = Ring(_RING)
        self._pinned: torch.Tensor | None = None
        self.sent = 0  # bytes

    def add(self, numbers: np.ndarray, content: np.ndarray) -> None:
        """Write ``content`` int32 [n, LINE] to the lines ``numbers`` int64 [n] with the next send.

        It may not change before then.
        """
        if len(numbers):
            self._numbers.append(numbers)
            self._contents.append(content)

    def send(self) -> None:
        """Write all that was added: one copy and one launch, so that nobody sees half of it."""
        n = sum(map(len, self._numbers))
        if n == 0:
            return
        # One copy for both: where the lines go, and what is in them.
        start, buffer, array = self._buffer(5 * n)
        np.concatenate(self._numbers, out=array[:n])
        np.concatenate(self._contents, out=array[n:].view(np.int32).reshape(n, LINE))
        self._numbers, self._contents = [], []
        there = buffer.to(self._device, non_blocking=True)
        self._copied(start, 5 * n)
        self._lines.index_copy_(0, there[:n], there[n:].view(torch.int32).view(n, LINE))
        self.sent += 4 * LINE * n

    def copy(self, target: torch.Tensor, content: np.ndarray) -> None:
        """Write an int32 array to a tensor of its shape."""
        length = (content.size + 1) // 2
        if length:
            start, buffer, array = self._buffer(length)
            array.view(np.int32)[: content.size] = content.reshape(-1)
            source = buffer.view(torch.int32)[: content.size].view(content.shape)
            target.copy_(source, non_blocking=True)
            self._copied(start, length)
            self.sent += content.nbytes

    def _buffer(self, length: int) -> tuple[int, torch.Tensor, np.ndarray]:
        """Memory for ``length`` int64, also as an array, and where in the ring it is, or -1."""
        start = -1
        if self._device.type != "cuda":
            buffer = torch.empty(length, dtype=torch.int64)
        elif (start := self._ring.take(length)) >= 0:
            if self._pinned is None:
                self._pinned = torch.empty(_RING, dtype=torch.int64, pin_memory=True)
            buffer = self._pinned[start : start + length]
        else:  # long, or too much is under way; who frees it sees that it was copied first
            buffer = torch.empty(length, dtype=torch.int64, pin_memory=True)
        return start, buffer, buffer.numpy()

    def _copied(self, start: int, length: int) -> None:
        """The copy from the memory that ``_buffer`` gave was launched."""
        if start >= 0:
            event = torch.cuda.Event()
            event.record(torch.cuda.current_stream(self._device))
            self._ring.keep(start, length, event.query)
