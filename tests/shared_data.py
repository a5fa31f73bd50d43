"""Real inputs (tokenizers, schemas, a checkpoint) that lie beside the repository, not in it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def shared_data(*parts: str) -> Path:
    """A path below ``$STRUCTGEN_SHARED/data``, or ``../shared/data`` beside the repository.

    Skips the test (or the module, where it is called at import) if there is no such path.
    """
    default = Path(__file__).resolve().parents[2] / "shared"
    path = Path(os.environ.get("STRUCTGEN_SHARED", default)).joinpath("data", *parts)
    if not path.exists():
        pytest.skip(f"shared data is not here: {path}", allow_module_level=True)
    return path
