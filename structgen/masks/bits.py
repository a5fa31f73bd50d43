"""Bitmaps of token ids: int32 words, bit t of word t >> 5 is token t, least significant first."""

from __future__ import annotations

import numba as nb
import numpy as np

from structgen.jit import kernel


@nb.njit(inline="always")
def set_bit(bitmap, token):
    """Add one id."""
    bitmap[token >> 5] |= np.int32(np.uint32(1) << np.uint32(token & 31))


@nb.njit(inline="always")
def clear_bit(bitmap, token):
    """Remove one id."""
    bitmap[token >> 5] &= ~np.int32(np.uint32(1) << np.uint32(token & 31))


@kernel
def to_bitmap(ids, bitmap):
    """Set ``bitmap`` to ``ids``."""
    bitmap[:] = 0
    for token in ids:
        set_bit(bitmap, token)
