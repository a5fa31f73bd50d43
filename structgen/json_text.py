"""JSON text with numbers as they were written: a float would round a bound of many digits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn

MAX_INT_DIGITS = 4000  # Python converts no more than 4,300 at once


def read_json(text: str | bytes | bytearray) -> Any:
    """The value of a JSON text; numbers with a fraction or an exponent are Decimals.

    Raises:
        ValueError: it is no JSON, no UTF-8, or a number's exponent is beyond what Decimal holds.
        RecursionError: it is nested too deeply.
    """
    return json.loads(
        text, parse_float=_decimal, parse_int=_integer, parse_constant=_reject_constant
    )


def write_json(value: Any) -> str:
    """JSON text that :func:`read_json` reads back as equal numbers, Decimals included.

    Raises:
        TypeError: a value that JSON does not have.
    """
    try:
        return json.dumps(value)
    except (TypeError, ValueError):  # a Decimal, or an integer that Python does not write
        return "".join(_pieces(value))


def _decimal(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise ValueError(f"the exponent of {text:.40} is too large") from None


def _integer(text: str) -> int | Decimal:
    return int(text) if len(text) <= MAX_INT_DIGITS else Decimal(text)


def _reject_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


def _pieces(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        mark = "{"
        for key, item in value.items():
            yield f"{mark}{json.dumps(str(key))}: "
            yield from _pieces(item)
            mark = ", "
        yield "}" if value else "{}"
    elif isinstance(value, list | tuple):
        mark = "["
        for item in value:
            yield mark
            yield from _pieces(item)
            mark = ", "
        yield "]" if value else "[]"
    elif isinstance(value, Decimal) and value.is_finite():
        yield str(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        yield str(Decimal(value))  # of any length
    else:
        yield json.dumps(value)
