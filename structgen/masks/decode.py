"""The calls of every step, compiled: fill a mask, accept bytes, is the text complete.

A matcher is in one configuration, or, after a fork, in a set of them: a text is accepted where one
of them accepts it. A set of n is kept in the stack pool, a configuration a row, ``(state, counter,
stack)``; the sequence block then has ``Q = -1 - first row`` and ``V = n``.

They take two addresses. The *grammar block* holds the addresses of a grammar's tables (and of the
library's block, for its rows); the *sequence block* holds a matcher's configuration, the addresses
of its stack pool and its history, and which rows its last mask was made of.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numba as nb
import numpy as np

from structgen import budget
from structgen.automaton.pointers import bytes_at, int32_at, int64_at, vector_at
from structgen.automaton.step import (
    ARG,
    BASE,
    END,
    FORK,
    MAP,
    POOL_COUNTER,
    POOL_PARENT,
    POOL_RETURN,
    S_EXIT,
    S_FORK,
    S_FULL,
    S_OK,
    S_UNBUILT,
    TARGET,
    follow_once,
    pop,
)
from structgen.jit import kernel

# Grammar block, int64.
(
    G_STATES, G_N_STATES, G_MAPS, G_N_MAPS, G_EDGES, G_N_EDGES, G_RETURNS, G_N_RETURNS,
    G_GOTOS, G_N_GOTOS, G_ENTRIES, G_N_ENTRIES, G_HEADS, G_N_HEADS, G_KEYS, G_N_KEYS, G_VALUES,
    G_ROWS, G_N_ROWS, G_LISTS, G_N_LISTS, G_BITMAPS, G_N_BITMAPS, G_WORDS, G_LIBRARY,
    G_LIBRARY_STATES, G_LIBRARY_RETURNS, G_DATA, G_N_DATA, G_OFFSETS, G_SIZE, G_EOS, G_N_EOS,
    G_PUSHES, G_N_PUSHES, G_SYMBOLS, G_STACKS,
) = range(37)  # fmt: skip
G_LENGTH = 37

# Sequence block, int64. Q, V, SP, TOP: the configuration. OUT*: what a call that stopped needs.
# CHECKED: 1 where Python checks each step and mask as well (see masks/unique.py). A mask is the
# rows at FOUND, N_FOUND of them, and the end-of-sequence ids where the number behind them is 1. The
# N_HELD numbers at HELD are those of the mask that was written last, to the address WRITTEN; 0
# where that is not known.
(
    Q, V, SP, TOP, TERMINATED, N_HISTORY, POOL, N_POOL, HISTORY, HISTORY_ROOM, OUT0, OUT1, OUT2,
    CHECKED, N_FOUND, WRITTEN, N_HELD,
) = range(17)  # fmt: skip
MOST_ROWS = 16  # of one mask that are remembered
FOUND = 17
HELD = FOUND + MOST_ROWS + 1
SEQUENCE_LENGTH = HELD + MOST_ROWS + 1

# What a call answers; a fill that wrote nothing, because the row is there already, SAME.
(
    NO, YES, NEED_STATE, NEED_POOL, NEED_HISTORY, NEED_LOCAL, NEED_RESUME, TOO_MANY, NEED_CHECK,
) = range(9)  # fmt: skip
SAME = NO

SHARED = np.int64(1 << 30)


@nb.njit(inline="always")
def _tables(g):
    return (
        int32_at(g[G_STATES], g[G_N_STATES], 5),
        bytes_at(g[G_MAPS], g[G_N_MAPS], 256),
        int32_at(g[G_EDGES], g[G_N_EDGES], 3),
        int32_at(g[G_RETURNS], g[G_N_RETURNS], 3),
        int32_at(g[G_GOTOS], g[G_N_GOTOS], 2),
        int32_at(g[G_PUSHES], g[G_N_PUSHES], 2),
    )


@kernel
def _feed(g, m, data, begin, end, save):
    """Step through ``data[begin:end]``; commit, and save the configuration before, on success."""
    if save and m[N_HISTORY] >= m[HISTORY_ROOM]:
        return NEED_HISTORY
    if m[Q] < 0:
        return _feed_set(g, m, data, begin, end, save)
    states, maps, edges, returns, gotos, pushes = _tables(g)
    pool = int32_at(m[POOL], m[N_POOL], 4)
    q, v, sp, top = m[Q], m[V], m[SP], m[TOP]
    relative = np.int64(-1)  # so nothing is written to where a walk tracks comparisons
    for i in range(begin, end):
        e = states[q, BASE] + np.int64(maps[states[q, MAP], data[i]])
        status, q, v, relative, sp, top = follow_once(
            states, maps, edges, returns, gotos, pushes, pool, m, e, v, relative, sp, top, data[i]
        )
        if status != S_OK:
            if status == S_UNBUILT:
                m[OUT0] = q
                return NEED_STATE
            if status == S_FORK:
                return _feed_set(g, m, data, begin, end, save)
            return NEED_POOL if status == S_FULL else NO
    if save:
        _save(m)
    m[Q], m[V], m[SP], m[TOP] = q, v, sp, top
    return YES


@kernel
def _feed_set(g, m, data, begin, end, save):
    """:func:`_feed` from a set of configurations, or into one."""
    states, maps, edges, returns, gotos, pushes = _tables(g)
    pool = int32_at(m[POOL], m[N_POOL], 4)
    track = np.zeros(2, np.int64)
    most = g[G_STACKS]
    now = np.empty((most, 3), np.int64)
    then = np.empty((most, 3), np.int64)
    # Edges still to try, with the configuration that they are taken in; -1: the state's own.
    todo = np.empty((2 * most + 8, 4), np.int64)
    n_now = _load(m, pool, now)
    top = m[TOP]
    for i in range(begin, end):
        n_then = 0
        for c in range(n_now):
            todo[0, 0], todo[0, 1], todo[0, 2], todo[0, 3] = -1, now[c, 0], now[c, 1], now[c, 2]
            n_todo = 1
            while n_todo > 0:
                n_todo -= 1
                e, q, v, sp = (
                    todo[n_todo, 0], todo[n_todo, 1], todo[n_todo, 2], todo[n_todo, 3],
                )  # fmt: skip
                if e < 0:
                    e = states[q, BASE] + np.int64(maps[states[q, MAP], data[i]])
                status, q, v, _, sp, top = follow_once(
                    states, maps, edges, returns, gotos, pushes, pool, track,
                    e, v, np.int64(-1), sp, top, data[i],
                )  # fmt: skip
                if status == S_UNBUILT:
                    m[OUT0] = q
                    return NEED_STATE
                if status == S_FULL:
                    return NEED_POOL
                if status == S_FORK:
                    first, n = np.int64(edges[q, ARG]), FORK - np.int64(edges[q, TARGET])
                    if n_todo + n > todo.shape[0]:
                        return TOO_MANY
                    for k in range(n):
                        todo[n_todo, 0], todo[n_todo, 1] = first + k, 0
                        todo[n_todo, 2], todo[n_todo, 3] = v, sp
                        n_todo += 1
                elif status == S_OK and not _is_member(pool, then, n_then, q, v, sp):
                    if n_then == most:
                        return TOO_MANY
                    then[n_then, 0], then[n_then, 1], then[n_then, 2] = q, v, sp
                    n_then += 1
        if n_then == 0:
            return NO
        now, then = then, now
        n_now = n_then
    if top + n_now > pool.shape[0]:
        return NEED_POOL
    if save:
        _save(m)
    if n_now == 1:
        m[Q], m[V], m[SP] = now[0, 0], now[0, 1], now[0, 2]
    else:
        for c in range(n_now):
            pool[top + c, 0], pool[top + c, 1], pool[top + c, 2] = now[c, 0], now[c, 1], now[c, 2]
        m[Q], m[V], m[SP] = -1 - top, n_now, -1
        top += n_now
    m[TOP] = top
    return YES


@nb.njit(inline="always")
def _load(m, pool, out):
    """The configurations that a matcher is in; returns their number."""
    if m[Q] >= 0:
        out[0, 0], out[0, 1], out[0, 2] = m[Q], m[V], m[SP]
        return 1
    at = -1 - m[Q]
    for c in range(m[V]):
        out[c, 0], out[c, 1], out[c, 2] = pool[at + c, 0], pool[at + c, 1], pool[at + c, 2]
    return m[V]


@nb.njit
def _is_member(pool, configurations, n, q, v, sp):
    """Is a configuration with this state, counter and equal stack among the first ``n``?"""
    for c in range(n):
        if configurations[c, 0] != q or configurations[c, 1] != v:
            continue
        a, b = configurations[c, 2], sp
        while (
            a != b and a >= 0 and b >= 0
            and pool[a, POOL_RETURN] == pool[b, POOL_RETURN]
            and pool[a, POOL_COUNTER] == pool[b, POOL_COUNTER]
        ):  # fmt: skip
            a, b = np.int64(pool[a, POOL_PARENT]), np.int64(pool[b, POOL_PARENT])
        if a == b:
            return True
    return False


@nb.njit(inline="always")
def _save(m):
    history = int64_at(m[HISTORY], 4 * m[HISTORY_ROOM])
    at = 4 * m[N_HISTORY]
    history[at], history[at + 1], history[at + 2], history[at + 3] = m[Q], m[V], m[SP], m[TOP]
    m[N_HISTORY] += 1


@kernel
def _complete(g, m):
    """Would the text be complete here? (YES, NO or NEED_STATE)"""
    if m[Q] < 0:
        return _complete_set(g, m)
    states, _, _, returns, gotos, _ = _tables(g)
    pool = int32_at(m[POOL], m[N_POOL], 4)
    q, sp = m[Q], m[SP]
    while True:
        cls = np.int64(states[q, END])
        if cls < -1:
            return _complete_set(g, m)
        if cls < 0:
            return NO
        status, q, _, _, sp = pop(states, returns, gotos, pool, m, cls, 1, sp)
        if status == S_EXIT:
            return YES
        if status == S_UNBUILT:
            m[OUT0] = q
            return NEED_STATE
        if status != S_OK:
            return NO


@kernel
def _complete_set(g, m):
    """:func:`_complete` with several ways to go on."""
    states, _, edges, returns, gotos, _ = _tables(g)
    pool = int32_at(m[POOL], m[N_POOL], 4)
    n = 1 if m[Q] >= 0 else m[V]
    todo = np.empty((n + 64, 2), np.int64)  # states and stacks, or (-2 - edge) and stacks
    for c in range(n):
        todo[c, 0], todo[c, 1] = m[Q], m[SP]
        if m[Q] < 0:
            todo[c, 0], todo[c, 1] = pool[-1 - m[Q] + c, 0], pool[-1 - m[Q] + c, 2]
    while n > 0:
        n -= 1
        q, sp = todo[n, 0], todo[n, 1]
        while True:
            cls = np.int64(states[q, END]) if q >= 0 else -2 - np.int64(edges[-2 - q, TARGET])
            if cls < -1:
                e = -2 - cls
                first, count = np.int64(edges[e, ARG]), FORK - np.int64(edges[e, TARGET])
                if n + count > todo.shape[0]:
                    grown = np.empty((2 * todo.shape[0] + count, 2), np.int64)
                    grown[:n] = todo[:n]
                    todo = grown
                for k in range(count):
                    todo[n, 0], todo[n, 1] = -2 - (first + k), sp
                    n += 1
                break
            if cls < 0:
                break
            status, q, _, _, sp = pop(states, returns, gotos, pool, m, cls, 1, sp)
            if status == S_EXIT:
                return YES
            if status == S_UNBUILT:
                m[OUT0] = q
                return NEED_STATE
            if status != S_OK:
                break
    return NO


@kernel
def complete(grammar, sequence):
    """Is the text so far a whole sentence?"""
    return _complete(int64_at(grammar, G_LENGTH), int64_at(sequence, SEQUENCE_LENGTH))


@kernel
def accept_token(grammar, sequence, token):
    """Append a token; NO (and nothing changed) exactly where its bit is 0."""
    g = int64_at(grammar, G_LENGTH)
    m = int64_at(sequence, SEQUENCE_LENGTH)
    if m[TERMINATED] or token < 0 or token >= g[G_SIZE]:
        return NO
    offsets = vector_at(g[G_OFFSETS], g[G_SIZE] + 1)
    begin, end = offsets[token], offsets[token + 1]
    answer = NO
    if begin < end:
        data = bytes_at(g[G_DATA], 1, g[G_N_DATA])[0]
        if not g[G_SYMBOLS]:
            answer = _feed(g, m, data, begin, end, True)
        else:
            answer = _accept_both(g, m, token, data, begin, end)
    elif g[G_SYMBOLS]:
        answer = _accept_symbol(g, m, token)
    if answer != NO:
        return answer
    if not _ends_output(g, token):
        return NO
    answer = _complete(g, m)
    if answer == YES:
        if m[N_HISTORY] >= m[HISTORY_ROOM]:
            return NEED_HISTORY
        _save(m)
        m[TERMINATED] = 1
    return answer


@kernel
def _accept_both(g, m, token, data, begin, end):
    """Append a token as its text and as what the grammar asks for by name, whichever fits."""
    q, v, sp, top, n = m[Q], m[V], m[SP], m[TOP], m[N_HISTORY]
    answer = _feed(g, m, data, begin, end, True)
    if answer == NO:
        return _accept_symbol(g, m, token)
    if answer != YES:
        return answer
    text_q, text_v, text_sp = m[Q], m[V], m[SP]
    m[Q], m[V], m[SP], m[N_HISTORY] = q, v, sp, n
    answer = _accept_symbol(g, m, token)
    if answer == NO:
        m[Q], m[V], m[SP] = text_q, text_v, text_sp
        m[N_HISTORY] = n + 1
        return YES
    if answer == YES:
        answer = _join(g, m, text_q, text_v, text_sp)
    if answer != YES:
        m[Q], m[V], m[SP], m[TOP], m[N_HISTORY] = q, v, sp, top, n
    return answer


@kernel
def _join(g, m, q, v, sp):
    """Add the configurations that ``q, v, sp`` stand for to the current ones."""
    pool = int32_at(m[POOL], m[N_POOL], 4)
    most = g[G_STACKS]
    found = np.empty((2 * most, 3), np.int64)
    size = _load(m, pool, found)
    count = np.int64(1) if q >= 0 else v
    for c in range(count):
        at = -1 - q + c
        one_q, one_v, one_sp = q, v, sp
        if q < 0:
            one_q, one_v = np.int64(pool[at, 0]), np.int64(pool[at, 1])
            one_sp = np.int64(pool[at, 2])
        if not _is_member(pool, found, size, one_q, one_v, one_sp):
            found[size, 0], found[size, 1], found[size, 2] = one_q, one_v, one_sp
            size += 1
    if size > most:
        return TOO_MANY
    top = m[TOP]
    if top + size > pool.shape[0]:
        return NEED_POOL
    if size == 1:
        return YES
    for c in range(size):
        pool[top + c, 0], pool[top + c, 1] = found[c, 0], found[c, 1]
        pool[top + c, 2] = found[c, 2]
    m[Q], m[V], m[SP], m[TOP] = -1 - top, size, -1, top + size
    return YES


@kernel
def _accept_symbol(g, m, token):
    """Append a token that the grammar asks for by name."""
    spelled = np.empty(4, np.uint8)
    spelled[0], spelled[1] = 0xFF, token >> 16
    spelled[2], spelled[3] = token >> 8 & 0xFF, token & 0xFF
    q, v, sp, top, n = m[Q], m[V], m[SP], m[TOP], m[N_HISTORY]
    answer = _feed(g, m, spelled, 0, 4, True)
    if answer == YES and _ends_output(g, token):
        # No model goes on after it: it is the end, where the text is complete with it.
        complete = _complete(g, m)
        if complete == NEED_STATE:
            m[Q], m[V], m[SP], m[TOP], m[N_HISTORY] = q, v, sp, top, n
            return complete
        m[TERMINATED] = complete == YES
    return answer


@nb.njit(inline="always")
def _ends_output(g, token):
    eos = vector_at(g[G_EOS], g[G_N_EOS])
    for i in range(g[G_N_EOS]):  # noqa: SIM110 (a compiled loop)
        if eos[i] == token:
            return True
    return False


@kernel
def accept_bytes(grammar, sequence, address, length):
    """Append bytes as one unit of history; NO, and nothing changed, where they do not fit."""
    g = int64_at(grammar, G_LENGTH)
    m = int64_at(sequence, SEQUENCE_LENGTH)
    if m[TERMINATED]:
        return NO
    data = bytes_at(address, 1, length)[0]
    for i in range(length):
        if data[i] == 0xFF:  # the beginning of a symbol, which is no text
            return NO
    return _feed(g, m, data, 0, length, True)


@kernel
def probe_bytes(grammar, sequence, allowed):
    """Which bytes may come next: ``allowed`` is the address of uint8 [256]. YES or NEED_*."""
    g = int64_at(grammar, G_LENGTH)
    m = int64_at(sequence, SEQUENCE_LENGTH)
    out = bytes_at(allowed, 1, 256)[0]
    one = np.zeros(1, np.uint8)
    q, v, sp, top = m[Q], m[V], m[SP], m[TOP]
    for b in range(256):
        one[0] = b
        answer = _feed(g, m, one, 0, 1, False)
        m[Q], m[V], m[SP], m[TOP] = q, v, sp, top
        if answer > YES:
            return answer
        out[b] = answer
    return YES


@nb.njit(inline="always")
def _find_entry(g, first, v):
    """The entry of a chain that holds for counter ``v``, or -1."""
    entries = int32_at(g[G_ENTRIES], g[G_N_ENTRIES], 5)
    k = np.int64(first)
    # Those beyond the table are newer than it is; see MaskGrammar.snapshot.
    while 0 <= k < g[G_N_ENTRIES]:
        if entries[k, 2] <= v <= entries[k, 3]:
            return k
        k = np.int64(entries[k, 4])
    return np.int64(-1)


@kernel(inline="always")
def slot_of_pair(keys, exit_, return_point):
    """Where a pair is in a hash table of ``exit << 32 | return point``, or would be.

    ``keys`` int64 [2**k], -1 where free.
    """
    key = exit_ << 32 | return_point
    mask = keys.shape[0] - 1
    slot = (exit_ * 40503 + return_point * 9973) & np.int64(0x7FFFFFFF) & mask
    while keys[slot] >= 0 and keys[slot] != key:
        slot = (slot + 1) & mask
    return slot


@nb.njit(inline="always")
def _find_pair(g, exit_, return_point):
    """First entry of an exit set at a return point, or -1."""
    keys = int64_at(g[G_KEYS], g[G_N_KEYS])
    slot = slot_of_pair(keys, exit_, return_point)
    if keys[slot] < 0:
        return np.int64(-1)
    return np.int64(vector_at(g[G_VALUES], g[G_N_KEYS])[slot])


@nb.njit(inline="always")
def _or_row(g, library, row, out, words, first):
    """Or a row into ``out``; the first one overwrites it."""
    owner = g
    if row & SHARED:
        owner = library
        row &= ~SHARED
    rows = int32_at(owner[G_ROWS], owner[G_N_ROWS], 3)
    kind, at, length = rows[row, 0], np.int64(rows[row, 1]), rows[row, 2]
    if kind == 1:
        bitmap = vector_at(owner[G_BITMAPS] + at * words * 4, words)
        if first:
            for w in range(words):
                out[w] = bitmap[w]
        else:
            for w in range(words):
                out[w] |= bitmap[w]
        return
    if first:
        for w in range(words):
            out[w] = 0
    ids = vector_at(owner[G_LISTS], owner[G_N_LISTS])
    for k in range(at, at + length):
        t = ids[k]
        out[t >> 5] |= np.int32(np.uint32(1) << np.uint32(t & 31))


@nb.njit
def _write(g, library, m, out, words, first):
    """Or the rows FOUND into ``out``; if ``first``, what was there before is overwritten."""
    if first and m[N_FOUND] == 0:
        for w in range(words):
            out[w] = 0
    for i in range(m[N_FOUND]):
        _or_row(g, library, m[FOUND + i], out, words, first and i == 0)


@nb.njit(inline="always")
def _add(g, library, m, row, out, words, flushed):
    """Add a row to those FOUND; returns whether there were so many that some are in ``out``."""
    if row == 0:
        return flushed
    if m[N_FOUND] == MOST_ROWS:
        _write(g, library, m, out, words, not flushed)
        m[N_FOUND] = 0
        flushed = True
    m[FOUND + m[N_FOUND]] = row
    m[N_FOUND] += 1
    return flushed


@nb.njit
def _find_rows(g, library, m, pool, q, v, sp, out, words, flushed):
    """Add the rows of one configuration; returns what is needed, or YES, and :func:`_add`'s."""
    states, _, edges, returns, gotos, _ = _tables(g)
    # A state that is nothing but the end of its frame has no row of its own.
    while sp >= 0 and states[q, MAP] == 0 and FORK <= edges[states[q, BASE], TARGET] < -1:
        cls = -2 - edges[states[q, BASE], TARGET]
        frames = edges[states[q, BASE], ARG]
        status, q, v, _, sp = pop(states, returns, gotos, pool, m, cls, frames, sp)
        if status == S_UNBUILT:
            m[OUT0] = q
            return NEED_STATE, flushed
        if status != S_OK:
            return YES, flushed
    owner = library if q < g[G_LIBRARY_STATES] else g
    k = np.int64(-1)
    if q < owner[G_N_HEADS]:
        k = _find_entry(owner, vector_at(owner[G_HEADS], owner[G_N_HEADS])[q], v)
    if k < 0:
        m[OUT0], m[OUT1] = q, v
        return NEED_LOCAL, flushed
    entries = int32_at(owner[G_ENTRIES], owner[G_N_ENTRIES], 5)
    flushed = _add(g, library, m, np.int64(entries[k, 0]), out, words, flushed)
    exit_ = np.int64(entries[k, 1])
    while exit_ != 0 and sp >= 0:
        r = np.int64(pool[sp, POOL_RETURN])
        saved = np.int64(pool[sp, POOL_COUNTER])
        owner = library if r < g[G_LIBRARY_RETURNS] and exit_ & SHARED else g
        k = _find_entry(owner, _find_pair(owner, exit_, r), saved)
        if k < 0:
            m[OUT0], m[OUT1], m[OUT2] = exit_, r, saved
            return NEED_RESUME, flushed
        entries = int32_at(owner[G_ENTRIES], owner[G_N_ENTRIES], 5)
        flushed = _add(g, library, m, np.int64(entries[k, 0]), out, words, flushed)
        exit_ = np.int64(entries[k, 1])
        sp = np.int64(pool[sp, POOL_PARENT])
    return YES, flushed


