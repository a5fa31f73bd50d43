"""Items that must differ, where a finite automaton cannot remember them: checked as a text grows.

The automaton marks return points (``Automaton.unique``): a value that returns to one is an item of
an array whose items differ. For every such array that is open the check keeps the values of its
items so far. A text is refused where an item ends that is equal to a former one, and where every
way to go on leads there: an item that can only become a value that was used is a dead end.

Two facts keep this cheap. Only texts that may still become a used value are in danger, so the mask
is corrected by walking the vocabulary's trie along the used values. And a token that ends one item
and begins the next holds a comma; those few are tried one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from structgen.automaton.pointers import bytes_at, int32_at, int64_at, vector_at
from structgen.automaton.step import (
    POOL_COUNTER,
    POOL_PARENT,
    POOL_RETURN,
    S_FORK,
    S_FULL,
    S_OK,
    S_UNBUILT,
    step,
)
from structgen.budget import Budget
from structgen.errors import LimitExceeded
from structgen.jit import kernel
from structgen.masks import decode as k
from structgen.masks.decode import NEED_POOL, NEED_STATE, NO, TOO_MANY, YES, _tables
from structgen.masks.json_values import (
    ANY_BYTE,
    Rest,
    Token,
    Value,
    advance,
    follow,
    lex,
    number,
    spelled,
    value_of,
)

if TYPE_CHECKING:
    from structgen.matcher import Matcher

# Columns of what a step did to the stack: the topmost frame that was there before and still is; the
# frame of an item that it opened (or -1), the array's frame, 1 + the values that the item may have.
KEPT, ITEM, ARRAY, ROOM = range(4)

# Configurations that are looked at to tell whether an item can still become a new value.
SEARCHED = 20_000


@kernel
def _trace(grammar, sequence, unique, data, config, out):
    """Step through ``data`` from ``config`` (int64 [4]), which moves; ``out`` [n, 4] per byte."""
    g = int64_at(grammar, k.G_LENGTH)
    m = int64_at(sequence, k.SEQUENCE_LENGTH)
    states, maps, edges, returns, gotos, pushes = _tables(g)
    pool = int32_at(m[k.POOL], m[k.N_POOL], 4)
    track = np.zeros(2, np.int64)
    q, v, sp, top = config[0], config[1], config[2], config[3]
    relative = np.int64(-1)
    for i in range(data.shape[0]):
        before = top
        status, q, v, relative, sp, top = step(
            states, maps, edges, returns, gotos, pushes, pool, track, q, v, relative, sp, top,
            data[i],
        )  # fmt: skip
        if status != S_OK:
            if status == S_UNBUILT:
                m[k.OUT0] = q
                return NEED_STATE
            if status == S_FORK:
                return TOO_MANY
            return NEED_POOL if status == S_FULL else NO
        out[i, KEPT], out[i, ITEM] = sp, -1
        if top > before:
            r, parent = pool[before, POOL_RETURN], pool[before, POOL_PARENT]
            out[i, KEPT] = parent
            if r < unique.shape[0] and unique[r]:
                out[i, ITEM], out[i, ARRAY], out[i, ROOM] = before, parent, unique[r]
    config[0], config[1], config[2], config[3] = q, v, sp, top
    return YES


@kernel
def _suspects(grammar, sequence, unique, mask, tokens, every, config, out):
    """Allowed tokens that end an item and go on in another one; ``out[0]`` is their number.

    With ``every``: all allowed tokens that open or end an item.
    """
    g = int64_at(grammar, k.G_LENGTH)
    m = int64_at(sequence, k.SEQUENCE_LENGTH)
    states, maps, edges, returns, gotos, pushes = _tables(g)
    pool = int32_at(m[k.POOL], m[k.N_POOL], 4)
    offsets = vector_at(g[k.G_OFFSETS], g[k.G_SIZE] + 1)
    data = bytes_at(g[k.G_DATA], 1, g[k.G_N_DATA])[0]
    bits = vector_at(mask, g[k.G_WORDS])
    track = np.zeros(2, np.int64)
    n = 0
    for j in range(tokens.shape[0]):
        t = np.int64(tokens[j])
        if not (bits[t >> 5] >> np.int32(t & 31)) & 1:
            continue
        q, v, sp, top = config[0], config[1], config[2], config[3]
        relative = np.int64(-1)
        ended = False
        reported = False
        for i in range(offsets[t], offsets[t + 1]):
            old, before = sp, top
            status, q, v, relative, sp, top = step(
                states, maps, edges, returns, gotos, pushes, pool, track, q, v, relative, sp, top,
                data[i],
            )  # fmt: skip
            if status != S_OK:
                if status == S_UNBUILT:
                    m[k.OUT0] = q
                    return NEED_STATE
                if status == S_FULL:
                    return NEED_POOL
                if status == S_FORK:
                    return TOO_MANY
                break
            kept = sp
            if top > before:
                kept = np.int64(pool[before, POOL_PARENT])
            while old > kept:
                r = pool[old, POOL_RETURN]
                ended |= r < unique.shape[0] and unique[r] > 0
                old = np.int64(pool[old, POOL_PARENT])
            if top > before:
                r = pool[before, POOL_RETURN]
                if r < unique.shape[0] and unique[r]:
                    if every:
                        ended = True
                    elif ended and (i + 1 < offsets[t + 1] or data[i] not in (34, 91, 123)):
                        reported = True
        if reported or (every and ended):
            n += 1
            out[n] = t
    out[0] = n
    return YES


@kernel
def _clear(address, words, tokens, ranges):
    """Take ranges of ``tokens``, int64 [n, 2], out of the mask at ``address``."""
    mask = vector_at(address, words)
    for i in range(ranges.shape[0]):
        for j in range(ranges[i, 0], ranges[i, 1]):
            t = tokens[j]
            mask[t >> 5] &= ~np.int32(np.uint32(1) << np.uint32(t & 31))


class OpenArray(NamedTuple):
    """An array whose items differ.

    ``node``: its frame's place in the stack's pool. ``used``: the values of its items. ``room``:
    the least number of values that an item may have. ``item``: the frame of the item that is open,
    or -1; ``start``: where its text begins; ``live``: what is left to match of the used values
    that it may still become.
    """

    node: int
    used: frozenset[Value]
    room: int
    item: int = -1
    start: int = 0
    live: tuple[Rest, ...] = ()


class Progress(NamedTuple):
    """Open arrays, outermost first, and the text since the outermost open item's beginning.

    ``pending``: the text's end, if it is a token that is not over.
    """

    arrays: tuple[OpenArray, ...] = ()
    text: bytes = b""
    pending: bytes = b""

    def after(self, change: Sequence[int], byte: int) -> Progress | None:
        """What a byte changes, and has done to the stack (KEPT, ITEM, ARRAY, ROOM).

        None where it ends an item with a value that was used.
        """
        kept, item, array, room = change
        arrays = self.arrays
        if not arrays and item < 0:
            return self
        while arrays:
            a = arrays[-1]
            if a.item > kept:
                value = value_of(self.text[a.start :])
                if value in a.used:
                    return None
                arrays = (*arrays[:-1], a._replace(used=a.used | {value}, item=-1, live=()))
            if a.node <= kept:
                break
            arrays = arrays[:-1]
        text = self.text if any(a.item >= 0 for a in arrays) else b""
        if item >= 0:
            if not arrays or arrays[-1].node != array:
                arrays = (*arrays, OpenArray(array, frozenset(), room - 1))
            a = arrays[-1]
            live = tuple((value, None) for value in a.used)
            a = a._replace(item=item, start=len(text), live=live, room=room - 1)
            arrays = (*arrays[:-1], a)
        elif not text:
            return Progress(arrays)
        tokens, pending = lex(self.pending, byte)
        for token in tokens:
            arrays = tuple(
                a._replace(live=_matching(a.live, token)) if a.live else a for a in arrays
            )
        return Progress(arrays, text + bytes((byte,)), pending)

    def narrowed(self) -> tuple[Progress, bytes]:
        """Used values dropped that open items cannot become any more.

        Also the bytes after which one of the others remains possible; perhaps too many.
        """
        if not self.arrays:
            return self, b""
        arrays = []
        bytes_ = b""
        for a in self.arrays:
            if a.live:
                possible = [(rest, follow(rest, self.pending)) for rest in a.live]
                live = tuple(rest for rest, found in possible if found is not None)
                bytes_ += b"".join({found for _, found in possible if found is not None})
                if len(live) < len(a.live):
                    a = a._replace(live=live)
            elif a.item < 0 and a.used:
                bytes_ = ANY_BYTE
            arrays.append(a)
        return Progress(tuple(arrays), self.text, self.pending), bytes_

    @property
    def is_free(self) -> bool:
        """Can every open item still become a new value, and every array go on, as is plain?"""
        return all(not a.live if a.item >= 0 else a.room > len(a.used) for a in self.arrays)

    def is_followed(self, waiting: bool) -> bool:
        """May an open item (or, if ``waiting``, the next one) become a used value?"""
        if any(a.live for a in self.arrays):
            return True
        a = self.arrays[-1] if self.arrays else None
        return waiting and a is not None and a.item < 0 and bool(a.used)

    @property
    def key(self) -> object:
        """Equal where the same texts may follow."""
        pending: object = self.pending
        if self.pending[:1] == b'"':
            pending = spelled(self.pending)
        elif self.pending[:1].isdigit() or self.pending[:1] == b"-":
            pending = number(self.pending.decode())
        return pending, tuple((a.used, a.item < 0, _frozen(a.live)) for a in self.arrays)


def _matching(live: tuple[Rest, ...], token: Token) -> tuple[Rest, ...]:
    found = [advance(rest, token) for rest in live]
    return tuple(rest for rest in found if not isinstance(rest, bool))


def _frozen(live: tuple[Rest, ...]) -> object:
    return repr(live) if live else ()


NOTHING_OPEN = Progress()


class UniqueItems:
    """What a matcher knows of arrays whose items differ."""

    def __init__(self, matcher: Matcher) -> None:
        self.matcher = matcher
        self.progress = NOTHING_OPEN
        self.history: list[Progress] = []
        self._scratch = np.zeros((16, 4), np.int64)
        self._spent: Budget | None = None  # of the call that is being made

    def copy(self, matcher: Matcher) -> UniqueItems:
        twin = UniqueItems(matcher)
        twin.progress, twin.history = self.progress, self.history.copy()
        return twin

    # -- moving ---------------------------------------------------------------------------------

    def after(self, data: bytes) -> Progress | None:
        """Where ``data`` leads from here; None where it must not come."""
        self._spent = None
        config = self._config()
        progress = self._feed(config, self.progress, data)
        if progress is None:
            return None
        progress, _ = progress.narrowed()
        return progress if self._can_go_on(config, progress) else None

    def after_token(self, token: int) -> Progress | None:
        """Where a token leads; the end of the text changes nothing."""
        tokens = self.matcher._grammar.tokens
        return self.after(tokens.bytes_of(token)) if token < tokens.size else None

    def moved(self, progress: Progress) -> None:
        """The matcher has taken a step, which leads to ``progress``."""
        self.history.append(self.progress)
        self.progress = progress

    def rollback(self, n: int) -> None:
        if n:
            self.progress = self.history[-n]
            del self.history[-n:]

    # -- masks ----------------------------------------------------------------------------------

    def restrict(self, mask: int) -> None:
        """Take out of the mask at this address the tokens after which no item can be new."""
        self._spent = None
        matcher = self.matcher
        tokens = matcher._grammar.tokens
        config, progress = self._config(), self.progress
        if progress.is_followed(True):
            bad = self._walk(config, progress)
            if bad:
                _clear(mask, tokens.words, tokens.trie.tokens, np.array(bad, np.int64))
        automaton = matcher._grammar.automaton
        few = min((a.room - len(a.used) for a in progress.arrays), default=automaton.least_room)
        candidates = tokens.separators(few <= 64, self._is_in_string(config), bool(progress.arrays))
        found = np.zeros(len(candidates) + 1, np.int32)
        unique = automaton.unique
        while True:
            answer = _suspects(
                matcher._kernels, matcher._address, unique, mask, candidates, few <= 64, config,
                found,
            )  # fmt: skip
            if answer == YES:
                break
            self._resolve(answer)
            unique = automaton.unique
        suspects = found[1 : 1 + found[0]]
        bad = [
            (j, j + 1)
            for j, token in enumerate(suspects.tolist())
            if self.after(tokens.bytes_of(token)) is None
        ]
        if bad:
            _clear(mask, tokens.words, suspects, np.array(bad, np.int64))

    def _is_in_string(self, config: np.ndarray) -> bool:
        """Inside a string that goes on with any letter (elsewhere no token begins with z)."""
        return self._feed(config.copy(), NOTHING_OPEN, b"z") is not None

    def _walk(self, config: np.ndarray, progress: Progress) -> list[tuple[int, int]]:
        """Ranges of the trie's tokens that must not come, found along the used values.

        What leaves them ends an item that is new, or goes on in one: tokens that then begin a
        further item are tried elsewhere.
        """
        bad: list[tuple[int, int]] = []
        waiting = progress.arrays[-1].item < 0
        likely = progress.narrowed()[1]
        tokens = self.matcher._grammar.tokens
        trie, visible = tokens.trie, tokens.visible()
        # Whitespace changes nothing where the next item has enough values.
        skips = waiting and progress.is_free
        stack = [(1, int(trie.end[0]), config, progress, likely)]
        while stack:
            i, stop, config, progress, likely = stack.pop()
            if i >= stop:
                continue
            end, byte = int(trie.end[i]), int(trie.byte[i])
            stack.append((end, stop, config, progress, likely))
            if byte not in likely or (skips and visible[end] == visible[i]):
                continue
            here = config.copy()
            steps = self._step(here, byte)
            if steps is None:
                continue
            after = progress.after(steps, byte)
            if after is None:
                bad.append((int(trie.first[i]), int(trie.first[end])))
                continue
            after, following = after.narrowed()
            if not after.is_followed(waiting):
                continue
            if trie.first[i] < trie.first[i + 1] and not self._can_go_on(here, after):
                bad.append((int(trie.first[i]), int(trie.first[i + 1])))
            stack.append((i + 1, end, here, after, following))
        return bad

    # -- dead ends ------------------------------------------------------------------------------

    def _can_go_on(self, config: np.ndarray, progress: Progress) -> bool:
        """Can all open items become new values, each in its array?

        A search over texts that may become used values; what leaves them is free.
        """
        if progress.is_free:
            return True
        seen: set[object] = set()
        stack: list[tuple[np.ndarray, Progress, Iterator[int]]] = []
        new: tuple[np.ndarray, Progress] | None = (config, progress)
        while new is not None or stack:
            if new is not None:
                config, progress = new
                new = None
                allowed = self._allowed(config)
                progress, likely = progress.narrowed()
                if any(b not in likely for b in allowed) or progress.is_free:
                    return True
                key = (self._frames(config, progress), progress.key)
                if key in seen:
                    continue
                seen.add(key)
                if len(seen) > SEARCHED:
                    where = "items that differ (uniqueItems)"
                    raise LimitExceeded(limit="judge_states", value=SEARCHED, where=where)
                if not allowed and self._is_complete(config):
                    return True
                stack.append((config, progress, iter(sorted(allowed, key=_rank))))
            config, progress, rest = stack[-1]
            byte = next(rest, None)
            if byte is None:
                stack.pop()
                continue
            here = config.copy()
            steps = self._step(here, byte)
            after = None if steps is None else progress.after(steps, byte)
            if after is not None:
                new = (here, after)
        return False

    def _frames(self, config: np.ndarray, progress: Progress) -> object:
        """State, counter and the stack down to the outermost open array."""
        q, v, sp, _ = config.tolist()
        pool, frames = self.matcher._pool, []
        while sp >= 0 and sp >= progress.arrays[0].node:
            frames.append((int(pool[sp, POOL_RETURN]), int(pool[sp, POOL_COUNTER])))
            sp = int(pool[sp, POOL_PARENT])
        return q, v, tuple(frames)

    # -- stepping -------------------------------------------------------------------------------

    def _resolve(self, answer: int) -> None:
        self._spent = self.matcher._resolve(answer, self._spent)

    def _config(self) -> np.ndarray:
        s = self.matcher._s
        if s[k.Q] < 0:
            self._resolve(TOO_MANY)  # a text that is read in several ways is not followed: raises
        return s[k.Q : k.TOP + 1].copy()

    def _trace(self, config: np.ndarray, data: np.ndarray) -> np.ndarray | None:
        """What each byte did to the stack (a view), ``config`` moved; None where one is dead."""
        matcher = self.matcher
        if len(data) > len(self._scratch):
            self._scratch = np.zeros((2 * len(data), 4), np.int64)
        automaton = matcher._grammar.automaton
        while True:
            answer = _trace(
                matcher._kernels, matcher._address, automaton.unique, data, config, self._scratch
            )
            if answer <= YES:
                return self._scratch[: len(data)] if answer == YES else None
            self._resolve(answer)

    def _step(self, config: np.ndarray, byte: int) -> list[int] | None:
        steps = self._trace(config, np.array([byte], np.uint8))
        return None if steps is None else steps[0].tolist()

    def _feed(self, config: np.ndarray, progress: Progress, data: bytes) -> Progress | None:
        """The progress after ``data``, values that open items can become not narrowed yet."""
        buffer = np.frombuffer(data, np.uint8)
        steps = self._trace(config, buffer)
        if steps is None:
            return None
        if not progress.arrays and (steps[:, ITEM] < 0).all():
            return progress
        for changes, byte in zip(steps.tolist(), data, strict=True):
            following = progress.after(changes, byte)
            if following is None:
                return None
            progress = following
        return progress

    def _is_complete(self, config: np.ndarray) -> bool:
        """Would the text be whole?"""
        return self._ask(config, k.complete)

    def _allowed(self, config: np.ndarray) -> list[int]:
        """The bytes that may come next, items that differ left aside."""
        out = np.zeros(256, np.uint8)
        self._ask(config, k.probe_bytes, int(out.ctypes.data))
        return np.flatnonzero(out).tolist()

    def _ask(self, config: np.ndarray, kernel: Callable[..., int], *arguments: int) -> bool:
        """What a kernel of ``decode`` says of another configuration than the matcher's."""
        matcher = self.matcher
        while True:
            block = matcher._s.copy()
            block[k.Q : k.TOP + 1] = config
            answer = kernel(matcher._kernels, int(block.ctypes.data), *arguments)
            if answer <= YES:
                return answer == YES
            matcher._s[k.OUT0 : k.OUT2 + 1] = block[k.OUT0 : k.OUT2 + 1]
            self._resolve(answer)


def _rank(byte: int) -> tuple[bool, int]:
    """Whitespace last: it brings a search no further."""
    return byte in b" \t\n\r", byte
