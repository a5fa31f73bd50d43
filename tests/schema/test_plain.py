"""Subschemas that are read late: nothing may depend on when they are."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import structgen as sg
from structgen.limits import Limits
from structgen.schema import node
from structgen.schema.atoms import ObjectShape
from structgen.schema.compile import SchemaBuilder
from structgen.schema.document import snapshot
from structgen.schema.library import Library
from structgen.schema.options import SchemaOptions
from structgen.schema.plain import KNOWN
from structgen.schema.satisfy import property_order

VOCABULARY = sg.Vocabulary.byte_vocabulary()
LIBRARY = Library("compact", 1)

NAMES = st.sampled_from(["a", "b", "c", "\ud800"])
ODD = st.sampled_from([None, True, -1, 1.5, 10**40, "a", [], ["a", 1], {}, [{}]])
COUNTS = st.integers(0, 3)
BOUNDS = st.sampled_from([-1, 0, 2, 2.5, 1e300, 10**20])
VALUES = st.sampled_from([None, False, 1, 1.0, "a", "\ud800", [1], {"a": 1}])
TYPES = st.sampled_from([*node.TYPES, "text"])


def keywords(below: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Subschemas of a few keywords, most of them well formed."""
    known: dict[str, st.SearchStrategy[Any]] = {
        "type": TYPES | st.lists(TYPES, max_size=3),
        "enum": st.lists(VALUES, max_size=3),
        "const": VALUES,
        "format": st.sampled_from(["date", "unknown"]),
        "minLength": COUNTS,
        "maxLength": COUNTS,
        "minItems": COUNTS,
        "maxItems": COUNTS,
        "minimum": BOUNDS,
        "exclusiveMinimum": BOUNDS,
        "maximum": BOUNDS,
        "exclusiveMaximum": BOUNDS,
        "required": st.lists(NAMES, max_size=2),
        "uniqueItems": st.booleans(),
        "properties": st.dictionaries(NAMES, below, max_size=3),
        "items": below,
        "additionalProperties": below,
        "$ref": st.sampled_from(["#", "#/$defs/x", "#/$defs/y", "#/$defs/z", 1]),
        "anyOf": st.lists(below, max_size=2),
        "not": below,
        "pattern": st.sampled_from(["^a", "(", "a{2}"]),
        "minProperties": COUNTS,
        "description": st.just("any"),
        "disallow": st.just("any"),
    }
    pairs = st.one_of(
        [st.tuples(st.just(k), v | ODD if k == "type" else v) for k, v in known.items()]
    )
    odd = st.tuples(st.sampled_from(sorted(KNOWN)), ODD)
    common = st.one_of(
        [st.tuples(st.just(k), known[k]) for k in ("type", "properties", "required", "items")]
    )
    some = st.lists(st.one_of(common, common, common, pairs, odd), max_size=4)
    return some.map(dict)


SUBSCHEMAS = st.recursive(st.booleans() | keywords(st.booleans()), keywords, max_leaves=8)
DIALECTS = st.sampled_from([{}, {"$schema": "http://json-schema.org/draft-07/schema#"}])
SCHEMAS = st.builds(
    lambda root, dialect, x, y: {**root, **dialect, "$defs": {"x": x, "y": y}},
    keywords(SUBSCHEMAS),
    DIALECTS,
    SUBSCHEMAS,
    SUBSCHEMAS,
)
JSON = st.recursive(
    st.sampled_from([None, True, 0, 1, 2.5, 10, "", "a", "aab", "2020-01-01"]),
    lambda below: (
        st.lists(below, max_size=3) | st.dictionaries(st.sampled_from("abc"), below, max_size=3)
    ),
    max_leaves=6,
)


def compiled(
    monkeypatch: pytest.MonkeyPatch, schema: Any, lazily: bool, **options: Any
) -> sg.CompiledGrammar | str:
    """The grammar, or the error's text without its place."""
    with monkeypatch.context() as patch:
        if not lazily:
            patch.setattr("structgen.compiler.snapshot", lambda schema: None)
        compiler = sg.Compiler(VOCABULARY, cache_bytes=0)
        try:
            return compiler.compile_json_schema(schema, whitespace="compact", **options)
        except sg.StructgenError as error:
            return f"{type(error).__name__}: {str(error).partition(' (at ')[0]}"


def is_accepted(grammar: sg.CompiledGrammar, text: str) -> bool:
    matcher = grammar.matcher()
    return matcher.accept_bytes(text.encode()) and matcher.is_accepting()


