"""A vocabulary prepared for walks: its trie, and scratch space that walks take turns to use."""

from __future__ import annotations

import threading
import weakref
from typing import NamedTuple

import numpy as np

from structgen.automaton.step import NO_LIMIT
from structgen.automaton.tables import Automaton
from structgen.masks.counted import selected
from structgen.masks.rows import to_bitmap
from structgen.masks.trie import build_trie
from structgen.masks.walk import NO_ROOM, walk, walk_template
from structgen.vocabulary import Vocabulary
from structgen.vocabulary.spelling import NEVER, SYMBOL

_TABLES: weakref.WeakKeyDictionary[Vocabulary, TokenTables] = weakref.WeakKeyDictionary()
_TABLES_LOCK = threading.Lock()


NO_RANGES = np.zeros((0, 2), np.int32)


class Template(NamedTuple):
    """What the walk from one state found, indexed by trie node; see ``walk_template``.

    ``token_needs`` and ``exit_needs`` say what each id and exit adds to the counter.
    """

    state: int
    end: int
    at: np.ndarray
    rank: np.ndarray
    exit_rank: np.ndarray
    exit_nodes: np.ndarray
    ids: np.ndarray
    bitmap: np.ndarray
    token_needs: np.ndarray
    exit_needs: np.ndarray


class Walked(NamedTuple):
    """What a walk found, in scratch space: copy what you keep."""

    ids: np.ndarray
    ranges: np.ndarray
    exit_nodes: np.ndarray
    exit_classes: np.ndarray
    low: int
    high: int


