"""The product with eight-bit weights against the same in float64."""

from __future__ import annotations

import pytest
import torch

from structgen.kernels.quantized_linear import (
    MOST_TOKENS,
    quantized_linear,
    quantized_linear_reference,
)

# Of the largest result. Half precision has its own rounding, and the reference rounds the weights.
TOLERANCE = {torch.float32: 1e-6, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("kind", [torch.int8, torch.float8_e4m3fn])
@pytest.mark.parametrize("function", [quantized_linear, quantized_linear_reference])
@pytest.mark.parametrize(
    ("tokens", "n", "k"), [(1, 64, 256), (3, 33, 300), (70, 65, 48), (MOST_TOKENS + 1, 8, 8)]
)
def test_as_in_double_precision(device, dtype, kind, function, tokens, n, k):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(tokens, k + 4, generator=generator).to(device, dtype)[:, :k]
    weight = (torch.randn(n, k, generator=generator) * 40).clamp(-127, 127).to(device, kind)
    scale = torch.rand(n, generator=generator).to(device)
    expected = x.double() @ (weight.double() * scale.double()[:, None]).T
    out = function(x, weight, scale)
    assert out.dtype == dtype and out.shape == (tokens, n)
    assert (out - expected).abs().max() <= TOLERANCE[dtype] * expected.abs().max()


def test_large_weights_do_not_overflow_half_precision(device):
    x = torch.full((2, 512), 2.0, dtype=torch.float16, device=device)
    weight = torch.full((16, 512), 448.0, device=device).to(torch.float8_e4m3fn)
    scale = torch.full((16,), 1e-3, device=device)
    for function in (quantized_linear, quantized_linear_reference):
        torch.testing.assert_close(
            function(x, weight, scale),
            torch.full((2, 16), 458.75, device=device).half(),
            rtol=2e-3,
            atol=0,
        )
