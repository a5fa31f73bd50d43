"""MaskBench by percentile, beside peers: the same schemas and instances, one engine after another.

Runs the judge (a script that drives every engine the same way) for each engine, or reads what it
wrote. TTFM counts a timeout as the time limit and leaves out schemas that do not compile. By
default about six minutes on an idle machine, most of them xgrammar's; --quick half a minute.

    python benchmarks/maskbench_percentiles.py --limit 600 --time-limit 20 --results build/maskbench
    python benchmarks/maskbench_percentiles.py --read --results build/maskbench

Needs ``pip install -e ".[bench]"`` for peers and plots.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import common
import numpy as np

PERCENTILES = (25, 50, 75, 90, 99, 99.9)
Row = dict[str, Any]  # what the judge wrote of one schema


class Run(NamedTuple):
    """One engine's results by schema; times sorted, microseconds."""

    rows: dict[str, Row]
    first: list[float]
    masks: list[float]


def read(path: Path) -> Run:
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    first = sorted(first_us(row) for row in rows if compiles(row) or "timeout" in row)
    masks = sorted(us for row in rows for us in row.get("masks_us", ()))
    return Run({row["id"]: row for row in rows}, first, masks)


def first_us(row: Row) -> float:
    """Time to the first mask or the refusal; a timeout is the time limit."""
    return row["timeout"] * 1e6 if "timeout" in row else row.get("ttfm_us", 0.0)


def compiles(row: Row) -> bool:
    return "masks_us" in row


def is_right(row: Row) -> bool:
    return compiles(row) and not row["bad"]


def seconds(rows: Iterable[Row]) -> float:
    """TTFM and all TBM together."""
    return sum(first_us(row) + sum(row.get("masks_us", ())) for row in rows) / 1e6


def verdicts(rows: Iterable[Row]) -> dict[str, int]:
    rows = list(rows)
    return {
        "schemas": len(rows),
        "all right": sum(map(is_right, rows)),
        "compile errors": sum("compile_error" in row for row in rows),
        "timeouts": sum("timeout" in row for row in rows),
        "crashes": sum("crash" in row for row in rows),
        "valid instances accepted": sum(row.get("ok_valid", 0) for row in rows),
        "valid instances refused": sum(row.get("bad_valid", 0) for row in rows),
        "invalid instances refused": sum(row.get("ok_invalid", 0) for row in rows),
        "invalid instances accepted": sum(row.get("bad_invalid", 0) for row in rows),
        "tokens": sum(len(row.get("masks_us", ())) for row in rows),
    }


def print_percentiles(runs: dict[str, Run]) -> None:
    rows = []
    for name, unit, times in (
        ("TTFM, ms", 1e3, {engine: run.first for engine, run in runs.items()}),
        ("TBM, us", 1.0, {engine: run.masks for engine, run in runs.items()}),
    ):
        for p in PERCENTILES:
            values = [common.percentile(t, p) for t in times.values()]
            rows.append((f"{name}, p{p}", unit, values))
        rows.append((f"{name}, max", unit, [t[-1] if t else np.nan for t in times.values()]))
        means = [float(np.mean(t)) if t else np.nan for t in times.values()]
        rows.append((f"{name}, mean", unit, means))
    peers = [engine for engine in runs if engine != "structgen"] if "structgen" in runs else []
    own = list(runs).index("structgen") if peers else 0
    table = []
    for name, unit, values in rows:
        ratios = [
            v / values[own] for v, engine in zip(values, runs, strict=True) if engine in peers
        ]
        cells = [*(common.figure(v, unit) for v in values), *map(common.figure, ratios)]
        table.append([name, *cells])
    common.print_table(["", *runs, *(f"{peer} / structgen" for peer in peers)], table)


