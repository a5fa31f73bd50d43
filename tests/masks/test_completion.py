"""Rows computed ahead are those that a text would have computed, and no holder is kept waiting."""

from __future__ import annotations

import gc
import threading
import time
import weakref

import pytest
from masks.walks import verify_rows

import structgen as sg

BYTES = sg.Vocabulary.byte_vocabulary()
SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "pattern": "^[a-z]+$"},
        "age": {"type": "integer", "minimum": 0},
        "tags": {"type": "array", "items": {"enum": ["red", "green"]}, "maxItems": 3},
        "more": {"$ref": "#"},
    },
    "required": ["name"],
}
TEXT = b'{"name": "ab", "age": 31, "tags": ["red", "green"], "more": {"name":"c"}}'


def masks_along(grammar: sg.CompiledGrammar, text: bytes) -> list[bytes]:
    mask = sg.allocate_bitmask(1, len(BYTES))
    matcher = grammar.matcher()
    found = []
    for byte in text:
        matcher.fill_bitmask(mask, 0)
        found.append(mask.tobytes())
        assert matcher.accept_token(byte)
    return found


def entries(grammar: sg.CompiledGrammar) -> int:
    return int(grammar.stats["entries"])


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        (SCHEMA, TEXT),
        (True, b'{"a": [1, true, null]}'),
        ({"type": "array", "uniqueItems": True}, b'[1, "a"]'),
        ({"anyOf": [SCHEMA, {"type": "null"}]}, TEXT),
    ],
)
def test_masks_are_the_same(schema: object, text: bytes) -> None:
    compiler = sg.Compiler(BYTES, cache_bytes=0)
    lazy, ahead = (compiler.compile_json_schema(schema) for _ in range(2))
    assert ahead.complete(60)
    ahead.automaton.verify()
    assert masks_along(ahead, text) == masks_along(lazy, text)
    verify_rows(ahead)
    verify_rows(lazy)


def test_a_completed_grammar_has_the_rows() -> None:
    grammar = sg.Compiler(BYTES, cache_bytes=0).compile_json_schema(SCHEMA)
    assert grammar.complete(60)
    before = entries(grammar)
    masks_along(grammar, TEXT)
    assert entries(grammar) == before


def test_grammars_in_rules() -> None:
    text = 'start: e\n?e: e "+" e | NUMBER\nNUMBER: /[0-9]+/'
    compiler = sg.Compiler(BYTES, cache_bytes=0)
    lazy, ahead = (compiler.compile_lark(text) for _ in range(2))
    ahead.complete(5)
    assert masks_along(ahead, b"1+22+3") == masks_along(lazy, b"1+22+3")


def test_it_ends_in_time_and_goes_on() -> None:
    grammar = sg.Compiler(BYTES, cache_bytes=0).compile_json_schema(SCHEMA)
    assert not grammar.complete(0.0)
    assert grammar.complete(60)


def test_memory_is_bounded() -> None:
    grammar = sg.Compiler(BYTES, cache_bytes=0).compile_json_schema(SCHEMA)
    assert not grammar.complete(60, memory_bytes=1)
    assert entries(grammar) == 0


def test_it_can_be_cancelled() -> None:
    stop = threading.Event()
    stop.set()
    grammar = sg.Compiler(BYTES, cache_bytes=0).compile_json_schema(SCHEMA)
    assert not grammar.complete(60, cancel=stop)


def test_in_the_background() -> None:
    compiler = sg.Compiler(BYTES, cache_bytes=0, background_seconds=60)
    grammar = compiler.compile_json_schema(SCHEMA)
    expected = masks_along(sg.Compiler(BYTES, cache_bytes=0).compile_json_schema(SCHEMA), TEXT)
    for _ in range(20):  # while the thread is at work, too
        assert masks_along(grammar, TEXT) == expected
    while not grammar.complete(0.0):
        time.sleep(0.01)
    compiler.close()
    assert masks_along(compiler.compile_json_schema(SCHEMA), TEXT) == expected


def test_a_dropped_grammar_is_let_go() -> None:
    compiler = sg.Compiler(BYTES, cache_bytes=0, background_seconds=60)
    grammar = compiler.compile_json_schema(SCHEMA)
    gone = weakref.ref(grammar)
    del grammar
    gc.collect()
    for _ in range(1000):
        if gone() is None:
            break
        time.sleep(0.01)
    assert gone() is None
    compiler.close()


def test_a_long_chain_of_entries() -> None:
    """A state that had a row for each of thousands of counters."""
    longer = [b"a" * n for n in (*range(2, 1400), 2500)]
    pieces = [*(bytes([b]) for b in range(256)), *longer, None]
    vocabulary = sg.Vocabulary(pieces, eos_token_ids=[len(pieces) - 1])
    grammar = sg.Compiler(vocabulary).compile_json_schema({"type": "string", "maxLength": 2600})
    matcher, mask = grammar.matcher(), sg.allocate_bitmask(1, len(pieces))
    assert matcher.accept_bytes(b'"')
    for _ in range(2600):
        matcher.fill_bitmask(mask)
        assert matcher.accept_bytes(b"a")
    assert grammar.complete(60)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_error_in_the_background(monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends that thread; the next grammar has another."""
    compiler = sg.Compiler(BYTES, cache_bytes=0, background_seconds=60)
    background = compiler._background
    assert background is not None

    def fail(self: sg.CompiledGrammar, *args: object, **options: object) -> bool:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(sg.CompiledGrammar, "complete", fail)
        first = compiler.compile_json_schema(SCHEMA)
        while background._thread is not None:
            time.sleep(0.01)
    assert entries(first) == 0
    second = compiler.compile_json_schema(SCHEMA)
    while entries(second) == 0:
        time.sleep(0.01)
    compiler.close()
