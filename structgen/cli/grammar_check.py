"""``structgen grammar check``: does a grammar compile, and what does it cost?"""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from structgen.cli import grammar_source as source
from structgen.cli.table import print_table
from structgen.errors import StructgenError

if TYPE_CHECKING:
    from structgen.compiler import Compiler


def check(
    grammars: Annotated[
        list[str], typer.Argument(metavar="GRAMMAR...", help="Grammar files, or builtin:NAME.")
    ],
    kind: source.KindOption = None,
    regex: source.RegexOption = False,
    structural_tag: source.TagOption = False,
    start: source.StartOption = None,
    tokenizer: source.TokenizerOption = None,
    as_json: source.JsonOption = False,
) -> None:
    """Compile grammars and show what they cost, or what is wrong with them.

    Exit status: 0, or 2 if one does not compile.
    """
    from structgen.cli.tokenizer import load

    known = source.forced(kind, regex, structural_tag)
    compiler = source.compiler(load(tokenizer).vocabulary)
    reports = [_check(compiler, name, known, start) for name in grammars]
    if as_json:
        print(json.dumps(reports, indent=2, ensure_ascii=False))
    else:
        print_table(
            ["file", "kind", "ok", "states", "rows", "bytes", "ms", "note"],
            [_row(report) for report in reports],
        )
        for report in reports:
            # A place with its caret does not fit into a cell.
            if "\n" in report.get("error", ""):
                print(f"{report['file']}: {report['error']}", file=sys.stderr)
    if not all(report["ok"] for report in reports):
        raise typer.Exit(2)


def _check(
    compiler: Compiler, name: str, kind: source.Kind | None, start: str | None
) -> dict[str, Any]:
    from structgen.bitmask import allocate_bitmask

    report: dict[str, Any] = {"file": name, "kind": kind and kind.value, "ok": False}
    try:
        read = source.read_source(name, kind=kind, start=start)
        report["kind"] = read.kind.value
        started = time.perf_counter()
        grammar = read.compile(compiler)
        # The first mask is part of what a grammar costs: states are built when they are reached.
        grammar.matcher().fill_bitmask(allocate_bitmask(1, len(grammar.vocabulary)))
        seconds = time.perf_counter() - started
    except StructgenError as error:
        return {**report, **source.error_report(error)}
    return {
        **report,
        "ok": True,
        "states": grammar.stats["states"],
        "rows": grammar.stats["rows"],
        "bytes": grammar.nbytes,
        "seconds": seconds,
        "warnings": list(grammar.warnings),
    }


def _row(report: dict[str, Any]) -> list[str]:
    head = [report["file"], report["kind"] or ""]
    if not report["ok"]:
        return [*head, "no", "", "", "", "", report["error"].split("\n")[0]]
    return [
        *head,
        "yes",
        str(report["states"]),
        str(report["rows"]),
        str(report["bytes"]),
        f"{report['seconds'] * 1000:.1f}",
        "; ".join(report["warnings"]),
    ]
