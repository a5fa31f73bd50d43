"""Steps of some slots of a batch: the first ones, the active ones, those that wait."""

from __future__ import annotations

import copy
import random
from typing import Any

import pytest
import torch
from batches import PAIRS, UNIQUE, bits_of, expected_mask, grammars, mask_of
from masks.schemas import SCHEMAS
from masks.walks import words

import structgen as sg
from structgen.device import Arena, BatchMatcher
from structgen.errors import LimitExceeded, StructgenError
from structgen.kernels import layout
from structgen.kernels.layout import SlotTensors
from structgen.kernels.sample import SamplingParameters


def batch_of(
    device: str, size: int, seed: int, **options: int
) -> tuple[BatchMatcher, list[sg.CompiledGrammar | None]]:
    """Slots of different grammars, some of which the host follows, and one without any."""
    w = words("bytes")
    names = random.Random(seed).sample(list(SCHEMAS), 4)
    choices = grammars(w.compiler, names)
    batch = BatchMatcher(Arena(w.vocabulary, device, arena_bytes=8 << 20), size, **options)
    joined = [choices[slot % len(choices)] for slot in range(size)]
    for slot, grammar in enumerate(joined):
        batch.join(slot, grammar)
    return batch, joined


def tables_of(batch: BatchMatcher) -> SlotTensors:
    return SlotTensors(*(t.clone() for t in batch.tensors))


def assert_unchanged(before: SlotTensors, batch: BatchMatcher, slots: list[int]) -> None:
    for old, new in zip(before, batch.tensors, strict=True):
        assert torch.equal(old[slots], new[slots])


# -- joins --------------------------------------------------------------------------------------


def test_a_slot_has_its_mask_when_it_has_joined(device: str) -> None:
    batch, joined = batch_of(device, 8, 2)
    matchers = [None if g is None else g.matcher() for g in joined]
    assert (mask_of(batch) == expected_mask(matchers, batch.arena.n_tokens)).all()


@pytest.mark.parametrize("seed", range(3))
def test_texts_are_resumed_anywhere(device: str, seed: int) -> None:
    """A text that joins with its tokens goes on like one that took them here."""
    w, rng = words("bytes"), random.Random(seed)
    names = rng.sample(list(SCHEMAS), 8)
    n = len(w.vocabulary)
    batch = BatchMatcher(Arena(w.vocabulary, device, arena_bytes=8 << 20), 2, max_depth=4)
    for name in names:
        grammar = w.compiler.compile_json_schema(SCHEMAS[name])
        matcher, tokens = grammar.matcher(), list[int]()
        for _ in range(rng.randint(0, 25)):
            allowed = bits_of(expected_mask([matcher], n)[0])
            if not len(allowed):
                break
            tokens.append(int(rng.choice(allowed)))
            assert matcher.accept_token(tokens[-1])
        batch.join(1, sg.Compiler(w.vocabulary).compile_json_schema(SCHEMAS[name]), tokens)
        for _ in range(3):
            expected = expected_mask([None, matcher], n)
            assert (mask_of(batch) == expected).all(), (name, tokens)
            allowed = bits_of(expected[1])
            if not len(allowed):
                assert batch.statuses[1] == layout.FINISHED.value
                break
            token = int(rng.choice(allowed))
            assert matcher.accept_token(token)
            answer = batch.advance(torch.tensor([-1, token]))
            assert answer is not None and answer[1]


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda c: c.compile_lark(PAIRS), b"xxxxx"),
        (lambda c: c.compile_json_schema(UNIQUE), b"[1,2"),
        (lambda c: c.compile_json_schema({"type": "array"}), b"[[[[[["),
    ],
    ids=["read in two ways", "items that differ", "deep"],
)
def test_texts_of_the_host_are_resumed(device: str, make: Any, text: bytes) -> None:
    w = words("bytes")
    grammar = make(w.compiler)
    tokens = [w.by_byte[byte] for byte in text]
    batch = BatchMatcher(Arena(w.vocabulary, device, arena_bytes=4 << 20), 1, max_depth=4)
    batch.join(0, grammar, tokens)
    assert batch.statuses.tolist() == [layout.ON_HOST.value]
    matcher = grammar.matcher()
    assert matcher.accept_bytes(text)
    assert (mask_of(batch) == expected_mask([matcher], len(w.vocabulary))).all()


