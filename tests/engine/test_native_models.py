"""The native models against transformers' eager ones, over ragged batches with a paged cache."""

from __future__ import annotations

import pytest
import torch
from engine.packed import (
    CASES,
    DEVICE,
    LENGTHS,
    PAGE_SIZE,
    STEPS,
    OneTokenEach,
    Sequences,
    make_model,
    plain_torch,  # noqa: F401 (a fixture)
    run,
    texts,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from structgen.engine.models import from_transformers, native_supported


@pytest.mark.usefixtures("plain_torch")
@pytest.mark.parametrize("case", CASES)
def test_logits_are_transformers(case):
    network = make_model(case)
    assert native_supported(network.config) is None
    ids = texts(network.config.vocab_size)
    found = run(from_transformers(network), ids, STEPS)
    for text, logits in zip(ids, found, strict=True):
        with torch.no_grad():
            expected = network(text[None]).logits[0]
        assert expected.std() > 0.1
        torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("case", ["llama, biases", "qwen3, biases and windows"])
def test_kernels_agree_with_transformers(case):
    network = make_model(case)
    ids = texts(network.config.vocab_size, (7, 1))
    found = run(from_transformers(network), ids, [[(0, 5)], [(1, 1), (0, 1)], [(0, 1)]])
    for text, logits in zip(ids, found, strict=True):
        with torch.no_grad():
            expected = network(text[None]).logits[0]
        torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("plain_torch")
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_chunks_do_not_matter(data):
    network = make_model("qwen2, windows")
    model = from_transformers(network)
    ids = texts(model.vocab_size)
    left = dict(enumerate(LENGTHS))
    steps = []
    while left:
        some = data.draw(st.lists(st.sampled_from(sorted(left)), min_size=1, unique=True))
        steps.append([(s, data.draw(st.integers(1, left[s]))) for s in some])
        left = {s: n - dict(steps[-1]).get(s, 0) for s, n in left.items()}
        left = {s: n for s, n in left.items() if n}
    whole = run(model, ids, [list(enumerate(LENGTHS))])
    for logits, expected in zip(run(model, ids, steps), whole, strict=True):
        torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("plain_torch")
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_as_near_as_transformers(dtype):
    """To the logits in fp32: of the same rounded weights."""
    network = make_model("qwen3").to(dtype)
    ids = texts(network.config.vocab_size)
    found = run(from_transformers(network), ids, STEPS)
    with torch.no_grad():
        theirs = [network(text[None]).logits[0].float() for text in ids]
        exact = [network.float()(text[None]).logits[0] for text in ids]
    ours, theirs_error = (
        sum(
            (logits.float() - right).pow(2).sum() for logits, right in zip(all_, exact, strict=True)
        )
        for all_ in (found, theirs)
    )
    assert found[0].dtype == dtype
    assert ours < 1.5 * theirs_error


@pytest.mark.skipif(DEVICE == "cpu", reason="no CUDA device")
@pytest.mark.parametrize("quantize", [None, "int8"])
def test_a_graph_holds_a_step(quantize):
    network = make_model("qwen3, biases and windows")
    model = from_transformers(network, quantize)
    ids = texts(model.vocab_size, (9, 3, 5))
    steps = [[(0, 7), (1, 1), (2, 3)], [(0, 1), (1, 1), (2, 1)], [(0, 1), (1, 1), (2, 1)]]
    expected = run(model, ids, steps)
    sequences = Sequences(model.layers, len(ids), model.device, model.dtype)
    sequences.step(steps[0], 0)
    model.forward(torch.cat([t[:-2] for t in ids]), sequences, None)
    batch = OneTokenEach(sequences, torch.tensor([7, 1, 3], device=DEVICE))
    tokens = torch.stack([t[-2] for t in ids])
    rows = torch.tensor([2, 0, 1], device=DEVICE)
    model.forward(tokens, batch, rows)  # compiles the kernels
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        logits = model.forward(tokens, batch, rows)
    for last in (-2, -1):
        graph.replay()
        wanted = torch.stack([found[last] for found in expected])
        torch.testing.assert_close(logits, wanted[rows], rtol=1e-4, atol=1e-4)
        tokens.copy_(torch.stack([t[-1] for t in ids]))
        batch.positions += 1
        page = batch._pages.gather(1, batch.positions[:, None] // PAGE_SIZE)[:, 0]
        batch.places.copy_(page * PAGE_SIZE + batch.positions % PAGE_SIZE)
