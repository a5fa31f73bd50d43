"""The likeliest token that may come next, and the step that it takes: one launch.

A program looks at a part of one slot's logits, and loads those alone that the mask allows; a mask
of a few lists is the first program's work alone. The program that is ready last joins the parts,
takes the token (:mod:`structgen.kernels.advance`) and finds the rows of the next mask.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl

from structgen.kernels.advance import advance_slot, load_slot, save_slot
from structgen.kernels.advance_reference import advance_reference
from structgen.kernels.automaton import load_state, load_tables
from structgen.kernels.layout import *
from structgen.kernels.layout import ArenaTensors, SlotTensors, is_active, launches
from structgen.kernels.mask import fill_bitmask_reference, is_masked

MOST_PARTS = 64  # programs that share a slot
NONE = tl.constexpr(0x7FFFFFFF)  # greater than any token id


@triton.jit
def _better(value, token, other_value, other_token):
    """The greater value; of equal ones the one with the lower id."""
    first = (value > other_value) | ((value == other_value) & (token < other_token))
    return tl.where(first, value, other_value), tl.where(first, token, other_token)


@triton.jit
def _better_row(value, at, word, other_value, other_at, other_word):
    """:func:`_better` of words, which take their bits along."""
    first = (value > other_value) | ((value == other_value) & (at < other_at))
    return (
        tl.where(first, value, other_value), tl.where(first, at, other_at),
        tl.where(first, word, other_word),
    )  # fmt: skip


@triton.jit
def _best(value, token):
    """The greatest of a block, with the lowest id."""
    best = tl.max(value, 0)
    return best, tl.min(tl.where(value == best, token, NONE), 0)


@triton.jit
def _step(
    logits, stride, n_logits, out, active, part_values, part_tokens, tickets, words, words8,
    grammars, token_offsets, token_bytes, eos, n_eos, n_tokens, slots, stacks, rows, snapshots,
    PARTS: tl.constexpr, PER_PART: tl.constexpr, TILE: tl.constexpr, LIST_BLOCK: tl.constexpr,
    RING: tl.constexpr, DEPTH: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    b = tl.program_id(0)
    part = tl.program_id(1)
    if is_active(active, b):
        _step_slot(
            b, part, logits, stride, n_logits, out, part_values, part_tokens, tickets, words,
            words8, grammars, token_offsets, token_bytes, eos, n_eos, n_tokens, slots, stacks,
            rows, snapshots, PARTS, PER_PART, TILE, LIST_BLOCK, RING, DEPTH, BLOCK,
        )  # fmt: skip
    elif part == 0:
        tl.store(out + b, -1)


@triton.jit
def _step_slot(
    b, part, logits, stride, n_logits, out, part_values, part_tokens, tickets, words, words8,
    grammars, token_offsets, token_bytes, eos, n_eos, n_tokens, slots, stacks, rows, snapshots,
    PARTS: tl.constexpr, PER_PART: tl.constexpr, TILE: tl.constexpr, LIST_BLOCK: tl.constexpr,
    RING: tl.constexpr, DEPTH: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    slot = slots + b * S_WIDTH
    status = tl.load(slot + S_STATUS)
    n_bitmaps = tl.load(slot + S_N_BITMAPS)
    n_lists = tl.load(slot + S_N_LISTS)
    masked = is_masked(status)
    wide = (status == FREE) | (masked & (n_bitmaps > 0))
    best_value = float("-inf")
    best_token = NONE
    # Asked for now, so that it is there when the token is known.
    configuration = load_slot(slot)
    tables = load_tables(grammars, tl.load(slot + S_GRAMMAR))
    here = load_state(words, tables, configuration[0])
    if part == 0:
        save_slot(b, configuration, stacks, snapshots, RING, DEPTH, BLOCK)
    if wide | (part == 0):
        logits += b.to(tl.int64) * stride
        row = rows + b * (MOST_ROWS * ROW_WIDTH)
        n_known = tl.minimum(n_tokens, n_logits)
        if wide:
            first = words + tl.load(row)
            word_at = tl.arange(0, TILE)
            lane = tl.arange(0, 32)
            lane_bit = 1 << lane
            # Of each row of the tile the greatest value, and the word in which it is: to note the
            # token of each lane would be half of the work. Where all is -inf, the first word.
            row_value = tl.full((TILE,), float("-inf"), tl.float32)
            row_at = tl.full((TILE,), NONE, tl.int32)
            row_word = tl.full((TILE,), 0, tl.int32)
            for start in range(part * PER_PART, (part + 1) * PER_PART, TILE):
                at = start + word_at
                rest = tl.maximum(n_known - at * 32, 0)
                word = tl.where(rest >= 32, -1, (1 << tl.minimum(rest, 31)) - 1)
                if status != FREE:
                    found = tl.load(first + at, mask=rest > 0, other=0)
                    k = 1
                    while k < n_bitmaps:
                        other = words + tl.load(row + k * ROW_WIDTH)
                        found |= tl.load(other + at, mask=rest > 0, other=0)
                        k += 1
                    word &= found
                token = at[:, None] * 32 + lane[None, :]
                # Whole words are asked for, so that loads stay wide; read once: they shall not
                # drive the tables out of the cache.
                value = tl.load(
                    logits + token, mask=(word != 0)[:, None] & (token < n_known),
                    other=float("-inf"), eviction_policy="evict_first",
                ).to(tl.float32)  # fmt: skip
                allowed = (word[:, None] & lane_bit[None, :]) != 0
                # NaN beside anything else is left out.
                value = tl.max(tl.where(allowed, value, float("-inf")), 1)
                value = tl.where(value == value, value, float("-inf"))
                better = (value > row_value) | ((row_at == NONE) & (word != 0))
                row_value = tl.where(better, value, row_value)
                row_at = tl.where(better, at, row_at)
                row_word = tl.where(better, word, row_word)
            best_value, best_at, best_word = tl.reduce(
                (row_value, row_at, row_word), 0, _better_row
            )
            if best_at != NONE:
                token = best_at * 32 + lane
                allowed = (best_word & lane_bit) != 0
                value = tl.load(logits + token, mask=allowed, other=float("-inf")).to(tl.float32)
                value = tl.where(value == value, value, float("-inf"))
                best_token = tl.min(tl.where(allowed & (value == best_value), token, NONE), 0)
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
            if configuration[6] != 0:
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
            b, token, status, configuration, tables, here, words, words8, token_offsets,
            token_bytes, eos, n_eos, n_tokens, slots, stacks, rows, snapshots, RING, DEPTH, BLOCK,
        )  # fmt: skip


class Workspace:
    """Where the parts of a step are joined, of at most ``batch`` slots."""

    def __init__(self, batch: int, device: torch.device | str) -> None:
        self.values = torch.empty(batch * MOST_PARTS, dtype=torch.float32, device=device)
        self.tokens = torch.empty(batch * MOST_PARTS, dtype=torch.int32, device=device)
        self.tickets = torch.zeros(batch, dtype=torch.int32, device=device)


class Division(NamedTuple):
    """How a step is divided among programs.

    Attributes:
        programs: of all slots together, about.
        tile: words of a mask that a program looks at at a time, 32 logits each.
        warps: of a program.
    """

    programs: int
    tile: int
    warps: int


# Programs enough for a large GPU, each with enough to do to be worth its start.
_FEW_SLOTS = Division(programs=2048, tile=64, warps=4)
_MANY_SLOTS = Division(programs=2048, tile=128, warps=4)


def _divide(batch: int, n_words: int) -> tuple[int, int, int]:
    """How many programs share a slot, their tile, and their warps."""
    programs, tile, warps = _FEW_SLOTS if batch < 64 else _MANY_SLOTS
    tile = min(tile, triton.next_power_of_2(n_words))
    parts = min(MOST_PARTS, max(1, programs // batch), triton.cdiv(n_words, tile))
    return triton.next_power_of_2(parts), tile, warps


def greedy_step(
    logits: torch.Tensor,
    out: torch.Tensor,
    arena: ArenaTensors,
    batch: SlotTensors,
    workspace: Workspace,
    active: torch.Tensor | None = None,
) -> None:
    """Choose the likeliest allowed token of each slot, and take it.

    Args:
        logits: [b, at least 1] of the first b slots, bf16, fp16 or fp32; rows may be strided. Those
            of ids from V on are not looked at. NaN counts as -inf; of equal ones the lowest id is
            chosen.
        out: int32 [b], the tokens; -1 where nothing is allowed: the slot is finished, or waits.
        arena, batch: tables and slots; the slots have moved afterwards.
        workspace: for at least b slots.
        active: int32 [at least b], 0 where a slot is not looked at and gets -1. None: all are.
    """
    if not launches(arena.words):
        out.copy_(greedy_reference(logits, arena, batch, active))
        return advance_reference(out, arena, batch, active)
    _, ring, width = batch.snapshots.shape
    depth = (width - 4) // 2
    n_words = triton.cdiv(arena.n_tokens, 32)
    parts, tile, warps = _divide(len(logits), n_words)
    per_part = triton.cdiv(triton.cdiv(n_words, parts), tile) * tile
    _step[(len(logits), parts)](
        logits, logits.stride(0), logits.shape[1], out, active, workspace.values, workspace.tokens,
        workspace.tickets, arena.words, arena.words8, arena.grammars, arena.token_offsets,
        arena.token_bytes, arena.eos, len(arena.eos), arena.n_tokens, *batch,
        PARTS=parts, PER_PART=per_part, TILE=tile, LIST_BLOCK=512, RING=ring, DEPTH=depth,
        BLOCK=min(512, triton.next_power_of_2(2 * depth)), num_warps=warps,
    )  # fmt: skip


def greedy_reference(
    logits: torch.Tensor,
    arena: ArenaTensors,
    batch: SlotTensors,
    active: torch.Tensor | None = None,
) -> torch.Tensor:
    """The tokens that :func:`greedy_step` chooses, in plain torch: int32 [b]."""
    n = arena.n_tokens
    bitmask = torch.zeros((len(logits), (n + 31) // 32), dtype=torch.int32, device=logits.device)
    fill_bitmask_reference(arena.words, batch.slots, batch.rows, arena.eos, bitmask, n, active)
    token = torch.arange(min(n, logits.shape[1]), device=logits.device)
    allowed = (bitmask[:, token >> 5] >> (token & 31) & 1).bool()
    value = logits[:, : len(token)].float()
    value = value.masked_fill(value.isnan(), float("-inf"))
    value = value.masked_fill(~allowed, float("-inf"))
    best = allowed & (value == value.amax(1, keepdim=True))
    first = best.int().argmax(1)
    return torch.where(best.any(1), first, -1).to(torch.int32)
