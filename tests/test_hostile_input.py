"""What broke once, by hostile or unlucky input."""

from __future__ import annotations

import contextlib
import json
import time
from typing import Any

import numpy as np
import pytest

import structgen as sg


@pytest.fixture(scope="module")
def compiler() -> sg.Compiler:
    return sg.Compiler(sg.Vocabulary.byte_vocabulary())


def accepts(compiler: sg.Compiler, schema: Any, value: Any, **options: Any) -> bool:
    matcher = compiler.compile_json_schema(schema, **options).matcher()
    return matcher.accept_bytes(json.dumps(value).encode()) and matcher.is_accepting()


def test_closed_schemas_still_mean_what_they_say(compiler: sg.Compiler) -> None:
    forbids = {"properties": {"a": {}, "b": {}}, "not": {"required": ["a"]}, "type": "object"}
    either = {"properties": {"a": {}, "b": {}}, "anyOf": [{"required": ["a"]}, {"required": ["b"]}]}
    assert not accepts(compiler, forbids, {"a": 1, "b": 2}, additional_properties=False)
    assert accepts(compiler, forbids, {"b": 2}, additional_properties=False)
    assert accepts(compiler, either, {"b": 2}, additional_properties=False)
    assert not accepts(compiler, either, {"b": 2, "c": 3}, additional_properties=False)
    assert accepts(compiler, {"required": ["a"]}, {"a": 1}, additional_properties=False)


@pytest.mark.parametrize("row", [1.9, 0.5, "0", None])
def test_a_row_that_is_no_whole_number_is_refused(compiler: sg.Compiler, row: Any) -> None:
    matcher = compiler.compile_regex("[ab]+").matcher()
    buffer = np.zeros((4, 9), np.int32)
    with pytest.raises(sg.StructgenError):
        matcher.fill_bitmask(buffer[:2], row)
    assert not buffer.any()
    matcher.fill_bitmask(buffer, np.int32(3))
    assert buffer[3].any()


@pytest.mark.parametrize("token", [None, "a", 97.5])
def test_a_token_that_is_no_whole_number_is_refused(compiler: sg.Compiler, token: Any) -> None:
    with pytest.raises(sg.StructgenError):
        compiler.compile_regex("a").matcher().accept_token(token)


def test_tokens_of_any_size(compiler: sg.Compiler) -> None:
    matcher = compiler.compile_regex("a").matcher()
    assert not matcher.accept_token(2**70)
    assert not matcher.accept_token(-1)
    assert matcher.accept_token(np.int64(97))


def test_thousands_of_numbers(compiler: sg.Compiler) -> None:
    schema = {"enum": [7 * i for i in range(3000)] + [i / 8 for i in range(1, 1000, 2)]}
    assert accepts(compiler, schema, 7 * 2999)
    assert accepts(compiler, schema, 0.375)
    assert not accepts(compiler, schema, 8)
    assert not accepts(compiler, {"type": "integer", "not": schema}, 14)
    assert accepts(compiler, {"type": "integer", "not": schema}, 15)


@pytest.mark.parametrize("longest", [1000, 10**9])
def test_a_length_far_beyond_a_pattern(compiler: sg.Compiler, longest: int) -> None:
    schema = {"type": "string", "pattern": "^(abc)*$", "minLength": 9, "maxLength": longest}
    assert [accepts(compiler, schema, "abc" * k) for k in range(6)] == [False] * 3 + [True] * 3


def test_a_length_that_a_pattern_skips(compiler: sg.Compiler) -> None:
    schema = {"type": "string", "pattern": "^(ab)*$", "minLength": 9, "maxLength": 9}
    with pytest.raises(sg.SchemaError, match="no value"):
        compiler.compile_json_schema(schema)
    schema["maxLength"] = 10
    assert [accepts(compiler, schema, "ab" * k) for k in (4, 5, 6)] == [False, True, False]


@pytest.mark.parametrize(
    "schema",
    [
        {"const": "x" * 10**6},
        {"$id": "http://[::1", "properties": {"a": {"$ref": "x"}}},
        {"$ref": "#/allOf/" + "9" * 5000, "allOf": [True]},
    ],
    ids=["literal", "id", "pointer"],
)
def test_schemas_that_get_a_clear_error(compiler: sg.Compiler, schema: Any) -> None:
    with pytest.raises(sg.StructgenError):
        compiler.compile_json_schema(schema)


@pytest.mark.parametrize(
    "options",
    [{"whitespace": 3}, {"formats": ["a"]}, {"formats": {"q": 3}}, {"resources": [1]}, {"x": 1}],
    ids=str,
)
def test_options_of_the_wrong_kind(compiler: sg.Compiler, options: dict[str, Any]) -> None:
    with pytest.raises(sg.StructgenError):
        compiler.compile_json_schema({"type": "string"}, **options)


@pytest.mark.parametrize(
    "choices", ["abc", {"a": 1}, None, [], ["\ud800"], ["x" * 10**6]], ids=repr
)
def test_choices_that_are_none(compiler: sg.Compiler, choices: Any) -> None:
    with pytest.raises(sg.StructgenError):
        compiler.compile_choice(choices)


