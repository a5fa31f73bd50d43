"""Bitmasks: their layout, what is refused, and how they act on logits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import structgen as sg

SIZE = 257  # the byte vocabulary: 256 bytes and the end


@pytest.fixture(scope="module")
def grammar() -> sg.CompiledGrammar:
    compiler = sg.Compiler(sg.Vocabulary.byte_vocabulary())
    return compiler.compile_json_schema({"enum": [True, "a", 12]}, whitespace="compact")


def test_layout(grammar: sg.CompiledGrammar) -> None:
    mask = sg.allocate_bitmask(3, SIZE)
    assert mask.shape == (3, 9) and mask.dtype == np.int32 and (mask == -1).all()
    grammar.matcher().fill_bitmask(mask, 1)
    assert (mask[[0, 2]] == -1).all(), "other rows are left alone"
    allowed = [t for t in range(9 * 32) if int(mask[1, t >> 5]) >> (t & 31) & 1]
    assert bytes(allowed) == b'"1t'


@pytest.mark.parametrize("size", [1, 31, 32, 33, 128_256])
def test_words(size: int) -> None:
    assert sg.allocate_bitmask(2, size).shape == (2, -(-size // 32))


@pytest.mark.parametrize(("batch", "size"), [(0, 5), (1, 0), (-1, 5)])
def test_no_mask_of_that_shape(batch: int, size: int) -> None:
    with pytest.raises(sg.StructgenError, match="batch and vocab_size"):
        sg.allocate_bitmask(batch, size)


def test_torch_and_numpy_masks_agree(grammar: sg.CompiledGrammar) -> None:
    matcher = grammar.matcher()
    assert matcher.accept_bytes(b"1")
    one, two = sg.allocate_bitmask(2, SIZE), torch.zeros((2, 9), dtype=torch.int32)
    matcher.fill_bitmask(one, 1)
    matcher.fill_bitmask(two, 1)
    assert (torch.from_numpy(one)[1] == two[1]).all()
    strided = torch.zeros((4, 18), dtype=torch.int32)[::2, 9:]
    matcher.fill_bitmask(strided, 1)
    assert (strided[1] == two[1]).all() and not strided[0].any()


@pytest.mark.parametrize(
    ("mask", "row"),
    [
        (np.zeros((1, 9), np.int32), 1),
        (np.zeros((1, 9), np.int32), -1),
        (np.zeros((1, 8), np.int32), 0),
        (np.zeros((1, 10), np.int32), 0),
        (np.zeros(9, np.int32), 0),
        (np.zeros((1, 1, 9), np.int32), 0),
        (np.zeros((1, 9), np.int64), 0),
        (np.zeros((1, 9), np.uint32), 0),
        (np.zeros((1, 9), np.float32), 0),
        (np.zeros((1, 9), ">i4"), 0),
        (np.zeros((1, 18), np.int32)[:, ::2], 0),
        (np.zeros((9, 1), np.int32).T[:, ::-1], 0),
        (torch.zeros((1, 9)), 0),
        (torch.zeros((1, 9), dtype=torch.int64), 0),
        (torch.zeros((1, 9), dtype=torch.int16), 0),
        (torch.zeros((1, 8), dtype=torch.int32), 0),
        (torch.zeros((1, 9), dtype=torch.int32), 1),
        (torch.zeros((1, 9), dtype=torch.int32, device="meta"), 0),
        (torch.zeros((1, 9), dtype=torch.uint32), 0),
        (torch.zeros((1, 9), dtype=torch.complex32), 0),
        (np.zeros((1, 9), np.int32), 2**63),
        (np.zeros((1, 9), np.int32), np.uint64(2**63)),
        (np.zeros((1, 9), np.int32), -(2**70)),
        (torch.zeros((1, 9), dtype=torch.int32), 2**70),
        ([[0] * 9], 0),
        (None, 0),
    ],
)
def test_wrong_masks_are_refused(grammar: sg.CompiledGrammar, mask: Any, row: int) -> None:
    with pytest.raises(sg.StructgenError, match="mask"):
        grammar.matcher().fill_bitmask(mask, row)


def test_a_read_only_mask_is_refused(grammar: sg.CompiledGrammar) -> None:
    mask = sg.allocate_bitmask(1, SIZE)
    mask.flags.writeable = False
    with pytest.raises(sg.StructgenError):
        grammar.matcher().fill_bitmask(mask, 0)


@pytest.mark.parametrize("kind", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("width", [SIZE - 1, SIZE, 9 * 32, 384])
def test_apply(grammar: sg.CompiledGrammar, kind: torch.dtype, width: int) -> None:
    mask = sg.allocate_bitmask(1, SIZE)
    grammar.matcher().fill_bitmask(mask, 0)
    logits = torch.randn(1, width).to(kind)
    before = logits.clone()
    sg.apply_bitmask(logits, mask)
    assert logits.dtype == kind
    allowed = [b for b in range(width) if not torch.isneginf(logits[0, b])]
    assert bytes(allowed) == b'"1t'
    assert (logits[0, allowed] == before[0, allowed]).all()


def test_apply_to_some_rows(grammar: sg.CompiledGrammar) -> None:
    mask = sg.allocate_bitmask(3, SIZE)
    first, second = grammar.matcher(), grammar.matcher()
    assert second.accept_bytes(b'"')
    first.fill_bitmask(mask, 0)
    second.fill_bitmask(mask, 1)
    for indices in ([3, 1], np.array([3, 1]), torch.tensor([3, 1])):
        logits = torch.zeros(4, 300)
        sg.apply_bitmask(logits, torch.from_numpy(mask), indices=indices)
        assert not torch.isneginf(logits[[0, 2]]).any()
        assert bytes(torch.isfinite(logits[3]).nonzero().flatten().tolist()) == b'"1t'
        # the letter itself, or the escape that spells it
        assert bytes(torch.isfinite(logits[1]).nonzero().flatten().tolist()) == b"\\a"


def test_apply_to_a_single_row(grammar: sg.CompiledGrammar) -> None:
    mask = sg.allocate_bitmask(1, SIZE)
    grammar.matcher().fill_bitmask(mask, 0)
    logits = torch.zeros(SIZE)
    sg.apply_bitmask(logits, mask[0])
    assert int(torch.isfinite(logits).sum()) == 3


def test_apply_refuses_what_does_not_fit() -> None:
    mask = sg.allocate_bitmask(2, SIZE)
    with pytest.raises(sg.StructgenError, match="2 mask rows for 3 logit rows"):
        sg.apply_bitmask(torch.zeros(3, SIZE), mask)
    with pytest.raises(sg.StructgenError, match="3 indices for 2 mask rows"):
        sg.apply_bitmask(torch.zeros(3, SIZE), mask, indices=[0, 1, 2])
    with pytest.raises(sg.StructgenError, match="int32"):
        sg.apply_bitmask(torch.zeros(2, SIZE), mask.astype(np.int64))
