"""Masks of a sequence: the rows of its configurations, or-ed."""

from __future__ import annotations

import numba as nb
import numpy as np

from structgen.automaton.pointers import int32_at, int64_at, vector_at
from structgen.automaton.step import (
    ARG,
    BASE,
    FORK,
    MAP,
    POOL_COUNTER,
    POOL_PARENT,
    POOL_RETURN,
    S_OK,
    S_UNBUILT,
    TARGET,
    pop,
)
from structgen.jit import kernel
from structgen.masks.accept import complete
from structgen.masks.bits import set_bit
from structgen.masks.blocks import (
    BITMAP,
    ENTRY_COLUMNS,
    ENTRY_EXIT,
    ENTRY_HIGH,
    ENTRY_LOW,
    ENTRY_NEXT,
    ENTRY_ROW,
    FOUND,
    G_BITMAPS,
    G_ENTRIES,
    G_EOS,
    G_HEADS,
    G_KEYS,
    G_LENGTH,
    G_LIBRARY,
    G_LIBRARY_RETURNS,
    G_LIBRARY_STATES,
    G_LISTS,
    G_N_ENTRIES,
    G_N_EOS,
    G_N_HEADS,
    G_N_KEYS,
    G_N_LISTS,
    G_N_ROWS,
    G_ROWS,
    G_VALUES,
    G_WORDS,
    HELD,
    MOST_ROWS,
    N_FOUND,
    N_HELD,
    N_POOL,
    NEED_LOCAL,
    NEED_RESUME,
    NEED_STATE,
    NO,
    OUT0,
    OUT1,
    OUT2,
    POOL,
    ROW_COLUMNS,
    ROW_KIND,
    ROW_LENGTH,
    ROW_OFFSET,
    SAME,
    SEQUENCE_LENGTH,
    SHARED,
    SP,
    TERMINATED,
    WRITTEN,
    YES,
    Q,
    V,
    slot_of_pair,
    tables,
)


@nb.njit(inline="always")
def _find_entry(g, first, v):
    """The entry of a chain that holds for counter ``v``, or -1."""
    entries = int32_at(g[G_ENTRIES], g[G_N_ENTRIES], ENTRY_COLUMNS)
    k = np.int64(first)
    # Those beyond the table are newer than it is; see MaskGrammar.snapshot.
    while 0 <= k < g[G_N_ENTRIES]:
        if entries[k, ENTRY_LOW] <= v <= entries[k, ENTRY_HIGH]:
            return k
        k = np.int64(entries[k, ENTRY_NEXT])
    return np.int64(-1)


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
    rows = int32_at(owner[G_ROWS], owner[G_N_ROWS], ROW_COLUMNS)
    at = np.int64(rows[row, ROW_OFFSET])
    if rows[row, ROW_KIND] == BITMAP:
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
    for k in range(at, at + rows[row, ROW_LENGTH]):
        set_bit(out, ids[k])


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
        m[WRITTEN] = 0  # even if a row that comes later cannot be computed
        _write(g, library, m, out, words, not flushed)
        m[N_FOUND] = 0
        flushed = True
    m[FOUND + m[N_FOUND]] = row
    m[N_FOUND] += 1
    return flushed


@nb.njit
def _find_rows(g, library, m, pool, q, v, sp, out, words, flushed):
    """Add the rows of one configuration; returns what is needed, or YES, and :func:`_add`'s."""
    states, _, edges, returns, gotos, _ = tables(g)
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
    entries = int32_at(owner[G_ENTRIES], owner[G_N_ENTRIES], ENTRY_COLUMNS)
    flushed = _add(g, library, m, np.int64(entries[k, ENTRY_ROW]), out, words, flushed)
    exit_ = np.int64(entries[k, ENTRY_EXIT])
    while exit_ != 0 and sp >= 0:
        r = np.int64(pool[sp, POOL_RETURN])
        saved = np.int64(pool[sp, POOL_COUNTER])
        owner = library if r < g[G_LIBRARY_RETURNS] and exit_ & SHARED else g
        k = _find_entry(owner, _find_pair(owner, exit_, r), saved)
        if k < 0:
            m[OUT0], m[OUT1], m[OUT2] = exit_, r, saved
            return NEED_RESUME, flushed
        entries = int32_at(owner[G_ENTRIES], owner[G_N_ENTRIES], ENTRY_COLUMNS)
        flushed = _add(g, library, m, np.int64(entries[k, ENTRY_ROW]), out, words, flushed)
        exit_ = np.int64(entries[k, ENTRY_EXIT])
        sp = np.int64(pool[sp, POOL_PARENT])
    return YES, flushed


@kernel
def fill(grammar, sequence, address, reuse):
    """Write the mask, int32 [words] at ``address``: YES, or what must be computed first.

    With ``reuse`` it is SAME, and nothing is written, where the mask that this sequence wrote
    last, to the same address, was made of the same rows.
    """
    g = int64_at(grammar, G_LENGTH)
    m = int64_at(sequence, SEQUENCE_LENGTH)
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
        ends = complete(grammar, sequence)
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
            set_bit(out, eos[i])
    if not flushed:
        m[WRITTEN], m[N_HELD] = address, n + 1
        for i in range(n + 1):
            m[HELD + i] = m[FOUND + i]
    return YES
