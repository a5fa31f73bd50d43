"""Which checkpoints load natively, to which weights, and what is said of those that do not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from engine.packed import (
    DEVICE,
    SHAPE,
    STEPS,
    make_config,
    make_model,
    plain_torch,  # noqa: F401 (a fixture)
    run,
    texts,
)
from safetensors.torch import load_file, save_file
from shared_data import shared_data
from transformers import AutoConfig, AutoModelForCausalLM, LlamaForSequenceClassification

from structgen.engine.models import (
    LayerShape,
    from_transformers,
    load_native,
    native_supported,
    random_native,
)
from structgen.errors import StructgenError


def save(network: Any, path: Path, shard: str = "5GB") -> Any:
    network.save_pretrained(path, max_shard_size=shard)
    return AutoConfig.from_pretrained(path)


def load(path: Path, config: Any, **options: Any) -> Any:
    return load_native(path, config, **{"device": DEVICE, "dtype": torch.float32, **options})


@pytest.mark.usefixtures("plain_torch")
@pytest.mark.parametrize("shard", ["5GB", "20KB"])
@pytest.mark.parametrize("case", ["llama, tied", "qwen2", "qwen3, biases and windows"])
def test_a_saved_checkpoint(tmp_path, case, shard):
    network = make_model(case)
    config = save(network, tmp_path, shard)
    assert (len(list(tmp_path.glob("*.safetensors"))) > 1) == (shard != "5GB")
    calls: list[tuple[int, int]] = []
    model = load(tmp_path, config, progress=lambda done, total: calls.append((done, total)))
    total = len(network.state_dict()) - config.tie_word_embeddings
    assert calls == [(n, total) for n in range(1, total + 1)]
    ids = texts(config.vocab_size)
    expected = run(from_transformers(network), ids, STEPS)
    torch.testing.assert_close(run(model, ids, STEPS), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("plain_torch")
def test_a_head_of_its_own_is_not_tied(tmp_path):
    """Some checkpoints are saved with both, and a configuration that ties them."""
    network = make_model("llama")
    config = save(network, tmp_path)
    config.tie_word_embeddings = True
    ids = texts(config.vocab_size)
    expected = run(from_transformers(network), ids, STEPS)
    found = run(load(tmp_path, config), ids, STEPS)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("plain_torch")
def test_real_weights():
    path = shared_data("models", "stories260K")
    config = AutoConfig.from_pretrained(path)
    network = AutoModelForCausalLM.from_pretrained(
        path, attn_implementation="eager", dtype=torch.float32
    ).to(DEVICE)
    ids = texts(config.vocab_size)
    for text, logits in zip(ids, run(load(path, config), ids, STEPS), strict=True):
        with torch.no_grad():
            expected = network(text[None]).logits[0]
        torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)


def test_a_dtype_of_choice(tmp_path):
    config = save(make_model("qwen2").to(torch.bfloat16), tmp_path)
    model = load(tmp_path, config, dtype=torch.float16)
    assert model.dtype == torch.float16
    assert model.layers == (LayerShape(2, 6, 6),) * 3
    with pytest.raises(StructgenError, match=r"float64 is none of torch.float32"):
        load(tmp_path, config, dtype=torch.float64)
    with pytest.raises(StructgenError, match="quantize='int4' is none of int8, fp8"):
        load(tmp_path, config, quantize="int4")


def test_memory_is_shared_where_nothing_is_fused():
    network = make_model("llama")
    model = from_transformers(network)
    before = model._embedding[3, 5].item()
    with torch.no_grad():
        network.model.embed_tokens.weight[3, 5] += 1
    assert model._embedding[3, 5].item() == pytest.approx(before + 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("model.norm.weight"), "model.norm.weight is missing"),
        (
            lambda t: t.update({"model.norm.weight": torch.ones(35)}),
            r"model.norm.weight has shape \[35\], not \[36\]",
        ),
        (
            lambda t: t.update({"model.layers.0.self_attn.q_proj.bias": torch.ones(36)}),
            "model.layers.0.self_attn.q_proj.bias is no tensor of such a model",
        ),
        (
            lambda t: [t.pop(name) for name in list(t) if "mlp" in name],
            r"mlp.gate_proj.weight is missing; .*, and 6 more",
        ),
        (
            lambda t: t.update(
                {"model.norm.weight": t["model.norm.weight"].to(torch.float8_e4m3fn)}
            ),
            "the checkpoint is quantised",
        ),
    ],
)
def test_what_does_not_fit(tmp_path, change, message):
    config = save(make_model("llama"), tmp_path)
    file = tmp_path / "model.safetensors"
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file)
    with pytest.raises(StructgenError, match=message):
        load(tmp_path, config)


def test_old_frequencies_are_ignored(tmp_path):
    config = save(make_model("llama"), tmp_path)
    file = tmp_path / "model.safetensors"
    name = "model.layers.0.self_attn.rotary_emb.inv_freq"
    save_file({**load_file(file), name: torch.ones(3)}, file)
    calls: list[tuple[int, int]] = []
    assert load(tmp_path, config, progress=lambda *counts: calls.append(counts)) is not None
    assert calls[-1][0] == calls[-1][1] == len(load_file(file)) - 1


def test_files_that_are_not_there(tmp_path):
    config = save(make_model("llama"), tmp_path, "20KB")
    index = tmp_path / "model.safetensors.index.json"
    shard = sorted(set(json.loads(index.read_text())["weight_map"].values()))[1]
    content = (tmp_path / shard).read_bytes()
    (tmp_path / shard).write_bytes(content[: len(content) // 2])
    with pytest.raises(StructgenError, match="cannot be read"):
        load(tmp_path, config)
    (tmp_path / shard).unlink()
    with pytest.raises(StructgenError, match=f"lacks {shard}"):
        load(tmp_path, config)
    index.write_text("[]")
    with pytest.raises(StructgenError, match=r"index .* cannot be read"):
        load(tmp_path, config)
    index.unlink()
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickled")
    assert load(tmp_path, config) is None


@pytest.mark.parametrize(
    ("family", "changes", "reason"),
    [
        ("gpt2", {}, "'gpt2' have no native implementation"),
        ("llama", {"hidden_act": "gelu"}, "the activation is 'gelu'"),
        ("llama", {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0}}, "'dynamic'"),
        ("llama", {"quantization_config": {"quant_method": "awq"}}, "quantised"),
        ("llama", {"architectures": ["LlamaForSequenceClassification"]}, "the architecture is"),
        ("qwen3", {"num_attention_heads": 5}, "5 query heads are not a multiple of 2"),
        (
            "qwen2",
            {"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}},
            "only 0.5 of each head",
        ),
    ],
)
def test_what_is_not_native(tmp_path, family, changes, reason):
    config = AutoConfig.for_model(family, **{**SHAPE, **changes})
    assert reason in (native_supported(config) or "")
    save(make_model("llama"), tmp_path)
    assert load(tmp_path, config) is None
    with pytest.raises(StructgenError, match="cannot run natively"):
        random_native(config, DEVICE, torch.float32, 0)


def test_other_models_of_the_family_are_refused():
    network = LlamaForSequenceClassification(make_config("llama", architectures=None))
    with pytest.raises(
        StructgenError, match=r"lm_head.weight is missing; score.weight is no tensor"
    ):
        from_transformers(network)


@pytest.mark.usefixtures("plain_torch")
def test_random_weights():
    config = make_config("qwen3")
    one, same, other = (random_native(config, DEVICE, torch.float32, seed) for seed in (1, 1, 2))
    ids = texts(config.vocab_size)
    a, b, c = (run(model, ids, STEPS)[0] for model in (one, same, other))
    assert torch.equal(a, b) and not torch.allclose(a, c)
    assert one._embedding.std().item() == pytest.approx(0.02, rel=0.1)


@pytest.mark.usefixtures("plain_torch")
@pytest.mark.parametrize(
    ("quantize", "most", "rounded"),
    [
        ("int8", 127, torch.round),
        ("fp8", 448, lambda w: w.to(torch.float8_e4m3fn).float()),
    ],
)
def test_quantised_logits_are_those_of_rounded_weights(tmp_path, quantize, most, rounded):
    network = make_model("qwen2")
    network.model.layers[1].mlp.up_proj.weight.data[2] = 0  # a row without a scale
    config = save(network, tmp_path)
    model = load(tmp_path, config, quantize=quantize)
    ids = texts(config.vocab_size)
    exact = run(from_transformers(network), ids, STEPS)
    for name, weight in network.named_parameters():
        if "_proj.weight" in name:
            scale = weight.data.abs().amax(1, keepdim=True) / most
            weight.data = (rounded(weight.data / scale) * scale).nan_to_num()
    expected = run(from_transformers(network), ids, STEPS)
    found = run(model, ids, STEPS)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(found[0], exact[0], atol=1e-2)