@pytest.mark.parametrize("pattern", [None, 3, b"a", ["a"]], ids=repr)
def test_patterns_that_are_no_text(compiler: sg.Compiler, pattern: Any) -> None:
    with pytest.raises(sg.StructgenError):
        compiler.compile_regex(pattern)


def test_deserializing_brackets(compiler: sg.Compiler) -> None:
    with pytest.raises(sg.StructgenError):
        sg.CompiledGrammar.deserialize(b"[" * 200_000, compiler.vocabulary)


@pytest.mark.parametrize("bounds", [(5, None), (0, 9), (2, 4), (300, None)], ids=str)
def test_tokens_that_close_a_counted_string_and_go_on(bounds: tuple[int, int | None]) -> None:
    texts = ['"}', '",', 'xxxx"}', 'x"', "xxxx", "x" * 9, 'é"}', 'x"}', '"']
    tokens = [bytes([b]) for b in range(256)] + [t.encode() for t in texts] + [None]
    vocabulary = sg.Vocabulary(tokens, eos_token_ids=[len(tokens) - 1])
    low, high = bounds
    field = {"type": "string", "minLength": low} | ({} if high is None else {"maxLength": high})
    schema = {"properties": {"a": field}, "required": ["a"], "additionalProperties": False}
    grammar = sg.Compiler(vocabulary).compile_json_schema(schema)
    mask = sg.allocate_bitmask(1, len(vocabulary))
    for length in [*range(12), low - 1, low, low + 1]:
        matcher = grammar.matcher()
        if length < 0 or not matcher.accept_bytes(b'{"a":"' + b"x" * length):
            continue
        matcher.fill_bitmask(mask)
        bits = np.unpackbits(mask.view(np.uint8), bitorder="little")
        for token in range(len(vocabulary)):
            assert bits[token] == matcher.copy().accept_token(token), (length, tokens[token])


def test_a_limit_reached_twice_says_the_same(compiler: sg.Compiler) -> None:
    parts = [
        {"type": "object", "properties": {"a": {"pattern": f"{c}.{{9}}{c}"}}, "required": ["a"]}
        for c in "abcdef"
    ]
    with pytest.raises(sg.LimitExceeded):
        compiler.compile_json_schema({"allOf": parts})  # what must hold at once is built at once
    matcher = compiler.compile_json_schema({"anyOf": parts}).matcher()
    mask = sg.allocate_bitmask(1, 257)
    matcher.accept_bytes(b"{")
    for _ in range(3):
        with pytest.raises(sg.LimitExceeded):
            matcher.fill_bitmask(mask)
            matcher.accept_bytes(b'"a":"')


DEEP = 100_000


@pytest.mark.parametrize(
    "schema",
    [
        {"pattern": "(" * DEEP + "a" + ")" * DEEP},
        {"pattern": "(?=" * DEEP + "a" + ")" * DEEP},
        {"pattern": "a|" * DEEP},
        {"pattern": "a?" * DEEP},
        {"pattern": "^" + "a{1,9}" * 3000 + "$"},
        {"pattern": "[" + "a-z" * DEEP + "]"},
        {"anyOf": [{"minLength": i, "maxLength": 2 * i} for i in range(5000)]},
        {"anyOf": [{"minimum": 20 * i, "maximum": 20 * i + 9} for i in range(1000)]},
        {"type": "string", "pattern": r"^\p{L}{1,5000}$"},
        {"anyOf": [{"pattern": f"^[a-y]+{i}$", "minLength": i, "maxLength": 20 + i}
                   for i in range(60)]},
    ],
    ids=["groups", "lookaheads", "alternatives", "options", "counts", "class", "lengths", "ranges",
         "letters", "patterns"],
)  # fmt: skip
def test_large_inputs_end_soon(compiler: sg.Compiler, schema: Any) -> None:
    started = time.process_time()
    with contextlib.suppress(sg.LimitExceeded, sg.SchemaError):
        compiler.compile_json_schema(schema)
    assert time.process_time() - started < 30


@pytest.mark.parametrize("depth", [200, 450])
@pytest.mark.parametrize("keywords", [("anyOf",), ("allOf", "anyOf"), ("oneOf", "not"), ("not",)])
def test_nothing_recurses_on_nested_combinations(
    compiler: sg.Compiler, keywords: tuple[str, ...], depth: int
) -> None:
    for leaf in ({"minLength": 2}, {"minimum": 1}, {"pattern": "b"}, {"required": ["a"]}):
        schema: Any = leaf
        for k in range(depth // 2 - 4):
            keyword = keywords[k % len(keywords)]
            extra = {"maxLength": 99 + k, "maximum": 99 + k, "maxProperties": 99 + k}
            schema = {keyword: schema if keyword == "not" else [schema, extra]}
        # Whatever it means, it is compiled or refused, and not with Python's recursion limit.
        with contextlib.suppress(sg.LimitExceeded, sg.SchemaError):
            compiler.compile_json_schema(schema).matcher().accept_bytes(b'{"a":[1]}')


def test_a_bad_pattern_for_bytes_ends(compiler: sg.Compiler) -> None:
    limited = sg.Compiler(compiler.vocabulary, limits=sg.Limits(compile_seconds=1))
    with pytest.raises(sg.LimitExceeded):
        limited.compile_regex(r"(\p{L}{1,4000}|x)y")
