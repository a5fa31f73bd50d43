"""Matchers of a batch on a device: a slot for each sequence, any grammar in any slot."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from structgen.compiler import CompiledGrammar
from structgen.device.arena import Arena, _Resident
from structgen.errors import StructgenError
from structgen.kernels import layout
from structgen.kernels.advance import advance
from structgen.kernels.fork_rollback import fork, rollback
from structgen.kernels.greedy import Workspace, greedy_step
from structgen.kernels.layout import ArenaTensors, allocate_slots
from structgen.kernels.mask import apply_bitmask, fill_bitmask
from structgen.kernels.sample import SamplingParameters, sample
from structgen.kernels.sample import Workspace as Draws
from structgen.matcher import Configuration, Matcher

_WAITING = (layout.NEED_STATE.value, layout.NEED_ROW.value)


class BatchMatcher:
    """The constraints of a batch of sequences, each in a slot.

    A slot has a grammar, or none: then every token is allowed. What a grammar needs is computed
    when a text first gets there: the slot waits, :meth:`resolve` brings it to the device, and the
    others go on meanwhile. Grammars that the device cannot follow (with several readings of a text,
    tokens asked for by name, or items that must differ) are followed by the host, which writes
    their masks; so is a text whose stack grows deeper than ``max_depth``.

    :meth:`fill_bitmask`, :meth:`apply_mask`, :meth:`greedy` and ``advance(..., wait=False)`` do not
    wait for the device, and can be captured in a CUDA graph.
    """

    def __init__(
        self, arena: Arena, batch: int, *, max_depth: int = 256, max_rollback: int = 0
    ) -> None:
        """
        Args:
            arena: where the grammars are.
            batch: number of slots.
            max_depth: of nested frames on the device.
            max_rollback: how many tokens can be taken back.
        """
        if batch < 1 or max_depth < 1 or max_rollback < 0:
            raise StructgenError("a batch needs a slot, a depth, and no negative rollback")
        self.arena = arena
        self.tensors = allocate_slots(batch, max_depth, max_rollback + 1, arena.device)
        self._tables = ArenaTensors(
            arena.words, arena.words8, arena.grammars, arena.token_offsets, arena.token_bytes,
            arena.eos,
        )  # fmt: skip
        self._residents: list[_Resident | None] = [None] * batch
        self._hosts: dict[int, Matcher] = {}
        self._host_rows: dict[int, int] = {}  # where in the arena their masks are
        self._workspace = Workspace(batch, arena.n_tokens, arena.device)
        self._mask: torch.Tensor | None = None  # of sampling, when it is first asked for
        self._draws: Draws | None = None
        self._none = torch.full((batch,), -1, dtype=torch.int32, device=arena.device)
        self._scratch = np.zeros((1, arena.n_words), np.int32)

    def __len__(self) -> int:
        return len(self._residents)

    # -- slots ----------------------------------------------------------------------------------

    def join(self, slot: int, grammar: CompiledGrammar | None) -> None:
        """Begin a text in a slot; without a grammar everything is allowed."""
        self.leave(slot)
        if grammar is None:
            return
        if needs_host(grammar):
            self._move_to_host(slot, grammar.matcher())
            return
        resident = self._residents[slot] = self.arena.hold(grammar)
        row = np.zeros(layout.S_WIDTH.value, np.int32)
        row[layout.S_GRAMMAR.value] = resident.index
        row[layout.S_STATE.value] = grammar.start
        row[layout.S_PENDING.value] = -1
        # Its rows are found by the kernel, as those of a slot that was given what it waited for.
        row[layout.S_STATUS.value] = layout.NEED_ROW.value
        self._write(slot, row)

    def leave(self, slot: int) -> None:
        """End what is in a slot."""
        resident, self._residents[slot] = self._residents[slot], None
        if resident is not None:
            self.arena.release(resident)
        if self._hosts.pop(slot, None) is not None:
            self.arena.give(self._host_rows.pop(slot), self.arena.n_words)
        self._write(slot, np.zeros(layout.S_WIDTH.value, np.int32))

    def fork(self, sources: Sequence[int], targets: Sequence[int]) -> None:
        """Copy what is in some slots to others, all different."""
        if len(sources) != len(targets) or set(sources) & set(targets):
            raise StructgenError("a fork needs as many targets as sources, all different")
        if len(set(targets)) < len(targets):
            raise StructgenError("a slot is named twice as a target")
        for source, target in zip(sources, targets, strict=True):
            self.leave(target)
            resident = self._residents[source]
            if resident is not None:
                self._residents[target] = self.arena.hold(resident.grammar)
        fork(self._ints(sources), self._ints(targets), *self.tensors)
        for source, target in zip(sources, targets, strict=True):
            if source in self._hosts:
                self._move_to_host(target, self._hosts[source].copy())

    def rollback(self, counts: Sequence[int]) -> None:
        """Take back the last tokens of each slot, so many as ``counts`` says.

        Raises:
            StructgenError: more than ``max_rollback``, or than the slot took.
        """
        slots = self.tensors.slots.cpu().numpy()
        for slot, n in enumerate(counts):
            known = int(slots[slot, layout.S_UNDOABLE.value])
            if slot not in self._hosts and not 0 <= n <= known:
                raise StructgenError(f"slot {slot}: {n} tokens to take back, {known} are kept")
        rollback(
            self._ints(counts), self.tensors.slots, self.tensors.stacks, self.tensors.snapshots
        )
        for slot, matcher in self._hosts.items():
            if counts[slot]:
                matcher.rollback(counts[slot])
                self._write_host(slot)
        self.resolve()

    # -- steps ----------------------------------------------------------------------------------

    def fill_bitmask(self, out: torch.Tensor) -> torch.Tensor:
        """Write the mask of each slot into ``out``, int32 [batch, ceil(V / 32)], and return it."""
        tables = self._tables
        fill_bitmask(
            tables.words, self.tensors.slots, self.tensors.rows, tables.eos, out, tables.n_tokens
        )
        return out

    def apply_mask(self, logits: torch.Tensor) -> torch.Tensor:
        """Set the logits of tokens that may not come next to -inf.

        ``logits``: [batch, V or more], changed in place; ids from V on count as not allowed.
        """
        mask = torch.empty((len(self), self.arena.n_words), dtype=torch.int32, device=logits.device)
        apply_bitmask(logits, self.fill_bitmask(mask), self.arena.n_tokens)
        return logits

    def greedy(self, logits: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        """Choose the likeliest allowed tokens and take them; see ``kernels/greedy.py``.

        Args:
            logits: [batch, V or more], bf16, fp16 or fp32.
            out: int32 [batch], where the tokens are written; -1 where nothing is allowed.
        """
        greedy_step(logits, out, self._tables, self.tensors, self._workspace)
        return out

    def sample(
        self, logits: torch.Tensor, out: torch.Tensor, parameters: SamplingParameters
    ) -> torch.Tensor:
        """Draw allowed tokens and take them; see ``kernels/sample.py``.

        Args:
            logits: [batch, V or more], bf16, fp16 or fp32.
            out: int32 [batch], where the tokens are written; -1 where nothing is allowed.
            parameters: of each slot.
        """
        if self._mask is None:
            n, device = len(self), self.arena.device
            self._mask = torch.empty((n, self.arena.n_words), dtype=torch.int32, device=device)
            self._draws = Draws(n, self.arena.n_tokens, device)
        assert self._draws is not None
        mask = self.fill_bitmask(self._mask)
        sample(logits, mask, parameters, out, n_tokens=self.arena.n_tokens, workspace=self._draws)
        advance(out, self._tables, self.tensors)
        return out

    def advance(self, tokens: torch.Tensor, *, wait: bool = True) -> torch.Tensor | None:
        """Take a token in each slot; -1 for none.

        Args:
            tokens: integers [batch].
            wait: resolve what slots need, before and after, and say which tokens were taken.
                Without it, the token of a slot that waits is not looked at.

        Returns:
            bool [batch] on the CPU: False where a token did not fit, and nothing changed. None
            without ``wait``.
        """
        if wait:
            self.resolve()
        advance(tokens.to(self.arena.device, torch.int32), self._tables, self.tensors)
        if not wait:
            return None
        refused = self.resolve()
        status = self.tensors.slots[:, layout.S_STATUS.value].cpu()
        taken = status != layout.REJECTED.value
        taken[refused] = False
        return taken

    def resolve(self) -> list[int]:
        """Give slots what they wait for; returns those on the host whose token did not fit.

        Raises:
            StructgenError: what a slot waits for cannot be had (a limit, a full arena). That slot
                is ended, so that nothing is allowed in it; all others were served.
        """
        refused: list[int] = []
        error: StructgenError | None = None
        while True:
            slots = self.tensors.slots.cpu().numpy()
            status = slots[:, layout.S_STATUS.value]
            waiting = np.flatnonzero(np.isin(status, _WAITING)).tolist()
            moving = np.flatnonzero(status == layout.NEED_HOST.value).tolist()
            turns = np.flatnonzero(status == layout.HOST_TURN.value).tolist()
            if not waiting and not moving and not turns:
                if error is not None:
                    raise error
                return refused
            for slot in turns + moving + waiting:
                try:
                    if not self._serve(slot, slots[slot]):
                        refused.append(slot)
                except StructgenError as found:
                    error = error or found
                    self._end(slot)
            advance(self._none, self._tables, self.tensors)

    @property
    def statuses(self) -> torch.Tensor:
        """int32 [batch] on the device, see ``kernels/layout.py``."""
        return self.tensors.slots[:, layout.S_STATUS.value]

    # -- the host's part ------------------------------------------------------------------------

    def _serve(self, slot: int, row: np.ndarray) -> bool:
        """Do what one slot waits for; False where the host refuses its token."""
        token, status = int(row[layout.S_PENDING.value]), int(row[layout.S_STATUS.value])
        if status == layout.HOST_TURN.value:
            fits = self._hosts[slot].accept_token(token)
            self._write_host(slot)
            return fits
        # The host takes the same step: then all that it needs is there.
        twin = self._twin(slot, row)
        fits = token < 0 or twin.accept_token(token)
        twin.fill_bitmask(self._scratch)
        if status == layout.NEED_HOST.value:
            self._move_to_host(slot, twin)
            return fits
        resident = self._residents[slot]
        assert resident is not None
        self.arena.update(resident)
        return True  # or the kernel says that it does not fit

    def _end(self, slot: int) -> None:
        """Allow nothing in a slot until somebody joins it."""
        self.leave(slot)
        row = np.zeros(layout.S_WIDTH.value, np.int32)
        row[layout.S_STATUS.value], row[layout.S_PENDING.value] = layout.FINISHED.value, -1
        self._write(slot, row)

    def _twin(self, slot: int, row: np.ndarray) -> Matcher:
        """A matcher in the configuration of a slot."""
        resident = self._residents[slot]
        assert resident is not None
        state = int(row[layout.S_STATE.value]), int(row[layout.S_COUNTER.value])
        here = _configuration(*state, self.tensors.stacks[slot, : row[layout.S_DEPTH.value]])
        steps, kept = int(row[layout.S_STEPS.value]), int(row[layout.S_UNDOABLE.value])
        ring = self.tensors.snapshots[slot].cpu()
        before = []
        for step in range(steps - kept, steps):
            q, v, depth, _, *stack = ring[step % len(ring)].tolist()
            before.append(_configuration(q, v, torch.tensor(stack[: 2 * depth])))
        matcher = resident.grammar.matcher()
        matcher.move_to(here, before)
        return matcher

    def _move_to_host(self, slot: int, matcher: Matcher) -> None:
        if slot not in self._host_rows:
            self._host_rows[slot] = self.arena.take(self.arena.n_words)
        self._hosts[slot] = matcher
        self._write_host(slot)

    def _write_host(self, slot: int) -> None:
        """Write the mask of a slot that the host follows, and let the slot go on."""
        matcher, offset = self._hosts[slot], self._host_rows[slot]
        matcher.fill_bitmask(self._scratch)
        self.arena._write(offset, self._scratch[0])
        row = np.zeros(layout.S_WIDTH.value, np.int32)
        row[layout.S_PENDING.value] = -1
        row[layout.S_STATUS.value] = layout.ON_HOST.value
        if matcher.is_terminated():
            row[layout.S_STATUS.value] = layout.FINISHED.value
        row[layout.S_N_BITMAPS.value] = 1
        self._write(slot, row)
        n = self.arena.n_words
        self.arena._copy(self.tensors.rows[slot, 0], np.array([offset, n], np.int32))

    def _write(self, slot: int, row: np.ndarray) -> None:
        self.arena._copy(self.tensors.slots[slot], row)

    def _ints(self, values: Sequence[int]) -> torch.Tensor:
        return torch.tensor(list(values), dtype=torch.int32, device=self.arena.device)


def needs_host(grammar: CompiledGrammar) -> bool:
    """Can the device not follow this grammar?"""
    automaton = grammar.automaton
    return automaton.has_unique or automaton.symbols


def _configuration(state: int, counter: int, stack: torch.Tensor) -> Configuration:
    """From a stack of the device, return points and counters with the last one on top."""
    frames = reversed(stack.reshape(-1, 2).tolist())
    return Configuration(state, counter, tuple((r, v) for r, v in frames))
