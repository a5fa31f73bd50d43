"""A forked process finds no lock held and no table half written, whatever other threads did."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest

import structgen as sg
from structgen import collector
from structgen.masks.tokens import TokenTables

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]

BYTES = sg.Vocabulary.byte_vocabulary()
SCHEMA = {"properties": {"a": {"items": {"type": "integer"}}, "b": {"type": "string"}}}


def in_child(work: Callable[[], bool]) -> int:
    """The exit status of a forked process that did ``work``: 0 if it was true, in time."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            threading.Timer(30, os._exit, (2,)).start()
            status = 0 if work() else 1
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


class Holder:
    """Another thread that holds a lock, and lets go of it once somebody has begun to fork."""

    def __init__(self, lock: threading.RLock) -> None:
        self._held = threading.Event()
        self._lock = lock
        self.released = False
        self.thread = threading.Thread(target=self._run)
        self.thread.start()
        assert self._held.wait(10)

    def _run(self) -> None:
        with self._lock:
            self._held.set()
            threading.Event().wait(0.2)
            self.released = True


@pytest.mark.parametrize("which", ["tables", "compiler", "collector"])
def test_what_another_thread_has_locked(which: str) -> None:
    compiler = sg.Compiler(BYTES)
    tables = TokenTables.of(BYTES)
    lock = {"tables": tables.lock, "compiler": compiler._lock, "collector": collector._lock}[which]
    holder = Holder(lock)

    def work() -> bool:
        # The other thread was done with it, or else what it was writing would be half written.
        matcher = compiler.compile_json_schema(SCHEMA).matcher()
        mask = sg.allocate_bitmask(1, len(BYTES))
        matcher.fill_bitmask(mask)
        return holder.released and matcher.accept_bytes(b'{"a":[1]}') and bool(mask.any())

    assert in_child(work) == 0
    holder.thread.join()
    with lock:  # and the parent's is free again
        assert compiler.compile_json_schema(SCHEMA).matcher().accept_bytes(b"{")


def test_the_collector_of_another_thread() -> None:
    """It was paused by a thread that is not there any more."""
    inside, leave = threading.Event(), threading.Event()

    def pause() -> None:
        with collector.paused():
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=pause)
    thread.start()
    assert inside.wait(10)

    def paused_here() -> bool:
        with collector.paused():
            return not gc.isenabled()

    assert in_child(lambda: gc.isenabled() and paused_here() and gc.isenabled()) == 0
    with collector.paused():
        assert in_child(lambda: not gc.isenabled()) == 0
    leave.set()
    thread.join()
    assert gc.isenabled()


def test_the_background_of_a_child() -> None:
    """It has no thread until it needs one, and then its own."""
    compiler = sg.Compiler(BYTES, background_seconds=5.0)
    compiler.compile_json_schema(SCHEMA)

    def work() -> bool:
        background = compiler._background
        assert background is not None and background._thread is None
        grammar = compiler.compile_json_schema({**SCHEMA, "title": "another"})
        thread = background._thread
        assert thread is not None and thread.is_alive()
        compiler.close()
        return not thread.is_alive() and grammar.complete(60)

    assert in_child(work) == 0
    compiler.close()


def test_a_grammar_that_was_being_completed() -> None:
    grammar = sg.Compiler(BYTES).compile_json_schema(SCHEMA)
    stop = threading.Event()

    def complete() -> None:
        while not stop.is_set():
            grammar.complete(60, cancel=stop)

    thread = threading.Thread(target=complete)
    thread.start()
    assert in_child(lambda: grammar.complete(60)) == 0
    stop.set()
    thread.join()


PROGRAM = """
import json, os, sys, threading
import structgen as sg

vocabulary = sg.Vocabulary.byte_vocabulary()
compiler = sg.Compiler(vocabulary, background_seconds=5.0)
mask = sg.allocate_bitmask(1, len(vocabulary))
for n in range(12):
    names = [f"p{n}{i}" for i in range(30)]
    schema = {"properties": {name: {"items": {"pattern": f"^{name}+"}} for name in names}}
    grammar = compiler.compile_json_schema(schema)
    text = json.dumps({names[5]: [names[5]]}).encode()
    child = os.fork()
    if child == 0:
        threading.Timer(60, os._exit, (2,)).start()
        matcher = grammar.matcher()
        good = True
        for byte in text:
            matcher.fill_bitmask(mask)
            good = good and bool(mask[0, byte >> 5] >> (byte & 31) & 1)
            good = good and matcher.accept_token(byte)
        os._exit(0 if good and matcher.is_accepting() else 1)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status:
        sys.exit(f"child {n}: {status}")
"""


@pytest.mark.parametrize("once_more", range(2))
def test_forks_beside_a_background_that_works(once_more: int) -> None:
    """The children answer, and the end of the process meets the thread in good order."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