def test_a_text_that_does_not_fit_changes_nothing(device: str) -> None:
    batch, _ = batch_of(device, 3, 2)
    before = tables_of(batch)
    w = words("bytes")
    grammar = w.compiler.compile_regex("ab+")
    with pytest.raises(StructgenError, match=r"slot 1: token \d+, number 2 of the text"):
        batch.join(1, grammar, [w.by_byte[b] for b in b"aba"])
    assert_unchanged(before, batch, [0, 1, 2])


def test_an_end_can_be_resumed(device: str) -> None:
    w = words("bytes")
    batch = BatchMatcher(Arena(w.vocabulary, device, arena_bytes=4 << 20), 1)
    batch.join(0, w.compiler.compile_regex("a"), [w.by_byte[ord("a")], w.eos[0]])
    assert batch.statuses.tolist() == [layout.FINISHED.value] and not mask_of(batch).any()


# -- steps --------------------------------------------------------------------------------------


def logits_of(n: int, size: int, seed: int, device: str) -> torch.Tensor:
    return torch.randn((n, size), generator=torch.Generator().manual_seed(seed)).to(device)


@pytest.mark.parametrize("how", ["greedy", "sample", "advance"])
def test_the_others_are_left_alone(device: str, how: str) -> None:
    """Steps of the first slots, of which some are active: nothing else of the batch changes."""
    size, rng = 8, random.Random(4)
    batch, joined = batch_of(device, size, 3)
    matchers = [None if g is None else g.matcher() for g in joined]
    parameters = SamplingParameters.allocate(size, device, penalised_tokens=batch.arena.n_tokens)
    parameters.temperature[::2] = 0
    taken = 0
    for step in range(12):
        n = rng.randint(1, size)
        active = torch.tensor([rng.randint(0, 1) for _ in range(size)], dtype=torch.int32)
        idle = [slot for slot in range(size) if slot >= n or not active[slot]]
        before, kept = tables_of(batch), copy.deepcopy(parameters)
        logits = logits_of(n, batch.arena.n_tokens, step, device)
        out = torch.full((n,), -7, dtype=torch.int32, device=device)
        if how == "greedy":
            batch.greedy(logits, out, active=active.to(device))
        elif how == "sample":
            batch.sample(logits, out, parameters, active=active.to(device))
        else:
            for slot in range(n):
                allowed = bits_of(mask_of(batch)[slot])
                out[slot] = int(rng.choice(allowed)) if len(allowed) else -1
            batch.advance(out, active=active.to(device), wait=False)
            out[active[:n].to(device) == 0] = -1
        tokens = out.tolist()
        assert all(tokens[slot] == -1 for slot in idle if slot < n)
        assert_unchanged(before, batch, idle)
        for name in ("position", "counts"):
            old, new = getattr(kept, name), getattr(parameters, name)
            assert torch.equal(old[idle], new[idle])
        for slot, token in enumerate(tokens):
            matcher = matchers[slot]
            if token >= 0 and matcher is not None:
                assert matcher.accept_token(token)
                taken += 1
        assert batch.serve(range(size)) == {}
        assert (mask_of(batch) == expected_mask(matchers, batch.arena.n_tokens)).all()
    assert taken > 20


def test_too_many_rows_are_refused(device: str) -> None:
    batch, _ = batch_of(device, 2, 1)
    logits = torch.zeros((3, batch.arena.n_tokens), device=device)
    out = torch.zeros(3, dtype=torch.int32, device=device)
    with pytest.raises(StructgenError, match="3 rows and 3 tokens for 2 slots"):
        batch.greedy(logits, out)
    with pytest.raises(StructgenError, match="1 of which may be active"):
        batch.greedy(logits[:2], out[:2], active=out[:1])


