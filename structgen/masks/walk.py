"""What a state does with every token: one linear pass over the trie."""

from __future__ import annotations

import numba as nb
import numpy as np

from structgen.automaton.step import (
    ARG,
    FORK,
    S_EXIT,
    S_FORK,
    S_FULL,
    S_OK,
    S_UNBUILT,
    TARGET,
    follow_once,
    go_to,
    step,
)
from structgen.jit import kernel

# Columns of the per-depth scratch array.
D_STATE, D_COUNTER, D_RELATIVE, D_STACK, D_TOP = range(5)


# Columns of a suspended subtree: where to go on, its end, what is next in it and the last (exits of
# the template, or edges of a fork), the configuration, and whether it is a fork.
F_NODE, F_STOP, F_NEXT, F_LAST, F_STACK, F_TOP, F_COUNTER, F_RELATIVE, F_FORK = range(9)

# What a walk answers instead of a number of unbuilt states: its scratch space is too small.
NO_ROOM = -1


@kernel(nogil=True)
def walk(
    node_byte, node_depth, node_end, node_first, tokens,
    states, maps, edges, returns, gotos, pushes,
    template_state, template_end, template_at, template_rank, exit_rank, exit_nodes,
    entry_nodes, entry_classes, return_point, q0, v0,
    path, frames, pool, track, mark, stamp, counts, pending,
    out_tokens, out_ranges, out_nodes, out_classes, out_unbuilt, out_pending,
):  # fmt: skip
    """Walk the whole trie from state ``q0``, or entry subtrees from a return point.

    With ``return_point < 0`` the walk starts at the root in ``(q0, v0)``. Otherwise entry ``i`` is
    the subtree of ``entry_nodes[i]`` (its own byte included), begun at
    ``gotos[return_point, entry_classes[i]]`` with the saved counter ``v0``.

    Where the walk meets ``template_state`` at a node at which the template's own walk was in that
    state too, the subtree's tokens are a range of the template's: it is noted, not walked. Only
    the places where the template's frame ends in that subtree are walked on, in the frame that
    opened it (or copied to the exits, where that is the frame the walk began in).

    Where an edge has alternatives, the subtree is walked once for each: the result is what some of
    them allow. ``mark`` (int32 [T], empty for an automaton without forks) holds ``stamp`` for what
    is noted already.

    Fills ``counts = [n_tokens, n_ranges, n_exits]``: ids that end inside the known frames, ranges
    of the template's ids, trie nodes at whose byte control leaves the known frames (with the final
    class). Returns the number of trie nodes that need states to be built (``out_unbuilt``, at
    ``out_pending``, ascending): then the caller builds them and calls again with these nodes as
    ``pending``; only their subtrees are walked, and what is found is added. NO_ROOM means that a
    larger scratch space is needed. ``track`` [2] is narrowed to the counters on which the result is
    the same.
    """
    n_tokens, n_ranges, n_exits = counts[0], counts[1], counts[2]
    n_unbuilt, n_frames = 0, 0
    resumed = pending.shape[0] > 0
    inside = np.int64(0)  # up to here everything is new
    n_entries = 1 if return_point < 0 else entry_nodes.shape[0]
    for k in range(n_entries):
        if return_point < 0:
            i, stop = np.int64(1), np.int64(node_byte.shape[0])
            path[0, D_STATE], path[0, D_COUNTER], path[0, D_RELATIVE] = q0, v0, 0
            path[0, D_STACK], path[0, D_TOP] = -1, 0
        else:
            i = np.int64(entry_nodes[k])
            stop = np.int64(node_end[i])
            inside = np.int64(0)
            if resumed and not _has_pending(pending, i, stop):
                continue
            status, q, v, relative = go_to(
                states, returns, gotos, track, return_point, entry_classes[k],
                np.int64(v0), np.int64(0),
            )  # fmt: skip
            if status != S_OK:
                if status == S_UNBUILT:
                    if n_unbuilt >= out_unbuilt.shape[0]:
                        return NO_ROOM
                    out_unbuilt[n_unbuilt], out_pending[n_unbuilt] = q, i
                    n_unbuilt += 1
                continue
            d = node_depth[i] - 1
            path[d, D_STATE], path[d, D_COUNTER], path[d, D_RELATIVE] = q, v, relative
            path[d, D_STACK], path[d, D_TOP] = -1, 0
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
                    status, q, v, relative, sp, top = step(
                        states, maps, edges, returns, gotos, pushes, pool, track,
                        path[d - 1, D_STATE], path[d - 1, D_COUNTER], path[d - 1, D_RELATIVE],
                        path[d - 1, D_STACK], path[d - 1, D_TOP], node_byte[i],
                    )  # fmt: skip
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
                        if n_unbuilt >= out_unbuilt.shape[0]:
                            return NO_ROOM
                        out_unbuilt[n_unbuilt], out_pending[n_unbuilt] = q, i
                        n_unbuilt += 1
                    i = np.int64(node_end[i])
                    continue
                known = resumed and i >= inside  # its own part was found before
                if q != template_state or not template_at[i]:
                    path[d, D_STATE], path[d, D_COUNTER], path[d, D_RELATIVE] = q, v, relative
                    path[d, D_STACK], path[d, D_TOP] = sp, top
                    for t in range(node_first[i], node_first[i] if known else node_first[i + 1]):
                        if mark.shape[0] > 0:
                            if mark[t] == stamp:
                                continue
                            mark[t] = stamp
                        out_tokens[n_tokens] = tokens[t]
                        n_tokens += 1
                    i += 1
                    continue
                end = np.int64(node_end[i])
                if n_frames >= frames.shape[0] or n_ranges >= out_ranges.shape[0]:
                    return NO_ROOM
                if not known and template_rank[i] < template_rank[end]:
                    last = out_ranges[n_ranges - 1, 1] if n_ranges > 0 else -1
                    if last == template_rank[i]:
                        out_ranges[n_ranges - 1, 1] = template_rank[end]
                    else:
                        out_ranges[n_ranges, 0] = template_rank[i]
                        out_ranges[n_ranges, 1] = template_rank[end]
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
                d = node_depth[i] - 1
                path[d, D_STATE], path[d, D_COUNTER], path[d, D_RELATIVE] = template_end, 0, -1
                path[d, D_STACK], path[d, D_TOP] = frames[f, F_STACK], frames[f, F_TOP]
            else:
                i, stop = np.int64(frames[f, F_NODE]), np.int64(frames[f, F_STOP])
                n_frames -= 1
    counts[0], counts[1], counts[2] = n_tokens, n_ranges, n_exits
    return n_unbuilt


