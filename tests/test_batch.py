"""Batches: the same as one matcher after another, whatever the threads."""

from __future__ import annotations

import gc
import os
import random
import threading
import weakref
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from masks.schemas import SCHEMAS
from masks.walks import words

import structgen as sg
from structgen.batch import MatcherBatch, accept_tokens, fill_bitmasks

BYTES = sg.Vocabulary.byte_vocabulary()
SIZE = len(BYTES)
UNIQUE = {"type": "array", "items": {"type": "string"}, "uniqueItems": True}


def grammars(compiler: sg.Compiler) -> list[sg.CompiledGrammar]:
    """Of all kinds: counters, stacks, items that differ, several readings, no library."""
    names = ("recursive ref", "lengths", "anyOf of arrays", "overlapping objects", "pattern")
    return [
        *(compiler.compile_json_schema(SCHEMAS[name]) for name in names),
        compiler.compile_json_schema(UNIQUE),
        compiler.compile_lark('start: e\n?e: e "+" e | N\nN: /\\d+(\\.\\d+)?/'),
        compiler.compile_regex("(ab|a*)c{2,5}"),
    ]


def some_token(matcher: sg.Matcher, size: int, rng: random.Random) -> int:
    """An allowed token, if there is one; now and then any."""
    mask = sg.allocate_bitmask(1, size)
    matcher.fill_bitmask(mask)
    allowed = np.flatnonzero(np.unpackbits(mask.view(np.uint8), bitorder="little")[:size])
    return int(rng.choice(allowed)) if len(allowed) and rng.random() < 0.9 else rng.randrange(size)


@pytest.mark.parametrize("threads", [1, 3, None])
@pytest.mark.parametrize("vocabulary", ["bytes", "llama3"])
def test_same_as_one_by_one(vocabulary: str, threads: int | None) -> None:
    own = BYTES if vocabulary == "bytes" else words(vocabulary).vocabulary
    size, rng = len(own), random.Random(3)
    one = grammars(sg.Compiler(own, cache_bytes=0))
    two = grammars(sg.Compiler(own, cache_bytes=0))
    copies = 5
    alone = [g.matcher() for g in one for _ in range(copies)]
    together = MatcherBatch(g.matcher() for g in two for _ in range(copies))
    expected, mask = (sg.allocate_bitmask(len(alone), size) for _ in range(2))
    for _ in range(25):
        for row, matcher in enumerate(alone):
            matcher.fill_bitmask(expected, row)
        assert together.fill_bitmasks(mask, threads=threads).all()
        assert (mask == expected).all()
        tokens = [some_token(matcher, size, rng) for matcher in alone]
        accepted = [m.accept_token(token) for m, token in zip(alone, tokens, strict=True)]
        assert together.accept_tokens(tokens).tolist() == accepted
    # The functions do the same for matchers that came together just now.
    mask[:] = -1
    assert fill_bitmasks(together.matchers, mask, threads=threads).all()
    for row, matcher in enumerate(alone):
        matcher.fill_bitmask(expected, row)
    assert (mask == expected).all()


@given(st.permutations(range(9)), st.booleans())
@settings(max_examples=30, deadline=None, derandomize=True, database=None)
def test_rows_of_their_own(order: list[int], as_tensor: bool) -> None:
    """Rows are written where they were asked for, and no other is touched."""
    matchers = [g.matcher() for g in grammars(sg.Compiler(BYTES))][:5]
    mask = np.full((9, 2 * 9), 7, np.int32)[:, :9]  # rows do not lie side by side
    target: Any = torch.from_numpy(mask) if as_tensor else mask
    rows = order[:5]
    fill_bitmasks(matchers, target, rows, threads=2)
    for matcher, row in zip(matchers, rows, strict=True):
        own = sg.allocate_bitmask(1, SIZE)
        matcher.fill_bitmask(own)
        assert (own[0] == mask[row]).all()
    assert (mask[order[5:]] == 7).all()


