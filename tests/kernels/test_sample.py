"""Sampling: kernels against plain torch, cuts against transformers, draws against chi-square."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from transformers.generation.logits_process import (
    LogitsProcessorList,
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from structgen.kernels.sample import SamplingParameters, Workspace, sample
from structgen.kernels.sample_reference import kept_reference, sample_reference, uniform_reference

INFINITY = float("inf")
# One slot each: greedy, everything, and every way to cut.
SLOTS: list[dict[str, float]] = [
    {"temperature": 0.0},
    {"temperature": 0.7},
    {"top_k": 7},
    {"top_p": 0.8, "temperature": 1.7},
    {"min_p": 0.1},
    {"top_k": 30, "top_p": 0.9},
    {"top_k": 50, "top_p": 0.95, "min_p": 0.02, "temperature": 0.9},
    {"top_p": 0.9, "min_p": 0.001},
]


def parameters_of(slots: list[dict[str, float]], device: str, **sizes: int) -> SamplingParameters:
    parameters = SamplingParameters.allocate(len(slots), device, **sizes)
    for b, slot in enumerate(slots):
        for name, value in slot.items():
            getattr(parameters, name)[b] = value
    return parameters


def pack(allowed: torch.Tensor) -> torch.Tensor:
    """bool [B, V] as a bitmask."""
    batch, n_tokens = allowed.shape
    bits = torch.zeros((batch, (n_tokens + 31) // 32 * 32), dtype=torch.int64)
    bits[:, :n_tokens] = allowed.cpu()
    words = (bits.view(batch, -1, 32) << torch.arange(32)).sum(2)
    return words.to(torch.int32).to(allowed.device)


def padded(logits: torch.Tensor, padding: int, dtype: torch.dtype) -> torch.Tensor:
    """Logits in rows that lie apart, with greater values after the last token."""
    batch, n_tokens = logits.shape
    rows = torch.full((batch, n_tokens + padding + 5), 1e4, dtype=dtype, device=logits.device)
    rows[:, :n_tokens] = logits
    return rows[:, : n_tokens + padding]


class Drawn:
    """What a step writes; filled with values that no step writes."""

    def __init__(self, batch: int, device: str, top: int) -> None:
        self.tokens = torch.full((batch,), -77, dtype=torch.int32, device=device)
        self.logprob = torch.full((batch,), 77.0, device=device)
        self.values = torch.full((batch, top), 77.0, device=device)
        self.ids = torch.full((batch, top), -77, dtype=torch.int32, device=device)

    def outputs(self) -> dict[str, Any]:
        top = self.values.shape[1]
        return {"logprob": self.logprob, "top_logprobs": (self.values, self.ids)} if top else {}


def step(
    logits: torch.Tensor,
    bitmask: torch.Tensor | None,
    parameters: SamplingParameters,
    *,
    n_tokens: int | None = None,
    capacity: int = 8192,
    constrained: torch.Tensor | None = None,
    top: int = 0,
) -> Drawn:
    """A step of the kernels, which must have done what the reference does."""
    n_tokens = logits.shape[1] if n_tokens is None else n_tokens
    device = str(logits.device)
    batch = len(logits)
    expected, drawn = Drawn(batch, device, top), Drawn(batch, device, top)
    other = copy.deepcopy(parameters)
    sample_reference(
        logits, bitmask, other, expected.tokens, n_tokens=n_tokens, constrained=constrained,
        **expected.outputs(),
    )  # fmt: skip
    workspace = Workspace(batch, n_tokens, device, capacity=capacity)
    sample(
        logits, bitmask, parameters, drawn.tokens, n_tokens=n_tokens, workspace=workspace,
        constrained=constrained, **drawn.outputs(),
    )  # fmt: skip
    assert drawn.tokens.tolist() == expected.tokens.tolist()
    assert parameters.position.tolist() == other.position.tolist()
    if parameters.counts is not None and other.counts is not None:
        assert torch.equal(parameters.counts, other.counts)
    if top:
        torch.testing.assert_close(drawn.logprob, expected.logprob, rtol=1e-5, atol=2e-5)
        torch.testing.assert_close(drawn.values, expected.values, rtol=1e-5, atol=2e-5)
        assert drawn.ids.tolist() == expected.ids.tolist()
    return drawn


def random_logits(seed: int, batch: int, n_tokens: int, device: str) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn((batch, n_tokens), generator=generator) * 3).to(device)


@pytest.mark.parametrize(
    ("n_tokens", "dtype"),
    [
        (31, torch.float32),
        (33, torch.bfloat16),
        (1000, torch.float16),
        (4097, torch.bfloat16),
    ],
)
def test_same_as_reference(device: str, n_tokens: int, dtype: torch.dtype) -> None:
    """All cuts at once, with masks, biases, penalties, log-probabilities; rows padded and apart."""
    batch = len(SLOTS)
    generator = torch.Generator().manual_seed(n_tokens)
    slots = [{**slot, "seed": 1 << 40 | b, "logprobs": b % 4} for b, slot in enumerate(SLOTS)]
    parameters = parameters_of(slots, device, penalised_tokens=n_tokens, biases=3)
    parameters.repetition_penalty[::2] = 1.3
    parameters.presence_penalty[::3] = 0.4
    parameters.frequency_penalty[1::2] = 0.7
    counts = torch.randint(-5, 4, (batch, n_tokens), generator=generator).clamp(min=0)
    parameters.counts = counts.to(torch.int16).to(device)
    parameters.seen = pack((torch.rand((batch, n_tokens), generator=generator) < 0.3).to(device))
    assert parameters.bias_ids is not None and parameters.bias_values is not None
    parameters.bias_ids[:, :2] = torch.tensor([n_tokens - 1, 4])
    parameters.bias_values[:, :2] = torch.tensor([2.5, -INFINITY])
    density = torch.linspace(0.05, 1, batch)[:, None]
    allowed = torch.rand((batch, n_tokens), generator=generator) < density
    allowed[:, 7] = True
    logits = padded(random_logits(1, batch, n_tokens, device), 11, dtype)
    constrained = torch.tensor([b % 4 for b in range(batch)], dtype=torch.int32, device=device)
    step(logits, pack(allowed.to(device)), parameters, n_tokens=n_tokens, constrained=constrained,
         top=3)  # fmt: skip


def test_excluded_logits_do_not_matter(device: str) -> None:
    slots = SLOTS[::2]
    batch, n_tokens = len(slots), 300
    logits = random_logits(2, batch, n_tokens, device)
    allowed = random_logits(3, batch, n_tokens, device) > 2
    changed = torch.where(allowed, logits, torch.nan)
    changed[:, ::3] = torch.where(allowed, logits, INFINITY)[:, ::3]
    first = step(logits, pack(allowed), parameters_of(slots, device), top=1)
    second = step(changed, pack(allowed), parameters_of(slots, device), top=1)
    assert first.tokens.tolist() == second.tokens.tolist()
    assert torch.equal(first.logprob, second.logprob)


def test_nothing_allowed(device: str) -> None:
    """The token is -1, and nothing else is written."""
    batch, n_tokens = len(SLOTS), 100
    allowed = torch.zeros((batch, n_tokens), dtype=torch.bool, device=device)
    allowed[1] = True
    bitmask = pack(allowed)
    bitmask[:, -1] |= -16  # the bits after the last token do not count
    parameters = parameters_of(SLOTS, device, penalised_tokens=n_tokens)
    drawn = step(random_logits(4, batch, n_tokens, device), bitmask, parameters, top=2)
    assert [t == -1 for t in drawn.tokens.tolist()] == [b != 1 for b in range(batch)]
    assert parameters.position.tolist() == [int(b == 1) for b in range(batch)]
    assert parameters.counts is not None and int(parameters.counts.sum()) == 1
    assert [v == 77 for v in drawn.logprob.tolist()] == [b != 1 for b in range(batch)]
    assert [v == 77 for v in drawn.values[:, 0].tolist()] == [b != 1 for b in range(batch)]


def test_one_allowed(device: str) -> None:
    batch, n_tokens = len(SLOTS), 100
    allowed = torch.zeros((batch, n_tokens), dtype=torch.bool, device=device)
    for b in range(batch):
        allowed[b, 11 * b] = True
    parameters = parameters_of([{**slot, "logprobs": 2} for slot in SLOTS], device)
    drawn = step(random_logits(5, batch, n_tokens, device), pack(allowed), parameters, top=2)
    assert drawn.tokens.tolist() == [11 * b for b in range(batch)]
    assert drawn.logprob.tolist() == [0.0] * batch
    assert drawn.ids.tolist() == [[11 * b, -1] for b in range(batch)]


def test_extreme_parameters(device: str) -> None:
    slots: list[dict[str, float]] = [
        {"top_k": 1},
        {"top_k": 99},  # more than are allowed
        {"top_k": 100_000},
        {"top_p": 0.0},
        {"top_p": 1e-9},
        {"top_p": 1 - 1e-7},
        {"min_p": 1.0},
        {"top_k": 3, "top_p": 1e-9, "min_p": 1.0},
        {"temperature": 1e-8},
        {"temperature": 1e-8, "top_p": 0.5},
        {"temperature": 1e8},
    ]
    logits = random_logits(6, len(slots), 200, device)
    allowed = random_logits(7, len(slots), 200, device) > 3
    drawn = step(logits, pack(allowed), parameters_of(slots, device))
    best = logits.masked_fill(~allowed, -INFINITY).argmax(1).tolist()
    for b in (0, 3, 4, 6, 7, 8, 9):
        assert int(drawn.tokens[b]) == best[b]


def test_equal_logits(device: str) -> None:
    """Greedy takes the lowest id; cuts keep all of equal values, whatever k and p are."""
    slots: list[dict[str, float]] = [{"temperature": 0}]
    slots += [{"top_k": 2, "seed": s} for s in range(6)]
    slots += [{"top_p": 0.1, "seed": s} for s in range(6)]
    logits = torch.zeros((len(slots), 40), device=device)
    logits[:, ::2] = -0.0
    tokens = step(logits, None, parameters_of(slots, device)).tokens.tolist()
    assert tokens[0] == 0
    assert len(set(tokens[1:7])) > 3 and tokens[1:7] == tokens[7:]


def test_values_that_are_no_numbers(device: str) -> None:
    batch = len(SLOTS)
    row = torch.tensor([torch.nan, -INFINITY, 1.0, 2.0, torch.nan, 2.0, -INFINITY, -1.0] * 5)
    rows = row.repeat(batch, 1).to(device)
    step(rows, None, parameters_of([{**slot, "logprobs": 4} for slot in SLOTS], device), top=4)
    infinite = rows.clone()
    infinite[:, 11] = infinite[:, 30] = INFINITY
    drawn = step(infinite, None, parameters_of(SLOTS, device))
    assert set(drawn.tokens.tolist()) <= {11, 30} and int(drawn.tokens[0]) == 11


def test_all_allowed_are_minus_infinity(device: str) -> None:
    batch = len(SLOTS)
    rows = torch.full((batch, 300), -INFINITY, device=device)
    rows[:, 5], rows[:, 290] = 3.0, torch.nan
    allowed = torch.ones((batch, 300), dtype=torch.bool, device=device)
    allowed[:, :200] = False
    parameters = parameters_of([{**slot, "logprobs": 1} for slot in SLOTS], device)
    drawn = step(rows, pack(allowed), parameters, top=1)
    assert drawn.tokens.tolist() == [200] * batch
    assert drawn.logprob.tolist() == [-INFINITY] * batch
    assert drawn.ids.tolist() == [[-1]] * batch


def warped(logits: torch.Tensor, slot: dict[str, float]) -> torch.Tensor:
    """What transformers keeps."""
    warpers = LogitsProcessorList([TemperatureLogitsWarper(float(slot["temperature"]))])
    if slot["top_k"]:
        warpers.append(TopKLogitsWarper(int(slot["top_k"])))
    if slot["top_p"] < 1:
        warpers.append(TopPLogitsWarper(float(slot["top_p"])))
    if slot["min_p"]:
        warpers.append(MinPLogitsWarper(float(slot["min_p"])))
    return warpers(torch.zeros((1, 1), dtype=torch.long), logits[None])[0] > -INFINITY


def random_slot(generator: torch.Generator) -> dict[str, float]:
    temperature, p, m = torch.rand(3, generator=generator).tolist()
    which = int(torch.randint(1, 8, (1,), generator=generator))
    return {
        "temperature": 0.2 + 2 * temperature,
        "top_k": int(torch.randint(1, 12, (1,), generator=generator)) if which & 1 else 0,
        "top_p": p if which & 2 else 1.0,
        "min_p": m**2 if which & 4 else 0.0,
    }


def test_reference_keeps_what_transformers_keeps() -> None:
    generator = torch.Generator().manual_seed(8)
    for _ in range(400):
        slot = random_slot(generator)
        logits = torch.randn(50, generator=generator) * 2
        logits[torch.rand(50, generator=generator) < 0.3] = -INFINITY
        kept = kept_reference(
            logits, slot["temperature"], int(slot["top_k"]), slot["top_p"], slot["min_p"]
        )
        # With k above the number of allowed tokens transformers keeps those of -inf, at weight 0.
        assert torch.equal(kept, warped(logits, slot) & (logits > -INFINITY)), slot


def test_ties_at_the_kth_value_are_kept() -> None:
    logits = torch.tensor([1.0, 3.0, 2.0, 2.0, 0.0, 2.0])
    slot = {"temperature": 1.0, "top_k": 2, "top_p": 1.0, "min_p": 0.0}
    assert kept_reference(logits, 1.0, 2, 1.0, 0.0).tolist() == warped(logits, slot).tolist()


def spread_seeds(n: int) -> list[int]:
    """Seeds whose first draws are in [0, 1/n), [1/n, 2/n) and so on."""
    found: dict[int, int] = {}
    seed = 0
    while len(found) < n:
        found.setdefault(int(n * uniform_reference(seed, 0)), seed)
        seed += 1
    return [found[i] for i in range(n)]


@pytest.mark.parametrize(
    "cut",
    [{"top_k": 3}, {"top_p": 0.5}, {"top_k": 4, "top_p": 0.7}, {"min_p": 0.87}],
    ids=lambda cut: "-".join(cut),
)
def test_draws_are_exactly_what_is_kept(device: str, cut: dict[str, float]) -> None:
    """Each token that transformers keeps is drawn, and no other."""
    generator = torch.Generator().manual_seed(9)
    # Few are kept, about alike, so that seeds whose draws are spread find them all.
    seeds = spread_seeds(10 if device == "cpu" else 16)
    slot = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0, **cut}
    slots = [{**slot, "seed": seed} for seed in seeds]
    for _ in range(1 if device == "cpu" else 20):
        logits = torch.rand(6, generator=generator) * 0.3
        rows = logits.repeat(len(seeds), 1).to(device)
        tokens = step(rows, None, parameters_of(slots, device)).tokens
        kept = warped(logits, slot).nonzero()[:, 0].tolist()
        assert sorted(set(tokens.tolist())) == kept


def test_top_p_is_a_share_of_what_top_k_keeps(device: str) -> None:
    """Also of what min-p is going to cut, which would be two tokens here, not three."""
    logits = torch.tensor([0.0, 0.1, 0.05, -0.7, -0.65, -0.6, -9.0])
    slot = {"temperature": 1.0, "top_k": 6, "top_p": 0.6, "min_p": 0.8}
    slots = [{**slot, "seed": seed} for seed in spread_seeds(5)]
    tokens = step(logits.repeat(5, 1).to(device), None, parameters_of(slots, device)).tokens
    assert warped(logits, slot).nonzero()[:, 0].tolist() == [0, 1, 2]
    assert set(tokens.tolist()) == {0, 1, 2}


@pytest.mark.parametrize("capacity", [16, 8192])
def test_many_candidates(device: str, capacity: int) -> None:
    """Whether they are stored or not; and top-p that needs more groups than it looks at first."""
    slots: list[dict[str, float]] = [
        {"top_p": 0.97},
        {"top_p": 0.6, "min_p": 0.3},
        {"top_k": 1500, "top_p": 0.8},
    ]
    slots = [{**slot, "logprobs": 5 * b} for b, slot in enumerate(slots)]
    logits = random_logits(10, len(slots), 5000, device) / 3
    step(logits.bfloat16(), None, parameters_of(slots, device), top=10, capacity=capacity)


def test_only_the_slot_matters(device: str) -> None:
    """Neither its place in the batch, nor the batch's size, nor what else is in it."""
    n_tokens = 700
    slots = [{**slot, "seed": 1000 + b, "position": 3 * b} for b, slot in enumerate(SLOTS)]
    logits = random_logits(11, len(slots), n_tokens, device)
    allowed = random_logits(12, len(slots), n_tokens, device) > -2
    together = step(logits, pack(allowed), parameters_of(slots, device), top=1)
    order = torch.randperm(len(slots), generator=torch.Generator().manual_seed(0))[:5]
    some = [slots[b] for b in order.tolist()]
    apart = step(logits[order], pack(allowed[order]), parameters_of(some, device), top=1)
    assert apart.tokens.tolist() == together.tokens[order].tolist()
    assert torch.equal(apart.logprob, together.logprob[order])
    alone = step(logits[4:5], pack(allowed[4:5]), parameters_of(slots[4:5], device), top=1)
    assert int(alone.tokens) == int(together.tokens[4])