def test_sampled_beside_greedy_with_log_probabilities(device: str) -> None:
    """Of each slot the log-softmax over what its mask allows, at the token that it took."""
    size, top = 6, 3
    batch, joined = batch_of(device, size, 5)
    matchers = [None if g is None else g.matcher() for g in joined]
    n = batch.arena.n_tokens
    parameters = SamplingParameters.allocate(size, device)
    parameters.temperature[:] = torch.tensor([0.0, 1.0, 0.0, 0.5, 1.0, 0.0])
    parameters.logprobs.fill_(top)
    out = torch.zeros(size, dtype=torch.int32, device=device)
    logprob = torch.zeros(size, device=device)
    values = torch.zeros((size, top), device=device)
    ids = torch.zeros((size, top), dtype=torch.int32, device=device)
    taken = 0
    for step in range(10):
        logits = logits_of(size, n, step, device)
        expected = expected_mask(matchers, n)
        batch.sample(logits, out, parameters, logprob=logprob, top_logprobs=(values, ids))
        for slot, token in enumerate(out.tolist()):
            allowed = torch.from_numpy(bits_of(expected[slot])).to(device)
            if not len(allowed):
                assert token == -1
                continue
            taken += 1
            log_softmax = torch.full((n,), float("-inf"), device=device)
            log_softmax[allowed] = logits[slot, allowed].log_softmax(0)
            torch.testing.assert_close(logprob[slot], log_softmax[token], rtol=1e-4, atol=1e-4)
            best = log_softmax.topk(min(top, len(allowed)))
            assert ids[slot, : len(best.indices)].tolist() == best.indices.tolist()
            torch.testing.assert_close(
                values[slot, : len(best.values)], best.values, rtol=1e-4, atol=1e-4
            )
            if parameters.temperature[slot] == 0:
                assert token == best.indices[0]
            matcher = matchers[slot]
            assert matcher is None or matcher.accept_token(token)
        assert batch.serve(range(size)) == {}
    assert taken > 20


@pytest.mark.parametrize("how", ["greedy", "sample"])
@pytest.mark.parametrize("schema", [{"enum": [1]}, UNIQUE], ids=["device", "host"])
def test_nothing_comes_after_the_end(device: str, how: str, schema: Any) -> None:
    w = words("bytes")
    batch = BatchMatcher(Arena(w.vocabulary, device, arena_bytes=4 << 20), 1)
    text = b"1" if "enum" in schema else b"[]"
    batch.join(0, w.compiler.compile_json_schema(schema), [w.by_byte[byte] for byte in text])
    logits = torch.zeros((1, len(w.vocabulary)), device=device)
    logits[0, w.eos[0]] = 50
    out = torch.zeros(1, dtype=torch.int32, device=device)
    parameters = SamplingParameters.allocate(1, device)
    for expected in (w.eos[0], -1, -1):
        if how == "greedy":
            batch.greedy(logits, out)
        else:
            batch.sample(logits, out, parameters)
        assert out.tolist() == [expected]
        assert batch.serve([0]) == {}
        assert batch.statuses.tolist() == [layout.FINISHED.value]
    assert parameters.position.tolist() == [1 if how == "sample" else 0]


# -- what slots wait for ------------------------------------------------------------------------


def test_only_named_slots_are_served(device: str) -> None:
    w = words("bytes")
    schema = {"properties": {"name": {"enum": [1, 2]}}, "required": ["name"]}
    batch = BatchMatcher(Arena(w.vocabulary, device, arena_bytes=4 << 20), 2)
    for slot in range(2):
        # Each knows its own rows alone, so that both wait.
        compiler = sg.Compiler(w.vocabulary, cache_bytes=0)
        batch.join(slot, compiler.compile_json_schema(schema))
    token = w.by_byte[ord("{")]
    batch.advance(torch.tensor([token, token]), wait=False)
    assert all(status >= layout.NEED_STATE.value for status in batch.statuses.tolist())
    before = tables_of(batch)
    assert batch.serve([1]) == {}
    assert_unchanged(before, batch, [0])
    assert batch.statuses[1] == layout.ACTIVE.value
    assert batch.serve([0, 1]) == {}
    assert batch.statuses.tolist() == [layout.ACTIVE.value] * 2


