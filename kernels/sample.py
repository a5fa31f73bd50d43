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

Their tokens above that bound are the *candidates*. What is kept of them is given by a *threshold*,
found by a search over keys (:mod:`structgen.kernels.penalties`): the least key above which there is
less than a target, which is k tokens or a mass of p. So nothing is sorted, of equal values all are
kept or none, and there may be any number of candidates.

A mass is exp((value - greatest) / temperature) in units of 2^-40, an int64: sums do not depend on
their order. So a result depends on a slot's own logits, mask, parameters, seed and position only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import triton
import triton.language as tl

from structgen.kernels.penalties import (
    EMPTY,
    LOWEST,
    NO_TOKEN,
    Rows,
    penalise_reference,
    to_value,
    word_keys,
)

GROUP = tl.constexpr(128)
GROUP_WORDS = tl.constexpr(4)
FIRST_WORDS = tl.constexpr(64)  # of a program of the first launch
COLLECT_WORDS = tl.constexpr(128)  # of which candidates are stored at a time
TILE = tl.constexpr(1024)  # candidates looked at at a time
PIVOTS = tl.constexpr(8)
PIVOT_BITS = tl.constexpr(3)
FEW_GROUPS = tl.constexpr(32)  # how many groups top-p looks at first
UNIT = tl.constexpr(float(1 << 40))  # of a mass


@triton.jit
def _weight(key, greatest, temperature):
    """exp((value - greatest) / temperature), 0 for -inf and what is not allowed."""
    weight = tl.exp((to_value(key) - greatest) / temperature)
    return tl.where(key > LOWEST, weight, 0.0)


@triton.jit
def _mass(weight):
    return (weight * UNIT).to(tl.int64)


@triton.jit
def _scaled(fraction, total):
    """The whole part of ``fraction`` (below 1) times ``total``, and below ``total``."""
    return tl.minimum((fraction * total.to(tl.float64)).to(tl.int64), total - 1)


@triton.jit
def _uniform(seed, position):
    """53 bits of Philox4x32-10 with key ``seed`` and counter ``position``: float64 in [0, 1)."""
    zero = position * 0
    high, low, _, _ = tl.philox(seed, position, zero, zero, zero)
    bits = (high.to(tl.uint32).to(tl.int64) << 21) | (low.to(tl.uint32).to(tl.int64) >> 11)
    return bits.to(tl.float64) * (1.0 / (1 << 53))


@triton.jit
def _groups(rows, temperatures, scratch, LOGPROBS: tl.constexpr):
    b = tl.program_id(0)
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
        total = tl.sum(_weight(key, greatest, temperature), 1)
        tl.store(scratch.group_sum + at, total, mask=inside)
    if LOGPROBS:
        total = tl.sum(_weight(key, greatest, 1.0), 1)
        tl.store(scratch.group_sum_1 + at, total, mask=inside)


@triton.jit
def _of_group(rows, b, group):
    """Keys and ids of a group's tokens, int32 [GROUP]."""
    word = tl.arange(0, GROUP_WORDS)
    key, token = word_keys(rows, b, group * GROUP_WORDS + word, word >= 0)
    return tl.reshape(key, [GROUP]), tl.reshape(token, [GROUP])


@triton.jit
def _of_listed(rows, scratch, b, first, n_listed, WORDS: tl.constexpr):
    """Keys and ids of the tokens of the listed groups from ``first`` on, int32 [32 WORDS]."""
    word = tl.arange(0, WORDS)
    at = first + word // GROUP_WORDS
    inside = at < n_listed
    listed = scratch.listed + b.to(tl.int64) * scratch.n_groups
    group = tl.load(listed + at, mask=inside, other=0)
    key, token = word_keys(rows, b, group * GROUP_WORDS + word % GROUP_WORDS, inside)
    return tl.reshape(key, [WORDS * 32]), tl.reshape(token, [WORDS * 32])


@triton.jit
def _list_groups(scratch, b, group_keys, bound, floor, greatest, temperature):
    """List the groups whose greatest value reaches the bounds, in order; returns how many."""
    live = (group_keys >= bound) & (_weight(group_keys, greatest, temperature) >= floor)
    at = tl.cumsum(live.to(tl.int32), 0) - 1
    listed = scratch.listed + b.to(tl.int64) * scratch.n_groups
    tl.debug_barrier()  # whoever still reads the list, or the candidates, of before
    tl.store(listed + at, tl.arange(0, group_keys.shape[0]), mask=live)
    tl.debug_barrier()
    return tl.sum(live.to(tl.int32), 0)


