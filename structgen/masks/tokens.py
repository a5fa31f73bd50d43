"""A vocabulary prepared for walks: its trie, and scratch space that walks take turns to use."""

from __future__ import annotations

import threading
import weakref

import numpy as np

from structgen.automaton.tables import Automaton
from structgen.masks.trie import build_trie
from structgen.masks.walk import walk
from structgen.vocabulary import Vocabulary

_TABLES: weakref.WeakKeyDictionary[Vocabulary, TokenTables] = weakref.WeakKeyDictionary()
_TABLES_LOCK = threading.Lock()


class TokenTables:
    """The trie of a vocabulary and the buffers of one walk at a time."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.size = len(vocabulary)
        self.words = (self.size + 31) // 32
        self.trie = build_trie(vocabulary)
        self.data, self.offsets = vocabulary.data, vocabulary.offsets
        self.eos = np.asarray(vocabulary.eos_token_ids, np.int32)
        self.lock = threading.RLock()
        depth = self.trie.max_depth + 2
        self._path = np.zeros((depth, 5), np.int64)
        self._pool = np.zeros((depth, 4), np.int32)
        self._track = np.zeros(2, np.int64)
        self._ids = np.zeros(len(self.trie.tokens) + 1, np.int32)
        self._nodes = np.zeros(len(self.trie.byte), np.int32)
        self._classes = np.zeros(len(self.trie.byte), np.int32)
        self._unbuilt = np.zeros(64, np.int32)

    @classmethod
    def of(cls, vocabulary: Vocabulary) -> TokenTables:
        """The tables of ``vocabulary``, built once in a process."""
        with _TABLES_LOCK:
            tables = _TABLES.get(vocabulary)
            if tables is None:
                tables = _TABLES[vocabulary] = cls(vocabulary)
            return tables

    def usable_bytes(self) -> np.ndarray:
        """uint8 [256], 1 for each byte that some token spells alone."""
        usable = np.zeros(256, np.uint8)
        for i in np.flatnonzero(self.trie.depth == 1):
            if self.trie.first[i] < self.trie.first[i + 1]:
                usable[self.trie.byte[i]] = 1
        return usable

    def walk(
        self,
        automaton: Automaton,
        q: int,
        v: int,
        return_point: int,
        entries: tuple[np.ndarray, np.ndarray],
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, int, int]:
        """:func:`structgen.masks.walk.walk`, building the states that it runs into.

        Returns token ids, exit nodes and exit classes (views of scratch space: copy what you keep)
        and the lowest and highest counter on which they hold.
        """
        trie = self.trie
        while True:
            n_ids, n_exits, n_unbuilt = walk(
                trie.byte, trie.depth, trie.end, trie.first, trie.tokens,
                automaton.states, automaton.maps, automaton.edges,
                automaton.returns, automaton.gotos,
                entries[0], entries[1], return_point, q, v,
                self._path, self._pool, self._track,
                self._ids, self._nodes, self._classes, self._unbuilt,
            )  # fmt: skip
            if n_unbuilt == 0:
                low, high = self._track.tolist()
                return (
                    self._ids[:n_ids], self._nodes[:n_exits], self._classes[:n_exits], low, high,
                )  # fmt: skip
            for state in set(self._unbuilt[: min(n_unbuilt, len(self._unbuilt))].tolist()):
                automaton.build(state)

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
