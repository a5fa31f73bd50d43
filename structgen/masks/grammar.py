"""A grammar as the kernels see it: an automaton, its row store, a block of their addresses."""

from __future__ import annotations

import weakref
from typing import NamedTuple

import numpy as np

from structgen.automaton.step import LO
from structgen.automaton.tables import Automaton
from structgen.budget import Budget, spending
from structgen.collector import paused
from structgen.limits import Limits
from structgen.masks import blocks as k
from structgen.masks import decode
from structgen.masks.rows import KEPT, NO_STORE, calls
from structgen.masks.store import RowStore
from structgen.masks.tokens import TokenTables
from structgen.masks.walk import NO_ROOM

# Where the block keeps address and length of each table.
_TABLES = (
    (k.G_STATES, k.G_N_STATES), (k.G_MAPS, k.G_N_MAPS), (k.G_EDGES, k.G_N_EDGES),
    (k.G_RETURNS, k.G_N_RETURNS), (k.G_GOTOS, k.G_N_GOTOS), (k.G_PUSHES, k.G_N_PUSHES),
    (k.G_HEADS, k.G_N_HEADS), (k.G_KEYS, k.G_N_KEYS), (k.G_VALUES, k.G_N_KEYS),
    (k.G_ENTRIES, k.G_N_ENTRIES), (k.G_ROWS, k.G_N_ROWS), (k.G_LISTS, k.G_N_LISTS),
    (k.G_BITMAPS, k.G_N_BITMAPS),
)  # fmt: skip


