"""``structgen grammar bench``: what a grammar costs, beside other engines."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from structgen.cli import grammar_source as source
from structgen.cli.table import print_table

if TYPE_CHECKING:
    from structgen.cli.tokenizer import Tokenizer
    from structgen.inspection.along import Follower


def bench(
    grammar: source.GrammarArgument,
    n: Annotated[int, typer.Option("-n", "--n", min=1, help="How many random texts.")] = 20,
    seed: Annotated[int, typer.Option(help="Of the random texts.")] = 0,
    length: Annotated[int, typer.Option(min=1, help="Bytes of a text, about.")] = 80,
    peers: Annotated[
        bool, typer.Option(help="Measure llguidance and xgrammar too, where installed.")
    ] = True,
    kind: source.KindOption = None,
    regex: source.RegexOption = False,
    structural_tag: source.TagOption = False,
    start: source.StartOption = None,
    tokenizer: source.TokenizerOption = None,
    as_json: source.JsonOption = False,
) -> None:
    """Measure the time to the first mask, the time per mask along random texts, and memory.

    Times per mask are of a mask and an accepted token, in microseconds: the first time through
    the texts, when states and rows are built, and the second time.

    Exit status: 0, or 2 for bad input.
    """
    from structgen.cli.tokenizer import load, split
    from structgen.inspection.samples import samples

    known = source.forced(kind, regex, structural_tag)
    read = source.read_source(grammar, kind=known, start=start)
    loaded = load(tokenizer)
    over_bytes = read.over_bytes()
    texts = [over_bytes.text(ids) for ids in samples(over_bytes, n, seed=seed, length=length)]
    ids = [split(loaded, text) for text in texts]
    reports = [_own(read, loaded, ids)]
    if peers:
        reports += _peers(read, loaded, ids)
    if as_json:
        about = {"file": read.name, "tokenizer": loaded.name, "texts": len(texts)}
        about["tokens"] = sum(map(len, ids))
        print(json.dumps({**about, "engines": reports}, indent=2))
        return
    times = ("first mask ms", "p50 us", "p99 us", "max us", "warm p50 us", "warm p99 us")
    columns = ["engine", *times, "bytes", "note"]
    print_table(columns, [_row(report) for report in reports])


def _own(
    read: source.GrammarSource, tokenizer: Tokenizer, texts: list[list[int]]
) -> dict[str, Any]:
    from structgen.compiler import Compiler
    from structgen.inspection.along import OwnFollower

    # What is built once for a vocabulary, and the kernels, are no part of a grammar's cost.
    warm = Compiler(tokenizer.vocabulary).compile_json()
    OwnFollower(warm).fill()
    started = time.perf_counter()
    compiled = read.compile(Compiler(tokenizer.vocabulary))
    OwnFollower(compiled).fill()
    first = time.perf_counter() - started
    report = _follow(lambda: OwnFollower(compiled), texts)
    return {
        "engine": "structgen",
        "first_mask_ms": first * 1000,
        **report,
        "bytes": compiled.nbytes,
    }


def _peers(
    read: source.GrammarSource, tokenizer: Tokenizer, texts: list[list[int]]
) -> list[dict[str, Any]]:
    from structgen.inspection.peers import installed_peers

    reports: list[dict[str, Any]] = []
    for name, prepare in installed_peers(tokenizer.vocabulary).items():
        report: dict[str, Any] = {"engine": name}
        try:
            compile = prepare()
            started = time.perf_counter()
            make = compile(read.kind.value.replace("-", "_"), read.constraint())
            make().fill()
            report["first_mask_ms"] = (time.perf_counter() - started) * 1000
            report.update(_follow(make, texts))
        except Exception as error:  # whatever an engine raises is what it has to say
            report["note"] = (str(error).strip().splitlines() or [type(error).__name__])[0]
        reports.append(report)
    return reports


def _follow(make: Callable[[], Follower], texts: list[list[int]]) -> dict[str, Any]:
    """Percentiles of the first and the second time through the texts."""
    import numpy as np

    from structgen.inspection.along import follow

    report: dict[str, Any] = {}
    refused = 0
    for which in ("cold", "warm"):
        seconds: list[float] = []
        refused = 0
        for ids in texts:
            took, accepted = follow(make(), ids)
            seconds += took
            refused += not accepted
        micro = np.array(seconds) * 1e6
        for name, value in (("p50", 50), ("p90", 90), ("p99", 99), ("max", 100)):
            report[f"{which}_{name}_us"] = float(np.percentile(micro, value))
    if refused:
        report["note"] = f"refused {refused} of {len(texts)} texts"
    return report


def _row(report: dict[str, Any]) -> list[str]:
    names = (
        "first_mask_ms",
        "cold_p50_us",
        "cold_p99_us",
        "cold_max_us",
        "warm_p50_us",
        "warm_p99_us",
    )
    numbers = [f"{report[name]:.1f}" if name in report else "" for name in names]
    size = str(report["bytes"]) if "bytes" in report else ""
    return [report["engine"], *numbers, size, report.get("note", "")]
