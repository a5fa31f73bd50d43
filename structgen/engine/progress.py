"""Progress on stderr, only where a person watches."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress(
    description: str, *, total: int | None = None, show: bool | None = None
) -> Iterator[Callable[[], None]]:
    """A bar (or, without ``total``, a moving one) for the time of the block.

    Yields a function to call after each of the ``total`` parts. ``show=None`` shows it where stderr
    is a terminal, from which it disappears when the block ends; elsewhere its last state stays.
    """
    if not (sys.stderr.isatty() if show is None else show):
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=console.is_terminal) as bar:
        task = bar.add_task(description, total=total)
        yield lambda: bar.advance(task)