@nb.njit(inline="always")
def _has_pending(pending, begin, end):
    at = np.searchsorted(pending, begin)
    return at < pending.shape[0] and pending[at] < end


@kernel(nogil=True)
def walk_template(
    node_byte, node_depth, node_end, node_first, tokens,
    states, maps, edges, returns, gotos, pushes, q0, end,
    path, pool, track, at, rank, exit_rank, out_tokens, out_nodes, token_needs, exit_needs,
):  # fmt: skip
    """The walk from ``q0`` that other walks take ranges from; ``q0``'s frame has one final class.

    Fills ``at`` (uint8 [N], is the walk in ``q0`` at this node), ``rank`` and ``exit_rank`` (int32
    [N + 1], ids and exits at nodes before this one), and what the ids and exits add to the
    counter: ``token_needs`` counts a spelling that is not finished as well; where the frame ended
    after n, in a token's last state ``end`` and at every exit, the number is -1 - n. Returns the
    numbers of ids and exits.
    """
    n_tokens, n_exits = 0, 0
    n = np.int64(node_byte.shape[0])
    path[0, D_STATE], path[0, D_COUNTER], path[0, D_RELATIVE] = q0, 0, -1
    path[0, D_STACK], path[0, D_TOP] = -1, 0
    at[:] = 0
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
            at[i] = q == q0
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
