"""Compiled calls that move a sequence: accept a token or bytes, is the text complete."""

from __future__ import annotations

import numba as nb
import numpy as np

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
from structgen.masks.blocks import (
    G_DATA,
    G_EOS,
    G_LENGTH,
    G_N_DATA,
    G_N_EOS,
    G_OFFSETS,
    G_SIZE,
    G_STACKS,
    G_SYMBOLS,
    HISTORY,
    HISTORY_ROOM,
    N_HISTORY,
    N_POOL,
    NEED_HISTORY,
    NEED_POOL,
    NEED_STATE,
    NO,
    OUT0,
    POOL,
    SEQUENCE_LENGTH,
    SP,
    TERMINATED,
    TOO_MANY,
    TOP,
    YES,
    Q,
    V,
    tables,
)
from structgen.vocabulary.spelling import SYMBOL


@kernel
def _feed(g, m, data, begin, end, save):
    """Step through ``data[begin:end]``; commit, and save the configuration before, on success."""
    if save and m[N_HISTORY] >= m[HISTORY_ROOM]:
        return NEED_HISTORY
    if m[Q] < 0:
        return _feed_set(g, m, data, begin, end, save)
    states, maps, edges, returns, gotos, pushes = tables(g)
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
    states, maps, edges, returns, gotos, pushes = tables(g)
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
    states, _, _, returns, gotos, _ = tables(g)
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
    states, _, edges, returns, gotos, _ = tables(g)
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
        # What the text has pushed belongs to this step.
        int64_at(m[HISTORY], 4 * m[HISTORY_ROOM])[4 * n + 3] = top
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
    spelled[0], spelled[1] = SYMBOL, token >> 16
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
        if data[i] == SYMBOL:  # the beginning of a symbol, which is no text
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
