"""``uniqueItems``: masks, accept and finished texts, with tokens that hold several items."""

from __future__ import annotations

import json
import random
from decimal import Decimal
from functools import cache
from itertools import product
from typing import Any

import numpy as np
import pytest
from differential.oracle import read_json, validator
from hypothesis import given, settings
from hypothesis import strategies as st
from masks.walks import Words, finish, mask_of

import structgen as sg
from structgen.masks import unique

# Pieces of arrays: items that end, and begin again, within one token.
PIECES = [
    '","', '", "', '"a","', '"a","a"', '"b"', '"a"]', '["a","a', '["a","b"', '",1', '""', '"",""',
    "1,", "1,1", "1,1,", "0,1", "1.0", "1.", ".0", "10", "0.0,", "-0", "1]", ",1,", "1,2", "e0",
    "true", "true,", "null,n", "false]", "[],", "[1],[1]", "],[", "]]", "[[1", "},{", '{"a":1}',
    '{"a":1},{"a":1}', '{"a":', '":1}', "\\u00", "61", "\\", " ", "  ", "\n", ", ", "a", "ab", "é",
]  # fmt: skip


@cache
def small() -> Words:
    singles: list[bytes | None] = [bytes([b]) for b in range(256)]
    pieces = list(dict.fromkeys(p.encode() for p in PIECES if len(p.encode()) > 1))
    end = 256 + len(pieces)
    return Words(sg.Vocabulary([*singles, *pieces, None], eos_token_ids=[end]))


def array(items: Any, **keywords: Any) -> dict[str, Any]:
    return {"type": "array", "items": items, "uniqueItems": True, **keywords}


LETTER = {"type": "string", "pattern": "^[ab]$"}
FEW = {"type": "integer", "minimum": 0, "maximum": 40}

SCHEMAS: dict[str, dict[str, Any]] = {
    "strings": array({"type": "string"}),
    "short strings": array({"type": "string", "maxLength": 2}, minItems=2),
    "numbers": array({"type": "number"}, minItems=1),
    "integers": array({"type": "integer"}),
    "few integers": array(FEW, minItems=3),
    "few integers and letters": array({"anyOf": [FEW, LETTER]}, maxItems=4),
    "scalars": array({"type": ["string", "integer", "null", "boolean"]}),
    "pattern": array({"type": "string", "pattern": "^a*b?$"}),
    "anything": array({}),
    "objects": array({"type": "object", "properties": {"a": {"enum": [1, 2]}},
                      "additionalProperties": False}),
    "objects of an enum": array({"enum": [{"a": 1}, {"a": 2}, [1], "a"]}),
    "finite": array({"enum": ["a", "b", 1, True]}, minItems=2),
    "finite in order": {"prefixItems": [{"enum": ["a", "b"]}, {"enum": ["a", 1]}, {"const": 1}],
                        "items": False, "minItems": 3, "type": "array", "uniqueItems": True},
    "nested": array(array({"type": "integer"}, maxItems=2)),
    "nested and few": array(array({"enum": [0, 1]})),
    "of letters": array(array(LETTER, minItems=1), minItems=1, maxItems=3),
    "contains": array({"type": "integer"}, contains={"const": 1}),
    "contains of few": array({"enum": [0, 1, 2, "a"]}, contains={"enum": [1, 2]}, minContains=2),
    "repeats": {"type": "array", "items": {"enum": [0, 1]}, "not": {"uniqueItems": True}},
    "in an object": {"properties": {"a": array({"type": "string"}), "b": array({})}},
    "or": {"anyOf": [array({"type": "string"}), {"type": "array", "items": {"type": "integer"}}]},
    "judged": {"type": "object", "minProperties": 1, "additionalProperties": False,
               "properties": {"a": array({"type": "object", "minProperties": 1,
                                          "properties": {"a": {"enum": [1, 2]}},
                                          "additionalProperties": False}, minItems=1)}},
    "objects of objects": array(
        {"type": "object", "properties": {"a": {"type": "object"}, "b": {"type": "number"}}}
    ),
    "long names": array({"type": "object", "required": ["aaaaaa", "ab"],
                         "additionalProperties": False,
                         "properties": {"aaaaaa": {"enum": [1, "ab"]}, "ab": {"type": "string"}}}),
    "many strings": array({"enum": [*(f"a{i}" for i in range(40)), "a", "b", "é", "\U0001f600"]}),
    "integers or letters": array({"anyOf": [{"type": "integer"}, {"enum": ["a", "b"]}]}),
    "exactly one": {"oneOf": [array({"enum": [0, 1, 2]}), array({"enum": [1, 2, 3]})]},
}  # fmt: skip


