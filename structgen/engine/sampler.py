"""Choosing the next token of each slot, and moving its constraint: on the host or on the device.

Both choose alike. A slot's result depends on its own logits, parameters, seed, position and
constraint only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
import torch

from structgen.bitmask import apply_bitmask
from structgen.engine.draw import draw
from structgen.engine.request import MAX_BIASES, MAX_TOP_LOGPROBS, Request
from structgen.engine.transfer import send
from structgen.errors import StructgenError
from structgen.kernels import layout
from structgen.kernels.sample import SamplingParameters
from structgen.kernels.sample_reference import penalised

if TYPE_CHECKING:
    from structgen.engine.tokens import TokenTable
    from structgen.matcher import Matcher

# What the slots of a step need: the greatest logit; a draw; penalties, biases or log-probabilities.
Kind = Literal["greedy", "draw", "full"]
KINDS: tuple[Kind, ...] = ("greedy", "draw", "full")

NO_SCORE = -2  # instead of a token: the model gives no finite score to any that is allowed
WAITING = frozenset(
    status.value
    for status in (
        layout.REJECTED, layout.NEED_STATE, layout.NEED_ROW, layout.NEED_HOST, layout.HOST_TURN,
    )
)  # fmt: skip


class Sampler(Protocol):
    """Parameters and constraints of ``batch`` slots.

    Attributes:
        logprob: float32 [batch], of the tokens chosen last, where a step's kind is "full".
        top_values, top_ids: float32 and int32 [batch, K], the likeliest ones in their place.
    """

    logprob: torch.Tensor
    top_values: torch.Tensor
    top_ids: torch.Tensor

    @property
    def statuses(self) -> torch.Tensor:
        """int32 [batch], see ``kernels/layout.py``."""
        ...

    def join(self, slot: int, request: Request, tokens: Sequence[int], seed: int) -> None:
        """Begin in a slot a text that has ``tokens`` already.

        Raises:
            StructgenError: the constraint does not admit them, or cannot be had.
        """

    def leave(self, slot: int) -> None:
        """End what is in a slot."""

    def step(
        self, logits: torch.Tensor, active: torch.Tensor, out: torch.Tensor, kind: Kind
    ) -> None:
        """Choose a token in each active slot and take it.

        Args:
            logits: [b, at least V] of the first b slots; may be changed.
            active: int32 [b], 0 where nothing is to be done.
            out: int32 [b], where the tokens are written; -1 where there is none: the slot is not
                active, finished, or waits; ``NO_SCORE``.
            kind: the least of what the active slots need.
        """

    def serve(self, statuses: Mapping[int, int]) -> dict[int, str]:
        """Bring what slots wait for; what is wrong with those that cannot go on.

        Args:
            statuses: what a step that is done reported, by slot. None of them is named again before
                a step that was launched after this call reports it.
        """


def kind_of(requests: Iterable[Request]) -> Kind:
    """The least that serves all of them."""
    level = 0
    for request in requests:
        p = request.params
        if p.is_penalised or p.logit_bias or p.logprobs is not None:
            return "full"
        level = max(level, int(p.temperature > 0))
    return KINDS[level]


class Parameters:
    """The sampling parameters of all slots, on the device, written slot by slot."""

    def __init__(self, batch: int, n_tokens: int, device: torch.device) -> None:
        self.n_tokens = n_tokens
        self.device = device
        # Rows of a few tensors, so that a slot is written at once.
        self._floats = torch.zeros((6, batch), device=device)
        self._integers = torch.zeros((3, batch), dtype=torch.int32, device=device)
        own = SamplingParameters.allocate(
            batch, device, penalised_tokens=n_tokens, biases=MAX_BIASES
        )
        floats, integers = self._floats.unbind(), self._integers.unbind()
        self.all = SamplingParameters(
            floats[0], integers[0], floats[1], floats[2], floats[3], floats[4], floats[5],
            own.seed, integers[1], integers[2], own.counts, own.seen, own.bias_ids,
            own.bias_values,
        )  # fmt: skip
        self._biased: set[int] = set()

    def write(self, slot: int, request: Request, tokens: Sequence[int], seed: int) -> None:
        """Take the parameters of a text that has ``tokens`` already."""
        p, a = request.params, self.all
        floats = (
            p.temperature, p.top_p, p.min_p, p.repetition_penalty, p.presence_penalty,
            p.frequency_penalty,
        )  # fmt: skip
        self._floats[:, slot] = send(floats, torch.float32, self.device)
        integers = min(p.top_k or 0, self.n_tokens), len(tokens), p.logprobs or 0
        self._integers[:, slot] = send(integers, torch.int32, self.device)
        a.seed[slot : slot + 1] = send((seed,), torch.int64, self.device)
        assert a.counts is not None and a.seen is not None
        assert a.bias_ids is not None and a.bias_values is not None
        if p.is_penalised:
            a.counts[slot] = send(self._counts(tokens), torch.int16, self.device)
            a.seen[slot] = send(self._seen(request.prompt_ids), torch.int32, self.device)
        if slot in self._biased:
            a.bias_ids[slot] = -1
            self._biased.discard(slot)
        if p.logit_bias:
            self._biased.add(slot)
            n = len(p.logit_bias)
            a.bias_ids[slot, :n] = send(list(p.logit_bias), torch.int32, self.device)
            values = list(p.logit_bias.values())
            a.bias_values[slot, :n] = send(values, torch.float32, self.device)

    def of(self, kind: Kind, rows: slice | torch.Tensor) -> SamplingParameters:
        """Those of some slots, as far as a step of this kind looks at them."""
        a = self.all
        found = SamplingParameters(
            a.temperature[rows], a.top_k[rows], a.top_p[rows], a.min_p[rows],
            a.repetition_penalty[rows], a.presence_penalty[rows], a.frequency_penalty[rows],
            a.seed[rows], a.position[rows], a.logprobs[rows],
        )  # fmt: skip
        if kind == "full":
            assert a.counts is not None and a.seen is not None
            assert a.bias_ids is not None and a.bias_values is not None
            found.counts, found.seen = a.counts[rows], a.seen[rows]
            found.bias_ids, found.bias_values = a.bias_ids[rows], a.bias_values[rows]
        return found

    def _counts(self, tokens: Sequence[int]) -> np.ndarray:
        counts = np.bincount(np.array(tokens, np.int64), minlength=self.n_tokens)
        return np.minimum(counts[: self.n_tokens], 0x7FFF).astype(np.int16)

    def _seen(self, tokens: Sequence[int]) -> np.ndarray:
        bits = np.zeros((self.n_tokens + 31) // 32 * 32, np.uint8)
        ids = np.asarray(tokens, np.int64)
        bits[ids[ids < self.n_tokens]] = 1
        return np.packbits(bits, bitorder="little").view(np.int32)


class HostSampler:
    """Constraints as matchers, sampling in plain torch; the logits are brought to the CPU."""

    def __init__(self, batch: int, table: TokenTable) -> None:
        cpu = torch.device("cpu")
        self._table = table
        self._parameters = Parameters(batch, table.size, cpu)
        self._matchers: dict[int, Matcher] = {}
        self._masks = table.everything.repeat(batch, 1)
        self._messages: dict[int, str] = {}
        self.statuses = torch.zeros(batch, dtype=torch.int32)
        self.logprob = torch.zeros(batch)
        self.top_values = torch.zeros(batch, MAX_TOP_LOGPROBS)
        self.top_ids = torch.zeros(batch, MAX_TOP_LOGPROBS, dtype=torch.int32)

    def join(self, slot: int, request: Request, tokens: Sequence[int], seed: int) -> None:
        """See :class:`Sampler`."""
        self.leave(slot)
        self._parameters.write(slot, request, tokens, seed)
        if request.grammar is None:
            return
        matcher = request.grammar.matcher()
        for token in tokens:
            if not matcher.accept_token(token):
                raise StructgenError(f"the grammar does not admit token {token} here")
        self._matchers[slot] = matcher
        self._prepare(slot)

    def leave(self, slot: int) -> None:
        """See :class:`Sampler`."""
        self._matchers.pop(slot, None)
        self._messages.pop(slot, None)
        self._masks[slot] = self._table.everything[0]
        self.statuses[slot] = layout.FREE.value

    def step(
        self, logits: torch.Tensor, active: torch.Tensor, out: torch.Tensor, kind: Kind
    ) -> None:
        """See :class:`Sampler`."""
        out.fill_(-1)
        ready = (active != 0).cpu() & (self.statuses[: len(active)] < layout.FINISHED.value)
        slots = ready.nonzero()[:, 0]
        if not len(slots):
            return
        scores = logits[slots.to(logits.device)].float().cpu()
        if scores.shape[1] < self._table.size:
            missing = self._table.size - scores.shape[1]
            scores = torch.nn.functional.pad(scores, (0, missing), value=float("-inf"))
        parameters = self._parameters.of(kind, slots)
        if kind == "full":
            scores = penalised(scores[:, : self._table.size], parameters)
        scores = scores.nan_to_num(nan=-torch.inf, neginf=-torch.inf)
        apply_bitmask(scores, self._masks[slots])
        chosen = scores.argmax(1) if kind == "greedy" else draw(scores, parameters)
        finite = scores.gather(1, chosen[:, None])[:, 0].isfinite()
        if kind == "full":
            self._note(slots, scores, chosen)
        self._parameters.all.position[slots] += 1
        for slot, token, good in zip(slots.tolist(), chosen.tolist(), finite.tolist(), strict=True):
            out[slot] = self._take(slot, token) if good else NO_SCORE

    def _note(self, slots: torch.Tensor, scores: torch.Tensor, chosen: torch.Tensor) -> None:
        """Count the tokens, and keep their log-probabilities and the greatest ones."""
        counts = self._parameters.all.counts
        assert counts is not None
        counts[slots, chosen] = counts[slots, chosen].clamp(max=0x7FFE) + 1
        logprobs = scores.double().log_softmax(1).float()
        self.logprob[slots] = logprobs.gather(1, chosen[:, None])[:, 0]
        k = min(MAX_TOP_LOGPROBS, scores.shape[1])
        values, ids = logprobs.sort(dim=1, descending=True, stable=True)
        self.top_values[slots, :k] = values[:, :k]
        self.top_ids[slots, :k] = torch.where(values[:, :k] > -torch.inf, ids[:, :k], -1).int()

    def serve(self, statuses: Mapping[int, int]) -> dict[int, str]:
        """See :class:`Sampler`: what went wrong in them."""
        return {slot: self._messages[slot] for slot in statuses if slot in self._messages}

    def _take(self, slot: int, token: int) -> int:
        matcher = self._matchers.get(slot)
        if matcher is None:
            return token
        try:
            if not matcher.accept_token(token):
                raise StructgenError(f"the grammar refused token {token}, which its mask allowed")
            self._prepare(slot)
        except StructgenError as error:
            return self._reject(slot, str(error))
        except Exception as error:  # a fault in one grammar ends its own request only
            return self._reject(slot, f"{type(error).__name__}: {error}")
        return token

    def _reject(self, slot: int, message: str) -> int:
        self._messages[slot] = message
        self.statuses[slot] = layout.REJECTED.value
        return -1

    def _prepare(self, slot: int) -> None:
        """The mask of the next step, or the end where nothing but end-of-text may follow."""
        matcher = self._matchers[slot]
        self.statuses[slot] = layout.FINISHED.value
        if matcher.is_terminated():
            return
        matcher.fill_bitmask(self._masks, slot)
        mask = self._masks[slot : slot + 1]
        if not bool(mask.any()):
            raise StructgenError("the grammar allows no token here")
        if not (matcher.is_accepting() and self._table.only_end(mask)):
            self.statuses[slot] = layout.ACTIVE.value
