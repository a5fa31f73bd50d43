"""Schemas and instances by hypothesis: our verdict on every instance is ``jsonschema``'s."""

from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal
from functools import cache
from typing import Any

import pytest
from differential.oracle import orders, validator
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

import structgen as sg

NAMES = ["a", "ab", "b", "c"]
OTHERS = ["x", "abc", ""]
PATTERNS = ["", ".*", "^a", "b$", "^a*b?$", "[0-9]{2,3}", "^(x|yz)+$", "a.c", "é"]
STRINGS = ["", "a", "b", "ab", "aab", "12", "123", "a\nc", "yzx", "é", "\U0001f600", "a\U0001f600c"]
NUMBERS: list[Any] = [
    -2, -1, 0, 1, 2, 3, 5, 10, 0.5, 1.5, -0.5, 2.25, 0.1, 9.99, 1.0, 100, 12345678901234567890,
]  # fmt: skip

numbers = st.sampled_from(NUMBERS)
strings = st.sampled_from(STRINGS)
scalars = st.one_of(st.none(), st.booleans(), numbers, strings)


def values(depth: int = 2) -> st.SearchStrategy[Any]:
    if depth == 0:
        return scalars
    below = values(depth - 1)
    return st.one_of(
        scalars,
        st.lists(below, max_size=3),
        st.dictionaries(st.sampled_from(NAMES + OTHERS), below, max_size=3),
    )


def subsets(options: list[str], most: int = 3) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(options), unique=True, max_size=most)


@st.composite
def number_schemas(draw: st.DrawFn) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": draw(st.sampled_from(["number", "integer"]))}
    for keyword in draw(
        subsets(["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"], 2)
    ):
        bound = draw(numbers)
        schema[keyword] = abs(bound) or 1 if keyword == "multipleOf" else bound
        if schema.get("multipleOf", 0) > 1000:
            schema["multipleOf"] = 3
    return schema


@st.composite
def string_schemas(draw: st.DrawFn) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for keyword in draw(subsets(["minLength", "maxLength", "pattern"], 2)):
        if keyword == "pattern":
            schema[keyword] = draw(st.sampled_from(PATTERNS))
        else:
            schema[keyword] = draw(st.integers(0, 4))
    return schema


@st.composite
def array_schemas(draw: st.DrawFn, below: st.SearchStrategy[Any]) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "array"} if draw(st.booleans()) else {}
    keywords = ["items", "prefixItems", "minItems", "maxItems", "contains", "unevaluatedItems"]
    for keyword in draw(subsets(keywords, 3)):
        if keyword in ("items", "unevaluatedItems"):
            schema[keyword] = draw(below)
        elif keyword == "contains":
            schema[keyword] = draw(below)
            for bound in draw(subsets(["minContains", "maxContains"], 2)):
                schema[bound] = draw(st.integers(0, 2))
        elif keyword == "prefixItems":
            schema[keyword] = draw(st.lists(below, min_size=1, max_size=2))
        else:
            schema[keyword] = draw(st.integers(0, 3))
    return schema


RARE = ["patternProperties", "propertyNames", "minProperties", "maxProperties",
        "unevaluatedProperties"]  # fmt: skip


@st.composite
def object_schemas(draw: st.DrawFn, below: st.SearchStrategy[Any]) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object"} if draw(st.booleans()) else {}
    names = draw(subsets(NAMES))
    if names:
        schema["properties"] = {name: draw(below) for name in names}
    required = draw(subsets(NAMES, 2))
    if required:
        schema["required"] = required
    if draw(st.booleans()):
        schema["additionalProperties"] = draw(st.one_of(st.booleans(), below))
    for keyword in draw(subsets(RARE, 1)):
        if keyword == "patternProperties":
            names = draw(subsets(["^a", "b", "^$"], 2))
            schema[keyword] = {name: draw(below) for name in names}
        elif keyword == "propertyNames":
            schema[keyword] = draw(st.one_of(string_schemas(), st.booleans()))
        elif keyword == "unevaluatedProperties":
            schema[keyword] = draw(st.one_of(st.booleans(), below))
        else:
            schema[keyword] = draw(st.integers(0, 3))
    if draw(st.integers(0, 5)) == 0:
        needs = {name: draw(subsets(NAMES, 2)) for name in draw(subsets(NAMES, 2))}
        schema["dependentRequired"] = needs
    return schema


@st.composite
def combined_schemas(draw: st.DrawFn, below: st.SearchStrategy[Any]) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    if draw(st.booleans()):
        schema = dict(draw(object_schemas(below)))
    keyword = draw(st.sampled_from(["anyOf", "anyOf", "allOf", "oneOf", "not", "if"]))
    if keyword == "not":
        schema["not"] = draw(
            st.one_of(
                below,
                st.builds(lambda names: {"required": names}, subsets(NAMES, 2)),
                st.builds(lambda kind: {"type": kind}, st.sampled_from(["null", "string"])),
            )
        )
    elif keyword == "if":
        schema["if"] = draw(
            st.one_of(st.builds(lambda names: {"required": names}, subsets(NAMES, 2)), below)
        )
        for branch in draw(subsets(["then", "else"], 2)):
            schema[branch] = draw(below)
    else:
        schema[keyword] = draw(st.lists(below, min_size=1, max_size=3))
    return schema


plain = st.one_of(
    st.booleans(),
    st.just({}),
    st.builds(
        lambda kinds: {"type": kinds},
        st.lists(
            st.sampled_from(["null", "boolean", "number", "integer", "string", "array", "object"]),
            min_size=1,
            max_size=3,
            unique=True,
        ),
    ),
    number_schemas(),
    string_schemas(),
    st.builds(lambda vs: {"enum": vs}, st.lists(values(1), min_size=1, max_size=3)),
    st.builds(lambda v: {"const": v}, values(1)),
    st.sampled_from([{"$ref": "#/$defs/p"}, {"$ref": "#/$defs/q"}]),
)


