"""What all tests stand on: structgen as installed, and helpers from this folder."""

from __future__ import annotations

import os
import sys
from importlib import metadata
from pathlib import Path

import pytest
import torch
from hypothesis import settings

TESTS = Path(__file__).resolve().parent


def _clean_path() -> None:
    # `python -m pytest` puts the repository root on sys.path, where kernels/ would shadow the
    # Hugging Face package of that name. An installed structgen does not need it there.
    others = [p for p in sys.path if Path(p or ".").resolve() != TESTS.parent]
    if any(metadata.distributions(name="structgen", path=others)):
        sys.path[:] = others
    if str(TESTS) not in sys.path:  # last, so that no folder of tests shadows a package
        sys.path.append(str(TESTS))


_clean_path()
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # a test that would download fails instead of waiting
# Small tensors: threads that wait for each other cost more than they do, beside other workers.
torch.set_num_threads(1)
if not torch.cuda.is_available():  # before anything imports triton
    os.environ.setdefault("TRITON_INTERPRET", "1")

# Whichever example comes first loads or compiles kernels: no example is timed.
settings.register_profile("untimed", settings(), deadline=None)
settings.load_profile("untimed")


@pytest.fixture(autouse=True)
def _interpreter(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    # Kernels under the interpreter are for the tests that are about them; elsewhere their
    # references stand in, as on a machine without a GPU.
    if not {"kernels", "integrations"} & set(request.path.parts):
        monkeypatch.setenv("TRITON_INTERPRET", "0")
