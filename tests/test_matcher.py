"""One sequence: history, copies, the end, and what is forced."""

from __future__ import annotations

import json
import random
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from masks.schemas import SCHEMAS
from masks.walks import TOKENIZERS, Words, mask_of, words

import structgen as sg
from structgen.budget import Budget

SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 5},
        "tags": {"type": "array", "items": {"enum": ["x", "xy", 1]}, "maxItems": 3},
        "more": {"anyOf": [{"required": ["a"]}, {"type": "integer", "minimum": 12}]},
    },
    "required": ["name", "more"],
}


@cache
def toy() -> Words:
    """Bytes and some longer tokens, a few of which straddle several values."""
    longer = [b'{"', b'":', b'","', b'"name"', b'"name":"', b'"}', b"},{", b"[1,", b"1,1", b"1]",
              b"\xc3\xa9", b"\xa9\"", b"\\u00", b'x","', b'"tags":[', b"12", b"}}", b"ab", b"  ",
              b'"more":', b'a":1']  # fmt: skip
    pieces: list[bytes | None] = [bytes([b]) for b in range(256)]
    pieces += [*longer, b'"', None, None]  # a duplicate, a control token, the end
    size = len(pieces)
    return Words(sg.Vocabulary(pieces, eos_token_ids=[size - 1], special_tokens={"<x>": size - 2}))


def snapshot(matcher: sg.Matcher, w: Words) -> tuple[bytes, bool, bool]:
    bits = mask_of(matcher, len(w.vocabulary))
    return bits.tobytes(), matcher.is_accepting(), matcher.is_terminated()


class History(RuleBasedStateMachine):
    """Accept, rollback, reset and copy against a list of tokens that is replayed from reset."""

    def __init__(self) -> None:
        super().__init__()
        self.w = toy()
        self.grammar = self.w.compiler.compile_json_schema(SCHEMA)
        self.matcher = self.grammar.matcher()
        self.taken: list[int | bytes] = []
        self.left: list[tuple[sg.Matcher, list[int | bytes]]] = []

    def replayed(self, taken: list[int | bytes]) -> sg.Matcher:
        fresh = self.grammar.matcher()
        for item in taken:
            assert fresh.accept_bytes(item) if isinstance(item, bytes) else fresh.accept_token(item)
        return fresh

    @rule(seed=st.integers(0, 2**32))
    def accept_an_allowed_token(self, seed: int) -> None:
        (allowed,) = np.nonzero(mask_of(self.matcher, len(self.w.vocabulary)))
        if len(allowed):
            token = int(allowed[seed % len(allowed)])
            assert self.matcher.accept_token(token)
            self.taken.append(token)

    @rule(token=st.integers(-3, 300))
    def accept_any_token(self, token: int) -> None:
        if self.matcher.accept_token(token):
            self.taken.append(token)

    @rule(data=st.sampled_from([b"", b'{"na', b'me":"', b'1,"x"', b'"', b"}", b"]", b"\xff"]))
    def accept_bytes(self, data: bytes) -> None:
        if self.matcher.accept_bytes(data):
            self.taken.append(data)

    @precondition(lambda self: self.taken)
    @rule(data=st.data())
    def rollback(self, data: st.DataObject) -> None:
        n = data.draw(st.integers(0, len(self.taken)))
        self.matcher.rollback(n)
        del self.taken[len(self.taken) - n :]

    @rule()
    def rollback_too_far(self) -> None:
        with pytest.raises(sg.StructgenError, match="roll back"):
            self.matcher.rollback(len(self.taken) + 1)
        with pytest.raises(sg.StructgenError, match="roll back"):
            self.matcher.rollback(-1)

    @rule()
    def reset(self) -> None:
        self.matcher.reset()
        self.taken = []

    @rule()
    def copy(self) -> None:
        self.left.append((self.matcher, list(self.taken)))
        self.matcher = self.matcher.copy()

    @precondition(lambda self: self.left)
    @rule(data=st.data())
    def go_back_to_a_copy(self, data: st.DataObject) -> None:
        i = data.draw(st.integers(0, len(self.left) - 1))
        self.left[i], (self.matcher, self.taken) = (self.matcher, self.taken), self.left[i]

    @invariant()
    def same_as_replayed(self) -> None:
        fresh = self.replayed(self.taken)
        assert snapshot(self.matcher, self.w) == snapshot(fresh, self.w)
        assert self.matcher.forced_bytes() == fresh.forced_bytes()


