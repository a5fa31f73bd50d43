"""Grammars that are wrong, huge or deeply ambiguous: an error that says where, a limit, or sense.

Each takes seconds at most; what a limit stops is stopped, and nothing hangs or overflows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from masks.walks import mask_of

import structgen as sg

COMPILER = sg.Compiler(sg.Vocabulary.byte_vocabulary(), cache_bytes=0)
SIZE = len(COMPILER.vocabulary)
ebnf, lark = COMPILER.compile_ebnf, COMPILER.compile_lark
Compile = Callable[..., sg.CompiledGrammar]


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Of this thread's own time: other processes may share the machine."""
    started = time.thread_time()
    yield
    assert time.thread_time() - started < seconds


def fits(compiled: sg.CompiledGrammar, text: str, *, complete: bool = True) -> bool:
    matcher = compiled.matcher()
    accepted = matcher.accept_bytes(text.encode())
    assert not accepted or mask_of(matcher, SIZE).any()
    return accepted and matcher.is_accepting() == complete


# -- wrong grammars -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "compile_one, text, line, column, what",
    [
        (ebnf, 'root ::= "a"\n  | missing "b"', 2, 5, "missing is used but not defined"),
        (lark, 'start: "a"\n  | missing "b"', 2, 5, "missing is used but not defined"),
        (lark, "start: A\nA: B", 2, 4, "B is used but not defined"),
        (ebnf, "root ::= root", 1, 1, "no text follows"),
        (lark, 'start: "a" start', 1, 1, "no text follows"),
        (ebnf, 'root ::= ("a"', 1, 10, "never closed"),
        (lark, 'start: ("a"', 1, 8, "never closed"),
        (lark, 'start: "a"\nstart: "b"', 2, 1, "start"),
        (ebnf, 'root ::= "a"{3,1}', None, None, ""),
        (ebnf, 'root ::= "x"{1,10000000000000}', 1, 13, "count"),
        (lark, "start: /(/", 1, None, ""),
    ],
)
def test_an_error_says_where(
    compile_one: Compile, text: str, line: int | None, column: int | None, what: str
) -> None:
    with pytest.raises(sg.GrammarSyntaxError) as caught:
        compile_one(text)
    message = str(caught.value)
    assert what in message
    if line is not None:
        assert caught.value.line == line
        assert "^" in message.splitlines()[-1]
        assert message.splitlines()[1].strip() == text.splitlines()[line - 1].strip()
    if column is not None:
        assert caught.value.column == column


def test_what_cannot_be_reached_is_named() -> None:
    compiled = lark('start: "x"\nunused: "y"')
    assert any("unused" in warning for warning in compiled.warnings)
    assert fits(compiled, "x") and not compiled.matcher().accept_bytes(b"y")


def test_a_terminal_that_matches_the_empty_text() -> None:
    compiled = lark("start: A B A\nA: /a*/\nB: /b?c?/")
    for text in ("", "a", "aabc", "c", "aca", "bcaa"):
        assert fits(compiled, text), text
    assert not compiled.matcher().accept_bytes(b"cb")


def test_recursion_on_the_left_through_empty_rules() -> None:
    compiled = ebnf('root ::= e root "x" | e e | "y"\ne ::= "" | e e | root2\nroot2 ::= e')
    for text in ("", "y", "x", "yxxx"):
        assert fits(compiled, text), text
    assert not compiled.matcher().accept_bytes(b"xy")


@pytest.mark.parametrize("text", ["start: ", 'start: ("a" | )'])
def test_the_empty_sentence_after_ignored_texts(text: str) -> None:
    compiled = lark(text + '\n%ignore " "')
    assert fits(compiled, "")
    assert fits(compiled, "  ")


def test_a_token_that_takes_what_must_follow() -> None:
    """No text is complete: A is longest, so B never comes."""
    with pytest.raises(sg.StructgenError, match="no sentence"):
        lark("start: A B\nA: /a+/\nB: /a/")


@pytest.mark.xfail(strict=True, reason="what ends an embedded value is not known to the parser")
def test_a_value_that_takes_what_must_follow() -> None:
    with pytest.raises(sg.StructgenError):
        lark('start: %json {"type": "integer"} "5"')


def test_half_a_character() -> None:
    with pytest.raises(sg.StructgenError):
        ebnf('root ::= "\ud800"')
    with pytest.raises(sg.StructgenError):
        lark('start: "\ud800"')


