"""Masks of a batch: rows per second by batch size and threads, beside peers that have batches.

Different MaskBench schemas, each matcher some tokens into a valid instance; all rows are warm, so
this is the cost of the calls, not of computing rows. A peer that refuses schemas fills fewer rows,
which the table counts. The best of many calls, on an idle machine.

    python benchmarks/batch_fill.py

Needs ``pip install -e ".[bench]"`` for the peers.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import common
from transformers import AutoTokenizer

import structgen as sg
from structgen.batch import MatcherBatch

STEPS = 8  # tokens that each matcher has read


class Case(NamedTuple):
    """A schema and the first tokens of a valid instance."""

    schema: Any
    tokens: list[int]


class Call(NamedTuple):
    """Fills all rows of one batch; those whose schemas an engine refuses are left out."""

    run: Callable[[], object]
    rows: int


def best(call: Callable[[], object], seconds: float) -> float:
    """The least time of one call, in seconds."""
    call()
    found, until = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < until:
        started = time.perf_counter()
        call()
        found = min(found, time.perf_counter() - started)
    return found


def cases(path: Path, tokenizer: Any, compiler: sg.Compiler, count: int) -> list[Case]:
    """Schemas that every step of is warm."""
    found: list[Case] = []
    mask = sg.allocate_bitmask(1, len(compiler.vocabulary))
    for row, grammar in common.compiled(path, compiler):
        for test in row["tests"]:
            tokens = common.encode(tokenizer, test["data"])[:STEPS]
            matcher = grammar.matcher()
            if test["valid"] and len(tokens) == STEPS and all(map(matcher.accept_token, tokens)):
                matcher.fill_bitmask(mask)
                found.append(Case(row["schema"], tokens))
                break
        if len(found) == count:
            break
    return found


def structgen_calls(compiler: sg.Compiler, chosen: list[Case], threads: int) -> dict[str, Call]:
    matchers = []
    for case in chosen:
        matchers.append(compiler.compile_json_schema(case.schema).matcher())
        assert all(map(matchers[-1].accept_token, case.tokens))
    batch = MatcherBatch(matchers)
    mask = sg.allocate_bitmask(len(matchers), len(compiler.vocabulary))
    n = len(matchers)
    return {
        "structgen": Call(lambda: batch.fill_bitmasks(mask, threads=threads), n),
        "structgen, unchanged": Call(
            lambda: batch.fill_bitmasks(mask, threads=threads, reuse=True), n
        ),
    }


def xgrammar_calls(tokenizer: Any, chosen: list[Case], threads: int) -> dict[str, Call]:
    import xgrammar

    info = xgrammar.TokenizerInfo.from_huggingface(tokenizer, vocab_size=len(tokenizer))
    compiler = xgrammar.GrammarCompiler(info, max_threads=2)
    matchers = []
    for case in chosen:
        try:
            grammar = compiler.compile_json_schema(json.dumps(case.schema), strict_mode=False)
        except Exception:
            continue
        matcher = xgrammar.GrammarMatcher(grammar)
        if all(map(matcher.accept_token, case.tokens)):
            matchers.append(matcher)
    mask = xgrammar.allocate_token_bitmask(max(1, len(matchers)), info.vocab_size)
    batch = xgrammar.BatchGrammarMatcher(threads)
    call = Call(lambda: batch.batch_fill_next_token_bitmask(matchers, mask), len(matchers))
    return {"xgrammar": call}


def llguidance_calls(tokenizer: Any, chosen: list[Case], threads: int) -> dict[str, Call]:
    import llguidance.hf
    from llguidance.numpy import allocate_token_bitmask, fill_next_token_bitmask_par

    tokens = llguidance.hf.from_tokenizer(tokenizer)
    matchers: list[tuple[Any, int]] = []
    for case in chosen:
        grammar = llguidance.LLMatcher.grammar_from_json_schema(json.dumps(case.schema))
        matcher = llguidance.LLMatcher(tokens, grammar)
        if not matcher.is_error() and all(map(matcher.consume_token, case.tokens)):
            matchers.append((matcher, len(matchers)))
    mask = allocate_token_bitmask(max(1, len(matchers)), tokens.vocab_size)
    executor = llguidance.LLExecutor(num_threads=threads)
    call = Call(lambda: fill_next_token_bitmask_par(executor, matchers, mask), len(matchers))
    return {"llguidance": call}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    common.add_tokenizer(parser)
    parser.add_argument("--data", type=Path, default=common.MASKBENCH, help="[%(default)s]")
    names = list(common.ENGINES)
    parser.add_argument("--engines", nargs="+", default=names, choices=names)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8, 64, 256])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seconds", type=float, default=1.0, help="of each cell [%(default)s]")
    arguments = parser.parse_args()
    engines = common.installed(arguments.engines)
    tokenizer = AutoTokenizer.from_pretrained(arguments.tokenizer)
    compiler = sg.Compiler(sg.Vocabulary.from_huggingface(tokenizer))
    chosen = cases(arguments.data, tokenizer, compiler, max(arguments.batch))
    print(f"{'engine':<22}{'batch':>6}{'refused':>9}{'threads':>8}{'us/row':>9}{'rows/s':>12}")
    for size in arguments.batch:
        for threads in arguments.threads:
            calls: dict[str, Call] = {}
            if "structgen" in engines:
                calls |= structgen_calls(compiler, chosen[:size], threads)
            if "xgrammar" in engines:
                calls |= xgrammar_calls(tokenizer, chosen[:size], threads)
            if "llguidance" in engines:
                calls |= llguidance_calls(tokenizer, chosen[:size], threads)
            for name, call in calls.items():
                if not call.rows:
                    print(f"{name:<22}{size:>6}{size:>9}")
                    continue
                seconds = best(call.run, arguments.seconds) / call.rows
                print(
                    f"{name:<22}{size:>6}{size - call.rows:>9}{threads:>8}"
                    f"{seconds * 1e6:>9.2f}{1 / seconds:>12.0f}"
                )


if __name__ == "__main__":
    main()
