"""Memory of compiled grammars: MaskBench schemas kept alive, their instances run through.

For each engine: the bytes of a grammar as the engine counts them, and the resident memory that the
process grew by. Matchers go when their text ends, as those of requests do; what an engine learns
while a text is followed counts where it stays with the grammar (structgen: rows of masks, those of
string contents once for all grammars of a vocabulary). An engine whose --budget of seconds is spent
sees fewer schemas. By default about four minutes on an idle machine; --quick half a minute.

    python benchmarks/memory.py

Needs ``pip install -e ".[bench]"`` for peers and plots.
"""

from __future__ import annotations

import itertools
import statistics
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import common

KB = 1 << 10


class Grown(NamedTuple):
    """One schema: None where the grammar was refused or not counted; bytes."""

    nbytes: int | None
    resident: int
    compiled: bool


_kept: list[Any] = []


def measure(engine: common.Engine, tokenizer: Any, row: dict[str, Any]) -> Grown:
    texts = [common.encode(tokenizer, test["data"]) for test in row["tests"]]
    before = common.resident_bytes()
    try:
        grammar, _ = common.first_mask(engine, lambda: engine.compile(row["schema"]))
    except common.Refused:
        return Grown(None, common.resident_bytes() - before, False)
    _kept.append(grammar)
    for tokens in texts:
        try:
            common.follow(engine, grammar, tokens)
        except common.Refused as error:
            print(f"{row['id']}: {error}", file=sys.stderr)
    return Grown(engine.nbytes(grammar), common.resident_bytes() - before, True)


def run(name: str, rows: list[dict[str, Any]], options: Any) -> tuple[list[Grown], int]:
    """What each schema added, as far as the budget went; how many took too long."""
    grown: list[Grown] = []
    slow = 0
    with common.Worker(name, options.tokenizer) as worker:
        spent = 0.0
        for row in rows:
            if spent >= options.budget:
                break
            begun = time.perf_counter()
            try:
                grown.append(worker.call(measure, row, seconds=options.time_limit))
            except common.TookTooLong:
                slow += 1  # what was kept went with the process; later ones count from there
                grown.append(Grown(None, 0, False))
            spent += time.perf_counter() - begun
    return grown, slow


def print_results(results: dict[str, tuple[list[Grown], int]]) -> None:
    table = []
    for engine, (grown, slow) in results.items():
        kept = [g for g in grown if g.compiled]
        sizes = sorted(g.nbytes for g in kept if g.nbytes is not None)
        counted = [statistics.fmean(sizes)] if sizes else [float("nan")]
        counted += [common.percentile(sizes, p) for p in (50, 90, 100)]
        resident = sum(g.resident for g in grown)
        each = resident / len(kept) if kept else float("nan")
        cells = [str(n) for n in (len(grown), len(kept), slow)]
        cells += [common.figure(n, KB) for n in (*counted, each)]
        table.append([engine, *cells, common.figure(resident, 1 << 20)])
    head = ["engine", "schemas", "grammars", "too slow", "counted mean, kB", "p50", "p90", "max"]
    common.print_table([*head, "resident, kB a grammar", "resident, MB"], table)
    reached = min(len(grown) for grown, _ in results.values())
    if len(results) > 1 and reached:
        print(f"The first {reached} schemas, which all engines saw:\n")
        both = []
        for engine, (grown, _) in results.items():
            first = grown[:reached]
            compiled = sum(g.compiled for g in first)
            resident = sum(g.resident for g in first)
            each = resident / compiled if compiled else float("nan")
            both.append([engine, str(compiled), common.figure(each, KB)])
        common.print_table(["engine", "grammars", "resident, kB a grammar"], both)


def plot(results: dict[str, tuple[list[Grown], int]], folder: Path) -> None:
    pyplot = common.pyplot()
    if pyplot is None:
        return
    figure, axis = pyplot.subplots(figsize=(5, 3.5))
    for engine, (grown, _) in results.items():
        total = list(itertools.accumulate(g.resident / 2**20 for g in grown))
        axis.plot(range(1, len(total) + 1), total, color=common.COLOURS[engine], label=engine)
    axis.set(xlabel="schemas", ylabel="resident memory added (MB)")
    axis.legend()
    common.save(figure, folder, "memory")


def main() -> None:
    parser = common.argument_parser(__doc__)
    common.add_tokenizer(parser)
    parser.add_argument("--data", type=Path, default=common.MASKBENCH, help="[%(default)s]")
    parser.add_argument("--schemas", type=int, default=200, help="[%(default)s]")
    parser.add_argument("--time-limit", type=float, default=10, help="s, one schema [%(default)s]")
    parser.add_argument("--budget", type=float, default=120, help="s, one engine [%(default)s]")
    options = parser.parse_args()
    if options.quick:
        options.schemas, options.budget, options.time_limit = 20, 10.0, 3.0
    engines = common.installed(options.engines)
    rows = common.maskbench(options.data, options.schemas)
    common.print_machine(engines)
    results = {engine: run(engine, rows, options) for engine in engines}
    print_results(results)
    plot(results, options.out)


if __name__ == "__main__":
    main()
