"""Random grammars: the compiled automaton against Earley's recogniser, Lark's, and LR(1) tables."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import product

import lark
import pytest

import structgen as sg
from structgen.grammar import read_ebnf
from tests.grammar.recognizer import recognize
from tests.pushdown.reference import LR1, Conflict, Earley, Random, random_grammar

COMPILER = sg.Compiler(sg.Vocabulary.byte_vocabulary(), cache_bytes=0)

Difference = tuple[str, str, bool]  # text, "prefix" or "accept", what is right


def compile_ebnf(grammar: Random) -> sg.CompiledGrammar:
    return COMPILER.compile_ebnf(grammar.gbnf, root="S")


def compile_lark(grammar: Random) -> sg.CompiledGrammar:
    return COMPILER.compile_lark(grammar.lark)


def differences(
    compiled: sg.CompiledGrammar, grammar: Random, longest: int
) -> Iterator[Difference | None]:
    """For each text up to a length, whose own beginning is a prefix: None, or what is wrong."""
    earley, matcher = Earley(grammar.productions), compiled.matcher()

    def visit(text: str, chart: list[dict]) -> Iterator[Difference | None]:
        complete = earley.accepts(chart)
        yield (text, "accept", complete) if matcher.is_accepting() != complete else None
        if len(text) == longest:
            return
        for letter in grammar.letters:
            following = earley.feed(chart, letter)
            if matcher.accept_bytes(letter.encode()) != (following is not None):
                yield text + letter, "prefix", following is not None
                return
            if following is None:
                yield None
            else:
                yield from visit(text + letter, following)
                matcher.rollback(1)

    yield from visit("", earley.begin())


def judge(
    compile_one: Callable[[Random], sg.CompiledGrammar],
    seeds: range,
    letters: str,
    rules: int,
    longest: int,
) -> list[tuple[int, Random, Difference]]:
    """Compare ``seeds``' grammars and print the counts; what is wrong."""
    counts: Counter[str] = Counter()
    wrong = []
    for seed in seeds:
        grammar = random_grammar(random.Random(seed), letters, rules)
        counts["grammars"] += 1
        compiled = compile_one(grammar)
        try:
            for found in differences(compiled, grammar, longest):
                counts["texts"] += 1
                if found is not None:
                    wrong.append((seed, grammar, found))
                    break
        except sg.LimitExceeded as error:
            assert error.limit == "stacks"
            counts["more than 256 stacks"] += 1
            continue
        assert compiled.rules is not None
        counts["with conflicts" if compiled.rules[1].builder.conflicts else "LR(1)"] += 1
    counts["wrong"] = len(wrong)
    print(f"\n{letters}, {rules} rules, up to {longest}: {dict(counts)}")
    assert counts["more than 256 stacks"] < 0.06 * counts["grammars"]
    return wrong


def test_every_text_up_to_a_length() -> None:
    assert judge(compile_ebnf, range(180), "ab", 3, 7) == []
    assert judge(compile_ebnf, range(10_000, 10_040), "abc", 5, 5) == []


@pytest.mark.slow
def test_every_text_of_many_grammars() -> None:
    assert judge(compile_ebnf, range(20_000, 26_000), "ab", 3, 7) == []
    assert judge(compile_ebnf, range(30_000, 33_000), "abc", 5, 6) == []
    assert judge(compile_ebnf, range(40_000, 43_000), "ab", 2, 9) == []


def test_every_text_with_a_lexer_of_single_letters() -> None:
    """Where tokens are letters the lexer decides nothing: the language is the scannerless one."""
    assert judge(compile_lark, range(200, 320), "ab", 3, 6) == []


@pytest.mark.slow
def test_every_text_with_a_lexer_of_single_letters_of_many_grammars() -> None:
    assert judge(compile_lark, range(80_000, 83_000), "ab", 3, 7) == []


@pytest.mark.parametrize(
    "text, bodies",
    [
        ('start: | "a" start "a" | "b" start start', [(), ("a", "S", "a"), ("b", "S", "S")]),
        (
            'start: start start "a" "a" | start "a" start | "a"',
            [("S", "S", "a", "a"), ("S", "a", "S"), ("a",)],
        ),
    ],
)
def test_an_ambiguous_grammar_with_a_lexer_may_end(
    text: str, bodies: list[tuple[str, ...]]
) -> None:
    grammar = Random({"S": bodies}, "", text, "ab")
    assert [found for found in differences(compile_lark(grammar), grammar, 6) if found] == []


# -- the other judges -------------------------------------------------------------------------


def verdicts(compiled: sg.CompiledGrammar, text: str) -> tuple[bool, bool]:
    matcher = compiled.matcher()
    fits = matcher.accept_bytes(text.encode())
    return fits and matcher.is_accepting(), fits


