"""``structgen grammar test``: does a grammar accept what it should, and nothing else?"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from structgen.cli import grammar_source as source
from structgen.cli.cases import Case, Suite, is_cases, read_suite
from structgen.cli.files import read_text
from structgen.cli.junit import Outcome, junit_xml
from structgen.cli.table import print_table
from structgen.errors import StructgenError

if TYPE_CHECKING:
    from structgen.inspection.byte_grammar import ByteGrammar


def test(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...", help="Files of cases, or builtin:NAME; or a grammar, with options."
        ),
    ],
    grammar: Annotated[
        str | None,
        typer.Option(metavar="GRAMMAR", help="The grammar of files that do not name theirs."),
    ] = None,
    kind: source.KindOption = None,
    regex: source.RegexOption = False,
    structural_tag: source.TagOption = False,
    start: source.StartOption = None,
    accept: Annotated[
        list[str] | None, typer.Option(help="A text that the grammar accepts; repeatable.")
    ] = None,
    reject: Annotated[
        list[str] | None, typer.Option(help="A text that it does not accept; repeatable.")
    ] = None,
    prefix: Annotated[
        list[str] | None, typer.Option(help="A text that only its continuations are; repeatable.")
    ] = None,
    accept_file: Annotated[
        list[str] | None, typer.Option(metavar="FILE", help="A file it accepts; repeatable.")
    ] = None,
    reject_file: Annotated[
        list[str] | None, typer.Option(metavar="FILE", help="A file it rejects; repeatable.")
    ] = None,
    junit: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write the results as JUnit XML.")
    ] = None,
    as_json: source.JsonOption = False,
) -> None:
    """Try texts on a grammar, byte by byte, whatever the tokenizer.

    Exit status: 0 if all cases are as expected, 1 if one is not, 2 for bad input.
    """
    known = source.forced(kind, regex, structural_tag)
    cases = [
        *(Case(repr(text), text, "accept") for text in accept or ()),
        *(Case(path, read_text(path), "accept") for path in accept_file or ()),
        *(Case(repr(text), text, "reject") for text in reject or ()),
        *(Case(path, read_text(path), "reject") for path in reject_file or ()),
        *(Case(repr(text), text, "prefix") for text in prefix or ()),
    ]
    if cases:
        if len(files) > 1 or grammar is not None:
            raise StructgenError("texts in options are about one grammar: name one file")
        read = source.read_source(files[0], kind=known, start=start)
        suites = [Suite(files[0], cases, read)]
    else:
        suites = _read_suites(files, grammar, known, start)
    outcomes = [outcome for suite in suites for outcome in _run(suite)]
    failed = [outcome for outcome in outcomes if not outcome.right]
    if junit is not None:
        Path(junit).write_text(junit_xml(outcomes), encoding="utf-8")
    if as_json:
        print(json.dumps([asdict(outcome) for outcome in outcomes], indent=2, ensure_ascii=False))
    else:
        _print(outcomes, several=len(suites) > 1)
    if failed:
        print(f"{len(failed)} of {len(outcomes)} cases failed", file=sys.stderr)
        raise typer.Exit(1)


def _read_suites(
    files: list[str], grammar: str | None, kind: source.Kind | None, start: str | None
) -> list[Suite]:
    for path in files:
        if not is_cases(path):
            raise StructgenError(
                f"nothing to test: {path} is no file of cases (lists accept, reject or prefix); "
                "for a grammar give --accept, --reject or files of them"
            )
    given = None if grammar is None else source.read_source(grammar, kind=kind, start=start)
    suites = []
    for path in files:
        suite = read_suite(path)
        if not suite.cases:
            raise StructgenError(f"nothing to test: {path} has no cases")
        if given is not None:
            suite = Suite(suite.name, suite.cases, given)
        if suite.grammar is None:
            raise StructgenError(f"{path} does not say which grammar it is about: give --grammar")
        suites.append(suite)
    return suites


def _run(suite: Suite) -> list[Outcome]:
    assert suite.grammar is not None
    try:
        grammar = suite.grammar.over_bytes()
    except StructgenError as error:
        raise StructgenError(f"{suite.grammar.name}: {error}") from None
    outcomes = []
    for case in suite.cases:
        started = time.perf_counter()
        happened, status = _try(grammar, case.text)
        right = status == case.expected or (case.expected == "reject" and status == "prefix")
        seconds = time.perf_counter() - started
        outcomes.append(Outcome(suite.name, case.name, case.expected, happened, right, seconds))
    return outcomes


def _try(grammar: ByteGrammar, text: str) -> tuple[str, str]:
    """What the grammar did with a text, in words and as what it could have been expected to."""
    from structgen.inspection.expected import expected

    refusal = grammar.refusal(text)
    if refusal is None:
        return "accepted", "accept"
    if refusal.incomplete:
        return "incomplete: more would have to follow", "prefix"
    listed = [str(item) for item in expected(grammar, refusal.matcher)]
    wanted = ", ".join(listed[:5]) + (" ..." if len(listed) > 5 else "")
    after = _tail(text[: refusal.position])
    return f"refused at byte {refusal.byte}, after {after}: expected {wanted}", "reject"


def _tail(text: str, length: int = 20) -> str:
    return repr(text if len(text) <= length else f"...{text[-length:]}")


def _print(outcomes: list[Outcome], *, several: bool) -> None:
    columns = ["result", "expected", "text", "what happened"]
    rows = [
        ["ok" if o.right else "FAIL", o.expected, o.name, o.happened, *([o.suite] * several)]
        for o in outcomes
    ]
    print_table(columns + ["file"] * several, rows)
