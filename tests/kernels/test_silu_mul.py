"""The gated activation against torch's own."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import silu

from structgen.kernels.silu_mul import silu_mul, silu_mul_reference

# Triton's interpreter cuts bf16 off instead of rounding.
TOLERANCE = {torch.float32: 1e-6, torch.float16: 2e-3, torch.bfloat16: 2e-2}


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("function", [silu_mul, silu_mul_reference])
@pytest.mark.parametrize(("tokens", "f"), [(1, 1), (3, 100), (0, 8), (2, 1027)])
def test_as_torch(device, dtype, function, tokens, f):
    generator = torch.Generator().manual_seed(0)
    wide = (torch.randn(tokens, 2 * f + 7, generator=generator) * 4).to(device, dtype)
    gate_up = wide[:, 2 : 2 * f + 2]
    expected = silu(gate_up[:, :f]) * gate_up[:, f:]
    tolerance = TOLERANCE[dtype]
    torch.testing.assert_close(function(gate_up), expected, rtol=tolerance, atol=tolerance)


def test_large_gates_do_not_overflow(device):
    gate_up = torch.tensor([[-1e4, 1e4, -200.0, 2.0, 3.0, 5.0]], device=device)
    torch.testing.assert_close(silu_mul(gate_up), torch.tensor([[0, 3e4, 0]], device=device))