def test_each_slot_has_its_own_error(device: str) -> None:
    w = words("bytes")
    schema = {"properties": {"name": {"enum": [1, 2]}}, "required": ["name"]}
    batch = BatchMatcher(Arena(w.vocabulary, device, arena_bytes=4 << 20), 3)
    made = [sg.Compiler(w.vocabulary, cache_bytes=0).compile_json_schema(schema) for _ in range(3)]
    for slot, grammar in enumerate(made):
        batch.join(slot, grammar)
    for grammar in made[:2]:
        grammar._masks.limits = sg.Limits(step_seconds=1e-9)
    errors = {}
    matcher = made[2].matcher()
    for byte in b'{"name":':
        token = w.by_byte[byte]
        batch.advance(torch.tensor([token] * 3), wait=False)
        errors |= batch.serve(range(3))
        assert matcher.accept_token(token)
    assert sorted(errors) == [0, 1]
    assert all(isinstance(error, LimitExceeded) for error in errors.values())
    finished = layout.FINISHED.value
    assert batch.statuses.tolist() == [finished, finished, layout.ACTIVE.value]
    assert (mask_of(batch)[2] == expected_mask([matcher], len(w.vocabulary))[0]).all()


def test_what_never_comes_is_an_error(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    w = words("bytes")
    schema = {"properties": {"name": {"enum": [1, 2]}}, "required": ["name"]}
    batch = BatchMatcher(Arena(w.vocabulary, device, arena_bytes=4 << 20), 1)
    batch.join(0, sg.Compiler(w.vocabulary, cache_bytes=0).compile_json_schema(schema))
    monkeypatch.setattr(batch.arena, "update", lambda resident: None)
    batch.advance(torch.tensor([w.by_byte[ord("{")]]), wait=False)
    errors = batch.serve([0])
    assert "slot 0: what it waits for was computed 8 times" in str(errors[0])
    assert batch.statuses.tolist() == [layout.FINISHED.value]


def test_a_token_that_does_not_fit_is_an_error(device: str) -> None:
    """Only who takes tokens that no mask allowed meets it."""
    w = words("bytes")
    batch = BatchMatcher(Arena(w.vocabulary, device, arena_bytes=4 << 20), 2)
    batch.join(0, w.compiler.compile_json_schema(UNIQUE))
    batch.join(1, w.compiler.compile_json_schema(UNIQUE))
    batch.advance(torch.tensor([w.by_byte[b] for b in b"[}"]), wait=False)
    errors = batch.serve([0, 1])
    assert list(errors) == [1] and "does not fit" in str(errors[1])
    assert batch.statuses.tolist() == [layout.ON_HOST.value, layout.FINISHED.value]


# -- rollback -----------------------------------------------------------------------------------


@pytest.mark.parametrize("counts", [[1, 9], [2, 1], [1, -1], [1]])
def test_a_rollback_that_fails_changes_nothing(device: str, counts: list[int]) -> None:
    """The first slot is on the device, the second one on the host."""
    w = words("bytes")
    made = [w.compiler.compile_json_schema(s) for s in ({"type": "array"}, UNIQUE)]
    batch = BatchMatcher(Arena(w.vocabulary, device, arena_bytes=4 << 20), 2, max_rollback=1)
    matchers: list[sg.Matcher | None] = []
    for slot, grammar in enumerate(made):
        batch.join(slot, grammar)
        matchers.append(grammar.matcher())
    for byte in b"[1":
        token = w.by_byte[byte]
        batch.advance(torch.tensor([token, token]))
        assert all(m is not None and m.accept_token(token) for m in matchers)
    before = tables_of(batch)
    with pytest.raises(StructgenError):
        batch.rollback(counts)
    assert_unchanged(before, batch, [0, 1])
    assert (mask_of(batch) == expected_mask(matchers, len(w.vocabulary))).all()
    batch.rollback([1, 2])
    for matcher, n in zip(matchers, (1, 2), strict=True):
        assert matcher is not None
        matcher.rollback(n)
    assert (mask_of(batch) == expected_mask(matchers, len(w.vocabulary))).all()


@pytest.mark.parametrize("best", [None, 70, 200])
def test_logits_that_are_no_numbers(device: str, best: int | None) -> None:
    """Whole words of NaN beside what is -inf, beside one number, and alone."""
    batch = BatchMatcher(Arena(words("bytes").vocabulary, device, arena_bytes=1 << 20), 2)
    logits = torch.full((2, batch.arena.n_tokens), float("nan"), device=device)
    logits[0, 32:96] = float("-inf")
    if best is not None:
        logits[:, best] = -3.0
    out = torch.zeros(2, dtype=torch.int32, device=device)
    batch.greedy(logits, out)
    assert out.tolist() == [best or 0] * 2
