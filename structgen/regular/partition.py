"""The coarsest stable partition of an automaton's states (minimisation).

States whose residual language is finite lie on no cycle and reach none: taken with their successors
first, they are equal exactly if their rows are (D. Revuz, 1992). The others go through A. Valmari,
"Fast brief practical DFA minimization", Information Processing Letters 112 (2012): O(m log m) for m
transitions of a partial automaton whose states are all reachable and productive.

A refinable partition of ``0..n-1`` is held in arrays: ``elements`` lists the elements set by set,
``location`` is its inverse, ``set_of`` the set of each element; set s is
``elements[first[s]:past[s]]``, of which the first ``marked[s]`` are marked.
"""

from __future__ import annotations

import numba as nb
import numpy as np
import numpy.typing as npt

from structgen import budget
from structgen.jit import kernel

Int32 = npt.NDArray[np.int32]

# What a transition costs while its automaton is minimised: eight int32.
BYTES_PER_TRANSITION = 32


def coarsest_partition(table: Int32, final: Int32) -> Int32:
    """The block of each state: states share one exactly when their residual languages are equal.

    ``table`` int32 [n, k] holds the next state or -1, ``final`` int32 [n] the final classes; every
    state is reachable and productive. Returns int32 [n].
    """
    # Symbols that no state tells apart count once.
    columns = np.ascontiguousarray(table.T)
    distinct = list({c.tobytes(): i for i, c in enumerate(columns)}.values())
    rows = np.ascontiguousarray(columns[distinct].T)
    with budget.hold(BYTES_PER_TRANSITION * rows.size, "minimising an automaton"):
        return _coarsest(rows, final)


@nb.njit
def _group(keys, n_keys, elements, location, set_of, first, past):
    """Start a partition with elements of equal keys (0 <= key < n_keys) in one set."""
    n = len(keys)
    ends = np.zeros(n_keys + 1, np.int32)
    for i in range(n):
        ends[keys[i] + 1] += 1
    for key in range(n_keys):
        ends[key + 1] += ends[key]
    for i in range(n):
        at = ends[keys[i]]
        ends[keys[i]] = at + 1
        elements[at], location[i] = i, at
    n_sets = 0
    for at in range(n):
        if at == 0 or keys[elements[at]] != keys[elements[at - 1]]:
            if at:
                past[n_sets - 1] = at
            first[n_sets] = at
            n_sets += 1
        set_of[elements[at]] = n_sets - 1
    if n:
        past[n_sets - 1] = n
    return n_sets


@nb.njit
def _mark(x, elements, location, set_of, first, marked, touched, n_touched):
    """Move ``x`` among the marked ones at the front of its set; returns ``n_touched``."""
    s = set_of[x]
    i, j = location[x], first[s] + marked[s]
    if i < j:
        return n_touched
    other = elements[j]
    elements[i], location[other] = other, i
    elements[j], location[x] = x, j
    if marked[s] == 0:
        touched[n_touched] = s
        n_touched += 1
    marked[s] += 1
    return n_touched


@nb.njit
def _split(elements, set_of, first, past, marked, touched, n_touched, n_sets):
    """Separate marked from unmarked elements; the smaller part becomes the new set."""
    for k in range(n_touched):
        s = touched[k]
        middle = first[s] + marked[s]
        marked[s] = 0
        if middle == past[s]:
            continue
        if middle - first[s] <= past[s] - middle:
            first[n_sets], past[n_sets] = first[s], middle
            first[s] = middle
        else:
            first[n_sets], past[n_sets] = middle, past[s]
            past[s] = middle
        marked[n_sets] = 0
        for i in range(first[n_sets], past[n_sets]):
            set_of[elements[i]] = n_sets
        n_sets += 1
    return n_sets


@nb.njit
def _into(rows):
    """Transitions (state * k + symbol) by the state that they lead to, and their offsets."""
    n, k = rows.shape
    at = np.zeros(n + 1, np.int64)
    for s in range(n):
        for c in range(k):
            if rows[s, c] >= 0:
                at[rows[s, c] + 1] += 1
    for s in range(n):
        at[s + 1] += at[s]
    fill = at[:-1].copy()
    transitions = np.empty(at[n], np.int64)
    for s in range(n):
        for c in range(k):
            t = rows[s, c]
            if t >= 0:
                transitions[fill[t]] = s * k + c
                fill[t] += 1
    return at, transitions


