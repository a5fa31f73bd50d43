"""A vocabulary prepared for walks: its trie, and scratch space that walks take turns to use."""

from __future__ import annotations

import hashlib
import threading
import weakref
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from structgen import disk_cache
from structgen.automaton.tables import TABLES, Automaton
from structgen.forking import hold_while_forking
from structgen.masks import blocks as k
from structgen.masks import walk as w
from structgen.masks.bits import to_bitmap
from structgen.masks.counted import selected
from structgen.masks.loops import subtree_bytes
from structgen.masks.trie import build_trie
from structgen.vocabulary import Vocabulary
from structgen.vocabulary.spelling import NEVER, SYMBOL

# By the vocabulary's fingerprint, as long as a compiler or a grammar uses them.
_TABLES: weakref.WeakValueDictionary[str, TokenTables] = weakref.WeakValueDictionary()
_TABLES_LOCK = threading.RLock()


def _locks() -> Iterator[threading.RLock]:
    yield _TABLES_LOCK
    for tables in list(_TABLES.values()):
        yield tables.lock


hold_while_forking(_locks)


class Template(NamedTuple):
    """What the walk from one state found, indexed by trie node; see ``walk_template``.

    ``token_needs`` and ``exit_needs`` say what each id and exit adds to the counter.
    """

    end: int
    at: np.ndarray
    rank: np.ndarray
    exit_rank: np.ndarray
    exit_nodes: np.ndarray
    ids: np.ndarray
    bitmap: np.ndarray
    token_needs: np.ndarray
    exit_needs: np.ndarray


