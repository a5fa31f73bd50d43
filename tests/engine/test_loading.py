"""Which models load, and what is said of those that do not."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_model import MODEL_TOKENS, save_tiny_model, tiny_model, tiny_tokenizer
from transformers import LlamaConfig, LlamaForCausalLM, MambaConfig, MambaForCausalLM

import structgen
from structgen.engine import LLM, default_llm
from structgen.errors import StructgenError

TINY = {
    "vocab_size": MODEL_TOKENS, "hidden_size": 32, "intermediate_size": 64,
    "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 64,
    "initializer_range": 0.4, "bos_token_id": 0, "eos_token_id": 1,
}  # fmt: skip


def test_a_directory(tmp_path):
    path = save_tiny_model(tmp_path / "tiny")
    llm = LLM(path)
    expected = LLM(tiny_model(), tokenizer=tiny_tokenizer())
    options = {"temperature": 0, "max_tokens": 10}
    assert llm.model_name == str(path)
    assert llm.generate("the cat", **options) == expected.generate("the cat", **options)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": "/no/such/place"}, "there is no model directory /no/such/place"),
        ({"model": "./no/such/place"}, "there is no model directory ./no/such/place"),
        ({"model": "not a hub id!"}, "cannot load the model 'not a hub id!'"),
        ({"model": tiny_model()}, "needs its tokenizer"),
        (
            {"model": tiny_model(), "tokenizer": tiny_tokenizer(), "device": "cpu"},
            "device= and dtype= are for models that are loaded by name",
        ),
        ({"device": "nonsense"}, "device nonsense cannot be used"),
        ({"dtype": "float17", "device": "cpu"}, "'float17' is not a torch dtype"),
        ({"max_batch_size": 0}, "max_batch_size must be 1 or more"),
        ({"page_size": 3}, "page_size must be a power of two"),
        ({"admission": "lucky"}, "admission must be"),
        ({"max_length": 1}, "max_length must be 2 or more"),
        ({"quantize": "int3", "device": "cpu"}, "quantize='int3' is none of"),
    ],
)
def test_what_does_not_load(arguments, message):
    with pytest.raises(StructgenError) as caught:
        LLM(**arguments)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_damaged_directory(tmp_path):
    path = save_tiny_model(tmp_path)
    (path / "model.safetensors").write_bytes(b"not a checkpoint")
    with pytest.raises(StructgenError, match=r"safetensors file of .* cannot be read"):
        LLM(path)


@pytest.mark.parametrize("native", [True, False])
def test_a_checkpoint_that_lacks_a_tensor(tmp_path, native):
    path = save_tiny_model(tmp_path)
    tensors = load_file(path / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, path / "model.safetensors", {"format": "pt"})
    with pytest.raises(StructgenError, match=r"layers\.1\.mlp\.up_proj\.weight"):
        LLM(path, device="cpu", native=native)


def test_a_tied_checkpoint_lacks_nothing(tmp_path):
    torch.manual_seed(0)
    network = LlamaForCausalLM(LlamaConfig(**TINY, tie_word_embeddings=True))
    network.save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    texts = {
        LLM(tmp_path, device="cpu", native=native).generate("a", temperature=0)[0].text
        for native in (True, False)
    }
    assert len(texts) == 1


def test_weights_in_eight_bits_need_the_native_model(tmp_path):
    path = save_tiny_model(tmp_path)
    with pytest.raises(StructgenError, match="native=False forbids it"):
        LLM(path, device="cpu", native=False, quantize="int8")


def test_what_a_generation_config_says_wrongly_is_left_out(tmp_path, caplog):
    path = save_tiny_model(tmp_path)
    config = {"do_sample": True, "temperature": 0.5, "top_p": 2.0, "top_k": 5, "min_p": "x"}
    (path / "generation_config.json").write_text(json.dumps(config))
    sampling = LLM(path, device="cpu").sampling()
    assert (sampling.temperature, sampling.top_k) == (0.5, 5)
    assert (sampling.top_p, sampling.min_p) == (1.0, 0.0)
    assert "top_p" in caplog.text


def test_a_recurrent_model_is_refused():
    config = MambaConfig(vocab_size=384, hidden_size=16, num_hidden_layers=1, state_size=4)
    with pytest.raises(StructgenError, match="keeps a recurrent state"):
        LLM(MambaForCausalLM(config), tokenizer=tiny_tokenizer())


def test_settings_that_do_not_exist():
    with pytest.raises(TypeError, match="page_sise"):
        LLM(page_sise=16)


def test_the_default_model_is_shared_and_needs_no_network(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert default_llm() is default_llm()
    [output] = structgen.generate("Ann is 31 years old.", choice=["yes", "no"], seed=0)
    assert output.parsed in ("yes", "no")
    assert output.finish_reason == "stop"
