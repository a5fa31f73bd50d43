"""Random grammars, written in both dialects: the IR's language is that of Lark's Earley parser."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import lark
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from structgen.errors import GrammarSyntaxError
from structgen.grammar import Grammar, read_ebnf, read_lark
from tests.grammar.recognizer import recognize

TEXTS = ["".join(t) for n in range(5) for t in product("ab", repeat=n)]
NAMES = ["start", "x", "y"]


@dataclass(frozen=True)
class Both:
    """One expression in two spellings."""

    gbnf: str
    lark: str


LEAVES = st.sampled_from(
    [
        Both('"a"', '"a"'),
        Both('"b"', '"b"'),
        Both('"ab"', '"ab"'),
        Both("[ab]", "/[ab]/"),
        Both("[^a]", '"b".."z"'),
        Both('("a" | "b") "a"', "AB"),
        *(Both(name, name) for name in NAMES),
    ]
)


def sequence(items: list[Both]) -> Both:
    return Both(*(f"({' '.join(getattr(i, d) for i in items)})" for d in ("gbnf", "lark")))


def choice(items: list[Both]) -> Both:
    return Both(*(f"({' | '.join(getattr(i, d) for i in items)})" for d in ("gbnf", "lark")))


def repeated(item: Both, counts: tuple[str, str]) -> Both:
    return Both(f"({item.gbnf}){counts[0]}", f"({item.lark}){counts[1]}")


COUNTS = [("?", "?"), ("*", "*"), ("+", "+"), ("{2}", "~2"), ("{1,3}", "~1..3"), ("{0,3}", "~0..3")]
EXPRESSIONS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(sequence, st.lists(inner, min_size=2, max_size=3)),
        st.builds(choice, st.lists(inner, min_size=2, max_size=3)),
        st.builds(repeated, inner, st.sampled_from(COUNTS)),
    ),
    max_leaves=7,
)


def accepted(grammar: Grammar) -> list[str]:
    grammar.verify()
    return [text for text in TEXTS if recognize(grammar, text).accept]


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.filter_too_much])
@given(st.tuples(EXPRESSIONS, EXPRESSIONS, EXPRESSIONS))
def test_the_language_is_larks(bodies: tuple[Both, Both, Both]) -> None:
    gbnf = "\n".join(f"{n} ::= {b.gbnf}" for n, b in zip(NAMES, bodies, strict=True))
    text = "\n".join(f"{n}: {b.lark}" for n, b in zip(NAMES, bodies, strict=True))
    text += '\nAB: ("a" | "b") "a"\n'
    try:
        parser = lark.Lark(text, parser="earley", lexer="dynamic_complete")
    except lark.exceptions.GrammarError:
        assume(False)  # Lark refuses what its expansion makes twice
        raise
    # Lark builds every derivation, and slows down with their number.
    assume(sum(1 + len(rule.expansion) for rule in parser.rules) <= 40)
    expected = []
    for example in TEXTS:
        try:
            parser.parse(example)
            expected.append(example)
        except lark.exceptions.LarkError:
            pass
    try:
        assert accepted(read_lark(text)) == expected
        assert accepted(read_ebnf(gbnf, "start")) == expected
    except GrammarSyntaxError as error:
        assert "no text follows" in str(error)
        assert expected == []


@settings(deadline=None)
@given(EXPRESSIONS)
def test_both_dialects_agree_with_skipped_blanks(body: Both) -> None:
    rules = f'start: {body.lark}\nx: "a"\ny: "b" x?\nAB: ("a" | "b") "a"\n%ignore "_"\n'
    try:
        grammar = read_lark(rules)
        plain = read_ebnf(f'start ::= {body.gbnf}\nx ::= "a"\ny ::= "b" x?', "start")
    except GrammarSyntaxError as error:
        assert "no text follows" in str(error)
        return
    for text in TEXTS:
        inside = "_".join(["", *text, ""])
        if recognize(grammar, inside).accept:
            assert recognize(plain, text).accept
        assert recognize(grammar, text).accept == recognize(plain, text).accept
        assert recognize(grammar, f"__{text}_").accept == recognize(plain, text).accept
