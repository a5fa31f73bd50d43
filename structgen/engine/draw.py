"""The draw of ``kernels/sample.py`` for all rows at once in plain torch, for the CPU."""

from __future__ import annotations

import numpy as np
import torch

from structgen.kernels.sample import SamplingParameters


def draw(scores: torch.Tensor, parameters: SamplingParameters) -> torch.Tensor:
    """A token for each row: int64 [B].

    Args:
        scores: float32 [B, V], penalised; -inf where a token is not allowed, no NaN.
        parameters: of B rows; those of penalties are not looked at.
    """
    tokens = scores.argmax(1)  # the lowest id of equal ones
    p = parameters
    rows = ((p.temperature > 0) & scores.amax(1).isfinite()).nonzero()[:, 0]
    if len(rows):
        scores = scores[rows]
        kept = scores > float("-inf")
        # Subtracting the maximum first keeps a tiny temperature from overflowing.
        scaled = (scores.double() - scores.amax(1, keepdim=True)) / p.temperature[rows, None]
        top_k, top_p, min_p = p.top_k[rows], p.top_p[rows].double(), p.min_p[rows].double()
        if bool(((top_k > 0) | (top_p < 1)).any()):
            kept &= _top_k_and_p(scores, scaled, top_k, top_p)
        # The bounds of top-k and top-p count before that of min-p: each cuts what the last kept.
        kept &= scaled.exp() >= min_p.clamp(max=1.0)[:, None]
        cumulative = (scaled.exp() * kept).cumsum(1)
        wanted = uniform(p.seed[rows], p.position[rows]) * cumulative[:, -1]
        tokens[rows] = (cumulative > wanted[:, None]).int().argmax(1)
    return tokens


def _top_k_and_p(
    scores: torch.Tensor, scaled: torch.Tensor, top_k: torch.Tensor, top_p: torch.Tensor
) -> torch.Tensor:
    """Which tokens are not less than the k-th, with less than p above them: bool [B, V]."""
    ordered, order = scores.sort(1, descending=True)
    last = torch.where(top_k > 0, top_k, scores.shape[1]).clamp(max=scores.shape[1]) - 1
    kept = scores >= ordered.gather(1, last.long()[:, None])
    weight = torch.where(kept, scaled.exp(), 0.0)
    share = (weight / weight.sum(1, keepdim=True)).gather(1, order)
    above = share.cumsum(1) - share
    # Of equal values all are kept or none: what is above the first of them counts.
    first = torch.searchsorted(-ordered, -ordered)
    keeps = (above.gather(1, first) < top_p[:, None]) | (first == 0) | (top_p >= 1)[:, None]
    return kept & torch.zeros_like(kept).scatter_(1, order, keeps)


def uniform(seeds: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """The numbers of slots with these seeds at these positions: float64 [B] in [0, 1).

    :func:`structgen.kernels.sample_reference.uniform_reference`, of many at once.
    """
    word = np.uint64(0xFFFFFFFF)
    shift, zero = np.uint64(32), np.zeros(len(seeds), np.uint64)
    seed = seeds.numpy().view(np.uint64)
    c = [positions.numpy().astype(np.uint64) & word, zero, zero, zero]
    k = [seed & word, seed >> shift]
    for _ in range(10):
        a, b = np.uint64(0xD2511F53) * c[0], np.uint64(0xCD9E8D57) * c[2]
        c = [b >> shift ^ c[1] ^ k[0], b & word, a >> shift ^ c[3] ^ k[1], a & word]
        k = [k[0] + np.uint64(0x9E3779B9) & word, k[1] + np.uint64(0xBB67AE85) & word]
    bits = c[0] << np.uint64(21) | c[1] >> np.uint64(11)
    return torch.from_numpy(bits.astype(np.float64) / (1 << 53))
