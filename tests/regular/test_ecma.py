"""ECMA-262 patterns against node, Python's re, and by example."""

from __future__ import annotations

import re
import time
from itertools import product

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from regular.oracle import node_search

from structgen.errors import (
    GrammarSyntaxError,
    LimitExceeded,
    StructgenError,
    UnsupportedSchemaError,
)
from structgen.regular.dfa import DFA
from structgen.regular.ecma import compile_full, compile_pattern

# A failing batch names its pattern; shrinking it would call node hundreds of times.
NO_SHRINK = (Phase.explicit, Phase.reuse, Phase.generate)
SHORT = ["".join(p) for n in range(4) for p in product("ab1 -", repeat=n)]
texts = st.text(st.sampled_from("aabbA1_ -.\n\u2028\u00e9\u0416\U0001f600"), max_size=9)

atoms = st.sampled_from(
    r"a b ab 1 - . é [ab] [^a] [a-z-] [^] [] [\d_] [^\w] \d \D \w \W \s \S \p{Lu} \P{L} \. \/ \x61"
    r" \u{1f600} \ud83d\ude00 \u0020".split()
)
anchors = st.sampled_from(["^", "$", r"\b", r"\B"])
quantifiers = st.sampled_from(["*", "+", "?", "{2}", "{1,2}", "{0,1}", "{2,}", "*?", "+?", "{0}"])


def _combine(inner: st.SearchStrategy[str], looks: bool) -> st.SearchStrategy[str]:
    options = [
        st.builds("{}{}".format, inner, inner),
        st.builds("{}{}{}".format, inner, inner, inner),
        st.builds("(?:{}|{})".format, inner, inner),
        st.builds("({}){}".format, inner, quantifiers),
        st.builds("(?:{}|){}".format, inner, quantifiers),
    ]
    if looks:
        opening = st.sampled_from(["(?=", "(?!", "(?<=", "(?<!"])
        options += [st.builds("{}{})".format, opening, inner)] * 2
    return st.one_of(options)


def patterns(*, assertions: bool, looks: bool) -> st.SearchStrategy[str]:
    leaves = [atoms, atoms, st.builds("{}{}".format, atoms, quantifiers)]
    if assertions:
        leaves.append(anchors)
    return st.recursive(st.one_of(leaves), lambda s: _combine(s, looks), max_leaves=7)


def compiled(pattern: str) -> DFA | None:
    """None for the patterns that need many states, which random ones seldom do."""
    try:
        dfa = compile_pattern(pattern, max_states=3000)
    except LimitExceeded:
        return None
    dfa.verify()
    return dfa


def agree_with_node(batch: list[str], samples: list[str]) -> None:
    # V8 tries zero-width matches between the surrogates of a pair, where there is no character.
    bmp = [text for text in samples if max(text, default="") <= "\uffff"]
    cases = [
        (p, [*SHORT[:: 1 + i % 3], *(bmp if re.search(r"\\[bB]|\(\?[=!<]", p) else samples)])
        for i, p in enumerate(batch)
    ]
    for (pattern, tried), answers in zip(cases, node_search(cases), strict=True):
        assert answers is not None, pattern
        dfa = compiled(pattern)
        if dfa is None:
            continue
        for text, answer in zip(tried, answers, strict=True):
            assert (dfa.accepts(text) == 0) == answer, (pattern, text, answer)


@given(st.lists(patterns(assertions=True, looks=False), min_size=40, max_size=80), st.lists(texts))
@settings(max_examples=12, deadline=None, phases=NO_SHRINK)
def test_random_patterns_as_node_does(batch: list[str], samples: list[str]) -> None:
    agree_with_node(batch, samples)


@given(st.lists(patterns(assertions=True, looks=True), min_size=40, max_size=80), st.lists(texts))
@settings(max_examples=16, deadline=None, phases=NO_SHRINK)
def test_random_lookarounds_as_node_does(batch: list[str], samples: list[str]) -> None:
    agree_with_node(batch, samples)


