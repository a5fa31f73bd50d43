"""The syntax of ECMA-262 patterns (section 22.2.1), read into a tree.

Unicode mode ('u') decides what a pattern means, a character is a code point. Spelling is more
lenient, as patterns in schemas are: any punctuation may be escaped, and ``]``, ``{``, ``}`` stand
for themselves where Annex B.1.2 lets them. Nothing here recurses, so depth is bounded by a limit
and not by the interpreter's stack.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from structgen.errors import GrammarSyntaxError, LimitExceeded, UnsupportedSchemaError
from structgen.regular.casefold import ignore_case
from structgen.regular.charset import UNICODE, Ranges, negate, normalize, union
from structgen.regular.unicode_sets import property_set

MAX_NESTING = 1000
MAX_LOOKAROUND_NESTING = 20

DIGIT: Ranges = ((48, 57),)
WORD: Ranges = ((48, 57), (65, 90), (95, 95), (97, 122))
# WhiteSpace and LineTerminator (12.2, 12.3).
SPACE: Ranges = union(
    ((9, 13), (32, 32), (0xA0, 0xA0), (0x1680, 0x1680), (0x2000, 0x200A), (0x2028, 0x2029)),
    ((0x202F, 0x202F), (0x205F, 0x205F), (0x3000, 0x3000), (0xFEFF, 0xFEFF)),
)
DOT: Ranges = negate(normalize([(10, 10), (13, 13), (0x2028, 0x2029)]))

_CLASS_ESCAPES = {
    "d": DIGIT,
    "D": negate(DIGIT),
    "w": WORD,
    "W": negate(WORD),
    "s": SPACE,
    "S": negate(SPACE),
}
# (?ims-ims: begins a group; (?ims) is for all that follows, in other dialects.
_MODIFIERS = re.compile(r"\(\?([ims]*)(?:-([ims]*))?:")
_FLAGS = re.compile(r"\(\?([ims]+)()\)")
_CONTROL_ESCAPES = {"t": 9, "n": 10, "v": 11, "f": 12, "r": 13}
_COUNT = re.compile(r"\{([0-9]+)(,([0-9]*))?\}")
_HEX = re.compile(r"x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|u\{([0-9A-Fa-f]+)\}")
_LOW_SURROGATE = re.compile(r"\\u([Dd][C-Fc-f][0-9A-Fa-f]{2})")
_PROPERTY = re.compile(r"[pP]\{([A-Za-z0-9_]+)(?:=([A-Za-z0-9_]+))?\}")
_GROUP_NAME = re.compile(r"\(\?<([A-Za-z_$][\w$]*)>")


@dataclass(frozen=True, slots=True, eq=False)
class Set:
    """One character of a set."""

    ranges: Ranges


@dataclass(frozen=True, slots=True, eq=False)
class Cat:
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Alt:
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Repeat:
    """``low`` to ``high`` times (None: no bound). Greedy and lazy are the same language."""

    item: Node
    low: int
    high: int | None


@dataclass(frozen=True, slots=True, eq=False)
class Assertion:
    """``^``, ``$``, ``\\b`` or ``\\B``, as "^", "$", "b", "B"."""

    kind: str


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    ahead: bool
    negative: bool
    body: Node


Node = Set | Cat | Alt | Repeat | Assertion | Look


def children(node: Node) -> tuple[Node, ...]:
    match node:
        case Cat(items) | Alt(items):
            return items
        case Repeat(item) | Look(body=item):
            return (item,)
    return ()


def postorder(root: Node) -> Iterator[Node]:
    """Every node after its children; a node that occurs twice comes twice."""
    stack: list[tuple[Node, bool]] = [(root, False)]
    while stack:
        node, done = stack.pop()
        below = () if done else children(node)
        if not below:
            yield node
        else:
            stack.append((node, True))
            stack.extend((child, False) for child in reversed(below))


@dataclass(slots=True)
class _Group:
    """An open parenthesis: where, what it opens, and what has been read since."""

    position: int
    kind: str  # "(" for any group, else "(?=", "(?!", "(?<=", "(?<!"
    flags: frozenset[str] = frozenset()  # those outside of it
    alternatives: list[Node] = field(default_factory=list)
    items: list[Node] = field(default_factory=list)

    def end_alternative(self) -> None:
        items = self.items
        self.alternatives.append(items[0] if len(items) == 1 else Cat(tuple(items)))
        self.items = []

    def close(self) -> Node:
        self.end_alternative()
        alternatives = self.alternatives
        body = alternatives[0] if len(alternatives) == 1 else Alt(tuple(alternatives))
        if self.kind == "(":
            return body
        return Look("<" not in self.kind, "!" in self.kind, body)


def parse(pattern: str) -> Node:
    """The tree of ``pattern``.

    Raises:
        GrammarSyntaxError: the pattern is not valid; ``position`` says where.
        UnsupportedSchemaError: it is valid but not regular (a back-reference), or uses the
            modifier m or a property that is not known.
        LimitExceeded: groups are nested deeper than ``MAX_NESTING``.
    """
    return _Parser(pattern).parse()


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.n_groups = 0
        self.group_names: set[str] = set()
        self.references: list[tuple[int, int | str]] = []
        self.flags: frozenset[str] = frozenset()

    def error(self, message: str, position: int | None = None) -> GrammarSyntaxError:
        position = self.at if position is None else position
        return GrammarSyntaxError(message, text=self.text, position=position)

    def parse(self) -> Node:
        text = self.text
        stack = [_Group(0, "(")]
        if flags := _FLAGS.match(text):
            # ECMA-262 has modifiers of groups only; other dialects let a pattern begin so.
            self.modify(flags)
        looks = 0
        while self.at < len(text):
            char = text[self.at]
            group = stack[-1]
            if char == "|":
                group.end_alternative()
                self.at += 1
            elif char == "(":
                stack.append(self.open_group())
                looks += stack[-1].kind != "("
                if len(stack) > MAX_NESTING or looks > MAX_LOOKAROUND_NESTING:
                    bound = MAX_NESTING if len(stack) > MAX_NESTING else MAX_LOOKAROUND_NESTING
                    where = f"character {self.at} of a pattern"
                    raise LimitExceeded(limit="nesting", value=bound, where=where)
            elif char == ")":
                if len(stack) == 1:
                    raise self.error("unmatched )")
                stack.pop()
                looks -= group.kind != "("
                self.at += 1
                node = group.close()
                self.flags = group.flags
                can_repeat = group.kind in ("(", "(?=", "(?!")
                stack[-1].items.append(self.quantified(node, can_repeat))
            else:
                node = self.atom()
                group.items.append(self.quantified(node, isinstance(node, Set)))
        if len(stack) > 1:
            raise self.error("this group is never closed", stack[-1].position)
        self.check_references()
        return stack[0].close()

    def check_references(self) -> None:
        for position, reference in self.references:
            known = (
                reference <= self.n_groups
                if isinstance(reference, int)
                else reference in self.group_names
            )
            if not known:
                raise self.error(f"there is no group {reference}", position)
            raise UnsupportedSchemaError(
                f"the back-reference at character {position} of the pattern {self.text!r} is not "
                "regular; write out the texts it may repeat",
                keyword="pattern",
            )

    def open_group(self) -> _Group:
        text, begin = self.text, self.at
        flags = self.flags
        if not text.startswith("(?", begin):
            self.n_groups += 1
            self.at += 1
            return _Group(begin, "(", flags)
        if modifiers := _MODIFIERS.match(text, begin):
            self.modify(modifiers)
            return _Group(begin, "(", flags)
        for kind in ("(?=", "(?!", "(?<=", "(?<!"):
            if text.startswith(kind, begin):
                self.at += len(kind)
                return _Group(begin, kind, flags)
        if name := _GROUP_NAME.match(text, begin):
            self.n_groups += 1
            self.group_names.add(name[1])
            self.at = name.end()
            return _Group(begin, "(", flags)
        if _FLAGS.match(text, begin):
            raise self.error("flags for all that follows stand at the beginning of a pattern")
        if text.startswith("(?P<", begin):
            raise self.error("a named group is written (?<name>...) in ECMA-262", begin + 2)
        raise self.error("unknown kind of group", begin + 1)

    def modify(self, modifiers: re.Match[str]) -> None:
        """Change the flags, and go on after where that is said."""
        added, removed = modifiers[1], modifiers[2] or ""
        if "m" in added + removed:
            raise UnsupportedSchemaError(
                f"the pattern {self.text!r} uses the modifier m at character {modifiers.start()}: "
                "^ and $ stand for the ends of the text only",
                keyword="pattern",
            )
        self.flags = (self.flags | set(added)) - set(removed)
        self.at = modifiers.end()

    def folded(self, ranges: Ranges) -> Ranges:
        """The set, without regard to case where the flag i is set."""
        return ignore_case(ranges) if "i" in self.flags else ranges

    def quantified(self, node: Node, can_repeat: bool) -> Node:
        text = self.text
        char = text[self.at : self.at + 1]
        low, high = 0, None
        if char == "*":
            end = self.at + 1
        elif char == "+":
            low, end = 1, self.at + 1
        elif char == "?":
            high, end = 1, self.at + 1
        elif char == "{" and (count := _COUNT.match(text, self.at)):
            # A count of more digits than these exceeds every limit anyway.
            low = int(count[1][:9]) if len(count[1].lstrip("0")) <= 9 else 10**9
            high = low
            if count[2]:
                digits = count[3].lstrip("0") or count[3][:1]
                high = None if not digits else int(digits) if len(digits) <= 9 else 10**9
            if high is not None and high < low:
                raise self.error("the counts of {m,n} are out of order")
            end = count.end()
        else:
            return node
        if not can_repeat:
            raise self.error("nothing to repeat")
        self.at = end + (text[end : end + 1] == "?")
        following = text[self.at : self.at + 1]
        if (following and following in "*+?") or _COUNT.match(text, self.at):
            raise self.error("nothing to repeat: a quantifier follows a quantifier")
        return Repeat(node, low, high)

    def atom(self) -> Node:
        text, begin = self.text, self.at
        char = text[begin]
        if char == "\\":
            following = text[begin + 1 : begin + 2]
            if following in ("b", "B"):
                self.at += 2
                return Assertion(following)
            ranges = _ranges(self.escape(in_class=False))
            # What a class leaves out it leaves out in either case.
            return Set(ranges if following in "DWSP" else self.folded(ranges))
        if char == "[":
            return Set(self.character_class())
        if char in "*+?" or (char == "{" and _COUNT.match(text, begin)):
            raise self.error("nothing to repeat")
        self.at += 1
        if char in "^$":
            return Assertion(char)
        if char == ".":
            return Set(UNICODE if "s" in self.flags else DOT)
        return Set(self.folded(_ranges(ord(char))))

    def escape(self, *, in_class: bool) -> int | Ranges:
        """The code point or set of the escape that starts here."""
        text, begin = self.text, self.at
        if begin + 1 >= len(text):
            raise self.error("nothing follows \\")
        char = text[begin + 1]
        self.at += 2
        if char in _CLASS_ESCAPES:
            return _CLASS_ESCAPES[char]
        if char in _CONTROL_ESCAPES:
            return _CONTROL_ESCAPES[char]
        if char == "b" and in_class:
            return 8
        if char == "0" and not text[self.at : self.at + 1].isdecimal():
            return 0
        if "1" <= char <= "9" and not in_class:
            digits = re.compile("[0-9]+").match(text, begin + 1)
            assert digits
            self.at = digits.end()
            self.references.append((begin, int(digits[0][:9])))
            return ()
        if char == "k" and not in_class and (name := re.compile("<([^>]*)>").match(text, self.at)):
            self.at = name.end()
            self.references.append((begin, name[1]))
            return ()
        if char == "c" and re.compile("[A-Za-z]").match(text, self.at):
            self.at += 1
            return ord(text[self.at - 1]) % 32
        if hexadecimal := _HEX.match(text, begin + 1):
            return self.code_point(hexadecimal)
        if char in "pP":
            name = _PROPERTY.match(text, begin + 1)
            if not name:
                raise self.error("expected a property, as in \\p{Letter}", begin)
            self.at = name.end()
            ranges = property_set(name[1], name[2])
            if ranges is None:
                raise UnsupportedSchemaError(
                    f"the property {name[0][2:-1]!r} in the pattern {text!r} is not known; general "
                    "categories and the scripts most in use are",
                    keyword="pattern",
                )
            return negate(ranges) if char == "P" else ranges
        if char.isalnum():
            raise self.error(f"unknown escape \\{char}", begin)
        return ord(char)

    def code_point(self, hexadecimal: re.Match[str]) -> int:
        self.at = hexadecimal.end()
        value = int(hexadecimal[1] or hexadecimal[2] or hexadecimal[3], 16)
        if value > 0x10FFFF:
            raise self.error("past the last code point 10FFFF", hexadecimal.start() - 1)
        if hexadecimal[2] and 0xD800 <= value <= 0xDBFF:
            low = _LOW_SURROGATE.match(self.text, self.at)
            if low:
                self.at = low.end()
                return 0x10000 + (value - 0xD800 << 10) + int(low[1], 16) - 0xDC00
        return value

    def character_class(self) -> Ranges:
        text, begin = self.text, self.at
        self.at += 1
        negated = text.startswith("^", self.at)
        self.at += negated
        singles: list[tuple[int, int]] = []
        sets: list[Ranges] = []
        while True:
            if self.at >= len(text):
                raise self.error("this class is never closed", begin)
            if text[self.at] == "]":
                self.at += 1
                break
            first_at = self.at
            first = self.class_atom()
            if text.startswith("-", self.at) and text[self.at + 1 : self.at + 2] not in ("", "]"):
                self.at += 1
                last = self.class_atom()
                if isinstance(first, int) and isinstance(last, int):
                    if first > last:
                        raise self.error("the range is out of order", first_at)
                    singles.append((first, last))
                    continue
                # Annex B.1.2: next to a set such as \w the hyphen stands for itself.
                sets.extend((_ranges(first), _ranges(ord("-")), _ranges(last)))
            elif isinstance(first, int):
                singles.append((first, first))
            else:
                sets.append(first)
        ranges = self.folded(union(tuple(singles), *sets))
        return negate(ranges, UNICODE) if negated else ranges

    def class_atom(self) -> int | Ranges:
        if self.text[self.at] == "\\":
            return self.escape(in_class=True)
        self.at += 1
        return ord(self.text[self.at - 1])


def _ranges(atom: int | Ranges) -> Ranges:
    return ((atom, atom),) if isinstance(atom, int) else atom
