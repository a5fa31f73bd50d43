"""Chooses what is asked about a document and writes the JSON answer with its schema.

An answer is a tree of nodes; writing it out records where each value stands, which tells training
which characters carry information and evaluation which of them the model has to produce.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from .composing import Document
from .kind import Field
from .pools import Split, is_heldout
from .scene import Json, Scene, Value
from .values import VALUES

Schema = dict[str, Any]

MEMBER_KEYS = {
    "street": "street|street address|line 1|road",
    "city": "city|town",
    "postal code": "postal code|zip|postcode|zip code",
    "country": "country",
    "name": "name|product|item|description|title",
    "quantity": "quantity|qty|count|units",
    "price": "price|unit price|cost|price each",
    "age": "age|years",
    "job": "job|occupation|profession|role|job title",
}
ROSTER_NAME = "name|full name|person"


@dataclass(frozen=True)
class Leaf:
    value: Json
    schema: Schema
    sort: str
    unseen_key: bool = False


@dataclass(frozen=True)
class Obj:
    members: dict[str, Node]


@dataclass(frozen=True)
class Arr:
    elements: list[Node]


Node = Leaf | Obj | Arr


@dataclass(frozen=True)
class Span:
    """Characters ``start`` to ``end`` of the answer: a value without its quotes or brackets."""

    start: int
    end: int
    leaf: Leaf


def usable(phrases: tuple[str, ...], split: Split) -> tuple[str, ...]:
    """Some phrases are kept from training where a field has enough others."""
    if split == "heldout" or len(phrases) < 4:
        return phrases
    return tuple(p for p in phrases if not is_heldout("key " + p)) or phrases[:1]


def style_key(phrase: str, style: int) -> str:
    words = phrase.split(" ")
    if style < 62:
        return "_".join(words)
    if style < 83:
        return words[0] + "".join(w.capitalize() for w in words[1:])
    if style < 87:
        return "".join(w.capitalize() for w in words)
    if style < 91:
        return " ".join(w.capitalize() for w in words)
    if style < 94:
        return "-".join(words)
    return phrase if style < 98 else "_".join(words).upper()


def schema_of(value: Json) -> Schema:
    if isinstance(value, bool):
        return {"type": "boolean"}
    if isinstance(value, int):
        return {"type": "integer"}
    if isinstance(value, float):
        return {"type": "number"}
    if isinstance(value, list):
        return {"type": "array", "items": {"type": "string"}}
    return {"type": "string"}


def nullable(schema: Schema) -> Schema:
    if "enum" in schema:
        return {"enum": [*schema["enum"], None]}
    return {**schema, "type": [schema["type"], "null"]}


@dataclass
class Asking:
    """One request: how keys are styled and enum values spelled is the same all through it."""

    scene: Scene
    style: int = 0
    enum_case: int = 0
    joiner: str = " "
    used: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        rng = self.scene.rng
        self.style = int(rng.random() * 100)
        self.enum_case = rng.choice((0, 0, 0, 0, 1, 2))
        self.joiner = rng.choice(" _-")

    def key(self, phrases: tuple[str, ...], taken: dict[str, Node]) -> tuple[str, bool]:
        rng, split = self.scene.rng, self.scene.split
        allowed = usable(phrases, split)
        for _ in range(8):
            phrase = allowed[int(rng.random() ** 1.3 * len(allowed))]
            key = style_key(phrase, self.style)
            if key not in taken:
                break
        else:
            key = next(k for n in range(2, 99) if (k := f"{key}{n}") not in taken)
        return key, phrase not in usable(phrases, "train")

    def spell(self, value: str) -> str:
        """An enum's value in the request's spelling: in progress, in_progress, IN-PROGRESS."""
        value = value.replace(" ", self.joiner)
        return (str, str.capitalize, str.upper)[self.enum_case](value)

    def leaf(self, f: Field, value: Value | None, unseen: bool) -> Node:
        """``value`` is None for a field the document does not mention."""
        rng = self.scene.rng
        if f.sort == "enum":
            schema: Schema = {"enum": [self.spell(v) for v in f.cues]}
            content = None if value is None else self.spell(value.json)
        else:
            if value is None:
                sample = True if f.sort == "boolean" else self.example(f)
                return Leaf(None, nullable(schema_of(sample)), f.sort, unseen)
            content = (
                value.alt
                if value.alt is not None and rng.random() < value.alt_share
                else value.json
            )
            if isinstance(content, dict):
                return self.members(content, f.sort)
            if isinstance(content, list) and isinstance(content[0], dict):
                return self.rows(content, f.sort)
            schema = schema_of(content)
        if content is None or rng.random() < 0.07:
            schema = nullable(schema)
        return Leaf(content, schema, f.sort, unseen)

    def example(self, f: Field) -> Json:
        """A value of the field's usual type, for the schema of a field that is absent."""
        drawn = "" if f.source else VALUES[f.sort](self.scene).json
        return "" if isinstance(drawn, dict) else [""] if isinstance(drawn, list) else drawn

    def members(self, content: dict[str, Json], sort: str) -> Obj:
        return Obj(self.rows([content], sort).elements[0].members)  # type: ignore[union-attr]

    def rows(self, rows: list[dict[str, Json]], sort: str) -> Arr:
        """Objects with the same keys, a random part of what each row holds."""
        rng = self.scene.rng
        names = [n for n in rows[0] if rng.random() < 0.85] or list(rows[0])[:1]
        if rng.random() < 0.3:
            rng.shuffle(names)
        keys: dict[str, str] = {}
        for n in names:
            phrases = ROSTER_NAME if sort == "roster" and n == "name" else MEMBER_KEYS[n]
            keys[n] = self.key(tuple(phrases.split("|")), dict.fromkeys(keys.values()))[0]  # type: ignore[arg-type]
        return Arr(
            [
                Obj({keys[n]: Leaf(row[n], schema_of(row[n]), f"{sort} {n}") for n in names})
                for row in rows
            ]
        )


