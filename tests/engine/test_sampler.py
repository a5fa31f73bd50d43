"""Sampling against the distributions that the parameters define."""

from __future__ import annotations

import pytest
import torch

from structgen.engine.request import SamplingParams
from structgen.engine.sampler import Sampler

LOGITS = torch.tensor([2.0, 1.0, 0.0, -1.0, -torch.inf, 0.5])


def sample_many(params: SamplingParams, count: int = 6_000) -> torch.Tensor:
    """Relative frequencies [6] of ``count`` draws."""
    generator = torch.Generator().manual_seed(0)
    rows = LOGITS.expand(count, -1).clone()
    tokens = Sampler().sample(rows, [params] * count, [generator] * count)
    return torch.bincount(torch.tensor(tokens), minlength=6) / count


@pytest.mark.parametrize(
    ("params", "kept"),
    [
        ({"temperature": 1.0}, [0, 1, 2, 3, 5]),
        ({"temperature": 0.5}, [0, 1, 2, 3, 5]),
        ({"temperature": 1.0, "top_k": 2}, [0, 1]),
        ({"temperature": 1.0, "top_k": 100}, [0, 1, 2, 3, 5]),
        ({"temperature": 1.0, "top_p": 0.6}, [0, 1]),
        ({"temperature": 1.0, "top_p": 1e-9}, [0]),
        ({"temperature": 1.0, "min_p": 0.2}, [0, 1, 5]),
        ({"temperature": 1.0, "top_k": 3, "top_p": 0.7, "min_p": 0.1}, [0, 1]),
    ],
)
def test_frequencies(params, kept):
    expected = torch.full((6,), -torch.inf)
    expected[kept] = LOGITS[kept] / params["temperature"]
    frequencies = sample_many(SamplingParams(**params))
    assert torch.allclose(frequencies, expected.softmax(0), atol=0.03)
    assert set(frequencies.nonzero().flatten().tolist()) <= set(kept)


def test_temperature_zero_and_almost_zero_take_the_most_likely():
    assert sample_many(SamplingParams(temperature=0), 100)[0] == 1
    assert sample_many(SamplingParams(temperature=1e-12), 100)[0] == 1


def test_one_allowed_token_is_always_taken():
    logits = torch.full((4, 1000), -torch.inf)
    logits[:, 999] = -50.0
    params = [SamplingParams(temperature=t, top_p=0.5, min_p=0.5) for t in (0, 0.1, 1, 100)]
    generators = [torch.Generator().manual_seed(i) for i in range(4)]
    assert Sampler().sample(logits, params, generators) == [999] * 4


def test_rows_do_not_see_each_other():
    params = [SamplingParams(temperature=1.0), SamplingParams(temperature=0), SamplingParams()]
    torch.manual_seed(0)
    logits = torch.randn(3, 50)

    def draw(rows: list[int]) -> list[int]:
        generators = [torch.Generator().manual_seed(row) for row in rows]
        return Sampler().sample(logits[rows].clone(), [params[r] for r in rows], generators)

    together = draw([0, 1, 2])
    assert [draw([row])[0] for row in range(3)] == together
