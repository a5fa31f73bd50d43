"""Grammars on a device: one tensor of bounded size that holds the tables and rows of many.

Nothing that a kernel may be reading is moved: a table that outgrows its place gets a new one, and
whatever is written is written in the order of the stream in which the kernels run.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass

import numpy as np
import torch

from structgen.compiler import CompiledGrammar
from structgen.device.image import Image
from structgen.device.rows import StoredRows
from structgen.device.space import ALIGNMENT, Space
from structgen.device.staging import Staging
from structgen.errors import LimitExceeded, StructgenError
from structgen.kernels import layout
from structgen.masks.grammar import MaskGrammar
from structgen.masks.store import RowStore
from structgen.masks.tokens import TokenTables
from structgen.vocabulary import Vocabulary

__all__ = ["Arena", "Space"]


@dataclass(slots=True)
class _Resident:
    """A grammar that is in the arena."""

    index: int
    masks: MaskGrammar
    grammar: CompiledGrammar
    stores: tuple[RowStore, ...]  # the library's first
    image: Image
    directory: tuple[int, ...] = ()  # as on the device
    counts: tuple[int, ...] = ()
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
        self._rows: weakref.WeakKeyDictionary[RowStore, StoredRows] = weakref.WeakKeyDictionary()
        self._staging = Staging(self.words)

    @property
    def nbytes(self) -> int:
        """Bytes of the arena that are in use."""
        return 4 * self._space.used

    @property
    def uploaded(self) -> int:
        """Bytes that were written to the device since the arena was made."""
        return self._staging.sent

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
            resident = _Resident(self._indices.pop(), masks, grammar, tuple(stores), Image(stores))
            for store in stores:
                self._rows.setdefault(store, StoredRows(store)).users += 1
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
        masks, image, stores = resident.masks, resident.image, resident.stores
        with masks.tokens.lock:
            a = masks.automaton
            counts = a.version, a.n_states, a.n_edges, *(store.n_entries for store in stores)
            if counts == resident.counts:
                return
            stored = [self._rows[store] for store in stores]
            try:
                image.reserve(a, self._take, self._space.give)
                for store, rows in zip(stores, stored, strict=True):
                    rows.follow(store, stored[0], self._take, self._staging)
                image.follow(a, stored, self._staging)
            finally:  # also without room: what was noted as sent is sent
                self._staging.send()
        resident.counts = counts
        directory = image.directory(masks.automaton)
        if directory != resident.directory:
            self._copy(self.grammars[resident.index], np.array(directory, np.int32))
            resident.directory = directory
        image.leave(self._space.give)

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
        for offset, room in resident.image.places():
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
        self._copy(self.words[offset : offset + len(content)], content)

    def _copy(self, target: torch.Tensor, content: np.ndarray) -> None:
        """Write int32 to the device, in the order of its stream, without waiting for it."""
        self._staging.copy(target, content)
