"""Labelled cases of other projects, and the JSON Schema Test Suite: right, refused, or wrong.

Refused is an ``UnsupportedSchemaError`` (or a limit): nothing is enforced by halves. Wrong is a
verdict that differs; none is allowed, but for cases listed with their reason.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from functools import cache
from itertools import islice
from typing import Any

import pytest
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


# Where the verdict differs from the suite's on purpose: file, and what the test's or the group's
# description ends with.
SUITE_EXCEPTIONS = {
    # A known format is enforced: who writes one wants it, and the text still validates.
    ("format", "is only an annotation by default"),
    # A metaschema of one's own is not fetched, so the vocabularies that it leaves out are unknown.
    ("vocabulary", "no validation: invalid number, but it still validates"),
}


def suite_groups(draft: str) -> list[tuple[str, dict[str, Any]]]:
    folder = shared_data("json-schema-test-suite", draft)
    return [
        (path.stem, group)
        for path in sorted(folder.glob("*.json"))
        for group in json.loads(path.read_text(encoding="utf-8"))
    ]


@cache
def suite_remotes() -> dict[str, Any]:
    """The documents that the suite serves, by their addresses."""
    folder = shared_data("json-schema-test-suite", "remotes")
    return {
        f"http://localhost:1234/{path.relative_to(folder).as_posix()}": json.loads(
            path.read_text(encoding="utf-8")
        )
        for path in sorted(folder.rglob("*.json"))
    }


@pytest.mark.parametrize("draft", ["draft2020-12", "draft2019-09", "draft7", "draft6", "draft4"])
def test_json_schema_test_suite(draft: str) -> None:
    counts: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    wrong: list[str] = []
    name = {"draft2020-12": "https://json-schema.org/draft/2020-12/schema",
            "draft2019-09": "https://json-schema.org/draft/2019-09/schema"}.get(
        draft, f"http://json-schema.org/{draft[:5]}-0{draft[5:]}/schema#")  # fmt: skip
    for file, group in suite_groups(draft):
        schema = group["schema"]
        if isinstance(schema, dict) and "$schema" not in schema:
            schema = {"$schema": name, **schema}
        try:
            grammar = compiler().compile_json_schema(schema, resources=suite_remotes())
        except (sg.UnsupportedSchemaError, sg.LimitExceeded) as error:
            counts["refused"] += 1
            refused[getattr(error, "keyword", "limit")] += 1
            continue
        except sg.SchemaError as error:
            if "no value satisfies" in str(error) and not any(t["valid"] for t in group["tests"]):
                counts["right"] += 1
            else:
                counts["wrong"] += 1
                wrong.append(f"{file}: {group['description']}: {error}")
            continue
        tests = [
            t
            for t in group["tests"]
            if not any(file == f and t["description"].endswith(e) for f, e in SUITE_EXCEPTIONS)
        ]
        counts["excepted tests"] += len(group["tests"]) - len(tests)
        bad = [t for t in tests if _verdict(grammar, t["data"]) != t["valid"]]
        if bad:
            counts["wrong"] += 1
            wrong += [
                f"{file}: {group['description']}: {t['description']}: should be "
                f"{'valid' if t['valid'] else 'invalid'}: {_write(t['data'])[:100]}"
                for t in bad
            ]
        else:
            counts["right"] += 1
    print(f"\n{draft}: {dict(counts)}; refused for {dict(refused)}")
    assert not wrong, "\n".join(wrong)
    assert counts["right"] > 0.5 * (counts["right"] + counts["refused"])


def _verdict(grammar: sg.CompiledGrammar, value: Any) -> bool:
    """Is the value accepted, its members in some order?"""
    return any(is_accepted(grammar, _plain(v)) for v in islice(orders(value), 800))


def _plain(value: Any) -> str:
    """JSON without exponents, which numbers within bounds do not always have."""
    text = json.dumps(value, ensure_ascii=False)
    return re.sub(
        r"(?<![\w\"\\.])-?[0-9]+(\.[0-9]+)?[eE][-+]?[0-9]+(?![\w\"])",
        lambda m: f"{float(m[0]):f}" if abs(float(m[0])) < 1e300 else m[0],
        text,
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
