"""Compiled grammars: cache, serialisation, threads, other kinds of constraints."""

from __future__ import annotations

import json
import random
import sys
import threading
from typing import Any

import numpy as np
import pytest
from masks.schemas import SCHEMAS
from masks.walks import mask_of, sampled_schemas, words

import structgen as sg

BYTES = sg.Vocabulary.byte_vocabulary()


def trail(grammar: sg.CompiledGrammar, seed: object, steps: int = 40) -> list[bytes]:
    """The masks along a random walk."""
    rng = random.Random(repr(seed))
    matcher, found = grammar.matcher(), []
    size = len(grammar.vocabulary)
    for _ in range(steps):
        bits = mask_of(matcher, size)
        found.append(np.packbits(bits).tobytes())
        (allowed,) = np.nonzero(bits)
        if not len(allowed):
            break
        assert matcher.accept_token(int(allowed[int(rng.random() * len(allowed))]))
    return found


# -- cache -------------------------------------------------------------------------------------


def test_the_same_schema_is_compiled_once() -> None:
    compiler = sg.Compiler(BYTES)
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    first = compiler.compile_json_schema(schema)
    assert compiler.compile_json_schema(json.loads(json.dumps(schema))) is first
    assert compiler.compile_json_schema(json.dumps(schema)) is first
    assert compiler.compile_json_schema(schema, whitespace="compact") is not first
    assert compiler.compile_regex("a+") is compiler.compile_regex("a+")
    assert compiler.compile_choice(["a", "b"]) is compiler.compile_choice(("a", "b"))
    assert compiler.compile_choice(["a", "b"]) is not compiler.compile_choice(["b", "a"])
    assert compiler.compile_json() is compiler.compile_json_schema(True)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ({"const": 1}, {"const": True}),
        ({"const": 0}, {"const": False}),
        ({"enum": [1.0]}, {"enum": [1]}),
        ({"const": ""}, {"const": None}),
        (True, {"const": True}),
        (
            {"properties": {"a": {"const": 1}, "b": {"const": 2}}, "required": ["a", "b"]},
            {"properties": {"b": {"const": 2}, "a": {"const": 1}}, "required": ["a", "b"]},
        ),
    ],
)
def test_schemas_that_look_alike(one: Any, two: Any) -> None:
    compiler, fresh = sg.Compiler(BYTES), sg.Compiler(BYTES, cache_bytes=0)
    for schema in (one, two):
        expected = trail(fresh.compile_json_schema(schema), schema)
        assert trail(compiler.compile_json_schema(schema), schema) == expected


def test_no_cache() -> None:
    compiler = sg.Compiler(BYTES, cache_bytes=0)
    assert compiler.compile_json_schema(True) is not compiler.compile_json_schema(True)
    assert compiler.compile_regex("a") is not compiler.compile_regex("a")


