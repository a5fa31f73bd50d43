"""Subschemas that one look finds in order: they are read when a value first needs them.

Reading makes formulas of a subschema, and then each formula is checked: that all it says is
enforced, and no limit passed. Of most subschemas of a large document a look at their keywords says
as much. Where it does not (what is unknown here, or odd), the subschema is read and checked at
once, so that errors are those of the reader, and come while a schema is compiled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from structgen.regular.charset import has_surrogate
from structgen.regular.formats import compile_format
from structgen.schema.document import Document, escape

if TYPE_CHECKING:
    from structgen.schema.family import Definition

TYPES = ("null", "boolean", "number", "integer", "string", "array", "object")

MOST_DIGITS = 10**18  # bounds with more have large automata
MOST_NUMBERS = 64  # in one enum

# Keywords that take more than a look: they combine or count subschemas, or are automata.
INVOLVED = (
    "$dynamicRef", "$recursiveRef", "allOf", "anyOf", "contains", "dependencies",
    "dependentRequired", "dependentSchemas", "disallow", "extends", "if", "maxProperties",
    "minProperties", "multipleOf", "not", "oneOf", "pattern", "patternProperties", "prefixItems",
    "propertyNames", "unevaluatedItems", "unevaluatedProperties",
)  # fmt: skip


def _never(value: Any) -> bool:
    return False


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_type(value: Any) -> bool:
    if type(value) is str:
        return value in TYPES
    return isinstance(value, list) and value != [] and all(map(_is_name_of_type, value))


def _is_name_of_type(value: Any) -> bool:
    return isinstance(value, str) and value in TYPES


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < MOST_DIGITS


def _is_bound(value: Any) -> bool:
    if type(value) is float:
        return "e" not in repr(value)
    return type(value) is int and -MOST_DIGITS < value < MOST_DIGITS


def _is_scalar(value: Any) -> bool:
    return value is None or isinstance(value, str | bool) or _is_bound(value)


def _are_scalars(value: Any) -> bool:
    if not isinstance(value, list) or not all(map(_is_scalar, value)):
        return False
    return len(value) <= MOST_NUMBERS or all(map(_is_text, value))


def _is_format(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    compile_format(value)  # most take long: not when a text needs it
    return True


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_schema(value: Any) -> bool:
    return isinstance(value, dict | bool)


def _are_schemas(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_schema, value.values()))


# What a keyword's value must look like, and the group of keywords about strings that it belongs to:
# two groups together need an automaton of their own. A reference has its own look.
_LOOKS: dict[str, tuple[Callable[[Any], bool], int]] = {
    **dict.fromkeys((*INVOLVED, "$ref"), (_never, 0)),
    "type": (_is_type, 0),
    "enum": (_are_scalars, 1),
    "const": (_is_scalar, 2),
    "format": (_is_format, 4),
    "minLength": (_is_count, 8),
    "maxLength": (_is_count, 8),
    "minItems": (_is_count, 0),
    "maxItems": (_is_count, 0),
    "minimum": (_is_bound, 0),
    "maximum": (_is_bound, 0),
    "exclusiveMinimum": (_is_bound, 0),
    "exclusiveMaximum": (_is_bound, 0),
    "required": (_are_names, 0),
    "uniqueItems": (lambda value: value is False, 0),
    "properties": (_are_schemas, 0),
    "items": (_is_schema, 0),
    "additionalProperties": (_is_schema, 0),
}
KNOWN = frozenset(_LOOKS)

# Keywords that say the same wherever they stand.
_SCALARS = frozenset((
    "type", "format", "minLength", "maxLength", "minimum", "maximum", "exclusiveMinimum",
    "exclusiveMaximum",
))  # fmt: skip

_WITHIN = frozenset(("properties", "items", "additionalProperties"))  # of the plain ones
_LOWER = frozenset(("minimum", "exclusiveMinimum"))
_UPPER = frozenset(("maximum", "exclusiveMaximum"))

Place = tuple[dict[str, Any], str]  # a subschema and its pointer


class Looks:
    """The subschemas of one document that were looked at and found plain."""

    def __init__(self, document: Document, literal_length: int) -> None:
        self.document, self.literal_length = document, literal_length
        # By identity: the subschema that a plain reference names, None for all others.
        self._plain: dict[int, dict[str, Any] | None] = {}
        # By identity: definitions that another grammar has read (see structgen.schema.family).
        self.shared: Mapping[int, Definition] = {}

    def look(self, raw: dict[str, Any], pointer: str) -> list[Place] | None:
        """What there is to look at within a plain subschema; None: it must be read.

        Raises:
            SchemaError, UnsupportedSchemaError: a reference that leads nowhere.
        """
        if "$ref" in raw:
            return self._look_behind(raw, pointer)
        groups, below = 0, False
        for keyword, value in raw.items():
            known = _LOOKS.get(keyword)
            if known is not None:
                look, group = known
                if not look(value):
                    return None
                groups |= group
                below |= keyword in _WITHIN
        if groups & (groups - 1):
            return None
        if groups == 1 and sum(map(len, filter(_is_text, raw["enum"]))) > self.literal_length:
            return None
        if below and ("type" in raw or groups & 3) and not _admits_what_is_within(raw):
            return None
        self._plain[id(raw)] = None
        return _within(raw, pointer) if below else []

    def _look_behind(self, raw: dict[str, Any], pointer: str) -> list[Place] | None:
        """A reference that says the same as its target, which is none itself."""
        reference = raw["$ref"]
        alone = len(KNOWN.intersection(raw)) == 1 or self.document.dialect_at(raw) <= 7
        if not alone or not isinstance(reference, str):
            return None
        target, at = self.document.resolve(reference, raw, pointer)
        if not isinstance(target, dict) or "$ref" in target:
            return None
        self._plain[id(raw)] = target
        return [(target, at)]

    def scalar_key(self, raw: dict[str, Any]) -> object:
        """Equal for plain subschemas that say the same of scalars; None for all others."""
        if id(raw) not in self._plain:
            return None
        key: list[object] = []
        for keyword, value in raw.items():
            if keyword in KNOWN:
                if keyword not in _SCALARS:
                    return None
                key += (keyword, tuple(value) if isinstance(value, list) else value)
        return self.document.dialect_at(raw), *key

    def shared_with(self, raw: dict[str, Any]) -> Definition | None:
        """What another grammar has read, if a subschema is that, or no more than a reference."""
        if not self.shared:
            return None
        return self.shared.get(id(raw)) or self.shared.get(id(self._plain.get(id(raw))))

    def is_surely_satisfiable(self, raw: Any, depth: int = 4) -> bool:
        """Does some value satisfy a subschema? False where it takes more than looking so deep."""
        if not isinstance(raw, dict):
            return raw is True
        shared = self.shared_with(raw)
        if shared is not None:
            return shared.is_satisfiable()
        if not depth or id(raw) not in self._plain:
            return False
        target = self._plain[id(raw)]
        if target is not None:
            return self.is_surely_satisfiable(target, depth - 1)
        if "enum" in raw or "const" in raw:
            return False
        names = raw.get("type", "object")
        for name in (names,) if isinstance(names, str) else names:
            if name == "object":
                possible = self._has_required(raw, depth - 1)
            elif name == "array":
                possible = not raw.get("minItems")
            elif name == "string":
                possible = raw.get("minLength", 0) <= raw.get("maxLength", MOST_DIGITS)
            else:
                possible = (
                    name in ("null", "boolean") or _LOWER.isdisjoint(raw) or _UPPER.isdisjoint(raw)
                )
            if possible:
                return True
        return False

    def _has_required(self, raw: dict[str, Any], depth: int) -> bool:
        """Are all properties that an object requires surely satisfiable?"""
        properties, others = raw.get("properties", {}), raw.get("additionalProperties", True)
        return all(
            not has_surrogate(name)
            and self.is_surely_satisfiable(properties.get(name, others), depth)
            for name in raw.get("required", ())
        )


def _admits_what_is_within(raw: dict[str, Any]) -> bool:
    """Can a value have what the subschemas within describe? Others are counted, and never read."""
    if "enum" in raw or "const" in raw:
        return False
    kind = raw["type"]
    names = (kind,) if isinstance(kind, str) else kind
    is_array = "items" in raw
    is_object = "properties" in raw or "additionalProperties" in raw
    return (not is_array or "array" in names) and (not is_object or "object" in names)


def _within(raw: dict[str, Any], pointer: str) -> list[Place]:
    """The subschemas within a plain one that are objects."""
    found: list[Place] = []
    properties = raw.get("properties")
    if properties:
        at = f"{pointer}/properties/"
        for name, value in properties.items():
            if isinstance(value, dict):
                found.append((value, at + escape(name)))
    for keyword in ("items", "additionalProperties"):
        value = raw.get(keyword)
        if isinstance(value, dict):
            found.append((value, f"{pointer}/{keyword}"))
    return found
