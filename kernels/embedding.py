"""Rows of the embedding matrix, of a batch that may hold padding."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from structgen.kernels.layout import launches


@triton.jit
def _embed(tokens, weight, out, N: tl.constexpr, BLOCK: tl.constexpr):
    t = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    token = tl.maximum(tl.load(tokens + t), 0).to(tl.int64)
    row = tl.load(weight + token * N + column, mask=column < N, other=0)
    tl.store(out + t * N + column, row, mask=column < N)


def embed(tokens: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """The embeddings of ``tokens``.

    Args:
        tokens: int64 or int32 [T], below V; a negative one is padding, which gets row 0.
        weight: [V, N], contiguous.

    Returns:
        [T, N], a copy.
    """
    if not launches(weight):
        return embed_reference(tokens, weight)
    n = weight.shape[1]
    out = weight.new_empty(len(tokens), n)
    if not len(tokens):
        return out
    assert weight.is_contiguous() and tokens.is_contiguous()
    block = min(1024, triton.next_power_of_2(n))
    _embed[(len(tokens), triton.cdiv(n, block))](tokens, weight, out, N=n, BLOCK=block)
    return out


def embed_reference(tokens: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """:func:`embed` in plain torch."""
    return weight[tokens.clamp_min(0)]