def schemas(depth: int = 2) -> st.SearchStrategy[Any]:
    if depth == 0:
        return plain
    below = schemas(depth - 1)
    return st.one_of(plain, object_schemas(below), array_schemas(below), combined_schemas(below))


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """A schema with two definitions, which may refer to each other and to themselves."""
    root = draw(st.one_of(object_schemas(schemas(1)), array_schemas(schemas(1)),
                          combined_schemas(schemas(1))))  # fmt: skip
    definitions = {"p": draw(object_schemas(schemas(0))), "q": draw(schemas(1))}
    return {"$defs": definitions, **root}


def guess(draw: st.DrawFn, schema: Any, root: dict[str, Any], depth: int = 4) -> Any:
    """A value that the schema may have been written for; nothing depends on it being valid."""
    if not isinstance(schema, dict) or depth == 0 or draw(st.integers(0, 7)) == 0:
        return draw(scalars if depth < 2 else values(1))
    if "$ref" in schema:
        return guess(draw, root["$defs"][schema["$ref"][-1]], root, depth - 1)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return draw(st.sampled_from(schema["enum"]))
    below = [s for k in ("anyOf", "oneOf", "allOf") for s in schema.get(k, ())]
    below += [schema[k] for k in ("then", "else", "if") if k in schema]
    own: Any = None
    kind = schema.get("type")
    kind = draw(st.sampled_from(kind)) if isinstance(kind, list) else kind
    if kind in ("number", "integer"):
        return draw(numbers)
    if kind == "string":
        return draw(strings)
    if kind == "array" or {"items", "prefixItems", "minItems", "maxItems"} & schema.keys():
        prefix = schema.get("prefixItems", [])
        size = draw(st.integers(schema.get("minItems", 0), 3))
        return [
            guess(draw, (prefix + [schema.get("items")] * size)[i], root, depth - 1)
            for i in range(size)
        ]
    if below and draw(st.booleans()):
        own = guess(draw, draw(st.sampled_from(below)), root, depth - 1)
        if not isinstance(own, dict):
            return own
    properties = schema.get("properties", {})
    members = dict(own or {})
    for name in [*properties, *schema.get("required", ()), *draw(subsets(NAMES + OTHERS, 1))]:
        if name in schema.get("required", ()) or draw(st.booleans()):
            inner = properties.get(name, schema.get("additionalProperties", True))
            members[name] = guess(draw, inner, root, depth - 1)
    return dict(list(members.items())[:4])


@st.composite
def cases(draw: st.DrawFn) -> tuple[dict[str, Any], list[Any]]:
    schema = draw(documents())
    guesses = [guess(draw, schema, schema) for _ in range(draw(st.integers(3, 6)))]
    return schema, guesses + draw(st.lists(values(2), max_size=2))


@cache
def compiler() -> sg.Compiler:
    return sg.Compiler(sg.Vocabulary.byte_vocabulary(), cache_bytes=0)


def is_accepted(grammar: sg.CompiledGrammar, text: str) -> bool:
    matcher = grammar.matcher()
    return matcher.accept_bytes(text.encode()) and matcher.is_accepting()


def write(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


class Tally(Counter[str]):
    def share(self, name: str) -> float:
        return self[name] / max(1, self.total())


def judge(schema: dict[str, Any], instances: list[Any], tally: Tally) -> None:
    note(f"schema: {json.dumps(schema)}")
    judge_of = validator(schema)
    decimals = [json.loads(write(v), parse_float=Decimal) for v in instances]
    try:
        verdicts = [judge_of.is_valid(v) for v in decimals]
    except RecursionError:  # a reference that leads to itself for the same value
        with pytest.raises(sg.SchemaError) as caught:
            compiler().compile_json_schema(schema)
        unsupported = isinstance(caught.value, sg.UnsupportedSchemaError)
        assert unsupported or "refers to itself" in str(caught.value)
        tally["reference loop"] += 1
        return
    try:
        grammar = compiler().compile_json_schema(schema)
    except sg.UnsupportedSchemaError as error:
        assert error.keyword and error.pointer.startswith("#")
        tally[f"unsupported: {error.keyword}"] += 1
        tally["unsupported"] += 1
        return
    except sg.SchemaError as error:
        if "refers to itself" in str(error):
            tally["reference loop"] += 1
            return
        assert "no value satisfies" in str(error), error
        assert not any(verdicts), "a value satisfies the schema"
        tally["unsatisfiable"] += 1
        return
    tally["compiled"] += 1
    for value, verdict in zip(instances, verdicts, strict=True):
        tally["valid" if verdict else "invalid"] += 1
        if verdict:
            assert any(is_accepted(grammar, write(v)) for v in orders(value)), (
                f"valid, but refused in every order: {write(value)}"
            )
        else:
            for v in orders(value, 60):
                assert not is_accepted(grammar, write(v)), f"invalid, but accepted: {write(v)}"


def run(examples: int) -> Tally:
    tally = Tally()

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(cases())
    def check(case: tuple[dict[str, Any], list[Any]]) -> None:
        judge(*case, tally)

    check()
    print(dict(tally))
    total = tally["compiled"] + tally["unsupported"] + tally["unsatisfiable"]
    assert tally["valid"] > 0.1 * tally["invalid"] > 0
    assert tally["unsupported"] < 0.25 * total
    return tally


def test_generated_schemas() -> None:
    run(300)


@pytest.mark.slow
def test_many_generated_schemas() -> None:
    run(20_000)
