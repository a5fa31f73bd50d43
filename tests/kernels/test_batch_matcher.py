"""The matchers of a batch on a device beside :class:`structgen.Matcher`, step by step."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from batches import bits_of, expected_mask, grammars, mask_of, walk, without_kernels
from masks.schemas import SCHEMAS
from masks.walks import words
from shared_data import shared_data

import structgen as sg
from structgen.device import Arena, BatchMatcher
from structgen.device.arena import Space
from structgen.errors import LimitExceeded, StructgenError
from structgen.kernels import greedy as greedy_module
from structgen.kernels import layout
from structgen.kernels.advance import advance
from structgen.kernels.advance_reference import advance_reference
from structgen.kernels.layout import SlotTensors
from structgen.kernels.sample import SamplingParameters


@pytest.mark.parametrize("seed", [0, 5])
def test_walks_of_single_bytes(device: str, seed: int) -> None:
    w = words("bytes")
    names = random.Random(seed).sample(list(SCHEMAS), 5)
    arena = Arena(w.vocabulary, device, arena_bytes=8 << 20)
    batch = BatchMatcher(arena, 8, max_depth=16, max_rollback=4)
    walk(batch, grammars(w.compiler, names), w.eos[0], 40, seed)


@pytest.mark.parametrize("name", ["gpt2", "llama2"])
def test_walks_of_real_vocabularies(device: str, name: str) -> None:
    shared_data("tokenizers", name)
    w = words(name)
    names = random.Random(name).sample(list(SCHEMAS), 4)
    arena = Arena(w.vocabulary, device, arena_bytes=64 << 20)
    batch = BatchMatcher(arena, 4, max_depth=64, max_rollback=4)
    walk(batch, grammars(w.compiler, names), w.eos[0], 8, 1)


def test_walks_without_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no kernel can run, the references stand in."""
    without_kernels(monkeypatch)
    w = words("bytes")
    arena = Arena(w.vocabulary, "cpu", arena_bytes=8 << 20)
    batch = BatchMatcher(arena, 8, max_depth=16, max_rollback=4)
    names = random.Random(3).sample(list(SCHEMAS), 4)
    walk(batch, grammars(w.compiler, names), w.eos[0], 40, 3)


def copy_of(tensors: SlotTensors) -> SlotTensors:
    return SlotTensors(*(t.clone() for t in tensors))


def test_advance_is_its_reference(device: str) -> None:
    """The same slots, stacks and rows, whatever is missing and whether or not a token fits."""
    w, rng = words("bytes"), random.Random(5)
    arena = Arena(w.vocabulary, device, arena_bytes=8 << 20)
    batch = BatchMatcher(arena, 8, max_depth=6, max_rollback=2)
    names = rng.sample(list(SCHEMAS), 8)
    for slot, name in enumerate(names):
        grammar = sg.Compiler(w.vocabulary, cache_bytes=0).compile_json_schema(SCHEMAS[name])
        batch.join(slot, grammar)
    seen = set()
    for _ in range(50):
        masks = mask_of(batch)
        tokens = torch.full((8,), -1, dtype=torch.int32)
        for slot in range(8):
            allowed = bits_of(masks[slot])
            if len(allowed) and rng.random() < 0.9:
                tokens[slot] = int(rng.choice(allowed))
            elif rng.random() < 0.5:
                tokens[slot] = rng.randrange(len(w.vocabulary))
        tokens = tokens.to(device)
        other = copy_of(batch.tensors)
        advance(tokens, batch._tables, batch.tensors)
        advance_reference(tokens, batch._tables, other)
        assert torch.equal(batch.tensors.slots, other.slots)
        for slot, row in enumerate(batch.tensors.slots.tolist()):
            depth, bitmaps = row[layout.S_DEPTH.value], row[layout.S_N_BITMAPS.value]
            lists = row[layout.S_N_LISTS.value]
            assert torch.equal(batch.tensors.stacks[slot, :depth], other.stacks[slot, :depth])
            rows, other_rows = batch.tensors.rows[slot], other.rows[slot]
            assert torch.equal(rows[:bitmaps], other_rows[:bitmaps])
            assert torch.equal(rows[len(rows) - lists :], other_rows[len(rows) - lists :])
            seen.add(row[layout.S_STATUS.value])
        if rng.random() < 0.6:
            batch.resolve()
        for slot, status in enumerate(batch.statuses.tolist()):
            if status == layout.FINISHED.value:
                grammar = w.compiler.compile_json_schema(SCHEMAS[rng.choice(names)])
                batch.join(slot, grammar)
    assert {layout.ACTIVE.value, layout.NEED_STATE.value, layout.NEED_ROW.value} <= seen


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("padding", [-3, 0, 7])
def test_greedy_is_its_reference(device: str, dtype: torch.dtype, padding: int) -> None:
    """The likeliest allowed token, by logits with ties, NaN and infinities in strided rows."""
    w, rng = words("bytes"), random.Random(f"{dtype} {padding}")
    n, size = 9, len(w.vocabulary) + padding
    arena = Arena(w.vocabulary, device, arena_bytes=8 << 20)
    batch = BatchMatcher(arena, n, max_depth=32)
    choices = grammars(w.compiler, rng.sample(list(SCHEMAS), 5))
    for slot in range(n):
        batch.join(slot, choices[slot % len(choices)])
    batch.resolve()
    out = torch.zeros(n, dtype=torch.int32, device=device)
    generator = torch.Generator().manual_seed(1)
    for _ in range(10):
        logits = torch.randn((n, 2 * size), generator=generator).round(decimals=1).to(dtype)
        logits[torch.rand(logits.shape, generator=generator) < 0.1] = float("nan")
        logits[torch.rand(logits.shape, generator=generator) < 0.1] = float("-inf")
        logits = logits.to(device)[:, :size]
        expected = greedy_module.greedy_reference(logits, batch._tables, batch.tensors)
        batch.greedy(logits, out)
        assert out.tolist() == expected.tolist()
        batch.resolve()
        for slot, token in enumerate(out.tolist()):
            if token < 0:
                batch.join(slot, rng.choice(choices))
        batch.resolve()


