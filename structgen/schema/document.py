"""A schema document: bounds on its size, JSON Pointers, references, dialects."""

from __future__ import annotations

import marshal
import math
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any, NamedTuple
from urllib.parse import unquote, urldefrag, urljoin

from structgen.collector import paused
from structgen.errors import LimitExceeded, SchemaError, UnsupportedSchemaError
from structgen.limits import Limits

DIALECTS = {
    "http://json-schema.org/draft-03/schema": 3,
    "http://json-schema.org/draft-04/schema": 4,
    "http://json-schema.org/draft-06/schema": 6,
    "http://json-schema.org/draft-07/schema": 7,
    "https://json-schema.org/draft/2019-09/schema": 2019,
    "https://json-schema.org/draft/2020-12/schema": 2020,
}


def dialect_of(schema: Any) -> int:
    """The draft that ``$schema`` names; 2020-12 where it names none that is known."""
    if not isinstance(schema, dict):
        return 2020
    name = schema.get("$schema")
    if not isinstance(name, str):
        return 2020
    name = name.split("#", 1)[0].rstrip("/")
    if name.startswith("https://json-schema.org/draft-"):
        name = "http" + name[5:]
    if name.startswith("http://json-schema.org/draft/"):
        name = "https" + name[4:]
    return DIALECTS.get(name, 2020)


def escape(token: str) -> str:
    """A reference token of a JSON Pointer (RFC 6901, section 3)."""
    if "~" in token or "/" in token:
        return token.replace("~", "~0").replace("/", "~1")
    return token


def snapshot(schema: Any) -> Any:
    """A copy that nobody else changes; None where a value is not plainly JSON's."""
    try:
        with paused():
            return marshal.loads(marshal.dumps(schema))
    except (ValueError, EOFError, TypeError):  # such as a Decimal, or too deep
        return None


class Survey(NamedTuple):
    """What a document has below its root.

    ``mixed``: a ``$schema``; ``named``: what may be an identifier or an anchor; ``unique``: a
    ``uniqueItems``, there or at the root; ``size``: about the characters of its text.
    """

    mixed: bool
    named: bool
    unique: bool
    size: int


def survey(schema: Any, limits: Limits) -> Survey:
    """Walk the document once, without recursion; raise where it is no JSON or past a limit."""
    mixed = named = unique = False
    size, depth = 0, 0
    level: list[Any] = [schema] if isinstance(schema, dict) else []
    while level:
        depth += 1
        if depth > limits.nesting:
            where = _pointer_to(schema, level[0])
            shown = where if len(where) <= 80 else where[:80] + "..."
            raise LimitExceeded(limit="nesting", value=limits.nesting, where=shown)
        below: list[Any] = []
        for value in level:
            size += 2 * len(value)
            items: Iterable[Any] = value
            if isinstance(value, dict):
                if not _MARKS.isdisjoint(value):
                    unique |= value.get("uniqueItems") is True
                    if depth > 1:
                        mixed |= "$schema" in value
                        named |= any(isinstance(value.get(name), str | bool) for name in _NAMES)
                size += _size_of_keys(value, schema)
                items = value.values()
            for item in items:
                kind = type(item)
                if kind is str:
                    size += len(item) + 2
                elif kind is dict or kind is list or isinstance(item, dict | list):
                    below.append(item)
                else:
                    size += _scalar_size(item, schema, value)
        if size > limits.schema_bytes:
            raise LimitExceeded(limit="schema_bytes", value=limits.schema_bytes, where="the schema")
        level = below
    return Survey(mixed, named, unique, size)


def _size_of_keys(value: dict[Any, Any], schema: Any) -> int:
    try:
        return len("".join(value)) + 2 * len(value)
    except TypeError:
        key = next(key for key in value if not isinstance(key, str))
        where = _pointer_to(schema, value)
        raise SchemaError(f"object key {key!r} is not a string", pointer=where) from None


def _scalar_size(value: Any, schema: Any, holder: Any) -> int:
    if isinstance(value, str):
        return len(value) + 2
    if value is None or isinstance(value, bool | int):
        return 5
    if isinstance(value, float | Decimal):
        if value.is_finite() if isinstance(value, Decimal) else math.isfinite(value):
            return 5
        what = f"{value} is not a JSON number"
    else:
        what = f"a {type(value).__name__} is not a JSON value"
    raise SchemaError(what, pointer=_pointer_to(schema, holder))


def _pointer_to(root: Any, target: Any) -> str:
    """Where an object or array of the document stands first, level by level."""
    queue, seen = [("#", root)], {id(root)}
    for where, value in queue:
        if value is target:
            return where
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in pairs:
            if isinstance(item, dict | list) and id(item) not in seen:
                seen.add(id(item))
                queue.append((f"{where}/{escape(str(key))}", item))
    return "#"


