"""Grammar files: are they accepted, how long until the first mask, how long per mask; beside peers.

Sentences are sampled with structgen (random allowed tokens), so that each engine follows the same
tokens; a peer that refuses one of them stops there, which the table counts. One process and one
thread for each engine.

    python benchmarks/grammars.py ../shared/data/grammars

Needs ``pip install -e ".[bench]"`` for the peers.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import common
import numpy as np

TIME_LIMIT = 30.0
SAMPLES, TOKENS = 3, 80


def sample(engine: common.Structgen, grammar: Any, rng: random.Random) -> list[int]:
    """Random allowed tokens, the end of the text left for later where there is a choice."""
    matcher = engine.matcher(grammar)
    tokens: list[int] = []
    end = set(engine.vocabulary.eos_token_ids)
    while len(tokens) < TOKENS:
        engine.fill(matcher)
        bits = np.unpackbits(np.asarray(engine.mask)[0].view(np.uint8), bitorder="little")
        allowed = [t for t in np.flatnonzero(bits).tolist() if t not in end]
        if not allowed:
            break
        tokens.append(rng.choice(allowed))
        assert matcher.accept_token(tokens[-1])
    return tokens


def measure(
    engine: common.Engine, tokenizer: Any, text: str, lark: bool, folder: str, sentences: Any
) -> dict[str, Any]:
    """Seconds to compile and to the first mask, and of each mask and token of the sentences.

    Without ``sentences``, structgen samples them.
    """
    compiled = []

    def compile() -> Any:
        grammar = engine.compile_grammar(text, lark, folder)
        compiled.append(time.perf_counter())
        return grammar

    begun = time.perf_counter()
    grammar, first = common.first_mask(engine, compile)
    result: dict[str, Any] = {"compile": compiled[0] - begun, "first": first}
    if sentences is None:
        assert isinstance(engine, common.Structgen)
        # The grammar that is measured must not have seen the sentences.
        rng = random.Random(0)
        sentences = [sample(engine, grammar, rng) for _ in range(SAMPLES)]
        grammar = engine.compile_grammar(text, lark, folder)
    followed = [common.follow(engine, grammar, tokens) for tokens in sentences]
    result["times"] = [us / 1e6 for times, _ in followed for us in times]
    result["stopped"] = sum(not accepted for _, accepted in followed)
    return result | {"sentences": sentences}


def warm_up(engine: common.Engine, tokenizer: Any) -> None:
    for text, lark in (("start: A\nA: /[a-z]+/", True), ('root ::= "a" root | "b"', False)):
        measure(engine, tokenizer, text, lark, ".", [])


def measure_all(files: list[Path], workers: dict[str, common.Worker]) -> list[dict[str, Any]]:
    """What each engine makes of each file; prints the table."""
    results = []
    print("| file | engine | compile ms | to first mask ms | mask p50 us | mean | p99 | max ms | |")
    print("|---|---|---|---|---|---|---|---|---|")
    for path in files:
        text, lark = path.read_text(encoding="utf-8"), path.suffix == ".lark"
        sentences = None
        for name, worker in workers.items():
            task = text, lark, str(path.parent), sentences if name != "structgen" else None
            try:
                result = worker.call(measure, *task, seconds=TIME_LIMIT)
            except common.Refused as error:
                result = {"error": str(error)}
            if name == "structgen":
                sentences = result.get("sentences", [])
            result.pop("sentences", None)
            results.append({"file": str(path), "engine": name, **result})
            print(_line(path, name, result), flush=True)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", maxsplit=1)[0])
    parser.add_argument("files", nargs="+", help="files, or folders to search")
    common.add_tokenizer(parser)
    names = list(common.ENGINES)
    parser.add_argument("--engines", nargs="+", default=names, choices=names)
    parser.add_argument("--out", help="write all results as JSON")
    arguments = parser.parse_args()
    files = sorted(
        path
        for given in map(Path, arguments.files)
        for path in (given.rglob("*") if given.is_dir() else [given])
        if path.suffix in (".lark", ".gbnf", ".ebnf")
    )
    engines = [e for e in common.ENGINES if e in arguments.engines or e == "structgen"]
    engines = common.installed(engines)
    with ExitStack() as stack:
        workers = {
            name: stack.enter_context(common.Worker(name, arguments.tokenizer, warm_up))
            for name in engines
        }
        results = measure_all(files, workers)
    print("\n| engine | accepted | mask p50 us | mean | p99 | refused a token |")
    print("|---|---|---|---|---|---|")
    for name in engines:
        own = [r for r in results if r["engine"] == name]
        good = [r for r in own if "error" not in r]
        times = sorted(t * 1e6 for r in good for t in r["times"])
        if times:
            p50, p99 = (common.percentile(times, p) for p in (50, 99))
            stopped = sum(r["stopped"] for r in good)
            print(
                f"| {name} | {len(good)} of {len(own)} | {p50:.1f} | {statistics.fmean(times):.0f} "
                f"| {p99:.0f} | {stopped} |"
            )
    if arguments.out:
        Path(arguments.out).write_text(json.dumps(results), encoding="utf-8")


def _line(path: Path, name: str, result: dict[str, Any]) -> str:
    head = f"| {path.parent.name}/{path.name} | {name} "
    if "error" in result:
        return head + f"| | | | | | | {result['error']} |"
    times = sorted(t * 1e6 for t in result["times"] or [0.0])
    p50, p99 = (common.percentile(times, p) for p in (50, 99))
    note = f"refuses {result['stopped']} of {SAMPLES} texts" if result["stopped"] else ""
    return (
        head + f"| {result['compile'] * 1e3:.1f} | {result['first'] * 1e3:.1f} | {p50:.1f} "
        f"| {statistics.fmean(times):.0f} | {p99:.0f} | {times[-1] / 1e3:.1f} | {note} |"
    )


if __name__ == "__main__":
    main()
