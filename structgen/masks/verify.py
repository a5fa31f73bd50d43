"""Checks of a store: the invariants of the tables that ``store.py`` describes."""

from __future__ import annotations

import numpy as np

from structgen.masks.blocks import (
    BITMAP,
    ENTRY_EXIT,
    ENTRY_HIGH,
    ENTRY_LOW,
    ENTRY_NEXT,
    ENTRY_ROW,
    EXIT_LENGTH,
    EXIT_OFFSET,
    LIST,
    ROW_KIND,
    ROW_LENGTH,
    ROW_OFFSET,
    SHARED,
)
from structgen.masks.rows import (
    STORE_LIST_LIMIT,
    STORE_MARK,
    STORE_N_BITMAPS,
    STORE_N_EXITS,
    STORE_N_KEYS,
    STORE_N_LISTS,
    STORE_N_NODES,
    STORE_N_ROWS,
)
from structgen.masks.store import RowStore

_NOTHING = np.zeros(0, np.int32)


def verify(store: RowStore) -> None:
    """Check the format's invariants; raises ValueError naming the first broken one.

    Rows and exit sets are looked up as by a walk that finds the same again.
    """
    with store.tokens.lock:
        rows, exits = _rows(store), _exit_sets(store)
        _check_entries(store)
        _check_keys(store)
        mark = int(store.block[STORE_MARK])
        for row, ids in enumerate(rows, 1):
            found, _ = store.intern(ids, _NOTHING, _NOTHING)
            _check(found == row | mark, f"row {row}: not found by its hash")
        for exit_, (nodes, classes) in enumerate(exits, 1):
            _, found = store.intern(_NOTHING, nodes, classes)
            _check(found == exit_ | mark, f"exit set {exit_}: not found by its hash")


def _check(good: bool | np.bool_, text: str) -> None:
    if not good:
        raise ValueError(text)


def _rows(store: RowStore) -> list[np.ndarray]:
    """The ids of each row but the empty one."""
    rows = []
    n_lists, n_bitmaps = int(store.block[STORE_N_LISTS]), int(store.block[STORE_N_BITMAPS])
    limit = int(store.block[STORE_LIST_LIMIT])
    _check(not store.rows[0].any(), "row 0: not empty")
    for row in range(1, int(store.block[STORE_N_ROWS])):
        kind, at, n = store.rows[row, [ROW_KIND, ROW_OFFSET, ROW_LENGTH]].tolist()
        if kind == LIST:
            _check(0 < n <= limit and 0 <= at <= n_lists - n, f"row {row}: list out of range")
            ids = store.lists[at : at + n]
            _check((np.diff(ids) > 0).all(), f"row {row}: ids not ascending")
        else:
            _check(kind == BITMAP and 0 <= at < n_bitmaps, f"row {row}: bitmap out of range")
            bits = np.unpackbits(store.bitmaps[at].view(np.uint8), bitorder="little")
            ids = np.flatnonzero(bits).astype(np.int32)
            _check(limit < n == len(ids), f"row {row}: wrong number of bits")
        _check(ids[0] >= 0 and ids[-1] < store.tokens.size, f"row {row}: id out of range")
        rows.append(ids)
    return rows


def _exit_sets(store: RowStore) -> list[tuple[np.ndarray, np.ndarray]]:
    """Nodes and classes of each exit set but the empty one."""
    exits = []
    used, n_trie = int(store.block[STORE_N_NODES]), len(store.tokens.trie.byte)
    _check(not store.exits[0].any(), "exit set 0: not empty")
    for exit_ in range(1, int(store.block[STORE_N_EXITS])):
        at, n = store.exits[exit_, [EXIT_OFFSET, EXIT_LENGTH]].tolist()
        _check(n > 0 and 0 <= at <= used - n, f"exit set {exit_}: out of range")
        nodes, classes = store.nodes[at : at + n], store.classes[at : at + n]
        _check(nodes[0] > 0 and nodes.max() < n_trie, f"exit set {exit_}: node out of range")
        _check((classes >= 0).all(), f"exit set {exit_}: class out of range")
        pairs = nodes.astype(np.int64) << 32 | classes
        _check((np.diff(pairs) > 0).all(), f"exit set {exit_}: not ascending")
        exits.append((nodes, classes))
    return exits


def _exists(store: RowStore, number: int, used: int) -> bool:
    """Is there a row, or an exit set, of this id? ``used``: where the block counts them."""
    owner = store.shared or store if number & SHARED else store
    return 0 <= number & ~SHARED < int(owner.block[used])


def _check_entries(store: RowStore) -> None:
    """Ids and counters of each entry; each is in one chain, once."""
    n = store.n_entries
    entries = store.entries[:n]
    for i, entry in enumerate(entries.tolist()):
        _check(_exists(store, entry[ENTRY_ROW], STORE_N_ROWS), f"entry {i}: no such row")
        _check(_exists(store, entry[ENTRY_EXIT], STORE_N_EXITS), f"entry {i}: no such exit set")
        _check(0 <= entry[ENTRY_LOW] <= entry[ENTRY_HIGH], f"entry {i}: holds for no counter")
        # The newest is linked first, so there is no way back.
        _check(-1 <= entry[ENTRY_NEXT] < i, f"entry {i}: linked to a later one")
    heads = store.heads, store.values[store.keys >= 0]
    links = np.concatenate([entries[:, ENTRY_NEXT], *heads])
    times = np.bincount(links[links >= 0], minlength=n)
    _check(len(times) == n and (times == 1).all(), "an entry is not in one chain")


def _check_keys(store: RowStore) -> None:
    """The keys: exit sets and return points that there are, found where they are."""
    used = np.flatnonzero(store.keys >= 0)
    _check(len(used) == store.block[STORE_N_KEYS] < len(store.keys), "keys: wrong number")
    for slot in used.tolist():
        exit_, return_point = divmod(int(store.keys[slot]), 1 << 32)
        _check(exit_ != 0 and _exists(store, exit_, STORE_N_EXITS), "keys: no such exit set")
        _check(return_point < store.automaton.n_returns, "keys: no such return point")
        found = store.first_entry(exit_, return_point)
        _check(found == store.values[slot] >= 0, "keys: not found by its hash")