@nb.njit
def _merge_finite(rows, final, into_at, into, block):
    """Number the states with finite residual languages in ``block``; returns how many numbers."""
    n, k = rows.shape
    waiting = np.zeros(n, np.int32)
    ready = np.empty(n, np.int32)
    n_ready = 0
    for s in range(n):
        for c in range(k):
            waiting[s] += rows[s, c] >= 0
        if waiting[s] == 0:
            ready[n_ready] = s
            n_ready += 1
    size = 16
    while size < 2 * n:
        size *= 2
    slots = np.full(size, -1, np.int32)
    n_blocks = 0
    done = 0
    while done < n_ready:
        s = ready[done]
        done += 1
        h = np.uint64(final[s] + 2)
        for c in range(k):
            t = rows[s, c]
            h = (h ^ np.uint64(block[t] + 2 if t >= 0 else 1)) * np.uint64(0x9E3779B97F4A7C15)
            h ^= h >> np.uint64(29)
        slot = np.int64(h & np.uint64(size - 1))
        while slots[slot] >= 0:
            other = slots[slot]
            same = final[other] == final[s]
            for c in range(k):
                if not same:
                    break
                t, u = rows[s, c], rows[other, c]
                same = (t < 0) == (u < 0) and (t < 0 or block[t] == block[u])
            if same:
                break
            slot = (slot + 1) & (size - 1)
        if slots[slot] >= 0:
            block[s] = block[slots[slot]]
        else:
            slots[slot] = s
            block[s] = n_blocks
            n_blocks += 1
        for i in range(into_at[s], into_at[s + 1]):
            before = into[i] // k
            waiting[before] -= 1
            if waiting[before] == 0:
                ready[n_ready] = before
                n_ready += 1
    return n_blocks


@kernel(nogil=True)
def _coarsest(rows, final):
    n, k = rows.shape
    into_at, into = _into(rows)
    block = np.full(n, -1, np.int32)
    n_blocks = _merge_finite(rows, final, into_at, into, block)
    # Finite states are blocks of their own and have no transitions from here on.
    keys = np.empty(n, np.int32)
    n_keys = n_blocks
    m = 0
    for s in range(n):
        keys[s] = block[s] if block[s] >= 0 else n_blocks + 1 + final[s]
        n_keys = max(n_keys, keys[s] + 1)
        if block[s] < 0:
            for c in range(k):
                m += rows[s, c] >= 0
    if m == 0:
        return block
    tail = np.empty(m, np.int32)
    label = np.empty(m, np.int32)
    number = np.empty(n * k, np.int32)  # of a transition among those that are left
    at = 0
    for s in range(n):
        if block[s] < 0:
            for c in range(k):
                if rows[s, c] >= 0:
                    tail[at], label[at] = s, c
                    number[s * k + c] = at
                    at += 1
    b_elements, b_location = np.empty(n, np.int32), np.empty(n, np.int32)
    b_set, b_first, b_past = np.empty(n, np.int32), np.empty(n, np.int32), np.empty(n, np.int32)
    n_b = _group(keys, n_keys, b_elements, b_location, b_set, b_first, b_past)
    b_marked, b_touched = np.zeros(n, np.int32), np.empty(n, np.int32)
    c_elements, c_location = np.empty(m, np.int32), np.empty(m, np.int32)
    c_set, c_first, c_past = np.empty(m, np.int32), np.empty(m, np.int32), np.empty(m, np.int32)
    n_c = _group(label, k, c_elements, c_location, c_set, c_first, c_past)
    c_marked, c_touched = np.zeros(m, np.int32), np.empty(m, np.int32)
    b, c = 1, 0
    while c < n_c:
        touched = 0
        for i in range(c_first[c], c_past[c]):
            touched = _mark(
                tail[c_elements[i]], b_elements, b_location, b_set, b_first, b_marked, b_touched,
                touched,
            )  # fmt: skip
        n_b = _split(b_elements, b_set, b_first, b_past, b_marked, b_touched, touched, n_b)
        c += 1
        while b < n_b:
            touched = 0
            for i in range(b_first[b], b_past[b]):
                s = b_elements[i]
                for j in range(into_at[s], into_at[s + 1]):
                    if block[into[j] // k] < 0:
                        touched = _mark(
                            number[into[j]], c_elements, c_location, c_set, c_first, c_marked,
                            c_touched, touched,
                        )  # fmt: skip
            n_c = _split(c_elements, c_set, c_first, c_past, c_marked, c_touched, touched, n_c)
            b += 1
    return b_set
