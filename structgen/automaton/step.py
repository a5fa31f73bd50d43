"""One step of the automaton on one byte: the definition that masks, accept and rollback share.

Table formats (all int32 but the class maps) are described in :mod:`structgen.automaton.tables`.
A configuration is ``(state, counter, stack)``. The stack is a linked list in a pool, so that a
snapshot is one integer: ``pool[i] = (return point, saved counter, parent index or -1, relative)``.
"""

from __future__ import annotations

import numba as nb
import numpy as np

# Columns of the tables.
MAP, BASE, LO, HI, END = range(5)  # states
TARGET, ARG, COUNT = range(3)  # edges
POOL_RETURN, POOL_COUNTER, POOL_PARENT, POOL_RELATIVE = range(4)

DEAD = -1  # edge target: no transition
FORK = -(1 << 30)  # edge target FORK - n: n edges from ARG on, each of which may be the right one
INHERIT = 1 << 30  # added to the return point of a push: the inner frame keeps the counter
SEVERAL = 1 << 29  # ARG of a move: an entry of ``pushes``, not a return point
UNBUILT = -1  # states[q, MAP] of a state whose edges have not been built yet
UNKNOWN = -2  # a goto that must be asked for
NO_LIMIT = 2**31 - 1

# A goto to be built is named by one negative number: -1 - (return point << CLASS_BITS | class).
CLASS_BITS = 24

# What a step answers.
S_DEAD, S_OK, S_EXIT, S_UNBUILT, S_FULL, S_FORK = range(6)


@nb.njit(inline="always")
def admits(states, track, q, v, relative):
    """Does state ``q`` admit counter ``v``?  Narrows ``track`` to where the answer stays the same.

    ``track = [lowest, highest]`` is the interval of the walk's *initial* counter for which every
    comparison made so far has the same outcome; a row computed by a walk is valid on it.
    """
    lo = states[q, LO]
    hi = states[q, HI]
    if lo == 0 and hi == NO_LIMIT:
        return True
    if v > hi:
        if relative >= 0:
            track[0] = max(track[0], hi - relative + 1)
        return False
    if v < lo:
        if relative >= 0:
            track[1] = min(track[1], lo - relative - 1)
        return False
    if relative >= 0:
        if hi != NO_LIMIT:
            track[1] = min(track[1], hi - relative)
        track[0] = max(track[0], lo - relative)
    return True


@nb.njit(inline="always")
def step(states, maps, edges, returns, gotos, pushes, pool, track, q, v, relative, sp, top, byte):
    """Consume ``byte``; returns ``(status, q, v, relative, sp, top)``.

    ``relative`` is the amount added to the base frame's initial counter so far, or -1 where the
    counter no longer depends on it. On ``S_EXIT`` (a pop below the known stack) ``q`` is the final
    class; on ``S_UNBUILT`` it is the state (or the goto) that must be built first; on ``S_FORK`` it
    is the edge with the alternatives, which the caller tries one by one with :func:`follow`.
    """
    e = states[q, BASE] + np.int64(maps[states[q, MAP], byte])
    return follow(
        states, maps, edges, returns, gotos, pushes, pool, track, e, v, relative, sp, top, byte
    )


@nb.njit(inline="always")
def follow(states, maps, edges, returns, gotos, pushes, pool, track, e, v, relative, sp, top, byte):
    """Consume ``byte`` by edge ``e``; returns what :func:`step` does."""
    while True:
        t = edges[e, TARGET]
        if t >= 0:
            count = edges[e, COUNT]
            if count > 0:
                v += count
                if relative >= 0:
                    relative += count
            elif count < 0:
                v = np.int64(-1 - count)
                relative = np.int64(-1)
            r = edges[e, ARG]
            if r >= 0:
                following = np.int64(-1)
                if r & SEVERAL:
                    following = np.int64(pushes[r & ~SEVERAL, 1])
                    r = pushes[r & ~SEVERAL, 0]
                while True:
                    if top >= pool.shape[0]:
                        return S_FULL, np.int64(e), v, relative, sp, top
                    pool[top, POOL_RETURN] = r & ~INHERIT
                    pool[top, POOL_COUNTER] = v
                    pool[top, POOL_PARENT] = sp
                    pool[top, POOL_RELATIVE] = relative
                    sp = top
                    top += 1
                    if r < INHERIT:
                        v = np.int64(0)
                        relative = np.int64(-1)
                    if following < 0:
                        break
                    r = pushes[following, 0]
                    following = np.int64(pushes[following, 1])
            if not admits(states, track, t, v, relative):
                return S_DEAD, np.int64(t), v, relative, sp, top
            if states[t, MAP] == UNBUILT:
                return S_UNBUILT, np.int64(t), v, relative, sp, top
            return S_OK, np.int64(t), v, relative, sp, top
        if t == DEAD:
            return S_DEAD, np.int64(e), v, relative, sp, top
        if t < FORK:
            return S_FORK, np.int64(e), v, relative, sp, top
        status, q, v, relative, sp = pop(
            states, returns, gotos, pool, track, -2 - t, edges[e, ARG], sp
        )
        if status != S_OK:
            return status, np.int64(q), v, relative, sp, top
        e = states[q, BASE] + np.int64(maps[states[q, MAP], byte])


@nb.njit
def follow_once(
    states, maps, edges, returns, gotos, pushes, pool, track, e, v, relative, sp, top, byte
):
    """:func:`follow`, compiled once: inlining it everywhere takes seconds for each kernel."""
    return follow(
        states, maps, edges, returns, gotos, pushes, pool, track, e, v, relative, sp, top, byte
    )


@nb.njit
def pop(states, returns, gotos, pool, track, cls, frames, sp):
    """Leave ``frames`` frames with class ``cls``; returns ``(status, q, v, relative, sp)``."""
    for _ in range(frames - 1):
        if sp < 0:
            return S_DEAD, np.int64(0), np.int64(0), np.int64(-1), sp
        sp = np.int64(pool[sp, POOL_PARENT])
    if sp < 0:
        return S_EXIT, np.int64(cls), np.int64(0), np.int64(-1), sp
    r = pool[sp, POOL_RETURN]
    v = np.int64(pool[sp, POOL_COUNTER])
    relative = np.int64(pool[sp, POOL_RELATIVE])
    status, q, v, relative = go_to(states, returns, gotos, track, r, cls, v, relative)
    return status, q, v, relative, np.int64(pool[sp, POOL_PARENT])


@nb.njit
def go_to(states, returns, gotos, track, r, cls, v, relative):
    """Continue at return point ``r`` with class ``cls``; returns ``(status, q, v, relative)``."""
    if cls >= returns[r, 1]:
        if returns[r, 2]:
            return S_UNBUILT, -1 - (np.int64(r) << CLASS_BITS | np.int64(cls)), v, relative
        return S_DEAD, np.int64(0), v, relative
    g = returns[r, 0] + cls
    q = np.int64(gotos[g, 0])
    count = gotos[g, 1]
    if q < 0:
        if q == UNKNOWN:
            return S_UNBUILT, -1 - (np.int64(r) << CLASS_BITS | np.int64(cls)), v, relative
        return S_DEAD, q, v, relative
    if count > 0:
        v += count
        if relative >= 0:
            relative += count
    elif count < 0:
        v = np.int64(-1 - count)
        relative = np.int64(-1)
    if not admits(states, track, q, v, relative):
        return S_DEAD, q, v, relative
    if states[q, MAP] == UNBUILT:
        return S_UNBUILT, q, v, relative
    return S_OK, q, v, relative
