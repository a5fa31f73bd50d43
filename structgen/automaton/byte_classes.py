"""Class maps stored once: a row of 256 byte classes to its index in ``maps``."""

from __future__ import annotations

import numpy as np

from structgen.jit import kernel


@kernel
def intern_map(row, maps, slots, n):
    """The index of ``row`` (uint8 [256]) in ``maps[:n]``; n, where it then stands, if it is new.

    ``slots`` int32 [2**k] is a hash table of these indices, -1 where free. The caller has room for
    one more row, keeps at least half of the slots free, and counts what is new.
    """
    words, stored = row.view(np.uint64), maps.view(np.uint64)
    h = np.uint64(14695981039346656037)
    for k in range(32):
        h = (h ^ words[k]) * np.uint64(1099511628211)
        h ^= h >> np.uint64(29)
    slot = np.int64(h & np.uint64(slots.shape[0] - 1))
    while slots[slot] >= 0:
        found = slots[slot]
        k = 0
        while k < 32 and stored[found, k] == words[k]:
            k += 1
        if k == 32:
            return np.int64(found)
        slot = (slot + 1) & (slots.shape[0] - 1)
    slots[slot] = n
    for k in range(32):
        stored[n, k] = words[k]
    return np.int64(n)


@kernel
def rehash(maps, n, slots):
    """Fill free ``slots`` with the rows ``maps[:n]``, which differ."""
    for i in range(n):
        intern_map(maps[i], maps, slots, i)