def walk(w: Words, schema: dict[str, Any], whitespace: str, seed: int, steps: int = 12) -> int:
    """A random walk that likes what was there before; returns the number of finished texts."""
    rng = random.Random(seed)
    grammar = w.compiler.compile_json_schema(schema, whitespace=whitespace)
    matcher, judge, text = grammar.matcher(), validator(schema), bytearray()
    for _ in range(steps):
        bits = mask_of(matcher, len(w.vocabulary))
        expected = w.allowed(matcher) | (set(w.eos) if matcher.is_accepting() else set())
        found = set(np.flatnonzero(bits).tolist())
        assert found == expected, (
            bytes(text),
            [w.pieces[i] for i in found - expected][:9],
            [w.pieces[i] for i in expected - found][:9],
        )
        assert found, f"dead end after {bytes(text)!r}"
        for token in rng.sample(range(len(bits)), 10):
            assert matcher.copy().accept_token(token) == bits[token]
        choices = sorted(found - set(w.eos))
        if not choices:
            break
        likely = [t for t in choices if (w.pieces[t] or b"") in bytes(text) or t >= 256]
        token = rng.choice(likely if likely and rng.random() < 0.7 else choices)
        undone = matcher.copy()
        assert matcher.accept_token(token)
        if rng.random() < 0.3:
            matcher.rollback(1)
            assert (mask_of(matcher, len(bits)) == bits).all()
            assert matcher.accept_token(token)
        assert undone.accept_bytes(w.pieces[token] or b"")
        text += w.pieces[token] or b""
    tail = finish(w, matcher, rng, 400)
    if tail is None:
        return 0
    assert judge.is_valid(read_json(bytes(text + tail))), bytes(text + tail)
    history = matcher.copy()
    assert matcher.accept_token(w.eos[0]) and matcher.is_terminated()
    assert not mask_of(matcher, len(w.vocabulary)).any()
    matcher.rollback(1)
    assert (mask_of(matcher, len(bits)) == mask_of(history, len(bits))).all()
    return 1


def test_forced_bytes() -> None:
    """What is forced once all other values were used, and nothing that the mask forbids."""
    schema = array({"type": "integer", "minimum": 10, "maximum": 50}, minItems=41)
    matcher = small().compiler.compile_json_schema(schema, whitespace="compact").matcher()
    assert matcher.accept_bytes(json.dumps([*range(10, 50), 0])[:-2].replace(" ", "").encode())
    assert matcher.forced_bytes() == b"50"
    assert matcher.accept_bytes(b"50]") and matcher.is_accepting()
    matcher.reset()
    assert matcher.accept_bytes(b"[10,11")
    twin = matcher.copy()
    assert not matcher.accept_bytes(b",10,")
    assert matcher.accept_bytes(b",12,") and twin.accept_bytes(b",12,13,")
    matcher.rollback(1)
    assert matcher.accept_bytes(b",13,12,") and not twin.accept_bytes(b"13,")


def test_without_the_keyword_nothing_is_tracked() -> None:
    for schema in ({"items": {"type": "string"}}, array({"enum": ["a", "b"]}), {"type": "array"}):
        assert small().compiler.compile_json_schema(schema).matcher()._unique is None


@pytest.mark.parametrize("name", SCHEMAS)
def test_walks(name: str) -> None:
    done = sum(
        walk(small(), SCHEMAS[name], whitespace, seed)
        for seed in range(3)
        for whitespace in ("compact", "flexible")
    )
    assert done > 2