def test_sampled_texts_are_allowed(device: str) -> None:
    w = words("bytes")
    grammar = w.compiler.compile_regex("(ab|cd){3,5}")
    batch = BatchMatcher(Arena(w.vocabulary, device, arena_bytes=4 << 20), 3)
    for slot in range(3):
        batch.join(slot, grammar)
    batch.resolve()
    parameters = SamplingParameters.allocate(3, device)
    parameters.temperature.fill_(1.0)
    parameters.seed.copy_(torch.tensor([1, 2, 1]))
    out = torch.zeros(3, dtype=torch.int32, device=device)
    texts: list[list[int]] = [[], [], []]
    while (batch.statuses == layout.ACTIVE.value).any() and len(texts[0]) < 30:
        batch.sample(torch.zeros((3, len(w.vocabulary)), device=device), out, parameters)
        batch.resolve()
        for text, token in zip(texts, out.tolist(), strict=True):
            text.append(token)
    assert texts[0] == texts[2]
    for text in texts:
        matcher = grammar.matcher()
        assert all(matcher.accept_token(token) for token in text if token >= 0)
        assert matcher.is_terminated()


def test_deep_texts_go_on_on_the_host(device: str) -> None:
    w = words("bytes")
    grammar = w.compiler.compile_json_schema({"type": "array"})
    batch = BatchMatcher(Arena(w.vocabulary, device, arena_bytes=4 << 20), 2, max_depth=5)
    batch.join(0, grammar)
    matcher = grammar.matcher()
    for byte in b"[[[[[[[[1,2],[]]]]]]]]":
        token = w.by_byte[byte]
        answer = batch.advance(torch.tensor([token, -1]))
        assert answer is not None and bool(answer[0]) and matcher.accept_token(token)
        expected = expected_mask([matcher, None], len(w.vocabulary))
        assert (mask_of(batch) == expected).all()
    assert batch.statuses.tolist()[0] == layout.ON_HOST.value


def test_applied_masks(device: str) -> None:
    w = words("bytes")
    batch = BatchMatcher(Arena(w.vocabulary, device, arena_bytes=4 << 20), 2)
    batch.join(0, w.compiler.compile_json_schema({"type": "boolean"}))
    batch.resolve()
    logits = torch.zeros((2, len(w.vocabulary) + 5), device=device)
    batch.apply_mask(logits)
    allowed = torch.isfinite(logits).cpu().numpy()
    assert np.flatnonzero(allowed[0]).tolist() == sorted(w.by_byte[b] for b in b"tf")
    assert allowed[1].sum() == len(w.vocabulary)  # and no padding


# -- the arena ----------------------------------------------------------------------------------


