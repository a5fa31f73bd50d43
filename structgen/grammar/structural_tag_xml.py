"""Parameters of tool calls in the XML-like styles of several model families.

An object is a row of entries, ``open key middle VALUE close``, with whitespace before each and
after the last. A string stands as it is, up to the first ``close``; every other value is JSON,
between whitespace. Some styles label the value with its kind; two write nested objects and arrays
as entries again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from structgen.errors import LimitExceeded, SchemaError, UnsupportedSchemaError
from structgen.grammar.expression import EMPTY, Alt, Expr, Rep, Seq, alt
from structgen.grammar.ir import Ref
from structgen.grammar.structural_tag_fields import below, shown
from structgen.grammar.structural_tag_rules import Rules
from structgen.grammar.structural_tag_schema import (
    ANNOTATIONS,
    KINDS,
    SchemaView,
    is_anything,
)
from structgen.grammar.structural_tag_text import scan
from structgen.regular.charset import UNICODE, Ranges, intersect, negate, normalize
from structgen.regular.dfa import DFA, combine, from_edges, literals
from structgen.regular.dfa import intersect as both

SPACE: Ranges = ((0x09, 0x0A), (0x0D, 0x0D), (0x20, 0x20))
# A key that the schema does not name: no control characters, spaces and delimiters.
_KEY_CHARS = intersect(
    UNICODE, negate(normalize([(0, 0x20), (0x7F, 0xA0), *((ord(c),) * 2 for c in "<>\"'&=/")]))
)
# Orders of this many properties are told apart; beyond, only their number is bounded.
MAX_ANY_ORDER = 8
MAX_RULES = 20_000

# What says which properties an object has, beside those that are read here.
_UNREAD = (
    "patternProperties",
    "propertyNames",
    "dependentRequired",
    "dependentSchemas",
    "dependencies",
    "if",
    "not",
    "allOf",
    "enum",
    "const",
    "$ref",
    "$dynamicRef",
    "$recursiveRef",
)
_UNREAD_ITEMS = ("contains", "unevaluatedItems", "uniqueItems", *_UNREAD[6:])


@dataclass(frozen=True)
class Style:
    """How a style writes an entry.

    Attributes:
        opening: before the key. middle: after it, in pieces between which whitespace may stand;
            ``{}`` is the label. close: after the value; ``{}`` is the key.
        labels: the label of each kind of value; none: values have no label.
        any_labels: further labels of values that no schema declares.
        nested: objects and arrays are entries again. item: as ``opening`` and the rest, of the
            items of an array: what stands for opening, key and middle.
        text_end: the string that ends a raw text, where it is not ``close``.
        escaped: characters of keys that are written otherwise.
    """

    opening: str
    middle: tuple[str, ...]
    close: str
    labels: Mapping[str, str] = field(default_factory=dict)
    any_labels: Mapping[str, str] = field(default_factory=dict)
    nested: bool = False
    item: str = ""
    item_close: str = ""
    text_end: str = ""
    escaped: Mapping[str, str] = field(default_factory=dict)


def _dsml(space: str) -> Style:
    truth = {kind: "true" if kind == "string" else "false" for kind in KINDS}
    return Style(
        f'<｜DSML｜{space}parameter name="',
        ('" string="{}">',),
        f"</｜DSML｜{space}parameter>",
        truth,
    )


STYLES: dict[str, Style] = {
    "qwen_xml": Style("<parameter=", (">",), "</parameter>"),
    "minimax_xml": Style('<parameter name="', ('">',), "</parameter>"),
    "minimax_m3_xml": Style(
        "]<]minimax[>[<",
        (">",),
        "]<]minimax[>[</{}>",
        nested=True,
        item="]<]minimax[>[<item>",
        item_close="]<]minimax[>[</item>",
        text_end="]<]minimax[>[",
    ),
    "deepseek_xml": _dsml(""),
    "deepseek_v4_1_xml": _dsml(" "),
    "glm_xml": Style("<arg_key>", ("</arg_key>", "<arg_value>"), "</arg_value>"),
    "cohere_xml": Style(
        '<cofl:value name="',
        ('" type="{}">',),
        "</cofl:value>",
        {**dict.fromkeys(KINDS, "json"), "string": "raw", "object": "dict", "array": "list"},
        nested=True,
        item='<cofl:value type="{}">',
        item_close="</cofl:value>",
        escaped={"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"},
    ),
    "kimi_k3_xml": Style(
        '<|open|>argument key="',
        ('" type="{}"<|sep|>',),
        "<|close|>argument<|sep|>",
        {kind: kind for kind in KINDS},
        any_labels={"integer": "number"},
    ),
}


def parameters(
    rules: Rules,
    style: str,
    view: SchemaView,
    *,
    any_order: bool = False,
    max_space: int | None = None,
) -> Expr:
    """The texts that spell, in this style, an object that the schema accepts.

    Raises:
        SchemaError: the schema is malformed, or accepts no object.
        UnsupportedSchemaError: a keyword that is not enforced in these styles.
    """
    root = {"type": "object"} if view.root is True else view.root
    if "object" not in view.kinds(root):
        raise SchemaError("parameters are an object, and this is none", pointer=view.pointer)
    return _Parameters(rules, STYLES[style], view, any_order, max_space).object(root, view.pointer)


class _Parameters:
    def __init__(
        self, rules: Rules, style: Style, view: SchemaView, any_order: bool, max_space: int | None
    ) -> None:
        self.rules, self.style, self.view = rules, style, view
        self.any_order, self.max_space = any_order, max_space
        self.objects: dict[str, Ref] = {}
        self.n_rules = 0

    # -- texts ----------------------------------------------------------------------------------

    def space(self) -> Expr:
        if self.max_space == 0:
            return EMPTY
        name = "whitespace" if self.max_space is None else f"whitespace of 1 to {self.max_space}"
        return Rep(self.rules.language(name, self._spaced("")), 0, 1)

    def spaced(self, text: str) -> Expr:
        """A text with whitespace before it, as one terminal: nothing to decide before it begins."""
        encoded = self.rules.alphabet.encode(text)
        if self.max_space == 0:
            return self.rules.literal(encoded)
        bound = "" if self.max_space is None else f" of up to {self.max_space}"
        return self.rules.language(f"whitespace{bound} and {text!r}", self._spaced(encoded))

    def _spaced(self, text: str) -> DFA:
        n = self.max_space
        first = [(lo, hi, 0) for lo, hi in SPACE]
        if not text:  # some whitespace
            if n is None:
                return from_edges([[(lo, hi, 1) for lo, hi, _ in first]] * 2, [-1, 0], UNICODE)
            rows = [[(lo, hi, i + 1) for lo, hi, _ in first] for i in range(n)]
            return from_edges([*rows, []], [-1, *[0] * n], UNICODE)
        spaces = 1 if n is None else n + 1
        edges = []
        for i in range(spaces):
            row = [(lo, hi, i if n is None else i + 1) for lo, hi, _ in first if n is None or i < n]
            edges.append(sorted([*row, (ord(text[0]), ord(text[0]), spaces)]))
        for i, char in enumerate(text[1:], spaces):
            edges.append([(ord(char), ord(char), i + 1)])
        edges.append([])
        return from_edges(edges, [-1] * (len(edges) - 1) + [0], ((0, 0x10FFFF),))

    def literal(self, text: str) -> Expr:
        return self.rules.literal(self.rules.alphabet.encode(text))

    # -- values ---------------------------------------------------------------------------------

    def entry(self, key: str, schema: Any, pointer: str) -> Expr:
        """A declared property."""
        name = "".join(self.style.escaped.get(c, c) for c in key)
        close = self.style.close.format(name)
        forms: list[Expr] = []
        for label, kinds in self.labels(self.view.kinds(schema)):
            first, *more = [m.format(label) for m in self.style.middle]
            head = [self.spaced(self.style.opening + name + first), *map(self.spaced, more)]
            forms.append(Seq((*head, self.value(schema, pointer, kinds, close))))
        return alt(forms)

    def other_entry(self, keys: Expr, schema: Any, pointer: str) -> Expr:
        """A property that is not declared."""
        if "{}" in self.style.close:
            raise UnsupportedSchemaError(
                "properties of any name, in a style that repeats the name at the end; "
                "say additionalProperties: false",
                keyword="additionalProperties",
                pointer=pointer,
            )
        forms: list[Expr] = []
        for label, kinds in self.labels(self.view.kinds(schema), declared=False):
            middle = [m.format(label) for m in self.style.middle]
            head = [self.spaced(self.style.opening), keys, self.literal(middle[0])]
            head += map(self.spaced, middle[1:])
            forms.append(Seq((*head, self.value(schema, pointer, kinds, self.style.close))))
        return alt(forms)

    def labels(
        self, kinds: frozenset[str], *, declared: bool = True
    ) -> list[tuple[str, frozenset[str]]]:
        if not self.style.labels:
            return [("", kinds)]
        groups: dict[str, set[str]] = {}
        for kind in KINDS:
            if kind in kinds:
                groups.setdefault(self.style.labels[kind], set()).add(kind)
        if not declared:
            for label, kind in self.style.any_labels.items():
                if kind in kinds:
                    groups.setdefault(label, set()).add(kind)
        return [(label, frozenset(group)) for label, group in groups.items()]

    def value(self, schema: Any, pointer: str, kinds: frozenset[str], close: str) -> Expr:
        """A value of one of ``kinds`` that the schema accepts, and ``close``."""
        forms: list[Expr] = []
        end = self.literal(close)
        rest = set(kinds)
        if "string" in kinds:
            rest.discard("string")
            strings = self.view.strings(schema, pointer)
            stop = self.rules.alphabet.encode(self.style.text_end or close)
            if is_anything(strings):
                text = self.raw(stop)
                if self.style.text_end:
                    return self.rest_of_raw(schema, pointer, rest, text, end)
                # A text may be anything, so what is JSON is a text too.
                return text
            if not strings.is_empty:
                free = scan([stop]).unstopped()
                allowed = both(strings, free)
                name = f"the strings at {pointer} without {self.rules.alphabet.spell(stop)!r}"
                text = self.rules.language(name, allowed)
                forms.append(Seq((self.space(), text, self.space(), end)))
        forms += self.others(schema, pointer, frozenset(rest), end)
        return alt(forms)

    def rest_of_raw(
        self, schema: Any, pointer: str, kinds: set[str], text: Expr, end: Expr
    ) -> Expr:
        nested = frozenset(kinds & {"object", "array"})
        return alt([Seq((text, end)), *self.others(schema, pointer, nested, end)])

    def raw(self, stop: str) -> Expr:
        """Any text up to ``stop``, which belongs to it unless the style ends texts otherwise."""
        spelled = self.rules.alphabet.spell(stop)
        found = scan([stop])
        if self.style.text_end:
            return self.rules.language(f"text without {spelled!r}", found.unstopped())
        return self.rules.language(f"text up to {spelled!r}", found.stopping(lambda _: True))

    def others(self, schema: Any, pointer: str, kinds: frozenset[str], end: Expr) -> list[Expr]:
        if not kinds:
            return []
        forms: list[Expr] = []
        if self.style.nested:
            if "object" in kinds:
                forms.append(Seq((self.object(schema, pointer), end)))
            if "array" in kinds:
                forms.append(Seq((self.array(schema, pointer), self.space(), end)))
            kinds -= {"object", "array"}
        if kinds:
            value = self.view.embedded(schema, kinds)
            forms.append(Seq((self.space(), value, self.space(), end)))
        return forms

    # -- objects and arrays ---------------------------------------------------------------------

    def resolve(self, schema: Any, pointer: str) -> tuple[Any, str]:
        """The schema that counts, and where it stands; all that say nothing are one."""
        schema, pointer = self.view.resolve(schema, pointer)
        if schema is True or (isinstance(schema, dict) and not set(schema) - ANNOTATIONS):
            return {}, f"{self.view.pointer} anything"
        return schema, pointer

    def object(self, schema: Any, pointer: str) -> Expr:
        schema, pointer = self.resolve(schema, pointer)
        if pointer not in self.objects:
            self.objects[pointer] = Ref(f"{pointer} object")
            body = self._object(schema, pointer)
            self.rules.rule(f"{pointer} object", body)
        return self.objects[pointer]

    def _object(self, schema: dict[str, Any], pointer: str) -> Expr:
        branches = self.branches(schema, pointer, "object", "properties required".split())
        if branches:
            return alt([self.object(part, place) for part, place in branches])
        _refuse(schema, pointer, _UNREAD)
        properties = schema.get("properties", {})
        required = schema.get("required", [])
        if not isinstance(properties, dict):
            raise SchemaError("properties is an object", pointer=below(pointer, "properties"))
        if not isinstance(required, list) or not all(isinstance(n, str) for n in required):
            raise SchemaError("required is a list of names", pointer=below(pointer, "required"))
        other = schema.get("additionalProperties", schema.get("unevaluatedProperties"))
        if other is None:
            other = not properties
        undeclared = [n for n in dict.fromkeys(required) if n not in properties]
        names = [*properties, *undeclared]
        for name in names:
            self._check_name(name, pointer)
        entries = [
            self.entry(n, properties.get(n, other), below(pointer, "properties", n)) for n in names
        ]
        more: Expr = Alt(())
        if other is not False:
            keys = from_edges([[(lo, hi, 1) for lo, hi in _KEY_CHARS]] * 2, [-1, 0], UNICODE)
            named = literals(names)
            keys = combine([keys, named], lambda v: 0 if v[0] >= 0 > v[1] else -1)
            key = self.rules.language(f"the other keys at {pointer}", keys)
            more = self.other_entry(key, other, below(pointer, "additionalProperties"))
        low = _count(schema, "minProperties", 0, pointer)
        high = _count(schema, "maxProperties", None, pointer)
        needed = [name in required for name in names]
        if self.any_order and len(names) > MAX_ANY_ORDER:
            self.rules.warnings.append(
                f"of more than {MAX_ANY_ORDER} properties in any order, only the number is "
                f"bounded: one may be missing and another repeated (at {pointer})"
            )
            body: Expr = Rep(alt([*entries, more]), max(low, sum(needed)), high)
        else:
            if low <= sum(needed) and (high is None or (other is False and high >= len(names))):
                low, high = 0, None  # no need to count
            body = _Row(self, pointer, entries, needed, more, low, high, self.any_order).start()
        return Seq((body, self.space()))

    def _check_name(self, name: str, pointer: str) -> None:
        bad = [c for c in '<>"' if c in name and c not in self.style.escaped]
        if bad or not name or any(c < " " for c in name):
            message = f"a property named {shown(name)} cannot be written in this style"
            raise SchemaError(message, pointer=below(pointer, "properties", name))

    def array(self, schema: Any, pointer: str) -> Expr:
        schema, pointer = self.resolve(schema, pointer)
        branches = self.branches(schema, pointer, "array", "items prefixItems".split())
        if branches:
            return alt([self.array(part, place) for part, place in branches])
        _refuse(schema, pointer, _UNREAD_ITEMS)
        prefix, items = schema.get("prefixItems", []), schema.get("items", True)
        if isinstance(items, list):  # before draft 2020-12
            prefix, items = items, schema.get("additionalItems", True)
        low = _count(schema, "minItems", 0, pointer)
        high = _count(schema, "maxItems", None, pointer)
        heads = [self.item(p, below(pointer, "prefixItems", i)) for i, p in enumerate(prefix)]
        if high is not None:
            heads = heads[:high]
        name = f"{pointer} item"
        if name not in self.rules.rules:
            self.rules.rules[name] = EMPTY  # it may hold itself
            self.rules.rules[name] = self.item(items, below(pointer, "items"))
        n = len(heads)
        rest: Expr = Rep(Ref(name), max(low - n, 0), None if high is None else high - n)
        if high == n or items is False:
            rest = EMPTY if low <= n else Alt(())
        for i in reversed(range(n)):
            rest = Seq((heads[i], rest)) if low > i else alt([EMPTY, Seq((heads[i], rest))])
        return rest

    def item(self, schema: Any, pointer: str) -> Expr:
        forms: list[Expr] = []
        for label, kinds in self.labels(self.view.kinds(schema)):
            value = self.value(schema, pointer, kinds, self.style.item_close)
            forms.append(Seq((self.spaced(self.style.item.format(label)), value)))
        return alt(forms)

    def branches(
        self, schema: dict[str, Any], pointer: str, kind: str, own: list[str]
    ) -> list[tuple[Any, str]]:
        """The alternatives of this kind of a schema that is a choice."""
        for keyword in ("anyOf", "oneOf"):
            if keyword not in schema:
                continue
            parts = schema[keyword]
            if not isinstance(parts, list) or not parts:
                raise SchemaError(f"{keyword} is a list of schemas", pointer=pointer)
            found = [
                (part, below(pointer, keyword, i))
                for i, part in enumerate(parts)
                if kind in self.view.kinds(part)
            ]
            beside = set(schema) - ANNOTATIONS - {keyword, "type"}
            if beside or (keyword == "oneOf" and len(found) > 1):
                why = f"beside {min(beside)}" if beside else f"with {len(found)} {kind}s"
                message = f"{keyword} {why}, in a style that is not JSON"
                raise UnsupportedSchemaError(message, keyword=keyword, pointer=pointer)
            return found
        return []


class _Row:
    """The entries of an object as rules: which comes next, and how many there were.

    Each rule lists the entries that may come next, so nothing has to be decided before an entry
    has begun.
    """

    def __init__(
        self,
        owner: _Parameters,
        pointer: str,
        entries: list[Expr],
        needed: list[bool],
        more: Expr,
        low: int,
        high: int | None,
        any_order: bool,
    ) -> None:
        self.owner, self.pointer = owner, pointer
        self.entries, self.needed, self.more = entries, needed, more
        self.low, self.high, self.any_order = low, high, any_order
        self.made: dict[tuple[tuple[int, ...], int], Expr] = {}
        for i, entry in enumerate(entries):
            self.entries[i] = owner.rules.rule(f"{pointer} entry {i}", entry)
        if more != Alt(()):
            self.more = owner.rules.rule(f"{pointer} other entry", more)

    def start(self) -> Expr:
        return self.after(tuple(range(len(self.entries))), 0)

    def after(self, left: tuple[int, ...], count: int) -> Expr:
        """What may follow, with these entries left and ``count`` written."""
        if self.high is None:
            count = min(count, self.low)
        key = (left, count)
        if key in self.made:
            return self.made[key]
        if not left and self.more == Alt(()) and count >= self.low:
            return EMPTY
        name = f"{self.pointer} after {count}, left {','.join(map(str, left))}"
        self.made[key] = Ref(name)
        self.owner.n_rules += 1
        if self.owner.n_rules > MAX_RULES:
            raise LimitExceeded(limit="rules", value=MAX_RULES, where=self.pointer)
        forms: list[Expr] = []
        room = self.high is None or count < self.high
        for position, index in enumerate(left):
            if room:
                if self.any_order:
                    rest = left[:position] + left[position + 1 :]
                else:
                    rest = left[position + 1 :]
                forms.append(Seq((self.entries[index], self.after(rest, count + 1))))
            if self.needed[index] and not self.any_order:
                break
        else:
            if not any(self.needed[i] for i in left):
                high = None if self.high is None else self.high - count
                low = max(0, self.low - count)
                if self.any_order and self.more != Alt(()):
                    if low == 0:
                        forms.append(EMPTY)
                elif self.more == Alt(()):
                    forms += [EMPTY] if low == 0 else []
                else:
                    forms.append(Rep(self.more, low, high))
        if self.any_order and self.more != Alt(()) and room:
            forms.append(Seq((self.more, self.after(left, count + 1))))
        self.owner.rules.rule(name, Alt(tuple(forms)))
        return self.made[key]


def _refuse(schema: Any, pointer: str, keywords: tuple[str, ...]) -> None:
    if not isinstance(schema, dict):
        message = f"a schema is an object or a boolean, not {shown(schema)}"
        raise SchemaError(message, pointer=pointer)
    for keyword in keywords:
        if keyword in schema and schema[keyword] not in (True, {}):
            raise UnsupportedSchemaError(
                f"{keyword} in a style that is not JSON", keyword=keyword, pointer=pointer
            )


def _count(schema: dict[str, Any], name: str, default: Any, pointer: str) -> Any:
    value = schema.get(name, default)
    if value is not None and (isinstance(value, bool) or value != int(value) or value < 0):
        message = f"{name} is an integer, not {shown(value)}"
        raise SchemaError(message, pointer=below(pointer, name))
    return value if value is None else int(value)
