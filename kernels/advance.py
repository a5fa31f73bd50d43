"""Take each slot's token: its bytes through the automaton, then the rows of the next mask.

One program is one slot. What it does is a chain of loads that depend on each other, two for each
byte of the token, so the tables are laid out to keep the chain short
(:mod:`structgen.kernels.layout`).
"""

from __future__ import annotations

import numpy as np
import torch
import triton
import triton.language as tl

from structgen.kernels.layout import *
from structgen.kernels.layout import ArenaTensors, SlotTensors, launches


@triton.jit
def _pop(words, returns, gotos, stack, cls, frames, depth):
    """Leave ``frames`` frames with class ``cls``.

    Returns 0 (dead), 1 (gone on), 2 (out of the last frame) or 3 (something is not built yet),
    state, counter, map, first edge, depth.
    """
    depth -= frames - 1
    code = 0
    q = cls
    v = 0
    m = 0
    base = 0
    if depth == 0:
        code = 2
    if depth > 0:
        depth -= 1
        r = tl.load(stack + 2 * depth)
        v = tl.load(stack + 2 * depth + 1)
        point = words + returns + r * RETURN_WIDTH
        first = tl.load(point)
        size = tl.load(point + 1)
        lazy = tl.load(point + 2)
        q = tl.where(lazy != 0, UNKNOWN, DEAD)
        if cls < size:
            goto = words + gotos + (first + cls) * EDGE_WIDTH
            q = tl.load(goto + TARGET)
            count = tl.load(goto + ARG)
            m = tl.load(goto + TO_MAP)
            base = tl.load(goto + TO_BASE)
            lo = tl.load(goto + TO_LO)
            hi = tl.load(goto + TO_HI)
            if q >= 0:
                v = tl.where(count >= 0, v + count, -1 - count)
                if (v >= lo) & (v <= hi):
                    code = 1
                    if m < 0:
                        code = 3
        if q == UNKNOWN:
            code = 3
    return code, q, v, m, base, depth


@triton.jit
def _entry_for(words, entries, k, v):
    """The entry for counter ``v`` in the chain from entry ``k`` on, or -1."""
    looking = k >= 0
    while looking:
        entry = words + entries + k * ENTRY_WIDTH
        low = tl.load(entry + LOW)
        high = tl.load(entry + HIGH)
        following = tl.load(entry + NEXT)
        if (low <= v) & (v <= high):
            looking = False
        else:
            k = following
            looking = k >= 0
    return k


@triton.jit
def _take_bytes(
    words, words8, maps, edges, returns, gotos, pushes, stack, data, length,
    q, v, depth, m, base, DEPTH: tl.constexpr,
):  # fmt: skip
    """Read a token's bytes; returns what to say of it (a status), and the configuration."""
    status = ACTIVE
    i = 0
    while i < length:
        byte = tl.load(data + i).to(tl.int32)
        reading = True  # this byte
        while reading:
            c = tl.load(words8 + (maps.to(tl.int64) * 4 + m * 256 + byte)).to(tl.int32)
            edge = words + edges + (base + c) * EDGE_WIDTH
            t = tl.load(edge + TARGET)
            arg = tl.load(edge + ARG)
            if t >= 0:
                count = tl.load(edge + COUNT)
                lo = tl.load(edge + TO_LO)
                hi = tl.load(edge + TO_HI)
                m = tl.load(edge + TO_MAP)
                base = tl.load(edge + TO_BASE)
                v = tl.where(count >= 0, v + count, -1 - count)
                r = arg
                following = -1
                if (arg >= 0) & ((arg & SEVERAL) != 0):
                    entry = words + pushes + (arg & ~SEVERAL) * PUSH_WIDTH
                    r = tl.load(entry)
                    following = tl.load(entry + 1)
                pushing = arg >= 0
                while pushing:
                    if depth >= DEPTH:
                        status = NEED_HOST
                        pushing = False
                    else:
                        tl.store(stack + 2 * depth, r & ~INHERIT)
                        tl.store(stack + 2 * depth + 1, v)
                        depth += 1
                        if r < INHERIT:
                            v = 0
                        pushing = following >= 0
                        if pushing:
                            entry = words + pushes + following * PUSH_WIDTH
                            r = tl.load(entry)
                            following = tl.load(entry + 1)
                        tl.debug_barrier()  # a pop of this thread block reads what was written
                q = t
                if status == ACTIVE:
                    if (v < lo) | (v > hi):
                        status = REJECTED
                    elif m < 0:
                        status = NEED_STATE
                reading = False
            elif t == DEAD:
                status = REJECTED
                reading = False
            elif t < FORK:
                status = NEED_HOST
                reading = False
            else:
                code, q, v, m, base, depth = _pop(words, returns, gotos, stack, -2 - t, arg, depth)
                if code != 1:
                    status = tl.where(code == 3, NEED_STATE, REJECTED)
                    reading = False
        i += 1
        if status != ACTIVE:
            i = length
    return status, q, v, depth, m, base


