""":func:`structgen.kernels.advance.advance` in plain Python, one slot after the other."""

from __future__ import annotations

import numpy as np
import torch

from structgen.kernels.layout import *
from structgen.kernels.layout import ArenaTensors, SlotTensors

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

    def may_end(self) -> int:
        """0, ACTIVE where the text is complete, or a status; the reader stays where it is."""
        here = self.q, self.v, [*self.stack]
        try:
            while (cls := self.state()[END.value]) >= 0:
                if not self.pop(cls, 1):
                    return ACTIVE.value
        except _Stop as stop:
            return 0 if stop.args[0] == REJECTED.value else int(stop.args[0])
        finally:
            self.q, self.v, self.stack[:] = here
        return NEED_HOST.value if cls < -1 else 0

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


def advance_reference(
    tokens: torch.Tensor,
    arena: ArenaTensors,
    batch: SlotTensors,
    active: torch.Tensor | None = None,
) -> None:
    """:func:`advance` in plain Python, one slot after the other."""
    ring, depth = batch.snapshots.shape[1], batch.stacks.shape[1]
    for b, given in enumerate(tokens.tolist()):
        if active is not None and not active[b]:
            continue
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
    taken = token >= 0
    status, reader = ACTIVE.value, _Reader(arena, slot, stack)
    if taken:
        status, reader, named = _read_token(token, arena, slot, stack, depth)
        is_eos = token in arena.eos.tolist()
        if status == REJECTED.value and is_eos and slot[S_MAY_END.value]:
            status = FINISHED.value
        elif status == ACTIVE.value and is_eos and named:
            ends = reader.may_end()
            status = FINISHED.value if ends == ACTIVE.value else ends or ACTIVE.value
    if status not in (ACTIVE.value, FINISHED.value):
        stack[:] = before
        slot[S_STATUS.value] = status
        slot[S_PENDING.value] = -1 if status == REJECTED.value else token
        return []
    if taken:
        slot[S_STEPS.value] += 1
        slot[S_UNDOABLE.value] = min(slot[S_UNDOABLE.value] + 1, ring - 1)
    slot[S_PENDING.value] = -1
    slot[_MASK] = 0
    if status == FINISHED.value:
        slot[S_STATUS.value] = status
        return []
    stack[:] = reader.stack
    slot[[S_STATE.value, S_COUNTER.value, S_DEPTH.value]] = reader.q, reader.v, len(stack)
    rows: list[list[int]] = []
    try:
        rows = _Reader(arena, slot, [*stack]).rows()
    except _Stop as stop:  # a frame that cannot be left has no tokens: nothing is missing
        status = ACTIVE.value if stop.args[0] == REJECTED.value else stop.args[0]
    ends = _Reader(arena, slot, stack).may_end()
    if status == ACTIVE.value and ends not in (0, ACTIVE.value):
        status, rows = ends, []
    slot[S_MAY_END.value] = int(ends == ACTIVE.value)
    slot[S_N_BITMAPS.value] = sum(row[0] == BITMAP.value for row in rows)
    slot[S_N_LISTS.value] = len(rows) - slot[S_N_BITMAPS.value]
    slot[S_STATUS.value] = status
    return rows


def _read_token(
    token: int, arena: ArenaTensors, slot: np.ndarray, stack: list[list[int]], depth: int
) -> tuple[int, _Reader, bool]:
    """A token by its text and by its name: a status, who has read it, and if it was the name."""
    known = token < arena.n_tokens
    spellings: list[tuple[list[int], bool]] = []
    if known:
        begin, end = arena.token_offsets[token : token + 2].tolist()
        text = arena.token_bytes[begin:end].tolist()
        name = [SYMBOL.value, *token.to_bytes(3, "big")]
        named = arena.grammars[int(slot[S_GRAMMAR.value]), D_SYMBOLS.value] != 0
        spellings = [(name, True)] * bool(named) + [(text, False)] * bool(text)
    fitting: list[tuple[_Reader, bool]] = []
    for spelling, by_name in spellings:
        reader = _Reader(arena, slot, [*stack])
        try:
            for byte in spelling:
                reader.read(byte, depth)
            fitting.append((reader, by_name))
        except _Stop as stop:
            if stop.args[0] != REJECTED.value:
                return stop.args[0], reader, by_name
    if len(fitting) == 1:
        return ACTIVE.value, *fitting[0]
    status = NEED_HOST.value if fitting else REJECTED.value
    return status, _Reader(arena, slot, stack), False