def test_unchanged_rows_are_not_written() -> None:
    compiler = sg.Compiler(BYTES)
    grammar = compiler.compile_json_schema({"type": "string"})
    batch = MatcherBatch([grammar.matcher(), grammar.matcher()])
    mask = sg.allocate_bitmask(2, SIZE)
    assert batch.accept_tokens([34, 34]).all()
    assert batch.fill_bitmasks(mask, reuse=True).tolist() == [True, True]
    assert batch.accept_tokens([ord("a"), ord("\\")]).all()
    assert batch.fill_bitmasks(mask, reuse=True, threads=2).tolist() == [False, True]
    expected = sg.allocate_bitmask(2, SIZE)
    for row, matcher in enumerate(batch.matchers):
        matcher.fill_bitmask(expected, row)
    assert (mask == expected).all()


def test_what_does_not_fit_together() -> None:
    grammar = sg.Compiler(BYTES).compile_json()
    a, b = grammar.matcher(), grammar.matcher()
    other = sg.Vocabulary([*(bytes([x]) for x in range(256)), None], eos_token_ids=[256])
    c = sg.Compiler(other).compile_json().matcher()
    mask = sg.allocate_bitmask(2, SIZE)
    for matchers, rows, message in (
        ([a, a], None, "same matcher"),
        ([a, c], None, "one vocabulary"),
        ([a, b], [0, 0], "same row"),
        ([a, b], [0, 2], "row 2"),
        ([a, b], [-1, 0], "row -1"),
        ([a, b], [0], "a row for each"),
        ([a, b], [0.0, 1.0], "a row for each"),
        ([a, b, grammar.matcher()], None, "row 2"),
    ):
        with pytest.raises(sg.StructgenError, match=message):
            fill_bitmasks(matchers, mask, rows)  # type: ignore[arg-type]
    for tokens in ([1], [1.0, 2.0], ["a", "b"], [[1, 2]]):
        with pytest.raises(sg.StructgenError, match="token id"):
            accept_tokens([a, b], tokens)
    assert not accept_tokens([a, b], [-1, 2**40]).any()
    assert accept_tokens([a, b], torch.tensor([ord("["), ord("{")])).all()
    assert fill_bitmasks([], mask).shape == accept_tokens([], []).shape == (0,)


@pytest.mark.parametrize("kind", "int8 int16 int32 int64 uint8 uint16 uint32 uint64".split())
def test_ids_of_any_integer_type(kind: str) -> None:
    grammar = sg.Compiler(BYTES).compile_json()
    batch = MatcherBatch([grammar.matcher(), grammar.matcher()])
    assert batch.accept_tokens(np.array([ord("["), ord("]")], kind)).tolist() == [True, False]
    extremes = np.array([np.iinfo(kind).min, np.iinfo(kind).max], kind)
    expected = [matcher.copy().accept_token(int(token)) for matcher, token in
                zip(batch.matchers, extremes, strict=True)]  # fmt: skip
    assert batch.accept_tokens(extremes).tolist() == expected
    if kind != "uint64":  # torch has the others
        assert batch.accept_tokens(torch.tensor([49, 49]).to(getattr(torch, kind))).any()


def test_rows_and_threads_of_any_integer_type() -> None:
    grammar = sg.Compiler(BYTES).compile_json()
    batch = MatcherBatch([grammar.matcher(), grammar.matcher()])
    assert batch.matchers[0].accept_bytes(b"[")
    expected, mask = sg.allocate_bitmask(3, SIZE), sg.allocate_bitmask(3, SIZE)
    for row, matcher in zip((2, 0), batch.matchers, strict=True):
        matcher.fill_bitmask(expected[::-1], row)
    for kind in (np.uint64, np.int8):
        mask[:] = -1
        assert batch.fill_bitmasks(mask[::-1], np.array([2, 0], kind), threads=np.int8(2)).all()
        assert (mask == expected).all()
    with pytest.raises(sg.StructgenError, match="row 18446744073709551615"):
        batch.fill_bitmasks(mask, np.array([0, 2**64 - 1], np.uint64))
    for threads in (1.5, "2", [1]):
        with pytest.raises(sg.StructgenError, match="threads"):
            batch.fill_bitmasks(mask, threads=threads)  # type: ignore[arg-type]