@triton.jit
def _may_end(words, states, returns, gotos, stack, q, depth):
    """Is the text complete here: 0, 1, or 3 where something is not built yet."""
    answer = 0
    looking = True
    while looking:
        cls = tl.load(words + states + q * STATE_WIDTH + END)
        if cls < 0:
            looking = False
        else:
            code, q, v, m, base, depth = _pop(words, returns, gotos, stack, cls, 1, depth)
            if code != 1:
                looking = False
                if code == 2:
                    answer = 1
                elif code == 3:
                    answer = 3
    return answer


@triton.jit
def _find_rows(
    words, states, returns, gotos, entries, pairs, pair_mask, stack, rows, q, v, depth,
):  # fmt: skip
    """Write the rows of the mask; returns a status, and how many bitmaps and lists."""
    status = ACTIVE
    n = 0
    n_lists = 0
    # A state that is nothing but the end of its frame has no row of its own.
    final = tl.load(words + states + q * STATE_WIDTH + FINAL)
    while (final >= 0) & (depth > 0) & (status == ACTIVE):
        frames = tl.load(words + states + q * STATE_WIDTH + FRAMES)
        code, q, v, m, base, depth = _pop(words, returns, gotos, stack, final, frames, depth)
        final = -1
        if code == 1:
            final = tl.load(words + states + q * STATE_WIDTH + FINAL)
        elif code == 3:
            status = NEED_STATE
        else:
            status = FINISHED  # nothing but the end
    if status == ACTIVE:
        k = _entry_for(words, entries, tl.load(words + states + q * STATE_WIDTH + HEAD), v)
        exit_ = 0
        if k < 0:
            status = NEED_ROW
        else:
            exit_, n, n_lists, status = _note_row(words, entries, rows, k, n, n_lists, status)
        while (exit_ != 0) & (depth > 0) & (status == ACTIVE):
            depth -= 1
            r = tl.load(stack + 2 * depth)
            v = tl.load(stack + 2 * depth + 1)
            at = (tl.cast(exit_, tl.int64) * 40503 + tl.cast(r, tl.int64) * 9973) & 0x7FFFFFFF
            at = tl.cast(at, tl.int32) & pair_mask
            looking = True
            k = -1
            while looking:
                pair = words + pairs + at * PAIR_WIDTH
                e = tl.load(pair)
                p = tl.load(pair + 1)
                first = tl.load(pair + 2)
                if (e == exit_) & (p == r):
                    k = first
                    looking = False
                elif e < 0:
                    looking = False
                else:
                    at = (at + 1) & pair_mask
            k = _entry_for(words, entries, k, v)
            if k < 0:
                status = NEED_ROW
            else:
                exit_, n, n_lists, status = _note_row(words, entries, rows, k, n, n_lists, status)
    if status == FINISHED:
        status = ACTIVE
    elif status != ACTIVE:  # there is no mask yet
        n = 0
        n_lists = 0
    return status, n, n_lists


@triton.jit
def _note_row(words, entries, rows, k, n, n_lists, status):
    """Add the row of entry ``k``; returns the exit set, how many rows there are, the status."""
    entry = words + entries + k * ENTRY_WIDTH
    kind = tl.load(entry + KIND)
    offset = tl.load(entry + OFFSET)
    length = tl.load(entry + LENGTH)
    exit_ = tl.load(entry + EXIT)
    if length > 0:
        if n + n_lists == MOST_ROWS:
            status = NEED_HOST
        else:
            at = tl.where(kind == BITMAP, n, MOST_ROWS - 1 - n_lists)
            tl.store(rows + at * ROW_WIDTH, offset)
            tl.store(rows + at * ROW_WIDTH + 1, length)
            n += (kind == BITMAP).to(tl.int32)
            n_lists += (kind == LIST).to(tl.int32)
    return exit_, n, n_lists, status


