"""Python's cycle collector, paused."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from structgen.forking import hold_while_forking

_lock = threading.RLock()
_pausing: list[int] = []  # the thread of each block
_was_enabled = False


@contextmanager
def paused() -> Iterator[None]:
    """No collection of cycles inside the block, in any thread.

    A compilation allocates many objects that live as long as it does. The collector would walk
    them, and then all of the process, again and again, and find nothing.
    """
    global _was_enabled
    thread = threading.get_ident()
    with _lock:
        if not _pausing:
            _was_enabled = gc.isenabled()
            gc.disable()
        _pausing.append(thread)
    try:
        yield
    finally:
        with _lock:
            _pausing.remove(thread)
            if not _pausing and _was_enabled:
                gc.enable()


def _forget_other_threads() -> None:
    """They do not live on in a forked process."""
    if _pausing:
        _pausing[:] = [thread for thread in _pausing if thread == threading.get_ident()]
        if not _pausing and _was_enabled:
            gc.enable()


hold_while_forking(lambda: [_lock])
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_other_threads)