History.TestCase.settings = settings(
    max_examples=60, stateful_step_count=25, deadline=None, database=None, derandomize=True
)
TestHistory = History.TestCase


def test_the_end() -> None:
    w = toy()
    matcher = w.compiler.compile_json_schema({"const": "a"}).matcher()
    (eos,) = w.eos
    assert not matcher.accept_token(eos) and not matcher.is_accepting()
    assert matcher.accept_bytes(b'"a"') and matcher.is_accepting()
    assert np.flatnonzero(mask_of(matcher, len(w.vocabulary))).tolist() == [eos]
    assert matcher.accept_token(eos)
    assert matcher.is_terminated() and not matcher.is_accepting()
    assert not mask_of(matcher, len(w.vocabulary)).any()
    assert matcher.forced_bytes() == b"" and matcher.forced_tokens() == []
    for token in range(len(w.vocabulary)):
        assert not matcher.accept_token(token)
    assert not matcher.accept_bytes(b"") and not matcher.accept_bytes(b" ")
    matcher.rollback(1)
    assert matcher.is_accepting() and not matcher.is_terminated()
    assert matcher.accept_token(eos)
    matcher.reset()
    assert matcher.accept_bytes(b'"')


def test_several_end_tokens() -> None:
    vocabulary = sg.Vocabulary([*map(lambda b: bytes([b]), range(256)), None, None, None],
                               eos_token_ids=[258, 256])  # fmt: skip
    matcher = sg.Compiler(vocabulary).compile_choice(["ab"]).matcher()
    assert matcher.accept_bytes(b"ab")
    assert np.flatnonzero(mask_of(matcher, 259)).tolist() == [256, 258]
    assert not matcher.accept_token(257)
    assert matcher.accept_token(256) and matcher.is_terminated()


@pytest.mark.parametrize("token", [-1, -(2**31), 279, 2**31, 2**40])
def test_ids_that_are_no_tokens(token: int) -> None:
    w = toy()
    matcher = w.compiler.compile_json_schema(True).matcher()
    before = snapshot(matcher, w)
    assert not matcher.accept_token(token + len(w.vocabulary) if 0 <= token < 300 else token)
    assert snapshot(matcher, w) == before


def test_a_refused_token_changes_nothing() -> None:
    w = toy()
    matcher = w.compiler.compile_json_schema(SCHEMA).matcher()
    for text in (b'{"name":"ab', b'","tags":[1,', b'"x"]'):
        assert matcher.accept_bytes(text)
        before = snapshot(matcher, w)
        bits = mask_of(matcher, len(w.vocabulary))
        for token in np.flatnonzero(~bits).tolist():
            assert not matcher.accept_token(token)
        assert not matcher.accept_bytes(text + b"\x00")
        assert snapshot(matcher, w) == before
        matcher.rollback(0)
    matcher.rollback(3)
    assert snapshot(matcher, w) == snapshot(w.compiler.compile_json_schema(SCHEMA).matcher(), w)


def test_a_long_text_and_all_the_way_back() -> None:
    w = toy()
    matcher = w.compiler.compile_json_schema(True).matcher()
    start = snapshot(matcher, w)
    depth = 3000
    for _ in range(depth):
        assert matcher.accept_bytes(b'[{"a":')
    assert matcher.accept_bytes(b"1")
    assert not matcher.is_accepting()
    assert matcher.copy().accept_bytes(b"}]" * depth)
    assert not matcher.copy().accept_bytes(b"}]" * (depth + 1))
    twin = matcher.copy()
    matcher.rollback(depth + 1)
    assert snapshot(matcher, w) == start
    assert twin.accept_bytes(b"}]" * depth) and twin.is_accepting()


