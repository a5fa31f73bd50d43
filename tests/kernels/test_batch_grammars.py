"""Grammars that name tokens, and such that are read in several ways, beside the CPU's matchers."""

from __future__ import annotations

import random
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from batches import bits_of, expected_mask, mask_of, walk
from masks.walks import words
from shared_data import shared_data

import structgen as sg
from structgen.device import Arena, BatchMatcher
from structgen.grammar.tool_calls import tool_call_families, tool_call_tag
from structgen.kernels import layout
from structgen.kernels.advance import advance
from structgen.kernels.advance_reference import advance_reference
from structgen.kernels.layout import SlotTensors

SPECIALS = ["<eos>", "<call>", "</call>", "<|channel|>", "<|constrain|>", "<|message|>"]
SPECIALS += ["<|call|>", "<|end|>", "<|start|>", "<|return|>"]
EOS, CALL = 0, 1
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string", "maxLength": 5}},
                "required": ["city"],
                "additionalProperties": False,
            },
        },
    },
    {"type": "function", "function": {"name": "now"}},
]
TAGS = {
    "type": "structural_tag",
    "format": {
        "type": "token_triggered_tags",
        "trigger_tokens": ["<call>"],
        "tags": [
            {
                "begin": {"type": "token", "token": "<call>"},
                "content": {"type": "json_schema", "json_schema": {"type": "boolean"}},
                "end": {"type": "token", "token": "</call>"},
            }
        ],
    },
}
LARKS = {
    "call or text": 'start: (<call> "x" | "<" "y")+',
    "the end by its name": 'start: "a" <eos> | "b" <call> <eos> "c"',
    "the end within": "start: (<eos> | <call> | /ab*/)+",
    "any token": 'start: (<[*]> "z")*',
    "a token with a text": f"start: (<[{len(SPECIALS) + 97}]> | /[^b]/)+ <call>",
    "a token by either": f'start: <[{len(SPECIALS) + 97}]> "b" | "a" "c"',
    "nested": 'start: <call> (start | "x" start)* </call>',
}
# Where one of these is at its end, there are texts that end in several classes of the frame.
SEVERAL_ENDS = [
    'start: "y" a "y" | \na: b | a | "y" "y" "y"\nb: a a b | "x" | a',
    'start: b | a "y" b\na: a |  | b b a\nb:  | "y" a "x" | "y" b a',
    'start: "y" |  | a\na:  | b "y"\nb: "x" a "x" | "y" "x" | "x"',
]


@cache
def marked() -> sg.Vocabulary:
    """All single bytes, a few longer pieces, and special tokens before them."""
    pieces: list[bytes | None] = [None] * len(SPECIALS)
    pieces += [bytes([b]) for b in range(256)]
    pieces += [b"ab", b"true", b"<call>", b'{"', b'":', b'city"', b"\xff", b"a\xff", b"\xfe", b"xx"]
    names = {name: token for token, name in enumerate(SPECIALS)}
    return sg.Vocabulary(pieces, eos_token_ids=[EOS], special_tokens=names)


def naming(compiler: sg.Compiler) -> list[sg.CompiledGrammar | None]:
    harmony = tool_call_tag("harmony", TOOLS, reasoning=True)
    required = tool_call_tag("harmony", TOOLS, tool_choice="required")
    found: list[sg.CompiledGrammar | None] = [
        compiler.compile_structural_tag(spec) for spec in (TAGS, harmony, required)
    ]
    return found + [compiler.compile_lark(text) for text in LARKS.values()]


@pytest.mark.parametrize("seed", [0, 1])
def test_walks_of_tokens_by_name(device: str, seed: int) -> None:
    compiler = sg.Compiler(marked(), cache_bytes=0)
    batch = BatchMatcher(
        Arena(marked(), device, arena_bytes=8 << 20), 10, max_depth=16, max_rollback=4
    )
    walk(batch, naming(compiler), EOS, 25, seed)


def test_named_tokens_stay_on_the_device(device: str) -> None:
    compiler = sg.Compiler(marked(), cache_bytes=0)
    batch = BatchMatcher(Arena(marked(), device, arena_bytes=4 << 20), 1)
    batch.join(0, compiler.compile_structural_tag(TAGS))
    of_byte = len(SPECIALS)
    text = [of_byte + ord("a"), CALL, *(of_byte + b for b in b"false"), CALL + 1, CALL]
    for token in text:
        batch.advance(torch.tensor([token], device=device))
        assert batch.statuses.tolist() == [layout.ACTIVE.value]


def test_a_token_that_fits_twice_goes_to_the_host(device: str) -> None:
    compiler = sg.Compiler(marked(), cache_bytes=0)
    grammar = compiler.compile_lark(LARKS["a token by either"])
    batch = BatchMatcher(Arena(marked(), device, arena_bytes=4 << 20), 1)
    batch.join(0, grammar)
    a = len(SPECIALS) + ord("a")
    batch.advance(torch.tensor([a], device=device))
    assert batch.statuses.tolist() == [layout.ON_HOST.value]
    matcher = grammar.matcher()
    assert matcher.accept_token(a)
    assert {a + 1, a + 2} <= set(bits_of(mask_of(batch)[0]).tolist())
    assert (mask_of(batch) == expected_mask([matcher], len(marked()))).all()


