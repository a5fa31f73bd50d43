"""Schemas at the edge: compile time, memory and time per mask, structgen beside its peers.

Each schema runs in a process of its own for each engine (one thread, at most --time-limit seconds):
compile to the first mask, then follow a valid instance token by token.

    python benchmarks/extreme_schemas.py

Needs ``pip install -e ".[bench]"`` for the peers.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import common

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


def measure(engine: common.Engine, tokenizer: Any, case: str) -> str:
    schema, value = CASES[case]()
    tokens = common.encode(tokenizer, value)
    before = common.resident_bytes()
    seconds = 0.0
    grammars = []
    for one in schema if isinstance(schema, list) else [schema]:
        grammar, first = common.first_mask(engine, lambda one=one: engine.compile(one))  # type: ignore[misc]
        grammars.append(grammar)
        seconds += first
    times, accepted = common.follow(engine, grammars[0], tokens)
    if not accepted:
        raise common.Refused("refused a valid instance")
    grown = (common.resident_bytes() - before) / 2**20
    p50, p99 = (common.percentile(sorted(times), p) for p in (50, 99))
    return f"{seconds * 1e3:,.0f} ms, {grown:,.0f} MB, {p50:,.0f} / {p99:,.0f} us"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    common.add_tokenizer(parser)
    parser.add_argument("--engines", nargs="+", default=list(common.ENGINES))
    parser.add_argument("--time-limit", type=float, default=60, help="seconds for one cell")
    arguments = parser.parse_args()
    engines = common.installed(arguments.engines)
    print("to the first mask, resident memory added, TBM p50 / p99\n")
    print(f"| | {' | '.join(engines)} |")
    print("|---" * (len(engines) + 1) + "|")
    for case in CASES:
        cells = []
        for engine in engines:
            with common.Worker(engine, arguments.tokenizer) as worker:
                try:
                    cells.append(worker.call(measure, case, seconds=arguments.time_limit))
                except common.Refused as error:
                    cells.append(str(error))
        print(f"| {case} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
