"""Reading the files named on the command line."""

from __future__ import annotations

import sys
from pathlib import Path

from structgen.errors import StructgenError


def read_text(path: str | Path) -> str:
    """The UTF-8 text of a file.

    Raises:
        StructgenError: it cannot be read, or is not UTF-8.
    """
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise StructgenError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise StructgenError(f"{path} is not UTF-8 text (byte {error.start})") from error


def read_prompt(argument: str | None) -> str:
    """The prompt: the argument itself, or stdin for ``-`` and for a missing one in a pipe.

    Raises:
        StructgenError: there is none, or stdin is not UTF-8.
    """
    if argument is not None and argument != "-":
        return argument
    if argument is None and sys.stdin.isatty():
        raise StructgenError('a prompt is missing: structgen generate ... "PROMPT", or - for stdin')
    try:
        return sys.stdin.read()
    except UnicodeDecodeError as error:
        raise StructgenError(f"the prompt on stdin is not UTF-8 text: {error.reason}") from error
