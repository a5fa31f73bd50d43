"""What a state does with every token: one pass over the trie.

The arrays of a walk are given by address, in a block for each of the three things it needs: the
vocabulary's trie with the scratch space of one walk at a time (``T_*``), the walk inside any string
that other walks copy from (the *template*, ``P_*``), and the automaton (the grammar block of
:mod:`structgen.masks.blocks`).
"""

from __future__ import annotations

import numba as nb
import numpy as np

from structgen.automaton.step import (
    ARG,
    BASE,
    COUNT,
    DEAD,
    FORK,
    HI,
    MAP,
    NO_LIMIT,
    S_DEAD,
    S_EXIT,
    S_FORK,
    S_FULL,
    S_OK,
    S_UNBUILT,
    TARGET,
    UNBUILT,
    admits,
    follow_once,
    go_to,
    pop,
    step,
)
from structgen.jit import kernel
from structgen.masks.loops import ADDED, DEPTH, stays

# Token block, int64: the trie, then scratch space.
(
    T_BYTE, T_DEPTH, T_END, T_FIRST, T_N_NODES, T_TOKENS, T_N_TOKENS, T_BELOW, T_WORDS,
    T_PATH, T_N_PATH, T_FRAMES, T_N_FRAMES, T_POOL, T_N_POOL, T_SPANS, T_N_SPANS,
    T_RANGES, T_N_RANGES, T_NODES, T_CLASSES, T_N_EXITS, T_UNBUILT, T_PENDING, T_N_UNBUILT,
    T_TRACK, T_COUNTS, T_BITMAP,
) = range(28)  # fmt: skip
T_LENGTH = T_BITMAP + 1

# COUNTS: how many spans, ranges and exits were found so far, and places where to go on.
C_SPANS, C_RANGES, C_EXITS, C_PENDING = range(4)
C_LENGTH = C_PENDING + 1

# Template block, int64.
(
    P_END, P_AT, P_RANK, P_EXIT_RANK, P_EXIT_NODES, P_N_EXITS, P_IDS, P_N_IDS, P_BITMAP,
) = range(9)  # fmt: skip
P_LENGTH = P_BITMAP + 1

# Columns of the scratch array with a row for each depth of the trie.
(
    D_STATE, D_COUNTER, D_RELATIVE, D_STACK, D_TOP, D_MAP, D_BASE, D_LOOPS, D_POPPED, D_AFTER,
    D_DEAD,
) = range(11)  # fmt: skip
D_LENGTH = D_DEAD + 1

# Columns of a suspended subtree: where to go on, its end, what is next in it and the last (exits of
# the template, or edges of a fork), the configuration, and whether it is a fork.
F_NODE, F_STOP, F_NEXT, F_LAST, F_STACK, F_TOP, F_COUNTER, F_RELATIVE, F_FORK = range(9)
F_LENGTH = F_FORK + 1

# What a walk answers instead of a number of unbuilt states: its scratch space is too small.
NO_ROOM = -1


