"""What one compilation may still spend: seconds, bytes, and whether somebody cancelled it.

A budget belongs to the call that opened it and travels in a context variable, so no stage passes it
on. Loops that input can make long call :func:`check`; whatever grows with the input is announced to
:func:`charge` (kept) or :func:`hold` (given back). Without an open budget all of that does nothing.

Bytes are an estimate of the large things alone: tables, automata, formula nodes, counted as they
are built. They say when an input is out of proportion, not what the process occupies.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

from structgen.errors import CompileCancelled, LimitExceeded


class Cancel(Protocol):
    """A :class:`threading.Event`, or whatever else answers ``is_set()``."""

    def is_set(self) -> bool: ...


class Budget:
    """Seconds and bytes that are left; ``name`` is the limit that the seconds come from.

    The clock runs inside :func:`spending` alone.
    """

    __slots__ = (
        "_safe_until", "bytes_left", "cancel", "deadline", "memory_bytes", "name", "seconds",
        "seconds_left",
    )  # fmt: skip

    def __init__(
        self,
        seconds: float,
        memory_bytes: int,
        cancel: Cancel | None = None,
        *,
        name: str = "compile_seconds",
    ) -> None:
        self.memory_bytes, self.cancel, self.name = memory_bytes, cancel, name
        self.seconds = self.seconds_left = float(seconds)
        self.deadline = math.inf
        self._safe_until = 0.0
        self.bytes_left = memory_bytes

    def check(self, where: str) -> None:
        if self.cancel is not None and self.cancel.is_set():
            raise CompileCancelled(f"cancelled while building {where}")
        # A thread spends no more time than passes, and the clock that all share is read faster.
        now = time.perf_counter()
        if now < self._safe_until:
            return
        left = self.deadline - time.thread_time()
        if left < 0:
            raise LimitExceeded(limit=self.name, value=self.seconds, where=where)
        self._safe_until = now + left

    def charge(self, nbytes: int, where: str) -> None:
        self.bytes_left -= nbytes
        if self.bytes_left < 0:
            raise LimitExceeded(limit="memory_bytes", value=self.memory_bytes, where=where)


_current: ContextVar[Budget | None] = ContextVar("structgen_budget", default=None)


@contextmanager
def spending(budget: Budget) -> Iterator[Budget]:
    """Everything inside is paid from ``budget``; an outer one stands still meanwhile.

    Raises :class:`CompileCancelled` at once where it is cancelled already.
    """
    budget.deadline = time.thread_time() + budget.seconds_left
    budget._safe_until = time.perf_counter() + budget.seconds_left
    budget.check("the constraint")
    token = _current.set(budget)
    try:
        yield budget
    finally:
        _current.reset(token)
        budget.seconds_left = budget.deadline - time.thread_time()


def check(where: str) -> None:
    """Raise if the time is over or the compilation was cancelled; well under a microsecond.

    Raises:
        LimitExceeded: the time is over.
        CompileCancelled: the event is set.
    """
    budget = _current.get()
    if budget is not None:
        budget.check(where)


def charge(nbytes: int, where: str) -> None:
    """Count bytes that stay; a negative number gives some back.

    Raises:
        LimitExceeded: there are not so many left.
    """
    budget = _current.get()
    if budget is not None:
        budget.charge(nbytes, where)


@contextmanager
def hold(nbytes: int, where: str) -> Iterator[None]:
    """Count bytes that are free again at the end of the block; checks the time as well."""
    budget = _current.get()
    if budget is None:
        yield
        return
    budget.check(where)
    budget.charge(nbytes, where)
    try:
        yield
    finally:
        budget.bytes_left += nbytes


@contextmanager
def untimed() -> Iterator[None]:
    """The clock stands still inside the block."""
    budget = _current.get()
    started = time.thread_time()
    try:
        yield
    finally:
        if budget is not None:
            budget.deadline += time.thread_time() - started