def test_not_a_text() -> None:
    for wrong in (b'start: "x"', None, 5):
        with pytest.raises(sg.StructgenError):
            lark(wrong)
        with pytest.raises(sg.StructgenError):
            ebnf(wrong)


# -- size -----------------------------------------------------------------------------------------


def test_parentheses_in_the_text() -> None:
    n = 100_000
    with at_most(3):
        assert fits(ebnf('root ::= "(" root ")" | "x"'), "(" * n + "x" + ")" * n)
        assert fits(lark('start: "(" start ")" | "x"\n%ignore " "'), "( " * n + "x" + " )" * n)


@pytest.mark.parametrize("begin", ["(", "(a|", '("a" ', '[("a"'])
@pytest.mark.parametrize(
    "compile_one, rule", [(ebnf, "root ::= "), (lark, "start: "), (lark, "start: /")]
)
def test_parentheses_in_the_grammar(compile_one: Compile, rule: str, begin: str) -> None:
    with at_most(5), pytest.raises((sg.LimitExceeded, sg.GrammarSyntaxError)):
        compile_one(rule + begin * 100_000)


@pytest.mark.parametrize(
    "text",
    [
        "# " + "x" * (10 << 20) + '\nroot ::= "x"',
        'root ::= "' + "x" * (10 << 20) + '"',
        "\n".join(f'r{i} ::= "abc" r{i + 1} | "def"' for i in range(300_000)),
        "@" * (10 << 20),
    ],
)
def test_ten_megabytes(text: str) -> None:
    for compile_one in (ebnf, lark):
        with at_most(5), pytest.raises((sg.LimitExceeded, sg.GrammarSyntaxError)):
            compile_one(text)


LIMITED = sg.Compiler(
    sg.Vocabulary.byte_vocabulary(), cache_bytes=0, limits=sg.Limits(compile_seconds=1)
)

