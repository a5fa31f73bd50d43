"""Constraints put together accept what their parts accept, one after the other or one of them."""

from __future__ import annotations

import pydantic
import pytest

import structgen as sg
from structgen import compose


class Point(pydantic.BaseModel):
    x: int
    y: int


WORD = "start: /[a-z]+/"
NESTED = 'root ::= "(" root ")" | "0"'


def accepts(tag: dict, text: str) -> bool:
    compiler = sg.Compiler(sg.Vocabulary.byte_vocabulary(), cache_bytes=0)
    matcher = compiler.compile_structural_tag(tag).matcher()
    return matcher.accept_bytes(text.encode()) and matcher.is_accepting()


PARTS = {
    "text": ("yes", ["yes"], ["", "ye", "yess"]),
    "regex": (compose.regex("[0-9]{2,3}"), ["12", "123"], ["1", "1234", "a"]),
    "schema": (compose.json_schema(Point), ['{"x": 1, "y":2}'], ['{"x":1}', "1"]),
    "lark": (compose.lark(WORD), ["a", "abc"], ["", "A"]),
    "ebnf": (compose.ebnf(NESTED), ["0", "((0))"], ["(0", "()"]),
}


@pytest.mark.parametrize("name", PARTS)
def test_a_part_alone(name: str) -> None:
    part, good, bad = PARTS[name]
    for whole in (sg.union(part), sg.concat(part)):
        assert [t for t in [*good, *bad] if accepts(whole, t)] == good


def test_union() -> None:
    whole = sg.union(*(part for part, _, _ in PARTS.values()))
    for _, good, bad in PARTS.values():
        assert all(accepts(whole, t) for t in good)
        in_another = {"1", "a", "1234"}
        assert not any(accepts(whole, t) for t in set(bad) - in_another - {"ye", "yess"})


def test_concat_and_nesting() -> None:
    number = compose.regex("[0-9]+")
    whole = sg.concat("<", sg.union(number, sg.concat("p", compose.json_schema(Point))), ">")
    assert accepts(whole, "<12>")
    assert accepts(whole, '<p{"x":1,"y":2}>')
    assert not accepts(whole, "<p>")
    assert not accepts(whole, '<{"x":1,"y":2}>')


@pytest.mark.parametrize("part", [5, {"type": "object"}, None])
def test_no_part(part: object) -> None:
    with pytest.raises(sg.StructgenError, match="a part is a text or a structural tag"):
        sg.union(part)  # type: ignore[arg-type]


def test_nothing() -> None:
    with pytest.raises(sg.StructgenError, match="at least one part"):
        sg.concat()
