"""What happens to queries, keys and values between their projection and attention, in one pass.

Heads may be normalised (Qwen3), queries and keys are rotated by their positions (Su et al., arXiv
2104.09864; the halves of a head are the two coordinates, as in transformers' Llama), and keys and
values go to the pages of the cache.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from structgen.kernels.layout import launches
from structgen.kernels.rms_norm import rms_norm_reference

HEADS_AT_ONCE = 8


@triton.jit
def _rotary(
    qkv, stride, positions, table, most, places, q_weight, k_weight, eps,
    keys, key_page, key_place, key_head, values, value_page, value_place, value_head,
    HEADS: tl.constexpr, KV_HEADS: tl.constexpr, HALF: tl.constexpr, PAGE_SIZE: tl.constexpr,
    NORM: tl.constexpr, BLOCK_HEADS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    t = tl.program_id(0).to(tl.int64)
    head = tl.program_id(1) * BLOCK_HEADS + tl.arange(0, BLOCK_HEADS)
    column = tl.arange(0, BLOCK)
    in_head = column < HALF
    inside = (head < HEADS + 2 * KV_HEADS)[:, None] & in_head[None, :]
    is_query = head < HEADS
    is_key = (head >= HEADS) & (head < HEADS + KV_HEADS)
    is_value = head >= HEADS + KV_HEADS

    position = tl.minimum(tl.load(positions + t).to(tl.int64), most)
    cos = tl.load(table + position * (2 * HALF) + column, mask=in_head, other=0)[None, :]
    sin = tl.load(table + position * (2 * HALF) + HALF + column, mask=in_head, other=0)[None, :]
    source = qkv + t * stride + head[:, None] * (2 * HALF) + column[None, :]
    low = tl.load(source, mask=inside, other=0)
    high = tl.load(source + HALF, mask=inside, other=0)
    x, y = low.to(tl.float32), high.to(tl.float32)
    if NORM:
        scale = tl.rsqrt(tl.sum(x * x + y * y, 1) / (2 * HALF) + eps)[:, None]
        q_low = tl.load(q_weight + column, mask=in_head, other=0)[None, :]
        q_high = tl.load(q_weight + HALF + column, mask=in_head, other=0)[None, :]
        k_low = tl.load(k_weight + column, mask=in_head, other=0)[None, :]
        k_high = tl.load(k_weight + HALF + column, mask=in_head, other=0)[None, :]
        # Rounded where transformers rounds: once normalised, and once multiplied.
        x = (x * scale).to(low.dtype).to(tl.float32)
        y = (y * scale).to(low.dtype).to(tl.float32)
        x *= tl.where(is_query[:, None], q_low, k_low).to(tl.float32)
        y *= tl.where(is_query[:, None], q_high, k_high).to(tl.float32)
        x, y = x.to(low.dtype).to(tl.float32), y.to(low.dtype).to(tl.float32)
    new_low = (x * cos - y * sin).to(low.dtype)
    new_high = (y * cos + x * sin).to(low.dtype)

    queries = inside & is_query[:, None]
    tl.store(source, new_low, mask=queries)
    tl.store(source + HALF, new_high, mask=queries)
    place = tl.load(places + t).to(tl.int64)
    page, offset = place // PAGE_SIZE, place % PAGE_SIZE
    kept = inside & (place >= 0)
    target = keys + page * key_page + offset * key_place + column[None, :]
    target += (head - HEADS).to(tl.int64)[:, None] * key_head
    tl.store(target, new_low.to(keys.dtype.element_ty), mask=kept & is_key[:, None])
    tl.store(target + HALF, new_high.to(keys.dtype.element_ty), mask=kept & is_key[:, None])
    target = values + page * value_page + offset * value_place + column[None, :]
    target += (head - HEADS - KV_HEADS).to(tl.int64)[:, None] * value_head
    tl.store(target, low.to(values.dtype.element_ty), mask=kept & is_value[:, None])
    tl.store(target + HALF, high.to(values.dtype.element_ty), mask=kept & is_value[:, None])


def rotate_and_keep(
    qkv: torch.Tensor,
    positions: torch.Tensor,
    table: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    places: torch.Tensor,
    norms: tuple[torch.Tensor, torch.Tensor, float] | None = None,
) -> torch.Tensor:
    """Rotate queries in place; rotate keys and write them, and the values, into the cache.

    Args:
        qkv: [T, (H + 2 KV) D], fp32, fp16 or bf16: the heads of queries, keys and values of each
            token; D even; rows may be strided. The part of keys and values stays as it is.
        positions: int64 or int32 [T], below P; later ones, of tokens that only fill a batch, are
            taken for P - 1.
        table: fp32 [P, D], cosines of the D / 2 angles of each position, then their sines.
        keys, values: [pages, page_size, KV, D], of any float dtype; strided, but for D.
        places: int64 or int32 [T], page * page_size + offset; nothing is kept where negative.
        norms: weights [D] of the queries' and the keys' norm, of ``qkv``'s dtype, and its epsilon:
            each head is normalised first, as :func:`~structgen.kernels.rms_norm.rms_norm` does.

    Returns:
        The queries, [T, H, D], a view of ``qkv``.
    """
    if not launches(qkv):
        return rotate_and_keep_reference(qkv, positions, table, keys, values, places, norms)
    tokens, width = qkv.shape
    _, page_size, kv_heads, dim = keys.shape
    heads = width // dim - 2 * kv_heads
    query = qkv[:, : heads * dim].unflatten(1, (heads, dim))
    if not tokens:
        return query
    assert dim % 2 == 0 and table.is_contiguous()
    assert qkv.stride(1) == keys.stride(3) == values.stride(3) == 1
    q_weight, k_weight, eps = norms if norms is not None else (qkv, qkv, 0.0)
    _rotary[(tokens, triton.cdiv(heads + 2 * kv_heads, HEADS_AT_ONCE))](
        qkv, qkv.stride(0), positions, table, len(table) - 1, places, q_weight, k_weight, eps,
        keys, *keys.stride()[:3], values, *values.stride()[:3],
        HEADS=heads, KV_HEADS=kv_heads, HALF=dim // 2, PAGE_SIZE=page_size, NORM=norms is not None,
        BLOCK_HEADS=HEADS_AT_ONCE, BLOCK=triton.next_power_of_2(dim // 2), num_warps=2,
    )  # fmt: skip
    return query


def rotate_and_keep_reference(
    qkv: torch.Tensor,
    positions: torch.Tensor,
    table: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    places: torch.Tensor,
    norms: tuple[torch.Tensor, torch.Tensor, float] | None = None,
) -> torch.Tensor:
    """:func:`rotate_and_keep` in plain torch."""
    _, page_size, kv_heads, dim = keys.shape
    every = qkv.unflatten(1, (-1, dim))
    query, key, value = every.split([every.shape[1] - 2 * kv_heads, kv_heads, kv_heads], dim=1)
    new_query, new_key = query, key
    if norms is not None:
        q_weight, k_weight, eps = norms
        new_query = rms_norm_reference(query, q_weight, eps)
        new_key = rms_norm_reference(key, k_weight, eps)
    angles = table[positions.clamp_max(len(table) - 1)].unsqueeze(1)
    query.copy_(_rotated(new_query, angles))
    kept = places >= 0
    page, offset = places[kept] // page_size, places[kept] % page_size
    keys[page, offset] = _rotated(new_key, angles)[kept].to(keys.dtype)
    values[page, offset] = value[kept].to(values.dtype)
    return query


def _rotated(x: torch.Tensor, angles: torch.Tensor) -> torch.Tensor:
    """``x`` [T, heads, D] rotated, in fp32, rounded once; angles fp32 [T, 1, D]."""
    low, high = x.float().chunk(2, dim=-1)
    cos, sin = angles.chunk(2, dim=-1)
    return torch.cat([low * cos - high * sin, high * cos + low * sin], dim=-1).to(x.dtype)
