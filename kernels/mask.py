"""The tokens that may come next, as a bitmask, or applied to logits."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from structgen.kernels.layout import *
from structgen.kernels.layout import is_active, launches


@triton.jit
def is_masked(status):
    """Has the slot a mask now, and is it not waiting for the host?"""
    return (status == ACTIVE) | (status == REJECTED) | (status == ON_HOST)


@triton.jit
def _bitmask(
    words, slots, rows, active, eos, n_eos, out, out_stride, n_words, n_tokens,
    BLOCK: tl.constexpr,
):  # fmt: skip
    b = tl.program_id(0)
    if is_active(active, b):
        _bitmask_of_slot(
            b, words, slots, rows, eos, n_eos, out, out_stride, n_words, n_tokens, BLOCK
        )


@triton.jit
def _bitmask_of_slot(
    b, words, slots, rows, eos, n_eos, out, out_stride, n_words, n_tokens, BLOCK: tl.constexpr
):
    slot = slots + b * S_WIDTH
    status = tl.load(slot + S_STATUS)
    n_bitmaps = tl.where(is_masked(status), tl.load(slot + S_N_BITMAPS), 0)
    n_lists = tl.where(is_masked(status), tl.load(slot + S_N_LISTS), 0)
    row = rows + b * (MOST_ROWS * ROW_WIDTH)
    out += b.to(tl.int64) * out_stride
    cell = tl.arange(0, BLOCK)
    for start in range(0, n_words, BLOCK):
        at = start + cell
        inside = at < n_words
        found = tl.zeros((BLOCK,), tl.int32)
        if status == FREE:
            found += -1
            found = tl.where(at * 32 + 31 < n_tokens, found, _low_bits(n_tokens - at * 32))
        k = 0
        while k < n_bitmaps:
            offset = tl.load(row + k * ROW_WIDTH)
            found |= tl.load(words + offset + at, mask=inside, other=0)
            k += 1
        tl.store(out + at, found, mask=inside)
    tl.debug_barrier()  # bits are set in what the whole program wrote
    k = 0
    while k < n_lists:
        offset = tl.load(row + (MOST_ROWS - 1 - k) * ROW_WIDTH)
        length = tl.load(row + (MOST_ROWS - 1 - k) * ROW_WIDTH + 1)
        for start in range(0, length, BLOCK):
            inside = start + cell < length
            token = tl.load(words + offset + start + cell, mask=inside, other=0)
            tl.atomic_or(out + (token >> 5), 1 << (token & 31), mask=inside)
        k += 1
    if is_masked(status) & (tl.load(slot + S_MAY_END) != 0):
        for e in range(n_eos):
            token = tl.load(eos + e)
            tl.atomic_or(out + (token >> 5), 1 << (token & 31))


@triton.jit
def _low_bits(n):
    """A word with its ``n`` lowest bits set, n up to 31; none where n is negative."""
    n = tl.minimum(tl.maximum(n, 0), 31)
    return (1 << n) - 1


@triton.jit
def _apply(logits, stride, n_logits, bitmask, mask_stride, n_tokens, BLOCK: tl.constexpr):
    b = tl.program_id(0).to(tl.int64)
    token = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    word = tl.load(bitmask + b * mask_stride + (token >> 5), mask=token < n_tokens, other=0)
    denied = ((word >> (token & 31)) & 1) == 0
    place = logits + b * stride + token
    value = tl.full((BLOCK,), float("-inf"), tl.float32)
    tl.store(place, value.to(logits.dtype.element_ty), mask=denied & (token < n_logits))


def fill_bitmask(
    words: torch.Tensor,
    slots: torch.Tensor,
    rows: torch.Tensor,
    eos: torch.Tensor,
    out: torch.Tensor,
    n_tokens: int,
    active: torch.Tensor | None = None,
) -> None:
    """Write the bitmask of each slot: the rows of its mask, or-ed.

    Args:
        words: int32, the arena.
        slots: int32 [batch, S_WIDTH].
        rows: int32 [batch, MOST_ROWS, ROW_WIDTH].
        eos: int32 [n], the end-of-sequence ids.
        out: int32 [b, ceil(V / 32)], of the first b slots; bit t of word t >> 5 is token t. A slot
            without a constraint gets all tokens, one that is finished or waits for the host none.
        n_tokens: V.
        active: int32 [at least b], 0 where nothing is written; None: all are.
    """
    if not launches(words):
        return fill_bitmask_reference(words, slots, rows, eos, out, n_tokens, active)
    batch, n_words = out.shape
    _bitmask[(batch,)](
        words, slots, rows, active, eos, len(eos), out, out.stride(0), n_words, n_tokens,
        BLOCK=min(1024, triton.next_power_of_2(n_words)),
    )  # fmt: skip


def fill_bitmask_reference(
    words: torch.Tensor,
    slots: torch.Tensor,
    rows: torch.Tensor,
    eos: torch.Tensor,
    out: torch.Tensor,
    n_tokens: int,
    active: torch.Tensor | None = None,
) -> None:
    """:func:`fill_bitmask` in plain torch."""
    token = torch.arange(out.shape[1] * 32, device=out.device)
    for b, slot in enumerate(slots[: len(out)].tolist()):
        if active is not None and not active[b]:
            continue
        if slot[S_STATUS.value] == FREE.value:
            out[b] = _packed(token < n_tokens)
            continue
        out[b] = 0
        if slot[S_STATUS.value] not in (ACTIVE.value, REJECTED.value, ON_HOST.value):
            continue
        for offset, _ in rows[b, : slot[S_N_BITMAPS.value]].tolist():
            out[b] |= words[offset : offset + out.shape[1]]
        lists = rows[b].flip(0)[: slot[S_N_LISTS.value]].tolist()
        ids = [words[offset : offset + length] for offset, length in lists]
        ids += [eos] if slot[S_MAY_END.value] else []
        if ids:
            listed = torch.zeros(len(token), dtype=torch.bool, device=out.device)
            listed[torch.cat(ids).long()] = True
            out[b] |= _packed(listed)


def _packed(bits: torch.Tensor) -> torch.Tensor:
    """bool [32 n] as int32 [n]."""
    shifted = bits.view(-1, 32).long() << torch.arange(32, device=bits.device)
    return shifted.sum(1).to(torch.int32)


def apply_bitmask(logits: torch.Tensor, bitmask: torch.Tensor, n_tokens: int) -> None:
    """Set the logits of tokens whose bit is 0, and those from ``n_tokens`` on, to -inf.

    Args:
        logits: [batch, at least V], bf16, fp16 or fp32, changed in place; rows may be strided.
        bitmask: int32 [batch, ceil(V / 32)].
        n_tokens: V.
    """
    if logits.stride(1) != 1:
        raise ValueError("the logits of a row must lie next to each other")
    if not launches(logits):
        return apply_bitmask_reference(logits, bitmask, n_tokens)
    batch, n_logits = logits.shape
    block = 1024
    _apply[(batch, triton.cdiv(n_logits, block))](
        logits, logits.stride(0), n_logits, bitmask, bitmask.stride(0), n_tokens, BLOCK=block
    )


def apply_bitmask_reference(logits: torch.Tensor, bitmask: torch.Tensor, n_tokens: int) -> None:
    """:func:`apply_bitmask` in plain torch."""
    token = torch.arange(logits.shape[1], device=logits.device)
    known = token < n_tokens
    word = bitmask[:, (token >> 5).clamp(max=bitmask.shape[1] - 1)]
    allowed = (word >> (token & 31) & 1).bool() & known
    logits.masked_fill_(~allowed, float("-inf"))
