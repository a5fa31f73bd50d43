"""What the items of arrays whose items differ may still become: the values that they had before.

A *candidate* is a pair ``(array, value)``: a value that what is being read may still become, for an
item of that array (numbered from the outside) to become one that it had before. The candidates of
the innermost unfinished value are ``N_SET`` pairs from ``SET`` on. An object's candidates have all
members that were read, whatever their order; an array's have the items that were read.
"""

from __future__ import annotations

import numba as nb
import numpy as np

from structgen.masks.json_values import (
    ARRAY,
    BACKSLASH,
    BRACE,
    BRACE_END,
    BRACKET,
    BRACKET_END,
    COLON,
    COMMA,
    CONTENT,
    KIND,
    LENGTH,
    LITERAL,
    MINUS,
    NUMBER,
    QUOTE,
    STRING,
    TOP,
    character,
    escaped,
    hexadecimal,
    may_become,
    utf8,
    write_number,
)

# Registers behind those of the arena. MODE: the kind of the scalar that is being read, or 0; its
# text begins at BEGIN and ends at N_TEXT; for strings UNITS code units are read, and the next one
# begins at UNFINISHED. FRAME: the innermost open object or array, or 0; DEPTH: how many are open.
# PHASE: what came last in it. INNERMOST: the innermost open array whose items differ, or 0.
# WIDEST: the most numbers that an object has as its content.
(
    N_TEXT, MODE, BEGIN, UNFINISHED, UNITS, FRAME, DEPTH, PHASE, INNERMOST, SET, N_SET, WIDEST,
) = range(2, 14)  # fmt: skip
REGISTERS = 14

OPENED, VALUE, SEPARATED, NAMED, ASSIGNED = range(5)  # phases

# An open array or object in the arena, written anew whenever it changes: its kind, the frame around
# it, its last child and their number, the name of the member that is being read, its candidates.
F_KIND, F_PARENT, F_CHILD, F_N, F_NAME, F_SET, F_N_SET = range(7)
FRAME_LENGTH = 7
# A child: the one before it, its value, its name if it is a member.
C_BEFORE, C_VALUE, C_NAME = range(3)
CHILD_LENGTH = 3
# An array whose items differ, written anew whenever it changes: the one around it, the depth of its
# items, its number, the values of its items as pairs, their number, how many there is space for,
# the least number of values that the next item may have, whether an item is open.
A_PARENT, A_DEPTH, A_NUMBER, A_USED, A_N, A_SPACE, A_ROOM, A_OPEN = range(8)
ARRAY_LENGTH = 8


@nb.njit
def is_waiting(arena, r):
    """Is the innermost array between items, and has it had some?"""
    array = r[INNERMOST]
    return array > 0 and arena[array + A_OPEN] == 0 and arena[array + A_N] > 0


@nb.njit
def replace_frame(arena, r, frame, child, name):
    """The innermost frame with another last child and name, and the candidates left of it."""
    at = r[TOP]
    r[TOP] += FRAME_LENGTH
    for i in range(FRAME_LENGTH):
        arena[at + i] = arena[frame + i]
    added = child != arena[frame + F_CHILD]
    arena[at + F_CHILD], arena[at + F_NAME] = child, name
    if added:
        arena[at + F_N] += 1
    source = arena[frame + F_SET]
    target, n = r[TOP], np.int64(0)
    for e in range(source, source + 2 * arena[frame + F_N_SET], 2):
        value = arena[e + 1]
        if arena[at + F_KIND] == ARRAY:
            k = arena[frame + F_N]
            kept = k < arena[value + LENGTH] and (
                arena[value + CONTENT + k] == arena[child + C_VALUE]
            )
        elif added:
            member = arena[child + C_NAME], arena[child + C_VALUE]
            kept = _n_left(arena, value, child, member[0], member[1]) >= 0
        else:
            kept = _n_left(arena, value, child, name, 0) > 0
        if kept:
            arena[target + 2 * n], arena[target + 2 * n + 1] = arena[e], value
            n += 1
    if n < arena[frame + F_N_SET]:
        r[TOP] += 2 * n
        arena[at + F_SET], arena[at + F_N_SET] = target, n
    r[FRAME], r[SET], r[N_SET] = at, arena[at + F_SET], n