@nb.njit
def walk_trie(
    node_byte, node_depth, node_end, node_first, below,
    states, maps, edges, returns, gotos, pushes, loop_ids, loops, n_loops,
    template_end, template_at, template_rank, exit_rank, exit_nodes,
    entry_nodes, entry_classes, return_point, q0, v0,
    path, frames, pool, track, counts, pending,
    spans, ranges, out_nodes, out_classes, out_unbuilt, out_pending,
):  # fmt: skip
    """Walk the whole trie from state ``q0``, or entry subtrees from a return point.

    With ``return_point < 0`` the walk starts at the root in ``(q0, v0)``. Otherwise entry ``i`` is
    the subtree of ``entry_nodes[i]`` (its own byte included), begun at
    ``gotos[return_point, entry_classes[i]]`` with the saved counter ``v0``.

    Two things are noted and not walked. Where a state stays in itself on all bytes below a node
    (``loops.py``), the subtree's tokens are a span of the trie's. Where the walk is in the state in
    which the template's own walk was at this node, the subtree's tokens are a range of the
    template's; only the places where the template's frame ends
    in that subtree are walked on, in the frame that opened it (or copied to the exits, where that
    is the frame the walk began in).

    Where an edge has alternatives, the subtree is walked once for each: the result is what some of
    them allow, and may name a token more than once.

    Fills ``counts`` (C_SPANS, C_RANGES, C_EXITS): spans of the trie's ids that end inside the
    known frames, ranges of the template's ids, trie nodes at whose byte control leaves the known
    frames (with the final class). Returns the number of trie nodes that need states to be built
    (``out_unbuilt``, at ``out_pending``): then the caller builds them and calls again with these
    nodes, ascending, as ``pending``; only their subtrees are walked, and what is found is added.
    NO_ROOM means that a larger scratch space is needed. ``track`` [2] is narrowed to the counters
    on which the result is the same.

    ``loop_ids`` int32 [states] and ``loops`` int64 [*, 4] keep what :func:`stays` says of the
    states met; ``n_loops`` [1] counts the rows in use.
    """
    n_spans, n_ranges, n_exits = counts[C_SPANS], counts[C_RANGES], counts[C_EXITS]
    n_unbuilt, n_frames = 0, 0
    gone = S_OK
    gone_q, gone_v, gone_relative = np.int64(0), np.int64(0), np.int64(0)
    resumed = pending.shape[0] > 0
    inside = np.int64(0)  # up to here everything is new
    n_entries = 1 if return_point < 0 else entry_nodes.shape[0]
    i, stop, depth = np.int64(1), np.int64(node_byte.shape[0]), np.int64(0)
    q, v, relative = np.int64(q0), np.int64(v0), np.int64(0)
    for k in range(n_entries):
        if return_point >= 0:
            i = np.int64(entry_nodes[k])
            stop = np.int64(node_end[i])
            inside = np.int64(0)
            if resumed and not _has_pending(pending, i, stop):
                continue
            if k == 0 or entry_classes[k] != entry_classes[k - 1] or resumed:
                gone, gone_q, gone_v, gone_relative = go_to(
                    states, returns, gotos, track, return_point, entry_classes[k],
                    np.int64(v0), np.int64(0),
                )  # fmt: skip
            q, v, relative = gone_q, gone_v, gone_relative
            if gone != S_OK:
                if gone == S_UNBUILT:
                    n_unbuilt = _note_unbuilt(out_unbuilt, out_pending, n_unbuilt, q, i)
                    if n_unbuilt == NO_ROOM:
                        return NO_ROOM
                continue
            c = states[q, BASE] + np.int64(maps[states[q, MAP], node_byte[i]])
            if edges[c, TARGET] == DEAD:
                continue
            depth = np.int64(node_depth[i] - 1)
        loop = _loops_of(states, maps, edges, loop_ids, loops, n_loops, q)
        _set_path(path, depth, states, q, v, relative, -1, 0, loop)
        e = np.int64(-1)  # the alternative to take, of a fork
        while True:
            while i < stop:
                d = node_depth[i]
                if resumed and i >= inside:
                    end = np.int64(node_end[i])
                    at = np.searchsorted(pending, i)
                    if at == pending.shape[0] or pending[at] >= end:
                        i, e = end, np.int64(-1)
                        continue
                    if pending[at] == i:
                        inside = end
                if e >= 0:
                    f = n_frames - 1
                    status, q, v, relative, sp, top = follow_once(
                        states, maps, edges, returns, gotos, pushes, pool, track, e,
                        frames[f, F_COUNTER], frames[f, F_RELATIVE],
                        frames[f, F_STACK], frames[f, F_TOP], node_byte[i],
                    )  # fmt: skip
                    e = np.int64(-1)
                else:
                    c = path[d - 1, D_BASE] + np.int64(maps[path[d - 1, D_MAP], node_byte[i]])
                    q = np.int64(edges[c, TARGET])
                    if q == DEAD:
                        i = np.int64(node_end[i])
                        continue
                    v, relative = path[d - 1, D_COUNTER], path[d - 1, D_RELATIVE]
                    sp, top = path[d - 1, D_STACK], path[d - 1, D_TOP]
                    status = S_OK
                    if FORK <= q < DEAD and path[d - 1, D_POPPED] != c:
                        # All bytes that pop here go on in the same state: it is looked up once.
                        popped, after, _, _, _ = pop(
                            states, returns, gotos, pool, track, -2 - q, edges[c, ARG], sp
                        )
                        path[d - 1, D_POPPED] = c
                        path[d - 1, D_AFTER] = after if popped == S_OK else -1
                        path[d - 1, D_DEAD] = popped == S_DEAD
                    if FORK <= q < DEAD:
                        after = path[d - 1, D_AFTER]
                        if path[d - 1, D_DEAD] or (
                            after >= 0
                            and edges[
                                states[after, BASE]
                                + np.int64(maps[states[after, MAP], node_byte[i]]),
                                TARGET,
                            ] == DEAD
                        ):  # fmt: skip
                            i = np.int64(node_end[i])
                            continue
                    count = edges[c, COUNT]
                    if q >= 0 and edges[c, ARG] < 0 and count >= 0 and states[q, MAP] != UNBUILT:
                        v += count
                        if relative >= 0:
                            relative += count
                        if not admits(states, track, q, v, relative):
                            i = np.int64(node_end[i])
                            continue
                    else:
                        status, q, v, relative, sp, top = follow_once(
                            states, maps, edges, returns, gotos, pushes, pool, track,
                            c, v, relative, sp, top, node_byte[i],
                        )  # fmt: skip
                end = np.int64(node_end[i])
                if status != S_OK:
                    if status == S_FULL or n_frames >= frames.shape[0]:
                        return NO_ROOM
                    if status == S_FORK:
                        f = n_frames
                        n_frames += 1
                        frames[f, F_NODE], frames[f, F_STOP], frames[f, F_FORK] = i, stop, 1
                        frames[f, F_NEXT] = edges[q, ARG]
                        frames[f, F_LAST] = edges[q, ARG] + (FORK - edges[q, TARGET])
                        frames[f, F_STACK], frames[f, F_TOP] = sp, top
                        frames[f, F_COUNTER], frames[f, F_RELATIVE] = v, relative
                        stop = np.int64(0)
                        break
                    if status == S_EXIT and not (resumed and i >= inside):
                        if n_exits >= out_nodes.shape[0]:
                            return NO_ROOM
                        out_nodes[n_exits], out_classes[n_exits] = i, q
                        n_exits += 1
                    elif status == S_UNBUILT:
                        n_unbuilt = _note_unbuilt(out_unbuilt, out_pending, n_unbuilt, q, i)
                        if n_unbuilt == NO_ROOM:
                            return NO_ROOM
                    i = end
                    continue
                known = resumed and i >= inside  # its own part was found before
                if q != template_at[i]:
                    last_node = i + 1
                    if end > i + 1:
                        loop = path[d - 1, D_LOOPS]
                        if q != path[d - 1, D_STATE]:
                            loop = _loops_of(states, maps, edges, loop_ids, loops, n_loops, q)
                        if (
                            loop > 0 and not known
                            and below[i, 0] & ~loops[loop, 0] == 0
                            and below[i, 1] & ~loops[loop, 1] == 0
                            and below[i, 2] & ~loops[loop, 2] == 0
                            and v + below[i, DEPTH] * loops[loop, ADDED] <= states[q, HI]
                        ):  # fmt: skip
                            last_node = end
                            if relative >= 0 and states[q, HI] != NO_LIMIT:
                                deepest = relative + below[i, DEPTH] * loops[loop, ADDED]
                                track[1] = min(track[1], states[q, HI] - deepest)
                        else:
                            _set_path(path, d, states, q, v, relative, sp, top, loop)
                    if not known and node_first[i] < node_first[last_node]:
                        if n_spans > 0 and spans[n_spans - 1, 1] == node_first[i]:
                            spans[n_spans - 1, 1] = node_first[last_node]
                        else:
                            if n_spans >= spans.shape[0]:
                                return NO_ROOM
                            spans[n_spans, 0] = node_first[i]
                            spans[n_spans, 1] = node_first[last_node]
                            n_spans += 1
                    i = last_node
                    continue
                if n_frames >= frames.shape[0] or n_ranges >= ranges.shape[0]:
                    return NO_ROOM
                if not known and template_rank[i] < template_rank[end]:
                    if n_ranges > 0 and ranges[n_ranges - 1, 1] == template_rank[i]:
                        ranges[n_ranges - 1, 1] = template_rank[end]
                    else:
                        ranges[n_ranges, 0] = template_rank[i]
                        ranges[n_ranges, 1] = template_rank[end]
                        n_ranges += 1
                first_exit, last_exit = exit_rank[i], exit_rank[end]
                if sp < 0:
                    if known:
                        last_exit = first_exit
                    if n_exits + last_exit - first_exit > out_nodes.shape[0]:
                        return NO_ROOM
                    for x in range(first_exit, last_exit):
                        out_nodes[n_exits], out_classes[n_exits] = exit_nodes[x], 0
                        n_exits += 1
                elif first_exit < last_exit:
                    f = n_frames
                    n_frames += 1
                    frames[f, F_NODE], frames[f, F_STOP], frames[f, F_FORK] = end, stop, 0
                    frames[f, F_NEXT], frames[f, F_LAST] = first_exit, last_exit
                    frames[f, F_STACK], frames[f, F_TOP] = sp, top
                    stop = np.int64(0)
                i = end
            if n_frames == 0:
                break
            f = n_frames - 1
            if frames[f, F_FORK]:
                i = np.int64(frames[f, F_NODE])
                if frames[f, F_NEXT] < frames[f, F_LAST]:
                    e = np.int64(frames[f, F_NEXT])
                    frames[f, F_NEXT] += 1
                    stop = np.int64(node_end[i])
                else:
                    i, stop = np.int64(node_end[i]), np.int64(frames[f, F_STOP])
                    n_frames -= 1
            elif frames[f, F_NEXT] < frames[f, F_LAST]:
                i = np.int64(exit_nodes[frames[f, F_NEXT]])
                frames[f, F_NEXT] += 1
                stop = np.int64(node_end[i])
                _set_path(
                    path, node_depth[i] - 1, states, template_end, 0, -1,
                    frames[f, F_STACK], frames[f, F_TOP], 0,
                )  # fmt: skip
            else:
                i, stop = np.int64(frames[f, F_NODE]), np.int64(frames[f, F_STOP])
                n_frames -= 1
    counts[C_SPANS], counts[C_RANGES], counts[C_EXITS] = n_spans, n_ranges, n_exits
    return n_unbuilt