def test_space_is_given_back_whole() -> None:
    space, rng = Space(1 << 12), random.Random(1)
    held: dict[int, int] = {}
    for _ in range(400):
        if held and rng.random() < 0.5:
            offset = rng.choice(list(held))
            space.give(offset, held.pop(offset))
        else:
            length = rng.randint(1, 300)
            offset = space.take(length)
            if offset >= 0:
                for other, size in held.items():
                    assert offset + length <= other or other + size <= offset
                held[offset] = length
    for offset, length in held.items():
        space.give(offset, length)
    assert space.used == 0 and space.take(1 << 12) == 0


def test_grammars_that_nobody_uses_make_room() -> None:
    w = words("bytes")
    compiler = sg.Compiler(w.vocabulary, cache_bytes=0)
    arena = Arena(w.vocabulary, "cpu", arena_bytes=64 << 10)
    batch = BatchMatcher(arena, 1, max_depth=8)
    for i in range(12):
        grammar = compiler.compile_json_schema({"enum": [f"text {i} {j}" for j in range(40)]})
        batch.join(0, grammar)
        batch.resolve()
        matcher = grammar.matcher()
        assert (mask_of(batch) == expected_mask([matcher], len(w.vocabulary))).all()
        assert 0 < arena.nbytes <= 64 << 10


def test_a_full_arena_says_so_and_stays_whole() -> None:
    w = words("bytes")
    compiler = sg.Compiler(w.vocabulary, cache_bytes=0)
    arena = Arena(w.vocabulary, "cpu", arena_bytes=64 << 10)
    batch = BatchMatcher(arena, 8, max_depth=8)
    made = [
        compiler.compile_json_schema({"enum": [f"text {i} {j}" for j in range(40)]})
        for i in range(8)
    ]
    with pytest.raises(LimitExceeded, match="arena_bytes"):
        for slot, grammar in enumerate(made):
            batch.join(slot, grammar)
            batch.resolve()
    assert (mask_of(batch)[0] == expected_mask([made[0].matcher()], len(w.vocabulary))[0]).all()
    for slot in range(8):
        batch.leave(slot)
    batch.join(0, made[-1])
    batch.resolve()
    assert (mask_of(batch)[0] == expected_mask([made[-1].matcher()], len(w.vocabulary))[0]).all()


def test_a_slot_that_fails_ends_alone() -> None:
    """One grammar may spend nothing on what its text needs first; the other goes on."""
    w = words("bytes")
    schema = {"properties": {"name": {"enum": [1, 2]}}, "required": ["name"]}
    grammars = [w.compiler.compile_json_schema(schema) for _ in range(2)]
    batch = BatchMatcher(Arena(w.vocabulary, "cpu", arena_bytes=4 << 20), 2, max_depth=8)
    matcher = grammars[1].matcher()
    batch.join(1, grammars[1])
    batch.resolve()
    batch.join(0, grammars[0])
    grammars[0]._masks.limits = sg.Limits(step_seconds=1e-9)
    with pytest.raises(LimitExceeded, match="step_seconds"):
        for byte in b'{"name":1}':
            token = w.by_byte[byte]
            assert matcher.accept_token(token)
            batch.advance(torch.tensor([token, token]), wait=False)
            batch.resolve()
    found = mask_of(batch)
    assert not found[0].any()
    assert (found[1] == expected_mask([matcher], len(w.vocabulary))[0]).all()
    batch.join(0, grammars[1])
    batch.resolve()
    assert (mask_of(batch)[0] == expected_mask([grammars[1].matcher()], len(w.vocabulary))[0]).all()


def test_wrong_uses_are_told() -> None:
    w = words("bytes")
    arena = Arena(w.vocabulary, "cpu", arena_bytes=1 << 20)
    batch = BatchMatcher(arena, 2, max_rollback=1)
    other = sg.Compiler(sg.Vocabulary.byte_vocabulary())
    with pytest.raises(StructgenError, match="another vocabulary"):
        batch.join(0, other.compile_regex("a+"))
    with pytest.raises(StructgenError, match="another vocabulary"):
        batch.join(0, other.compile_json_schema({"type": "array", "uniqueItems": True}))
    batch.join(0, w.compiler.compile_json_schema(True))
    batch.resolve()
    with pytest.raises(StructgenError, match="take back"):
        batch.rollback([1, 0])
    with pytest.raises(StructgenError, match="all different"):
        batch.fork([0], [0])
    with pytest.raises(StructgenError, match="slot"):
        BatchMatcher(arena, 0)
