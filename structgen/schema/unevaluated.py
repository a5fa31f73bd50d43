"""``unevaluatedProperties`` and ``unevaluatedItems`` as formulas.

A property is evaluated where a subschema for the same object that *holds* names it. Let the
subschemas whose holding is in question be the conditions c1...ck, each with what it evaluates. The
keyword says: for the set T of conditions that hold, whatever T (and what is certain) does not
evaluate satisfies the keyword's schema. With shape(T) for that, and because shape(T) only weakens
as T grows, this is the same as

    or over all T:  (and of the conditions in T)  and  shape(T)

which needs no negation (JSON Schema 2020-12 core, section 11; 2019-09 core, section 9.3.2.4).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, Any, NamedTuple

from structgen.schema.algebra import TRUE, Formula
from structgen.schema.atoms import ArrayShape, ObjectShape

if TYPE_CHECKING:
    from structgen.schema.node import Node, Reader

MAX_CONDITIONS = 6


@dataclass(slots=True)
class Evaluated:
    """What a subschema evaluates: of an object names and patterns, of an array a prefix and items
    that satisfy a schema; or everything."""

    everything: bool = False
    names: dict[str, None] = field(default_factory=dict)
    patterns: dict[str, None] = field(default_factory=dict)
    prefix: int = 0
    matching: list[Node] = field(default_factory=list)

    def add(self, other: Evaluated) -> None:
        self.everything |= other.everything
        self.names.update(other.names)
        self.patterns.update(other.patterns)
        self.prefix = max(self.prefix, other.prefix)
        self.matching += other.matching


class Condition(NamedTuple):
    """A subschema that holds, or does not; or (``node`` None) a property that is there."""

    node: Node | None
    holds: bool = True
    name: str = ""


class Part(NamedTuple):
    """What is evaluated where all of the conditions are met."""

    conditions: tuple[Condition, ...]
    evaluated: Evaluated


def evaluated_parts(reader: Reader, node: Node, slot: int) -> list[Part]:
    """What the subschemas for the same value evaluate, the keyword itself left out."""
    parts: list[Part] = []
    stack: list[tuple[Node, tuple[Condition, ...], bool]] = [(node, (), True)]
    seen: set[tuple[int, tuple[Condition, ...]]] = set()
    while stack:
        here, conditions, is_outermost = stack.pop()
        key = (id(here), conditions)
        if key in seen or not isinstance(here.raw, dict) or len(conditions) > 2 * MAX_CONDITIONS:
            continue
        seen.add(key)
        own = _own(reader, here, slot, is_outermost)
        parts.append(Part(conditions, own))
        for child, extra in _children(reader, here):
            stack.append((child, conditions + extra, False))
    return parts


def _own(reader: Reader, node: Node, slot: int, is_outermost: bool) -> Evaluated:
    raw, found = node.raw, Evaluated()
    if slot == 5:
        found.names.update(dict.fromkeys(_mapping(raw.get("properties"))))
        found.patterns.update(dict.fromkeys(_mapping(raw.get("patternProperties"))))
        found.everything = "additionalProperties" in raw
        found.everything |= "unevaluatedProperties" in raw and not is_outermost
        return found
    items = raw.get("items")
    if node.dialect >= 2020:
        found.prefix = len(raw.get("prefixItems", ()))
        found.everything = "items" in raw
        if "contains" in raw:
            found.matching.append(reader.node(raw["contains"], f"{node.pointer}/contains"))
    elif isinstance(items, list):
        found.prefix = len(items)
        found.everything = "additionalItems" in raw
    else:
        found.everything = "items" in raw
    found.everything |= "unevaluatedItems" in raw and not is_outermost
    return found


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _children(reader: Reader, node: Node) -> Iterator[tuple[Node, tuple[Condition, ...]]]:
    """Subschemas for the same value, with what must be so for them to count."""
    raw, at = node.raw, node.pointer
    for keyword in ("$ref", "$dynamicRef", "$recursiveRef"):
        if isinstance(raw.get(keyword), str):
            target, pointer = reader.document.resolve(raw[keyword], raw, at)
            yield reader.node(target, pointer), ()
    for keyword in ("allOf", "anyOf", "oneOf"):
        branches = raw.get(keyword)
        for i, branch in enumerate(branches if isinstance(branches, list) else ()):
            child = reader.node(branch, f"{at}/{keyword}/{i}")
            yield child, () if keyword == "allOf" else (Condition(child),)
    if "if" in raw:
        condition = reader.node(raw["if"], f"{at}/if")
        yield condition, (Condition(condition),)
        if "then" in raw:
            yield reader.node(raw["then"], f"{at}/then"), (Condition(condition),)
        if "else" in raw:
            yield reader.node(raw["else"], f"{at}/else"), (Condition(condition, False),)
    for name, schema in _mapping(raw.get("dependentSchemas")).items():
        child = reader.node(schema, f"{at}/dependentSchemas/{name}")
        yield child, (Condition(None, name=name),)


def unevaluated(
    reader: Reader, parts: Sequence[Part], rest: Node, slot: int, formulas: Sequence[Formula]
) -> int | None:
    """The type formula of the keyword; None where too much is in question.

    ``formulas`` are those of the conditions' subschemas, in the order of :func:`asked`.
    """
    algebra = reader.algebra
    known = {id(node): f for node, f in zip(asked(parts), formulas, strict=True)}
    certain = Evaluated()
    by_condition: dict[int, Evaluated] = {}
    for part in parts:
        ids = []
        for condition in part.conditions:
            if condition.node is None:
                ids.append(algebra.atom(ObjectShape({}, (condition.name,))))
            else:
                i = known[id(condition.node)][slot]
                ids.append(i if condition.holds else algebra.negate(i))
        i = algebra.all_of(ids)
        if i == TRUE:
            certain.add(part.evaluated)
        elif i:
            by_condition.setdefault(i, Evaluated()).add(part.evaluated)
    if certain.everything:
        return TRUE
    conditions = [i for i, e in by_condition.items() if e != Evaluated()]
    if len(conditions) > MAX_CONDITIONS:
        return None
    ways: list[int] = []
    for size in range(len(conditions) + 1):
        for chosen in combinations(conditions, size):
            total = Evaluated()
            total.add(certain)
            for i in chosen:
                total.add(by_condition[i])
            ways.append(algebra.all_of([*chosen, _shape(reader, total, rest, slot)]))
    return algebra.any_of(ways)


def asked(parts: Sequence[Part]) -> list[Node]:
    """The subschemas that the parts' conditions speak of, each once."""
    nodes = {id(c.node): c.node for part in parts for c in part.conditions if c.node is not None}
    return list(nodes.values())


def _shape(reader: Reader, evaluated: Evaluated, rest: Node, slot: int) -> int:
    """What is not evaluated satisfies ``rest``."""
    if evaluated.everything:
        return TRUE
    true = reader.true
    if slot == 5:
        shape = ObjectShape(
            dict.fromkeys(evaluated.names, true),
            additional=rest,
            patterns=tuple((p, true) for p in evaluated.patterns),
        )
        return reader.algebra.atom(shape)
    items = rest
    if evaluated.matching:
        items = reader.any_of_nodes([*evaluated.matching, rest])
    return reader.algebra.atom(ArrayShape((true,) * evaluated.prefix, items))
