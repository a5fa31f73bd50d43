"""What the kernels of every step take and answer: blocks of addresses, and the columns of tables.

The *grammar block* holds the addresses of a grammar's tables (and of the library's block, for its
rows); the *sequence block* holds a matcher's configuration, the addresses of its stack pool and its
history, and which rows its last mask was made of.

A matcher is in one configuration, or, after a fork, in a set of them: a text is accepted where one
of them accepts it. A set of n is kept in the stack pool, a configuration a row, ``(state, counter,
stack)``; the sequence block then has ``Q = -1 - first row`` and ``V = n``.
"""

from __future__ import annotations

import numba as nb
import numpy as np

from structgen.automaton.pointers import bytes_at, int32_at
from structgen.automaton.step import COUNT, END
from structgen.jit import kernel

# Grammar block, int64.
(
    G_STATES, G_N_STATES, G_MAPS, G_N_MAPS, G_EDGES, G_N_EDGES, G_RETURNS, G_N_RETURNS,
    G_GOTOS, G_N_GOTOS, G_ENTRIES, G_N_ENTRIES, G_HEADS, G_N_HEADS, G_KEYS, G_N_KEYS, G_VALUES,
    G_ROWS, G_N_ROWS, G_LISTS, G_N_LISTS, G_BITMAPS, G_N_BITMAPS, G_WORDS, G_LIBRARY,
    G_LIBRARY_STATES, G_LIBRARY_RETURNS, G_DATA, G_N_DATA, G_OFFSETS, G_SIZE, G_EOS, G_N_EOS,
    G_PUSHES, G_N_PUSHES, G_SYMBOLS, G_STACKS,
) = range(37)  # fmt: skip
G_LENGTH = G_STACKS + 1

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
FOUND = N_HELD + 1
HELD = FOUND + MOST_ROWS + 1
SEQUENCE_LENGTH = HELD + MOST_ROWS + 1

# What a call answers; a fill that wrote nothing, because the row is there already, SAME.
(
    NO, YES, NEED_STATE, NEED_POOL, NEED_HISTORY, NEED_LOCAL, NEED_RESUME, TOO_MANY, NEED_CHECK,
) = range(9)  # fmt: skip
SAME = NO

# Columns of the tables that masks/store.py describes.
ENTRY_ROW, ENTRY_EXIT, ENTRY_LOW, ENTRY_HIGH, ENTRY_NEXT = range(5)
ENTRY_COLUMNS = ENTRY_NEXT + 1
ROW_KIND, ROW_OFFSET, ROW_LENGTH = range(3)
ROW_COLUMNS = ROW_LENGTH + 1
EXIT_OFFSET, EXIT_LENGTH = range(2)
EXIT_COLUMNS = EXIT_LENGTH + 1

LIST, BITMAP = 0, 1  # kinds of rows
SHARED = 1 << 30  # in the ids of the library's rows and exit sets


@nb.njit(inline="always")
def tables(g):
    """States, maps, edges, returns, gotos and pushes of a grammar block's automaton."""
    return (
        int32_at(g[G_STATES], g[G_N_STATES], END + 1),
        bytes_at(g[G_MAPS], g[G_N_MAPS], 256),
        int32_at(g[G_EDGES], g[G_N_EDGES], COUNT + 1),
        int32_at(g[G_RETURNS], g[G_N_RETURNS], 3),
        int32_at(g[G_GOTOS], g[G_N_GOTOS], 2),
        int32_at(g[G_PUSHES], g[G_N_PUSHES], 2),
    )


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