class TokenTables:
    """The trie of a vocabulary and the buffers of one walk at a time."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.size = len(vocabulary)
        self.words = (self.size + 31) // 32
        self.trie = build_trie(vocabulary)
        # The first byte of a symbol's spelling in the trie must not be in any token's text.
        self.data = np.where(vocabulary.data == SYMBOL, NEVER, vocabulary.data).astype(np.uint8)
        self.offsets = vocabulary.offsets
        self.eos = np.asarray(vocabulary.eos_token_ids, np.int32)
        self.lock = threading.RLock()
        depth = self.trie.max_depth + 2
        self._path = np.zeros((depth, 5), np.int64)
        self._frames = np.zeros((depth, 9), np.int64)
        self._pool = np.zeros((2 * depth, 4), np.int32)
        self._ranges = np.zeros((len(self.trie.tokens) + 1, 2), np.int32)
        self._track = np.zeros(2, np.int64)
        self._ids = np.zeros(len(self.trie.tokens) + 1, np.int32)
        self._nodes = np.zeros(len(self.trie.byte), np.int32)
        self._classes = np.zeros(len(self.trie.byte), np.int32)
        self._unbuilt = np.zeros(4096, np.int64)
        self._pending = np.zeros(4096, np.int32)
        self._no_pending = np.zeros(0, np.int32)
        self._counts = np.zeros(3, np.int64)
        self._mark = np.zeros(0, np.int32)
        self._no_mark = np.zeros(0, np.int32)
        self._stamp = 0
        self._separators: dict[tuple[bool, bool, bool], np.ndarray] = {}
        self._visible: np.ndarray | None = None

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
        usable[SYMBOL] = 1  # in no text, so never missing
        return usable

    def bytes_of(self, token: int) -> bytes:
        return self.data[self.offsets[token] : self.offsets[token + 1]].tobytes()

    def visible(self) -> np.ndarray:
        """int32 [N + 1], the trie nodes before each one whose byte is no whitespace."""
        if self._visible is None:
            counts = np.cumsum(~np.isin(self.trie.byte, list(b" \t\n\r")), dtype=np.int32)
            self._visible = np.concatenate([np.zeros(1, np.int32), counts])
        return self._visible

    def separators(self, every: bool, in_string: bool, in_array: bool) -> np.ndarray:
        """Tokens that may end an item of an array and go on: those with a comma, int32.

        Unless ``every``, the comma must have something behind it; ``in_string``, there must be a
        quote, and unless an array is open already (``in_array``) a bracket before the comma.
        """
        key = (every, in_string, in_array)
        found = self._separators.get(key)
        if found is None:
            commas = np.flatnonzero(self.data[: self.offsets[-1]] == ord(","))
            chosen = []
            for token in np.unique(np.searchsorted(self.offsets, commas, "right") - 1).tolist():
                text = self.bytes_of(token)
                before, _, behind = text.partition(b",")
                enough = every or behind.strip(b" \t\n\r,")
                quoted = not in_string or b'"' in text
                if enough and quoted and (in_array or not in_string or b"[" in before):
                    chosen.append(token)
            found = self._separators[key] = np.array(chosen, np.int32)
        return found

    def walk(
        self,
        automaton: Automaton,
        template: Template,
        q: int,
        v: int,
        return_point: int,
        entries: tuple[np.ndarray, np.ndarray],
    ) -> Walked:
        """:func:`structgen.masks.walk.walk`, building the states that it runs into."""
        trie, t = self.trie, template
        mark = self._no_mark
        pending = self._no_pending
        forks = False
        self._counts[:] = 0
        self._track[:] = 0, NO_LIMIT
        while True:
            if automaton.forks and not forks:
                # Alternatives came up: what was found so far is found again, once.
                forks, mark, pending = True, self._marks(), self._no_pending
                self._counts[:] = 0
            n_unbuilt = walk(
                trie.byte, trie.depth, trie.end, trie.first, trie.tokens,
                automaton.states, automaton.maps, automaton.edges,
                automaton.returns, automaton.gotos, automaton.pushes,
                t.state, t.end, t.at, t.rank, t.exit_rank, t.exit_nodes,
                entries[0], entries[1], return_point, q, v,
                self._path, self._frames, self._pool, self._track, mark, self._stamp,
                self._counts, pending,
                self._ids, self._ranges, self._nodes, self._classes, self._unbuilt, self._pending,
            )  # fmt: skip
            if n_unbuilt == NO_ROOM:
                self._enlarge()
                pending = self._no_pending
                self._counts[:] = 0
                if forks:
                    mark = self._marks()
            elif n_unbuilt == 0:
                break
            else:
                pending = np.unique(self._pending[:n_unbuilt])
                for state in np.unique(self._unbuilt[:n_unbuilt]).tolist():
                    automaton.build(state)
        n_ids, n_ranges, n_exits = self._counts.tolist()
        low, high = self._track.tolist()
        nodes, classes = self._nodes[:n_exits], self._classes[:n_exits]
        if n_exits > 1:
            # In the order of the trie, whatever had to be built on the way; alternatives may leave
            # the frame alike.
            both = nodes.astype(np.int64) << 32 | classes
            both = np.unique(both)
            nodes, classes = (both >> 32).astype(np.int32), (both & 0xFFFFFFFF).astype(np.int32)
        return Walked(self._ids[:n_ids], self._ranges[:n_ranges], nodes, classes, low, high)

    def _marks(self) -> np.ndarray:
        """Which ids a walk has noted: those that hold the stamp."""
        if not len(self._mark):
            self._mark = np.zeros(len(self.trie.tokens) + 1, np.int32)
        self._stamp += 1
        return self._mark

    def _enlarge(self) -> None:
        """Twice the scratch space of a walk."""
        self._frames = np.zeros((2 * len(self._frames), 9), np.int64)
        self._pool = np.zeros((2 * len(self._pool), 4), np.int32)
        self._nodes = np.zeros(2 * len(self._nodes), np.int32)
        self._classes = np.zeros(2 * len(self._classes), np.int32)
        self._ranges = np.zeros((2 * len(self._ranges), 2), np.int32)
        self._unbuilt = np.zeros(2 * len(self._unbuilt), np.int64)
        self._pending = np.zeros(2 * len(self._pending), np.int32)

    def template(self, automaton: Automaton, q: int, end: int) -> Template:
        """The walk of a whole frame's inside, for others to take ranges from.

        ``q`` is a state of ``automaton`` whose frame has one final class, 0, at its state ``end``.
        """
        trie, n = self.trie, len(self.trie.byte)
        at = np.zeros(n, np.uint8)
        rank, exit_rank = np.zeros(n + 1, np.int32), np.zeros(n + 1, np.int32)
        token_needs = np.zeros(len(self._ids), np.int32)
        n_ids, n_exits = walk_template(
            trie.byte, trie.depth, trie.end, trie.first, trie.tokens,
            automaton.states, automaton.maps, automaton.edges, automaton.returns, automaton.gotos,
            automaton.pushes, q, end, self._path, self._pool, self._track, at, rank, exit_rank,
            self._ids, self._nodes, token_needs, self._classes,
        )  # fmt: skip
        ids = self._ids[:n_ids].copy()
        bitmap = np.zeros(self.words, np.int32)
        to_bitmap(ids, NO_RANGES, ids[:0], bitmap, bitmap)
        return Template(
            q,
            end,
            at,
            rank,
            exit_rank,
            self._nodes[:n_exits].copy(),
            ids,
            bitmap,
            token_needs[:n_ids].copy(),
            self._classes[:n_exits].copy(),
        )

    def select(self, template: Template, missing: int, left: int) -> Walked:
        """What a walk would find where the string's length is bounded; see ``counted``."""
        kept = selected(template.exit_needs, missing, left, self._nodes)
        nodes = template.exit_nodes[kept]
        kept = selected(template.token_needs, missing, left, self._ids)
        classes = self._classes[: len(nodes)]
        classes[:] = 0
        return Walked(template.ids[kept], NO_RANGES, nodes, classes, 0, 0)

    def no_template(self) -> Template:
        """A template that no walk meets."""
        empty = np.zeros(0, np.int32)
        at, bitmap = np.zeros(0, np.uint8), np.zeros(self.words, np.int32)
        return Template(-1, -1, at, empty, empty, empty, empty, bitmap, empty, empty)

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
