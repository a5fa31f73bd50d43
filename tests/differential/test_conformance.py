"""Labelled cases of other projects, and the JSON Schema Test Suite: right, refused, or wrong.

Refused is an ``UnsupportedSchemaError`` (or a limit): nothing is enforced by halves. Wrong is a
verdict that differs; none is allowed, but for cases listed with their reason. What becomes of each
group of the suite is recorded, see :mod:`differential.suite`.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from functools import cache
from typing import Any

import pytest
from differential import suite
from differential.oracle import orders, read_json, validator
from shared_data import shared_data

import structgen as sg

WHITESPACE = 20  # Limits().whitespace


@cache
def compiler() -> sg.Compiler:
    return sg.Compiler(sg.Vocabulary.byte_vocabulary(), cache_bytes=0)


def is_accepted(grammar: sg.CompiledGrammar, text: str) -> bool:
    matcher = grammar.matcher()
    return matcher.accept_bytes(text.encode("utf-8", "surrogatepass")) and matcher.is_accepting()


def strict(schema: Any) -> Any:
    """What ``strict_mode`` means: objects and arrays have nothing that is not declared."""
    if isinstance(schema, list):
        return [strict(s) for s in schema]
    if not isinstance(schema, dict):
        return schema
    found = {k: v if k in ("enum", "const") else strict(v) for k, v in schema.items()}
    if "properties" in found:
        found["properties"] = {k: strict(v) for k, v in schema["properties"].items()}
        found.setdefault("additionalProperties", False)
    if "prefixItems" in found:
        found.setdefault("items", False)
    return found


def is_own_choice(case: dict[str, Any]) -> str | None:
    """Why a case does not speak of us, or None."""
    options = case["options"]
    schema = json.dumps(case["schema"])
    if any(f in case["features"] for f in ("opt:indent", "opt:separators", "opt:any_order")):
        return "layout options that we do not have"
    if "item_separator" in options or "whitespace_pattern" in options:
        return "layout options that we do not have"
    if options.get("max_whitespace_cnt") is not None:
        return "whitespace bound of another size"
    if "x-guidance" in schema:
        return "x-guidance keys"
    if re.search(rf"\s{{{WHITESPACE + 1},}}", case["instance_text"]):
        return "a longer run of whitespace than our bound"
    return None


def test_labelled_cases() -> None:
    path = shared_data("conformance", "json_schema.jsonl")
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    reasons: Counter[str] = Counter()
    grammars: dict[str, Any] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        case = json.loads(line)
        if case["truth"] is None:
            counts["no verdict"] += 1
            continue
        reason = is_own_choice(case)
        if reason is not None:
            counts[f"left out: {reason}"] += 1
            continue
        key = json.dumps(case["schema"])
        if key not in grammars:
            try:
                grammars[key] = compiler().compile_json_schema(case["schema"])
            except sg.StructgenError as error:
                grammars[key] = error
        grammar = grammars[key]
        if isinstance(grammar, sg.UnsupportedSchemaError | sg.LimitExceeded):
            counts["refused"] += 1
            reasons[getattr(grammar, "keyword", "limit")] += 1
            continue
        text = case["instance_text"]
        accepted = False
        if not isinstance(grammar, sg.StructgenError):
            accepted = is_accepted(grammar, text)
            if case["truth"] and not accepted:
                # Another order than ours; what the case is about is the value.
                value = read_json(text)
                accepted = any(is_accepted(grammar, _write(v)) for v in orders(value, 500))
        if accepted == case["truth"]:
            counts["right"] += 1
        elif case["truth"] and _has_exponent(text):
            counts["left out: exponents that we do not write"] += 1
        else:
            counts["wrong"] += 1
            said = f"{type(grammar).__name__}: {grammar}" if not accepted else "accepted"
            wrong.append(f"{key[:300]} {text[:200]!r}: truth {case['truth']}, {said[:120]}")
    print(dict(counts), dict(reasons))
    assert counts["right"] > 1200
    assert not wrong, "\n".join(wrong)


def _write(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _has_exponent(text: str) -> bool:
    return re.search(r"[0-9][eE][-+]?[0-9]", re.sub(r'"(\\.|[^"\\])*"', "", text)) is not None


@pytest.mark.parametrize("draft", suite.DRAFTS)
def test_json_schema_test_suite(draft: str) -> None:
    """Every group of the suite, required and optional, comes out as it is written down."""
    found, wrong = suite.judge(draft)
    print(f"\n{suite.summary(draft, found, len(wrong))}")
    assert not wrong, "\n".join(f"{name}: {reason}" for name, reason in wrong.items())
    changed = suite.changes(suite.recorded(draft), found)
    assert not changed, "\n".join(
        [f"{suite.RECORD.name} is out of date; to renew it: {suite.COMMAND}", *changed]
    )


def test_our_verdict_on_finished_texts_is_jsonschemas() -> None:
    """The instances that come with real schemas, valid and invalid."""
    from masks.walks import sampled_schemas

    counts: Counter[str] = Counter()
    wrong: list[str] = []
    for row in sampled_schemas(250, 5):
        schema = row["schema"]
        try:
            grammar = compiler().compile_json_schema(schema)
        except (sg.UnsupportedSchemaError, sg.LimitExceeded):
            counts["refused"] += 1
            continue
        except sg.SchemaError as error:
            counts["nothing satisfies it"] += 1
            if any(t["valid"] for t in row["tests"]) or "no value" not in str(error):
                wrong.append(f"{row['id']}: {error}")
            continue
        for test in row["tests"]:
            text = _write(test["data"])
            accepted = is_accepted(grammar, text)
            if accepted:
                verdict = validator(schema).is_valid(read_json(text))
                counts["accepted"] += 1
                if not test["valid"] or not verdict:
                    wrong.append(f"{row['id']}: accepted, invalid: {text[:200]}")
            elif test["valid"]:
                counts["valid, refused"] += 1
                if not any(is_accepted(grammar, _write(v)) for v in orders(test["data"], 130)):
                    counts["valid, refused in 130 orders"] += 1
                    print(f"{row['id']}: valid, refused: {text[:200]}")
            else:
                counts["refused rightly"] += 1
    print(dict(counts))
    assert not wrong, "\n".join(wrong)
    assert counts["valid, refused"] < 0.05 * counts["accepted"]
