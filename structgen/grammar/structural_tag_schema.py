"""What a JSON Schema says of a value that is not written as JSON.

Parameters of tool calls in XML are not: their strings stand unquoted. So a schema is split by the
kinds of values: the strings that it accepts are a regular language of their own, and what is left
goes on as an embedded schema.
"""

from __future__ import annotations

import re
from typing import Any

from structgen.errors import (
    GrammarSyntaxError,
    LimitExceeded,
    SchemaError,
    UnsupportedSchemaError,
)
from structgen.grammar.ir import Embedded
from structgen.grammar.structural_tag_fields import below, shown
from structgen.json_text import write_json
from structgen.regular.charset import UNICODE
from structgen.regular.dfa import (
    DFA,
    any_string,
    combine,
    complement,
    empty,
    intersect,
    length,
    literals,
    union,
)
from structgen.regular.ecma import compile_pattern
from structgen.regular.formats import compile_format

KINDS = ("string", "number", "boolean", "null", "object", "array")
ANNOTATIONS = frozenset(
    "title description default examples deprecated readOnly writeOnly $comment $defs definitions "
    "$schema $id $anchor".split()
)
# Keywords that may say which strings there are, in ways that are not read here.
_UNREAD = ("$dynamicRef", "$recursiveRef")
_MAX_REFERENCES = 100


