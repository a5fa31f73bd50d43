"""Rotation and the cache's pages against transformers' functions."""

from __future__ import annotations

import pytest
import torch
from transformers import Qwen3Config
from transformers.models.qwen3.modeling_qwen3 import (
    Qwen3RMSNorm,
    Qwen3RotaryEmbedding,
    apply_rotary_pos_emb,
)

from structgen.kernels.rotary import rotate_and_keep, rotate_and_keep_reference

TOLERANCE = {torch.float32: 1e-5, torch.float16: 4e-3, torch.bfloat16: 3e-2}
PAGES, PAGE_SIZE = 5, 4


def table(dim: int, device: str) -> torch.Tensor:
    rotary = Qwen3RotaryEmbedding(config(dim))
    cos, sin = rotary(torch.zeros(1), torch.arange(64)[None])
    return torch.cat([cos[0, :, : dim // 2], sin[0, :, : dim // 2]], dim=1).to(device)


def config(dim: int) -> Qwen3Config:
    return Qwen3Config(head_dim=dim, max_position_embeddings=64)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("function", [rotate_and_keep, rotate_and_keep_reference])
@pytest.mark.parametrize("normalised", [False, True])
@pytest.mark.parametrize(
    ("heads", "kv_heads", "dim"), [(4, 2, 8), (1, 1, 2), (9, 3, 20), (8, 8, 64)]
)
def test_as_transformers(device, dtype, function, normalised, heads, kv_heads, dim):
    generator = torch.Generator().manual_seed(0)
    width = (heads + 2 * kv_heads) * dim
    qkv = torch.randn(6, width + 5, generator=generator).to(device, dtype)[:, :width]
    positions = torch.tensor([0, 1, 2, 37, 63, 5], device=device)
    places = torch.tensor([7, 0, 19, -1, 8, 13], device=device)
    before = qkv.clone()
    # A cache whose pages hold more than this layer's keys and values.
    cache = torch.full((PAGES, 2, PAGE_SIZE, kv_heads, dim + 3), 9.0).to(device, dtype)
    keys, values = cache[:, 0, ..., :dim], cache[:, 1, ..., 3:]
    norms = None
    query, key, value = (
        part.unflatten(1, (-1, dim))
        for part in before.split([heads * dim, kv_heads * dim, kv_heads * dim], dim=1)
    )
    if normalised:
        q_norm, k_norm = (Qwen3RMSNorm(dim, 1e-6).to(device, dtype) for _ in range(2))
        for norm in (q_norm, k_norm):
            norm.requires_grad_(False).weight.copy_(torch.randn(dim, generator=generator))
        norms = (q_norm.weight, k_norm.weight, 1e-6)
        query, key = q_norm(query), k_norm(key)
    out = function(qkv, positions, table(dim, device), keys, values, places, norms)

    cos, sin = Qwen3RotaryEmbedding(config(dim)).to(device)(query, positions[None])
    query, key = apply_rotary_pos_emb(query, key, cos[0], sin[0], unsqueeze_dim=1)
    close = {"rtol": TOLERANCE[dtype], "atol": TOLERANCE[dtype]}
    torch.testing.assert_close(out, query, **close)
    assert out.data_ptr() == qkv.data_ptr()
    assert torch.equal(qkv[:, heads * dim :], before[:, heads * dim :])
    kept = places >= 0
    expected_keys = torch.full((PAGES * PAGE_SIZE, kv_heads, dim), 9.0).to(device, dtype)
    expected_values = expected_keys.clone()
    expected_keys[places[kept]], expected_values[places[kept]] = key[kept], value[kept]
    torch.testing.assert_close(keys.flatten(0, 1), expected_keys, **close)
    assert torch.equal(values.flatten(0, 1), expected_values)  # and nothing else was written
    assert (cache[:, 0, ..., dim:] == 9).all() and (cache[:, 1, ..., :3] == 9).all()


@pytest.mark.parametrize("function", [rotate_and_keep, rotate_and_keep_reference])
def test_values_are_kept_whatever_they_are(device, function):
    qkv = torch.tensor([[1.0, 2.0, 3.0, 4.0, float("inf"), float("nan")]], device=device)
    keys, values = torch.zeros(2, 1, 1, 1, 2, device=device)
    zero = torch.zeros(1, dtype=torch.int64, device=device)
    function(qkv, zero, torch.tensor([[0.0, 1.0]], device=device), keys, values, zero)
    assert torch.equal(qkv[0, :2].cpu(), torch.tensor([-2.0, 1.0]))
    assert torch.equal(keys.flatten().cpu(), torch.tensor([-4.0, 3.0]))
    assert torch.equal(values.flatten().isinf().cpu(), torch.tensor([True, False]))
    assert torch.equal(values.flatten().isnan().cpu(), torch.tensor([False, True]))


@pytest.mark.parametrize("function", [rotate_and_keep, rotate_and_keep_reference])
def test_positions_past_the_table_read_its_last_row(device, function):
    qkv = torch.randn(1, 4 * 8, device=device).expand(2, -1).contiguous()
    keys, values = torch.zeros(2, 1, 2, 1, 8, device=device)
    positions = torch.tensor([63, 1 << 40], device=device)
    place = torch.tensor([0, 1], device=device)
    query = function(qkv, positions, table(8, device), keys, values, place)
    assert torch.equal(query[0], query[1]) and torch.equal(keys[0, 0], keys[0, 1])


def test_a_cache_of_another_dtype(device):
    qkv = torch.randn(3, 4 * 8, device=device)
    keys, values = torch.zeros(2, 2, 2, 1, 8, dtype=torch.float16, device=device)
    place = torch.tensor([0, 1, 2], device=device)
    value = qkv[:, 24:].to(torch.float16)
    rotate_and_keep(qkv, place, table(8, device), keys, values, place)
    assert torch.equal(values.flatten(0, 1)[:3, 0], value)
    assert keys[0].abs().sum() > 0
