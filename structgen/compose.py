"""Constraints put together: one after the other, or one of several.

A part is a text, which stands for itself, or a structural tag, as the functions here return it:

    sg.concat("Answer: ", sg.union(compose.regex("[0-9]+"), compose.json_schema(Person)))

The result is a structural tag in its documented JSON form, for
:meth:`structgen.Compiler.compile_structural_tag` or ``generate(structural_tag=...)``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from structgen.errors import StructgenError

Tag: TypeAlias = "dict[str, Any]"
Part: TypeAlias = "str | Mapping[str, Any]"


def text(value: str) -> Tag:
    """Exactly this text; a special token's name in it stands for the token."""
    return _tag({"type": "const_string", "value": value})


def regex(pattern: str) -> Tag:
    """A text that an ECMA-262 pattern matches from beginning to end."""
    return _tag({"type": "regex", "pattern": pattern})


def json_schema(schema: Any) -> Tag:
    """A JSON value; a schema, JSON text, pydantic model or type, as ``compile_json_schema`` takes.

    Raises:
        SchemaError: not a schema.
    """
    from structgen.schema_input import resolve_schema

    resolved = schema if isinstance(schema, dict | bool) else resolve_schema(schema).schema
    return _tag({"type": "json_schema", "json_schema": resolved})


def lark(grammar: str) -> Tag:
    """A text of a Lark grammar, from its rule ``start``; not the empty one."""
    return _tag({"type": "grammar", "syntax": "lark", "grammar": grammar})


def ebnf(grammar: str) -> Tag:
    """A text of a GBNF or EBNF grammar, from its rule ``root``."""
    return _tag({"type": "grammar", "grammar": grammar})


def union(*parts: Part) -> Tag:
    """One of the parts."""
    return _tag({"type": "or", "elements": _formats(parts)})


def concat(*parts: Part) -> Tag:
    """The parts one after the other."""
    return _tag({"type": "sequence", "elements": _formats(parts)})


def _tag(form: Mapping[str, Any]) -> Tag:
    return {"type": "structural_tag", "format": dict(form)}


def _formats(parts: tuple[Part, ...]) -> list[Any]:
    if not parts:
        raise StructgenError("there is nothing to put together: pass at least one part")
    found = []
    for part in parts:
        if isinstance(part, str):
            found.append(text(part)["format"])
        elif isinstance(part, Mapping) and part.get("type") == "structural_tag":
            found.append(part.get("format"))
        else:
            raise StructgenError(
                f"a part is a text or a structural tag, not {part!r:.60}; structgen.compose has "
                "regex, json_schema, lark and ebnf"
            )
    return found
