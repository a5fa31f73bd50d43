"""From token bytes to text, piece by piece, with stop strings."""

from __future__ import annotations

import codecs
from collections.abc import Sequence


class TextStream:
    """Decodes the bytes of one sequence and watches for stop strings.

    Text is *settled* once nothing that follows can take it back: a half-arrived code point and a
    tail that may turn out to begin a stop string are held until they are decided.
    """

    def __init__(self, stop: Sequence[str] = ()) -> None:
        self._stop = tuple(stop)
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._settled: list[str] = []
        self._held = ""
        self.stopped = False

    @property
    def text(self) -> str:
        """All settled text."""
        return "".join(self._settled)

    def push(self, data: bytes) -> str:
        """The text that ``data`` settles; sets ``stopped`` when a stop string is complete."""
        return self._settle(self._decoder.decode(data))

    def finish(self) -> str:
        """Settle the rest; bytes that are no complete code point become U+FFFD."""
        if self.stopped:
            return ""
        piece = self._settle(self._decoder.decode(b"", final=True))
        if not self.stopped and self._held:
            self._settled.append(self._held)
            piece += self._held
            self._held = ""
        return piece

    def _settle(self, decoded: str) -> str:
        if self.stopped:
            return ""
        self._held += decoded
        found = [i for i in (self._held.find(stop) for stop in self._stop) if i >= 0]
        if found:
            self.stopped = True
            cut = min(found)
        else:
            cut = len(self._held) - self._possible_stop()
        piece, self._held = self._held[:cut], self._held[cut:]
        if piece:
            self._settled.append(piece)
        return piece

    def _possible_stop(self) -> int:
        """Length of the longest tail of the held text that begins some stop string."""
        longest = max((len(stop) for stop in self._stop), default=1) - 1
        for length in range(min(longest, len(self._held)), 0, -1):
            tail = self._held[-length:]
            if any(stop.startswith(tail) for stop in self._stop):
                return length
        return 0
