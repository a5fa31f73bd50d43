"""Grammars completed by a thread of their own, while the first texts are being generated."""

from __future__ import annotations

import atexit
import os
import threading
import time
import weakref
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from structgen.compiler import CompiledGrammar

# So long at a stretch is one grammar worked on; nobody waits longer for it to be let go.
SLICE_SECONDS = 0.02
# The thread ends when nothing came for so long.
IDLE_SECONDS = 1.0


_LIVE: weakref.WeakSet[Background] = weakref.WeakSet()


class Background:
    """One daemon thread for all grammars of a compiler, there only while there is work.

    A grammar that nobody holds any more is not worked on; the walks let go of the interpreter's
    lock.

    Args:
        seconds: for each grammar.
        memory_bytes: what the tables of each may grow to.
    """

    def __init__(self, seconds: float, memory_bytes: int) -> None:
        self._seconds, self._memory_bytes = seconds, memory_bytes
        self._stop = threading.Event()
        self.forget()
        _LIVE.add(self)

    def forget(self) -> None:
        """Neither a thread nor work: in a forked process, where both are the parent's."""
        self._waiting: SimpleQueue[weakref.ref[CompiledGrammar]] = SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def add(self, grammar: CompiledGrammar) -> None:
        """Complete ``grammar`` soon."""
        if self._stop.is_set():
            return
        self._waiting.put(weakref.ref(grammar))
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._work, name="structgen-background", daemon=True
                )
                self._thread.start()

    def close(self) -> None:
        """Stop; what was not completed stays as it is."""
        self._stop.set()
        thread = self._thread
        if thread is not None:
            thread.join()

    def _work(self) -> None:
        try:
            while not self._stop.is_set():
                try:
                    waiting = self._waiting.get(timeout=IDLE_SECONDS)
                except Empty:
                    with self._lock:
                        if self._waiting.empty():
                            self._thread = None
                            return
                else:
                    self._complete(waiting)
        finally:  # after an error as well: the next grammar starts another thread
            with self._lock:
                if self._thread is threading.current_thread():
                    self._thread = None

    def _complete(self, waiting: weakref.ref[CompiledGrammar]) -> None:
        until = time.monotonic() + self._seconds
        while time.monotonic() < until and not self._stop.is_set():
            grammar = waiting()
            if (
                grammar is None
                or grammar.complete(SLICE_SECONDS, self._memory_bytes, cancel=self._stop)
                or grammar.nbytes > self._memory_bytes
            ):
                return
            del grammar
            time.sleep(0)  # others first


@atexit.register
def _close_all() -> None:
    """A thread that the end of the interpreter meets inside a kernel would abort the process."""
    for background in list(_LIVE):
        background.close()


def _forget_all() -> None:
    for background in list(_LIVE):
        background.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
