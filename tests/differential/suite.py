"""The JSON Schema Test Suite: what we make of each of its groups, beside what is written down.

``suite_outcomes.json`` lists each file of the suite with the number of its groups, and those groups
that are not simply right:

- ``refused: keyword``: an error that names the keyword, or the limit.
- ``partial: n``: what is accepted is valid, but ``n`` valid instances are not accepted, because a
  format's automaton takes a part of the valid values (docs/json-schema.md names these formats).

Everything else that differs from the suite is wrong, and is never written down. To bring the file
up to date, which prints what changed and a summary:

    python tests/differential/suite.py
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

if __name__ == "__main__":
    sys.path.append(str(Path(__file__).resolve().parents[1]))

from differential.oracle import orders, read_json
from shared_data import shared_data

import structgen as sg

RECORD = Path(__file__).with_name("suite_outcomes.json")
COMMAND = "python tests/differential/suite.py"
DRAFTS = {
    "draft2020-12": "https://json-schema.org/draft/2020-12/schema",
    "draft2019-09": "https://json-schema.org/draft/2019-09/schema",
    "draft7": "http://json-schema.org/draft-07/schema#",
    "draft6": "http://json-schema.org/draft-06/schema#",
    "draft4": "http://json-schema.org/draft-04/schema#",
}

# Tests that do not speak of us: the name of the file, what the test's description ends with, why.
EXCEPTIONS = [
    ("format", "is only an annotation by default", "a known format is enforced"),
    (
        "vocabulary",
        "no validation: invalid number, but it still validates",
        "a metaschema of one's own is not fetched, so what vocabularies it leaves out is unknown",
    ),
    # Optional; from draft 2019-09 on these keywords are annotations and nothing else.
    ("optional/content", "an invalid JSON document", "contentMediaType is an annotation"),
    ("optional/content", "invalid base64 string (% is not a valid character)", "an annotation"),
    ("optional/content", "a validly-encoded invalid JSON document", "an annotation"),
    ("optional/content", "an invalid base64 string that is valid JSON", "an annotation"),
]

# Formats of which a part of the valid values is accepted.
PARTIAL = {
    "date-time", "email", "hostname", "idn-email", "idn-hostname", "regex", "time", "uri-template",
}  # fmt: skip


class Group(NamedTuple):
    """A schema of the suite with its instances; ``name`` is the file's, from the draft's folder."""

    draft: str
    file: str
    index: int
    raw: dict[str, Any]

    @property
    def name(self) -> str:
        return f"{self.draft}/{self.file}.json#{self.index}"

    @property
    def schema(self) -> Any:
        schema = self.raw["schema"]
        if isinstance(schema, dict) and "$schema" not in schema:
            return {"$schema": DRAFTS[self.draft], **schema}
        return schema

    @property
    def tests(self) -> list[dict[str, Any]]:
        return [
            test
            for test in self.raw["tests"]
            if not any(
                self.file == file and test["description"].endswith(end)
                for file, end, _ in EXCEPTIONS
            )
        ]


class Wrong(Exception):
    """A verdict that differs from the suite's."""


def groups(draft: str) -> Iterator[Group]:
    """All groups of a draft, the required ones and those of ``optional/``."""
    folder = shared_data("json-schema-test-suite", draft)
    for path in sorted(folder.rglob("*.json")):
        file = path.relative_to(folder).with_suffix("").as_posix()
        for index, raw in enumerate(read_json(path.read_text(encoding="utf-8"))):
            yield Group(draft, file, index, raw)


@cache
def remotes() -> dict[str, Any]:
    """The documents that the suite serves, by their addresses."""
    folder = shared_data("json-schema-test-suite", "remotes")
    return {
        f"http://localhost:1234/{path.relative_to(folder).as_posix()}": read_json(
            path.read_text(encoding="utf-8")
        )
        for path in sorted(folder.rglob("*.json"))
    }


@cache
def _compiler() -> sg.Compiler:
    return sg.Compiler(sg.Vocabulary.byte_vocabulary(), cache_bytes=0)


