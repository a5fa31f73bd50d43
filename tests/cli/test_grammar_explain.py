"""``structgen grammar explain`` and ``draw``."""

from __future__ import annotations

import json
import shutil
from xml.etree import ElementTree

import pytest

PALINDROMES = 'start: "a" start "a" | "b" start "b" | "a" | "b"'
LISTS = """start: "[" (item ("," item)*)? "]"
item: NUMBER "px"? | start
NUMBER: /[0-9]+/
"""


def test_sections(run, write, model):
    path = write("g.lark", PALINDROMES)
    result = run("grammar", "explain", path, "--tokenizer", model)
    assert result.code == 0, result.err
    assert [line for line in result.out.splitlines() if line.startswith("== ")] == [
        "== rules", "== conflicts", "== sizes",
    ]  # fmt: skip
    assert 'start -> "a" start "a" | "b" start "b" | "a" | "b"' in result.out
    assert 'after "a" "a", at "a":\n  - go on in start\n  - end start\n' in result.out
    result = run("grammar", "explain", path, "-s", "nodes", "-s", "item-sets", "-s", "automaton")
    assert "call start -> @" in result.out
    assert "item set 0\n  start @0, ends the text 1 down, before the end" in result.out
    assert "state 0\n" in result.out
    assert "== rules" not in result.out
    result = run("grammar", "explain", path, "-s", "item-sets", "--limit", "2")
    assert "... the first 2 item sets (--limit)" in result.out


def test_explain_as_json(run, write, model):
    path = write("g.lark", PALINDROMES)
    result = run("grammar", "explain", path, "--tokenizer", model, "--json", "-s", "all")
    report = json.loads(result.out)
    assert {"rules", "nodes", "item-sets", "conflicts", "automaton", "sizes"} <= set(report)
    assert report["conflicts"][0]["terminal"] == '"a"'
    assert report["sizes"]["states"] > 0


def test_what_has_no_rules(run, write, model):
    path = write("g.txt", "[ab]{2}c")
    result = run("grammar", "explain", "--regex", path, "--tokenizer", model)
    assert result.code == 0
    assert "== automaton\nstate 0\n  a-b " in result.out
    assert "== rules" not in result.out
    result = run("grammar", "explain", "--regex", path, "-s", "rules")
    assert result.code == 0
    assert "none: a regex has no rules" in result.out


def test_conflicts_of_bytes_are_shown_as_text(run, write):
    path = write("g.gbnf", 'root ::= "ab" root "ab" | "ab"')
    result = run("grammar", "explain", path, "-s", "conflicts")
    assert 'after "abab", at "a":' in result.out


def test_railroad(run, write, tmp_path):
    path = write("g.lark", LISTS)
    result = run("grammar", "draw", path)
    assert result.code == 0, result.err
    root = ElementTree.fromstring(result.out)
    texts = {"".join(text.itertext()) for text in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"start", "item", "NUMBER", '"["', '","', '"px"', "/[0-9]+/"} <= texts
    out = tmp_path / "g.mmd"
    assert run("grammar", "draw", path, "-o", str(out)).code == 0
    assert out.read_text().startswith("flowchart LR\n")
    dot = run("grammar", "draw", path, "--format", "dot").out
    assert dot.startswith("digraph grammar {")
    assert dot.rstrip().endswith("}")


def test_drawings_of_automata(run, write):
    schema = write("s.json", '{"type": "integer"}')
    mermaid = run("grammar", "draw", schema, "--format", "mermaid")
    assert mermaid.code == 0
    assert "flowchart LR" in mermaid.out
    path = write("g.lark", LISTS)
    result = run("grammar", "draw", path, "--as", "automaton", "--format", "dot", "--limit", "3")
    assert result.code == 0
    assert "the first 3 states" in result.out
    result = run("grammar", "draw", schema, "--as", "railroad")
    assert result.code == 2
    assert "has no rules to draw; use --as automaton" in result.err


def test_svg_of_an_automaton_needs_graphviz(run, write, monkeypatch):
    path = write("g.txt", "a+")
    if shutil.which("dot") is not None:
        result = run("grammar", "draw", "--regex", path)
        assert result.code == 0
        ElementTree.fromstring(result.out)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    result = run("grammar", "draw", "--regex", path)
    assert result.code == 2
    assert "needs Graphviz" in result.err


@pytest.mark.parametrize("command", ["explain", "draw", "sample", "bench"])
def test_wrong_grammars(run, write, model, command):
    options = ("--tokenizer", model) if command in ("explain", "bench") else ()
    for path, message in (
        ("/no/such.lark", "cannot read"),
        ("builtin:nope", "no built-in grammar"),
        (write("g.xyz", "a"), "unknown kind of grammar"),
        (write("g.lark", "start: b"), "start: b\n         ^"),
    ):
        result = run("grammar", command, path, *options)
        assert result.code == 2
        assert message in result.err
        assert result.out == ""
