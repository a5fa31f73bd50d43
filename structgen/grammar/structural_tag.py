"""Structural tags: free text, tags, JSON and grammars in one text, described in JSON.

The form is XGrammar's (``{"type": "structural_tag", "format": ...}``); docs/structural-tags.md
describes it field by field. The older ``{"structures": [...], "triggers": [...]}`` is read too.

What is chosen here:

- Free text ends at the first occurrence of what ends it: a trigger, or the end of the tag that it
  stands in. The terminal of such a text holds the trigger or the end, because a shorter text
  followed by the trigger would not say that it is the first one (``aa`` in ``aaa``).
- A string names special tokens of the vocabulary where it holds their names
  (``special_tokens``); free text holds none.
- A schema that declares properties and does not mention ``additionalProperties`` allows no others,
  as in XGrammar and as OpenAI's strict tools ask.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from structgen.errors import (
    GrammarSyntaxError,
    LimitExceeded,
    SchemaError,
    StructgenError,
    UnsupportedGrammarError,
    UnsupportedSchemaError,
)
from structgen.grammar.ebnf_reader import read_ebnf
from structgen.grammar.expression import EMPTY, Alt, Expr, Rep, Seq, alt, seq
from structgen.grammar.ir import Embedded, Grammar, Special
from structgen.grammar.lark_reader import read_lark
from structgen.grammar.structural_tag_fields import Fields, below, error, shown, unknown
from structgen.grammar.structural_tag_rules import Rules
from structgen.grammar.structural_tag_schema import SchemaView, write_schema
from structgen.grammar.structural_tag_text import Alphabet, FreeText, scan
from structgen.grammar.structural_tag_xml import STYLES, parameters
from structgen.json_text import read_json
from structgen.regular.ecma import compile_full

MAX_NESTING = 64
TYPE = "structural_tag"


def read_structural_tag(
    spec: Mapping[str, Any] | str, *, special_tokens: Collection[str] = ()
) -> Grammar:
    """Read a structural tag into a scannerless grammar.

    Args:
        spec: a dict or its JSON text.
        special_tokens: names of the vocabulary's special tokens. Where a string of the
            specification holds one, the token stands there, not its text.

    Raises:
        GrammarSyntaxError: what is wrong, and where, as a JSON Pointer.
        SchemaError, UnsupportedSchemaError: of a JSON Schema in it.
        UnsupportedGrammarError: a field that cannot be enforced.
        LimitExceeded: nesting, a regular expression or free text is too large.
    """
    if isinstance(spec, str | bytes | bytearray):
        spec = _read(spec)
    fields = Fields(spec, "#", "a structural tag")
    reader = _Reader(Alphabet(special_tokens))
    kind = fields.take("type", TYPE)
    if kind != TYPE:
        raise error(f"type is {TYPE}, not {shown(kind)}", "#/type")
    if "structures" in fields.value:
        start = reader.structures(fields)
    else:
        start = reader.format(fields.take("format"), "#/format", None, 0)
    fields.done()
    try:
        return reader.rules.grammar(start)
    except GrammarSyntaxError as problem:
        message = str(problem).splitlines()[0].removesuffix(" (line 1, column 1)")
        raise error(message, "#") from None


def _read(text: str | bytes | bytearray) -> Any:
    try:
        return read_json(text)
    except json.JSONDecodeError as problem:
        raise GrammarSyntaxError(
            f"the structural tag is not valid JSON: {problem.msg}",
            text=problem.doc,
            position=problem.pos,
        ) from None
    except RecursionError:
        raise GrammarSyntaxError("the structural tag is nested too deeply to be read") from None
    except ValueError as problem:
        raise GrammarSyntaxError(f"the structural tag is not valid JSON: {problem}") from None


@dataclass(frozen=True)
class End:
    """What ends the tag around a format.

    Attributes:
        texts: encoded, not empty; any of them ends it.
        empty: it may end without any.
        token: the end is this token.
    """

    texts: tuple[str, ...] = ()
    empty: bool = False
    token: int | str | None = None


@dataclass(frozen=True)
class Tag:
    """A tag that was read.

    Attributes:
        begin: encoded; "" where it begins with a token.
        token: what it begins with instead.
        rest: content and end.
    """

    begin: str
    token: int | str | None
    rest: Expr


class _Reader:
    """Formats to expressions.

    ``end`` is that of the nearest tag around a format. With ``last`` true, the format is the last
    thing in it: what is returned holds the end. Otherwise it is the format alone, and free text in
    it does not hold the end.
    """

    def __init__(self, alphabet: Alphabet) -> None:
        self.alphabet = alphabet
        self.rules = Rules(alphabet)
        self.kinds: dict[str, Callable[[Fields, End | None, bool, int], Expr]] = {
            "const_string": self.const_string,
            "json_schema": self.json_schema,
            "qwen_xml_parameter": self.qwen_xml_parameter,
            "grammar": self.grammar,
            "regex": self.regex,
            "any_text": self.any_text,
            "sequence": self.sequence,
            "or": self.choice,
            "optional": self.repeated,
            "plus": self.repeated,
            "star": self.repeated,
            "repeat": self.repeated,
            "tag": self.tag_format,
            "triggered_tags": self.triggered_tags,
            "tags_with_separator": self.tags_with_separator,
            "dispatch": self.dispatch,
            "token": self.token,
            "exclude_token": self.exclude_token,
            "any_tokens": self.any_tokens,
            "token_triggered_tags": self.token_triggered_tags,
            "token_dispatch": self.token_dispatch,
        }

    def format(
        self, value: Any, pointer: str, end: End | None, depth: int, *, last: bool = False
    ) -> Expr:
        if depth > MAX_NESTING:
            raise LimitExceeded(limit="nesting", value=MAX_NESTING, where=pointer)
        fields = Fields(value, pointer, "a format")
        kind = fields.take("type")
        if not isinstance(kind, str) or kind not in self.kinds:
            message = f"the type of a format: {unknown(str(kind), list(self.kinds))}"
            raise error(message, below(pointer, "type"))
        fields.what = kind
        expr = self.kinds[kind](fields, end, last, depth + 1)
        fields.done()
        return expr

    # -- ends -----------------------------------------------------------------------------------

    def closing(self, end: End) -> Expr:
        if end.token is not None:
            return special(end.token)
        forms = [self.rules.literal(text) for text in end.texts]
        return alt([*forms, *([EMPTY] if end.empty else [])])

    def closed(self, expr: Expr, end: End | None, last: bool) -> Expr:
        """A format that does not hold its end itself."""
        return Seq((expr, self.closing(end))) if last and end is not None else expr

    def free(
        self,
        found: FreeText,
        name: str,
        stops: list[str],
        end: End | None,
        last: bool,
    ) -> list[Expr]:
        """How free text, scanned for triggers and ends, may end other than by a trigger."""
        parts: list[Expr] = []
        if last and end is not None and end.texts:
            for event in found.events:
                # An end may be a trigger too; then either may be meant.
                if any(stops[i] in end.texts for i in event):
                    parts.append(self.event(found, name, stops, event))
        if not (last and end is not None) or end.empty or end.token is not None:
            open_end = self.rules.language(f"{name}, at none", found.unstopped())
            token = end.token if last and end is not None else None
            parts.append(open_end if token is None else Seq((open_end, special(token))))
        return parts

    def event(self, found: FreeText, name: str, stops: list[str], event: frozenset[int]) -> Expr:
        spelled = ", ".join(shown(self.alphabet.spell(stops[i])) for i in sorted(event))
        dfa = found.stopping(lambda stopped: stopped == event)
        return self.rules.language(f"{name}, at {spelled}", dfa)

    def scanned(
        self, triggers: list[str], excludes: list[str], end: End | None, pointer: str,
        max_chars: int | None = None,
    ) -> tuple[FreeText, str, list[str]]:  # fmt: skip
        """The scan for triggers and the tag's ends, a name for its texts, and the stops."""
        ends = end.texts if end is not None else ()
        stops = list(dict.fromkeys([*triggers, *ends]))
        # Free text holds no special token anyway.
        texts = [x for x in excludes if not any(s for _, s in self.alphabet.split(x))]
        spelled = [[self.alphabet.spell(x) for x in part] for part in (stops, texts)]
        bound = "" if max_chars is None else f" of up to {max_chars} characters"
        name = f"text{bound} with stops {spelled[0]} and without {spelled[1]}"
        try:
            return scan(stops, texts, max_chars=max_chars), name, stops
        except LimitExceeded as problem:
            raise LimitExceeded(
                limit=problem.limit, value=problem.value, where=f"{problem.where} at {pointer}"
            ) from None

    def encoded(self, texts: list[str]) -> list[str]:
        return [self.alphabet.encode(text) for text in texts]

    # -- primitive formats ----------------------------------------------------------------------

    def const_string(self, fields: Fields, end: End | None, last: bool, depth: int) -> Expr:
        text = self.alphabet.encode(fields.text("value"))
        return self.closed(self.rules.literal(text), end, last)

    def json_schema(self, fields: Fields, end: End | None, last: bool, depth: int) -> Expr:
        style = fields.choice("style", ("json", *STYLES), "json")
        return self.schema(fields, style, end, last)

    def qwen_xml_parameter(self, fields: Fields, end: End | None, last: bool, depth: int) -> Expr:
        return self.schema(fields, "qwen_xml", end, last)

    def schema(self, fields: Fields, style: str, end: End | None, last: bool) -> Expr:
        schema = fields.take("json_schema")
        if fields.what == "json_schema":
            any_order = fields.boolean("any_order", False)
            space = fields.integer("max_whitespace_cnt", None)
            if fields.texts("excludes", ()):
                raise UnsupportedGrammarError(
                    f"excludes of json_schema is not supported (at {fields.at('excludes')})"
                )
        else:
            any_order, space = False, None
        pointer = fields.at("json_schema")
        written = write_schema(schema, pointer)
        options: dict[str, Any] = {"additional_properties": False}
        if any_order:
            options["property_order"] = "any"
        if space is not None:
            options["whitespace"] = f"[ \\t\\n\\r]{{0,{space}}}" if space else "compact"
        text = json.dumps(options)
        if style == "json":
            return self.closed(Embedded("json_schema", written, text), end, last)
        view = SchemaView(schema, pointer, text)
        try:
            expr = parameters(self.rules, style, view, any_order=any_order, max_space=space)
        except RecursionError:
            raise SchemaError("the schema is nested too deeply", pointer=pointer) from None
        return self.closed(expr, end, last)

    def grammar(self, fields: Fields, end: End | None, last: bool, depth: int) -> Expr:
        text = fields.text("grammar")
        syntax = fields.choice("syntax", ("ebnf", "lark"), "ebnf")
        expr: Expr
        try:
            if syntax == "lark":
                read_lark(text)  # what is wrong with it is said here
                expr = Embedded("lark", text)
            else:
                expr = self.rules.include(read_ebnf(text), fields.at("grammar"))
        except StructgenError as problem:
            raise _placed(problem, fields.at("grammar")) from None
        return self.closed(expr, end, last)

    def regex(self, fields: Fields, end: End | None, last: bool, depth: int) -> Expr:
        pattern = fields.text("pattern")
        try:
            dfa = compile_full(pattern)
        except StructgenError as problem:
            raise _placed(problem, fields.at("pattern")) from None
        if dfa.is_empty:
            raise error(f"no text matches the pattern {shown(pattern)}", fields.at("pattern"))
        return self.closed(self.rules.language(f"/{pattern}/", dfa), end, last)

    def any_text(self, fields: Fields, end: End | None, last: bool, depth: int) -> Expr:
        excludes = self.encoded(fields.texts("excludes", ()))
        max_chars = fields.integer("max_chars", None)
        if fields.integer("max_tokens", None) is not None:
            raise UnsupportedGrammarError(
                "max_tokens of any_text is not supported: a grammar of texts does not see how a "
                f"text is divided into tokens; max_chars is (at {fields.at('max_tokens')})"
            )
        found, name, stops = self.scanned([], excludes, end, fields.pointer, max_chars)
        return alt(self.free(found, name, stops, end, last))

    # -- composition ----------------------------------------------------------------------------

    def sequence(self, fields: Fields, end: End | None, last: bool, depth: int) -> Expr:
        elements = fields.some("elements")
        items: list[Expr] = []
        for i, element in enumerate(elements):
            final = i + 1 == len(elements)
            place = fields.at("elements", i)
            items.append(self.format(element, place, end, depth, last=last and final))
            bounded = element.get("excludes") or element.get("max_chars") is not None
            bounded = bounded or (end is not None and end.texts)
            if element["type"] == "any_text" and not final and not bounded:
                self.rules.warnings.append(
                    "nothing says where this text ends, so it may hold what follows it: "
                    f"excludes would say it (at {place})"
                )
        return seq(items)

    def choice(self, fields: Fields, end: End | None, last: bool, depth: int) -> Expr:
        elements = fields.some("elements")
        return alt(
            [
                self.format(element, fields.at("elements", i), end, depth, last=last)
                for i, element in enumerate(elements)
            ]
        )

    def repeated(self, fields: Fields, end: End | None, last: bool, depth: int) -> Expr:
        low, high = {"optional": (0, 1), "plus": (1, None), "star": (0, None)}.get(
            fields.what, (0, None)
        )
        if fields.what == "repeat":
            low, high = fields.integer("min"), fields.integer("max", low=-1)
            if high == -1:
                high = None
            elif high < low:
                raise error(f"max is {high}, less than min, {low}", fields.at("max"))
        content = fields.take("content")
        if high == 1 and low == 0 and last and end is not None:
            inner = self.format(content, fields.at("content"), end, depth, last=True)
            return alt([inner, self.closing(end)])
        inner = self.format(content, fields.at("content"), end, depth)
        return self.closed(Rep(inner, low, high), end, last)

    # -- tags -----------------------------------------------------------------------------------

    def tag(self, value: Any, pointer: str, depth: int) -> Tag:
        fields = Fields(value, pointer, "tag")
        if fields.take("type", "tag") != "tag":
            raise error(f"a tag is of type tag, not {shown(value['type'])}", fields.at("type"))
        found = self.read_tag(fields, depth)
        fields.done()
        return found

    def read_tag(self, fields: Fields, depth: int) -> Tag:
        begin = fields.take("begin")
        token = None
        if isinstance(begin, dict):
            token, begin = self.token_of(begin, fields.at("begin")), ""
        else:
            begin = self.alphabet.encode(fields.check_text(begin, "begin"))
        end = self.read_end(fields)
        content = self.format(fields.take("content"), fields.at("content"), end, depth, last=True)
        return Tag(begin, token, self.rules.rule(fields.at("content"), content))

    def read_end(self, fields: Fields) -> End:
        value = fields.take("end")
        if isinstance(value, dict):
            return End(token=self.token_of(value, fields.at("end")))
        if isinstance(value, str):
            texts = [fields.check_text(value, "end")]
        elif isinstance(value, list | tuple):
            texts = [fields.check_text(text, "end", i) for i, text in enumerate(value)]
            if not texts:
                raise error(
                    "a tag needs an end; an empty string ends it anywhere", fields.at("end")
                )
        else:
            raise error(
                f"end is a string, strings or a token, not {shown(value)}", fields.at("end")
            )
        some = dict.fromkeys(self.encoded([text for text in texts if text]))
        return End(tuple(some), empty="" in texts)

    def token_of(self, value: Any, pointer: str) -> int | str:
        fields = Fields(value, pointer, "token")
        if fields.take("type", "token") != "token":
            raise error(f"a token is of type token, not {shown(value['type'])}", fields.at("type"))
        token = fields.check_token(fields.take("token"), "token")
        fields.done()
        return token

    def whole(self, tag: Tag) -> Expr:
        begin = self.rules.literal(tag.begin) if tag.token is None else special(tag.token)
        return Seq((begin, tag.rest))

    def tag_format(self, fields: Fields, end: End | None, last: bool, depth: int) -> Expr:
        return self.closed(self.whole(self.read_tag(fields, depth)), end, last)

    def tags(self, fields: Fields, depth: int) -> list[Tag]:
        return [
            self.tag(value, fields.at("tags", i), depth)
            for i, value in enumerate(fields.some("tags"))
        ]

    def tags_with_separator(self, fields: Fields, end: End | None, last: bool, depth: int) -> Expr:
        tags = alt([self.whole(tag) for tag in self.tags(fields, depth)])
        separator = self.rules.literal(self.alphabet.encode(fields.text("separator")))
        needed = fields.boolean("at_least_one", False)
        once = fields.boolean("stop_after_first", False)
        some: Expr = tags if once else Seq((tags, Rep(Seq((separator, tags)), 0, None)))
        return self.closed(some if needed else Rep(some, 0, 1), end, last)

    def triggered_tags(self, fields: Fields, end: End | None, last: bool, depth: int) -> Expr:
        for i, trigger in enumerate(fields.some("triggers")):
            if not fields.check_text(trigger, "triggers", i):
                raise error("a trigger is not empty", fields.at("triggers", i))
        triggers = self.encoded(fields.items("triggers"))
        tags = self.tags(fields, depth)
        for i, tag in enumerate(tags):
            place = fields.at("tags", i, "begin")
            if tag.token is not None:
                raise error("begin is a string here; token_triggered_tags takes tokens", place)
            if not any(tag.begin.startswith(trigger) for trigger in triggers):
                begin = shown(self.alphabet.spell(tag.begin))
                raise error(f"the tag's begin {begin} starts with none of the triggers", place)
        rules: list[tuple[str, Expr]] = []
        for i, trigger in enumerate(triggers):
            started = [tag for tag in tags if tag.begin.startswith(trigger)]
            if not started:
                message = f"no tag begins with the trigger {shown(fields.items('triggers')[i])}"
                raise error(message, fields.at("triggers", i))
            rests: list[Expr] = [
                Seq((self.rules.literal(tag.begin[len(trigger) :]), tag.rest)) for tag in started
            ]
            rules.append((trigger, alt(rests)))
        first = None
        if fields.boolean("at_least_one", False):
            first = alt([self.whole(tag) for tag in tags])
        loop = not fields.boolean("stop_after_first", False)
        return self.dispatching(fields, rules, "triggers", loop, first, end, last)

    def dispatch(self, fields: Fields, end: End | None, last: bool, depth: int) -> Expr:
        loop = fields.boolean("loop", True)
        rules: list[tuple[str, Expr]] = []
        for i, rule in enumerate(fields.some("rules")):
            if not isinstance(rule, list | tuple) or len(rule) != 2:
                message = f"a rule is a pair [string, format], not {shown(rule)}"
                raise error(message, fields.at("rules", i))
            pattern = fields.check_text(rule[0], "rules", i, 0)
            if not pattern:
                raise error("the string of a rule is not empty", fields.at("rules", i, 0))
            place = fields.at("rules", i, 1)
            content = self.format(rule[1], place, end, depth, last=last and not loop)
            rules.append((self.alphabet.encode(pattern), self.rules.rule(place, content)))
        return self.dispatching(fields, rules, "rules", loop, None, end, last, held=not loop)

    def dispatching(
        self,
        fields: Fields,
        rules: list[tuple[str, Expr]],
        where: str,
        loop: bool,
        first: Expr | None,
        end: End | None,
        last: bool,
        *,
        held: bool = False,
    ) -> Expr:
        """Free text, and after each trigger what its rules say.

        Args:
            rules: a trigger and what follows it.
            where: the field of the triggers, for errors.
            loop: free text goes on after what follows a trigger.
            first: what stands first of all, before any free text.
            held: where it ends there, what follows a trigger holds the end itself.
        """
        excludes = self.encoded(fields.texts("excludes", ()))
        triggers = list(dict.fromkeys(trigger for trigger, _ in rules))
        found, name, stops = self.scanned(triggers, excludes, end, fields.pointer)
        branches: list[Expr] = []
        reached: set[int] = set()
        for event in found.events:
            fired = [i for i in sorted(event) if i < len(triggers)]
            reached.update(fired)
            if fired:
                rests = [rest for trigger, rest in rules if triggers.index(trigger) in fired]
                branches.append(Seq((self.event(found, name, stops, event), alt(rests))))
        self.check_reached(fields, rules, where, {triggers[i] for i in reached}, stops)
        free = alt(self.free(found, name, stops, end, last))
        if loop:
            rest: Expr = Seq((Rep(alt(branches), 0, None), free))
            return rest if first is None else Seq((first, rest))
        some = first if first is not None else alt(branches)
        some = some if held else self.closed(some, end, last)
        return some if first is not None else alt([some, free])

    def check_reached(
        self,
        fields: Fields,
        rules: list[tuple[str, Expr]],
        where: str,
        reached: set[str],
        stops: list[str],
    ) -> None:
        """Note a trigger that holds another one, or the tag's end, and so is never the first."""
        for i, (trigger, _) in enumerate(rules):
            if trigger in reached:
                continue
            if where == "triggers" and any(trigger.startswith(other) for other in reached):
                continue  # that one starts its tags
            inner = next((s for s in stops if s != trigger and s in trigger), "")
            place = fields.at(where, i) if where == "triggers" else fields.at(where, i, 0)
            self.rules.warnings.append(
                f"{shown(self.alphabet.spell(trigger))} can never be reached: it holds "
                f"{shown(self.alphabet.spell(inner))}, which comes first (at {place})"
            )

    # -- tokens ---------------------------------------------------------------------------------

    def token(self, fields: Fields, end: End | None, last: bool, depth: int) -> Expr:
        token = fields.check_token(fields.take("token"), "token")
        return self.closed(special(token), end, last)

    def exclude_token(self, fields: Fields, end: End | None, last: bool, depth: int) -> Expr:
        excludes = fields.tokens("exclude_tokens", ())
        return self.closed(self.other_token(excludes, end), end, last)

    def other_token(self, excludes: list[int | str], end: End | None) -> Special:
        """Any token but these, and the one that ends the tag."""
        tokens = [*excludes, *([end.token] if end is not None and end.token is not None else [])]
        ids = tuple((t, t) for t in sorted({t for t in tokens if isinstance(t, int)}))
        names = tuple(sorted({t for t in tokens if isinstance(t, str)}))
        return Special(None, ids, True, names)

    def any_tokens(self, fields: Fields, end: End | None, last: bool, depth: int) -> Expr:
        other = self.other_token(fields.tokens("exclude_tokens", ()), end)
        most = fields.integer("max_tokens", None)
        return self.closed(Rep(other, 0, most), end, last)

    def token_triggered_tags(self, fields: Fields, end: End | None, last: bool, depth: int) -> Expr:
        triggers = fields.tokens("trigger_tokens")
        if not triggers:
            raise error("trigger_tokens is empty", fields.at("trigger_tokens"))
        tags = self.tags(fields, depth)
        for i, tag in enumerate(tags):
            place = fields.at("tags", i, "begin")
            if tag.token is None:
                raise error("begin is a token here; triggered_tags takes strings", place)
            if tag.token not in triggers:
                raise error(f"{shown(tag.token)} is none of the trigger_tokens", place)
        for i, trigger in enumerate(triggers):
            if all(tag.token != trigger for tag in tags):
                message = f"no tag begins with the token {shown(trigger)}"
                raise error(message, fields.at("trigger_tokens", i))
        needed = fields.boolean("at_least_one", False)
        loop = not fields.boolean("stop_after_first", False)
        excludes = fields.tokens("exclude_tokens", ())
        some = alt([self.whole(tag) for tag in tags])
        other = self.other_token([*triggers, *excludes], end)
        return self.closed(_tokens(some, other, loop, needed), end, last)

    def token_dispatch(self, fields: Fields, end: End | None, last: bool, depth: int) -> Expr:
        loop = fields.boolean("loop", True)
        triggers: list[int | str] = []
        forms: list[Expr] = []
        for i, rule in enumerate(fields.some("rules")):
            if not isinstance(rule, list | tuple) or len(rule) != 2:
                message = f"a rule is a pair [token, format], not {shown(rule)}"
                raise error(message, fields.at("rules", i))
            triggers.append(fields.check_token(rule[0], "rules", i, 0))
            place = fields.at("rules", i, 1)
            content = self.rules.rule(place, self.format(rule[1], place, end, depth))
            forms.append(Seq((special(triggers[-1]), content)))
        other = self.other_token([*triggers, *fields.tokens("exclude_tokens", ())], end)
        return self.closed(_tokens(alt(forms), other, loop, False), end, last)

    # -- the older form -------------------------------------------------------------------------

    def structures(self, fields: Fields) -> Expr:
        """``structures`` and ``triggers``, as triggered tags with the same pointers."""
        tags = []
        for i, value in enumerate(fields.some("structures")):
            inner = Fields(value, fields.at("structures", i), "a structure")
            begin, end = inner.text("begin"), inner.text("end")
            schema = inner.take("schema")
            if isinstance(schema, str):
                try:
                    schema = read_json(schema)
                except (ValueError, RecursionError):
                    message = f"the schema {shown(schema)} is not JSON"
                    raise SchemaError(message, pointer=inner.at("schema")) from None
            write_schema(schema, inner.at("schema"))
            inner.done()
            content = {"type": "json_schema", "json_schema": schema}
            tags.append({"begin": begin, "content": content, "end": end})
        value = {"type": "triggered_tags", "triggers": fields.take("triggers"), "tags": tags}
        return self.format(value, "#", None, 0)


def special(token: int | str) -> Special:
    return Special(token) if isinstance(token, str) else Special(None, ((token, token),))


def _tokens(some: Expr, other: Special, loop: bool, needed: bool) -> Expr:
    """Other tokens, and between them, where they are triggered, ``some``."""
    free = Rep(other, 0, None)
    if loop:
        rest = Rep(Alt((other, some)), 0, None)
        return Seq((some, rest)) if needed else rest
    return some if needed else Seq((free, Rep(some, 0, 1)))


def _placed(problem: StructgenError, pointer: str) -> StructgenError:
    """The same error, saying where in the structural tag."""
    if isinstance(problem, LimitExceeded):
        where = f"{problem.where} at {pointer}"
        return LimitExceeded(limit=problem.limit, value=problem.value, where=where)
    first, *rest = str(problem).removesuffix(" (at #)").split("\n")
    message = "\n".join([f"{first} (at {pointer})", *rest])
    if isinstance(problem, UnsupportedGrammarError | UnsupportedSchemaError):
        return UnsupportedGrammarError(message)
    return GrammarSyntaxError(message)
