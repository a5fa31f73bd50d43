"""The tables in docs/json-schema.md say what the compiler does."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import re
from pathlib import Path
from typing import Any

import pytest

import structgen as sg
from structgen.schema.options import SchemaOptions

DOCUMENT = Path(__file__).parents[2] / "docs" / "json-schema.md"

# For each keyword a schema in which it decides, a text that it allows and one that it forbids.
CASES: dict[str, tuple[dict[str, Any], Any, Any]] = {
    "type": ({"type": "string"}, "a", 1),
    "enum": ({"enum": [1, "a", {"x": [None]}]}, {"x": [None]}, {"x": []}),
    "const": ({"const": [1, {"a": 2}]}, [1, {"a": 2}], [1, {"a": 3}]),
    "properties": ({"properties": {"a": {"type": "null"}}}, {"a": None}, {"a": 1}),
    "required": ({"required": ["a"], "type": "object"}, {"a": 1}, {"b": 1}),
    "additionalProperties": ({"additionalProperties": {"type": "null"}}, {"q": None}, {"q": 1}),
    "patternProperties": ({"patternProperties": {"^x": {"type": "null"}}}, {"xy": None}, {"xy": 1}),
    "propertyNames": ({"propertyNames": {"maxLength": 2}}, {"ab": 1}, {"abc": 1}),
    "minProperties": ({"minProperties": 2, "type": "object"}, {"a": 1, "b": 2}, {"a": 1}),
    "maxProperties": ({"maxProperties": 1}, {"a": 1}, {"a": 1, "b": 2}),
    "dependencies": ({"dependencies": {"a": ["b"]}}, {"b": 1}, {"a": 1}),
    "dependentRequired": ({"dependentRequired": {"a": ["b"]}}, {"a": 1, "b": 2}, {"a": 1}),
    "dependentSchemas": ({"dependentSchemas": {"a": {"minProperties": 2}}}, {"b": 1}, {"a": 1}),
    "items": ({"items": {"type": "null"}}, [None, None], [None, 1]),
    "prefixItems": ({"prefixItems": [{"type": "null"}]}, [None, 1], [1]),
    "additionalItems": ({"items": [{}], "additionalItems": False}, [1], [1, 2]),
    "minItems": ({"minItems": 2, "type": "array"}, [1, 2], [1]),
    "maxItems": ({"maxItems": 100_000}, [1] * 10, None),
    "contains": ({"contains": {"const": 3}, "type": "array"}, [1, 3], [1, 2]),
    "minContains": ({"contains": {"const": 3}, "minContains": 2}, [3, 3], [3, 1]),
    "maxContains": ({"contains": {"const": 3}, "maxContains": 1}, [3, 1], [3, 3]),
    "uniqueItems": ({"uniqueItems": True}, [1, "a", [1], {"a": 1, "b": 2}], [1, 2, 1.0]),
    "minLength": ({"minLength": 2}, "😀😀", "😀"),
    "maxLength": ({"maxLength": 2}, "😀😀", "abc"),
    "pattern": ({"pattern": "b+$"}, "abb", "abba"),
    "format": ({"format": "date"}, "2024-02-29", "2023-02-29"),
    "minimum": ({"minimum": 2.5}, 2.5, 2.49),
    "maximum": ({"maximum": -3}, -3, -2.99),
    "exclusiveMinimum": ({"exclusiveMinimum": 2}, 2.01, 2),
    "exclusiveMaximum": ({"exclusiveMaximum": 2}, 1.99, 2),
    "multipleOf": ({"multipleOf": 0.5}, 2.5, 2.6),
    "allOf": ({"allOf": [{"minimum": 1}, {"maximum": 2}]}, 1.5, 3),
    "anyOf": ({"anyOf": [{"const": 1}, {"type": "string"}]}, "a", 2),
    "oneOf": ({"oneOf": [{"minimum": 1}, {"maximum": 5}]}, 7, 3),
    "not": ({"not": {"required": ["a"]}, "type": "object"}, {"b": 1}, {"a": 1}),
    "if": ({"if": {"minimum": 5}, "then": {"multipleOf": 2}}, 6, 7),
    "$ref": ({"$ref": "#/$defs/x", "$defs": {"x": {"type": "null"}}}, None, 1),
    "$dynamicRef": (
        {"$dynamicRef": "#x", "$defs": {"d": {"$dynamicAnchor": "x", "type": "null"}}},
        None,
        1,
    ),
    "$recursiveRef": (
        {
            "$schema": "https://json-schema.org/draft/2019-09/schema",
            "type": ["array", "null"],
            "items": {"$recursiveRef": "#"},
        },
        [[None]],
        [[1]],
    ),
    "unevaluatedProperties": (
        {
            "properties": {"a": {}},
            "anyOf": [{"required": ["b"], "properties": {"b": {}}}, True],
            "unevaluatedProperties": False,
        },
        {"a": 1, "b": 2},
        {"a": 1, "c": 2},
    ),
    "unevaluatedItems": (
        {"prefixItems": [{}], "contains": {"type": "null"}, "unevaluatedItems": False},
        [1, None],
        [1, None, 2],
    ),
}


def _rows() -> dict[str, str]:
    lines = DOCUMENT.read_text().splitlines()
    found = (re.match(r"\| `([^`]+)` \| (yes|no) \|", line) for line in lines)
    return {m[1]: m[2] for m in found if m}


def test_every_keyword_of_the_table_is_tested() -> None:
    assert _rows().keys() == CASES.keys()


def test_every_option_is_documented_with_its_default() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `(.+?)` \|", DOCUMENT.read_text(), re.MULTILINE)
    signature = inspect.signature(sg.Compiler.compile_json_schema).parameters
    options = {name: signature[name].default for name in ("whitespace", "escapes")}
    options |= dataclasses.asdict(SchemaOptions())
    assert {name: ast.literal_eval(default) for name, default in rows} == options


@pytest.fixture(scope="module")
def compiler() -> sg.Compiler:
    return sg.Compiler(sg.Vocabulary.byte_vocabulary())


def _accepts(grammar: sg.CompiledGrammar, value: Any) -> bool:
    matcher = grammar.matcher()
    return matcher.accept_bytes(json.dumps(value).encode()) and matcher.is_accepting()


@pytest.mark.parametrize("keyword", sorted(CASES))
def test_the_table_is_true(keyword: str, compiler: sg.Compiler) -> None:
    schema, allowed, forbidden = CASES[keyword]
    if _rows()[keyword] == "no":
        with pytest.raises(sg.UnsupportedSchemaError) as error:
            compiler.compile_json_schema(schema)
        assert error.value.keyword == keyword
        relaxed = compiler.compile_json_schema(schema, unsupported="relax")
        assert any(keyword in warning for warning in relaxed.warnings)
        return
    grammar = compiler.compile_json_schema(schema)
    assert _accepts(grammar, allowed)
    if keyword == "maxItems":
        forbidden = [1] * 100_001
    assert not _accepts(grammar, forbidden)
    assert grammar.warnings == []


def test_a_pattern_that_every_text_matches(compiler: sg.Compiler) -> None:
    grammar = compiler.compile_json_schema({"properties": {"a": {"pattern": ".*|x"}}})
    assert _accepts(grammar, {"a": "q\n"})
