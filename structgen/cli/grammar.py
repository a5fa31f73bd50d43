"""``structgen grammar``: does a grammar compile, and does it accept what it should?"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from structgen.cli.files import read_text
from structgen.cli.table import print_table
from structgen.errors import StructgenError
from structgen.schema_input import resolve_schema

if TYPE_CHECKING:
    from structgen.compiler import CompiledGrammar, Compiler

app = typer.Typer(help="Check and test grammars.", no_args_is_help=True)

_KINDS = {
    ".json": "compile_json_schema",
    ".lark": "compile_lark",
    ".gbnf": "compile_ebnf",
    ".ebnf": "compile_ebnf",
}


def compile_file(compiler: Compiler, path: str) -> CompiledGrammar:
    """Compile a JSON Schema (``.json``), Lark (``.lark``) or GBNF (``.gbnf``, ``.ebnf``) file.

    Raises:
        StructgenError: it cannot be read or compiled.
    """
    method = _KINDS.get(Path(path).suffix.lower())
    if method is None:
        raise StructgenError(f"{path}: unknown kind of grammar; known are {', '.join(_KINDS)}")
    text = read_text(path)
    source = resolve_schema(text).schema if method == "compile_json_schema" else text
    return getattr(compiler, method)(source)


@app.command()
def check(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Grammar files.")],
    tokenizer: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="Directory or hub id; default: the demo model's."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Compile grammar files and show what they cost.

    Exit status: 0, or 2 if a file does not compile.
    """
    from structgen.compiler import Compiler
    from structgen.engine.loading import load_tokenizer
    from structgen.vocabulary import Vocabulary

    compiler = Compiler(Vocabulary.from_huggingface(load_tokenizer(tokenizer)))
    reports = [_check(compiler, path) for path in files]
    if as_json:
        print(json.dumps(reports, indent=2, ensure_ascii=False))
    else:
        print_table(
            ["file", "ok", "states", "rows", "bytes", "ms", "note"],
            [_check_row(report) for report in reports],
        )
    if not all(report["ok"] for report in reports):
        raise typer.Exit(2)


def _check(compiler: Compiler, path: str) -> dict[str, Any]:
    from structgen.bitmask import allocate_bitmask

    started = time.perf_counter()
    try:
        grammar = compile_file(compiler, path)
        # The first mask is part of what a grammar costs: states are built when they are reached.
        vocabulary = grammar.vocabulary
        grammar.matcher().fill_bitmask(allocate_bitmask(1, len(vocabulary)))
    except StructgenError as error:
        return {"file": path, "ok": False, "error": str(error)}
    return {
        "file": path,
        "ok": True,
        "states": grammar.stats.get("states"),
        "rows": grammar.stats.get("rows"),
        "bytes": grammar.nbytes,
        "seconds": time.perf_counter() - started,
        "warnings": [str(warning) for warning in grammar.warnings],
    }


def _check_row(report: dict[str, Any]) -> list[str]:
    if not report["ok"]:
        return [report["file"], "no", "", "", "", "", report["error"]]
    return [
        report["file"],
        "yes",
        str(report["states"]),
        str(report["rows"]),
        str(report["bytes"]),
        f"{report['seconds'] * 1000:.1f}",
        "; ".join(report["warnings"]),
    ]


class _Case(NamedTuple):
    name: str
    text: str
    accept: bool


@app.command()
def test(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A grammar file.")],
    accept: Annotated[
        list[str] | None, typer.Option(help="A text that the grammar accepts; repeatable.")
    ] = None,
    reject: Annotated[
        list[str] | None, typer.Option(help="A text that it does not accept; repeatable.")
    ] = None,
    accept_file: Annotated[
        list[str] | None, typer.Option(metavar="FILE", help="A file it accepts; repeatable.")
    ] = None,
    reject_file: Annotated[
        list[str] | None, typer.Option(metavar="FILE", help="A file it rejects; repeatable.")
    ] = None,
) -> None:
    """Try texts on a grammar, byte by byte, whatever the tokenizer.

    Exit status: 0 if all cases are as expected, 1 if one is not, 2 for bad input.
    """
    from structgen.compiler import Compiler
    from structgen.vocabulary import Vocabulary

    cases = [
        *(_Case(repr(text), text, True) for text in accept or ()),
        *(_Case(path, read_text(path), True) for path in accept_file or ()),
        *(_Case(repr(text), text, False) for text in reject or ()),
        *(_Case(path, read_text(path), False) for path in reject_file or ()),
    ]
    if not cases:
        raise StructgenError("nothing to test: give --accept, --reject or files of them")
    grammar = compile_file(Compiler(Vocabulary.byte_vocabulary()), file)
    rows, failed = [], 0
    for case in cases:
        refusal = _refusal(grammar, case.text)
        right = (refusal is None) == case.accept
        failed += not right
        rows.append(
            [
                "ok" if right else "FAIL",
                "accept" if case.accept else "reject",
                case.name,
                refusal or "accepted",
            ]
        )
    print_table(["result", "expected", "text", "what happened"], rows)
    if failed:
        print(f"{failed} of {len(cases)} cases failed", file=sys.stderr)
        raise typer.Exit(1)


def _refusal(grammar: CompiledGrammar, text: str) -> str | None:
    """Why the grammar does not accept ``text``, or None where it does."""
    matcher = grammar.matcher()
    # Bytes of the command line that are no UTF-8 arrive as lone surrogates.
    data = text.encode("utf-8", "surrogateescape")
    if not matcher.accept_bytes(data):
        matcher = grammar.matcher()
        taken = 0
        while matcher.accept_bytes(data[taken : taken + 1]):
            taken += 1
        return f"refused at byte {taken}, after {_tail(data[:taken])}"
    return None if matcher.is_accepting() else "incomplete: more would have to follow"


def _tail(data: bytes, length: int = 20) -> str:
    shown = data[-length:].decode("utf-8", "replace")
    return repr(shown if len(data) <= length else f"...{shown}")
