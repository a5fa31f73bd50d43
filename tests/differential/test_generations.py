"""Generations with random logits under real schemas: every finished text is valid."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest
import torch
from differential.oracle import read_json, validator
from masks.walks import Words, finish, mask_of, sampled_schemas, words

import structgen as sg


def generate(
    w: Words, grammar: sg.CompiledGrammar, generator: torch.Generator, rng: random.Random, most: int
) -> bytes | None:
    """Sample under the mask; after ``most`` tokens, close. None where that took too long."""
    matcher, text = grammar.matcher(), b""
    mask = sg.allocate_bitmask(1, len(w.vocabulary))
    for _ in range(most):
        logits = torch.randn(1, len(w.vocabulary) + 64, generator=generator) * 3
        # A model likes some tokens better than others; so do these: what closes, ends.
        logits[0, list(w.eos)] += 6
        matcher.fill_bitmask(mask, 0)
        sg.apply_bitmask(logits, mask)
        token = int(logits.argmax())
        assert matcher.accept_token(token)
        if token in w.eos:
            assert matcher.is_terminated()
            return text
        text += w.pieces[token] or b""
    rest = finish(w, matcher, rng, 3000)
    return None if rest is None else text + rest


def run(tokenizer: str, n_schemas: int, per_schema: int, seed: int) -> Counter[str]:
    w, rng = words(tokenizer), random.Random(seed)
    generator = torch.Generator().manual_seed(seed)
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    for row in sampled_schemas(n_schemas, seed):
        schema = row["schema"]
        try:
            grammar = w.compiler.compile_json_schema(schema)
        except (sg.UnsupportedSchemaError, sg.LimitExceeded):
            counts["schemas refused"] += 1
            continue
        except sg.SchemaError as error:
            assert "no value satisfies" in str(error)
            assert not any(t["valid"] for t in row["tests"]), row["id"]
            counts["schemas of nothing"] += 1
            continue
        judge = validator(schema)
        counts["schemas"] += 1
        for _ in range(per_schema):
            text = generate(w, grammar, generator, rng, rng.choice([5, 20, 60]))
            if text is None:
                counts["unfinished"] += 1
                continue
            counts["finished"] += 1
            error = next(judge.iter_errors(read_json(text)), None)
            if error is not None:
                wrong.append(f"{row['id']}: {error.message[:200]}: {text[:300]!r}")
    print(tokenizer, dict(counts))
    assert not wrong, "\n".join(wrong)
    return counts


def test_generations() -> None:
    counts = run("llama2", 25, 5, 1)
    assert counts["finished"] > 80


@pytest.mark.slow
@pytest.mark.parametrize("tokenizer", ["llama3", "qwen3", "gpt2", "llama2"])
def test_many_generations(tokenizer: str) -> None:
    counts = run(tokenizer, 240, 10, 2)
    assert counts["finished"] > 1800
    assert np.isclose(counts["unfinished"], 0, atol=0.15 * counts["finished"])


def test_masks_allow_what_generations_need() -> None:
    """A mask is never empty before the end, whatever is sampled."""
    w = words("llama2")
    for row in sampled_schemas(8, 9):
        try:
            grammar = w.compiler.compile_json_schema(row["schema"])
        except (sg.UnsupportedSchemaError, sg.LimitExceeded):
            continue
        matcher, rng = grammar.matcher(), random.Random(row["id"])
        for _ in range(60):
            (allowed,) = np.nonzero(mask_of(matcher, len(w.vocabulary)))
            assert len(allowed)
            token = int(rng.choice(allowed))
            assert matcher.accept_token(token)
            if matcher.is_terminated():
                break
