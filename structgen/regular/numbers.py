"""Automata over the bytes of JSON number literals (RFC 8259, section 6) within exact bounds.

A literal is read digit by digit and compared with each bound as it goes: the digits of the integer
part decide only once it is known how many there are, those of the fraction decide at the first
difference. So the automaton is linear in the digits of the bounds, however large they are.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from decimal import Decimal
from functools import lru_cache
from typing import TypeVar

import numpy as np

from structgen import budget
from structgen.errors import LimitExceeded
from structgen.regular.charset import BYTES, partition
from structgen.regular.dfa import DFA, from_edges, from_table, literals, union
from structgen.regular.number_states import Bound, explore

_SYMBOLS = "0123456789-.+e"
_PARTITION = partition(
    [((69, 69), (101, 101)) if s == "e" else ((ord(s), ord(s)),) for s in _SYMBOLS], BYTES
)
_COLUMN = {s: _PARTITION.members[i][0] for i, s in enumerate(_SYMBOLS)}

MAX_DIGITS = 20_000  # of a number that is written out

_State = TypeVar("_State", bound=Hashable)


def number(
    *,
    minimum: Decimal | int | None = None,
    maximum: Decimal | int | None = None,
    exclusive_minimum: bool = False,
    exclusive_maximum: bool = False,
    integer: bool = False,
    integral_fraction: bool = True,
    exponent: bool = True,
    max_states: int = 50_000,
) -> DFA:
    """All spellings of the numbers between the bounds, with final class 0.

    Exponents are accepted where the sign of the value alone decides every bound (``minimum: 0``
    takes any exponent after a mantissa without a minus), and not elsewhere. Integers are spelled
    without an exponent, with a fraction of zeros if ``integral_fraction`` (from draft 6 on, 1.0 is
    an integer).

    Raises:
        LimitExceeded: the automaton has more than ``max_states`` states (a few per digit).
    """
    return _number(
        None if minimum is None else _exact(minimum),
        None if maximum is None else _exact(maximum),
        exclusive_minimum,
        exclusive_maximum,
        integer,
        integral_fraction,
        exponent,
        max_states,
    )


@lru_cache(maxsize=1024)
def _number(
    minimum: Decimal | None,
    maximum: Decimal | None,
    exclusive_minimum: bool,
    exclusive_maximum: bool,
    integer: bool,
    integral_fraction: bool,
    exponent: bool,
    max_states: int,
) -> DFA:
    bounds: list[Bound] = []
    if minimum is not None:
        bounds.append(_bound(minimum, (False, not exclusive_minimum, True), max_states))
    if maximum is not None:
        bounds.append(_bound(maximum, (True, not exclusive_maximum, False), max_states))
    table, final = explore(
        bounds,
        integer=integer,
        integral_fraction=integral_fraction,
        exponent=exponent,
        max_states=max_states,
    )
    # The columns are symbols; those of the partition are classes, one of them of other bytes.
    by_class = np.full((len(final), _PARTITION.n_classes), -1, np.int32)
    by_class[:, list(_COLUMN.values())] = table
    return from_table(by_class, final, _PARTITION)


def multiple_of(value: Decimal | int, *, max_states: int = 50_000) -> DFA:
    """Literals without exponent whose value is an integer times ``value`` (> 0); final class 0.

    Raises:
        LimitExceeded: the automaton has more than ``max_states`` states. It needs about as many as
            the divisor's digits read as an integer (trailing zeros removed), times its length.
    """
    value = _exact(value)
    if value <= 0:
        raise ValueError("multipleOf must be greater than 0")
    return _multiple_of(value, max_states)


@lru_cache(maxsize=256)
def _multiple_of(value: Decimal, max_states: int) -> DFA:
    # value = divisor * 10**shift with a divisor that does not end in 0. A literal whose digits,
    # point removed, read n with f fraction digits is a multiple iff divisor | n * 10**(-f - shift).
    divisor, shift = coefficient(value)
    while divisor % 10 == 0:
        divisor, shift = divisor // 10, shift + 1
    if max(divisor, abs(shift)) > max_states:
        raise LimitExceeded(
            limit="pattern_states", value=max_states, where=f"multipleOf {value!s:.40}"
        )
    places, zeros = max(-shift, 0), max(shift, 0)

    # A state is (phase, remainder, count). The remainder leaves out the last `count` zeros of the
    # integer part (at most `zeros`); in the fraction `count` is the number of places read.
    def step(state: tuple[str, int, int], symbol: str) -> tuple[str, int, int] | None:
        phase, remainder, count = state
        if symbol == "-":
            return ("-", 0, zeros) if phase == "" else None
        if symbol == ".":
            if phase not in ("0", "integer") or count < zeros:
                return None
            return (".", remainder, 0)
        if symbol not in "0123456789":
            return None
        digit = int(symbol)
        if phase in ("", "-", "integer"):
            if phase != "integer" and digit == 0:
                return ("0", 0, zeros)
            if digit == 0 and count < zeros:
                return ("integer", remainder, count + 1)
            if phase != "integer":
                count = 0
            if digit == 0:
                return ("integer", remainder * 10 % divisor, count)
            return ("integer", (remainder * pow(10, count + 1, divisor) + digit) % divisor, 0)
        if phase in (".", "fraction"):
            if count == places:
                return ("fraction", remainder, count) if digit == 0 else None
            return ("fraction", (remainder * 10 + digit) % divisor, count + 1)
        return None

    def accept(state: tuple[str, int, int]) -> bool:
        phase, remainder, count = state
        if phase == "fraction":
            return remainder * pow(10, places - count, divisor) % divisor == 0
        if phase == "integer" and count < zeros:
            return False
        return phase in ("0", "integer") and remainder * pow(10, places, divisor) % divisor == 0

    return _explore(("", 0, zeros), step, accept, max_states, f"multipleOf {value}")


def coefficient(value: Decimal) -> tuple[int, int]:
    """``(a, x)`` such that the magnitude is ``a * 10**x``."""
    _, digits, power = value.as_tuple()
    assert isinstance(power, int)
    return int(Decimal((0, digits, 0))), power  # not through text, which Python limits


def is_multiple(value: Decimal, divisor: Decimal) -> bool:
    """Is ``value`` an integer times ``divisor``? Exact, and quick for any exponents."""
    a, x = coefficient(value)
    b, y = coefficient(divisor)
    if x >= y:
        return a * pow(10, x - y, b) % b == 0
    # A multiple of 10**y is no smaller, so that the power below has few digits.
    return not a or (y <= value.adjusted() and a % (b * 10 ** (y - x)) == 0)


def equal(value: Decimal | int | float | str, *, max_states: int = 50_000) -> DFA:
    """Spellings equal to ``value`` (a float stands for its shortest decimal); final class 0.

    Without exponent: ``1``, ``1.0``, ``1.00``. Where the shortest spelling has an exponent, as
    Python's ``json.dumps`` prints it (``1e+22``, ``1e-07``), that one too.
    """
    exact = _exact(Decimal(repr(value)) if isinstance(value, float) else Decimal(value))
    plain = number(minimum=exact, maximum=exact, exponent=False, max_states=max_states)
    spelling = _with_exponent(exact)
    return plain if spelling is None else union(plain, literals([spelling]), alphabet=BYTES)


def _with_exponent(value: Decimal) -> str | None:
    """The spelling of a number that Python's ``json.dumps`` writes with an exponent."""
    if not value or -5 < value.adjusted() < 16:
        return None
    mantissa, power = f"{value:e}".split("e")
    if "." in mantissa:
        mantissa = mantissa.rstrip("0").rstrip(".")
    return f"{mantissa}e{power[0]}{power[1:].zfill(2)}"


