"""Patterns to automata, against Python's own matcher."""

from __future__ import annotations

import re
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from structgen.errors import GrammarSyntaxError, LimitExceeded
from structgen.grammar.ir import Follow
from structgen.grammar.lexeme import compile_lexeme, nonempty, shortest
from structgen.grammar.python_regex import category, parse, sre
from structgen.regular.casefold import ignore_case
from structgen.regular.charset import contains

TEXTS = ["".join(t) for n in range(6) for t in product("ab\n", repeat=n)]


def accepts(pattern: str, text: str, flags: str = "") -> bool:
    dfa, follows = compile_lexeme(parse(pattern, flags))
    final = dfa.accepts(text)
    return final == 0 or (final > 0 and follows[final - 1].end)


PATTERNS = st.recursive(
    st.sampled_from(["a", "b", ".", "[ab]", "[^a]", r"\w", r"\n"]),
    lambda inner: st.one_of(
        st.builds("{}{}".format, inner, inner),
        st.builds("(?:{}|{})".format, inner, inner),
        st.builds(
            "(?:{}){}".format, inner, st.sampled_from(["*", "+", "?", "{2}", "{1,2}", "*?", "??"])
        ),
    ),
    max_leaves=6,
)


@settings(deadline=None)
@given(PATTERNS, st.sampled_from(["", "s"]))
def test_patterns_are_what_python_matches(pattern: str, flags: str) -> None:
    try:
        dfa, follows = compile_lexeme(parse(pattern, flags))
    except GrammarSyntaxError as error:
        assert "match nothing" in str(error)
        return
    dfa.verify()
    assert not follows
    compiled = re.compile(pattern, re.S if flags else 0)
    lazy = "*?" in pattern or "??" in pattern
    for text in TEXTS:
        if lazy:  # the texts that a lexer would stop at
            match = compiled.match(text)
            expected = match is not None and match.end() == len(text)
        else:
            expected = compiled.fullmatch(text) is not None
        assert (dfa.accepts(text) == 0) == expected, (pattern, text)


@settings(deadline=None)
@given(PATTERNS, st.sampled_from(["a", "b", "ab", "[ab]"]), st.booleans(), PATTERNS)
def test_lookaheads_become_conditions_on_what_follows(
    before: str, body: str, negative: bool, after: str
) -> None:
    pattern = f"(?:{before})(?{'!' if negative else '='}{body})(?:{after})"
    try:
        dfa, follows = compile_lexeme(parse(pattern))
    except GrammarSyntaxError as error:
        assert "past" in str(error) or "match nothing" in str(error)
        return
    if any(mark in pattern for mark in ("*?", "??")):
        return  # what a matcher stops at depends on what follows; covered above
    for text in (t for t in TEXTS if len(t) < 4):
        final = dfa.accepts(text)
        for following in ("", "a", "b", "\n"):
            allowed = final == 0
            if final > 0:
                follow = follows[final - 1]
                allowed = contains(follow.chars, ord(following)) if following else follow.end
            # Whether some match ends exactly where the following text begins.
            rest = f"(?={re.escape(following)}\\Z)"
            expected = re.compile(f"(?:{pattern}){rest}").match(text + following) is not None
            assert allowed == expected, (pattern, text, following)


