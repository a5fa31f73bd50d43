"""JSON text with exact numbers."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from structgen.json_text import read_json, write_json

numbers = st.one_of(
    st.integers(),
    st.decimals(allow_nan=False, allow_infinity=False),
    st.integers(10**4999, 10**5000),
)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.text(), numbers),
    lambda below: st.one_of(st.lists(below), st.dictionaries(st.text(), below)),
    max_leaves=8,
)


@given(values)
def test_what_is_written_is_read(value: Any) -> None:
    assert read_json(write_json(value)) == value


def test_numbers_as_they_were_written() -> None:
    text = '{"a": [1.10, 1e400, -0.0, 12345678901234567890.123456789], "b": {}, "c": [], "d": 10}'
    value = read_json(text)
    assert value["a"] == [
        Decimal(n) for n in ("1.10", "1e400", "-0.0", "12345678901234567890.123456789")
    ]
    assert type(value["d"]) is int
    assert write_json(value) == text.replace("1e400", "1E+400")
    assert json.loads(write_json(value))["b"] == {}


@pytest.mark.parametrize("text", ["NaN", "[-Infinity]", "1e99999999999999999999", "1.e5", "{", '"'])
def test_what_is_no_json(text: str) -> None:
    with pytest.raises(ValueError):
        read_json(text)


@pytest.mark.parametrize("value", [{1}, [Decimal("NaN")], object(), [Decimal("-Infinity")]])
def test_what_json_does_not_have(value: Any) -> None:
    with pytest.raises(TypeError):
        write_json([Decimal("0.5"), value])
