"""``escapes="minimal"``: one spelling for each string, wherever it comes from."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import structgen as sg

SHORT = {'"': '\\"', "\\": "\\\\", "/": "\\/", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r",
         "\t": "\\t"}  # fmt: skip


@cache
def compiler() -> sg.Compiler:
    return sg.Compiler(sg.Vocabulary.byte_vocabulary())


def accepts(schema: Any, text: str, escapes: str) -> bool:
    matcher = compiler().compile_json_schema(schema, escapes=escapes).matcher()
    return matcher.accept_bytes(text.encode()) and matcher.is_accepting()


def spellings(char: str) -> list[str]:
    """Ways to write a character, the required one first."""
    raw = json.dumps(char, ensure_ascii=False)[1:-1]
    units = char.encode("utf-16-be").hex()
    codes = ["\\u" + units[i : i + 4] for i in range(0, len(units), 4)]
    found = [raw, "".join(codes), "".join(c[:2] + c[2:].upper() for c in codes)]
    return list(dict.fromkeys([*found, SHORT.get(char, raw)]))


texts = st.text(
    st.one_of(
        st.characters(exclude_categories=["Cs"]),
        st.characters(max_codepoint=0x1F),
        st.sampled_from('"\\/\x7f aé\u2028\U0001f600'),
    ),
    max_size=6,
)


@settings(max_examples=150, deadline=None)
@given(texts, st.data())
def test_one_spelling_of_each_string(text: str, data: st.DataObject) -> None:
    chosen = [data.draw(st.sampled_from(spellings(char))) for char in text]
    literal, canonical = f'"{"".join(chosen)}"', json.dumps(text, ensure_ascii=False)
    assert json.loads(literal) == text
    key = {"properties": {text: {"const": 1}}, "additionalProperties": False}
    for schema, before, after in (
        (True, "", ""),
        ({"type": "string"}, "", ""),
        ({"const": text}, "", ""),
        ({"enum": ["a", "b", text]}, "", ""),
        ({"type": "string", "minLength": len(text), "maxLength": len(text)}, "", ""),
        ({"type": "string", "pattern": "^[^]*$", "maxLength": 10}, "", ""),
        ({"not": {"const": text + "x"}}, "", ""),
        ({"type": "array"}, "[", "]"),
        (key, "{", ":1}"),
        ({"type": "object"}, "{", ":1}"),
        ({"properties": {"other": {}}}, "{", ":1}"),
        ({"patternProperties": {"": {"const": 1}}}, "{", ":1}"),
    ):
        for escapes, expected in (("any", True), ("minimal", literal == canonical)):
            assert accepts(schema, before + literal + after, escapes) == expected, (schema, escapes)
        assert accepts(schema, before + canonical + after, "minimal"), schema


def test_any_json() -> None:
    matcher = compiler().compile_json(escapes="minimal").matcher()
    assert matcher.accept_bytes(b'["a/')
    assert not matcher.accept_bytes(b"\\/")
    assert not matcher.accept_bytes(b"\\u0061")
    assert not matcher.accept_bytes(b"\\u001F")
    assert matcher.accept_bytes(b'\\u001f"]') and matcher.is_accepting()


def test_a_serialized_grammar_keeps_it() -> None:
    grammar = compiler().compile_json_schema({"type": "string"}, escapes="minimal")
    again = sg.CompiledGrammar.deserialize(grammar.serialize(), compiler().vocabulary)
    assert again.matcher().accept_bytes(b'"a"')
    assert not again.matcher().accept_bytes(b'"\\u0061"')
    assert compiler().compile_json_schema({"type": "string"}) is not grammar


@pytest.mark.parametrize("escapes", ["", "ascii", None, 3])
def test_what_is_no_policy(escapes: Any) -> None:
    with pytest.raises(sg.StructgenError, match="escapes"):
        compiler().compile_json_schema(True, escapes=escapes)


def test_a_vocabulary_that_needs_escapes() -> None:
    pieces: list[bytes | None] = [bytes([b]) if b != 0xC3 else b"\xc3\xa9" for b in range(256)]
    vocabulary = sg.Vocabulary([*pieces, None], eos_token_ids=[256])
    with pytest.raises(sg.StructgenError, match="none for 0xc3; use escapes='any'"):
        sg.Compiler(vocabulary).compile_json(escapes="minimal")
    assert sg.Compiler(vocabulary).compile_json().matcher().accept_bytes(b'"\\u00e9"')
