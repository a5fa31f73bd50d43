"""Constrained generation: what is finished obeys its constraint, and ``parsed`` holds its value."""

from __future__ import annotations

import enum
import json
import re
from typing import Literal

import pydantic
import pytest
from jsonschema import Draft202012Validator
from pydantic import BaseModel, Field, field_validator
from tiny_model import tiny_model, tiny_tokenizer
from typing_extensions import TypedDict

from structgen.engine import LLM
from structgen.engine.request import Request, SamplingParams
from structgen.errors import GrammarSyntaxError, SchemaError, StructgenError

SCHEMAS = [
    {"type": "integer", "minimum": -5, "maximum": 5000},
    {"enum": ["red", "grün", None, 3.5]},
    {"type": "array", "items": {"type": "boolean"}, "maxItems": 4},
    {
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 4}, "age": {"type": "integer"}},
        "required": ["name", "age"],
        "additionalProperties": False,
    },
    {"type": "string", "pattern": "^[a-c]{2,5}$"},
    {"anyOf": [{"const": {"a": 1}}, {"type": "null"}]},
]


class Color(enum.Enum):
    RED = "red"
    GREEN = "green"


class Pet(BaseModel, extra="forbid"):
    kind: Literal["cat", "dog"]
    color: Color
    age: int = Field(ge=0, le=20)


@pydantic.dataclasses.dataclass(config={"extra": "forbid"})
class Point:
    x: Literal[1, 22, 333]
    on: bool


class Options(TypedDict):
    __pydantic_config__ = {"extra": "forbid"}
    on: bool


@pytest.mark.parametrize("whitespace", ["compact", "flexible"])
def test_every_finished_text_validates(llm, whitespace):
    finished = 0
    for seed in range(6):
        # A different schema in every row of the batch.
        outputs = llm.generate(
            ["the cat"] * len(SCHEMAS),
            schema=SCHEMAS,
            seed=seed,
            temperature=1.5,
            max_tokens=100,
            whitespace=whitespace,
        )
        for schema, output in zip(SCHEMAS, outputs, strict=True):
            if output.finish_reason == "length":
                assert output.parsed is None
                continue
            assert output.error is None
            assert output.finish_reason == "stop"
            assert output.parsed == json.loads(output.text)
            Draft202012Validator(schema).validate(output.parsed)
            finished += 1
    assert finished >= 24


@pytest.mark.parametrize("temperature", [0, 0.7, 50.0])
def test_types_are_parsed_into_their_instances(llm, temperature):
    options = {"temperature": temperature, "seed": 1, "max_tokens": 110, "whitespace": "compact"}
    types = [Pet, Point, Options, Color, Literal["a", 7], bool]
    outputs = llm.generate(["a"] * len(types), schema=types, **options)
    assert [output.finish_reason for output in outputs] == ["stop"] * len(types)
    pet, point, settings, color, literal, flag = (output.parsed for output in outputs)
    assert isinstance(pet, Pet)
    assert isinstance(pet.color, Color)
    assert isinstance(point, Point)
    assert isinstance(settings["on"], bool)
    assert isinstance(color, Color)
    assert literal in ("a", 7)
    assert isinstance(flag, bool)


def test_regex_choice_and_json(llm):
    outputs = llm.generate(
        ["a", "a", "a", "a"],
        regex=[r"[0-9]{3}-[a-f]+x", None, None, None],
        choice=[None, ["yes", "no", "nö"], None, None],
        json=[False, False, True, False],
        seed=3,
        max_tokens=60,
        temperature=1.0,
    )
    assert re.fullmatch(r"[0-9]{3}-[a-f]+x?", outputs[0].text)
    assert outputs[1].parsed == outputs[1].text
    assert outputs[1].text in ("yes", "no", "nö")
    if outputs[2].finish_reason == "stop":
        assert outputs[2].parsed == json.loads(outputs[2].text)
    assert outputs[3].parsed is None


def test_grammars_and_tags(llm):
    lark = 'start: "(" start ")" | NUMBER\nNUMBER: /[0-9]{1,3}/'
    ebnf = 'root ::= item ("," item){0,4}\nitem ::= [a-c]+ | "<" root ">"'
    tag = {
        "type": "structural_tag",
        "format": {"type": "tag", "begin": "<n>", "content": {"type": "json_schema",
                   "json_schema": {"enum": [True, False, None]}},
                   "end": "</n>"},
    }  # fmt: skip
    outputs = llm.generate(
        ["a", "b", "c"], lark=[lark, None, None], ebnf=[None, ebnf, None],
        structural_tag=[None, None, tag], max_tokens=80, seed=3,
    )  # fmt: skip
    patterns = [r"\(*[0-9]{1,3}\)*", r"[abc<>,]+", r"<n>(true|false|null)</n>"]
    for output, pattern in zip(outputs, patterns, strict=True):
        if output.finish_reason == "stop":
            assert re.fullmatch(pattern, output.text), output.text
            assert output.text.count("(") == output.text.count(")")
            assert output.text.count("<") == output.text.count(">")
    assert outputs[2].finish_reason == "stop"


