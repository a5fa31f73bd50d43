"""Structural tags, with the test recogniser in place of an automaton."""

from __future__ import annotations

import json
import random
from collections import Counter
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from structgen.errors import (
    GrammarSyntaxError,
    LimitExceeded,
    SchemaError,
    StructgenError,
    UnsupportedGrammarError,
    UnsupportedSchemaError,
)
from structgen.grammar import Embedded, Grammar, Special, read_structural_tag
from structgen.grammar.structural_tag_text import scan
from tests.grammar.recognizer import Verdict, recognize
from tests.shared_data import shared_data


def read(format: Any, **options: Any) -> Grammar:
    grammar = read_structural_tag({"type": "structural_tag", "format": format}, **options)
    grammar.verify()
    return grammar


def verdict(format: Any, text: str | list[str], **options: Any) -> Verdict:
    return recognize(read(format, **options), text)


def accepts(format: Any, *texts: str, **options: Any) -> list[bool]:
    grammar = read(format, **options)
    return [recognize(grammar, text).accept for text in texts]


def const(text: str) -> dict[str, Any]:
    return {"type": "const_string", "value": text}


def tag(begin: Any, content: Any, end: Any) -> dict[str, Any]:
    return {"type": "tag", "begin": begin, "content": content, "end": end}


def sequence(*elements: Any) -> dict[str, Any]:
    return {"type": "sequence", "elements": [*elements]}


def xml(schema: Any, style: str = "qwen_xml", **fields: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": schema, "style": style, **fields}


ANY: dict[str, Any] = {"type": "any_text"}


def test_conformance() -> None:
    lines = shared_data("conformance", "structural_tag.jsonl").read_text("utf-8").splitlines()
    grammars: dict[str, Grammar] = {}
    counts: Counter[str] = Counter()
    wrong = []
    for case in map(json.loads, lines):
        key = json.dumps(case["structural_tag"])
        if key not in grammars:
            grammars[key] = read_structural_tag(case["structural_tag"])
            grammars[key].verify()
        found = recognize(grammars[key], case["text"])
        if found == Verdict(case["accept"], case["prefix_ok"]):
            counts["right"] += 1
        else:
            wrong.append((case["structural_tag"], case["text"], found))
    assert wrong == []
    assert counts["right"] == len(lines)


# -- free text ------------------------------------------------------------------------------------

LETTERS = "ab<"
TEXTS = ["".join(t) for n in range(7) for t in product(LETTERS, repeat=n)]
patterns = st.lists(st.text(LETTERS, min_size=1, max_size=4), max_size=3, unique=True)


def first_event(
    text: str, stops: list[str], excludes: list[str], most: int | None = None, start: int = 0
) -> tuple[int, frozenset[int]] | None:
    """The least place where a stop ends, before which the text is free, and the stops there."""
    for end in range(start + 1, len(text) + 1):
        found = set()
        for index, stop in enumerate(stops):
            free = text[start : max(start, end - len(stop))]
            if end - len(stop) < start or not text.startswith(stop, end - len(stop)):
                continue
            if (most is None or len(free) <= most) and not any(x in free for x in excludes):
                found.add(index)
        if found:
            return end, frozenset(found)
    return None


@settings(max_examples=60, deadline=None)
@given(patterns, patterns, st.none() | st.integers(0, 4))
def test_free_text_is_exact(stops: list[str], excludes: list[str], most: int | None) -> None:
    found = scan(stops, excludes, max_chars=most)
    unstopped = found.unstopped()
    unstopped.verify()
    events = {event: found.stopping(lambda s, e=event: s == e) for event in found.events}
    for dfa in events.values():
        dfa.verify()
    for text in TEXTS:
        event = first_event(text, stops, excludes, most)
        ends = None if event is None or event[0] < len(text) else event[1]
        assert {e for e, dfa in events.items() if dfa.accepts(text) >= 0} == ({ends} - {None})
        free = event is None and not any(x in text for x in excludes)
        free = free and (most is None or len(text) <= most)
        assert (unstopped.accepts(text) >= 0) == free


def test_free_text_holds_any_character() -> None:
    dfa = scan(["</a>"], ["é"]).unstopped()
    for text in ("", "\x00", "x<", "</a", "😊\U0010ffff", "è"):
        assert dfa.accepts(text) >= 0
    assert dfa.accepts("é") < 0
    assert dfa.accepts("x</a>") < 0
    assert dfa.n_states <= 4


def test_free_text_is_small() -> None:
    ends = ["</think>", "<tool_call>", "<|im_end|>"]
    assert len(scan(ends, ["<think>"]).edges) <= sum(map(len, [*ends, "<think>"])) + 1


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.text(LETTERS, min_size=1, max_size=3), st.text(LETTERS, max_size=1)),
        min_size=1,
        max_size=3,
    ),
    st.integers(1, 3),
    st.lists(st.text(LETTERS, min_size=2, max_size=3), max_size=1),
    st.booleans(),
    st.booleans(),
    st.data(),
)
def test_triggered_tags_are_exact(
    tags: list[tuple[str, str]],
    cut: int,
    excludes: list[str],
    at_least_one: bool,
    once: bool,
    data: st.DataObject,
) -> None:
    triggers = list(dict.fromkeys(begin[:cut] for begin, _ in tags))
    format = {
        "type": "triggered_tags",
        "triggers": triggers,
        "tags": [{"begin": b, "content": const("b"), "end": e} for b, e in tags],
        "excludes": excludes,
        "at_least_one": at_least_one,
        "stop_after_first": once,
    }
    grammar = read(format)

    def after(text: str, start: int, begins: list[str]) -> list[int]:
        return [
            start + len(b + "b" + e)
            for b, e in tags
            if b in begins and text.startswith(b + "b" + e, start)
        ]

    def free(text: str, start: int) -> bool:
        event = first_event(text, triggers, excludes, start=start)
        if event is None:
            return not any(x in text[start:] for x in excludes)
        end, fired = event
        for index in fired:
            begins = [b for b, _ in tags if b.startswith(triggers[index])]
            for place in after(text, end - len(triggers[index]), begins):
                if place == len(text) if once else free(text, place):
                    return True
        return False

    for text in data.draw(st.lists(st.sampled_from(TEXTS), min_size=40, max_size=40)):
        if at_least_one:
            places = after(text, 0, [b for b, _ in tags])
            expected = any(p == len(text) if once else free(text, p) for p in places)
        else:
            expected = free(text, 0)
        assert recognize(grammar, text).accept == expected, text


