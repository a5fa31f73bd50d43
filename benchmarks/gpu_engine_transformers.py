"""The same weights under transformers' own continuous batching."""

from __future__ import annotations

import inspect
import math
import time
import traceback
from typing import Any

import common
import torch
from common import figure
from gpu_engine_recording import Sizes, random_prompts
from transformers import AutoModelForCausalLM, GenerationConfig

from structgen.engine.models.llama import LlamaModel

LAST_SEED = 12  # of the prompts that transformers gets too


def transformers_model(native: LlamaModel, config: Any) -> Any:
    """A model of transformers on the memory of a native one of the Llama shape."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(
            config, attn_implementation="sdpa", dtype=native.dtype
        )
    shape = native.shape
    q, kv = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    state = {
        "model.embed_tokens.weight": native._embedding,
        "model.norm.weight": native._final_norm,
        "lm_head.weight": native._head,
    }
    for i, layer in enumerate(native._layers):
        at = f"model.layers.{i}."
        parts: Any = [
            ("self_attn", "qkv", layer.qkv, [q, kv, kv]),
            ("self_attn", "o", layer.output, [shape.hidden]),
            ("mlp", ("gate", "up"), layer.gate_up, [shape.intermediate] * 2),
            ("mlp", ("down",), layer.down, [shape.hidden]),
        ]
        for block, names, projection, lengths in parts:
            for name, part in zip(names, projection.weight.split(lengths), strict=True):
                state[f"{at}{block}.{name}_proj.weight"] = part
        state[f"{at}input_layernorm.weight"] = layer.input_norm
        state[f"{at}post_attention_layernorm.weight"] = layer.mlp_norm
    model.load_state_dict(state, assign=True)
    # Its frequencies are no parameters.
    model.model.rotary_emb = type(model.model.rotary_emb)(config).to(native.device)
    return model.eval().requires_grad_(False)


def transformers_throughput(
    native: LlamaModel, config: Any, ours: dict[str, Any], sizes: Sizes
) -> dict[str, Any]:
    """Tokens a second of transformers' own continuous batching, or of ``generate`` without it."""
    model = transformers_model(native, config)
    n_ids = ours.get("ids", config.vocab_size)
    options: dict[str, Any] = {"max_new_tokens": sizes.output, "do_sample": False,
                               "eos_token_id": -1, "pad_token_id": 0}  # fmt: skip
    wanted = sizes.output * sizes.requests
    tokens: list[list[int]] = []

    def batched(prompts: list[list[int]]) -> list[list[int]]:
        # A manager that is kept has its graphs the second time.
        keep = {"persistent_manager"} & inspect.signature(model.generate_batch).parameters.keys()
        found = model.generate_batch(
            inputs=prompts,
            generation_config=GenerationConfig(**options),
            **dict.fromkeys(keep, True),
        )
        return [one.generated_tokens for one in found.values()]

    @torch.inference_mode()
    def padded(prompts: list[list[int]]) -> list[list[int]]:
        settings = GenerationConfig(**options, cache_implementation="static", disable_compile=True)
        ids = torch.tensor(prompts, device=native.device)
        found = model.generate(ids, attention_mask=torch.ones_like(ids), generation_config=settings)
        return found[:, ids.shape[1] :].tolist()

    rows, rate = [], math.nan
    for name, call in (("generate_batch", batched), ("generate, static cache", padded)):
        try:
            rates = []
            for seed in (LAST_SEED - 1, LAST_SEED):  # the first run captures graphs
                prompts = random_prompts(n_ids, sizes.requests, sizes.prompt, seed)
                begun = time.perf_counter()
                tokens = call(prompts)
                rates.append(wanted / (time.perf_counter() - begun))
                if sum(map(len, tokens)) != wanted:
                    raise RuntimeError(f"{sum(map(len, tokens))} of {wanted} tokens came")
        except Exception as error:
            traceback.print_exc()
            rows.append([name, f"{type(error).__name__}: {error}"[:200], "", "", ""])
            continue
        rate = rates[1]
        known = ours.get("first tokens", [])
        same = sum(ours_one == one[0] for ours_one, one in zip(known, tokens, strict=False))
        rows.append([
            name, ", ".join(map(figure, rates)), figure(ours.get("free", math.nan) / rate),
            figure(ours.get("constrained", math.nan) / rate), f"{same} of {sizes.requests}",
        ])  # fmt: skip
        break
    print("throughput of transformers, and how many times as much ours is (aim: 15)")
    head = "|tokens/s, first and second run|ours/second|constrained/second|same first token"
    common.print_table(head.split("|"), rows)
    return {"tokens_per_second": rate, "ratio": ours.get("free", math.nan) / rate, "rows": rows}
