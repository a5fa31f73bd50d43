"""Draw each slot's next token: temperature, top-k, top-p, min-p, under a mask and penalties.

Two launches. In the first, a program looks at a tile of one slot's vocabulary, and writes for each
*group* of 128 tokens its greatest value and the sum of its weights. In the second, a program is one
slot. The greatest values say which few groups it has to look at again:

- greedy: the first group that holds the greatest value;
- temperature alone: one group, drawn by its sum; then one token of it;
- top-k: the groups that reach the k-th greatest of these values, as k tokens do;
- top-p: the groups with the greatest values, four times as many each time, until their tokens that
  reach the least of these values make up p, so that no other token is kept;
- min-p: the groups that reach the least value kept.

Their tokens above that bound are the candidates, of which a threshold says what is kept
(:mod:`structgen.kernels.candidates`). A result depends on a slot's own logits, mask, parameters,
seed and position only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import triton
import triton.language as tl

from structgen.kernels.candidates import GROUP, GROUP_WORDS, of_group, weight_of
from structgen.kernels.draw import draw_from_all, draw_from_cut, store_top, uniform
from structgen.kernels.layout import is_active, launches
from structgen.kernels.penalties import EMPTY, LOWEST, NO_TOKEN, Rows, to_value, word_keys
from structgen.kernels.sample_reference import sample_reference

FIRST_WORDS = tl.constexpr(64)  # of a program of the first launch


@triton.jit
def _groups(rows, temperatures, active, scratch, LOGPROBS: tl.constexpr):
    b = tl.program_id(0)
    if is_active(active, b):
        _groups_of_slot(b, rows, temperatures, scratch, LOGPROBS)


@triton.jit
def _groups_of_slot(b, rows, temperatures, scratch, LOGPROBS: tl.constexpr):
    word = tl.program_id(1) * FIRST_WORDS + tl.arange(0, FIRST_WORDS)
    key, _ = word_keys(rows, b, word, word >= 0)
    key = tl.reshape(key, [FIRST_WORDS // GROUP_WORDS, GROUP])
    top = tl.max(key, 1)
    greatest = to_value(top)[:, None]
    n_groups: tl.constexpr = FIRST_WORDS // GROUP_WORDS
    group = tl.program_id(1) * n_groups + tl.arange(0, n_groups)
    inside = group < scratch.n_groups
    at = b.to(tl.int64) * scratch.n_groups + group
    tl.store(scratch.group_max + at, top, mask=inside)
    temperature = tl.load(temperatures + b)
    if temperature > 0:
        total = tl.sum(weight_of(key, greatest, temperature), 1)
        tl.store(scratch.group_sum + at, total, mask=inside)
    if LOGPROBS:
        total = tl.sum(weight_of(key, greatest, 1.0), 1)
        tl.store(scratch.group_sum_1 + at, total, mask=inside)


@triton.jit
def _sample(
    rows, settings, active, scratch, out, logprob, top_values, top_ids,
    LOGPROBS: tl.constexpr, GROUPS: tl.constexpr,
):  # fmt: skip
    b = tl.program_id(0)
    if is_active(active, b):
        _sample_slot(
            b, rows, settings, scratch, out, logprob, top_values, top_ids, LOGPROBS, GROUPS
        )
    else:
        tl.store(out + b, -1)


@triton.jit
def _sample_slot(
    b, rows, settings, scratch, out, logprob, top_values, top_ids,
    LOGPROBS: tl.constexpr, GROUPS: tl.constexpr,
):  # fmt: skip
    group = tl.arange(0, GROUPS)
    inside = group < scratch.n_groups
    group_place = b.to(tl.int64) * scratch.n_groups + group
    group_keys = tl.load(scratch.group_max + group_place, mask=inside, other=EMPTY)
    top = tl.max(group_keys, 0)
    chosen = tl.full([], -1, tl.int32)
    if top != EMPTY:
        temperature = tl.load(settings.temperature + b)
        position = tl.load(settings.position + b)
        chosen_key = top
        if (temperature > 0) & (top > LOWEST):
            top_k = tl.load(settings.top_k + b)
            top_p = tl.load(settings.top_p + b)
            min_p = tl.load(settings.min_p + b)
            fraction = uniform(tl.load(settings.seed + b), position)
            group_sums = tl.load(scratch.group_sum + group_place, mask=inside, other=0.0)
            if (top_k > 0) | (top_p < 1) | (min_p > 0):
                chosen, chosen_key = draw_from_cut(
                    rows, scratch, b, group_keys, group_sums, top, temperature, top_k, top_p,
                    min_p, fraction,
                )  # fmt: skip
            else:
                chosen, chosen_key = draw_from_all(
                    rows, b, group_keys, group_sums, to_value(top), temperature, fraction
                )
        else:
            key, token = of_group(rows, b, tl.min(tl.where(group_keys == top, group, GROUPS), 0))
            chosen = tl.min(tl.where(key == top, token, NO_TOKEN), 0)
        if LOGPROBS:
            sums = tl.load(scratch.group_sum_1 + group_place, mask=inside, other=0.0)
            greatest = to_value(top)
            log_total = tl.log(tl.sum(sums * weight_of(group_keys, greatest, 1.0), 0))
            value = to_value(chosen_key) - greatest - log_total
            if logprob is not None:
                tl.store(logprob + b, tl.where(chosen_key > LOWEST, value, float("-inf")))
            if top_values is not None:
                n_wanted = tl.minimum(tl.load(settings.logprobs + b), scratch.n_top)
                store_top(
                    rows, scratch, b, group_keys, top, log_total, n_wanted, top_values, top_ids
                )
        tl.debug_barrier()  # all have read what changes now
        tl.store(settings.position + b, position + 1)
        if rows.counts is not None:
            place = rows.counts + b.to(tl.int64) * rows.counts_stride + chosen
            count = tl.minimum(tl.load(place).to(tl.int32), 0x7FFE) + 1
            tl.store(place, count.to(rows.counts.dtype.element_ty))
    tl.store(out + b, chosen)


class _Settings(NamedTuple):
    """Tensors of :class:`SamplingParameters`, as an argument of kernels."""

    temperature: torch.Tensor
    top_k: torch.Tensor
    top_p: torch.Tensor
    min_p: torch.Tensor
    seed: torch.Tensor
    position: torch.Tensor
    logprobs: torch.Tensor


class _Scratch(NamedTuple):
    """Tensors of :class:`Workspace`, as an argument of kernels."""

    group_max: torch.Tensor
    group_sum: torch.Tensor
    group_sum_1: torch.Tensor
    listed: torch.Tensor
    n_groups: int
    keys: torch.Tensor
    ids: torch.Tensor
    capacity: int
    n_top: int


@dataclass
class SamplingParameters:
    """What each of B slots is sampled with; the kernels read the tensors at every step.

    Attributes:
        temperature: float32 [B], 0 for greedy.
        top_k: int32 [B], 0 for off.
        top_p: float32 [B], 1 for off.
        min_p: float32 [B], 0 for off.
        repetition_penalty: float32 [B], 1 for off: of ``seen`` and of generated tokens.
        presence_penalty, frequency_penalty: float32 [B], 0 for off: of generated tokens.
        seed: int64 [B].
        position: int32 [B], how many tokens the slot has sampled; :func:`sample` counts on.
        logprobs: int32 [B], how many top log-probabilities are wanted at most.
        counts: int16 or int32 [B, at least V], how often each token was generated; :func:`sample`
            counts on, up to 32767. None: none was, at no cost.
        seen: int32 [B, ceil(V / 32)], a bitmap of the prompt's tokens. None: no tokens.
        bias_ids: int32 [B, M], tokens with a bias, those of a slot in any order but different, the
            rest -1. None: no biases.
        bias_values: float32 [B, M], what is added to the logits of those.
    """

    temperature: torch.Tensor
    top_k: torch.Tensor
    top_p: torch.Tensor
    min_p: torch.Tensor
    repetition_penalty: torch.Tensor
    presence_penalty: torch.Tensor
    frequency_penalty: torch.Tensor
    seed: torch.Tensor
    position: torch.Tensor
    logprobs: torch.Tensor
    counts: torch.Tensor | None = None
    seen: torch.Tensor | None = None
    bias_ids: torch.Tensor | None = None
    bias_values: torch.Tensor | None = None

    @classmethod
    def allocate(
        cls,
        batch: int,
        device: torch.device | str,
        *,
        penalised_tokens: int = 0,
        biases: int = 0,
    ) -> SamplingParameters:
        """Slots that sample from the whole distribution, with seed 0.

        Args:
            batch: B.
            device: of all tensors.
            penalised_tokens: V, to have ``counts`` (int16) and ``seen``.
            biases: M, to have biases.
        """

        def full(value: float, dtype: torch.dtype, *more: int) -> torch.Tensor:
            return torch.full((batch, *more), value, dtype=dtype, device=device)

        parameters = cls(
            temperature=full(1, torch.float32),
            top_k=full(0, torch.int32),
            top_p=full(1, torch.float32),
            min_p=full(0, torch.float32),
            repetition_penalty=full(1, torch.float32),
            presence_penalty=full(0, torch.float32),
            frequency_penalty=full(0, torch.float32),
            seed=full(0, torch.int64),
            position=full(0, torch.int32),
            logprobs=full(0, torch.int32),
        )
        if penalised_tokens:
            parameters.counts = full(0, torch.int16, penalised_tokens)
            parameters.seen = full(0, torch.int32, (penalised_tokens + 31) // 32)
        if biases:
            parameters.bias_ids = full(-1, torch.int32, biases)
            parameters.bias_values = full(0, torch.float32, biases)
        return parameters


class Workspace:
    """What a step keeps between its launches, and the candidates: 8 ``capacity`` bytes a slot.

    Args:
        batch: B, the most slots of a call.
        n_tokens: V.
        device: of the tensors.
        capacity: how many candidates of a slot are stored; where there are more, the tokens of
            their groups are looked at again in every pass.
    """

    def __init__(
        self, batch: int, n_tokens: int, device: torch.device | str, *, capacity: int = 8192
    ) -> None:
        self.batch = batch
        self.n_tokens = n_tokens
        self.n_groups: int = triton.cdiv(n_tokens, GROUP.value)
        self.capacity = capacity

        def empty(width: int, dtype: torch.dtype) -> torch.Tensor:
            return torch.empty((batch, width), dtype=dtype, device=device)

        self.group_max = empty(self.n_groups, torch.int32)  # keys
        self.group_sum = empty(
            self.n_groups, torch.float32
        )  # exp((value - greatest) / temperature)
        self.group_sum_1 = empty(self.n_groups, torch.float32)  # the same at temperature 1
        self.listed = empty(self.n_groups, torch.int32)
        self.candidate_keys = empty(capacity, torch.int32)
        self.candidate_ids = empty(capacity, torch.int32)


def _stride(tensor: torch.Tensor | None) -> int:
    return 0 if tensor is None else tensor.stride(0)


def sample(
    logits: torch.Tensor,
    bitmask: torch.Tensor | None,
    parameters: SamplingParameters,
    out_tokens: torch.Tensor,
    *,
    n_tokens: int,
    workspace: Workspace,
    active: torch.Tensor | None = None,
    constrained: torch.Tensor | None = None,
    logprob: torch.Tensor | None = None,
    top_logprobs: tuple[torch.Tensor, torch.Tensor] | None = None,
) -> None:
    """Draw the next token of each slot.

    Bias, penalties, mask, temperature, top-k, top-p, min-p, in this order, each a cut of what the
    one before has kept, as transformers' logits processors do it. Top-k keeps the tokens that are
    not less than the k-th greatest; top-p those above which there is less than p, so of equal
    values all or none (transformers keeps some of those at the boundary, whichever its sort put
    last); min-p those at least min_p times as likely as the likeliest. The likeliest is always
    kept. Cuts compare logits before they are divided by the temperature.

    Greedy slots, and those in which all that is allowed is -inf, get the lowest id of the greatest
    value. NaN counts as -inf, +inf as the greatest float32. The draw inverts the cumulative
    distribution, tokens by ascending id, at 53 bits of Philox with the slot's seed and position.

    Log-probabilities are those of the penalised logits, of allowed tokens alone, at temperature 1
    and before any cut.

    Args:
        logits: [B, at least V], bf16, fp16 or fp32; rows may be strided. Not changed; those from V
            on are not looked at.
        bitmask: int32 [B, at least ceil(V / 32)], bit t of word t >> 5 is 1 where token t is
            allowed; None: all are.
        parameters: of B slots. ``position`` and ``counts`` change where a token was drawn.
        out_tokens: int32 [B], the tokens. -1 where nothing is allowed; of such a slot nothing else
            is written.
        n_tokens: V.
        workspace: for at least B slots and for V.
        active: int32 [at least B], 0 where a slot is not to be looked at: it gets -1. None: all
            are.
        constrained: int32 [B], 0 where the bitmask is not to be read; None: it is read everywhere.
        logprob: float32 [B], the log-probabilities of the tokens drawn.
        top_logprobs: float32 [B, K] and int32 [B, K], the greatest log-probabilities, descending,
            of equal ones the lower id first, and whose they are; -inf and -1 after the last one
            that is wanted, or not -inf.

    Raises:
        ValueError: where sizes do not fit.
    """
    batch, n_logits = logits.shape
    _check(logits, bitmask, parameters, n_tokens, workspace, top_logprobs)
    if not launches(logits):
        return sample_reference(
            logits, bitmask, parameters, out_tokens, n_tokens=n_tokens, active=active,
            constrained=constrained, logprob=logprob, top_logprobs=top_logprobs,
        )  # fmt: skip
    p, w = parameters, workspace
    values, ids = (None, None) if top_logprobs is None else top_logprobs
    rows = Rows(
        logits, logits.stride(0), n_logits, n_tokens, bitmask, _stride(bitmask), constrained,
        p.counts, _stride(p.counts), p.seen, _stride(p.seen),
        p.repetition_penalty, p.presence_penalty, p.frequency_penalty,
        p.bias_ids, p.bias_values, 0 if p.bias_ids is None else p.bias_ids.shape[1],
    )  # fmt: skip
    settings = _Settings(p.temperature, p.top_k, p.top_p, p.min_p, p.seed, p.position, p.logprobs)
    scratch = _Scratch(
        w.group_max, w.group_sum, w.group_sum_1, w.listed, w.n_groups, w.candidate_keys,
        w.candidate_ids, w.capacity, 0 if values is None else values.shape[1],
    )  # fmt: skip
    has_logprobs = logprob is not None or top_logprobs is not None
    _groups[(batch, triton.cdiv(n_tokens, FIRST_WORDS.value * 32))](
        rows, p.temperature, active, scratch, LOGPROBS=has_logprobs, num_warps=4
    )
    _sample[(batch,)](
        rows, settings, active, scratch, out_tokens, logprob, values, ids,
        LOGPROBS=has_logprobs, GROUPS=max(64, triton.next_power_of_2(w.n_groups)), num_warps=8,
    )  # fmt: skip


def _check(
    logits: torch.Tensor,
    bitmask: torch.Tensor | None,
    parameters: SamplingParameters,
    n_tokens: int,
    workspace: Workspace,
    top_logprobs: tuple[torch.Tensor, torch.Tensor] | None,
) -> None:
    batch, n_logits = logits.shape
    if logits.stride(1) != 1:
        raise ValueError("the logits of a row must lie next to each other")
    if n_logits < n_tokens:
        raise ValueError(f"{n_logits} logits a slot, but {n_tokens} tokens")
    if n_tokens != workspace.n_tokens or batch > workspace.batch:
        raise ValueError(
            f"a workspace for {workspace.batch} slots and {workspace.n_tokens} tokens, but "
            f"{batch} slots and {n_tokens} tokens"
        )
    if len(parameters.temperature) < batch:
        raise ValueError(f"parameters of {len(parameters.temperature)} slots, but {batch} slots")
    if top_logprobs is not None and not all(t.is_contiguous() for t in top_logprobs):
        raise ValueError("the top log-probabilities of a batch must lie next to each other")
    if bitmask is not None and 32 * bitmask.shape[1] < n_tokens:
        raise ValueError(f"a bitmask of {bitmask.shape[1]} words, but {n_tokens} tokens")
    if parameters.counts is not None and parameters.counts.shape[1] < n_tokens:
        raise ValueError(f"counts of {parameters.counts.shape[1]} tokens, but {n_tokens} tokens")
    if parameters.seen is not None and 32 * parameters.seen.shape[1] < n_tokens:
        raise ValueError(f"{parameters.seen.shape[1]} words of seen tokens, but {n_tokens} tokens")