def test_the_cache_is_bounded() -> None:
    import gc
    import weakref

    size = sg.Compiler(BYTES, cache_bytes=0).compile_json_schema({"const": 0}).nbytes
    compiler = sg.Compiler(BYTES, cache_bytes=4 * size + size // 2)
    alive = [weakref.ref(compiler.compile_json_schema({"const": i})) for i in range(20)]
    gc.collect()
    kept = [i for i, ref in enumerate(alive) if ref() is not None]
    assert 1 <= len(kept) <= 5
    assert kept == list(range(20 - len(kept), 20)), "the least recently used go first"
    last = alive[kept[0]]()
    assert compiler.compile_json_schema({"const": kept[0]}) is last
    assert compiler.compile_json_schema({"const": 0}) is not None


def test_grammars_that_grow_in_the_cache() -> None:
    """What counts is their size now, not when they were added."""
    size = sg.Compiler(BYTES, cache_bytes=0).compile_json_schema({"const": 0}).nbytes
    compiler = sg.Compiler(BYTES, cache_bytes=30 * size)
    kept = [compiler.compile_json_schema({"const": i}) for i in range(10)]
    assert compiler.compile_json_schema({"const": 0}) is kept[0]
    grown = compiler.compile_json_schema(SCHEMAS["recursive ref"])
    grown._masks.store.bitmaps = np.zeros((1, 40 * size), np.uint8)
    for i in range(100, 105):
        compiler.compile_json_schema({"const": i})
    assert compiler.compile_json_schema(SCHEMAS["recursive ref"]) is not grown
    assert compiler.compile_json_schema({"const": 1}) is not kept[1], "older ones went first"


@pytest.mark.parametrize(
    "make",
    [
        lambda c: c.compile_regex("(é|[a-c]{2,3})+x?"),
        lambda c: c.compile_choice(["yes", "no"]),
        lambda c: c.compile_lark('start: e\n?e: e "+" e | N\nN: /\\d+/'),
        lambda c: c.compile_ebnf('root ::= "a" root | "b"'),
        lambda c: c.compile_json_schema(SCHEMAS["recursive ref"]),
        lambda c: c.compile_json_schema(SCHEMAS["overlapping objects"]),
        lambda c: c.compile_json_schema({"type": "array", "uniqueItems": True}),
    ],
)
def test_a_grammar_that_nobody_holds_is_gone(make: Any) -> None:
    """By counting references: nothing is left for the collector, which stops all threads."""
    import gc
    import weakref

    compiler = sg.Compiler(BYTES, cache_bytes=0)
    trail(make(compiler), 0)
    gc.collect()
    gc.disable()
    try:
        grammar = make(compiler)
        matcher = grammar.matcher()
        trail(grammar, 1)
        held = [weakref.ref(x) for x in (grammar, grammar._masks, grammar._masks.store.bitmaps)]
        del grammar
        assert held[0]() is None and held[1]() is not None
        mask = sg.allocate_bitmask(1, len(BYTES))
        matcher.fill_bitmask(mask)
        del matcher
        assert [ref() for ref in held] == [None] * 3
    finally:
        gc.enable()


def test_a_changed_schema_does_not_change_its_grammar() -> None:
    schema: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "integer"}},
                              "required": ["a"]}  # fmt: skip
    for compiler in (sg.Compiler(BYTES), sg.Compiler(BYTES, cache_bytes=0)):
        own = json.loads(json.dumps(schema))
        grammar = compiler.compile_json_schema(own)
        expected = trail(sg.Compiler(BYTES).compile_json_schema(schema), 0)
        own["properties"]["a"]["type"] = "string"
        own["required"].append("b")
        assert trail(grammar, 0) == expected
        assert trail(sg.CompiledGrammar.deserialize(grammar.serialize(), BYTES), 0) == expected
        assert not compiler.compile_json_schema(own).matcher().accept_bytes(b'{"a":1')


# -- serialisation -----------------------------------------------------------------------------


@pytest.mark.parametrize("whitespace", ["flexible", "compact", " ?"])
@pytest.mark.parametrize("name", ["overlapping objects", "recursive ref", "enum", "lengths"])
def test_a_schema_there_and_back(name: str, whitespace: str) -> None:
    grammar = sg.Compiler(BYTES).compile_json_schema(SCHEMAS[name], whitespace=whitespace)
    data = grammar.serialize()
    assert isinstance(data, bytes)
    again = sg.CompiledGrammar.deserialize(data, BYTES)
    assert [trail(again, i) for i in range(5)] == [trail(grammar, i) for i in range(5)]
    assert again.serialize() == data


@pytest.mark.parametrize(
    "make",
    [
        lambda c: c.compile_regex("(é|\U0001f600|[a-c]{2,3})+x?"),
        lambda c: c.compile_choice(["yes", "no", "é\0", ""]),
        lambda c: c.compile_json(),
        lambda c: c.compile_json_schema({"enum": ["\U0001f600", "\0", "é"]}),
    ],
)
def test_other_constraints_there_and_back(make: Any) -> None:
    for vocabulary in (BYTES, words("gpt2").vocabulary):
        grammar = make(sg.Compiler(vocabulary))
        again = sg.CompiledGrammar.deserialize(grammar.serialize(), vocabulary)
        assert trail(again, 1, 12) == trail(grammar, 1, 12)


def test_limits_are_part_of_it() -> None:
    """A run of whitespace is as long after the journey as it was before."""
    compiler = sg.Compiler(BYTES, limits=sg.Limits(whitespace=3))
    grammar = compiler.compile_json_schema({"type": "array"})
    again = sg.CompiledGrammar.deserialize(grammar.serialize(), BYTES)
    for g in (grammar, again):
        assert g.matcher().accept_bytes(b"[   ]")
        assert not g.matcher().accept_bytes(b"[    ]")


