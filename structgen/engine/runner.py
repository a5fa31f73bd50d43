"""One step on the device: copies of pages, prompts, decoding, sampling.

The slots' state lives on the device: the token that each decodes next, its position, its pages. A
step of decoding reads and moves it, so that the next step can be launched before the host knows
what the last one sampled. A slot in which nothing was chosen (it waits for its constraint, or is
done) does not move; the next step computes the same again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import torch

from structgen.engine.attention import AttentionBatch, Span, pack
from structgen.engine.config import EngineConfig
from structgen.engine.graphs import Graphs
from structgen.engine.models.base import Model
from structgen.engine.sampler import Kind, Sampler, kind_of
from structgen.engine.scheduler import Plan
from structgen.engine.sequence import Sequence
from structgen.engine.storage import KVStorage
from structgen.engine.transfer import fetch, send
from structgen.kernels.paged_decode import DecodeWorkspace


class Result(NamedTuple):
    """What a step sampled for one slot; see :class:`structgen.engine.sampler.Sampler`."""

    token: int
    status: int
    logprob: float = 0.0
    top: tuple[tuple[int, float], ...] = ()


class Outputs(NamedTuple):
    """What comes back to the host.

    Attributes:
        report: int32 [3, slots]: tokens after prompts, decoded tokens, statuses.
        logprobs: of the tokens, the greatest values and their ids, where a sequence wants them.
    """

    report: torch.Tensor
    logprobs: tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None


@dataclass(slots=True)
class Step:
    """A step under way.

    Attributes:
        prefilled: sequences of which the last chunk sampled a token, with their slots.
        decoded: sequences that decoded a token, with their slots.
        number: how many were launched, this one counted.
    """

    prefilled: list[tuple[Sequence, int]]
    decoded: list[tuple[Sequence, int]]
    outputs: Outputs
    event: torch.cuda.Event | None = None
    number: int = 0

    def results(self) -> list[tuple[Sequence, Result]]:
        """Wait until the step is done; what it sampled."""
        if self.event is not None:
            self.event.synchronize()
        prefilled, decoded, statuses = self.outputs.report.tolist()
        found = [(s, self._result(s, slot, prefilled[slot], statuses[slot]))
                 for s, slot in self.prefilled]  # fmt: skip
        found += [(s, self._result(s, slot, decoded[slot], statuses[slot]))
                  for s, slot in self.decoded]  # fmt: skip
        return found

    def _result(self, sequence: Sequence, slot: int, token: int, status: int) -> Result:
        n = sequence.request.params.logprobs
        if n is None or self.outputs.logprobs is None:
            return Result(token, status)
        logprob, values, ids = (t[slot] for t in self.outputs.logprobs)
        top = zip(ids[:n].tolist(), values[:n].tolist(), strict=True)
        return Result(token, status, float(logprob), tuple((i, v) for i, v in top if i >= 0))


class _Flags:
    """On the device, which slots take part: int32 ``values`` [slots], 0 or 1."""

    def __init__(self, n: int, device: torch.device) -> None:
        self.values = torch.zeros(n, dtype=torch.int32, device=device)
        self._slots: list[int] = []

    def set(self, slots: list[int]) -> None:
        """These slots and no others; mostly they are those of the last step."""
        if slots == self._slots:
            return
        flags = [0] * len(self.values)
        for slot in slots:
            flags[slot] = 1
        self.values.copy_(send(flags, torch.int32, self.values.device))
        self._slots = slots


class Runner:
    """The model, the pages, and the state of the slots.

    Attributes:
        tokens, positions: int64 [slots], what each slot decodes next, and where it stands.
        page_table: int32 [slots, P].
    """

    def __init__(
        self, model: Model, sampler: Sampler, storage: KVStorage, config: EngineConfig, context: int
    ) -> None:
        """``context``: the longest text, in tokens."""
        self.model, self.sampler, self.storage, self.config = model, sampler, storage, config
        self.device = model.device
        n, width = config.max_batch_size, -(-context // config.page_size)

        def zeros(dtype: torch.dtype, *shape: int) -> torch.Tensor:
            return torch.zeros(shape, dtype=dtype, device=self.device)

        self.tokens, self.positions = zeros(torch.int64, n), zeros(torch.int64, n)
        self.page_table = zeros(torch.int32, n, width)
        self._starts = torch.arange(n + 1, dtype=torch.int32, device=self.device)
        self._decoding = _Flags(n, self.device)
        self._ending = _Flags(n, self.device)  # the slots whose prompts end in a step
        self._report = zeros(torch.int32, 3, n)
        self._scores: torch.Tensor | None = None
        self._workspace: DecodeWorkspace | None = None
        if self.device.type == "cuda":
            self._workspace = DecodeWorkspace.allocate(
                n,
                model.heads,
                max(layer.kv_heads for layer in model.layers),
                max(layer.value_dim for layer in model.layers),
                max_context=context,
                device=self.device,
            )
        self._known: dict[int, int] = {}  # pages of a slot that the device knows
        self._graphs = Graphs(self._decode) if self._captures() else None

    def _captures(self) -> bool:
        return self.config.graphs and self.device.type == "cuda"

    @torch.inference_mode()
    def join(self, sequence: Sequence) -> None:
        """Begin a sequence in its slot.

        Raises:
            StructgenError: its constraint cannot be had; a faulty grammar may raise anything.
        """
        self.sampler.join(sequence.slot, sequence.request, sequence.token_ids, sequence.seed)
        self._known.pop(sequence.slot, None)
        # Were nothing sampled after its prompt, decoding would begin with its last token.
        last = sequence.tokens[-1], sequence.length - 1
        self.tokens[sequence.slot], self.positions[sequence.slot] = send(
            last, torch.int64, self.device
        )

    def leave(self, slot: int) -> None:
        """Free a slot."""
        self.sampler.leave(slot)

    @torch.inference_mode()
    def launch(self, plan: Plan) -> Step:
        """Begin a step; without waiting for the device, where it is a GPU."""
        if plan.copies:
            sources, targets = send(list(zip(*plan.copies, strict=True)), torch.int64, self.device)
            self.storage.copy(sources, targets)
        ending = [chunk.sequence for chunk in plan.chunks if chunk.is_last]
        self._send_pages([*ending, *plan.decodes])
        if plan.chunks:
            self._prefill(
                [Span(c.sequence.tokens[c.start : c.end], c.start, c.sequence.pages)
                 for c in plan.chunks],
                [c.sequence if c.is_last else None for c in plan.chunks],
            )  # fmt: skip
        if plan.decodes:
            self._decoding.set([s.slot for s in plan.decodes])
            rows, kind = self._rows(plan.decodes), kind_of(s.request for s in plan.decodes)
            if self._graphs is None:
                self._decode(rows, kind)
            else:
                self._graphs.run(rows, kind)
        step = Step(
            [(s, s.slot) for s in ending],
            [(s, s.slot) for s in plan.decodes],
            self._fetch([*ending, *plan.decodes]),
        )
        if self.device.type == "cuda":
            step.event = torch.cuda.Event()
            step.event.record()
        return step

    # -- prompts --------------------------------------------------------------------------------

    def _prefill(self, spans: list[Span], ending: list[Sequence | None]) -> None:
        """Compute the tokens of some prompts; sample after those that end."""
        tokens, batch = pack(spans, self.storage, self.device)
        ends, at = [], 0
        for span, sequence in zip(spans, ending, strict=True):
            at += len(span.tokens)
            if sequence is not None:
                ends.append(at - 1)
        # One row at least: no model is asked for no logits at all.
        rows = send(ends or [0], torch.int64, self.device)
        logits = self.model.forward(tokens, batch, rows)
        sequences = [s for s in ending if s is not None]
        if not sequences:
            return
        if self._scores is None:
            shape = (self.config.max_batch_size, logits.shape[1])
            self._scores = torch.zeros(shape, dtype=logits.dtype, device=self.device)
        slots = [s.slot for s in sequences]
        self._scores.index_copy_(0, send(slots, torch.int64, self.device), logits)
        self._ending.set(slots)
        kind = kind_of(s.request for s in sequences)
        b = self._rows(sequences)
        self._choose(self._scores[:b], self._ending.values[:b], self._report[0, :b], kind)

    # -- decoding -------------------------------------------------------------------------------

    def _rows(self, sequences: Iterable[Sequence]) -> int:
        """How many slots a step looks at: all of those, in a number that is used often."""
        least = max(s.slot for s in sequences) + 1
        return min(self.config.max_batch_size, ladder(least))

    def _decode(self, b: int, kind: Kind) -> None:
        """Decode a token in each active slot of the first ``b``."""
        size = self.config.page_size
        positions, active = self.positions[:b], self._decoding.values[:b]
        table = self.page_table[:b]
        on = active != 0
        page = table.gather(1, (positions // size)[:, None])[:, 0]
        batch = AttentionBatch(
            self.storage,
            positions,
            torch.where(on, page * size + positions % size, 0),
            table,
            self._starts[: b + 1],
            torch.where(on, positions + 1, 0).to(torch.int32),
            max_query=1,
            workspace=self._workspace,
        )
        logits = self.model.forward(self.tokens[:b], batch, None)
        self._choose(logits, active, self._report[1, :b], kind)

    def _choose(
        self, logits: torch.Tensor, active: torch.Tensor, out: torch.Tensor, kind: Kind
    ) -> None:
        b = len(out)
        self.sampler.step(logits, active, out, kind)
        took = out >= 0
        self.tokens[:b] = torch.where(took, out, self.tokens[:b])
        self.positions[:b] += took
        self._report[2].copy_(self.sampler.statuses)

    # -- the slots' state -----------------------------------------------------------------------

    def _send_pages(self, sequences: Iterable[Sequence]) -> None:
        """Tell the device the pages of sequences that it does not know yet."""
        new: list[tuple[int, int, int]] = []
        for s in sequences:
            known = self._known.get(s.slot, 0)
            new += [(s.slot, i, s.pages[i]) for i in range(known, len(s.pages))]
            self._known[s.slot] = len(s.pages)
        if new:
            slots, indices, pages = send(list(zip(*new, strict=True)), torch.int64, self.device)
            self.page_table[slots, indices] = pages.to(torch.int32)

    def _fetch(self, sequences: Iterable[Sequence]) -> Outputs:
        report, s = fetch(self._report), self.sampler
        if all(q.request.params.logprobs is None for q in sequences):
            return Outputs(report, None)
        found = fetch(s.logprob), fetch(s.top_values), fetch(s.top_ids)
        return Outputs(report, found)


def ladder(n: int) -> int:
    """The least of 1, 2, 4, 8, 16, 24, 32, 48, 64, ... that is ``n`` or more."""
    if n <= 8:
        return 1 << (n - 1).bit_length()
    step = max(8, 1 << ((n - 1).bit_length() - 2))
    return -(-n // step) * step