def test_one_choice_for_all_prompts(llm):
    outputs = llm.generate(["a", "b", "c"], choice=["yes", "no"], max_tokens=10)
    assert all(output.parsed in ("yes", "no") for output in outputs)


def test_a_text_that_can_only_end_needs_no_token_for_it(llm):
    [output] = llm.generate("a", choice=["the"], max_tokens=10, temperature=0)
    assert output.text == output.parsed == "the"
    exactly = output.usage.completion_tokens
    assert 1 not in output.token_ids
    [output] = llm.generate("a", choice=["the"], max_tokens=exactly, temperature=0)
    assert output.finish_reason == "stop"
    [output] = llm.generate("a", schema={"const": "x" * 30}, max_tokens=2)
    assert output.finish_reason == "length"
    assert output.parsed is None


def test_a_stop_string_cuts_a_constrained_text_without_a_value(llm):
    [output] = llm.generate("a", choice=["the cat"], stop=" ", max_tokens=20)
    assert (output.text, output.finish_reason, output.parsed) == ("the", "stop", None)


def test_constraints_do_not_depend_on_the_batch(llm):
    options = {"seed": 9, "temperature": 1.0, "max_tokens": 60}
    together = llm.generate(["the cat"] * len(SCHEMAS), schema=SCHEMAS, **options)
    for schema, output in zip(SCHEMAS, together, strict=True):
        assert llm.generate("the cat", schema=schema, **options)[0].text == output.text


def test_a_stream_of_a_constrained_text(llm):
    *pieces, last = llm.stream("a", schema=Point, seed=2, whitespace="compact")
    assert "".join(pieces) == last.text
    assert isinstance(last.parsed, Point)


def test_a_validator_that_refuses_is_reported(llm):
    class Odd(BaseModel, extra="forbid"):
        on: bool

        @field_validator("on")
        @classmethod
        def never(cls, value: bool) -> bool:
            raise ValueError("never right")

    [output] = llm.generate("a", schema=Odd, max_tokens=60, whitespace="compact")
    assert output.finish_reason == "stop"
    assert output.parsed is None
    assert "never right" in output.error


@pytest.mark.parametrize(
    ("constraint", "error"),
    [
        ({"schema": {"type": "integer", "minimum": 2, "maximum": 1}}, SchemaError),
        ({"schema": {"type": "nonsense"}}, SchemaError),
        ({"schema": '{"type": '}, SchemaError),
        ({"schema": 7}, SchemaError),
        ({"schema": [True, False]}, StructgenError),
        ({"regex": "(["}, StructgenError),
        ({"lark": 'start: "a'}, GrammarSyntaxError),
        ({"lark": "start: A\n%declare A"}, GrammarSyntaxError),
        ({"ebnf": "root ::= other"}, GrammarSyntaxError),
        ({"structural_tag": {}}, GrammarSyntaxError),
        ({"schema": True, "whitespace": "x+"}, StructgenError),
        ({"json": True, "escapes": "some"}, StructgenError),
    ],
)
def test_bad_constraints(llm, constraint, error):
    with pytest.raises(error):
        llm.generate(["a", "b"], **constraint)


class Broken:
    """A grammar whose matcher fails in a chosen way after a few tokens."""

    def __init__(self, how: str, after: int) -> None:
        self.how, self.left = how, after

    def matcher(self) -> Broken:
        return self

    def fill_bitmask(self, mask, row):
        mask[row] = 0 if self.how == "empty" and self.left == 0 else -1

    def accept_token(self, token):
        self.left -= 1
        if self.how == "crash" and self.left == 0:
            raise ZeroDivisionError("inside")
        return self.how != "refuse" or self.left > 0

    def is_terminated(self):
        return False

    def is_accepting(self):
        return False


@pytest.mark.parametrize(
    ("how", "after", "message"),
    [
        ("empty", 3, "allows no token"),
        ("empty", 0, "allows no token"),
        ("refuse", 3, "refused token"),
        ("crash", 3, "ZeroDivisionError: inside"),
    ],
)
def test_a_broken_grammar_ends_its_own_request_only(how, after, message):
    llm = LLM(tiny_model(), tokenizer=tiny_tokenizer())
    [good] = llm.prepare("the cat", SamplingParams(temperature=0, max_tokens=10))
    bad = Request(good.prompt_ids, good.params, 10, grammar=Broken(how, after))
    first, second, third = (handle.result() for handle in llm.submit([good, bad, good]))
    assert second.finish_reason == "error"
    assert message in second.error
    assert second.parsed is None
    assert first == third
    assert first.usage.completion_tokens == 10
    llm.close()
