"""The syntax of GBNF (llama.cpp, grammars/README.md) and of XGrammar's EBNF, which extends it.

A rule ends where the next one, ``name ::=``, begins or the text ends, so line breaks are free: what
llama.cpp accepts means the same here. Nothing recurses.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from structgen.grammar.expression import EMPTY, Expr, Rep, alt, seq
from structgen.grammar.ir import Special
from structgen.grammar.source import MAX_NESTING, Source
from structgen.regular.charset import UNICODE, Ranges, intersect, negate, normalize

# Quantifiers on one item, as in x?*.
MAX_QUANTIFIERS = 16
MAX_COUNT = 10**9

_SPACE = re.compile(r"(?:\s|#[^\n]*)+")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*|[A-Za-z0-9_-]+")
_ATTRIBUTES = r"(?P<attributes>\[[^\]\n]*\])?"
_BLANK = r"(?:\s++|#[^\n]*+)*+"
_DEFINITION = re.compile(rf"(?P<name>[A-Za-z0-9_][A-Za-z0-9_.-]*){_BLANK}{_ATTRIBUTES}{_BLANK}::=")
_COUNT = re.compile(r"\{\s*(\d*)\s*(,?)\s*(\d*)\s*\}")
_TOKEN = re.compile(r"(!?)<(?:\[([^\]\n]*)\]|([^<>\[\]\s]+))>")
_IDS = re.compile(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?")
_MACRO = re.compile(r"([A-Z][A-Za-z]*)\(")
MACROS = frozenset(
    "Regex Substring TagDispatch TokenTagDispatch Token ExcludeToken JSONSchema JsonSchema".split()
)
_ESCAPE = re.compile(r"\\(?:x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|u\{(\w+)\}|(.))")
_PLAIN = re.compile(r'[^"\\]+')
_NAMED = {"n": 10, "t": 9, "r": 13, "b": 8, "f": 12, "v": 11, "a": 7, "0": 0, "e": 27}


@dataclass(frozen=True, slots=True)
class Name:
    name: str
    position: int


@dataclass(frozen=True, slots=True)
class Text:
    text: str


@dataclass(frozen=True, slots=True)
class Chars:
    ranges: Ranges
    source: str


@dataclass(frozen=True, slots=True)
class Macro:
    """``name(...)``: its arguments as they were written."""

    name: str
    texts: tuple[str, ...]
    options: tuple[tuple[str, str], ...]
    position: int


@dataclass(frozen=True, slots=True)
class Rule:
    name: str
    attributes: str
    body: Expr
    position: int


@dataclass(slots=True)
class _Group:
    position: int
    alternatives: list[Expr] = field(default_factory=list)
    items: list[Expr] = field(default_factory=list)
    quantifiers: int = 0

    def end_alternative(self) -> None:
        self.alternatives.append(seq(self.items))
        self.items = []

    def close(self) -> Expr:
        self.end_alternative()
        return alt(self.alternatives)


def parse_ebnf(source: Source) -> Iterator[Rule]:
    """The rules, in order.

    Raises:
        GrammarSyntaxError, LimitExceeded
    """
    return _Parser(source).rules()


def token_ids(source: Source, text: str, position: int) -> tuple[tuple[int, int], ...]:
    """``12,20-25`` as ranges."""
    ids = []
    for part in text.split(","):
        match = _IDS.fullmatch(part)
        if not match:
            raise source.error("expected token ids, as in <[12,20-25]>", position)
        first, last = int(match[1]), int(match[2] or match[1])
        if first > last:
            raise source.error(f"the range of token ids {first}-{last} is out of order", position)
        ids.append((first, last))
    return normalize(ids)


class _Parser:
    def __init__(self, source: Source) -> None:
        self.source = source
        self.text = source.text
        self.at = 0

    def skip(self) -> None:
        if space := _SPACE.match(self.text, self.at):
            self.at = space.end()

    def rules(self) -> Iterator[Rule]:
        self.skip()
        while self.at < len(self.text):
            definition = _DEFINITION.match(self.text, self.at)
            if not definition:
                name = _NAME.match(self.text, self.at)
                if name:
                    raise self.source.error(f"expected ::= after the name {name[0]}", name.end())
                raise self.source.error("expected a rule, as in name ::= ...", self.at)
            position = self.at
            self.at = definition.end()
            attributes = (definition["attributes"] or "")[1:-1]
            yield Rule(definition["name"], attributes, self.alternatives(), position)

    def alternatives(self) -> Expr:
        text, error = self.text, self.source.error
        stack = [_Group(self.at)]
        while True:
            self.skip()
            group = stack[-1]
            begin = self.at
            if begin >= len(text):
                break
            char = text[begin]
            if char == "(":
                if text.startswith("(=", begin):
                    raise error(
                        "lookahead assertions (=...) are not supported; what may follow a rule is "
                        "already known from the grammar",
                        begin,
                    )
                stack.append(_Group(begin))
                if len(stack) > MAX_NESTING:
                    raise self.source.nested_too_deeply(begin)
                self.at += 1
            elif char == ")":
                if len(stack) == 1:
                    raise error("unmatched )", begin)
                self.at += 1
                stack.pop()
                self.add(stack[-1], group.close())
            elif char == "|":
                group.end_alternative()
                self.at += 1
            elif char in "*+?{":
                self.quantify(group)
            elif char == '"':
                self.add(group, self.literal())
            elif char == "[":
                self.add(group, self.character_class())
            elif char == ".":
                self.at += 1
                self.add(group, Chars(UNICODE, "."))
            elif char in "<!":
                self.add(group, self.token())
            elif name := _NAME.match(text, begin):
                if _DEFINITION.match(text, begin):
                    break
                macro = _MACRO.match(text, begin)
                if macro and macro[1] in MACROS:
                    self.add(group, self.macro(macro))
                else:
                    self.at = name.end()
                    self.add(group, Name(name[0], begin))
            else:
                raise error(
                    'expected a name, "text", [class], (group), <token>, a quantifier or |', begin
                )
        if len(stack) > 1:
            raise error("this group is never closed", stack[-1].position)
        return stack[0].close()

    @staticmethod
    def add(group: _Group, item: Expr) -> None:
        group.items.append(item)
        group.quantifiers = 0

    def quantify(self, group: _Group) -> None:
        text, begin, error = self.text, self.at, self.source.error
        if not group.items:
            raise error("nothing to repeat", begin)
        low, high = 0, None
        char = text[begin]
        self.at += 1
        if char == "+":
            low = 1
        elif char == "?":
            high = 1
        elif char == "{":
            count = _COUNT.match(text, begin)
            if not count or not (count[1] or count[3]):
                raise error("expected {m}, {m,}, {m,n} or {,n}", begin)
            if max(len(count[1]), len(count[3])) > 9:
                raise error(f"a count is at most {MAX_COUNT - 1:,}", begin)
            low = int(count[1] or 0)
            high = int(count[3]) if count[3] else None if count[2] else low
            if high is not None and high < low:
                raise error(f"the counts {low} and {high} are out of order", begin)
            self.at = count.end()
        group.quantifiers += 1
        if group.quantifiers > MAX_QUANTIFIERS:
            raise error("too many quantifiers follow each other", begin)
        group.items[-1] = Rep(group.items[-1], low, high)

    def literal(self) -> Expr:
        text, begin = self.text, self.at
        self.at += 1
        out: list[str] = []
        while True:
            if plain := _PLAIN.match(text, self.at):
                out.append(plain[0])
                self.at = plain.end()
            if self.at >= len(text):
                raise self.source.error("this text is never closed", begin)
            if text[self.at] == '"':
                self.at += 1
                break
            out.append(self.character())
        return Text("".join(out)) if out else EMPTY

    def character(self) -> str:
        """The character here, or the one that an escape stands for."""
        text, begin = self.text, self.at
        if text[begin] != "\\":
            self.at += 1
            return text[begin]
        match = _ESCAPE.match(text, begin)
        if not match:
            raise self.source.error("nothing follows \\", begin)
        self.at = match.end()
        digits = match[1] or match[2] or match[3] or match[4]
        if digits:
            try:
                code = int(digits, 16)
            except ValueError:
                code = 0x110000
            if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
                raise self.source.error(f"{match[0]} is no character", begin)
            return chr(code)
        char = match[5]
        if char in _NAMED:
            return chr(_NAMED[char])
        if char.isalnum():
            raise self.source.error(f"unknown escape \\{char}", begin)
        return char

    def character_class(self) -> Expr:
        text, begin, error = self.text, self.at, self.source.error
        self.at += 1
        negated = text.startswith("^", self.at)
        self.at += negated
        ranges: list[tuple[int, int]] = []
        while True:
            if self.at >= len(text):
                raise error("this class is never closed", begin)
            if text[self.at] == "]":
                self.at += 1
                break
            first_at = self.at
            first = last = ord(self.character())
            if text.startswith("-", self.at) and not text.startswith("-]", self.at):
                self.at += 1
                if self.at >= len(text):
                    raise error("this class is never closed", begin)
                last = ord(self.character())
                if last < first:
                    raise error(
                        f"the range {chr(first)}-{chr(last)} is out of order; write \\- for a "
                        "hyphen",
                        first_at,
                    )
            ranges.append((first, last))
        chars = normalize(ranges)
        chars = negate(chars) if negated else intersect(chars, UNICODE)
        return Chars(chars, text[begin : self.at])

    def token(self) -> Special:
        match = _TOKEN.match(self.text, self.at)
        if not match:
            raise self.source.error(
                "expected a token, as in <name>, <[id]> or !<name>; < and ! themselves are "
                'written "<" and "!"',
                self.at,
            )
        position = self.at
        self.at = match.end()
        negated = bool(match[1])
        if match[2] is not None:
            return Special(ids=token_ids(self.source, match[2], position), negated=negated)
        return Special(name=f"<{match[3]}>", negated=negated)

    def macro(self, match: re.Match[str]) -> Macro:
        position, error = self.at, self.source.error
        if match[1] not in ("Regex", "Substring"):
            raise error(f"the macro {match[1]}(...) is not supported", position)
        self.at = match.end()
        texts: list[str] = []
        options: list[tuple[str, str]] = []
        while True:
            self.skip()
            if self.text.startswith(")", self.at):
                self.at += 1
                return Macro(match[1], tuple(texts), tuple(options), position)
            if texts or options:
                if not self.text.startswith(",", self.at):
                    raise error(f"expected , or ) in the arguments of {match[1]}", self.at)
                self.at += 1
                self.skip()
            if self.text.startswith('"', self.at):
                texts.append(self.macro_text())
                continue
            option = re.compile(r"(\w+)\s*=\s*").match(self.text, self.at)
            if not option:
                raise error(f'expected "text" or option=value in {match[1]}(...)', self.at)
            self.at = option.end()
            if self.text.startswith('"', self.at):
                options.append((option[1], self.macro_text()))
            else:
                value = re.compile(r"\w+").match(self.text, self.at)
                if not value:
                    raise error(f"expected a value for {option[1]}", self.at)
                self.at = value.end()
                options.append((option[1], value[0]))

    def macro_text(self) -> str:
        literal = self.literal()
        return literal.text if isinstance(literal, Text) else ""
