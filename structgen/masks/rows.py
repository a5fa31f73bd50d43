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
from structgen.masks.bits import clear_bit, set_bit, to_bitmap
from structgen.masks.blocks import (
    BITMAP,
    ENTRY_COLUMNS,
    ENTRY_NEXT,
    EXIT_COLUMNS,
    EXIT_LENGTH,
    EXIT_OFFSET,
    G_LENGTH,
    LIST,
    ROW_COLUMNS,
    ROW_KIND,
    ROW_LENGTH,
    ROW_OFFSET,
    SHARED,
    slot_of_pair,
    tables,
)
from structgen.masks.walk import (
    C_EXITS,
    C_LENGTH,
    C_PENDING,
    C_RANGES,
    C_SPANS,
    D_LENGTH,
    F_LENGTH,
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

# Store block, int64: addresses, rows in use and room of the tables that masks/store.py describes.
(
    STORE_ENTRIES, STORE_N_ENTRIES, STORE_ENTRY_ROOM, STORE_ROWS, STORE_ROW_HASHES, STORE_N_ROWS,
    STORE_ROW_ROOM, STORE_ROW_TABLE, STORE_ROW_TABLE_SIZE, STORE_LISTS, STORE_N_LISTS,
    STORE_LIST_ROOM, STORE_BITMAPS, STORE_N_BITMAPS, STORE_BITMAP_ROOM, STORE_EXITS,
    STORE_EXIT_HASHES, STORE_N_EXITS, STORE_EXIT_ROOM, STORE_EXIT_TABLE, STORE_EXIT_TABLE_SIZE,
    STORE_NODES, STORE_CLASSES, STORE_N_NODES, STORE_NODE_ROOM, STORE_LOOP_IDS, STORE_N_LOOP_IDS,
    STORE_LOOPS, STORE_N_LOOPS, STORE_LOOP_ROOM, STORE_LIST_LIMIT, STORE_MARK, STORE_HEADS,
    STORE_N_HEADS, STORE_KEYS, STORE_KEY_ROOM, STORE_N_KEYS, STORE_VALUES,
) = range(38)  # fmt: skip
STORE_LENGTH = STORE_VALUES + 1

# What ``compute`` answers instead of a number of unbuilt states.
KEPT, NO_STORE = 0, -2


@kernel(nogil=True)
def compute(grammar, store, shared, tokens, template, q, v, return_point, exit_, n_pending, out):
    """Walk, and keep what was found: row, exit set, lowest, highest counter.

    ``grammar``, ``tokens`` and ``template`` are addresses of blocks, ``store`` and ``shared`` those
    of the grammar's own store and the library's (the same one for the library itself); ``out`` is
    the address of int64 [4] for what was found. ``exit_`` is
    the exit set whose nodes are walked where there is a return point. With ``n_pending`` > 0 a walk
    goes on; with -1 only what the last walk found is kept.

    Returns KEPT, or a number of unbuilt states (in T_UNBUILT), or NO_ROOM, or NO_STORE
    (:meth:`RowStore.reserve` first, then call again with ``n_pending`` = -1).
    """
    g, t = int64_at(grammar, G_LENGTH), int64_at(tokens, T_LENGTH)
    s, library = int64_at(store, STORE_LENGTH), int64_at(shared, STORE_LENGTH)
    p = int64_at(template, P_LENGTH)
    track, counts = int64_at(t[T_TRACK], 2), int64_at(t[T_COUNTS], C_LENGTH)
    n_nodes, words = t[T_N_NODES], t[T_WORDS]
    spans, ranges = int32_at(t[T_SPANS], t[T_N_SPANS], 2), int32_at(t[T_RANGES], t[T_N_RANGES], 2)
    nodes, classes = vector_at(t[T_NODES], t[T_N_EXITS]), vector_at(t[T_CLASSES], t[T_N_EXITS])
    if n_pending >= 0:
        entry_nodes, entry_classes = vector_at(t[T_NODES], 0), vector_at(t[T_NODES], 0)
        if return_point >= 0:
            owner = library if exit_ & SHARED else s
            exits = int32_at(owner[STORE_EXITS], owner[STORE_EXIT_ROOM], EXIT_COLUMNS)
            at, n = 4 * exits[exit_ & ~SHARED, EXIT_OFFSET], exits[exit_ & ~SHARED, EXIT_LENGTH]
            entry_nodes = vector_at(owner[STORE_NODES] + at, n)
            entry_classes = vector_at(owner[STORE_CLASSES] + at, n)
        if n_pending == 0:
            counts[:] = 0
            track[0], track[1] = 0, 2**31 - 1
        found_unbuilt = int64_at(t[T_UNBUILT], t[T_N_UNBUILT])
        found_pending = vector_at(t[T_PENDING] + 4 * t[T_N_UNBUILT], t[T_N_UNBUILT])
        states, maps, edges, returns, gotos, pushes = tables(g)
        unbuilt = walk_trie(
            bytes_at(t[T_BYTE], 1, n_nodes)[0], vector_at(t[T_DEPTH], n_nodes),
            vector_at(t[T_END], n_nodes), vector_at(t[T_FIRST], n_nodes + 1),
            longs_at(t[T_BELOW], n_nodes, 4),
            states, maps, edges, returns, gotos, pushes,
            vector_at(s[STORE_LOOP_IDS], s[STORE_N_LOOP_IDS]),
            longs_at(s[STORE_LOOPS], s[STORE_LOOP_ROOM], 4),
            int64_at(store + 8 * STORE_N_LOOPS, 1),
            p[P_END], vector_at(p[P_AT], n_nodes),
            vector_at(p[P_RANK], n_nodes + 1), vector_at(p[P_EXIT_RANK], n_nodes + 1),
            vector_at(p[P_EXIT_NODES], p[P_N_EXITS]),
            entry_nodes, entry_classes, return_point, q, v,
            longs_at(t[T_PATH], t[T_N_PATH], D_LENGTH),
            longs_at(t[T_FRAMES], t[T_N_FRAMES], F_LENGTH),
            int32_at(t[T_POOL], t[T_N_POOL], 4), track, counts,
            vector_at(t[T_PENDING], n_pending), spans, ranges, nodes, classes,
            found_unbuilt, found_pending,
        )  # fmt: skip
        if unbuilt > 0:
            nodes = found_pending[:unbuilt]
            nodes.sort()
            counts[C_PENDING] = _without_repetition(nodes, vector_at(t[T_PENDING], t[T_N_UNBUILT]))
            wanted = found_unbuilt[:unbuilt]
            wanted.sort()
            return _without_repetition(wanted, wanted)
        if unbuilt == NO_ROOM:
            return NO_ROOM
    n_exits = _in_order(nodes, classes, counts[C_EXITS])
    counts[C_EXITS] = n_exits
    if not _has_room(s, n_exits):
        return NO_STORE
    bitmap = vector_at(t[T_BITMAP], words)
    n_ranges = _merge(ranges, counts[C_RANGES])
    _set_bits(
        spans[: counts[C_SPANS]], vector_at(t[T_TOKENS], t[T_N_TOKENS]), ranges[:n_ranges],
        vector_at(p[P_IDS], p[P_N_IDS]), vector_at(p[P_BITMAP], words), bitmap,
    )  # fmt: skip
    found = int64_at(out, 4)
    found[0] = _intern_row(s, library, bitmap, words)
    found[1] = _intern_exit(s, library, nodes[:n_exits], classes[:n_exits])
    found[2], found[3] = track[0], track[1]
    return KEPT


@kernel
def link(store, q, exit_, return_point, found):
    """Add an entry, of state ``q`` or, with a return point, of a pair; there is room for it.

    ``found`` is the address of what :func:`compute` wrote.
    """
    s, new = int64_at(store, STORE_LENGTH), int64_at(found, 4)
    n = s[STORE_N_ENTRIES]
    entry = int32_at(s[STORE_ENTRIES], s[STORE_ENTRY_ROOM], ENTRY_COLUMNS)[n]
    for i in range(ENTRY_NEXT):
        entry[i] = new[i]
    firsts, at = vector_at(s[STORE_HEADS], s[STORE_N_HEADS]), q
    if return_point >= 0:
        firsts = vector_at(s[STORE_VALUES], s[STORE_KEY_ROOM])
        keys = int64_at(s[STORE_KEYS], s[STORE_KEY_ROOM])
        key = exit_ << 32 | return_point
        at = slot_of_pair(keys, exit_, return_point)
        if keys[at] < 0:
            keys[at] = key
            s[STORE_N_KEYS] += 1
    entry[ENTRY_NEXT] = firsts[at]
    s[STORE_N_ENTRIES] = n + 1
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

    Returns KEPT or NO_STORE.
    """
    t = int64_at(tokens, T_LENGTH)
    s, library = int64_at(store, STORE_LENGTH), int64_at(shared, STORE_LENGTH)
    if not _has_room(s, nodes.shape[0]):
        return NO_STORE
    words = t[T_WORDS]
    bitmap = vector_at(t[T_BITMAP], words)
    to_bitmap(ids, bitmap)
    out[0] = _intern_row(s, library, bitmap, words)
    out[1] = _intern_exit(s, library, nodes, classes)
    return KEPT


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
        s[STORE_N_ENTRIES] < s[STORE_ENTRY_ROOM]
        and s[STORE_N_ROWS] < s[STORE_ROW_ROOM]
        and s[STORE_N_LISTS] + s[STORE_LIST_LIMIT] <= s[STORE_LIST_ROOM]
        and s[STORE_N_BITMAPS] < s[STORE_BITMAP_ROOM]
        and 2 * s[STORE_N_KEYS] < s[STORE_KEY_ROOM]
        and s[STORE_N_EXITS] < s[STORE_EXIT_ROOM]
        and s[STORE_N_LOOPS] < s[STORE_LOOP_ROOM]
        and s[STORE_N_NODES] + n_exits <= s[STORE_NODE_ROOM]
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
                clear_bit(bitmap, template_ids[j])
            if r < ranges.shape[0]:
                at = ranges[r, 1]
    else:
        bitmap[:] = 0
        for r in range(ranges.shape[0]):
            for j in range(ranges[r, 0], ranges[r, 1]):
                set_bit(bitmap, template_ids[j])
    for r in range(spans.shape[0]):
        for j in range(spans[r, 0], spans[r, 1]):
            set_bit(bitmap, tokens[j])


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
    limit = s[STORE_LIST_LIMIT]
    row, slot = _find_row(s, h, bitmap, words, n)
    if row >= 0:
        return row | s[STORE_MARK]
    if s[STORE_MARK] == 0:
        row, _ = _find_row(library, h, bitmap, words, n)
        if row >= 0:
            return row | library[STORE_MARK]
    row = s[STORE_N_ROWS]
    rows = int32_at(s[STORE_ROWS], s[STORE_ROW_ROOM], ROW_COLUMNS)
    if n <= limit:
        at = s[STORE_N_LISTS]
        rows[row, ROW_KIND], rows[row, ROW_OFFSET], rows[row, ROW_LENGTH] = LIST, at, n
        ids = vector_at(s[STORE_LISTS], s[STORE_LIST_ROOM])
        for w in range(words):
            x = bitmap[w]
            if x != 0:
                for b in range(32):
                    if x >> b & 1:
                        ids[at] = 32 * w + b
                        at += 1
        s[STORE_N_LISTS] = at
    else:
        at = s[STORE_N_BITMAPS]
        rows[row, ROW_KIND], rows[row, ROW_OFFSET], rows[row, ROW_LENGTH] = BITMAP, at, n
        kept = vector_at(s[STORE_BITMAPS] + at * words * 4, words)
        kept[:] = bitmap
        s[STORE_N_BITMAPS] = at + 1
    int64_at(s[STORE_ROW_HASHES], s[STORE_ROW_ROOM])[row] = h
    vector_at(s[STORE_ROW_TABLE], s[STORE_ROW_TABLE_SIZE])[slot] = row
    s[STORE_N_ROWS] = row + 1
    return row | s[STORE_MARK]


@nb.njit
def _find_row(s, h, bitmap, words, n):
    """The row of a store with these ``n`` bits, or -1, and the slot where it is or would be."""
    table = vector_at(s[STORE_ROW_TABLE], s[STORE_ROW_TABLE_SIZE])
    hashes = int64_at(s[STORE_ROW_HASHES], s[STORE_ROW_ROOM])
    rows = int32_at(s[STORE_ROWS], s[STORE_ROW_ROOM], ROW_COLUMNS)
    mask = s[STORE_ROW_TABLE_SIZE] - 1
    slot = h & mask
    while table[slot] >= 0:
        row = np.int64(table[slot])
        if hashes[row] == h and rows[row, ROW_LENGTH] == n:
            equal = True
            at = np.int64(rows[row, ROW_OFFSET])
            if rows[row, ROW_KIND] == BITMAP:
                kept = vector_at(s[STORE_BITMAPS] + at * words * 4, words)
                for w in range(words):
                    if kept[w] != bitmap[w]:
                        equal = False
                        break
            else:  # as many ids as bits, all of them among the bits
                ids = vector_at(s[STORE_LISTS], s[STORE_LIST_ROOM])
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
        return found | s[STORE_MARK]
    if s[STORE_MARK] == 0:
        found, _ = _find_exit(library, h, nodes, classes)
        if found >= 0:
            return found | library[STORE_MARK]
    number, at = s[STORE_N_EXITS], s[STORE_N_NODES]
    exits = int32_at(s[STORE_EXITS], s[STORE_EXIT_ROOM], EXIT_COLUMNS)
    exits[number, EXIT_OFFSET], exits[number, EXIT_LENGTH] = at, n
    vector_at(s[STORE_NODES] + 4 * at, n)[:] = nodes
    vector_at(s[STORE_CLASSES] + 4 * at, n)[:] = classes
    s[STORE_N_NODES] = at + n
    int64_at(s[STORE_EXIT_HASHES], s[STORE_EXIT_ROOM])[number] = h
    vector_at(s[STORE_EXIT_TABLE], s[STORE_EXIT_TABLE_SIZE])[slot] = number
    s[STORE_N_EXITS] = number + 1
    return number | s[STORE_MARK]


@nb.njit
def _find_exit(s, h, nodes, classes):
    """The exit set of a store with this content, or -1, and its slot."""
    table = vector_at(s[STORE_EXIT_TABLE], s[STORE_EXIT_TABLE_SIZE])
    hashes = int64_at(s[STORE_EXIT_HASHES], s[STORE_EXIT_ROOM])
    exits = int32_at(s[STORE_EXITS], s[STORE_EXIT_ROOM], EXIT_COLUMNS)
    mask = s[STORE_EXIT_TABLE_SIZE] - 1
    slot = h & mask
    n = nodes.shape[0]
    while table[slot] >= 0:
        number = np.int64(table[slot])
        if hashes[number] == h and exits[number, EXIT_LENGTH] == n:
            at = np.int64(exits[number, EXIT_OFFSET])
            if np.array_equal(vector_at(s[STORE_NODES] + 4 * at, n), nodes) and np.array_equal(
                vector_at(s[STORE_CLASSES] + 4 * at, n), classes
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


class Calls(NamedTuple):
    """Kernels as functions of integers, as in :class:`structgen.masks.decode.Calls`."""

    compute: Callable[..., int]
    link: Callable[[int, int, int, int, int], None]


@cache
def calls() -> Calls:
    """Load or compile them, once in a process."""
    with budget.untimed():
        return Calls(compute.compile((nb.int64,) * 11), link.compile((nb.int64,) * 5))