class SchemaView:
    """A schema at a place of a structural tag.

    Args:
        root: the schema, to which local references are relative.
        pointer: where it stands, for errors.
        options: the options of embedded schemas.
    """

    def __init__(self, root: Any, pointer: str, options: str) -> None:
        self.root, self.pointer, self.options = root, pointer, options
        dialect = str(root.get("$schema", "")) if isinstance(root, dict) else ""
        # Up to draft 7 nothing counts beside a reference.
        self.lonely_references = bool(re.search(r"draft-0[3-7]", dialect))

    def embedded(self, schema: Any, kinds: frozenset[str]) -> Embedded:
        """The JSON values of these kinds that a subschema of the root accepts."""
        if not kinds:
            raise ValueError("values of no kind")
        if schema is True:
            schema = {}
        excluded = self.kinds(schema) - kinds
        whole: dict[str, Any] = schema
        if excluded:
            types = [k for k in KINDS if k in kinds]
            whole = {"type": types, **schema} if not set(schema) - ANNOTATIONS else {
                "type": types, "allOf": [schema]
            }  # fmt: skip
        if "$ref" in write_json(schema):
            for reference in _references(schema):
                if not re.match(r"#/(\$defs|definitions)/", reference):
                    raise UnsupportedSchemaError(
                        f"a reference to {reference}, which is not under $defs, from a parameter",
                        keyword="$ref",
                        pointer=self.pointer,
                    )
            for name in ("$defs", "definitions", "$schema"):
                if name in self.root:
                    whole = {**whole, name: self.root[name]}
        return Embedded("json_schema", write_json(whole), self.options)

    def resolve(self, schema: Any, pointer: str) -> tuple[Any, str]:
        """Follow references that stand alone, and an ``allOf`` of one schema."""
        for _ in range(_MAX_REFERENCES):
            if not isinstance(schema, dict):
                return schema, pointer
            plain = set(schema) - ANNOTATIONS
            if "$ref" in plain and (plain == {"$ref"} or self.lonely_references):
                schema, pointer = self.target(schema["$ref"], pointer)
            elif plain == {"allOf"} and _schemas(schema, "allOf", pointer)[1:] == []:
                schema, pointer = schema["allOf"][0], below(pointer, "allOf", 0)
            else:
                return schema, pointer
        raise SchemaError("references lead in a circle", pointer=pointer)

    def target(self, reference: Any, pointer: str) -> tuple[Any, str]:
        if not isinstance(reference, str) or not re.match(r"#($|/)", reference):
            raise UnsupportedSchemaError(
                f"the reference {shown(reference)}: only local ones (#/...) are followed here",
                keyword="$ref",
                pointer=pointer,
            )
        found = self.root
        place = self.pointer
        for part in reference[2:].split("/") if len(reference) > 1 else ():
            key = part.replace("~1", "/").replace("~0", "~")
            if isinstance(found, dict) and key in found:
                found = found[key]
            elif isinstance(found, list) and key.isdigit() and int(key) < len(found):
                found = found[int(key)]
            else:
                raise SchemaError(f"the reference {reference} leads nowhere", pointer=pointer)
            place = below(place, key)
        return found, place

    def kinds(self, schema: Any, depth: int = 0) -> frozenset[str]:
        """The kinds of values that it may accept; perhaps too many, never too few."""
        if schema is True or schema is False or depth > _MAX_REFERENCES:
            return frozenset(KINDS if schema is not False else ())
        if not isinstance(schema, dict):
            raise SchemaError(
                f"a schema is an object or a boolean, not {shown(schema)}", pointer=self.pointer
            )
        found = frozenset(KINDS)
        if "$ref" in schema:
            found &= self.kinds(self.target(schema["$ref"], self.pointer)[0], depth + 1)
            if self.lonely_references:
                return found
        if "type" in schema:
            names = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
            if not all(isinstance(name, str) for name in names):
                message = f"type is a name or a list of names, not {shown(schema['type'])}"
                raise SchemaError(message, pointer=self.pointer)
            found &= {"number" if name == "integer" else name for name in names}
        if isinstance(schema.get("enum"), list):
            found &= {_kind(value) for value in schema["enum"]}
        if "const" in schema:
            found &= {_kind(schema["const"])}
        for part in _schemas(schema, "allOf", self.pointer):
            found &= self.kinds(part, depth + 1)
        for keyword in ("anyOf", "oneOf"):
            if keyword in schema:
                parts = _schemas(schema, keyword, self.pointer)
                found &= frozenset().union(*(self.kinds(part, depth + 1) for part in parts))
        return found

    def strings(self, schema: Any, pointer: str, depth: int = 0) -> DFA:
        """The strings that it accepts.

        Raises:
            SchemaError, UnsupportedSchemaError, LimitExceeded: with the pointer.
        """
        if isinstance(schema, bool):
            return any_string() if schema else empty()
        if not isinstance(schema, dict):
            message = f"a schema is an object or a boolean, not {shown(schema)}"
            raise SchemaError(message, pointer=pointer)
        if depth > _MAX_REFERENCES:
            raise SchemaError("references lead in a circle", pointer=pointer)
        try:
            return self._strings(schema, pointer, depth)
        except LimitExceeded as problem:
            if " at #" in problem.where:
                raise
            where = f"{problem.where} at {pointer}"
            raise LimitExceeded(limit=problem.limit, value=problem.value, where=where) from None

    def _strings(self, schema: dict[str, Any], pointer: str, depth: int) -> DFA:
        def part(value: Any, *keys: str | int) -> DFA:
            return self.strings(value, below(pointer, *keys), depth + 1)

        def parts(keyword: str) -> list[DFA]:
            values = _schemas(schema, keyword, pointer)
            return [part(value, keyword, i) for i, value in enumerate(values)]

        for keyword in _UNREAD:
            if keyword in schema:
                message = f"{keyword} in a parameter that is not written as JSON"
                raise UnsupportedSchemaError(message, keyword=keyword, pointer=pointer)
        found: list[DFA] = []
        if "$ref" in schema:
            found.append(self.strings(*self.target(schema["$ref"], pointer), depth + 1))
            if self.lonely_references:
                return found[0]
        if "string" not in self.kinds({k: schema[k] for k in ("type",) if k in schema}):
            return empty()
        if "enum" in schema or "const" in schema:
            values = schema["enum"] if isinstance(schema.get("enum"), list) else [schema["const"]]
            if "const" in schema:
                values = [value for value in values if value == schema["const"]]
            texts = [value for value in values if isinstance(value, str)]
            found.append(combine([literals(texts)], lambda v: 0 if v[0] >= 0 else -1))
        if "pattern" in schema:
            found.append(_pattern(schema["pattern"], below(pointer, "pattern")))
        if "minLength" in schema or "maxLength" in schema:
            low, high = schema.get("minLength", 0), schema.get("maxLength")
            for name, bound in (("minLength", low), ("maxLength", high)):
                if bound is not None and (isinstance(bound, bool) or bound != int(bound)):
                    message = f"{name} is an integer, not {shown(bound)}"
                    raise SchemaError(message, pointer=below(pointer, name))
            found.append(length(int(low), None if high is None else int(high)))
        if isinstance(schema.get("format"), str):
            known = compile_format(schema["format"])
            if known is not None:
                found.append(known)
        found += parts("allOf")
        if "anyOf" in schema:
            found.append(union(*parts("anyOf")))
        if "oneOf" in schema:
            self._exact(schema["oneOf"], pointer, "oneOf")
            found.append(
                combine(parts("oneOf"), lambda v: 0 if sum(c >= 0 for c in v) == 1 else -1)
            )
        if "not" in schema:
            self._exact(schema["not"], pointer, "not")
            found.append(complement(part(schema["not"], "not")))
        if "if" in schema:
            self._exact(schema["if"], pointer, "if")
            dfas = [part(schema.get(name, True), name) for name in ("if", "then", "else")]
            found.append(combine(dfas, lambda v: 0 if (v[1] if v[0] >= 0 else v[2]) >= 0 else -1))
        found = [dfa for dfa in found if not is_anything(dfa)]
        return intersect(*found) if len(found) > 1 else found[0] if found else any_string()

    def _exact(self, schema: Any, pointer: str, keyword: str) -> None:
        """Refuse formats where leaving out valid strings would let in invalid ones."""
        if '"format"' in write_json(schema):
            message = f"format under {keyword} in a parameter that is not written as JSON"
            raise UnsupportedSchemaError(message, keyword="format", pointer=pointer)