class TokenTables:
    """The trie of a vocabulary and the buffers of one walk at a time."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.size = len(vocabulary)
        self._fingerprint = vocabulary.fingerprint
        self.words = (self.size + 31) // 32
        self.trie = build_trie(vocabulary)
        # The first byte of a symbol's spelling in the trie must not be in any token's text.
        self.data = np.where(vocabulary.data == SYMBOL, NEVER, vocabulary.data).astype(np.uint8)
        self.offsets = vocabulary.offsets
        self.eos = np.asarray(vocabulary.eos_token_ids, np.int32)
        self.lock = threading.RLock()
        depth = self.trie.max_depth + 2
        n_nodes, n_tokens = len(self.trie.byte), len(self.trie.tokens)
        self._below = subtree_bytes(self.trie.byte, self.trie.end)
        self._path = np.zeros((depth, w.D_LENGTH), np.int64)
        self._frames = np.zeros((depth, 9), np.int64)
        self._pool = np.zeros((2 * depth, 4), np.int32)
        self._spans = np.zeros((n_tokens + 1, 2), np.int32)
        self._ranges = np.zeros((n_tokens + 1, 2), np.int32)
        self._nodes = np.zeros(n_nodes, np.int32)
        self._classes = np.zeros(n_nodes, np.int32)
        self._unbuilt = np.zeros(4096, np.int64)
        # Where walks go on, and as many places for where they must go on next.
        self._pending = np.zeros((2, 4096), np.int32)
        self._track, self._counts = np.zeros(2, np.int64), np.zeros(4, np.int64)
        self._bitmap = np.zeros(self.words, np.int32)
        self._block = np.zeros(w.T_LENGTH, np.int64)
        self.address = int(self._block.ctypes.data)
        self._write_addresses()
        self._no_template: Template | None = None
        # What of a vocabulary is in every grammar's block.
        self.vocabulary_block = {
            k.G_DATA: int(self.data.ctypes.data), k.G_N_DATA: len(self.data),
            k.G_OFFSETS: int(self.offsets.ctypes.data), k.G_SIZE: self.size,
            k.G_EOS: int(self.eos.ctypes.data), k.G_N_EOS: len(self.eos), k.G_WORDS: self.words,
        }  # fmt: skip

    @classmethod
    def of(cls, vocabulary: Vocabulary) -> TokenTables:
        """The tables of ``vocabulary``, the same ones for all who use them at the same time."""
        with _TABLES_LOCK:
            tables = _TABLES.get(vocabulary.fingerprint)
            if tables is None:
                tables = _TABLES[vocabulary.fingerprint] = cls(vocabulary)
            return tables

    def usable_bytes(self) -> np.ndarray:
        """uint8 [256], 1 for each byte that some token spells alone."""
        usable = np.zeros(256, np.uint8)
        for i in np.flatnonzero(self.trie.depth == 1):
            if self.trie.first[i] < self.trie.first[i + 1]:
                usable[self.trie.byte[i]] = 1
        usable[SYMBOL] = 1  # in no text, so never missing
        return usable

    def bytes_of(self, token: int) -> bytes:
        return self.data[self.offsets[token] : self.offsets[token + 1]].tobytes()

    # -- walks ----------------------------------------------------------------------------------

    def unbuilt(self, n: int) -> list[int]:
        """The ``n`` states that the last walk ran into."""
        found: list[int] = self._unbuilt[:n].tolist()
        return found

    def n_pending(self) -> int:
        """Places where the last walk goes on once they are built."""
        return int(self._counts[3])

    def n_exits(self) -> int:
        """Nodes in the exit set that the last walk found."""
        return int(self._counts[2])

    def enlarge(self) -> None:
        """Twice the scratch space of a walk."""
        for name in ("frames", "pool", "nodes", "classes", "spans", "ranges", "unbuilt"):
            old: np.ndarray = getattr(self, "_" + name)
            setattr(self, "_" + name, np.zeros((2 * len(old), *old.shape[1:]), old.dtype))
        self._pending = np.zeros((2, len(self._unbuilt)), np.int32)
        self._write_addresses()

    def _write_addresses(self) -> None:
        b, trie = self._block, self.trie
        for at, array in (
            (w.T_BYTE, trie.byte), (w.T_DEPTH, trie.depth), (w.T_END, trie.end),
            (w.T_FIRST, trie.first), (w.T_TOKENS, trie.tokens), (w.T_BELOW, self._below),
            (w.T_PATH, self._path), (w.T_FRAMES, self._frames), (w.T_POOL, self._pool),
            (w.T_SPANS, self._spans), (w.T_RANGES, self._ranges), (w.T_NODES, self._nodes),
            (w.T_CLASSES, self._classes), (w.T_UNBUILT, self._unbuilt),
            (w.T_PENDING, self._pending), (w.T_TRACK, self._track), (w.T_COUNTS, self._counts),
            (w.T_BITMAP, self._bitmap),
        ):  # fmt: skip
            b[at] = array.ctypes.data
        for at, n in (
            (w.T_N_NODES, len(trie.byte)), (w.T_N_TOKENS, len(trie.tokens)),
            (w.T_WORDS, self.words), (w.T_N_PATH, len(self._path)),
            (w.T_N_FRAMES, len(self._frames)), (w.T_N_POOL, len(self._pool)),
            (w.T_N_SPANS, len(self._spans)), (w.T_N_RANGES, len(self._ranges)),
            (w.T_N_EXITS, len(self._nodes)), (w.T_N_UNBUILT, len(self._unbuilt)),
        ):  # fmt: skip
            b[at] = n

    def template(self, automaton: Automaton, q: int, end: int) -> Template:
        """The walk of a whole frame's inside, for others to take ranges from.

        ``q`` is a state of ``automaton`` whose frame has one final class, 0, at its state ``end``.
        """
        key = hashlib.sha256(f"{self._fingerprint} {q} {end}".encode())
        for name in TABLES:
            table = getattr(automaton, name)[: getattr(automaton, "n_" + name)]
            key.update(f" {name} {len(table)} ".encode() + table.tobytes())
        arrays = disk_cache.load("template", key.digest(), lambda: self._walk(automaton, q, end))
        return Template(end, *arrays)

    def _walk(self, automaton: Automaton, q: int, end: int) -> tuple[np.ndarray, ...]:
        """The arrays of a template."""
        trie, n = self.trie, len(self.trie.byte)
        at = np.zeros(n, np.int32)
        rank, exit_rank = np.zeros(n + 1, np.int32), np.zeros(n + 1, np.int32)
        found = np.zeros(len(trie.tokens), np.int32)
        token_needs = np.zeros(len(trie.tokens), np.int32)
        n_ids, n_exits = w.walk_template(
            trie.byte, trie.depth, trie.end, trie.first, trie.tokens,
            automaton.states, automaton.maps, automaton.edges, automaton.returns, automaton.gotos,
            automaton.pushes, q, end, self._path, self._pool, self._track, at, rank, exit_rank,
            found, self._nodes, token_needs, self._classes,
        )  # fmt: skip
        ids = found[:n_ids].copy()
        bitmap = np.zeros(self.words, np.int32)
        to_bitmap(ids, bitmap)
        exit_nodes, exit_needs = self._nodes[:n_exits].copy(), self._classes[:n_exits].copy()
        return at, rank, exit_rank, exit_nodes, ids, bitmap, token_needs[:n_ids].copy(), exit_needs

    def select(
        self, template: Template, missing: int, left: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Ids, exit nodes and classes of a walk where the string's length is bounded (``counted``).

        int32 each.
        """
        kept = selected(template.exit_needs, missing, left)
        nodes = template.exit_nodes[kept]
        ids = template.ids[selected(template.token_needs, missing, left)]
        return ids, nodes, np.zeros(len(nodes), np.int32)

    def no_template(self) -> Template:
        """A template that no walk meets."""
        if self._no_template is None:
            empty = np.zeros(0, np.int32)
            at = np.full(len(self.trie.byte), -1, np.int32)
            bitmap = np.zeros(self.words, np.int32)
            self._no_template = Template(-1, at, empty, empty, empty, empty, bitmap, empty, empty)
        return self._no_template

    def split(self, text: bytes) -> list[int]:
        """Greedy longest-match tokens of ``text``, without those that a longer token may replace.

        A last token whose bytes, with what would follow, begin a longer token is left out.
        """
        trie = self.trie
        tokens: list[int] = []
        at = 0
        while at < len(text):
            node, best, length, depth = 0, -1, 0, 0
            open_ended = True
            while at + depth < len(text):
                child = self._child(node, text[at + depth])
                if child < 0:
                    open_ended = False
                    break
                node, depth = child, depth + 1
                if trie.first[node] < trie.first[node + 1]:
                    best, length = int(trie.tokens[trie.first[node]]), depth
            if best < 0 or (open_ended and trie.end[node] > node + 1):
                break
            tokens.append(best)
            at += length
        return tokens

    def _child(self, node: int, byte: int) -> int:
        """The child of a trie node by a byte, or -1."""
        trie = self.trie
        i, stop = node + 1, int(trie.end[node])
        while i < stop:
            if trie.byte[i] == byte:
                return i
            i = int(trie.end[i])
        return -1
