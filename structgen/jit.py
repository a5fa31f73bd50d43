"""Compiled array kernels, cached on disk.

numba keeps a compiled function as long as the file that defines it is unchanged. Our kernels inline
functions of other files, so a change there must count as well: the stamp of every kernel covers the
sources of all of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba as nb

from structgen import budget

_KERNEL_SOURCES = (
    "automaton/lift.py",
    "automaton/pointers.py",
    "automaton/step.py",
    "masks/counted.py",
    "masks/decode.py",
    "masks/rows.py",
    "masks/trie.py",
    "masks/unique.py",
    "masks/walk.py",
    "regular/dense.py",
    "regular/number_states.py",
    "regular/partition.py",
    "regular/product.py",
    "regular/subset.py",
)


@cache
def _stamp() -> str:
    digest = hashlib.sha256()
    for name in _KERNEL_SOURCES:
        digest.update((Path(__file__).parent / name).read_bytes())
    return digest.hexdigest()


def kernel(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """``numba.njit(cache=True, **options)`` with a stamp over the sources of all kernels."""

    def decorate(f: Callable[..., Any]) -> Any:
        compiled = nb.njit(cache=True, **options)(f)
        compiled._cache._cache_file._source_stamp = _stamp()
        prepare = compiled._compile_for_args

        def untimed(*arguments: Any, **named: Any) -> Any:
            # Loading or compiling itself is not what a caller's input costs.
            with budget.untimed():
                return prepare(*arguments, **named)

        compiled._compile_for_args = untimed
        return compiled

    return decorate if function is None else decorate(function)
