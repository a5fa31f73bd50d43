"""Automata over the bytes of JSON number literals (RFC 8259, section 6) within exact bounds.

A literal is read digit by digit and compared with each bound as it goes: the digits of the integer
part decide only once it is known how many there are, those of the fraction decide at the first
difference. So the automaton is linear in the digits of the bounds, however large they are.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple, TypeVar

from structgen.errors import LimitExceeded
from structgen.regular.charset import BYTES, partition
from structgen.regular.dfa import DFA, from_edges, from_table, literals, union

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
    bounds: list[_Bound] = []
    if minimum is not None:
        allowed = (False, not exclusive_minimum, True)
        bounds.append(_Bound.of(minimum, allowed, max_states))
    if maximum is not None:
        allowed = (True, not exclusive_maximum, False)
        bounds.append(_Bound.of(maximum, allowed, max_states))

    def step(state: _Literal, symbol: str) -> _Literal | None:
        following = state.after(symbol, bounds)
        if following is None:
            return None
        if integer:
            if following.phase == "e" or (following.phase == "." and not integral_fraction):
                return None
            if following.phase == "fraction" and symbol != "0":
                return None
        elif following.phase == "e" and not exponent:
            return None
        return following

    def accept(state: _Literal) -> bool:
        return state.phase in ("0", "integer", "fraction", "exponent") and (
            state.phase == "exponent" or state.within(bounds)
        )

    start = _Literal("", False, True, tuple(_EQUAL for _ in bounds))
    return _explore(start, step, accept, max_states, "a number's bounds")


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
    _, digits, shift = value.as_tuple()
    assert isinstance(shift, int)
    divisor = int("".join(map(str, digits)))
    while divisor % 10 == 0:
        divisor, shift = divisor // 10, shift + 1
    if max(divisor, abs(shift)) > max_states:
        raise LimitExceeded(limit="pattern_states", value=max_states, where=f"multipleOf {value}")
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
    mantissa, power = f"{value.normalize():e}".split("e")
    return f"{mantissa}e{power[0]}{power[1:].zfill(2)}"


def _exact(value: Decimal | int) -> Decimal:
    exact = Decimal(value)
    if not exact.is_finite():
        raise ValueError(f"{value} is not a JSON number")
    return exact


class _Comparison(NamedTuple):
    """How the digits read so far compare with a bound's; ``digits`` counts those that matter."""

    order: int  # -1, 0, 1: less, equal so far, greater
    digits: int


_EQUAL = _Comparison(0, 0)


@dataclass(frozen=True, slots=True)
class _Bound:
    """The magnitude of a bound as decimal digits, its sign, and which orders it allows.

    ``integer`` has no leading zeros ("0" below 1), ``fraction`` no trailing ones.
    ``allowed[order + 1]`` tells whether a value less than, equal to, greater than it is in bounds.
    """

    sign: int
    integer: str
    fraction: str
    allowed: tuple[bool, bool, bool]

    @staticmethod
    def of(value: Decimal, allowed: tuple[bool, bool, bool], max_digits: int) -> _Bound:
        negative, digits, power = value.as_tuple()
        assert isinstance(power, int)
        text = "".join(map(str, digits)).lstrip("0")
        if not text:
            return _Bound(0, "0", "", allowed)
        if len(text) + abs(power) > max_digits:
            raise LimitExceeded(
                limit="pattern_states", value=max_digits, where=f"the bound {value:.3e}"
            )
        if power >= 0:
            whole, fraction = text + "0" * power, ""
        else:
            text = text.rjust(-power, "0")
            whole, fraction = text[:power].lstrip("0"), text[power:].rstrip("0")
        return _Bound(-1 if negative else 1, whole or "0", fraction, allowed)

    def read_integer(self, c: _Comparison, digit: str) -> _Comparison:
        width = len(self.integer)
        if c.digits >= width:
            return _Comparison(1, width + 1)
        order = c.order
        if order == 0:
            expected = self.integer[c.digits]
            order = (digit > expected) - (digit < expected)
        return _Comparison(order, c.digits + 1)

    def end_integer(self, c: _Comparison) -> _Comparison:
        """A shorter integer part (leading zeros are not allowed) is less, a longer one greater."""
        width = len(self.integer)
        return _Comparison(c.order if c.digits == width else 1 if c.digits > width else -1, 0)

    def read_fraction(self, c: _Comparison, digit: str) -> _Comparison:
        if c.order:
            return c
        expected = self.fraction[c.digits] if c.digits < len(self.fraction) else "0"
        order = (digit > expected) - (digit < expected)
        return _Comparison(order, 0 if order else min(c.digits + 1, len(self.fraction)))

    def order_of_magnitude(self, c: _Comparison) -> int:
        """The comparison of the whole literal, once the integer part has ended."""
        return c.order or -(c.digits < len(self.fraction))


class _Literal(NamedTuple):
    """A prefix of a literal: what the grammar and the bounds need to know of it."""

    phase: str  # "", "-", "0", "integer", ".", "fraction", "e", "e+", "exponent"
    negative: bool
    zero: bool
    comparisons: tuple[_Comparison, ...]

    def after(self, symbol: str, bounds: list[_Bound]) -> _Literal | None:
        phase = self.phase
        if symbol == "-":
            if phase == "":
                return self._replace(phase="-", negative=True)
            return self._replace(phase="e+") if phase == "e" else None
        if symbol == "+":
            return self._replace(phase="e+") if phase == "e" else None
        if symbol == ".":
            if phase not in ("0", "integer"):
                return None
            ended = (b.end_integer(c) for b, c in zip(bounds, self.comparisons, strict=True))
            return self._replace(phase=".", comparisons=tuple(ended))
        if symbol == "e":
            if phase not in ("0", "integer", "fraction") or not self._sign_decides(bounds):
                return None
            return _Literal("e", False, True, ())
        zero = self.zero and symbol == "0"
        if phase in ("", "-", "integer"):
            pairs = zip(bounds, self.comparisons, strict=True)
            read = tuple(b.read_integer(c, symbol) for b, c in pairs)
            following = "0" if phase != "integer" and symbol == "0" else "integer"
            return _Literal(following, self.negative, zero, read)
        if phase in (".", "fraction"):
            pairs = zip(bounds, self.comparisons, strict=True)
            read = tuple(b.read_fraction(c, symbol) for b, c in pairs)
            return _Literal("fraction", self.negative, zero, read)
        if phase in ("e", "e+", "exponent"):
            return self._replace(phase="exponent")
        return None

    def _sign(self) -> int:
        return 0 if self.zero else -1 if self.negative else 1

    def _sign_decides(self, bounds: list[_Bound]) -> bool:
        """Whether every number with this sign satisfies every bound."""
        sign = self._sign()
        return all(
            (sign != b.sign or sign == 0) and b.allowed[(sign > b.sign) - (sign < b.sign) + 1]
            for b in bounds
        )

    def within(self, bounds: list[_Bound]) -> bool:
        sign = self._sign()
        for bound, comparison in zip(bounds, self.comparisons, strict=True):
            if sign != bound.sign:
                order = 1 if sign > bound.sign else -1
            elif sign == 0:
                order = 0
            else:
                ended = comparison
                if self.phase in ("0", "integer"):
                    ended = bound.end_integer(comparison)
                order = sign * bound.order_of_magnitude(ended)
            if not bound.allowed[order + 1]:
                return False
        return True


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
        if abs(number.adjusted()) > MAX_DIGITS:
            raise LimitExceeded(limit="digits", value=MAX_DIGITS, where="a number of an enum")
        digits = f"{abs(number):f}"
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