@kernel
def fill_row(g, m, address, reuse):
    """Write the mask to ``address``; see :func:`fill`."""
    words = g[G_WORDS]
    out = vector_at(address, words)
    library = int64_at(g[G_LIBRARY], G_LENGTH)
    pool = int32_at(m[POOL], m[N_POOL], 4)
    m[N_FOUND] = 0
    flushed = False
    ends = NO
    if not m[TERMINATED]:
        for c in range(1 if m[Q] >= 0 else m[V]):
            q, v, sp = m[Q], m[V], m[SP]
            if q < 0:
                at = -1 - q + c
                q, v, sp = np.int64(pool[at, 0]), np.int64(pool[at, 1]), np.int64(pool[at, 2])
            answer, flushed = _find_rows(g, library, m, pool, q, v, sp, out, words, flushed)
            if answer != YES:
                return answer
        ends = _complete(g, m)
        if ends == NEED_STATE:
            return NEED_STATE
    if not flushed:
        n = m[N_FOUND]
        m[FOUND + n] = ends
        same = reuse and m[WRITTEN] == address and m[N_HELD] == n + 1
        i = 0
        while same and i <= n:
            same = m[FOUND + i] == m[HELD + i]
            i += 1
        if same:
            return SAME
    m[WRITTEN] = 0
    _write(g, library, m, out, words, not flushed)
    if ends == YES:
        eos = vector_at(g[G_EOS], g[G_N_EOS])
        for i in range(g[G_N_EOS]):
            t = eos[i]
            out[t >> 5] |= np.int32(np.uint32(1) << np.uint32(t & 31))
    if not flushed:
        m[WRITTEN], m[N_HELD] = address, n + 1
        for i in range(n + 1):
            m[HELD + i] = m[FOUND + i]
    return YES