def test_seed_and_position_make_the_draw(device: str) -> None:
    slots: list[dict[str, float]] = [{"seed": 5}, {"seed": 5}, {"seed": 6}, {"seed": -1}]
    logits = torch.zeros((len(slots), 1000), device=device)
    parameters = parameters_of(slots, device)
    drawn = [step(logits, None, parameters).tokens.tolist() for _ in range(4)]
    assert all(tokens[0] == tokens[1] for tokens in drawn)
    assert len({tokens[0] for tokens in drawn} | {tokens[2] for tokens in drawn}) > 6
    assert parameters.position.tolist() == [4] * 4
    parameters.position[:] = 2
    assert step(logits, None, parameters).tokens.tolist() == drawn[2]


def test_uniform_is_philox() -> None:
    """The known answer for key 0 and counter 0, of the authors' Random123."""
    assert uniform_reference(0, 0) == (0x6627E8D5 << 21 | 0xE169C58D >> 11) / (1 << 53)


def chi_square(tokens: list[int], probability: torch.Tensor) -> float:
    """Pearson's statistic over its degrees of freedom, of tokens that may be drawn."""
    support = probability.nonzero()[:, 0].tolist()
    assert set(tokens) <= set(support)
    expected = [len(tokens) * float(probability[t]) for t in support]
    observed = [tokens.count(t) for t in support]
    return sum((o - e) ** 2 / e for o, e in zip(observed, expected, strict=True)) / (
        len(support) - 1
    )


