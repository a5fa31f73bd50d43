"""Symbol classes of several automata at once, found from their ranges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from structgen.regular.charset import Partition, Ranges

if TYPE_CHECKING:
    from structgen.regular.dfa import DFA

Int32 = npt.NDArray[np.int32]


def common_symbols(dfas: Sequence[DFA], alphabet: Ranges) -> tuple[Partition, list[Int32]]:
    """Symbol classes that no operand tells apart, and each operand's table over them.

    A symbol's column is the map (operand, state) -> target. Columns are compared by a 64-bit sum of
    hashes of their entries, kept up to date in a sweep: only a range's ends change it.
    """
    lo = np.concatenate([d.lo for d in dfas])
    hi = np.concatenate([d.hi for d in dfas])
    entries: list[npt.NDArray[np.uint64]] = []
    base = 0
    for d in dfas:
        tail = np.repeat(np.arange(d.n_states, dtype=np.uint64), np.diff(d.offsets))
        mixed = _mix(tail + np.uint64(base + 1))
        entries.append(_mix(mixed ^ (d.target.astype(np.uint64) + np.uint64(1))))
        base += d.n_states
    weight = np.concatenate(entries)
    bounds = np.array(alphabet, np.int64)
    points = np.unique(
        np.concatenate([[0], lo, hi.astype(np.int64) + 1, bounds[:, 0], bounds[:, 1] + 1])
    )
    change = np.zeros(len(points), np.uint64)
    np.add.at(change, np.searchsorted(points, lo), weight)
    np.subtract.at(change, np.searchsorted(points, hi.astype(np.int64) + 1), weight)
    column = np.cumsum(change, dtype=np.uint64)
    home = np.searchsorted(bounds[:, 0], points, "right") - 1
    inside = (home >= 0) & (points <= bounds[home, 1])
    _, first, inverse = np.unique(column[inside], return_index=True, return_inverse=True)
    segment_class = np.full(len(points), -1, np.int32)
    segment_class[inside] = inverse
    samples = points[inside][first]  # one symbol of each class
    order = np.argsort(samples)
    ordered = samples[order]
    tables: list[Int32] = []
    for d in dfas:
        table = np.full((d.n_states, len(samples)), -1, np.int32)
        begin = np.searchsorted(ordered, d.lo, "left")
        counts = np.searchsorted(ordered, d.hi, "right") - begin
        tail = np.repeat(np.arange(d.n_states), np.diff(d.offsets))
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        columns = order[np.repeat(begin, counts) + within]
        table[np.repeat(tail, counts), columns] = np.repeat(d.target, counts)
        tables.append(table)
    return Partition(len(samples), points, segment_class, ()), tables


def _mix(x: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The splitmix64 finaliser."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