@nb.njit(inline="always")
def _set_path(path, d, states, q, v, relative, sp, top, loop):
    """Note what is below a node at depth ``d``: the configuration, and what to look up often."""
    path[d, D_STATE], path[d, D_COUNTER], path[d, D_RELATIVE] = q, v, relative
    path[d, D_STACK], path[d, D_TOP], path[d, D_LOOPS] = sp, top, loop
    path[d, D_MAP], path[d, D_BASE] = states[q, MAP], states[q, BASE]
    path[d, D_POPPED] = -1


@nb.njit(inline="always")
def _note_unbuilt(out_unbuilt, out_pending, n, q, node):
    """Note a state (or a goto) that ``node`` needs; returns how many there are, or NO_ROOM."""
    if n >= out_unbuilt.shape[0]:
        return NO_ROOM
    out_unbuilt[n], out_pending[n] = q, node
    return n + 1


@nb.njit(inline="always")
def _has_pending(pending, begin, end):
    at = np.searchsorted(pending, begin)
    return at < pending.shape[0] and pending[at] < end


@nb.njit
def _loops_of(states, maps, edges, loop_ids, loops, n_loops, q):
    """Row of ``loops`` for state ``q``; 0, an empty one, also where there is no more room."""
    found = np.int64(loop_ids[q])
    if found >= 0:
        return found
    n = n_loops[0]
    if n >= loops.shape[0]:
        return np.int64(0)
    if not stays(states, maps, edges, q, loops[n]):
        loop_ids[q] = 0
        return np.int64(0)
    loop_ids[q] = n
    n_loops[0] = n + 1
    return np.int64(n)


