"""Take each slot's token: its bytes through the automaton, then the rows of the next mask.

One program is one slot.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from structgen.kernels.advance_reference import advance_reference
from structgen.kernels.automaton import (
    SEVERAL_ENDS,
    UNBUILT,
    YES,
    load_state,
    load_tables,
    may_end,
    take_bytes,
)
from structgen.kernels.layout import *
from structgen.kernels.layout import ArenaTensors, SlotTensors, is_active, launches
from structgen.kernels.mask_rows import find_rows


@triton.jit
def load_slot(slot):
    """State, counter, depth, steps, how many can be undone, pending token, may the text end."""
    return (
        tl.load(slot + S_STATE), tl.load(slot + S_COUNTER), tl.load(slot + S_DEPTH),
        tl.load(slot + S_STEPS), tl.load(slot + S_UNDOABLE), tl.load(slot + S_PENDING),
        tl.load(slot + S_MAY_END),
    )  # fmt: skip


@triton.jit
def save_slot(b, configuration, stacks, snapshots, RING: tl.constexpr, DEPTH: tl.constexpr,
              BLOCK: tl.constexpr):  # fmt: skip
    """Note what was, for a rollback, and for a token that cannot be read to its end."""
    q, v, depth, steps, _, _, _ = configuration
    snapshot = snapshots + (b * RING + steps % RING) * (4 + 2 * DEPTH)
    _copy(stacks + b * (2 * DEPTH), snapshot + 4, depth, DEPTH, BLOCK)
    tl.store(snapshot, q)
    tl.store(snapshot + 1, v)
    tl.store(snapshot + 2, depth)


@triton.jit
def advance_slot(
    b, token, status, configuration, tables, here, words, words8, token_offsets, token_bytes, eos,
    n_eos, n_tokens, slots, stacks, rows, snapshots, RING: tl.constexpr, DEPTH: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Take ``token`` (nothing where it is -1) in slot ``b``; see :func:`advance`.

    ``configuration``, ``tables`` and ``here`` are what :func:`load_slot`, :func:`load_tables` and
    :func:`load_state` say of the slot, which :func:`save_slot` has noted.
    """
    slot = slots + b * S_WIDTH
    q, v, depth, steps, undoable, pending, could_end = configuration
    waiting = (status >= NEED_STATE) & (status <= NEED_ROW)
    if waiting:
        token = pending
    if (status == ON_HOST) & (token >= 0):
        tl.store(slot + S_STATUS, HOST_TURN)
        tl.store(slot + S_PENDING, token)
    if ((status == ACTIVE) | (status == REJECTED)) & (token >= 0) | waiting:
        states, maps, edges, returns, gotos, pushes, entries, pairs, pair_mask, symbols = tables
        m, base = here
        stack = stacks + b * (2 * DEPTH)
        snapshot = snapshots + (b * RING + steps % RING) * (4 + 2 * DEPTH)
        status = ACTIVE
        taken = token >= 0
        named = False
        if taken:
            known = token < n_tokens
            begin = tl.load(token_offsets + token, mask=known, other=0)
            length = tl.load(token_offsets + token + 1, mask=known, other=0) - begin
            # A token is its text, or asked for by name. The name is tried first, as it rarely fits;
            # where it does, and the text does not, it is read once more.
            may_be_named = (symbols != 0) & known
            attempt = tl.where(may_be_named, 0, 1)
            fits = 0
            reading = may_be_named | (length > 0)
            status = REJECTED
            while reading:
                status, q, v, depth, m, base = take_bytes(
                    words, words8, maps, edges, returns, gotos, pushes, stack, token_bytes + begin,
                    tl.where(attempt == 1, length, 4), token, attempt != 1, q, v, depth, m, base,
                    DEPTH,
                )  # fmt: skip
                following = 3
                if (attempt == 0) & (length > 0):
                    if (status == ACTIVE) | (status == REJECTED):
                        fits = (status == ACTIVE).to(tl.int32)
                        following = 1
                elif (attempt == 1) & (fits != 0):
                    if status == REJECTED:
                        following = 2
                    elif status == ACTIVE:
                        status = NEED_HOST  # both fit: the text has two readings
                reading = following < 3
                if reading:
                    attempt = following
                    q, v, depth, _, _, _, _ = configuration
                    m, base = here
                    _copy(snapshot + 4, stack, depth, DEPTH, BLOCK)
                    tl.debug_barrier()
            named = attempt != 1
        # Columns of one row, all asked for before the first one is needed.
        state = words + states + q * STATE_WIDTH
        end = tl.load(state + END)
        head = tl.load(state + HEAD)
        final = tl.load(state + FINAL)
        frames = tl.load(state + FRAMES)
        ends = 0
        if status == ACTIVE:
            ends = may_end(words, states, returns, gotos, stack, end, depth)
        if taken & ((status == REJECTED) | (status == ACTIVE) & named):
            is_eos = 0
            for k in range(n_eos):
                is_eos += (tl.load(eos + k) == token).to(tl.int32)
            if is_eos > 0:
                if status == REJECTED:
                    if could_end != 0:
                        status = FINISHED
                elif ends == YES:
                    status = FINISHED  # no model goes on after it
                elif ends == UNBUILT:
                    status = NEED_STATE
                elif ends == SEVERAL_ENDS:
                    status = NEED_HOST
        if status != ACTIVE:
            _copy(snapshot + 4, stack, configuration[2], DEPTH, BLOCK)
        if status == FINISHED:
            tl.store(slot + S_STATUS, status)
            tl.store(slot + S_N_BITMAPS, 0)
            tl.store(slot + S_N_LISTS, 0)
            tl.store(slot + S_MAY_END, 0)
            tl.store(slot + S_STEPS, steps + 1)
            tl.store(slot + S_UNDOABLE, tl.minimum(undoable + 1, RING - 1))
            tl.store(slot + S_PENDING, -1)
        elif status != ACTIVE:
            # Everything stays as it was.
            tl.store(slot + S_STATUS, status)
            tl.store(slot + S_PENDING, tl.where(status == REJECTED, -1, token))
        else:
            status, n_bitmaps, n_lists = find_rows(
                words, states, returns, gotos, entries, pairs, pair_mask, stack,
                rows + b * (MOST_ROWS * ROW_WIDTH), head, final, frames, v, depth,
            )  # fmt: skip
            if status == ACTIVE:
                if ends == UNBUILT:
                    status = NEED_STATE
                elif ends == SEVERAL_ENDS:
                    status = NEED_HOST
            if status != ACTIVE:
                n_bitmaps = 0
                n_lists = 0
            tl.store(slot + S_STATE, q)
            tl.store(slot + S_COUNTER, v)
            tl.store(slot + S_DEPTH, depth)
            tl.store(slot + S_STATUS, status)
            tl.store(slot + S_PENDING, -1)
            tl.store(slot + S_N_BITMAPS, n_bitmaps)
            tl.store(slot + S_N_LISTS, n_lists)
            tl.store(slot + S_MAY_END, (ends == YES).to(tl.int32))
            if taken:
                tl.store(slot + S_STEPS, steps + 1)
                tl.store(slot + S_UNDOABLE, tl.minimum(undoable + 1, RING - 1))


