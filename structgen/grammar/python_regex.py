"""Python's regular expressions, read into the tree of :mod:`structgen.regular.syntax`.

Python's own parser reads them, so that every construct and flag means what it means in Lark; what
llguidance (Rust's ``regex``) and ECMA-262 spell otherwise is accepted too: ``(?<name>...)``,
``\\p{L}``, ``\\u{1F600}``, ``\\x{41}``, ``\\/``, ``\\z``.

``^`` and ``$`` (and ``\\A``, ``\\Z``) are the ends of the terminal: a token stands inside a text,
and Python's reading, the ends of that text, would make a terminal with ``^`` useless.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from re import _constants as sre  # type: ignore[attr-defined]
from re import _parser  # type: ignore[attr-defined]
from typing import Any

from structgen.errors import GrammarSyntaxError, LimitExceeded
from structgen.regular.casefold import ignore_case
from structgen.regular.charset import UNICODE, Ranges, intersect, negate, normalize, union
from structgen.regular.syntax import MAX_NESTING, Alt, Assertion, Cat, Look, Node, Repeat, Set
from structgen.regular.unicode_sets import property_set

# Nested groups are read by a recursive parser.
MAX_GROUPS = min(MAX_NESTING, 90)
ASCII: Ranges = ((0, 127),)
NEWLINE: Ranges = ((10, 10),)
NOT_NEWLINE = negate(NEWLINE)
_PLACEHOLDER = 0xF0000  # private characters, which stand for \p{...} while Python's parser reads
_EXTENSION = re.compile(
    r"\\(?:[pP](?P<letter>[A-Za-z])|[pP]\{(?P<property>\^?[A-Za-z0-9_]+)(?:=(?P<value>\w+))?\}"
    r"|[xu]\{(?P<hex>[0-9A-Fa-f]{1,6})\}|(?P<end>z)|.)|(?P<group>\(\?<(?=[A-Za-z_]))",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True, eq=False)
class Lazy(Repeat):
    """A repetition that prefers fewer."""


class PatternError(Exception):
    """``position`` is an offset into the pattern, or None."""

    def __init__(self, message: str, position: int | None = None) -> None:
        super().__init__(message)
        self.position = position


def parse(pattern: str, flags: str = "", *, ascii_case: bool = False) -> Node:
    """The tree of ``pattern`` under Lark's flags, letters of ``imslux``.

    ``ascii_case``: without regard to case is A to Z for a to z, and no other letters.

    Raises:
        GrammarSyntaxError: it is not valid, or not regular; ``position`` says where in ``pattern``.
        LimitExceeded: its groups are nested too deeply.
    """
    try:
        return _parse(pattern, flags, ascii_case)
    except PatternError as error:
        raise GrammarSyntaxError(str(error), text=pattern, position=error.position) from None


def _parse(pattern: str, flags: str, ascii_case: bool) -> Node:
    if "l" in flags:
        raise PatternError("the flag l (locale) has no meaning for Unicode text; leave it out")
    text, properties = _translate(pattern)
    depth = deepest = 0
    escaped = False
    for char in text:
        depth += (char == "(") - (char == ")") if not escaped else 0
        escaped = char == "\\" and not escaped
        deepest = max(deepest, depth)
    if deepest > MAX_GROUPS:
        raise LimitExceeded(limit="nesting", value=MAX_GROUPS, where="groups of a pattern")
    value = 0
    for flag in flags:
        value |= {"i": re.I, "m": re.M, "s": re.S, "u": re.U, "x": re.X}[flag]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "possible nested set": a warning to programmers
            tree = _parser.parse(text, value)
    except re.error as error:
        # Positions agree unless something was translated before it.
        at = None if error.pos is None else min(error.pos, len(pattern))
        raise PatternError(f"in this regular expression: {error.msg}", at) from None
    except (OverflowError, RecursionError) as error:
        raise PatternError(f"this regular expression is too large: {error}") from None
    return _Reader(properties, ascii_case).sequence(tree, tree.state.flags)


def _translate(pattern: str) -> tuple[str, dict[int, Ranges]]:
    """Spellings that Python does not know, in Python's."""
    properties: dict[int, Ranges] = {}

    def replace(match: re.Match[str]) -> str:
        name = match["letter"] or match["property"]
        if name:
            inverted = name.startswith("^")
            ranges = property_set(name.lstrip("^"), match["value"])
            if ranges is None:
                raise PatternError(f"the property {match[0]} is not known", match.start())
            if inverted != (match[0][1] == "P"):
                ranges = negate(ranges)
            code = _PLACEHOLDER + len(properties)
            properties[code] = ranges
            return chr(code)
        if match["hex"]:
            code = int(match["hex"], 16)
            if code > 0x10FFFF:
                raise PatternError("past the last code point 10FFFF", match.start())
            return f"\\U{code:08x}"
        if match["end"]:
            return r"\Z"
        return "(?P<" if match["group"] else match[0]

    if any(_PLACEHOLDER <= ord(c) < _PLACEHOLDER + 4096 for c in pattern):
        raise PatternError("characters U+F0000 to U+F0FFF cannot stand in a pattern")
    return _EXTENSION.sub(replace, pattern), properties


@lru_cache(maxsize=16)
def category(name: Any, ascii_only: bool) -> Ranges:
    """\\d, \\w and \\s as ``str.isdecimal``, ``isalnum`` and ``isspace`` say; negated by name."""
    if name in _NEGATED:
        return negate(category(_NEGATED[name], ascii_only))
    ranges = _CATEGORIES[name]()
    return intersect(ranges, ASCII) if ascii_only else ranges


def _properties(*names: str) -> Ranges:
    return union(*(property_set(name, None) or () for name in names))