def is_anything(dfa: DFA) -> bool:
    ranges = tuple(zip(dfa.lo.tolist(), dfa.hi.tolist(), strict=True))
    return dfa.n_states == 1 and dfa.final[0] >= 0 and ranges == UNICODE


def _pattern(pattern: Any, pointer: str) -> DFA:
    if not isinstance(pattern, str):
        raise SchemaError(f"pattern is a string, not {shown(pattern)}", pointer=pointer)
    try:
        return compile_pattern(pattern)
    except (GrammarSyntaxError, SchemaError) as problem:
        message = str(problem).splitlines()[0].removesuffix(" (at #)")
        raise SchemaError(f"pattern {shown(pattern)}: {message}", pointer=pointer) from None


def _schemas(schema: dict[str, Any], keyword: str, pointer: str) -> list[Any]:
    values = schema.get(keyword, [])
    if not isinstance(values, list) or (keyword in schema and not values):
        message = f"{keyword} is a list of schemas, not {shown(values)}"
        raise SchemaError(message, pointer=below(pointer, keyword))
    return values


def _kind(value: Any) -> str:
    match value:
        case str():
            return "string"
        case bool():
            return "boolean"
        case None:
            return "null"
        case dict():
            return "object"
        case list():
            return "array"
    return "number"


def _references(schema: Any) -> list[str]:
    found, stack = [], [schema]
    while stack:
        value = stack.pop()
        if isinstance(value, dict):
            if isinstance(value.get("$ref"), str):
                found.append(value["$ref"])
            stack.extend(value.values())
        elif isinstance(value, list):
            stack.extend(value)
    return found


def write_schema(schema: Any, pointer: str) -> str:
    """The JSON text of a schema.

    Raises:
        SchemaError: it is none, or is no JSON.
    """
    if not isinstance(schema, dict | bool):
        message = f"a JSON Schema is an object or a boolean, not {shown(schema)}"
        raise SchemaError(message, pointer=pointer)
    try:
        return write_json(schema)
    except (TypeError, ValueError) as problem:
        raise SchemaError(f"the schema is not JSON: {problem}", pointer=pointer) from None
    except RecursionError:
        raise SchemaError("the schema is nested too deeply", pointer=pointer) from None