# -- what is forced ----------------------------------------------------------------------------


def check_forced(w: Words, matcher: sg.Matcher) -> bytes:
    """Each forced byte is the only one that may come; after the last there is a choice."""
    forced = matcher.forced_bytes()
    probe = matcher.copy()
    for byte in forced:
        assert not probe.is_accepting()
        assert [b for b in range(256) if probe.copy().accept_bytes(bytes([b]))] == [byte]
        assert probe.accept_bytes(bytes([byte]))
    if not probe.is_accepting() and not probe.is_terminated():
        assert sum(probe.copy().accept_bytes(bytes([b])) for b in range(256)) > 1
    tokens = matcher.forced_tokens()
    follower = matcher.copy()
    for token in tokens:
        assert follower.accept_token(token)
    spelled = b"".join(w.pieces[t] or b"" for t in tokens)
    assert forced.startswith(spelled)
    return forced


CHOICES: list[tuple[Any, str, bytes, bytes]] = [
    ({"const": {"a": [1, True]}}, "compact", b"", b'{"a":[1,true]}'),
    ({"enum": ["abc", "abd"]}, "compact", b"", b'"'),
    ({"type": "object", "properties": {"kind": {"const": "x"}}, "required": ["kind"]}, "compact",
     b"", b'{"'),
    ({"type": "boolean"}, "compact", b"t", b"rue"),
    ({"type": "boolean"}, "flexible", b"", b""),
    ({"type": "array", "items": {"type": "null"}, "minItems": 3, "maxItems": 3}, "compact",
     b"", b"[null,null,null]"),
    ({"type": "string", "maxLength": 0}, "compact", b"", b'""'),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "whitespace", "text", "expected"), CHOICES)
def test_forced_bytes(schema: Any, whitespace: str, text: bytes, expected: bytes) -> None:
    w = toy()
    matcher = w.compiler.compile_json_schema(schema, whitespace=whitespace).matcher()
    assert matcher.accept_bytes(text)
    forced = check_forced(w, matcher)
    if b'"' in expected[:-1] and len(expected) > 2:
        # Inside strings other spellings (escapes) are a choice.
        assert expected.startswith(forced) and forced
    else:
        assert forced == expected


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_forced_along_texts(tokenizer: str) -> None:
    w = words(tokenizer)
    texts = [
        (w.compiler.compile_choice(["yes please", "yes", "no, thank you"]), b"no, thank you"),
        (w.compiler.compile_regex("(abc|abd)é{3}[0-9]"), "abdééé7".encode()),
        (
            w.compiler.compile_json_schema(SCHEMA, whitespace="compact"),
            json.dumps(
                {"name": "a", "tags": ["xy", 1], "more": 12}, separators=(",", ":")
            ).encode(),
        ),
    ]
    for grammar, text in texts:
        matcher = grammar.matcher()
        found = b""
        for byte in text:
            found = max(found, check_forced(w, matcher), key=len)
            assert matcher.accept_bytes(bytes([byte]))
        assert found
        assert matcher.is_accepting()


@pytest.mark.parametrize("name", list(SCHEMAS))
def test_forced_in_hard_schemas(name: str) -> None:
    w = toy()
    matcher = w.compiler.compile_json_schema(SCHEMAS[name], whitespace="compact").matcher()
    for step in range(30):
        check_forced(w, matcher)
        (allowed,) = np.nonzero(mask_of(matcher, len(w.vocabulary)))
        if not len(allowed) or not matcher.accept_token(int(allowed[step * 7919 % len(allowed)])):
            break


# -- copies --------------------------------------------------------------------------------------


