"""The stamp of compiled kernels covers all of their sources."""

from __future__ import annotations

import re
from pathlib import Path

from structgen import jit


def test_all_sources_of_kernels_are_listed() -> None:
    package = Path(jit.__file__).parent
    compiled = re.compile(r"^@kernel\b|\b(nb|numba)\.njit\b", re.MULTILINE)
    found = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if compiled.search(path.read_text(encoding="utf-8"))
    }
    assert found - {"jit.py"} == set(jit._KERNEL_SOURCES) - {"jit.py"}