@pytest.mark.parametrize("name", ["the end by its name", "the end within"])
def test_an_end_by_its_name(device: str, name: str) -> None:
    """It ends the text where that is complete with it, and can be taken back."""
    grammar = sg.Compiler(marked(), cache_bytes=0).compile_lark(LARKS[name])
    batch = BatchMatcher(Arena(marked(), device, arena_bytes=4 << 20), 1, max_rollback=2)
    batch.join(0, grammar)
    matcher = grammar.matcher()
    a = len(SPECIALS) + ord("a")
    for tokens in ([a, EOS], [a + 1, CALL, EOS, a + 2, EOS]):
        for token in tokens:
            fits = matcher.accept_token(token)
            answer = batch.advance(torch.tensor([token], device=device))
            if not matcher.is_terminated():
                assert answer is not None and bool(answer[0]) == fits
            finished = batch.statuses.tolist() == [layout.FINISHED.value]
            assert finished == matcher.is_terminated()
            assert (mask_of(batch) == expected_mask([matcher], len(marked()))).all()
            if finished:
                batch.rollback([1])
                matcher.rollback(1)
                assert (mask_of(batch) == expected_mask([matcher], len(marked()))).all()
        batch.join(0, grammar)
        matcher.reset()


def test_names_are_read_like_the_reference(device: str) -> None:
    rng = random.Random(3)
    compiler = sg.Compiler(marked(), cache_bytes=0)
    made = naming(compiler)
    batch = BatchMatcher(Arena(marked(), device, arena_bytes=8 << 20), len(made), max_depth=6)
    for slot, grammar in enumerate(made):
        batch.join(slot, grammar)
    seen = set()
    for _ in range(40):
        masks = mask_of(batch)
        tokens = torch.full((len(made),), -1, dtype=torch.int32)
        for slot in range(len(made)):
            allowed = bits_of(masks[slot])
            named = allowed[allowed < len(SPECIALS)]
            if len(named) and rng.random() < 0.5:
                allowed = named
            if len(allowed) and rng.random() < 0.8:
                tokens[slot] = int(rng.choice(allowed))
            else:
                tokens[slot] = rng.randrange(len(marked()) + 2)
        other = SlotTensors(*(t.clone() for t in batch.tensors))
        advance(tokens.to(device), batch._tables, batch.tensors)
        advance_reference(tokens.to(device), batch._tables, other)
        assert batch.tensors.slots.tolist() == other.slots.tolist()
        for slot, row in enumerate(batch.tensors.slots.tolist()):
            depth = row[layout.S_DEPTH.value]
            assert torch.equal(batch.tensors.stacks[slot, :depth], other.stacks[slot, :depth])
            seen.add(row[layout.S_STATUS.value])
        batch.serve(range(len(made)))
        for slot, status in enumerate(batch.statuses.tolist()):
            if status in (layout.FINISHED.value, layout.ON_HOST.value):
                batch.join(slot, made[slot])
    assert {layout.ACTIVE.value, layout.FINISHED.value, layout.NEED_HOST.value} <= seen


@pytest.mark.parametrize("text", SEVERAL_ENDS)
def test_texts_that_end_in_several_ways(device: str, text: str) -> None:
    w = words("bytes")
    grammar = sg.Compiler(w.vocabulary, cache_bytes=0).compile_lark(text)
    batch = BatchMatcher(Arena(w.vocabulary, device, arena_bytes=4 << 20), 6, max_rollback=4)
    for seed in range(4):
        walk(batch, [grammar], w.eos[0], 12, seed)
    ends = grammar.automaton.states[: grammar.automaton.n_states, layout.END.value]
    assert (ends < -1).any()


@pytest.mark.parametrize("family", ["hermes", "llama-json"])
def test_walks_of_tool_calls(device: str, family: str) -> None:
    """With a vocabulary in which the markers are tokens."""
    shared_data("tokenizers", "qwen3")
    w = words("qwen3")
    assert family in tool_call_families()
    specs: list[Any] = [tool_call_tag(family, TOOLS, tool_choice=c) for c in ("auto", "required")]
    specs.append({
        "type": "structural_tag",
        "format": {
            "type": "token_triggered_tags",
            "trigger_tokens": ["<|im_start|>"],
            "tags": [
                {
                    "begin": {"type": "token", "token": "<|im_start|>"},
                    "content": {"type": "json_schema", "json_schema": {"type": "boolean"}},
                    "end": {"type": "token", "token": "<|im_end|>"},
                }
            ],
        },
    })  # fmt: skip
    made = [w.compiler.compile_structural_tag(spec) for spec in specs]
    assert any(grammar.automaton.symbols for grammar in made)
    batch = BatchMatcher(
        Arena(w.vocabulary, device, arena_bytes=64 << 20), 3, max_depth=64, max_rollback=4
    )
    walk(batch, list(made), w.eos[0], 8, 1)
    assert np.count_nonzero(mask_of(batch)) > 0
