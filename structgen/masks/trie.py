"""The vocabulary's trie, flattened in depth-first order so that one linear pass walks it.

Each id is in it twice, by its text and by its spelling as a symbol (``vocabulary/spelling.py``). A
node that the automaton cannot enter costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from structgen import disk_cache
from structgen.jit import kernel
from structgen.vocabulary import Vocabulary
from structgen.vocabulary.spelling import SYMBOL


@dataclass(frozen=True, slots=True)
class Trie:
    """Nodes in depth-first order; node 0 is the root (the empty prefix).

    Attributes:
        byte: uint8 [N], the byte that leads to the node.
        depth: int32 [N], length of the node's prefix; 0 at the root.
        end: int32 [N], one past the node's subtree.
        first: int32 [N + 1], ``tokens[first[i]:first[i + 1]]`` are the ids spelled by node i.
        tokens: int32 [T], ids in the order of their spellings, and again in their own order.
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
    """The trie of all ids with text, and of all ids as symbols; equal spellings share a node."""
    return Trie(*disk_cache.load("trie", vocabulary.fingerprint, lambda: _arrays(vocabulary)))


def _arrays(vocabulary: Vocabulary) -> tuple[np.ndarray, ...]:
    """The attributes of the trie."""
    data, offsets = vocabulary.data, vocabulary.offsets.astype(np.int64)
    raw = data.tobytes()
    bounds = offsets.tolist()
    n = len(vocabulary)
    texts = [raw[a:b] for a, b in pairwise(bounds)]
    # A text with the byte of symbols is no UTF-8: no grammar allows it.
    ids = [i for i, text in enumerate(texts) if text and SYMBOL not in text]
    order = sorted(ids, key=texts.__getitem__)
    numbers = np.arange(n)
    columns = (np.full(n, SYMBOL), numbers >> 16, numbers >> 8 & 0xFF, numbers & 0xFF)
    symbols = np.stack(columns, axis=1).astype(np.uint8)
    # The k-th spelling is spelled[begins[k] : begins[k] + lengths[k]].
    spelled = np.concatenate([data, symbols.ravel()])
    begins = np.concatenate([offsets[order], len(data) + 4 * numbers])
    lengths = np.concatenate([np.diff(offsets)[order], np.full(n, 4)])
    tokens = np.concatenate([np.asarray(order, np.int32), numbers.astype(np.int32)])
    byte, depth, end, first = _flatten(spelled, begins, lengths)
    return byte, depth, end, first, tokens


@kernel
def _flatten(data, begins, lengths):
    room = lengths.sum() + 1
    byte = np.zeros(room, np.uint8)
    depth = np.zeros(room, np.int32)
    end = np.zeros(room, np.int32)
    first = np.zeros(room + 1, np.int32)
    path = np.zeros(room + 1, np.int32)  # nodes from the root to the last token
    n, length = 1, np.int64(0)
    previous = np.int64(-1)
    for k in range(len(begins)):
        a, size = begins[k], lengths[k]
        common = 0
        if previous >= 0:
            p = begins[previous]
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
        length, previous = size, np.int64(k)
    for d in range(length, -1, -1):
        end[path[d]] = n
    first[0] = 0
    if n > 1:
        first[1] = 0
    return byte[:n].copy(), depth[:n].copy(), end[:n].copy(), first[: n + 1].copy()
