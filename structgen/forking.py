"""Locks that a forked process finds free, with nothing half written behind them.

Only the thread that calls ``os.fork`` lives on in the child. A lock that another thread holds at
that moment would be held there for ever, and what that thread was writing would stay as it is. So
the forking thread takes the locks first, and both processes release them afterwards.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from threading import RLock


def hold_while_forking(locks: Callable[[], Iterable[RLock]]) -> None:
    """Hold what ``locks`` yields, one after the other, whenever this process is forked.

    Called when a module is loaded. Locks of modules that are loaded later are taken first: a
    higher stage calls the lower ones, which it imports, with its own locks held, never the other
    way round. ``locks`` yields the lock of its registry first, and then reads the registry.
    """
    held: list[RLock] = []

    def take() -> None:
        for lock in locks():
            lock.acquire()
            held.append(lock)

    def release() -> None:
        while held:
            held.pop().release()

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=take, after_in_parent=release, after_in_child=release)