def ask(document: Document, scene: Scene) -> Node:
    """A random part of the facts, in any order, now and then nested, now and then absent."""
    rng, kind, facts = scene.rng, document.kind, document.facts
    asking = Asking(scene)
    present = [f for f in kind.fields if f.name in facts]
    wanted = present if rng.random() < 0.25 else rng.sample(present, rng.randint(1, len(present)))
    if rng.random() < 0.22:
        absent = [f for f in kind.fields if f.name not in facts and f.source not in facts]
        wanted = wanted + rng.sample(absent, min(len(absent), rng.randint(1, 2)))
    wanted = (
        rng.sample(wanted, len(wanted))
        if rng.random() < 0.5
        else [f for f in kind.fields if f in wanted]
    )
    names = [f.name for f in wanted]
    root: dict[str, Node] = {}
    nested: set[str] = set()
    for f in wanted:
        if f.name in nested:
            continue
        home = next((g for g in kind.groups if f.name in g.members), None)
        if home and rng.random() < 0.35:
            inner: dict[str, Node] = {}
            for name in [n for n in names if n in home.members and n not in nested]:
                key, unseen = asking.key(home.members[name], inner)
                inner[key] = asking.leaf(kind.field(name), facts.get(name), unseen)
                nested.add(name)
            root[asking.key(home.keys, root)[0]] = Obj(inner)
            continue
        nested.add(f.name)
        key, unseen = asking.key(f.keys, root)
        root[key] = asking.leaf(f, facts.get(f.name), unseen)
    if len(root) == 1 and rng.random() < 0.3:
        only = next(iter(root.values()))
        if isinstance(only, Arr):
            return only
    if rng.random() < 0.03:
        return Obj({style_key(kind.name, asking.style): Obj(root)})
    return Obj(root)


def schema_for(node: Node) -> Schema:
    if isinstance(node, Leaf):
        return node.schema
    if isinstance(node, Arr):
        return {"type": "array", "items": merged([schema_for(e) for e in node.elements])}
    return {
        "type": "object",
        "properties": {key: schema_for(member) for key, member in node.members.items()},
        "required": list(node.members),
        "additionalProperties": False,
    }


def merged(schemas: list[Schema]) -> Schema:
    """Rows differ at most in whether a number happened to be whole."""
    first = schemas[0]
    for key, inner in first.get("properties", {}).items():
        if any(s["properties"][key] != inner for s in schemas):
            first["properties"][key] = {"type": "number"}
    return first


def plain_value(node: Node) -> Json:
    if isinstance(node, Leaf):
        return node.value
    if isinstance(node, Arr):
        return [plain_value(e) for e in node.elements]
    return {key: plain_value(member) for key, member in node.members.items()}


class Writer:
    """Writes JSON as ``json.dumps`` does and records where the values stand."""

    def __init__(self, layout: str) -> None:
        self.parts: list[str] = []
        self.length = 0
        self.spans: list[Span] = []
        self.comma, self.colon = (",", ":") if layout == "compact" else (", ", ": ")
        self.indent = layout == "indented"

    def put(self, text: str) -> None:
        self.parts.append(text)
        self.length += len(text)

    def newline(self, depth: int) -> None:
        if self.indent:
            self.put("\n" + "  " * depth)

    def write(self, node: Node, depth: int = 0) -> None:
        if isinstance(node, Leaf):
            self.leaf(node, depth)
            return
        entries: list[tuple[str, Node]] = (
            list(node.members.items())
            if isinstance(node, Obj)
            else [("", e) for e in node.elements]
        )
        self.put("{" if isinstance(node, Obj) else "[")
        for n, (key, inner) in enumerate(entries):
            if n:
                self.put("," if self.indent else self.comma)
            self.newline(depth + 1)
            if isinstance(node, Obj):
                self.put(json.dumps(key, ensure_ascii=False) + self.colon)
            self.write(inner, depth + 1)
        self.newline(depth)
        self.put("}" if isinstance(node, Obj) else "]")

    def leaf(self, node: Leaf, depth: int) -> None:
        indented = self.indent and isinstance(node.value, list)
        text = json.dumps(
            node.value,
            ensure_ascii=False,
            indent=2 if indented else None,
            separators=("," if indented else self.comma, self.colon),
        ).replace("\n", "\n" + "  " * depth)
        edge = 1 if isinstance(node.value, (str, list)) else 0
        self.spans.append(Span(self.length + edge, self.length + len(text) - edge, node))
        self.put(text)


def write(node: Node, layout: str = "default") -> tuple[str, list[Span]]:
    writer = Writer(layout)
    writer.write(node)
    return "".join(writer.parts), writer.spans
