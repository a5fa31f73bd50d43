"""The states of a JSON number literal that is compared, digit by digit, with bounds.

A state is a row of int32: phase, whether a minus came, whether all digits so far are 0, and for
each bound how the digits compare with its own (-1 less, 0 equal so far, 1 greater) and how many of
them matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numba as nb
import numpy as np
import numpy.typing as npt

from structgen import budget
from structgen.errors import LimitExceeded
from structgen.jit import kernel
from structgen.regular.product import hash_table, number_row

Int32 = npt.NDArray[np.int32]

START, SIGN, ZERO, INTEGER, POINT, FRACTION, E, E_SIGN, EXPONENT = range(9)
# Symbols beside the digits 0 to 9.
MINUS, DOT, PLUS, LETTER_E = range(10, 14)
N_SYMBOLS = 14
# Columns of a state, and of a bound: where its digits begin, how many there are before and behind
# the point, its sign, and whether a value less than, equal to, greater than it is in bounds.
PHASE, NEGATIVE, ALL_ZERO, COMPARED = range(4)
AT, WHOLE, BEHIND, OF_SIGN, LESS, EQUAL, GREATER = range(7)
N_COLUMNS = 7


class Bound(NamedTuple):
    """The magnitude of a bound as decimal digits, its sign, and which orders it allows.

    ``integer`` has no leading zeros ("0" below 1), ``fraction`` no trailing ones.
    ``allowed[order + 1]`` tells whether a value less than, equal to, greater than it is in bounds.
    """

    sign: int
    integer: str
    fraction: str
    allowed: tuple[bool, bool, bool]


@nb.njit
def _end_integer(bound, order, digits):
    """A shorter integer part (leading zeros are not allowed) is less, a longer one greater."""
    if digits == bound[WHOLE]:
        return order
    return 1 if digits > bound[WHOLE] else -1


@nb.njit
def _sign_of(state):
    if state[ALL_ZERO]:
        return 0
    return -1 if state[NEGATIVE] else 1


@nb.njit
def _within(state, bounds):
    """Does the literal, if it ends here, satisfy every bound?"""
    sign = _sign_of(state)
    for j in range(len(bounds)):
        bound = bounds[j]
        if sign != bound[OF_SIGN]:
            order = 1 if sign > bound[OF_SIGN] else -1
        elif sign == 0:
            order = 0
        else:
            order, digits = state[COMPARED + 2 * j], state[COMPARED + 2 * j + 1]
            if state[PHASE] in (ZERO, INTEGER):
                order, digits = _end_integer(bound, order, digits), 0
            if order == 0 and digits < bound[BEHIND]:
                order = -1
            order *= sign
        if not bound[EQUAL + order]:
            return False
    return True


@nb.njit
def _sign_decides(state, bounds):
    """Whether every number with this sign satisfies every bound."""
    sign = _sign_of(state)
    for j in range(len(bounds)):
        other = bounds[j, OF_SIGN]
        if sign == other and sign != 0:
            return False
        order = 0 if sign == other else 1 if sign > other else -1
        if not bounds[j, EQUAL + order]:
            return False
    return True


@nb.njit
def _step(state, symbol, bounds, digits, out):
    """Write the state after a symbol to ``out``; False where there is none."""
    out[:] = state
    phase = state[PHASE]
    if symbol == MINUS:
        if phase == START:
            out[PHASE], out[NEGATIVE] = SIGN, 1
            return True
        out[PHASE] = E_SIGN
        return phase == E
    if symbol == PLUS:
        out[PHASE] = E_SIGN
        return phase == E
    if symbol == DOT:
        out[PHASE] = POINT
        for j in range(len(bounds)):
            at = COMPARED + 2 * j
            out[at], out[at + 1] = _end_integer(bounds[j], state[at], state[at + 1]), 0
        return phase in (ZERO, INTEGER)
    if symbol == LETTER_E:
        out[:] = 0
        out[PHASE], out[ALL_ZERO] = E, 1
        return phase in (ZERO, INTEGER, FRACTION) and _sign_decides(state, bounds)
    if phase >= E:
        out[PHASE] = EXPONENT
        return True
    if phase == ZERO:
        return False
    if symbol != 0:
        out[ALL_ZERO] = 0
    whole = phase <= INTEGER
    out[PHASE] = FRACTION
    if whole:
        out[PHASE] = ZERO if phase != INTEGER and symbol == 0 else INTEGER
    for j in range(len(bounds)):
        bound = bounds[j]
        at = COMPARED + 2 * j
        order, n = state[at], state[at + 1]
        if whole:
            if n >= bound[WHOLE]:
                out[at], out[at + 1] = 1, bound[WHOLE] + 1
                continue
            expected = digits[bound[AT] + n]
        else:
            if order != 0:
                continue
            expected = digits[bound[AT] + bound[WHOLE] + n] if n < bound[BEHIND] else 0
        if order == 0:
            order = 1 if symbol > expected else -1 if symbol < expected else 0
        if whole:
            n += 1
        else:
            n = 0 if order != 0 else min(n + 1, bound[BEHIND])
        out[at], out[at + 1] = order, n
    return True


@kernel(nogil=True)
def _explore(bounds, digits, integer, integral_fraction, exponent, states, hashes, slots, table):
    """Fill ``states`` and ``table`` from the start state; -1 where there is no room for more."""
    states[0] = 0
    states[0, ALL_ZERO] = 1
    n = number_row(states, hashes, slots, 0) + 1
    s = 0
    while s < n:
        for symbol in range(N_SYMBOLS):
            if n >= len(states):
                return -1
            possible = _step(states[s], symbol, bounds, digits, states[n])
            phase = states[n, PHASE]
            if integer:
                if phase == E or (phase == POINT and not integral_fraction):
                    possible = False
                if phase == FRACTION and symbol != 0:
                    possible = False
            elif phase == E and not exponent:
                possible = False
            if not possible:
                table[s, symbol] = -1
                continue
            found = number_row(states, hashes, slots, n)
            table[s, symbol] = found
            if found == n:
                n += 1
        phase = states[s, PHASE]
        ends = phase in (ZERO, INTEGER, FRACTION)
        accepts = phase == EXPONENT or (ends and _within(states[s], bounds))
        table[s, N_SYMBOLS] = 0 if accepts else -1
        s += 1
    return n


def explore(
    bounds: Sequence[Bound],
    *,
    integer: bool,
    integral_fraction: bool,
    exponent: bool,
    max_states: int,
) -> tuple[Int32, Int32]:
    """The table int32 [n, 14] over the digits, ``-``, ``.``, ``+``, ``e``, and the final classes.

    Raises:
        LimitExceeded: there are more than ``max_states`` states.
    """
    rows = np.zeros((len(bounds), N_COLUMNS), np.int32)
    text = ""
    for row, bound in zip(rows, bounds, strict=True):
        row[:] = (
            len(text), len(bound.integer), len(bound.fraction), bound.sign, *bound.allowed,
        )  # fmt: skip
        text += bound.integer + bound.fraction
    digits = np.frombuffer(text.encode() + b"0", np.uint8) - ord("0")
    room = 64 + 8 * len(text)
    while True:
        budget.check("a number's bounds")
        states = np.empty((room, COMPARED + 2 * len(bounds)), np.int32)
        table = np.empty((room, N_SYMBOLS + 1), np.int32)
        hashes = np.zeros(room, np.uint64)
        slots = hash_table(hashes[:0], room)
        n = _explore(
            rows, digits, integer, integral_fraction, exponent, states, hashes, slots, table
        )
        if n >= 0 and n <= max_states:
            return np.ascontiguousarray(table[:n, :N_SYMBOLS]), table[:n, N_SYMBOLS].copy()
        if n > max_states or room > 2 * max_states:
            where = "a number's bounds"
            raise LimitExceeded(limit="pattern_states", value=max_states, where=where)
        room *= 4
