"""Reads the items of arrays whose items differ, byte by byte, and knows what they may still equal.

Everything that was read is kept in an arena (:mod:`structgen.masks.json_values`) which only grows,
and in ``text``, the bytes of scalars. A place in a text is a few registers; going back to it means
cutting arena and text back.
"""

from __future__ import annotations

import numba as nb
import numpy as np

from structgen.masks.json_values import (
    ARRAY,
    BRACE,
    BRACE_END,
    BRACKET,
    BRACKET_END,
    COLON,
    COMMA,
    CONTENT,
    DOT,
    LITERAL,
    MINUS,
    NUMBER,
    NUMBER_ROOM,
    OBJECT,
    QUOTE,
    STRING,
    TOP,
    intern,
    is_space,
    sort_records,
    write_number,
    write_string,
)
from structgen.masks.unique_candidates import (
    A_DEPTH,
    A_N,
    A_NUMBER,
    A_OPEN,
    A_PARENT,
    A_ROOM,
    A_SPACE,
    A_USED,
    ARRAY_LENGTH,
    ASSIGNED,
    BEGIN,
    C_BEFORE,
    C_NAME,
    C_VALUE,
    CHILD_LENGTH,
    DEPTH,
    F_CHILD,
    F_KIND,
    F_N,
    F_N_SET,
    F_NAME,
    F_PARENT,
    F_SET,
    FRAME,
    FRAME_LENGTH,
    INNERMOST,
    MODE,
    N_SET,
    N_TEXT,
    NAMED,
    OPENED,
    PHASE,
    SEPARATED,
    SET,
    UNFINISHED,
    UNITS,
    VALUE,
    WIDEST,
    expect,
    narrow_numbers,
    read_character,
    replace_frame,
)


@nb.njit
def most_written(arena, r):
    """How much the next byte may add to the arena, at most."""
    frame, array = r[FRAME], r[INNERMOST]
    candidates = r[N_SET]
    children = np.int64(0)
    if frame > 0:
        parent = arena[frame + F_PARENT]
        candidates += arena[frame + F_N_SET]
        candidates += arena[parent + F_N_SET] if parent > 0 else 0
        children += arena[frame + F_N]
    if array > 0:
        candidates += 3 * np.int64(arena[array + A_N])
    pending = r[N_TEXT] - r[BEGIN]
    return 256 + NUMBER_ROOM + 2 * pending + 4 * children + 2 * candidates * (2 + r[WIDEST])


@nb.njit
def is_free(arena, r):
    """Can every open item still become a new value, and every array go on, as is plain?"""
    if r[N_SET] > 0:
        return False
    array = r[INNERMOST]
    return array == 0 or arena[array + A_OPEN] == 1 or arena[array + A_ROOM] > arena[array + A_N]


@nb.njit
def read(arena, heads, text, r, byte, room):
    """One more byte of a text; False: an item ended that is equal to a former one.

    ``room``: not 0 where the byte begins an item that must differ, then 1 + the number of values
    that the next one has, at least.
    """
    mode = r[MODE]
    if mode == STRING:
        text[r[N_TEXT]] = byte
        r[N_TEXT] += 1
        if byte == QUOTE and r[UNFINISHED] == r[N_TEXT] - 1:
            return _end_scalar(arena, heads, text, r)
        read_character(arena, text, r)
        return True
    if mode == NUMBER:
        if 48 <= byte < 58 or byte in (43, MINUS, DOT, 69, 101):
            text[r[N_TEXT]] = byte
            r[N_TEXT] += 1
            narrow_numbers(arena, text, r)
            return True
        if not _end_scalar(arena, heads, text, r):
            return False
    elif mode == LITERAL:
        text[r[N_TEXT]] = byte
        r[N_TEXT] += 1
        if r[N_TEXT] - r[BEGIN] < (5 if text[r[BEGIN]] == 102 else 4):
            return True
        return _end_scalar(arena, heads, text, r)
    if room > 0:
        _begin_item(arena, r, room)
    if is_space(byte):
        return True
    if byte == COMMA:
        r[PHASE] = SEPARATED
    elif byte == COLON:
        r[PHASE] = ASSIGNED
    elif byte in (BRACKET_END, BRACE_END):
        return _close(arena, heads, r, byte)
    elif room == 0 and _is_let_go(arena, r):
        return True
    elif byte in (BRACKET, BRACE):
        _open(arena, r, byte)
    else:
        _begin_scalar(arena, text, r, byte)
    return True


