"""Vocabularies of different size: start-up, memory of their tables, TTFM and TBM, beside peers.

Start-up is from a loaded transformers tokenizer to an engine that can compile, kernels loaded; for
structgen without (cold) and with (warm) what earlier processes left in the cache on disk; the
median of --starts processes. TTFM and TBM are over a fixed choice of MaskBench schemas and their
instances, as many as the --budget of seconds allows; the ratios are of the sums over the schemas
that both engines compile. By default about seven minutes on an idle machine, half of them
xgrammar's; --quick one and a half.

    python benchmarks/vocabularies.py

Needs ``pip install -e ".[bench]"`` for peers and plots.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import common
from common import figure

VOCABULARIES = ("llama2", "gpt2", "llama3", "qwen3")  # 32,000 to 151,669 ids


class Times(NamedTuple):
    """One schema."""

    first_us: float
    masks_us: list[float]


class Result(NamedTuple):
    """One engine with one vocabulary; seconds, bytes. ``schemas`` by number, compiled ones only."""

    cold: float
    warm: float
    tables: float
    seen: int
    schemas: dict[int, Times]


def measure(engine: common.Engine, tokenizer: Any, row: dict[str, Any]) -> Times:
    texts = [common.encode(tokenizer, test["data"]) for test in row["tests"]]
    grammar, seconds = common.first_mask(engine, lambda: engine.compile(row["schema"]))
    masks: list[float] = []
    for tokens in texts:
        masks += common.follow(engine, grammar, tokens)[0]
    return Times(seconds * 1e6, masks)


def ids(tokenizer: Path) -> int:
    from transformers import AutoTokenizer

    return len(AutoTokenizer.from_pretrained(tokenizer))


def starts(engine: str, tokenizer: Path, count: int) -> tuple[float, float, float]:
    """Seconds with an empty and with a filled cache on disk, bytes of the tables; medians."""
    cold: list[float] = []
    warm: list[float] = []
    tables: list[int] = []
    for _ in range(count):
        with tempfile.TemporaryDirectory(prefix="structgen-cache-") as folder:
            for seconds in (cold, warm) if engine == "structgen" else (cold,):
                with common.Worker(engine, tokenizer, STRUCTGEN_CACHE_DIR=folder) as worker:
                    seconds.append(worker.start_up.seconds)
                    tables.append(worker.start_up.bytes)
    median = statistics.median
    return median(cold), median(warm or cold), median(tables)


def run(engine: str, tokenizer: Path, rows: list[dict[str, Any]], options: Any) -> Result:
    cold, warm, tables = starts(engine, tokenizer, options.starts)
    schemas: dict[int, Times] = {}
    spent, seen = 0.0, 0
    with common.Worker(engine, tokenizer) as worker:
        for number, row in enumerate(rows):
            if spent >= options.budget:
                break
            begun = time.perf_counter()
            with suppress(common.Refused):  # the table says how many of those seen were compiled
                schemas[number] = worker.call(measure, row, seconds=options.time_limit)
            spent += time.perf_counter() - begun
            seen += 1
    return Result(cold, warm, tables, seen, schemas)


def ratios(own: Result, peer: Result) -> tuple[float, float]:
    """TTFM and TBM of the peer over ours, on the schemas that both compile."""
    both = own.schemas.keys() & peer.schemas.keys()
    sums = [
        (sum(r.schemas[n].first_us for n in both), sum(sum(r.schemas[n].masks_us) for n in both))
        for r in (own, peer)
    ]
    (first, masks), (peer_first, peer_masks) = sums
    return (peer_first / first, peer_masks / masks) if both and masks else (float("nan"),) * 2


def quantiles(result: Result) -> tuple[list[float], list[float]]:
    """p50 and p99 of TTFM and TBM, microseconds."""
    first = sorted(times.first_us for times in result.schemas.values())
    masks = sorted(us for times in result.schemas.values() for us in times.masks_us)
    return (
        [common.percentile(first, p) for p in (50, 99)],
        [common.percentile(masks, p) for p in (50, 99)],
    )


def print_results(results: dict[str, dict[str, Result]], sizes: dict[str, int]) -> None:
    start, speed = [], []
    for vocabulary, by_engine in results.items():
        for engine, result in by_engine.items():
            label = [f"{vocabulary}, {sizes[vocabulary]:,}", engine]
            warm = figure(result.warm, 1e-3) if engine == "structgen" else "-"
            start.append([*label, figure(result.cold, 1e-3), warm, figure(result.tables, 1 << 20)])
            first, masks = quantiles(result)
            cells = [f"{len(result.schemas)} of {result.seen}"]
            cells += [*(figure(x, 1e3) for x in first), *(figure(x) for x in masks)]
            own = by_engine.get("structgen")
            compare = own is not None and engine != "structgen"
            cells += [figure(r) for r in ratios(own, result)] if compare and own else ["-", "-"]
            speed.append([*label, *cells])
    head = ["vocabulary", "engine", "start-up, ms", "with cache on disk, ms"]
    common.print_table([*head, "tables, resident MB"], start)
    head = ["vocabulary", "engine", "compiled", "TTFM p50, ms", "p99", "TBM p50, us", "p99"]
    common.print_table([*head, "TTFM / structgen", "TBM / structgen"], speed)


def plot(results: dict[str, dict[str, Result]], sizes: dict[str, int], folder: Path) -> None:
    pyplot = common.pyplot()
    if pyplot is None:
        return
    drawing, axes = pyplot.subplots(1, 4, figsize=(11, 3), sharex=True)
    titles = ("start-up (ms)", "tables (MB)", "TTFM (ms)", "TBM (us)")
    engines = dict.fromkeys(engine for by_engine in results.values() for engine in by_engine)
    for engine in engines:
        colour = common.COLOURS[engine]
        points = [(sizes[v], r[engine]) for v, r in results.items() if engine in r]
        x = [size for size, _ in points]
        lines: list[tuple[int, Sequence[float], str]] = [
            (0, [r.cold * 1e3 for _, r in points], "o-"),
            (1, [r.tables / 2**20 for _, r in points], "o-"),
        ]
        if engine == "structgen":
            lines.append((0, [r.warm * 1e3 for _, r in points], "o:"))
        for i, style in enumerate(("o-", "o:")):  # p50, p99
            lines.append((2, [quantiles(r)[0][i] / 1e3 for _, r in points], style))
            lines.append((3, [quantiles(r)[1][i] for _, r in points], style))
        for axis, y, style in lines:
            name = engine if axis == 1 else None
            axes[axis].plot(x, y, style, color=colour, label=name)
    for axis, title in zip(axes, titles, strict=True):
        axis.set(title=title, xlabel="ids")
    axes[0].set_title("start-up (ms)\ndotted: cache on disk")
    for axis, title in zip(axes[2:], titles[2:], strict=True):
        axis.set(yscale="log", title=f"{title}\nline: p50, dotted: p99")
    axes[1].legend()
    common.save(drawing, folder, "vocabularies")


def main() -> None:
    parser = common.argument_parser(__doc__)
    parser.add_argument(
        "--tokenizers", type=Path, default=common.TOKENIZERS, help="their folder [%(default)s]"
    )
    parser.add_argument(
        "--vocabularies", nargs="+", default=list(VOCABULARIES), help="[%(default)s]"
    )
    parser.add_argument("--data", type=Path, default=common.MASKBENCH, help="[%(default)s]")
    parser.add_argument("--schemas", type=int, default=100, help="[%(default)s]")
    parser.add_argument("--time-limit", type=float, default=10, help="s, one schema [%(default)s]")
    parser.add_argument(
        "--budget", type=float, default=45, help="s, one engine and vocabulary [%(default)s]"
    )
    parser.add_argument("--starts", type=int, default=3, help="processes [%(default)s]")
    options = parser.parse_args()
    if options.quick:
        options.schemas, options.budget, options.time_limit, options.starts = 10, 5.0, 2.0, 1
    engines = common.installed(options.engines)
    rows = common.maskbench(options.data, options.schemas)
    folders = {}
    for name in options.vocabularies:
        if (options.tokenizers / name).is_dir():
            folders[name] = options.tokenizers / name
        else:
            print(f"{name} is left out: no folder {options.tokenizers / name}", file=sys.stderr)
    if not folders:
        sys.exit("no vocabularies")
    common.print_machine(engines)
    sizes = {name: ids(folder) for name, folder in folders.items()}
    results = {
        name: {engine: run(engine, folder, rows, options) for engine in engines}
        for name, folder in folders.items()
    }
    print_results(results, sizes)
    plot(results, sizes, options.out)


if __name__ == "__main__":
    main()
