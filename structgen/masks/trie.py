"""The vocabulary's trie, flattened in depth-first order so that one linear pass walks it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from structgen.jit import kernel
from structgen.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True)
class Trie:
    """Nodes in depth-first order; node 0 is the root (the empty prefix).

    Attributes:
        byte: uint8 [N], the byte that leads to the node.
        depth: int32 [N], length of the node's prefix; 0 at the root.
        end: int32 [N], one past the node's subtree.
        first: int32 [N + 1], ``tokens[first[i]:first[i + 1]]`` are the ids spelled by node i.
        tokens: int32 [T], ids with text, in the order of their spellings.
    """

    byte: np.ndarray
    depth: np.ndarray
    end: np.ndarray
    first: np.ndarray
    tokens: np.ndarray

    @property
    def max_depth(self) -> int:
        return int(self.depth.max(initial=0))


def build_trie(vocabulary: Vocabulary) -> Trie:
    """The trie of all ids with text; ids with equal bytes share a node."""
    data, offsets = vocabulary.data, vocabulary.offsets
    lengths = np.diff(offsets)
    ids = np.flatnonzero(lengths > 0).astype(np.int32)
    raw = data.tobytes()
    bounds = offsets.tolist()
    order = sorted(ids.tolist(), key=lambda i: raw[bounds[i] : bounds[i + 1]])
    tokens = np.asarray(order, np.int32)
    room = int(lengths.sum()) + 1
    byte, depth, end, first = _flatten(data, offsets.astype(np.int64), tokens, room)
    return Trie(byte, depth, end, first, tokens)


@kernel
def _flatten(data, offsets, tokens, room):
    byte = np.zeros(room, np.uint8)
    depth = np.zeros(room, np.int32)
    end = np.zeros(room, np.int32)
    first = np.zeros(room + 1, np.int32)
    path = np.zeros(room + 1, np.int32)  # nodes from the root to the last token
    n, length = 1, 0
    previous = np.int64(-1)
    for k in range(len(tokens)):
        t = np.int64(tokens[k])
        a, size = offsets[t], offsets[t + 1] - offsets[t]
        common = 0
        if previous >= 0:
            p = offsets[previous]
            while common < length and common < size and data[a + common] == data[p + common]:
                common += 1
        for d in range(length, common, -1):
            end[path[d]] = n
        for d in range(common, size):
            byte[n], depth[n] = data[a + d], d + 1
            first[n] = k
            path[d + 1] = n
            n += 1
        # Ids of equal bytes follow each other, so a node's ids are one run.
        first[n] = k + 1
        length, previous = size, t
    for d in range(length, -1, -1):
        end[path[d]] = n
    first[0] = 0
    if n > 1:
        first[1] = 0
    return byte[:n].copy(), depth[:n].copy(), end[:n].copy(), first[: n + 1].copy()
