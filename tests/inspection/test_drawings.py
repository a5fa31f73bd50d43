"""Rules put back together, and drawings of them."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from structgen import grammars
from structgen.grammar import read_ebnf, read_lark
from structgen.grammar.expression import Alt, Rep, Seq
from structgen.grammar.ir import show
from structgen.inspection.expressions import Listed, rule_expressions
from structgen.inspection.graph import rule_graph
from structgen.inspection.railroad import railroad_svg


def written(expr) -> str:
    match expr:
        case Seq(items):
            return " ".join(map(written, items)) or "empty"
        case Alt(items):
            return f"({' | '.join(map(written, items))})"
        case Rep(item, low, high):
            return f"{{{written(item)}}}{low}..{'' if high is None else high}"
        case Listed(item, separator):
            return f"list({written(item)} by {written(separator)})"
    return show(expr).strip('"')


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ('"a"? "b"? ("c" "d")?', "{a}0..1 {b}0..1 {c d}0..1"),
        ('("a" | "b") ("c" | "d")', "(a | b) (c | d)"),
        ('"a"+ "b"* "x"', "{a}1.. {b}0.. x"),
        ('"a" ("," "a")*', "list(a by ,)"),
        ('"[" ("a" ("," "a")*)? "]"', "[ {list(a by ,)}0..1 ]"),
        ('"a"~3..7', "{a}3..7"),
        ('("a" "b" | "c")*', "{(a b | c)}0.."),
        ('"a" start | "b" start | "c"', "((a | b) start | c)"),
        ('"a" "b" | "a" "c"', "a (b | c)"),
        ('"a" | "b" "a"', "{b}0..1 a"),
        ('"a"? "b"', "{a}0..1 b"),
    ],
)
def test_operators_come_back(rule, expected):
    found = rule_expressions(read_lark(f"start: {rule}"))
    assert written(found["start"]) == expected
    assert set(found) == {"start"}


@pytest.mark.parametrize("name", grammars.names())
def test_drawings_of_the_builtin_grammars(name):
    grammar = read_lark(grammars.text(name))
    root = ElementTree.fromstring(railroad_svg(grammar))
    titles = {text.text for text in root.findall("{http://www.w3.org/2000/svg}text")}
    assert set(grammar.rules) - grammar.helpers <= titles
    graph = rule_graph(grammar)
    assert all({edge.source, edge.target} <= set(graph.nodes) for edge in graph.edges)
    assert graph.mermaid().startswith("flowchart LR\n")
    assert graph.dot().endswith("}\n")


def test_odd_texts_are_well_formed():
    grammar = read_ebnf('root ::= "<&>\\"\\\\" [\\x00-\\x1f] "\\x01" | "\\n;#|"')
    ElementTree.fromstring(railroad_svg(grammar))
    for line in rule_graph(grammar).mermaid().splitlines():
        assert line.count('"') in (0, 2)
