"""The syntax of Lark's grammars (lark/grammars/lark.lark), with llguidance's extensions.

Lark's own loader is not used: it writes groups out without bound (sixteen optional parts in a row
are 65,536 productions), recurses, and forgets positions. Where its grammar accepts a text, so does
this one, and means the same.

A definition ends at a line break, unless a parenthesis is open or the next line begins with ``|``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from structgen.grammar.ebnf_syntax import MAX_QUANTIFIERS, token_ids
from structgen.grammar.expression import Both, Expr, Rep, alt, seq
from structgen.grammar.ir import Embedded, Special
from structgen.grammar.lark_nodes import (
    CharRange,
    Definition,
    Ignore,
    Import,
    Literal,
    Name,
    Nested,
    Options,
    Outside,
    Pattern,
    Statement,
    Structured,
    Use,
)
from structgen.grammar.source import MAX_NESTING, Source

_BLANK = re.compile(r"(?:[ \t\f\v\r]+|\\[ \t]*\r?\n|//[^\n]*|\#[^\n]*)+")
_BLANK_LINES = re.compile(r"(?:\s+|\\[ \t]*\r?\n|//[^\n]*|\#[^\n]*)+")
_CONTINUES = re.compile(r"(?:\s++|//[^\n]*+|\#[^\n]*+)*+[|&]")
_NAME = re.compile(
    r"_{0,2}(?:[a-z](?:[a-z0-9_]|-(?!>))*|[A-Z](?:[A-Z0-9_]|-(?!>))*)(?![A-Za-z0-9_])"
)
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_STRING = re.compile(r'"((?:\\.|[^"\\\n])*)"(i?)')
_REGEXP = re.compile(r"/(?!/)((?:\\.|[^/\\])*)/([imslux]*)", re.DOTALL)
_NUMBER = re.compile(r"[+-]?\d+")
_COUNT = re.compile(r"\{\s*(\d*)\s*(,?)\s*(\d*)\s*\}")
_TILDE = re.compile(r"~\s*(\d+)(?:\s*\.\.\s*(\d+))?")
_TOKEN = re.compile(r"<(?:\[(\^?)([^\]\n]*)\]|([^<>\[\]\s]+))>")
_STATEMENT = re.compile(r"%([a-z_]+)")
_ESCAPE = re.compile(r"\\(?:x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))")
_INSIDE = re.compile(
    rf"{_STRING.pattern}|{_REGEXP.pattern}|//[^\n]*|\#[^\n]*|[{{}}]|[^\"/#{{}}]+|.", re.DOTALL
)
_NAMED = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", '"': '"', "\\": "\\"}


@dataclass(slots=True)
class _Group:
    position: int
    optional: bool = False
    alternatives: list[Expr] = field(default_factory=list)
    both: list[Expr] = field(default_factory=list)
    items: list[Expr] = field(default_factory=list)
    quantifiers: int = 0

    def end_both(self) -> None:
        self.both.append(seq(self.items))
        self.items = []

    def end_alternative(self) -> None:
        self.end_both()
        both = self.both
        self.alternatives.append(both[0] if len(both) == 1 else Both(tuple(both)))
        self.both = []

    def close(self) -> Expr:
        self.end_alternative()
        body = alt(self.alternatives)
        return Rep(body, 0, 1) if self.optional else body


def parse_lark(source: Source, begin: int = 0, end: int | None = None) -> Iterator[Statement]:
    """The statements of a grammar, or of the one nested between ``begin`` and ``end``."""
    return _Parser(source, begin, len(source.text) if end is None else end).statements()


class _Parser:
    def __init__(self, source: Source, begin: int, end: int) -> None:
        self.source = source
        self.text = source.text[:end]
        self.at = begin

    def skip(self, pattern: re.Pattern[str] = _BLANK) -> None:
        if blank := pattern.match(self.text, self.at):
            self.at = blank.end()

    def peek(self, text: str) -> bool:
        return self.text.startswith(text, self.at)

    def take(self, text: str) -> bool:
        found = self.peek(text)
        self.at += len(text) if found else 0
        return found

    def statements(self) -> Iterator[Statement]:
        while True:
            self.skip(_BLANK_LINES)
            if self.at >= len(self.text):
                return
            position = self.at
            statement = _STATEMENT.match(self.text, position)
            if statement:
                self.at = statement.end()
                yield from self.statement(statement[1], position)
            else:
                yield self.definition("")
            self.end_of_line()

    def end_of_line(self) -> None:
        self.skip()
        if self.at < len(self.text) and not self.peek("\n"):
            raise self.source.error("expected the end of the line", self.at)

    def statement(self, keyword: str, position: int) -> Iterator[Statement]:
        self.skip()
        if keyword == "ignore":
            yield Ignore(self.alternatives(), position)
        elif keyword == "import":
            yield self.imports(position)
        elif keyword in ("override", "extend"):
            yield self.definition(keyword)
        elif keyword == "declare":
            while name := _NAME.match(self.text, self.at):
                self.at = name.end()
                yield Definition(name[0], None, name.start(), self.source)
                self.skip()
                self.take(",")
                self.skip()
        elif keyword in ("grammar_options", "llguidance"):
            value = self.json_value()
            if not isinstance(value[0], dict):
                raise self.source.error(f"%{keyword} takes a JSON object", position)
            yield Options(tuple(value[0]), position)
        else:
            raise self.source.error(
                f"unknown statement %{keyword}; there are %ignore, %import, %declare, %override "
                "and %extend",
                position,
            )

    def imports(self, position: int) -> Import:
        error = self.source.error
        relative = self.take(".")
        path: list[str] = []
        while True:
            self.skip()
            name = _WORD.match(self.text, self.at)
            if not name:
                raise error("%import expects names, as in %import common.NUMBER", self.at)
            path.append(name[0])
            self.at = name.end()
            if not self.take("."):
                break
        self.skip()
        if self.take("("):
            names: list[tuple[str, str]] = []
            while True:
                self.skip(_BLANK_LINES)
                name = _NAME.match(self.text, self.at)
                if not name:
                    raise error("expected a name in the list of imports", self.at)
                names.append((name[0], name[0]))
                self.at = name.end()
                self.skip(_BLANK_LINES)
                if self.take(")"):
                    return Import(tuple(path), relative, tuple(names), position)
                if not self.take(","):
                    raise error("expected , or ) in the list of imports", self.at)
        if len(path) < 2:
            raise error(f"nothing is imported from {path[0]}; write {path[0]}.NAME", position)
        alias = path[-1]
        if self.take("->"):
            self.skip()
            name = _NAME.match(self.text, self.at)
            if not name:
                raise error("-> expects a name", self.at)
            alias = name[0]
            self.at = name.end()
        return Import(tuple(path[:-1]), relative, ((path[-1], alias),), position)

    def definition(self, mode: str) -> Definition:
        error, text = self.source.error, self.text
        while self.take("?") or self.take("!"):
            pass
        position = self.at
        name = _NAME.match(text, position)
        if not name:
            if word := _WORD.match(text, position):
                raise error(
                    f"{word[0]} is no name: rules are written in lower case, terminals in upper",
                    position,
                )
            raise error("expected a rule or terminal definition", position)
        self.at = name.end()
        params: tuple[str, ...] = ()
        if self.take("{"):
            inside, _, _ = text[self.at :].partition("}")
            params = tuple(part.strip() for part in inside.split(","))
            if not all(map(_NAME.fullmatch, params)) or len(inside) == len(text) - self.at:
                raise error("expected the names of parameters, as in name{a, b}", self.at)
            self.at += len(inside) + 1
        attributes = self.attributes() if self.take("[") else ()
        self.skip()
        if self.peek("::"):
            raise error("rules with parameters (name::..., %if) are not supported", self.at)
        priority = 0
        if self.take("."):
            number = _NUMBER.match(text, self.at)
            if not number:
                raise error("expected a priority, as in NAME.2", self.at)
            priority = int(number[0][:10])
            self.at = number.end()
            self.skip()
        if not self.take(":"):
            raise error(f"expected : after the name {name[0]}", self.at)
        return Definition(
            name[0], self.alternatives(), position, self.source, params, priority, attributes, mode
        )

    def attributes(self) -> tuple[tuple[str, Any], ...]:
        """``[lazy, stop="x"]`` after its opening bracket."""
        found: list[tuple[str, Any]] = []
        while True:
            self.skip()
            if self.take("]"):
                return tuple(found)
            word = _WORD.match(self.text, self.at)
            if not word:
                raise self.source.error("expected an attribute, as in name[lazy]", self.at)
            self.at = word.end()
            value: Any = None
            self.skip()
            if self.take("="):
                self.skip()
                number = re.compile(r"[-+.\d]+(?:e[-+]?\d+)?|true|false").match(self.text, self.at)
                if number:
                    self.at = number.end()
                    value = number[0]
                else:
                    value = self.value()
            found.append((word[0], value))
            self.skip()
            if not self.take(",") and not self.peek("]"):
                raise self.source.error("expected , or ] after an attribute", self.at)

    def alternatives(self) -> Expr:
        text, error = self.text, self.source.error
        stack = [_Group(self.at)]
        while True:
            group = stack[-1]
            self.skip(_BLANK_LINES if len(stack) > 1 else _BLANK)
            begin = self.at
            char = text[begin : begin + 1]
            if char in ("", "\n"):
                more = _CONTINUES.match(text, begin) if char and len(stack) == 1 else None
                if not more:
                    break
                self.at = more.end() - 1
            elif char in "([":
                stack.append(_Group(begin, optional=char == "["))
                if len(stack) > MAX_NESTING:
                    raise self.source.nested_too_deeply(begin)
                self.at += 1
            elif char in ")]":
                if len(stack) == 1 or group.optional != (char == "]"):
                    raise error(f"unmatched {char}", begin)
                self.at += 1
                stack.pop()
                self.add(stack[-1], group.close())
            elif char == "|":
                group.end_alternative()
                self.at += 1
            elif char == "&":
                if not group.items:
                    raise error("& stands between two expressions", begin)
                group.end_both()
                self.at += 1
            elif char in "?*+~{":
                self.quantify(group)
            elif self.peek("->"):
                self.at += 2
                self.skip()
                alias = _NAME.match(text, self.at)
                if not alias or len(stack) > 1:
                    raise error("-> names an alternative of a rule: -> name", begin)
                self.at = alias.end()
            elif self.peek("::") or self.peek("%if"):
                raise error("rules with parameters (name::..., %if) are not supported", begin)
            elif char == ":":
                raise error("unexpected : (is a line break missing before this rule?)", begin)
            else:
                self.add(group, self.value())
        if len(stack) > 1:
            raise error("this group is never closed", stack[-1].position)
        return stack[0].close()

    @staticmethod
    def add(group: _Group, item: Expr) -> None:
        group.items.append(item)
        group.quantifiers = 0

    def quantify(self, group: _Group) -> None:
        text, begin, error = self.text, self.at, self.source.error
        char = text[begin]
        if not group.items:
            if char == "~":
                raise error("complements (~ before an expression) are not supported", begin)
            raise error("nothing to repeat", begin)
        low, high = 0, None
        self.at += 1
        if char == "+":
            low = 1
        elif char == "?":
            high = 1
        elif char in "~{":
            count = (_TILDE if char == "~" else _COUNT).match(text, begin)
            if not count or not any(d and d.isdigit() for d in count.groups()):
                raise error("expected {m}, {m,}, {m,n}, {,n}, ~ m or ~ m..n", begin)
            digits = [d for d in count.groups() if d and d.isdigit()]
            if max(map(len, digits)) > 9:
                raise error("a count has at most nine digits", begin)
            low = int(count[1] or 0)
            if char == "~":
                high = low if count[2] is None else int(count[2])
            else:
                high = int(count[3]) if count[3] else None if count[2] else low
            if high is not None and high < low:
                raise error(f"the counts {low} and {high} are out of order", begin)
            self.at = count.end()
        group.quantifiers += 1
        if group.quantifiers > MAX_QUANTIFIERS:
            raise error("too many quantifiers follow each other", begin)
        group.items[-1] = Rep(group.items[-1], low, high)

    def value(self) -> Expr:
        """A name, literal, range, template, special token or embedded constraint."""
        text, begin, error = self.text, self.at, self.source.error
        if name := _NAME.match(text, begin):
            self.at = name.end()
            inside = re.compile(r"\{(?!\s*[\d,])").match(text, self.at)
            return self.use(name[0], begin) if inside else Name(name[0], begin)
        if text.startswith('"', begin):
            return self.string()
        if text.startswith("/", begin):
            pattern = _REGEXP.match(text, begin)
            if not pattern:
                raise error("this regular expression is never closed", begin)
            if "\n" in pattern[1] and "x" not in pattern[2]:
                raise error("a regular expression over several lines needs the flag x", begin)
            self.at = pattern.end()
            if not pattern[1]:
                raise error("this regular expression is empty", begin)
            return Pattern(pattern[1].replace("\\/", "/"), pattern[2], begin)
        if text.startswith("<", begin):
            return self.token()
        if text.startswith("@", begin) and (word := _WORD.match(text, begin + 1)):
            self.at = word.end()
            return Outside(word[0], begin)
        if keyword := _STATEMENT.match(text, begin):
            self.at = keyword.end()
            self.skip()
            if keyword[1] == "json":
                return Embedded("json_schema", self.json_value()[1])
            if keyword[1] == "regex":
                return Structured(self.json_value()[1], begin)
            if keyword[1] == "lark":
                return self.nested(begin)
            raise error(f"%{keyword[1]} is not supported inside a rule", begin)
        if word := _WORD.match(text, begin):
            raise error(
                f"{word[0]} is no name: rules are written in lower case, terminals in upper", begin
            )
        raise error('expected a name, "text", /pattern/, (group) or [option]', begin)

    def use(self, name: str, position: int) -> Use:
        self.at += 1
        arguments: list[Expr] = []
        depth = 1
        # Templates inside arguments: each level is a frame of its own.
        frames: list[tuple[str, int, list[Expr]]] = [(name, position, arguments)]
        while True:
            self.skip(_BLANK_LINES)
            begin = self.at
            inner = _NAME.match(self.text, begin)
            if inner and self.text.startswith("{", inner.end()):
                frames.append((inner[0], begin, []))
                self.at = inner.end() + 1
                depth += 1
                if depth > MAX_NESTING:
                    raise self.source.nested_too_deeply(begin, "templates")
                continue
            frames[-1][2].append(self.value())
            while True:
                self.skip(_BLANK_LINES)
                if self.take(","):
                    break
                if not self.take("}"):
                    raise self.source.error("expected , or } in a template's arguments", self.at)
                template, at, given = frames.pop()
                result = Use(template, tuple(given), at)
                if not frames:
                    return result
                frames[-1][2].append(result)

    def string(self) -> Expr:
        begin = self.at
        first, ignore_case = self.text_here()
        self.skip()
        if not self.peek("..") or ignore_case:
            return Literal(first, ignore_case, begin)
        self.at += 2
        self.skip()
        last, ignore_case = self.text_here()
        if len(first) != 1 or len(last) != 1 or ignore_case:
            raise self.source.error('a range has one character on either side: "a".."z"', begin)
        if first > last:
            raise self.source.error(f"the range {first}..{last} is out of order", begin)
        return CharRange(first, last, begin)

    def text_here(self) -> tuple[str, bool]:
        begin = self.at
        string = _STRING.match(self.text, begin)
        if not string:
            message = "this text is never closed" if self.peek('"') else 'expected a "text"'
            raise self.source.error(message, begin)
        self.at = string.end()

        def replace(match: re.Match[str]) -> str:
            digits = match[1] or match[2] or match[3]
            if digits is None:
                return _NAMED.get(match[4], match[0])  # Lark keeps an unknown backslash
            code = int(digits, 16)
            if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
                at = begin + 1 + match.start()
                raise self.source.error(f"{match[0]} is no character", at)
            return chr(code)

        return _ESCAPE.sub(replace, string[1]), bool(string[2])

    def token(self) -> Special:
        begin = self.at
        match = _TOKEN.match(self.text, begin)
        if not match:
            raise self.source.error("expected a special token, as in <|name|> or <[id]>", begin)
        self.at = match.end()
        if match[3]:
            return Special(name=match[0])
        if match[2].strip() == "*":
            return Special(negated=True)
        ids = token_ids(self.source, match[2], begin)
        return Special(ids=ids, negated=bool(match[1]))

    def json_value(self) -> tuple[Any, str]:
        begin = self.at
        try:
            value, end = json.JSONDecoder(parse_float=Decimal).raw_decode(self.text, begin)
        except json.JSONDecodeError as error:
            message = f"this JSON cannot be read: {error.msg}"
            raise self.source.error(message, min(error.pos, len(self.text))) from None
        except RecursionError:
            raise self.source.nested_too_deeply(begin, "JSON values") from None
        self.at = end
        return value, self.text[begin:end]

    def nested(self, position: int) -> Nested:
        if not self.take("{"):
            raise self.source.error("expected { after %lark", self.at)
        begin, depth = self.at, 1
        while depth:
            part = _INSIDE.match(self.text, self.at)
            if not part:
                raise self.source.error("this grammar is never closed", position)
            depth += (part[0] == "{") - (part[0] == "}")
            self.at = part.end()
        return Nested(begin, self.at - 1, position)
