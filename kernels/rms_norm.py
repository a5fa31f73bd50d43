"""Root-mean-square normalisation, after the residual is added where there is one."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from structgen.kernels.layout import launches


@triton.jit
def _rms_norm(
    x, x_stride, residual, residual_stride, weight, out, eps,
    N: tl.constexpr, ADD: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    t = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    inside = column < N
    scale = tl.load(weight + column, mask=inside, other=0)
    value = tl.load(x + t * x_stride + column, mask=inside, other=0)
    if ADD:
        place = residual + t * residual_stride + column
        held = tl.load(place, mask=inside, other=0)
        value = (held.to(tl.float32) + value.to(tl.float32)).to(value.dtype)
        tl.store(place, value, mask=inside)
    wide = value.to(tl.float32)
    normal = wide * tl.rsqrt(tl.sum(wide * wide, 0) / N + eps)
    # Rounded before the weight is applied, as the models were trained.
    rounded = normal.to(value.dtype).to(tl.float32) * scale.to(tl.float32)
    tl.store(out + t * N + column, rounded.to(value.dtype), mask=inside)


def rms_norm(
    x: torch.Tensor, weight: torch.Tensor, eps: float, residual: torch.Tensor | None = None
) -> torch.Tensor:
    """``x`` over its root mean square, times ``weight`` (Zhang and Sennrich, arXiv 1910.07467).

    Args:
        x: [T, N], fp32, fp16 or bf16; rows may be strided.
        weight: [N], of the same dtype.
        eps: added to the mean square.
        residual: [T, N] of the same dtype: ``x`` is added to it in place, and the sum normalised.

    Returns:
        [T, N], contiguous. The mean square is computed in fp32, and the normalised value rounded
        to the dtype of ``x`` before it is multiplied.
    """
    if not launches(x):
        return rms_norm_reference(x, weight, eps, residual)
    tokens, n = x.shape
    out = x.new_empty(tokens, n)
    if not tokens:
        return out
    held = x if residual is None else residual
    assert x.stride(1) == held.stride(1) == weight.stride(0) == 1
    block = triton.next_power_of_2(n)
    _rms_norm[(tokens,)](
        x, x.stride(0), held, held.stride(0), weight, out, eps,
        N=n, ADD=residual is not None, BLOCK=block, num_warps=min(16, max(1, block // 512)),
    )  # fmt: skip
    return out


def rms_norm_reference(
    x: torch.Tensor, weight: torch.Tensor, eps: float, residual: torch.Tensor | None = None
) -> torch.Tensor:
    """:func:`rms_norm` in plain torch."""
    if residual is not None:
        x = residual.add_(x)
    wide = x.float()
    normal = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps)
    return normal.to(x.dtype) * weight