@settings(deadline=None)
@given(
    SCHEMAS,
    st.lists(JSON, min_size=1, max_size=8),
    st.sampled_from([{}, {"unsupported": "relax"}, {"additional_properties": False}]),
)
def test_a_schema_says_the_same_whenever_it_is_read(
    schema: Any, values: list[Any], options: dict[str, Any]
) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        late = compiled(monkeypatch, schema, True, **options)
        now = compiled(monkeypatch, schema, False, **options)
    if isinstance(now, str) or isinstance(late, str):
        assert late == now
        return
    assert late.warnings == now.warnings
    for value in values:
        text = json.dumps(value, separators=(",", ":"))
        assert is_accepted(late, text) == is_accepted(now, text), text
    late.automaton.build_all(3000)
    late.automaton.verify()


@settings(deadline=None)
@given(SCHEMAS)
def test_what_looks_satisfiable_is(schema: Any) -> None:
    try:
        builder = SchemaBuilder(
            sg.automaton.tables.Automaton(LIBRARY.automaton), LIBRARY, schema, Limits(),
            SchemaOptions(), lazily=True,
        )  # fmt: skip
    except sg.StructgenError:
        return
    reader = builder.reader
    for raw in (schema, *schema["$defs"].values()):
        if reader.looks.is_surely_satisfiable(raw):
            assert builder.sat.is_satisfiable(reader.place_formula(reader.node(raw, "#")))


def test_keywords_that_are_looked_at_are_those_that_are_read() -> None:
    assert set(node._GROUPS) | set(_reader()._keywords) == KNOWN


def _reader() -> node.Reader:
    builder = SchemaBuilder(
        sg.automaton.tables.Automaton(LIBRARY.automaton), LIBRARY, True, Limits(), SchemaOptions()
    )
    return builder.reader


def test_a_schema_that_is_changed_later_changes_no_grammar() -> None:
    schema = {"properties": {"a": {"properties": {"b": {"type": "integer"}}}}}
    grammar = sg.Compiler(VOCABULARY).compile_json_schema(schema)
    written = grammar.serialize()
    schema["properties"]["a"]["properties"]["b"]["type"] = "text"  # type: ignore[index]
    del schema["properties"]
    assert is_accepted(grammar, '{"a": {"b": 1}}')
    assert not is_accepted(grammar, '{"a": {"b": "x"}}')
    assert grammar.serialize() == written


@pytest.mark.parametrize(
    "broken",
    [
        {"type": "text"},
        {"minLength": -1},
        {"$ref": "#/nowhere"},
        {"pattern": "("},
        {"$ref": "#/$defs/loop"},
        {"properties": {"a": 1}},
        {"items": 1},
        {"required": "a"},
    ],
    ids=json.dumps,
)
def test_errors_at_the_far_end_come_at_once(broken: Any) -> None:
    far: Any = broken
    for _ in range(20):
        far = {"properties": {"a": far, "b": {"type": "array", "items": {"type": "string"}}}}
    schema = {"$defs": {"loop": {"$ref": "#/$defs/loop"}}, **far}
    with pytest.raises(sg.SchemaError):
        sg.Compiler(VOCABULARY).compile_json_schema(schema)


@pytest.mark.parametrize("lazily", [True, False])
def test_subschemas_are_counted_whenever_they_are_read(lazily: bool) -> None:
    schema = {
        "properties": {str(i): {"type": "string"} for i in range(8)},
        "items": {"$ref": "#/properties/3"},
    }
    for most in (9, 10):
        builder = (
            sg.automaton.tables.Automaton(LIBRARY.automaton), LIBRARY, schema,
            Limits(schema_nodes=most), SchemaOptions(),
        )  # fmt: skip
        if most == 10:
            SchemaBuilder(*builder, lazily=lazily).start()
            continue
        with pytest.raises(sg.LimitExceeded, match="schema_nodes"):
            SchemaBuilder(*builder, lazily=lazily)


@given(st.recursive(VALUES, lambda v: st.lists(v) | st.dictionaries(st.text(), v), max_leaves=9))
def test_a_snapshot_is_equal_and_apart(value: Any) -> None:
    before = copy.deepcopy(value)
    taken = snapshot(value)
    assert taken == value
    assert repr(taken) == repr(value)
    if isinstance(value, dict | list):
        value.clear()
        assert taken == before


def merged(orders: list[list[str]]) -> list[str]:
    """The definition: an unknown name stands behind the last known one before it, or at the end."""
    order: list[str] = []
    for names in orders:
        at = 0
        for name in names:
            if name not in order:
                order.insert(at or len(order), name)
            elif not at:
                at = 1
            if at:
                at = order.index(name) + 1
    return order


@given(st.lists(st.lists(st.sampled_from("abcdefgh"), unique=True), min_size=1, max_size=4))
def test_orders_of_properties_are_merged(orders: list[list[str]]) -> None:
    true = _reader().true
    shapes = tuple(ObjectShape(dict.fromkeys(names, true), ("z", "a")) for names in orders)
    found = property_order(shapes)
    assert found == list(dict.fromkeys([*merged(orders), "z", "a"]))