def test_special_tokens_in_strings() -> None:
    rng = random.Random(0)
    for _ in range(40):
        begins = ["".join(rng.choices(LETTERS, k=rng.randint(1, 3))) for _ in range(2)]
        begins = list(dict.fromkeys(begins))
        grammar = read(
            {"type": "dispatch", "rules": [[b, const("")] for b in begins], "loop": False},
            special_tokens=["<"],
        )
        for text in rng.sample(TEXTS, 60):
            # The token is in no free text, as if it were excluded.
            event = first_event(text, begins, ["<"])
            expected = event[0] == len(text) if event else "<" not in text
            marks = [c if c != "<" else "<special>" for c in text]
            symbols = {s: Special("<special>") for s in grammar.symbols() if isinstance(s, Special)}
            rules = {
                name: tuple(tuple(symbols.get(s, s) for s in p) for p in productions)
                for name, productions in grammar.rules.items()
            }
            renamed = Grammar(grammar.start, rules, grammar.terminals, scannerless=True)
            assert recognize(renamed, marks).accept == expected, (begins, text)


def test_longest_special_token_is_meant() -> None:
    grammar = read(const("a<|x|>b"), special_tokens=["<|x|>", "|x|", "x"])
    assert [s for s in grammar.symbols() if isinstance(s, Special)] == [Special("<|x|>")]


