"""The calls of every step, loaded once; a matcher's own arrays."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numba as nb
import numpy as np

from structgen import budget
from structgen.automaton.pointers import int64_at
from structgen.automaton.step import POOL_PARENT
from structgen.jit import kernel
from structgen.masks.accept import accept_token, complete
from structgen.masks.blocks import (
    HISTORY,
    HISTORY_ROOM,
    N_HISTORY,
    N_POOL,
    POOL,
    SEQUENCE_LENGTH,
    SP,
    TERMINATED,
    TOP,
    Q,
    V,
)
from structgen.masks.fill import fill


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