@nb.njit
def _is_let_go(arena, r):
    """Items of the innermost array need not differ any more if this begins one; was it the last?"""
    array = r[INNERMOST]
    if array > 0 and arena[array + A_OPEN] == 0 and arena[array + A_DEPTH] == r[DEPTH]:
        r[INNERMOST] = arena[array + A_PARENT]
        if r[INNERMOST] == 0:
            r[PHASE] = OPENED  # nothing is kept of what is outside
            return True
    return False


@nb.njit
def _begin_item(arena, r, room):
    parent, at = r[INNERMOST], r[TOP]
    r[TOP] += ARRAY_LENGTH
    if parent > 0 and arena[parent + A_DEPTH] == r[DEPTH]:
        for i in range(ARRAY_LENGTH):
            arena[at + i] = arena[parent + i]
    else:
        arena[at + A_PARENT], arena[at + A_DEPTH] = parent, r[DEPTH]
        arena[at + A_NUMBER] = arena[parent + A_NUMBER] + 1 if parent > 0 else 0
        arena[at + A_USED], arena[at + A_N], arena[at + A_SPACE] = at, 0, 0
    arena[at + A_ROOM], arena[at + A_OPEN] = room - 1, 1
    r[INNERMOST] = at


@nb.njit
def _end_item(arena, r, array, value):
    """Note the value of an array's item."""
    number, n = arena[array + A_NUMBER], arena[array + A_N]
    at = r[TOP]
    r[TOP] += ARRAY_LENGTH
    for i in range(ARRAY_LENGTH):
        arena[at + i] = arena[array + i]
    if n == arena[array + A_SPACE]:
        used, space = r[TOP], 2 * np.int64(n) + 2
        r[TOP] += 2 * space
        for i in range(2 * n):
            arena[used + i] = arena[arena[array + A_USED] + i]
        arena[at + A_USED], arena[at + A_SPACE] = used, space
    place = arena[at + A_USED] + 2 * n
    arena[place], arena[place + 1] = number, value
    arena[at + A_N], arena[at + A_OPEN] = n + 1, 0
    r[INNERMOST] = at


@nb.njit
def _open(arena, r, byte):
    """An object or array begins."""
    kind = ARRAY if byte == BRACKET else OBJECT
    expect(arena, r, kind, byte)
    at = r[TOP]
    r[TOP] += FRAME_LENGTH
    arena[at + F_KIND], arena[at + F_PARENT], arena[at + F_CHILD] = kind, r[FRAME], 0
    arena[at + F_N], arena[at + F_NAME] = 0, 0
    arena[at + F_SET], arena[at + F_N_SET] = r[SET], r[N_SET]
    r[FRAME], r[PHASE] = at, OPENED
    r[DEPTH] += 1


@nb.njit
def _close(arena, heads, r, byte):
    """The innermost object or array ends."""
    array, frame = r[INNERMOST], r[FRAME]
    if byte == BRACKET_END and array > 0 and arena[array + A_DEPTH] == r[DEPTH]:
        array = np.int64(arena[array + A_PARENT])
        r[INNERMOST] = array
    if frame == 0:
        # The outermost array: nothing is kept of it.
        r[PHASE] = OPENED
        return True
    kind, n = arena[frame + F_KIND], arena[frame + F_N]
    at, child = r[TOP] + CONTENT, arena[frame + F_CHILD]
    width = 1 if kind == ARRAY else 2
    i = at + width * n
    while child > 0:
        i -= width
        arena[i + width - 1] = arena[child + C_VALUE]
        if kind == OBJECT:
            arena[i] = arena[child + C_NAME]
        child = arena[child + C_BEFORE]
    if kind == OBJECT:
        sort_records(arena, at, n, 2)
        r[WIDEST] = max(r[WIDEST], 2 * np.int64(n))
    value = intern(arena, heads, r, kind, width * n)
    r[FRAME] = arena[frame + F_PARENT]
    r[DEPTH] -= 1
    return _end_value(arena, r, value)


@nb.njit
def _begin_scalar(arena, text, r, byte):
    kind = LITERAL
    if byte == QUOTE:
        kind = STRING
    elif byte < 97:
        kind = NUMBER
    expect(arena, r, kind, byte)
    text[r[N_TEXT]] = byte
    r[MODE], r[BEGIN] = kind, r[N_TEXT]
    r[N_TEXT] += 1
    r[UNITS], r[UNFINISHED] = 0, r[N_TEXT]
    if kind == NUMBER:
        narrow_numbers(arena, text, r)


