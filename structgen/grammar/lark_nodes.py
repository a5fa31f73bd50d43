"""What a Lark grammar is made of: leaves of its expressions, and statements."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from structgen.grammar.expression import Expr
from structgen.grammar.source import Source


@dataclass(frozen=True, slots=True)
class Name:
    name: str
    position: int

    @property
    def is_terminal(self) -> bool:
        return self.name.lstrip("_")[:1].isupper()


@dataclass(frozen=True, slots=True)
class Literal:
    text: str
    ignore_case: bool
    position: int


@dataclass(frozen=True, slots=True)
class Pattern:
    text: str
    flags: str
    position: int


@dataclass(frozen=True, slots=True)
class CharRange:
    first: str
    last: str
    position: int


@dataclass(frozen=True, slots=True)
class Use:
    """A template with its arguments."""

    name: str
    arguments: tuple[Expr, ...]
    position: int


@dataclass(frozen=True, slots=True)
class Structured:
    """``%regex {...}`` of llguidance: the JSON text."""

    value: str
    position: int


@dataclass(frozen=True, slots=True)
class Nested:
    """``%lark {...}``: a grammar inside, from ``begin`` to ``end``."""

    begin: int
    end: int
    position: int


@dataclass(frozen=True, slots=True)
class Outside:
    """``@name``: another grammar, given beside this one."""

    name: str
    position: int


@dataclass(frozen=True, slots=True)
class Definition:
    """A rule or terminal. ``mode``: "", "override" or "extend"; ``body`` None: declared only."""

    name: str
    body: Expr | None
    position: int
    source: Source
    params: tuple[str, ...] = ()
    priority: int = 0
    attributes: tuple[tuple[str, Any], ...] = ()
    mode: str = ""

    @property
    def is_terminal(self) -> bool:
        return self.name.lstrip("_")[:1].isupper()


@dataclass(frozen=True, slots=True)
class Ignore:
    body: Expr
    position: int


@dataclass(frozen=True, slots=True)
class Import:
    """Names of the file ``path`` and what they are called here."""

    path: tuple[str, ...]
    relative: bool
    names: tuple[tuple[str, str], ...]
    position: int


@dataclass(frozen=True, slots=True)
class Options:
    names: tuple[str, ...]
    position: int


Statement = Definition | Ignore | Import | Options
