"""All definitions that a Lark grammar consists of, those it imports among them.

Imported names are told apart as Lark tells them apart: what is asked for gets the name it is asked
for by, what that needs is prefixed with the file's name (``COMMON__DIGIT``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from structgen.grammar.expression import Alt, Expr, fold, rebuild
from structgen.grammar.lark_imports import Library
from structgen.grammar.lark_nodes import (
    Definition,
    Ignore,
    Import,
    Name,
    Nested,
    Options,
    Outside,
    Use,
)
from structgen.grammar.lark_syntax import parse_lark
from structgen.grammar.source import Source

MAX_IMPORT_DEPTH = 32
Rename = Callable[[str], str]


class Definitions:
    """``table`` by name, ``ignored`` expressions, ``options`` that were set."""

    def __init__(self, library: Library, grammars: Mapping[str, str]) -> None:
        self.library = library
        self.grammars = grammars
        self.table: dict[str, Definition] = {}
        self.ignored: list[tuple[Ignore, Source]] = []
        self.options: list[str] = []
        self.inner: dict[object, str] = {}

    def load(
        self,
        source: Source,
        folder: Path | None,
        *,
        begin: int = 0,
        end: int | None = None,
        path: tuple[tuple[str, ...], ...] = (),
    ) -> None:
        """Read a grammar and what it imports into the table."""
        statements = list(parse_lark(source, begin, end))
        imports: dict[tuple[tuple[str, ...], bool], list[Import]] = {}
        for statement in statements:
            if isinstance(statement, Import):
                imports.setdefault((statement.path, statement.relative), []).append(statement)
        for wanted in imports.values():
            self.load_import(wanted, source, folder, path)
        for statement in statements:
            match statement:
                case Definition():
                    self.define(statement)
                case Ignore():
                    self.ignored.append((statement, source))
                case Options(names):
                    self.options.extend(names)

    def define(self, new: Definition) -> None:
        old = self.table.get(new.name)
        kind = "terminal" if new.is_terminal else "rule"
        error = new.source.error
        if new.name.startswith("__"):
            raise error("names that begin with two underscores are reserved", new.position)
        if new.mode == "" and old is not None:
            raise error(f"the {kind} {new.name} is defined twice", new.position)
        if new.mode and old is None:
            raise error(f"there is no {kind} {new.name} to {new.mode}", new.position)
        if new.mode == "extend" and old is not None:
            if old.params != new.params:
                raise error(f"{new.name} was defined with other parameters", new.position)
            if old.body is None:
                raise error(f"{new.name} is only declared and cannot be extended", new.position)
            if new.source.text is not old.source.text:
                # Errors point into one text; those of the older part name the newer's place.
                new = replace(new, body=_moved(new.body, new.position))
            new = replace(old, body=Alt((new.body, old.body)))
        self.table[new.name] = new

    def load_import(
        self,
        wanted: list[Import],
        source: Source,
        folder: Path | None,
        path: tuple[tuple[str, ...], ...],
    ) -> None:
        first = wanted[0]
        shown = ".".join(first.path)
        if first.path in path or len(path) >= MAX_IMPORT_DEPTH:
            raise source.error(f"the import of {shown} leads back to itself", first.position)
        found = self.library.find(first.path, first.relative, folder)
        if found is None:
            raise source.error(
                f"there is no grammar {shown}: not in the folders given, nor in Lark's library",
                first.position,
            )
        other = Definitions(self.library, self.grammars)
        other.load(found[0], found[1], path=(*path, first.path))
        aliases: dict[str, str] = {}
        for statement in wanted:
            for name, alias in statement.names:
                if name not in other.table:
                    raise source.error(f"{shown} defines no {name}", statement.position)
                aliases[name] = alias
        prefix = "__".join(first.path)
        self.merge(other, aliases, prefix, source, first.position)

    def merge(
        self,
        other: Definitions,
        aliases: Mapping[str, str],
        prefix: str,
        source: Source,
        position: int,
    ) -> None:
        """Take over what ``aliases`` names in ``other``, and what that needs."""

        def rename(name: str) -> str:
            if name in aliases:
                return aliases[name]
            bare = name.lstrip("_")
            # The case of a name tells rules from terminals.
            first = prefix.upper() if bare[:1].isupper() else prefix
            return f"{'_' if bare != name else ''}{first}__{bare}"

        needed = dict.fromkeys(aliases)
        queue = list(aliases)
        for name in queue:
            definition = other.table.get(name)
            if definition is None or definition.body is None:
                continue
            for used in names_used(definition.body):
                if used not in definition.params and used not in needed:
                    needed[used] = None
                    queue.append(used)
        for name in needed:
            definition = other.table.get(name)
            if definition is None:
                continue  # reported where it is used
            new = renamed(definition, rename)
            if new.name in self.table:
                raise source.error(f"{new.name} is imported, but there is already one", position)
            self.table[new.name] = new

    def embed(self, node: Nested | Outside, source: Source) -> str:
        """The start rule of a grammar inside or beside this one, now part of the table."""
        key = (id(source), node.begin) if isinstance(node, Nested) else node.name
        if key in self.inner:
            return self.inner[key]
        other = Definitions(self.library, self.grammars)
        if isinstance(node, Nested):
            if len(self.inner) > 1000:
                raise source.nested_too_deeply(node.position, "grammars")
            other.load(source, None, begin=node.begin, end=node.end)
        else:
            text = self.grammars.get(node.name)
            if text is None:
                raise source.error(f"no grammar {node.name} was given", node.position)
            other.load(Source(text, f"@{node.name}"), None)
        if other.ignored or self.ignored:
            raise source.error(
                "a grammar inside another cannot be combined with %ignore in either; write its "
                "rules into the outer one",
                node.position,
            )
        if "start" not in other.table:
            raise source.error("the inner grammar has no rule start", node.position)
        name = f"lark{len(self.inner) + 1}"
        self.inner[key] = f"{name}__start"
        self.merge(other, {"start": f"{name}__start"}, name, source, node.position)
        return self.inner[key]


def names_used(body: Expr) -> list[str]:
    """Names of rules, terminals and templates, in order."""
    names: list[str] = []

    def collect(node: Expr, _: list[None]) -> None:
        if isinstance(node, Name):
            names.append(node.name)
        elif isinstance(node, Use):
            names.append(node.name)
            for argument in node.arguments:
                names.extend(names_used(argument))

    fold(body, collect)
    return names


def renamed(definition: Definition, rename: Rename) -> Definition:
    def leaf(node: Expr, items: list[Expr]) -> Expr:
        match node:
            case Name(name, position):
                return Name(rename(name), position)
            case Use(name, arguments, position):
                return Use(rename(name), tuple(fold(a, leaf) for a in arguments), position)
        return rebuild(node, items)

    body = None if definition.body is None else fold(definition.body, leaf)
    params = tuple(map(rename, definition.params))
    return replace(definition, name=rename(definition.name), body=body, params=params)


def _moved(body: Expr, position: int) -> Expr:
    """The same expression, all of it at one place."""

    def leaf(node: Expr, items: list[Expr]) -> Expr:
        if hasattr(node, "position"):
            return replace(node, position=position)
        return rebuild(node, items)

    return fold(body, leaf)
