"""Matchers of a batch on a device: a slot for each sequence, any grammar in any slot."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

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

_FIRST_WAITING = layout.NEED_STATE.value  # so are all statuses after it
# A step that the host has taken lacks nothing afterwards; more rounds would say that it goes on so.
_MOST_ROUNDS = 8


class BatchMatcher:
    """The constraints of a batch of sequences, each in a slot.

    A slot has a grammar, or none: then every token is allowed. What a grammar needs is computed
    when a text first gets there: the slot waits, :meth:`serve` or :meth:`resolve` brings it to the
    device, and the others go on meanwhile. What the device cannot follow is followed by the host,
    which writes the masks: grammars with items that must differ, texts from where they are read in
    several ways, and those whose stacks grow deeper than ``max_depth``.

    :meth:`fill_bitmask`, :meth:`apply_mask`, :meth:`greedy`, :meth:`sample` and ``advance(...,
    wait=False)`` do not wait for the device, and can be captured in a CUDA graph. They look at the
    first b slots, where b is how many rows they are given. A slot whose ``active`` is 0 is left as
    it is, and its token is -1. A slot that took an end-of-sequence id is finished: its tokens are
    -1 until somebody joins it.
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
        self._workspace = Workspace(batch, arena.device)
        self._mask: torch.Tensor | None = None  # of sampling, when it is first asked for
        self._draws: Draws | None = None
        self._none = torch.full((1,), -1, dtype=torch.int32, device=arena.device)
        self._scratch = np.zeros((1, arena.n_words), np.int32)
        self._reads = torch.cuda.Stream(arena.device) if arena.device.type == "cuda" else None

    def __len__(self) -> int:
        return len(self._residents)

    @property
    def _max_depth(self) -> int:
        return int(self.tensors.stacks.shape[1])

    # -- slots ----------------------------------------------------------------------------------

    def join(self, slot: int, grammar: CompiledGrammar | None, tokens: Sequence[int] = ()) -> None:
        """Begin a text in a slot; without a grammar everything is allowed.

        The slot's mask is there for the next step: all that it needs is computed here, and nothing
        waits for the device.

        Args:
            slot: its number; what was in it ends.
            grammar: that of the text.
            tokens: what the text begins with, ids. They cannot be rolled back.

        Raises:
            StructgenError: a token does not fit, or the mask cannot be had; the slot is as before.
                Or there is no room in the arena; nothing is allowed in the slot then.
        """
        if grammar is None:
            return self.leave(slot)
        self.arena.check(grammar)
        matcher = grammar.matcher()
        for i, token in enumerate(tokens):
            if not matcher.accept_token(token):
                raise StructgenError(
                    f"slot {slot}: token {token}, number {i} of the text, does not fit the grammar"
                )
        matcher.fill_bitmask(self._scratch)
        self.leave(slot)
        try:
            self._place(slot, grammar, matcher)
        except StructgenError:
            self._end(slot)
            raise

    def _place(self, slot: int, grammar: CompiledGrammar, matcher: Matcher) -> None:
        """Go on in a free slot from where a matcher is."""
        readings = matcher.configurations()
        if needs_host(grammar) or len(readings) > 1 or len(readings[0].stack) > self._max_depth:
            return self._move_to_host(slot, matcher)
        here = readings[0]
        resident = self._residents[slot] = self.arena.hold(grammar)
        row = np.zeros(layout.S_WIDTH.value, np.int32)
        row[layout.S_GRAMMAR.value] = resident.index
        row[layout.S_STATE.value], row[layout.S_COUNTER.value] = here.state, here.counter
        row[layout.S_DEPTH.value] = len(here.stack)
        row[layout.S_PENDING.value] = -1
        # Its rows are found by the kernel, as those of a slot that was given what it waited for.
        row[layout.S_STATUS.value] = layout.NEED_ROW.value
        if matcher.is_terminated():
            row[layout.S_STATUS.value] = layout.FINISHED.value
        self._write(slot, row)
        if here.stack:
            frames = np.array(here.stack[::-1], np.int32)
            self.arena._copy(self.tensors.stacks[slot, : len(frames)], frames)
        self._find_rows(slot)

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
            StructgenError: not one count for each slot, or more than ``max_rollback``, or than the
                slot took; nothing has changed. Or as :meth:`resolve`.
        """
        if len(counts) != len(self):
            raise StructgenError(f"{len(counts)} counts to take back for {len(self)} slots")
        slots = self.tensors.slots.cpu().numpy()
        hosts = {}
        for slot, n in enumerate(counts):
            known = int(slots[slot, layout.S_UNDOABLE.value])
            if slot in self._hosts and n:
                hosts[slot] = self._hosts[slot].copy()
                hosts[slot].rollback(n)
            elif slot not in self._hosts and not 0 <= n <= known:
                raise StructgenError(f"slot {slot}: {n} tokens to take back, {known} are kept")
        rollback(
            self._ints(counts), self.tensors.slots, self.tensors.stacks, self.tensors.snapshots
        )
        self._hosts |= hosts
        for slot in hosts:
            self._write_host(slot)
        moved = [slot for slot, n in enumerate(counts) if n]
        for error in self._serve_all(moved)[1].values():
            raise error

    # -- steps ----------------------------------------------------------------------------------

    def fill_bitmask(self, out: torch.Tensor) -> torch.Tensor:
        """Write the masks of the first slots into ``out``, int32 [b, ceil(V / 32)]; returns it."""
        self._fill(out, None)
        return out

    def apply_mask(self, logits: torch.Tensor) -> torch.Tensor:
        """Set the logits of tokens that may not come next to -inf.

        ``logits``: [b, V or more], changed in place; ids from V on count as not allowed.
        """
        shape = len(logits), self.arena.n_words
        mask = torch.empty(shape, dtype=torch.int32, device=logits.device)
        apply_bitmask(logits, self.fill_bitmask(mask), self.arena.n_tokens)
        return logits

    def greedy(
        self, logits: torch.Tensor, out: torch.Tensor, *, active: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Choose the likeliest allowed tokens and take them; see ``kernels/greedy.py``.

        Args:
            logits: [b, V or more] of the first b slots, bf16, fp16 or fp32.
            out: int32 [b], where the tokens are written; -1 where nothing is allowed.
            active: int32 [b or more] on the device, 0 where a slot is left as it is; None: none is.
        """
        self._check(logits, out, active)
        greedy_step(logits, out, self._tables, self.tensors, self._workspace, active)
        return out

    def sample(
        self,
        logits: torch.Tensor,
        out: torch.Tensor,
        parameters: SamplingParameters,
        *,
        active: torch.Tensor | None = None,
        logprob: torch.Tensor | None = None,
        top_logprobs: tuple[torch.Tensor, torch.Tensor] | None = None,
    ) -> torch.Tensor:
        """Draw allowed tokens and take them; see ``kernels/sample.py``.

        Slots with temperature 0 take the likeliest token, among others that are sampled. Of a slot
        whose token is -1 nothing else is written: no log-probability, count or position.

        Args:
            logits: [b, V or more] of the first b slots, bf16, fp16 or fp32.
            out: int32 [b], where the tokens are written; -1 where nothing is allowed.
            parameters: of b slots or more.
            active: int32 [b or more] on the device, 0 where a slot is left as it is; None: none is.
            logprob: float32 [b], where the tokens' log-probabilities are written.
            top_logprobs: float32 and int32 [b, K], where the K greatest ones, and whose they are,
                are written; ``parameters.logprobs`` says how many of a slot.
        """
        self._check(logits, out, active)
        if self._mask is None:
            n, device = len(self), self.arena.device
            self._mask = torch.empty((n, self.arena.n_words), dtype=torch.int32, device=device)
            self._draws = Draws(n, self.arena.n_tokens, device)
        assert self._draws is not None
        mask = self._mask[: len(logits)]
        self._fill(mask, active)
        sample(
            logits, mask, parameters, out, n_tokens=self.arena.n_tokens, workspace=self._draws,
            active=active, logprob=logprob, top_logprobs=top_logprobs,
        )  # fmt: skip
        advance(out, self._tables, self.tensors, active)
        return out

    def advance(
        self, tokens: torch.Tensor, *, active: torch.Tensor | None = None, wait: bool = True
    ) -> torch.Tensor | None:
        """Take a token in each of the first slots; -1 for none.

        Args:
            tokens: integers [b].
            active: int32 [b or more] on the device, 0 where a slot is left as it is; None: none is.
            wait: resolve what slots need, before and after, and say which tokens were taken.
                Without it, the token of a slot that waits is not looked at.

        Returns:
            bool [b] on the CPU: False where a token did not fit, and nothing changed. None without
            ``wait``.
        """
        self._check(tokens, tokens, active)
        if wait:
            self.resolve()
        advance(tokens.to(self.arena.device, torch.int32), self._tables, self.tensors, active)
        if not wait:
            return None
        refused = self.resolve()
        status = self.statuses.cpu()
        taken = status != layout.REJECTED.value
        taken[refused] = False
        return taken[: len(tokens)]

    # -- what slots wait for --------------------------------------------------------------------

    @property
    def statuses(self) -> torch.Tensor:
        """int32 [batch] on the device, see ``kernels/layout.py``."""
        return self.tensors.slots[:, layout.S_STATUS.value]

    def serve(self, slots: Sequence[int], *, wait: bool = True) -> dict[int, StructgenError]:
        """Give some slots what they wait for, and look at no others.

        Those of ``slots`` that wait for nothing are left as they are.

        Args:
            wait: for the device, until they wait no more. Without it, what is missing is on its way
                when this returns: for slots that a step reported to wait that is done, whatever was
                launched since. A slot is not to be named again before a step that was launched
                after this call reports that it still waits.

        Returns:
            What could not be had (a limit, a full arena), or that a token did not fit, by slot.
            These slots are ended: nothing is allowed in them until somebody joins them.
        """
        if wait:
            refused, errors = self._serve_all(slots)
        else:
            with self._beside():
                rows = self.tensors.slots.cpu().numpy()
            refused, errors = [], {}
            for slot in self._serve_round(slots, rows, refused, errors):
                self._find_rows(slot)
        for slot in refused:
            errors[slot] = StructgenError(f"slot {slot}: its token does not fit the grammar")
            self._end(slot)
        return errors

    def resolve(self) -> list[int]:
        """Give all slots what they wait for; returns those that waited and whose token did not fit.

        Raises:
            StructgenError: what a slot waits for cannot be had (a limit, a full arena). That slot
                is ended, so that nothing is allowed in it; all others were served.
        """
        refused, errors = self._serve_all(range(len(self)))
        for error in errors.values():
            raise error
        return refused

    def _serve_all(self, slots: Sequence[int]) -> tuple[list[int], dict[int, StructgenError]]:
        """The slots that waited and whose token does not fit, and those that were ended."""
        refused: list[int] = []
        errors: dict[int, StructgenError] = {}
        waiting = list(slots)
        for rounds in range(_MOST_ROUNDS):
            rows = self.tensors.slots.cpu().numpy()
            statuses = rows[:, layout.S_STATUS.value]
            if rounds:
                refused += [s for s in waiting if statuses[s] == layout.REJECTED.value]
            waiting = self._serve_round(waiting, rows, refused, errors)
            if not waiting:
                return refused, errors
            for slot in waiting:
                self._find_rows(slot)
        statuses = self.statuses.cpu().numpy()
        for slot in waiting:
            if statuses[slot] >= _FIRST_WAITING:
                errors[slot] = StructgenError(
                    f"slot {slot}: what it waits for was computed {_MOST_ROUNDS} times, and is not "
                    "on the device"
                )
                self._end(slot)
            elif statuses[slot] == layout.REJECTED.value:
                refused.append(slot)
        return refused, errors

    def _serve_round(
        self,
        slots: Sequence[int],
        rows: np.ndarray,
        refused: list[int],
        errors: dict[int, StructgenError],
    ) -> list[int]:
        """Bring what slots wait for; those that the device has to look at again.

        ``rows``: those of all slots. What cannot be had goes to ``refused`` and ``errors``.
        """
        again: list[int] = []
        for slot in slots:
            if rows[slot, layout.S_STATUS.value] < _FIRST_WAITING:
                continue
            try:
                if not self._serve(slot, rows[slot]):
                    refused.append(slot)
                if slot not in self._hosts:
                    again.append(slot)
            except StructgenError as error:
                errors[slot] = error
                self._end(slot)
            except Exception as error:  # one grammar's fault is no other's
                errors[slot] = StructgenError(f"{type(error).__name__}: {error}")
                self._end(slot)
        return again

    @contextmanager
    def _beside(self) -> Iterator[None]:
        """Read what no step under way changes, without waiting for these steps."""
        if self._reads is None:
            yield
            return
        with torch.cuda.stream(self._reads):
            yield

    def _find_rows(self, slot: int) -> None:
        """Let a slot that waits try again what it waits for."""
        advance(self._none, self._tables, self.tensors.at(slot))

    def _fill(self, out: torch.Tensor, active: torch.Tensor | None) -> None:
        tables, (slots, _, rows, _) = self._tables, self.tensors
        fill_bitmask(tables.words, slots, rows, tables.eos, out, tables.n_tokens, active)

    def _check(self, given: torch.Tensor, out: torch.Tensor, active: torch.Tensor | None) -> None:
        n = len(given)
        if n > len(self) or len(out) != n or (active is not None and len(active) < n):
            raise StructgenError(
                f"{n} rows and {len(out)} tokens for {len(self)} slots"
                + ("" if active is None else f", {len(active)} of which may be active")
            )

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
        steps, kept = int(row[layout.S_STEPS.value]), int(row[layout.S_UNDOABLE.value])
        before = []
        with self._beside():  # nothing moves a slot that waits
            here = _configuration(*state, self.tensors.stacks[slot, : row[layout.S_DEPTH.value]])
            ring = self.tensors.snapshots[slot].cpu() if kept else torch.empty(1)
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
    return grammar.automaton.has_unique


def _configuration(state: int, counter: int, stack: torch.Tensor) -> Configuration:
    """From a stack of the device, return points and counters with the last one on top."""
    frames = reversed(stack.reshape(-1, 2).tolist())
    return Configuration(state, counter, tuple((r, v) for r, v in frames))
