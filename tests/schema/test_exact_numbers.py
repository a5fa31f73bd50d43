"""Numbers of a schema count as they are written: no rounding, and no hang for any exponent."""

from __future__ import annotations

import json
import time
from decimal import Decimal
from fractions import Fraction
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import structgen as sg
from structgen.regular.numbers import is_multiple


@cache
def compiler() -> sg.Compiler:
    return sg.Compiler(sg.Vocabulary.byte_vocabulary())


def accepts(grammar: sg.CompiledGrammar, text: str) -> bool:
    matcher = grammar.matcher()
    return matcher.accept_bytes(text.encode()) and matcher.is_accepting()


LONG = "0.1234567890123456789012345678901234567"
BIG = "123456789012345678901234567890123"
CASES: list[tuple[str, list[str], list[str]]] = [
    (f'{{"minimum": {LONG}}}', [LONG, LONG + "1", "1"], [LONG[:-1] + "6", "0.1"]),
    (f'{{"maximum": {LONG}}}', [LONG, LONG[:-1] + "6"], [LONG[:-1] + "8", LONG + "1"]),
    (f'{{"exclusiveMinimum": {LONG}}}', [LONG + "1"], [LONG, LONG + "0"]),
    (f'{{"const": {LONG}}}', [LONG, LONG + "00"], [LONG[:-1] + "6", "0.12345678901234568"]),
    (f'{{"const": {BIG}}}', [BIG, BIG + ".0"], [BIG[:-1] + "4", BIG[:-5] + "00000"]),
    (f'{{"enum": [[{LONG}], {{"a": {BIG}.5}}]}}', [f"[{LONG}]", f'{{"a":{BIG}.5}}'], ["[0.12]"]),
    (f'{{"enum": [{BIG}.25], "multipleOf": 0.25}}', [f"{BIG}.25"], [f"{BIG}.5"]),
    ('{"multipleOf": 1.1e0}', ["2.2", "0", "-11"], ["2.1"]),
    ('{"enum": [1.10, 2e1, 0e999999999]}', ["1.1", "20", "0", "-0.0"], ["1.11", "2"]),
    ('{"minLength": 2.0, "type": "string"}', ['"ab"'], ['"a"']),
    ('{"minItems": 0.1e1, "type": "array"}', ["[1]"], ["[]"]),
    ('{"maxLength": 1e999999999, "type": "string"}', ['"ab"', '""'], ["1"]),
    ('{"enum": [1e999999999, 3], "maximum": 7}', ["3"], ["7"]),
    ('{"enum": [1e-999999999, 3, 4], "multipleOf": 3}', ["3"], ["4"]),
    ('{"enum": [1e-999999999, 3], "type": "integer"}', ["3"], ["0"]),
    ('{"default": 1.5, "examples": [1e5], "const": "a"}', ['"a"'], ["1.5"]),
    (
        '{"$schema": "http://json-schema.org/draft-04/schema#", "minimum": 1.25,'
        ' "exclusiveMinimum": true}',
        ["1.250000000000000000001"],
        ["1.25"],
    ),
]


@pytest.mark.parametrize(("schema", "good", "bad"), CASES, ids=[schema for schema, _, _ in CASES])
def test_numbers_as_they_are_written(schema: str, good: list[str], bad: list[str]) -> None:
    grammar = compiler().compile_json_schema(schema)
    again = sg.CompiledGrammar.deserialize(grammar.serialize(), compiler().vocabulary)
    for found in (grammar, again):
        assert [text for text in good if not accepts(found, text)] == []
        assert [text for text in bad if accepts(found, text)] == []


def test_resources_with_exact_numbers() -> None:
    other = {"minimum": Decimal(LONG)}
    grammar = compiler().compile_json_schema({"$ref": "x:y"}, resources={"x:y": other})
    again = sg.CompiledGrammar.deserialize(grammar.serialize(), compiler().vocabulary)
    assert accepts(again, LONG) and not accepts(again, LONG[:-1] + "6")


def test_the_cache_tells_exact_numbers_apart() -> None:
    one, two = (f'{{"minimum": 0.{"1" * 30}{last}}}' for last in "12")
    assert compiler().compile_json_schema(one) is not compiler().compile_json_schema(two)
    assert compiler().compile_json_schema(one) is compiler().compile_json_schema(one)


ERRORS: list[tuple[Any, str]] = [
    ('{"minimum": 1e999999999}', "pattern_states .* the bound 1.000e[+]999999999"),
    ('{"maximum": 1e-999999999}', "pattern_states .* the bound 1.000e-999999999"),
    ('{"multipleOf": 1e999999999}', "pattern_states .* multipleOf 1E[+]999999999"),
    ('{"multipleOf": 1e-999999999}', "pattern_states"),
    ('{"const": 1e999999999}', "digits"),
    ('{"enum": [1e999999999, 3], "type": "integer"}', "digits"),
    ('{"enum": [1e999999999, 3], "not": {"multipleOf": 7}}', "digits"),
    (f'{{"minimum": 1.{"1" * 100_000}}}', "pattern_states"),
    (f'{{"const": 1.{"1" * 100_000}}}', "digits"),
    (f'{{"multipleOf": 0.{"1" * 10_000}}}', "pattern_states .{,200}$"),
    ('{"const": 1e9999999999999999999999}', "exponent of 1e9+ is too large"),
    ('{"minLength": 2.5}', "minLength must be a whole number, 0 or more, not 2.5"),
    ('{"maxLength": 1e-999999999}', "maxLength must be a whole number"),
    ('{"minItems": -1.0}', "minItems must be a whole number, 0 or more, not -1.0"),
    ('{"allOf": [1.5]}', "a schema is an object or a boolean, not 1.5"),
    ('{"minimum": NaN}', "NaN is not a JSON value"),
    ('{"maximum": -Infinity}', "-Infinity is not a JSON value"),
    ({"minimum": float("nan")}, "nan is not a JSON number"),
    ({"minimum": Decimal("NaN")}, "NaN is not a JSON number"),
    ({"const": Decimal("sNaN")}, "sNaN is not a JSON number"),
    ({"enum": [1, Decimal("Infinity")]}, "Infinity is not a JSON number"),
    ({"type": 10**5000}, "not a very long integer"),
]


@pytest.mark.parametrize(("schema", "message"), ERRORS, ids=[str(m) for _, m in ERRORS])
def test_numbers_that_cannot_be_enforced(schema: Any, message: str) -> None:
    started = time.monotonic()
    with pytest.raises(sg.StructgenError, match=message):
        compiler().compile_json_schema(schema)
    assert time.monotonic() - started < 5


def test_integers_longer_than_python_writes() -> None:
    for schema in ({"const": 10**4400}, json.dumps({"const": 1}).replace("1", "1" + "0" * 4400)):
        grammar = compiler().compile_json_schema(schema)
        again = sg.CompiledGrammar.deserialize(grammar.serialize(), compiler().vocabulary)
        assert accepts(again, "1" + "0" * 4400) and not accepts(again, "1" + "0" * 4399)


numbers = st.decimals(
    allow_nan=False, allow_infinity=False, min_value=-(10**12), max_value=10**12, places=6
)


@settings(deadline=None)
@given(numbers, st.integers(-12, 12), numbers.filter(bool), st.integers(-12, 12))
def test_multiples(value: Decimal, up: int, divisor: Decimal, down: int) -> None:
    value, divisor = value.scaleb(up), abs(divisor).scaleb(down)
    expected = Fraction(value) % Fraction(divisor) == 0
    assert is_multiple(value, divisor) == expected
    assert is_multiple(divisor * 7, divisor)
