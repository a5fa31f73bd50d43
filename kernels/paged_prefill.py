"""Attention of ragged batches of query rows over paged keys: flash attention.

A program takes a block of rows of one sequence: its query tokens times the query heads that share a
head of keys, which are read once for all of them. It runs over the keys that the block can see, a
tile at a time, with an online softmax (Dao, "FlashAttention-2", 2023). Tiles that all its rows see
need no mask, tiles that none sees are left out.

Blocks are numbered through all sequences: with M rows a block and G heads sharing keys, those of
sequence b begin at ``query_starts[b] * G // M + b``, which leaves room for at least as many as it
has. So the grid follows from the number of rows and of sequences, however ragged they are.

A head's dimensions are two blocks of powers of two, 192 = 128 + 64 and 80 = 64 + 16, so that little
is multiplied in vain.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl

from structgen.kernels.paged_decode import LOG2_E, LOWEST, capped, operand_type, tile_offsets

SEQUENCES = tl.constexpr(128)  # looked at together when a block looks for its sequence


@triton.jit
def _tile(
    place, key, kept, START: tl.constexpr, WIDTH: tl.constexpr, DIM: tl.constexpr,
    MASKED: tl.constexpr, OPERAND: tl.constexpr,
):  # fmt: skip
    """Dimensions from START on of rows of a cache that begin at ``place``."""
    dim = START + tl.arange(0, WIDTH)
    at = place[:, None] + dim[None, :]
    if START + WIDTH > DIM:
        inside = (dim < DIM)[None, :]
        if MASKED:
            inside = inside & kept[:, None]
        tile = tl.load(at, mask=inside, other=0)
    elif MASKED:
        tile = tl.load(at, mask=kept[:, None], other=0)
    else:
        tile = tl.load(at)
    return tile.to(OPERAND)


@triton.jit
def _run(
    q, q_rest, k_head, v_head, table, position, first_key, start, end, scale, softcap, window,
    highest, total, summed, summed_rest,
    k_page_stride, k_slot_stride, v_page_stride, v_slot_stride,
    D: tl.constexpr, DV: tl.constexpr, D0: tl.constexpr, D1: tl.constexpr, V0: tl.constexpr,
    V1: tl.constexpr, PAGE_SIZE: tl.constexpr, BLOCK: tl.constexpr, MASKED: tl.constexpr,
    WINDOW: tl.constexpr, SOFTCAP: tl.constexpr, OPERAND: tl.constexpr,
):  # fmt: skip
    """The online softmax over keys from ``start``, a multiple of BLOCK, up to ``end``.

    Where not MASKED, every row sees all of them, and ``end`` is a multiple of BLOCK too.
    """
    element: tl.constexpr = v_head.dtype.element_ty
    for tile_start in range(start, end, BLOCK):
        key = tile_start + tl.arange(0, BLOCK)
        kept = (key >= first_key) & (key < end)
        if MASKED:
            page = tl.load(table + key // PAGE_SIZE, mask=kept, other=0)
        else:
            page = tl.load(table + key // PAGE_SIZE)
        place = k_head + tile_offsets(page, key, k_page_stride, k_slot_stride, PAGE_SIZE)
        k = _tile(place, key, kept, 0, D0, D, MASKED, OPERAND)
        scores = tl.dot(q, tl.trans(k), input_precision="ieee")
        if D1 > 0:
            k = _tile(place, key, kept, D0, D1, D, MASKED, OPERAND)
            scores = tl.dot(q_rest, tl.trans(k), scores, input_precision="ieee")
        if SOFTCAP:
            scores = capped(scores * scale, softcap) * LOG2_E
        else:
            scores = scores * (scale * LOG2_E)
        if MASKED:
            seen = key[None, :] <= position[:, None]
            if WINDOW:
                seen = seen & (key[None, :] > position[:, None] - window)
            scores = tl.where(seen, scores, LOWEST)
        # A row that has seen no key yet counts masked ones with share 1. Its first key undoes it:
        # what was before shrinks to nothing then.
        raised = tl.maximum(highest, tl.max(scores, 1))
        shares = tl.exp2(scores - raised[:, None])
        shrink = tl.exp2(highest - raised)
        total = total * shrink + tl.sum(shares, 1)
        highest = raised
        shares = shares.to(element).to(OPERAND)
        place = v_head + tile_offsets(page, key, v_page_stride, v_slot_stride, PAGE_SIZE)
        v = _tile(place, key, kept, 0, V0, DV, MASKED, OPERAND)
        summed = tl.dot(shares, v, summed * shrink[:, None], input_precision="ieee")
        if V1 > 0:
            v = _tile(place, key, kept, V0, V1, DV, MASKED, OPERAND)
            summed_rest = tl.dot(shares, v, summed_rest * shrink[:, None], input_precision="ieee")
    return highest, total, summed, summed_rest


@triton.jit
def _prefill(
    query, k_cache, v_cache, page_table, query_starts, context_lens, sinks, out,
    scale, softcap, window, batch, query_stride, query_head_stride, out_stride, out_head_stride,
    k_page_stride, k_slot_stride, k_head_stride, v_page_stride, v_slot_stride, v_head_stride,
    table_stride,
    GROUP: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr, D: tl.constexpr,
    DV: tl.constexpr, D0: tl.constexpr, D1: tl.constexpr, V0: tl.constexpr, V1: tl.constexpr,
    PAGE_SIZE: tl.constexpr, WINDOW: tl.constexpr, SOFTCAP: tl.constexpr, SINKS: tl.constexpr,
    OPERAND: tl.constexpr,
):  # fmt: skip
    # The last rows of a sequence see the most keys: they begin first.
    block = tl.num_programs(0) - 1 - tl.program_id(0)
    kv_head = tl.program_id(1)
    b = tl.full((), -1, tl.int32)
    for start in range(0, batch, SEQUENCES):
        i = start + tl.arange(0, SEQUENCES)
        begin = tl.load(query_starts + i, mask=i < batch, other=0) * GROUP // ROWS + i
        b += tl.sum(((i < batch) & (begin <= block)).to(tl.int32), 0)
    first_token = tl.load(query_starts + b)
    n = tl.load(query_starts + b + 1) - first_token
    block -= first_token * GROUP // ROWS + b
    if block * ROWS >= n * GROUP:
        return

    row = block * ROWS + tl.arange(0, ROWS)
    is_row = row < n * GROUP
    token = row // GROUP
    head = kv_head * GROUP + row % GROUP
    context = tl.load(context_lens + b)
    before = context - n  # positions of the sequence before its first query row
    position = before + token
    low = before + block * ROWS // GROUP
    high = before + (tl.minimum((block + 1) * ROWS, n * GROUP) - 1) // GROUP
    q_place = query + (first_token + token).to(tl.int64) * query_stride + head * query_head_stride
    q = _tile(q_place, row, is_row, 0, D0, D, True, OPERAND)
    q_rest = q
    if D1 > 0:
        q_rest = _tile(q_place, row, is_row, D0, D1, D, True, OPERAND)
    k_head = k_cache + kv_head * k_head_stride
    v_head = v_cache + kv_head * v_head_stride
    table = page_table + b.to(tl.int64) * table_stride
    highest = tl.full((ROWS,), LOWEST, tl.float32)
    total = tl.zeros((ROWS,), tl.float32)
    if SINKS:  # a score that each row begins with
        highest = tl.load(sinks + head, mask=is_row, other=0).to(tl.float32) * LOG2_E
        total += 1.0
    summed = tl.zeros((ROWS, V0), tl.float32)
    summed_rest = tl.zeros((ROWS, max(16, V1)), tl.float32)

    first_key = 0
    masked_from = (tl.maximum(low, -1) + 1) // BLOCK * BLOCK
    if WINDOW:
        first_key = tl.maximum(low - window + 1, 0)
        masked_from = first_key // BLOCK * BLOCK
    else:
        highest, total, summed, summed_rest = _run(
            q, q_rest, k_head, v_head, table, position, 0, 0, masked_from, scale, softcap, window,
            highest, total, summed, summed_rest,
            k_page_stride, k_slot_stride, v_page_stride, v_slot_stride,
            D, DV, D0, D1, V0, V1, PAGE_SIZE, BLOCK, False, False, SOFTCAP, OPERAND,
        )  # fmt: skip
    highest, total, summed, summed_rest = _run(
        q, q_rest, k_head, v_head, table, position, first_key, masked_from, high + 1,
        scale, softcap, window, highest, total, summed, summed_rest,
        k_page_stride, k_slot_stride, v_page_stride, v_slot_stride,
        D, DV, D0, D1, V0, V1, PAGE_SIZE, BLOCK, True, WINDOW, SOFTCAP, OPERAND,
    )  # fmt: skip

    total = tl.where(total > 0, total, 1.0)[:, None]  # 0: a context of length 0
    place = out + (first_token + token).to(tl.int64) * out_stride + head * out_head_stride
    dim = tl.arange(0, V0)
    tl.store(
        place[:, None] + dim[None, :],
        (summed / total).to(out.dtype.element_ty),
        mask=is_row[:, None] & (dim < DV)[None, :],
    )
    if V1 > 0:
        dim = V0 + tl.arange(0, V1)
        tl.store(
            place[:, None] + dim[None, :],
            (summed_rest / total).to(out.dtype.element_ty),
            mask=is_row[:, None] & (dim < DV)[None, :],
        )


class Blocks(NamedTuple):
    """How the kernel is laid out: rows and keys of a tile."""

    rows: int
    keys: int
    warps: int
    stages: int


def prefill_blocks(rows: int, head_dim: int, value_dim: int, itemsize: int) -> Blocks:
    """For blocks of up to ``rows`` rows; chosen so that nothing spills and 227 KiB suffice."""
    wide = max(head_dim, value_dim) > 128
    if itemsize == 4:  # no tensor cores: the tiles go through registers
        return Blocks(rows=16, keys=16 if wide else 32, warps=4, stages=1)
    if rows <= 16:
        return Blocks(rows=16, keys=32, warps=4, stages=5)
    if rows <= 64 and not wide:
        return Blocks(rows=64, keys=64, warps=4, stages=3)
    if value_dim > 128:
        return Blocks(rows=128, keys=32, warps=8, stages=3)
    return Blocks(rows=128, keys=64, warps=8, stages=3 if wide else 5)


def split_dim(dim: int) -> tuple[int, int]:
    """The greatest power of two up to ``dim``, and one that takes the rest, or 0; 16 at least.

    Up to 64 nothing is split: it saves little there, and Triton 3.6 compiles a reduction of the
    smallest tiles that writes past its shared memory.
    """
    if dim <= 64:
        return max(16, triton.next_power_of_2(dim)), 0
    first = 1 << (dim.bit_length() - 1)
    return first, max(16, triton.next_power_of_2(dim - first)) if dim > first else 0


def paged_prefill(
    query: torch.Tensor,
    k_cache: torch.Tensor,
    v_cache: torch.Tensor,
    page_table: torch.Tensor,
    query_starts: torch.Tensor,
    context_lens: torch.Tensor,
    *,
    max_query: int,
    scale: float,
    out: torch.Tensor,
    window: int = 0,
    softcap: float = 0.0,
    sinks: torch.Tensor | None = None,
) -> torch.Tensor:
    """:func:`structgen.kernels.paged_attention.paged_attention` for any number of rows a sequence.

    Args:
        query: [T, H, D].
        max_query: the size of blocks follows from it; nothing else does.
        out: [T, H, Dv], written and returned.
    """
    n_tokens, heads, head_dim = query.shape
    page_size, kv_heads, value_dim = v_cache.shape[1:]
    batch, group = len(context_lens), heads // kv_heads
    blocks = prefill_blocks(max_query * group, head_dim, value_dim, query.element_size())
    (d0, d1), (v0, v1) = split_dim(head_dim), split_dim(value_dim)
    _prefill[(n_tokens * group // blocks.rows + batch, kv_heads)](
        query, k_cache, v_cache, page_table, query_starts, context_lens,
        context_lens if sinks is None else sinks, out,
        scale, softcap, window, batch, *query.stride()[:2], *out.stride()[:2],
        *k_cache.stride()[:3], *v_cache.stride()[:3], page_table.stride(0),
        GROUP=group, ROWS=blocks.rows, BLOCK=blocks.keys, D=head_dim, DV=value_dim,
        D0=d0, D1=d1, V0=v0, V1=v1, PAGE_SIZE=page_size,
        WINDOW=window > 0, SOFTCAP=softcap != 0.0, SINKS=sinks is not None,
        OPERAND=operand_type(query.dtype), num_warps=blocks.warps, num_stages=blocks.stages,
    )  # fmt: skip
    return out