@triton.jit
def load_tables(grammars, g):
    """Where the tables of grammar ``g`` are."""
    d = grammars + g * D_WIDTH
    return (
        tl.load(d + D_STATES), tl.load(d + D_MAPS), tl.load(d + D_EDGES), tl.load(d + D_RETURNS),
        tl.load(d + D_GOTOS), tl.load(d + D_PUSHES), tl.load(d + D_ENTRIES), tl.load(d + D_PAIRS),
        tl.load(d + D_PAIR_MASK),
    )  # fmt: skip


@triton.jit
def load_state(words, tables, q):
    """The class map and the first edge of state ``q``."""
    state = words + tables[0] + q * STATE_WIDTH
    return tl.load(state + MAP), tl.load(state + BASE)


@triton.jit
def advance_slot(
    b, token, tables, here, words, words8, token_offsets, token_bytes, eos, n_eos, n_tokens,
    slots, stacks, rows, snapshots, RING: tl.constexpr, DEPTH: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Take ``token`` (nothing where it is -1) in slot ``b``; see :func:`advance`.

    ``tables`` and ``here`` are what :func:`load_tables` and :func:`load_state` say of the slot.
    """
    slot = slots + b * S_WIDTH
    status = tl.load(slot + S_STATUS)
    waiting = (status >= NEED_STATE) & (status <= NEED_ROW)
    if waiting:
        token = tl.load(slot + S_PENDING)
    if (status == ON_HOST) & (token >= 0):
        tl.store(slot + S_STATUS, HOST_TURN)
        tl.store(slot + S_PENDING, token)
    if ((status == ACTIVE) | (status == REJECTED)) & (token >= 0) | waiting:
        states, maps, edges, returns, gotos, pushes, entries, pairs, pair_mask = tables
        m, base = here
        q = tl.load(slot + S_STATE)
        v = tl.load(slot + S_COUNTER)
        depth = tl.load(slot + S_DEPTH)
        steps = tl.load(slot + S_STEPS)
        undoable = tl.load(slot + S_UNDOABLE)
        stack = stacks + b * (2 * DEPTH)
        status = ACTIVE
        n_bitmaps = 0
        n_lists = 0
        ends = 0
        taken = token >= 0
        snapshot = snapshots + (b * RING + steps % RING) * (4 + 2 * DEPTH)
        cell = tl.arange(0, BLOCK)
        if taken:
            # What was, for a rollback, and for a token that cannot be read to its end yet.
            for start in range(0, DEPTH * 2, BLOCK):
                inside = start + cell < 2 * depth
                kept = tl.load(stack + start + cell, mask=inside)
                tl.store(snapshot + 4 + start + cell, kept, mask=inside)
            tl.store(snapshot, q)
            tl.store(snapshot + 1, v)
            tl.store(snapshot + 2, depth)
            tl.debug_barrier()
            begin = 0
            length = 0
            if token < n_tokens:
                begin = tl.load(token_offsets + token)
                length = tl.load(token_offsets + token + 1) - begin
            if length > 0:
                status, q, v, depth, m, base = _take_bytes(
                    words, words8, maps, edges, returns, gotos, pushes, stack,
                    token_bytes + begin, length, q, v, depth, m, base, DEPTH,
                )  # fmt: skip
            else:
                status = REJECTED
            if status == REJECTED:
                is_eos = 0
                for k in range(n_eos):
                    is_eos += (tl.load(eos + k) == token).to(tl.int32)
                if (is_eos > 0) & (tl.load(slot + S_MAY_END) != 0):
                    status = FINISHED
            if (status != ACTIVE) & (status != FINISHED):
                # Everything stays as it was.
                q = tl.load(snapshot)
                v = tl.load(snapshot + 1)
                depth = tl.load(snapshot + 2)
                for start in range(0, DEPTH * 2, BLOCK):
                    inside = start + cell < 2 * depth
                    kept = tl.load(snapshot + 4 + start + cell, mask=inside)
                    tl.store(stack + start + cell, kept, mask=inside)
        if status == REJECTED:
            tl.store(slot + S_STATUS, status)
        elif status == FINISHED:
            tl.store(slot + S_STATUS, status)
            tl.store(slot + S_N_BITMAPS, 0)
            tl.store(slot + S_N_LISTS, 0)
            tl.store(slot + S_MAY_END, 0)
            tl.store(slot + S_STEPS, steps + 1)
            tl.store(slot + S_UNDOABLE, tl.minimum(undoable + 1, RING - 1))
            tl.store(slot + S_PENDING, -1)
        else:
            if status == ACTIVE:
                if taken:
                    steps += 1
                    undoable = tl.minimum(undoable + 1, RING - 1)
                    token = -1
                ends = _may_end(words, states, returns, gotos, stack, q, depth)
                status, n_bitmaps, n_lists = _find_rows(
                    words, states, returns, gotos, entries, pairs, pair_mask, stack,
                    rows + b * (MOST_ROWS * ROW_WIDTH), q, v, depth,
                )  # fmt: skip
                if (ends == 3) & (status == ACTIVE):
                    status = NEED_STATE
                    n_bitmaps = 0
                    n_lists = 0
            tl.store(slot + S_STATE, q)
            tl.store(slot + S_COUNTER, v)
            tl.store(slot + S_DEPTH, depth)
            tl.store(slot + S_STATUS, status)
            tl.store(slot + S_PENDING, token)
            tl.store(slot + S_N_BITMAPS, n_bitmaps)
            tl.store(slot + S_N_LISTS, n_lists)
            tl.store(slot + S_MAY_END, tl.where(ends == 1, 1, 0))
            tl.store(slot + S_STEPS, steps)
            tl.store(slot + S_UNDOABLE, undoable)


@triton.jit
def _advance(
    tokens, words, words8, grammars, token_offsets, token_bytes, eos, n_eos, n_tokens,
    slots, stacks, rows, snapshots, RING: tl.constexpr, DEPTH: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    b = tl.program_id(0)
    slot = slots + b * S_WIDTH
    tables = load_tables(grammars, tl.load(slot + S_GRAMMAR))
    here = load_state(words, tables, tl.load(slot + S_STATE))
    advance_slot(
        b, tl.load(tokens + b), tables, here, words, words8, token_offsets, token_bytes, eos,
        n_eos, n_tokens, slots, stacks, rows, snapshots, RING, DEPTH, BLOCK,
    )  # fmt: skip


def advance(tokens: torch.Tensor, arena: ArenaTensors, batch: SlotTensors) -> None:
    """Take a token in each slot, and find the rows of its next mask.

    A slot that waits for the host tries again what it waits for, whatever its token is. Where
    something is missing, it goes on waiting: before the token, which is then pending, if a state is
    missing; after it if a row is. A token that does not fit changes nothing but the status.

    Args:
        tokens: int32 [batch]; -1 for none.
        arena: the tables.
        batch: the slots, changed in place.
    """
    if not launches(arena.words):
        return advance_reference(tokens, arena, batch)
    n, ring, width = batch.snapshots.shape
    depth = (width - 4) // 2
    _advance[(n,)](
        tokens, arena.words, arena.words8, arena.grammars, arena.token_offsets, arena.token_bytes,
        arena.eos, len(arena.eos), arena.n_tokens, *batch,
        RING=ring, DEPTH=depth, BLOCK=min(512, triton.next_power_of_2(2 * depth)), num_warps=1,
    )  # fmt: skip


_MASK = [S_N_BITMAPS.value, S_N_LISTS.value, S_MAY_END.value]


class _Stop(Exception):
    """The step cannot go on: a status."""


class _Reader:
    """One slot of the reference: the tables of its grammar as arrays of Python integers."""

    def __init__(self, arena: ArenaTensors, slot: np.ndarray, stack: list[list[int]]) -> None:
        self.words, self.bytes = arena.words.cpu().numpy(), arena.words8.cpu().numpy()
        self.d = arena.grammars[int(slot[S_GRAMMAR.value])].tolist()
        self.q, self.v = int(slot[S_STATE.value]), int(slot[S_COUNTER.value])
        self.stack = stack

    def at(self, table: int, row: int, width: int) -> list[int]:
        first = self.d[table] + row * width
        return self.words[first : first + width].tolist()

    def state(self) -> list[int]:
        return self.at(D_STATES.value, self.q, STATE_WIDTH.value)

    def pop(self, cls: int, frames: int) -> bool:
        """Leave frames; False at the end of the last one."""
        if frames > len(self.stack) + 1:
            raise _Stop(REJECTED.value)
        del self.stack[len(self.stack) - frames + 1 :]
        if not self.stack:
            return False
        r, v = self.stack.pop()
        first, size, lazy, _ = self.at(D_RETURNS.value, r, RETURN_WIDTH.value)
        q, count, _, class_map, _, lo, hi, _ = (
            self.at(D_GOTOS.value, first + cls, EDGE_WIDTH.value)
            if cls < size
            else [UNKNOWN.value if lazy else DEAD.value, *[0] * 7]
        )
        if q == UNKNOWN.value:
            raise _Stop(NEED_STATE.value)
        v = v + count if count >= 0 else -1 - count
        if q < 0 or not lo <= v <= hi:
            raise _Stop(REJECTED.value)
        if class_map < 0:
            raise _Stop(NEED_STATE.value)
        self.q, self.v = q, v
        return True

    def read(self, byte: int, depth: int) -> None:
        while True:
            class_map, base = self.state()[:2]
            c = int(self.bytes[4 * self.d[D_MAPS.value] + 256 * class_map + byte])
            t, arg, count, to_map, _, lo, hi, _ = self.at(D_EDGES.value, base + c, EDGE_WIDTH.value)
            if t >= 0:
                break
            if t == DEAD.value:
                raise _Stop(REJECTED.value)
            if t < FORK.value:
                raise _Stop(NEED_HOST.value)
            if not self.pop(-2 - t, arg):
                raise _Stop(REJECTED.value)
        v = self.v + count if count >= 0 else -1 - count
        points = [arg] if arg >= 0 else []
        if points and arg & SEVERAL.value:
            points, entry = [], arg & ~SEVERAL.value
            while entry >= 0:
                r, entry = self.at(D_PUSHES.value, entry, PUSH_WIDTH.value)
                points.append(r)
        for r in points:
            if len(self.stack) == depth:
                raise _Stop(NEED_HOST.value)
            self.stack.append([r & ~INHERIT.value, v])
            v = v if r >= INHERIT.value else 0
        if not lo <= v <= hi:
            raise _Stop(REJECTED.value)
        if to_map < 0:
            raise _Stop(NEED_STATE.value)
        self.q, self.v = t, v

    def may_end(self) -> bool:
        while (cls := self.state()[END.value]) >= 0:
            if not self.pop(cls, 1):
                return True
        return False

    def rows(self) -> list[list[int]]:
        """KIND, OFFSET and LENGTH of the rows of the mask."""
        found: list[list[int]] = []
        while (final := self.state()[FINAL.value]) >= 0 and self.stack:
            if not self.pop(final, self.state()[FRAMES.value]):
                return found
        exit_ = self._entry(self.state()[HEAD.value], self.v, found)
        if exit_ < 0:
            raise _Stop(NEED_ROW.value)
        while exit_ and self.stack:
            r, v = self.stack.pop()
            mask = self.d[D_PAIR_MASK.value]
            at = (exit_ * 40503 + r * 9973) & 0x7FFFFFFF & mask
            while (pair := self.at(D_PAIRS.value, at, PAIR_WIDTH.value))[0] >= 0:
                if pair[:2] == [exit_, r]:
                    break
                at = (at + 1) & mask
            onward = self._entry(pair[2] if pair[0] >= 0 else -1, v, found)
            if onward < 0:
                raise _Stop(NEED_ROW.value)
            exit_ = onward
        return found

    def _entry(self, k: int, v: int, found: list[list[int]]) -> int:
        while k >= 0:
            kind, offset, length, exit_, low, high, k, _ = self.at(
                D_ENTRIES.value, k, ENTRY_WIDTH.value
            )
            if low <= v <= high:
                if length:
                    found.append([kind, offset, length])
                if len(found) > MOST_ROWS.value:
                    raise _Stop(NEED_HOST.value)
                return exit_
        return -1


def advance_reference(tokens: torch.Tensor, arena: ArenaTensors, batch: SlotTensors) -> None:
    """:func:`advance` in plain Python, one slot after the other."""
    ring, depth = batch.snapshots.shape[1], batch.stacks.shape[1]
    for b, given in enumerate(tokens.tolist()):
        slot = batch.slots[b].cpu().numpy()
        status = int(slot[S_STATUS.value])
        waiting = NEED_STATE.value <= status <= NEED_ROW.value
        token = int(slot[S_PENDING.value]) if waiting else given
        if status == ON_HOST.value and token >= 0:
            slot[[S_STATUS.value, S_PENDING.value]] = HOST_TURN.value, token
        elif waiting or (status in (ACTIVE.value, REJECTED.value) and token >= 0):
            stack = batch.stacks[b, : slot[S_DEPTH.value]].tolist()
            if token >= 0:
                kept = batch.snapshots[b, int(slot[S_STEPS.value]) % ring]
                kept[:3] = batch.slots[b, [S_STATE.value, S_COUNTER.value, S_DEPTH.value]]
                kept[4 : 4 + 2 * len(stack)] = batch.stacks[b, : len(stack)].reshape(-1)
            rows = _advance_one(token, arena, slot, stack, depth, ring)
            batch.stacks[b, : len(stack)] = torch.tensor(stack, dtype=torch.int32).view(-1, 2)
            for i, row in enumerate(row for kind, *row in rows if kind == BITMAP.value):
                batch.rows[b, i] = torch.tensor(row, dtype=torch.int32)
            for i, row in enumerate(row for kind, *row in rows if kind == LIST.value):
                batch.rows[b, -1 - i] = torch.tensor(row, dtype=torch.int32)
        batch.slots[b] = torch.from_numpy(slot)


def _advance_one(
    token: int, arena: ArenaTensors, slot: np.ndarray, stack: list[list[int]], depth: int, ring: int
) -> list[list[int]]:
    """Change a slot's row and stack; returns the rows of its mask."""
    before = [*stack]
    reader = _Reader(arena, slot, stack)
    taken = token >= 0
    try:
        if taken:
            begin, end = arena.token_offsets[token : token + 2].tolist()
            if begin == end:
                raise _Stop(REJECTED.value)
            for byte in arena.token_bytes[begin:end].tolist():
                reader.read(byte, depth)
    except _Stop as stop:
        stack[:] = before
        status = stop.args[0]
        if status == REJECTED.value and token in arena.eos.tolist() and slot[S_MAY_END.value]:
            status = FINISHED.value
            slot[[*_MASK, S_PENDING.value]] = 0, 0, 0, -1
            slot[S_STEPS.value] += 1
            slot[S_UNDOABLE.value] = min(slot[S_UNDOABLE.value] + 1, ring - 1)
        elif status != REJECTED.value:
            slot[[*_MASK, S_PENDING.value]] = 0, 0, 0, token
        slot[S_STATUS.value] = status
        return []
    slot[[S_STATE.value, S_COUNTER.value, S_DEPTH.value]] = reader.q, reader.v, len(stack)
    if taken:
        slot[S_STEPS.value] += 1
        slot[S_UNDOABLE.value] = min(slot[S_UNDOABLE.value] + 1, ring - 1)
    slot[S_PENDING.value] = -1
    slot[_MASK] = 0
    rows: list[list[int]] = []
    status = ACTIVE.value
    try:
        try:
            rows = _Reader(arena, slot, [*stack]).rows()
        except _Stop as stop:
            status = ACTIVE.value if stop.args[0] == REJECTED.value else stop.args[0]
        ends = _Reader(arena, slot, [*stack]).may_end()
        slot[S_MAY_END.value] = int(ends)
    except _Stop as stop:
        if stop.args[0] == NEED_STATE.value and status == ACTIVE.value:
            status, rows = NEED_STATE.value, []
    slot[S_N_BITMAPS.value] = sum(row[0] == BITMAP.value for row in rows)
    slot[S_N_LISTS.value] = len(rows) - slot[S_N_BITMAPS.value]
    slot[S_STATUS.value] = status
    return rows
