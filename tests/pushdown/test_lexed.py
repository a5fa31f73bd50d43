"""Grammars with a lexer against a slow reading of the rule: the longest match, in context."""

from __future__ import annotations

import random
import re
from collections import Counter
from dataclasses import dataclass
from functools import cache
from itertools import product

import lark
import pytest

import structgen as sg
from structgen.grammar import read_lark
from tests.pushdown.reference import LR1, Conflict, Earley, Random, random_grammar

COMPILER = sg.Compiler(sg.Vocabulary.byte_vocabulary(), cache_bytes=0)


@cache
def matches(pattern: str, text: str) -> bool:
    return re.fullmatch(pattern, text) is not None


@dataclass(frozen=True)
class Token:
    """``after``: what the character behind the token must match, "" where it does not matter."""

    name: str
    pattern: str
    literal: bool = False
    priority: int = 0
    after: str = ""

    @property
    def definition(self) -> str:
        name = f"{self.name}.{self.priority}" if self.priority else self.name
        return f"{name}: " + (f'"{self.pattern}"' if self.literal else f"/{self.source}/")

    @property
    def source(self) -> str:
        return self.pattern + self.after

    def matches(self, text: str) -> bool:
        return matches(self.pattern, text)

    def may_precede(self, character: str) -> bool:
        """``character``: the one that comes next, "" at the end of the text."""
        return re.match(self.after, character) is not None


class Reference:
    """At each place, of the terminals that may come there and the ignored ones, the longest match.

    Of several the one of the highest priority, then a literal, then the first in the IR, whose
    condition on the next character holds; conditions do not make a shorter match the longest.
    """

    def __init__(self, lexed: Lexed) -> None:
        self.tokens, self.ignore = lexed.tokens, lexed.ignore
        self.order = list(read_lark(lexed.text).terminals)
        self.earley = Earley(lexed.productions)

    def expected(self, chart: list[dict]) -> set[str]:
        return {
            body[dot]
            for _, body, dot, _ in chart[-1]
            if dot < len(body) and body[dot] not in self.earley.productions
        }

    def read(self, text: str) -> list[str] | None:
        """The tokens of a sentence, ignored ones too; None if it is none."""
        chart, at, names = self.earley.begin(), 0, []
        while at < len(text):
            expected = self.expected(chart)
            live = [t for t in self.tokens if t.name in expected or t.name in self.ignore]
            end = max(
                (e for e in range(at + 1, len(text) + 1) for t in live if t.matches(text[at:e])),
                default=at,
            )
            found = [
                t
                for t in live
                if end > at and t.matches(text[at:end]) and t.may_precede(text[end : end + 1])
            ]
            if not found:
                return None
            token = min(found, key=lambda t: (-t.priority, not t.literal, self.order.index(t.name)))
            if token.name in expected:
                following = self.earley.feed(chart, token.name)
                assert following is not None
                chart = following
            names.append(token.name)
            at = end
        return names if self.earley.accepts(chart) else None


PATTERNS = [
    "a+", "b+", "[ab]+", "a*b", "ab?", "[ab]1?", "1+", "1", "a|b", "ab|ba", "a1*", "b(ab)*", "aa?",
    "[ab][ab]", "1?a", "a1b", "(a|1)b?",
]  # fmt: skip
LITERALS = ["a", "b", "ab", "ba", "aa", "1", "a1", "aba", "b1"]
IGNORED = ["_+", "_", "_1?", "_*1", "_[ab]?_"]
ALPHABET = "ab1_"
TEXTS = {
    longest: ["".join(t) for n in range(longest + 1) for t in product(ALPHABET, repeat=n)]
    for longest in (4, 5, 6)
}
AFTER = ["(?!1)", "(?!b)", "(?=[ab])", "(?![ab])"]


@dataclass(frozen=True)
class Lexed:
    text: str
    tokens: list[Token]
    ignore: list[str]
    productions: dict
    grammar: Random

    def __repr__(self) -> str:
        return self.text