def _exact(value: Decimal | int) -> Decimal:
    exact = Decimal(value)
    if not exact.is_finite():
        raise ValueError(f"{value} is not a JSON number")
    return exact


def _bound(value: Decimal, allowed: tuple[bool, bool, bool], max_digits: int) -> Bound:
    negative, digits, power = value.as_tuple()
    assert isinstance(power, int)
    text = "".join(map(str, digits)).lstrip("0")
    if not text:
        return Bound(0, "0", "", allowed)
    if len(text) + abs(power) > max_digits:
        raise LimitExceeded(
            limit="pattern_states", value=max_digits, where=f"the bound {value:.3e}"
        )
    if power >= 0:
        whole, fraction = text + "0" * power, ""
    else:
        text = text.rjust(-power, "0")
        whole, fraction = text[:power].lstrip("0"), text[power:].rstrip("0")
    return Bound(-1 if negative else 1, whole or "0", fraction, allowed)


def _explore(
    start: _State,
    step: Callable[[_State, str], _State | None],
    accept: Callable[[_State], bool],
    max_states: int,
    where: str,
) -> DFA:
    """The automaton of everything that ``step`` reaches from ``start``."""
    number_of: dict[_State, int] = {start: 0}
    queue = [start]
    table: list[list[int]] = []

    def successors(state: _State) -> Iterator[tuple[int, int]]:
        for symbol, column in _COLUMN.items():
            following = step(state, symbol)
            if following is None:
                continue
            known = number_of.get(following)
            if known is None:
                known = number_of[following] = len(queue)
                if known >= max_states:
                    raise LimitExceeded(limit="pattern_states", value=max_states, where=where)
                queue.append(following)
            yield column, known

    for state in queue:
        budget.check(where)
        row = [-1] * _PARTITION.n_classes
        for column, known in successors(state):
            row[column] = known
        table.append(row)
    return from_table(table, [0 if accept(state) else -1 for state in queue], _PARTITION)


