"""The built-in grammars: LALR(1), and the same verdict on every example, whoever gives it."""

from __future__ import annotations

import ast
import json.tool
import sqlite3
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from xml.parsers import expat

import lark
import lark.lexer
import pytest
from lark.parsers.lalr_analysis import LALR_Analyzer

from structgen import grammars
from structgen.grammar import Grammar, Ref, Term, read_lark
from structgen.inspection.byte_grammar import ByteGrammar
from structgen.inspection.samples import samples
from tests.grammar.recognizer import Verdict, matches, recognize

NAMES = ["arithmetic", "c", "csv", "graphql", "iso_dates", "json", "python", "sql", "xml"]
# Earley parsers that divide a text in any way: slow, and a word may end anywhere for them.
SMALL = {"arithmetic", "csv", "iso_dates", "json"}
MAX_EARLEY_TEXT = 60


@pytest.fixture(autouse=True, scope="module")
def _no_collision_report() -> Iterator[None]:
    """Lark asks interegular, if it is there, to warn of terminals that overlap: for minutes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lark.lexer, "has_interegular", False)
        yield


@cache
def ir(name: str) -> Grammar:
    return read_lark(grammars.text(name))


@cache
def lark_parser(name: str, parser: str) -> lark.Lark:
    options = {"lexer": "dynamic_complete"} if parser == "earley" else {}
    return lark.Lark(grammars.text(name), parser=parser, **options)


# Recognisers: given a grammar's name and a text, the verdict; prefix is None where it is not known.


def by_lark(name: str, text: str, parser: str) -> tuple[bool, bool | None]:
    try:
        lark_parser(name, parser).parse(text)
    except lark.exceptions.LarkError:
        return False, None
    return True, True


def by_lark_lalr(name: str, text: str) -> tuple[bool, bool | None]:
    return by_lark(name, text, "lalr")


def by_lark_earley(name: str, text: str) -> tuple[bool, bool | None]:
    return by_lark(name, text, "earley")


def by_ir_lalr(name: str, text: str) -> tuple[bool, bool | None]:
    verdict = ir_parser(name).recognize(text)
    return verdict.accept, verdict.prefix


@cache
def over_bytes(name: str) -> ByteGrammar:
    return ByteGrammar.compile(lambda compiler: compiler.compile_lark(grammars.text(name)))


def by_structgen(name: str, text: str) -> tuple[bool, bool | None]:
    matcher = over_bytes(name).matcher()
    begins = matcher.accept_bytes(text.encode())
    return begins and matcher.is_accepting(), begins


def by_ir_earley(name: str, text: str) -> tuple[bool, bool | None]:
    verdict = recognize(ir(name), text)
    return verdict.accept, verdict.prefix


Recognizer = Callable[[str, str], tuple[bool, bool | None]]
RECOGNIZERS: list[tuple[Recognizer, list[str], int]] = [
    # recogniser, grammars, the longest text for it
    (by_lark_lalr, NAMES, 10_000),
    (by_ir_lalr, NAMES, 10_000),
    (by_structgen, NAMES, 10_000),
    (by_lark_earley, [n for n in NAMES if n in SMALL], MAX_EARLEY_TEXT),
    (by_ir_earley, [n for n in NAMES if n in SMALL], MAX_EARLEY_TEXT),
]


class Parser:
    """LALR(1) over the IR, with the lexer that the IR describes.

    Exactly the terminals that the parser can take at a place compete there; the longest match wins,
    then priority, then literals.
    """

    def __init__(self, grammar: Grammar) -> None:
        self.grammar = grammar
        symbols = {name: lark.grammar.NonTerminal(name) for name in grammar.rules}
        terminals = {name: lark.grammar.Terminal(name) for name in grammar.terminals}
        rules = []
        for name, productions in grammar.rules.items():
            for order, production in enumerate(productions):
                expansion = []
                for symbol in production:
                    if isinstance(symbol, Ref):
                        expansion.append(symbols[symbol.rule])
                    else:
                        assert isinstance(symbol, Term)
                        expansion.append(terminals[symbol.terminal])
                rules.append(lark.grammar.Rule(symbols[name], expansion, order))
        conf = lark.common.ParserConf(rules, {}, [grammar.start])
        analyzer = LALR_Analyzer(conf, strict=True)  # strict: a conflict is an error
        analyzer.compute_lalr()
        self.table = analyzer.parse_table

    def shift(self, stack: tuple[int, ...], terminal: str) -> tuple[int, ...] | None:
        states = list(stack)
        while True:
            action = self.table.states[states[-1]].get(terminal)
            if action is None:
                return None
            kind, argument = action
            if kind is lark.parsers.lalr_analysis.Shift:
                return (*states, argument)
            del states[len(states) - len(argument.expansion) :]
            states.append(self.table.states[states[-1]][argument.origin.name][1])

    def at_end(self, stack: tuple[int, ...]) -> bool:
        states = list(stack)
        while states[-1] != self.table.end_states[self.grammar.start]:
            action = self.table.states[states[-1]].get("$END")
            if action is None:
                return False
            expansion = action[1].expansion
            del states[len(states) - len(expansion) :]
            states.append(self.table.states[states[-1]][action[1].origin.name][1])
        return True

    def recognize(self, text: str) -> Verdict:
        stack = (self.table.start_states[self.grammar.start],)
        at = 0
        prefix = False
        while at < len(text):
            found: dict[tuple[int, int, bool], tuple[int, ...]] = {}
            for name in dict.fromkeys([*self.grammar.ignore, *self.table.states[stack[-1]]]):
                if name not in self.grammar.terminals:
                    continue
                terminal = self.grammar.terminals[name]
                ends, may_go_on = matches(terminal, text, at)
                if not ends and not may_go_on:
                    continue
                after = stack if name in self.grammar.ignore else self.shift(stack, name)
                if after is None:
                    continue
                prefix |= may_go_on
                if ends:
                    rank = (ends[-1], terminal.priority, terminal.is_literal)
                    assert rank not in found, f"two terminals match {text[at : ends[-1]]!r}"
                    found[rank] = after
            if not found:
                return Verdict(False, prefix)
            best = max(found)
            at, stack = best[0], found[best]
        return Verdict(self.at_end(stack), True)


@cache
def ir_parser(name: str) -> Parser:
    return Parser(ir(name))


# Examples.


def test_names() -> None:
    assert grammars.names() == NAMES
    for read in (grammars.text, grammars.examples):
        with pytest.raises(ValueError, match="no built-in grammar 'jsn'; there are arithmetic, c,"):
            read("jsn")


@pytest.mark.parametrize("name", NAMES)
def test_files(name: str) -> None:
    grammar = ir(name)
    grammar.verify()
    assert grammar.warnings == ()
    examples = grammars.examples(name)
    assert len(examples.accept) >= 15 and len(examples.reject) >= 15 and len(examples.prefix) >= 5
    texts = [*examples.accept, *examples.reject, *examples.prefix]
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize(
    ("recognizer", "name", "longest"),
    [(r, name, longest) for r, names, longest in RECOGNIZERS for name in names],
    ids=lambda value: getattr(value, "__name__", None) or str(value),
)
def test_examples(recognizer: Recognizer, name: str, longest: int) -> None:
    examples = grammars.examples(name)
    wrong = []
    for expected in ("accept", "reject", "prefix"):
        for text in getattr(examples, expected):
            if len(text) > longest:
                continue
            accept, prefix = recognizer(name, text)
            if accept != (expected == "accept") or (expected != "reject" and prefix is False):
                wrong.append((expected, text, accept, prefix))
    assert wrong == []


@pytest.mark.parametrize("name", NAMES)
def test_beginnings_of_accepted_texts(name: str) -> None:
    longest = max(grammars.examples(name).accept, key=len)
    step = max(1, len(longest) // 40)
    parser = ir_parser(name)
    wrong = [n for n in range(0, len(longest), step) if not parser.recognize(longest[:n]).prefix]
    assert wrong == []


# Other judges of the same languages.


def python_takes(text: str) -> bool:
    try:
        ast.parse(text)
    except (SyntaxError, ValueError):
        return False
    return True


def sqlite_takes(text: str) -> bool:
    """Whether SQLite's parser takes it; what it names need not exist."""
    try:
        sqlite3.connect(":memory:").execute("EXPLAIN " + text, [None] * 9)
    except (sqlite3.Error, sqlite3.Warning) as error:
        return not any(w in str(error) for w in ("syntax error", "unrecognized", "incomplete"))
    return True


