"""The string formats of JSON Schema (draft 2020-12 validation, section 7.3) as automata.

Whatever is accepted is valid by the format's specification; where a format is not regular, or its
automaton would be large, a subset is accepted that holds the values people write:

- ``date-time``: a leap second (:60) only on 30 June and 31 December, at an offset of whole hours
  that is not positive. ``time``: at an offset of whole or half hours.
- ``hostname``, ``email``: bounds on the length of each label, position by position, keep the total
  within bounds; names with ``xn--`` labels are left out (their validity is not regular).
- ``idn-hostname``, ``idn-email``: labels of lower-case letters of a few scripts, short enough for
  their encoded form; no combining marks, no right-to-left scripts.
- ``regex``: groups nested up to two deep, counts and ranges that are in order for sure, and only
  escapes that are valid with and without the ``u`` flag.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from structgen import disk_cache
from structgen.regular.charset import UNICODE
from structgen.regular.dfa import DFA, combine, from_edges
from structgen.regular.ecma import compile_full, compile_pattern
from structgen.regular.formats_uri import IPV4, IPV6, URI_TEMPLATE, reference

# RFC 3339, section 5.6; the days that exist, 29 February in leap years.
_DATE = (
    r"(?:\d{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\d|3[01])"
    r"|(?:0[469]|11)-(?:0[1-9]|[12]\d|30)|02-(?:0[1-9]|1\d|2[0-8]))"
    r"|(?:\d\d(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)-02-29)"
)
_CLOCK = r"(?:[01]\d|2[0-3]):[0-5]\d"
_FRACTION = r"(?:\.\d+)?"
_TIME = rf"{_CLOCK}:[0-5]\d{_FRACTION}(?:[Zz]|[+-]{_CLOCK})"


def _leap_seconds(*, west_only: bool) -> str:
    """Times of the UTC second 23:59:60 at offsets of whole hours, or half hours too."""
    ways = [rf"23:59:60{_FRACTION}(?:[Zz]|[+-]00:00)"]
    for hour in range(24):
        offsets = [f"-{23 - hour:02}:00"]
        if not west_only:
            offsets.append(rf"\+{(hour + 1) % 24:02}:00")
            half = (rf"\+{hour:02}:30", f"-{23 - hour:02}:30")
            # At +hh:30 the local clock shows hh:29.
            ways.append(rf"{hour:02}:29:60{_FRACTION}(?:{'|'.join(half)})")
        ways.append(rf"{hour:02}:59:60{_FRACTION}(?:{'|'.join(offsets)})")
    return "|".join(ways)


# RFC 3339, appendix A: a unit may only be followed by the next smaller one.
_DURATION_TIME = r"T(?:\d+H(?:\d+M(?:\d+S)?)?|\d+M(?:\d+S)?|\d+S)"
_DURATION = (
    rf"P(?:(?:\d+D|\d+M(?:\d+D)?|\d+Y(?:\d+M(?:\d+D)?)?)(?:{_DURATION_TIME})?"
    rf"|{_DURATION_TIME}|\d+W)"
)

# RFC 6901 and draft-bhutton-relative-json-pointer (without its index manipulation).
_POINTER = r"(?:/(?:[^~/]|~[01])*)*"
_RELATIVE_POINTER = rf"(?:0|[1-9]\d*)(?:#|{_POINTER})"

_UUID = r"[\dA-Fa-f]{8}(?:-[\dA-Fa-f]{4}){3}-[\dA-Fa-f]{12}"


# Names: their shape, and apart from it bounds on the labels' lengths, position by position, that
# keep the total within bounds. Labels of up to 63 in names of up to 253 characters, both exactly,
# would take 16,000 states.
def _names(label: str) -> str:
    return rf"{label}(?:\.{label})*"


def _lengths(labels: list[str]) -> str:
    """One to so many labels."""
    first, *others = labels
    return first + "".join(rf"(?:\.{label}" for label in others) + ")?" * len(others)


# RFC 1123, section 2.1: letters, digits, and hyphens inside.
_LABEL = r"[a-zA-Z\d](?:[a-zA-Z\d-]*[a-zA-Z\d])?"
_HOSTNAME_LENGTHS = _lengths(
    [rf"[^.]{{1,{longest}}}" for longest in (63, 63, 31, 31, 15, 15, 15, 12)]
)
# No label is a punycode label, and the name is not of the form of an address (RFC 1123, 2.1).
_NOT_HOSTNAME = r"(?:^|\.)[xX][nN]--|^\d+(?:\.\d+){3}$"

# RFC 5321, section 4.1.2; the local part is at most 64 characters, all of the address 254.
_ATEXT = r"a-zA-Z\d!#$%&'*+/=?^_`{|}~\-"
_LITERAL = rf"\[(?:{IPV4}|IPv6:{IPV6})\]"
_EMAIL = (
    rf"(?:[{_ATEXT}]+(?:\.[{_ATEXT}]+)*|\"(?:[ !#-\[\]-~]|\\[ -~])*\")"
    rf"@(?:{_names(_LABEL)}|{_LITERAL})"
)
_DOMAIN_LENGTHS = _lengths([rf"[^.@[]{{1,{longest}}}" for longest in (63, 31, 31, 15, 15, 15)])
_EMAIL_LENGTHS = rf"(?:[^@\"]{{1,64}}|\"(?:[^\"\\]|\\.)*\")@(?:\[.*|{_DOMAIN_LENGTHS})"
_NOT_EMAIL = r"[@.](?:[xX][nN]--[^@\]]*|\d+)$"

# Letters that IDNA 2008 permits (PVALID) and that NFC leaves alone in any order: Latin, Greek,
# Cyrillic, Hiragana, Katakana, Han, Hangul syllables.
_IDN = (
    r"\u00df-\u00f6\u00f8-\u00ff\u03ac-\u03ce\u0430-\u045f"
    r"\u3041-\u3096\u30a1-\u30fa\u4e00-\u9fff\uac00-\ud7a3"
)
_IDN_LABEL = rf"(?:{_LABEL}|[a-z\d{_IDN}](?:[a-z\d{_IDN}-]*[a-z\d{_IDN}])?)"


def _idn_lengths(*bounds: tuple[int, int]) -> str:
    """The i-th label of ASCII, and of others: at most so many characters."""
    return _lengths([rf"(?:[!-\-/-?A-~]{{1,{a}}}|[^.@[]{{1,{b}}})" for a, b in bounds])


# A letter past ASCII takes at most five characters of punycode in labels as short as these, after
# "xn--": 11 of them make at most 60.
_IDN_HOSTNAME_LENGTHS = _idn_lengths((63, 11), (63, 11), (63, 11), (15, 4), (15, 4))
# A label's third and fourth characters are not both hyphens (RFC 5891, section 4.2.3.1).
_NOT_IDN_HOSTNAME = r"(?:^|\.)(?:[^.][^.]--|\d+$)"
# RFC 6531, section 3.3, adds every character past ASCII to local parts; lengths are of UTF-8.
_IDN_ATEXT = rf"{_ATEXT}\u0080-\u{{10ffff}}"
_IDN_EMAIL = (
    rf"(?:[{_IDN_ATEXT}]+(?:\.[{_IDN_ATEXT}]+)*|\"(?:[ !#-\[\]-~\u0080-\u{{10ffff}}]|\\[ -~])*\")"
    rf"@(?:{_names(_IDN_LABEL)}|{_LITERAL})"
)
_IDN_EMAIL_LENGTHS = (
    rf"(?:[!#-?A-~]{{1,64}}|[^@\"]{{1,16}}|\"(?:[^\"\\]|\\.){{0,15}}\")"
    rf"@(?:\[.*|{_idn_lengths((63, 11), (31, 4), (31, 4), (15, 2))})"
)
_NOT_IDN_EMAIL = r"[@.](?:[^.@][^.@]--[^@\]]*|\d+)$"


def _regex() -> str:
    """Certainly valid ECMA-262 patterns: see the module's text."""
    escape = r"\\(?:[dDwWsSfnrtv^$\\.*+?()\[\]{}|/]|x[\dA-Fa-f]{2}|u[\dA-Ca-c][\dA-Fa-f]{3})"
    # From the first or to the last of a kind, ranges are in order.
    ordered = r"0-\d|\d-9|a-[a-z]|[a-z]-z|A-[A-Z]|[A-Z]-Z"
    single = r"[^\\\]\[^\-\n\r\u2028\u2029]"
    in_class = rf"(?:{ordered}|{single}|{escape})"
    # A hyphen stands for itself only at the end here.
    character_class = rf"\[\^?(?:{in_class})*-?\]"
    count = "|".join(rf"{low},[{low}-9]" for low in range(10)) + r"|\d,[1-9]\d{1,2}|\d{1,3},?"
    quantifier = rf"(?:(?:[*+?]|\{{(?:{count})\}})\??)?"
    atom = rf"(?:[^\\^$.*+?()\[\]{{}}|\n\r\u2028\u2029]|\.|{escape}|{character_class}){quantifier}"
    assertion = r"\^|\$|\\[bB]"
    body = rf"(?:{atom}|{assertion}|\|)*"
    for _ in range(2):
        group = rf"\((?:\?:)?{body}\){quantifier}|\(\?[=!]{body}\)"
        body = rf"(?:{atom}|{assertion}|\||{group})*"
    return body


