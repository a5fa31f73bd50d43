"""Writes a document: which facts, in which layout and order, among which distractions."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from .kind import Field, Kind
from .scene import Json, Scene, Value
from .values import VALUES

_SLOT = re.compile(r"\{(\w+)\}")
MAX_FACTS = 10
"""Enough to leave room for the answer in the model's context."""


@dataclass(frozen=True)
class Document:
    kind: Kind
    text: str
    facts: dict[str, Value]


def draw_facts(kind: Kind, scene: Scene) -> dict[str, Value]:
    rng = scene.rng
    base = [f for f in kind.fields if not f.source]
    share = rng.choice((0.3, 0.5, 0.7, 1.0))
    chosen = {f.name for f in base if rng.random() < share} | {base[0].name, rng.choice(base).name}
    if len(chosen) > 1 and rng.random() < 0.1:
        chosen.discard(base[0].name)
    while len(chosen) > MAX_FACTS:
        chosen.discard(rng.choice(sorted(chosen)))
    for f in base:
        if f.name in chosen:
            scene.facts[f.name] = draw_cue(f, scene) if f.cues else VALUES[f.sort](scene)
    return scene.facts


def draw_cue(f: Field, scene: Scene) -> Value:
    """An enum or boolean is said in prose; the sentence itself is the text side."""
    value = scene.rng.choice(list(f.cues))
    return Value(value, scene.rng.choice(f.cues[value]))


def add_derived(kind: Kind, facts: dict[str, Value], scene: Scene) -> None:
    """Facts a reader infers from others: the parts of a name, the currency of an amount."""
    for f in kind.fields:
        if f.source not in facts or f.sort == "lead":
            continue
        text = facts[f.source].text
        if f.sort == "currency":
            facts[f.name] = Value(scene.currency, text)
        elif " " in text:
            first, *rest = text.split(" ")
            last = " ".join(rest[1:] if rest[0].endswith(".") and len(rest) > 1 else rest)
            part = first if f.sort == "first_name" else last
            facts[f.name] = Value(part, part)


def label(f: Field, scene: Scene) -> str:
    """How a form or a plain sentence names the field."""
    return f.keys[int(scene.rng.random() ** 1.5 * len(f.keys))]


def plain(value: Value, scene: Scene) -> str:
    """The value as a form shows it: an enum's word, yes or no, or the text."""
    if isinstance(value.json, bool):
        return scene.rng.choice(("yes", "Yes", "true") if value.json else ("no", "No", "false"))
    return value.text


def sentences(kind: Kind, facts: dict[str, Value], scene: Scene) -> list[str]:
    rng = scene.rng
    texts = {name: value.text for name, value in facts.items()}
    cued = {f.name for f in kind.fields if f.cues}
    open_, said = set(facts), []
    generic = rng.choice((0.0, 0.1, 0.3))
    while open_:
        name = rng.choice(sorted(open_))
        f = kind.field(name)
        fitting = (
            []
            if name in cued
            else [t for t in kind.templates if name in t.slots and t.slots <= open_]
        )
        if not said:
            fitting = [
                t for t in kind.templates if t.slots <= open_ and len(t.slots) > 1
            ] or fitting
        if name in cued and said and rng.random() > generic:
            said.append(texts[name])
        elif fitting and rng.random() > generic:
            t = rng.choice(fitting)
            said.append(_SLOT.sub(lambda m: texts[m[1]], t.text))
            open_ -= t.slots
            continue
        else:
            shown = plain(facts[name], scene) if name not in cued else cue_word(facts[name], scene)
            ways = (
                "The {0} is {1}.",
                "The {0} is {1}.",
                "{2}: {1}.",
                "{2}: {1}",
                "the {0}: {1}.",
                "{0} {1},",
            )
            way = rng.choice(ways if f.sort != "boolean" else ways[2:5])
            phrase = label(f, scene)
            said.append(way.format(phrase, shown, phrase[0].upper() + phrase[1:]))
        open_.discard(name)
    if rng.random() < 0.3:
        lead, *others = said
        rng.shuffle(others)
        said = [lead, *others] if rng.random() < 0.6 else [*others, lead]
    return said


def cue_word(value: Value, scene: Scene) -> str:
    return plain(value, scene) if isinstance(value.json, bool) else str(value.json)


def form(kind: Kind, facts: dict[str, Value], scene: Scene) -> str:
    """Label-value pairs, one a line or in a row."""
    rng = scene.rng
    style: Callable[[str], str] = rng.choice((str.title, str.title, str.capitalize, str, str.upper))
    between = rng.choice((": ", ": ", ": ", " - ", " = ", " "))
    pairs = []
    for name in facts:
        f = kind.field(name)
        shown = cue_word(facts[name], scene) if f.cues else facts[name].text
        pairs.append(style(label(f, scene)) + between + shown)
    if rng.random() < 0.5:
        rng.shuffle(pairs)
    return rng.choice(("\n", "\n", "\n", "; ", " | ", ", ", "\n- ")).join(pairs)


def distraction(kind: Kind, scene: Scene) -> str:
    line = scene.rng.choice(kind.distractors)
    return _SLOT.sub(lambda m: VALUES[m[1]](scene).text, line)


def compose(kind: Kind, scene: Scene) -> Document:
    rng = scene.rng
    facts = draw_facts(kind, scene)
    roll = rng.random()
    if roll < 0.2:
        text = form(kind, facts, scene)
    else:
        said = sentences(kind, facts, scene)
        for _ in range(rng.choice((0, 0, 0, 1, 1, 1, 2, 2, 3, 6))):
            said.insert(rng.randint(1, len(said)), distraction(kind, scene))
        if rng.random() < 0.15:
            facts = facts | {"summary": Value(said[0], said[0])}
        text = ("\n" if roll > 0.92 else " ").join(said)
        if rng.random() < 0.1:
            text = text.removesuffix(".") if len(said) > 1 else text
    if rng.random() < 0.12:
        mark, space = rng.choice((":", "", ".")), rng.choice(" \n")
        text = f"{kind.name.capitalize()}{mark}{space}{text}"
    add_derived(kind, facts, scene)
    if rng.random() < 0.03:
        fixed = {f.name for f in kind.fields if f.cues or f.sort == "currency"}
        lower = {n: v if n in fixed else lowered(v, text) for n, v in facts.items()}
        return Document(kind, text.lower(), lower)
    return Document(kind, text, facts)


def lowered(value: Value, text: str) -> Value:
    """A document typed without capitals: what was copied from it loses them too."""

    def lower(v: Json) -> Json:
        if isinstance(v, str):
            return v.lower() if v in text else v
        if isinstance(v, list):
            return [lower(x) for x in v]
        if isinstance(v, dict):
            return {k: lower(x) for k, x in v.items()}
        return v

    return Value(lower(value.json), value.text.lower(), lower(value.alt), value.alt_share)