def around(u: dict[str, Any], other: dict[str, Any] | None = None) -> dict[str, Any]:
    """An object of which two schemas judge an array at once."""
    one = {"type": "object", "properties": {"u": u}, "required": ["u"]}
    two = {"type": "object", "properties": {} if other is None else {"u": other}, "required": ["b"]}
    return {"anyOf": [one, two]}


INTEGER, STRING = {"type": "integer"}, {"type": "string"}
AROUND: dict[str, dict[str, Any]] = {
    "open": around(array(INTEGER)),
    "tuple": around(array(False, prefixItems=[INTEGER, INTEGER])),
    "at most two": around(array(INTEGER, maxItems=2)),
    "strings": around(array(STRING, maxItems=2)),
    "at least three": around(array(FEW, minItems=3)),
    "one value in the end": around(array({"type": "null"}, prefixItems=[INTEGER, STRING])),
    "one value between": around(array(STRING, prefixItems=[INTEGER, {"type": "null"}])),
    "two arrays": around(array(STRING), array(INTEGER, minItems=2)),
    "a value that must come": around(array(INTEGER), {"contains": {"const": 1}}),
    "few, and others": around(array({"enum": [*range(10)]}), array({"enum": [*range(5, 16)]})),
    "arrays": around(array(array(INTEGER)), {"items": {"items": STRING}}),
    "in arrays": {"items": around(array(INTEGER)), "uniqueItems": True, "type": "array"},
}


@pytest.mark.parametrize("name", AROUND)
def test_walks_where_the_object_around_is_judged(name: str) -> None:
    done = sum(
        walk(small(), AROUND[name], whitespace, seed)
        for seed in range(3)
        for whitespace in ("compact", "flexible")
    )
    assert done > 2


@pytest.mark.parametrize("name", AROUND)
def test_verdicts_where_the_object_around_is_judged(name: str) -> None:
    """Arrays that repeat an item are left out where that decides something; no others are."""
    schema = AROUND[name]
    if "anyOf" not in schema:
        return
    grammar = small().compiler.compile_json_schema(schema)
    judge = validator(schema)
    rng = random.Random(name)
    values = [0, 1, 1.0, 2, 7, 8, "a", "b", None, [1], ["a"], [1, 2]]
    arrays = [list(a) for n in range(3) for a in product(values, repeat=n)]
    arrays += [rng.choices(values, k=rng.choice((3, 3, 4))) for _ in range(200)]
    accepted = 0
    for value in arrays:
        for whole in ({"u": value}, {"u": value, "b": 1}):
            text = json.dumps(whole)
            valid = judge.is_valid(read_json(text))
            distinct = all(a != b for i, a in enumerate(value) for b in value[:i])
            if is_accepted(grammar, text):
                assert valid, text
                accepted += 1
            else:
                assert not valid or not distinct, text
    assert accepted > 10


def test_items_that_need_not_differ_any_more() -> None:
    """After an item that settles the verdict, arrays grow and end like any others."""
    w = small()
    for name, text in (
        ("open", b'{"u":[1,"a"'),
        ("strings", b'{"u":["x",1'),
        ("tuple", b'{"u":[1,[]'),
    ):
        matcher = w.compiler.compile_json_schema(AROUND[name]).matcher()
        for byte in text:
            assert mask_of(matcher, len(w.vocabulary))[byte]
            assert matcher.accept_token(byte)
        assert matcher._unique is not None
        before = matcher.copy()
        assert matcher.accept_bytes(b",2" * 50 + b'],"b":1}') and matcher.is_accepting()
        assert before.accept_bytes(b'],"b":[1,1]}') and before.is_accepting()


