"""What is refused, and whether the error says where and why."""

from __future__ import annotations

import json
from typing import Any

import pytest
from differential.oracle import validator

import structgen as sg


@pytest.fixture(scope="module")
def compiler() -> sg.Compiler:
    return sg.Compiler(sg.Vocabulary.byte_vocabulary(), cache_bytes=0)


def at(schema: Any, pointer: str) -> Any:
    """What the pointer names; fails where it leads nowhere."""
    assert pointer.startswith("#")
    for token in pointer[1:].split("/")[1:]:
        key = token.replace("~1", "/").replace("~0", "~")
        schema = schema[int(key) if isinstance(schema, list) else key]
    return schema


def is_accepted(grammar: sg.CompiledGrammar, text: str) -> bool:
    matcher = grammar.matcher()
    return matcher.accept_bytes(text.encode()) and matcher.is_accepting()


MAYBE_UNSUPPORTED: list[tuple[dict[str, Any], list[Any]]] = [
    ({"uniqueItems": True}, [[1, 2], [1, 1], []]),
    ({"uniqueItems": True, "items": {"type": "object"}}, [[{}, {}], [{}], []]),
    ({"contains": True}, [[], [1], 3]),
    ({"contains": {}}, [[], [1], 3]),
    ({"contains": False}, [[], [1], 3]),
    ({"contains": {"const": 1}}, [[], [1], [2], [2, 1], 3]),
    ({"contains": {"const": 1}, "minContains": 0}, [[], [1], [2], 3]),
    ({"contains": {"const": 1}, "minContains": 2, "maxContains": 3}, [[1], [1, 1], [1] * 4]),
    ({"minContains": 2}, [[], 1]),
    ({"patternProperties": {"^a": {"type": "integer"}}}, [{"a": 1}, {"ab": "x"}, {"b": "x"}]),
    ({"patternProperties": {"^a": False}}, [{"a": 1}, {"b": "x"}, {}]),
    ({"propertyNames": {"maxLength": 2}}, [{"ab": 1}, {"abc": 1}, {}]),
    ({"propertyNames": False}, [{"ab": 1}, {}, 3]),
    ({"propertyNames": True}, [{"ab": 1}, {}, 3]),
    ({"minProperties": 1}, [{}, {"a": 1}]),
    ({"minProperties": 0}, [{}, {"a": 1}]),
    ({"maxProperties": 1}, [{}, {"a": 1}, {"a": 1, "b": 2}]),
    ({"maxProperties": 0}, [{}, {"a": 1}, []]),
    ({"properties": {"a": {}}, "unevaluatedProperties": False}, [{"a": 1}, {"b": 1}, {}]),
    ({"unevaluatedProperties": {"type": "null"}}, [{"b": 1}, {"b": None}, {}]),
    ({"unevaluatedProperties": True}, [{"b": 1}, {}]),
    ({"prefixItems": [{}], "unevaluatedItems": False}, [[1], [1, 2], []]),
    ({"$dynamicRef": "#x", "$defs": {"x": {"$dynamicAnchor": "x", "type": "null"}}}, [None, 1]),
    ({"not": {"properties": {"a": {"type": "string"}}, "required": ["a"]}}, [{"a": "x"}, {"a": 1}]),
    ({"not": {"items": {"type": "string"}}}, [["x"], [1], [], 3]),
    ({"oneOf": [{"required": ["a"]}, {"required": ["b"]}]}, [{"a": 1}, {"a": 1, "b": 1}, {}]),
    ({"oneOf": [{"items": {"type": "integer"}}, {"minItems": 2}]}, [[1], [1, 2], ["x"], [1, "x"]]),
]  # fmt: skip


@pytest.mark.parametrize("place", ["", "/properties/p~1~0", "/anyOf/1/items"])
@pytest.mark.parametrize(
    ("schema", "values"), MAYBE_UNSUPPORTED, ids=[json.dumps(s) for s, _ in MAYBE_UNSUPPORTED]
)
def test_enforced_or_refused(
    compiler: sg.Compiler, schema: dict[str, Any], values: list[Any], place: str
) -> None:
    """Nothing is dropped in silence: the verdict is right, or an error names the keyword."""
    definitions = {"$defs": schema["$defs"]} if "$defs" in schema else {}
    whole: Any = schema
    if place == "/properties/p~1~0":
        whole = {"properties": {"p/~": schema}, "required": ["p/~"], **definitions}
        values = [{"p/~": v} for v in values]
    elif place:
        whole = {"anyOf": [{"const": 0}, {"items": schema, "minItems": 1}], **definitions}
        values = [[v] for v in values]
    try:
        grammar = compiler.compile_json_schema(whole)
    except sg.UnsupportedSchemaError as error:
        found = at(whole, error.pointer)
        assert isinstance(found, dict)
        assert error.keyword in found or error.keyword in schema, (error.keyword, error.pointer)
        assert error.keyword in str(error) and error.pointer in str(error)
        assert error.pointer.startswith("#" + place)
        return
    for value in values:
        assert is_accepted(grammar, json.dumps(value)) == validator(whole).is_valid(value), value


