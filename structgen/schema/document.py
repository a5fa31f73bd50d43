"""A schema document: bounds on its size, JSON Pointers, references, dialects."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any
from urllib.parse import unquote, urldefrag, urljoin

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
    return token.replace("~", "~0").replace("/", "~1")


def check_size(schema: Any, limits: Limits) -> None:
    """Walk the document once, without recursion; raise where it is no JSON or past a limit."""
    size, level, depth = 0, [("#", schema)], 0
    while level:
        depth += 1
        if depth > limits.nesting:
            where = level[0][0]
            shown = where if len(where) <= 80 else where[:80] + "..."
            raise LimitExceeded(limit="nesting", value=limits.nesting, where=shown)
        below: list[tuple[str, Any]] = []
        for where, value in level:
            if isinstance(value, str):
                size += len(value) + 2
            elif isinstance(value, dict):
                for key, item in value.items():
                    if not isinstance(key, str):
                        raise SchemaError(f"object key {key!r} is not a string", pointer=where)
                    size += len(key) + 4
                    if isinstance(item, dict | list):
                        below.append((f"{where}/{escape(key)}", item))
                    else:
                        size += _scalar_size(item, where)
            elif isinstance(value, list | tuple):
                for i, item in enumerate(value):
                    size += 2
                    if isinstance(item, dict | list):
                        below.append((f"{where}/{i}", item))
                    else:
                        size += _scalar_size(item, where)
            else:
                size += _scalar_size(value, where)
        if size > limits.schema_bytes:
            raise LimitExceeded(limit="schema_bytes", value=limits.schema_bytes, where="the schema")
        level = below


def _scalar_size(value: Any, where: str) -> int:
    if isinstance(value, str):
        return len(value) + 2
    if value is None or isinstance(value, bool | int | Decimal):
        return 5
    if isinstance(value, float):
        if math.isfinite(value):
            return 5
        raise SchemaError(f"{value} is not a JSON number", pointer=where)
    raise SchemaError(f"a {type(value).__name__} is not a JSON value", pointer=where)


class Document:
    """Resolves references inside one document; nothing is ever fetched."""

    def __init__(self, root: Any) -> None:
        self.root = root
        self.dialect = dialect_of(root)
        self._by_uri: dict[str, tuple[Any, str]] | None = None
        self._bases: dict[int, str] = {}

    def resolve(self, reference: str, holder: Any, pointer: str) -> tuple[Any, str]:
        """The subschema that ``$ref`` in ``holder`` (at ``pointer``) names, and its pointer."""
        if reference == "#":
            base, at = self.root, "#"
            if self._index():
                base, at = self._by_base(self._bases.get(id(holder), ""))
            return base, at
        if reference.startswith("#/") and not self._index():
            return self._follow(self.root, "#", reference, pointer)
        uri, fragment = urldefrag(urljoin(self._base_of(holder), reference))
        found = self._lookup(uri, fragment)
        if found is None:
            if uri and uri not in self._uris() and uri != "":
                raise UnsupportedSchemaError(
                    f"reference to another document {reference!r}; nothing is fetched, embed it "
                    "under $defs",
                    keyword="$ref",
                    pointer=pointer,
                )
            root, at = self._by_base(uri)
            return self._follow(root, at, "#" + fragment, pointer)
        return found

    def _follow(self, root: Any, at: str, reference: str, pointer: str) -> tuple[Any, str]:
        value = root
        where = at
        text = unquote(reference[1:])
        if text and not text.startswith("/"):
            raise SchemaError(f"reference {reference!r} names no $anchor", pointer=pointer)
        for token in text.split("/")[1:]:
            key = token.replace("~1", "/").replace("~0", "~")
            if isinstance(value, dict) and key in value:
                value = value[key]
            elif isinstance(value, list) and key.isdigit() and int(key) < len(value):
                value = value[int(key)]
            else:
                raise SchemaError(f"reference {reference!r} leads nowhere", pointer=pointer)
            where += "/" + escape(key)
        if not isinstance(value, dict | bool):
            raise SchemaError(f"reference {reference!r} leads to no schema", pointer=pointer)
        return value, where

    # -- identifiers ----------------------------------------------------------------------------

    def _index(self) -> dict[str, tuple[Any, str]]:
        """Embedded resources and anchors by absolute URI; empty where there are none."""
        if self._by_uri is None:
            self._by_uri = {}
            stack: list[tuple[Any, str, str]] = [(self.root, "#", "")]
            while stack:
                value, at, base = stack.pop()
                if isinstance(value, dict):
                    base = self._enter(value, at, base)
                    for key, item in value.items():
                        if key not in ("enum", "const") and isinstance(item, dict | list):
                            stack.append((item, f"{at}/{escape(key)}", base))
                elif isinstance(value, list):
                    for i, item in enumerate(value):
                        if isinstance(item, dict | list):
                            stack.append((item, f"{at}/{i}", base))
            if not self._by_uri:
                self._bases.clear()
        return self._by_uri

    def _enter(self, value: dict[str, Any], at: str, base: str) -> str:
        assert self._by_uri is not None
        old = self.dialect <= 4
        name = value.get("id" if old else "$id")
        if not isinstance(name, str) and not old:
            name = value.get("$id")
        ignored = self.dialect <= 7 and "$ref" in value  # siblings of $ref count for nothing
        if isinstance(name, str) and not ignored:
            uri = urljoin(base, name)
            plain, fragment = urldefrag(uri)
            if fragment and self.dialect <= 7:
                self._by_uri.setdefault(f"{plain}#{fragment}", (value, at))
            else:
                base = plain
                self._by_uri.setdefault(plain, (value, at))
        for keyword in ("$anchor", "$dynamicAnchor"):
            anchor = value.get(keyword)
            if isinstance(anchor, str):
                self._by_uri.setdefault(f"{base}#{anchor}", (value, at))
        self._bases[id(value)] = base
        return base

    def _base_of(self, holder: Any) -> str:
        self._index()
        return self._bases.get(id(holder), "")

    def _uris(self) -> dict[str, tuple[Any, str]]:
        return self._index()

    def _by_base(self, base: str) -> tuple[Any, str]:
        return self._index().get(base, (self.root, "#"))

    def _lookup(self, uri: str, fragment: str) -> tuple[Any, str] | None:
        index = self._index()
        if fragment.startswith("/") or (not fragment and uri == ""):
            return None
        return index.get(f"{uri}#{fragment}" if fragment else uri)
