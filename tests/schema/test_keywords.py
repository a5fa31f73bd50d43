"""Keyword by keyword: every schema against every value of a pool, ``jsonschema`` is the judge."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest
from differential.oracle import orders, read_json, validator
from masks.schemas import SCHEMAS

import structgen as sg

VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 2, 3, 5, 7, 10, 12, 100, 1.5, -0.5, 0.1, 2.5, 0.25, 1.0, -3.0,
    10**20, "", "a", "ab", "abc", "a b", "1", "12", "é", "\U0001f600", "\n", "a\nb", "\0", "x" * 30,
    "123-abc", "xabc", "abbxc", "2020-02-29", [], [1], [1, 2], [1, "a"], ["a"], ["a", 1], [None],
    [[]],
    [[1], [2]], [True, False], [1, 2, 3], [1.0, 1], [{}], [1] * 20, [1] * 34, ["x", "xy"], [1,
    "xy", []],
    [1, "x", [True]], [1, "x", [True, True, True]],
    {}, {"a": 1}, {"a": "x"}, {"a": None}, {"b": 1}, {"a": 1, "b": 2}, {"a": 1, "b": "x"},
    {"a": {"a": 1}}, {"a": [], "c": 1}, {"ab": "x"}, {"ab": 1, "a": 1}, {"": 1}, {"x": 1},
    {"x": 1, "y": 2}, {"a": 3, "x": "y"}, {"kind": "circle", "r": 2}, {"kind": "circles"},
    {"kind": "circles", "r": 1}, {"card": 1}, {"card": 1, "address": "x"}, {"other": None},
    {"other": None, "extra": 1}, {"value": 1, "children": [{"value": None}]}, {"value": "x"},
    {"k": [1, {"é": "\0"}], "z": {}, "": None}, {"r1": None, "r2": None}, {"r1": None},
    {"o1": None, "r1": None, "o3": None, "r2": None, "o5": None},
]  # fmt: skip

KEYWORDS: list[Any] = [
    True, {}, {"type": "null"}, {"type": "boolean"}, {"type": "integer"}, {"type": "number"},
    {"type": "string"}, {"type": "array"}, {"type": "object"}, {"type": ["integer", "string"]},
    {"type": ["array", "null"]}, {"enum": [1, "a", None, [1], {"a": 1}]}, {"enum": [True, 1.0]},
    {"const": {"a": 1, "b": 2}}, {"const": [1, "a"]}, {"const": None}, {"const": False},
    {"minimum": 2}, {"maximum": 2.5}, {"exclusiveMinimum": 2}, {"exclusiveMaximum": 2.5},
    {"minimum": 0.1, "maximum": 1.5}, {"multipleOf": 0.5}, {"multipleOf": 5}, {"multipleOf": 0.1},
    {"type": "integer", "multipleOf": 2.5}, {"minLength": 2}, {"maxLength": 1},
    {"minLength": 1, "maxLength": 2}, {"minLength": 0}, {"maxLength": 0}, {"pattern": "b"},
    {"pattern": "^a"}, {"pattern": "c$"}, {"pattern": "^[a-z]*$"}, {"pattern": "a.b"},
    {"pattern": "a[^]b"}, {"pattern": "\\d"}, {"pattern": "^\\S+$"}, {"pattern": "^.$"},
    {"pattern": ""}, {"pattern": ".*"}, {"pattern": "^$"}, {"pattern": "^(?!a)"},
    {"pattern": "\\bb"},
    {"pattern": "a", "maxLength": 2}, {"items": {"type": "integer"}}, {"items": False},
    {"items": {"items": {"type": "integer"}}}, {"prefixItems": [{"type": "integer"}]},
    {"prefixItems": [{"type": "integer"}, {"type": "string"}], "items": False},
    {"prefixItems": [False]}, {"prefixItems": [{}, False]}, {"minItems": 1}, {"minItems": 2},
    {"maxItems": 1}, {"maxItems": 0}, {"minItems": 20}, {"maxItems": 30, "minItems": 3},
    {"prefixItems": [{"type": "integer"}], "minItems": 2, "maxItems": 2},
    {"items": {"const": 1}, "minItems": 2}, {"properties": {"a": {"type": "integer"}}},
    {"properties": {"a": False}}, {"properties": {"a": True, "b": False}},
    {"required": ["a"]}, {"required": ["a", "b"]}, {"required": []},
    {"properties": {"a": {}}, "additionalProperties": False}, {"additionalProperties": False},
    {"additionalProperties": {"type": "integer"}},
    {"properties": {"a": {"type": "string"}}, "additionalProperties": {"type": "integer"}},
    {"properties": {"ab": {}}, "required": ["a"], "additionalProperties": False},
    {"properties": {"ab": {"type": "integer"}, "a": {}}, "required": ["ab"]},
    {"anyOf": [{"type": "integer"}, {"minLength": 2}]},
    {"anyOf": [{"required": ["a"]}, {"required": ["b"]}]},
    {"anyOf": [{"properties": {"a": {"type": "integer"}}}, {"properties": {"b": {"const": 2}}}]},
    {"anyOf": [{"items": {"type": "integer"}}, {"items": {"type": "string"}, "maxItems": 1}]},
    {"anyOf": [{"prefixItems": [{"const": 1}]}, {"prefixItems": [{"const": "a"}]}]},
    {"allOf": [{"required": ["a"]}, {"properties": {"a": {"type": "integer"}}}]},
    {"allOf": [{"minItems": 1}, {"items": {"type": "integer"}}, {"maxItems": 2}]},
    {"allOf": [{"pattern": "a"}, {"pattern": "b"}]},
    {"allOf": [{"anyOf": [{"required": ["a"]}, {"required": ["x"]}]},
               {"anyOf": [{"required": ["b"]}, {"required": ["y"]}]}]},
    {"oneOf": [{"type": "integer"}, {"type": "number", "minimum": 2}]},
    {"oneOf": [{"multipleOf": 5}, {"multipleOf": 2}]},
    {"oneOf": [{"minLength": 2}, {"pattern": "a"}]}, {"oneOf": [{"required": ["a"]},
    {"required": ["b"]}]},
    {"oneOf": [{"const": 1}, {"const": "a"}, {"const": [1]}]},
    # Equal branches hold both or not at all; the third can.
    {"oneOf": [{"$ref": "#/$defs/s"}, {"$ref": "#/$defs/s"}, {"maxProperties": 1}],
     "$defs": {"s": {"required": ["a"]}}},
    {"oneOf": [{"$ref": "#/$defs/s"}, {"$ref": "#/$defs/t"}, {"maxItems": 1}],
     "$defs": {"s": {"items": {"const": 1}}, "t": {"$ref": "#/$defs/s"}}},
    {"not": {"type": "string"}}, {"not": {"const": 1}}, {"not": {"enum": ["a", 1, None]}},
    {"not": {"minimum": 2}}, {"not": {"pattern": "a"}}, {"not": {"required": ["a"]}},
    {"not": {"required": ["a", "b"]}}, {"not": {"anyOf": [{"required": ["a"]}, {"type": "array"}]}},
    {"not": {"not": {"type": "integer"}}}, {"not": {"type": ["object", "array"]}},
    {"if": {"type": "string"}, "then": {"minLength": 2}},
    {"if": {"type": "string"}, "else": {"type": "integer"}},
    {"if": {"required": ["a"]}, "then": {"required": ["b"]}, "else": {"required": ["x"]}},
    {"if": {"minimum": 2}, "then": {"multipleOf": 5}, "else": {"maximum": 0}},
    {"if": True, "then": {"type": "integer"}}, {"if": False, "then": {"type": "integer"}},
    {"if": {"type": "integer"}}, {"then": {"type": "integer"}},
    {"dependentRequired": {"a": ["b"]}}, {"dependentRequired": {"a": ["b"], "b": ["a"]}},
    {"dependentSchemas": {"a": {"required": ["b"]}, "x": {"maxLength": 3}}},
    {"dependentSchemas": {"a": False}},
    {"dependentSchemas": {"a": {"properties": {"b": {"const": 2}}}}},
    {"$ref": "#/$defs/i", "minimum": 2, "$defs": {"i": {"type": "integer"}}},
    {"$ref": "#/$defs/n", "$defs": {"n": {"anyOf": [{"type": "integer"},
                                                    {"type": "array",
                                                    "items": {"$ref": "#/$defs/n"}}]}}},
    {"properties": {"a": {"$ref": "#"}}, "additionalProperties": False, "type": "object"},
    {"title": 3, "description": [], "default": 3, "examples": 3, "unknown": {"type": "x"}},
    {"$comment": "x", "deprecated": True, "readOnly": True, "contentMediaType": "application/json"},
]  # fmt: skip

DRAFTS: list[Any] = [
    {"$schema": "http://json-schema.org/draft-04/schema#", "minimum": 2, "exclusiveMinimum": True},
    {"$schema": "http://json-schema.org/draft-04/schema#", "maximum": 2, "exclusiveMaximum": False},
    {"$schema": "http://json-schema.org/draft-07/schema#", "items": [{"type": "integer"}],
     "additionalItems": {"type": "string"}},
    {"$schema": "http://json-schema.org/draft-07/schema#", "items": {"type": "integer"},
     "additionalItems": False},
    {"$schema": "http://json-schema.org/draft-07/schema#", "additionalItems": False},
    {"$schema": "http://json-schema.org/draft-07/schema#", "$ref": "#/definitions/i", "minimum": 2,
     "definitions": {"i": {"type": "integer"}}},
    {"$schema": "http://json-schema.org/draft-07/schema#", "dependencies": {"a": ["b"]}},
    {"$schema": "http://json-schema.org/draft-07/schema#",
     "dependencies": {"a": {"properties": {"b": {"type": "string"}}}}},
    {"$schema": "https://json-schema.org/draft/2019-09/schema", "$ref": "#/$defs/i", "minimum": 2,
     "$defs": {"i": {"type": "integer"}}},
    {"$schema": "https://json-schema.org/draft/2019-09/schema", "items": [{"type": "integer"}],
     "additionalItems": False},
]  # fmt: skip


@cache
def compiler() -> sg.Compiler:
    return sg.Compiler(sg.Vocabulary.byte_vocabulary(), cache_bytes=0)


def is_accepted(grammar: sg.CompiledGrammar, value: Any) -> bool:
    matcher = grammar.matcher()
    text = json.dumps(value, ensure_ascii=False).encode()
    return matcher.accept_bytes(text) and matcher.is_accepting()


def check(schema: Any, values: list[Any]) -> None:
    try:
        grammar = compiler().compile_json_schema(schema)
    except sg.UnsupportedSchemaError as error:
        pytest.skip(str(error))
    judge = validator(schema)
    wrong = []
    for value in values:
        verdict = judge.is_valid(read_json(json.dumps(value)))
        if any(is_accepted(grammar, v) for v in orders(value)) != verdict:
            wrong.append((value, "valid" if verdict else "invalid"))
    assert not wrong


@pytest.mark.parametrize("schema", [*KEYWORDS, *DRAFTS], ids=json.dumps)
def test_keywords(schema: Any) -> None:
    check(schema, VALUES)


@pytest.mark.parametrize("schema", [s for s in KEYWORDS if isinstance(s, dict)], ids=json.dumps)
def test_keywords_on_nested_values(schema: dict[str, Any]) -> None:
    """The same inside of an object that alternatives judge together, and of an array."""
    if "#" in json.dumps(schema).replace("#/$defs", ""):
        pytest.skip("a reference to the root means another schema here")
    below = {k: v for k, v in schema.items() if k != "$defs"}
    whole = {
        "anyOf": [
            {"properties": {"p": below, "q": {"const": 1}}, "required": ["p", "q"]},
            {"properties": {"p": {"type": "string", "maxLength": 2}, "q": {"const": 2}},
             "additionalProperties": False, "required": ["p"]},
            {"items": below, "type": "array"},
        ],
        "type": ["object", "array"],
        "$defs": schema.get("$defs", {}),
    }  # fmt: skip
    values = [*VALUES[::2], "ab", "a", "abc"]
    check(whole, [{"p": v, "q": q} for v in values for q in (1, 2, 3)] + [{"p": v} for v in values]
          + [[v] for v in VALUES])  # fmt: skip


@pytest.mark.parametrize("name", [n for n in SCHEMAS if n != "formats"])
def test_hard_schemas(name: str) -> None:
    check(SCHEMAS[name], VALUES)
