"""Labelled cases of other projects' tests, judged by the test recogniser and by the automaton."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

import structgen as sg
from structgen.errors import StructgenError
from structgen.grammar import Grammar, read_ebnf, read_lark
from tests.grammar.recognizer import Unsupported, recognize
from tests.shared_data import shared_data

MAX_TEXT = 300

# Every refusal starts with one of these; anything else is a bug.
REASONS = {
    "ebnf": ("the macro TagDispatch", "the attribute lazy", "the attribute max_chars"),
    "lark": (
        "rules with parameters",
        # The patterns /a(?=b)c/ and /a^b$c/, which match nothing; XGrammar drops what it cannot do.
        "no text follows from the start rule",
        "a grammar inside another cannot be combined with %ignore",
        'stop="" ends a rule where the model stops',
    ),
}
# right, of another dialect (where the engines disagree among themselves), refused, in need of a
# schema, too long for the recogniser
COUNTS = {"ebnf": (897, 0, 32, 0, 7), "lark": (389, 4, 32, 0, 0)}


@pytest.mark.parametrize("dialect", ["ebnf", "lark"])
def test_conformance(dialect: str) -> None:
    lines = shared_data("conformance", f"{dialect}.jsonl").read_text(encoding="utf-8").splitlines()
    grammars: dict[str, Grammar | StructgenError] = {}
    counts: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    wrong = []
    for case in map(json.loads, lines):
        key = json.dumps([case["grammar"], case.get("named_grammars")])
        if key not in grammars:
            try:
                grammars[key] = (
                    read_ebnf(case["grammar"], case["start"])
                    if dialect == "ebnf"
                    else read_lark(
                        case["grammar"], case["start"], grammars=case.get("named_grammars")
                    )
                )
            except StructgenError as error:
                grammars[key] = error
        grammar = grammars[key]
        if isinstance(grammar, StructgenError):
            counts["refused"] += 1
            refused[str(grammar).splitlines()[0]] += 1
            continue
        if len(case["text"]) > MAX_TEXT:
            counts["long"] += 1
            continue
        try:
            verdict = recognize(grammar, case["text"])
        except Unsupported:
            counts["embedded"] += 1
            continue
        truth = case.get("truth")
        expected = case["accept"] if truth is None else truth
        if (verdict.accept, verdict.prefix) == (expected, case["prefix_ok"]):
            counts["right"] += 1
        elif "dialect-differs" in case["features"]:
            counts["dialect"] += 1
        else:
            wrong.append((case["grammar"], case["text"], expected, case["prefix_ok"], verdict))
    print(f"\n{dialect}: {dict(counts)}")
    for reason, count in refused.most_common():
        print(f"  {count:3} {reason}")
    assert wrong == []
    assert all(reason.startswith(REASONS[dialect]) for reason in refused)
    found = tuple(counts[key] for key in ("right", "dialect", "refused", "embedded", "long"))
    assert found == COUNTS[dialect]


# The automaton has no bound on a text's length, and compiles what is embedded.
COMPILED = {
    "ebnf": (904, 0, 32),
    "lark": (389, 4, 32),
    "structural_tag": (452, 0, 0),
    "regex": (91, 0, 2),
}
REFUSED_PATTERNS = (
    "a named group is written (?<name>...) in ECMA-262",
    "no text that the vocabulary can spell",  # the pattern matches nothing
)


def compiled(compiler: sg.Compiler, kind: str, case: dict[str, Any]) -> sg.CompiledGrammar:
    match kind:
        case "ebnf":
            return compiler.compile_ebnf(case["grammar"], root=case["start"])
        case "lark":
            named = case.get("named_grammars")
            return compiler.compile_lark(case["grammar"], start=case["start"], grammars=named)
        case "structural_tag":
            return compiler.compile_structural_tag(case["structural_tag"])
    return compiler.compile_regex(case["regex"])


@pytest.mark.parametrize("kind", COMPILED)
def test_the_automaton_conforms(kind: str) -> None:
    lines = shared_data("conformance", f"{kind}.jsonl").read_text(encoding="utf-8").splitlines()
    compiler = sg.Compiler(sg.Vocabulary.byte_vocabulary())
    counts: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    wrong = []
    for case in map(json.loads, lines):
        try:
            matcher = compiled(compiler, kind, case).matcher()
        except StructgenError as error:
            counts["refused"] += 1
            refused[str(error).splitlines()[0]] += 1
            continue
        # Byte by byte: what is built depends on where the text is looked at.
        prefix = all(matcher.accept_bytes(bytes([b])) for b in case["text"].encode())
        accept = prefix and matcher.is_accepting()
        truth = case.get("truth")
        expected = case["accept"] if truth is None else truth
        if (accept, prefix) == (expected, case["prefix_ok"]):
            counts["right"] += 1
        elif "dialect-differs" in case["features"]:
            counts["dialect"] += 1
        else:
            wrong.append((case, accept, prefix))
    print(f"\n{kind}: {dict(counts)}")
    for reason, count in refused.most_common():
        print(f"  {count:3} {reason}")
    assert wrong == []
    reasons = {**REASONS, "regex": REFUSED_PATTERNS}.get(kind, ())
    assert all(reason.startswith(reasons) for reason in refused)
    assert tuple(counts[key] for key in ("right", "dialect", "refused")) == COMPILED[kind]