def test_a_long_search_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    grammar = small().compiler.compile_json_schema(SCHEMAS["objects of an enum"])
    text = b'[{"a":1},{"a":2},[1'
    size = len(small().vocabulary)
    matcher = grammar.matcher()
    assert matcher.accept_bytes(text)
    expected = mask_of(matcher, size)
    monkeypatch.setattr(unique, "EFFORT", 1)
    matcher.reset()
    assert matcher.accept_bytes(text) and (mask_of(matcher, size) == expected).all()
    masks = matcher._grammar
    limits = masks.limits
    masks.limits = sg.Limits(step_seconds=1e-9)
    with pytest.raises(sg.LimitExceeded) as error:
        matcher.accept_bytes(b"],")
    assert error.value.limit == "step_seconds"
    masks.limits = limits
    assert matcher.accept_bytes(b'],"a"]') and matcher.is_accepting()


VALUES = ["a", "b", "aa", "ab", "", 0, 1, 2, 1.0, 10, -0.0, True, None, [], [1], [0, 1], [[1]],
          {}, {"a": 1}, {"a": 2}, {"b": 1, "a": 1}, {"a": 1, "b": 1}, "é"]  # fmt: skip


def is_accepted(grammar: sg.CompiledGrammar, text: str) -> bool:
    matcher = grammar.matcher()
    return matcher.accept_bytes(text.encode()) and matcher.is_accepting()


@pytest.mark.parametrize("name", SCHEMAS)
def test_verdicts(name: str) -> None:
    """All arrays of up to three of a few values are judged as ``jsonschema`` judges them."""
    schema = SCHEMAS[name]
    grammar = small().compiler.compile_json_schema(schema)
    judge = validator(schema)
    rng = random.Random(name)
    arrays = [list(a) for n in range(3) for a in product(VALUES, repeat=n)]
    arrays += [rng.choices(VALUES, k=rng.choice((3, 3, 4, 5))) for _ in range(300)]
    arrays += [rng.sample(VALUES, 3) for _ in range(200)] + [[[0], [1], []], [["a"], ["b"]]]
    for value in arrays:
        whole = {"a": value} if name in ("in an object", "judged") else value
        text = json.dumps(whole, ensure_ascii=False)
        assert is_accepted(grammar, text) == judge.is_valid(read_json(text)), text


# -- equality of values ---------------------------------------------------------------------------

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.text('ab\\"/\n\té\u20ac\U0001f600', max_size=3),
    st.builds(Decimal, st.integers(-20, 20)),
    st.builds(lambda n, e: Decimal(n).scaleb(e), st.integers(-200, 200), st.integers(-25, 25)),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    ),
    max_leaves=6,
)


def spell(value: Any, rng: random.Random) -> str:
    """One of the spellings of a value."""
    space = rng.choice(["", "", " ", "\n "])
    if isinstance(value, Decimal):
        return space + spell_number(value, rng)
    if isinstance(value, str):
        return f'{space}"{"".join(spell_character(c, rng) for c in value)}"'
    if isinstance(value, list):
        return f"{space}[{','.join(spell(v, rng) for v in value)}{space}]"
    if isinstance(value, dict):
        members = [f"{spell(k, rng)}{space}:{spell(v, rng)}" for k, v in value.items()]
        rng.shuffle(members)
        return f"{space}{{{','.join(members)}}}"
    return space + json.dumps(value)


def spell_character(character: str, rng: random.Random) -> str:
    units = character.encode("utf-16-be")
    escaped = "".join(f"\\u{a:02x}{b:02X}" for a, b in zip(units[::2], units[1::2], strict=True))
    short = "\\/" if character == "/" else json.dumps(character, ensure_ascii=False)[1:-1]
    return rng.choice([escaped, short])


def spell_number(value: Decimal, rng: random.Random) -> str:
    sign, digits, exponent = value.as_tuple()
    text = "".join(map(str, digits)) + "0" * (zeros := rng.randrange(3))
    power = int(exponent) - zeros
    at = rng.randrange(1, len(text) + 1)
    whole, fraction = text[:at].lstrip("0") or "0", text[at:]
    power += len(fraction)
    written = (
        f"{rng.choice('eE')}{'-' if power < 0 else rng.choice(['', '+'])}{rng.choice(['', '0'])}"
    )
    end = f"{written}{abs(power)}" if power or rng.random() < 0.2 else ""
    return f"{'-' * sign}{whole}{'.' * bool(fraction)}{fraction}{end}"


