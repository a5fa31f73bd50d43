"""Random walks: what is allowed by mask, by accept, and by an independent byte-by-byte search."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
from shared_data import shared_data

import structgen as sg
from structgen.masks.verify import verify

TOKENIZERS = ("llama3", "qwen3", "gpt2", "llama2")


class Words:
    """A vocabulary with what walks need to know of it: a trie of our own, and ids by byte."""

    def __init__(self, vocabulary: sg.Vocabulary) -> None:
        self.vocabulary = vocabulary
        self.compiler = sg.Compiler(vocabulary, cache_bytes=0)
        self.pieces = [vocabulary.token_bytes(i) for i in range(len(vocabulary))]
        self.root: dict[Any, Any] = {}
        self.by_byte: dict[int, int] = {}
        for token, piece in enumerate(self.pieces):
            if piece is None:
                continue
            if len(piece) == 1:
                self.by_byte.setdefault(piece[0], token)
            node = self.root
            for byte in piece:
                node = node.setdefault(byte, {})
            node.setdefault("ids", []).append(token)
        self.eos = vocabulary.eos_token_ids

    def allowed(self, matcher: sg.Matcher) -> set[int]:
        """Tokens whose bytes can be accepted one at a time, each call given a single byte."""
        found: set[int] = set()
        probe = matcher.copy()

        def visit(node: dict[Any, Any]) -> None:
            for byte, child in node.items():
                if byte == "ids":
                    found.update(child)
                elif probe.accept_bytes(bytes([byte])):
                    visit(child)
                    probe.rollback(1)

        if not matcher.is_terminated():
            visit(self.root)
        return found


@cache
def words(name: str) -> Words:
    """One of the real vocabularies, or ``"bytes"``."""
    if name == "bytes":
        return Words(sg.Vocabulary.byte_vocabulary())
    path = shared_data("tokenizers", name)
    from transformers import AutoTokenizer

    return Words(sg.Vocabulary.from_huggingface(AutoTokenizer.from_pretrained(path)))


@cache
def real_schemas() -> tuple[dict[str, Any], ...]:
    """The rows of MaskBench that lie beside the repository: id, schema, tests."""
    path = shared_data("maskbench-dev.jsonl.gz")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return tuple(json.loads(line) for line in lines)


def sampled_schemas(n: int, seed: int) -> Iterator[dict[str, Any]]:
    """``n`` of the real schemas."""
    rows = list(real_schemas())
    random.Random(seed).shuffle(rows)
    yield from rows[:n]


def mask_of(matcher: sg.Matcher, size: int) -> np.ndarray:
    """The mask as one bool for each token."""
    mask = sg.allocate_bitmask(1, size)
    mask[:] = random.getrandbits(31)  # every word is to be written
    matcher.fill_bitmask(mask, 0)
    bits = np.unpackbits(mask[0].view(np.uint8), bitorder="little").astype(bool)
    assert not bits[size:].any(), "bits past the vocabulary"
    return bits[:size]


def verify_rows(grammar: sg.CompiledGrammar) -> None:
    """Check the store of a grammar, and the one that it shares with others."""
    store = grammar._masks.store
    verify(store)
    if store.shared is not None:
        verify(store.shared)


_CLOSERS = {ord(c): rank for rank, c in enumerate('"}]:0,el')}


def closing_byte(choices: list[int], rng: random.Random) -> int:
    """The byte that is likely to end the text soonest."""
    if rng.random() < 0.1:
        return rng.choice(choices)
    best = [b for b in choices if b in _CLOSERS]
    if len(choices) > 90 and ord('"') not in choices:
        best = []  # amid a string that is not to end yet
    if best and rng.random() < 0.9:
        return min(best, key=lambda b: _CLOSERS[b])
    letters = [b for b in choices if b in b"abc0-"] if rng.random() < 0.9 else []
    letters = letters or [b for b in choices if b > 32 and b not in b"{[\\" and b < 128]
    return rng.choice(letters or choices)


def finish(w: Words, matcher: sg.Matcher, rng: random.Random, most: int = 4000) -> bytes | None:
    """Complete the text byte by byte; what was added, or None where that took too long."""
    added = bytearray()
    while not matcher.is_accepting():
        if len(added) >= most:
            return None
        bits = mask_of(matcher, len(w.vocabulary))
        choices = [b for b, token in w.by_byte.items() if bits[token]]
        assert choices, f"dead end after {bytes(added)!r}"
        byte = closing_byte(choices, rng)
        assert matcher.accept_token(w.by_byte[byte])
        added.append(byte)
    return bytes(added)