@nb.njit
def _n_left(arena, value, child, name, content):
    """How many more such members the object ``value`` has than were read, ``child`` the last.

    ``content`` 0: members of this name, whatever their content.
    """
    n = 0
    for e in range(value + CONTENT, value + CONTENT + arena[value + LENGTH], 2):
        n += arena[e] == name and (content == 0 or arena[e + 1] == content)
    while child > 0:
        same = content == 0 or arena[child + C_VALUE] == content
        n -= arena[child + C_NAME] == name and same
        child = arena[child + C_BEFORE]
    return n


@nb.njit
def _is_like(arena, value, kind, byte):
    """Is a value of this kind (and of literals, the one that begins with ``byte``)?"""
    return arena[value + KIND] == kind and (kind != LITERAL or arena[value + CONTENT] == byte)


@nb.njit
def expect(arena, r, kind, byte):
    """Choose the candidates for a value, or a name, of this kind that begins."""
    frame, array = r[FRAME], r[INNERMOST]
    target, n = r[TOP], np.int64(0)
    if frame > 0:
        child, k = arena[frame + F_CHILD], arena[frame + F_N]
        source = arena[frame + F_SET]
        for e in range(source, source + 2 * arena[frame + F_N_SET], 2):
            outer = arena[e + 1]
            first = outer + CONTENT
            end = first + arena[outer + LENGTH]
            width = 1
            if arena[frame + F_KIND] == ARRAY:
                first += k
                end = min(end, first + 1)
            else:
                width = 2
            last = 0
            for i in range(first, end, width):
                value = arena[i]
                if width == 2 and r[PHASE] == ASSIGNED:
                    name, value = value, arena[i + 1]
                    if name != arena[frame + F_NAME] or (
                        k > 0 and _n_left(arena, outer, child, name, value) <= 0
                    ):
                        continue
                elif width == 2 and k > 0 and _n_left(arena, outer, child, value, 0) <= 0:
                    continue
                # Members are sorted: equal ones follow each other.
                if value != last and _is_like(arena, value, kind, byte):
                    arena[target + 2 * n], arena[target + 2 * n + 1] = arena[e], value
                    n += 1
                last = value
    if array > 0 and arena[array + A_OPEN] == 1 and arena[array + A_DEPTH] == r[DEPTH]:
        used, n_used = arena[array + A_USED], arena[array + A_N]
        before = n
        for e in range(used, used + 2 * n_used, 2):
            if _is_like(arena, arena[e + 1], kind, byte):
                arena[target + 2 * n], arena[target + 2 * n + 1] = arena[e], arena[e + 1]
                n += 1
        if before == 0 and n == n_used:
            r[SET], r[N_SET] = used, n
            return
    r[TOP] += 2 * n
    r[SET], r[N_SET] = target, n


@nb.njit
def read_character(arena, text, r):
    """Take note of the character that a string's last byte may have finished."""
    size, unit, second = character(text, r[UNFINISHED], r[N_TEXT])
    if size == 0:
        return
    r[UNFINISHED] += size
    _narrow_strings(arena, r, unit)
    if second >= 0:
        _narrow_strings(arena, r, second)


@nb.njit
def _narrow_strings(arena, r, unit):
    k = r[UNITS]
    target, n = r[TOP], np.int64(0)
    for e in range(r[SET], r[SET] + 2 * r[N_SET], 2):
        value = arena[e + 1]
        if k < arena[value + LENGTH] and arena[value + CONTENT + k] == unit:
            arena[target + 2 * n], arena[target + 2 * n + 1] = arena[e], value
            n += 1
    if n < r[N_SET]:
        r[TOP] += 2 * n
        r[SET], r[N_SET] = target, n
    r[UNITS] += 1


@nb.njit
def narrow_numbers(arena, text, r):
    target, n = r[TOP], np.int64(0)
    for e in range(r[SET], r[SET] + 2 * r[N_SET], 2):
        value = arena[e + 1]
        if may_become(arena, value, text, r[BEGIN], r[N_TEXT]):
            arena[target + 2 * n], arena[target + 2 * n + 1] = arena[e], value
            n += 1
    if n < r[N_SET]:
        r[TOP] += 2 * n
        r[SET], r[N_SET] = target, n


# -- what may follow ------------------------------------------------------------------------------