_SPACES = ((9, 13), (28, 32), (0x85, 0x85), (0xA0, 0xA0), (0x1680, 0x1680), (0x2000, 0x200A),
           (0x2028, 0x2029), (0x202F, 0x202F), (0x205F, 0x205F), (0x3000, 0x3000))  # fmt: skip
_CATEGORIES: dict[Any, Callable[[], Ranges]] = {
    sre.CATEGORY_DIGIT: lambda: _properties("Nd"),
    sre.CATEGORY_SPACE: lambda: _SPACES,
    sre.CATEGORY_WORD: lambda: union(_properties("L", "N"), ((95, 95),)),
}
_NEGATED = {
    sre.CATEGORY_NOT_DIGIT: sre.CATEGORY_DIGIT,
    sre.CATEGORY_NOT_SPACE: sre.CATEGORY_SPACE,
    sre.CATEGORY_NOT_WORD: sre.CATEGORY_WORD,
}


class _Reader:
    """Python's tree to ours. Recursive, as Python's parser is: ``MAX_GROUPS`` bounds both."""

    def __init__(self, properties: dict[int, Ranges], ascii_case: bool) -> None:
        self.properties = properties
        self.ascii_case = ascii_case

    def fold_case(self, ranges: Ranges, flags: int) -> Ranges:
        if not flags & re.I:
            return ranges
        ascii_case = self.ascii_case or bool(flags & re.A)
        return union(ranges, intersect(ignore_case(ranges), ASCII if ascii_case else UNICODE))

    def sequence(self, items: Any, flags: int) -> Node:
        nodes = tuple(self.node(op, argument, flags) for op, argument in items)
        return nodes[0] if len(nodes) == 1 else Cat(nodes)

    def node(self, op: Any, argument: Any, flags: int) -> Node:
        if op is sre.LITERAL:
            return Set(self.single(argument, flags))
        if op is sre.NOT_LITERAL:
            return Set(negate(self.single(argument, flags)))
        if op is sre.ANY:
            return Set(UNICODE if flags & re.S else NOT_NEWLINE)
        if op is sre.IN:
            return Set(self.character_class(argument, flags))
        if op is sre.BRANCH:
            return Alt(tuple(self.sequence(branch, flags) for branch in argument[1]))
        if op is sre.SUBPATTERN:
            _, added, removed, body = argument
            return self.sequence(body, (flags | added) & ~removed)
        if op in (sre.MAX_REPEAT, sre.MIN_REPEAT):
            low, high, body = argument
            kind = Lazy if op is sre.MIN_REPEAT and low != high else Repeat
            limit = None if high is sre.MAXREPEAT else int(high)
            return kind(self.sequence(body, flags), int(low), limit)
        if op is sre.POSSESSIVE_REPEAT:
            return self.possessive(argument, flags)
        if op in (sre.ASSERT, sre.ASSERT_NOT):
            direction, body = argument
            return Look(direction > 0, op is sre.ASSERT_NOT, self.sequence(body, flags))
        if op is sre.AT:
            return self.anchor(argument, flags)
        if op in (sre.GROUPREF, sre.GROUPREF_EXISTS):
            raise PatternError(
                "back-references are not regular; write out the texts that it may repeat"
            )
        if op is sre.FAILURE:
            return Set(())
        raise PatternError(
            "atomic groups (?>...) are not supported; write the group so that it cannot backtrack"
        )

    def single(self, code: int, flags: int) -> Ranges:
        ranges = self.properties.get(code, ((code, code),))
        return self.fold_case(ranges, flags)

    def character_class(self, items: Any, flags: int) -> Ranges:
        negated = False
        sets: list[Ranges] = []
        for op, argument in items:
            if op is sre.NEGATE:
                negated = True
            elif op is sre.LITERAL:
                sets.append(self.properties.get(argument, ((argument, argument),)))
            elif op is sre.RANGE:
                if argument[0] in self.properties or argument[1] in self.properties:
                    raise PatternError("a range cannot end in a property")
                sets.append((argument,))
            else:
                sets.append(category(argument, bool(flags & re.A)))
        ranges = self.fold_case(union(*sets), flags)
        return negate(ranges) if negated else intersect(normalize(ranges), UNICODE)

    def possessive(self, argument: Any, flags: int) -> Node:
        """Of one character, it is a repetition that no such character follows."""
        low, high, body = argument
        item = self.sequence(body, flags)
        if not isinstance(item, Set):
            raise PatternError(
                "possessive repetition of more than one character is not supported; write the "
                "pattern so that it cannot backtrack"
            )
        stop = Look(True, True, item)
        if high is sre.MAXREPEAT:
            return Cat((Repeat(item, int(low), None), stop))
        if low == high:
            return Repeat(item, int(low), int(high))
        shorter = Cat((Repeat(item, int(low), int(high) - 1), stop))
        return Alt((Repeat(item, int(high), int(high)), shorter))

    def anchor(self, kind: Any, flags: int) -> Node:
        if kind is sre.AT_BEGINNING_STRING or (kind is sre.AT_BEGINNING and not flags & re.M):
            return Assertion("^")
        if kind is sre.AT_END_STRING or (kind is sre.AT_END and not flags & re.M):
            return Assertion("$")
        if kind is sre.AT_BEGINNING:  # of a line
            return Look(False, True, Set(NOT_NEWLINE))
        if kind is sre.AT_END:
            return Look(True, True, Set(NOT_NEWLINE))
        word = Set(category(sre.CATEGORY_WORD, bool(flags & re.A)))
        before, not_before = Look(False, False, word), Look(False, True, word)
        after, not_after = Look(True, False, word), Look(True, True, word)
        if kind is sre.AT_BOUNDARY:
            return Alt((Cat((before, not_after)), Cat((not_before, after))))
        return Alt((Cat((before, after)), Cat((not_before, not_after))))