def comparable(value: Any) -> Any:
    """Equal where two values are equal in JSON."""
    if isinstance(value, list):
        return tuple(map(comparable, value))
    if isinstance(value, dict):
        return frozenset((name, comparable(v)) for name, v in value.items())
    return type(value), value


@settings(max_examples=400, deadline=None, database=None, derandomize=True)
@given(st.lists(values, min_size=1, max_size=4), st.data())
def test_equality(items: list[Any], data: st.DataObject) -> None:
    """However values are spelled, a repeated one is refused, and a different one is not."""
    items = [*items, data.draw(st.one_of(values, st.sampled_from(items)))]
    rng = random.Random(data.draw(st.integers(0, 1000)))
    text = "[" + ",".join(spell(item, rng) for item in items) + "]"
    known = [comparable(item) for item in items]
    matcher = small().compiler.compile_json_schema(array({})).matcher()
    expected = len(set(known)) == len(known)
    assert matcher.accept_bytes(text.encode()) == expected, text
    if not expected:
        # Byte by byte: refused where the second of two equal items can only be that.
        matcher.reset()
        assert not all(matcher.accept_bytes(bytes((byte,))) for byte in text.encode()), text


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ("1e99999999999999999999", "10e99999999999999999998", True),
        ("1e99999999999999999999", "0.1e100000000000000000000", True),
        ("1e99999999999999999999", "1e99999999999999999998", False),
        ("1e-99999999999999999999", "100e-100000000000000000001", True),
        ("1e100000000000000000000", "10e99999999999999999999", True),
        ("0e5", "-0.00", True),
        ('{"a":1,"b":{"c":[1,2]}}', '{"b":{"c":[1.0,2]},"a":1}', True),
        ('"\\ud83d\\ude00"', '"\U0001f600"', True),
    ],
)
def test_equality_at_the_edges(one: str, other: str, equal: bool) -> None:
    grammar = small().compiler.compile_json_schema(array({}))
    for a, b in ((one, other), (other, one)):
        assert is_accepted(grammar, f"[{a},{b}]") != equal


def test_copies_and_rollbacks_do_not_disturb_each_other() -> None:
    grammar = small().compiler.compile_json_schema(array({}))
    size = len(small().vocabulary)
    texts = [b'[{"a":1,"b":[1,2', b"]", b"},", b'{"b":[1,2],"a":', b"2", b"},", b'"a","', b"b"]
    matcher = grammar.matcher()
    masks = []
    for text in texts:
        masks.append(mask_of(matcher, size))
        assert matcher.accept_bytes(text)
    rng = random.Random(0)
    for _ in range(60):
        n = rng.randrange(len(texts) + 1)
        twin = matcher.copy()
        twin.rollback(n)
        at = len(texts) - n
        twin.accept_bytes(rng.choice([b"", b" ", b'"', b"1,", b"{"]))
        matcher.rollback(n)
        for text, mask in zip(texts[at:], masks[at:], strict=True):
            assert (mask_of(matcher, size) == mask).all()
            assert matcher.accept_bytes(text)


def test_strings_of_which_none_is_left() -> None:
    """A token that ends the last one must not begin another."""
    words = small()
    matcher = words.compiler.compile_json_schema(SCHEMAS["integers or letters"]).matcher()
    assert matcher.accept_bytes(b'["a","b')
    bits = mask_of(matcher, len(words.vocabulary))
    assert not bits[words.pieces.index(b'","')] and bits[words.pieces.index(b'"')]
    assert not matcher.accept_bytes(b'","') and matcher.accept_bytes(b'",1')


def test_a_search_that_many_texts_lead_out_of() -> None:
    """Every name may follow: no reason to give up."""
    properties = {"a": {"enum": [1, 2, "a"]}, "b": {"type": "boolean"}}
    schema = array({"type": "object", "properties": properties}, minItems=1)
    matcher = small().compiler.compile_json_schema(schema).matcher()
    assert matcher.accept_bytes(b'[{", ":1,":32261e030') and matcher.accept_bytes(b'":1},{')
