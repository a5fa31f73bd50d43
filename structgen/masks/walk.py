"""What a state does with every token: one linear pass over the trie."""

from __future__ import annotations

import numpy as np

from structgen.automaton.step import S_EXIT, S_OK, S_UNBUILT, go_to, step
from structgen.jit import kernel

# Columns of the per-depth scratch array.
D_STATE, D_COUNTER, D_RELATIVE, D_STACK, D_TOP = range(5)


# Columns of a suspended subtree: where to go on, its end, the next exit and the last, the stack.
F_NODE, F_STOP, F_EXIT, F_LAST_EXIT, F_STACK, F_TOP = range(6)


@kernel(nogil=True)
def walk(
    node_byte, node_depth, node_end, node_first, tokens,
    states, maps, edges, returns, gotos,
    template_state, template_end, template_at, template_rank, exit_rank, exit_nodes,
    entry_nodes, entry_classes, return_point, q0, v0,
    path, frames, pool, track, out_tokens, out_ranges, out_nodes, out_classes, out_unbuilt,
):  # fmt: skip
    """Walk the whole trie from state ``q0``, or entry subtrees from a return point.

    With ``return_point < 0`` the walk starts at the root in ``(q0, v0)``. Otherwise entry ``i`` is
    the subtree of ``entry_nodes[i]`` (its own byte included), begun at
    ``gotos[return_point, entry_classes[i]]`` with the saved counter ``v0``.

    Where the walk meets ``template_state`` at a node at which the template's own walk was in that
    state too, the subtree's tokens are a range of the template's: it is noted, not walked. Only
    the places where the template's frame ends in that subtree are walked on, in the frame that
    opened it (or copied to the exits, where that is the frame the walk began in).

    Returns ``(n_tokens, n_ranges, n_exits, n_unbuilt)``: ids that end inside the known frames,
    ranges of the template's ids, trie nodes at whose byte control leaves the known frames (with
    the final class), and states to build before the walk can be repeated. ``track`` [2] receives
    the interval of counters on which the result is the same.
    """
    n_tokens, n_ranges, n_exits, n_unbuilt, n_frames = 0, 0, 0, 0, 0
    track[0], track[1] = 0, 2**31 - 1
    n_entries = 1 if return_point < 0 else entry_nodes.shape[0]
    for k in range(n_entries):
        if return_point < 0:
            i, stop = np.int64(1), np.int64(node_byte.shape[0])
            path[0, D_STATE], path[0, D_COUNTER], path[0, D_RELATIVE] = q0, v0, 0
            path[0, D_STACK], path[0, D_TOP] = -1, 0
        else:
            i = np.int64(entry_nodes[k])
            stop = np.int64(node_end[i])
            status, q, v, relative = go_to(
                states, returns, gotos, track, return_point, entry_classes[k],
                np.int64(v0), np.int64(0),
            )  # fmt: skip
            if status != S_OK:
                if status == S_UNBUILT:
                    out_unbuilt[n_unbuilt % out_unbuilt.shape[0]] = q
                    n_unbuilt += 1
                continue
            d = node_depth[i] - 1
            path[d, D_STATE], path[d, D_COUNTER], path[d, D_RELATIVE] = q, v, relative
            path[d, D_STACK], path[d, D_TOP] = -1, 0
        while True:
            while i < stop:
                d = node_depth[i]
                status, q, v, relative, sp, top = step(
                    states, maps, edges, returns, gotos, pool, track,
                    path[d - 1, D_STATE], path[d - 1, D_COUNTER], path[d - 1, D_RELATIVE],
                    path[d - 1, D_STACK], path[d - 1, D_TOP], node_byte[i],
                )  # fmt: skip
                if status != S_OK:
                    if status == S_EXIT:
                        out_nodes[n_exits], out_classes[n_exits] = i, q
                        n_exits += 1
                    elif status == S_UNBUILT:
                        out_unbuilt[n_unbuilt % out_unbuilt.shape[0]] = q
                        n_unbuilt += 1
                    i = np.int64(node_end[i])
                    continue
                if q != template_state or not template_at[i]:
                    path[d, D_STATE], path[d, D_COUNTER], path[d, D_RELATIVE] = q, v, relative
                    path[d, D_STACK], path[d, D_TOP] = sp, top
                    for t in range(node_first[i], node_first[i + 1]):
                        out_tokens[n_tokens] = tokens[t]
                        n_tokens += 1
                    i += 1
                    continue
                end = np.int64(node_end[i])
                if template_rank[i] < template_rank[end]:
                    last = out_ranges[n_ranges - 1, 1] if n_ranges > 0 else -1
                    if last == template_rank[i]:
                        out_ranges[n_ranges - 1, 1] = template_rank[end]
                    else:
                        out_ranges[n_ranges, 0] = template_rank[i]
                        out_ranges[n_ranges, 1] = template_rank[end]
                        n_ranges += 1
                first_exit, last_exit = exit_rank[i], exit_rank[end]
                if sp < 0:
                    for e in range(first_exit, last_exit):
                        out_nodes[n_exits], out_classes[n_exits] = exit_nodes[e], 0
                        n_exits += 1
                elif first_exit < last_exit:
                    frames[n_frames, F_NODE], frames[n_frames, F_STOP] = end, stop
                    frames[n_frames, F_EXIT], frames[n_frames, F_LAST_EXIT] = first_exit, last_exit
                    frames[n_frames, F_STACK], frames[n_frames, F_TOP] = sp, top
                    n_frames += 1
                    stop = np.int64(0)
                i = end
            if n_frames == 0:
                break
            f = n_frames - 1
            if frames[f, F_EXIT] < frames[f, F_LAST_EXIT]:
                i = np.int64(exit_nodes[frames[f, F_EXIT]])
                frames[f, F_EXIT] += 1
                stop = np.int64(node_end[i])
                d = node_depth[i] - 1
                path[d, D_STATE], path[d, D_COUNTER], path[d, D_RELATIVE] = template_end, 0, -1
                path[d, D_STACK], path[d, D_TOP] = frames[f, F_STACK], frames[f, F_TOP]
            else:
                i, stop = np.int64(frames[f, F_NODE]), np.int64(frames[f, F_STOP])
                n_frames -= 1
    return n_tokens, n_ranges, n_exits, n_unbuilt


@kernel(nogil=True)
def walk_template(
    node_byte, node_depth, node_end, node_first, tokens,
    states, maps, edges, returns, gotos, q0, end,
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
            states, maps, edges, returns, gotos, pool, track,
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
