"""``structgen grammar draw``: railroad diagrams of rules, graphs of the automaton."""

from __future__ import annotations

import shutil
import subprocess
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from structgen.cli import grammar_source as source
from structgen.errors import StructgenError

if TYPE_CHECKING:
    from structgen.compiler import CompiledGrammar


class Drawing(StrEnum):
    """What is drawn."""

    RAILROAD = "railroad"
    AUTOMATON = "automaton"


class Format(StrEnum):
    """What it is written in."""

    SVG = "svg"
    MERMAID = "mermaid"
    DOT = "dot"


def draw(
    grammar: source.GrammarArgument,
    drawing: Annotated[
        Drawing | None,
        typer.Option("--as", help="Default: railroad, or automaton where there are no rules."),
    ] = None,
    format: Annotated[
        Format | None, typer.Option(help="Default: by the ending of --output, or svg.")
    ] = None,
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="FILE", help="Default: stdout.")
    ] = None,
    limit: Annotated[
        int, typer.Option(min=1, help="Of an automaton, draw up to this many states.")
    ] = 80,
    kind: source.KindOption = None,
    regex: source.RegexOption = False,
    structural_tag: source.TagOption = False,
    start: source.StartOption = None,
) -> None:
    """Draw a grammar's rules as railroad diagrams, or its automaton.

    The automaton as SVG needs Graphviz. Exit status: 0, or 2 for bad input.
    """
    known = source.forced(kind, regex, structural_tag)
    read = source.read_source(grammar, kind=known, start=start)
    compiled = read.over_bytes().compiled
    if drawing is None:
        drawing = Drawing.AUTOMATON if compiled.rules is None else Drawing.RAILROAD
    if drawing is Drawing.RAILROAD and compiled.rules is None:
        raise StructgenError(f"a {read.kind.value} has no rules to draw; use --as automaton")
    text = _drawn(compiled, drawing, format or _format_of(output), limit)
    if output is None:
        print(text, end="")
    else:
        Path(output).write_text(text, encoding="utf-8")


def _drawn(compiled: CompiledGrammar, drawing: Drawing, format: Format, limit: int) -> str:
    from structgen.inspection.graph import automaton_graph, rule_graph

    if drawing is Drawing.RAILROAD:
        assert compiled.rules is not None
        grammar, _ = compiled.rules
        if format is Format.SVG:
            from structgen.inspection.railroad import railroad_svg

            return railroad_svg(grammar)
        graph = rule_graph(grammar)
    else:
        graph = automaton_graph(compiled.automaton, compiled.start, limit=limit)
    return graph.mermaid() if format is Format.MERMAID else _graphviz(graph.dot(), format)


def _graphviz(dot: str, format: Format) -> str:
    if format is Format.DOT:
        return dot
    program = shutil.which("dot")
    if program is None:
        raise StructgenError(
            "drawing an automaton as SVG needs Graphviz (its program dot is not installed); "
            "use --format mermaid or --format dot"
        )
    done = subprocess.run([program, "-Tsvg"], input=dot, capture_output=True, encoding="utf-8")
    if done.returncode:
        raise StructgenError(f"Graphviz failed: {done.stderr.strip()}")
    return done.stdout


def _format_of(output: str | None) -> Format:
    endings = {
        ".mmd": Format.MERMAID,
        ".mermaid": Format.MERMAID,
        ".dot": Format.DOT,
        ".gv": Format.DOT,
    }
    return endings.get(Path(output or "").suffix.lower(), Format.SVG)
