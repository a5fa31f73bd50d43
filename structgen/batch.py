"""Many sequences in one call: the rows of a batch's mask, written by several threads.

A call hands the kernels a table of addresses and lets go of the interpreter's lock. Each thread
takes the next row that nobody has; a row that needs something computed first is left to Python
afterwards. Grammars may grow meanwhile, in other threads: rows are read through a
:class:`structgen.masks.grammar.Snapshot` of each, which keeps the tables of one moment alive.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from queue import SimpleQueue
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from structgen.automaton.pointers import int64_at
from structgen.bitmask import row_address
from structgen.errors import StructgenError, whole_number
from structgen.jit import kernel
from structgen.masks.accept import accept_token
from structgen.masks.blocks import CHECKED, NEED_CHECK, SEQUENCE_LENGTH, YES
from structgen.masks.fill import fill
from structgen.masks.grammar import Snapshot
from structgen.matcher import Matcher

# Columns of a batch's table, int64 [matchers, 5]: addresses of the blocks and of the mask's row,
# the token to accept, and what a kernel answered.
GRAMMAR, SEQUENCE, ROW, TOKEN, ANSWER = range(5)

# Places in the counters, int64 [24], a cache line apart: the next row, rows that are done, rows
# that are left to Python.
NEXT, DONE, LEFT = 0, 8, 16

# A thread more is worth its waking from this many rows on.
ROWS_PER_THREAD = 128


@intrinsic
def _add_at(typingctx, address, amount):
    """Add to the int64 at ``address``, as one step for all threads; what was there before."""

    def codegen(context, builder, signature, args):
        pointer = builder.inttoptr(args[0], ir.IntType(64).as_pointer())
        return builder.atomic_rmw("add", pointer, args[1], "seq_cst")

    return types.int64(types.int64, types.int64), codegen


@kernel(nogil=True)
def _fill_rows(table, counters, reuse):
    """Fill rows until none is left."""
    n = table.shape[0]
    at = np.int64(counters.ctypes.data)
    i = _add_at(at + 8 * NEXT, np.int64(1))
    while i < n:
        m = int64_at(table[i, SEQUENCE], SEQUENCE_LENGTH)
        answer = NEED_CHECK
        if not m[CHECKED]:
            answer = fill(table[i, GRAMMAR], table[i, SEQUENCE], table[i, ROW], reuse)
        table[i, ANSWER] = answer
        if answer > YES:
            _add_at(at + 8 * LEFT, np.int64(1))
        _add_at(at + 8 * DONE, np.int64(1))
        i = _add_at(at + 8 * NEXT, np.int64(1))


@kernel(nogil=True)
def _wait(counters, n, spins):
    """Look up to ``spins`` times whether ``n`` rows are done."""
    at = np.int64(counters.ctypes.data)
    for _ in range(spins):  # noqa: SIM110 (a compiled loop)
        if _add_at(at + 8 * DONE, np.int64(0)) == n:
            return True
    return False


@kernel(nogil=True)
def _accept_rows(table):
    """Accept a token in each row; returns how many are left to Python."""
    left = 0
    for i in range(table.shape[0]):
        m = int64_at(table[i, SEQUENCE], SEQUENCE_LENGTH)
        answer = NEED_CHECK
        if not m[CHECKED]:
            answer = accept_token(table[i, GRAMMAR], table[i, SEQUENCE], table[i, TOKEN])
        table[i, ANSWER] = answer
        left += answer > YES
    return left


class _Work(NamedTuple):
    """What the threads of one call work on, and whatever its addresses point to."""

    table: np.ndarray
    counters: np.ndarray
    reuse: bool
    kept: tuple[Any, ...]

    def do(self) -> None:
        _fill_rows(self.table, self.counters, self.reuse)


class _Workers:
    """Threads that wait for work, started when first needed and never ended."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[_Work] = SimpleQueue()
        self._lock = threading.Lock()
        self._started = 0

    def help(self, work: _Work, threads: int) -> None:
        """Let ``threads`` of them take part in it."""
        if self._started < threads:
            with self._lock:
                while self._started < threads:
                    threading.Thread(target=self._run, name="structgen-fill", daemon=True).start()
                    self._started += 1
        for _ in range(threads):
            self._queue.put(work)

    def _run(self) -> None:
        while True:
            # Nothing is held while it waits.
            self._queue.get().do()


_workers = _Workers()


def _forget_workers() -> None:
    """Threads do not live on in a forked process."""
    global _workers
    _workers = _Workers()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_workers)


