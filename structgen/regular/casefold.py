"""Which characters Python's ``re.IGNORECASE`` takes for each other.

Two characters match if their lower-case forms are one, or have one upper-case form (``ſ`` and
``s``); see ``_sre`` and Tools/build/generate_re_casefix.py in CPython.
"""

from __future__ import annotations

from functools import cache

from structgen.regular.charset import Ranges, contains, normalize

# No cased character lies above; the last are those of Adlam.
_LAST = 0x1FFFF
# All that ASCII is taken for: dotted and dotless i, long s, the Kelvin sign. Most patterns need no
# more, and a pass over all characters takes a tenth of a second.
_ASCII_AND_LIKE_IT = (*range(128), 0x130, 0x131, 0x17F, 0x212A)


@cache
def _classes(ascii_only: bool) -> tuple[tuple[int, ...], ...]:
    """Classes of two characters or more."""
    lower_of: dict[int, list[int]] = {}
    for code in _ASCII_AND_LIKE_IT if ascii_only else range(_LAST + 1):
        char = chr(code)
        # Of the few that become two characters Python takes the first.
        lower_of.setdefault(ord(char.lower()[0]), []).append(code)
    by_upper: dict[str, list[int]] = {}
    for low in lower_of:
        by_upper.setdefault(chr(low).upper(), []).append(low)
    classes = []
    for lows in by_upper.values():
        members = sorted(code for low in lows for code in lower_of[low])
        if len(members) > 1:
            classes.append(tuple(members))
    return tuple(classes)


@cache
def ignore_case(ranges: Ranges) -> Ranges:
    """The set with every character that differs from one of its characters by case alone."""
    ascii_only = not ranges or ranges[-1][1] < 128
    more = [
        (code, code)
        for members in _classes(ascii_only)
        if any(contains(ranges, code) for code in members)
        for code in members
    ]
    return normalize([*ranges, *more])
