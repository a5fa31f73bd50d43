"""The ``structgen`` command. Heavy imports wait until a command needs them."""

from __future__ import annotations

import gc
import os
import sys

from structgen.errors import StructgenError


def main() -> None:
    """Run the command line; bad input is one message on stderr and exit status 2."""
    # What a command imports lives as long as it does: nothing for the collector to find.
    gc.set_threshold(50_000)
    from structgen.cli.app import app

    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # generated text is Unicode whatever the locale says
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    try:
        app()
    except StructgenError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        # The reader is gone; keep the interpreter from flushing into the closed pipe at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
