"""A grammar's tables as the kernels read them (see ``kernels/layout.py``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from structgen.automaton import step
from structgen.kernels import layout
from structgen.masks import rows as r
from structgen.masks.blocks import SHARED
from structgen.masks.grammar import MaskGrammar
from structgen.masks.store import RowStore

NAMES = ("states", "maps", "edges", "returns", "gotos", "pushes", "entries", "pairs")


class Image(NamedTuple):
    """Tables of one moment, int32 [rows, columns]; ``maps`` as 64 words a row."""

    states: np.ndarray
    maps: np.ndarray
    edges: np.ndarray
    returns: np.ndarray
    gotos: np.ndarray
    pushes: np.ndarray
    entries: np.ndarray
    pairs: np.ndarray


def image(masks: MaskGrammar, place: Callable[[RowStore, np.ndarray], np.ndarray]) -> Image:
    """The tables of a grammar; called under the vocabulary's lock.

    ``place(store, rows)`` says where in the arena those rows of a store are, int32 [n], and takes
    them there if need be.
    """
    a = masks.automaton
    old = a.states[: a.n_states]
    states = np.zeros((a.n_states, layout.STATE_WIDTH.value), np.int32)
    states[:, : step.END + 1] = old
    states[:, layout.HEAD.value :] = -1
    final = np.flatnonzero(old[:, step.MAP] == 0)
    target, frames, _ = a.edges[old[final, step.BASE]].T
    ends = (target >= step.FORK) & (target < step.DEAD)
    states[final[ends], layout.FINAL.value] = -2 - target[ends]
    states[final[ends], layout.FRAMES.value] = frames[ends]
    entries, heads, pairs = _entries(masks, place)
    states[:, layout.HEAD.value] = heads
    edges = np.zeros((a.n_edges, layout.EDGE_WIDTH.value), np.int32)
    edges[:, : step.COUNT + 1] = a.edges[: a.n_edges]
    gotos = np.zeros((a.n_gotos, layout.EDGE_WIDTH.value), np.int32)
    gotos[:, :2] = a.gotos[: a.n_gotos]
    for table in (edges, gotos):
        moves = np.flatnonzero(table[:, 0] >= 0)
        table[moves, layout.TO_MAP.value : layout.TO_HI.value + 1] = old[
            table[moves, 0], step.MAP : step.HI + 1
        ]
    returns = np.zeros((a.n_returns, layout.RETURN_WIDTH.value), np.int32)
    returns[:, :3] = a.returns[: a.n_returns]
    maps = np.ascontiguousarray(a.maps[: a.n_maps]).view(np.int32)
    pushes = a.pushes[: a.n_pushes].copy()
    return Image(states, maps, edges, returns, gotos, pushes, entries, pairs)


def _entries(
    masks: MaskGrammar, place: Callable[[RowStore, np.ndarray], np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Entries of the library and of the grammar, the first one of each state, and of each pair."""
    n_states = masks.automaton.n_states
    heads = np.full(n_states, -1, np.int32)
    stores = [masks.store] if masks.library is None else [masks.library.store, masks.store]
    found, n = [], 0
    total = sum(int((store.keys >= 0).sum()) for store in stores)
    keys = np.full(max(16, 1 << (2 * total).bit_length()), -1, np.int64)
    values = np.full(len(keys), -1, np.int32)
    for store in stores:
        kept = store.entries[: store.n_entries]
        shared = kept[:, 0] & SHARED != 0
        rows = kept[:, 0] & ~SHARED
        entries = np.zeros((len(kept), layout.ENTRY_WIDTH.value), np.int32)
        for owner, mine in ((stores[0], shared), (store, ~shared)):
            some = np.flatnonzero(mine)
            if len(some):
                entries[some, layout.OFFSET.value] = place(owner, rows[some])
                kinds, _, lengths = owner.rows[rows[some]].T
                entries[some, layout.KIND.value] = kinds
                entries[some, layout.LENGTH.value] = lengths
        entries[:, layout.EXIT.value] = kept[:, 1]
        entries[:, layout.LOW.value], entries[:, layout.HIGH.value] = kept[:, 2], kept[:, 3]
        entries[:, layout.NEXT.value] = np.where(kept[:, 4] < 0, -1, kept[:, 4] + n)
        found.append(entries)
        known = min(n_states, len(store.heads))
        own = store.heads[:known]
        heads[:known] = np.where(own >= 0, own + n, heads[:known])
        old_values = np.where(store.values < 0, -1, store.values + n).astype(np.int32)
        r.place_pairs(store.keys, old_values, keys, values)
        n += len(kept)
    pairs = np.full((len(keys), layout.PAIR_WIDTH.value), -1, np.int32)
    taken = keys >= 0
    pairs[taken, 0] = keys[taken] >> 32
    pairs[taken, 1] = keys[taken] & 0xFFFFFFFF
    pairs[taken, 2] = values[taken]
    return np.concatenate(found), heads, pairs
