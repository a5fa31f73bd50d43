"""Generated schemas with ``uniqueItems`` over few values: our verdict is ``jsonschema``'s."""

from __future__ import annotations

import json
import random
from collections import Counter
from itertools import product
from typing import Any

import numpy as np
import pytest
from differential.oracle import read_json, validator
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from masks.walks import finish, mask_of, words

import structgen as sg

VALUES: list[Any] = ["a", "b", 1, 2, True, None]
OTHERS: list[Any] = [1.0, 3, False, "c", 0]

sets = st.one_of(
    st.lists(st.sampled_from(VALUES), min_size=1, max_size=4, unique_by=repr).map(
        lambda values: {"enum": values}
    ),
    st.sampled_from(
        [
            {"type": "boolean"},
            {"type": "integer", "minimum": 1, "maximum": 3},
            {"type": "string", "pattern": "^[a-c]$"},
            {"const": 1.0},
            {"enum": ["a", 1, 2, 3], "not": {"const": 2}},
            {"anyOf": [{"type": "null"}, {"enum": ["a", "b"]}]},
        ]
    ),
)


def subsets(*names: str) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(names), unique=True, max_size=2)


@st.composite
def arrays(draw: st.DrawFn) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "array", "uniqueItems": draw(st.integers(0, 3)) > 0}
    prefix = draw(st.lists(sets, max_size=2))
    if prefix:
        schema["prefixItems"] = prefix
    schema["items"] = draw(st.one_of(sets, sets, st.just(False))) if prefix else draw(sets)
    for keyword in draw(subsets("minItems", "maxItems", "contains")):
        if keyword == "contains":
            schema["contains"] = draw(sets)
            for bound in draw(subsets("minContains", "maxContains")):
                schema[bound] = draw(st.integers(0, 3))
        else:
            schema[keyword] = draw(st.integers(0, 4))
    return schema


@st.composite
def schemas(draw: st.DrawFn) -> dict[str, Any]:
    kind = draw(st.sampled_from(["one", "one", "anyOf", "oneOf", "allOf", "not", "if", "object"]))
    if kind == "one":
        return draw(arrays())
    if kind == "not":
        items = draw(sets)
        return {"type": "array", "items": items, "maxItems": 3, "not": draw(arrays())}
    if kind == "if":
        return {"if": draw(arrays()), "then": draw(arrays()), "else": draw(arrays())}
    if kind == "object":
        return {"type": "array", "items": {"properties": {"a": draw(arrays())}, "type": "object",
                "required": ["a"], "additionalProperties": False}, "maxItems": 1}  # fmt: skip
    return {kind: draw(st.lists(arrays(), min_size=2, max_size=2))}


def is_accepted(grammar: sg.CompiledGrammar, text: str) -> bool:
    matcher = grammar.matcher()
    return matcher.accept_bytes(text.encode()) and matcher.is_accepting()


def check(schema: dict[str, Any], seed: int, tally: Counter[str]) -> None:
    note(json.dumps(schema))
    rng = random.Random(seed)
    w, judge = words("bytes"), validator(schema)
    pool = [*VALUES, *rng.sample(OTHERS, 2)]
    few = rng.sample(VALUES, 4)
    instances: list[Any] = [list(a) for n in range(3) for a in product(pool, repeat=n)]
    instances += [list(a) for a in rng.sample(list(product(few, repeat=4)), 60)]
    instances += [rng.sample(VALUES, rng.choice((3, 4, 5))) for _ in range(40)]
    if "properties" in json.dumps(schema):
        instances = [[{"a": a}] for a in instances] + [[]]
    texts = [json.dumps(a) for a in instances]
    verdicts = [judge.is_valid(read_json(text)) for text in texts]
    try:
        grammar = w.compiler.compile_json_schema(schema)
    except sg.UnsupportedSchemaError as error:
        assert error.keyword == "uniqueItems" and error.pointer.startswith("#")
        tally["unsupported"] += 1
        return
    except sg.LimitExceeded:
        tally["limit"] += 1
        return
    except sg.SchemaError as error:
        assert "no value satisfies" in str(error)
        assert not any(verdicts), texts[verdicts.index(True)]
        tally["unsatisfiable"] += 1
        return
    tally["compiled"] += 1
    for text, verdict in zip(texts, verdicts, strict=True):
        assert is_accepted(grammar, text) == verdict, (text, verdict)
        tally["valid" if verdict else "invalid"] += 1
    for _ in range(3):
        # A random beginning, then the soonest end: there is one.
        matcher, text = grammar.matcher(), bytearray()
        for _ in range(rng.randrange(12)):
            choices = np.flatnonzero(mask_of(matcher, len(w.vocabulary))[:256]).tolist()
            if not choices:
                break
            byte = rng.choice([b for b in choices if b > 32] or choices)
            assert matcher.accept_token(byte)
            text.append(byte)
        tail = finish(w, matcher, rng, 300)
        if tail is not None:
            assert judge.is_valid(read_json(bytes(text + tail))), bytes(text + tail)
            tally["finished"] += 1