def json_takes(text: str) -> bool:
    try:
        json.loads(text, parse_constant=lambda name: json.loads(""))
    except ValueError:
        return False
    return True


def expat_takes(text: str) -> bool:
    try:
        expat.ParserCreate().Parse(text.encode(), True)
    except expat.ExpatError as error:
        # What a context-free grammar cannot say.
        return "mismatched tag" in str(error) or "duplicate attribute" in str(error)
    return True


# Texts that the judge takes and the grammar leaves out (docs/grammars.md).
DEPARTURES = {
    "json": {'"\\ud83d"', '"\\ude00\\ud83d"'},
    "python": {"def f(x):\n  return x\n"},
    "sql": {
        "SELECT 1; SELECT 2",
        "INSERT INTO t VALUES (1)",
        "UPDATE t SET a = 1",
        "DROP TABLE t",
        # SQLite finds this out after parsing.
        "SELECT a FROM t OUTER JOIN u",
        # An alias there.
        "SELECT sum(x) OVER",
        # A comment may end with the text there.
        "SELECT a /* b",
        "SELECT 1 /* b *",
    },
    "xml": {'<?xml version="2.0"?><a/>', "<!DOCTYPE a><a/>"},
}


@pytest.mark.parametrize(
    ("name", "judge"),
    [("json", json_takes), ("python", python_takes), ("sql", sqlite_takes), ("xml", expat_takes)],
)
def test_another_judge_agrees(name: str, judge: Callable[[str], bool]) -> None:
    examples = grammars.examples(name)
    wrong = {text for text in examples.accept if not judge(text)}
    wrong |= {text for text in (*examples.reject, *examples.prefix) if judge(text)}
    assert wrong == DEPARTURES[name]


def simple_statements(path: str) -> list[str]:
    source = Path(path).read_text(encoding="utf-8")
    return [
        ast.get_source_segment(source, node) or ""
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.stmt) and not hasattr(node, "body") and not hasattr(node, "cases")
    ]


def test_statements_of_the_standard_library() -> None:
    statements = simple_statements(json.tool.__file__)
    assert len(statements) > 25
    assert [s for s in statements if not by_lark_lalr("python", s)[0]] == []
    assert [s for s in statements if not ir_parser("python").recognize(s).accept] == []


@pytest.mark.parametrize("name", NAMES)
def test_random_samples_parse_under_lark(name: str) -> None:
    """What structgen generates, Lark reads by the same grammar."""
    grammar = over_bytes(name)
    texts = [grammar.text(ids) for ids in samples(grammar, 12, seed=7, length=40)]
    refused = [text for text in texts if not by_lark_lalr(name, text)[0]]
    assert refused == []


def test_no_conflicts() -> None:
    assert [warning for name in NAMES for warning in over_bytes(name).compiled.warnings] == []
