"""Kernels run on the CUDA device, or in Triton's interpreter where there is none."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(params=["cpu", "cuda"])
def device(request: pytest.FixtureRequest) -> str:
    """Where the kernels of a test run: "cpu" is Triton's interpreter."""
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    if request.param == "cpu" and torch.cuda.is_available():
        pytest.skip("kernels are compiled for the CUDA device here")
    return request.param
