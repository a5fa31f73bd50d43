"""Does memory stay bounded? Many different schemas through one compiler with a bounded cache.

MaskBench's schemas, then variations of them (properties renamed), each with its instances followed
through a matcher. Prints the process's memory; fails where it outgrows its warm size by more than
the cache may hold.

    python benchmarks/soak.py ../shared/data/maskbench-dev.jsonl.gz --tokenizer DIR --count 20000
"""

from __future__ import annotations

import argparse
import gc
import gzip
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import common
from transformers import AutoTokenizer

import structgen as sg

WARM = 2000  # schemas after which the process has its working size


def renamed(value: Any, suffix: str) -> Any:
    """A schema whose properties, and what requires them, end with ``suffix``."""
    if isinstance(value, list):
        return [renamed(item, suffix) for item in value]
    if not isinstance(value, dict):
        return value
    result = {key: renamed(item, suffix) for key, item in value.items()}
    properties, required = value.get("properties"), value.get("required")
    if isinstance(properties, dict):
        result["properties"] = {
            key + suffix: renamed(item, suffix) for key, item in properties.items()
        }
        if isinstance(required, list) and all(isinstance(name, str) for name in required):
            result["required"] = [
                name + suffix if name in properties else name for name in required
            ]
    return result


def schemas(path: Path, count: int) -> Iterator[tuple[Any, list[Any]]]:
    """``count`` different schemas with values to follow; those of variations fit in part."""
    with gzip.open(path, "rt") as file:
        rows = [json.loads(line) for line in file]
    for i in range(count):
        row = rows[i % len(rows)]
        round_ = i // len(rows)
        schema = renamed(row["schema"], f"_{round_}") if round_ else row["schema"]
        yield schema, [test["data"] for test in row["tests"]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("schemas", type=Path, help="MaskBench as gzipped JSON lines")
    parser.add_argument("--tokenizer", required=True, help="folder or name of a tokenizer")
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--cache-mb", type=int, default=256)
    parser.add_argument("--every", type=int, default=500, help="schemas between two lines")
    parser.add_argument("--no-gc", action="store_true", help="without Python's cycle collector")
    arguments = parser.parse_args()
    if arguments.no_gc:
        gc.disable()
    tokenizer = AutoTokenizer.from_pretrained(arguments.tokenizer)
    vocabulary = sg.Vocabulary.from_huggingface(tokenizer)
    compiler = sg.Compiler(vocabulary, cache_bytes=arguments.cache_mb << 20)
    mask = sg.allocate_bitmask(1, len(vocabulary))
    refused = steps = 0
    warm = None
    started = time.perf_counter()
    for i, (schema, values) in enumerate(schemas(arguments.schemas, arguments.count), 1):
        try:
            grammar = compiler.compile_json_schema(schema)
            for value in values:
                matcher = grammar.matcher()
                text = json.dumps(value, ensure_ascii=False)
                for token in tokenizer.encode(text, add_special_tokens=False):
                    matcher.fill_bitmask(mask)
                    steps += 1
                    if not matcher.accept_token(token):
                        break
        except sg.StructgenError:
            refused += 1
        if i % arguments.every == 0:
            now = common.resident_bytes() >> 20
            if i >= WARM and warm is None:
                warm = now
            print(
                f"{i:6} schemas {refused:5} refused {steps:9} steps {now:8} MB"
                f" {time.perf_counter() - started:7.0f} s",
                flush=True,
            )
    now = common.resident_bytes() >> 20
    if warm is not None and now > warm + arguments.cache_mb:
        raise SystemExit(f"grew from {warm} MB to {now} MB")


if __name__ == "__main__":
    main()
