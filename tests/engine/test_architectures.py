"""Left padding, joining and leaving rows must not change what a model says, whatever its layers."""

from __future__ import annotations

import pytest
import torch
from tiny_model import MODEL_TOKENS, tiny_tokenizer
from transformers import AutoConfig, AutoModelForCausalLM

from structgen.engine import LLM, SamplingParams

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
MODELS = {
    "llama": {},
    "qwen3": {},
    "mistral": {"sliding_window": 8},  # shorter than the texts
    "gemma2": {"sliding_window": 8, "query_pre_attn_scalar": 8},
    "gpt_neox": {},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256},  # learned positions
    "bloom": {"n_layer": 2, "n_head": 4},  # no position ids: ALiBi from the attention mask
}
PROMPTS = ["the cat", "a", '{"name": "a long prompt, so that others are padded"', "sat", "é"]


@pytest.mark.parametrize("name", MODELS)
def test_greedy_equals_transformers(name):
    torch.manual_seed(1)
    config = AutoConfig.for_model(name, **{**SHAPE, **MODELS[name]})
    model = AutoModelForCausalLM.from_config(config).eval()
    # Two rows for five prompts of different lengths: rows join a batch that is under way.
    llm = LLM(model, tokenizer=tiny_tokenizer(), max_batch_size=2)
    lengths = [30, 11, 23, 5, 17]
    handles = llm.submit(
        [
            llm.prepare(prompt, SamplingParams(temperature=0, max_tokens=length))[0]
            for prompt, length in zip(PROMPTS, lengths, strict=True)
        ]
    )
    padding = list(range(len(tiny_tokenizer()), MODEL_TOKENS))
    for prompt, length, handle in zip(PROMPTS, lengths, handles, strict=True):
        ids = tiny_tokenizer()(prompt, return_tensors="pt").input_ids
        out = model.generate(ids, max_new_tokens=length, do_sample=False, suppress_tokens=padding)
        assert list(handle.result().token_ids) == out[0, ids.shape[1] :].tolist()
    llm.close()