def test_copies_of_copies_of_a_long_text() -> None:
    """All the way back from each of them, however often the steps are shared."""
    w = toy()
    grammar = w.compiler.compile_json_schema(True)
    rng = random.Random(8)
    parts = [b'[{"a":', b"[1,", b'["xy",', b'{"b":[']
    matcher, taken = grammar.matcher(), []
    family: list[tuple[sg.Matcher, list[bytes]]] = []
    for _ in range(3000):
        part = rng.choice(parts)
        assert matcher.accept_bytes(part)
        taken.append(part)
        if rng.random() < 0.01:
            family.append((matcher, taken))
            matcher, taken = matcher.copy(), list(taken)
        if rng.random() < 0.01:
            n = rng.randrange(min(len(taken), rng.choice((5, 2000))) + 1)
            matcher.rollback(n)
            taken = taken[: len(taken) - n]
    for old, text in rng.sample([*family, (matcher, taken)], 12):
        back = rng.randrange(len(text) + 1)
        old.rollback(back)
        fresh = grammar.matcher()
        assert fresh.accept_bytes(b"".join(text[: len(text) - back]))
        assert old.configurations() == fresh.configurations()
        assert old.accept_bytes(b'"') == fresh.accept_bytes(b'"')
    for old, text in family:
        with pytest.raises(sg.StructgenError, match="roll back"):
            old.rollback(len(text) + 9000)


def test_a_copy_does_not_grow_with_the_text() -> None:
    w = toy()
    matcher = w.compiler.compile_json_schema(True).matcher()
    assert matcher.accept_bytes(b"[")
    for _ in range(20_000):
        assert matcher.accept_bytes(b"1,")
    twin = matcher.copy()
    assert len(twin._history) < 1000 and twin._before is not None
    twin.rollback(20_001)
    assert snapshot(twin, w) == snapshot(w.compiler.compile_json_schema(True).matcher(), w)
    assert matcher.accept_bytes(b"1]") and matcher.is_accepting()


def test_reused_rows() -> None:
    """With ``reuse`` a row is written exactly where it differs from what is there."""
    w = toy()
    size = len(w.vocabulary)
    rng = random.Random(2)
    written = 0
    for name in SCHEMAS:
        matcher = w.compiler.compile_json_schema(SCHEMAS[name], whitespace="compact").matcher()
        mask, fresh = sg.allocate_bitmask(2, size), sg.allocate_bitmask(1, size)
        last, steps = -1, 0
        for _ in range(40):
            row = rng.choice((0, 0, 0, 1))
            before = mask[row].copy()
            changed = matcher.fill_bitmask(mask, row, reuse=True)
            assert matcher.copy().fill_bitmask(fresh, reuse=True)
            assert (mask[row] == fresh[0]).all()
            # Only the row that it wrote last may be left as it is.
            assert changed or (row == last and (mask[row] == before).all())
            last = row
            written += changed
            (allowed,) = np.nonzero(mask_of(matcher, size))
            last = -1  # mask_of wrote elsewhere
            assert matcher.fill_bitmask(mask, row, reuse=True)
            assert matcher._unique is not None or not matcher.fill_bitmask(mask, row, reuse=True)
            last = row
            if len(allowed) and rng.random() < 0.9:
                assert matcher.accept_token(int(rng.choice(allowed.tolist())))
                steps += 1
            elif steps:
                matcher.rollback(1)
                steps -= 1
    assert written


@pytest.mark.parametrize("unique", [False, True])
def test_reuse_is_true_or_false(unique: bool) -> None:
    grammar = toy().compiler.compile_json_schema({"uniqueItems": unique})
    mask = sg.allocate_bitmask(1, len(toy().vocabulary))
    for reuse in (None, "", "x", [], 2):
        matcher = grammar.matcher()
        assert matcher.fill_bitmask(mask, 0, reuse=reuse)  # type: ignore[arg-type]
        again = matcher.fill_bitmask(mask, 0, reuse=reuse)  # type: ignore[arg-type]
        assert again == (unique or not reuse)


