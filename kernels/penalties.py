"""A slot's logits as they count: biased, penalised, masked, as keys that compare like the values.

The order is that of transformers' logits processors: bias, then penalties, then the mask. NaN
counts as -inf and +inf as the greatest finite value. A key is the bits of the float32, mapped to an
int32 such that keys compare as the values do: what is searched for is then an integer, exact to the
last bit. Where a word of the mask is zero, no logits are loaded.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl

EMPTY = tl.constexpr(-0x80000000)  # the key of a token that is not allowed
LOWEST = tl.constexpr(-0x7F800001)  # the key of -inf
GREATEST = tl.constexpr(torch.finfo(torch.float32).max)
BIAS_BLOCK = tl.constexpr(128)
NO_TOKEN = tl.constexpr(0x7FFFFFFF)  # greater than any token id


@triton.jit
def to_key(value):
    bits = value.to(tl.int32, bitcast=True)
    return bits ^ ((bits >> 31) & 0x7FFFFFFF)


@triton.jit
def to_value(key):
    """The inverse of :func:`to_key`; NaN for ``EMPTY``."""
    return (key ^ ((key >> 31) & 0x7FFFFFFF)).to(tl.float32, bitcast=True)


class Rows(NamedTuple):
    """What the keys of B slots are computed from, as an argument of kernels.

    Attributes:
        logits: bf16, fp16 or fp32 [B, n_logits], rows ``logits_stride`` apart.
        n_tokens: V, at most n_logits.
        bitmask: int32 [B, at least ceil(V / 32)], or None.
        constrained: int32 [B], 0 where the bitmask is not to be read, or None.
        counts: int16 or int32 [B, at least V], or None.
        seen: int32 [B, at least ceil(V / 32)], or None.
        repetition, presence, frequency: float32 [B].
        bias_ids: int32 [B, n_biases], or None.
        bias_values: float32 [B, n_biases], or None.
    """

    logits: torch.Tensor
    logits_stride: int
    n_logits: int
    n_tokens: int
    bitmask: torch.Tensor | None
    bitmask_stride: int
    constrained: torch.Tensor | None
    counts: torch.Tensor | None
    counts_stride: int
    seen: torch.Tensor | None
    seen_stride: int
    repetition: torch.Tensor
    presence: torch.Tensor
    frequency: torch.Tensor
    bias_ids: torch.Tensor | None
    bias_values: torch.Tensor | None
    n_biases: int


@triton.jit
def word_keys(rows, b, word, inside):
    """Keys and ids of the tokens of some words of slot ``b``'s bitmask.

    Args:
        rows: :class:`Rows`.
        word: int32 [W], indices of words.
        inside: bool [W], which of them to look at.

    Returns:
        int32 [W, 32] each; the key is ``EMPTY`` where the token is not allowed.
    """
    wide = b.to(tl.int64)
    rest = rows.n_tokens - word * 32
    bits = tl.where(rest >= 32, -1, (1 << tl.minimum(tl.maximum(rest, 0), 31)) - 1)
    bits = tl.where(inside, bits, 0)
    if rows.bitmask is not None:
        read = bits != 0
        if rows.constrained is not None:
            read = tl.where(tl.load(rows.constrained + b) != 0, bits, 0) != 0
        bits &= tl.load(rows.bitmask + wide * rows.bitmask_stride + word, mask=read, other=-1)
    lane = tl.arange(0, 32)[None, :]
    token = word[:, None] * 32 + lane
    # One predicate for a word, so that a thread can load several logits at once.
    near = (bits != 0)[:, None] & (token < rows.n_logits)
    place = rows.logits + wide * rows.logits_stride + token
    value = tl.load(place, mask=near, other=float("-inf")).to(tl.float32)
    if rows.bias_ids is not None:
        value = _biased(rows, b, value, token, near)
    if rows.counts is not None or rows.seen is not None:
        value = _penalised(rows, b, value, word, bits)
    value = tl.where(value == value, tl.minimum(value, GREATEST), float("-inf"))
    value = tl.where(value == 0, 0.0, value)  # -0.0 equals 0.0
    allowed = ((bits[:, None] >> lane) & 1) != 0
    return tl.where(allowed, to_key(value), EMPTY), token


@triton.jit
def _biased(rows, b, value, token, near):
    """The biases added, one by one: those from the first to the last of the tokens alone."""
    first = tl.min(tl.min(tl.where(near, token, NO_TOKEN), 1), 0)
    last = tl.max(tl.max(tl.where(near, token, -1), 1), 0)
    for start in range(0, rows.n_biases, BIAS_BLOCK):
        entry = start + tl.arange(0, BIAS_BLOCK)
        at = b * rows.n_biases + entry
        ids = tl.load(rows.bias_ids + at, mask=entry < rows.n_biases, other=-1)
        biases = tl.load(rows.bias_values + at, mask=entry < rows.n_biases, other=0.0)
        ids = tl.where((ids >= first) & (ids <= last), ids, NO_TOKEN)
        biased = tl.min(ids, 0)
        while biased < NO_TOKEN:
            bias = tl.sum(tl.where(ids == biased, biases, 0.0), 0)
            value = tl.where(token == biased, value + bias, value)
            ids = tl.where(ids > biased, ids, NO_TOKEN)
            biased = tl.min(ids, 0)
    return value


@triton.jit
def _penalised(rows, b, value, word, bits):
    wide = b.to(tl.int64)
    repetition = tl.load(rows.repetition + b)
    presence = tl.load(rows.presence + b)
    frequency = tl.load(rows.frequency + b)
    has_penalty = (repetition != 1) | (presence != 0) | (frequency != 0)
    bits = tl.where(has_penalty, bits, 0)
    lane = tl.arange(0, 32)[None, :]
    token = word[:, None] * 32 + lane
    used = tl.zeros_like(token)
    if rows.seen is not None:
        place = rows.seen + wide * rows.seen_stride + word
        used = tl.load(place, mask=bits != 0, other=0)[:, None] >> lane & 1
    count = tl.zeros_like(value)
    if rows.counts is not None:
        near = (bits != 0)[:, None] & (token < rows.n_tokens)
        place = rows.counts + wide * rows.counts_stride + token
        count = tl.load(place, mask=near, other=0).to(tl.float32)
    repeated = tl.where(value < 0, value * repetition, tl.div_rn(value, repetition))
    value = tl.where((used != 0) | (count > 0), repeated, value)
    # Spelled out as one operation, so that it is rounded alike wherever it is compiled into.
    value = tl.fma(count, tl.zeros_like(count) - frequency, value)
    return value - tl.where(count > 0, presence, 0.0)


def penalise_reference(
    logits: torch.Tensor,
    *,
    counts: torch.Tensor | None,
    seen: torch.Tensor | None,
    repetition: torch.Tensor,
    presence: torch.Tensor,
    frequency: torch.Tensor,
    bias_ids: torch.Tensor | None,
    bias_values: torch.Tensor | None,
) -> torch.Tensor:
    """Biases and penalties in plain torch, for the attributes of the same names of
    :class:`structgen.kernels.sample.SamplingParameters`.

    Args:
        logits: [B, V], bf16, fp16 or fp32.

    Returns:
        float32 [B, V], without NaN and +inf.
    """
    value = logits.float()
    batch, n_tokens = value.shape
    token = torch.arange(n_tokens, device=value.device)
    if bias_ids is not None and bias_values is not None:
        known = (bias_ids >= 0) & (bias_ids < n_tokens)
        bias = torch.zeros((batch, n_tokens + 1), device=value.device)
        bias.scatter_(1, torch.where(known, bias_ids, n_tokens).long(), bias_values)
        value = torch.where(bias[:, :n_tokens] != 0, value + bias[:, :n_tokens], value)
    used = torch.zeros_like(value, dtype=torch.bool)
    if seen is not None:
        used |= (seen[:, token >> 5] >> (token & 31) & 1).bool()
    if counts is not None:
        used |= counts[:, :n_tokens] > 0
    factor = repetition[:, None]
    value = torch.where(used, torch.where(value < 0, value * factor, value / factor), value)
    if counts is not None:
        count = counts[:, :n_tokens].double()
        value = (value.double() - frequency[:, None].double() * count).float()
        value = value - torch.where(count > 0, presence[:, None], 0.0)
    greatest = torch.finfo(torch.float32).max
    return value.nan_to_num(nan=float("-inf"), posinf=greatest, neginf=float("-inf"))
