"""A model and tokenizer small enough to build in a test: random weights, byte-level BPE."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

CONTEXT = 128
# Wider than the tokenizer, as real models are.
MODEL_TOKENS = 384

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


@cache
def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE of 320 tokens with ``<s>``, ``</s>`` and ``<pad>``; no chat template."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<s>", "</s>", "<pad>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    corpus = ['{"name": "a", "age": 1, "tags": ["x", "y"], "on": true, "off": null}', "the cat sat"]
    tokenizer.train_from_iterator(corpus * 20, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )


@cache
def tiny_model() -> LlamaForCausalLM:
    """Two layers of random weights, the same in every run."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=MODEL_TOKENS,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=2,
        # Random weights of the usual size give flat distributions, in which ties decide.
        initializer_range=0.4,
    )
    return LlamaForCausalLM(config).eval()


def save_tiny_model(path: Path) -> Path:
    """Write the model and its tokenizer to a directory, as a person would have them."""
    tiny_model().save_pretrained(path)
    tiny_tokenizer().save_pretrained(path)
    return path
