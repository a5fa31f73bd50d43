"""``uniqueItems``: masks, accept and finished texts, with tokens that hold several items."""

from __future__ import annotations

import json
import random
from functools import cache
from itertools import product
from typing import Any

import numpy as np
import pytest
from differential.oracle import read_json, validator
from masks.walks import Words, finish, mask_of

import structgen as sg

# Pieces of arrays: items that end, and begin again, within one token.
PIECES = [
    '","', '", "', '"a","', '"a","a"', '"b"', '"a"]', '["a","a', '["a","b"', '",1', '""', '"",""',
    "1,", "1,1", "1,1,", "0,1", "1.0", "1.", ".0", "10", "0.0,", "-0", "1]", ",1,", "1,2", "e0",
    "true", "true,", "null,n", "false]", "[],", "[1],[1]", "],[", "]]", "[[1", "},{", '{"a":1}',
    '{"a":1},{"a":1}', '{"a":', '":1}', "\\u00", "61", "\\", " ", "  ", "\n", ", ", "a", "ab", "é",
]  # fmt: skip


@cache
def small() -> Words:
    singles: list[bytes | None] = [bytes([b]) for b in range(256)]
    pieces = list(dict.fromkeys(p.encode() for p in PIECES if len(p.encode()) > 1))
    end = 256 + len(pieces)
    return Words(sg.Vocabulary([*singles, *pieces, None], eos_token_ids=[end]))


def array(items: Any, **keywords: Any) -> dict[str, Any]:
    return {"type": "array", "items": items, "uniqueItems": True, **keywords}


LETTER = {"type": "string", "pattern": "^[ab]$"}
FEW = {"type": "integer", "minimum": 0, "maximum": 40}

SCHEMAS: dict[str, dict[str, Any]] = {
    "strings": array({"type": "string"}),
    "short strings": array({"type": "string", "maxLength": 2}, minItems=2),
    "numbers": array({"type": "number"}, minItems=1),
    "integers": array({"type": "integer"}),
    "few integers": array(FEW, minItems=3),
    "few integers and letters": array({"anyOf": [FEW, LETTER]}, maxItems=4),
    "scalars": array({"type": ["string", "integer", "null", "boolean"]}),
    "pattern": array({"type": "string", "pattern": "^a*b?$"}),
    "anything": array({}),
    "objects": array({"type": "object", "properties": {"a": {"enum": [1, 2]}},
                      "additionalProperties": False}),
    "objects of an enum": array({"enum": [{"a": 1}, {"a": 2}, [1], "a"]}),
    "finite": array({"enum": ["a", "b", 1, True]}, minItems=2),
    "finite in order": {"prefixItems": [{"enum": ["a", "b"]}, {"enum": ["a", 1]}, {"const": 1}],
                        "items": False, "minItems": 3, "type": "array", "uniqueItems": True},
    "nested": array(array({"type": "integer"}, maxItems=2)),
    "nested and few": array(array({"enum": [0, 1]})),
    "of letters": array(array(LETTER, minItems=1), minItems=1, maxItems=3),
    "contains": array({"type": "integer"}, contains={"const": 1}),
    "contains of few": array({"enum": [0, 1, 2, "a"]}, contains={"enum": [1, 2]}, minContains=2),
    "repeats": {"type": "array", "items": {"enum": [0, 1]}, "not": {"uniqueItems": True}},
    "in an object": {"properties": {"a": array({"type": "string"}), "b": array({})}},
    "or": {"anyOf": [array({"type": "string"}), {"type": "array", "items": {"type": "integer"}}]},
    "judged": {"type": "object", "minProperties": 1, "additionalProperties": False,
               "properties": {"a": array({"type": "object", "minProperties": 1,
                                          "properties": {"a": {"enum": [1, 2]}},
                                          "additionalProperties": False}, minItems=1)}},
    "exactly one": {"oneOf": [array({"enum": [0, 1, 2]}), array({"enum": [1, 2, 3]})]},
}  # fmt: skip


