"""Arrays by address, for kernels that are called for every token.

Passing an array to a compiled function costs 100-200 ns each; a table of addresses costs one
integer. Whoever writes an address keeps the array alive.
"""

from __future__ import annotations

import numba as nb
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic


@intrinsic
def _as_pointer(typingctx, address):
    """The integer ``address`` as a void pointer."""

    def codegen(context, builder, signature, args):
        return builder.inttoptr(args[0], ir.IntType(8).as_pointer())

    return types.voidptr(types.int64), codegen


@nb.njit(inline="always")
def int32_at(address, rows, columns):
    """The C-contiguous int32 array [rows, columns] at ``address``."""
    return nb.carray(_as_pointer(address), (rows, columns), nb.int32)


@nb.njit(inline="always")
def vector_at(address, n):
    """The int32 vector [n] at ``address``."""
    return nb.carray(_as_pointer(address), (n,), nb.int32)


@nb.njit(inline="always")
def bytes_at(address, rows, columns):
    """The C-contiguous uint8 array [rows, columns] at ``address``."""
    return nb.carray(_as_pointer(address), (rows, columns), nb.uint8)


@nb.njit(inline="always")
def int64_at(address, n):
    """The int64 vector [n] at ``address``."""
    return nb.carray(_as_pointer(address), (n,), nb.int64)


@nb.njit(inline="always")
def longs_at(address, rows, columns):
    """The C-contiguous int64 array [rows, columns] at ``address``."""
    return nb.carray(_as_pointer(address), (rows, columns), nb.int64)