def test_overlapping_triggers() -> None:
    rules = [["aa", const("1")], ["ab", const("2")]]
    format = {"type": "dispatch", "rules": rules}
    texts = ("aa1", "xaab", "aab2", "ab2", "aaa1", "xab2yaa1aa", "xab2yaa1a")
    assert accepts(format, *texts) == [True, False, False, True, False, False, True]
    # Two triggers that end at one place: either may be meant.
    rules = [["b", const("1")], ["ab", const("2")]]
    format = {"type": "dispatch", "rules": rules}
    assert accepts(format, "ab1", "ab2", "b1", "b2") == [True, True, True, False]


def test_text_up_to_the_end_of_its_tag() -> None:
    assert accepts(tag("<", ANY, "aab"), "<aab", "<aaab", "<aabaab") == [True, True, False]
    many = tag("<", ANY, ["--", "->"])
    assert accepts(many, "<x--", "<x->", "<-->", "<--->") == [True, True, False, False]
    anywhere = tag("<", ANY, ["", "."])
    assert accepts(anywhere, "<", "<x", "<x.", "<x.y") == [True, True, True, False]
    # The end may hold what is excluded from the text.
    excluded = tag("", {**ANY, "excludes": ["<|"]}, "<|end|>")
    assert accepts(excluded, "a<|end|>", "a<|b<|end|>", "<|end|>") == [True, False, True]
    inner = tag("[", sequence(ANY, const("x"), ANY), "]")
    assert accepts(inner, "[axb]", "[x]", "[ab]", "[a]x]") == [True, True, False, False]
    deep = tag("[", {"type": "optional", "content": {"type": "or", "elements": [ANY]}}, "]")
    assert accepts(deep, "[]", "[a]", "[a]]") == [True, True, False]


def test_bounded_text() -> None:
    format = tag("<", {**ANY, "max_chars": 3}, "</")
    texts = ("<</", "<abc</", "<abcd</", "<éé😊</", "<<</")
    assert accepts(format, *texts) == [True, True, False, True, True]
    assert accepts({**ANY, "max_chars": 0}, "", "a") == [True, False]
    assert verdict(format, "<abc") == Verdict(False, True)


def test_dispatch() -> None:
    rules = [["<a>", const("A")], ["<b>", {**ANY, "max_chars": 1}]]
    inner = {"type": "dispatch", "rules": rules, "excludes": ["</t>"]}
    texts = ("<t>x<a>Ay</t>", "<t></t>", "<t><a>B</t>", "<t>x</t>y", "<t><b>z</t>")
    assert accepts(tag("<t>", inner, "</t>"), *texts) == [True, True, False, False, True]
    once = tag("<t>", {**inner, "loop": False}, "</t>")
    assert accepts(once, "<t>x<a>A</t>", "<t>x<a>Ay</t>", "<t>x</t>") == [True, False, True]


def test_tag_after_a_trigger() -> None:
    rules = [["a", tag("a", ANY, "<")], ["<b", {"type": "star", "content": const("b")}]]
    format = {"type": "dispatch", "rules": rules, "excludes": ["bb"]}
    assert accepts(format, "<aabb<", "<abb<", "<bbbb") == [True, False, True]


def test_end_that_is_a_trigger() -> None:
    inner = {
        "type": "triggered_tags",
        "triggers": ["<"],
        "tags": [tag("<", const("a"), "")],
        "stop_after_first": True,
    }
    assert accepts(tag("b", inner, ["<", "."]), "b<", "b.", "b<a.", "b<a") == [
        True,
        True,
        True,
        False,
    ]


# -- other formats --------------------------------------------------------------------------------


def test_grammars_do_not_clash() -> None:
    one = {"type": "grammar", "grammar": 'root ::= "a" x{2,9}\nx ::= [0-9] | "(" root ")"'}
    two = {"type": "grammar", "grammar": 'root ::= x*\nx ::= "b" | Regex("c+")'}
    grammar = read(sequence(one, const("|"), two, const("|"), one))
    texts = ("a12|bcc|a(a11)2", "a12||a12", "a1||a12", "a12|a12|a12")
    assert [recognize(grammar, t).accept for t in texts] == [True, True, False, False]
    assert len(grammar.repetitions) == 2


