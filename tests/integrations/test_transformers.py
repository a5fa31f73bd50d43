"""transformers' ``generate`` under constraints."""

from __future__ import annotations

import json

import pytest
import torch
from tiny_model import tiny_model, tiny_tokenizer

import structgen as sg
from structgen.integrations.transformers import ConstraintProcessor

SCHEMA = {
    "type": "object",
    "properties": {"name": {"enum": ["a", "cat"]}, "on": {"type": "boolean"}},
    "required": ["name", "on"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def compiler() -> sg.Compiler:
    return sg.Compiler(sg.Vocabulary.from_huggingface(tiny_tokenizer()))


@pytest.mark.parametrize("sample", [False, True])
def test_every_row_obeys_its_grammar(compiler: sg.Compiler, sample: bool) -> None:
    tokenizer, model = tiny_tokenizer(), tiny_model()
    grammars = [
        compiler.compile_json_schema(SCHEMA, whitespace="compact"),
        None,
        compiler.compile_regex("[0-9]{3}"),
    ]
    inputs = tokenizer(["the cat", "the cat", "the cat"], return_tensors="pt")
    torch.manual_seed(1)
    output = model.generate(
        inputs["input_ids"], attention_mask=inputs["attention_mask"], max_new_tokens=60,
        do_sample=sample, logits_processor=[ConstraintProcessor(grammars)],
    )  # fmt: skip
    start = inputs["input_ids"].shape[1]
    texts = tokenizer.batch_decode(output[:, start:], skip_special_tokens=True)
    value = json.loads(texts[0])
    assert value["name"] in ("a", "cat") and isinstance(value["on"], bool) and len(value) == 2
    assert len(texts[2]) == 3 and texts[2].isdigit()


def test_wrong_uses_are_told(compiler: sg.Compiler) -> None:
    grammar = compiler.compile_regex("a+")
    n = len(compiler.vocabulary)
    with pytest.raises(sg.StructgenError, match="2 grammars for a batch of 1"):
        ConstraintProcessor([grammar, grammar])(torch.zeros((1, 3)), torch.zeros((1, n)))
    with pytest.raises(sg.StructgenError, match="scores 5 ids"):
        ConstraintProcessor(grammar)(torch.zeros((1, 3)), torch.zeros((1, 5)))
    processor = ConstraintProcessor(grammar)
    ids = torch.zeros((1, 3), dtype=torch.long)
    processor(ids, torch.zeros((1, n)))
    with pytest.raises(sg.StructgenError, match="beam search"):
        processor(torch.ones((1, 4), dtype=torch.long), torch.zeros((1, n)))
