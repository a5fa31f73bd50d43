"""JSON values in an arena, equal ones once: comparing two is comparing their places.

The arena is a vector of int32 that grows at its end, ``registers[TOP]``, and is cut back to undo.
A value is a record ``KIND, LENGTH, HASH, NEXT, BEFORE, content``, ``LENGTH`` numbers of content:

- a string: its UTF-16 code units, whatever its escapes;
- a number: sign, how many significant digits, these, the sign and digits of the power of ten
  behind them; zero is ``0, 0``;
- ``true``, ``false``, ``null``: the first letter;
- an array: its items; an object: names and values in turn, sorted.

``NEXT`` is the next older value with the same hash in ``heads``, ``BEFORE`` the next older one of
all; both are 0 at the end, as no record begins at 0.
"""

from __future__ import annotations

import numba as nb
import numpy as np

# Registers of an arena: where it ends, and the youngest value.
TOP, LAST = range(2)

KIND, LENGTH, HASH, NEXT, BEFORE, CONTENT = range(6)

STRING, NUMBER, LITERAL, ARRAY, OBJECT = range(1, 6)

QUOTE, COMMA, MINUS, DOT, COLON, BACKSLASH = 34, 44, 45, 46, 58, 92
BRACKET, BRACKET_END, BRACE, BRACE_END = 91, 93, 123, 125

# What a number may take, besides the digits of its text, as a value.
NUMBER_ROOM = 32


@nb.njit
def is_space(byte):
    """Is a byte whitespace of JSON?"""
    return byte in (9, 10, 13, 32)


@nb.njit
def intern(arena, heads, registers, kind, n):
    """The value whose content, ``n`` numbers, was written behind the arena's end."""
    at = registers[TOP]
    h = np.int64(kind)
    for i in range(at + CONTENT, at + CONTENT + n):
        h = ((h ^ arena[i]) * 16777619) & 0x7FFFFFFF
    h ^= h >> 15
    bucket = h & (heads.shape[0] - 1)
    value = np.int64(heads[bucket])
    while value > 0:
        if arena[value + HASH] == h and arena[value + KIND] == kind and arena[value + LENGTH] == n:
            i = CONTENT
            while i < CONTENT + n and arena[value + i] == arena[at + i]:
                i += 1
            if i == CONTENT + n:
                return value
        value = np.int64(arena[value + NEXT])
    arena[at + KIND], arena[at + LENGTH], arena[at + HASH] = kind, n, h
    arena[at + NEXT], arena[at + BEFORE] = heads[bucket], registers[LAST]
    heads[bucket] = at
    registers[LAST] = at
    registers[TOP] = at + CONTENT + n
    return at


@nb.njit
def cut_back(arena, heads, registers, saved):
    """Back to registers that were saved before."""
    last = registers[LAST]
    while last >= saved[TOP]:
        heads[arena[last + HASH] & (heads.shape[0] - 1)] = arena[last + NEXT]
        last = np.int64(arena[last + BEFORE])
    registers[:] = saved


@nb.njit
def sort_records(arena, at, n, width):
    """Sort ``n`` records of one or two numbers, in place (Shell's sort)."""
    gap = n // 2
    while gap > 0:
        for i in range(gap, n):
            j = i
            while j >= gap:
                a, b = at + (j - gap) * width, at + j * width
                if arena[a] < arena[b]:
                    break
                if arena[a] == arena[b] and (width == 1 or arena[a + 1] <= arena[b + 1]):
                    break
                for k in range(width):
                    arena[a + k], arena[b + k] = arena[b + k], arena[a + k]
                j -= gap
        gap //= 2


# -- strings --------------------------------------------------------------------------------------


@nb.njit
def escaped(letter):
    """The character that a backslash and a letter (not u) stand for."""
    if letter == 98:  # b
        return np.int64(8)
    if letter == 102:  # f
        return np.int64(12)
    if letter == 110:  # n
        return np.int64(10)
    if letter == 114:  # r
        return np.int64(13)
    if letter == 116:  # t
        return np.int64(9)
    return np.int64(letter)


@nb.njit
def hexadecimal(digit):
    """The value of a hexadecimal digit."""
    return np.int64(digit) - 48 if digit < 58 else (np.int64(digit) | 32) - 87


@nb.njit
def character(text, at, end):
    """What a string's text has at ``at``: ``(bytes, code unit, second code unit or -1)``.

    0 bytes: the character is not over.
    """
    none = np.int64(0), np.int64(0), np.int64(-1)
    first = np.int64(text[at])
    if first == BACKSLASH:
        if end - at < 2:
            return none
        if text[at + 1] != 117:  # u
            return np.int64(2), escaped(text[at + 1]), np.int64(-1)
        if end - at < 6:
            return none
        unit = np.int64(0)
        for i in range(at + 2, at + 6):
            unit = unit << 4 | hexadecimal(text[i])
        return np.int64(6), unit, np.int64(-1)
    if first < 0x80:
        return np.int64(1), first, np.int64(-1)
    n = np.int64(2) if first < 0xE0 else np.int64(3) if first < 0xF0 else np.int64(4)
    if end - at < n:
        return none
    point = first & (0x7F >> n)
    for i in range(at + 1, at + n):
        point = point << 6 | np.int64(text[i]) & 0x3F
    if point < 0x10000:
        return n, point, np.int64(-1)
    point -= 0x10000
    return n, 0xD800 | point >> 10, 0xDC00 | point & 0x3FF


