"""Progress on stderr, only where a person watches."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress(
    description: str, *, total: int | None = None, show: bool | None = None
) -> Iterator[Callable[[int], None]]:
    """A bar (or, without ``total``, a moving one) for the time of the block.

    Yields a function to call after each of the ``total`` parts, with its number of tokens.
    ``show=None`` shows it where stderr is a terminal, from which it disappears when the block ends;
    elsewhere its last state stays.
    """
    if not (sys.stderr.isatty() if show is None else show):
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress, TextColumn

    console = Console(stderr=True)
    columns = (*Progress.get_default_columns(), TextColumn("{task.fields[rate]}"))
    with Progress(*columns, console=console, transient=console.is_terminal) as bar:
        task = bar.add_task(description, total=total, rate="")
        began, tokens = time.monotonic(), 0

        def advance(n: int) -> None:
            nonlocal tokens
            tokens += n
            rate = tokens / max(time.monotonic() - began, 1e-9)
            bar.update(task, advance=1, rate=f"{rate:,.0f} tok/s")

        yield advance