@kernel
def fill(grammar, sequence, address, reuse):
    """Write the mask, int32 [words] at ``address``: YES, or what must be computed first.

    With ``reuse`` it is SAME, and nothing is written, where the mask that this sequence wrote
    last, to the same address, was made of the same rows.
    """
    return fill_row(
        int64_at(grammar, G_LENGTH), int64_at(sequence, SEQUENCE_LENGTH), address, reuse
    )


# -- a matcher's own arrays ------------------------------------------------------------------------


@kernel
def attach(block, pool, history):
    """Note where a matcher's arrays are; returns the address of its sequence block."""
    block[POOL], block[N_POOL] = pool.ctypes.data, pool.shape[0]
    block[HISTORY], block[HISTORY_ROOM] = history.ctypes.data, history.shape[0]
    return block.ctypes.data


@kernel
def roll_back(sequence, n):
    """Undo the last ``n`` steps, at least one, of the history."""
    m = int64_at(sequence, SEQUENCE_LENGTH)
    m[N_HISTORY] -= n
    history = int64_at(m[HISTORY], 4 * m[HISTORY_ROOM])
    at = 4 * m[N_HISTORY]
    m[Q], m[V], m[SP], m[TOP] = history[at], history[at + 1], history[at + 2], history[at + 3]
    m[TERMINATED] = 0