INVALID: list[dict[str, Any]] = [
    {"type": "strin"}, {"type": 3}, {"type": []}, {"type": ["string", "any"]}, {"type": {}},
    {"properties": []}, {"properties": {"a": 3}}, {"properties": {"a": {"type": "x"}}},
    {"required": "a"}, {"required": [1]}, {"items": 3}, {"items": "x"}, {"prefixItems": {}},
    {"prefixItems": [3]}, {"minLength": -1}, {"minLength": "1"}, {"maxLength": 1.5},
    {"minLength": True}, {"minItems": None}, {"maxItems": []}, {"pattern": 3}, {"pattern": "("},
    {"pattern": "[b-a]"}, {"pattern": "a{2,1}"}, {"minimum": "3"}, {"maximum": None},
    {"exclusiveMinimum": "3"}, {"multipleOf": 0}, {"multipleOf": -1}, {"multipleOf": "1"},
    {"enum": 3}, {"enum": {"a": 1}}, {"anyOf": []}, {"anyOf": {}}, {"anyOf": [3]}, {"allOf": []},
    {"allOf": [3]}, {"oneOf": []}, {"oneOf": "x"}, {"not": 3}, {"not": [{}]}, {"$ref": 3},
    {"uniqueItems": 3}, {"additionalProperties": 3}, {"additionalProperties": [{}]},
    {"dependentRequired": []}, {"dependentRequired": {"a": [1]}}, {"dependentSchemas": {"a": 3}},
    {"if": 3, "then": {}}, {"if": {}, "then": 3}, {"format": 3}, {"const": float("nan")},
    {"enum": [float("inf")]}, {"minimum": float("-inf")},
]  # fmt: skip


@pytest.mark.parametrize("schema", INVALID, ids=repr)
@pytest.mark.parametrize("place", ["#", "#/properties/p~1~0", "#/items/anyOf/1"])
def test_malformed_schemas(compiler: sg.Compiler, schema: dict[str, Any], place: str) -> None:
    whole: Any = schema
    if place == "#/properties/p~1~0":
        whole = {"properties": {"p/~": schema}}
    elif place != "#":
        whole = {"items": {"anyOf": [{"type": "null"}, schema]}}
    with pytest.raises(sg.SchemaError) as caught:
        compiler.compile_json_schema(whole)
    assert not isinstance(caught.value, sg.UnsupportedSchemaError)
    at(whole, caught.value.pointer)
    assert caught.value.pointer.startswith(place)
    assert caught.value.pointer in str(caught.value)


UNSATISFIABLE: list[Any] = [
    False,
    {"enum": []},
    {"type": "integer", "minimum": 3, "maximum": 2},
    {"type": "number", "minimum": 3, "exclusiveMaximum": 3},
    {"type": "integer", "exclusiveMinimum": 1, "exclusiveMaximum": 2},
    {"type": "integer", "minimum": 1, "maximum": 9, "multipleOf": 10},
    {"type": "string", "minLength": 3, "maxLength": 2},
    {"type": "string", "pattern": "^a$", "minLength": 2},
    {"type": "string", "enum": ["ab"], "pattern": "c"},
    {"type": "string", "const": 3},
    {"const": 1.5, "type": "integer"},
    {"type": "array", "minItems": 3, "maxItems": 2},
    {"type": "array", "items": False, "minItems": 1},
    {"type": "array", "prefixItems": [{}, False], "minItems": 2},
    {"type": "object", "required": ["a"], "properties": {"a": False}},
    {"type": "object", "required": ["a"], "additionalProperties": False},
    {"allOf": [{"type": "string"}, {"type": "integer"}]},
    {"allOf": [{"const": {"a": 1}}, {"const": {"a": 2}}]},
    {"anyOf": [False, {"enum": []}]},
    {"not": {}},
    {"not": True},
    {"oneOf": [{}, {}]},
    {"oneOf": [True, True]},
    {"oneOf": [{"$ref": "#/$defs/o"}, {"$ref": "#/$defs/o"}], "$defs": {"o": {"type": "object"}},
     "type": "object"},
    {"$ref": "#/$defs/n", "$defs": {"n": {"type": "object", "required": ["n"],
                                          "properties": {"n": {"$ref": "#/$defs/n"}}}}},
    {"type": "array", "minItems": 1, "items": {"$ref": "#"}},
    {"$ref": "#/$defs/a", "$defs": {"a": {"type": "array", "minItems": 1,
                                          "items": {"$ref": "#/$defs/b"}},
                                    "b": {"type": "object", "required": ["x"],
                                          "additionalProperties": {"$ref": "#/$defs/a"}}}},
    {"enum": ["\ud800"]},
    {"const": ["\udfff"]},
    {"type": "object", "required": ["\ud800"]},
    {"const": {"\ud800": 1}},
    {"type": "object", "properties": {"a": {"required": ["\ud800"], "type": "object"}},
     "required": ["a"]},
]  # fmt: skip


