"""Files of test cases: texts that a grammar accepts, rejects, and can complete."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from structgen.cli.files import read_text
from structgen.cli.grammar_source import BUILTIN, GrammarSource, Kind, read_source
from structgen.errors import StructgenError

EXPECTATIONS = ("accept", "reject", "prefix")
# What a file may say beside the cases: the grammar itself, or where it is.
INLINE = {
    "lark": Kind.LARK,
    "ebnf": Kind.EBNF,
    "schema": Kind.JSON_SCHEMA,
    "regex": Kind.REGEX,
    "structural_tag": Kind.STRUCTURAL_TAG,
}
_FIELDS = {*EXPECTATIONS, *INLINE, "grammar", "kind", "start"}


@dataclass(frozen=True, slots=True)
class Case:
    """A text, and what is expected: "accept", "reject" or "prefix" (rejected, but completable)."""

    name: str
    text: str
    expected: str


@dataclass(frozen=True, slots=True)
class Suite:
    """The cases of one file, and the grammar that they are about; None where it does not say."""

    name: str
    cases: list[Case]
    grammar: GrammarSource | None


def is_cases(path: str) -> bool:
    """Is this file one of cases, not a grammar?"""
    if path.startswith(BUILTIN) or path.endswith((".toml", ".examples.json")):
        return True
    if not path.endswith(".json"):
        return False
    try:
        fields = json.loads(read_text(path))
    except (ValueError, RecursionError):
        return False
    return isinstance(fields, dict) and any(isinstance(fields.get(e), list) for e in EXPECTATIONS)


def read_suite(path: str) -> Suite:
    """Read a file of cases, or those of ``builtin:NAME``.

    A file is a JSON object or TOML with the lists ``accept``, ``reject`` and ``prefix``. A case is
    a text, or an object with ``text`` or ``file`` (its content), and perhaps a ``name``. The
    grammar is ``grammar`` (a file beside it, or builtin:NAME, with ``kind`` and ``start`` where
    they are needed), or inline: one of ``lark``, ``ebnf``, ``schema``, ``regex``,
    ``structural_tag``; or the grammar whose name the file has: ``x.lark`` for
    ``x.examples.json``.

    Raises:
        StructgenError: the file cannot be read or is not of this form.
    """
    if path.startswith(BUILTIN):
        return _builtin(path)
    fields = _fields(path)
    unknown = sorted(set(fields) - _FIELDS)
    if unknown:
        raise StructgenError(
            f"{path}: unknown field {unknown[0]!r}; a file of cases has "
            f"{', '.join(sorted(_FIELDS))}"
        )
    folder = Path(path).parent
    cases = []
    for expected in EXPECTATIONS:
        listed = fields.get(expected, [])
        if not isinstance(listed, list):
            raise StructgenError(f"{path}: {expected} is a list of cases")
        for number, case in enumerate(listed, 1):
            cases.append(_case(path, folder, expected, number, case))
    return Suite(path, cases, _grammar(path, folder, fields))


def _builtin(name: str) -> Suite:
    from structgen import grammars

    source = read_source(name)
    found = grammars.examples(name.removeprefix(BUILTIN))
    cases = [
        Case(repr(text), text, expected)
        for expected in EXPECTATIONS
        for text in getattr(found, expected)
    ]
    return Suite(name, cases, source)


def _fields(path: str) -> dict[str, Any]:
    text = read_text(path)
    try:
        fields = tomllib.loads(text) if path.endswith(".toml") else json.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise StructgenError(f"{path} is not valid TOML: {error}") from None
    except json.JSONDecodeError as error:
        raise StructgenError(
            f"{path} is not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        ) from None
    except RecursionError:
        raise StructgenError(f"{path} is nested too deeply to be read") from None
    if not isinstance(fields, dict):
        raise StructgenError(f"{path}: a file of cases is an object with accept, reject or prefix")
    return fields


def _case(path: str, folder: Path, expected: str, number: int, case: Any) -> Case:
    if isinstance(case, str):
        return Case(repr(case), case, expected)
    where = f"{path}: {expected} case {number}"
    if not isinstance(case, dict) or not set(case) <= {"name", "text", "file"}:
        raise StructgenError(f"{where} is a text, or an object with text or file, and name")
    if not all(isinstance(value, str) for value in case.values()):
        raise StructgenError(f"{where}: name, text and file are strings")
    if ("text" in case) == ("file" in case):
        raise StructgenError(f"{where} needs a text or a file, one of them")
    text = case["text"] if "text" in case else read_text(folder / case["file"])
    return Case(case.get("name") or case.get("file") or repr(text), text, expected)


def _grammar(path: str, folder: Path, fields: dict[str, Any]) -> GrammarSource | None:
    given = [name for name in ("grammar", *INLINE) if name in fields]
    if len(given) > 1:
        raise StructgenError(f"{path} has one grammar, not {' and '.join(given)}")
    start = fields.get("start")
    if start is not None and not isinstance(start, str):
        raise StructgenError(f"{path}: start is the name of a rule")
    if not given:
        return _sibling(path, start)
    value = fields[given[0]]
    if given[0] == "grammar":
        if not isinstance(value, str):
            raise StructgenError(f"{path}: grammar is the name of a file, or builtin:NAME")
        name = value if value.startswith(BUILTIN) else str(folder / value)
        return read_source(name, kind=_kind(path, fields.get("kind")), start=start)
    if given[0] in ("schema", "structural_tag") and not isinstance(value, str):
        value = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, str):
        raise StructgenError(f"{path}: {given[0]} is a string")
    return GrammarSource(f"{path} ({given[0]})", INLINE[given[0]], value, start)


def _sibling(path: str, start: str | None) -> GrammarSource | None:
    stem = path.removesuffix(Path(path).suffix).removesuffix(".examples").removesuffix(".cases")
    for ending in (".lark", ".gbnf", ".ebnf", ".schema.json", ".json"):
        if stem + ending != path and Path(stem + ending).is_file():
            return read_source(stem + ending, start=start)
    return None


def _kind(path: str, value: Any) -> Kind | None:
    if value is None:
        return None
    try:
        return Kind(str(value).replace("_", "-"))
    except ValueError:
        known = ", ".join(kind.value for kind in Kind)
        raise StructgenError(f"{path}: kind {value!r} is not one of {known}") from None