def walk(w: Words, schema: dict[str, Any], whitespace: str, seed: int, steps: int = 12) -> int:
    """A random walk that likes what was there before; returns the number of finished texts."""
    rng = random.Random(seed)
    grammar = w.compiler.compile_json_schema(schema, whitespace=whitespace)
    matcher, judge, text = grammar.matcher(), validator(schema), bytearray()
    for _ in range(steps):
        bits = mask_of(matcher, len(w.vocabulary))
        expected = w.allowed(matcher) | (set(w.eos) if matcher.is_accepting() else set())
        found = set(np.flatnonzero(bits).tolist())
        assert found == expected, (
            bytes(text),
            [w.pieces[i] for i in found - expected][:9],
            [w.pieces[i] for i in expected - found][:9],
        )
        assert found, f"dead end after {bytes(text)!r}"
        for token in rng.sample(range(len(bits)), 10):
            assert matcher.copy().accept_token(token) == bits[token]
        choices = sorted(found - set(w.eos))
        if not choices:
            break
        likely = [t for t in choices if (w.pieces[t] or b"") in bytes(text) or t >= 256]
        token = rng.choice(likely if likely and rng.random() < 0.7 else choices)
        undone = matcher.copy()
        assert matcher.accept_token(token)
        if rng.random() < 0.3:
            matcher.rollback(1)
            assert (mask_of(matcher, len(bits)) == bits).all()
            assert matcher.accept_token(token)
        assert undone.accept_bytes(w.pieces[token] or b"")
        text += w.pieces[token] or b""
    tail = finish(w, matcher, rng, 400)
    if tail is None:
        return 0
    assert judge.is_valid(read_json(bytes(text + tail))), bytes(text + tail)
    history = matcher.copy()
    assert matcher.accept_token(w.eos[0]) and matcher.is_terminated()
    assert not mask_of(matcher, len(w.vocabulary)).any()
    matcher.rollback(1)
    assert (mask_of(matcher, len(bits)) == mask_of(history, len(bits))).all()
    return 1


def test_forced_bytes() -> None:
    """What is forced once all other values were used, and nothing that the mask forbids."""
    schema = array({"type": "integer", "minimum": 10, "maximum": 50}, minItems=41)
    matcher = small().compiler.compile_json_schema(schema, whitespace="compact").matcher()
    assert matcher.accept_bytes(json.dumps([*range(10, 50), 0])[:-2].replace(" ", "").encode())
    assert matcher.forced_bytes() == b"50"
    assert matcher.accept_bytes(b"50]") and matcher.is_accepting()
    matcher.reset()
    assert matcher.accept_bytes(b"[10,11")
    twin = matcher.copy()
    assert not matcher.accept_bytes(b",10,")
    assert matcher.accept_bytes(b",12,") and twin.accept_bytes(b",12,13,")
    matcher.rollback(1)
    assert matcher.accept_bytes(b",13,12,") and not twin.accept_bytes(b"13,")


def test_without_the_keyword_nothing_is_tracked() -> None:
    for schema in ({"items": {"type": "string"}}, array({"enum": ["a", "b"]}), {"type": "array"}):
        assert small().compiler.compile_json_schema(schema).matcher()._unique is None


@pytest.mark.parametrize("name", SCHEMAS)
def test_walks(name: str) -> None:
    done = sum(
        walk(small(), SCHEMAS[name], whitespace, seed)
        for seed in range(3)
        for whitespace in ("compact", "flexible")
    )
    assert done > 2


VALUES = ["a", "b", "aa", "ab", "", 0, 1, 2, 1.0, 10, -0.0, True, None, [], [1], [0, 1], [[1]],
          {}, {"a": 1}, {"a": 2}, {"b": 1, "a": 1}, {"a": 1, "b": 1}, "é"]  # fmt: skip


def is_accepted(grammar: sg.CompiledGrammar, text: str) -> bool:
    matcher = grammar.matcher()
    return matcher.accept_bytes(text.encode()) and matcher.is_accepting()


@pytest.mark.parametrize("name", SCHEMAS)
def test_verdicts(name: str) -> None:
    """All arrays of up to three of a few values are judged as ``jsonschema`` judges them."""
    schema = SCHEMAS[name]
    grammar = small().compiler.compile_json_schema(schema)
    judge = validator(schema)
    rng = random.Random(name)
    arrays = [list(a) for n in range(3) for a in product(VALUES, repeat=n)]
    arrays += [rng.choices(VALUES, k=rng.choice((3, 3, 4, 5))) for _ in range(300)]
    arrays += [rng.sample(VALUES, 3) for _ in range(200)] + [[[0], [1], []], [["a"], ["b"]]]
    for value in arrays:
        whole = {"a": value} if name in ("in an object", "judged") else value
        text = json.dumps(whole, ensure_ascii=False)
        assert is_accepted(grammar, text) == judge.is_valid(read_json(text)), text
