"""GBNF and XGrammar's EBNF, construct by construct."""

from __future__ import annotations

import time

import pytest

from structgen.errors import GrammarSyntaxError, LimitExceeded
from structgen.grammar import read_ebnf
from structgen.grammar.ir import Special
from tests.grammar.recognizer import recognize


def check(text: str, good: list[str], bad: list[str], root: str = "root") -> None:
    grammar = read_ebnf(text, root)
    grammar.verify()
    assert grammar.scannerless
    assert [t for t in good if not recognize(grammar, t).accept] == []
    assert [t for t in bad if recognize(grammar, t).accept] == []


@pytest.mark.parametrize(
    ("text", "good", "bad"),
    [
        ('root ::= "ab"', ["ab"], ["", "a", "abb"]),
        ('root ::= | "a"', ["", "a"], ["aa"]),
        ('root ::= "a" |', ["", "a"], ["aa"]),
        ("root ::=", [""], ["a"]),
        ('root ::= ""', [""], ["a"]),
        ('root ::= "a"\n  | "b"\n  | x\nx ::= "c"', ["a", "b", "c"], ["ab"]),
        ('root ::= "a"\n  "b"\n\n"c" # comment "d"\n# another ::= "e"\n', ["abc"], ["ab"]),
        ('root ::= ("a" | "b" ("c" | "d")) "e"', ["ae", "bce", "bde"], ["be", "ace"]),
        ('root ::= "a"? "b"* "c"+', ["c", "abbcc"], ["", "ab", "aac"]),
        ('root ::= "a"{2} "b"{1,} "c"{,2} "d"{1,2}', ["aabd", "aabbccdd"], ["abd", "aabcccd"]),
        ('root ::= "a" {2, 3}', ["aa", "aaa"], ["a", "aaaa"]),
        ("root ::= [a-cx] [^a-c] [-a] [a-]", ["xd--", "ax-a", "a\n-a"], ["da-a", "ax^a"]),
        (r"root ::= [\]\\^] [\x41-\x43] [\n\t\r]", ["]B\n", "\\A\t", "^C\r"], ["]D\n"]),
        (r'root ::= "\x41\u0042\U0001F600\n\t\r\\\"\]"', ['AB😀\n\t\r\\"]'], ["AB"]),
        ("root ::= . [^\\n] .", ["\nx\n", "😀y "], ["a\nb"]),
        ("root ::= [一-龥]+ [😀-😿]", ["中😀"], ["中", "a😀"]),
        ('my-root.x_1 ::= a-b\na-b ::= "c"', ["c"], ["d"]),
        ('root ::= "a"root | "b"', ["b", "ab", "aab"], ["a"]),
        ('root ::= "a"?* "b"', ["b", "aab"], ["a"]),
        ('root ::= Regex("a.+c") | Regex("x*", flags="i")', ["abc", "a\n\nc", "", "xX"], ["ac"]),
        ('root ::= Regex("[^x]*?!", json_string=true)', ["ab!", "a!b!"], ['"!', "\n!", "x!"]),
        ('root ::= Regex("(ab){2,50000}c")', ["ababc", "ab" * 30 + "c"], ["abc", "abababa"]),
        ('root ::= Substring("ab", "a", "b") "."', [".", "ab.", "aba.", "ab.", "b."], ["bb."]),
        ('root[temperature=0.5] ::= "a"', ["a"], ["b"]),
    ],
)
def test_constructs(text: str, good: list[str], bad: list[str]) -> None:
    check(text, good, bad, text.split()[0].split("[")[0])


def test_special_tokens_are_symbols() -> None:
    grammar = read_ebnf('root ::= <think> !<think> <[12]> !<[3,5-7]> "<x>"')
    grammar.verify()
    (production,) = grammar.rules["root"]
    assert production[:4] == (
        Special("<think>"),
        Special("<think>", negated=True),
        Special(ids=((12, 12),)),
        Special(ids=((3, 3), (5, 7)), negated=True),
    )
    assert grammar.terminals['"<x>"'].text == "<x>"


@pytest.mark.parametrize(
    ("text", "message", "line", "column"),
    [
        ('root ::= "a" | foo', "foo is used but not defined", 1, 16),
        ('root ::= item\nitme ::= "a"', "did you mean itme", 1, 10),
        ('root ::= ("a"', "never closed", 1, 10),
        ('root ::= "a")', r"unmatched \)", 1, 13),
        ("root ::= [a", "class is never closed", 1, 10),
        ('root ::= "a', "text is never closed", 1, 10),
        ("root ::= * x", "nothing to repeat", 1, 10),
        ('root ::= "a"{3,2}', "out of order", 1, 13),
        ('root ::= "a"{x}', "expected {m}", 1, 13),
        ("root ::= [z-a]", "out of order", 1, 11),
        (r'root ::= "\q"', r"unknown escape \\q", 1, 11),
        (r'root ::= "\ud800"', "is no character", 1, 11),
        ('root = "a"', "expected ::=", 1, 5),
        ('"a"', "expected a rule", 1, 1),
        ('root ::= "a"\nroot ::= "b"', "defined twice", 2, 1),
        ('root ::= "a" (= "b")', "lookahead", 1, 14),
        ('root ::= TagDispatch(("a", x))', "TagDispatch", 1, 10),
        ('root ::= "a"\nr[max_chars=2] ::= "b"', "max_chars", 2, 1),
        ("root ::= < x", "expected a token", 1, 10),
        ('root ::= Regex("(a)\\\\1")', "not regular", 1, 10),
        ('root ::= "a" ; "b"', "expected a name", 1, 14),
    ],
)
def test_errors_point_at_the_place(text: str, message: str, line: int, column: int) -> None:
    with pytest.raises(GrammarSyntaxError, match=message) as caught:
        read_ebnf(text)
    assert (caught.value.line, caught.value.column) == (line, column)
    assert str(caught.value).splitlines()[-1].strip() == "^"


def test_a_missing_start_names_the_rules() -> None:
    with pytest.raises(GrammarSyntaxError, match="no rule root to start from; its rules are a, b"):
        read_ebnf('a ::= b\nb ::= "x"')


@pytest.mark.parametrize(
    "text",
    [
        "root ::= " + "(" * 100_000,
        "root ::= " + "(" * 100_000 + '"a"' + ")" * 100_000,
        "root ::= " + "x" * 10_000_000,
        'root ::= "a"' + "*" * 100_000,
        "root ::= " + "#" * 100_000,
        "root " + "#\n" * 50_000,
        'root ::= Regex("' + "(" * 100_000 + '")',
    ],
)
def test_hostile_texts_are_refused_at_once(text: str) -> None:
    begin = time.monotonic()
    with pytest.raises((GrammarSyntaxError, LimitExceeded)):
        read_ebnf(text if text != "root ::= " + "#" * 100_000 else text + "\n)")
    assert time.monotonic() - begin < 5


def test_deep_nesting_within_the_limit_is_fine() -> None:
    check("root ::= " + "(" * 900 + '"a"' + ")?" * 900, ["", "a"], ["b"])


def test_thousands_of_rules_take_seconds() -> None:
    lines = [f'a{i} ::= "x{i}" (b | [a-z0-9]+)? a{i + 1}' for i in range(4000)]
    text = "\n".join(["root ::= a0", *lines, 'a4000 ::= "q"', 'b ::= "t"'])
    begin = time.monotonic()
    grammar = read_ebnf(text)
    assert time.monotonic() - begin < 20
    assert len(grammar.rules) > 4000
