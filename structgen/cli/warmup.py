"""``structgen warmup``: compile the array kernels ahead of their first use."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence


def warmup() -> None:
    """Compile the array kernels now (once on a machine), so that no first use has to wait.

    Exit status: 0, or 1 if they cannot be kept because no folder can be written into.
    """
    import structgen.compiler  # noqa: F401  so that the kernels are known
    from structgen import jit
    from structgen.warmup import load_kernels

    missing = jit.missing()
    started = time.monotonic()
    if missing and sys.stderr.isatty():
        _with_bar(missing)
    else:
        load_kernels()
    seconds = time.monotonic() - started
    if missing and jit.cache_folder() is None:
        print(
            "the kernels cannot be kept: no folder for them can be written into; set "
            "NUMBA_CACHE_DIR to one that can",
            file=sys.stderr,
        )
        raise typer.Exit(1)
    if missing:
        print(f"ready: {len(missing)} kernels compiled in {seconds:.0f} s")
    else:
        print("ready: all kernels were compiled before")


def _with_bar(missing: Sequence[str]) -> None:
    """Load the kernels behind a bar on stderr that counts those of ``missing``."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from structgen import jit
    from structgen.warmup import load_kernels

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task("compiling array kernels", total=len(missing))

        class Bar(jit.CompileListener):
            def show(self) -> None:
                # The last one has only begun.
                bar.update(task, completed=len({*missing} & {*self.names[:-1]}))

        jit.listen(Bar())
        load_kernels()
        bar.update(task, completed=len(missing))