@pytest.mark.parametrize(
    "slot", [{"temperature": 0.8}, {"top_k": 4, "temperature": 1.3}], ids=["all", "top-k"]
)
def test_frequencies(device: str, slot: dict[str, float]) -> None:
    """At 5 or fewer degrees of freedom, 3 times their number has a probability below 1%."""
    n = 30 if device == "cpu" else 10_000
    logits = torch.tensor([0.3, -1.0, 0.9, 0.0, 1.2, 0.5])
    scaled = logits / slot["temperature"]
    if "top_k" in slot:
        scaled[scaled < scaled.topk(int(slot["top_k"])).values[-1]] = -INFINITY
    slots = [{**slot, "seed": 17 * b} for b in range(n)]
    parameters = parameters_of(slots, device)
    out = torch.empty(n, dtype=torch.int32, device=device)
    rows = logits.repeat(n, 1).to(device)
    sample(rows, None, parameters, out, n_tokens=6, workspace=Workspace(n, 6, device))
    assert chi_square(out.tolist(), scaled.softmax(0)) < 3


def test_frequencies_of_the_reference() -> None:
    """The reference, which all other tests hold the kernels to, over many draws of one slot."""
    logits = torch.tensor([[0.3, -1.0, 0.9, 0.0, 1.2, 0.5, -2.0]])
    parameters = parameters_of([{"seed": 3, "top_p": 0.95}], "cpu")
    out = torch.empty(1, dtype=torch.int32)
    tokens = []
    for _ in range(2000):
        sample_reference(logits, None, parameters, out, n_tokens=7)
        tokens.append(int(out))
    kept = kept_reference(logits[0], 1.0, 0, 0.95, 0.0)
    probability = logits[0].masked_fill(~kept, -INFINITY).softmax(0)
    assert chi_square(tokens, probability) < 3


