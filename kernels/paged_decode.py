"""Attention of one query row a sequence over its paged keys: flash-decoding.

The keys of a sequence are split over several programs, so that few sequences fill the device too
(Dao, Haziza, Massa and Sizov, "Flash-Decoding for long-context inference", 2023). A program serves
all query heads that share a head of keys, so that keys and values are read once. The last program
of a sequence to finish, by a ticket, puts the parts together. The grid depends on nothing that the
host would have to ask the device for: it is that of the longest context to be served, and a program
past the end of its sequence returns at once.
"""

from __future__ import annotations

import os
from typing import NamedTuple

import torch
import triton
import triton.language as tl

# What a program at least reads: a part costs a tile of fp32 written and read again, and a start.
LEAST_SPLIT = tl.constexpr(128)
MOST_SPLITS = 64
# More than an H200 runs at a time (three on each of 132 processors), so that long and short
# sequences even out.
PROGRAMS = 1024
MOST_HEADS = 32  # query heads of a program

LOWEST = tl.constexpr(-1e30)  # a score that is not seen; finite, so that differences are numbers
LOG2_E = tl.constexpr(1.4426950408889634)


@triton.jit
def capped(scores, softcap):
    """``softcap * tanh(scores / softcap)``, for any finite scores."""
    return softcap - 2 * softcap / (1 + tl.exp2(scores * (2 * LOG2_E / softcap)))


@triton.jit
def tile_offsets(page, key, page_stride, slot_stride, PAGE_SIZE: tl.constexpr):
    """Where the rows of keys begin in a cache, in elements."""
    return page.to(tl.int64) * page_stride + (key % PAGE_SIZE) * slot_stride