def test_regex_is_the_whole_text() -> None:
    format = sequence({"type": "regex", "pattern": "[a-c]+|é?"}, const("!"))
    assert accepts(format, "abc!", "!", "é!", "d!", "aé!") == [True, True, True, False, False]


def test_lark_is_embedded() -> None:
    text = 'start: "a"+\n%ignore " "'
    grammar = read(tag("<", {"type": "grammar", "grammar": text, "syntax": "lark"}, ">"))
    assert Embedded("lark", text) in set(grammar.symbols())


def test_tokens() -> None:
    token = {"type": "token", "token": "<|tool|>"}
    end = {"type": "token", "token": 7}
    grammar = read(tag(token, {"type": "any_tokens", "exclude_tokens": ["</s>", 3, 1]}, end))
    expected = {
        Special("<|tool|>"),
        Special(None, ((7, 7),)),
        Special(None, ((1, 1), (3, 3), (7, 7)), True, ("</s>",)),
    }
    assert {s for s in grammar.symbols() if isinstance(s, Special)} == expected
    text = ["<|tool|>", *"hi", "<|end|>"]
    format = tag(token, ANY, {"type": "token", "token": "<|end|>"})
    assert verdict(format, text).accept
    assert not verdict(format, [*text, "a"]).prefix
    triggered = {
        "type": "token_triggered_tags",
        "trigger_tokens": ["<|tool|>"],
        "tags": [tag(token, const("a"), "")],
        "at_least_one": True,
        "stop_after_first": True,
    }
    assert verdict(triggered, ["<|tool|>", "a"]).accept
    assert not verdict(triggered, ["<|tool|>", "a", "a"]).prefix
    dispatch = {"type": "token_dispatch", "rules": [[5, const("a")], ["b", const("c")]]}
    assert Special(None, ((5, 5),), True, ("b",)) in set(read(dispatch).symbols())
    bounded = read({"type": "any_tokens", "max_tokens": 2})
    assert max(map(len, bounded.rules[bounded.start])) == 2


def test_older_form() -> None:
    spec = {
        "type": "structural_tag",
        "structures": [
            {"begin": "<f>", "schema": {"type": "integer"}, "end": "</f>"},
            {"begin": "<g>", "schema": '{"type": "boolean"}', "end": "</g>"},
        ],
        "triggers": ["<f", "<g"],
    }
    for given_spec in (spec, json.dumps(spec), {k: spec[k] for k in ("structures", "triggers")}):
        grammar = read_structural_tag(given_spec)
        grammar.verify()
        assert recognize(grammar, "Now <f>12</f> and <g>true</g> <").accept
        assert not recognize(grammar, "Now <f>true</f>").prefix


def test_options_of_schemas() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {}}}
    plain = {"type": "json_schema", "json_schema": schema}
    texts = ('{"a": 1, "b": 2}', '{"b": 2, "a": 1}', '{"c": 1}', '{"a":   1}')
    assert accepts(plain, *texts) == [True, False, False, True]
    assert accepts({**plain, "any_order": True}, *texts) == [True, True, False, True]
    assert accepts({**plain, "max_whitespace_cnt": 1}, *texts) == [True, False, False, False]
    assert accepts({**plain, "max_whitespace_cnt": 0}, *texts, '{"a":1}')[-1]


# -- parameters in XML ----------------------------------------------------------------------------


def parameter(key: str, value: str) -> str:
    return f"<parameter={key}>{value}</parameter>"


def check(schema: Any, good: list[str], bad: list[str], **fields: Any) -> None:
    grammar = read(xml(schema, **fields))
    assert [text for text in good if not recognize(grammar, text).accept] == []
    assert [text for text in bad if recognize(grammar, text).accept] == []


