"""Combinations of lengths and of ranges of numbers, against the values one by one."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

import structgen as sg
from structgen.schema.atoms import NumberRange
from structgen.schema.intervals import join_ranges


@pytest.fixture(scope="module")
def compiler() -> sg.Compiler:
    return sg.Compiler(sg.Vocabulary.byte_vocabulary())


def check(compiler: sg.Compiler, schema: Any, values: list[Any]) -> None:
    validator = Draft202012Validator(schema)
    valid = [validator.is_valid(v) for v in values]
    try:
        grammar = compiler.compile_json_schema(schema)
    except sg.SchemaError:
        assert not any(valid), schema
        return
    for value, expected in zip(values, valid, strict=True):
        matcher = grammar.matcher()
        accepted = matcher.accept_bytes(json.dumps(value).encode()) and matcher.is_accepting()
        assert accepted == expected, (schema, value)


bound = st.integers(0, 12)
atoms = st.one_of(
    bound.map(lambda n: {"minLength": n}),
    bound.map(lambda n: {"maxLength": n}),
    st.tuples(bound, bound).map(lambda b: {"minLength": b[0], "maxLength": b[1]}),
)
formulas = st.recursive(
    atoms,
    lambda inner: st.one_of(
        inner.map(lambda s: {"not": s}),
        *(
            st.lists(inner, min_size=1, max_size=3).map(lambda s, k=k: {k: s})
            for k in ("anyOf", "allOf", "oneOf")
        ),
    ),
    max_leaves=6,
)


@given(formulas)
@settings(max_examples=150, deadline=None)
def test_lengths(compiler: sg.Compiler, formula: Any) -> None:
    check(compiler, {"allOf": [{"type": "string"}, formula]}, ["x" * n for n in range(16)])


@given(formulas, st.sampled_from(["^a*$", "b", "^[ab]{2,10}$"]))
@settings(max_examples=60, deadline=None)
def test_lengths_and_a_pattern(compiler: sg.Compiler, formula: Any, pattern: str) -> None:
    texts = [c * n for n in range(14) for c in "ab"] + ["ab", "aab" * 3]
    schema = {"type": "string", "anyOf": [formula, {"pattern": pattern}]}
    check(compiler, schema, texts)
    check(compiler, {"allOf": [{"type": "string", "pattern": pattern}, formula]}, texts)


numeric = st.integers(-8, 8).map(lambda n: n / 2)
ranges = st.fixed_dictionaries(
    {},
    optional={
        "minimum": numeric,
        "maximum": numeric,
        "exclusiveMinimum": numeric,
        "exclusiveMaximum": numeric,
    },
)


@given(st.lists(ranges, min_size=1, max_size=4), st.sampled_from(["integer", "number"]))
@settings(max_examples=120, deadline=None)
def test_ranges_of_numbers(compiler: sg.Compiler, parts: list[Any], kind: str) -> None:
    values: list[Any] = [n / 4 for n in range(-20, 21)] + list(range(-6, 7))
    values = [v for v in values if kind == "number" or v == int(v)]
    check(compiler, {"type": kind, "anyOf": parts}, values)
    check(compiler, {"anyOf": [{"type": kind, **p} for p in parts]}, values)


def test_neighbouring_integers_are_one_range() -> None:
    def span(low: int, high: int, **more: Any) -> NumberRange:
        return NumberRange(Decimal(low), Decimal(high), integral="value", **more)

    joined = join_ranges([span(4, 6), span(0, 3), span(9, 12), span(6, 7)])
    assert joined == [span(0, 7), span(9, 12)]
    assert join_ranges([span(0, 3, exclusive_maximum=True), span(3, 5)]) == [span(0, 5)]
    huge, next_but_four = (Decimal("1" + "0" * 599 + last) for last in "05")
    apart = [
        NumberRange(None, huge, integral="value"),
        NumberRange(next_but_four, None, integral="value"),
    ]
    assert len(join_ranges(apart)) == 2
