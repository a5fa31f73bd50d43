"""Schemas at the edge: compile time, memory and time per mask, structgen beside its peers.

Each schema runs in a process of its own for each engine (one thread, at most --time-limit seconds):
compile to the first mask, then follow a valid instance token by token.

    python benchmarks/extreme_schemas.py --tokenizer ../shared/data/tokenizers/llama3

Needs ``pip install -e ".[bench]"`` for the peers.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Case = tuple[Any, Any]  # a schema (or a list of them) and a valid instance of the (first) schema


def nested_objects(depth: int) -> Case:
    schema: Any = {"type": "integer"}
    value: Any = 7
    for _ in range(depth):
        schema = {"type": "object", "properties": {"a": schema}, "required": ["a"]}
        value = {"a": value}
    return schema, value


def nested_one_of(depth: int) -> Case:
    schema: Any = {"type": "integer"}
    value: Any = 7
    for _ in range(depth):
        # The second and third branch overlap where both x and y are there.
        schema = {
            "oneOf": [
                schema,
                {"type": "object", "properties": {"x": schema}, "required": ["x"]},
                {"type": "object", "properties": {"y": schema}, "required": ["y"]},
            ]
        }
        value = {"x": value}
    return schema, value


def tools(count: int) -> Case:
    schemas = [
        {
            "type": "object",
            "properties": {
                "name": {"const": f"tool_{i}"},
                "arguments": {
                    "type": "object",
                    "properties": {f"argument_{i}_{j}": {"type": "string"} for j in range(6)},
                    "required": [f"argument_{i}_0"],
                    "additionalProperties": False,
                },
            },
            "required": ["name", "arguments"],
            "additionalProperties": False,
        }
        for i in range(count)
    ]
    value = {"name": "tool_0", "arguments": {"argument_0_0": "some text", "argument_0_3": "more"}}
    return schemas, value


CASES: dict[str, Callable[[], Case]] = {
    "string of at most 100,000": lambda: (
        {"type": "string", "maxLength": 100_000},
        "The quick brown fox jumps over the lazy dog. " * 20,
    ),
    "enum of 10,000 strings": lambda: (
        {"enum": [f"value number {i}" for i in range(10_000)]},
        "value number 7312",
    ),
    "2,000 optional properties": lambda: (
        {
            "type": "object",
            "properties": {f"property_{i}": {"type": "string"} for i in range(2_000)},
            "additionalProperties": False,
        },
        {f"property_{i}": "x" for i in range(0, 2_000, 97)},
    ),
    r"pattern ^(\w{1,500}\s){1,500}$": lambda: (
        {"type": "string", "pattern": r"^(\w{1,500}\s){1,500}$"},
        "word " * 100,
    ),
    "200 nested objects": lambda: nested_objects(200),
    "oneOf nested 5 deep, overlapping": lambda: nested_one_of(5),
    "128 tool schemas": lambda: tools(128),
}


class Structgen:
    def __init__(self, tokenizer: Any) -> None:
        import structgen

        self.vocabulary = structgen.Vocabulary.from_huggingface(tokenizer)
        self.compiler = structgen.Compiler(self.vocabulary, cache_bytes=0)
        self.mask = structgen.allocate_bitmask(1, len(self.vocabulary))

    def compile(self, schema: Any) -> Any:
        return self.compiler.compile_json_schema(schema).matcher()

    def step(self, matcher: Any, token: int | None) -> bool:
        matcher.fill_bitmask(self.mask)
        return token is None or matcher.accept_token(token)


class Llguidance:
    def __init__(self, tokenizer: Any) -> None:
        import llguidance
        import llguidance.hf
        from llguidance.numpy import allocate_token_bitmask, fill_next_token_bitmask

        self.llguidance, self.fill = llguidance, fill_next_token_bitmask
        self.tokenizer = llguidance.hf.from_tokenizer(tokenizer)
        self.mask = allocate_token_bitmask(1, self.tokenizer.vocab_size)

    def compile(self, schema: Any) -> Any:
        grammar = json.dumps({"grammars": [{"json_schema": schema}]})
        matcher = self.llguidance.LLMatcher(self.tokenizer, grammar)
        if matcher.is_error():
            raise ValueError(matcher.get_error())
        return matcher

    def step(self, matcher: Any, token: int | None) -> bool:
        self.fill(matcher, self.mask, 0)
        if matcher.is_error():
            raise ValueError(matcher.get_error())
        return token is None or matcher.consume_token(token)


class Xgrammar:
    def __init__(self, tokenizer: Any) -> None:
        import xgrammar

        self.xgrammar = xgrammar
        info = xgrammar.TokenizerInfo.from_huggingface(tokenizer, vocab_size=len(tokenizer))
        self.compiler = xgrammar.GrammarCompiler(info, max_threads=1, cache_enabled=False)
        self.mask = xgrammar.allocate_token_bitmask(1, info.vocab_size)

    def compile(self, schema: Any) -> Any:
        grammar = self.compiler.compile_json_schema(json.dumps(schema), strict_mode=False)
        return self.xgrammar.GrammarMatcher(grammar)

    def step(self, matcher: Any, token: int | None) -> bool:
        matcher.fill_next_token_bitmask(self.mask)
        return token is None or matcher.accept_token(token)


ENGINES: dict[str, Callable[[Any], Any]] = {
    "structgen": Structgen,
    "llguidance": Llguidance,
    "xgrammar": Xgrammar,
}


def resident_bytes() -> int:
    """The process's resident memory (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def measure(engine_name: str, case: str, tokenizer_path: str, connection: Any) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tokenizer_path)
    engine = ENGINES[engine_name](tokenizer)
    warm = engine.compile({"type": "object", "properties": {"a": {"maxLength": 9}}})
    for token in tokenizer.encode('{"a": "bc"}', add_special_tokens=False):
        engine.step(warm, token)
    schema, value = CASES[case]()
    before = resident_bytes()
    try:
        started = time.perf_counter()
        schemas = schema if isinstance(schema, list) else [schema]
        matchers = [engine.compile(s) for s in schemas]
        for matcher in matchers:
            engine.step(matcher, None)
        seconds = time.perf_counter() - started
        times = []
        for token in tokenizer.encode(json.dumps(value), add_special_tokens=False):
            started = time.perf_counter()
            accepted = engine.step(matchers[0], token)
            times.append((time.perf_counter() - started) * 1e6)
            if not accepted:
                raise ValueError("a valid instance was refused")
    except Exception as error:
        connection.send(f"refused: {str(error).splitlines()[0][:70]}")
        return
    grown = (resident_bytes() - before) / 2**20
    p50, p99 = np.percentile(times, [50, 99])
    connection.send(f"{seconds * 1e3:,.0f} ms, {grown:,.0f} MB, {p50:,.0f} / {p99:,.0f} us")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokenizer", required=True, help="a folder with a tokenizer")
    parser.add_argument("--engines", nargs="+", default=list(ENGINES))
    parser.add_argument("--time-limit", type=float, default=60, help="seconds for one cell")
    arguments = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    print("to the first mask, resident memory added, TBM p50 / p99\n")
    print(f"| | {' | '.join(arguments.engines)} |")
    print("|---" * (len(arguments.engines) + 1) + "|")
    for case in CASES:
        cells = []
        for engine in arguments.engines:
            ours, theirs = context.Pipe()
            process = context.Process(
                target=measure, args=(engine, case, arguments.tokenizer, theirs)
            )
            process.start()
            theirs.close()
            try:
                got = ours.poll(arguments.time_limit + 20)
                cells.append(ours.recv() if got else f"over {arguments.time_limit:.0f} s")
            except EOFError:
                cells.append("crashed")
            process.kill()
            process.join()
        print(f"| {case} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
