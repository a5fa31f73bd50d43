"""Whole subtrees of the trie at once: below a node are only bytes on which a state goes to itself.

Identifiers, free text, comments, the rest of a name that no rule mentions: most tokens keep such a
state where it is. For every trie node we know which bytes are in its subtree, for every state on
which bytes it stays; where the one set is within the other, every token of the subtree is allowed.

A *byte set* is int64 [4]: bytes 0-63, bytes 64-127, and what is known beyond ASCII. There bit 0
stands for characters in well-formed UTF-8 (RFC 3629), bit 1 for any other sequence of bytes. The
fourth number is, for a subtree, its depth; for a state, what each character adds to the counter.
"""

from __future__ import annotations

import numba as nb
import numpy as np

from structgen.automaton.step import ARG, BASE, COUNT, HI, LO, MAP, TARGET, UNBUILT
from structgen.jit import kernel

WELL_FORMED, OTHER = 1, 2
DEPTH = ADDED = 3


@kernel
def subtree_bytes(node_byte, node_end):
    """The byte set of each node's subtree, its own byte not included: int64 [N, 4].

    Beyond ASCII it is seen from the node, as if a character began after it.
    """
    n = node_byte.shape[0]
    sets = np.zeros((n, 4), np.int64)
    for i in range(n - 1, -1, -1):
        c = np.int64(i + 1)
        while c < node_end[i]:
            b = np.int64(node_byte[c])
            sets[i, DEPTH] = max(sets[i, DEPTH], sets[c, DEPTH] + 1)
            if b < 128:
                sets[i, b >> 6] |= np.int64(1) << (b & 63)
                sets[i, :DEPTH] |= sets[c, :DEPTH]
            else:
                sets[i, 2] |= WELL_FORMED
                more, low, high = _sequence(b)
                if more == 0:
                    sets[i, 2] |= OTHER
                else:
                    _read_character(node_byte, node_end, sets, i, c, more, low, high)
            c = np.int64(node_end[c])
    return sets


@nb.njit
def _sequence(b):
    """After lead byte ``b``: bytes to come, and the range of the first of them. 0: no lead byte."""
    if 0xC2 <= b <= 0xDF:
        return 1, 0x80, 0xBF
    if b == 0xE0:
        return 2, 0xA0, 0xBF
    if b == 0xED:
        return 2, 0x80, 0x9F
    if 0xE1 <= b <= 0xEF:
        return 2, 0x80, 0xBF
    if b == 0xF0:
        return 3, 0x90, 0xBF
    if b == 0xF4:
        return 3, 0x80, 0x8F
    if 0xF1 <= b <= 0xF3:
        return 3, 0x80, 0xBF
    return 0, 0, 0


@nb.njit
def _read_character(node_byte, node_end, sets, i, lead, more, low, high):
    """Add to ``sets[i]`` what follows the characters that begin at child ``lead``."""
    x = np.int64(lead + 1)
    stop = node_end[lead]
    path = np.zeros(4, np.int64)  # ends of the subtrees that are open
    path[0] = stop
    depth = 0
    while x < stop:
        while x >= path[depth]:
            depth -= 1
        b = node_byte[x]
        if (depth == 0 and not low <= b <= high) or (depth > 0 and not 0x80 <= b <= 0xBF):
            sets[i, 2] |= OTHER
            x = np.int64(node_end[x])
        elif depth == more - 1:
            sets[i, :DEPTH] |= sets[x, :DEPTH]
            x = np.int64(node_end[x])
        else:
            depth += 1
            path[depth] = node_end[x]
            x += 1


@nb.njit
def stays(states, maps, edges, q, out):
    """Write the byte set on which ``q`` goes to itself; returns whether there is any.

    All its characters add the same to the counter. States amid a character admit each counter
    from which the character may still be finished.
    """
    out[:] = 0
    out[ADDED] = -1
    for b in range(128):
        e = np.int64(states[q, BASE]) + np.int64(maps[states[q, MAP], b])
        if edges[e, TARGET] == q and edges[e, ARG] < 0 and edges[e, COUNT] >= 0:
            if out[ADDED] < 0:
                out[ADDED] = edges[e, COUNT]
            if edges[e, COUNT] == out[ADDED]:
                out[b >> 6] |= np.int64(1) << np.int64(b & 63)
    if out[ADDED] < 0:
        return False
    everything = True
    for b in range(128, 256):
        if _moves(states, maps, edges, q, b, out[ADDED]) != q:
            everything = False
            break
    if everything:
        out[2] = WELL_FORMED | OTHER
    elif _stays_on_characters(states, maps, edges, q, out[ADDED]):
        out[2] = WELL_FORMED
    return True


@nb.njit
def _stays_on_characters(states, maps, edges, q, added):
    """Does every character beyond ASCII, in UTF-8, lead from ``q`` back to it?"""
    last, last_low, last_high = np.int64(-1), 0, 0
    for b in range(0xC2, 0xF5):
        more, low, high = _sequence(b)
        t = _inside(states, maps, edges, q, b, q, added)
        if t < 0:
            return False
        if t == last and low == last_low and high == last_high:
            continue
        if not _returns(states, maps, edges, t, low, high, more, q, added):
            return False
        last, last_low, last_high = t, low, high
    return True


@nb.njit
def _moves(states, maps, edges, q, b, added):
    """The state that ``b`` leads to where that is all it does but for the counter, or -1."""
    e = np.int64(states[q, BASE]) + np.int64(maps[states[q, MAP], b])
    t = np.int64(edges[e, TARGET])
    if t < 0 or edges[e, ARG] >= 0 or edges[e, COUNT] != added or states[t, MAP] == UNBUILT:
        return np.int64(-1)
    return t


@nb.njit
def _inside(states, maps, edges, u, b, q, added):
    """The state amid a character that ``b`` leads to, or -1."""
    t = _moves(states, maps, edges, u, b, 0)
    if t < 0 or states[t, LO] > states[q, LO] or states[t, HI] < states[q, HI] - added:
        return np.int64(-1)
    return t


@nb.njit
def _returns(states, maps, edges, u, low, high, more, q, added):
    """Do ``more`` continuation bytes from ``u``, the first in [low, high], lead to ``q``?

    The states on the way are on a stack of its own: numba cannot load a function that calls itself
    from its cache.
    """
    state, byte, stop = np.full(3, -1, np.int64), np.empty(3, np.int64), np.empty(3, np.int64)
    state[0], byte[0], stop[0] = u, low, high
    depth = 0
    while depth >= 0:
        b = byte[depth]
        byte[depth] += 1
        if b > stop[depth]:
            depth -= 1
        elif depth == more - 1:
            if _moves(states, maps, edges, state[depth], b, added) != q:
                return False
        else:
            t = _inside(states, maps, edges, state[depth], b, q, added)
            if t < 0:
                return False
            if t != state[depth + 1]:  # the one before it returns
                depth += 1
                state[depth], byte[depth], stop[depth] = t, 0x80, 0xBF
    return True
