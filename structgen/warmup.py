"""Loading the array kernels, which compiles them the first time on a machine."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from structgen import jit

_started = threading.Lock()


def load_kernels() -> None:
    """Use the kernels once, so that no input pays for it; later calls do nothing.

    On a new machine this takes half a minute, which a line on standard error says. Of several
    processes one compiles, the others wait for it and take what it left.
    """
    if not _started.acquire(blocking=False):  # never given back: once in a process
        return
    if jit.missing():
        with _alone():
            _use_all()
    else:
        _use_all()


def load_kernels_when_called() -> None:
    """For commands that need a few of them: nothing is loaded ahead if all are compiled.

    Each one then takes some milliseconds when it is first called. Otherwise :func:`load_kernels`.
    """
    import structgen.compiler  # noqa: F401  so that the kernels are known

    if jit.missing():
        load_kernels()
    else:
        _started.acquire(blocking=False)


@contextmanager
def _alone() -> Iterator[None]:
    """One process at a time, as far as the machine has a way to arrange it."""
    folder = jit.cache_folder()
    lock = None if folder is None else _lock(folder / "structgen-kernels.lock")
    try:
        yield
    finally:
        if lock is not None:
            lock.close()  # which releases it, as the end of the process would


def _lock(path: Path) -> IO[Any] | None:
    try:
        import fcntl

        file = path.open("ab")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            text = "structgen: waiting for another process that compiles the array kernels..."
            print(text, file=sys.stderr, flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
    except (ImportError, OSError):  # two may then do the same work; the cache stands that
        return None
    return file


def _use_all() -> None:
    from structgen.batch import accept_tokens, fill_bitmasks
    from structgen.bitmask import allocate_bitmask
    from structgen.compiler import Compiler
    from structgen.masks.blocks import slot_of_pair
    from structgen.masks.rows import place_hashes, place_pairs
    from structgen.regular.product import hash_table
    from structgen.vocabulary import Vocabulary

    vocabulary = Vocabulary.byte_vocabulary()
    compiler = Compiler(vocabulary, cache_bytes=0)
    mask = allocate_bitmask(1, len(vocabulary))
    values = {
        "type": "object",
        "properties": {
            "a": {"type": "string", "maxLength": 9},
            "b": {"type": "string", "pattern": "^[a-z]+$|é", "minLength": 2, "maxLength": 90},
            "c": {"anyOf": [{"minimum": 2, "maximum": 7.5}, {"multipleOf": 3}]},
            "d": {"not": {"enum": ["x", 1]}, "format": "date"},
        },
    }
    distinct = {"type": "array", "items": {"type": ["string", "object"]}, "uniqueItems": True}
    texts = (b'{"a":"a","b":"ab', b'["a","b",{"c":1},{"c":2},"a')
    for schema, text in zip((values, distinct), texts, strict=True):
        matcher = compiler.compile_json_schema(schema).matcher()
        for byte in text:
            matcher.fill_bitmask(mask, 0)
            matcher.accept_token(byte)
        matcher.fill_bitmask(mask, 0)
        matcher.is_accepting()
        matcher.forced_bytes()
        matcher.accept_bytes(b'"}')
        matchers = [matcher, matcher.copy()]
        fill_bitmasks(matchers, allocate_bitmask(2, len(vocabulary)), threads=2)
        accept_tokens(matchers, [0, 0])
    # Only tables that grow need these.
    hash_table(np.zeros(1, np.uint64), 2)
    place_hashes(np.zeros(2, np.int64), 1, 2, np.full(4, -1, np.int32))
    pairs, firsts = np.full(2, -1, np.int64), np.full(2, -1, np.int32)
    place_pairs(pairs, firsts, pairs, firsts)
    slot_of_pair(pairs, 0, 0)