def test_sizes_that_do_not_fit(device: str) -> None:
    logits = torch.zeros((2, 100), device=device)
    parameters = SamplingParameters.allocate(2, device)
    out = torch.zeros(2, dtype=torch.int32, device=device)
    workspace = Workspace(2, 100, device)

    def attempt(what: torch.Tensor, bitmask: torch.Tensor | None = None, **changes: Any) -> None:
        arguments = {"n_tokens": 100, "workspace": workspace, **changes}
        sample(what, bitmask, arguments.pop("parameters", parameters), out, **arguments)

    with pytest.raises(ValueError, match="next to each other"):
        attempt(torch.zeros((100, 2), device=device).T)
    with pytest.raises(ValueError, match="99 logits"):
        attempt(logits[:, :99])
    with pytest.raises(ValueError, match="workspace for 2 slots and 100 tokens"):
        attempt(logits, n_tokens=90)
    with pytest.raises(ValueError, match="workspace for 2 slots"):
        attempt(torch.zeros((3, 100), device=device))
    with pytest.raises(ValueError, match="bitmask of 3 words"):
        attempt(logits, torch.zeros((2, 3), dtype=torch.int32, device=device))
    with pytest.raises(ValueError, match="parameters of 1 slots"):
        attempt(logits, parameters=SamplingParameters.allocate(1, device))
    columns = torch.zeros((4, 2), device=device).T
    with pytest.raises(ValueError, match="top log-probabilities"):
        attempt(logits, top_logprobs=(columns, columns.int()))
    for name, width in (("counts", 99), ("seen", 3)):
        few = SamplingParameters.allocate(2, device)
        setattr(few, name, torch.zeros((2, width), dtype=torch.int32, device=device))
        with pytest.raises(ValueError, match=f"{width} .*100 tokens"):
            attempt(logits, parameters=few)


def test_graph(device: str) -> None:
    """A captured step draws what steps that are launched one by one draw."""
    if device == "cpu":
        pytest.skip("the interpreter has no CUDA graphs")
    batch, n_tokens = len(SLOTS), 5000
    logits = random_logits(13, batch, n_tokens, device).bfloat16()
    workspace = Workspace(batch, n_tokens, device)
    parameters = parameters_of(SLOTS, device, penalised_tokens=n_tokens)
    parameters.presence_penalty += 0.5
    other = copy.deepcopy(parameters)
    out = torch.empty(batch, dtype=torch.int32, device=device)
    one_by_one = []
    for _ in range(5):
        sample(logits, None, other, out, n_tokens=n_tokens, workspace=workspace)
        one_by_one.append(out.tolist())
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        sample(logits, None, parameters, out, n_tokens=n_tokens, workspace=workspace)
    replayed = []
    for _ in range(5):
        graph.replay()
        replayed.append(out.tolist())
    assert replayed == one_by_one