def test_equal_vocabularies_are_one() -> None:
    """Also when the first of them is not there any more."""
    one = sg.Compiler(sg.Vocabulary.byte_vocabulary()).compile_json().matcher()
    gc.collect()
    two = sg.Compiler(sg.Vocabulary.byte_vocabulary()).compile_json().matcher()
    assert accept_tokens([one, two], [ord("["), ord("]")]).tolist() == [True, False]


def test_the_tables_of_a_vocabulary_that_nobody_uses_are_gone() -> None:
    compiler = sg.Compiler(sg.Vocabulary([b"a", b"only here", None], eos_token_ids=[2]))
    tables = weakref.ref(compiler._tokens)
    matcher = compiler.compile_choice(["a"]).matcher()
    del compiler
    gc.collect()
    assert tables() is not None and matcher.accept_token(0)
    del matcher
    gc.collect()
    assert tables() is None


def test_one_error_leaves_the_others_filled() -> None:
    limits = sg.Limits(stacks=2)
    palindromes = 'root ::= "x" root "x" | "x" | "y"'
    many = sg.Compiler(BYTES, limits=limits).compile_ebnf(palindromes)
    plain = sg.Compiler(BYTES, limits=limits).compile_json()
    matchers = [plain.matcher(), many.matcher(), plain.matcher()]
    with pytest.raises(sg.LimitExceeded):
        for _ in range(9):
            accept_tokens(matchers, [ord("["), ord("x"), ord("[")])
    assert matchers[0].accept_bytes(b"1]") and matchers[2].accept_bytes(b"1]")


def test_grammars_that_grow_meanwhile() -> None:
    """Batches in several threads over grammars that all of them, and others, are building."""
    schema = {"anyOf": [{"type": "object", "properties": {f"p{i}{j}": {"const": f"{i}{j}"}
              for j in range(6)}} for i in range(6)]}  # fmt: skip
    lazy = 'start: (A | B)*\nA: "[" /[a-m]{1,3}/ "]"\nB: "<" /[a-z]{2}/ ">"'
    for round_ in range(4):
        compiler = sg.Compiler(BYTES, cache_bytes=0)
        shared = [compiler.compile_json_schema(schema), compiler.compile_lark(lazy),
                  *grammars(compiler)]  # fmt: skip
        errors: list[BaseException] = []

        def work(
            seed: int,
            shared: list[sg.CompiledGrammar] = shared,
            errors: list[BaseException] = errors,
        ) -> None:
            try:
                rng = random.Random(seed)
                batch = MatcherBatch(g.matcher() for g in shared for _ in range(3))
                mask = sg.allocate_bitmask(len(batch.matchers), SIZE)
                own = sg.allocate_bitmask(1, SIZE)
                for _ in range(60):
                    batch.fill_bitmasks(mask, threads=2)
                    bits = np.unpackbits(mask.view(np.uint8), axis=1, bitorder="little")
                    tokens = []
                    for row, matcher in enumerate(batch.matchers):
                        matcher.fill_bitmask(own)
                        assert (own[0] == mask[row]).all()
                        allowed = np.flatnonzero(bits[row])
                        if not len(allowed):
                            matcher.reset()
                        tokens.append(int(rng.choice(allowed)) if len(allowed) else 1 << 30)
                    accepted = batch.accept_tokens(tokens)
                    assert accepted.tolist() == [token < 1 << 30 for token in tokens]
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=work, args=(10 * round_ + i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_after_a_fork() -> None:
    """A forked process has no threads but its own, and starts new ones."""
    matchers = [sg.Compiler(BYTES).compile_json().matcher() for _ in range(4)]
    mask = sg.allocate_bitmask(4, SIZE)
    fill_bitmasks(matchers, mask, threads=2)
    child = os.fork()
    if child == 0:
        mask[:] = 0
        fill_bitmasks(matchers, mask, threads=3)
        os._exit(0 if mask.any(axis=1).all() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
