"""The norm against transformers' module, and the kernel where its rows are strided."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from structgen.kernels.rms_norm import rms_norm, rms_norm_reference

DTYPES = [torch.float32, torch.float16, torch.bfloat16]
# Two roundings may go the other way; Triton's interpreter cuts bf16 off instead of rounding.
TOLERANCE = {torch.float32: 1e-6, torch.float16: 2e-3, torch.bfloat16: 2e-2}


def module(n: int, eps: float, dtype: torch.dtype, device: str) -> LlamaRMSNorm:
    norm = LlamaRMSNorm(n, eps).to(device, dtype).requires_grad_(False)
    norm.weight.copy_(torch.randn(n, generator=torch.Generator().manual_seed(1)))
    return norm


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("function", [rms_norm, rms_norm_reference])
@pytest.mark.parametrize(("tokens", "n"), [(1, 64), (3, 100), (5, 1), (0, 8), (2, 1536)])
def test_as_transformers(device, dtype, function, tokens, n):
    generator = torch.Generator().manual_seed(0)
    x, residual = torch.randn(2, tokens, n, generator=generator).to(device, dtype)
    norm = module(n, 1e-5, dtype, device)
    close = {"rtol": TOLERANCE[dtype], "atol": TOLERANCE[dtype]}
    torch.testing.assert_close(function(x, norm.weight, 1e-5), norm(x), **close)
    total = residual + x
    out = function(x, norm.weight, 1e-5, residual)
    if function is rms_norm_reference or dtype != torch.bfloat16 or device == "cuda":
        assert torch.equal(residual, total)
    torch.testing.assert_close(residual, total, **close)
    torch.testing.assert_close(out, norm(total), **close)


def test_rows_may_be_strided(device):
    wide = torch.randn(4, 50, device=device)
    x, residual = wide[:, 3:40], torch.randn(4, 60, device=device)[:, :37]
    weight = torch.randn(37, device=device)
    expected_residual = residual.clone()
    expected = rms_norm_reference(x, weight, 1e-6, expected_residual)
    torch.testing.assert_close(rms_norm(x, weight, 1e-6, residual), expected)
    torch.testing.assert_close(residual, expected_residual)


@given(st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=20), st.floats(0.5, 100))
def test_a_scaled_row_has_the_same_norm(row, factor):
    x = torch.tensor([row], device="cuda" if torch.cuda.is_available() else "cpu")
    weight = torch.ones_like(x[0])
    out = rms_norm(x, weight, 0.0 if x.abs().max() > 1e-3 else 1.0)
    if x.abs().max() > 1e-3:
        assert out.pow(2).mean().sqrt().item() == pytest.approx(1, rel=1e-4)
        torch.testing.assert_close(rms_norm(x * factor, weight, 0.0), out, rtol=1e-3, atol=1e-5)