def test_a_mask_that_an_error_left_half_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written before is not there any more, so ``reuse`` does not find it."""
    pieces = [bytes([b]) for b in range(256)] + [b"]" * n for n in range(2, 60)]
    size = len(pieces) + 1
    vocabulary = sg.Vocabulary([*pieces, None], eos_token_ids=[size - 1])
    grammar = sg.Compiler(vocabulary).compile_ebnf(
        'root ::= "w" l "!" | "a" l "?" [x-z]*\nl ::= "[" l? "]" "."?\n'
    )
    # The rows of a deep stack, more than are remembered, but for the last.
    warm = grammar.matcher()
    assert warm.accept_bytes(b"w" + b"[" * 50)
    warm.fill_bitmask(sg.allocate_bitmask(1, size))
    matcher = grammar.matcher()
    mask = sg.allocate_bitmask(1, size)
    assert matcher.fill_bitmask(mask, reuse=True)
    expected = mask.copy()
    assert matcher.accept_bytes(b"a" + b"[" * 25)
    with monkeypatch.context() as patch:
        spent = Budget(1e-12, 1, name="step_seconds")
        patch.setattr(type(grammar._masks), "budget", lambda self: spent)
        patch.setattr(Budget, "check", _exceed)
        with pytest.raises(sg.LimitExceeded):
            matcher.fill_bitmask(mask, reuse=True)
    assert (mask != expected).any()
    matcher.rollback(1)
    assert matcher.fill_bitmask(mask, reuse=True)
    assert (mask == expected).all()


def _exceed(self: Budget, where: str) -> None:
    raise sg.LimitExceeded(limit=self.name, value=self.seconds, where=where)


@pytest.mark.parametrize("unique", [False, True])
@pytest.mark.parametrize("n", [1.5, 1.0, "1", None, [1]])
def test_a_number_of_steps_that_is_none(n: Any, unique: bool) -> None:
    matcher = toy().compiler.compile_json_schema({"uniqueItems": unique}).matcher()
    assert matcher.accept_bytes(b"[") and matcher.accept_bytes(b'"')
    before = snapshot(matcher, toy())
    with pytest.raises(sg.StructgenError, match="roll back"):
        matcher.rollback(n)
    assert snapshot(matcher, toy()) == before
    matcher.rollback(np.int64(2))  # type: ignore[arg-type]
    assert not matcher.accept_bytes(b"]")


@pytest.mark.parametrize("unique", [False, True])
def test_bytes_that_are_none(unique: bool) -> None:
    matcher = toy().compiler.compile_json_schema({"uniqueItems": unique}).matcher()
    for data in ("[", 5, None, [91], 0, True):
        with pytest.raises(sg.StructgenError, match="expected bytes"):
            matcher.accept_bytes(data)  # type: ignore[arg-type]
    for good in (bytearray(b"["), memoryview(b"1x")[:1], np.frombuffer(b"]", np.uint8)):
        assert matcher.accept_bytes(good)  # type: ignore[arg-type]
    assert matcher.is_accepting()


@pytest.mark.parametrize(
    "grammar",
    [
        'start: (<[97]> "b" | "a" "c")+',
        'start: (<[{ab}]> "b" | "ab" "c")+',
        'start: (<[{ab}]> "c" | x "d")+\nx: "a" x "b" | "b"',
    ],
)
def test_tokens_that_fit_by_name_and_by_text_are_taken_back_from_copies(grammar):
    w = toy()
    ab = next(t for t in range(256, len(w.vocabulary)) if w.vocabulary.token_bytes(t) == b"ab")
    compiled = w.compiler.compile_lark(grammar.format(ab=ab))
    for seed in range(30):
        rng = random.Random(seed)
        matcher = compiled.matcher()
        before = [snapshot(matcher, w)]
        for _ in range(30):
            allowed = np.flatnonzero(np.frombuffer(before[-1][0], bool))
            if len(allowed) and rng.random() < 0.7:
                assert matcher.accept_token(int(rng.choice(allowed)))
                before.append(snapshot(matcher, w))
            elif len(before) > 1:
                n = rng.randint(1, min(4, len(before) - 1))
                matcher = matcher.copy()
                matcher.rollback(n)
                del before[-n:]
                assert snapshot(matcher, w) == before[-1]
