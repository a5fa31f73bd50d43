"""How a kind of document is described: its fields, what it says about them, and what hides them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from .scene import Json

_SLOT = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Field:
    """``keys`` are phrases that may name the field; ``cues`` say an enum or boolean in prose."""

    name: str
    sort: str
    keys: tuple[str, ...]
    cues: dict[Json, tuple[str, ...]] = field(default_factory=dict)
    source: str = ""
    """For a derived field (first name, currency): the field it is read from."""


def text_field(name: str, sort: str, keys: str) -> Field:
    return Field(name, sort, tuple(keys.split("|")))


def derived(name: str, sort: str, source: str, keys: str) -> Field:
    return Field(name, sort, tuple(keys.split("|")), source=source)


def choice(name: str, keys: str, **cues: str) -> Field:
    """An enum; each value's cues are separated by ``|``, underscores in values stand for spaces."""
    table = {value.replace("_", " "): tuple(said.split("|")) for value, said in cues.items()}
    return Field(name, "enum", tuple(keys.split("|")), table)


def flag(name: str, keys: str, yes: str, no: str) -> Field:
    return Field(
        name,
        "boolean",
        tuple(keys.split("|")),
        {True: tuple(yes.split("|")), False: tuple(no.split("|"))},
    )


@dataclass(frozen=True)
class Group:
    """Fields that a schema may gather in a nested object, with their key phrases inside it."""

    keys: tuple[str, ...]
    members: dict[str, tuple[str, ...]]


def group(keys: str, **members: str) -> Group:
    return Group(
        tuple(keys.split("|")), {name: tuple(inner.split("|")) for name, inner in members.items()}
    )


@dataclass(frozen=True)
class Template:
    text: str
    slots: frozenset[str]


@dataclass(frozen=True)
class Kind:
    """One kind of document. ``templates`` mention fields as ``{name}``."""

    name: str
    fields: tuple[Field, ...]
    templates: tuple[Template, ...]
    distractors: tuple[str, ...]
    groups: tuple[Group, ...] = ()

    def words(self) -> set[str]:
        """Every word its documents may hold apart from values."""
        said = [*(t.text for t in self.templates), *self.distractors]
        for f in self.fields:
            said += [*f.keys, *(cue for cues in f.cues.values() for cue in cues)]
        return set(re.findall(r"[^\W\d_]{2,}", " ".join(said)))

    def field(self, name: str) -> Field:
        return next(f for f in self.fields if f.name == name)


def kind(
    name: str, fields: list[Field], templates: str, distractors: str, groups: tuple[Group, ...] = ()
) -> Kind:
    """``templates`` and ``distractors`` come one a line."""
    lines = [line.strip() for line in templates.strip().splitlines()]
    parsed = tuple(Template(line, frozenset(_SLOT.findall(line))) for line in lines)
    lead = derived(
        "summary",
        "lead",
        fields[0].name,
        "summary|description|text|content|notes|details|body|comment",
    )
    fields = [*fields, lead]
    known = {f.name for f in fields}
    unknown = {slot for t in parsed for slot in t.slots} - known
    if unknown:
        raise ValueError(f"templates of {name!r} mention unknown fields {sorted(unknown)}")
    said = tuple(line.strip() for line in distractors.strip().splitlines())
    return Kind(name, tuple(fields), parsed, said, groups)