@kernel
def copy_stacks(source, target, configuration, top):
    """Copy to the same places what stacks consist of, and everything from there up to ``top``.

    ``source``, ``target`` int32 [*, 4] are pools, ``configuration`` int64 [4] is Q, V, SP, TOP.
    """
    q, v, sp, first = configuration[0], configuration[1], configuration[2], configuration[3]
    for c in range(1 if q >= 0 else v):
        if q < 0:
            at = -1 - q + c
            target[at] = source[at]
            sp = np.int64(source[at, 2])
        while sp >= 0:
            target[sp] = source[sp]
            sp = np.int64(source[sp, POOL_PARENT])
    for i in range(first, top):
        target[i] = source[i]


@kernel
def row_of_array(mask, row, words):
    """The address of ``mask[row]``, int32 [batch, words]; 0 where it has no such row."""
    if mask.shape[1] != words or not 0 <= row < mask.shape[0] or mask.strides[1] != 4:
        return np.int64(0)
    return np.int64(mask.ctypes.data + row * mask.strides[0])


class Calls(NamedTuple):
    """The kernels of every step as functions of integers: a call costs 0.1 us, dispatched 0.4."""

    fill: Callable[[int, int, int, int], int]
    accept_token: Callable[[int, int, int], int]
    complete: Callable[[int, int], int]
    roll_back: Callable[[int, int], None]


@cache
def calls() -> Calls:
    """Load or compile the kernels of a step, once in a process."""
    with budget.untimed():
        # Other types than this one are refused instead of compiled for.
        row_of_array.compile((nb.types.Array(nb.int32, 2, "A"), nb.int64, nb.int64))
        row_of_array.disable_compile()
        return Calls(
            *(
                kernel.compile((nb.int64,) * n)
                for kernel, n in ((fill, 4), (accept_token, 3), (complete, 2), (roll_back, 2))
            )
        )
