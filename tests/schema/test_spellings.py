"""Every legal spelling of a value is accepted, no other; whitespace; the order of properties."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest

import structgen as sg


@cache
def grammar(schema: str, whitespace: str = "flexible") -> sg.CompiledGrammar:
    compiler = sg.Compiler(sg.Vocabulary.byte_vocabulary(), cache_bytes=0)
    return compiler.compile_json_schema(schema, whitespace=whitespace)


def accepts(schema: Any, text: str | bytes, whitespace: str = "flexible") -> bool:
    matcher = grammar(json.dumps(schema), whitespace).matcher()
    data = text.encode() if isinstance(text, str) else text
    return matcher.accept_bytes(data) and matcher.is_accepting()


A_KEY = {"properties": {"a/é\U0001f600": {"const": 1}}, "additionalProperties": False}
SPELLINGS = [
    "a/é\U0001f600",
    "\\u0061/é\U0001f600",
    "a\\/é\U0001f600",
    "a\\u002f\\u00e9\U0001f600",
    "a\\u002F\\u00E9\\ud83d\\ude00",
    "a/é\\uD83D\\uDE00",
    "a/é\\uD83d\\udE00",
]
NO_SPELLINGS = [
    "a/é\\ud83d",
    "a/é\\ude00\\ud83d",
    "a/\\u0065\\u0301\U0001f600",  # decomposed: another text
    "a/é\\U0001f600",
    "\\a/é\U0001f600",
    "\\x61/é\U0001f600",
    "a/é\U0001f600 ",
]


@pytest.mark.parametrize("text", SPELLINGS)
def test_spellings(text: str) -> None:
    assert json.loads(f'"{text}"') == "a/é\U0001f600"
    assert accepts(A_KEY, f'{{"{text}":1}}')
    for schema in ({"const": "a/é\U0001f600"}, {"enum": ["a", "a/é\U0001f600", "é"]},
                   {"type": "string"}, {"type": "string", "pattern": "^a/é\U0001f600$"},
                   {"type": "string", "minLength": 4, "maxLength": 4}):  # fmt: skip
        assert accepts(schema, f'"{text}"'), schema


@pytest.mark.parametrize("text", NO_SPELLINGS)
def test_other_texts(text: str) -> None:
    assert not accepts(A_KEY, f'{{"{text}":1}}')
    assert not accepts({"const": "a/é\U0001f600"}, f'"{text}"')


RAW = [
    b'"\x00"', b'"\x1f"', b'"\n"', b'"\t"', b'"\\"', b'"', b'""x', b'"\\u12"', b'"\\u12g4"',
    b'"\\ud800"', b'"\\ud800x"', b'"\\ud800\\n"', b'"\\ud800\\u0041"', b'"\\udc00"',
    b'"\\udc00\\ud800"', b'"\\ud800\\ud800"', b'"\xc0\x80"', b'"\xc1\xbf"', b'"\xe0\x80\x80"',
    b'"\xe0\x9f\xbf"', b'"\xf0\x80\x80\x80"', b'"\xf0\x8f\xbf\xbf"', b'"\xed\xa0\x80"',
    b'"\xed\xbf\xbf"', b'"\xf4\x90\x80\x80"', b'"\xf5\x80\x80\x80"', b'"\xff"', b'"\x80"',
    b'"\xe2\x82"', b'"\xc3"', b"'a'", b'"\\\'"', b'"\\0"',
]  # fmt: skip


@pytest.mark.parametrize("text", RAW, ids=repr)
@pytest.mark.parametrize(
    "schema",
    [True, {"type": "string"}, {"type": "string", "maxLength": 9},
     {"type": "string", "pattern": "^[^a]*$"}],
    ids=repr,
)  # fmt: skip
def test_what_is_no_json_string(schema: Any, text: bytes) -> None:
    assert not accepts(schema, text)
    assert not accepts({"additionalProperties": schema}, b"{" + text + b":1}")
    assert not accepts({}, b"[" + text + b"]")


def test_a_declared_property_comes_once_in_any_spelling() -> None:
    schema = {"properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}}
    assert accepts(schema, '{"a":1,"b":2,"c":3}')
    for twice in ("a", "\\u0061", "b", "\\u0062"):
        assert not accepts(schema, f'{{"a":1,"b":2,"{twice}":1}}')
        assert not accepts(schema, f'{{"a":1,"b":2,"c":1,"{twice}":1}}')
    assert not accepts(schema, '{"\\u0061":"x"}')
    assert not accepts({"properties": {"a": {}}}, '{"x":1,"a":1}'), "declared ones come first"


def test_order() -> None:
    names = ["z", "a", "m", "b"]
    schema = {"properties": {n: {"const": 1} for n in names}, "required": ["b", "u", "a"]}
    order = ["z", "a", "m", "b", "u", "other"]
    for missing in [None, "z", "m", "other"]:
        text = json.dumps({n: 1 for n in order if n != missing})
        assert accepts(schema, text)
    for missing in ["a", "b", "u"]:
        assert not accepts(schema, json.dumps({n: 1 for n in order if n != missing}))
    for i in range(len(order) - 1):
        swapped = [*order[:i], order[i + 1], order[i], *order[i + 2 :]]
        assert not accepts(schema, json.dumps(dict.fromkeys(swapped, 1)))


NUMBERS: list[tuple[Any, list[str], list[str]]] = [
    (
        {"type": "integer"},
        ["0", "-0", "1", "1.0", "-7.000", "123456789012345678901234567890", "-1"],
        ["01", "+1", "1.", ".5", "1.5", "-", "1e-1", "0x1", "NaN", "Infinity", "1_0", '"1"', "--1"],
    ),
    (
        {"type": "number"},
        ["0", "-0", "-0.0", "1e5", "1E+5", "1.5e-10", "0.1", "1e400", "-0e0", "10000000000000000"],
        ["01", "1.e5", "1e", "1e+", "-01", "1.5.2", "- 1", "1 2", "", "Infinity"],
    ),
    ({"minimum": 0, "type": "integer"}, ["0", "-0", "0.0", "-0.0", "17"], ["-1", "-1.0"]),
    ({"exclusiveMinimum": 0, "type": "number"}, ["0.0001", "1"], ["0", "-0", "0.0", "-0.0", "-1"]),
    ({"exclusiveMaximum": 0, "type": "number"}, ["-0.0001", "-1"], ["0", "-0", "0.000", "1"]),
    (
        {"minimum": 0.1, "maximum": 0.3, "type": "number"},
        ["0.1", "0.10", "0.2", "0.3", "0.30", "0.29999999999999999999"],
        ["0.09999", "0.30000000000000000001", "0", "1", "0.31"],
    ),
    ({"const": 1}, ["1", "1.0", "1.00"], ["1.01", "2", "-1", "true", "01"]),
    ({"enum": [-2.50, 1e3]}, ["-2.5", "-2.50", "1000", "1000.0"], ["2.5", "-2.51", "100"]),
    ({"multipleOf": 0.01, "type": "number"}, ["0.07", "1.13", "4.35", "-0.29"], ["0.075", "1e-3"]),
    (
        {"minimum": 9007199254740993, "type": "integer"},
        ["9007199254740993", "9007199254740994"],
        ["9007199254740992", "9007199254740992.0"],
    ),
    ({"maximum": 12345678901234567890123, "type": "integer"},
     ["12345678901234567890123", "-99999999999999999999999999"], ["12345678901234567890124"]),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "good", "bad"), NUMBERS, ids=[repr(s) for s, _, _ in NUMBERS])
def test_numbers(schema: Any, good: list[str], bad: list[str]) -> None:
    assert [t for t in good if not accepts(schema, t)] == []
    assert [t for t in bad if accepts(schema, t)] == []
    assert [t for t in good if not accepts({"items": schema}, f"[{t}, {t} ]")] == []
    assert [t for t in bad if accepts({"items": schema}, f"[{t},{t}]")] == []


TEXT = '{"a":[1,"x",{}],"b":null}'
PLACES = [i + 1 for i, c in enumerate(TEXT) if c in '{}[],:'] + [
    i for i, c in enumerate(TEXT) if c in "{}[],:" and i
]  # fmt: skip


@pytest.mark.parametrize(
    "schema",
    [True, {"properties": {"a": {"prefixItems": [{}, {"type": "string"}]}, "b": {}}},
     {"anyOf": [{"properties": {"a": {"maxItems": 3}}}, {"required": ["c"]}]},
     {"const": {"a": [1, "x", {}], "b": None}}],
    ids=repr,
)  # fmt: skip
def test_whitespace(schema: Any) -> None:
    """Between all tokens, as long as the bound and no longer; never around the value."""
    for at in PLACES:
        outside = at == len(TEXT)
        for run in (" ", "\n", "\t\r\n ", " " * 20):
            text = TEXT[:at] + run + TEXT[at:]
            assert json.loads(text)
            assert accepts(schema, text) != outside, (at, run)
            assert not accepts(schema, text, "compact")
        assert not accepts(schema, TEXT[:at] + " " * 21 + TEXT[at:])
        for wrong in ("\f", "\v", "\u00a0", "\ufeff", "\x00"):
            assert not accepts(schema, TEXT[:at] + wrong + TEXT[at:])
    everywhere = "".join(c if c not in "{}[],:" else f" \n{c}\t " for c in TEXT).strip()
    assert json.loads(everywhere) and accepts(schema, everywhere)
    assert accepts(schema, TEXT, "compact")


@pytest.mark.parametrize(
    ("pattern", "good", "bad"),
    [
        (" ?", ["", " "], ["  ", "\n"]),
        ("\\n? {0,2}", ["", "\n", "\n  ", "  "], ["   ", " \n"]),
        ("[ \\t]{1,2}", [" ", "\t", " \t"], ["", "   ", "\n"]),
        ("( |\\n\\n)", [" ", "\n\n"], ["", "\n", "\n\n "]),
    ],
)
def test_explicit_whitespace(pattern: str, good: list[str], bad: list[str]) -> None:
    schema = {"properties": {"a": {"type": "array", "items": {"type": "integer"}}}}
    pieces = ["{", '"a"', ":", "[", "1", ",", "2", "]", "}"]
    assert [run for run in good if not accepts(schema, run.join(pieces), pattern)] == []
    assert [run for run in bad if accepts(schema, run.join(pieces), pattern)] == []


@pytest.mark.parametrize("pattern", ["x", "[^a]", "(", ".", "[]"])
def test_whitespace_patterns_that_are_none(pattern: str) -> None:
    with pytest.raises(sg.SchemaError, match="whitespace"):
        grammar("{}", pattern)


def test_nul_characters() -> None:
    assert accepts({"enum": ["a\0b"]}, '"a\\u0000b"')
    assert not accepts({"enum": ["a\0b"]}, '"a\0b"')
    assert accepts({"type": "string", "pattern": "^a\0b\\0\\x00$"}, '"a\\u0000b\\u0000\\u0000"')
    assert accepts({"properties": {"\0": {"const": 1}}, "additionalProperties": False},
                   '{"\\u0000":1}')  # fmt: skip
