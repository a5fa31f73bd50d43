"""What a state does with every token: one linear pass over the trie."""

from __future__ import annotations

import numba as nb
import numpy as np

from structgen.automaton.step import S_EXIT, S_OK, S_UNBUILT, go_to, step

# Columns of the per-depth scratch array.
D_STATE, D_COUNTER, D_RELATIVE, D_STACK, D_TOP = range(5)


@nb.njit(nogil=True, cache=True)
def walk(
    node_byte, node_depth, node_end, node_first, tokens,
    states, maps, edges, returns, gotos,
    entry_nodes, entry_classes, return_point, q0, v0,
    path, pool, track, out_tokens, out_nodes, out_classes, out_unbuilt,
):  # fmt: skip
    """Walk the whole trie from state ``q0``, or entry subtrees from a return point.

    With ``return_point < 0`` the walk starts at the root in ``(q0, v0)``. Otherwise entry ``i`` is
    the subtree of ``entry_nodes[i]`` (its own byte included), begun at
    ``gotos[return_point, entry_classes[i]]`` with the saved counter ``v0``.

    Returns ``(n_tokens, n_exits, n_unbuilt)``: ids that end inside the known frames, trie nodes at
    whose byte control leaves them (with the final class), and states to build before the walk can
    be repeated. ``track`` [2] receives the interval of counters on which the result is the same.
    """
    n_tokens, n_exits, n_unbuilt = 0, 0, 0
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
        while i < stop:
            d = node_depth[i]
            status, q, v, relative, sp, top = step(
                states, maps, edges, returns, gotos, pool, track,
                path[d - 1, D_STATE], path[d - 1, D_COUNTER], path[d - 1, D_RELATIVE],
                path[d - 1, D_STACK], path[d - 1, D_TOP], node_byte[i],
            )  # fmt: skip
            if status == S_OK:
                path[d, D_STATE], path[d, D_COUNTER], path[d, D_RELATIVE] = q, v, relative
                path[d, D_STACK], path[d, D_TOP] = sp, top
                for t in range(node_first[i], node_first[i + 1]):
                    out_tokens[n_tokens] = tokens[t]
                    n_tokens += 1
                i += 1
                continue
            if status == S_EXIT:
                out_nodes[n_exits], out_classes[n_exits] = i, q
                n_exits += 1
            elif status == S_UNBUILT:
                out_unbuilt[n_unbuilt % out_unbuilt.shape[0]] = q
                n_unbuilt += 1
            i = np.int64(node_end[i])
    return n_tokens, n_exits, n_unbuilt


@nb.njit(cache=True)
def to_bitmap(ids, bitmap):
    """Set the bits of ``ids`` in ``bitmap`` (int32 words, least significant bit first)."""
    bitmap[:] = 0
    for t in ids:
        bitmap[t >> 5] |= np.int32(np.uint32(1) << np.uint32(t & 31))