@pytest.mark.parametrize("schema", UNSATISFIABLE, ids=repr)
def test_schemas_that_nothing_satisfies(compiler: sg.Compiler, schema: Any) -> None:
    with pytest.raises(sg.SchemaError) as caught:
        compiler.compile_json_schema(schema)
    if not isinstance(caught.value, sg.UnsupportedSchemaError):
        assert "no value" in str(caught.value)


def test_a_name_that_no_text_can_spell_is_no_dead_end(compiler: sg.Compiler) -> None:
    """A required name with a lone surrogate: its branch must go, not be offered."""
    schema = {"anyOf": [{"type": "object", "required": ["\ud800"]}, {"type": "null"}]}
    matcher = compiler.compile_json_schema(schema).matcher()
    assert [b for b in range(256) if matcher.copy().accept_bytes(bytes([b]))] == [ord("n")]


@pytest.mark.parametrize(
    ("schema", "kind", "message"),
    [
        ({"$ref": "#"}, sg.SchemaError, "itself"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}},
         sg.SchemaError, "itself"),
        ({"anyOf": [{"$ref": "#"}, {"type": "null"}]}, sg.SchemaError, "itself"),
        ({"$ref": "#/$defs/x"}, sg.SchemaError, "nowhere"),
        ({"$ref": "#/properties/0", "properties": {"a": {}}}, sg.SchemaError, "nowhere"),
        ({"$ref": "#/enum", "enum": [1]}, sg.SchemaError, "no schema"),
        ({"$ref": "#x"}, sg.SchemaError, "anchor"),
        ({"$ref": "http://example.com/x.json"}, sg.UnsupportedSchemaError, "nothing is fetched"),
        ({"$ref": "other.json#/a"}, sg.UnsupportedSchemaError, "nothing is fetched"),
        ({"items": {"$ref": "urn:x:y"}}, sg.UnsupportedSchemaError, "nothing is fetched"),
    ],
)  # fmt: skip
def test_references(
    compiler: sg.Compiler, schema: Any, kind: type[sg.SchemaError], message: str
) -> None:
    with pytest.raises(kind, match=message) as caught:
        compiler.compile_json_schema(schema)
    at(schema, caught.value.pointer)


def test_references_within_a_urn(compiler: sg.Compiler) -> None:
    schema = {
        "$id": "urn:uuid:deadbeef-1234-00ff-ff00-4321feebdaed",
        "properties": {"foo": {"$ref": "#something"}, "bar": {"$ref": "#/$defs/baz"}},
        "$defs": {"x": {"$anchor": "something", "type": "string"}, "baz": {"type": "null"}},
    }
    grammar = compiler.compile_json_schema(schema)
    assert is_accepted(grammar, '{"foo":"a","bar":null}')
    assert not is_accepted(grammar, '{"foo":1}')


# -- limits ------------------------------------------------------------------------------------


def nested(depth: int, keyword: str = "items") -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(depth):
        schema = {keyword: schema}
    return schema


@pytest.mark.parametrize("cache_bytes", [0, 1 << 20])
@pytest.mark.parametrize("keyword", ["items", "not", "if", "additionalProperties", "const"])
def test_deep_schemas(keyword: str, cache_bytes: int) -> None:
    compiler = sg.Compiler(sg.Vocabulary.byte_vocabulary(), cache_bytes=cache_bytes)
    with pytest.raises(sg.LimitExceeded) as caught:
        compiler.compile_json_schema(nested(10_000, keyword))
    assert caught.value.limit == "nesting" and caught.value.value == 512
    assert len(str(caught.value)) < 500


def test_deep_json_text(compiler: sg.Compiler) -> None:
    text = '{"items":' * 10_000 + "{}" + "}" * 10_000
    with pytest.raises(sg.StructgenError, match="nest"):
        compiler.compile_json_schema(text)


