"""Patterns that people wrote: every one compiles or says why not, and agrees with node."""

from __future__ import annotations

import gzip
import json
import re
import time
from collections.abc import Iterator
from random import Random

from regular.oracle import node_search
from regular.test_formats import sample
from shared_data import shared_data

from structgen.errors import (
    GrammarSyntaxError,
    LimitExceeded,
    StructgenError,
    UnsupportedSchemaError,
)
from structgen.regular.ecma import compile_full, compile_pattern


def _patterns(value: object) -> Iterator[str]:
    stack = [value]
    while stack:
        value = stack.pop()
        if isinstance(value, dict):
            if isinstance(value.get("pattern"), str):
                yield value["pattern"]
            if isinstance(value.get("patternProperties"), dict):
                yield from value["patternProperties"]
            stack.extend(value.values())
        elif isinstance(value, list):
            stack.extend(value)


def test_patterns_of_real_schemas() -> None:
    found: dict[str, None] = {}
    with gzip.open(shared_data("maskbench-dev.jsonl.gz"), "rt") as lines:
        for line in lines:
            found.update(dict.fromkeys(_patterns(json.loads(line)["schema"])))
    rng = Random(0)
    failed: list[tuple[str, StructgenError]] = []
    times: list[float] = []
    cases: list[tuple[str, list[str]]] = []
    for pattern in found:
        begin = time.process_time()
        try:
            dfa = compile_pattern(pattern)
        except StructgenError as error:
            failed.append((pattern, error))
            continue
        finally:
            times.append(time.process_time() - begin)
        dfa.verify()
        texts = [text for _ in range(6) if (text := sample(dfa, rng)) is not None]
        # Accepted texts with one character dropped, changed or added are often rejected ones.
        for text in texts[:4]:
            at = rng.randrange(len(text) + 1)
            texts += [text[:at] + text[at + 1 :], text[:at] + rng.choice("a0 -.\n") + text[at:]]
        cases.append((pattern, texts))
    for error in (e for _, e in failed):
        assert isinstance(error, (UnsupportedSchemaError, LimitExceeded))
    assert len(failed) <= 2, failed
    times.sort()
    assert times[len(times) // 2] < 0.01
    # Some are valid only without the u flag; those agree on texts without astral characters.
    for flags in ("u", ""):
        for (pattern, texts), answers in zip(cases, node_search(cases, flags), strict=True):
            for text, answer in zip(texts, answers or [], strict=False):
                if flags == "u" or max(text, default="") <= "\uffff":
                    matched = compile_pattern(pattern).accepts(text) == 0
                    assert matched == answer, (pattern, text)


def test_conformance_cases() -> None:
    for line in shared_data("conformance", "regex.jsonl").read_text().splitlines():
        row = json.loads(line)
        try:
            dfa = compile_full(row["regex"])
        except LimitExceeded:
            assert "50000" in row["regex"]
            continue
        except (UnsupportedSchemaError, GrammarSyntaxError):
            assert re.search(r"\(\?(i|P<)", row["regex"]), row
            continue
        assert (dfa.accepts(row["text"]) == 0) == row["truth"], row