def _within(shape: str, lengths: str, excluded: str, *others: DFA) -> DFA:
    """What matches two patterns as a whole, the third one nowhere, and other automata."""
    operands = [compile_full(shape), compile_full(lengths), compile_pattern(excluded), *others]
    return combine(operands, lambda v: 0 if min(v[:2] + v[3:]) >= 0 > v[2] else -1)


def _short_quoted_string(longest: int) -> DFA:
    """Texts that start without a quote, or with a quoted string of at most so many characters."""
    quote, backslash, last = ord('"'), ord("\\"), 0x10FFFF
    free, inside = 1, 2  # and state 0, the start
    edges = [[(0, quote - 1, free), (quote, quote, inside), (quote + 1, last, free)]]
    edges.append([(0, last, free)])
    for read in range(1, longest):  # two states each: after any character, after a backslash
        following = inside + 2 * read
        edge = [(quote, quote, free)]
        if read + 1 < longest:
            edge += [(0, quote - 1, following), (quote + 1, backslash - 1, following)]
            edge += [(backslash, backslash, following + 1), (backslash + 1, last, following)]
        edges.append(sorted(edge))
        edges.append([(0, last, following)] if read + 1 < longest else [])
    return from_edges(edges, [-1, 0] + [-1] * (len(edges) - 2), UNICODE)


