"""Running the command in this process, on a tiny model in a directory."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from tiny_model import save_tiny_model

from structgen.cli import main
from structgen.warmup import load_kernels


class Result(NamedTuple):
    """What a run of the command left behind."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="session", autouse=True)
def _kernels() -> None:
    """On a new machine the line that says that they are compiled is no test's output."""
    load_kernels()


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> str:
    return str(save_tiny_model(tmp_path_factory.mktemp("model")))


@pytest.fixture
def run(monkeypatch, capsys) -> Callable[..., Result]:
    def run(*arguments: str, stdin: str = "") -> Result:
        monkeypatch.setattr(sys, "argv", ["structgen", *arguments])
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code or 0
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return Result(code, out, err)

    return run


@pytest.fixture
def write(tmp_path) -> Callable[[str, str | bytes], str]:
    """Write a file and give its path."""

    def write(name: str, content: str | bytes) -> str:
        path: Path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return write
