"""Definitions that grammars have in common: no mask may depend on whether they are shared."""

from __future__ import annotations

import gc
import json
import random
import sys
import threading
import weakref
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from masks.walks import mask_of

import structgen as sg
from structgen.masks.verify import verify
from structgen.schema import family

PIECES = [b'{"', b'":', b'":"', b'","', b"},", b"}]", b'{"a":', b'"b":{"', b"[[", b'"a', b"null"]
SIZE = 256 + len(PIECES) + 1
VOCABULARY = sg.Vocabulary(
    [*(bytes([b]) for b in range(256)), *PIECES, None], eos_token_ids=[SIZE - 1]
)

ITEM = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "next": {"$ref": "#/$defs/Item"}},
    "required": ["name"],
    "additionalProperties": False,
}
COLOR = {"enum": ["red", "green"]}
DRAFT_7 = "http://json-schema.org/draft-07/schema#"
DEFS = {"Item": ITEM, "Color": COLOR}


def over(root: dict[str, Any], defs: dict[str, Any] = DEFS, **more: Any) -> dict[str, Any]:
    return {**root, **more, "$defs": defs}


LIST = over({"type": "array", "items": {"$ref": "#/$defs/Item"}})
ONE = over({"type": "object", "properties": {"item": {"$ref": "#/$defs/Item"},
            "color": {"$ref": "#/$defs/Color"}}, "required": ["item"]})  # fmt: skip


def compiler() -> sg.Compiler:
    return sg.Compiler(VOCABULARY, cache_bytes=0)


def compiled(own: sg.Compiler, schema: Any, **options: Any) -> sg.CompiledGrammar | str:
    """The grammar, or the error's text."""
    try:
        return own.compile_json_schema(schema, whitespace="compact", **options)
    except sg.StructgenError as error:
        return f"{type(error).__name__}: {error}"


def are_shared(*grammars: sg.CompiledGrammar) -> bool:
    return len({id(grammar._masks) for grammar in grammars}) == 1


def assert_same(shared: Any, alone: Any, seed: int, steps: int = 40) -> None:
    """Bit by bit along a random text, begun with bytes that make structure likely."""
    if isinstance(alone, str):
        assert shared == alone
        return
    rng = random.Random(seed)
    one, two = shared.matcher(), alone.matcher()
    for _ in range(steps):
        bits = mask_of(one, SIZE)
        assert (bits == mask_of(two, SIZE)).all()
        (allowed,) = np.nonzero(bits)
        if not len(allowed):
            break
        some = [t for t in allowed.tolist() if t > 255 or t in b'{}[]":,anb1'] or allowed.tolist()
        token = rng.choice(some)
        assert one.accept_token(token)
        assert two.accept_token(token)
        assert one.is_accepting() == two.is_accepting()


# -- random schemas ----------------------------------------------------------------------------

ODD_REFS = ["#", "#/$defs/A/properties/a", "#/definitions/A", "#/$defs/B/not", "#/$defs/%41", "#x"]
REFS = st.sampled_from([f"#/$defs/{name}" for name in "ABC"] * 30 + ODD_REFS).map(
    lambda ref: {"$ref": ref}
)
ODD_LEAVES = [
    {"type": "array", "uniqueItems": True}, {"$id": "http://x/y", "type": "null"}, False,
    {"$anchor": "x"},
]  # fmt: skip
LEAVES = st.sampled_from(ODD_LEAVES + 8 * [
    {"type": "string"}, {"type": "integer"}, {"type": "null"}, {"enum": ["a", "b", 1]}, True,
    {"type": "string", "maxLength": 2}, {"type": "string", "pattern": "^a+b?$"}, {"const": "a"},
    {"type": "boolean", "title": "$ref"}, {"minimum": 1, "type": "number"},
    {"const": {"$ref": "#/$defs/A"}}, {"type": ["string", "null"]},
])  # fmt: skip


