"""A byte automaton appended to the tables, where it is final popping on what it cannot use."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from structgen.automaton.byte_classes import intern_map
from structgen.automaton.step import (
    ARG,
    BASE,
    COUNT,
    DEAD,
    END,
    HI,
    LO,
    MAP,
    NO_LIMIT,
    TARGET,
)  # fmt: skip
from structgen.automaton.tables import Automaton
from structgen.jit import kernel
from structgen.regular.dfa import DFA

N_EDGES, N_MAPS, NEXT = range(3)
MOST_EDGES = 257


@kernel
def _place(offsets, lo, hi, target, final, first, states, edges, maps, slots, counts):
    """Write source states from ``counts[NEXT]`` on; state s is ``first + s``.

    Returns whether all of them are written, and else where there was no room.
    """
    row = np.zeros(256, np.uint8)
    for s in range(counts[NEXT], final.shape[0]):
        if (
            counts[N_EDGES] + MOST_EDGES > edges.shape[0]
            or counts[N_MAPS] >= maps.shape[0]
            or 2 * (counts[N_MAPS] + 1) > slots.shape[0]
        ):
            return False
        row[:] = 0
        base = counts[N_EDGES]
        edges[base, TARGET], edges[base, ARG], edges[base, COUNT] = DEAD, -1, 0
        if final[s] >= 0:
            edges[base, TARGET], edges[base, ARG] = -2 - final[s], 1
        n_classes = 1
        for k in range(offsets[s], offsets[s + 1]):
            to = first + target[k]
            c = 1
            while c < n_classes and edges[base + c, TARGET] != to:
                c += 1
            if c == n_classes:
                edges[base + c, TARGET], edges[base + c, ARG], edges[base + c, COUNT] = to, -1, 0
                n_classes += 1
            row[lo[k] : min(hi[k], 255) + 1] = c
        m = intern_map(row, maps, slots, counts[N_MAPS])
        if m == counts[N_MAPS]:
            counts[N_MAPS] += 1
        counts[N_EDGES] += n_classes
        counts[NEXT] = s + 1
        q = first + s
        states[q, LO], states[q, HI], states[q, END] = 0, NO_LIMIT, max(final[s], -1)
        states[q, BASE], states[q, MAP] = base, m
    return True


def place_bytes(automaton: Automaton, dfa: DFA, classes: Sequence[int] | None = None) -> int:
    """Append a byte automaton that pops, where it is final, on each byte it cannot use.

    ``classes`` renames its final classes. Returns the state of its start.
    """
    a, final = automaton, dfa.final
    if classes is not None:
        final = np.array([*classes, -1], np.int32)[final]
    first = a.reserve_states(dfa.n_states)
    counts = np.array([0, 0, 0], np.int64)
    done = False
    while not done:
        a.make_room(edges=MOST_EDGES, maps=1)
        counts[:NEXT] = a.n_edges, a.n_maps
        done = _place(
            dfa.offsets, dfa.lo, dfa.hi, dfa.target, final, first,
            a.states, a.edges, a.maps, a.map_slots, counts,
        )  # fmt: skip
        a.n_edges, a.n_maps = counts[:NEXT].tolist()
    return first
