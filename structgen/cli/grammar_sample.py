"""``structgen grammar sample``: random texts of a grammar."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from structgen.cli import grammar_source as source


def sample(
    grammar: source.GrammarArgument,
    n: Annotated[int, typer.Option("-n", "--n", min=1, help="How many texts.")] = 10,
    seed: Annotated[int | None, typer.Option(help="The same seed gives the same texts.")] = None,
    length: Annotated[
        int, typer.Option(min=1, help="From about this many bytes on, a text heads for its end.")
    ] = 60,
    kind: source.KindOption = None,
    regex: source.RegexOption = False,
    structural_tag: source.TagOption = False,
    start: source.StartOption = None,
    as_json: source.JsonOption = False,
) -> None:
    """Print random texts of a grammar, one a line, as JSON strings where they have line breaks.

    Exit status: 0, or 2 for bad input.
    """
    from structgen.inspection.samples import samples

    known = source.forced(kind, regex, structural_tag)
    over_bytes = source.read_source(grammar, kind=known, start=start).over_bytes()
    texts = (over_bytes.text(ids) for ids in samples(over_bytes, n, seed=seed, length=length))
    if as_json:
        print(json.dumps(list(texts), indent=2, ensure_ascii=False))
        return
    for text in texts:
        # A text of several lines, or one that could be taken for a string, is written as a string.
        plain = text.isprintable() and not text.startswith('"') and text == text.strip() and text
        print(text if plain else json.dumps(text, ensure_ascii=False), flush=True)