@nb.njit
def write_string(arena, at, text, begin, end):
    """Write the code units of a string's inside; returns how many, and where a rest begins."""
    n = 0
    while begin < end:
        size, unit, second = character(text, begin, end)
        if size == 0:
            break
        arena[at + n] = unit
        n += 1
        if second >= 0:
            arena[at + n] = second
            n += 1
        begin += size
    return n, begin


@nb.njit
def utf8(unit, second, i):
    """Byte ``i`` of a character in UTF-8, or -1; ``second`` is the code unit behind ``unit``."""
    point = np.int64(unit)
    if 0xD800 <= point < 0xDC00 and 0xDC00 <= second < 0xE000:
        point = 0x10000 + ((point & 0x3FF) << 10 | np.int64(second) & 0x3FF)
    if point < 0x80:
        return point if i == 0 else np.int64(-1)
    n = 2 if point < 0x800 else 3 if point < 0x10000 else 4
    if i >= n:
        return np.int64(-1)
    shifted = point >> 6 * (n - 1 - i)
    if i > 0:
        return 0x80 | shifted & 0x3F
    return 0xF00 >> n & 0xFF | shifted


# -- numbers --------------------------------------------------------------------------------------


@nb.njit
def _write_digits(arena, at, n, text, begin, end):
    """Append the digits from ``begin`` on to ``n`` others, no zero first; where they end."""
    while begin < end and 48 <= text[begin] < 58:
        if n > 0 or text[begin] != 48:
            arena[at + n] = text[begin] - 48
            n += 1
        begin += 1
    return n, begin


@nb.njit
def write_number(arena, at, text, begin, end):
    """Write the content of a number's value; returns its length, -1 where the text is not over."""
    negative = text[begin] == MINUS
    i = begin + 1 if negative else begin
    n, stop = _write_digits(arena, at + 2, 0, text, i, end)
    if stop == i:
        return -1
    shift = 0
    if stop < end and text[stop] == DOT:
        i = stop + 1
        n, stop = _write_digits(arena, at + 2, n, text, i, end)
        if stop == i:
            return -1
        shift = i - stop
    below = False
    if stop < end:  # e or E
        stop += 1
        if stop < end and text[stop] < 48:
            below = text[stop] == MINUS
            stop += 1
        if stop == end:
            return -1
    while n > 0 and arena[at + 1 + n] == 0:
        n -= 1
        shift += 1
    arena[at], arena[at + 1] = (negative and n > 0), n
    if n == 0:
        return 2
    return 2 + n + _write_power(arena, at + 2 + n, text, stop, end, below, shift)


@nb.njit
def _write_power(arena, at, text, begin, end, negative, shift):
    """Write sign and digits of the power of ten in ``text``, plus ``shift``; how many numbers.

    The last 17 digits are one number, which ``shift`` is added to; the others take the carry.
    """
    while begin < end and text[begin] == 48:
        begin += 1
    split = max(begin, end - 17)
    low = np.int64(0)
    for i in range(split, end):
        low = 10 * low + (np.int64(text[i]) - 48)
    high = split - begin
    if high == 0:
        low = shift - low if negative else shift + low
        negative = low < 0
        low = abs(low)
    else:
        low += -shift if negative else shift
    arena[at + 1] = 0
    for i in range(high):
        arena[at + 2 + i] = text[begin + i] - 48
    carry = np.int64(low >= 10**17) - np.int64(low < 0)
    low -= carry * 10**17
    i = at + 1 + high
    while carry != 0:
        digit = arena[i] + carry
        carry = np.int64(digit > 9) - np.int64(digit < 0)
        arena[i] = digit - 10 * carry
        i -= 1
    n = 1 + high + 17
    for i in range(17):
        arena[at + n - i] = low % 10
        low //= 10
    zeros = 0
    while zeros < n and arena[at + 1 + zeros] == 0:
        zeros += 1
    n -= zeros
    for i in range(n):
        arena[at + 1 + i] = arena[at + 1 + zeros + i]
    arena[at] = negative and n > 0
    return 1 + n


@nb.njit
def may_become(arena, value, text, begin, end):
    """May more text make an unfinished number equal to a value? (Yes where in doubt.)"""
    n = arena[value + CONTENT + 1]
    digits = value + CONTENT + 2
    if n > 0 and (text[begin] == MINUS) != (arena[value + CONTENT] == 1):
        return False
    written = 0
    for i in range(begin, end):
        byte = text[i]
        if byte == 101 or byte == 69:  # e, E
            return written >= n
        if 48 <= byte < 58 and (written > 0 or byte != 48):
            if byte - 48 != (arena[digits + written] if written < n else 0):
                return False
            written += 1
    return True
