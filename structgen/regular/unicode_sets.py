"""Sets of characters by Unicode property, as ``\\p{...}`` names them (ECMA-262, 22.2.1.9)."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

from structgen.regular.charset import UNICODE, Ranges, normalize, union
from structgen.regular.unicode_scripts import CODES, SCRIPT, SCRIPT_EXTENSIONS

# Short name of each general category, and what it is also called (table 69 and Unicode's aliases).
_CATEGORIES = {
    "C": ("Other",),
    "Cc": ("Control", "cntrl"),
    "Cf": ("Format",),
    "Cn": ("Unassigned",),
    "Co": ("Private_Use",),
    "Cs": ("Surrogate",),
    "L": ("Letter",),
    "LC": ("Cased_Letter",),
    "Ll": ("Lowercase_Letter",),
    "Lm": ("Modifier_Letter",),
    "Lo": ("Other_Letter",),
    "Lt": ("Titlecase_Letter",),
    "Lu": ("Uppercase_Letter",),
    "M": ("Mark", "Combining_Mark"),
    "Mc": ("Spacing_Mark",),
    "Me": ("Enclosing_Mark",),
    "Mn": ("Nonspacing_Mark",),
    "N": ("Number",),
    "Nd": ("Decimal_Number", "digit"),
    "Nl": ("Letter_Number",),
    "No": ("Other_Number",),
    "P": ("Punctuation", "punct"),
    "Pc": ("Connector_Punctuation",),
    "Pd": ("Dash_Punctuation",),
    "Pe": ("Close_Punctuation",),
    "Pf": ("Final_Punctuation",),
    "Pi": ("Initial_Punctuation",),
    "Po": ("Other_Punctuation",),
    "Ps": ("Open_Punctuation",),
    "S": ("Symbol",),
    "Sc": ("Currency_Symbol",),
    "Sk": ("Modifier_Symbol",),
    "Sm": ("Math_Symbol",),
    "So": ("Other_Symbol",),
    "Z": ("Separator",),
    "Zl": ("Line_Separator",),
    "Zp": ("Paragraph_Separator",),
    "Zs": ("Space_Separator",),
}
_CATEGORY_OF = {name: short for short, names in _CATEGORIES.items() for name in (short, *names)}


def property_set(name: str, value: str | None) -> Ranges | None:
    """The set of ``\\p{name}`` or ``\\p{name=value}``, None if it is not known here."""
    if value is None:
        if name in _CATEGORY_OF:
            return _category(_CATEGORY_OF[name])
        return {
            "Any": UNICODE,
            "ASCII": ((0, 0x7F),),
            "ASCII_Hex_Digit": ((48, 57), (65, 70), (97, 102)),
            "AHex": ((48, 57), (65, 70), (97, 102)),
        }.get(name)
    if name in ("General_Category", "gc"):
        return _category(_CATEGORY_OF[value]) if value in _CATEGORY_OF else None
    if name in ("Script", "sc", "Script_Extensions", "scx"):
        return _script(CODES.get(value, value), "x" in name or "E" in name)
    return None


@lru_cache(maxsize=128)
def _category(short: str) -> Ranges:
    tables = _by_category()
    if short == "LC":
        return union(tables["Ll"], tables["Lt"], tables["Lu"])
    return union(*(ranges for name, ranges in tables.items() if name.startswith(short)))


@lru_cache(maxsize=64)
def _script(script: str, extensions: bool) -> Ranges | None:
    spans = (SCRIPT_EXTENSIONS if extensions else SCRIPT).get(script)
    if spans is None:
        return None
    ends = (span.split("-") for span in spans.split())
    return tuple((int(end[0], 16), int(end[-1], 16)) for end in ends)


@lru_cache(maxsize=1)
def _by_category() -> dict[str, Ranges]:
    """All scalar values by the category that this Python's Unicode gives them."""
    spans: dict[str, list[tuple[int, int]]] = {}
    # Planes 4 to 13 are unassigned, and the last two are private use: no need to ask 800,000 times.
    walked = ((0, 0xD7FF), (0xE000, 0x3FFFF), (0xE0000, 0xE0FFF))
    for lo, hi in walked:
        begin, current = lo, unicodedata.category(chr(lo))
        for point in range(lo + 1, hi + 1):
            category = unicodedata.category(chr(point))
            if category != current:
                spans.setdefault(current, []).append((begin, point - 1))
                begin, current = point, category
        spans.setdefault(current, []).append((begin, hi))
    spans["Cn"] += [(0x40000, 0xDFFFF), (0xE1000, 0xEFFFF)]
    for plane in (0xF0000, 0x100000):
        spans["Co"].append((plane, plane + 0xFFFD))
        spans["Cn"].append((plane + 0xFFFE, plane + 0xFFFF))
    return {name: normalize(ranges) for name, ranges in spans.items()}