def outcome(group: Group) -> str:
    """``right``, or what the file says of the group.

    Raises:
        Wrong: with the descriptions of what is judged wrongly.
    """
    tests = group.tests
    try:
        grammar = _compiler().compile_json_schema(group.schema, resources=remotes())
    except sg.UnsupportedSchemaError as error:
        return f"refused: {error.keyword}"
    except sg.LimitExceeded as error:
        return f"refused: limit {error.limit}"
    except sg.SchemaError as error:
        if "no value satisfies" in str(error) and not any(test["valid"] for test in tests):
            return "right"
        raise Wrong(f"{group.raw['description']}: {error}") from None
    bad = [test for test in tests if _is_valid(grammar, test["data"]) != test["valid"]]
    if not bad:
        return "right"
    if all(test["valid"] for test in bad) and _formats(group.raw["schema"]) & PARTIAL:
        return f"partial: {len(bad)}"
    raise Wrong(
        "; ".join(
            f"{group.raw['description']}: {test['description']}: should be "
            f"{'valid' if test['valid'] else 'invalid'}: {_write(test['data'])[:100]}"
            for test in bad
        )
    )


def _is_valid(grammar: sg.CompiledGrammar, value: Any) -> bool:
    """Is the value accepted, its members in the order of the schema, whichever that is?"""
    for candidate in islice(orders(value), 800):
        matcher = grammar.matcher()
        text = _write(candidate).encode("utf-8", "surrogatepass")
        if matcher.accept_bytes(text) and matcher.is_accepting():
            return True
    return False


def _write(value: Any) -> str:
    """JSON with numbers written out, because bounds do not take all exponents."""
    if isinstance(value, dict):
        members = (f"{json.dumps(k, ensure_ascii=False)}: {_write(v)}" for k, v in value.items())
        return "{" + ", ".join(members) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_write, value)) + "]"
    return f"{value:f}" if isinstance(value, Decimal) else json.dumps(value, ensure_ascii=False)


def _formats(schema: Any) -> set[str]:
    return set(re.findall(r'"format": "([^"]*)"', json.dumps(schema, default=str)))


def judge(draft: str) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """The part of the file that speaks of a draft, and what is wrong, by the group's name."""
    found: dict[str, dict[str, Any]] = {}
    wrong: dict[str, str] = {}
    for group in groups(draft):
        entry = found.setdefault(f"{draft}/{group.file}.json", {"groups": 0})
        entry["groups"] += 1
        try:
            result = outcome(group)
        except Wrong as error:
            wrong[group.name] = str(error)
            result = "wrong"  # seen in what changed, never written
        if result != "right":
            entry[str(group.index)] = result
    return found, wrong


def recorded(draft: str) -> dict[str, dict[str, Any]]:
    """What the file says of a draft."""
    record = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}
    return {file: entry for file, entry in record.items() if file.startswith(f"{draft}/")}


def changes(old: dict[str, dict[str, Any]], new: dict[str, dict[str, Any]]) -> list[str]:
    """What differs, a line for each group."""
    lines = []
    for file in sorted({*old, *new}):
        before, after = old.get(file, {"groups": 0}), new.get(file, {"groups": 0})
        for key in sorted({*before, *after}):
            default = 0 if key == "groups" else "right"
            was, now = before.get(key, default), after.get(key, default)
            if was != now:
                name = f"{file}: groups" if key == "groups" else f"{file}#{key}"
                lines.append(f"{name}: recorded {was}, now {now}")
    return lines


def summary(draft: str, found: dict[str, dict[str, Any]], n_wrong: int) -> str:
    """A line of counts: required groups, then optional ones."""
    parts = []
    for kind in ("required", "optional"):
        entries = [e for f, e in found.items() if ("/optional/" in f) == (kind == "optional")]
        counts = Counter(
            v.partition(":")[0] for e in entries for k, v in e.items() if k != "groups"
        )
        total = sum(e["groups"] for e in entries)
        counts["right"] = total - sum(counts.values())
        shown = ", ".join(f"{counts[name]} {name}" for name in ("right", "refused", "partial"))
        parts.append(f"{kind}: {shown}")
    return f"{draft}: {'; '.join(parts)}; {n_wrong} wrong"


def main() -> None:
    """Judge all drafts and write the file; exit status 1 where a verdict is wrong."""
    record: dict[str, dict[str, Any]] = {}
    failed = False
    for draft in DRAFTS:
        found, wrong = judge(draft)
        for line in changes(recorded(draft), found):
            print(line)
        for name, reason in wrong.items():
            print(f"WRONG {name}: {reason}")
        print(summary(draft, found, len(wrong)))
        record |= found
        failed |= bool(wrong)
    if failed:
        sys.exit("not written: wrong verdicts are not recorded")
    lines = (f"{json.dumps(file)}: {json.dumps(entry)}" for file, entry in sorted(record.items()))
    RECORD.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
