"""Items that must differ, where a finite automaton cannot remember them: checked as a text grows.

The automaton marks return points (``Automaton.unique``): a value that returns to one is an item of
an array whose items differ. For every such array that is open the reader keeps the values of its
items so far. A text is refused where an item ends that is equal to a former one, and where every
way to go on leads there: an item that can only become a value that was used is a dead end.

Two facts keep this cheap. Only texts that may still become a used value are in danger, so the mask
is corrected by walking the vocabulary's trie along the used values. And a token that ends one item
and begins the next holds a comma; those few are walked as well.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING

import numpy as np

from structgen.budget import Budget, spending
from structgen.errors import LimitExceeded
from structgen.masks import blocks as k
from structgen.masks import unique_search as u
from structgen.masks.json_values import TOP
from structgen.masks.tokens import TokenTables
from structgen.masks.unique_candidates import REGISTERS

if TYPE_CHECKING:
    from structgen.matcher import Matcher

# What the searches of one call may write, in numbers, before somebody looks at the time.
EFFORT = 1 << 20

# A place in a text: the reader's registers, int64.
Progress = np.ndarray

_TRIES: weakref.WeakKeyDictionary[TokenTables, _TrieBlock] = weakref.WeakKeyDictionary()


class _TrieBlock:
    """The addresses of a vocabulary's trie, and the kinds of its nodes."""

    def __init__(self, tokens: TokenTables) -> None:
        trie = tokens.trie
        kinds = u.kinds_of(trie.byte, trie.depth, trie.first, trie.max_depth)
        self.arrays = (trie.byte, trie.depth, trie.end, trie.first, trie.tokens, kinds)
        addresses = [array.ctypes.data for array in self.arrays]
        sizes = [len(trie.byte), len(trie.tokens), trie.max_depth]
        self.block = np.array([*addresses, *sizes], np.int64)
        self.address = int(self.block.ctypes.data)

    @classmethod
    def of(cls, tokens: TokenTables) -> _TrieBlock:
        found = _TRIES.get(tokens)
        if found is None:
            found = _TRIES[tokens] = cls(tokens)
        return found


class UniqueItems:
    """What a matcher knows of arrays whose items differ.

    Methods take the matcher, which owns this: a reference back would keep both alive.
    """

    def __init__(self, tokens: TokenTables) -> None:
        self.trie = _TrieBlock.of(tokens)
        self.progress = np.zeros(REGISTERS, np.int64)
        self.progress[TOP] = 1
        self.history: list[Progress] = []
        self._arena, self._memo = np.zeros(1024, np.int32), np.zeros(1024, np.int32)
        self._heads = np.zeros((2, u.BUCKETS), np.int32)  # of arena and memo
        self._text = np.zeros(128, np.uint8)
        self._block = np.zeros(u.READER_LENGTH, np.int64)
        self._block[:REGISTERS] = self.progress
        self._address = int(self._block.ctypes.data)
        self._write_addresses()

    def copy(self) -> UniqueItems:
        twin = object.__new__(UniqueItems)
        twin.trie = self.trie
        twin.progress, twin.history = self.progress, self.history.copy()
        twin._arena, twin._memo = self._arena.copy(), np.zeros_like(self._memo)
        twin._heads = self._heads.copy()
        twin._text, twin._block = self._text.copy(), self._block.copy()
        twin._address = int(twin._block.ctypes.data)
        twin._write_addresses()
        return twin

    # -- moving ---------------------------------------------------------------------------------

    def after(self, matcher: Matcher, data: bytes) -> Progress | None:
        """Where ``data`` leads from here; None where it must not come."""
        buffer = np.frombuffer(data, np.uint8)
        return self._block[:REGISTERS].copy() if self._call(matcher, u.advance, buffer) else None

    def after_token(self, matcher: Matcher, token: int) -> Progress | None:
        """Where a token leads; the end of the text changes nothing."""
        tokens = matcher._grammar.tokens
        return self.after(matcher, tokens.bytes_of(token)) if token < tokens.size else None

    def moved(self, progress: Progress) -> None:
        """The matcher has taken a step: to ``progress``, which is what ``after`` answered last."""
        self.history.append(self.progress)
        self.progress = progress

    def rollback(self, n: int) -> None:
        if n:
            self.progress = self.history[-n]
            del self.history[-n:]

    # -- masks ----------------------------------------------------------------------------------

    def restrict(self, matcher: Matcher, mask: int) -> None:
        """Take out of the mask at this address the tokens after which no item can be new."""
        least_room = matcher._grammar.automaton.least_room
        self._call(matcher, u.restrict, least_room, self.trie.address, mask)

    # -- inside ---------------------------------------------------------------------------------

    def _call(self, matcher: Matcher, kernel: Callable[..., int], *arguments: object) -> bool:
        """Does a kernel answer YES? It is called again once it has what it needs."""
        if matcher._s[k.Q] < 0:
            # A text that is read in several ways is not followed: raises.
            matcher._resolve(k.TOO_MANY, None)
        spent: Budget | None = None
        effort = EFFORT
        while True:
            unique = matcher._grammar.automaton.unique
            self._block[u.R_LEFT] = effort
            with spending(spent) if spent and effort > EFFORT else nullcontext():
                answer = kernel(
                    matcher._kernels, matcher._address, self._address, self.progress, unique,
                    *arguments,
                )  # fmt: skip
            if answer <= k.YES or answer == u.REPEATED:
                return answer == k.YES
            if answer == u.NEED_ROOM:
                self._arena, self._memo = _doubled(self._arena), _doubled(self._memo)
                self._text = _doubled(self._text)
                self._write_addresses()
            elif answer == u.PAUSED:
                # A long search: it begins again, may do more, and is timed.
                effort *= 2
                spent = spent or matcher._grammar.budget()
            elif answer == u.TOO_LONG:
                where = "items that differ (uniqueItems)"
                raise LimitExceeded(limit="judge_states", value=u.SEARCHED, where=where)
            else:
                spent = matcher._resolve(answer, spent)

    def _write_addresses(self) -> None:
        block = self._block
        block[u.R_ARENA], block[u.R_N_ARENA] = self._arena.ctypes.data, len(self._arena)
        block[u.R_HEADS], block[u.R_MEMO_HEADS] = (heads.ctypes.data for heads in self._heads)
        block[u.R_MEMO], block[u.R_N_MEMO] = self._memo.ctypes.data, len(self._memo)
        block[u.R_TEXT], block[u.R_N_TEXT] = self._text.ctypes.data, len(self._text)


def _doubled(array: np.ndarray) -> np.ndarray:
    return np.concatenate([array, np.zeros_like(array)])
