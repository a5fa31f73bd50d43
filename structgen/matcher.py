"""One sequence: which tokens may come next, and what happens when one does."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from structgen.bitmask import row_address
from structgen.errors import StructgenError
from structgen.masks import decode as k
from structgen.masks.grammar import MaskGrammar


class Matcher:
    """Follows one text through a grammar. Not thread-safe; one for each sequence.

    The configuration is a state, a counter and a stack kept as a linked list in a pool, so that
    each step's snapshot is four integers and :meth:`rollback` restores one.
    """

    __slots__ = ("_address", "_grammar", "_history", "_kernels", "_pool", "_s", "_start")

    def __init__(self, grammar: MaskGrammar, start: int) -> None:
        self._grammar = grammar
        self._start = start
        self._kernels = grammar.address
        self._pool = np.zeros((64, 4), np.int32)
        self._history = np.zeros((64, 4), np.int64)
        self._s = np.zeros(k.SEQUENCE_LENGTH, np.int64)
        self._address = int(self._s.ctypes.data)
        self.reset()

    # -- masks ----------------------------------------------------------------------------------

    def fill_bitmask(self, mask: Any, row: int = 0) -> None:
        """Write the tokens that may come next into ``mask[row]``.

        ``mask``: int32 [batch, ceil(V / 32)], a NumPy array or a CPU torch tensor, bit t of word
        t >> 5 is token t, least significant bit first. A token is allowed where the text can still
        be completed after it; the end-of-sequence ids where it is complete. After the end nothing
        is allowed.
        """
        address = row_address(mask, row, self._grammar.tokens.words)
        while (answer := k.fill(self._kernels, self._address, address)) != k.YES:
            self._resolve(answer)

    # -- moving ---------------------------------------------------------------------------------

    def accept_token(self, token_id: int) -> bool:
        """Append a token. False, and nothing changed, exactly where its bit is 0."""
        if type(token_id) is not int:
            try:
                token_id = operator.index(token_id)
            except TypeError:
                raise StructgenError(f"a token id is an int, not {token_id!r:.40}") from None
        if not 0 <= token_id < 1 << 31:
            return False
        while (answer := k.accept_token(self._kernels, self._address, token_id)) > k.YES:
            self._resolve(answer)
        return answer == k.YES

    def accept_bytes(self, data: bytes) -> bool:
        """Append bytes, one step of history. False, and nothing changed, where they do not fit."""
        data = bytes(data)
        buffer = np.frombuffer(data, np.uint8) if data else np.zeros(1, np.uint8)
        address = int(buffer.ctypes.data)
        while (answer := k.accept_bytes(self._kernels, self._address, address, len(data))) > k.YES:
            self._resolve(answer)
        return answer == k.YES

    def rollback(self, n: int = 1) -> None:
        """Undo the last ``n`` accepted tokens (or calls of :meth:`accept_bytes`)."""
        s = self._s
        if not 0 <= n <= s[k.N_HISTORY]:
            raise StructgenError(f"cannot roll back {n} steps: {int(s[k.N_HISTORY])} were taken")
        if n:
            s[k.N_HISTORY] -= n
            s[k.Q : k.TOP + 1] = self._history[s[k.N_HISTORY]]
            s[k.TERMINATED] = 0

    def reset(self) -> None:
        """Back to the empty text."""
        s = self._s
        s[:] = 0
        s[k.Q], s[k.SP] = self._start, -1
        self._write_addresses()

    def copy(self) -> Matcher:
        """An independent matcher in the same configuration, history included."""
        twin = object.__new__(Matcher)
        twin._grammar, twin._start, twin._kernels = self._grammar, self._start, self._kernels
        twin._pool, twin._history, twin._s = (
            self._pool.copy(), self._history.copy(), self._s.copy(),
        )  # fmt: skip
        twin._address = int(twin._s.ctypes.data)
        twin._write_addresses()
        return twin

    # -- asking ---------------------------------------------------------------------------------

    def is_accepting(self) -> bool:
        """Is the text so far complete (and not ended yet)?"""
        if self._s[k.TERMINATED]:
            return False
        while (answer := k.complete(self._kernels, self._address)) > k.YES:
            self._resolve(answer)
        return answer == k.YES

    def is_terminated(self) -> bool:
        """Was an end-of-sequence token accepted?"""
        return bool(self._s[k.TERMINATED])

    def forced_bytes(self) -> bytes:
        """The bytes that must come next, up to the first place where there is a choice."""
        twin = self.copy()
        allowed = np.zeros(256, np.uint8)
        address = int(allowed.ctypes.data)
        forced = bytearray()
        while not twin.is_accepting() and not twin.is_terminated():
            while (answer := k.probe_bytes(twin._kernels, twin._address, address)) != k.YES:
                twin._resolve(answer)
            (choices,) = np.nonzero(allowed)
            if len(choices) != 1 or len(forced) >= 1 << 16:
                break
            forced.append(int(choices[0]))
            twin.accept_bytes(bytes([int(choices[0])]))
        return bytes(forced)

    def forced_tokens(self) -> list[int]:
        """Tokens that spell what must come next, for jump-forward.

        The forced bytes are split greedily, longest token first. The last token is left to the
        model where a longer token could have begun with its bytes, so that no spelling is
        forced that the model might not have chosen.
        """
        return self._grammar.tokens.split(self.forced_bytes())

    # -- inside ---------------------------------------------------------------------------------

    def _write_addresses(self) -> None:
        s = self._s
        s[k.POOL], s[k.N_POOL] = self._pool.ctypes.data, len(self._pool)
        s[k.HISTORY], s[k.HISTORY_ROOM] = self._history.ctypes.data, len(self._history)

    def _resolve(self, answer: int) -> None:
        if answer == k.NEED_POOL:
            self._pool = _doubled(self._pool)
            self._write_addresses()
        elif answer == k.NEED_HISTORY:
            self._history = _doubled(self._history)
            self._write_addresses()
        else:
            self._grammar.resolve(answer, self._s)


def _doubled(array: np.ndarray) -> np.ndarray:
    grown = np.zeros((2 * len(array), *array.shape[1:]), array.dtype)
    grown[: len(array)] = array
    return grown
