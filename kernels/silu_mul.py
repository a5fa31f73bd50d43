"""The gated activation of an MLP whose gate and up projections are one matrix."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from structgen.kernels.layout import launches


@triton.jit
def _silu_mul(gate_up, stride, out, F: tl.constexpr, BLOCK: tl.constexpr):
    t = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = column < F
    place = gate_up + t * stride + column
    gate = tl.load(place, mask=inside, other=0)
    up = tl.load(place + F, mask=inside, other=0)
    wide = gate.to(tl.float32)
    active = (wide / (1 + tl.exp(-wide))).to(gate.dtype)
    product = active.to(tl.float32) * up.to(tl.float32)
    tl.store(out + t * F + column, product.to(gate.dtype), mask=inside)


def silu_mul(gate_up: torch.Tensor) -> torch.Tensor:
    """``silu(gate) * up`` (SwiGLU, Shazeer, arXiv 2002.05202).

    Args:
        gate_up: [T, 2 F], the gates first; fp32, fp16 or bf16; rows may be strided.

    Returns:
        [T, F], contiguous. The activation is rounded to the dtype before it is multiplied.
    """
    if not launches(gate_up):
        return silu_mul_reference(gate_up)
    tokens, f = gate_up.shape[0], gate_up.shape[1] // 2
    out = gate_up.new_empty(tokens, f)
    if not tokens:
        return out
    assert gate_up.stride(1) == 1
    block = min(1024, triton.next_power_of_2(f))
    _silu_mul[(tokens, triton.cdiv(f, block))](gate_up, gate_up.stride(0), out, F=f, BLOCK=block)
    return out


def silu_mul_reference(gate_up: torch.Tensor) -> torch.Tensor:
    """:func:`silu_mul` in plain torch."""
    gate, up = gate_up.chunk(2, dim=-1)
    return torch.nn.functional.silu(gate) * up
