"""The spellings of code points in a JSON string, as forms and blocks; see ``lift``.

A *form* names what is still to be read of a spelling, a *block* is a form together with the code
points that it may still become (those from its *start* on).
"""

from __future__ import annotations

import numba as nb

from structgen.jit import kernel

# Forms. C1..C3: continuation bytes to come; E0, ED, F0, F4: after lead bytes whose next byte is
# restricted; ESC: after a backslash; H4..H1: hex digits to come; HD: after a first digit D;
# S2, S1: digits of a high surrogate to come; PB, PU, PD, PC: the backslash, u, D, C-F of its
# partner; P2, P1: the partner's last digits; X1: with minimal escapes the last digit after a 1 (H1
# after a 0).
N_FORMS = 23
(
    DONE, C1, C2, C3, E0, ED, F0, F4, ESC, H4, H3, H2, H1, HD, S2, S1, PB, PU, PD, PC, P2, P1, X1,
) = range(N_FORMS)  # fmt: skip
LAST_CODE_POINT = 0x10FFFF


@nb.njit(inline="always")
def classify(offsets, lo, hi, target, s, a, b):
    """What state ``s`` does on all of [a, b]: (-1: dead | 0: mixed | 1: one, target)."""
    left, end = offsets[s], offsets[s + 1]
    right = end
    while left < right:  # first range with hi >= a
        mid = (left + right) // 2
        if hi[mid] < a:
            left = mid + 1
        else:
            right = mid
    kind, t = 0, -1
    if left >= end or lo[left] > b:
        kind = -1
    elif lo[left] <= a and hi[left] >= b:
        kind, t = 1, target[left]
    return kind, t


@kernel
def stretches(form, start):
    """The code points that a block can still become: two stretches [a, b], the second empty (1, 0)
    but around the surrogates."""
    a, b, c, d = start, start, 1, 0
    if form == C1:
        b = start + 63
    elif form in (C2, H3):
        b = start + 4095
    elif form in (C3, S2):
        b = start + 0x3FFFF
    elif form == E0:
        a, b = 0x800, 0xFFF
    elif form == ED:
        a, b = 0xD000, 0xD7FF
    elif form == F0:
        a, b = 0x10000, 0x3FFFF
    elif form == F4:
        a, b = 0x100000, LAST_CODE_POINT
    elif form in (H2, P2):
        b = start + 255
    elif form in (H1, P1, X1):
        b = start + 15
    elif form == S1:
        b = start + 0x3FFF
    elif form in (PB, PU, PD, PC):
        b = start + 1023
    elif form in (ESC, H4):
        a, b, c, d = 0, 0xD7FF, 0xE000, LAST_CODE_POINT
    elif form == HD:
        a, b, c, d = 0xD000, 0xD7FF, 0x10000, LAST_CODE_POINT
    return a, b, c, d


@kernel
def is_minimal(form, p):
    """Must code point ``p`` be escaped, and is its one spelling of this form?"""
    if form == ESC and (p == 34 or p == 92):
        return True
    if form in (ESC, X1):
        return p < 32
    return p < 32 and (p < 8 or p == 11 or p > 13)


@kernel
def digit_bytes(d):
    """The two bytes that spell hex digit ``d`` (equal below 10)."""
    if d < 10:
        return 48 + d, 48 + d
    return 55 + d, 87 + d


@kernel
def child(form, i, start):
    """Child ``i`` of a block of 64 (continuation) or 16 (hex) children: (form, start), -1: none."""
    if form == C1:
        return DONE, start + i
    if form in (C2, E0, ED):
        if (form == E0 and i < 32) or (form == ED and i >= 32):
            return -1, 0
        return C1, start + 64 * i
    if form in (C3, F0, F4):
        if (form == F0 and i < 16) or (form == F4 and i >= 16):
            return -1, 0
        return C2, start + 4096 * i
    if form == H4:
        if i == 13:
            return HD, 0xD000
        return H3, i << 12
    if form == H3:
        return H2, start + 256 * i
    if form == H2:
        return H1, start + 16 * i
    if form in (H1, P1, X1):
        return DONE, start + i
    if form == HD:
        if i < 8:
            return H2, 0xD000 + 256 * i
        if i < 12:
            return S2, 0x10000 + (i - 8) * 0x40000
        return -1, 0
    if form == S2:
        return S1, start + 0x4000 * i
    if form == S1:
        return PB, start + 0x400 * i
    if form == PC:
        if i >= 12:
            return P2, start + 256 * (i - 12)
        return -1, 0
    if form == P2:
        return P1, start + 16 * i
    return -1, 0


@kernel
def touches(form, start, a, b, minimal):
    """Can a form from ``start`` still become a code point of [a, b]?"""
    if minimal and form >= ESC:
        last = start + 15 if form in (H1, X1) else 92
        found = False
        for p in range(max(a, start), min(b, last) + 1):
            found |= is_minimal(form, p)
        return found
    first, last, upper, highest = stretches(form, start)
    return (a <= last and b >= first) or (a <= highest and b >= upper)