def test_strings_are_raw() -> None:
    values = {
        "s": {"type": "string"},
        "p": {"type": "string", "pattern": "^[a-z]+$"},
        "n": {"type": "string", "minLength": 2, "maxLength": 3},
        "e": {"enum": ["x", "y z", 3, None]},
        "d": {"type": "string", "format": "date"},
        "u": {"anyOf": [{"type": "integer"}, {"type": "string", "pattern": "^#"}]},
        "r": {"$ref": "#/$defs/Color"},
        "o": {"oneOf": [{"const": "a"}, {"enum": ["a", "b"]}]},
        "x": {"type": "string", "not": {"const": "no"}},
    }
    good = {
        "s": ["", 'any "text" <b>', "{1", "</parameter", "a\nb"],
        "p": ["abc", "\nabc\n"],
        "n": ["ab", "é😊é"],
        "e": ["x", "y z", "3", "null", "\nx\n"],
        "d": ["2024-02-29"],
        "u": ["12", "#12", " -3 "],
        "r": ["red"],
        "o": ["b"],
        "x": ["yes", "now"],
    }
    bad = {
        "s": ["a</parameter>"],
        "p": ["", "ABC"],
        "n": ["a", "abcd"],
        "e": ['"x"', "z", "4"],
        "d": ["2023-02-29"],
        "u": ["true", "12.5"],
        "r": ["green", '"red"'],
        "o": ["a", "c"],
        "x": ["no"],
    }
    for name, schema in values.items():
        whole = {
            "type": "object",
            "properties": {name: schema},
            "required": [name],
            "$defs": {"Color": {"enum": ["red", "blue"]}},
        }
        check(
            whole,
            [parameter(name, text) for text in good[name]],
            [parameter(name, text) for text in bad[name]],
        )


def test_other_values_are_json() -> None:
    schema = {
        "properties": {
            "l": {"type": "array", "items": {"$ref": "#/$defs/N"}},
            "o": {"type": "object", "properties": {"a": {"type": "string"}}},
        },
        "$defs": {"N": {"type": "integer"}},
    }
    good = ["", parameter("l", "[1, 2]"), parameter("o", '\n{"a": "<b>"}\n'), "  "]
    good.append(f"\n{parameter('l', '[]')}\n{parameter('o', '{}')}\n")
    bad = [parameter("l", '["1"]'), parameter("o", '{"b": 1}'), parameter("l", "1")]
    check(schema, good, bad)


def test_order_and_number_of_properties() -> None:
    number = {"type": "integer"}
    a, b, c = (parameter(n, "1") for n in "abc")
    schema = {"properties": {"a": number, "b": number, "c": number}, "required": ["b"]}
    check(schema, [b, a + b, b + c, a + b + c], ["", a, b + a, a + c, b + b])
    check(schema, [b, b + a, c + a + b], ["", a, b + b, a + c], any_order=True)
    bounded = {**schema, "minProperties": 2, "maxProperties": 2}
    check(bounded, [a + b, b + c], [b, a + b + c, a + c])
    check(bounded, [a + b, c + b], [b, a + b + c, a + c], any_order=True)
    wide = {**schema, "additionalProperties": number}
    x, y = parameter("x", "1"), parameter("y", "1")
    check(wide, [b + x, b + x + x + y, a + b], [x + b, x, b + a, b + parameter("x", "z")])
    check(wide, [b + x, x + b + y + a], [x, b + b], any_order=True)
    least = {**wide, "minProperties": 3}
    check(least, [a + b + x, b + x + y, b + x + y + x], [a + b, b + x])
    check(least, [x + b + a, x + y + b], [x + b], any_order=True)


def test_required_properties_that_are_not_declared() -> None:
    check({"type": "object", "required": ["q"]}, [parameter("q", "x")], ["", parameter("r", "x")])


def test_many_properties_in_any_order() -> None:
    names = [f"p{i}" for i in range(12)]
    schema = {"properties": {n: {"type": "integer"} for n in names}, "required": names[:2]}
    grammar = read(xml(schema, any_order=True))
    assert "any order" in grammar.warnings[0]
    assert recognize(grammar, "".join(parameter(n, "1") for n in reversed(names))).accept
    assert not recognize(grammar, parameter("p0", "1")).accept


