"""Long random walks of batches that mix everything, beside matchers on the CPU.

On the CPU the references of the kernels run: the interpreter would take minutes.
"""

from __future__ import annotations

import random
from functools import cache
from typing import Any

import pytest
from batches import PAIRS, UNIQUE, Beside, walk, without_kernels
from hypothesis import given, settings
from hypothesis import strategies as st
from masks.walks import sampled_schemas, words
from shared_data import shared_data

import structgen as sg
from structgen.device import Arena, BatchMatcher
from structgen.errors import StructgenError
from structgen.grammar.tool_calls import tool_call_tag

SUM = 'root ::= sum "."\nsum ::= product ("+" product)*\nproduct ::= [0-9]+ | "(" sum ")"'
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
    }
]


def mixed(compiler: sg.Compiler, schemas: list[Any]) -> list[sg.CompiledGrammar | None]:
    """Schemas, grammars, tool calls, what the host follows, and no constraint."""
    found: list[sg.CompiledGrammar | None] = [None]
    for schema in schemas:
        try:
            found.append(compiler.compile_json_schema(schema, unsupported="relax"))
        except StructgenError:
            continue
    found += [compiler.compile_json_schema(UNIQUE), compiler.compile_lark(PAIRS)]
    found += [
        compiler.compile_ebnf(SUM),
        compiler.compile_json(),
        compiler.compile_regex("(a|bc)+"),
    ]
    for family in ("hermes", "llama-json"):
        found.append(compiler.compile_structural_tag(tool_call_tag(family, TOOLS)))
    eos = f"<[{compiler.vocabulary.eos_token_ids[0]}]>"
    found.append(compiler.compile_lark(f"start: (/[a-z ]+/ {eos} /[0-9]+/)+"))
    return found


def walk_of(name: str, device: str, size: int, steps: int, schemas: int, seed: int) -> None:
    shared_data("tokenizers", name)
    w = words(name)
    chosen = [row["schema"] for row in sampled_schemas(schemas, seed)]
    choices = mixed(w.compiler, chosen)
    random.Random(seed).shuffle(choices)
    arena = Arena(w.vocabulary, device, arena_bytes=256 << 20)
    batch = BatchMatcher(arena, size, max_depth=24, max_rollback=4)
    walk(batch, choices, w.eos[0], steps, seed)


@pytest.mark.parametrize("name", ["llama3", "llama2"])
def test_walks_of_mixed_batches(device: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if device == "cpu":
        without_kernels(monkeypatch)
    walk_of(name, device, 8, 60, 6, 1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 5))
@pytest.mark.parametrize("name", ["llama3", "llama2"])
def test_long_walks_of_mixed_batches(
    device: str, name: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if device == "cpu":
        without_kernels(monkeypatch)
    walk_of(name, device, 8, 3000, 40, seed)


@cache
def made() -> tuple[sg.Vocabulary, list[Any]]:
    """A vocabulary of bytes and a few longer tokens, and grammars for it."""
    pieces: list[bytes | None] = [bytes([b]) for b in range(256)]
    pieces += [b'{"', b'":', b"true", b"xx", b"ab", b"))", b"1+", b"\xff", b"<call>", None, None]
    names = {"<call>": len(pieces) - 2}
    vocabulary = sg.Vocabulary(pieces, eos_token_ids=[len(pieces) - 1], special_tokens=names)
    compiler = sg.Compiler(vocabulary)
    schemas: list[Any] = [
        {"type": "array", "items": {"type": "boolean"}, "maxItems": 3},
        {"properties": {"a": {"type": "string", "maxLength": 3}}, "required": ["a"]},
        {"enum": ["a", 1, None]},
    ]
    found = mixed(compiler, schemas)
    found += [compiler.compile_lark('start: <call> (start | "x")* ")"')]
    return vocabulary, found


@settings(max_examples=60, deadline=None)
@given(numbers=st.lists(st.integers(0, 1 << 16), max_size=150), first=st.integers(0, 20))
def test_any_walk_of_a_small_vocabulary(numbers: list[int], first: int) -> None:
    vocabulary, choices = made()
    with pytest.MonkeyPatch.context() as monkeypatch:
        without_kernels(monkeypatch)
        arena = Arena(vocabulary, "cpu", arena_bytes=4 << 20)
        batch = BatchMatcher(arena, 3, max_depth=4, max_rollback=2)
        left = list(reversed(numbers))

        def below(n: int) -> int:
            return left.pop() % n if left else 0

        turned = choices[first % len(choices) :] + choices[: first % len(choices)]
        beside = Beside(batch, turned, vocabulary.eos_token_ids[0], below, undo=2)
        while left:
            beside.step()
            beside.act()
        beside.check()