def shown(value: Any) -> str:
    """A value of the schema as an error message shows it."""
    if isinstance(value, Decimal):
        return f"{value!s:.60}"
    try:
        return f"{value!r:.60}"
    except ValueError:
        return "a very long integer"


# Keywords that give a subschema a name, or let references to it depend on the way there.
_NAMES = frozenset(("$id", "id", "$anchor", "$dynamicAnchor", "$recursiveAnchor"))
_MARKS = _NAMES | {"$schema", "uniqueItems"}

# Keywords whose value is a subschema or a list of them, and those whose value maps names to them.
_SUBSCHEMAS = {
    "additionalItems", "additionalProperties", "allOf", "anyOf", "contains", "contentSchema",
    "else", "if", "items", "not", "oneOf", "prefixItems", "propertyNames", "then",
    "unevaluatedItems", "unevaluatedProperties",
}  # fmt: skip
_MAPS = {
    "$defs", "definitions", "dependencies", "dependentSchemas", "patternProperties", "properties",
}  # fmt: skip

DEFINITIONS = ("$defs", "definitions")


# What a caller may give to find other documents: by URI without fragment.
Resources = Mapping[str, Any] | Callable[[str], Any]


class _Place(NamedTuple):
    """Where a subschema stands: its base URI and the draft that it is written in."""

    base: str
    dialect: int


