"""Trained weights: tokens and log-probabilities are those of transformers' eager attention."""

from __future__ import annotations

import pytest
import torch
from shared_data import shared_data
from transformers import AutoModelForCausalLM

from structgen.engine import LLM
from structgen.engine.loading import demo_path

PROMPTS = ["Once upon a time", "Once upon a time there was a little dog", "Ann is 31.", "The"]


def checkpoint(name: str):
    return demo_path() if name == "demo" else shared_data("models", "stories260K")


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("name", ["demo", "stories260K"])
def test_tokens_and_logprobs_equal_transformers(name, native):
    path = checkpoint(name)
    llm = LLM(path, device="cpu", native=native, max_batch_size=2, max_step_tokens=8, page_size=4)
    outputs = llm.generate(PROMPTS, temperature=0, max_tokens=40, logprobs=3, ignore_eos=True)
    model = AutoModelForCausalLM.from_pretrained(path, attn_implementation="eager").float().eval()
    for prompt, output in zip(PROMPTS, outputs, strict=True):
        assert len(output.token_ids) == 40
        ids = llm.tokenizer(prompt)["input_ids"]
        with torch.inference_mode():
            logits = model(torch.tensor([[*ids, *output.token_ids]])).logits[0, len(ids) - 1 : -1]
        logits = logits[:, : len(llm.vocabulary)]
        assert logits.argmax(1).tolist() == list(output.token_ids)
        expected = logits.log_softmax(1)
        for row, entry in zip(expected, output.logprobs, strict=True):
            assert abs(row[entry.token_id].item() - entry.logprob) < 1e-3
            for token, value in entry.top:
                assert abs(row[token].item() - value) < 1e-3
            assert [value for _, value in entry.top] == sorted(
                (value for _, value in entry.top), reverse=True
            )
    llm.close()
