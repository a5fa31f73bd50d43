"""On a GPU: tokens are those of the CPU, with graphs and without, whatever the constraint."""

from __future__ import annotations

import pytest
import torch
from engine.test_architectures import MODELS, SHAPE
from tiny_model import save_tiny_model
from transformers import AutoConfig, AutoModelForCausalLM

from structgen.engine import LLM

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]

PROMPTS = ["the cat", "a", '{"name": "a long prompt', "sat", "é"] * 3
SCHEMAS = [
    None,
    {"type": "array", "items": {"type": "number"}},
    {"enum": ["red", "grün", 3.5]},
    {"type": "object"},
    {"type": "array", "uniqueItems": True, "maxItems": 3},
] * 3


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("graphs", [True, False])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_gpu_says_what_the_cpu_says(path, native, graphs, temperature):
    options = {"schema": SCHEMAS, "temperature": temperature, "seed": 5, "max_tokens": 60,
               "whitespace": "compact", "logprobs": 2}  # fmt: skip
    host = LLM(path, device="cpu")
    expected = host.generate(PROMPTS, **options)
    llm = LLM(
        path, device="cuda", dtype="float32", native=native, graphs=graphs, max_batch_size=5,
        page_size=4, kv_tokens=200, max_step_tokens=16, verify=True,
    )  # fmt: skip
    found = llm.generate(PROMPTS, **options)
    same = 0
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.error is None
        n = len(theirs.token_ids)
        same += ours.token_ids[:n] == theirs.token_ids
    # Sums are in another order there: a draw may fall on the other side of a bound.
    assert same >= len(PROMPTS) - 2 * (temperature > 0)
    captured = llm._engine._runner._graphs
    assert (captured is not None and all(captured._graphs.values())) == graphs
    host.close()
    llm.close()


@pytest.mark.parametrize("name", ["gemma2", "gpt_oss", "deepseek_v3"])
def test_other_architectures(name, tmp_path, path):
    torch.manual_seed(1)
    config = AutoConfig.for_model(name, **{**SHAPE, **MODELS[name]})
    model = AutoModelForCausalLM.from_config(config).eval()
    model.save_pretrained(tmp_path)
    host = LLM(tmp_path, tokenizer=path, device="cpu")
    llm = LLM(tmp_path, tokenizer=path, device="cuda", dtype="float32", max_batch_size=4)
    options = {"temperature": 0, "max_tokens": 30}
    for ours, theirs in zip(
        llm.generate(PROMPTS, **options), host.generate(PROMPTS, **options), strict=True
    ):
        assert ours.token_ids == theirs.token_ids
    host.close()
    llm.close()