@triton.jit
def _collect(rows, scratch, b, group_keys, bound, floor, greatest, temperature):
    """Find the candidates: tokens that reach both bounds, a key and a weight.

    They are stored by ascending id if there is room. Returns them as the functions below take them
    (are they stored; how many places to look at; how many groups are listed), and their mass.
    """
    n_listed = _list_groups(scratch, b, group_keys, bound, floor, greatest, temperature)
    n = 0
    mass = tl.zeros([], tl.int64)
    place = b.to(tl.int64) * scratch.capacity
    for first in range(0, n_listed, COLLECT_WORDS // GROUP_WORDS):
        key, token = _of_listed(rows, scratch, b, first, n_listed, COLLECT_WORDS)
        weight = _weight(key, greatest, temperature)
        found = (key >= bound) & (weight >= floor)
        at = n + tl.cumsum(found.to(tl.int32), 0) - 1
        room = found & (at < scratch.capacity)
        tl.store(scratch.keys + place + at, key, mask=room)
        tl.store(scratch.ids + place + at, token, mask=room)
        n += tl.sum(found.to(tl.int32), 0)
        mass += tl.sum(tl.where(found, _mass(weight), 0), 0)
    tl.debug_barrier()
    stored = n <= scratch.capacity
    return (stored, tl.where(stored, n, n_listed * GROUP), n_listed), mass


@triton.jit
def _tile(rows, scratch, b, candidates, start):
    """Keys and ids of some candidates, int32 [TILE], by ascending id; ``EMPTY`` between them.

    Where there was no room to store them, of all tokens of their groups.
    """
    stored, size, n_listed = candidates
    if stored:
        at = start + tl.arange(0, TILE)
        place = b.to(tl.int64) * scratch.capacity + at
        key = tl.load(scratch.keys + place, mask=at < size, other=EMPTY)
        token = tl.load(scratch.ids + place, mask=at < size, other=NO_TOKEN)
    else:
        key, token = _of_listed(rows, scratch, b, start // GROUP, n_listed, TILE // 32)
    return key, token


@triton.jit
def _threshold(
    rows, scratch, b, candidates, low, high, target, greatest, temperature, OF: tl.constexpr
):
    """The least key from ``low`` to ``high`` above which there is less than ``target``.

    Of candidates (``OF`` is "tokens"), of their mass ("mass") or of groups by their greatest values
    ("groups"). Above ``high``, which is one of them, there must be less. A pass tests eight pivots,
    so that there are eleven at most, and half as many where values are as far apart as usual.
    """
    size = candidates[1]
    index = tl.arange(0, PIVOTS)
    while low < high:
        # The last pivot asks if ``high`` is it, so that a pass settles what holds one value only.
        width = high.to(tl.int64) - low
        pivot = (low + ((width * index) >> PIVOT_BITS)).to(tl.int32)
        pivot = tl.where(index == PIVOTS - 1, high - 1, pivot)
        above = tl.zeros([PIVOTS], tl.int64)
        below = tl.full([PIVOTS], EMPTY, tl.int32)  # the greatest that is not above
        for start in range(0, size, TILE):
            if OF == "groups":
                at = start + tl.arange(0, TILE)
                place = scratch.group_max + b.to(tl.int64) * scratch.n_groups + at
                key = tl.load(place, mask=at < size, other=EMPTY)
            else:
                key, _ = _tile(rows, scratch, b, candidates, start)
            if OF == "mass":
                amount = _mass(_weight(key, greatest, temperature))
            else:
                amount = tl.full([TILE], 1, tl.int64)
            is_above = key[:, None] > pivot[None, :]
            above += tl.sum(tl.where(is_above, amount[:, None], 0), 0)
            below = tl.maximum(below, tl.max(tl.where(is_above, EMPTY, key[:, None]), 0))
        failed = tl.sum((above >= target).to(tl.int32), 0)  # the lower pivots
        low = tl.maximum(low, tl.max(tl.where(index < failed, pivot + 1, EMPTY), 0))
        if failed < PIVOTS:
            high = tl.maximum(low, tl.max(tl.where(index == failed, below, EMPTY), 0))
    return low


@triton.jit
def _group_bound(rows, scratch, b, n, top):
    """The n-th greatest of the groups' greatest values; the least above -inf if there is none."""
    lowest = tl.full([], LOWEST + 1, tl.int32)
    groups = (True, scratch.n_groups, scratch.n_groups)
    return _threshold(
        rows, scratch, b, groups, lowest, tl.maximum(top, lowest), n.to(tl.int64), 0.0, 1.0,
        "groups",
    )  # fmt: skip


@triton.jit
def _draw_from_all(rows, b, group_keys, group_sums, greatest, temperature, fraction):
    """A token of all that are allowed, by their weights: first its group, then the token."""
    mass = _mass(group_sums * _weight(group_keys, greatest, temperature))
    wanted = _scaled(fraction, tl.sum(mass, 0))
    group = tl.sum((tl.cumsum(mass, 0) <= wanted).to(tl.int32), 0)
    index = tl.arange(0, group_keys.shape[0])
    before = tl.sum(tl.where(index < group, mass, 0), 0)
    width = tl.sum(tl.where(index == group, mass, 0), 0)
    key, token = _of_group(rows, b, group)
    mass = _mass(_weight(key, to_value(tl.max(key, 0)), temperature))
    fraction = (wanted - before).to(tl.float64) / width.to(tl.float64)
    wanted = _scaled(fraction, tl.sum(mass, 0))
    chosen = tl.min(tl.where(tl.cumsum(mass, 0) > wanted, token, NO_TOKEN), 0)
    return chosen, tl.max(tl.where(token == chosen, key, EMPTY), 0)


@triton.jit
def _kept_mass(key, threshold, floor, greatest, temperature):
    weight = _weight(key, greatest, temperature)
    return _mass(tl.where((key >= threshold) & (weight >= floor), weight, 0.0))


@triton.jit
def _total(rows, scratch, b, candidates, threshold, floor, greatest, temperature):
    total = tl.zeros([], tl.int64)
    for start in range(0, candidates[1], TILE):
        key, _ = _tile(rows, scratch, b, candidates, start)
        total += tl.sum(_kept_mass(key, threshold, floor, greatest, temperature), 0)
    return total


@triton.jit
def _draw_from_kept(
    rows, scratch, b, candidates, threshold, floor, greatest, temperature, fraction
):
    """One of the candidates that reach the threshold and the least weight, by their weights."""
    total = _total(rows, scratch, b, candidates, threshold, floor, greatest, temperature)
    wanted = _scaled(fraction, total)
    before = tl.zeros([], tl.int64)
    start = 0
    chosen = NO_TOKEN
    chosen_key = EMPTY
    while before <= wanted:
        key, token = _tile(rows, scratch, b, candidates, start)
        mass = _kept_mass(key, threshold, floor, greatest, temperature)
        chosen = tl.min(tl.where(before + tl.cumsum(mass, 0) > wanted, token, NO_TOKEN), 0)
        chosen_key = tl.max(tl.where(token == chosen, key, EMPTY), 0)
        before += tl.sum(mass, 0)
        start += TILE
    return chosen, chosen_key


@triton.jit
def _share(top_p, total):
    """The least mass that is a share ``top_p`` of ``total``, and not 0: the likeliest is kept."""
    mass = tl.ceil(top_p.to(tl.float64) * total.to(tl.float64)).to(tl.int64)
    return tl.maximum(mass, 1)


@triton.jit
def _draw_from_cut(
    rows, scratch, b, group_keys, group_sums, top, temperature, top_k, top_p, min_p, fraction
):
    """A token of those that top-k, top-p and min-p keep, by their weights."""
    greatest = to_value(top)
    has_k = top_k > 0
    has_p = top_p < 1
    min_p = tl.where(min_p > 0, tl.minimum(min_p, 1.0), 0.0)
    # Top-p is a share of what top-k keeps, whether min-p keeps it or not.
    floor = tl.where(has_k, 0.0, min_p)
    total = tl.sum(_mass(group_sums * _weight(group_keys, greatest, temperature)), 0)
    target = _share(top_p, total)
    lowest = tl.full([], LOWEST + 1, tl.int32)
    bound = lowest
    n_groups = tl.where(has_k, top_k, FEW_GROUPS)
    candidates = (True, 0, 0)
    searching = True
    while searching:
        if has_k | has_p:
            bound = _group_bound(rows, scratch, b, n_groups, top)
        candidates, mass = _collect(
            rows, scratch, b, group_keys, bound, floor, greatest, temperature
        )
        searching = has_p & (top_k <= 0) & (mass < target) & (bound > lowest)
        n_groups *= 4
    threshold = bound
    if has_k:
        threshold = _threshold(
            rows, scratch, b, candidates, bound, top, top_k.to(tl.int64), greatest, temperature,
            "tokens",
        )  # fmt: skip
    if has_p:
        if has_k:
            total = _total(rows, scratch, b, candidates, threshold, 0.0, greatest, temperature)
            target = _share(top_p, total)
        threshold = _threshold(
            rows, scratch, b, candidates, threshold, top, target, greatest, temperature, "mass"
        )
    return _draw_from_kept(
        rows, scratch, b, candidates, threshold, min_p, greatest, temperature, fraction
    )


@triton.jit
def _store_top(rows, scratch, b, group_keys, top, log_total, n_wanted, top_values, top_ids):
    """The likeliest tokens and their log-probabilities; of equal ones the lower id first."""
    greatest = to_value(top)
    bound = _group_bound(rows, scratch, b, n_wanted, top)
    candidates, _ = _collect(rows, scratch, b, group_keys, bound, 0.0, greatest, 1.0)
    before = tl.full([], 0x7FFFFFFFFFFFFFFF, tl.int64)
    none = tl.full([], EMPTY, tl.int64) << 32
    for j in range(scratch.n_top):
        # A key and an id, inverted, as one number: the greatest below the one before.
        best = none
        if j < n_wanted:
            for start in range(0, candidates[1], TILE):
                key, token = _tile(rows, scratch, b, candidates, start)
                both = (key.to(tl.int64) << 32) | (token ^ NO_TOKEN).to(tl.int64)
                both = tl.where((key >= bound) & (both < before), both, none)
                best = tl.maximum(best, tl.max(both, 0))
        value = to_value((best >> 32).to(tl.int32)) - greatest - log_total
        token = (best & 0x7FFFFFFF).to(tl.int32) ^ NO_TOKEN
        place = b.to(tl.int64) * scratch.n_top + j
        tl.store(top_values + place, tl.where(best != none, value, float("-inf")))
        tl.store(top_ids + place, tl.where(best != none, token, -1))
        before = best


@triton.jit
def _sample(
    rows, settings, scratch, out, logprob, top_values, top_ids,
    LOGPROBS: tl.constexpr, GROUPS: tl.constexpr,
):  # fmt: skip
    b = tl.program_id(0)
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
            fraction = _uniform(tl.load(settings.seed + b), position)
            group_sums = tl.load(scratch.group_sum + group_place, mask=inside, other=0.0)
            if (top_k > 0) | (top_p < 1) | (min_p > 0):
                chosen, chosen_key = _draw_from_cut(
                    rows, scratch, b, group_keys, group_sums, top, temperature, top_k, top_p,
                    min_p, fraction,
                )  # fmt: skip
            else:
                chosen, chosen_key = _draw_from_all(
                    rows, b, group_keys, group_sums, to_value(top), temperature, fraction
                )
        else:
            key, token = _of_group(rows, b, tl.min(tl.where(group_keys == top, group, GROUPS), 0))
            chosen = tl.min(tl.where(key == top, token, NO_TOKEN), 0)
        if LOGPROBS:
            sums = tl.load(scratch.group_sum_1 + group_place, mask=inside, other=0.0)
            greatest = to_value(top)
            log_total = tl.log(tl.sum(sums * _weight(group_keys, greatest, 1.0), 0))
            value = to_value(chosen_key) - greatest - log_total
            if logprob is not None:
                tl.store(logprob + b, tl.where(chosen_key > LOWEST, value, float("-inf")))
            if top_values is not None:
                n_wanted = tl.minimum(tl.load(settings.logprobs + b), scratch.n_top)
                _store_top(
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
        rows, p.temperature, scratch, LOGPROBS=has_logprobs, num_warps=4
    )
    _sample[(batch,)](
        rows, settings, scratch, out_tokens, logprob, values, ids,
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


def kept_reference(
    logits: torch.Tensor, temperature: float, top_k: int, top_p: float, min_p: float
) -> torch.Tensor:
    """Which tokens of one slot top-k, top-p and min-p keep: bool, the shape of ``logits`` [V]."""
    kept = logits > float("-inf")
    if top_k > 0:
        kept &= logits >= logits.topk(min(top_k, len(logits))).values[-1]
    scaled = ((logits.double() - logits.max()) / temperature).masked_fill(~kept, float("-inf"))
    if top_p < 1:
        descending = scaled.softmax(0).sort(descending=True).values
        above = torch.cat([descending.new_zeros(1), descending.cumsum(0)])
        # How much there is above the first of the values that are equal to this one.
        first = torch.searchsorted(-descending, -scaled.softmax(0))
        kept &= (above[first] < top_p) | (first == 0)
    return kept & (scaled.exp() >= min(min_p, 1.0))


def uniform_reference(seed: int, position: int) -> float:
    """The number that slots with this seed draw with at this position, in [0, 1).

    Philox4x32-10 of Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3 (SC 2011).
    """
    word = 0xFFFFFFFF
    c = [position & word, 0, 0, 0]
    k = [seed & word, seed >> 32 & word]
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [b >> 32 ^ c[1] ^ k[0], b & word, a >> 32 ^ c[3] ^ k[1], a & word]
        k = [k[0] + 0x9E3779B9 & word, k[1] + 0xBB67AE85 & word]
    return (c[0] << 21 | c[1] >> 11) / (1 << 53)


def sample_reference(
    logits: torch.Tensor,
    bitmask: torch.Tensor | None,
    parameters: SamplingParameters,
    out_tokens: torch.Tensor,
    *,
    n_tokens: int,
    constrained: torch.Tensor | None = None,
    logprob: torch.Tensor | None = None,
    top_logprobs: tuple[torch.Tensor, torch.Tensor] | None = None,
) -> None:
    """:func:`sample` in plain torch."""
    p = parameters
    scores = penalise_reference(
        logits[:, :n_tokens],
        counts=p.counts,
        seen=p.seen,
        repetition=p.repetition_penalty,
        presence=p.presence_penalty,
        frequency=p.frequency_penalty,
        bias_ids=p.bias_ids,
        bias_values=p.bias_values,
    )
    token = torch.arange(n_tokens, device=logits.device)
    allowed = torch.ones_like(scores, dtype=torch.bool)
    if bitmask is not None:
        allowed = (bitmask[:, token >> 5] >> (token & 31) & 1).bool()
        if constrained is not None:
            allowed |= (constrained == 0)[:, None]
    for b, score in enumerate(scores):
        ids = allowed[b].nonzero()[:, 0]
        if not len(ids):
            out_tokens[b] = -1
            continue
        score = score[ids]
        temperature = float(p.temperature[b])
        if temperature <= 0 or score.max() == float("-inf"):
            at = int((score == score.max()).nonzero()[0, 0])
        else:
            kept = kept_reference(
                score, temperature, int(p.top_k[b]), float(p.top_p[b]), float(p.min_p[b])
            )
            weight = ((score.double() - score.max()) / temperature).exp() * kept
            cumulative = weight.cumsum(0)
            wanted = uniform_reference(int(p.seed[b]), int(p.position[b])) * cumulative[-1]
            at = int((cumulative > wanted).nonzero()[0, 0])
        out_tokens[b] = ids[at]
        p.position[b] += 1
        if p.counts is not None:
            p.counts[b, ids[at]] = min(int(p.counts[b, ids[at]]), 0x7FFE) + 1
        log_softmax = score.double().log_softmax(0).nan_to_num(nan=float("-inf")).float()
        if logprob is not None:
            logprob[b] = log_softmax[at]
        if top_logprobs is not None:
            values, top_ids = top_logprobs
            values[b] = float("-inf")
            top_ids[b] = -1
            order = score.sort(descending=True, stable=True).indices
            order = order[score[order] > float("-inf")]
            order = order[: max(0, min(int(p.logprobs[b]), values.shape[1]))]
            values[b, : len(order)] = log_softmax[order]
            top_ids[b, : len(order)] = ids[order].int()
