"""Sets of symbols as sorted, disjoint, inclusive ranges, and the partition that several share."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from structgen import budget

Ranges = tuple[tuple[int, int], ...]

# Unicode scalar values: what a string of JSON or UTF-8 can hold. Surrogates are not among them.
UNICODE: Ranges = ((0, 0xD7FF), (0xE000, 0x10FFFF))
BYTES: Ranges = ((0, 0xFF),)


def has_surrogate(text: str) -> bool:
    """Does the text hold a lone surrogate, which no UTF-8 can spell?"""
    return not text.isascii() and any(0xD800 <= ord(c) <= 0xDFFF for c in text)


def normalize(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """Sort, and merge what overlaps or touches; ranges with ``lo > hi`` are empty."""
    out: list[tuple[int, int]] = []
    for lo, hi in sorted(ranges):
        if lo > hi:
            continue
        if out and lo <= out[-1][1] + 1:
            if hi > out[-1][1]:
                out[-1] = (out[-1][0], hi)
        else:
            out.append((lo, hi))
    return tuple(out)


def union(*sets: Ranges) -> Ranges:
    return normalize(r for s in sets for r in s)


def negate(ranges: Ranges, alphabet: Ranges = UNICODE) -> Ranges:
    """The symbols of ``alphabet`` outside ``ranges`` (which must be normalised)."""
    gaps: list[tuple[int, int]] = []
    start = 0
    for lo, hi in ranges:
        gaps.append((start, lo - 1))
        start = hi + 1
    gaps.append((start, alphabet[-1][1]))
    return intersect(normalize(gaps), alphabet)


def intersect(a: Ranges, b: Ranges) -> Ranges:
    out: list[tuple[int, int]] = []
    i = j = 0
    while i < len(a) and j < len(b):
        lo, hi = max(a[i][0], b[j][0]), min(a[i][1], b[j][1])
        if lo <= hi:
            out.append((lo, hi))
        if a[i][1] < b[j][1]:
            i += 1
        else:
            j += 1
    return normalize(out)


def contains(ranges: Ranges, symbol: int) -> bool:
    i = bisect_right(ranges, symbol, key=lambda r: r[0]) - 1
    return i >= 0 and symbol <= ranges[i][1]


@dataclass(frozen=True, slots=True)
class Partition:
    """The coarsest partition of an alphabet into classes that each given set is a union of.

    ``starts`` (int64, sorted, ``starts[0] == 0``) cuts the line into segments, ``segment_class``
    (int32) names the class of each, -1 outside the alphabet. ``members[i]`` lists the classes that
    make up the i-th set.
    """

    n_classes: int
    starts: npt.NDArray[np.int64]
    segment_class: npt.NDArray[np.int32]
    members: tuple[tuple[int, ...], ...]


def partition(sets: Sequence[Ranges], alphabet: Ranges = UNICODE) -> Partition:
    """Sweep over the end points of all ranges; a class is a distinct set of covering sets."""
    toggles: dict[int, int] = {0: 0}
    for i, ranges in enumerate((alphabet, *sets)):
        bit = 1 << i
        budget.check("the character sets of a pattern")
        budget.charge(len(ranges) * (i // 4 + 200), "the character sets of a pattern")
        for lo, hi in ranges:
            toggles[lo] = toggles.get(lo, 0) ^ bit
            toggles[hi + 1] = toggles.get(hi + 1, 0) ^ bit
    class_of: dict[int, int] = {}
    starts: list[int] = []
    segment_class: list[int] = []
    covering = 0
    for point in sorted(toggles):
        covering ^= toggles[point]
        symbol_class = -1
        if covering & 1:
            symbol_class = class_of.setdefault(covering, len(class_of))
        if segment_class and segment_class[-1] == symbol_class:
            continue
        starts.append(point)
        segment_class.append(symbol_class)
    members: list[list[int]] = [[] for _ in sets]
    for covering, symbol_class in class_of.items():
        rest = covering >> 1
        budget.check("the character sets of a pattern")
        budget.charge(8 * rest.bit_count(), "the character sets of a pattern")
        while rest:
            low = rest & -rest
            members[low.bit_length() - 1].append(symbol_class)
            rest ^= low
    return Partition(
        len(class_of),
        np.array(starts, np.int64),
        np.array(segment_class, np.int32),
        tuple(map(tuple, members)),
    )