def run(examples: int) -> None:
    tally: Counter[str] = Counter()

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(schemas(), st.integers(0, 99))
    def judged(schema: dict[str, Any], seed: int) -> None:
        check(schema, seed, tally)

    judged()
    print(dict(tally))
    assert tally["valid"] > 0.01 * tally["invalid"] > 0
    assert tally["unsupported"] + tally["limit"] < 0.1 * tally["compiled"]


def test_generated_schemas() -> None:
    run(60)


@pytest.mark.slow
def test_many_generated_schemas() -> None:
    run(3000)


STRINGS = {"type": "array", "items": {"type": "string"}, "uniqueItems": True}
NUMBERS = {"type": "array", "items": {"type": "number"}, "uniqueItems": True}
judged_arrays = st.one_of(
    arrays(),
    st.sampled_from([STRINGS, NUMBERS, {**STRINGS, "minItems": 2}, {**NUMBERS, "maxItems": 2}]),
)


def objects(u: Any, name: str) -> dict[str, Any]:
    return {"type": "object", "properties": {"u": u}, "required": [name]}


@settings(max_examples=60, deadline=None, database=None, derandomize=True)
@given(
    judged_arrays,
    judged_arrays,
    st.sampled_from(["anyOf", "oneOf", "allOf"]),
    st.integers(0, 99),
)
def test_objects_around_are_judged(one: Any, two: Any, keyword: str, seed: int) -> None:
    """All that is accepted is valid, every text can be finished, errors come while compiling."""
    schema = {keyword: [objects(one, "u"), objects(two, "b")]}
    note(json.dumps(schema))
    rng = random.Random(seed)
    w, judge = words("bytes"), validator(schema)
    try:
        grammar = w.compiler.compile_json_schema(schema, whitespace="compact")
    except (sg.UnsupportedSchemaError, sg.LimitExceeded):
        return
    except sg.SchemaError as error:
        assert "no value satisfies" in str(error)
        return
    pool = [*VALUES, *rng.sample(OTHERS, 2)]
    for _ in range(150):
        value = {"u": rng.choices(pool, k=rng.randrange(5)), **rng.choice([{}, {"b": 1}])}
        text = json.dumps(value, separators=(",", ":"))
        if is_accepted(grammar, text):
            assert judge.is_valid(read_json(text)), text
    for _ in range(3):
        matcher, text = grammar.matcher(), bytearray()
        for byte in b'{"u":[' if rng.random() < 0.8 else b"{":
            if mask_of(matcher, len(w.vocabulary))[byte]:
                assert matcher.accept_token(byte)
                text.append(byte)
        for _ in range(rng.randrange(12)):
            choices = np.flatnonzero(mask_of(matcher, len(w.vocabulary))[:256]).tolist()
            assert choices or matcher.is_accepting(), bytes(text)
            if not choices:
                break
            byte = rng.choice(choices)
            assert matcher.accept_token(byte)
            text.append(byte)
        tail = finish(w, matcher, rng, 300)
        if tail is not None:
            assert judge.is_valid(read_json(bytes(text + tail))), bytes(text + tail)


def test_what_is_finite_alone_but_not_together() -> None:
    """The matcher must know from the start that it has to compare items."""
    few = [{"type": "array", "items": {"enum": list(range(k, k + 11))}, "uniqueItems": True}
           for k in (0, 5)]  # fmt: skip
    places = {"prefixItems": [{}] * 20}
    for schema in (
        {"anyOf": [objects(few[0], "u"), objects(few[1], "b")]},
        {"allOf": [objects(few[0], "u"), objects(places, "u")]},
    ):
        grammar = words("bytes").compiler.compile_json_schema(schema)
        assert is_accepted(grammar, '{"u": [1, 2]}')
        assert not is_accepted(grammar, '{"u": [1, 1]}')


def test_what_allof_joins_is_checked_while_compiling() -> None:
    compiler = words("bytes").compiler
    pair = {"prefixItems": [{"type": "string"}, {"const": "a"}], "minItems": 2}
    for one in (STRINGS, {"allOf": [STRINGS]}):
        schema = {"properties": {"a": {"allOf": [objects(one, "u"), objects(pair, "u")]}}}
        with pytest.raises(sg.UnsupportedSchemaError) as error:
            compiler.compile_json_schema(schema)
        assert error.value.keyword == "uniqueItems"


def test_what_cannot_be_exact_is_refused() -> None:
    compiler = words("bytes").compiler
    strings = {"type": "array", "items": {"type": "string"}}
    refused = {
        "#/not": {**strings, "not": {"uniqueItems": True}},
        "#/oneOf/0": {"oneOf": [{**strings, "uniqueItems": True}, {**strings, "minItems": 2}]},
        "#": {"prefixItems": [{"type": "string"}, {"const": "a"}], "minItems": 2,
              "uniqueItems": True, "type": "array"},
    }  # fmt: skip
    for pointer, schema in refused.items():
        with pytest.raises(sg.UnsupportedSchemaError) as error:
            compiler.compile_json_schema(schema)
        assert (error.value.keyword, error.value.pointer) == ("uniqueItems", pointer)
        relaxed = compiler.compile_json_schema(schema, unsupported="relax")
        assert any("uniqueItems" in warning for warning in relaxed.warnings)