def test_another_vocabulary_is_refused() -> None:
    data = sg.Compiler(BYTES).compile_json().serialize()
    other = sg.Vocabulary([bytes([b]) for b in range(256)] + [b"ab", None], eos_token_ids=[257])
    with pytest.raises(sg.StructgenError, match="another vocabulary"):
        sg.CompiledGrammar.deserialize(data, other)


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b"3", b"{}", b"null", b"\xff", b'{"structgen":1,"vocabulary":""}']
)
def test_what_is_no_grammar(data: bytes) -> None:
    with pytest.raises(sg.StructgenError):
        sg.CompiledGrammar.deserialize(data, BYTES)


def test_damaged_fields() -> None:
    source = json.loads(sg.Compiler(BYTES).compile_json().serialize())
    for change in ({"structgen": 99}, {"kind": "x"}, {"kind": []}, {"options": 3},
                   {"options": {"a": 1}}, {"text": 3}):  # fmt: skip
        with pytest.raises(sg.StructgenError):
            sg.CompiledGrammar.deserialize(json.dumps({**source, **change}).encode(), BYTES)


TEXTS = {
    "json_schema": "true", "regex": "a", "choice": ["a"], "lark": 'start: "a"',
    "ebnf": 'root ::= "a"', "structural_tag": '{"type": "any_text"}',
}  # fmt: skip
ODD_OPTIONS: list[Any] = [
    None, 3, [1], "cancel", {"cancel": 5}, {"cancel": None}, {"start": 5}, {"start": []},
    {"grammars": 5}, {"grammars": {"a": 5}}, {"grammars": ["a"]}, {"folder": 3}, {"folder": []},
    {"root": []}, {"root": 5}, {"whitespace": 3}, {"escapes": None}, {"formats": 3},
    {"unsupported": []}, {"property_order": {}}, {"resolver": 3},
    {"self": 1}, {"text": "b"}, {"zzz": 3},
]  # fmt: skip


@pytest.mark.parametrize("kind", TEXTS)
def test_odd_options(kind: str) -> None:
    source = json.loads(sg.Compiler(BYTES).compile_json().serialize())
    for options in ODD_OPTIONS:
        data = json.dumps({**source, "kind": kind, "text": TEXTS[kind], "options": options})
        with pytest.raises(sg.StructgenError):
            sg.CompiledGrammar.deserialize(data.encode(), BYTES)


@pytest.mark.parametrize("kind", TEXTS)
def test_odd_texts(kind: str) -> None:
    source = json.loads(sg.Compiler(BYTES).compile_json().serialize())
    for text in (None, 5, {"type": 1}, [], [1], "\ud800"):
        data = json.dumps({**source, "kind": kind, "text": text, "options": {}})
        with pytest.raises(sg.StructgenError):
            sg.CompiledGrammar.deserialize(data.encode(), BYTES)


@pytest.mark.parametrize("limits", [{"stacks": -1}, {"stacks": 0}, {"states": "x"}, [], None, 3,
                                    {"step_seconds": float("nan")}, {"zzz": 1}])  # fmt: skip
def test_odd_limits(limits: Any) -> None:
    source = json.loads(sg.Compiler(BYTES).compile_json().serialize())
    with pytest.raises(sg.StructgenError):
        sg.CompiledGrammar.deserialize(json.dumps({**source, "limits": limits}).encode(), BYTES)


# -- other kinds, and what a grammar says of itself --------------------------------------------


def test_numbers_about_a_grammar() -> None:
    grammar = sg.Compiler(BYTES).compile_json_schema(SCHEMAS["recursive ref"])
    before, size = grammar.stats, grammar.nbytes
    trail(grammar, 0)
    after = grammar.stats
    assert size > 0 and grammar.nbytes >= size
    assert after["states"] > before["states"] and after["rows"] > before["rows"]
    assert after["compile_seconds"] > 0
    assert grammar.warnings == []


@pytest.mark.parametrize("choices", [[], "ab", [1], ["a", None]])
def test_wrong_choices(choices: Any) -> None:
    if choices == "ab":
        pytest.skip("a text is a sequence of texts")
    with pytest.raises(sg.StructgenError, match="choice"):
        sg.Compiler(BYTES).compile_choice(choices)


