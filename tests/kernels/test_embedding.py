"""Embeddings are rows of the matrix, bit for bit; padding gets the first."""

from __future__ import annotations

import pytest
import torch

from structgen.kernels.embedding import embed, embed_reference


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("ids", [torch.int64, torch.int32])
@pytest.mark.parametrize("function", [embed, embed_reference])
@pytest.mark.parametrize("n", [1, 48, 1100])
def test_rows(device, dtype, ids, function, n):
    weight = torch.randn(7, n).to(device, dtype)
    tokens = torch.tensor([3, -1, 6, 0, 3], dtype=ids, device=device)
    out = function(tokens, weight)
    assert torch.equal(out, torch.stack([weight[i] for i in (3, 0, 6, 0, 3)]))
    assert function(tokens[:0], weight).shape == (0, n)