@given(patterns(assertions=False, looks=False), st.lists(texts, max_size=20))
@settings(max_examples=150, deadline=None)
def test_full_match_as_python_does(pattern: str, samples: list[str]) -> None:
    if re.search(r"\\u|\\p|\\P|\[\]|\[\^\]", pattern):
        return  # spelled differently in Python
    dfa = compile_full(pattern)
    # Python's dot takes more line ends, its classes other sets: give it ECMA's by hand.
    ours = pattern.replace(r"\S", "\0").replace(".", r"[^\n\r\u2028\u2029]").replace("\0", r"\S")
    ours = ours.replace(r"\[^\n\r\u2028\u2029]", r"\.")
    reference = re.compile(ours, re.ASCII)
    for text in samples + SHORT[::3]:
        if re.search("[\u2028\u00e9\u0416]", text):
            continue
        assert (dfa.accepts(text) == 0) == bool(reference.fullmatch(text)), (pattern, text)


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        (r"^\-\_\/\@\"\'\:\#\%\&\,\;\<\>\=\!\~\` $", ["-_/@\"':#%&,;<>=!~` "], [""]),
        (r"^a{b}]$", ["a{b}]"], ["ab"]),
        (r"^x{,5}$", ["x{,5}"], ["xxx"]),
        (r"^[\w-.]+$", ["a-.b"], ["a b"]),
        (r"^[\]a-]+$", ["]-a"], ["b"]),
        (r"^\cJ\0\x41\u0042\u{43}\t$", ["\n\0ABC\t"], ["ABC"]),
        (r"^\s$", list("\ufeff\u00a0\u2003\v\u3000"), ["\u200b", "\u180e", "\x1c"]),
        (r"^.$", ["a", "\U0001f600", "\x85"], ["\n", "\r", "\u2028", "\u2029", ""]),
        (r"^[\ud83d\ude00-\ud83d\ude02]$", ["\U0001f601"], ["\U0001f603", "\ud83d"]),
        (r"^(?<year>\d{4})-(?<month>\d\d)$", ["2024-05"], ["2024-5"]),
        (r"^\p{Script=Greek}+$", ["\u03b1\u03b2"], ["a", "\u0416"]),
        (r"^\p{scx=Hira}\p{sc=Han}\p{gc=Nd}\p{ASCII}$", ["\u3042\u4e007x"], ["aaaa"]),
        (r"^\p{Any}$", ["\U0010ffff"], [""]),
        (r"(?<![a-z])cat(?!s)", ["a cat", "cat", "2cat!"], ["cats", "scat"]),
        (r"^(?=.*\d)(?=.*[a-z]).{4,}$", ["abc1", "1abc"], ["abcd", "1234", "a1"]),
        (r"^(?!.*(.)(?=-)x)", ["a-b"], []),
        (r"(?<=^|,)x(?=,|$)", ["x", "a,x", "x,b"], ["ax", "xb", "y"]),
        (r"a$|^b", ["xa", "bx"], ["ax", "xb"]),
        (r"$^", [""], ["a"]),
        (r"(?:$)a", [], ["", "a"]),
        (r"\d+$", ["a1"], ["1a", "1\n"]),
        ("", ["", "anything"], []),
    ],
)
def test_examples(pattern: str, yes: list[str], no: list[str]) -> None:
    dfa = compile_pattern(pattern)
    dfa.verify()
    for text in yes:
        assert dfa.accepts(text) == 0, text
    for text in no:
        assert dfa.accepts(text) == -1, text


@pytest.mark.parametrize(
    ("pattern", "position"),
    [
        ("a(b", 1),
        ("a)b", 1),
        ("ab[c", 2),
        ("*a", 0),
        ("a**", 2),
        ("a{2}{3}", 4),
        ("a{3,2}", 1),
        ("[z-a]", 1),
        ("^*", 1),
        (r"a\y", 1),
        (r"a\1", 1),
        (r"\k<x>", 0),
        ("\\", 0),
        (r"\u{110000}", 0),
        (r"\p{", 0),
        ("(?P<x>a)", 2),
        ("(?>a)", 1),
    ],
)
def test_invalid_patterns_say_where(pattern: str, position: int) -> None:
    with pytest.raises(GrammarSyntaxError) as caught:
        compile_pattern(pattern)
    assert caught.value.position == position


@pytest.mark.parametrize("pattern", [r"(a)\1", r"(?<x>a)\k<x>", "(?m:^a)", r"\p{Script=Vulcan}"])
def test_unsupported_patterns_say_so(pattern: str) -> None:
    with pytest.raises(UnsupportedSchemaError):
        compile_pattern(pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        "(" * 100_000 + ")" * 100_000,
        "(?=" * 500 + ")" * 500,
        "(a{1000}){1000}",
        "a{99999999999}",
        r"^\p{L}{1,20000}$",
    ],
)
def test_large_patterns_hit_a_limit(pattern: str) -> None:
    with pytest.raises(LimitExceeded):
        compile_pattern(pattern)


def test_deep_patterns_do_not_recurse() -> None:
    assert compile_pattern("(?:" * 900 + "a" + ")*" * 900).accepts("") == 0


@pytest.mark.parametrize(
    ("pattern", "seconds"),
    [
        (r"^[a-zA-Z0-9_.-]{1,64}$", 0.05),
        (r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$", 0.05),
        (r"^.{1,500}$", 0.3),
        (r"(a|b)*a(a|b){12}", 2.0),
    ],
)
def test_time_stays_bounded(pattern: str, seconds: float) -> None:
    compile_pattern("warm")
    begin = time.perf_counter()
    compile_pattern(pattern)
    assert time.perf_counter() - begin < seconds


def test_exponential_patterns_hit_a_limit_soon() -> None:
    begin = time.perf_counter()
    with pytest.raises(StructgenError):
        compile_pattern(r"(a|b)*a(a|b){40}")
    assert time.perf_counter() - begin < 10


@pytest.mark.parametrize(
    "pattern",
    [
        "(?i)ab",
        "a(?i:b)c",
        "(?i)[^k]b",
        "(?i:a(?-i:b))c",
        "(?s).b",
        "(?i)[a-c]{2}",
        r"(?i)\x41b",
        "(?i)é",
    ],
)
def test_modifiers(pattern: str) -> None:
    """Python's re has the same ones."""
    ours, python = compile_full(pattern), re.compile(pattern)
    for text in map("".join, product("aAbBkK\u212a\néÉ", repeat=2)):
        assert (ours.accepts(text) >= 0) == (python.fullmatch(text) is not None), text
        longer = text + "c"
        assert (ours.accepts(longer) >= 0) == (python.fullmatch(longer) is not None), longer
    assert (ours.accepts("é") >= 0) == (python.fullmatch("é") is not None)


def test_flags_in_the_middle_say_where() -> None:
    with pytest.raises(GrammarSyntaxError) as caught:
        compile_pattern("a(?i)b")
    assert caught.value.position == 1