@pytest.mark.parametrize("keyword", ["items", "not", "additionalProperties", "const"])
def test_schemas_as_deep_as_the_limit(compiler: sg.Compiler, keyword: str) -> None:
    matcher = compiler.compile_json_schema(nested(500, keyword)).matcher()
    mask = sg.allocate_bitmask(1, 257)
    matcher.fill_bitmask(mask, 0)
    assert mask.any()


@pytest.mark.parametrize("keyword", ["anyOf", "allOf", "oneOf"])
def test_deep_combinations(compiler: sg.Compiler, keyword: str) -> None:
    schema: dict[str, Any] = {"type": "object", "required": ["x"]}
    for i in range(150):
        schema = {keyword: [schema, {"type": "object", "properties": {"x": {"minimum": i}}}]}
    try:
        grammar = compiler.compile_json_schema(schema)
    except sg.StructgenError:
        return
    grammar.matcher().fill_bitmask(sg.allocate_bitmask(1, 257), 0)


@pytest.mark.parametrize("as_text", [False, True])
def test_large_schemas(compiler: sg.Compiler, as_text: bool) -> None:
    schema: Any = {"properties": {f"p{i}": {"description": "x" * 60} for i in range(60_000)}}
    text = json.dumps(schema)
    assert len(text) > 5 << 20
    with pytest.raises(sg.LimitExceeded) as caught:
        compiler.compile_json_schema(text if as_text else schema)
    assert caught.value.limit == "schema_bytes"


def test_a_schema_that_holds_itself(compiler: sg.Compiler) -> None:
    schema: dict[str, Any] = {}
    schema["items"] = schema
    with pytest.raises(sg.LimitExceeded):
        compiler.compile_json_schema(schema)


TOO_MUCH: dict[str, tuple[Any, bytes]] = {
    "patterns": (
        {"allOf": [{"type": "object", "properties": {"a": {"pattern": f"{c}.{{9}}{c}"}},
                    "required": ["a"]} for c in "abcdef"]}, b'{"a":"x'),
    "alternatives": (
        {"anyOf": [{"type": "object", "properties": {"a": {"type": "object", "required": [f"r{i}"],
                    "properties": {f"r{i}": {"const": i}}}}, "required": ["a"]}
                   for i in range(14)]}, b'{"a":{"r3":3}}'),
    "length": (
        {"allOf": [{"type": "object", "properties": {"a": {"pattern": "^a"}}, "required": ["a"]},
                   {"properties": {"a": {"minLength": 60_000}}}]}, b'{"a":"a'),
    "arrays": (
        {"type": "object", "required": ["z"], "properties": {"z": {"anyOf": [
            {"type": "array", "items": {"type": "integer"}, "maxItems": 5000},
            {"type": "array", "items": {"type": "string"}}]}}}, b'{"z":[1]}'),
}  # fmt: skip


@pytest.mark.parametrize("name", list(TOO_MUCH))
def test_a_limit_reached_later_is_said_every_time(compiler: sg.Compiler, name: str) -> None:
    """Where a limit is reached only while generating, asking again says the same."""
    schema, text = TOO_MUCH[name]
    try:
        grammar = compiler.compile_json_schema(schema)
    except sg.LimitExceeded:
        return
    answers: list[Any] = []
    for _ in range(3):
        try:
            answers.append(grammar.matcher().accept_bytes(text))
        except sg.LimitExceeded as error:
            answers.append(str(error))
    assert answers[0] is not False and answers == [answers[0]] * 3


def test_fewer_states_than_needed() -> None:
    compiler = sg.Compiler(sg.Vocabulary.byte_vocabulary(), limits=sg.Limits(states=200))
    schema = {"enum": [f"value {i}" for i in range(100)]}
    with pytest.raises(sg.LimitExceeded) as caught:
        compiler.compile_json_schema(schema)
    assert caught.value.limit == "states"


def test_non_string_keys(compiler: sg.Compiler) -> None:
    caching = sg.Compiler(compiler.vocabulary)
    caching.compile_json_schema({"properties": {"1": {}}})
    for c in (compiler, caching):
        with pytest.raises(sg.SchemaError, match="not a string"):
            c.compile_json_schema({"properties": {1: {}}})


@pytest.mark.parametrize("value", [(1, 2), {1, 2}, b"x", object(), 1j])
def test_values_that_are_not_json(compiler: sg.Compiler, value: Any) -> None:
    for c in (compiler, sg.Compiler(compiler.vocabulary)):
        try:
            grammar = c.compile_json_schema({"const": value})
        except sg.SchemaError as error:
            assert "not a JSON value" in str(error)
        else:  # a tuple may stand for a list
            assert isinstance(value, tuple) and is_accepted(grammar, "[1,2]")
