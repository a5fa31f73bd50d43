"""Sampling against the distributions that the parameters define, on the host and on the device."""

from __future__ import annotations

import pytest
import torch
from tiny_model import MODEL_TOKENS, tiny_model, tiny_tokenizer

from structgen.engine import LLM, assembly
from structgen.engine.device_sampler import DeviceSampler
from structgen.engine.draw import draw
from structgen.engine.request import Request, SamplingParams
from structgen.engine.sampler import HostSampler, kind_of
from structgen.engine.tokens import TokenTable
from structgen.kernels.sample import SamplingParameters, sample_reference
from structgen.vocabulary import Vocabulary

LOGITS = torch.tensor([2.0, 1.0, 0.0, -1.0, -torch.inf, 0.5])


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return Vocabulary.from_huggingface(tiny_tokenizer())


@pytest.fixture(params=["host", "device"])
def make(request, vocabulary):
    """Makes a sampler of so many slots."""
    if request.param == "host":
        return lambda batch: HostSampler(batch, TokenTable(vocabulary))
    return lambda batch: DeviceSampler(batch, vocabulary, torch.device("cpu"))


def request(**params) -> Request:
    return Request((5, 6), SamplingParams(**params), 10)


def sample(sampler, rows: list[Request], logits: torch.Tensor, seeds=None, tokens=()) -> list[int]:
    for slot, row in enumerate(rows):
        sampler.join(slot, row, tokens, slot if seeds is None else seeds[slot])
    out = torch.empty(len(rows), dtype=torch.int32)
    active = torch.ones(len(rows), dtype=torch.int32)
    sampler.step(logits, active, out, kind_of(rows))
    return out.tolist()


def wide(logits: torch.Tensor) -> torch.Tensor:
    """The first logits of a whole vocabulary, the others impossible."""
    full = torch.full((*logits.shape[:-1], MODEL_TOKENS), -torch.inf)
    full[..., : logits.shape[-1]] = logits
    return full


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
        ({"temperature": 1.0, "logit_bias": {4: 1.0, 0: -100.0}}, [1, 2, 3, 5]),
    ],
)
def test_frequencies(make, params, kept):
    # The device's part runs as the kernels' reference here, row by row.
    count = 4000 if isinstance(make(1), HostSampler) else 400
    expected = torch.full((6,), -torch.inf)
    expected[kept] = LOGITS[kept] / params["temperature"]
    tokens = sample(make(count), [request(**params)] * count, wide(LOGITS.expand(count, -1)))
    frequencies = torch.bincount(torch.tensor(tokens), minlength=6) / count
    assert torch.allclose(frequencies, expected.softmax(0), atol=0.03 if count > 400 else 0.1)
    assert set(frequencies.nonzero().flatten().tolist()) <= set(kept)


@pytest.mark.parametrize("temperature", [0, 1e-12])
def test_temperature_zero_and_almost_zero_take_the_most_likely(make, temperature):
    assert sample(make(1), [request(temperature=temperature)], wide(LOGITS[None])) == [0]


def test_one_possible_token_is_always_taken(make):
    logits = torch.full((4, MODEL_TOKENS), -torch.inf)
    logits[:, 99] = -50.0
    rows = [request(temperature=t, top_p=0.5, min_p=0.5) for t in (0, 0.1, 1, 100)]
    assert sample(make(4), rows, logits) == [99] * 4


def test_no_finite_score_is_told_from_a_token(make):
    logits = torch.zeros((3, MODEL_TOKENS))
    logits[0] = torch.nan
    logits[1] = -torch.inf
    tokens = sample(make(3), [request(temperature=0)] * 3, logits)
    assert tokens[:2] == [-2, -2]
    assert tokens[2] >= 0


def test_penalties_count_the_tokens_before(make):
    # One less, or half, or twice 0.3 less: the second best wins.
    logits = wide(torch.tensor([[2.0, 1.5, 0.0]]))
    for penalty in ({"presence_penalty": 1.0}, {"repetition_penalty": 2.0},
                    {"frequency_penalty": 0.3}):  # fmt: skip
        row = request(temperature=0, **penalty)
        assert sample(make(1), [row], logits) == [0]
        assert sample(make(1), [row], logits, tokens=[0, 0]) == [1]
    in_prompt = Request((0, 3), SamplingParams(temperature=0, repetition_penalty=2.0), 10)
    assert sample(make(1), [in_prompt], logits) == [1]


def test_logprobs_are_those_of_log_softmax(make):
    sampler = make(1)
    logits = torch.randn((1, MODEL_TOKENS), generator=torch.Generator().manual_seed(0))
    [token] = sample(sampler, [request(temperature=0, logprobs=3)], logits)
    expected = logits[0, : len(tiny_tokenizer())].log_softmax(0)
    values, ids = expected.topk(3)
    assert token == ids[0]
    assert sampler.top_ids[0, :3].tolist() == ids.tolist()
    assert torch.allclose(sampler.top_values[0, :3], values, atol=1e-5)
    assert torch.allclose(sampler.logprob[0], values[0], atol=1e-5)


