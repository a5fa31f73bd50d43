"""One sequence: which tokens may come next, and what happens when one does."""

from __future__ import annotations

import operator
from typing import Any, NamedTuple

import numpy as np

from structgen.automaton.step import POOL_COUNTER, POOL_PARENT, POOL_RETURN
from structgen.bitmask import row_address
from structgen.budget import Budget
from structgen.errors import LimitExceeded, StructgenError
from structgen.masks import decode as k
from structgen.masks.grammar import MaskGrammar
from structgen.masks.unique import Progress, UniqueItems
from structgen.vocabulary.spelling import SYMBOL


class Configuration(NamedTuple):
    """Where one way of reading a text stands.

    Attributes:
        state: a state of the automaton.
        counter: the counter of the innermost frame.
        stack: of each frame around it, the innermost first, the return point and the counter.
    """

    state: int
    counter: int
    stack: tuple[tuple[int, int], ...]


class Matcher:
    """Follows one text through a grammar. Not thread-safe; one for each sequence.

    The configuration is a state, a counter and a stack kept as a linked list in a pool, so that
    each step's snapshot is four integers and :meth:`rollback` restores one.
    """

    __slots__ = (
        "_address", "_grammar", "_history", "_kernels", "_pool", "_s", "_start", "_unique",
    )  # fmt: skip

    def __init__(self, grammar: MaskGrammar, start: int) -> None:
        self._grammar = grammar
        self._start = start
        self._kernels = grammar.address
        self._pool = np.zeros((64, 4), np.int32)
        self._history = np.zeros((64, 4), np.int64)
        self._s = np.zeros(k.SEQUENCE_LENGTH, np.int64)
        self._address = int(self._s.ctypes.data)
        self._unique: UniqueItems | None = None
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
        spent = None
        while (answer := k.fill(self._kernels, self._address, address)) != k.YES:
            spent = self._resolve(answer, spent)
        if self._unique is not None and not self._s[k.TERMINATED]:
            self._unique.restrict(address)

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
        following = None
        if self._unique is not None:
            following = self._unique.after_token(token_id)
            if following is None:
                return False
        spent = None
        while (answer := k.accept_token(self._kernels, self._address, token_id)) > k.YES:
            spent = self._resolve(answer, spent)
        return self._moved(answer == k.YES, following)

    def accept_bytes(self, data: bytes) -> bool:
        """Append bytes, one step of history. False, and nothing changed, where they do not fit."""
        data = bytes(data)
        buffer = np.frombuffer(data, np.uint8) if data else np.zeros(1, np.uint8)
        address = int(buffer.ctypes.data)
        following = None
        if self._unique is not None:
            following = self._unique.after(data)
            if following is None:
                return False
        spent = None
        while (answer := k.accept_bytes(self._kernels, self._address, address, len(data))) > k.YES:
            spent = self._resolve(answer, spent)
        return self._moved(answer == k.YES, following)

    def rollback(self, n: int = 1) -> None:
        """Undo the last ``n`` accepted tokens (or calls of :meth:`accept_bytes`)."""
        s = self._s
        if not 0 <= n <= s[k.N_HISTORY]:
            raise StructgenError(f"cannot roll back {n} steps: {int(s[k.N_HISTORY])} were taken")
        if n:
            s[k.N_HISTORY] -= n
            s[k.Q : k.TOP + 1] = self._history[s[k.N_HISTORY]]
            s[k.TERMINATED] = 0
            if self._unique is not None:
                self._unique.rollback(n)

    def reset(self) -> None:
        """Back to the empty text."""
        s = self._s
        s[:] = 0
        s[k.Q], s[k.SP] = self._start, -1
        if self._grammar.automaton.has_unique:
            self._unique = UniqueItems(self)
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
        twin._unique = None if self._unique is None else self._unique.copy(twin)
        return twin

    # -- asking ---------------------------------------------------------------------------------

    def is_accepting(self) -> bool:
        """Is the text so far complete (and not ended yet)?"""
        if self._s[k.TERMINATED]:
            return False
        spent = None
        while (answer := k.complete(self._kernels, self._address)) > k.YES:
            spent = self._resolve(answer, spent)
        return answer == k.YES

    def is_terminated(self) -> bool:
        """Was an end-of-sequence token accepted?"""
        return bool(self._s[k.TERMINATED])

    def configurations(self) -> list[Configuration]:
        """Where the text stands: one configuration, or several where it is read in several ways."""
        s, pool = self._s, self._pool
        if s[k.Q] >= 0:
            rows = [[int(s[k.Q]), int(s[k.V]), int(s[k.SP])]]
        else:
            first = -1 - int(s[k.Q])
            rows = pool[first : first + int(s[k.V]), :3].tolist()
        found = []
        for state, counter, frame in rows:
            stack = []
            while frame >= 0:
                stack.append((int(pool[frame, POOL_RETURN]), int(pool[frame, POOL_COUNTER])))
                frame = int(pool[frame, POOL_PARENT])
            found.append(Configuration(state, counter, tuple(stack)))
        return found

    def forced_bytes(self) -> bytes:
        """The bytes that must come next, up to the first place where there is a choice."""
        twin = self.copy()
        allowed = np.zeros(256, np.uint8)
        address = int(allowed.ctypes.data)
        forced = bytearray()
        while not twin.is_accepting() and not twin.is_terminated():
            spent = None
            while (answer := k.probe_bytes(twin._kernels, twin._address, address)) != k.YES:
                spent = twin._resolve(answer, spent)
            choices = np.flatnonzero(allowed).tolist()
            if twin._unique is not None:
                choices = [b for b in choices if twin._unique.after(bytes((b,))) is not None]
            # The first byte of a token that the grammar names is no text.
            if len(choices) != 1 or choices[0] == SYMBOL or len(forced) >= 1 << 16:
                break
            forced.append(choices[0])
            twin.accept_bytes(bytes(choices))
        return bytes(forced)

    def forced_tokens(self) -> list[int]:
        """Tokens that spell what must come next, for jump-forward.

        The forced bytes are split greedily, longest token first. The last token is left to the
        model where a longer token could have begun with its bytes, so that no spelling is
        forced that the model might not have chosen.
        """
        return self._grammar.tokens.split(self.forced_bytes())

    # -- inside ---------------------------------------------------------------------------------

    def _moved(self, accepted: bool, following: Progress | None) -> bool:
        """Note what an accepted step means for items that must differ."""
        if accepted and self._unique is not None and following is not None:
            self._unique.moved(following)
        return accepted

    def _write_addresses(self) -> None:
        s = self._s
        s[k.POOL], s[k.N_POOL] = self._pool.ctypes.data, len(self._pool)
        s[k.HISTORY], s[k.HISTORY_ROOM] = self._history.ctypes.data, len(self._history)

    def _resolve(self, answer: int, spent: Budget | None) -> Budget | None:
        """Provide what a kernel needs; ``spent`` is the budget of the call that is being made."""
        if answer == k.NEED_POOL:
            self._pool = _doubled(self._pool)
            self._write_addresses()
        elif answer == k.NEED_HISTORY:
            self._history = _doubled(self._history)
            self._write_addresses()
        elif answer == k.TOO_MANY:
            raise LimitExceeded(
                limit="stacks",
                value=self._grammar.limits.stacks,
                where="a place that a grammar which is not LR(1) reads in many ways",
            )
        else:
            spent = spent or self._grammar.budget()
            self._grammar.resolve(answer, self._s, spent)
        return spent


def _doubled(array: np.ndarray) -> np.ndarray:
    grown = np.zeros((2 * len(array), *array.shape[1:]), array.dtype)
    grown[: len(array)] = array
    return grown
