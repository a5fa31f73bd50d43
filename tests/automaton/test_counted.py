"""Counted repetitions accept what spelled-out ones do, at every length."""

from __future__ import annotations

import numpy as np
import pytest

import structgen as sg
from structgen import compiler as compiler_module

PATTERNS = [
    "a{2,5}", "(ab){2,4}c", "x(ab){0,3}", "[é日a]{1,4}z", "ab{3,3}c", "(?i)(ab){2,3}c", "[ab]{0,6}",
    "(a|b){1,3}[cd]", "x[a-c]{2,5}yy", "(日本){1,3}", "a[ab]{1,4}",
]  # fmt: skip


def compiled(pattern: str, counted: bool, monkeypatch: pytest.MonkeyPatch) -> sg.CompiledGrammar:
    monkeypatch.setattr(compiler_module, "COUNTED_FROM", 0 if counted else 10**9)
    return sg.Compiler(sg.Vocabulary.byte_vocabulary(), cache_bytes=0).compile_regex(pattern)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_equal_to_the_spelled_out_one(pattern: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = compiled(pattern, True, monkeypatch)
    theirs = compiled(pattern, False, monkeypatch)
    ours.automaton.verify()
    masks = sg.allocate_bitmask(2, 257)
    waiting, seen = [b""], 0
    while waiting and seen < 1500:
        text = waiting.pop(0)
        seen += 1
        left, right = ours.matcher(), theirs.matcher()
        assert left.accept_bytes(text) and right.accept_bytes(text)
        assert left.is_accepting() == right.is_accepting(), text
        left.fill_bitmask(masks, 0)
        right.fill_bitmask(masks, 1)
        assert (masks[0] == masks[1]).all(), text
        bits = np.unpackbits(masks[0].view(np.uint8), bitorder="little")[:256]
        waiting += [text + bytes([b]) for b in np.flatnonzero(bits).tolist()]


@pytest.mark.parametrize("pattern", ["(ab){2,50000}c", "[a-z]{100000}", r"\p{L}{1,100000}\d"])
def test_large_bounds_cost_little(pattern: str) -> None:
    grammar = sg.Compiler(sg.Vocabulary.byte_vocabulary(), cache_bytes=0).compile_regex(pattern)
    assert grammar.stats["states"] < 3000
    matcher = grammar.matcher()
    text = {"(": "ab" * 50_000, "[": "q" * 100_000, "\\": "é" * 100_000}[pattern[0]].encode()
    assert matcher.accept_bytes(text)
    assert matcher.is_accepting() == (pattern[0] == "[")
    assert not matcher.accept_bytes(text[:2])
    ends = {"(": b"c", "[": b"", "\\": b"7"}[pattern[0]]
    assert matcher.accept_bytes(ends) and matcher.is_accepting()