def objects(below: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    names = st.sampled_from(["a", "b", "ab"])
    return st.fixed_dictionaries(
        {"type": st.just("object"), "properties": st.dictionaries(names, below, max_size=3)},
        optional={
            "required": st.lists(names, max_size=2, unique=True),
            "additionalProperties": st.just(False) | below,
            "description": st.sampled_from(["one", "two"]),
        },
    )


def larger(below: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    arrays = st.fixed_dictionaries(
        {"type": st.just("array"), "items": below}, optional={"minItems": st.integers(0, 2)}
    )
    branches = st.lists(below, min_size=1, max_size=3)
    either = st.tuples(st.sampled_from(["anyOf", "oneOf", "allOf"]), branches)
    optional = below.map(lambda schema: {"anyOf": [schema, {"type": "null"}]})
    some = objects(below)
    return st.one_of(
        some, some, some, arrays, optional,
        either.map(lambda pair: {pair[0]: pair[1]}), below.map(lambda schema: {"not": schema}),
    )  # fmt: skip


SUBSCHEMAS = st.recursive(REFS | REFS | LEAVES, larger, max_leaves=5)
MOSTLY_OBJECTS = objects(SUBSCHEMAS) | objects(SUBSCHEMAS) | larger(SUBSCHEMAS)
DEFINITIONS = st.fixed_dictionaries({name: MOSTLY_OBJECTS for name in "ABC"})
ROOTS = objects(REFS | SUBSCHEMAS) | larger(REFS | REFS | SUBSCHEMAS)
CHANGES = st.dictionaries(st.sampled_from("ABCD"), MOSTLY_OBJECTS, max_size=2)


@st.composite
def families(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Two or three schemas over the same definitions, some of them changed."""
    definitions = draw(DEFINITIONS)
    found = []
    for _ in range(draw(st.integers(2, 3))):
        own = {**definitions, **draw(st.just({}) | st.just({}) | CHANGES)}
        root = draw(ROOTS)
        keyword = draw(st.sampled_from(["$defs"] * 20 + ["definitions"]))
        dialect = draw(st.sampled_from([{}] * 20 + [{"$schema": DRAFT_7}]))
        found.append({**root, **dialect, keyword: own})
    return found


@settings(deadline=None, max_examples=100)
@given(
    families(),
    st.integers(0, 1 << 30),
    st.sampled_from([{}] * 6 + [{"property_order": "any"}, {"unsupported": "relax"},
                                {"additional_properties": False}]),
)  # fmt: skip
def test_masks_do_not_depend_on_what_is_shared(
    schemas: list[dict[str, Any]], seed: int, options: dict[str, Any]
) -> None:
    own = compiler()
    alone = [compiled(compiler(), schema, **options) for schema in schemas]
    together: list[Any] = []
    for k, schema in enumerate(schemas):
        together.append(compiled(own, schema, **options))
        for j in range(k + 1):
            if together[j] is not None:
                assert_same(together[j], alone[j], seed + j)
        if k == 1:
            together[seed % 2] = None  # nobody holds it any more
    for shared, single in zip(together, alone, strict=True):
        if isinstance(shared, sg.CompiledGrammar):
            assert isinstance(single, sg.CompiledGrammar)
            assert shared.warnings == single.warnings
            shared.complete(5.0)
            assert_same(shared, single, seed + 17)
            shared.automaton.verify()
            verify(shared._masks.store)


# -- what is shared ----------------------------------------------------------------------------


def test_definitions_are_built_once() -> None:
    own = compiler()
    first = own.compile_json_schema(LIST)
    text = b'[{"name":"a","next":{"name":"b"}}]'
    assert first.matcher().accept_bytes(text)
    second = own.compile_json_schema(ONE)
    assert are_shared(first, second)
    before = first.automaton.n_states
    assert second.matcher().accept_bytes(b'{"item":{"name":"a","next":{"name":"b"}},"color":"red"}')
    added = first.automaton.n_states - before
    alone = compiler().compile_json_schema(ONE)
    start = alone.automaton.n_states
    assert alone.matcher().accept_bytes(b'{"item":{"name":"a","next":{"name":"b"}},"color":"red"}')
    assert added < (alone.automaton.n_states - start) - 15, "the items were there"
    third = own.compile_json_schema(over({"$ref": "#/$defs/Item"}, title="third"))
    assert are_shared(first, third)
    for grammar, schema in ((first, LIST), (second, ONE)):
        again = sg.CompiledGrammar.deserialize(grammar.serialize(), VOCABULARY)
        assert json.loads(grammar.serialize())["text"] == json.dumps(schema)
        assert_same(grammar, again, 3)
        assert f"state {grammar.start}" in grammar.dump().splitlines()[0]
        assert grammar.nbytes == first.nbytes > 0
        assert grammar.stats["states"] == first.automaton.n_states


def test_optional_and_nested_definitions_are_shared() -> None:
    """As pydantic writes them."""
    defs = {
        "Address": {"type": "object", "properties": {"city": {"type": "string"}}},
        "Person": {
            "type": "object",
            "properties": {
                "address": {"anyOf": [{"$ref": "#/$defs/Address"}, {"type": "null"}]},
                "age": {"type": "integer"},
            },
        },
    }
    optional = {"anyOf": [{"$ref": "#/$defs/Person"}, {"type": "null"}], "default": None}
    own = compiler()
    first = own.compile_json_schema(over({"type": "array", "items": optional}, defs))
    text = b'{"address":{"city":"x"},"age":1}'
    assert first.matcher().accept_bytes(b"[" + text + b"]")
    rooted = over({"type": "object", "properties": {"who": optional}, "required": ["who"]}, defs)
    second = own.compile_json_schema(rooted)
    assert are_shared(first, second)
    before = first.automaton.n_states
    assert second.matcher().accept_bytes(b'{"who":' + text + b"}")
    added = first.automaton.n_states - before
    flat = over({"type": "object", "properties": {"who": {"const": 1}}, "required": ["who"]}, defs)
    alone = compiler().compile_json_schema(flat)
    least = alone.automaton.n_states
    assert alone.matcher().accept_bytes(b'{"who":1}')
    assert added <= alone.automaton.n_states - least, "no more than the object around it"


@pytest.mark.parametrize(
    "other",
    [
        over(ONE, {**DEFS, "Item": {**ITEM, "required": []}}),
        over(ONE, {**DEFS, "Item": dict(reversed(ITEM.items()))}),
        {**ONE, "$schema": DRAFT_7},
        over(ONE, {**DEFS, "Item": {**ITEM, "properties": {"name": {"const": 1}}}, "Color": {}}),
    ],
)
def test_what_differs_is_not_shared(other: dict[str, Any]) -> None:
    own = compiler()
    first = own.compile_json_schema(over(LIST, {"Item": ITEM}))
    second = own.compile_json_schema(other)
    assert not are_shared(first, second)
    assert_same(second, compiler().compile_json_schema(other, whitespace="flexible"), 1)


def test_a_definition_is_as_good_as_those_that_it_names() -> None:
    outer = {"type": "object", "properties": {"inner": {"$ref": "#/$defs/Inner"}}}
    own, grammars = compiler(), []
    for kind in ("string", "integer"):
        schema = over({"$ref": "#/$defs/Outer"}, {"Outer": outer, "Inner": {"type": kind}})
        grammars.append(own.compile_json_schema(schema))
    assert not are_shared(*grammars)
    text = b'{"inner":1}'
    assert [g.matcher().accept_bytes(text) for g in grammars] == [False, True]


def test_options_whitespace_and_compilers_are_apart() -> None:
    own = compiler()
    first = own.compile_json_schema(LIST)
    assert not are_shared(first, own.compile_json_schema(ONE, whitespace="compact"))
    assert not are_shared(first, own.compile_json_schema(ONE, escapes="minimal"))
    assert not are_shared(first, own.compile_json_schema(ONE, property_order="any"))
    assert not are_shared(first, compiler().compile_json_schema(ONE))
    own.limits = sg.Limits(classes=100)
    assert not are_shared(first, own.compile_json_schema(ONE))


def test_items_that_differ_are_compiled_alone() -> None:
    own = compiler()
    tagged = over(ONE, tags={"type": "array"})
    tagged["properties"] = {**ONE["properties"], "tags": {"type": "array", "uniqueItems": True}}
    first, second, third = (own.compile_json_schema(s) for s in (tagged, LIST, tagged))
    assert first.automaton.has_unique and not second.automaton.has_unique
    assert not are_shared(first, second) and not are_shared(second, third)
    assert are_shared(second, own.compile_json_schema(ONE))


# -- when something goes wrong -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("schema", "error"),
    [
        (over({"allOf": [{"$ref": "#/$defs/Item"}, {"type": "string"}]}), sg.SchemaError),
        (over({"properties": {"a": {"$ref": "#/$defs/Other"}}}), sg.SchemaError),
        (over({"properties": {"a": {"$ref": "#/$defs/Item"}, "b": {"pattern": "(a)\\1"}}}),
         sg.UnsupportedSchemaError),
        (over({"properties": {"a": {"type": "nothing"}}}), sg.SchemaError),
    ],
)  # fmt: skip
def test_a_schema_that_fails_leaves_the_others(schema: Any, error: type[Exception]) -> None:
    own = compiler()
    first, alone = (c.compile_json_schema(LIST, whitespace="compact") for c in (own, compiler()))
    half = first.matcher()
    half.accept_bytes(b'[{"na')
    expected = compiled(compiler(), schema)
    assert isinstance(expected, str) and expected.startswith(error.__name__)
    closing = len(first.automaton.on_close)
    for _ in range(3):
        result = compiled(own, schema)
        assert_same(result, expected, 5)
        assert len(first.automaton.on_close) == closing, "nothing is kept of it"
    assert half.accept_bytes(b'me":"x"}]')
    second = own.compile_json_schema(ONE, whitespace="compact")
    assert are_shared(first, second)
    for seed in range(5):
        assert_same(first, alone, seed)


def test_a_failure_amid_building_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """States that were not finished stay behind, and nobody joins any more."""
    own = compiler()
    first, alone = (c.compile_json_schema(LIST, whitespace="compact") for c in (own, compiler()))
    with monkeypatch.context() as patch:

        def fail(*_: Any) -> None:
            raise sg.LimitExceeded(limit="memory_bytes", value=1, where="here")

        patch.setattr("structgen.schema.objects.ObjectFrame.entries", fail)
        assert "here" in str(compiled(own, ONE))
    second = own.compile_json_schema(ONE, whitespace="compact")
    assert not are_shared(first, second)
    for seed in range(5):
        assert_same(first, alone, seed)
    assert are_shared(second, own.compile_json_schema(LIST, whitespace="compact"))


def test_a_cancelled_compilation_leaves_the_others() -> None:
    own = compiler()
    first = own.compile_json_schema(LIST)
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(sg.CompileCancelled):
        own.compile_json_schema(ONE, cancel=cancel)
    assert_same(first, compiler().compile_json_schema(LIST), 1)


def test_each_grammar_may_have_as_many_states() -> None:
    n = sg.Compiler(VOCABULARY, cache_bytes=0).compile_json_schema(LIST).automaton.n_states
    own = sg.Compiler(VOCABULARY, cache_bytes=0, limits=sg.Limits(states=n + 100))
    kept = [own.compile_json_schema(over({**ONE, "title": str(i)})) for i in range(12)]
    assert are_shared(*kept)
    for grammar in kept:
        assert grammar.matcher().accept_bytes(b'{"item":{"name":"a"},"color":"green"}')


def test_odd_keys_are_refused_beside_others() -> None:
    own = compiler()
    first = own.compile_json_schema(LIST)
    with pytest.raises(sg.SchemaError, match="not a string"):
        own.compile_json_schema({"$ref": "#/$defs/Item", "$defs": {**DEFS, 1: ITEM}})
    assert are_shared(first, own.compile_json_schema(ONE))


def test_a_limit_on_size_counts_what_is_shared() -> None:
    schema = over(ONE, {**DEFS, "Item": {**ITEM, "title": "t" * 900}})
    own = sg.Compiler(VOCABULARY, cache_bytes=0, limits=sg.Limits(schema_bytes=2000))
    first = own.compile_json_schema(schema)
    assert are_shared(first, own.compile_json_schema({**schema, "title": "t" * 400}))
    with pytest.raises(sg.LimitExceeded, match="schema_bytes"):
        own.compile_json_schema({**schema, "title": "t" * 1000})


# -- bounds ------------------------------------------------------------------------------------


def test_families_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(family, "MOST_BYTES", 200_000)
    own = compiler()
    kept = [own.compile_json_schema(over({**ONE, "title": "t" * 5000, "$comment": str(i)}))
            for i in range(60)]  # fmt: skip
    sizes = {id(g._masks): g.nbytes for g in kept}
    assert 2 <= len(sizes) < 20
    assert all(size < 210_000 for size in sizes.values())


def test_a_long_row_of_grammars_that_build_on_each_other() -> None:
    """Each definition requires that of the schema before."""
    own, kept = compiler(), []
    defs: dict[str, Any] = {"D0": {"type": "object"}}
    for i in range(1, 100):
        following = {"type": "object", "properties": {"d": {"$ref": f"#/$defs/D{i - 1}"}}}
        defs = {**defs, f"D{i}": {**following, "required": ["d"]}}
        kept.append(own.compile_json_schema(over({"$ref": f"#/$defs/D{i}"}, defs)))
    n = len({id(grammar._masks) for grammar in kept})
    assert 3 <= n <= 10
    for depth in (1, 40, 99):
        text = b'{"d":' * depth + b"{}" + b"}" * depth
        assert kept[depth - 1].matcher().accept_bytes(text)
        assert not kept[depth - 1].matcher().accept_bytes(text[5:-1])


def test_names_of_families_that_are_gone_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(family, "FORGOTTEN", 4)
    own = compiler()
    own._families._most_names = 4
    for i in range(100):
        own.compile_json_schema(over({"$ref": f"#/$defs/T{i}"}, {f"T{i}": COLOR | {"title": i}}))
    assert sum(len(names) for both in own._families._by_name.values() for names in both) <= 6


def test_the_cache_counts_what_is_shared_once() -> None:
    size = compiler().compile_json_schema(LIST).nbytes
    own = sg.Compiler(VOCABULARY, cache_bytes=3 * size)
    schemas = [over({**ONE, "title": str(i)}) for i in range(20)]
    kept = [weakref.ref(own.compile_json_schema(schema)) for schema in schemas]
    gc.collect()
    assert all(ref() is not None for ref in kept)
    assert own._cache._total == own._cache._grammars.popitem()[1].nbytes


def test_all_is_freed_with_the_last_grammar() -> None:
    """By counting references, whichever goes first."""
    gc.collect()
    gc.disable()
    try:
        for order in ((0, 1, 2), (2, 1, 0), (1, 0, 2)):
            own = compiler()
            grammars: list[Any] = [own.compile_json_schema(s) for s in (LIST, ONE, over({"$ref": "#/$defs/Item"}))]  # noqa: E501  # fmt: skip
            assert are_shared(*grammars)
            for grammar in grammars:
                assert_same(grammar, grammar, 1, 20)
            masks = grammars[0]._masks
            held = [weakref.ref(x) for x in (masks, masks.automaton, masks.store)]
            held += [weakref.ref(f()) for both in own._families._by_name.values()
                     for names in both for f in names.values()]  # fmt: skip
            del masks, grammar
            for k in order:
                assert all(ref() is not None for ref in held)
                grammars[k] = None
            assert all(ref() is None for ref in held)
    finally:
        gc.enable()


# -- threads -----------------------------------------------------------------------------------


def test_grammars_join_while_others_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(family, "MOST_MEMBERS", 1000)
    roots = [over({"type": "object", "properties": {f"p{i}": {"$ref": "#/$defs/Item"},
             "c": {"$ref": "#/$defs/Color"}, "e": {"enum": list(range(i + 1))}},
             "additionalProperties": False}) for i in range(16)]  # fmt: skip
    alone = [compiler().compile_json_schema(root, whitespace="compact") for root in roots]
    errors: list[BaseException] = []
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(3):
            own = compiler()
            first = own.compile_json_schema(LIST, whitespace="compact")
            barrier = threading.Barrier(6)

            def work(k: int) -> None:
                try:
                    barrier.wait()  # noqa: B023
                    order = list(range(len(roots)))
                    random.Random(k).shuffle(order)
                    for i in order:
                        grammar = own.compile_json_schema(roots[i], whitespace="compact")  # noqa: B023
                        assert are_shared(first, grammar)  # noqa: B023
                        assert_same(grammar, alone[i], k)
                        grammar.complete(0.001)
                except BaseException as error:
                    errors.append(error)

            threads = [threading.Thread(target=work, args=(k,)) for k in range(6)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            if errors:
                raise errors[0]
            first.automaton.verify()
            verify(first._masks.store)
    finally:
        sys.setswitchinterval(interval)


def test_a_batch_follows_grammars_that_join() -> None:
    """A snapshot taken before does not know the newcomer's states."""
    own = compiler()
    first = own.compile_json_schema(LIST, whitespace="compact")
    mask = sg.allocate_bitmask(2, SIZE)
    sg.fill_bitmasks([first.matcher(), first.matcher()], mask)
    second = own.compile_json_schema(ONE, whitespace="compact")
    sg.fill_bitmasks([first.matcher(), second.matcher()], mask)
    for row, grammar in enumerate((LIST, ONE)):
        alone = sg.allocate_bitmask(1, SIZE)
        compiler().compile_json_schema(grammar, whitespace="compact").matcher().fill_bitmask(alone)
        assert (np.asarray(mask)[row] == np.asarray(alone)[0]).all()
