"""Atoms: what one subschema says about the values of one type."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from structgen.schema.node import Node


@dataclass(frozen=True, slots=True)
class NumberRange:
    """A number within bounds; ``integral`` is "" (any), "value" (1.0 counts) or "literal"."""

    minimum: Decimal | None = None
    maximum: Decimal | None = None
    exclusive_minimum: bool = False
    exclusive_maximum: bool = False
    integral: str = ""


@dataclass(frozen=True, slots=True)
class MultipleOf:
    divisor: Decimal


@dataclass(frozen=True, slots=True)
class NumberIn:
    """A number equal to one of these."""

    values: tuple[Decimal, ...]


@dataclass(frozen=True, slots=True)
class StringLength:
    """A string of ``minimum`` to ``maximum`` code points."""

    minimum: int = 0
    maximum: int | None = None


@dataclass(frozen=True, slots=True)
class StringPattern:
    pattern: str


@dataclass(frozen=True, slots=True)
class StringFormat:
    name: str


@dataclass(frozen=True, slots=True)
class StringIn:
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ObjectShape:
    """What one subschema says of an object.

    Attributes:
        properties, required: of the keywords of these names.
        additional: the schema of properties that neither ``properties`` nor ``patterns`` name;
            None allows any.
        patterns: ``patternProperties`` (pattern, schema).
        names: ``propertyNames``.
        minimum, maximum: the number of properties.
    """

    properties: dict[str, Node]
    required: tuple[str, ...] = ()
    additional: Node | None = None
    patterns: tuple[tuple[str, Node], ...] = ()
    names: Node | None = None
    minimum: int = 0
    maximum: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class ArrayShape:
    """``prefixItems``, ``items`` and the number of items of one subschema."""

    prefix: tuple[Node, ...] = ()
    items: Node | None = None
    minimum: int = 0
    maximum: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class UniqueItems:
    """``uniqueItems``: no two items are equal. ``pointer`` is the subschema's."""

    pointer: str


@dataclass(frozen=True, slots=True, eq=False)
class Contains:
    """``contains``: ``minimum`` to ``maximum`` items satisfy a schema."""

    item: Node
    minimum: int = 1
    maximum: int | None = None
