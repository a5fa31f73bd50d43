"""Choosing one token per row from masked logits."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from structgen.engine.request import SamplingParams


class Sampler:
    """Samples each row with its own parameters and its own random generator.

    A row draws exactly one uniform number per token from its generator and inverts the cumulative
    distribution, so its outcome does not depend on the other rows of the batch.
    """

    def sample(
        self,
        logits: torch.Tensor,
        params: Sequence[SamplingParams],
        generators: Sequence[torch.Generator],
    ) -> list[int]:
        """One token id per row.

        Args:
            logits: float32 [B, V]; -inf where a token is not allowed. Every row has a finite entry.
            params: B parameter sets.
            generators: B generators on the CPU; rows with temperature 0 do not use theirs.
        """
        tokens = logits.argmax(dim=-1)
        rows = [i for i, p in enumerate(params) if p.temperature > 0]
        if rows:
            index = torch.tensor(rows, device=logits.device)
            drawn = _draw(
                logits[index],
                [params[i] for i in rows],
                [generators[i] for i in rows],
            )
            tokens[index] = drawn
        return tokens.tolist()


def _draw(
    logits: torch.Tensor, params: list[SamplingParams], generators: list[torch.Generator]
) -> torch.Tensor:
    device = logits.device
    temperature = torch.tensor([p.temperature for p in params], device=device).unsqueeze(1)
    # Subtracting the maximum first keeps a tiny temperature from overflowing to inf - inf = nan.
    scaled = (logits - logits.amax(dim=-1, keepdim=True)) / temperature.clamp_min(1e-6)
    filtered = [i for i, p in enumerate(params) if _filters(p)]
    for i in filtered:
        scaled[i] = _filter(scaled[i], params[i])
    probabilities = scaled.softmax(dim=-1)
    # float64: over 100,000 float32 terms the rounding error would reach whole tokens.
    cumulative = probabilities.double().cumsum(dim=-1)
    uniform = torch.stack(
        [torch.rand((), generator=g, dtype=torch.float64) for g in generators]
    ).to(device)
    threshold = uniform.unsqueeze(1) * cumulative[:, -1:]
    # A parallel cumsum may wobble in its last bit, so impossible tokens are excluded by name.
    eligible = (cumulative > threshold) & (probabilities > 0)
    drawn = eligible.int().argmax(dim=-1)
    return torch.where(eligible.any(dim=-1), drawn, probabilities.argmax(dim=-1))


def _filters(params: SamplingParams) -> bool:
    return params.top_k is not None or params.top_p < 1 or params.min_p > 0


def _filter(logits: torch.Tensor, params: SamplingParams) -> torch.Tensor:
    """Logits [V] with everything outside top-k, top-p and min-p set to -inf."""
    if params.top_k is not None and params.top_k < logits.shape[0]:
        kept, order = logits.topk(params.top_k)
    else:
        kept, order = logits.sort(descending=True, stable=True)
    probabilities = kept.softmax(dim=-1)
    if params.top_p < 1:
        # A token stays while the ones before it have not reached top_p; the first always stays.
        before = probabilities.cumsum(dim=-1) - probabilities
        keep = before < params.top_p
        keep[0] = True
        kept = kept.masked_fill(~keep, -torch.inf)
    if params.min_p > 0:
        kept = kept.masked_fill(probabilities < params.min_p * probabilities[0], -torch.inf)
    return torch.full_like(logits, -torch.inf).scatter_(0, order, kept)