def test_labels() -> None:
    schema = {"properties": {"v": {"type": ["string", "number", "null"]}}, "required": ["v"]}
    dsml = '<｜DSML｜parameter name="v" string="{}">{}</｜DSML｜parameter>'
    check(
        schema,
        [dsml.format("true", "x"), dsml.format("false", " 1.5 "), dsml.format("true", "1")],
        [dsml.format("false", "x"), dsml.format("false", '"x"'), dsml.format("false", "true")],
        style="deepseek_xml",
    )
    kimi = '<|open|>argument key="v" type="{}"<|sep|>{}<|close|>argument<|sep|>'
    check(
        schema,
        [kimi.format("string", "x"), kimi.format("number", "1"), kimi.format("null", "null")],
        [kimi.format("number", "null"), kimi.format("integer", "1"), kimi.format("null", "x")],
        style="kimi_k3_xml",
    )
    other = kimi.replace('"v"', '"w"')
    check(
        {"type": "object"},
        [other.format("integer", "1"), other.format("object", "{}"), other.format("string", "")],
        [other.format("object", "1"), other.format("date", "1")],
        style="kimi_k3_xml",
    )
    grammar = read(xml(schema, "kimi_k3_xml"), special_tokens=["<|open|>", "<|close|>", "<|sep|>"])
    text = ["<|open|>", *'argument key="v" type="string"', "<|sep|>", *"hi <", "<|close|>"]
    assert recognize(grammar, [*text, *"argument", "<|sep|>"]).accept


def test_nested_entries() -> None:
    schema = {
        "$defs": {
            "Node": {
                "type": "object",
                "properties": {
                    "name": {"type": "string"},
                    "next": {"$ref": "#/$defs/Node"},
                    "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 2},
                },
                "required": ["name"],
            }
        },
        "$ref": "#/$defs/Node",
    }

    def cohere(name: str, kind: str, value: str) -> str:
        label = f' name="{name}"' if name else ""
        return f'<cofl:value{label} type="{kind}">{value}</cofl:value>'

    one = cohere("name", "raw", "a")
    item = cohere("", "raw", "t")
    check(
        schema,
        [one, one + cohere("next", "dict", one), one + cohere("tags", "list", item + item)],
        [
            cohere("next", "dict", one),
            one + cohere("next", "dict", ""),
            one + cohere("tags", "list", item * 3),
            one + cohere("tags", "dict", item),
        ],
        style="cohere_xml",
    )

    def minimax(name: str, value: str) -> str:
        return f"]<]minimax[>[<{name}>{value}]<]minimax[>[</{name}>"

    one, item = minimax("name", "a"), minimax("item", "t")
    check(
        schema,
        [one, one + minimax("next", one), one + minimax("tags", item + item)],
        [minimax("next", one), one + minimax("next", ""), one + minimax("tags", item * 3)],
        style="minimax_m3_xml",
    )
    items = cohere("", "json", "1") + cohere("", "raw", "t")
    anything = cohere("ab", "dict", cohere("x", "list", items))
    check(True, ["", anything], ["x", anything[:-1]], style="cohere_xml")


def test_names_are_escaped_where_the_style_can() -> None:
    schema = {"properties": {"a<b": {"type": "string"}}, "required": ["a<b"]}
    assert accepts(xml(schema, "cohere_xml"), '<cofl:value name="a&lt;b" type="raw">x</cofl:value>')
    with pytest.raises(SchemaError, match="a<b"):
        read(xml(schema))


# -- errors ---------------------------------------------------------------------------------------

T = {"type": "triggered_tags", "triggers": ["<a"], "tags": [tag("<a>", ANY, "</a>")]}
INTEGER = {"type": "integer"}