def random_lexed(rng: random.Random, *, conditions: float = 0.0) -> Lexed:
    """A grammar over four tokens, some ignored ones, and a random set of rules."""
    places = "tuvw"
    grammar = random_grammar(rng, places, 3)
    tokens = []
    for place in places:
        literal = rng.random() < 0.45
        pattern = rng.choice(LITERALS if literal else PATTERNS)
        after = "" if literal or rng.random() >= conditions else rng.choice(AFTER)
        if after and "|" in pattern:
            pattern = f"({pattern})"
        priority = rng.choice((0, 0, 0, 1, 2, -1))
        tokens.append(Token(place.upper(), pattern, literal, priority, after))
    ignored = [
        Token(f"I{i}", p) for i, p in enumerate(rng.sample(IGNORED, rng.choice((0, 1, 1, 2))))
    ]
    used = {s for bodies in grammar.productions.values() for b in bodies for s in b}
    tokens = [token for token in tokens if token.name.lower() in used]
    if not tokens:
        return random_lexed(rng, conditions=conditions)
    text = grammar.lark
    for place in places:
        text = text.replace(f'"{place}"', place.upper())
    productions = {
        name: [tuple(s.upper() if s in places else s for s in body) for body in bodies]
        for name, bodies in grammar.productions.items()
    }
    lines = [text, *(token.definition for token in [*tokens, *ignored])]
    lines += [f"%ignore {token.name}" for token in ignored]
    return Lexed(
        "\n".join(lines), [*tokens, *ignored], [t.name for t in ignored], productions, grammar
    )


def is_lr1(lexed: Lexed) -> bool:
    try:
        LR1.of(lexed.productions)
    except Conflict:
        return False
    return True


def sentences(matcher: sg.Matcher, alphabet: str, longest: int) -> dict[str, bool]:
    """Beginnings of texts up to a length, by whether they are complete."""
    found: dict[str, bool] = {}

    def visit(text: str) -> None:
        found[text] = matcher.is_accepting()
        for letter in alphabet if len(text) < longest else "":
            if matcher.accept_bytes(letter.encode()):
                visit(text + letter)
                matcher.rollback(1)

    visit("")
    return found


def compare(seeds: range, longest: int, *, conditions: float = 0.0) -> None:
    """Grammars whose tokens are LR(1), exactly; the others are counted.

    In a grammar that is not LR(1) each of several configurations has a lexer of its own, which
    takes what it can use; the reference has one for all of them.
    """
    counts: Counter[str] = Counter()
    wrong: list[tuple] = []
    for seed in seeds:
        lexed = random_lexed(random.Random(seed), conditions=conditions)
        reference = Reference(lexed)
        try:
            matcher = COMPILER.compile_lark(lexed.text).matcher()
        except sg.StructgenError as error:
            assert "has no sentence" in str(error)
            assert not any(reference.read(text) is not None for text in TEXTS[longest])
            counts["grammars without a sentence"] += 1
            continue
        kind = "LR(1)" if is_lr1(lexed) else "not LR(1)"
        try:
            found = sentences(matcher, ALPHABET, longest)
        except sg.LimitExceeded as error:
            assert error.limit == "stacks"
            counts["more than 256 stacks"] += 1
            continue
        counts[f"{kind} grammars"] += 1
        for text in TEXTS[longest]:
            expected, complete = reference.read(text) is not None, found.get(text, False)
            counts[f"{kind} texts"] += 1
            if expected == complete:
                continue
            counts[f"{kind}: {'wrongly complete' if complete else 'missing'}"] += 1
            if kind == "LR(1)":
                wrong.append((seed, lexed, text, expected))
        hopeful = {text[:n] for text, complete in found.items() if complete for n in range(longest)}
        counts["beginnings"] += sum(len(text) < longest - 2 for text in found)
        counts["beginnings that come to nothing soon"] += sum(
            len(text) < longest - 2 and text not in hopeful for text in found
        )
    print(f"\n{dict(counts)}")
    assert wrong == []


def test_random_lexers() -> None:
    compare(range(120), 5)


@pytest.mark.slow
def test_many_random_lexers() -> None:
    compare(range(1000, 1400), 6)


def test_random_lexers_with_conditions() -> None:
    compare(range(10_000, 10_100), 5, conditions=0.6)


@pytest.mark.slow
def test_many_random_lexers_with_conditions() -> None:
    compare(range(11_000, 11_300), 6, conditions=0.6)


# -- Lark ---------------------------------------------------------------------------------------