N = 15_000
HUGE = {
    "alternatives of letters": (
        "ebnf", "root ::= " + " | ".join(f'"w{i}"' for i in range(N)), "w99",
    ),
    "alternatives of tokens": ("lark", "start: " + " | ".join(f'"w{i}"' for i in range(N)), "w99"),
    "alternatives of two tokens": (
        "lark", "start: " + " | ".join(f'"w{i}" "v{i}"' for i in range(N)), "w99v99",
    ),
    "alternatives around a rule": (
        "ebnf", 'root ::= "x" | ' + " | ".join(f'"w{i} " root "v{i}"' for i in range(N)), "x",
    ),
    "alternatives of characters": (
        "ebnf", "root ::= " + " | ".join(f'[{chr(0x4E00 + i)}] "a"' for i in range(N)), "一a",
    ),
    "one terminal of words": (
        "lark", "start: W\nW: " + " | ".join(f'"word{i}"' for i in range(N)), "word99",
    ),
    "many terminals": (
        "lark",
        "start: " + " | ".join(f"T{i}" for i in range(5000)) + "\n"
        + "\n".join(f'T{i}: "w{i}" /[a-z]+/' for i in range(5000)),
        "w9a",
    ),
    "a chain of rules": (
        "lark",
        "start: r0\n" + "\n".join(f"r{i}: r{i + 1}" for i in range(10_000)) + '\nr10000: "x"',
        "x",
    ),
    "a chain around letters": (
        "ebnf",
        "root ::= r0\n" + "\n".join(f'r{i} ::= "a" r{i + 1} "b"' for i in range(10_000))
        + '\nr10000 ::= "x" | root',
        "a" * 10_000 + "x" + "b" * 10_000,
    ),
    "a ladder of operators": (
        "lark",
        "start: r0\n" + "\n".join(f'r{i}: r{i} "o{i} " r{i + 1} | r{i + 1}' for i in range(1000))
        + '\nr1000: "x" | "(" start ")"',
        "(xo5 x)",
    ),
    "a repetition of letters": ("ebnf", 'root ::= "x"{1,100000}', "x" * 1000),
    "a repetition of tokens": ("lark", 'start: "x"~1..100000', "x" * 1000),
    "a repetition around a rule": ("ebnf", 'root ::= ("(" root ")"){1,100000} | "x"', "(x)(x)"),
    "a repetition in a pattern": ("lark", "start: /x{1,100000}/", "x"),
    "repetitions of repetitions": ("ebnf", 'root ::= (("x"{1,1000}){1,1000}){1,1000}', "x"),
    "tags": (
        "tag",
        {
            "type": "triggered_tags",
            "triggers": ["<f"],
            "tags": [
                {"begin": f"<f{i}>", "content": {"type": "any_text"}, "end": f"</f{i}>"}
                for i in range(2000)
            ],
        },
        "<f7>x</f7>",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HUGE)
def test_huge_grammars(name: str) -> None:
    """A limit, the seconds among them, or a grammar that works."""
    kind, text, sentence = HUGE[name]
    with at_most(6):
        try:
            if kind == "ebnf":
                compiled = LIMITED.compile_ebnf(text)
            elif kind == "lark":
                compiled = LIMITED.compile_lark(text)
            else:
                compiled = LIMITED.compile_structural_tag(
                    {"type": "structural_tag", "format": text}
                )
        except sg.LimitExceeded as error:
            print(f"\n{name}: {error}")
            return
        try:
            assert fits(compiled, sentence)
        except sg.LimitExceeded as error:
            print(f"\n{name}: {error}")


@pytest.mark.slow
def test_reading_a_grammar_counts_as_compiling() -> None:
    text = "start: " + " | ".join(f'"w{i}" "v{i}"' for i in range(100_000))
    with at_most(4), pytest.raises(sg.LimitExceeded):
        LIMITED.compile_lark(text)


def test_a_chain_of_rules_costs_what_its_size_is() -> None:
    """A thousand short rules, each called once by the one before: far from the usual limit."""
    rules = "\n".join(f'r{i} ::= "a" r{i + 1} "b" | "x"' for i in range(1000))
    compiled = ebnf(f'root ::= "(" r0 ")"\n{rules}\nr1000 ::= root')
    assert fits(compiled, "(aaxbb)")


# -- ambiguity ------------------------------------------------------------------------------------

AMBIGUOUS = {
    "pairs": ('root ::= root root | "x"', "x" * 5000),
    "pairs, triples, nothing": (
        'root ::= root root root | root root | "x" | "(" root ")" | ""', "(" * 40 + "x" * 300,
    ),
    "sums": ('root ::= root "+" root | root "*" root | "(" root ")" | "x"', "(x+x*" * 300),
    "else": ('root ::= "i" root | "i" root "e" root | "x"', "i" * 400 + "x" + "ex" * 300),
    "palindromes": ('root ::= "a" root "a" | "b" root "b" | "a" | "b" | ""', "ab" * 300),
    "copies": (
        'root ::= a | b\na ::= "x" a "y" | "x" a | ""\nb ::= "x" b "y" "y" | "x" b | ""', "x" * 90,
    ),
    "searches": (
        "root ::= " + " | ".join(f'[a-z]* "k{i}" [a-z]*' for i in range(40)), "abc" * 300,
    ),
    "empty rules": (
        "root ::= " + " ".join(f"a{i}" for i in range(60)) + "\n"
        + "\n".join(f'a{i} ::= "x"? | root' for i in range(60)), "xxx",
    ),
    "the n-th from the end": ('root ::= ("a"|"b")* "a" ("a"|"b"){18}', "ab" * 400),
}  # fmt: skip


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_deep_ambiguity(name: str) -> None:
    text, sentence = AMBIGUOUS[name]
    with at_most(6):
        matcher = ebnf(text).matcher()
        try:
            for i in range(0, len(sentence), 50):
                assert matcher.accept_bytes(sentence[i : i + 50].encode())
                assert mask_of(matcher, SIZE).any()
        except sg.LimitExceeded as error:
            assert error.limit in ("stacks", "states", "reductions", "step_seconds")
            print(f"\n{name}: {error}")


def test_a_matcher_is_as_before_after_a_limit() -> None:
    matcher = ebnf('root ::= "i" root | "i" root "e" root | "x"').matcher()
    assert matcher.accept_bytes(b"i" * 100)
    before = mask_of(matcher, SIZE)
    with pytest.raises(sg.LimitExceeded):
        matcher.accept_bytes(b"i" * 400 + b"x" + b"ex" * 300)
    assert np.array_equal(mask_of(matcher, SIZE), before)
    assert matcher.accept_bytes(b"x") and matcher.is_accepting()
    matcher.rollback(2)
    assert matcher.accept_bytes(b"ixex") and matcher.is_accepting()
