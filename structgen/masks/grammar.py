"""A grammar as the kernels see it: an automaton, its row store, a block of their addresses."""

from __future__ import annotations

import numpy as np

from structgen.automaton.tables import Automaton
from structgen.budget import Budget, spending
from structgen.limits import Limits
from structgen.masks import decode as k
from structgen.masks.store import RowStore
from structgen.masks.tokens import TokenTables


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
        self.block = np.zeros(k.G_LENGTH, np.int64)
        self.address = int(self.block.ctypes.data)
        self._kept: list[tuple[np.ndarray, ...]] = []
        automaton.on_grow = self.refresh
        self.store.on_grow = self.refresh  # type: ignore[method-assign]
        self.refresh()

    @property
    def nbytes(self) -> int:
        return self.automaton.nbytes + self.store.nbytes

    def refresh(self) -> None:
        """Write the addresses of the tables, some of which were replaced, into the block."""
        a, s, t = self.automaton, self.store, self.tokens
        b = np.zeros_like(self.block)
        tables = (
            (k.G_STATES, k.G_N_STATES, a.states),
            (k.G_MAPS, k.G_N_MAPS, a.maps),
            (k.G_EDGES, k.G_N_EDGES, a.edges),
            (k.G_RETURNS, k.G_N_RETURNS, a.returns),
            (k.G_GOTOS, k.G_N_GOTOS, a.gotos),
            (k.G_PUSHES, k.G_N_PUSHES, a.pushes),
            (k.G_ENTRIES, k.G_N_ENTRIES, s.entries),
            (k.G_HEADS, k.G_N_HEADS, s.heads),
            (k.G_KEYS, k.G_N_KEYS, s.keys),
            (k.G_VALUES, k.G_N_KEYS, s.values),
            (k.G_ROWS, k.G_N_ROWS, s.rows),
            (k.G_LISTS, k.G_N_LISTS, s.lists),
            (k.G_BITMAPS, k.G_N_BITMAPS, s.bitmaps),
            (k.G_DATA, k.G_N_DATA, t.data),
            (k.G_EOS, k.G_N_EOS, t.eos),
        )
        # What was there before stays alive until the next change.
        self._kept = [*self._kept[-1:], tuple(array for _, _, array in tables)]
        for address, length, array in tables:
            b[address] = array.ctypes.data
            b[length] = len(array)
        b[k.G_OFFSETS], b[k.G_SIZE] = t.offsets.ctypes.data, t.size
        b[k.G_WORDS], b[k.G_SYMBOLS] = t.words, a.symbols
        b[k.G_STACKS] = self._limits.stacks
        library = self.library
        b[k.G_LIBRARY] = self.address if library is None else library.address
        b[k.G_LIBRARY_STATES] = a.n_states if library is None else library.automaton.n_states
        b[k.G_LIBRARY_RETURNS] = a.n_returns if library is None else library.automaton.n_returns
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

    def resolve(self, answer: int, sequence: np.ndarray, budget: Budget) -> None:
        """Compute what a kernel asked for in ``sequence``'s OUT fields."""
        out0, out1, out2 = (int(x) for x in sequence[k.OUT0 : k.OUT2 + 1])
        with self.tokens.lock, spending(budget):
            if answer == k.NEED_STATE:
                self.automaton.build(out0)
            elif answer == k.NEED_LOCAL:
                self.owner_of_state(out0).store.compute_local(out0, out1)
            else:
                self.owner_of_pair(out0, out1).store.compute_resume(out0, out1, out2)

    def owner_of_state(self, q: int) -> MaskGrammar:
        library = self.library
        return library if library is not None and q < library.automaton.n_states else self

    def owner_of_pair(self, exit_: int, return_point: int) -> MaskGrammar:
        library = self.library
        if library is None or not exit_ & int(k.SHARED):
            return self
        return library if return_point < library.automaton.n_returns else self