@pytest.mark.parametrize(
    ("pattern", "flags", "good", "bad"),
    [
        (r"/\*.*?\*/", "s", ["/**/", "/* a\n */"], ["/*/", "/* */ b */"]),
        (r'".*?(?<!\\)(\\\\)*?"', "", ['""', r'"a\"b"', r'"\\"'], ['"a"b"', r'"\"']),
        (r"\/(?!\/)(\\\/|\\\\|[^\/])*?\/[imslux]*", "", ["/a/", "/a/im"], ["//", "/a/b/"]),
        (r"(?i:ab)c", "", ["ABc", "abc"], ["abC"]),
        (r"(?P<n>a)(?<m>b)", "", ["ab"], ["a"]),
        (r"\p{Lu}\P{L}[\p{Nd}_]", "", ["A-7", "Ж__"], ["a-7", "AA7"]),
        (r"\x41\u0042\u{43}\x{44}\U00000045", "", ["ABCDE"], ["ABCD"]),
        (r"a++b|[ab]*+", "", ["aab", "b", ""], ["abc"]),
        (r"^a$|\Ab\Z|c\z", "", ["a", "b", "c"], ["ab"]),
        (r"a b # c", "x", ["ab"], ["a b"]),
        (r"[^k]", "i", ["a"], ["k", "K", "K"]),
        (r"straße|ς", "i", ["STRAßE", "Σ", "σ"], ["strasse"]),
        (r"(?m:a$)\nb", "", ["a\nb"], ["ab"]),
        (r"ab\b c", "", ["ab c"], ["abc"]),
    ],
)
def test_constructs(pattern: str, flags: str, good: list[str], bad: list[str]) -> None:
    assert [t for t in good if not accepts(pattern, t, flags)] == []
    assert [t for t in bad if accepts(pattern, t, flags)] == []


def test_a_word_boundary_at_the_end_is_a_condition() -> None:
    dfa, follows = compile_lexeme(parse(r"if\b"))
    final = dfa.accepts("if")
    assert final > 0
    follow: Follow = follows[final - 1]
    assert follow.end
    assert not any(contains(follow.chars, ord(c)) for c in "x_7é")
    assert all(contains(follow.chars, ord(c)) for c in " (-")


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        (r"(a)\1", "not regular"),
        (r"(?(1)a|b)", "this regular expression"),
        (r"(?>ab|a)", "atomic"),
        (r"(?:ab)*+", "possessive"),
        (r"[a", "unterminated"),
        (r"a**", "multiple repeat"),
        (r"\p{Nope}", "not known"),
        (r"(?<=x)a", "before"),
        (r"\ba", "before"),
        (r"(?:a*?)*b", "match nothing"),
        (r"a(?=bc)", "one character past"),
        (r"\u{110000}", "last code point"),
    ],
)
def test_refused_patterns_say_why(pattern: str, message: str) -> None:
    with pytest.raises(GrammarSyntaxError, match=message):
        compile_lexeme(parse(pattern))


def test_limits() -> None:
    with pytest.raises(LimitExceeded):
        parse("(" * 5000 + ")" * 5000)
    with pytest.raises(LimitExceeded):
        compile_lexeme(parse("(?:a{1000}){1000}"))


def test_case_is_ignored_as_python_ignores_it() -> None:
    every = "".join(map(chr, [*range(0xD800), *range(0xE000, 0x1F000)]))
    for char in "aksſıİKµéΣςßẞǅĲ\u0390\u1c80":
        expected = {ord(c) for c in re.findall(re.escape(char), every, re.I)}
        ranges = ignore_case(((ord(char), ord(char)),))
        assert {c for a, b in ranges for c in range(a, b + 1)} == expected


@pytest.mark.parametrize(
    ("name", "escape"),
    [(sre.CATEGORY_DIGIT, r"\d"), (sre.CATEGORY_WORD, r"\w"), (sre.CATEGORY_SPACE, r"\s")],
)
def test_categories_are_pythons(name: object, escape: str) -> None:
    every = [*range(0xD800), *range(0xE000, 0x110000)]
    matcher = re.compile(escape)
    expected = [c for c in every if matcher.match(chr(c))]
    ranges = category(name, False)
    assert [c for a, b in ranges for c in range(a, b + 1)] == expected


def test_shortest_and_nonempty() -> None:
    dfa, _ = compile_lexeme(parse("(ab)*"))
    some = nonempty(dfa)
    some.verify()
    assert (some.accepts(""), some.accepts("ab"), some.accepts("abab")) == (-1, 0, 0)
    first = shortest(some)
    first.verify()
    assert (first.accepts("ab"), first.accepts("abab")) == (0, -1)
    assert nonempty(compile_lexeme(parse("a{0}"))[0]).is_empty
