"""Grammars on a device: one tensor of bounded size that holds the tables and rows of many.

Nothing that a kernel may be reading is moved: a table that outgrows its place gets a new one, and
whatever is written is written in the order of the stream in which the kernels run.
"""

from __future__ import annotations

import weakref
from bisect import insort
from dataclasses import dataclass, field

import numpy as np
import torch

from structgen.compiler import CompiledGrammar
from structgen.device.image import NAMES, Image, image
from structgen.errors import LimitExceeded, StructgenError
from structgen.kernels import layout
from structgen.masks.grammar import MaskGrammar
from structgen.masks.store import RowStore
from structgen.masks.tokens import TokenTables
from structgen.vocabulary import Vocabulary

ALIGNMENT = 32  # words: 128 bytes, a line of the cache


class Space:
    """Which parts of a row of words are free: first fit, neighbours joined when they are freed."""

    def __init__(self, size: int) -> None:
        self.size, self.used = size, 0
        self._free = [(0, size)]  # offset, length; ascending

    def take(self, length: int) -> int:
        """The offset of ``length`` free words, or -1."""
        length = -(-max(length, 1) // ALIGNMENT) * ALIGNMENT
        for i, (offset, room) in enumerate(self._free):
            if room >= length:
                if room == length:
                    del self._free[i]
                else:
                    self._free[i] = (offset + length, room - length)
                self.used += length
                return offset
        return -1

    def give(self, offset: int, length: int) -> None:
        """Free what :meth:`take` gave."""
        length = -(-max(length, 1) // ALIGNMENT) * ALIGNMENT
        self.used -= length
        insort(self._free, (offset, length))
        i = self._free.index((offset, length))
        if i + 1 < len(self._free) and offset + length == self._free[i + 1][0]:
            length += self._free.pop(i + 1)[1]
            self._free[i] = (offset, length)
        if i and sum(self._free[i - 1]) == offset:
            before = self._free[i - 1][0]
            del self._free[i]
            self._free[i - 1] = (before, offset + length - before)


@dataclass(slots=True)
class _Rows:
    """Where the rows of one store are: int32 [rows], -1 where they are not."""

    offsets: np.ndarray = field(default_factory=lambda: np.full(64, -1, np.int32))
    parts: list[tuple[int, int]] = field(default_factory=list)
    users: int = 0


@dataclass(slots=True)
class _Resident:
    """A grammar that is in the arena."""

    index: int
    masks: MaskGrammar
    grammar: CompiledGrammar
    stores: tuple[RowStore, ...]
    places: dict[str, tuple[int, int]] = field(default_factory=dict)  # offset and room, words
    sent: Image | None = None
    counts: tuple[int, int, int, int] = (-1, -1, -1, -1)
    users: int = 0


class Arena:
    """The tables and rows of the grammars of one vocabulary on one device.

    Attributes:
        words: int32 [N], all of it; its address never changes, so graphs may be captured.
        grammars: int32 [max_grammars, 16], where the tables of each grammar are.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        device: torch.device | str = "cuda",
        *,
        arena_bytes: int = 256 << 20,
        max_grammars: int = 1024,
    ) -> None:
        """
        Args:
            vocabulary: that of all grammars.
            device: where the tables are; the kernels run on the CPU under Triton's interpreter.
            arena_bytes: of all tables and rows together.
            max_grammars: that may be there at once.
        """
        self.vocabulary, self.device = vocabulary, torch.device(device)
        self.n_tokens = len(vocabulary)
        self.n_words = (self.n_tokens + 31) // 32
        self._space = Space(arena_bytes // 4 // ALIGNMENT * ALIGNMENT)
        self.words = torch.zeros(self._space.size, dtype=torch.int32, device=self.device)
        self.words8 = self.words.view(torch.uint8)
        self.grammars = torch.zeros(
            (max_grammars, layout.D_WIDTH.value), dtype=torch.int32, device=self.device
        )
        data, offsets = TokenTables.of(vocabulary).data, vocabulary.offsets
        self.token_bytes = torch.from_numpy(np.array(data, np.uint8)).to(self.device)
        self.token_offsets = torch.from_numpy(np.array(offsets, np.int32)).to(self.device)
        eos = np.array(vocabulary.eos_token_ids, np.int32)
        self.eos = torch.from_numpy(eos).to(self.device)
        self._indices = list(range(max_grammars - 1, -1, -1))
        self._residents: dict[int, _Resident] = {}  # by the id of the masks; least recent first
        self._rows: weakref.WeakKeyDictionary[RowStore, _Rows] = weakref.WeakKeyDictionary()
        self.uploaded = 0  # bytes, since the arena was made

    @property
    def nbytes(self) -> int:
        """Bytes of the arena that are in use."""
        return 4 * self._space.used

    def __contains__(self, grammar: CompiledGrammar) -> bool:
        return id(grammar._masks) in self._residents

    # -- grammars -------------------------------------------------------------------------------

    def check(self, grammar: CompiledGrammar) -> None:
        """Raise StructgenError where a grammar was compiled for another vocabulary."""
        if grammar.vocabulary is not self.vocabulary:
            raise StructgenError("the grammar was compiled for another vocabulary than the arena's")

    def hold(self, grammar: CompiledGrammar) -> _Resident:
        """Bring a grammar into the arena, and keep it there until :meth:`release`.

        Raises:
            StructgenError: it was compiled for another vocabulary.
            LimitExceeded: no room, though every grammar that nobody uses was let go of.
        """
        self.check(grammar)
        masks = grammar._masks
        resident = self._residents.pop(id(masks), None)
        if resident is None:
            if not self._indices:
                self._evict()
            stores = [masks.store] if masks.library is None else [masks.library.store, masks.store]
            resident = _Resident(self._indices.pop(), masks, grammar, tuple(stores))
            for store in stores:
                self._rows.setdefault(store, _Rows()).users += 1
        self._residents[id(masks)] = resident
        resident.users += 1
        try:
            self.update(resident)
        except BaseException:
            self.release(resident)
            raise
        return resident

    def release(self, resident: _Resident) -> None:
        """One user less; the grammar stays until its room is needed."""
        resident.users -= 1

    def update(self, resident: _Resident) -> None:
        """Bring what was added to a grammar since the last time."""
        masks = resident.masks
        with masks.tokens.lock:
            counts = (
                masks.automaton.version, masks.automaton.n_states,
                sum(store.n_entries for store in resident.stores), masks.automaton.n_edges,
            )  # fmt: skip
            if counts == resident.counts:
                return
            tables = image(masks, self._place_rows)
        moved: dict[str, tuple[int, int]] = {}
        try:
            for name in NAMES:
                size = getattr(tables, name).size
                if name not in resident.places or size > resident.places[name][1]:
                    room = size + size // 2
                    moved[name] = (self._take(room), room)
        except LimitExceeded:
            for place in moved.values():
                self._space.give(*place)
            raise
        left = [resident.places[name] for name in moved if name in resident.places]
        resident.places |= moved
        directory = np.zeros(layout.D_WIDTH.value, np.int32)
        for column, name in enumerate(NAMES):
            table: np.ndarray = getattr(tables, name)
            offset, first = resident.places[name][0], 0
            if resident.sent is not None and name not in moved:
                sent: np.ndarray = getattr(resident.sent, name)
                n = min(len(sent), len(table))
                differ = np.flatnonzero((sent[:n] != table[:n]).any(1))
                first = int(differ[0]) if len(differ) else n
            self._write(offset + first * table.shape[1], table[first:].reshape(-1))
            directory[column] = offset
        directory[layout.D_PAIR_MASK.value] = len(tables.pairs) - 1
        directory[layout.D_SYMBOLS.value] = masks.automaton.symbols
        resident.sent, resident.counts = tables, counts
        self._copy(self.grammars[resident.index], directory)
        for place in left:  # only what the kernels find in the directory may be in use
            self._space.give(*place)

    def _place_rows(self, store: RowStore, rows: np.ndarray) -> np.ndarray:
        """The offsets of rows of a store, those that are new taken to the arena first."""
        known = self._rows[store]
        if store.n_rows > len(known.offsets):
            grown = np.full(2 * store.n_rows, -1, np.int32)
            grown[: len(known.offsets)] = known.offsets
            known.offsets = grown
        missing = np.unique(rows[known.offsets[rows] < 0])
        contents = []
        for row in missing.tolist():
            kind, at, length = store.rows[row].tolist()
            found = store.bitmaps[at] if kind else store.lists[at : at + length]
            contents.append(np.pad(found, (0, -len(found) % ALIGNMENT)))
        if contents:
            # One part for all that came together.
            block = np.concatenate(contents)
            offset = self._take(len(block))
            ends = np.cumsum([len(c) for c in contents])
            known.offsets[missing] = offset + np.concatenate([[0], ends[:-1]])
            known.parts.append((offset, len(block)))
            self._write(offset, block)
        return known.offsets[rows]

    # -- memory ---------------------------------------------------------------------------------

    def take(self, length: int) -> int:
        """The offset of ``length`` words for something else than a grammar."""
        return self._take(length)

    def give(self, offset: int, length: int) -> None:
        """Free what :meth:`take` gave."""
        self._space.give(offset, length)

    def _take(self, length: int) -> int:
        while (offset := self._space.take(length)) < 0:
            self._evict()
        return offset

    def _evict(self) -> None:
        """Let go of the grammar that was used least recently."""
        for resident in self._residents.values():
            if resident.users == 0:
                break
        else:
            raise LimitExceeded(
                limit="arena_bytes",
                value=4 * self._space.size,
                where=f"the grammars of one batch ({len(self._residents)} in use)",
            )
        del self._residents[id(resident.masks)]
        for offset, room in resident.places.values():
            self._space.give(offset, room)
        self._indices.append(resident.index)
        for store in resident.stores:
            rows = self._rows[store]
            rows.users -= 1
            if rows.users == 0:
                for offset, room in rows.parts:
                    self._space.give(offset, room)
                del self._rows[store]

    def _write(self, offset: int, content: np.ndarray) -> None:
        if len(content):
            self._copy(self.words[offset : offset + len(content)], content)

    def _copy(self, target: torch.Tensor, content: np.ndarray) -> None:
        """Copy to the device, in the order of its stream, without waiting for it."""
        source = torch.from_numpy(np.ascontiguousarray(content))
        if target.is_cuda:
            # Pinned: the copy of other memory would wait for all that runs before it.
            source = torch.empty_like(source, pin_memory=True).copy_(source)
        target.copy_(source, non_blocking=True)
        self.uploaded += content.nbytes
