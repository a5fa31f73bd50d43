"""Formulas over lengths or ranges alone, as sets of intervals: joined without any automaton."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from structgen.regular.charset import Ranges, intersect, negate, normalize, union
from structgen.schema.algebra import FALSE, TRUE, Algebra
from structgen.schema.atoms import NumberRange, StringLength

ENDLESS = 1 << 62  # the upper end of an interval of lengths without one
_ALL_LENGTHS: Ranges = ((0, ENDLESS),)

# Integer bounds with more digits are left as they are.
_MAX_DIGITS = 400


def length_set(algebra: Algebra, i: int, known: dict[int, Ranges | None]) -> Ranges | None:
    """The lengths that satisfy type formula ``i``, None where it says anything else.

    Intervals are sorted and do not touch. ``known`` remembers the answers.
    """
    known[FALSE], known[TRUE] = (), _ALL_LENGTHS
    stack = [i]
    while stack:
        j = stack[-1]
        if j in known:
            stack.pop()
            continue
        term = algebra.terms[j]
        waiting = [p for p in term.parts if p not in known]
        if waiting:
            stack.extend(waiting)
            continue
        stack.pop()
        sets = [known[p] for p in term.parts]
        if term.kind == "atom":
            known[j] = None
            if isinstance(term.atom, StringLength):
                top = term.atom.maximum
                known[j] = normalize([(term.atom.minimum, ENDLESS if top is None else top)])
        elif None in sets:
            known[j] = None
        else:
            known[j] = _combined(term.kind, [s for s in sets if s is not None])
    return known[i]


def _combined(kind: str, sets: Sequence[Ranges]) -> Ranges:
    if kind == "or":
        return union(*sets)
    if kind == "not":
        return negate(sets[0], _ALL_LENGTHS)
    if kind == "one":
        return _exactly_one(sets)
    result = _ALL_LENGTHS
    for s in sets:
        result = intersect(result, s)
    return result


def _exactly_one(sets: Sequence[Ranges]) -> Ranges:
    """What lies in one of the sets and in no other."""
    change: dict[int, int] = {}
    for ranges in sets:
        for lo, hi in ranges:
            change[lo] = change.get(lo, 0) + 1
            change[hi + 1] = change.get(hi + 1, 0) - 1
    out: list[tuple[int, int]] = []
    covering, begin = 0, 0
    for point in sorted(change):
        if covering == 1:
            out.append((begin, point - 1))
        covering += change[point]
        begin = point
    return normalize(out)


def join_ranges(ranges: Iterable[NumberRange]) -> list[NumberRange]:
    """Fewer ranges with the same union: overlapping ones are one, and neighbouring integers."""
    by_kind: dict[str, list[NumberRange]] = {}
    for r in ranges:
        by_kind.setdefault(r.integral, []).append(_whole(r) if r.integral else r)
    return [joined for several in by_kind.values() for joined in _join(several)]


def _whole(r: NumberRange) -> NumberRange:
    """A range of integers with closed integer bounds."""
    low, high = r.minimum, r.maximum
    if any(b is not None and len(b.as_tuple().digits) + abs(b.adjusted()) > _MAX_DIGITS
           for b in (low, high)):  # fmt: skip
        return r
    if low is not None:
        up = int(low.to_integral_value(ROUND_CEILING))
        low = Decimal(up + (r.exclusive_minimum and up == low))
    if high is not None:
        down = int(high.to_integral_value(ROUND_FLOOR))
        high = Decimal(down - (r.exclusive_maximum and down == high))
    return NumberRange(low, high, False, False, r.integral)


def _join(ranges: Sequence[NumberRange]) -> list[NumberRange]:
    out: list[NumberRange] = []
    lowest = [r for r in ranges if r.minimum is None]
    others = [r for r in ranges if r.minimum is not None]
    others.sort(key=lambda r: (r.minimum, r.exclusive_minimum))
    for r in (*lowest, *others):
        if not out or not _touch(out[-1], r):
            out.append(r)
            continue
        last = out[-1]
        high, is_open = last.maximum, last.exclusive_maximum
        if high is not None and (r.maximum is None or r.maximum >= high):
            is_open = r.exclusive_maximum and (is_open or r.maximum != high)
            high = r.maximum
        out[-1] = NumberRange(last.minimum, high, last.exclusive_minimum, is_open, r.integral)
    return out


def _touch(a: NumberRange, b: NumberRange) -> bool:
    """Is the union of two ranges one range? ``a`` begins no later than ``b``."""
    if a.maximum is None or b.minimum is None:
        return True
    if b.minimum < a.maximum:
        return True
    if b.minimum == a.maximum:
        return not (a.exclusive_maximum and b.exclusive_minimum)
    if not a.integral or a.exclusive_maximum or b.exclusive_minimum:
        return False
    top, bottom = a.maximum, b.minimum
    if max(abs(top.adjusted()), abs(bottom.adjusted())) > _MAX_DIGITS:
        return False
    return top == int(top) and bottom == int(bottom) and int(bottom) == int(top) + 1
