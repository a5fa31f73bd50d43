"""``schema=`` in all the forms that people have."""

from __future__ import annotations

import dataclasses
import enum
from decimal import Decimal
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field, TypeAdapter
from typing_extensions import TypedDict

from structgen.errors import SchemaError
from structgen.schema_input import resolve_schema


class Color(enum.Enum):
    RED = "red"


class Model(BaseModel):
    zebra: int
    apple: str = Field(alias="Apple")
    mango: list[Color] = []


@dataclasses.dataclass
class Data:
    x: int


class Typed(TypedDict):
    x: int


@pytest.mark.parametrize("schema", [True, False, {"type": "object"}, {}])
def test_json_schemas_are_taken_as_they_are(schema):
    found, parse = resolve_schema(schema)
    assert found == schema
    assert parse('{"a": [1, null]}') == {"a": [1, None]}


@pytest.mark.parametrize("kind", [str, str.encode])
def test_json_text(kind):
    assert resolve_schema(kind('{"b": 1, "a": 2}')).schema == {"b": 1, "a": 2}
    assert list(resolve_schema(kind('{"b": 1, "a": 2}')).schema) == ["b", "a"]
    assert resolve_schema(kind("true")).schema is True


def test_numbers_of_a_text_are_exact():
    schema = resolve_schema('{"minimum": 0.12345678901234567890123, "minLength": 3}').schema
    assert schema == {"minimum": Decimal("0.12345678901234567890123"), "minLength": 3}
    assert resolve_schema('{"minimum": ' + "1" * 5000 + "}").schema["minimum"] == 10**5000 // 9


def test_a_model_by_alias_in_order():
    schema, parse = resolve_schema(Model)
    assert list(schema["properties"]) == ["zebra", "Apple", "mango"]
    value = parse('{"zebra": 1, "Apple": "x", "mango": ["red"]}')
    assert value == Model(zebra=1, Apple="x", mango=[Color.RED])


@pytest.mark.parametrize(
    ("annotation", "text", "value"),
    [
        (Data, '{"x": 1}', Data(1)),
        (Typed, '{"x": 1}', {"x": 1}),
        (Color, '"red"', Color.RED),
        (Literal["a", 3], "3", 3),
        (list[Model], "[]", []),
        (dict[str, int], '{"a": 1}', {"a": 1}),
        (int | None, "null", None),
        (tuple[int, str], '[1, "a"]', (1, "a")),
        (Any, "[1]", [1]),
        (TypeAdapter(list[int]), "[1]", [1]),
        (str, '"a"', "a"),
    ],
)
def test_types(annotation, text, value):
    schema, parse = resolve_schema(annotation)
    assert isinstance(schema, dict)
    assert parse(text) == value


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ('{\n  "a": }', "not valid JSON: .* at line 2, column 8"),
        ("", "not valid JSON"),
        ("[1]", "an object or a boolean, but the text holds an array"),
        ("3", "holds a number"),
        ("null", "holds null"),
        ('{"minimum": NaN}', "NaN is not a JSON value"),
        ('{"a":' * 100_000, "nested too deeply"),
        ('{"a": 1e9999999999999999999}', "not valid JSON: the exponent of .* is too large"),
        (b'{"\xff": 1}', "not valid UTF-8"),
        (None, "is not a schema"),
        (3, "is not a schema"),
        ([{}], "is not a schema"),
        (Model(zebra=1, Apple="x"), "the model class Model, not an instance"),
        (object(), "no JSON Schema for"),
        (type("Strange", (), {}), "no JSON Schema for"),
        ("list[Undefined]", "not valid JSON"),
    ],
)
def test_what_is_no_schema(schema, message):
    with pytest.raises(SchemaError, match=message):
        resolve_schema(schema)
