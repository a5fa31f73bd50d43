"""Masks of a batch: rows per second by batch size and threads, beside peers that have batches.

Different MaskBench schemas, each matcher some tokens into a valid instance; all rows are warm, so
this is the cost of the calls, not of computing rows. The best of many calls, on an idle machine.

    python benchmarks/batch_fill.py ../shared/data/maskbench-dev.jsonl.gz --tokenizer DIR
"""

from __future__ import annotations

import argparse
import gzip
import json
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

import structgen as sg
from structgen.batch import MatcherBatch
from structgen.inspection.peers import _Tokens

STEPS = 8  # tokens that each matcher has read


def best(call: Callable[[], object], seconds: float = 1.0) -> float:
    """The least time of one call, in seconds."""
    call()
    found, until = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < until:
        started = time.perf_counter()
        call()
        found = min(found, time.perf_counter() - started)
    return found


def cases(path: Path, tokenizer: Any, compiler: sg.Compiler, count: int) -> list[tuple[Any, Any]]:
    """Schemas that every step of is warm, with tokens of a valid instance."""
    found: list[tuple[Any, Any]] = []
    mask = sg.allocate_bitmask(1, len(compiler.vocabulary))
    with gzip.open(path, "rt") as file:
        rows = map(json.loads, file.readlines())
    for row in rows:
        texts = [json.dumps(t["data"], ensure_ascii=False) for t in row["tests"] if t["valid"]]
        try:
            grammar = compiler.compile_json_schema(row["schema"])
        except sg.StructgenError:
            continue
        for text in texts:
            tokens = tokenizer.encode(text, add_special_tokens=False)[:STEPS]
            matcher = grammar.matcher()
            if len(tokens) == STEPS and all(map(matcher.accept_token, tokens)):
                matcher.fill_bitmask(mask)
                found.append((row["schema"], tokens))
                break
        if len(found) == count:
            break
    return found


def structgen_calls(
    compiler: sg.Compiler, chosen: list[tuple[Any, Any]], threads: int
) -> dict[str, Callable[[], object]]:
    matchers = []
    for schema, tokens in chosen:
        matchers.append(compiler.compile_json_schema(schema).matcher())
        assert all(map(matchers[-1].accept_token, tokens))
    batch = MatcherBatch(matchers)
    mask = sg.allocate_bitmask(len(matchers), len(compiler.vocabulary))
    return {
        "structgen": lambda: batch.fill_bitmasks(mask, threads=threads),
        "structgen, unchanged": lambda: batch.fill_bitmasks(mask, threads=threads, reuse=True),
    }


def xgrammar_calls(
    vocabulary: sg.Vocabulary, chosen: list[tuple[Any, Any]], threads: int
) -> dict[str, Callable[[], object]]:
    import xgrammar

    pieces = [vocabulary.token_bytes(i) or b"" for i in range(len(vocabulary))]
    info = xgrammar.TokenizerInfo(
        pieces, xgrammar.VocabType.RAW, stop_token_ids=list(vocabulary.eos_token_ids)
    )
    compiler = xgrammar.GrammarCompiler(info, max_threads=2)
    matchers = []
    for schema, tokens in chosen:
        try:
            matcher = xgrammar.GrammarMatcher(compiler.compile_json_schema(json.dumps(schema)))
        except Exception:
            matcher = xgrammar.GrammarMatcher(compiler.compile_builtin_json_grammar())
        for token in tokens:
            matcher.accept_token(token)
        matchers.append(matcher)
    mask = xgrammar.allocate_token_bitmask(len(matchers), info.vocab_size)
    batch = xgrammar.BatchGrammarMatcher(threads)
    return {"xgrammar": lambda: batch.batch_fill_next_token_bitmask(matchers, mask)}


def llguidance_calls(
    vocabulary: sg.Vocabulary, chosen: list[tuple[Any, Any]], threads: int
) -> dict[str, Callable[[], object]]:
    import llguidance
    from llguidance.numpy import allocate_token_bitmask, fill_next_token_bitmask_par

    tokenizer = llguidance.LLTokenizer(llguidance.TokenizerWrapper(_Tokens(vocabulary)))
    matchers = []
    for i, (schema, tokens) in enumerate(chosen):
        grammar = llguidance.LLMatcher.grammar_from_json_schema(json.dumps(schema))
        matcher = llguidance.LLMatcher(tokenizer, grammar)
        for token in tokens:
            matcher.consume_token(token)
        matchers.append((matcher, i))
    mask = allocate_token_bitmask(len(matchers), tokenizer.vocab_size)
    executor = llguidance.LLExecutor(num_threads=threads)
    return {"llguidance": lambda: fill_next_token_bitmask_par(executor, matchers, mask)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("schemas", type=Path, help="MaskBench as gzipped JSON lines")
    parser.add_argument("--tokenizer", required=True, help="folder or name of a tokenizer")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8, 64, 256])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    arguments = parser.parse_args()
    tokenizer = AutoTokenizer.from_pretrained(arguments.tokenizer)
    vocabulary = sg.Vocabulary.from_huggingface(tokenizer)
    compiler = sg.Compiler(vocabulary)
    chosen = cases(arguments.schemas, tokenizer, compiler, max(arguments.batch))
    print(f"{'engine':<22}{'batch':>6}{'threads':>8}{'us/row':>9}{'rows/s':>12}")
    for size in arguments.batch:
        for threads in arguments.threads:
            calls = structgen_calls(compiler, chosen[:size], threads)
            if find_spec("xgrammar"):
                calls |= xgrammar_calls(vocabulary, chosen[:size], threads)
            if find_spec("llguidance"):
                calls |= llguidance_calls(vocabulary, chosen[:size], threads)
            for name, call in calls.items():
                seconds = best(call) / size
                print(f"{name:<22}{size:>6}{threads:>8}{seconds * 1e6:>9.2f}{1 / seconds:>12.0f}")


if __name__ == "__main__":
    main()