class MaskGrammar:
    """Tables, rows and their addresses. The library's block is its own library.

    Methods that compute run under the vocabulary's lock. Kernels that take addresses hold the
    interpreter's lock, and the block changes in one step, so they see tables of one moment; walks
    release it, but have the tables as arguments, which keeps them alive and as they are.
    """

    def __init__(
        self, tokens: TokenTables, automaton: Automaton, library: MaskGrammar | None = None
    ) -> None:
        self.tokens, self.automaton, self.library = tokens, automaton, library
        self._limits = Limits()
        shared = None if library is None else library.store
        self.store: RowStore = RowStore(tokens, automaton, shared)
        self._out = np.zeros(4, np.int64)  # what was found last: row, exit set, counters
        self._found = int(self._out.ctypes.data)
        self._dirty = False
        self.block = np.zeros(k.G_LENGTH, np.int64)
        self.address = int(self.block.ctypes.data)
        vocabulary = tokens.vocabulary_block
        self.block[list(vocabulary)] = list(vocabulary.values())
        self.block[k.G_LIBRARY] = self.address
        if library is not None:
            self.block[k.G_LIBRARY] = library.address
            self.block[k.G_LIBRARY_STATES] = library.automaton.n_states
            self.block[k.G_LIBRARY_RETURNS] = library.automaton.n_returns
        self._kept: list[tuple[np.ndarray, ...]] = []
        self._snapshot: Snapshot | None = None
        # Weakly: a grammar that nobody holds is freed at once, by counting references.
        note, refresh = weakref.WeakMethod(self._note_growth), weakref.WeakMethod(self.refresh)
        self.store.on_grow = lambda: note()()  # type: ignore[method-assign, misc]
        # At once: a builder links what it adds, and other threads' kernels follow the links.
        automaton.on_grow = lambda: refresh()()  # type: ignore[misc]
        self.refresh()

    def __del__(self) -> None:
        self.automaton.close()

    @property
    def nbytes(self) -> int:
        return self.automaton.nbytes + self.store.nbytes

    def _note_growth(self) -> None:
        """Tables were replaced; the old ones stay alive and valid until the block is refreshed."""
        self._dirty = True

    def refresh(self) -> None:
        """Write the addresses of the tables, some of which were replaced, into the block."""
        a, s = self.automaton, self.store
        b = self.block.copy()
        tables: tuple[np.ndarray, ...] = (
            a.states, a.maps, a.edges, a.returns, a.gotos, a.pushes, s.heads, s.keys, s.values,
            s.entries, s.rows, s.lists, s.bitmaps,
        )  # fmt: skip
        before: tuple[np.ndarray | None, ...] = (None,) * len(tables)
        if self._kept:
            before = self._kept[-1]
        # What was there before stays alive until the next change.
        self._kept = [*self._kept[-1:], tables]
        for (address, length), array, old in zip(_TABLES, tables, before, strict=True):
            if array is not old:
                b[address], b[length] = array.ctypes.data, len(array)
        b[k.G_SYMBOLS], b[k.G_STACKS] = a.symbols, self._limits.stacks
        if self.library is None:
            b[k.G_LIBRARY_STATES], b[k.G_LIBRARY_RETURNS] = a.n_states, a.n_returns
        self._dirty = False
        self.block[:] = b  # at once: another thread's kernel must not see half of a change

    @property
    def limits(self) -> Limits:
        """Bounds on what a matcher may add, and how many stacks it may follow."""
        return self._limits

    @limits.setter
    def limits(self, limits: Limits) -> None:
        self._limits = limits
        self.refresh()

    def budget(self) -> Budget:
        """What one call of a matcher may spend on states and rows that it needs first."""
        return Budget(self.limits.step_seconds, self.limits.memory_bytes, name="step_seconds")

    def build(self, q: int, budget: Budget) -> None:
        """Build state ``q``, or a goto, that a kernel asked for."""
        with self.tokens.lock:
            self._build([q], budget)

    def fill(self, sequence: np.ndarray, arguments: tuple[int, int, int], budget: Budget) -> int:
        """Fill a mask as the kernel does, and compute the rows that it asks for.

        ``arguments``: what the kernel takes after the grammar, among them the address of
        ``sequence``.
        """
        fill = decode.calls().fill
        with self.tokens.lock:
            answer = fill(self.address, *arguments)
            while answer in (k.NEED_STATE, k.NEED_LOCAL, k.NEED_RESUME):
                out0, out1, out2 = sequence[k.OUT0 : k.OUT2 + 1].tolist()
                if answer == k.NEED_STATE:
                    self._build([out0], budget)
                elif answer == k.NEED_LOCAL:
                    self.owner_of_state(out0)._add_local(out0, out1, budget)
                else:
                    self.owner_of_pair(out0, out1)._add_resume(out0, out1, out2, budget)
                answer = fill(self.address, *arguments)
        return answer

    def _publish(self) -> None:
        """Tell the kernels of all threads where the tables are, before anything new is linked."""
        for masks in (self.library, self):
            if masks is not None and masks._dirty:
                masks.refresh()

    def _build(self, states: list[int], budget: Budget) -> None:
        with spending(budget), paused():
            for q in states:
                self.automaton.build(q)
        self._publish()

    def _add_local(self, q: int, v: int, budget: Budget) -> None:
        """Add the entry of state ``q`` with counter ``v``."""
        counted = self.automaton.counted.get(q)
        if counted is None or self.library is None:
            self._walk(q, v, -1, 0, budget)
        else:
            self.store.follow_states()
            self.store.reserve(0)
            self._out[:] = self.library.store.counted_entry(v, *counted)
        self._publish()
        calls().link(self.store.address, q, 0, -1, self._found)

    def _add_resume(self, exit_: int, return_point: int, v: int, budget: Budget) -> None:
        """Add the entry of exit set ``exit_`` at ``return_point`` with its saved counter ``v``."""
        self._walk(0, v, return_point, exit_, budget)
        self._publish()
        calls().link(self.store.address, 0, exit_, return_point, self._found)

    def _walk(self, q: int, v: int, return_point: int, exit_: int, budget: Budget) -> None:
        """Note row, exit set and counters in ``_out``; states that are run into are built."""
        store, tokens = self.store, self.tokens
        shared = store.shared or store
        compute = calls().compute
        pending = 0
        while True:
            if self._dirty:
                self.refresh()
            store.follow_states()
            answer = compute(
                self.address, store.address, shared.address, tokens.address,
                shared.template_address, q, v, return_point, exit_, pending, self._found,
            )  # fmt: skip
            if answer == KEPT:
                return
            if answer == NO_ROOM:
                tokens.enlarge()
                pending = 0
            elif answer == NO_STORE:
                store.reserve(tokens.n_exits())
                pending = -1
            else:
                self._build(tokens.unbuilt(answer), budget)
                pending = tokens.n_pending()

    def ahead_local(self, q: int) -> int:
        """Compute the row of state ``q`` with the least counter it admits; returns its exit set."""
        with self.tokens.lock:
            budget = self.budget()
            self._build([q], budget)
            v = int(self.automaton.states[q, LO])
            owner = self.owner_of_state(q)
            if not owner.store.holds_local(q, v):
                owner._add_local(q, v, budget)
            return owner.store.exit_of(int(owner.store.heads[q]), v)

    def ahead_resume(self, exit_: int, return_point: int) -> int:
        """Compute the row of an exit set where it returns; returns the exit set that follows."""
        with self.tokens.lock:
            owner = self.owner_of_pair(exit_, return_point)
            if not owner.store.holds_resume(exit_, return_point, 0):
                owner._add_resume(exit_, return_point, 0, self.budget())
            return owner.store.exit_of(owner.store.first_entry(exit_, return_point), 0)

    def owner_of_state(self, q: int) -> MaskGrammar:
        library = self.library
        return library if library is not None and q < library.automaton.n_states else self

    def owner_of_pair(self, exit_: int, return_point: int) -> MaskGrammar:
        library = self.library
        if library is None or not exit_ & k.SHARED:
            return self
        return library if return_point < library.automaton.n_returns else self

    def snapshot(self) -> Snapshot:
        """The tables of one moment, for kernels that run without the interpreter's lock.

        Good for matchers that moved before; once the automaton's version has changed, a matcher
        may be in a state that it does not know.
        """
        with self.tokens.lock:  # nobody is in the middle of adding something
            library = None if self.library is None else self.library.snapshot()
            found, counts = self._snapshot, self._counts()
            if found is None or found.counts != counts or found.library is not library:
                found = self._snapshot = self._copied(counts, library)
            return found

    def _counts(self) -> tuple[int, int, int]:
        """What changes with whatever is added."""
        return self.automaton.version, self.store.n_entries, self.store.n_rows

    def _copied(self, counts: tuple[int, int, int], library: Snapshot | None) -> Snapshot:
        self.refresh()
        a = self.automaton
        # What is only added to is shared: nothing in the copies leads to what comes later.
        changing = a.states[: a.n_states].copy(), a.returns.copy(), a.gotos[: a.n_gotos].copy()
        block = self.block.copy()
        block[k.G_STATES], block[k.G_RETURNS], block[k.G_GOTOS] = (
            array.ctypes.data for array in changing
        )
        block[k.G_N_STATES], block[k.G_N_RETURNS], block[k.G_N_GOTOS] = map(len, changing)
        block[k.G_N_ENTRIES] = counts[1]  # later ones are not looked at
        address = int(block.ctypes.data)
        block[k.G_LIBRARY] = address if library is None else library.address
        kept = (*changing, *self._kept[-1])
        return Snapshot(address, block, counts, kept, library)


class Snapshot(NamedTuple):
    """A block that does not change, and what keeps alive all that it points to.

    ``counts``: the automaton's version, entries and rows when it was taken.
    """

    address: int
    block: np.ndarray
    counts: tuple[int, int, int]
    kept: tuple[np.ndarray, ...]
    library: Snapshot | None