@nb.njit
def follow(arena, text, r, likely):
    """Mark the bytes, uint8 [256], after which a candidate is left, or an array between items.

    There may be too many, but none is missing.
    """
    if is_waiting(arena, r):
        likely[:] = 1
        return
    likely[:] = 0
    if r[N_SET] == 0:
        return
    mode = r[MODE]
    if mode == STRING:
        for e in range(r[SET], r[SET] + 2 * r[N_SET], 2):
            _follow_string(arena, text, r, arena[e + 1], likely)
    elif mode == NUMBER:
        _follow_number(arena, text, r, likely)
    elif mode == LITERAL:
        first, k = text[r[BEGIN]], r[N_TEXT] - r[BEGIN]
        # The letters of true, false and null, the k-th from the right.
        word = 0x65757274 if first == 116 else 0x65736C6166 if first == 102 else 0x6C6C756E
        likely[word >> 8 * k & 0xFF] = 1
    else:
        likely[9] = likely[10] = likely[13] = likely[32] = 1
        _follow_frame(arena, r, likely)


@nb.njit
def _follow_frame(arena, r, likely):
    """Mark what may follow between two tokens."""
    frame, phase = r[FRAME], r[PHASE]
    k, kind = arena[frame + F_N], arena[frame + F_KIND]
    for e in range(r[SET], r[SET] + 2 * r[N_SET], 2):
        value = arena[e + 1]
        n = arena[value + LENGTH] if kind == ARRAY else arena[value + LENGTH] // 2
        if phase == NAMED:
            likely[COLON] = 1
        elif phase == ASSIGNED:
            for i in range(value + CONTENT, value + CONTENT + 2 * n, 2):
                if arena[i] == arena[frame + F_NAME]:
                    _mark_first(arena, arena[i + 1], likely)
        elif k < n and phase == VALUE:
            likely[COMMA] = 1
        elif k < n and kind == ARRAY:
            _mark_first(arena, arena[value + CONTENT + k], likely)
        elif k < n:
            likely[QUOTE] = 1
        elif phase != SEPARATED:
            likely[BRACKET_END if kind == ARRAY else BRACE_END] = 1


@nb.njit
def _mark_first(arena, value, likely):
    """Mark the bytes that a value may begin with."""
    kind = arena[value + KIND]
    if kind == STRING:
        likely[QUOTE] = 1
    elif kind == NUMBER:
        likely[MINUS] = 1
        likely[48:58] = 1
    elif kind == LITERAL:
        likely[arena[value + CONTENT]] = 1
    else:
        likely[BRACKET if kind == ARRAY else BRACE] = 1


@nb.njit
def _follow_string(arena, text, r, value, likely):
    k, n = r[UNITS], arena[value + LENGTH]
    begin, end = r[UNFINISHED], r[N_TEXT]
    if k >= n:
        if begin == end:
            likely[QUOTE] = 1
        return
    unit = np.int64(arena[value + CONTENT + k])
    second = np.int64(arena[value + CONTENT + k + 1]) if k + 1 < n else np.int64(-1)
    if begin < end and text[begin] == BACKSLASH:
        if end - begin == 1:
            likely[117] = 1
            for letter in (34, 47, 92, 98, 102, 110, 114, 116):
                if escaped(letter) == unit:
                    likely[letter] = 1
            return
        for i in range(begin + 2, end):
            if hexadecimal(text[i]) != unit >> 4 * (begin + 5 - i) & 15:
                return
        digit = unit >> 4 * (begin + 5 - end) & 15
        if digit < 10:
            likely[48 + digit] = 1
        else:
            likely[87 + digit] = likely[55 + digit] = 1
        return
    for i in range(begin, end):
        if text[i] != utf8(unit, second, i - begin):
            return
    byte = utf8(unit, second, end - begin)
    # Quotes, backslashes and controls have no other spelling than an escape.
    if byte >= 0:
        likely[byte] = 1
    if begin == end:
        likely[BACKSLASH] = 1


@nb.njit
def _follow_number(arena, text, r, likely):
    begin, end = r[BEGIN], r[N_TEXT]
    at = r[TOP] + CONTENT
    n = write_number(arena, at, text, begin, end)
    for e in range(r[SET], r[SET] + 2 * r[N_SET], 2):
        value = arena[e + 1]
        for byte in (43, 45, 46, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 69, 101):
            text[end] = byte
            if likely[byte] == 0 and may_become(arena, value, text, begin, end + 1):
                likely[byte] = 1
        if n == arena[value + LENGTH]:
            i = 0
            while i < n and arena[at + i] == arena[value + CONTENT + i]:
                i += 1
            if i == n:
                for byte in (9, 10, 13, 32, COMMA, BRACKET_END, BRACE_END):
                    likely[byte] = 1
