"""``structgen grammar trace``: a text through a grammar, token by token."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from structgen.cli import grammar_source as source
from structgen.cli.files import read_text
from structgen.cli.table import print_table
from structgen.errors import StructgenError, show_place

if TYPE_CHECKING:
    from structgen.cli.tokenizer import Tokenizer
    from structgen.compiler import CompiledGrammar
    from structgen.matcher import Matcher


@dataclass(frozen=True, slots=True)
class Step:
    """What was the case before a token, and whether it fits; the last step has no token.

    Attributes:
        id, token: the token, and its text.
        states: of the automaton, one for each way to read the text so far.
        depth: frames on the (deepest) stack.
        allowed, forbidden: tokens that may come, and all others.
        accepting: might the text end here?
        fits: is the token allowed?
    """

    id: int | None
    token: str | None
    states: list[int]
    depth: int
    allowed: int
    forbidden: int
    accepting: bool
    fits: bool | None


def trace(
    text: Annotated[
        str | None, typer.Argument(help="The text, or - to read it from stdin; or --file.")
    ] = None,
    grammar: Annotated[
        str, typer.Option("--grammar", "-g", help="A grammar file, or builtin:NAME.")
    ] = "",
    file: Annotated[str | None, typer.Option(metavar="FILE", help="Take the text from it.")] = None,
    tokenizer: source.TokenizerOption = None,
    kind: source.KindOption = None,
    regex: source.RegexOption = False,
    structural_tag: source.TagOption = False,
    start: source.StartOption = None,
    as_json: source.JsonOption = False,
) -> None:
    """Follow a text through a grammar, token by token, to where it fails.

    Exit status: 0 if it is a text of the grammar, 1 if it is not, 2 for bad input.
    """
    from structgen.cli.tokenizer import load, split

    if not grammar:
        raise StructgenError("a grammar is missing: --grammar FILE, or --grammar builtin:NAME")
    known = source.forced(kind, regex, structural_tag)
    read = source.read_source(grammar, kind=known, start=start)
    whole = _text(text, file)
    loaded = load(tokenizer)
    compiled = read.compile(source.compiler(loaded.vocabulary))
    steps = _steps(compiled, loaded, split(loaded, whole))
    failure = None if steps[-1].accepting and steps[-1].fits is None else _failure(read, whole)
    if as_json:
        report = {"accepted": failure is None, "steps": [asdict(step) for step in steps]}
        print(json.dumps({**report, "failure": failure}, indent=2, ensure_ascii=False))
    else:
        columns = ["token", "id", "state", "stacks", "depth", "allowed", "forbidden", "fits"]
        print_table(columns, [_row(step) for step in steps])
        if failure is not None:
            print(_show(whole, failure), file=sys.stderr)
    if failure is not None:
        raise typer.Exit(1)


def _text(text: str | None, file: str | None) -> str:
    if (text is None) == (file is None):
        raise StructgenError("one text is traced: TEXT, - for stdin, or --file FILE")
    if file is not None:
        return read_text(file)
    assert text is not None
    return sys.stdin.read() if text == "-" else text


def _steps(compiled: CompiledGrammar, tokenizer: Tokenizer, ids: list[int]) -> list[Step]:
    from structgen.bitmask import allocate_bitmask

    vocabulary = tokenizer.vocabulary
    names = {i: name for name, i in vocabulary.special_tokens.items()}
    mask = allocate_bitmask(1, len(vocabulary))
    matcher = compiled.matcher()
    steps: list[Step] = []
    for i in ids:
        piece = vocabulary.token_bytes(i)
        shown = names.get(i, "") if piece is None else piece.decode("utf-8", "backslashreplace")
        before = _before(matcher, mask, len(vocabulary))
        fits = matcher.accept_token(i)
        steps.append(Step(i, shown, *before, fits))
        if not fits:
            return steps
    return [*steps, Step(None, None, *_before(matcher, mask, len(vocabulary)), None)]


def _before(matcher: Matcher, mask: Any, size: int) -> tuple[list[int], int, int, int, bool]:
    import numpy as np

    places = matcher.configurations()
    matcher.fill_bitmask(mask, 0)
    allowed = int(np.unpackbits(mask.view(np.uint8), bitorder="little")[:size].sum())
    depth = max(len(place.stack) for place in places)
    states = [place.state for place in places]
    return states, depth, allowed, size - allowed, matcher.is_accepting()


def _failure(read: source.GrammarSource, text: str) -> dict[str, Any]:
    """Where the text fails, and what was expected there."""
    from structgen.inspection.expected import expected

    grammar = read.over_bytes()
    refusal = grammar.refusal(text)
    if refusal is None:
        # Its bytes are a text of the grammar: only these tokens are not.
        return {"reason": "the grammar accepts this text, but not spelled with these tokens"}
    line, column, _ = show_place(text, refusal.position)
    if refusal.incomplete:
        reason = "the text is incomplete"
    else:
        reason = f"unexpected {text[refusal.position]!r}"
    return {
        "reason": reason,
        "position": refusal.position,
        "byte": refusal.byte,
        "line": line,
        "column": column,
        "expected": [asdict(item) for item in expected(grammar, refusal.matcher)],
    }


def _show(text: str, failure: dict[str, Any], most: int = 12) -> str:
    if "position" not in failure:
        return failure["reason"]
    line, column, place = show_place(text, failure["position"])
    wanted = [" ".join(filter(None, (e["terminal"], e["characters"]))) for e in failure["expected"]]
    more = [f"and {len(wanted) - most} more"] if len(wanted) > most else []
    listed = "".join(f"\n  - {item}" for item in [*wanted[:most], *more])
    return f"{failure['reason']} (line {line}, column {column})\n{place}\nexpected:{listed}"


def _row(step: Step) -> list[str]:
    if step.id is None:
        token = "(the end)"
    else:
        token = json.dumps(step.token, ensure_ascii=False)
    fits = {True: "yes", False: "NO", None: "complete" if step.accepting else "INCOMPLETE"}
    return [
        token,
        "" if step.id is None else str(step.id),
        " ".join(map(str, step.states[:4])) + (" ..." if len(step.states) > 4 else ""),
        str(len(step.states)),
        str(step.depth),
        str(step.allowed),
        str(step.forbidden),
        fits[step.fits],
    ]
