"""The rows of the next mask: those down the stack, until no token reaches the frame below."""

from __future__ import annotations

import triton
import triton.language as tl

from structgen.kernels.automaton import pop
from structgen.kernels.layout import *


@triton.jit
def _entry_for(words, entries, k, v):
    """The entry for counter ``v`` in the chain from entry ``k`` on, or -1."""
    looking = k >= 0
    while looking:
        entry = words + entries + k * ENTRY_WIDTH
        low = tl.load(entry + LOW)
        high = tl.load(entry + HIGH)
        following = tl.load(entry + NEXT)
        if (low <= v) & (v <= high):
            looking = False
        else:
            k = following
            looking = k >= 0
    return k


@triton.jit
def find_rows(
    words, states, returns, gotos, entries, pairs, pair_mask, stack, rows, head, final, frames, v,
    depth,
):  # fmt: skip
    """Write the rows of the mask; returns a status, and how many bitmaps and lists.

    ``head``, ``final`` and ``frames`` are columns of the state in which the text is.
    """
    status = ACTIVE
    n = 0
    n_lists = 0
    # A state that is nothing but the end of its frame has no row of its own.
    while (final >= 0) & (depth > 0) & (status == ACTIVE):
        code, q, v, m, base, depth = pop(words, returns, gotos, stack, final, frames, depth)
        final = -1
        if code == 1:
            state = words + states + q * STATE_WIDTH
            head = tl.load(state + HEAD)
            final = tl.load(state + FINAL)
            frames = tl.load(state + FRAMES)
        elif code == 3:
            status = NEED_STATE
        else:
            status = FINISHED  # nothing but the end
    if status == ACTIVE:
        k = _entry_for(words, entries, head, v)
        exit_ = 0
        if k < 0:
            status = NEED_ROW
        else:
            exit_, n, n_lists, status = _note_row(words, entries, rows, k, n, n_lists, status)
        while (exit_ != 0) & (depth > 0) & (status == ACTIVE):
            depth -= 1
            r = tl.load(stack + 2 * depth)
            v = tl.load(stack + 2 * depth + 1)
            at = (tl.cast(exit_, tl.int64) * 40503 + tl.cast(r, tl.int64) * 9973) & 0x7FFFFFFF
            at = tl.cast(at, tl.int32) & pair_mask
            looking = True
            k = -1
            while looking:
                pair = words + pairs + at * PAIR_WIDTH
                e = tl.load(pair)
                p = tl.load(pair + 1)
                first = tl.load(pair + 2)
                if (e == exit_) & (p == r):
                    k = first
                    looking = False
                elif e < 0:
                    looking = False
                else:
                    at = (at + 1) & pair_mask
            k = _entry_for(words, entries, k, v)
            if k < 0:
                status = NEED_ROW
            else:
                exit_, n, n_lists, status = _note_row(words, entries, rows, k, n, n_lists, status)
    if status == FINISHED:
        status = ACTIVE
    elif status != ACTIVE:  # there is no mask yet
        n = 0
        n_lists = 0
    return status, n, n_lists


@triton.jit
def _note_row(words, entries, rows, k, n, n_lists, status):
    """Add the row of entry ``k``; returns the exit set, how many rows there are, the status."""
    entry = words + entries + k * ENTRY_WIDTH
    kind = tl.load(entry + KIND)
    offset = tl.load(entry + OFFSET)
    length = tl.load(entry + LENGTH)
    exit_ = tl.load(entry + EXIT)
    if length > 0:
        if n + n_lists == MOST_ROWS:
            status = NEED_HOST
        else:
            at = tl.where(kind == BITMAP, n, MOST_ROWS - 1 - n_lists)
            tl.store(rows + at * ROW_WIDTH, offset)
            tl.store(rows + at * ROW_WIDTH + 1, length)
            n += (kind == BITMAP).to(tl.int32)
            n_lists += (kind == LIST).to(tl.int32)
    return exit_, n, n_lists, status
