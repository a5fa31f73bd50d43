"""Biases and penalties: plain torch against transformers, the kernels against plain torch."""

from __future__ import annotations

import pytest
import torch
from transformers.generation.logits_process import (
    RepetitionPenaltyLogitsProcessor,
    SequenceBiasLogitsProcessor,
)

from structgen.kernels.penalties import penalise_reference
from structgen.kernels.sample import SamplingParameters, Workspace, sample

N_TOKENS = 300
PROMPT = [3, 5, 5, 299, 31, 32]
GENERATED = [5, 40, 40, 40, 299, 64]


def parameters(
    device: str, biases: dict[int, tuple[int, float]], **penalties: float
) -> SamplingParameters:
    """Of one slot with the prompt and the generated tokens above; biases by where they stand."""
    p = SamplingParameters.allocate(1, device, penalised_tokens=N_TOKENS, biases=200)
    for name, value in penalties.items():
        getattr(p, name)[0] = value
    assert p.counts is not None and p.seen is not None
    assert p.bias_ids is not None and p.bias_values is not None
    for token in GENERATED:
        p.counts[0, token] += 1
    words = [0] * ((N_TOKENS + 31) // 32)
    for token in PROMPT:
        words[token >> 5] |= 1 << (token & 31)
    p.seen[0] = torch.tensor(words).to(torch.int32)
    for m, (token, bias) in biases.items():
        p.bias_ids[0, m], p.bias_values[0, m] = token, bias
    return p


def reference(logits: torch.Tensor, p: SamplingParameters) -> torch.Tensor:
    return penalise_reference(
        logits,
        counts=p.counts,
        seen=p.seen,
        repetition=p.repetition_penalty,
        presence=p.presence_penalty,
        frequency=p.frequency_penalty,
        bias_ids=p.bias_ids,
        bias_values=p.bias_values,
    )


def random_logits(device: str = "cpu") -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return (torch.randn((1, N_TOKENS), generator=generator) * 4).to(device)


def test_bias_then_repetition_as_in_transformers() -> None:
    biases = {0: (3, 2.0), 1: (40, -7.5), 5: (7, 1.25)}
    logits = random_logits()
    text = torch.tensor([PROMPT + GENERATED])
    sequence_bias = {(token,): bias for token, bias in biases.values()}
    expected = SequenceBiasLogitsProcessor(sequence_bias)(text, logits.clone())
    expected = RepetitionPenaltyLogitsProcessor(1.7)(text, expected)
    torch.testing.assert_close(
        reference(logits, parameters("cpu", biases, repetition_penalty=1.7)), expected
    )


def test_presence_and_frequency() -> None:
    logits = random_logits()
    p = parameters("cpu", {}, presence_penalty=0.5, frequency_penalty=0.25)
    expected = logits.clone()
    for token in set(GENERATED):
        expected[0, token] -= 0.5 + 0.25 * GENERATED.count(token)
    torch.testing.assert_close(reference(logits, p), expected)


def test_nothing_is_off() -> None:
    logits = random_logits()
    assert torch.equal(reference(logits, parameters("cpu", {})), logits)


@pytest.mark.parametrize(
    "penalties",
    [
        {"repetition_penalty": 1.7},
        {"repetition_penalty": 0.6, "presence_penalty": 0.5, "frequency_penalty": -0.3},
        {},
    ],
)
def test_kernel(device: str, penalties: dict[str, float]) -> None:
    """The log-probabilities of all tokens are those of the penalised logits."""
    logits = random_logits(device)
    # More biases than are read at once, and few that are for a token.
    biases = {0: (299, 3.5), 7: (40, -2.0), 130: (0, 1.5), 199: (41, 0.25)}
    p = parameters(device, biases, temperature=0, logprobs=N_TOKENS, **penalties)
    expected = reference(logits, p).log_softmax(1).sort(descending=True, stable=True)
    top = 20
    out = torch.empty(1, dtype=torch.int32, device=device)
    values = torch.empty((1, top), device=device)
    ids = torch.empty((1, top), dtype=torch.int32, device=device)
    sample(
        logits, None, p, out, n_tokens=N_TOKENS, workspace=Workspace(1, N_TOKENS, device),
        top_logprobs=(values, ids),
    )  # fmt: skip
    torch.testing.assert_close(values, expected.values[:, :top], rtol=1e-5, atol=2e-5)
    assert ids.tolist() == expected.indices[:, :top].tolist()
    assert int(out) == int(expected.indices[0, 0])


@pytest.mark.parametrize("dtype", [torch.int16, torch.int32])
def test_counts_go_on_up_to_a_limit(device: str, dtype: torch.dtype) -> None:
    p = SamplingParameters.allocate(3, device)
    p.counts = torch.zeros((3, 50), dtype=dtype, device=device)
    p.counts[1, 9], p.counts[2, 9] = 0x7FFE, 0x7FFF
    logits = torch.zeros((3, 50), device=device)
    logits[:, 9] = 90
    out = torch.empty(3, dtype=torch.int32, device=device)
    sample(logits, None, p, out, n_tokens=50, workspace=Workspace(3, 50, device))
    assert p.counts[:, 9].tolist() == [1, 0x7FFF, 0x7FFF]
    assert int(p.counts.sum()) == 1 + 2 * 0x7FFF


def test_seen_alone(device: str) -> None:
    """Tokens of the prompt are penalised where generated ones are not counted."""
    p = SamplingParameters.allocate(1, device)
    p.temperature[0], p.repetition_penalty[0] = 0, 2.0
    p.seen = torch.tensor([[1 << 3, 0]], dtype=torch.int32, device=device)
    logits = torch.zeros((1, 40), device=device)
    logits[0, 3], logits[0, 35] = 10, 6
    out = torch.empty(1, dtype=torch.int32, device=device)
    sample(logits, None, p, out, n_tokens=40, workspace=Workspace(1, 40, device))
    assert int(out) == 35
