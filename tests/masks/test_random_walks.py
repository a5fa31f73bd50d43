"""Random walks over real vocabularies: mask, accept and byte-by-byte simulation are one.

The reference is stepping a token's bytes through a copy, one byte a call, in a trie that the test
builds itself; and ``jsonschema`` for every finished text.
"""

from __future__ import annotations

import json
import random
import re
from typing import Any

import numpy as np
import pytest
from differential.oracle import read_json, validator
from masks.schemas import SCHEMAS
from masks.walks import (
    TOKENIZERS,
    Words,
    finish,
    mask_of,
    sampled_schemas,
    verify_rows,
    words,
)

import structgen as sg

# Above so many allowed tokens a search over all of them takes seconds in interpreted Python.
MANY = 4000


def check_all_tokens(w: Words, matcher: sg.Matcher, bits: np.ndarray) -> None:
    """Every bit of the mask is what single bytes, and the end of the text, say."""
    expected = w.allowed(matcher)
    if matcher.is_accepting():
        expected |= set(w.eos)
    found = set(np.flatnonzero(bits).tolist())
    assert found == expected, (
        f"wrongly allowed {[(i, w.pieces[i]) for i in sorted(found - expected)[:5]]}, "
        f"wrongly forbidden {[(i, w.pieces[i]) for i in sorted(expected - found)[:5]]}"
    )


def check_some_tokens(
    w: Words, matcher: sg.Matcher, bits: np.ndarray, rng: random.Random, n: int
) -> None:
    """Bits of allowed and forbidden tokens against whole-token accepts on fresh copies."""
    allowed = np.flatnonzero(bits).tolist()
    forbidden = np.flatnonzero(~bits).tolist()
    sample = rng.sample(allowed, min(n, len(allowed)))
    sample += rng.sample(forbidden, min(n, len(forbidden)))
    for token in sample:
        piece = w.pieces[token]
        twin = matcher.copy()
        assert twin.accept_token(token) == bits[token], (token, piece)
        if piece is not None:
            spelled = matcher.copy()
            assert spelled.accept_bytes(piece) == bits[token], (token, piece)
            if bits[token]:
                assert twin.is_accepting() == spelled.is_accepting()
        elif token in w.eos:
            assert bits[token] == matcher.is_accepting()
        else:
            assert not bits[token], f"symbol {token} is allowed"


def pick(w: Words, bits: np.ndarray, rng: random.Random) -> int:
    """A token: any, or one that does something other than to go on inside a string."""
    allowed = np.flatnonzero(bits)
    token = int(rng.choice(allowed))
    if rng.random() < 0.6:
        for _ in range(20):
            piece = w.pieces[token] or b""
            if any(b in b'"{}[],:' for b in piece):
                break
            token = int(rng.choice(allowed))
    return token


def walk(
    w: Words,
    schema: Any,
    rng: random.Random,
    *,
    steps: int,
    full: int,
    some: int,
    every: bool = False,
    **options: Any,
) -> bytes | None:
    """One walk; the finished text, or None where none was reached in time.

    ``full`` of the steps check all tokens (where many are allowed, only with ``every``), the
    others ``some`` allowed and ``some`` forbidden ones. ``options`` are the compiler's.
    """
    grammar = w.compiler.compile_json_schema(schema, **options)
    matcher = grammar.matcher()
    text = b""
    complete = set(rng.sample(range(steps), min(full, steps))) | {0}
    for step in range(steps):
        bits = mask_of(matcher, len(w.vocabulary))
        assert bits.any(), f"dead end after {text!r}"
        assert all(bool(bits[e]) == matcher.is_accepting() for e in w.eos)
        if step in complete and (every or bits.sum() < MANY):
            check_all_tokens(w, matcher, bits)
        check_some_tokens(w, matcher, bits, rng, some)
        token = pick(w, bits, rng)
        assert matcher.accept_token(token)
        if token in w.eos:
            assert matcher.is_terminated() and not mask_of(matcher, len(w.vocabulary)).any()
            verify_rows(grammar)
            return text
        text += w.pieces[token] or b""
    rest = finish(w, matcher, rng)
    verify_rows(grammar)
    if rest is None:
        return None
    bits = mask_of(matcher, len(w.vocabulary))
    assert all(bits[e] for e in w.eos)
    assert matcher.accept_token(w.eos[0])
    return text + rest


def check_text(schema: Any, text: bytes | None) -> None:
    if text is not None:
        error = next(validator(schema).iter_errors(read_json(text)), None)
        assert error is None, f"{text!r}: {error.message}"


@pytest.mark.parametrize("name", list(SCHEMAS))
def test_hard_schemas_byte_by_byte(name: str) -> None:
    w, rng = words("bytes"), random.Random(name)
    texts = [walk(w, SCHEMAS[name], rng, steps=40, full=30, some=6) for _ in range(3)]
    assert any(text is not None for text in texts)
    for text in texts:
        check_text(SCHEMAS[name], text)


@pytest.mark.parametrize("name", list(SCHEMAS))
@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_hard_schemas(tokenizer: str, name: str) -> None:
    w, rng = words(tokenizer), random.Random(name)
    text = walk(w, SCHEMAS[name], rng, steps=14, full=5, some=20)
    check_text(SCHEMAS[name], text)


@pytest.mark.parametrize("name", list(SCHEMAS))
@pytest.mark.parametrize("tokenizer", ["bytes", "llama2"])
def test_minimal_escapes(tokenizer: str, name: str) -> None:
    w, rng = words(tokenizer), random.Random(name)
    steps, full = (40, 20) if tokenizer == "bytes" else (14, 4)
    text = walk(w, SCHEMAS[name], rng, steps=steps, full=full, some=6, escapes="minimal")
    check_text(SCHEMAS[name], text)
    for literal in re.findall(r'"(?:[^"\\]|\\.)*"', (text or b"").decode()):
        assert json.dumps(json.loads(literal), ensure_ascii=False) == literal


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_all_tokens_inside_strings(tokenizer: str) -> None:
    w = words(tokenizer)
    schema = {"type": "array", "items": {"type": "object", "properties": {"a": {"maxLength": 9}}}}
    matcher = w.compiler.compile_json_schema(schema).matcher()
    assert matcher.accept_bytes(b'[{"a":"12345')
    check_all_tokens(w, matcher, mask_of(matcher, len(w.vocabulary)))


@pytest.mark.parametrize("tokenizer", ["bytes", *TOKENIZERS])
def test_real_schemas(tokenizer: str) -> None:
    w, rng = words(tokenizer), random.Random(tokenizer)
    walked = refused = finished = 0
    for row in sampled_schemas(10, rng.randrange(10**6)):
        try:
            text = walk(w, row["schema"], rng, steps=20, full=6, some=10)
        except (sg.SchemaError, sg.LimitExceeded) as error:
            assert "no value" not in str(error) or not any(t["valid"] for t in row["tests"]), error
            refused += 1
            continue
        walked += 1
        finished += text is not None
        check_text(row["schema"], text)
    print(f"{tokenizer}: {walked} walked, {finished} finished, {refused} refused")
    assert walked > refused and finished > walked / 2


@pytest.mark.slow
@pytest.mark.parametrize("tokenizer", ["bytes", *TOKENIZERS])
def test_many_real_schemas(tokenizer: str) -> None:
    w, rng = words(tokenizer), random.Random(tokenizer)
    for row in sampled_schemas(300, rng.randrange(10**6)):
        try:
            text = walk(w, row["schema"], rng, steps=60, full=20, some=40, every=True)
        except (sg.SchemaError, sg.LimitExceeded):
            continue
        check_text(row["schema"], text)
