"""Number automata against exact arithmetic with Decimal."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from structgen.errors import LimitExceeded
from structgen.regular.charset import BYTES
from structgen.regular.dfa import intersect
from structgen.regular.numbers import equal, multiple_of, number

JSON_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
# Every literal, legal or not, that a few symbols can spell.
SHORT = ["".join(p) for n in range(6) for p in product("015-.e", repeat=n)] + [
    "1E5", "1e+5", "1E-0", "0E+00", "-0.00e-1", "1e++1", "+1", "01", "1.e1", " 1", "1 ", "0x1",
]  # fmt: skip

digits = st.text("0123456789", min_size=1, max_size=6)
decimals = st.one_of(
    st.integers(-1200, 1200).map(Decimal),
    st.builds(
        lambda n, places: Decimal(n).scaleb(-places), st.integers(-30000, 30000), st.integers(0, 5)
    ),
    st.builds(
        lambda n, power: Decimal(n).scaleb(power), st.integers(-99, 99), st.integers(-30, 40)
    ),
)


@st.composite
def literals_near(draw: st.DrawFn, value: Decimal | None) -> str:
    """Spellings near ``value``, where comparisons go wrong."""
    if value is not None and draw(st.booleans()):
        places = draw(st.integers(-3, 8))
        near = value + draw(st.sampled_from([-1, 0, 1])) * Decimal(1).scaleb(-places)
        text = f"{near:f}"
        if draw(st.booleans()):
            text = text + ("" if "." in text else ".0") + draw(st.sampled_from(["", "0", "00"]))
    else:
        text = draw(st.sampled_from(["", "-"])) + draw(digits)
        text += draw(st.sampled_from(["", "."])) + draw(st.sampled_from(["", draw(digits)]))
    if draw(st.integers(0, 3)) == 0:
        text += draw(st.sampled_from(["e", "E"])) + draw(st.sampled_from(["", "+", "-"]))
        text += draw(st.sampled_from(["0", "3", "17"]))
    return text


def expected(text: str, low: Decimal | None, high: Decimal | None, xlow: bool, xhigh: bool) -> bool:
    match = JSON_NUMBER.fullmatch(text)
    if not match:
        return False
    values = [Decimal(text)]
    if match[3]:
        # The sign alone has to decide: any exponent has to be in bounds.
        mantissa = Decimal(text[: match.start(3)])
        values = [mantissa.scaleb(power) for power in (-90, 90)]
    return all(
        (low is None or (v > low if xlow else v >= low))
        and (high is None or (v < high if xhigh else v <= high))
        for v in values
    )


bounds = st.one_of(st.none(), decimals, st.sampled_from([Decimal(0), Decimal("-0.0"), Decimal(1)]))


@given(bounds, bounds, st.booleans(), st.booleans(), st.data())
@settings(max_examples=150, deadline=None)
def test_bounds(
    low: Decimal | None, high: Decimal | None, xlow: bool, xhigh: bool, data: st.DataObject
) -> None:
    dfa = number(minimum=low, maximum=high, exclusive_minimum=xlow, exclusive_maximum=xhigh)
    dfa.verify()
    texts = data.draw(st.lists(st.one_of(literals_near(low), literals_near(high)), max_size=25))
    for text in texts + SHORT[:: data.draw(st.integers(90, 110))]:
        assert (dfa.accepts(text.encode()) == 0) == expected(text, low, high, xlow, xhigh), text


@given(decimals, st.integers(0, 40), st.booleans(), st.data())
@settings(max_examples=100, deadline=None)
def test_integers(low: Decimal, width: int, fraction: bool, data: st.DataObject) -> None:
    high = low + width
    dfa = number(minimum=low, maximum=high, integer=True, integral_fraction=fraction)
    shape = re.compile(r"-?(0|[1-9]\d*)(\.0+)?" if fraction else r"-?(0|[1-9]\d*)")
    dfa.verify()
    for text in data.draw(st.lists(literals_near(low), max_size=20)) + SHORT[::97]:
        wanted = bool(shape.fullmatch(text)) and low <= Decimal(text) <= high
        assert (dfa.accepts(text.encode()) == 0) == wanted, text


def test_every_short_literal() -> None:
    for low, high in [(None, None), (0, None), (None, 0), (-5, 10), (5, 5), (Decimal("0.05"), 1)]:
        for exclusive in (False, True):
            dfa = number(
                minimum=low, maximum=high, exclusive_minimum=exclusive, exclusive_maximum=exclusive
            )
            low_, high_ = (None if b is None else Decimal(b) for b in (low, high))
            for text in SHORT:
                wanted = expected(text, low_, high_, exclusive, exclusive)
                assert (dfa.accepts(text.encode()) == 0) == wanted, (text, low, high)


def test_examples() -> None:
    dfa = number(maximum=Decimal("1.5"))
    for text in ("1.5", "1.50", "1.49999", "-0", "-7e300", "0e9"):
        assert dfa.accepts(text.encode()) == 0, text
    for text in ("1.51", "1.500001", "2", "1e0", "1.5.", "-"):
        assert dfa.accepts(text.encode()) == -1, text
    assert number(minimum=3, maximum=2).is_empty
    assert number(minimum=Decimal("1.2"), maximum=Decimal("1.9"), integer=True).is_empty


def test_states_are_linear_in_the_digits() -> None:
    huge = number(minimum=Decimal("1e400"), maximum=Decimal("1e401"))
    assert huge.n_states < 1500
    assert huge.accepts(b"5" + b"0" * 400) == 0
    assert huge.accepts(b"5" + b"0" * 399) == -1
    tiny = number(minimum=Decimal("1e-400"))
    assert tiny.accepts(b"0." + b"0" * 399 + b"1") == 0
    assert tiny.accepts(b"0." + b"0" * 400 + b"9") == -1
    with pytest.raises(LimitExceeded):
        number(minimum=Decimal("1e999999999"))


@given(
    st.one_of(
        st.integers(1, 400).map(Decimal),
        st.builds(lambda n, p: Decimal(n).scaleb(p), st.integers(1, 60), st.integers(-4, 4)),
    ),
    st.data(),
)
@settings(max_examples=120, deadline=None)
def test_multiple_of(value: Decimal, data: st.DataObject) -> None:
    dfa = multiple_of(value)
    dfa.verify()
    shape = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?")
    near = data.draw(st.integers(-300, 300)) * value
    for text in data.draw(st.lists(literals_near(near), max_size=20)) + SHORT[::53]:
        wanted = bool(shape.fullmatch(text)) and Decimal(text) % value == 0
        assert (dfa.accepts(text.encode()) == 0) == wanted, text


def test_multiple_of_combines_with_bounds() -> None:
    dfa = intersect(multiple_of(Decimal("0.25")), number(minimum=0, maximum=1), alphabet=BYTES)
    for text in ("0", "0.25", "0.5", "0.50", "1.000"):
        assert dfa.accepts(text.encode()) == 0
    for text in ("0.3", "1.25", "-0.25", "0.250001"):
        assert dfa.accepts(text.encode()) == -1
    with pytest.raises(LimitExceeded):
        multiple_of(10**9 + 7)
    assert multiple_of(10**6).n_states < 20


@given(st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.integers(-(10**25), 10**25)))
@settings(max_examples=80, deadline=None)
def test_equal_accepts_what_python_prints(value: float | int) -> None:
    dfa = equal(value)
    dfa.verify()
    assert dfa.accepts(json.dumps(value).encode()) == 0
    plain = f"{Decimal(repr(value)):f}"
    assert dfa.accepts(plain.encode()) == 0
    assert dfa.accepts((plain + ("0" if "." in plain else ".0")).encode()) == 0
    assert dfa.accepts((plain + ("1" if "." in plain else ".1")).encode()) == -1


def test_equal_to_zero() -> None:
    for text in ("0", "-0", "0.0", "-0.00"):
        assert equal(0).accepts(text.encode()) == 0
    assert equal(0).accepts(b"0e1") == -1