def test_choices() -> None:
    texts = ["a", "ab", "abc", "é", "", "\n", '"']
    grammar = sg.Compiler(BYTES).compile_choice(texts)
    for text in [*texts, "b", "abcd", "A", " a", "a "]:
        matcher = grammar.matcher()
        taken = matcher.accept_bytes(text.encode()) and matcher.is_accepting()
        assert taken == (text in texts)


@pytest.mark.parametrize("pattern", ["(", "[b-a]", "a{2,1}", "*"])
def test_wrong_patterns(pattern: str) -> None:
    with pytest.raises(sg.GrammarSyntaxError):
        sg.Compiler(BYTES).compile_regex(pattern)


def test_a_pattern_that_nothing_matches() -> None:
    with pytest.raises(sg.StructgenError, match="no text"):
        sg.Compiler(BYTES).compile_regex("a[]b")


def test_a_vocabulary_without_some_bytes() -> None:
    """What cannot be spelled is never needed: escapes stand in, dead ends are not entered."""
    left_out = b"\n\t~z" + bytes(range(0x80, 0x100))
    pieces: list[bytes | None] = [None if b in left_out else bytes([b]) for b in range(256)]
    pieces += ["é".encode(), b"z~", None]
    vocabulary = sg.Vocabulary(pieces, eos_token_ids=[258])
    compiler = sg.Compiler(vocabulary)
    for schema in (SCHEMAS["enum"], SCHEMAS["names in need of escapes"], SCHEMAS["pattern"], True,
                   {"const": {"zé~": "\x7fz\n"}}):  # fmt: skip
        grammar = compiler.compile_json_schema(schema)
        for seed in range(10):
            masks = trail(grammar, seed, 200)
            assert all(any(mask) for mask in masks[:-1])
    with pytest.raises(sg.StructgenError, match="vocabulary"):
        compiler.compile_choice(["z"])
    with pytest.raises(sg.StructgenError, match="JSON needs"):
        sg.Compiler(sg.Vocabulary([b"a", None], eos_token_ids=[1])).compile_json()


# -- threads -----------------------------------------------------------------------------------


def in_threads(n: int, work: Any) -> None:
    errors: list[BaseException] = []
    barrier = threading.Barrier(n)

    def run(i: int) -> None:
        try:
            barrier.wait()
            work(i)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(n)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    if errors:
        raise errors[0]


@pytest.mark.parametrize(("vocabulary", "cache_bytes"), [("bytes", 512 << 20), ("llama2", 0)])
def test_threads(vocabulary: str, cache_bytes: int) -> None:
    """Eight threads compile and walk the same and different schemas at once."""
    own = words(vocabulary).vocabulary
    schemas = [
        SCHEMAS[n]
        for n in (
            "overlapping objects",
            "recursive ref",
            "enum",
            "lengths",
            "anyOf of arrays",
            "many items",
            "additional schema",
        )
    ]
    schemas += [row["schema"] for row in sampled_schemas(6, 11)]
    expected = {}
    for i, schema in enumerate(schemas):
        try:
            grammar = sg.Compiler(own, cache_bytes=0).compile_json_schema(schema)
        except sg.UnsupportedSchemaError:
            continue
        expected[i] = [trail(grammar, seed, 30) for seed in range(8)]
    for _ in range(2):
        compiler = sg.Compiler(own, cache_bytes=cache_bytes)
        shared = {i: compiler.compile_json_schema(schemas[i]) for i in list(expected)[:4]}

        def work(k: int) -> None:
            order = list(expected)
            random.Random(k).shuffle(order)
            for i in order:
                grammar = shared.get(i) or compiler.compile_json_schema(schemas[i])  # noqa: B023
                assert trail(grammar, k, 30) == expected[i][k]

        in_threads(8, work)


def test_threads_on_one_new_grammar() -> None:
    """Tables grow under the feet of the others."""
    schema = {"anyOf": [{"type": "object", "properties": {f"p{i}{j}": {"const": f"{i}{j}"}
              for j in range(6)}} for i in range(6)]}  # fmt: skip
    expected = [trail(sg.Compiler(BYTES).compile_json_schema(schema), k, 200) for k in range(8)]
    for _ in range(10):
        grammar = sg.Compiler(BYTES, cache_bytes=0).compile_json_schema(schema)
        in_threads(8, lambda k: _same(trail(grammar, k, 200), expected[k]))  # noqa: B023


def _same(one: Any, two: Any) -> None:
    assert one == two