@triton.jit
def _copy(source, target, depth, DEPTH: tl.constexpr, BLOCK: tl.constexpr):
    """Copy a stack of ``depth`` frames."""
    cell = tl.arange(0, BLOCK)
    for start in range(0, DEPTH * 2, BLOCK):
        inside = start + cell < 2 * depth
        tl.store(target + start + cell, tl.load(source + start + cell, mask=inside), mask=inside)


@triton.jit
def _advance(
    tokens, active, words, words8, grammars, token_offsets, token_bytes, eos, n_eos, n_tokens,
    slots, stacks, rows, snapshots, RING: tl.constexpr, DEPTH: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    b = tl.program_id(0)
    if is_active(active, b):
        slot = slots + b * S_WIDTH
        configuration = load_slot(slot)
        tables = load_tables(grammars, tl.load(slot + S_GRAMMAR))
        here = load_state(words, tables, configuration[0])
        save_slot(b, configuration, stacks, snapshots, RING, DEPTH, BLOCK)
        tl.debug_barrier()  # a stack is written to when it has been copied
        advance_slot(
            b, tl.load(tokens + b), tl.load(slot + S_STATUS), configuration, tables, here, words,
            words8, token_offsets, token_bytes, eos, n_eos, n_tokens, slots, stacks, rows,
            snapshots, RING, DEPTH, BLOCK,
        )  # fmt: skip


def advance(
    tokens: torch.Tensor,
    arena: ArenaTensors,
    batch: SlotTensors,
    active: torch.Tensor | None = None,
) -> None:
    """Take a token in each slot, and find the rows of its next mask.

    A slot that waits for the host tries again what it waits for, whatever its token is. Where
    something is missing, it goes on waiting: before the token, which is then pending, if a state is
    missing; after it if a row is. A token that does not fit changes nothing but the status.

    Args:
        tokens: int32 [b], of the first b slots; -1 for none.
        arena: the tables.
        batch: the slots, changed in place.
        active: int32 [at least b], 0 where a slot is not to be looked at; None: all are.
    """
    if not launches(arena.words):
        return advance_reference(tokens, arena, batch, active)
    _, ring, width = batch.snapshots.shape
    depth = (width - 4) // 2
    _advance[(len(tokens),)](
        tokens, active, arena.words, arena.words8, arena.grammars, arena.token_offsets,
        arena.token_bytes, arena.eos, len(arena.eos), arena.n_tokens, *batch,
        RING=ring, DEPTH=depth, BLOCK=min(512, triton.next_power_of_2(2 * depth)), num_warps=1,
    )  # fmt: skip
