"""Conflicts and the sentences that show them."""

from __future__ import annotations

import pytest

import structgen as sg
from structgen.pushdown.conflicts import explore, sentence, shortest_texts

COMPILER = sg.Compiler(sg.Vocabulary.byte_vocabulary())


def built(text: str):
    compiled = COMPILER.compile_lark(text)
    assert compiled.rules is not None
    return compiled, compiled.rules[1]


PALINDROMES = 'start: "a" start "a" | "b" start "b" | "a" | "b"'
TWO_ENDS = """start: a "x" a "y" | b "x" b "z"
a: "(" a ")" "q" | "w"
b: "(" b ")" "q" | "w"
"""


def test_shift_or_reduce():
    _, grammar = built(PALINDROMES)
    found = explore(grammar.builder.sets, limit=1000)
    assert found.complete
    first = found.conflicts[0]
    assert sentence(grammar, first.before) == '"a" "a"'
    assert sentence(grammar, [first.terminal]) == '"a"'
    assert first.alternatives(found.sets.rules) == ["go on in start", "end start"]


def test_reduce_or_reduce():
    _, grammar = built(TWO_ENDS)
    found = explore(grammar.builder.sets, limit=1000)
    first = found.conflicts[0]
    assert sentence(grammar, first.before) == '"w"'
    assert first.alternatives(found.sets.rules) == ["end a", "end b"]


@pytest.mark.parametrize(
    "text",
    [
        'start: "(" start ")" | "x"',
        'start: e\ne: e "+" e | "n" | "(" e ")"',  # ambiguous, but recursion is taken out of it
        'start: "a"~2..50 "b"',
    ],
)
def test_no_conflict(text):
    compiled, grammar = built(text)
    found = explore(grammar.builder.sets, limit=10_000)
    assert found.complete
    assert found.conflicts == []
    assert compiled.warnings == []


def test_the_sentences_begin_texts_that_are_read_in_several_ways():
    compiled, grammar = built(PALINDROMES)
    several = 0
    for conflict in explore(grammar.builder.sets, limit=1000).conflicts:
        matcher = compiled.matcher()
        spelled = sentence(grammar, [*conflict.before, conflict.terminal]).replace('"', "")
        data = spelled.replace(" ", "").encode()
        assert matcher.accept_bytes(data)
        # Every text begins a palindrome, and its middle may be anywhere in the second half.
        assert matcher.accept_bytes(data[-1:] * 3)
        several += len(matcher.configurations()) > 1
    assert several


def test_a_limit_is_kept_and_said():
    _, grammar = built(PALINDROMES)
    before = len(grammar.builder.sets)
    found = explore(grammar.builder.sets, limit=5)
    assert not found.complete
    assert len(found.order) <= 5
    assert len(grammar.builder.sets) == before  # looking costs the grammar nothing
    assert len(explore(grammar.builder.sets, limit=1000, most_conflicts=1).conflicts) == 1


def test_warnings():
    compiled, _ = built(PALINDROMES)
    (warning,) = compiled.warnings
    assert warning == (
        'not LR(1): after "a" "a", "a" may go on in start or end start; a text runs on up to 256 '
        "stacks, one for each way to read it"
    )
    compiled.warnings.append("mine")
    assert compiled.warnings == [warning]


def test_bytes_are_shown_as_text():
    compiled = COMPILER.compile_ebnf('root ::= "ab" root "ab" | "ab"')
    (warning,) = compiled.warnings
    assert 'after "abab", "a" may' in warning


def test_shortest_texts():
    _, grammar = built('start: "(" start ")" | "a" "b" | "[" start "]" "x" | "c" "d" "e"')
    rules = grammar.builder.sets.rules
    texts = shortest_texts(rules)
    assert sentence(grammar, texts[rules.root]) == '"a" "b"'