@kernel(nogil=True)
def walk_template(
    node_byte, node_depth, node_end, node_first, tokens,
    states, maps, edges, returns, gotos, pushes, q0, end,
    path, pool, track, at, rank, exit_rank, out_tokens, out_nodes, token_needs, exit_needs,
):  # fmt: skip
    """The walk from ``q0`` that other walks take ranges from; ``q0``'s frame has one final class.

    Fills ``at`` (int32 [N], the state at this node, or -1), ``rank`` and ``exit_rank`` (int32
    [N + 1], ids and exits at nodes before this one), and what the ids and exits add to the
    counter: ``token_needs`` counts a spelling that is not finished as well; where the frame ended
    after n, in a token's last state ``end`` and at every exit, the number is -1 - n. Returns the
    numbers of ids and exits.
    """
    n_tokens, n_exits = 0, 0
    n = np.int64(node_byte.shape[0])
    path[0, D_STATE], path[0, D_COUNTER], path[0, D_RELATIVE] = q0, 0, -1
    path[0, D_STACK], path[0, D_TOP] = -1, 0
    at[:] = -1
    rank[0], exit_rank[0] = 0, 0
    i = np.int64(1)
    while i < n:
        d = node_depth[i]
        rank[i], exit_rank[i] = n_tokens, n_exits
        status, q, v, relative, sp, top = step(
            states, maps, edges, returns, gotos, pushes, pool, track,
            path[d - 1, D_STATE], path[d - 1, D_COUNTER], path[d - 1, D_RELATIVE],
            path[d - 1, D_STACK], path[d - 1, D_TOP], node_byte[i],
        )  # fmt: skip
        if status == S_OK:
            path[d, D_STATE], path[d, D_COUNTER], path[d, D_RELATIVE] = q, v, relative
            path[d, D_STACK], path[d, D_TOP] = sp, top
            at[i] = q
            need = v if q == q0 else v + 1
            if q == end:
                need = -1 - v
            for t in range(node_first[i], node_first[i + 1]):
                out_tokens[n_tokens], token_needs[n_tokens] = tokens[t], need
                n_tokens += 1
            i += 1
            continue
        if status == S_EXIT:
            out_nodes[n_exits], exit_needs[n_exits] = i, -1 - path[d - 1, D_COUNTER]
            n_exits += 1
        for j in range(i + 1, node_end[i]):
            rank[j], exit_rank[j] = n_tokens, n_exits
        i = np.int64(node_end[i])
    rank[n], exit_rank[n] = n_tokens, n_exits
    return n_tokens, n_exits