def against_lark(seeds: range, longest: int) -> None:
    """Lark's contextual lexer takes the first pattern that matches, in an order of its own.

    So it may prefer a shorter token, or go back to one where the longest leads nowhere, and it
    learns from LALR(1) tables which terminals may come, a few more than can. Where the two differ
    the reference decides.
    """
    counts: Counter[str] = Counter()
    for seed in seeds:
        lexed = random_lexed(random.Random(seed))
        try:
            parser = lark.Lark(lexed.text, parser="lalr", lexer="contextual")
        except lark.exceptions.LarkError:
            counts["not LALR(1)"] += 1
            continue
        counts["grammars"] += 1
        compiled, reference = COMPILER.compile_lark(lexed.text), Reference(lexed)
        for text in TEXTS[longest]:
            try:
                parser.parse(text)
                tokens = [token.type for token in parser.lex(text)]
            except lark.exceptions.LarkError:
                tokens = None
            matcher = compiled.matcher()
            found = matcher.accept_bytes(text.encode()) and matcher.is_accepting()
            if (tokens is not None) == found:
                counts["both accept" if found else "both reject"] += 1
                continue
            ours = reference.read(text)
            assert (ours is not None) == found, (seed, lexed, text)
            if tokens is None:
                counts["only structgen accepts"] += 1
            else:
                counts["only Lark accepts"] += 1
    print(f"\n{dict(counts)}")
    agreed = counts["both accept"] + counts["both reject"]
    differ = counts["only structgen accepts"] + counts["only Lark accepts"]
    assert counts["both accept"] > 10 * differ / 2 and differ < agreed / 20


def test_larks_contextual_lexer() -> None:
    against_lark(range(20_000, 20_200), 4)


@pytest.mark.slow
def test_larks_contextual_lexer_on_many() -> None:
    against_lark(range(21_000, 21_800), 5)


# -- grammars with a point ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, accepted, rejected",
    [
        # A keyword is a keyword where both may come, and an identifier where only that may.
        (
            'start: "if" NAME | NAME "="\nNAME: /[a-z]+/\n%ignore " "',
            ["if a", "if if", "ifa=", "a ="],
            ["if", "if=", "ifa"],
        ),
        # The longest match, though the shorter one would fit.
        ("start: A B | C\nA: /a+/\nB: /ab/\nC: /a+b/", ["ab", "aab", "b"][:2], ["a", "aabab"]),
        # Priority decides between matches of equal length only.
        ('start: A "x" | B "y"\nA.2: /a+/\nB: /[ab]+/', ["aax", "aby"], ["aay", "abx"]),
        ('start: A "x" | B "y"\nA: /a+/\nB.2: /[ab]+/', ["aay", "aby"], ["aax"]),
        # A literal before a pattern, whatever the order.
        ('start: A "x" | "aa" "y"\nA: /a+/', ["ax", "aaax", "aay"], ["aax", "ay"]),
        # An ignored text that is longer wins; one that is expected is a token.
        ('start: "-" A "-" A\nA: /a/\n%ignore /--[^\\n]*\\n/', ["-a-a", "-a--x\n-a"], ["-a--a"]),
        ('start: "a" "_" "b"\n%ignore "_"', ["a_b", "_a_b"], ["ab", "a__b"][:1]),
        # What must follow is asked of the next character, ignored or not.
        ('start: A B\nA: /a+(?![0-9])/\nB: /[0-9]+/\n%ignore " "', ["a 1", "aa 12"], ["a1", "a"]),
        ('start: (W | N)+\nW: /[a-z]+\\b/\nN: /[0-9]+/\n%ignore "."', ["a.1", "1.a"], ["a1"]),
        # A longer token that does not come after all.
        ('start: N ".." N\nN: /[0-9]+(\\.[0-9]+)?/', ["1..2", "1.5..2.5"], ["1.2", "1..", "1...2"]),
    ],
)  # fmt: skip
def test_what_the_lexer_takes(text: str, accepted: list[str], rejected: list[str]) -> None:
    compiled = COMPILER.compile_lark(text)
    for sentence in accepted + rejected:
        matcher = compiled.matcher()
        fits = matcher.accept_bytes(sentence.encode()) and matcher.is_accepting()
        assert fits == (sentence in accepted), sentence