@pytest.mark.parametrize(
    ("format", "where", "said"),
    [
        (3, "#/format", "an object"),
        ({}, "#/format", "type"),
        ({"type": "tagg"}, "#/format/type", "did you mean tag"),
        ({"type": ["tag"]}, "#/format/type", "tag"),
        ({"type": "const_string"}, "#/format", "value"),
        ({"type": "const_string", "value": 1}, "#/format/value", "a string"),
        ({"type": "const_string", "value": "\ud800"}, "#/format/value", "half a character"),
        ({**const("a"), "excludes": []}, "#/format/excludes", "value"),
        ({**ANY, "exclude": ["a"]}, "#/format/exclude", "did you mean excludes"),
        ({**ANY, "excludes": "a"}, "#/format/excludes", "a list"),
        ({**ANY, "excludes": [""]}, "#/format/excludes/0", "everywhere"),
        ({**ANY, "max_chars": -1}, "#/format/max_chars", "from 0 on"),
        (sequence(), "#/format/elements", "empty"),
        (sequence(const("a"), {"type": "x"}), "#/format/elements/1/type", "x"),
        ({"type": "or", "elements": {}}, "#/format/elements", "a list"),
        ({"type": "star"}, "#/format", "content"),
        ({"type": "star", "content": ANY, "min": 1}, "#/format/min", "content"),
        ({"type": "repeat", "min": 3, "max": 2, "content": ANY}, "#/format/max", "less than"),
        ({"type": "repeat", "min": True, "max": 2, "content": ANY}, "#/format/min", "an integer"),
        (tag(1, ANY, ""), "#/format/begin", "a string"),
        (tag("a", ANY, []), "#/format/end", "an end"),
        (tag("a", ANY, [1]), "#/format/end/0", "a string"),
        (tag("a", ANY, None), "#/format/end", "a token"),
        (tag({"token": -1}, ANY, ""), "#/format/begin/token", "an id or a name"),
        (tag({"token": 1, "id": 2}, ANY, ""), "#/format/begin/id", "token"),
        ({**T, "triggers": []}, "#/format/triggers", "empty"),
        ({**T, "triggers": [""]}, "#/format/triggers/0", "empty"),
        ({**T, "triggers": ["<b"]}, "#/format/tags/0/begin", "none of the triggers"),
        ({**T, "triggers": ["<a", "x"]}, "#/format/triggers/1", "no tag begins"),
        ({**T, "tags": []}, "#/format/tags", "empty"),
        ({**T, "tags": [const("<a>")]}, "#/format/tags/0/type", "tag"),
        ({**T, "tags": [tag({"token": 1}, ANY, "")]}, "#/format/tags/0/begin", "a string"),
        ({**T, "at_least_one": 1}, "#/format/at_least_one", "true or false"),
        ({"type": "dispatch", "rules": []}, "#/format/rules", "empty"),
        ({"type": "dispatch", "rules": [["a"]]}, "#/format/rules/0", "a pair"),
        ({"type": "tags_with_separator", "tags": []}, "#/format/tags", "empty"),
        ({"type": "token", "token": None}, "#/format/token", "an id or a name"),
        ({"type": "exclude_token", "exclude_tokens": [1.5]}, "#/format/exclude_tokens/0", "an id"),
        ({"type": "regex", "pattern": "("}, "#/format/pattern", ""),
        ({"type": "regex", "pattern": "a^b"}, "#/format/pattern", "no text matches"),
        ({"type": "grammar", "grammar": "root ::= x"}, "#/format/grammar", "x"),
        ({"type": "grammar", "grammar": "a", "syntax": "abnf"}, "#/format/syntax", "ebnf"),
        ({"type": "grammar", "grammar": "start: x", "syntax": "lark"}, "#/format/grammar", "x"),
        (xml({}, "yaml"), "#/format/style", "qwen_xml"),
    ],
)
def test_errors_name_the_place(format: Any, where: str, said: str) -> None:
    with pytest.raises(GrammarSyntaxError) as caught:
        read(format)
    assert f"(at {where})" in str(caught.value)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("format", "where"),
    [
        (xml(3), "#/format/json_schema"),
        (xml({"type": {}}), "#/format/json_schema"),
        (xml(INTEGER), "#/format/json_schema"),
        (xml({"properties": []}), "#/format/json_schema/properties"),
        (xml({"required": "a"}), "#/format/json_schema/required"),
        (xml({"properties": {"a": 3}}), "#/format/json_schema"),
        (xml({"properties": {"a": {"pattern": "("}}}), "#/format/json_schema/properties/a/pattern"),
        (xml({"patternProperties": {"a": INTEGER}}), "#/format/json_schema"),
        (xml({"properties": {"a": {"$ref": "#/nowhere"}}}), "#/format/json_schema"),
        (xml({"$ref": "#"}), "#/format/json_schema"),
        (xml({"type": "object"}, "minimax_m3_xml"), "#/format/json_schema/additionalProperties"),
        ({"type": "json_schema", "json_schema": [1]}, "#/format/json_schema"),
        ({"type": "json_schema", "json_schema": {"a": {1}}}, "#/format/json_schema"),
    ],
)
def test_errors_of_schemas_name_the_place(format: Any, where: str) -> None:
    with pytest.raises(SchemaError) as caught:
        read(format)
    assert caught.value.pointer == where


