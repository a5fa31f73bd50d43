"""Lark's grammars, construct by construct."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

import structgen as sg
from structgen.errors import GrammarSyntaxError, LimitExceeded
from structgen.grammar import read_lark
from structgen.grammar.ir import Embedded, Special, Term
from tests.grammar.recognizer import recognize


@pytest.mark.parametrize(
    ("text", "good", "bad"),
    [
        ('start: "a" | "b"', ["a", "b"], ["", "ab"]),
        ('start: | "a"', ["", "a"], ["aa"]),
        ("start:", [""], ["a"]),
        ('start: "a"\n     | "b" -> second\n     | x\n?x: "c"\n', ["a", "b", "c"], ["ab"]),
        ('start: ["a"] "b"? ("c" | "d")* "e"+', ["e", "abcdee"], ["ab", "cea"]),
        ('start: "a" ~ 2 "b" ~ 1..3 "c"{2,} "d"{,1}', ["aabcc", "aabbbccccd"], ["abcc"]),
        ('start: "Ab"i "c"', ["abc", "ABc"], ["abC"]),
        ('start: "a".."c" "1".."3"', ["b2"], ["d1", "b4"]),
        ("start: /[a-c]+/i /x.y/s", ["aBx\ny"], ["dx\ny"]),
        ("start: / a b # no\n c/x", ["abc"], ["a b"]),
        ('start: A\nA: B C? | "z"\nB: /b/i\nC: "c" ~ 2', ["b", "Bcc", "z"], ["bc"]),
        ('start: sep{x, ","}\nsep{a, s}: a (s a)*\nx: "x"', ["x", "x,x"], ["", "x,"]),
        ('start: t{f, "1"}\nt{g, x}: g{x} g{x}\nf{y}: "<" y ">"', ["<1><1>"], ["<1>"]),
        ('start: t{t{"a"}}\nt{x}: "(" x ")"', ["((a))"], ["(a)"]),
        ("%import common.INT -> NUM\nstart: NUM", ["12"], ["a"]),
        ('%import common (INT, WS)\n%ignore WS\nstart: INT "x"', ["1x", " 1 x "], ["1 1x"]),
        ("%import common.ESCAPED_STRING\nstart: ESCAPED_STRING", ['"a\\"b"'], ['"a"b"']),
        ('start: A\nA: "a"\n%extend A: "b"', ["a", "b"], ["c"]),
        ('start: x\nx: "a"\n%extend x: "b"', ["a", "b"], ["c"]),
        ('%import common.INT\n%override INT: "x"\nstart: INT', ["x"], ["1"]),
        ('start: "a" // one\n# two\n  | "b" \\\n "c"\n', ["a", "bc"], ["b"]),
        ('start.2: A\nA.-1: "a"\n_B: "b"', ["a"], ["b"]),
        ('start: (\n  "a"\n  | "b"\n)\n', ["a", "b"], ["c"]),
        (r'start: "\x41\u0042\n\"\\" /\x2e\//', ['AB\n"\\./'], ["AB"]),
        ('start: foo-bar\nfoo-bar: "a"->x', ["a"], ["b"]),
        ("start: A\nA: /[a-z]+/ & /.{2,3}/", ["ab", "abc"], ["a", "abcd", "AB"]),
        ('start: %regex {"substring_chunks": ["ab", "c"]} "."', ["abc.", "c.", "."], ["b."]),
        ('start: %lark { start: "a" | x\nx: "}" } "b"', ["ab", "}b"], ["a"]),
        ('start: /a*/ "b"', ["b", "aab"], ["a"]),
        ('start: r ">"\nr[suffix="!"]: /[a-z]*/', ["a!>"], ["a!!>", "a>"]),
        ('start: r "c"\nr[stop=/b+/]: /[a-z]*/', ["aabc"], ["aabbc"]),
        ('start: r ">"\nr[lazy, capture="x"]: /[a-z]+/', ["a>"], ["ab>"]),
    ],
)
def test_constructs(text: str, good: list[str], bad: list[str]) -> None:
    grammar = read_lark(text)
    grammar.verify()
    assert [t for t in good if not recognize(grammar, t).accept] == []
    assert [t for t in bad if recognize(grammar, t).accept] == []


def test_a_text_in_a_rule_is_the_terminal_defined_so() -> None:
    grammar = read_lark('start: "if" /x+/ NAME\nIF.3: "if"\nXS: /x+/\nNAME: /[a-z]+/\n')
    assert grammar.rules["start"] == ((Term("IF"), Term("XS"), Term("NAME")),)
    terminal = grammar.terminals["IF"]
    assert (terminal.priority, terminal.is_literal, terminal.text) == (3, True, "if")
    assert not grammar.terminals["NAME"].is_literal


def test_special_tokens_and_schemas_are_symbols() -> None:
    grammar = read_lark(
        'start: <|end|> <[12]> <[^3,5-7]> <[*]> tail\ntail: %json {"a": [1,\n {}]} "x"\n'
    )
    grammar.verify()
    (production,) = grammar.rules["start"]
    assert production[:4] == (
        Special("<|end|>"),
        Special(ids=((12, 12),)),
        Special(ids=((3, 3), (5, 7)), negated=True),
        Special(negated=True),
    )
    (tail,) = grammar.rules["tail"]
    assert tail[0] == Embedded("json_schema", '{"a": [1,\n {}]}')


def test_lookaheads_at_the_end_are_conditions() -> None:
    grammar = read_lark("start: IF NAME\nIF: /if\\b/\nNAME: /[ a-z]+/")
    grammar.verify()
    assert recognize(grammar, "if x").accept
    assert not recognize(grammar, "ifx").accept


def test_imports(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "words.lark").write_text('%import .inner.digits.D\nWORD: "w" D\npair: WORD WORD')
    (tmp_path / "inner" / "digits.lark").write_text('D: E\nE: "0".."9"')
    grammar = read_lark("%import .words.pair\nstart: pair", base=tmp_path)
    grammar.verify()
    assert recognize(grammar, "w1w2").accept
    grammar = read_lark("%import words.pair -> p\nstart: p p", folders=[tmp_path, tmp_path])
    assert recognize(grammar, "w1w2w1w2").accept
    files = {("a", "b"): 'X: Y\nY: "y"', ("loop",): '%import loop.X\nX: "x"'}
    grammar = read_lark("%import a.b.X\nstart: X", resolver=files.get)
    assert recognize(grammar, "y").accept
    with pytest.raises(GrammarSyntaxError, match="leads back to itself"):
        read_lark("%import loop.X\nstart: X", resolver=files.get)


def test_other_grammars() -> None:
    grammar = read_lark('start: "[" @item ("," @item)* "]"', grammars={"item": 'start: "a" | "b"'})
    assert recognize(grammar, "[a,b]").accept


def test_declared_terminals_matter_only_where_they_are_used() -> None:
    text = 'start: A\nother: _INDENT A\nA: "a"\n%declare _INDENT\n'
    assert recognize(read_lark(text), "a").accept
    with pytest.raises(GrammarSyntaxError, match="only declared"):
        read_lark(text, "other")


@pytest.mark.parametrize(
    ("text", "message", "line", "column"),
    [
        ('start: "a" | foo', "rule foo is used but not defined", 1, 14),
        ('start: A\nAB: "a"', "terminal A is used but not defined; did you mean AB", 1, 8),
        ('start: (\n"a"', "never closed", 1, 8),
        ('start: "a")', r"unmatched \)", 1, 11),
        ('start: ["a")', r"unmatched \)", 1, 12),
        ('start "a"', "expected :", 1, 7),
        ('start: "a', "never closed", 1, 8),
        ("start: /a", "never closed", 1, 8),
        ("start: /a(/", "unterminated subpattern", 1, 10),
        (r"start: /(a)\1/", "not regular", 1, 9),
        (r'start: "\ud800"', "is no character", 1, 9),
        ("start: A\nA: B\nB: A", "refers to itself", 3, 4),
        ('start: A\nA: "a" start', "cannot be part of the terminal", 2, 8),
        ('start: "a"\nstart: "b"', "defined twice", 2, 1),
        ('%override start: "b"', "no rule start to override", 1, 11),
        ("%import common.NOPE\nstart: NOPE", "common defines no NOPE", 1, 1),
        ("%import nope.X\nstart: X", "there is no grammar nope", 1, 1),
        ('start: x{"a"}\nx{a,b}: a b', "takes 2 arguments, not 1", 1, 8),
        ("start: Foo", "Foo is no name", 1, 8),
        ('start: a\na[max_tokens=3]: "x"', "max_tokens", 2, 1),
        ('start: a\na[stop=""]: "x"', "where the model stops", 2, 1),
        ('start: p::0x0\np::_: "x"', "rules with parameters", 1, 9),
        ('start: "a" & "b"', "terminals only", 1, 8),
        ('start: %json {"a": }', "JSON cannot be read", 1, 20),
        ('start: "a"\n%nope', "unknown statement %nope", 2, 1),
        ('start: "b".."a"', "out of order", 1, 8),
        ("start: + A", "nothing to repeat", 1, 8),
        ("start: @x", "no grammar x was given", 1, 8),
        ('start: "a" b: "c"', "line break missing", 1, 13),
        ('start: r\nr[lazy]: "a" s\ns: "(" s ")" | "b"', "made of terminals", 3, 8),
    ],
)
def test_errors_point_at_the_place(text: str, message: str, line: int, column: int) -> None:
    with pytest.raises(GrammarSyntaxError, match=message) as caught:
        read_lark(text)
    assert (caught.value.line, caught.value.column) == (line, column)


def _doubled(n: int) -> str:
    chain = "".join(f"B{'X' * i}: B{'X' * (i + 1)} B{'X' * (i + 1)}\n" for i in range(n))
    return f'start: A\nA: B B\n{chain}B{"X" * n}: "a"\n'


@pytest.mark.parametrize(
    "text",
    [
        "start: " + "(" * 100_000,
        "start: " + "(" * 100_000 + '"a"' + ")" * 100_000,
        "start: A\nA: " + "(" * 900 + "/a*?/" + "|B)" * 900 + '\nB: "b"',
        "start: " + "x" * 10_000_000,
        'start: a{"x"}\na{p}: p a{b{p}}\nb{q}: "z" q',
        _doubled(40),
        "start: %json " + "[" * 100_000,
        "start: x" + " \n" * 50_000 + ")",
        "start: x" + "#\n" * 50_000 + ")",
        "start: " + "a{" * 100_000,
    ],
)
def test_hostile_texts_are_refused_at_once(text: str) -> None:
    begin = time.monotonic()
    with pytest.raises((GrammarSyntaxError, LimitExceeded)):
        read_lark(text)
    assert time.monotonic() - begin < 10


def test_sixteen_optional_parts_in_a_row() -> None:
    grammar = read_lark("start: " + " ".join(f'["{c}"]' for c in "abcdefghijklmnop"))
    assert sum(map(len, grammar.rules.values())) < 80
    assert recognize(grammar, "acp").accept


def test_numbers_of_embedded_schemas_are_exact() -> None:
    bound = "0.30000000000000000001"  # no float
    text = f'start: v\nv: %json {{"type": "number", "minimum": {bound}, "maximum": {bound}}}'
    grammar = sg.Compiler(sg.Vocabulary.byte_vocabulary()).compile_lark(text)
    assert grammar.matcher().accept_bytes(bound.encode())
    assert not grammar.matcher().accept_bytes(b"0.30000000000000000002")
