"""Sampling and constraints on the device: kernels alone, nothing of a step waits for the host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from structgen.device import Arena, BatchMatcher
from structgen.engine.request import MAX_TOP_LOGPROBS, Request
from structgen.engine.sampler import NO_SCORE, Kind, Parameters
from structgen.kernels import layout
from structgen.vocabulary import Vocabulary

ARENA_BYTES = 256 << 20  # of the grammars on the device


class DeviceSampler:
    """Implements :class:`structgen.engine.sampler.Sampler` with a :class:`BatchMatcher`."""

    def __init__(self, batch: int, vocabulary: Vocabulary, device: torch.device) -> None:
        self._size = len(vocabulary)
        self._matchers = BatchMatcher(Arena(vocabulary, device, arena_bytes=ARENA_BYTES), batch)
        self._parameters = Parameters(batch, self._size, device)
        self.logprob = torch.zeros(batch, device=device)
        self.top_values = torch.zeros(batch, MAX_TOP_LOGPROBS, device=device)
        self.top_ids = torch.zeros(batch, MAX_TOP_LOGPROBS, dtype=torch.int32, device=device)

    @property
    def statuses(self) -> torch.Tensor:
        """int32 [batch], see ``kernels/layout.py``."""
        return self._matchers.statuses

    def join(self, slot: int, request: Request, tokens: Sequence[int], seed: int) -> None:
        """See :class:`structgen.engine.sampler.Sampler`."""
        self._parameters.write(slot, request, tokens, seed)
        # Without a grammar the matcher need not follow the tokens.
        self._matchers.join(slot, request.grammar, tokens if request.grammar else ())

    def leave(self, slot: int) -> None:
        """See :class:`structgen.engine.sampler.Sampler`."""
        self._matchers.leave(slot)

    def step(
        self, logits: torch.Tensor, active: torch.Tensor, out: torch.Tensor, kind: Kind
    ) -> None:
        """See :class:`structgen.engine.sampler.Sampler`."""
        b = len(out)
        if logits.shape[1] < self._size:
            missing = self._size - logits.shape[1]
            logits = torch.nn.functional.pad(logits, (0, missing), value=float("-inf"))
        if kind == "greedy":
            self._matchers.greedy(logits, out, active=active)
        else:
            full = kind == "full"
            self._matchers.sample(
                logits, out, self._parameters.of(kind, slice(0, b)), active=active,
                logprob=self.logprob[:b] if full else None,
                top_logprobs=(self.top_values[:b], self.top_ids[:b]) if full else None,
            )  # fmt: skip
        chosen = logits.gather(1, out.long().clamp(min=0)[:, None])[:, 0]
        out.copy_(torch.where((out >= 0) & ~chosen.isfinite(), NO_SCORE, out))

    def serve(self, statuses: Mapping[int, int]) -> dict[int, str]:
        """See :class:`structgen.engine.sampler.Sampler`."""
        found = {
            slot: "the grammar refused a token that its mask allowed"
            for slot, status in statuses.items()
            if status == layout.REJECTED.value
        }
        waiting = [slot for slot in statuses if slot not in found]
        errors = self._matchers.serve(waiting, wait=False)
        return found | {slot: str(error) for slot, error in errors.items()}
