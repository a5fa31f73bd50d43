"""What judges find by searching, against all states and against values one by one."""

from __future__ import annotations

import json
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

import structgen as sg
from structgen.automaton.tables import Automaton
from structgen.limits import Limits
from structgen.schema.algebra import ARRAY, OBJECT, TRUE
from structgen.schema.compile import SchemaBuilder
from structgen.schema.judges import Judge
from structgen.schema.library import Library
from structgen.schema.options import SchemaOptions

LIBRARY = Library("compact", 0)

scalars = st.sampled_from([{"const": 1}, {"const": 2}, {"type": "integer"}, {"not": {"const": 1}}])
shapes = st.fixed_dictionaries(
    {},
    optional={
        "properties": st.dictionaries(st.sampled_from("ab"), scalars, max_size=2),
        "required": st.lists(st.sampled_from("abc"), unique=True, max_size=2),
        "additionalProperties": st.one_of(st.just(False), scalars),
        "minProperties": st.integers(0, 2),
        "maxProperties": st.integers(0, 2),
    },
)
arrays = st.fixed_dictionaries(
    {},
    optional={
        "prefixItems": st.lists(scalars, min_size=1, max_size=2),
        "items": st.one_of(st.just(False), scalars),
        "contains": scalars,
        "maxContains": st.integers(0, 2),
        "minItems": st.integers(0, 2),
        "maxItems": st.integers(0, 2),
    },
)


def combined(leaves: Any) -> Any:
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            inner.map(lambda s: {"not": s}),
            *(
                st.lists(inner, min_size=2, max_size=4).map(lambda s, k=k: {k: s})
                for k in ("anyOf", "allOf", "oneOf")
            ),
        ),
        max_leaves=6,
    )


def judged(schemas: list[Any], kind: str) -> tuple[SchemaBuilder, Judge | None]:
    """The judge of the schemas' formulas about one type."""
    slot = OBJECT if kind == "object" else ARRAY
    whole = {"$defs": {str(k): s for k, s in enumerate(schemas)}}
    automaton = Automaton(LIBRARY.automaton)
    builder = SchemaBuilder(automaton, LIBRARY, whole, Limits(), SchemaOptions())
    reader = builder.reader
    formulas = [reader.formula(reader.node(s, "#")) for s in schemas]
    ids = tuple(dict.fromkeys(f[slot] for f in formulas if f[slot] > TRUE))
    return builder, builder.vectors.judge(slot, ids) if ids else None


@pytest.mark.parametrize(("kind", "leaves"), [("object", shapes), ("array", arrays)])
@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_search_finds_what_all_states_show(kind: str, leaves: Any, data: Any) -> None:
    schemas = data.draw(st.lists(combined(leaves), min_size=1, max_size=3))
    builder, judge = judged(schemas, kind)
    if judge is None:
        return
    vectors = builder.vectors
    everything = judge.all_finals(vectors)
    assert judge.finals(vectors) == everything
    for verdict in range(1 << len(judge.ids)):
        found = judge.reaches(vectors, 0, judge.start(), frozenset((verdict,)))
        assert found == (verdict in everything)


@given(st.lists(combined(shapes), min_size=1, max_size=3))
@settings(max_examples=100, deadline=None)
def test_verdicts_of_objects(schemas: list[Any]) -> None:
    builder, judge = judged(schemas, "object")
    if judge is None:
        return
    found = builder.vectors.nested(OBJECT, judge.ids)
    reader = builder.reader
    ids = [reader.formula(reader.node(s, "#"))[OBJECT] for s in schemas]
    validators = [Draft202012Validator(s) for s in schemas]
    # Values of every kind that the schemas tell apart, for each name.
    choices: list[Any] = [None, 1, 2, 3, "x"]
    for values in product(choices, repeat=4):
        named = zip("abcd", values, strict=True)
        instance = {name: v for name, v in named if v is not None}
        held = {i for i, v in zip(ids, validators, strict=True) if v.is_valid(instance)}
        verdict = sum(1 << k for k, i in enumerate(judge.ids) if i in held)
        assert verdict in found, (schemas, instance)


def test_recursive_alternatives() -> None:
    """Values nested in values of their own kind: what is achievable is a least fixed point."""
    schema = {
        "$ref": "#/$defs/tree",
        "$defs": {
            "tree": {
                "oneOf": [
                    {"type": "object", "properties": {"l": {"$ref": "#/$defs/tree"}}},
                    {"type": "object", "properties": {"r": {"$ref": "#/$defs/leaf"}}},
                    {"type": "integer"},
                ]
            },
            "leaf": {"oneOf": [{"type": "null"}, {"$ref": "#/$defs/tree"}]},
        },
    }
    grammar = sg.Compiler(sg.Vocabulary.byte_vocabulary()).compile_json_schema(schema)
    validator = Draft202012Validator(schema)
    values: list[Any] = [1, "x", None, {}]
    for _ in range(2):
        values += [{n: v} for n in "lr" for v in values[:8]]
    values += [{"l": v, "r": w} for v in values[:12] for w in values[:12]]
    for value in values:
        matcher = grammar.matcher()
        accepted = matcher.accept_bytes(json.dumps(value).encode()) and matcher.is_accepting()
        assert accepted == validator.is_valid(value), value


def test_many_alternatives_do_not_need_all_states() -> None:
    """27 alternatives told apart by one property each: 2**27 sets of them may hold."""
    branches = [{"required": [f"k{k}"], "properties": {f"k{k}": {}}} for k in range(27)]
    schema = {"type": "object", "oneOf": branches}
    grammar = sg.Compiler(sg.Vocabulary.byte_vocabulary()).compile_json_schema(schema)
    for text, expected in ((b'{"k3":1}', True), (b'{"k3":1,"k9":2}', False), (b'{"x":1}', False)):
        matcher = grammar.matcher()
        assert (matcher.accept_bytes(text) and matcher.is_accepting()) == expected