def print_sums(runs: dict[str, Run]) -> None:
    """Seconds of whole runs, structgen beside each peer, on schemas that both have."""
    table = []
    own = runs["structgen"].rows
    for peer, run in runs.items():
        if peer == "structgen":
            continue
        pairs = [(row, run.rows[name]) for name, row in own.items() if name in run.rows]
        for scope, keep in (("all", None), ("both compile", compiles), ("both right", is_right)):
            kept = [p for p in pairs if keep is None or (keep(p[0]) and keep(p[1]))]
            ours, theirs = seconds(a for a, _ in kept), seconds(b for _, b in kept)
            tokens = [
                sum(len(r.get("masks_us", ())) for r in side) for side in zip(*kept, strict=True)
            ]
            cells = [f"{n:,}" for n in (len(kept), *(tokens or (0, 0)))]
            ratio = theirs / ours if ours else np.nan
            table.append([peer, scope, *cells, *map(common.figure, (ours, theirs, ratio))])
    print("Seconds of TTFM and all TBM together; tokens differ where one engine stopped earlier.\n")
    head = ["peer", "schemas", "number", "tokens, structgen", "tokens, peer"]
    common.print_table([*head, "structgen, s", "peer, s", "peer / structgen"], table)


def plot(runs: dict[str, Run], folder: Path) -> None:
    """How large a part of the times is longer than x."""
    pyplot = common.pyplot()
    if pyplot is None:
        return
    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.5))
    titles = ("time to the first mask (ms)", "time per mask and token (us)")
    for index, (axis, title) in enumerate(zip(axes, titles, strict=True)):
        for engine, run in runs.items():
            times = (run.first, run.masks)[index]
            if not times:
                continue
            # Evenly spaced on the logarithmic axis of the plot, so that a file stays small.
            left = np.unique(np.geomspace(1, len(times), 300).astype(int))[::-1]
            x = np.asarray(times)[len(times) - left] / (1e3, 1.0)[index]
            axis.plot(x, left / len(times), color=common.COLOURS[engine], label=engine)
        axis.set(
            xscale="log", yscale="log", xlabel=title, ylabel="part that takes as long or longer"
        )
    axes[0].legend()
    common.save(figure, folder, "maskbench_percentiles")


def main() -> None:
    parser = common.argument_parser(__doc__)
    common.add_tokenizer(parser)
    parser.add_argument("--judge", type=Path, default=common.JUDGE, help="[%(default)s]")
    parser.add_argument("--data", type=Path, default=common.MASKBENCH, help="[%(default)s]")
    parser.add_argument("--limit", type=int, default=100, help="schemas [%(default)s]")
    parser.add_argument("--time-limit", type=float, default=10, help="s, one schema [%(default)s]")
    parser.add_argument("--results", type=Path, help="folder for the judge's ENGINE.jsonl")
    parser.add_argument("--read", action="store_true", help="read --results, do not run the judge")
    options = parser.parse_args()
    if options.quick:
        options.limit, options.time_limit = 10, 3.0
    if options.read and options.results is None:
        parser.error("--read needs --results")
    with tempfile.TemporaryDirectory(prefix="maskbench-") as temporary:
        folder = options.results or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        engines = options.engines
        if not options.read:
            engines = common.installed(engines)
            common.print_machine(engines)
            for engine in engines:
                common.run_judge(
                    options.judge,
                    engine,
                    folder / f"{engine}.jsonl",
                    data=options.data,
                    limit=options.limit,
                    time_limit=options.time_limit,
                    tokenizer=options.tokenizer,
                )
        runs = {}
        for engine in engines:
            file = folder / f"{engine}.jsonl"
            if file.exists():
                runs[engine] = read(file)
            else:
                print(f"{engine} is left out: there is no {file}", file=sys.stderr)
    if not runs:
        sys.exit("no results")
    counts = {engine: verdicts(run.rows.values()) for engine, run in runs.items()}
    names = next(iter(counts.values()))
    rows = [[name, *(f"{c[name]:,}" for c in counts.values())] for name in names]
    common.print_table(["", *runs], rows)
    print_percentiles(runs)
    if len(runs) > 1 and "structgen" in runs:
        print_sums(runs)
    plot(runs, options.out)


if __name__ == "__main__":
    main()
