"""What transformers' own code says, whatever a model's layers are and however its texts are cut.

Prompts are computed in chunks, in ragged batches, on pages that other texts left behind; sequences
make room for others and go on later. None of it may change a token.
"""

from __future__ import annotations

import pytest
import torch
from tiny_model import MODEL_TOKENS, tiny_tokenizer
from transformers import AutoConfig, AutoModelForCausalLM

from structgen.engine import LLM, SamplingParams
from structgen.engine.models import from_transformers, native_supported
from structgen.errors import StructgenError

SHAPE = {
    "vocab_size": MODEL_TOKENS,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 256,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 2,
    "initializer_range": 0.3,
}
EXPERTS = {
    "num_local_experts": 4,
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
}
DEEPSEEK = {
    "q_lora_rank": 16, "kv_lora_rank": 16, "qk_nope_head_dim": 8, "qk_rope_head_dim": 4,
    "v_head_dim": 6, "head_dim": 4, "n_routed_experts": 4, "num_experts_per_tok": 2,
    "n_group": 2, "topk_group": 1, "moe_intermediate_size": 16, "first_k_dense_replace": 1,
    "num_key_value_heads": 4,
}  # fmt: skip
SLIDING = {"sliding_window": 8}  # shorter than the texts
MODELS = {
    "llama": {},
    "mistral": SLIDING,
    "qwen2": {},
    "qwen3": {},
    "gemma2": {**SLIDING, "query_pre_attn_scalar": 8},
    "gemma3_text": {**SLIDING, "query_pre_attn_scalar": 8},
    "phi3": {},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256},  # learned positions
    "gpt_neox": {},
    "olmo": {},
    "olmo2": {},
    "mixtral": EXPERTS,
    "qwen3_moe": EXPERTS,
    "gpt_oss": {**EXPERTS, **SLIDING},  # attention sinks
    "deepseek_v2": {**DEEPSEEK, "topk_method": "greedy"},
    "deepseek_v3": DEEPSEEK,
    "granite": {},
    "cohere2": SLIDING,
    "starcoder2": SLIDING,
    "stablelm": {},
}
PREFIX = '{"name": "the cat sat'
PROMPTS = ["the cat", "a", PREFIX + " on a long prompt", "sat", PREFIX + " down", "é", PREFIX]
LENGTHS = [30, 11, 23, 5, 17, 40, 9]


def network(name: str):
    torch.manual_seed(1)
    config = AutoConfig.for_model(name, **{**SHAPE, **MODELS[name]})
    config._attn_implementation = "eager"
    return AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()


def greedy(model, prompt: str, length: int) -> list[int]:
    padding = list(range(len(tiny_tokenizer()), MODEL_TOKENS))
    ids = tiny_tokenizer()(prompt, return_tensors="pt").input_ids
    out = model.generate(ids, max_new_tokens=length, do_sample=False, suppress_tokens=padding)
    return out[0, ids.shape[1] :].tolist()


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_greedy_equals_transformers(name, native):
    model = network(name)
    if native and native_supported(model.config) is not None:
        with pytest.raises(StructgenError, match="cannot run natively"):
            LLM(model, tokenizer=tiny_tokenizer(), native=True)
        return
    expected = [greedy(model, *pair) for pair in zip(PROMPTS, LENGTHS, strict=True)]
    llm = LLM(
        model, tokenizer=tiny_tokenizer(), native=native, max_batch_size=3, page_size=4,
        max_step_tokens=8, kv_tokens=60, admission="aggressive", verify=True,
    )  # fmt: skip
    requests = [
        llm.prepare(prompt, SamplingParams(temperature=0, max_tokens=length))[0]
        for prompt, length in zip(PROMPTS, LENGTHS, strict=True)
    ]
    handles = llm.submit(requests)
    assert [list(handle.result().token_ids) for handle in handles] == expected
    again = llm.submit(requests)
    assert [list(handle.result().token_ids) for handle in again] == expected
    metrics = llm.metrics()
    assert metrics.preemptions > 0
    assert metrics.prefix_hits > 0
    llm.close()


@pytest.mark.parametrize("name", ["llama", "qwen2", "qwen3", "mistral"])
def test_the_native_models_are_these(name):
    assert native_supported(network(name).config) is None
    assert from_transformers(network(name)).vocab_size == MODEL_TOKENS


@pytest.mark.parametrize(
    ("name", "shape", "reason"),
    [
        ("bloom", {"n_layer": 2, "n_head": 4}, "0 of its 2 layers attend through"),
        ("mamba", {"state_size": 4}, "keeps a recurrent state"),
    ],
)
def test_others_are_refused(name, shape, reason):
    config = AutoConfig.for_model(name, **{**SHAPE, **shape})
    model = AutoModelForCausalLM.from_config(config).eval()
    with pytest.raises(StructgenError, match=reason):
        LLM(model, tokenizer=tiny_tokenizer())
