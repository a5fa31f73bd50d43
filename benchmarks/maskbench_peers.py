"""structgen beside its peers on MaskBench: the same schemas and instances, one after another.

Runs the judge (a script that drives every engine the same way, one thread, no compile cache) once
for each engine and prints its table and the ratios to structgen.

    python benchmarks/maskbench_peers.py --judge ../shared/bench/maskbench.py --limit 600

Needs ``pip install -e ".[bench]"`` for the peers, and an otherwise idle machine.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path


def percentile(values: list[float], p: float) -> float:
    return values[min(len(values) - 1, int(len(values) * p / 100))] if values else float("nan")


def figures(path: Path) -> dict[str, float]:
    """The figures of one engine's run, microseconds."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    masks = sorted(x for r in rows for x in r.get("masks_us", ()))
    first = sorted(r["ttfm_us"] for r in rows if "ttfm_us" in r and "compile_error" not in r)
    first = sorted(first + [r["timeout"] * 1e6 for r in rows if "timeout" in r])
    result = {"TBM mean": sum(masks) / max(1, len(masks))}
    for p in (50, 99, 99.9, 100):
        result[f"TBM p{p}"] = percentile(masks, p)
    for p in (50, 90, 99):
        result[f"TTFM p{p}"] = percentile(first, p)
    result["TTFM + TBM, s"] = (sum(masks) + sum(first)) / 1e6
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--judge", type=Path, required=True, help="the judge's script")
    parser.add_argument("--engines", nargs="+", default=["structgen", "llguidance", "xgrammar"])
    parser.add_argument("--limit", type=int, help="schemas, drawn with the judge's seed")
    parser.add_argument("--time-limit", type=float, default=20, help="seconds for one schema")
    parser.add_argument("--out", type=Path, help="folder for the raw results")
    arguments = parser.parse_args()
    folder = arguments.out or Path(tempfile.mkdtemp(prefix="maskbench-"))
    folder.mkdir(parents=True, exist_ok=True)
    results: dict[str, Path] = {}
    for engine in arguments.engines:
        results[engine] = folder / f"{engine}.jsonl"
        command = [sys.executable, str(arguments.judge), "--engine", engine]
        command += ["--out", str(results[engine]), "--time-limit", str(arguments.time_limit)]
        if arguments.limit:
            command += ["--limit", str(arguments.limit)]
        subprocess.run(command, check=True)
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}")
    print(", ".join(f"{e} {version(e)}" for e in results))
    names = [str(path) for path in results.values()]
    subprocess.run([sys.executable, str(arguments.judge), "--summary", *names], check=True)
    own = figures(results["structgen"])
    for engine, path in results.items():
        if engine == "structgen":
            continue
        print(f"\n{engine} over structgen")
        for name, value in figures(path).items():
            print(f"  {name:16} {value / own[name]:10.2f}")


if __name__ == "__main__":
    main()
