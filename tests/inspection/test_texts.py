"""Texts over single bytes: where they fail, what was expected, completions, samples."""

from __future__ import annotations

import pytest

from structgen import grammars
from structgen.inspection.byte_grammar import ByteGrammar
from structgen.inspection.completion import completion
from structgen.inspection.expected import expected, show_bytes
from structgen.inspection.reachable import build_reachable
from structgen.inspection.samples import samples

SUMS = 'start: NUMBER ("+" NUMBER)*\nNUMBER: /[0-9]+/\n%ignore " "'


def lark(text: str) -> ByteGrammar:
    return ByteGrammar.compile(lambda compiler: compiler.compile_lark(text))


def builtin(name: str) -> ByteGrammar:
    return lark(grammars.text(name))


def after(grammar: ByteGrammar, text: str) -> list[str]:
    refusal = grammar.refusal(text)
    assert refusal is not None
    return [str(item) for item in expected(grammar, refusal.matcher)]


def test_refusals():
    grammar = builtin("json")
    assert grammar.refusal('["é"]') is None
    refusal = grammar.refusal('["é" x')
    assert refusal is not None
    assert (refusal.position, refusal.byte, refusal.incomplete) == (5, 6, False)
    refusal = grammar.refusal("[1")
    assert refusal is not None
    assert (refusal.position, refusal.incomplete) == (2, True)
    for odd in ('"\udcff"', '"\ud800"'):
        refusal = grammar.refusal(odd)
        assert refusal is not None
        assert refusal.position == 1


def test_what_was_expected():
    assert after(lark(SUMS), "1+") == ["NUMBER [0-9]"]
    assert after(lark(SUMS), "1 x") == ['"+"', "the end of the text"]
    assert after(lark('start: "true" | "try"'), "tx") == ['"true"', '"try"']
    schema = ByteGrammar.compile(lambda c: c.compile_json_schema({"enum": [12, 14]}))
    assert after(schema, "1x") == ["[24]"]


def test_bytes_as_characters():
    assert show_bytes(range(0x30, 0x3A)) == "[0-9]"
    assert show_bytes(b"ab-]\n ") == "[\\n␠\\-\\]ab]"
    assert show_bytes([0x41, 0xC3]) == "[A] or characters beyond ASCII"
    assert show_bytes([0x80]) == "the rest of a character"


def test_special_tokens_have_names():
    text = 'start: "a" <|end|>'
    grammar = ByteGrammar.compile(lambda c: c.compile_lark(text), lambda: ["<|end|>"])
    assert grammar.refusal("a<|end|>") is None
    assert after(grammar, "a") == ["<|end|>"]
    assert grammar.text(next(iter(samples(grammar, 1, seed=0)))) == "a<|end|>"


@pytest.mark.parametrize("name", grammars.names())
def test_beginnings_have_completions(name):
    grammar = builtin(name)
    for text in grammars.examples(name).prefix[:6]:
        matcher = grammar.matcher()
        assert all(matcher.accept_token(i) for i, _ in grammar.ids(text))
        rest = completion(grammar, matcher)
        assert rest is not None
        assert grammar.refusal(text + grammar.text(rest)) is None
        assert all(matcher.accept_token(i) for i in rest)  # the search left it as it was


def test_a_completion_of_a_long_way():
    schema = {"type": "array", "minItems": 4, "items": {"type": "string", "minLength": 20}}
    grammar = ByteGrammar.compile(lambda c: c.compile_json_schema(schema))
    rest = completion(grammar, grammar.matcher())
    assert rest is not None
    assert len(rest) == 4 * 22 + 5
    assert completion(grammar, grammar.matcher(), max_expanded=10) is None


@pytest.mark.parametrize("name", ["arithmetic", "csv", "iso_dates", "json", "xml"])
def test_samples_are_texts_of_the_grammar(name):
    grammar = builtin(name)
    texts = [grammar.text(ids) for ids in samples(grammar, 5, seed=7, length=30)]
    assert [grammar.refusal(text) for text in texts] == [None] * 5
    assert texts == [grammar.text(ids) for ids in samples(grammar, 5, seed=7, length=30)]


@pytest.mark.parametrize("name", ["arithmetic", "json", "xml"])
def test_reachable_states_are_all_that_texts_enter(name):
    grammar = builtin(name)
    automaton = grammar.compiled.automaton
    order, complete = build_reachable(automaton, grammar.compiled.start, limit=10_000)
    assert complete
    automaton.verify()
    reached = set(order)
    for ids in samples(grammar, 5, seed=1):
        matcher = grammar.matcher()
        for i in ids:
            matcher.accept_token(i)
            assert {place.state for place in matcher.configurations()} <= reached
