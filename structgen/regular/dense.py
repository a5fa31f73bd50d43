"""Dense transition tables, int32 [states, symbol classes], -1 where there is no next state."""

from __future__ import annotations

import numpy as np

from structgen.jit import kernel


@kernel(nogil=True)
def trim(table, final):
    """The states that are reachable from state 0 and productive, renumbered breadth first.

    Returns the table and the final classes; both are empty where no text is accepted.
    """
    n, k = table.shape
    # Transitions by the state that they lead to; runs of one target count once.
    at = np.zeros(n + 1, np.int64)
    for s in range(n):
        for c in range(k):
            t = table[s, c]
            if t >= 0 and (c == 0 or table[s, c - 1] != t):
                at[t + 1] += 1
    for s in range(n):
        at[s + 1] += at[s]
    fill = at[:-1].copy()
    tails = np.empty(at[n], np.int32)
    for s in range(n):
        for c in range(k):
            t = table[s, c]
            if t >= 0 and (c == 0 or table[s, c - 1] != t):
                tails[fill[t]] = s
                fill[t] += 1
    order = np.empty(n, np.int32)
    productive = np.zeros(n, np.bool_)
    end = 0
    for s in range(n):
        if final[s] >= 0:
            productive[s] = True
            order[end] = s
            end += 1
    done = 0
    while done < end:
        t = order[done]
        done += 1
        for i in range(at[t], at[t + 1]):
            s = tails[i]
            if not productive[s]:
                productive[s] = True
                order[end] = s
                end += 1
    if not productive[0]:
        return np.empty((0, k), np.int32), np.empty(0, np.int32)
    number = np.full(n, -1, np.int32)
    order[0] = number[0] = 0
    done, end = 0, 1
    while done < end:
        s = order[done]
        done += 1
        for c in range(k):
            t = table[s, c]
            if t >= 0 and number[t] < 0 and productive[t]:
                number[t] = end
                order[end] = t
                end += 1
    kept = np.empty((end, k), np.int32)
    classes = np.empty(end, np.int32)
    for i in range(end):
        s = order[i]
        classes[i] = final[s]
        for c in range(k):
            t = table[s, c]
            kept[i, c] = number[t] if t >= 0 else -1
    return kept, classes


@kernel(nogil=True)
def quotient(table, final, block):
    """The table over the blocks of a stable partition, numbered by their first states."""
    n, k = table.shape
    number = np.full(n, -1, np.int32)
    first = np.empty(n, np.int32)
    m = 0
    for s in range(n):
        if number[block[s]] < 0:
            number[block[s]] = m
            first[m] = s
            m += 1
    small = np.empty((m, k), np.int32)
    classes = np.empty(m, np.int32)
    for i in range(m):
        s = first[i]
        classes[i] = final[s]
        for c in range(k):
            t = table[s, c]
            small[i, c] = number[block[t]] if t >= 0 else -1
    return small, classes


@kernel(nogil=True)
def spell_out(table, starts, segment_class, most):
    """Ranges ``offsets, lo, hi, target`` of a table whose columns are classes of symbols.

    Segment i of the symbols begins at ``starts[i]`` and is of class ``segment_class[i]`` (-1: no
    symbol). Adjacent segments with one target are one range. ``offsets`` is empty where there are
    more than ``most`` ranges.
    """
    n = len(table)
    m = len(starts)
    offsets = np.zeros(n + 1, np.int32)
    size = 0
    for s in range(n):
        previous = -1
        for i in range(m):
            t = table[s, segment_class[i]] if segment_class[i] >= 0 else -1
            if t >= 0 and t != previous:
                size += 1
            previous = t
        offsets[s + 1] = size
        if size > most:
            offsets, size = offsets[:0], 0
            break
    lo, hi = np.empty(size, np.int32), np.empty(size, np.int32)
    target = np.empty(size, np.int32)
    if len(offsets) == 0:
        return offsets, lo, hi, target
    at = -1
    for s in range(n):
        previous = -1
        for i in range(m):
            t = table[s, segment_class[i]] if segment_class[i] >= 0 else -1
            if t >= 0:
                if t != previous:
                    at += 1
                    lo[at], target[at] = starts[i], t
                hi[at] = starts[i + 1] - 1 if i + 1 < m else starts[i]
            previous = t
    return offsets, lo, hi, target
