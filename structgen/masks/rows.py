"""From what a walk found to a row and an exit set of the store, equal ones stored once.

Both are looked up by a hash of their content and compared, in the grammar's own tables and in those
of the library, which all grammars of a vocabulary share.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numba as nb
import numpy as np

from structgen import budget
from structgen.automaton.pointers import bytes_at, int32_at, int64_at, longs_at, vector_at
from structgen.jit import kernel
from structgen.masks import decode as k
from structgen.masks.decode import slot_of_pair
from structgen.masks.walk import (
    D_LENGTH,
    NO_ROOM,
    P_AT,
    P_BITMAP,
    P_END,
    P_EXIT_NODES,
    P_EXIT_RANK,
    P_IDS,
    P_LENGTH,
    P_N_EXITS,
    P_N_IDS,
    P_RANK,
    T_BELOW,
    T_BITMAP,
    T_BYTE,
    T_CLASSES,
    T_COUNTS,
    T_DEPTH,
    T_END,
    T_FIRST,
    T_FRAMES,
    T_LENGTH,
    T_N_EXITS,
    T_N_FRAMES,
    T_N_NODES,
    T_N_PATH,
    T_N_POOL,
    T_N_RANGES,
    T_N_SPANS,
    T_N_TOKENS,
    T_N_UNBUILT,
    T_NODES,
    T_PATH,
    T_PENDING,
    T_POOL,
    T_RANGES,
    T_SPANS,
    T_TOKENS,
    T_TRACK,
    T_UNBUILT,
    T_WORDS,
    walk_trie,
)

LIST, BITMAP = 0, 1
SHARED = 1 << 30

# Store block, int64: addresses, rows in use and room of the tables that masks/store.py describes.
(
    S_ENTRIES, S_N_ENTRIES, S_ENTRY_ROOM, S_ROWS, S_ROW_HASHES, S_N_ROWS, S_ROW_ROOM,
    S_ROW_TABLE, S_ROW_TABLE_SIZE, S_LISTS, S_N_LISTS, S_LIST_ROOM,
    S_BITMAPS, S_N_BITMAPS, S_BITMAP_ROOM, S_EXITS, S_EXIT_HASHES, S_N_EXITS, S_EXIT_ROOM,
    S_EXIT_TABLE, S_EXIT_TABLE_SIZE, S_NODES, S_CLASSES, S_N_NODES, S_NODE_ROOM,
    S_LOOP_IDS, S_N_LOOP_IDS, S_LOOPS, S_N_LOOPS, S_LOOP_ROOM, S_LIST_LIMIT, S_MARK,
    S_HEADS, S_N_HEADS, S_KEYS, S_KEY_ROOM, S_N_KEYS, S_VALUES,
) = range(38)  # fmt: skip
S_LENGTH = 38

# What ``compute`` answers instead of a number of unbuilt states.
FOUND, NO_STORE = 0, -2


@kernel(nogil=True)
def compute(grammar, store, shared, tokens, template, q, v, return_point, exit_, n_pending, out):
    """Walk, and keep what was found: row, exit set, lowest, highest counter.

    ``grammar``, ``tokens`` and ``template`` are addresses of blocks, ``store`` and ``shared`` those
    of the grammar's own store and the library's (the same one for the library itself); ``out`` is
    the address of int64 [4] for what was found. ``exit_`` is
    the exit set whose nodes are walked where there is a return point. With ``n_pending`` > 0 a walk
    goes on; with -1 only what the last walk found is kept.

    Returns FOUND, or a number of unbuilt states (in T_UNBUILT), or NO_ROOM, or NO_STORE
    (:meth:`RowStore.reserve` first, then call again with ``n_pending`` = -1).
    """
    g, t = int64_at(grammar, k.G_LENGTH), int64_at(tokens, T_LENGTH)
    s, library = int64_at(store, S_LENGTH), int64_at(shared, S_LENGTH)
    p = int64_at(template, P_LENGTH)
    track, counts = int64_at(t[T_TRACK], 2), int64_at(t[T_COUNTS], 4)
    n_nodes, words = t[T_N_NODES], t[T_WORDS]
    spans, ranges = int32_at(t[T_SPANS], t[T_N_SPANS], 2), int32_at(t[T_RANGES], t[T_N_RANGES], 2)
    nodes, classes = vector_at(t[T_NODES], t[T_N_EXITS]), vector_at(t[T_CLASSES], t[T_N_EXITS])
    if n_pending >= 0:
        entry_nodes, entry_classes = vector_at(t[T_NODES], 0), vector_at(t[T_NODES], 0)
        if return_point >= 0:
            owner = library if exit_ & SHARED else s
            row = int32_at(owner[S_EXITS], owner[S_EXIT_ROOM], 2)[exit_ & ~SHARED]
            entry_nodes = vector_at(owner[S_NODES] + 4 * row[0], row[1])
            entry_classes = vector_at(owner[S_CLASSES] + 4 * row[0], row[1])
        if n_pending == 0:
            counts[:] = 0
            track[0], track[1] = 0, 2**31 - 1
        found_unbuilt = int64_at(t[T_UNBUILT], t[T_N_UNBUILT])
        found_pending = vector_at(t[T_PENDING] + 4 * t[T_N_UNBUILT], t[T_N_UNBUILT])
        unbuilt = walk_trie(
            bytes_at(t[T_BYTE], 1, n_nodes)[0], vector_at(t[T_DEPTH], n_nodes),
            vector_at(t[T_END], n_nodes), vector_at(t[T_FIRST], n_nodes + 1),
            longs_at(t[T_BELOW], n_nodes, 4),
            int32_at(g[k.G_STATES], g[k.G_N_STATES], 5), bytes_at(g[k.G_MAPS], g[k.G_N_MAPS], 256),
            int32_at(g[k.G_EDGES], g[k.G_N_EDGES], 3),
            int32_at(g[k.G_RETURNS], g[k.G_N_RETURNS], 3),
            int32_at(g[k.G_GOTOS], g[k.G_N_GOTOS], 2),
            int32_at(g[k.G_PUSHES], g[k.G_N_PUSHES], 2),
            vector_at(s[S_LOOP_IDS], s[S_N_LOOP_IDS]), longs_at(s[S_LOOPS], s[S_LOOP_ROOM], 4),
            int64_at(store + 8 * S_N_LOOPS, 1),
            p[P_END], vector_at(p[P_AT], n_nodes),
            vector_at(p[P_RANK], n_nodes + 1), vector_at(p[P_EXIT_RANK], n_nodes + 1),
            vector_at(p[P_EXIT_NODES], p[P_N_EXITS]),
            entry_nodes, entry_classes, return_point, q, v,
            longs_at(t[T_PATH], t[T_N_PATH], D_LENGTH), longs_at(t[T_FRAMES], t[T_N_FRAMES], 9),
            int32_at(t[T_POOL], t[T_N_POOL], 4), track, counts,
            vector_at(t[T_PENDING], n_pending), spans, ranges, nodes, classes,
            found_unbuilt, found_pending,
        )  # fmt: skip
        if unbuilt > 0:
            nodes = found_pending[:unbuilt]
            nodes.sort()
            counts[3] = _without_repetition(nodes, vector_at(t[T_PENDING], t[T_N_UNBUILT]))
            wanted = found_unbuilt[:unbuilt]
            wanted.sort()
            return _without_repetition(wanted, wanted)
        if unbuilt == NO_ROOM:
            return NO_ROOM
    n_exits = _in_order(nodes, classes, counts[2])
    counts[2] = n_exits
    if not _has_room(s, n_exits):
        return NO_STORE
    bitmap = vector_at(t[T_BITMAP], words)
    n_ranges = _merge(ranges, counts[1])
    _set_bits(
        spans[: counts[0]], vector_at(t[T_TOKENS], t[T_N_TOKENS]), ranges[:n_ranges],
        vector_at(p[P_IDS], p[P_N_IDS]), vector_at(p[P_BITMAP], words), bitmap,
    )  # fmt: skip
    found = int64_at(out, 4)
    found[0] = _intern_row(s, library, bitmap, words)
    found[1] = _intern_exit(s, library, nodes[:n_exits], classes[:n_exits])
    found[2], found[3] = track[0], track[1]
    return FOUND


@kernel
def link(store, q, exit_, return_point, found):
    """Add an entry, of state ``q`` or, with a return point, of a pair; there is room for it.

    ``found`` is the address of what :func:`compute` wrote.
    """
    s, new = int64_at(store, S_LENGTH), int64_at(found, 4)
    n = s[S_N_ENTRIES]
    entry = int32_at(s[S_ENTRIES], s[S_ENTRY_ROOM], 5)[n]
    for i in range(4):
        entry[i] = new[i]
    firsts, at = vector_at(s[S_HEADS], s[S_N_HEADS]), q
    if return_point >= 0:
        firsts = vector_at(s[S_VALUES], s[S_KEY_ROOM])
        keys = int64_at(s[S_KEYS], s[S_KEY_ROOM])
        key = exit_ << 32 | return_point
        at = slot_of_pair(keys, exit_, return_point)
        if keys[at] < 0:
            keys[at] = key
            s[S_N_KEYS] += 1
    entry[4] = firsts[at]
    s[S_N_ENTRIES] = n + 1
    firsts[at] = n


@kernel
def place_pairs(old_keys, old_values, keys, values):
    """Enter the pairs of one hash table and their entries into a larger one."""
    for i in range(old_keys.shape[0]):
        key = old_keys[i]
        if key >= 0:
            slot = slot_of_pair(keys, key >> 32, key & 0xFFFFFFFF)
            keys[slot], values[slot] = key, old_values[i]


@kernel
def intern(store, shared, tokens, ids, nodes, classes, out):
    """Keep a row of ``ids`` and an exit set (int32 arrays): ``out`` [2] = row, exit set.

    Returns FOUND or NO_STORE.
    """
    t = int64_at(tokens, T_LENGTH)
    s, library = int64_at(store, S_LENGTH), int64_at(shared, S_LENGTH)
    if not _has_room(s, nodes.shape[0]):
        return NO_STORE
    words = t[T_WORDS]
    bitmap = vector_at(t[T_BITMAP], words)
    bitmap[:] = 0
    for token in ids:
        bitmap[token >> 5] |= np.int32(np.uint32(1) << np.uint32(token & 31))
    out[0] = _intern_row(s, library, bitmap, words)
    out[1] = _intern_exit(s, library, nodes, classes)
    return FOUND


@nb.njit
def _without_repetition(ascending, out):
    """Copy each value once; returns how many there are."""
    n = 0
    for x in range(ascending.shape[0]):
        if x == 0 or ascending[x] != ascending[x - 1]:
            out[n] = ascending[x]
            n += 1
    return n


@nb.njit(inline="always")
def _has_room(s, n_exits):
    """Is there room for an entry, a pair, a row of either kind, an exit set of so many nodes?"""
    return (
        s[S_N_ENTRIES] < s[S_ENTRY_ROOM]
        and s[S_N_ROWS] < s[S_ROW_ROOM]
        and s[S_N_LISTS] + s[S_LIST_LIMIT] <= s[S_LIST_ROOM]
        and s[S_N_BITMAPS] < s[S_BITMAP_ROOM]
        and 2 * s[S_N_KEYS] < s[S_KEY_ROOM]
        and s[S_N_EXITS] < s[S_EXIT_ROOM]
        and s[S_N_LOOPS] < s[S_LOOP_ROOM]
        and s[S_N_NODES] + n_exits <= s[S_NODE_ROOM]
    )


@nb.njit
def _in_order(nodes, classes, n):
    """Sort an exit set by node and class, each pair once; returns its size."""
    in_order = True
    for x in range(1, n):
        if nodes[x - 1] > nodes[x] or (nodes[x - 1] == nodes[x] and classes[x - 1] >= classes[x]):
            in_order = False
            break
    if in_order:
        return n
    both = np.empty(n, np.int64)
    for x in range(n):
        both[x] = np.int64(nodes[x]) << 32 | np.int64(classes[x])
    both.sort()
    m = 0
    for x in range(n):
        if x == 0 or both[x] != both[x - 1]:
            nodes[m], classes[m] = both[x] >> 32, both[x] & 0xFFFFFFFF
            m += 1
    return m


@nb.njit
def _merge(ranges, n):
    """Sort ``n`` ranges and join what touches: walks that went on, or took alternatives, may find
    them in any order and more than once. Returns how many are left.
    """
    ascending = True
    for r in range(1, n):
        if ranges[r, 0] <= ranges[r - 1, 1]:
            ascending = False
            break
    if ascending:
        return n
    both = np.empty(n, np.int64)
    for r in range(n):
        both[r] = np.int64(ranges[r, 0]) << 32 | np.int64(ranges[r, 1])
    both.sort()
    m = 0
    for r in range(n):
        start = both[r] >> 32
        stop = both[r] & 0xFFFFFFFF
        if m > 0 and start <= ranges[m - 1, 1]:
            ranges[m - 1, 1] = max(np.int64(ranges[m - 1, 1]), stop)
        else:
            ranges[m, 0], ranges[m, 1] = start, stop
            m += 1
    return m


@nb.njit
def _set_bits(spans, tokens, ranges, template_ids, template_bitmap, bitmap):
    """Set ``bitmap`` (int32 words, least significant bit first) to what a walk found.

    The ranges are ascending. Where they are most of the template, its bitmap is copied and the gaps
    are cleared.
    """
    covered = 0
    for r in range(ranges.shape[0]):
        covered += ranges[r, 1] - ranges[r, 0]
    if 2 * covered > template_ids.shape[0]:
        bitmap[:] = template_bitmap
        at = 0
        for r in range(ranges.shape[0] + 1):
            stop = ranges[r, 0] if r < ranges.shape[0] else template_ids.shape[0]
            for j in range(at, stop):
                x = template_ids[j]
                bitmap[x >> 5] &= ~np.int32(np.uint32(1) << np.uint32(x & 31))
            if r < ranges.shape[0]:
                at = ranges[r, 1]
    else:
        bitmap[:] = 0
        for r in range(ranges.shape[0]):
            for j in range(ranges[r, 0], ranges[r, 1]):
                x = template_ids[j]
                bitmap[x >> 5] |= np.int32(np.uint32(1) << np.uint32(x & 31))
    for r in range(spans.shape[0]):
        for j in range(spans[r, 0], spans[r, 1]):
            x = tokens[j]
            bitmap[x >> 5] |= np.int32(np.uint32(1) << np.uint32(x & 31))


@nb.njit(inline="always")
def _mix(h, x):
    h = (h ^ x) * np.int64(-7046029254386353131)
    return h ^ (h >> 29)


@nb.njit
def _intern_row(s, library, bitmap, words):
    """The row with the bits of ``bitmap``; the store has room for it."""
    h, n = np.int64(1), np.int64(0)
    for w in range(words):
        x = np.int64(bitmap[w])
        if x != 0:
            h = _mix(h, np.int64(w) << 32 | (x & 0xFFFFFFFF))
            x &= 0xFFFFFFFF
            x -= x >> 1 & 0x55555555
            x = (x & 0x33333333) + (x >> 2 & 0x33333333)
            n += ((x + (x >> 4) & 0x0F0F0F0F) * 0x01010101 & 0xFFFFFFFF) >> 24
    if n == 0:
        return np.int64(0)
    limit = s[S_LIST_LIMIT]
    row, slot = _find_row(s, h, bitmap, words, n)
    if row >= 0:
        return row | s[S_MARK]
    if s[S_MARK] == 0:
        row, _ = _find_row(library, h, bitmap, words, n)
        if row >= 0:
            return row | library[S_MARK]
    row = s[S_N_ROWS]
    rows = int32_at(s[S_ROWS], s[S_ROW_ROOM], 3)
    if n <= limit:
        at = s[S_N_LISTS]
        rows[row, 0], rows[row, 1], rows[row, 2] = LIST, at, n
        ids = vector_at(s[S_LISTS], s[S_LIST_ROOM])
        for w in range(words):
            x = bitmap[w]
            if x != 0:
                for b in range(32):
                    if x >> b & 1:
                        ids[at] = 32 * w + b
                        at += 1
        s[S_N_LISTS] = at
    else:
        at = s[S_N_BITMAPS]
        rows[row, 0], rows[row, 1], rows[row, 2] = BITMAP, at, n
        kept = vector_at(s[S_BITMAPS] + at * words * 4, words)
        kept[:] = bitmap
        s[S_N_BITMAPS] = at + 1
    int64_at(s[S_ROW_HASHES], s[S_ROW_ROOM])[row] = h
    vector_at(s[S_ROW_TABLE], s[S_ROW_TABLE_SIZE])[slot] = row
    s[S_N_ROWS] = row + 1
    return row | s[S_MARK]


@nb.njit
def _find_row(s, h, bitmap, words, n):
    """The row of a store with these ``n`` bits, or -1, and the slot where it is or would be."""
    table = vector_at(s[S_ROW_TABLE], s[S_ROW_TABLE_SIZE])
    hashes = int64_at(s[S_ROW_HASHES], s[S_ROW_ROOM])
    rows = int32_at(s[S_ROWS], s[S_ROW_ROOM], 3)
    mask = s[S_ROW_TABLE_SIZE] - 1
    slot = h & mask
    while table[slot] >= 0:
        row = np.int64(table[slot])
        if hashes[row] == h and rows[row, 2] == n:
            equal = True
            at = np.int64(rows[row, 1])
            if rows[row, 0] == BITMAP:
                kept = vector_at(s[S_BITMAPS] + at * words * 4, words)
                for w in range(words):
                    if kept[w] != bitmap[w]:
                        equal = False
                        break
            else:  # as many ids as bits, all of them among the bits
                ids = vector_at(s[S_LISTS], s[S_LIST_ROOM])
                for j in range(at, at + n):
                    if not bitmap[ids[j] >> 5] >> (ids[j] & 31) & 1:
                        equal = False
                        break
            if equal:
                return row, slot
        slot = slot + 1 & mask
    return np.int64(-1), slot


@nb.njit
def _intern_exit(s, library, nodes, classes):
    """The exit set of these nodes and classes; the store has room for it."""
    n = nodes.shape[0]
    if n == 0:
        return np.int64(0)
    h = np.int64(1)
    for x in range(n):
        h = _mix(h, np.int64(nodes[x]) << 32 | np.int64(classes[x]))
    found, slot = _find_exit(s, h, nodes, classes)
    if found >= 0:
        return found | s[S_MARK]
    if s[S_MARK] == 0:
        found, _ = _find_exit(library, h, nodes, classes)
        if found >= 0:
            return found | library[S_MARK]
    number, at = s[S_N_EXITS], s[S_N_NODES]
    exits = int32_at(s[S_EXITS], s[S_EXIT_ROOM], 2)
    exits[number, 0], exits[number, 1] = at, n
    vector_at(s[S_NODES] + 4 * at, n)[:] = nodes
    vector_at(s[S_CLASSES] + 4 * at, n)[:] = classes
    s[S_N_NODES] = at + n
    int64_at(s[S_EXIT_HASHES], s[S_EXIT_ROOM])[number] = h
    vector_at(s[S_EXIT_TABLE], s[S_EXIT_TABLE_SIZE])[slot] = number
    s[S_N_EXITS] = number + 1
    return number | s[S_MARK]


@nb.njit
def _find_exit(s, h, nodes, classes):
    """The exit set of a store with this content, or -1, and its slot."""
    table = vector_at(s[S_EXIT_TABLE], s[S_EXIT_TABLE_SIZE])
    hashes = int64_at(s[S_EXIT_HASHES], s[S_EXIT_ROOM])
    exits = int32_at(s[S_EXITS], s[S_EXIT_ROOM], 2)
    mask = s[S_EXIT_TABLE_SIZE] - 1
    slot = h & mask
    n = nodes.shape[0]
    while table[slot] >= 0:
        number = np.int64(table[slot])
        if hashes[number] == h and exits[number, 1] == n:
            at = np.int64(exits[number, 0])
            if np.array_equal(vector_at(s[S_NODES] + 4 * at, n), nodes) and np.array_equal(
                vector_at(s[S_CLASSES] + 4 * at, n), classes
            ):
                return number, slot
        slot = slot + 1 & mask
    return np.int64(-1), slot


@kernel
def place_hashes(hashes, first, n, table):
    """Enter numbers ``first`` to ``n`` into a hash table (int32 [2**k], -1 where free)."""
    mask = table.shape[0] - 1
    for i in range(first, n):
        slot = hashes[i] & mask
        while table[slot] >= 0:
            slot = slot + 1 & mask
        table[slot] = i


@kernel
def to_bitmap(ids, bitmap):
    """Set ``bitmap`` (int32 words, least significant bit first) to ``ids``."""
    bitmap[:] = 0
    for token in ids:
        bitmap[token >> 5] |= np.int32(np.uint32(1) << np.uint32(token & 31))


class Calls(NamedTuple):
    """Kernels as functions of integers, as in :class:`structgen.masks.decode.Calls`."""

    compute: Callable[..., int]
    link: Callable[[int, int, int, int, int], None]


@cache
def calls() -> Calls:
    """Load or compile them, once in a process."""
    with budget.untimed():
        return Calls(compute.compile((nb.int64,) * 11), link.compile((nb.int64,) * 5))
