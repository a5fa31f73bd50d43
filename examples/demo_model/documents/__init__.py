"""Synthetic documents with JSON answers: ``sample(seed)`` is the whole interface.

A sample is a short English document of one of many kinds, a way of asking for some of its facts,
and the answer. Equal seeds give equal samples; the held-out split uses words, numbers, key names
and combinations that training never sees.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

from . import commerce, leisure, offers, people, pools, travel, work
from .answers import (
    Asking,
    Leaf,
    Node,
    Schema,
    Span,
    ask,
    plain_value,
    schema_for,
    write,
)
from .composing import Document, compose, cue_word, distraction, label
from .kind import Kind
from .pools import Pool, Split
from .scene import Json, Scene

__all__ = ["KINDS", "Sample", "Span", "Split", "sample"]

KINDS: tuple[Kind, ...] = (
    *commerce.KINDS,
    *offers.KINDS,
    *people.KINDS,
    *work.KINDS,
    *leisure.KINDS,
    *travel.KINDS,
)

_POOLED = " ".join(w for p in vars(pools).values() if isinstance(p, Pool) for w in p.train)
pools.LEXICON += sorted(
    set().union(*(k.words() for k in KINDS), re.findall(r"[^\W\d_]{2,}", _POOLED))
)

BARE = ("", "", "", "", "\n", "\n", "\n", "\n", "\n\n", "\n\n", " ", " ")
"""How a document may end where nothing is asked in words."""

AFTER = (
    "\nJSON:\n",
    "\nJSON: ",
    "\n\nJSON:\n",
    "\nExtract the fields as JSON.\n",
    "\n\nExtract the data as JSON.\n",
    "\nOutput:\n",
    "\n\nOutput: ",
    "\nAnswer:\n",
    " JSON: ",
    "\n\nReturn the information as JSON.\n",
    "\nExtract the {kind}.\n",
    "\n\nExtract the {kind} as JSON:\n",
    "\nAnswer in JSON.\n",
    " ->",
    " -> ",
    "\n---\n",
)
BEFORE = (
    "Extract the fields as JSON.\n",
    "Extract the {kind} as JSON: ",
    "Extract the {kind} from this text: ",
    "Extract the data from the text below.\n\n",
    "Read the {kind} and answer in JSON.\n\n",
    "Text: ",
    "Document:\n",
    "You are a helpful assistant.\n",
    "You extract data from documents.\nReply with JSON only.\n",
    "Parse this {kind}: ",
    "Extract: ",
    "Turn this into JSON: ",
    "Convert the following {kind} to JSON:\n\n",
    "Input: ",
    "What does this {kind} say?\n",
)
NAMING = (
    "Extract {keys} from the text.",
    "Fields: {keys}.",
    "Give me {keys}.",
    "Return JSON with the keys {keys}.",
    "Extract these fields: {keys}",
    "We need {keys}.",
    "Find {keys}.",
    "Keys: {keys}",
)
INVENTING = (
    "Invent {a} {kind}.",
    "Make up {a} {kind}.",
    "Give me an example of {a} {kind}.",
    "Generate {a} {kind}.",
    "Write a random {kind} as JSON.",
    "Create {a} fictional {kind}.",
    "{a} {kind}",
    "Generate {a} {kind} in JSON format.",
)
QUESTIONS = (
    "\n{label}: ",
    "\n{label}:",
    "\n\n{label}: ",
    "\nQuestion: What is the {label}?\nAnswer: ",
    "\nWhat is the {label}? ",
    "\nThe {label} is ",
    "\nQ: {label}?\nA: ",
    " {label}: ",
    "\nWhat is the {label}?\n",
    "\nAnswer with the {label}.\n",
)


@dataclass(frozen=True)
class Sample:
    """``prompt + text`` is what the model reads; ``schema`` admits ``answer``; ``text`` spells it.

    ``schema`` is None where the answer is a bare word or value instead of JSON.
    """

    kind: str
    document: str
    prompt: str
    text: str
    spans: list[Span]
    answer: Json
    schema: Schema | None


def article(noun: str) -> str:
    return "an" if noun[0] in "aeiou" else "a"


def surrounded(text: str, scene: Scene) -> str:
    """The document in a page of unrelated sentences, so that length is nothing new."""
    rng = scene.rng
    lines = [distraction(rng.choice(KINDS), scene) for _ in range(rng.randint(4, 45))]
    lines.insert(rng.randint(0, len(lines)), text)
    return rng.choice((" ", "\n")).join(lines)


def frame(document: Document, node: Node, scene: Scene) -> str:
    """The document with its separator and, sometimes, a request before or behind it."""
    rng = scene.rng
    text, name = document.text, document.kind.name
    if rng.random() < 0.05:
        text = surrounded(text, scene)
    if rng.random() < 0.03:
        text = f'"""{text}"""'
    before, after = "", rng.choice(BARE)
    if rng.random() < 0.3:
        before = rng.choice(BEFORE)
    if rng.random() < 0.4:
        after = rng.choice(AFTER)
    members = getattr(node, "members", None)
    if members and rng.random() < 0.15:
        request = rng.choice(NAMING).replace(
            "{keys}", rng.choice((", ", ", ", " and ")).join(members)
        )
        if rng.random() < 0.5:
            before = f"{request}\n"
        else:
            after = f"\n{request}\n"
    return before.replace("{kind}", name) + text + after.replace("{kind}", name)


def question(document: Document, scene: Scene) -> Sample | None:
    """One fact asked for in words; the answer is a bare value or, sometimes, a JSON scalar."""
    rng = scene.rng
    options = [f for f in document.kind.fields if f.name in document.facts]
    enums = [f for f in options if f.cues]
    f = rng.choice(enums if enums and rng.random() < 0.6 else options)
    value = document.facts[f.name]
    node = Asking(scene).leaf(f, value, False)
    if not isinstance(node, Leaf) or isinstance(node.value, list):
        return None
    name = label(f, scene)
    if rng.random() < 0.4:
        name = name.capitalize()
    prompt = document.text + rng.choice(QUESTIONS).replace("{label}", name)
    if rng.random() < 0.25:
        text, spans = write(node)
        return Sample(
            document.kind.name, document.text, prompt, text, spans, node.value, node.schema
        )
    text = cue_word(value, scene) if isinstance(node.value, bool) else str(node.value)
    leaf = Leaf(text, node.schema, node.sort)
    return Sample(
        document.kind.name, document.text, prompt, text, [Span(0, len(text), leaf)], text, None
    )


def sample(seed: int | str, split: Split = "train", plain: bool = False) -> Sample:
    """``plain``: always a JSON object in the default layout, as evaluation wants it."""
    rng = random.Random(f"{split} {seed}")
    scene = Scene(rng, split)
    kind = rng.choice(KINDS)
    document = compose(kind, scene)
    roll = 0.5 if plain else rng.random()
    if roll < 0.08 and (asked := question(document, scene)):
        return asked
    node = ask(document, scene)
    layout = (
        "default" if plain else rng.choice(("default",) * 7 + ("compact", "compact", "indented"))
    )
    text, spans = write(node, layout)
    if roll > 0.98:
        request = (
            rng.choice(INVENTING).replace("{a}", article(kind.name)).replace("{kind}", kind.name)
        )
        prompt = request + rng.choice(BARE)
    else:
        prompt = frame(document, node, scene)
    return Sample(
        kind.name, document.text, prompt, text, spans, plain_value(node), schema_for(node)
    )