def test_what_cannot_be_enforced_is_refused() -> None:
    with pytest.raises(UnsupportedGrammarError, match="#/format/max_tokens"):
        read({**ANY, "max_tokens": 3})
    with pytest.raises(UnsupportedGrammarError, match="#/format/excludes"):
        read({"type": "json_schema", "json_schema": {}, "excludes": ["x"]})
    with pytest.raises(UnsupportedSchemaError, match="dependentRequired"):
        read(xml({"dependentRequired": {"a": ["b"]}}))
    with pytest.raises(UnsupportedGrammarError, match="#/format/pattern"):
        read({"type": "regex", "pattern": r"(a)\1"})


def test_the_whole_specification_is_checked() -> None:
    cases = [
        ({"type": "structural_tag"}, "format"),
        ({"type": "json_schema", "format": ANY}, "#/type"),
        ({"format": ANY, "strict": True}, "#/strict"),
        ({"structures": [], "triggers": ["a"]}, "#/structures"),
        ({"structures": [{"begin": "a", "end": "b"}], "triggers": ["a"]}, "#/structures/0"),
        ("{", "line 1, column 2"),
        ("[" * 100_000, "nested too deeply"),
        ("[1]", "an object"),
        ('{"format": NaN}', "not valid JSON"),
    ]
    for spec, said in cases:
        with pytest.raises(GrammarSyntaxError) as caught:
            read_structural_tag(spec)
        assert said in str(caught.value)
    with pytest.raises(SchemaError, match="#/structures/0/schema"):
        structure = {"begin": "a", "schema": "{", "end": "b"}
        read_structural_tag({"structures": [structure], "triggers": ["a"]})
    nested: Any = ANY
    for _ in range(5000):
        nested = {"type": "star", "content": nested}
    with pytest.raises(LimitExceeded, match="nesting"):
        read(nested)
    schema: Any = INTEGER
    for _ in range(5000):
        schema = {"type": "array", "items": schema}
    for style in ("json", "qwen_xml", "cohere_xml"):
        with pytest.raises(StructgenError):
            read(xml({"properties": {"a": schema}}, style))
    with pytest.raises(LimitExceeded, match="pattern_states"):
        read(tag("a", {**ANY, "max_chars": 10**9}, "b"))


def test_text_with_no_end_is_noted() -> None:
    grammar = read(sequence(ANY, const("x")))
    assert "#/format/elements/0" in grammar.warnings[0]
    assert read(sequence({**ANY, "excludes": ["x"]}, const("x"))).warnings == ()
    assert read(tag("<", sequence(ANY, const("x")), ">")).warnings == ()


def test_triggers_that_cannot_be_reached_are_noted() -> None:
    dispatch = read({"type": "dispatch", "rules": [["b", const("1")], ["abc", const("2")]]})
    assert "#/format/rules/1/0" in dispatch.warnings[0]
    assert recognize(dispatch, "ab1").accept
    assert not recognize(dispatch, "abc2").prefix
    ended = read(tag("", T, ["<"]))
    assert "#/format/content/triggers/0" in ended.warnings[0]
    # The shorter trigger starts the tags of the longer one.
    both = {**T, "triggers": ["<", "<a"]}
    assert read(both).warnings == ()
    assert verdict(both, "x<a>y</a>").accept
