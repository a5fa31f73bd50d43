"""Thousands of requests that come, go, make room for each other and are cancelled, at random."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

import pytest
import torch
from jsonschema import Draft202012Validator
from tiny_model import save_tiny_model

from structgen.engine import LLM, Output

SCHEMAS = [
    {"type": "integer", "minimum": -5, "maximum": 5000},
    {"enum": ["red", "grün", None, 3.5]},
    {"type": "array", "items": {"type": "boolean"}, "maxItems": 4},
    {
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 4}, "age": {"type": "integer"}},
        "required": ["name"],
        "additionalProperties": False,
    },
    {"type": "string", "pattern": "^[a-c]{2,5}$"},
    {"type": "array", "items": {"enum": [1, 2, 3]}, "uniqueItems": True},
    None,
]
BEGINNINGS = ["the cat sat on the", '{"name": "a long prompt that many share', "", "a"]


def _asked(rng: random.Random) -> tuple:
    """A prompt, the index of a schema, and the most tokens."""
    prompt = rng.choice(BEGINNINGS) + " " + "".join(rng.choices("abc ", k=rng.randrange(1, 12)))
    return prompt, rng.randrange(len(SCHEMAS)), rng.randrange(1, 40)


def _options(asked: tuple) -> dict:
    _, schema, max_tokens = asked
    return {"schema": SCHEMAS[schema], "max_tokens": max_tokens, "temperature": 0,
            "whitespace": "compact"}  # fmt: skip


def run(count: int, distinct: int, seed: int, path: Path, device: str = "cpu") -> LLM:
    rng = random.Random(seed)
    every = [_asked(rng) for _ in range(distinct)]
    alone = LLM(path, device="cpu", max_batch_size=1, prefix_cache=False, max_length=72)
    expected = {asked: alone.generate(asked[0], **_options(asked))[0] for asked in every}
    alone.close()
    for asked, output in expected.items():
        assert output.error is None
        if output.finish_reason == "stop" and SCHEMAS[asked[1]] is not None:
            Draft202012Validator(SCHEMAS[asked[1]]).validate(json.loads(output.text))
    llm = LLM(
        path, device=device, dtype="float32", max_batch_size=6, page_size=4, kv_tokens=72,
        max_step_tokens=24, admission="aggressive", verify=True,
    )  # fmt: skip
    running = []
    for _ in range(count):
        asked = rng.choice(every)
        [request] = llm.read(asked[0], **_options(asked), priority=rng.randrange(3))
        [handle] = llm.submit([request])
        running.append((asked, handle))
        if rng.random() < 0.1:
            rng.choice(running)[1].cancel()
        if rng.random() < 0.02:
            time.sleep(rng.random() * 0.05)
    for asked, handle in running:
        if not handle.sequence.cancelled:
            _compare(handle.result(), expected[asked])
    while llm.metrics().running or llm.metrics().waiting:
        time.sleep(0.001)
    scheduler = llm._engine.scheduler
    scheduler.verify()
    # What nobody uses any more can be had again, all of it.
    assert scheduler.prefix.evict(scheduler.pool.n_pages - 1) >= 0
    assert scheduler.pool.n_free == scheduler.pool.n_pages - 1
    metrics = llm.metrics()
    assert metrics.finished + metrics.cancelled == count
    assert metrics.failed == 0
    assert metrics.preemptions > count // 20
    assert metrics.prefix_hits > 0
    assert metrics.cancelled > 0
    llm.close()
    return llm


def _compare(found: Output, expected: Output) -> None:
    assert found.error is None
    assert (found.text, found.parsed) == (expected.text, expected.parsed)
    # The host sees at once that nothing but the end may follow; a device takes a step for it.
    n = len(expected.token_ids)
    assert found.token_ids[:n] == expected.token_ids
    assert found.token_ids[n:] in ((), (1,))
    assert found.finish_reason == expected.finish_reason or len(found.token_ids) > n


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return save_tiny_model(tmp_path)


def test_many_requests(path):
    run(400, 80, 0, path)


@pytest.mark.slow
def test_thousands_of_requests(path):
    print(run(5000, 500, 1, path).metrics())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_thousands_of_requests_on_a_gpu(path):
    print(run(5000, 500, 2, path, "cuda").metrics())
