""":func:`structgen.kernels.sample.sample` in plain torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from structgen.kernels.penalties import penalise_reference

if TYPE_CHECKING:
    from structgen.kernels.sample import SamplingParameters


def penalised(logits: torch.Tensor, parameters: SamplingParameters) -> torch.Tensor:
    """Logits [B, V] with the biases and penalties of the first B slots: float32, no NaN or +inf."""
    p, n = parameters, len(logits)
    return penalise_reference(
        logits,
        counts=None if p.counts is None else p.counts[:n],
        seen=None if p.seen is None else p.seen[:n],
        repetition=p.repetition_penalty[:n],
        presence=p.presence_penalty[:n],
        frequency=p.frequency_penalty[:n],
        bias_ids=None if p.bias_ids is None else p.bias_ids[:n],
        bias_values=None if p.bias_values is None else p.bias_values[:n],
    )


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
    active: torch.Tensor | None = None,
    constrained: torch.Tensor | None = None,
    logprob: torch.Tensor | None = None,
    top_logprobs: tuple[torch.Tensor, torch.Tensor] | None = None,
) -> None:
    """:func:`sample` in plain torch."""
    p, n = parameters, len(logits)
    scores = penalised(logits[:, :n_tokens], p)
    token = torch.arange(n_tokens, device=logits.device)
    allowed = torch.ones_like(scores, dtype=torch.bool)
    if bitmask is not None:
        allowed = (bitmask[:, token >> 5] >> (token & 31) & 1).bool()
        if constrained is not None:
            allowed |= (constrained == 0)[:, None]
    if active is not None:
        allowed &= (active[:n] != 0)[:, None]
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