_BUILDERS: dict[str, Callable[[], DFA]] = {
    "date": lambda: compile_full(_DATE),
    "time": lambda: compile_full(f"{_TIME}|{_leap_seconds(west_only=False)}"),
    "date-time": lambda: compile_full(
        rf"{_DATE}[Tt]{_TIME}|\d{{4}}-(?:06-30|12-31)[Tt](?:{_leap_seconds(west_only=True)})"
    ),
    "duration": lambda: compile_full(_DURATION),
    "email": lambda: _within(_EMAIL, _EMAIL_LENGTHS, _NOT_EMAIL, _short_quoted_string(64)),
    "idn-email": lambda: _within(_IDN_EMAIL, _IDN_EMAIL_LENGTHS, _NOT_IDN_EMAIL),
    "hostname": lambda: _within(_names(_LABEL), _HOSTNAME_LENGTHS, _NOT_HOSTNAME),
    "idn-hostname": lambda: _within(_names(_IDN_LABEL), _IDN_HOSTNAME_LENGTHS, _NOT_IDN_HOSTNAME),
    "ipv4": lambda: compile_full(IPV4),
    "ipv6": lambda: compile_full(IPV6),
    "uri": lambda: compile_full(reference(relative=False, international=False)),
    "uri-reference": lambda: compile_full(reference(relative=True, international=False)),
    "iri": lambda: compile_full(reference(relative=False, international=True)),
    "iri-reference": lambda: compile_full(reference(relative=True, international=True)),
    "uri-template": lambda: compile_full(URI_TEMPLATE),
    "uuid": lambda: compile_full(_UUID),
    "json-pointer": lambda: compile_full(_POINTER),
    "relative-json-pointer": lambda: compile_full(_RELATIVE_POINTER),
    "regex": lambda: compile_full(_regex()),
}

KNOWN_FORMATS: frozenset[str] = frozenset(_BUILDERS)


def build_format(name: str) -> DFA:
    """The automaton of a known format, from its definition."""
    return _BUILDERS[name]()


@cache
def compile_format(name: str) -> DFA | None:
    """The values of a format, with final class 0; None for a format that constrains nothing."""
    if name not in KNOWN_FORMATS:
        return None

    def arrays() -> tuple[np.ndarray, ...]:
        dfa = build_format(name)
        return dfa.offsets, dfa.lo, dfa.hi, dfa.target, dfa.final

    return DFA(*disk_cache.load("format", name, arrays))


# Languages that contain every valid value of a format whose automaton accepts only a part of them.
_BOUNDS: dict[str, str] = {
    "time": r"\d\d:\d\d:\d\d.*",
    "date-time": r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d.*",
    "email": r"[^]+@[^]+",
    "idn-email": r"[^]+@[^]+",
    "hostname": r"[A-Za-z0-9.-]+",
    "idn-hostname": r"[^\0-,/:-@\[-^`{-\x7f]+",
    "uri-template": r"[^]*",
    "regex": r"[^]*",
}


@cache
def format_bound(name: str) -> DFA | None:
    """A language that contains every valid value of the format; None where compile_format does.

    A text in the bound that :func:`compile_format` refuses may or may not be valid.
    """
    pattern = _BOUNDS.get(name)
    return None if pattern is None else compile_full(pattern)