class Document:
    """Resolves references, inside the document and into others that the caller gives.

    Nothing is ever fetched: an unknown URI is looked up in ``resources``, then among the
    metaschemas, and is refused otherwise.
    """

    def __init__(self, root: Any, resources: Resources | None, found: Survey) -> None:
        """``found``: what :func:`survey` says of the document."""
        self.root, self._survey = root, found
        self.dialect = dialect_of(root)
        self._resources = resources
        # Resources by absolute URI, and anchors by URI#anchor: schema and pointer.
        self._found: dict[str, tuple[Any, str]] = {}
        self._places: dict[int, _Place] = {}
        self._resolved: dict[tuple[str, int, str], tuple[Any, str]] = {}
        self._dynamic: dict[str, int] = {}  # how often each dynamic anchor occurs
        self._is_indexed = False
        self._default = _Place("", self.dialect)  # of what is not among the places

    def dialect_at(self, schema: Any) -> int:
        """The draft that a subschema is written in."""
        if self._survey.mixed:
            self._index()
        place = self._places.get(id(schema))
        return self.dialect if place is None else place.dialect

    def resolve(self, reference: str, holder: Any, pointer: str) -> tuple[Any, str]:
        """The subschema that ``$ref`` in ``holder`` (at ``pointer``) names, and its pointer."""
        self._index()
        base, dialect = self._places.get(id(holder), self._default)
        key = (base, dialect, reference)
        found = self._resolved.get(key)
        if found is None:
            found = self._resolved[key] = self._resolve(base, dialect, reference, pointer)
        return found

    def _resolve(self, base: str, dialect: int, reference: str, pointer: str) -> tuple[Any, str]:
        if reference.startswith("#"):
            uri, fragment = base, reference[1:]  # also where the base is no hierarchical URI
        else:
            uri, fragment = _join(base, reference, pointer)
        root, at = self._resource(uri, dialect, reference, pointer)
        fragment = unquote(fragment)
        if fragment and not fragment.startswith("/"):
            found = self._found.get(f"{uri}#{fragment}")
            if found is None:
                raise SchemaError(f"reference {reference!r} names no anchor", pointer=pointer)
            return found
        return _follow(root, at, fragment, reference, pointer)

    def resolve_dynamic(self, reference: str, holder: Any, pointer: str) -> tuple[Any, str]:
        """As :meth:`resolve`, for ``$dynamicRef`` and ``$recursiveRef``.

        What they name depends on the way to them only if their anchor occurs more than once.
        """
        schema, at = self.resolve(reference, holder, pointer)
        anchor = reference.rpartition("#")[2]
        if self._dynamic.get(anchor, 0) > 1:
            keyword = "$dynamicRef" if anchor else "$recursiveRef"
            raise UnsupportedSchemaError(
                f"{keyword} to one of several dynamic anchors {anchor!r} is not enforced",
                keyword=keyword,
                pointer=pointer,
            )
        return schema, at

    # -- other documents ------------------------------------------------------------------------

    def _resource(self, uri: str, dialect: int, reference: str, pointer: str) -> tuple[Any, str]:
        found = self._found.get(uri)
        if found is None:
            schema = self._look_up(uri)
            if not isinstance(schema, dict | bool):
                raise UnsupportedSchemaError(
                    f"reference to another document {reference!r}, which is not known; pass it "
                    "in resources={uri: schema}, or embed it under $defs (nothing is fetched)",
                    keyword="$ref",
                    pointer=pointer,
                )
            if isinstance(schema, dict) and "$schema" in schema:
                dialect = dialect_of(schema)
            self._enter_all(schema, f"{uri}#", uri, dialect)
            found = self._found.setdefault(uri, (schema, f"{uri}#"))
        return found

    def _look_up(self, uri: str) -> Any:
        given = self._resources
        if given is not None:
            schema = given(uri) if callable(given) else given.get(uri, given.get(uri + "#"))
            if schema is not None:
                return schema
        from jsonschema_specifications import REGISTRY

        known = REGISTRY.get(uri)
        return None if known is None else known.contents

    # -- identifiers ----------------------------------------------------------------------------

    def _index(self) -> None:
        if self._is_indexed:
            return
        self._is_indexed = True
        self._found[""] = (self.root, "#")
        if self._survey.named or self._survey.mixed:
            self._enter_all(self.root, "#", "", self.dialect)
        elif isinstance(self.root, dict):
            # What the root says holds for all of it.
            self._default = self._enter(self.root, "#", self._default)

    def _enter_all(self, root: Any, pointer: str, base: str, dialect: int) -> None:
        """Note the base of every subschema, and what identifiers and anchors name.

        What stands under unknown keywords is no subschema, but people do refer to it: its
        identifiers count where no subschema has them.
        """
        stack: list[tuple[Any, str, _Place]] = [(root, pointer, _Place(base, dialect))]
        unknown: list[tuple[Any, str, _Place]] = []
        while stack or unknown:
            value, at, place = stack.pop() if stack else unknown.pop()
            if isinstance(value, list):
                children = [(item, f"{at}/{i}", True) for i, item in enumerate(value)]
            elif isinstance(value, dict):
                place = self._enter(value, at, place)
                children = []
                for key, item in value.items():
                    below = f"{at}/{escape(key)}"
                    if key in _MAPS and isinstance(item, dict):
                        children += [(v, f"{below}/{escape(k)}", True) for k, v in item.items()]
                    elif key not in ("enum", "const"):
                        children.append((item, below, key in _SUBSCHEMAS))
            for item, below, is_schema in children:
                if isinstance(item, dict | list):
                    (stack if is_schema else unknown).append((item, below, place))

    def _enter(self, value: dict[str, Any], at: str, place: _Place) -> _Place:
        base, dialect = place
        ignored = dialect <= 7 and "$ref" in value  # siblings of $ref count for nothing
        name = value.get("id" if dialect <= 4 else "$id")
        if not isinstance(name, str) and dialect <= 4:
            name = value.get("$id")
        if isinstance(name, str) and not ignored:
            if name.startswith("#"):
                self._found.setdefault(base + name, (value, at))  # an anchor, up to draft 7
            else:
                base = _join(base, name, at)[0]
                if isinstance(value.get("$schema"), str):
                    dialect = dialect_of(value)
                self._found.setdefault(base, (value, at))
        for keyword in ("$anchor", "$dynamicAnchor"):
            anchor = value.get(keyword)
            if isinstance(anchor, str):
                self._found.setdefault(f"{base}#{anchor}", (value, at))
                if keyword == "$dynamicAnchor":
                    self._dynamic[anchor] = self._dynamic.get(anchor, 0) + 1
        if value.get("$recursiveAnchor") is True:
            self._dynamic[""] = self._dynamic.get("", 0) + 1
        place = self._places[id(value)] = _Place(base, dialect)
        return place


def _join(base: str, reference: str, pointer: str) -> tuple[str, str]:
    """The absolute URI of a reference, and its fragment."""
    try:
        uri, fragment = urldefrag(urljoin(base, reference))
    except ValueError as error:
        raise SchemaError(f"{reference!r:.80} is no URI: {error}", pointer=pointer) from None
    return uri, fragment


def _follow(root: Any, at: str, fragment: str, reference: str, pointer: str) -> tuple[Any, str]:
    """The subschema of ``root`` that a JSON Pointer names."""
    value = root
    for token in fragment.split("/")[1:]:
        key = token.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict) and key in value:
            value = value[key]
        elif isinstance(value, list) and key in map(str, range(len(value))):
            value = value[int(key)]
        else:
            raise SchemaError(f"reference {reference!r} leads nowhere", pointer=pointer)
        at += "/" + escape(key)
    if not isinstance(value, dict | bool):
        raise SchemaError(f"reference {reference!r} leads to no schema", pointer=pointer)
    return value, at