@triton.jit
def _decode(
    query, k_cache, v_cache, page_table, context_lens, sinks, out, parts, sums, tickets,
    scale, softcap, window, query_stride, query_head_stride, out_stride, out_head_stride,
    k_page_stride, k_slot_stride, k_head_stride, v_page_stride, v_slot_stride, v_head_stride,
    table_stride, heads, splits,
    GROUP: tl.constexpr, HEADS: tl.constexpr, MEMBERS: tl.constexpr, D: tl.constexpr,
    DV: tl.constexpr, D_BLOCK: tl.constexpr, DV_BLOCK: tl.constexpr, PAGE_SIZE: tl.constexpr,
    BLOCK: tl.constexpr, SPLITS_BLOCK: tl.constexpr, WINDOW: tl.constexpr, SOFTCAP: tl.constexpr,
    SINKS: tl.constexpr, OPERAND: tl.constexpr,
):  # fmt: skip
    CHUNKS: tl.constexpr = (GROUP + HEADS - 1) // HEADS
    b = tl.program_id(2)
    split = tl.program_id(1)
    kv_head = tl.program_id(0) // CHUNKS
    member = tl.program_id(0) % CHUNKS * HEADS + tl.arange(0, HEADS)
    is_head = member < GROUP
    head = kv_head * GROUP + member
    context = tl.load(context_lens + b)
    first = 0
    if WINDOW:
        first = tl.maximum(context - window, 0)
    n_splits = tl.minimum(tl.cdiv(context - first, LEAST_SPLIT), splits)
    length = tl.cdiv(tl.cdiv(context - first, tl.maximum(n_splits, 1)), BLOCK) * BLOCK
    n_splits = tl.cdiv(context - first, tl.maximum(length, 1))
    if split >= tl.maximum(n_splits, 1):
        return

    dim = tl.arange(0, D_BLOCK)
    v_dim = tl.arange(0, DV_BLOCK)
    q_place = query + b.to(tl.int64) * query_stride + head[:, None] * query_head_stride
    q = tl.load(q_place + dim[None, :], mask=is_head[:, None] & (dim < D)[None, :], other=0)
    q = q.to(OPERAND)
    k_head = k_cache + kv_head * k_head_stride
    v_head = v_cache + kv_head * v_head_stride
    table = page_table + b.to(tl.int64) * table_stride
    highest = tl.full((HEADS,), LOWEST, tl.float32)
    total = tl.zeros((HEADS,), tl.float32)
    if SINKS:  # a score that the first part begins with
        sink = tl.load(sinks + head, mask=is_head, other=0).to(tl.float32) * LOG2_E
        highest = tl.where(split == 0, sink, highest)
        total = tl.where(split == 0, 1.0, total)
    summed = tl.zeros((HEADS, DV_BLOCK), tl.float32)

    end = tl.minimum(first + (split + 1) * length, context)
    for start in range(first + split * length, end, BLOCK):
        key = start + tl.arange(0, BLOCK)
        inside = key < end
        page = tl.load(table + key // PAGE_SIZE, mask=inside, other=0)
        place = tile_offsets(page, key, k_page_stride, k_slot_stride, PAGE_SIZE)
        kept = inside[:, None]
        if D != D_BLOCK:
            kept = kept & (dim < D)[None, :]
        k = tl.load(k_head + place[:, None] + dim[None, :], mask=kept, other=0).to(OPERAND)
        scores = tl.dot(q, tl.trans(k), input_precision="ieee") * scale
        if SOFTCAP:
            scores = capped(scores, softcap)
        scores = tl.where(inside[None, :], scores * LOG2_E, LOWEST)
        raised = tl.maximum(highest, tl.max(scores, 1))
        shares = tl.exp2(scores - raised[:, None])
        shrink = tl.exp2(highest - raised)
        total = total * shrink + tl.sum(shares, 1)
        highest = raised
        place = tile_offsets(page, key, v_page_stride, v_slot_stride, PAGE_SIZE)
        kept = inside[:, None]
        if DV != DV_BLOCK:
            kept = kept & (v_dim < DV)[None, :]
        v = tl.load(v_head + place[:, None] + v_dim[None, :], mask=kept, other=0)
        shares = shares.to(v_cache.dtype.element_ty).to(OPERAND)
        summed = tl.dot(shares, v.to(OPERAND), summed * shrink[:, None], input_precision="ieee")

    kept = is_head[:, None] & (v_dim < DV)[None, :]
    if n_splits <= 1:
        summed = summed / tl.where(total > 0, total, 1.0)[:, None]  # 0: a context of length 0
        place = out + b.to(tl.int64) * out_stride + head[:, None] * out_head_stride
        tl.store(place + v_dim[None, :], summed.to(out.dtype.element_ty), mask=kept)
    else:
        at = (b * splits + split) * heads + head
        tl.store(parts + at.to(tl.int64)[:, None] * DV + v_dim[None, :], summed, mask=kept)
        tl.store(sums + 2 * at, highest, mask=is_head)
        tl.store(sums + 2 * at + 1, total, mask=is_head)
        tl.debug_barrier()  # what any thread wrote comes before the ticket
        ticket = tickets + b * tl.num_programs(0) + tl.program_id(0)
        if tl.atomic_add(ticket, 1, sem="acq_rel", scope="gpu") == n_splits - 1:
            tl.store(ticket, 0)  # for the next launch
            _combine(
                out + b.to(tl.int64) * out_stride, out_head_stride, parts, sums, n_splits,
                b * splits, heads, kv_head * GROUP, tl.program_id(0) % CHUNKS * HEADS,
                GROUP, MEMBERS, DV, DV_BLOCK, SPLITS_BLOCK,
            )  # fmt: skip


@triton.jit
def _combine(
    out, out_head_stride, parts, sums, n_splits, first_part, heads, first_head, first_member,
    GROUP: tl.constexpr, MEMBERS: tl.constexpr, DV: tl.constexpr, DV_BLOCK: tl.constexpr,
    SPLITS_BLOCK: tl.constexpr,
):  # fmt: skip
    """Add up the parts of a sequence, many at a time: each load waits for the whole way to memory.

    They are loaded past the first-level cache, which knows nothing of other processors' stores.
    """
    AT_A_TIME: tl.constexpr = max(1, 32 // MEMBERS)
    member = first_member + tl.arange(0, MEMBERS)
    head = first_head + member
    v_dim = tl.arange(0, DV_BLOCK)
    split = tl.arange(0, SPLITS_BLOCK)
    there = (split < n_splits)[:, None] & (member < GROUP)[None, :]
    at = sums + 2 * ((first_part + split)[:, None] * heads + head[None, :])
    highest = tl.load(at, mask=there, other=LOWEST, cache_modifier=".cg")
    total = tl.load(at + 1, mask=there, other=0.0, cache_modifier=".cg")
    top = tl.max(highest, 0)
    total = tl.sum(total * tl.exp2(highest - top[None, :]), 0)
    summed = tl.zeros((MEMBERS, DV_BLOCK), tl.float32)
    for start in range(0, n_splits, AT_A_TIME):
        part = start + tl.arange(0, AT_A_TIME)
        is_part = (part < n_splits)[:, None] & (member < GROUP)[None, :]
        row = (first_part + part)[:, None] * heads + head[None, :]
        score = tl.load(sums + 2 * row, mask=is_part, other=LOWEST, cache_modifier=".cg")
        place = parts + row.to(tl.int64)[:, :, None] * DV + v_dim[None, None, :]
        kept = is_part[:, :, None] & (v_dim < DV)[None, None, :]
        values = tl.load(place, mask=kept, other=0.0, cache_modifier=".cg")
        summed += tl.sum(values * tl.exp2(score - top[None, :])[:, :, None], 0)
    is_head = member < GROUP
    summed = summed / tl.where(is_head, total, 1.0)[:, None]
    tl.store(
        out + head[:, None] * out_head_stride + v_dim[None, :],
        summed.to(out.dtype.element_ty),
        mask=is_head[:, None] & (v_dim < DV)[None, :],
    )


class DecodeWorkspace(NamedTuple):
    """What the programs of a launch leave for each other; launches after each other share it.

    Attributes:
        parts: fp32, unnormalised sums of values of each part.
        sums: fp32, the highest score (times log2 e) and the sum of shares of each part and head.
        tickets: int32, zero between launches.
        max_context: the context that the grid is made for; longer ones are right, but slower.
    """

    parts: torch.Tensor
    sums: torch.Tensor
    tickets: torch.Tensor
    max_context: int

    @staticmethod
    def allocate(
        max_batch: int,
        heads: int,
        kv_heads: int,
        value_dim: int,
        *,
        max_context: int,
        device: torch.device | str,
    ) -> DecodeWorkspace:
        """For batches of up to ``max_batch`` sequences, and up to so many heads and dimensions."""
        rows = heads * max(
            batch * n_splits(batch * kv_heads, max_context) for batch in range(1, max_batch + 1)
        )
        return DecodeWorkspace(
            torch.empty(rows * value_dim, dtype=torch.float32, device=device),
            torch.empty(rows * 2, dtype=torch.float32, device=device),
            torch.zeros(max_batch * heads, dtype=torch.int32, device=device),
            max_context,
        )


def n_splits(programs: int, max_context: int) -> int:
    """Over how many programs at most to spread a sequence, where one each would be ``programs``."""
    return max(
        1,
        min(
            triton.cdiv(PROGRAMS, programs),
            triton.cdiv(max_context, LEAST_SPLIT.value),
            MOST_SPLITS,
        ),
    )


class Blocks(NamedTuple):
    """How a kernel is laid out."""

    keys: int
    warps: int
    stages: int


def decode_blocks(dim: int, itemsize: int) -> Blocks:
    """Two tiles on their way in each of three programs of a processor: some 190 KB.

    Args:
        dim: the larger one of a key's and a value's, rounded up to a power of two.
        itemsize: bytes of an element.
    """
    if itemsize == 4:  # no tensor cores: the tiles go through registers
        return Blocks(keys=32 if dim <= 128 else 16, warps=4, stages=1)
    # Of five stages the numbers of pages take two, keys and values two, and one computes.
    return Blocks(keys=max(16, min(128, 64 * 128 // dim)), warps=4, stages=5)


def operand_type(dtype: torch.dtype) -> tl.dtype:
    """The type in which tiles are multiplied: their own, but Triton's interpreter has no bf16."""
    if dtype == torch.bfloat16 and os.environ.get("TRITON_INTERPRET") == "1":
        return tl.float32
    return {torch.bfloat16: tl.bfloat16, torch.float16: tl.float16, torch.float32: tl.float32}[
        dtype
    ]


def paged_decode(
    query: torch.Tensor,
    k_cache: torch.Tensor,
    v_cache: torch.Tensor,
    page_table: torch.Tensor,
    context_lens: torch.Tensor,
    *,
    scale: float,
    workspace: DecodeWorkspace,
    out: torch.Tensor,
    window: int = 0,
    softcap: float = 0.0,
    sinks: torch.Tensor | None = None,
) -> torch.Tensor:
    """:func:`structgen.kernels.paged_attention.paged_attention`, where row b is sequence b's only.

    Args:
        query: [B, H, D].
        workspace: kept by the caller; a captured graph uses the one that it was captured with.
        out: [B, H, Dv], written and returned.
    """
    batch, heads, head_dim = query.shape
    page_size, kv_heads, value_dim = v_cache.shape[1:]
    group = heads // kv_heads
    rows = max(16, min(MOST_HEADS, triton.next_power_of_2(group)))  # 16: the least of an MMA
    programs = kv_heads * triton.cdiv(group, rows)
    longest = min(window, workspace.max_context) if window else workspace.max_context
    splits = n_splits(batch * programs, longest)
    if (
        batch * splits * heads * value_dim > len(workspace.parts)
        or batch * splits * heads * 2 > len(workspace.sums)
        or batch * programs > len(workspace.tickets)
    ):
        raise ValueError(
            f"the workspace is too small for {batch} sequences with {heads} heads of {value_dim}:"
            " allocate it for the largest batch and the most heads"
        )
    dim_block, value_block = triton.next_power_of_2(head_dim), triton.next_power_of_2(value_dim)
    blocks = decode_blocks(max(dim_block, value_block), query.element_size())
    _decode[(programs, splits, batch)](
        query, k_cache, v_cache, page_table, context_lens, context_lens if sinks is None else sinks,
        out, workspace.parts, workspace.sums, workspace.tickets,
        scale, softcap, window, *query.stride()[:2], *out.stride()[:2],
        *k_cache.stride()[:3], *v_cache.stride()[:3], page_table.stride(0), heads, splits,
        GROUP=group, HEADS=rows, MEMBERS=min(rows, triton.next_power_of_2(group)),
        D=head_dim, DV=value_dim, D_BLOCK=max(16, dim_block), DV_BLOCK=max(16, value_block),
        PAGE_SIZE=page_size, BLOCK=blocks.keys, SPLITS_BLOCK=triton.next_power_of_2(splits),
        WINDOW=window > 0, SOFTCAP=softcap != 0.0, SINKS=sinks is not None,
        OPERAND=operand_type(query.dtype), num_warps=blocks.warps, num_stages=blocks.stages,
    )  # fmt: skip
    return out
