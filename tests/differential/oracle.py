"""The judge of finished texts: ``jsonschema`` with exact decimals and ECMA patterns."""

from __future__ import annotations

import atexit
import functools
import json
import re
import subprocess
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from itertools import islice, permutations, product
from typing import Any

import jsonschema
from jsonschema.validators import extend, validator_for
from regular.oracle import node


def read_json(text: str | bytes) -> Any:
    """A JSON text with numbers as they were written; raises ValueError where it is none."""

    def number(text: str) -> Decimal:
        try:
            return Decimal(text)
        except InvalidOperation:  # an exponent past what Decimal holds
            tiny = "-" in text.lower().partition("e")[2]
            return Decimal(("-" if text[0] == "-" else "") + ("1e-99999" if tiny else "1e99999"))

    def refuse(name: str) -> None:
        raise ValueError(f"{name} is not a JSON value")

    if isinstance(text, bytes):
        text = text.decode("utf-8")
    return json.loads(text, parse_float=number, parse_constant=refuse)


@functools.lru_cache(maxsize=1024)
def _python_pattern(pattern: str) -> re.Pattern[str] | None:
    text = re.sub(r"\\/", "/", pattern).replace("$", r"(?!\n)$")
    text = re.sub(r"\(\?<(?![=!])", "(?P<", text)
    try:
        return re.compile(text, re.ASCII)
    except re.error:
        return None


_SCRIPT = """
const lines = require('readline').createInterface({input: process.stdin});
lines.on('line', line => {
  const [pattern, text] = JSON.parse(line);
  let re = null;
  for (const flags of ['u', '']) {
    if (re === null) try { re = new RegExp(pattern, flags); } catch (e) {}
  }
  process.stdout.write(JSON.stringify(re === null ? null : re.test(text)) + '\\n');
});
"""


@functools.cache
def _node() -> subprocess.Popen[str] | None:
    """One Node.js for all questions, where it is installed; ended with this process."""
    if node() is None:
        return None
    process = subprocess.Popen(
        [str(node()), "-e", _SCRIPT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    atexit.register(process.kill)
    return process


@functools.lru_cache(maxsize=4096)
def _searches(pattern: str, text: str) -> bool:
    """An ECMA-262 search: Node.js's answer, or else Python's."""
    process = _node()
    if process is not None and process.stdin is not None and process.stdout is not None:
        process.stdin.write(json.dumps([pattern, text]) + "\n")
        process.stdin.flush()
        answer = json.loads(process.stdout.readline())
        return answer is None or bool(answer)
    compiled = _python_pattern(pattern)
    return compiled is None or compiled.search(text) is not None


def _pattern(validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[Any]:
    if isinstance(instance, str) and not _searches(pattern, instance):
        yield jsonschema.ValidationError(f"{instance!r} does not match {pattern!r}")


def _multiple_of(validator: Any, divisor: Any, instance: Any, schema: Any) -> Iterator[Any]:
    if not validator.is_type(instance, "number") or abs(Decimal(instance).adjusted()) > 9999:
        return  # a ratio of such size is not worth its digits
    if Fraction(instance) % Fraction(divisor):
        yield jsonschema.ValidationError(f"{instance} is not a multiple of {divisor}")


def _is_number(checker: Any, instance: Any) -> bool:
    return isinstance(instance, int | float | Decimal) and not isinstance(instance, bool)


def _is_integer(checker: Any, instance: Any) -> bool:
    # From draft 6 on 1.0 is an integer; earlier drafts read it as they like.
    if isinstance(instance, Decimal):
        return instance == instance.to_integral_value()
    return _is_number(checker, instance) and float(instance).is_integer()


@functools.cache
def _exact(cls: Any) -> Any:
    types = cls.TYPE_CHECKER.redefine("number", _is_number).redefine("integer", _is_integer)
    return extend(cls, {"pattern": _pattern, "multipleOf": _multiple_of}, type_checker=types)


def validator(schema: Any) -> Any:
    """A ``jsonschema`` validator for the schema's draft (2020-12 if it names none)."""
    exact = read_json(json.dumps(schema))
    found = validator_for(exact, default=jsonschema.Draft202012Validator)
    return _exact(found)(exact)


def orders(value: Any, limit: int = 3000) -> Iterator[Any]:
    """The value with the members of its objects in all orders, ``limit`` of them at most."""
    return islice(_orders(value), limit)


def _orders(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for names in permutations(value):
            for values in product(*(list(islice(_orders(value[n]), 200)) for n in names)):
                yield dict(zip(names, values, strict=True))
    elif isinstance(value, list):
        for values in product(*(list(islice(_orders(v), 200)) for v in value)):
            yield list(values)
    else:
        yield value
