"""The trie of a list of words as a deterministic automaton over code points."""

from __future__ import annotations

import numpy as np

from structgen.jit import kernel

LAST_BEFORE_SURROGATES, FIRST_BEHIND, LAST_CODE_POINT = 0xD7FF, 0xE000, 0x10FFFF


@kernel
def _gap(first, last, lo, hi, target, m, rest):
    """Append the code points from ``first`` to ``last``, no surrogates, with target ``rest``."""
    for a, b in ((first, min(last, LAST_BEFORE_SURROGATES)), (max(first, FIRST_BEHIND), last)):
        if a <= b:
            lo[m], hi[m], target[m] = a, b, rest
            m += 1
    return m


@kernel
def trie(points, ends, highest, others):
    """The trie of distinct words, sorted by their code points.

    ``points`` int32 [*] are the words one after the other, word k up to ``ends[k]`` (int64 [k]).
    With ``others`` every state has a range for each code point: those that continue no word lead
    to one more state, the last, which keeps them all.

    Returns ``offsets, lo, hi, target`` of the automaton (:class:`structgen.regular.dfa.DFA`), for
    each state the word that ends there or -1, and the maximum of ``highest`` (int64 [k]) over the
    words through the state, -1 where there is none.
    """
    most = points.shape[0] + 2
    parent, symbol = np.empty(most, np.int32), np.empty(most, np.int32)
    word, limits = np.full(most, -1, np.int32), np.full(most, -1, np.int32)
    path = np.zeros(most, np.int32)  # the states along the last word
    n, begin, before, last_length = 1, 0, 0, 0
    for k in range(ends.shape[0]):
        length = ends[k] - begin
        depth = 0
        while depth < min(length, last_length) and points[before + depth] == points[begin + depth]:
            depth += 1
        for d in range(depth, length):
            parent[n], symbol[n] = path[d], points[begin + d]
            path[d + 1] = n
            n += 1
        word[path[length]] = k
        for d in range(length + 1):
            limits[path[d]] = max(limits[path[d]], highest[k])
        before, last_length, begin = begin, length, ends[k]
    # By parent; children were made in ascending order of their symbols.
    first = np.zeros(n + 1, np.int32)
    for s in range(1, n):
        first[parent[s] + 1] += 1
    for s in range(n):
        first[s + 1] += first[s]
    children, at = np.empty(n, np.int32), first.copy()
    for s in range(1, n):
        children[at[parent[s]]] = s
        at[parent[s]] += 1
    n_all = n + 1 if others else n
    room = 4 * n + 4 if others else n
    lo, hi, target = np.empty(room, np.int32), np.empty(room, np.int32), np.empty(room, np.int32)
    offsets = np.zeros(n_all + 1, np.int32)
    m = 0
    for s in range(n_all):
        free = 0  # the first code point that has no range yet
        for i in range(first[s], first[s + 1]) if s < n else range(0):
            t = children[i]
            if others:
                m = _gap(free, symbol[t] - 1, lo, hi, target, m, n)
            lo[m], hi[m], target[m] = symbol[t], symbol[t], t
            m += 1
            free = symbol[t] + 1
        if others:
            m = _gap(free, LAST_CODE_POINT, lo, hi, target, m, n)
        offsets[s + 1] = m
    return offsets, lo[:m], hi[:m], target[:m], word[:n_all], limits[:n_all]
