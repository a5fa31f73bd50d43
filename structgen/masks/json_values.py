"""JSON texts as values that can be compared, and what an unfinished text may still become.

A value is a tuple of a tag and its content: ``("s", text)``, ``("n", number)``, ``("l", literal)``,
``("a", items)``, ``("o", members)`` with members sorted by name. Numbers are equal by value,
strings whatever their escapes, objects whatever the order of their members. A token is a scalar's
value or ``("p", punctuation)``.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from itertools import product
from typing import Any

Value = tuple[str, Any]
Token = tuple[str, Any]

# What is left to match of a value: a linked list, what comes next first. A bytes object stands for
# punctuation; ("members", names and values), ("after", the same) and ("items", rest) for what is
# left of an object or array; None at the end.
Rest = tuple[Any, Any] | None

ANY_BYTE = bytes(range(256))
WHITESPACE = b" \t\n\r"
_NUMERIC = b"0123456789+-.eE"

_TOKEN = re.compile(
    rb'[ \t\n\r]*(?:(?P<s>"(?:[^"\\]|\\.)*")|(?P<n>[-0-9][-+.0-9eE]*)|(?P<l>true|false|null)'
    rb"|(?P<p>[\[\]{},:]))",
    re.DOTALL,
)
# The characters of a string that are spelled out, behind its opening quote.
_SPELLED = re.compile(
    rb"""(?: [^\\\x80-\xff] | [\xc0-\xdf][\x80-\xbf] | [\xe0-\xef][\x80-\xbf]{2}
    | [\xf0-\xf7][\x80-\xbf]{3} | \\[^u] | \\u(?![dD][89abAB])[0-9a-fA-F]{4}
    | \\u[dD][89abAB][0-9a-fA-F]{2}\\u[0-9a-fA-F]{4} )*""",
    re.VERBOSE | re.DOTALL,
)
_NUMBER = re.compile(r"(-?)([0-9]+)(?:\.([0-9]+))?(?:[eE]([-+]?)([0-9]+))?")


def string(spelled: bytes) -> str:
    """The text of a string's inside."""
    if b"\\" not in spelled:
        return spelled.decode("utf-8", "replace")
    return json.loads(b'"' + spelled + b'"', strict=False)


def number(text: str) -> Value:
    """Sign, significant digits and the power of ten behind them; zero is all zero."""
    match = _NUMBER.fullmatch(text)
    if match is None:
        return ("n", ("", text, 0))  # not finished
    sign, whole, fraction, direction, power = match.groups("")
    digits = (whole + fraction).lstrip("0")
    significant = digits.rstrip("0")
    shift = len(digits) - len(significant) - len(fraction)
    power = power.lstrip("0")
    if not significant:
        return ("n", ("", "", 0))
    if len(power) > 4000:  # past what Python reads
        return ("n", (sign, significant, shift, direction + power))
    return ("n", (sign, significant, shift + int(direction + power if power else 0)))


def value_of(text: bytes) -> Value:
    """The value of a whole text. Without recursion: values nest as deep as a model writes them."""
    stack: list[tuple[str, list[Any]]] = [("a", [])]
    for match in _TOKEN.finditer(text):
        kind = str(match.lastgroup)
        raw = match[kind]
        if kind != "p":
            stack[-1][1].append(_scalar(kind, raw))
        elif raw in b"[{":
            stack.append(("a" if raw == b"[" else "o", []))
        elif raw in b"]}":
            tag, parts = stack.pop()
            if tag == "o":
                members = zip(parts[::2], parts[1::2], strict=True)
                parts = sorted(((name[1], v) for name, v in members), key=repr)
            stack[-1][1].append((tag, tuple(parts)))
    return stack[0][1][0]


def _scalar(kind: str, raw: bytes) -> Value:
    if kind == "s":
        return ("s", string(raw[1:-1]))
    return number(raw.decode()) if kind == "n" else ("l", raw)


def lex(pending: bytes, byte: int) -> tuple[list[Token], bytes]:
    """The tokens that a byte ends, and the bytes of one that is not over."""
    tokens: list[Token] = []
    character = bytes((byte,))
    if pending[:1] == b'"':
        pending += character
        if byte == 34 and _is_closing(pending):
            return [("s", string(pending[1:-1]))], b""
        return tokens, pending
    if pending and pending[0] in _NUMERIC:
        if byte in _NUMERIC:
            return tokens, pending + character
        tokens.append(number(pending.decode()))
        pending = b""
    if pending:
        pending += character
        return ([("l", pending)], b"") if pending in (b"true", b"false", b"null") else ([], pending)
    if byte in WHITESPACE:
        return tokens, b""
    if character in b"[]{},:":
        return [*tokens, ("p", character)], b""
    return tokens, character


def _is_closing(text: bytes) -> bool:
    """Is the last quote of a string's beginning not escaped?"""
    return (len(text) - 1 - len(text[:-1].rstrip(b"\\"))) % 2 == 0


