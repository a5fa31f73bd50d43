"""What a person passes as ``schema=``: a JSON Schema, or a type that pydantic understands."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from pydantic import BaseModel, TypeAdapter
from pydantic.errors import PydanticUserError

from structgen.errors import SchemaError
from structgen.json_text import read_json

ACCEPTED = (
    "a JSON Schema (dict, bool or JSON text), or a type: a pydantic model, dataclass, TypedDict, "
    "Enum, Literal[...], list[...] or anything else that pydantic's TypeAdapter takes"
)


class SchemaInput(NamedTuple):
    """A JSON Schema and the function that turns a text obeying it into a Python value."""

    schema: dict[str, Any] | bool
    parse: Callable[[str], Any]


def resolve_schema(schema: Any) -> SchemaInput:
    """The JSON Schema that ``schema`` stands for, properties in the order they were written.

    The numbers of a JSON text are exact (``Decimal`` where they have a fraction or an exponent).

    ``parse`` gives plain JSON values for a JSON Schema, and validated instances for a type
    (pydantic may raise its ``ValidationError`` there for checks that JSON Schema cannot express).

    Raises:
        SchemaError: the text is not JSON, or the object is neither a schema nor a usable type.
    """
    if isinstance(schema, bool):
        return SchemaInput(schema, json.loads)
    if isinstance(schema, Mapping):
        return SchemaInput(dict(schema), json.loads)
    if isinstance(schema, str | bytes | bytearray):
        return SchemaInput(_read_json_text(schema), json.loads)
    return _read_type(schema)


def _read_json_text(text: str | bytes | bytearray) -> dict[str, Any] | bool:
    try:
        value = read_json(text)
    except json.JSONDecodeError as error:
        raise SchemaError(
            f"the schema is not valid JSON: {error.msg} at line {error.lineno}, "
            f"column {error.colno}"
        ) from None
    except UnicodeDecodeError as error:
        raise SchemaError(f"the schema is not valid UTF-8 (byte {error.start})") from None
    except RecursionError:
        raise SchemaError("the schema is nested too deeply to be read") from None
    except ValueError as error:  # NaN, or an exponent that no number holds
        raise SchemaError(f"the schema is not valid JSON: {error}") from None
    if not isinstance(value, dict | bool):
        raise SchemaError(
            f"a JSON Schema is an object or a boolean, but the text holds {_json_kind(value)}"
        )
    return value


def _json_kind(value: Any) -> str:
    names = {list: "an array", str: "a string", int: "a number", Decimal: "a number"}
    return names.get(type(value), "null")


def _read_type(annotation: Any) -> SchemaInput:
    if isinstance(annotation, BaseModel):
        name = type(annotation).__name__
        raise SchemaError(f"schema= takes the model class {name}, not an instance of it")
    if annotation is None or isinstance(annotation, int | float | list | tuple | set):
        raise SchemaError(f"schema={annotation!r:.80} is not a schema; pass {ACCEPTED}")
    try:
        adapter = annotation if isinstance(annotation, TypeAdapter) else TypeAdapter(annotation)
        schema = adapter.json_schema(mode="validation", by_alias=True)
    except (PydanticUserError, NameError, TypeError) as error:
        reason = str(error).split("\n\n")[0]
        raise SchemaError(f"no JSON Schema for {annotation!r:.80}: {reason}") from error
    return SchemaInput(schema, adapter.validate_json)
