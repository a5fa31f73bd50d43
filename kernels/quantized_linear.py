"""A projection whose weights have eight bits: read once, widened in registers."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from structgen.kernels.layout import launches
from structgen.kernels.paged_decode import operand_type

# Beyond, multiplying takes the time, which cuBLAS does best, and not widening the weights once.
MOST_TOKENS = 256


@triton.jit
def _quantized_linear(
    x, x_stride, weight, scale, out, tokens,
    N: tl.constexpr, K: tl.constexpr,
    BLOCK_T: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
    OPERAND: tl.constexpr,
):  # fmt: skip
    # Programs with the same weights run next to each other, so that these are read once.
    t = tl.program_id(0) * BLOCK_T + tl.arange(0, BLOCK_T)
    row = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    k = tl.arange(0, BLOCK_K)
    x_place = x + t[:, None].to(tl.int64) * x_stride + k[None, :]
    w_place = weight + row[:, None].to(tl.int64) * K + k[None, :]
    total = tl.zeros((BLOCK_T, BLOCK_N), tl.float32)
    for start in range(0, K, BLOCK_K):
        known = (start + k < K)[None, :]
        w = tl.load(w_place + start, mask=(row < N)[:, None] & known, other=0.0)
        v = tl.load(x_place + start, mask=(t < tokens)[:, None] & known, other=0)
        total = tl.dot(v.to(OPERAND), tl.trans(w.to(OPERAND)), total, input_precision="ieee")
    total *= tl.load(scale + row, mask=row < N, other=0)[None, :]
    place = out + t[:, None].to(tl.int64) * N + row[None, :]
    tl.store(place, total.to(out.dtype.element_ty), mask=(t < tokens)[:, None] & (row < N)[None, :])


def quantized_linear(x: torch.Tensor, weight: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """``x (scale * weight)^T``.

    Args:
        x: [T, K], fp32, fp16 or bf16; rows may be strided.
        weight: int8 or float8_e4m3fn [N, K], contiguous.
        scale: fp32 [N], of each row.

    Returns:
        [T, N], of the dtype of ``x``.
    """
    tokens, n = x.shape[0], weight.shape[0]
    if not 0 < tokens <= MOST_TOKENS or not launches(x):
        return quantized_linear_reference(x, weight, scale)
    assert x.stride(1) == 1 and weight.is_contiguous()
    out = x.new_empty(tokens, n)
    # Few tokens: as many bytes of weights on their way as fit. Many: fewer readings of ``x``.
    block_t = min(64, max(16, triton.next_power_of_2(tokens)))
    block_n, block_k, stages = (32, 256, 5) if block_t == 16 else (64, 128, 4)
    _quantized_linear[(triton.cdiv(tokens, block_t), triton.cdiv(n, block_n))](
        x, x.stride(0), weight, scale, out, tokens, N=n, K=weight.shape[1],
        BLOCK_T=block_t, BLOCK_N=block_n, BLOCK_K=block_k, OPERAND=operand_type(x.dtype),
        num_warps=4, num_stages=stages,
    )  # fmt: skip
    return out


def quantized_linear_reference(
    x: torch.Tensor, weight: torch.Tensor, scale: torch.Tensor
) -> torch.Tensor:
    """:func:`quantized_linear` in plain torch: the weights are widened first."""
    wide = weight.to(x.dtype) * scale.to(x.dtype)[:, None]
    return torch.nn.functional.linear(x, wide)