def test_slots_do_not_see_each_other_and_inactive_ones_do_not_move(make):
    rows = [request(temperature=1.0), request(temperature=0), request()]
    logits = torch.randn((3, MODEL_TOKENS), generator=torch.Generator().manual_seed(1))
    together = sample(make(3), rows, logits)
    for i in range(3):
        assert sample(make(1), [rows[i]], logits[i : i + 1], seeds=[i]) == [together[i]]
    sampler = make(3)
    for slot, row in enumerate(rows):
        sampler.join(slot, row, (), slot)
    out = torch.empty(3, dtype=torch.int32)
    for slot in (2, 0, 1):
        active = (torch.arange(3) == slot).to(torch.int32)
        sampler.step(logits.clone(), active, out, "draw")
        assert out.tolist() == [together[i] if i == slot else -1 for i in range(3)]


@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_rows_at_once_draw_as_the_kernels_reference_does(scale):
    generator = torch.Generator().manual_seed(3)
    n, size = 40, 200
    scores = (torch.randn((n, size), generator=generator) * scale).round(decimals=1)  # with ties
    scores[torch.rand((n, size), generator=generator) < 0.5] = -torch.inf
    parameters = SamplingParameters.allocate(n, "cpu")
    parameters.temperature[:] = torch.tensor([0.0, 0.3, 1.0, 5.0]).repeat(10)
    parameters.top_k[:] = torch.tensor([0, 3, 7, 500, 1]).repeat(8)
    parameters.top_p[:] = torch.tensor([1.0, 0.9, 0.5, 0.1]).repeat_interleave(10)
    parameters.min_p[:] = torch.tensor([0.0, 0.1]).repeat(20)
    parameters.seed[:] = torch.arange(n) * 12345678901234567 % (1 << 62)
    expected = torch.empty(n, dtype=torch.int32)
    for position in range(20):
        parameters.position[:] = position
        tokens = draw(scores, parameters)
        parameters.position[:] = position
        sample_reference(scores, None, parameters, expected, n_tokens=size)
        assert tokens.tolist() == expected.tolist()


SCHEMAS = [
    {"type": "integer", "minimum": -5, "maximum": 5000},
    {"enum": ["red", "grün", None, 3.5]},
    {
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 4}, "on": {"type": "boolean"}},
        "required": ["name", "on"],
        "additionalProperties": False,
    },
    None,
    {"type": "array", "items": {"enum": [1, 2, 3]}, "uniqueItems": True, "minItems": 2},
    {"type": "array", "items": {"type": "number"}, "uniqueItems": True, "maxItems": 3},  # by host
]


@pytest.fixture(params=[0, 1])
def on_device(request, monkeypatch):
    """An LLM whose constraints live in tensors, with no step or one step launched ahead."""
    monkeypatch.setattr(
        assembly, "_sampler", lambda batch, vocabulary, table, device: DeviceSampler(
            batch, vocabulary, device
        )
    )  # fmt: skip
    llm = LLM(
        tiny_model(), tokenizer=tiny_tokenizer(), max_batch_size=4, ahead=request.param,
        page_size=4, kv_tokens=100, admission="aggressive", verify=True,
    )  # fmt: skip
    yield llm
    llm.close()


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_constrained_texts_are_the_same_on_host_and_device(llm, on_device, temperature):
    options = {
        "seed": 3, "temperature": temperature, "max_tokens": 50, "whitespace": "compact",
        "logprobs": 2,
    }  # fmt: skip
    prompts = ["the cat", "a", "sat"] * 4
    schemas = (SCHEMAS * 2)[: len(prompts)]
    found = on_device.generate(prompts, schema=schemas, **options)
    expected = llm.generate(prompts, schema=schemas, **options)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.error is None
        assert (ours.text, ours.parsed) == (theirs.text, theirs.parsed)
        # The host sees at once that nothing but the end may follow.
        n = len(theirs.token_ids)
        assert ours.token_ids[:n] == theirs.token_ids
        assert ours.token_ids[n:] in ((), (1,))
        assert [p.token_id for p in ours.logprobs[:n]] == [p.token_id for p in theirs.logprobs]
    assert on_device.metrics().preemptions > 0


def test_unconstrained_texts_are_the_same_on_host_and_device(llm, on_device):
    options = {"seed": 8, "temperature": 1.0, "max_tokens": 30, "top_k": 20, "top_p": 0.9}
    prompts = ["the cat", "a", "sat", "on", "é€", "x"]
    found = on_device.generate(prompts, **options)
    assert [o.token_ids for o in found] == [o.token_ids for o in llm.generate(prompts, **options)]
