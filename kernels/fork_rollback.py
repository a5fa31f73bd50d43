"""Sequences copied to other slots, and taken back by a few tokens."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from structgen.kernels.layout import *
from structgen.kernels.layout import launches

BLOCK = 1024


@triton.jit
def _copy(table, width, source, target, BLOCK: tl.constexpr):
    """Copy a row of a table."""
    table_source = table + source.to(tl.int64) * width
    table_target = table + target.to(tl.int64) * width
    cell = tl.arange(0, BLOCK)
    for start in range(0, width, BLOCK):
        inside = start + cell < width
        tl.store(
            table_target + start + cell,
            tl.load(table_source + start + cell, mask=inside),
            mask=inside,
        )


@triton.jit
def _fork(
    sources, targets, slots, stacks, rows, snapshots, slot_width, stack_width, row_width,
    snapshot_width, BLOCK: tl.constexpr,
):  # fmt: skip
    i = tl.program_id(0)
    source = tl.load(sources + i)
    target = tl.load(targets + i)
    if (source >= 0) & (target >= 0):
        _copy(slots, slot_width, source, target, BLOCK)
        _copy(stacks, stack_width, source, target, BLOCK)
        _copy(rows, row_width, source, target, BLOCK)
        _copy(snapshots, snapshot_width, source, target, BLOCK)


@triton.jit
def _rollback(counts, slots, stacks, snapshots, RING: tl.constexpr, DEPTH: tl.constexpr,
              BLOCK: tl.constexpr):  # fmt: skip
    b = tl.program_id(0)
    n = tl.load(counts + b)
    slot = slots + b * S_WIDTH
    status = tl.load(slot + S_STATUS)
    undoable = tl.load(slot + S_UNDOABLE)
    known = (status != FREE) & (status != ON_HOST) & (status != HOST_TURN)
    if known & (n > 0) & (n <= undoable):
        steps = tl.load(slot + S_STEPS) - n
        snapshot = snapshots + (b * RING + steps % RING) * (4 + 2 * DEPTH)
        depth = tl.load(snapshot + 2)
        cell = tl.arange(0, BLOCK)
        for start in range(0, 2 * DEPTH, BLOCK):
            inside = start + cell < 2 * depth
            kept = tl.load(snapshot + 4 + start + cell, mask=inside)
            tl.store(stacks + b * (2 * DEPTH) + start + cell, kept, mask=inside)
        tl.store(slot + S_STATE, tl.load(snapshot))
        tl.store(slot + S_COUNTER, tl.load(snapshot + 1))
        tl.store(slot + S_DEPTH, depth)
        tl.store(slot + S_STEPS, steps)
        tl.store(slot + S_UNDOABLE, undoable - n)
        tl.store(slot + S_PENDING, -1)
        tl.store(slot + S_STATUS, NEED_ROW)  # its rows are found again


def fork(
    sources: torch.Tensor,
    targets: torch.Tensor,
    slots: torch.Tensor,
    stacks: torch.Tensor,
    rows: torch.Tensor,
    snapshots: torch.Tensor,
) -> None:
    """Copy the state of slots ``sources`` to ``targets``, all different.

    Args:
        sources, targets: int32 [n]; a pair with -1 in it is left out.
        slots, stacks, rows, snapshots: what a batch keeps of each slot, int32 [batch, ...].
    """
    if not launches(slots):
        return fork_reference(sources, targets, slots, stacks, rows, snapshots)
    tables = (slots, stacks, rows, snapshots)
    widths = [table[0].numel() for table in tables]
    _fork[(len(sources),)](sources, targets, *tables, *widths, BLOCK=BLOCK)


def fork_reference(
    sources: torch.Tensor,
    targets: torch.Tensor,
    slots: torch.Tensor,
    stacks: torch.Tensor,
    rows: torch.Tensor,
    snapshots: torch.Tensor,
) -> None:
    """:func:`fork` in plain torch."""
    kept = (sources >= 0) & (targets >= 0)
    for table in (slots, stacks, rows, snapshots):
        table[targets[kept].long()] = table[sources[kept].long()]


def rollback(
    counts: torch.Tensor, slots: torch.Tensor, stacks: torch.Tensor, snapshots: torch.Tensor
) -> None:
    """Take back the last ``counts`` tokens of each slot.

    A slot of which more are asked than it can take back is left alone. The others wait for their
    rows: :func:`structgen.kernels.advance.advance` finds them.

    Args:
        counts: int32 [batch].
        slots: int32 [batch, S_WIDTH].
        stacks: int32 [batch, depth, 2].
        snapshots: int32 [batch, ring, 4 + 2 * depth].
    """
    if not launches(slots):
        return rollback_reference(counts, slots, stacks, snapshots)
    batch, ring, width = snapshots.shape
    depth = (width - 4) // 2
    _rollback[(batch,)](
        counts, slots, stacks, snapshots, RING=ring, DEPTH=depth,
        BLOCK=min(BLOCK, triton.next_power_of_2(2 * depth)),
    )  # fmt: skip


def rollback_reference(
    counts: torch.Tensor, slots: torch.Tensor, stacks: torch.Tensor, snapshots: torch.Tensor
) -> None:
    """:func:`rollback` in plain torch."""
    for b, n in enumerate(counts.tolist()):
        slot = slots[b].tolist()
        known = slot[S_STATUS.value] not in (FREE.value, ON_HOST.value, HOST_TURN.value)
        if not known or not 0 < n <= slot[S_UNDOABLE.value]:
            continue
        steps = slot[S_STEPS.value] - n
        snapshot = snapshots[b, steps % snapshots.shape[1]]
        depth = int(snapshot[2])
        stacks[b, :depth] = snapshot[4 : 4 + 2 * depth].view(depth, 2)
        slots[b, [S_STATE.value, S_COUNTER.value, S_DEPTH.value]] = snapshot[:3]
        for column, value in (
            (S_STEPS.value, steps), (S_UNDOABLE.value, slot[S_UNDOABLE.value] - n),
            (S_PENDING.value, -1), (S_STATUS.value, NEED_ROW.value),
        ):  # fmt: skip
            slots[b, column] = value