class MatcherBatch:
    """Matchers that step together: what a call needs to know of them is prepared once.

    Args:
        matchers: different matchers of one vocabulary; their grammars may differ. As each of
            them, the batch is for one thread at a time.

    Raises:
        StructgenError: the same matcher twice, or several vocabularies.
    """

    def __init__(self, matchers: Iterable[Matcher]) -> None:
        self.matchers = tuple(matchers)
        if len(set(map(id, self.matchers))) < len(self.matchers):
            raise StructgenError("the same matcher twice in one batch")
        self._grammars = dict.fromkeys(matcher._grammar for matcher in self.matchers)
        if len({grammar.tokens for grammar in self._grammars}) > 1:
            raise StructgenError("the matchers of a batch have one vocabulary")
        self._table = np.zeros((len(self.matchers), 5), np.int64)
        self._table[:, SEQUENCE] = [matcher._address for matcher in self.matchers]
        self._automata = [grammar.automaton for grammar in self._grammars]
        self._versions: list[int] = []
        self._snapshots: list[Snapshot] = []
        self._place: tuple[Any, ...] = ()

    def fill_bitmasks(
        self,
        mask: Any,
        rows: Sequence[int] | None = None,
        *,
        threads: int | None = None,
        reuse: bool = False,
    ) -> np.ndarray:
        """Fill a row of a mask for each matcher, as :meth:`Matcher.fill_bitmask` does.

        Args:
            mask: int32 [batch, words], a NumPy array or a CPU torch tensor.
            rows: the row of each matcher, all different; 0, 1, 2... if None. Other rows of the
                mask are left alone.
            threads: how many threads may work on it, this one included; chosen by the number of
                rows and processors if None.
            reuse: what each matcher wrote last into a mask is still there.

        Returns:
            bool [matchers], which rows were written: all, unless ``reuse`` is set.

        Raises:
            StructgenError: the same row twice, or no such row; a wrong mask.
            LimitExceeded: computing a row; all others are filled.
        """
        n = len(self.matchers)
        if threads is not None:
            threads = whole_number(threads, "threads")
        if n == 0:
            return np.zeros(0, np.bool_)
        self._read_tables()
        self._aim(mask, rows)
        if threads is None:
            threads = min(_processors(), n // ROWS_PER_THREAD)
        kept = self._snapshots, self, mask
        work = _Work(self._table, np.zeros(24, np.int64), bool(reuse), kept)
        helpers = min(threads, n) - 1
        if helpers > 0:
            _workers.help(work, helpers)
        work.do()
        # The others are in their last row, unless they had no processor.
        while helpers > 0 and not _wait(work.counters, n, 1000):
            time.sleep(0)
        written = self._table[:, ANSWER] == YES

        def fill(i: int) -> None:
            row = i if rows is None else rows[i]
            written[i] = self.matchers[i].fill_bitmask(mask, row, reuse=reuse)

        if work.counters[LEFT]:
            self._do_left(fill)
        return written

    def accept_tokens(self, tokens: Any) -> np.ndarray:
        """Append a token to each text, as :meth:`Matcher.accept_token` does.

        Args:
            tokens: token ids: integers, an array or a CPU tensor [matchers].

        Returns:
            bool [matchers]; where it is False, the token does not fit and nothing changed.

        Raises:
            StructgenError: something else than a token id for each matcher.
            LimitExceeded: computing a step; all others are taken.
        """
        n = len(self.matchers)
        ids = np.asarray(tokens)
        if ids.shape != (n,) or (n and ids.dtype.kind not in "iu"):
            raise StructgenError(f"expected a token id for each of {n} matchers")
        self._read_tables()
        wide = ids.astype(np.uint64 if ids.dtype.kind == "u" else np.int64)
        self._table[:, TOKEN] = np.minimum(wide, 1 << 31)  # which is no token either
        left = _accept_rows(self._table)
        accepted = self._table[:, ANSWER] == YES

        def accept(i: int) -> None:
            accepted[i] = self.matchers[i].accept_token(int(ids[i]))

        if left:
            self._do_left(accept)
        return accepted

    # -- inside ---------------------------------------------------------------------------------

    def _read_tables(self) -> None:
        """Take snapshots of the grammars, unless there are some that know all states."""
        versions = [automaton.version for automaton in self._automata]
        if not self._snapshots or versions != self._versions:
            found = {grammar: grammar.snapshot() for grammar in self._grammars}
            self._snapshots = list(found.values())
            self._versions = [snapshot.counts[0] for snapshot in self._snapshots]
            self._table[:, GRAMMAR] = [found[m._grammar].address for m in self.matchers]

    def _aim(self, mask: Any, rows: Sequence[int] | None) -> None:
        """Write the addresses of a mask's rows into the table, unless they are there."""
        n = len(self.matchers)
        words = self.matchers[0]._grammar.tokens.words
        if rows is None:
            lowest, highest = 0, n - 1
        else:
            chosen = np.asarray(rows)
            if chosen.shape != (n,) or chosen.dtype.kind not in "iu":
                raise StructgenError(f"expected a row for each of {n} matchers")
            if len(np.unique(chosen)) < n:
                raise StructgenError("the same row twice in one batch")
            lowest, highest = int(chosen.min()), int(chosen.max())
            chosen = chosen.astype(np.int64)  # what is no row is refused below
        first, last = row_address(mask, lowest, words), row_address(mask, highest, words)
        place = (first, last, None if rows is None else tuple(rows))
        if place != self._place:
            stride = (last - first) // max(1, highest - lowest)
            numbers = np.arange(n) if rows is None else chosen - lowest
            self._table[:, ROW] = first + numbers * stride
            self._place = place

    def _do_left(self, do: Callable[[int], None]) -> None:
        """Do in Python what the kernels could not; the first error is raised when all is done."""
        answers = self._table[:, ANSWER]
        error: StructgenError | None = None
        for i in np.flatnonzero(answers > YES).tolist():
            try:
                do(i)
            except StructgenError as found:
                error = error or found
        if (answers[answers > YES] != NEED_CHECK).any():
            self._snapshots = []
        if error is not None:
            raise error


def fill_bitmasks(
    matchers: Iterable[Matcher],
    mask: Any,
    rows: Sequence[int] | None = None,
    *,
    threads: int | None = None,
    reuse: bool = False,
) -> np.ndarray:
    """:meth:`MatcherBatch.fill_bitmasks` of matchers that are together for one call."""
    return MatcherBatch(matchers).fill_bitmasks(mask, rows, threads=threads, reuse=reuse)


def accept_tokens(matchers: Iterable[Matcher], tokens: Any) -> np.ndarray:
    """:meth:`MatcherBatch.accept_tokens` of matchers that are together for one call."""
    return MatcherBatch(matchers).accept_tokens(tokens)


def _processors() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
