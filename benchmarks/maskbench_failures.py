"""Every schema of MaskBench that is not all right, with the reason, as a table in Markdown.

Reads the judge's results for structgen; with --judge it runs the judge first (about ten minutes for
the 5,027 schemas), which writes them:

    python benchmarks/maskbench_failures.py results.jsonl --judge ../shared/bench/maskbench.py

Why a valid instance was refused is found out here: the schema is compiled again, with
``property_order="any"``, and the instance tried on it.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import common

import structgen as sg

OUT = Path(__file__).with_name("maskbench_failures.md")


class Failure(NamedTuple):
    """A schema, how many of its instances were judged wrongly, and why."""

    schema: str
    wrong: str
    reason: str


def compile_error(text: str) -> str:
    """The message of an error that the judge wrote down with ``repr``, cut off or not."""
    name, _, rest = text.partition("(")
    try:
        message = str(ast.literal_eval(rest.removesuffix(")")))
    except (SyntaxError, ValueError):
        message = rest.strip("'\")")
    message = message.removesuffix("; raise it in Limits(...)")
    return f"{name}: {message}"


def is_accepted(grammar: sg.CompiledGrammar, value: Any) -> bool:
    matcher = grammar.matcher()
    text = json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
    return matcher.accept_bytes(text) and matcher.is_accepting()


def why_refused(compiler: sg.Compiler, row: dict[str, Any], tests: list[int]) -> str:
    """Why valid instances were refused."""
    values = [row["tests"][i]["data"] for i in tests]
    usual = compiler.compile_json_schema(row["schema"])
    if all(is_accepted(usual, value) for value in values):
        return "valid refused: by the masks, but not byte by byte"
    try:
        grammar = compiler.compile_json_schema(row["schema"], property_order="any")
        if all(is_accepted(grammar, value) for value in values):
            return "valid refused: property order"
    except sg.StructgenError as error:
        return f"valid refused; with property_order='any' {type(error).__name__}: {error}"
    return "valid refused, in any order of properties"


def failure(compiler: sg.Compiler, result: dict[str, Any], row: dict[str, Any]) -> Failure | None:
    """What was wrong with a schema, or None."""
    n_valid = sum(test["valid"] for test in row["tests"])
    n_invalid = len(row["tests"]) - n_valid
    instances = f"{n_valid} valid, {n_invalid} invalid not tried" if row["tests"] else "none"
    if "compile_error" in result:
        return Failure(row["id"], instances, compile_error(result["compile_error"]))
    if "timeout" in result:
        return Failure(row["id"], instances, f"timeout: {result['timeout']:g} s")
    if "crash" in result:
        return Failure(row["id"], instances, "crash")
    refused = [i for i in result["bad"] if row["tests"][i]["valid"]]
    accepted = len(result["bad"]) - len(refused)
    wrong = f"{len(refused)} of {n_valid} valid refused" if refused else ""
    if "exn" in result:
        return Failure(row["id"], wrong, f"exception: {result['exn']}")
    if accepted:
        return Failure(row["id"], f"{accepted} invalid accepted", "INVALID ACCEPTED")
    return Failure(row["id"], wrong, why_refused(compiler, row, refused)) if refused else None


def kind(reason: str) -> str:
    """The reason without the place, to count equal ones together."""
    reason = re.sub(r" \(at #.*", "", reason)
    reason = re.sub(r"^(LimitExceeded: limit .*?) at #.*", r"\1", reason)
    return re.sub(r"the pattern '.*", "a pattern", reason)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path, help="the judge's results for structgen")
    parser.add_argument("--judge", type=Path, help="the judge's script: run it first")
    parser.add_argument(
        "--data", type=Path, default=common.MASKBENCH, help="the schemas and instances"
    )
    parser.add_argument("--time-limit", type=float, default=20, help="seconds for one schema")
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    if arguments.judge:
        common.run_judge(
            arguments.judge,
            "structgen",
            arguments.results,
            data=arguments.data,
            time_limit=arguments.time_limit,
        )
    rows = {row["id"]: row for row in common.maskbench(arguments.data)}
    results = [json.loads(line) for line in arguments.results.read_text().splitlines()]
    compiler = sg.Compiler(sg.Vocabulary.byte_vocabulary(), cache_bytes=0)
    found = [failure(compiler, result, rows[result["id"]]) for result in results]
    failures = sorted((f for f in found if f), key=lambda f: (kind(f.reason), f.schema))
    counts = Counter(kind(f.reason) for f in failures)
    text = [
        "# MaskBench: the schemas that are not all right",
        "",
        f"Of {len(results):,} schemas {len(results) - len(failures):,} are all right. Written by "
        "`maskbench_failures.py` from the judge's results.",
        "",
        *common.table(["reason", "schemas"], [[k, str(n)] for k, n in counts.most_common()]),
        "",
        *common.table(["schema", "instances", "reason"], [list(f) for f in failures]),
    ]
    arguments.out.write_text("\n".join(text) + "\n", encoding="utf-8")
    print("\n".join(text[: 6 + len(counts)]))
    print(f"\n{arguments.out}")


if __name__ == "__main__":
    main()