def against_recognizer(seeds: range, longest: int) -> None:
    checked = 0
    for seed in seeds:
        grammar = random_grammar(random.Random(seed), "ab", 3)
        compiled, rules = compile_ebnf(grammar), read_ebnf(grammar.gbnf, "S")
        rules.verify()
        for text in ("".join(t) for n in range(longest + 1) for t in product("ab", repeat=n)):
            expected = recognize(rules, text)
            try:
                assert verdicts(compiled, text) == (expected.accept, expected.prefix), (
                    seed, grammar, text,
                )  # fmt: skip
            except sg.LimitExceeded:
                break
            checked += 1
    print(f"\n{checked} texts")


def test_the_recognizer_agrees() -> None:
    against_recognizer(range(50_000, 50_040), 5)


@pytest.mark.slow
def test_the_recognizer_agrees_on_many() -> None:
    against_recognizer(range(51_000, 51_500), 7)


def against_lark(seeds: range, longest: int) -> None:
    """Lark builds derivations, so its grammars are small; it says nothing about prefixes."""
    counts: Counter[str] = Counter()
    for seed in seeds:
        grammar = random_grammar(random.Random(seed), "ab", 2)
        try:
            parser = lark.Lark(grammar.lark, parser="earley", lexer="dynamic_complete")
        except lark.exceptions.GrammarError:
            counts["refused by Lark"] += 1  # what its expansion makes twice
            continue
        if sum(1 + len(rule.expansion) for rule in parser.rules) > 40:
            counts["too slow for Lark"] += 1
            continue
        compiled = compile_ebnf(grammar)
        counts["grammars"] += 1
        for text in ("".join(t) for n in range(longest + 1) for t in product("ab", repeat=n)):
            try:
                parser.parse(text)
                expected = True
            except lark.exceptions.LarkError:
                expected = False
            try:
                assert verdicts(compiled, text)[0] == expected, (seed, grammar, text)
            except sg.LimitExceeded:
                counts["more than 256 stacks"] += 1
                break
            counts["texts"] += 1
    print(f"\n{dict(counts)}")


def test_larks_earley_agrees() -> None:
    against_lark(range(60_000, 60_040), 4)


@pytest.mark.slow
def test_larks_earley_agrees_on_many() -> None:
    against_lark(range(61_000, 61_500), 6)


def against_tables(seeds: range, longest: int) -> None:
    """Grammars that are LR(1), by tables that stop before an error is shifted."""
    counts: Counter[str] = Counter()
    for seed in seeds:
        grammar = random_grammar(random.Random(seed), "abc", 3)
        try:
            tables = LR1.of(grammar.productions)
        except Conflict:
            counts["not LR(1)"] += 1
            continue
        counts["LR(1)"] += 1
        matcher = compile_ebnf(grammar).matcher()
        stack: list[tuple[str, tuple[int, ...]]] = [("", (0,))]
        while stack:
            text, states = stack.pop()
            matcher.reset()
            assert not text or matcher.accept_bytes(text.encode()), (seed, grammar, text)
            assert matcher.is_accepting() == tables.accepts(states), (seed, grammar, text)
            counts["texts"] += 1
            for letter in grammar.letters if len(text) < longest else "":
                following = tables.feed(states, letter)
                fits = matcher.accept_bytes(letter.encode())
                assert fits == (following is not None), (seed, grammar, text + letter)
                if following is not None:
                    matcher.rollback(1)
                    stack.append((text + letter, following))
    print(f"\n{dict(counts)}")
    assert counts["LR(1)"] > 0.05 * len(seeds)


def test_tables_agree() -> None:
    against_tables(range(70_000, 70_300), 6)


@pytest.mark.slow
def test_tables_agree_on_many() -> None:
    against_tables(range(71_000, 76_000), 8)


# -- grammars with a point --------------------------------------------------------------------


def test_recursion_on_the_right_keeps_every_prefix() -> None:
    """Cycle collapse as in Pre3 loses this one."""
    text = 'A ::= "b" | "c" A A | "a" A'
    matcher = COMPILER.compile_ebnf(text, root="A").matcher()
    assert matcher.accept_bytes(b"ccac")
    grammar = Random({"S": [("b",), ("c", "S", "S"), ("a", "S")]}, text, "", "abc")
    compiled = COMPILER.compile_ebnf(text, root="A")
    assert [found for found in differences(compiled, grammar, 7) if found] == []


@pytest.mark.parametrize("n", [100, 100_000])
def test_recursion_of_any_depth_costs_the_same_per_byte(n: int) -> None:
    nested = COMPILER.compile_ebnf('root ::= "(" root ")" | "x"').matcher()
    assert nested.accept_bytes(b"(" * n + b"x" + b")" * (n - 1)) and not nested.is_accepting()
    assert nested.accept_bytes(b")") and nested.is_accepting()
    right = COMPILER.compile_ebnf('root ::= "x" root | "y" b\nb ::= "z" root | ""').matcher()
    assert right.accept_bytes(b"xyz" * n + b"y") and right.is_accepting()