@nb.njit
def _end_scalar(arena, heads, text, r):
    kind, begin, end = r[MODE], r[BEGIN], r[N_TEXT]
    at = r[TOP] + CONTENT
    if kind == STRING:
        n, _ = write_string(arena, at, text, begin + 1, end - 1)
    elif kind == NUMBER:
        n = write_number(arena, at, text, begin, end)
    else:
        arena[at] = text[begin]
        n = 1
    value = intern(arena, heads, r, kind, n)
    r[MODE], r[BEGIN] = 0, end
    frame = r[FRAME]
    if frame > 0 and arena[frame + F_KIND] == OBJECT and r[PHASE] != ASSIGNED:
        replace_frame(arena, r, frame, arena[frame + F_CHILD], value)
        r[PHASE] = NAMED
        return True
    return _end_value(arena, r, value)


@nb.njit
def _end_value(arena, r, value):
    """A value ended that is no name; False: it is an item that there was before."""
    array, frame = r[INNERMOST], r[FRAME]
    if array > 0 and arena[array + A_OPEN] == 1 and arena[array + A_DEPTH] == r[DEPTH]:
        for e in range(r[SET], r[SET] + 2 * r[N_SET], 2):
            if arena[e] == arena[array + A_NUMBER] and arena[e + 1] == value:
                return False
        _end_item(arena, r, array, value)
    r[SET], r[N_SET] = 0, 0
    if frame > 0:
        child = r[TOP]
        r[TOP] += CHILD_LENGTH
        arena[child + C_BEFORE], arena[child + C_VALUE] = arena[frame + F_CHILD], value
        arena[child + C_NAME] = arena[frame + F_NAME]
        replace_frame(arena, r, frame, child, 0)
    r[PHASE] = VALUE
    return True


# -- comparing places -----------------------------------------------------------------------------


@nb.njit
def key_length(arena, r):
    """How much :func:`write_key` writes, at most."""
    n = 64 + NUMBER_ROOM + 2 * (r[N_TEXT] - r[BEGIN])
    frame = r[FRAME]
    while frame > 0:
        n += 3 + 2 * arena[frame + F_N]
        frame = np.int64(arena[frame + F_PARENT])
    array = r[INNERMOST]
    while array > 0:
        n += 4 + arena[array + A_N]
        array = np.int64(arena[array + A_PARENT])
    return n


@nb.njit
def write_key(arena, text, r, out, at):
    """Write what tells apart the places from which different texts may follow; where it ends.

    At ``out[at]``, another arena.
    """
    mode, begin, end = r[MODE], r[BEGIN], r[N_TEXT]
    out[at], out[at + 1] = mode, r[PHASE]
    at += 2
    written = 0
    if mode == STRING:
        written, begin = write_string(out, at, text, begin + 1, end)
    elif mode == NUMBER:
        written = max(0, write_number(out, at, text, begin, end))
        begin = end if written else begin
    at += written
    for i in range(begin, end):
        out[at] = -1 - np.int64(text[i])
        at += 1
    frame = r[FRAME]
    while frame > 0:
        kind, n = arena[frame + F_KIND], arena[frame + F_N]
        out[at], out[at + 1], out[at + 2] = -300 - kind, n, arena[frame + F_NAME]
        at += 3
        child = arena[frame + F_CHILD]
        first = at
        while child > 0:
            if kind == OBJECT:
                out[at] = arena[child + C_NAME]
                at += 1
            out[at] = arena[child + C_VALUE]
            at += 1
            child = arena[child + C_BEFORE]
        if kind == OBJECT:
            sort_records(out, first, n, 2)
        frame = np.int64(arena[frame + F_PARENT])
    array = r[INNERMOST]
    while array > 0:
        n = arena[array + A_N]
        out[at], out[at + 1] = n, arena[array + A_OPEN]
        out[at + 2], out[at + 3] = arena[array + A_ROOM], arena[array + A_DEPTH]
        at += 4
        for i in range(n):
            out[at + i] = arena[arena[array + A_USED] + 2 * i + 1]
        sort_records(out, at, n, 1)
        at += n
        array = np.int64(arena[array + A_PARENT])
    return at