def advance(rest: Rest, token: Token) -> Rest | bool:
    """What is left after a token; False where the value cannot be meant any more."""
    if rest is None:
        return False
    want, rest = rest
    kind, content = token
    if isinstance(want, bytes):
        return rest if token == ("p", want) else False
    tag, inside = want
    if tag == "any":
        return want, rest
    if tag == "members":
        if token == ("p", b"}") and not inside:
            return rest
        if kind != "s" or content not in inside:
            return False
        left = {name: value for name, value in inside.items() if name != content}
        return b":", (inside[content], (("after", left), rest))
    if tag == "after":
        if token == ("p", b",") and inside:
            return ("members", inside), rest
        return rest if token == ("p", b"}") and not inside else False
    if tag == "items":
        if token == ("p", b",") and inside:
            return inside[0], (("items", inside[1:]), rest)
        return rest if token == ("p", b"]") and not inside else False
    if kind != "p":
        return rest if token == want else False
    if content == b"[" and tag == "a":
        return (inside[0], (("items", inside[1:]), rest)) if inside else (b"]", rest)
    if content == b"{" and tag == "o":
        members = dict(inside)
        # Names that repeat are not followed.
        return (("members", members) if len(members) == len(inside) else ("any", ()), rest)
    return False


def follow(rest: Rest, pending: bytes) -> bytes | None:
    """The bytes after which a text may still become the value; None: it cannot any more.

    ``pending`` are the bytes of a token that is not over. There may be too many bytes, but none is
    missing.
    """
    if rest is None:
        return None if pending else ANY_BYTE  # whole: what follows is no part of it
    want = rest[0]
    tag, inside = ("p", want) if isinstance(want, bytes) else want
    if tag == "any":
        return ANY_BYTE
    if not pending:
        return WHITESPACE + _first(tag, inside)
    if pending[:1] == b'"':
        return _follow_string(tag, inside, pending)
    if pending[0] in _NUMERIC:
        return _follow_number(pending.decode(), inside) if tag == "n" else None
    if tag == "l" and inside.startswith(pending):
        return inside[len(pending) : len(pending) + 1]
    return None


def _first(tag: str, inside: Any) -> bytes:
    """The bytes with which what is left may begin."""
    if tag == "n":
        return b"-0123456789"
    if tag in ("p", "l"):
        return inside[:1]
    if tag in ("after", "items"):
        return b"," if inside else b"}" if tag == "after" else b"]"
    if tag == "members":
        return b'"' if inside else b"}"
    return {"s": b'"', "a": b"[", "o": b"{"}[tag]


def spelled(pending: bytes) -> tuple[str, bytes]:
    """The characters of an unfinished string, and the bytes of one not spelled out yet."""
    match = _SPELLED.match(pending, 1)
    inside = b"" if match is None else match[0]
    return string(inside), pending[1 + len(inside) :]


def _follow_string(tag: str, inside: Any, pending: bytes) -> bytes | None:
    if tag not in ("s", "members"):
        return None
    written, begun = spelled(pending)
    found = b""
    for text in [inside] if tag == "s" else inside:
        if len(text) > len(written) and text.startswith(written):
            for spelling in _spellings(text[len(written)]):
                if spelling.startswith(begun):
                    found += spelling[len(begun) : len(begun) + 1]
        elif text == written and not begun:
            found += b'"'
    return found or None


@lru_cache(maxsize=4096)
def _spellings(character: str) -> tuple[bytes, ...]:
    """All ways to write a character inside a string."""
    units = character.encode("utf-16-be", "surrogatepass")
    hexadecimal = [b"\\u%02x%02x" % (a, b) for a, b in zip(units[::2], units[1::2], strict=True)]
    cases = (sorted({bytes((x,)), bytes((x,)).upper()}) for x in b"".join(hexadecimal))
    escaped = [b"".join(way) for way in product(*cases) if b"U" not in way]
    short = {'"': b'\\"', "\\": b"\\\\", "/": b"\\/", "\b": b"\\b", "\f": b"\\f",
             "\n": b"\\n", "\r": b"\\r", "\t": b"\\t"}.get(character)  # fmt: skip
    plain = character.encode("utf-8", "surrogatepass")
    return (plain, *escaped) if short is None else (plain, short, *escaped)


def _follow_number(text: str, value: Any) -> bytes | None:
    if not _may_become(text, value):
        return None
    more = [c for c in "0123456789.+-eE" if _may_become(text + c, value)]
    ends = WHITESPACE + b",]}" if number(text) == ("n", value) else b""
    return "".join(more).encode() + ends


def _may_become(text: str, value: Any) -> bool:
    """May more digits make an unfinished number equal to a value? (Yes where in doubt.)"""
    sign, digits = value[:2]
    mantissa, exponent, _ = text.lower().partition("e")
    if digits and mantissa.startswith("-") != (sign == "-"):
        return False
    written = mantissa.lstrip("-").replace(".", "").lstrip("0")
    if exponent:
        return written.rstrip("0") == digits
    return (digits + "0" * len(written)).startswith(written)
