"""The likeliest token that may come next, and the step that it takes: one launch.

A program looks at a part of one slot's logits, and loads those alone that the mask allows; a mask
of a few lists is the first program's work alone. The program that is ready last joins the parts,
takes the token (:mod:`structgen.kernels.advance`) and finds the rows of the next mask.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from structgen.kernels.advance import advance_reference, advance_slot, load_state, load_tables
from structgen.kernels.layout import *
from structgen.kernels.layout import ArenaTensors, SlotTensors, launches
from structgen.kernels.mask import fill_bitmask_reference, is_masked

NONE = tl.constexpr(0x7FFFFFFF)  # greater than any token id


@triton.jit
def _better(value, token, other_value, other_token):
    """The greater value; of equal ones the one with the lower id."""
    first = (value > other_value) | ((value == other_value) & (token < other_token))
    return tl.where(first, value, other_value), tl.where(first, token, other_token)


@triton.jit
def _best(value, token):
    """The greatest of a block, with the lowest id."""
    best = tl.max(value, 0)
    return best, tl.min(tl.where(value == best, token, NONE), 0)


@triton.jit
def _step(
    logits, stride, n_logits, out, part_values, part_tokens, tickets, words, words8, grammars,
    token_offsets, token_bytes, eos, n_eos, n_tokens, slots, stacks, rows, snapshots,
    PARTS: tl.constexpr, PER_PART: tl.constexpr, TILE: tl.constexpr, LIST_BLOCK: tl.constexpr,
    RING: tl.constexpr, DEPTH: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    b = tl.program_id(0)
    part = tl.program_id(1)
    slot = slots + b * S_WIDTH
    status = tl.load(slot + S_STATUS)
    n_bitmaps = tl.load(slot + S_N_BITMAPS)
    n_lists = tl.load(slot + S_N_LISTS)
    may_end = tl.load(slot + S_MAY_END)
    masked = is_masked(status)
    wide = (status == FREE) | (masked & (n_bitmaps > 0))
    best_value = float("-inf")
    best_token = NONE
    # Asked for now, so that it is there when the token is known.
    tables = load_tables(grammars, tl.load(slot + S_GRAMMAR))
    here = load_state(words, tables, tl.load(slot + S_STATE))
    if wide | (part == 0):
        logits += b.to(tl.int64) * stride
        row = rows + b * (MOST_ROWS * ROW_WIDTH)
        n_known = tl.minimum(n_tokens, n_logits)
        if wide:
            first = words + tl.load(row)
            word_at = tl.arange(0, TILE)
            bit = tl.arange(0, 32)
            tile_value = tl.full((TILE, 32), float("-inf"), tl.float32)
            tile_token = tl.full((TILE, 32), NONE, tl.int32)
            for start in range(part * PER_PART, (part + 1) * PER_PART, TILE):
                at = start + word_at
                inside = at * 32 < n_known
                word = tl.full((TILE,), -1, tl.int32)
                if status != FREE:
                    word = tl.load(first + at, mask=inside, other=0)
                    k = 1
                    while k < n_bitmaps:
                        other = words + tl.load(row + k * ROW_WIDTH)
                        word |= tl.load(other + at, mask=inside, other=0)
                        k += 1
                token = at[:, None] * 32 + bit[None, :]
                # Whole words are asked for, so that loads stay wide.
                asked = (word != 0)[:, None] & (token < n_known)
                # Read once: they shall not drive the tables out of the cache.
                value = tl.load(
                    logits + token, mask=asked, other=float("-inf"), eviction_policy="evict_first"
                ).to(tl.float32)
                allowed = asked & (((word[:, None] >> bit[None, :]) & 1) != 0)
                value = tl.where(allowed & (value == value), value, float("-inf"))
                better = allowed & ((value > tile_value) | (tile_token == NONE))
                tile_value = tl.where(better, value, tile_value)
                tile_token = tl.where(better, token, tile_token)
            best_value, best_token = _best(
                tl.reshape(tile_value, (TILE * 32,)), tl.reshape(tile_token, (TILE * 32,))
            )
        if (part == 0) & masked:
            k = 0
            while k < n_lists:
                offset = tl.load(row + (MOST_ROWS - 1 - k) * ROW_WIDTH)
                length = tl.load(row + (MOST_ROWS - 1 - k) * ROW_WIDTH + 1)
                cell = tl.arange(0, LIST_BLOCK)
                for start in range(0, length, LIST_BLOCK):
                    inside = start + cell < length
                    token = tl.load(words + offset + start + cell, mask=inside, other=NONE)
                    inside = inside & (token < n_known)
                    value = tl.load(logits + token, mask=inside, other=float("-inf"))
                    value = value.to(tl.float32)
                    value = tl.where(value == value, value, float("-inf"))
                    value, token = _best(value, tl.where(inside, token, NONE))
                    best_value, best_token = _better(best_value, best_token, value, token)
                k += 1
            if may_end != 0:
                for e in range(n_eos):
                    token = tl.load(eos + e)
                    if token < n_known:
                        value = tl.load(logits + token).to(tl.float32)
                        value = tl.where(value == value, value, float("-inf"))
                        best_value, best_token = _better(best_value, best_token, value, token)
    # Also programs that have nothing to do take a ticket: the slot must not change before all of
    # them have looked at it.
    tl.store(part_values + b * PARTS + part, best_value)
    tl.store(part_tokens + b * PARTS + part, best_token)
    tl.debug_barrier()  # what any thread wrote comes before the ticket
    ticket = tl.atomic_add(tickets + b, 1, sem="acq_rel", scope="gpu")
    if ticket == PARTS - 1:
        tl.store(tickets + b, 0)
        cell = tl.arange(0, PARTS)
        # Past the first cache, which other programs do not write to.
        value = tl.load(part_values + b * PARTS + cell, cache_modifier=".cg")
        token = tl.load(part_tokens + b * PARTS + cell, cache_modifier=".cg")
        best_value, best_token = _best(value, token)
        token = tl.where(best_token == NONE, -1, best_token)
        tl.store(out + b, token)
        advance_slot(
            b, token, tables, here, words, words8, token_offsets, token_bytes, eos, n_eos, n_tokens,
            slots, stacks, rows, snapshots, RING, DEPTH, BLOCK,
        )  # fmt: skip


class Workspace:
    """Where the parts of a step are joined."""

    def __init__(self, batch: int, n_tokens: int, device: torch.device | str) -> None:
        n_words = triton.cdiv(n_tokens, 32)
        # Programs enough for a large GPU, each with enough to do to be worth its start.
        self.warps = 4
        self.tile: int = min(64 if batch < 64 else 128, triton.next_power_of_2(n_words))
        parts = min(64, max(1, 2048 // batch), triton.cdiv(n_words, self.tile))
        self.parts: int = triton.next_power_of_2(parts)
        self.values = torch.empty((batch, self.parts), dtype=torch.float32, device=device)
        self.tokens = torch.empty((batch, self.parts), dtype=torch.int32, device=device)
        self.tickets = torch.zeros(batch, dtype=torch.int32, device=device)


def greedy_step(
    logits: torch.Tensor,
    out: torch.Tensor,
    arena: ArenaTensors,
    batch: SlotTensors,
    workspace: Workspace,
) -> None:
    """Choose the likeliest allowed token of each slot, and take it.

    Args:
        logits: [batch, at least 1], bf16, fp16 or fp32; rows may be strided. Those of ids from V on
            are not looked at. NaN counts as -inf; of equal ones the lowest id is chosen.
        out: int32 [batch], the tokens; -1 where nothing is allowed: the slot is finished, or waits.
        arena, batch: tables and slots; the slots have moved afterwards.
        workspace: for this batch.
    """
    if not launches(arena.words):
        out.copy_(greedy_reference(logits, arena, batch))
        return advance_reference(out, arena, batch)
    n, ring, width = batch.snapshots.shape
    depth = (width - 4) // 2
    parts, tile = workspace.parts, workspace.tile
    n_words = triton.cdiv(arena.n_tokens, 32)
    per_part = triton.cdiv(triton.cdiv(n_words, parts), tile) * tile
    _step[(n, parts)](
        logits, logits.stride(0), logits.shape[1], out, workspace.values, workspace.tokens,
        workspace.tickets, arena.words, arena.words8, arena.grammars, arena.token_offsets,
        arena.token_bytes, arena.eos, len(arena.eos), arena.n_tokens, *batch,
        PARTS=parts, PER_PART=per_part, TILE=tile, LIST_BLOCK=512, RING=ring, DEPTH=depth,
        BLOCK=min(512, triton.next_power_of_2(2 * depth)), num_warps=workspace.warps,
    )  # fmt: skip


def greedy_reference(logits: torch.Tensor, arena: ArenaTensors, batch: SlotTensors) -> torch.Tensor:
    """The tokens that :func:`greedy_step` chooses, in plain torch: int32 [batch]."""
    n = arena.n_tokens
    bitmask = torch.zeros((len(logits), (n + 31) // 32), dtype=torch.int32, device=logits.device)
    fill_bitmask_reference(arena.words, batch.slots, batch.rows, arena.eos, bitmask, n)
    token = torch.arange(min(n, logits.shape[1]), device=logits.device)
    allowed = (bitmask[:, token >> 5] >> (token & 31) & 1).bool()
    value = logits[:, : len(token)].float()
    value = value.masked_fill(value.isnan(), float("-inf"))
    value = value.masked_fill(~allowed, float("-inf"))
    best = allowed & (value == value.amax(1, keepdim=True))
    first = best.int().argmax(1)
    return torch.where(best.any(1), first, -1).to(torch.int32)
