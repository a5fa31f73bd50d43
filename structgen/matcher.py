"""One sequence: which tokens may come next, and what happens when one does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from structgen.automaton.step import POOL_COUNTER, POOL_PARENT, POOL_RETURN
from structgen.bitmask import row_address
from structgen.budget import Budget
from structgen.errors import LimitExceeded, StructgenError, whole_number
from structgen.masks import blocks as k
from structgen.masks.accept import accept_bytes, complete, probe_bytes
from structgen.masks.blocks import YES
from structgen.masks.decode import attach, calls, copy_stacks
from structgen.masks.grammar import MaskGrammar
from structgen.masks.unique import UniqueItems
from structgen.vocabulary.spelling import SYMBOL

# Steps and stack entries that a copy takes along rather than share.
COPIED = 512


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


class Trail(NamedTuple):
    """The steps of a text before those in a matcher's own arrays, which nobody changes any more.

    Attributes:
        pool, history: a matcher's arrays, of which the first ``n`` steps count.
        n: steps in ``history``.
        total: steps in it and before it.
        before: the trail before this one.
    """

    pool: np.ndarray
    history: np.ndarray
    n: int
    total: int
    before: Trail | None


class Matcher:
    """Follows one text through a grammar. Not thread-safe; one for each sequence.

    The configuration is a state, a counter and a stack kept as a linked list in a pool, so that
    each step's snapshot is four integers and :meth:`rollback` restores one. Copies share what was
    read long before them as a :class:`Trail`: steps below ``_floor`` are in one, and rolling back
    below it goes on in new arrays.
    """

    __slots__ = (
        "_accept", "_address", "_before", "_fill", "_floor", "_grammar", "_history", "_kernels",
        "_pool", "_s", "_start", "_unique",
    )  # fmt: skip

    _before: Trail | None
    _unique: UniqueItems | None

    def __init__(self, grammar: MaskGrammar, start: int) -> None:
        self._fill, self._accept = calls().fill, calls().accept_token
        self._grammar = grammar
        self._start = start
        self._kernels = grammar.address
        self._s = np.zeros(k.SEQUENCE_LENGTH, np.int64)
        self.reset()

    # -- masks ----------------------------------------------------------------------------------

    def fill_bitmask(self, mask: Any, row: int = 0, *, reuse: bool = False) -> bool:
        """Write the tokens that may come next into ``mask[row]``; returns whether it was written.

        ``mask``: int32 [batch, ceil(V / 32)], a NumPy array or a CPU torch tensor, bit t of word
        t >> 5 is token t, least significant bit first. A token is allowed where the text can still
        be completed after it; the end-of-sequence ids where it is complete. After the end nothing
        is allowed.

        ``reuse``: what this matcher wrote last into a mask is still there. If that was this row,
        and the same tokens may come next, nothing is written and the result is False: then there
        is nothing to copy to another device either.
        """
        address, reuse = row_address(mask, row, self._grammar.tokens.words), bool(reuse)
        answer = self._fill(self._kernels, self._address, address, reuse)
        if answer > YES:
            budget = self._grammar.budget()
            arguments = self._address, address, reuse
            answer = self._grammar.fill(self._s, arguments, budget)
            while answer > YES:
                self._resolve(answer, budget)
                answer = self._grammar.fill(self._s, arguments, budget)
        if self._unique is not None:
            self._s[k.WRITTEN] = 0
            if not self._s[k.TERMINATED]:
                self._unique.restrict(self, address)
            return True
        return answer == YES

    # -- moving ---------------------------------------------------------------------------------

    def accept_token(self, token_id: int) -> bool:
        """Append a token. False, and nothing changed, exactly where its bit is 0."""
        if type(token_id) is not int:
            token_id = whole_number(token_id, "a token id")
        if not 0 <= token_id < 1 << 31:
            return False
        following = None
        if self._unique is not None:
            following = self._unique.after_token(self, token_id)
            if following is None:
                return False
        answer = self._accept(self._kernels, self._address, token_id)
        if answer > YES:
            spent = None
            while answer > YES:
                spent = self._resolve(answer, spent)
                answer = self._accept(self._kernels, self._address, token_id)
        if following is not None and self._unique is not None and answer == YES:
            self._unique.moved(following)
        return answer == YES

    def accept_bytes(self, data: bytes) -> bool:
        """Append bytes, one step of history. False, and nothing changed, where they do not fit."""
        if type(data) is not bytes:
            try:
                data = bytes(memoryview(data))  # bytes(5) would be five zeros
            except TypeError:
                raise StructgenError(f"expected bytes, not {data!r:.40}") from None
        buffer = np.frombuffer(data, np.uint8) if data else np.zeros(1, np.uint8)
        address = int(buffer.ctypes.data)
        following = None
        if self._unique is not None:
            following = self._unique.after(self, data)
            if following is None:
                return False
        spent = None
        while (answer := accept_bytes(self._kernels, self._address, address, len(data))) > YES:
            spent = self._resolve(answer, spent)
        if following is not None and self._unique is not None and answer == YES:
            self._unique.moved(following)
        return answer == YES

    def rollback(self, n: int = 1) -> None:
        """Undo the last ``n`` accepted tokens (or calls of :meth:`accept_bytes`)."""
        n = whole_number(n, "how many steps to roll back")
        before = self._before
        own = int(self._s[k.N_HISTORY])
        taken = own if before is None else own + before.total
        if not 0 <= n <= taken:
            raise StructgenError(f"cannot roll back {n} steps: {taken} were taken")
        if n == 0:
            return
        if own - n >= self._floor:
            calls().roll_back(self._address, n)
        else:
            trail = Trail(self._pool, self._history, own, taken, before)
            while trail.before is not None and trail.before.total > taken - n:
                trail = trail.before
            self._go_on_from(trail, trail.n - (trail.total - (taken - n)))
        if self._unique is not None:
            self._unique.rollback(n)

    def reset(self) -> None:
        """Back to the empty text."""
        s = self._s
        s[:] = 0
        s[k.Q], s[k.SP] = self._start, -1
        grammar = self._grammar
        self._unique = UniqueItems(grammar.tokens) if grammar.automaton.has_unique else None
        s[k.CHECKED] = self._unique is not None
        self._own(np.empty((64, 4), np.int32), np.empty((64, 4), np.int64), 0, None)

    def copy(self) -> Matcher:
        """An independent matcher in the same configuration, history included.

        Takes time in proportion to the depth of the stack, however long the text is.
        """
        s = self._s
        n, top = int(s[k.N_HISTORY]), int(s[k.TOP])
        here = s[k.Q : k.TOP + 1]
        first = self._history[0] if n else here
        twin = object.__new__(Matcher)
        twin._fill, twin._accept = self._fill, self._accept
        twin._grammar, twin._start, twin._kernels = self._grammar, self._start, self._kernels
        twin._s = s.copy()
        twin._s[k.WRITTEN] = 0
        pool, before = np.empty((top + 64, 4), np.int32), self._before
        if n + top - int(first[3]) > COPIED:
            # From now on these steps are shared.
            self._floor = n
            total = n if before is None else n + before.total
            before = Trail(self._pool, self._history, n, total, before)
            first, n = here, 0
        history = np.empty((n + 64, 4), np.int64)
        history[:n] = self._history[:n]
        twin._s[k.N_HISTORY] = n
        copy_stacks(self._pool, pool, first, top)
        twin._own(pool, history, 0, before)
        twin._unique = None if self._unique is None else self._unique.copy()
        return twin

    def move_to(self, configuration: Configuration, before: Sequence[Configuration] = ()) -> None:
        """Go on from a configuration of this grammar.

        ``before``: where the text was before each of its last steps, which can be rolled back.
        """
        self.reset()
        s, rows = self._s, []
        history = np.empty((len(before) + 64, 4), np.int64)
        for i, here in enumerate((*before, configuration)):
            parent = -1
            for return_point, counter in reversed(here.stack):
                rows.append((return_point, counter, parent, -1))
                parent = len(rows) - 1
            s[k.Q : k.TOP + 1] = here.state, here.counter, parent, len(rows)
            if i < len(before):
                history[i] = s[k.Q : k.TOP + 1]
        pool = np.empty((len(rows) + 64, 4), np.int32)
        pool[: len(rows)] = np.array(rows, np.int32).reshape(-1, 4)
        s[k.N_HISTORY] = len(before)
        self._own(pool, history, 0, None)

    # -- asking ---------------------------------------------------------------------------------

    def is_accepting(self) -> bool:
        """Is the text so far complete (and not ended yet)?"""
        if self._s[k.TERMINATED]:
            return False
        spent = None
        while (answer := complete(self._kernels, self._address)) > YES:
            spent = self._resolve(answer, spent)
        return answer == YES

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
            while (answer := probe_bytes(twin._kernels, twin._address, address)) != YES:
                spent = twin._resolve(answer, spent)
            choices = np.flatnonzero(allowed).tolist()
            if twin._unique is not None:
                choices = [b for b in choices if twin._unique.after(twin, bytes((b,))) is not None]
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

    def _own(self, pool: np.ndarray, history: np.ndarray, floor: int, before: Trail | None) -> None:
        """Go on in these arrays."""
        self._pool, self._history, self._floor, self._before = pool, history, floor, before
        self._address = attach(self._s, pool, history)

    def _go_on_from(self, trail: Trail, n: int) -> None:
        """Go back to where step ``n`` of a trail began, and on in new arrays."""
        s = self._s
        s[k.Q : k.TOP + 1] = trail.history[n]
        s[k.N_HISTORY] = s[k.TERMINATED] = 0
        top = int(s[k.TOP])
        pool = np.empty((top + 64, 4), np.int32)
        copy_stacks(trail.pool, pool, trail.history[n], top)
        before = trail.before
        if n:
            before = Trail(trail.pool, trail.history, n, trail.total - trail.n + n, before)
        self._own(pool, np.empty((64, 4), np.int64), 0, before)

    def _resolve(self, answer: int, spent: Budget | None) -> Budget | None:
        """Provide what a kernel needs; ``spent`` is the budget of the call that is being made."""
        if answer == k.NEED_POOL:
            self._own(_doubled(self._pool), self._history, self._floor, self._before)
        elif answer == k.NEED_HISTORY:
            self._own(self._pool, _doubled(self._history), self._floor, self._before)
        elif answer == k.TOO_MANY:
            raise LimitExceeded(
                limit="stacks",
                value=self._grammar.limits.stacks,
                where="a place that a grammar which is not LR(1) reads in many ways",
            )
        else:
            spent = spent or self._grammar.budget()
            self._grammar.build(int(self._s[k.OUT0]), spent)
        return spent


def _doubled(array: np.ndarray) -> np.ndarray:
    grown = np.empty((2 * len(array), *array.shape[1:]), array.dtype)
    grown[: len(array)] = array
    return grown