def one_of(values: Iterable[Decimal | int | float]) -> DFA:
    """The spellings of any of several numbers; see :func:`equal`.

    Built as a tree of their digits, so that thousands of values cost no products. After the last
    digit of a value any zeros may follow (behind a decimal point).
    """
    edges: list[dict[int, int]] = [{}]
    final = [-1]

    def node(state: int, symbol: str) -> int:
        found = edges[state].get(ord(symbol))
        if found is None:
            found = edges[state][ord(symbol)] = len(edges)
            edges.append({})
            final.append(-1)
        return found

    fractions: list[int] = []  # states after which zeros change nothing: complete, behind a point
    for value in dict.fromkeys(values):
        number = _exact(Decimal(repr(value)) if isinstance(value, float) else value)
        if abs(number.adjusted()) + len(number.as_tuple().digits) > MAX_DIGITS:
            raise LimitExceeded(limit="digits", value=MAX_DIGITS, where="a number of an enum")
        digits = f"{number.copy_abs():f}"  # abs() would round to the context's precision
        whole, _, fraction = digits.partition(".")
        fraction = fraction.rstrip("0")
        signs = ("", "-") if number == 0 else ("-",) if number < 0 else ("",)
        spellings = [(sign, whole, fraction) for sign in signs]
        for sign, before, after in spellings:
            state = 0
            for symbol in sign + before:
                state = node(state, symbol)
            if not after:
                final[state] = 0
            state = node(state, ".")
            for symbol in after:
                state = node(state, symbol)
            if after:
                final[state] = 0
                fractions.append(state)
            else:
                zero = node(state, "0")
                final[zero] = 0
                fractions.append(zero)
        written = _with_exponent(number)
        if written is not None:
            state = 0
            for symbol in written:
                state = node(state, symbol)
            final[state] = 0
    # Zeros: through the tree where it has them, then in one state that reads no more but zeros.
    zeros = len(edges)
    edges.append({ord("0"): zeros})
    final.append(0)
    for state in fractions:
        while True:
            following = edges[state].get(ord("0"))
            if following is None:
                edges[state][ord("0")] = zeros
                break
            if following == zeros:
                break
            final[following] = 0
            state = following
    table = [sorted((symbol, symbol, target) for symbol, target in e.items()) for e in edges]
    return from_edges(table, final, BYTES)
