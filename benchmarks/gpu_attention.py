"""Attention over the paged KV cache on a GPU, beside torch's over dense keys and beside the floor.

Heads are those of Llama-3-8B (32, 8 of keys, 128 dimensions), in bf16, pages of 16 in random order.
The floor of decoding is the bytes of keys and values at the bandwidth of a large copy, that of
prefilling the multiplications at the speed of a large matrix product, both measured in the run.
torch's keys are dense, so it has no page table to follow. Times are medians of CUDA-graph replays,
between events, a share of a graph that goes over enough layers to leave nothing in the cache.

    python benchmarks/gpu_attention.py

Needs a CUDA device. Ends with status 1 if a result differs from torch's.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from gpu_constraints import captured, copy_bandwidth, empty_replay, replay
from torch.nn.attention.bias import causal_lower_right

from structgen.kernels.copy_pages import copy_pages
from structgen.kernels.paged_attention import paged_attention
from structgen.kernels.paged_decode import DecodeWorkspace

HEADS, KV_HEADS, DIM, PAGE = 32, 8, 128, 16
SCALE = DIM**-0.5
DECODE = ((1, 512), (1, 4096), (8, 4096), (32, 512), (32, 4096), (128, 512), (128, 4096))
# Sequences, query rows and context of each.
PREFILL = (
    (1, 512, 512),
    (1, 2048, 2048),
    (1, 8192, 8192),
    (8, 1024, 1024),
    (4, 512, 4096),
    (32, 4, 2048),
)
COLD = 256 << 20  # bytes between two uses of a layer: five times an H200's cache
TOLERANCE = 2e-2  # relative to 1 + the output: some roundings of bf16


class Layers(NamedTuple):
    """Keys and values of some layers in pages, [layers, pages, PAGE, KV_HEADS, DIM]."""

    keys: torch.Tensor
    values: torch.Tensor
    page_table: torch.Tensor

    @staticmethod
    def random(batch: int, context: int) -> Layers:
        pages = context // PAGE
        nbytes = 2 * batch * context * KV_HEADS * DIM * 2
        n_layers = max(1, min(64, -(-COLD // nbytes)))
        shape = (n_layers, batch * pages, PAGE, KV_HEADS, DIM)
        keys, values = (torch.randn(shape, dtype=torch.bfloat16, device="cuda") for _ in range(2))
        page_table = torch.randperm(batch * pages, device="cuda").view(batch, pages).int()
        return Layers(keys, values, page_table)

    def dense(self, layer: int, heads: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values [B, heads, context, DIM]."""
        found = []
        for cache in (self.keys, self.values):
            one = cache[layer][self.page_table.long()].flatten(1, 2).transpose(1, 2)
            found.append(one.repeat_interleave(heads // KV_HEADS, 1).contiguous())
        return found[0], found[1]


def share(call: Callable[[], object], calls: int, nothing: float) -> float:
    """Median microseconds of one of the ``calls`` in ``call``."""
    graph = captured(call)
    return (statistics.median(replay(graph) for _ in range(20)) - nothing) / calls


def apart(found: torch.Tensor, expected: torch.Tensor) -> float:
    """The largest difference, relative to 1 + what is expected."""
    return float(((found - expected).abs() / (1 + expected.abs())).max())


def decode(batch: int, context: int, nothing: float) -> tuple[float, float, float]:
    """Microseconds of ours and of torch's, and the largest difference."""
    layers = Layers.random(batch, context)
    n_layers = len(layers.keys)
    query = torch.randn((batch, HEADS, DIM), dtype=torch.bfloat16, device="cuda")
    starts = torch.arange(batch + 1, dtype=torch.int32, device="cuda")
    lens = torch.full((batch,), context, dtype=torch.int32, device="cuda")
    workspace = DecodeWorkspace.allocate(
        batch, HEADS, KV_HEADS, DIM, max_context=context, device="cuda"
    )

    def ours(layer: int) -> torch.Tensor:
        return paged_attention(
            query, layers.keys[layer], layers.values[layer], layers.page_table, starts, lens,
            max_query=1, scale=SCALE, workspace=workspace,
        )  # fmt: skip

    dense = [layers.dense(layer, KV_HEADS) for layer in range(n_layers)]

    def torchs(layer: int) -> torch.Tensor:
        keys, values = dense[layer]
        return F.scaled_dot_product_attention(
            query[:, :, None], keys, values, scale=SCALE, enable_gqa=True
        )[:, :, 0]

    difference = apart(ours(0), torchs(0))
    times = [
        share(lambda one=one: [one(layer) for layer in range(n_layers)], n_layers, nothing)
        for one in (ours, torchs)
    ]
    return times[0], times[1], difference


def prefill(batch: int, n: int, context: int, nothing: float) -> tuple[float, float, float]:
    """The same, for ``n`` query rows of each sequence."""
    layers = Layers.random(batch, context)
    query = torch.randn((batch * n, HEADS, DIM), dtype=torch.bfloat16, device="cuda")
    starts = torch.arange(batch + 1, dtype=torch.int32, device="cuda") * n
    lens = torch.full((batch,), context, dtype=torch.int32, device="cuda")
    keys, values = layers.dense(0, HEADS)
    rows = query.view(batch, n, HEADS, DIM).transpose(1, 2)
    mask = None if n == context else causal_lower_right(n, context)

    def ours() -> torch.Tensor:
        return paged_attention(
            query, layers.keys[0], layers.values[0], layers.page_table, starts, lens,
            max_query=n, scale=SCALE,
        )  # fmt: skip

    def torchs() -> torch.Tensor:
        return F.scaled_dot_product_attention(
            rows, keys, values, attn_mask=mask, is_causal=mask is None, scale=SCALE
        )

    difference = apart(ours(), torchs().transpose(1, 2).flatten(0, 1))
    return share(ours, 1, nothing), share(torchs, 1, nothing), difference


def copying(pages: int, nothing: float) -> tuple[float, int]:
    """Microseconds to copy pages of 32 layers, and the bytes read and written."""
    cache = torch.randn((32, 4096, PAGE, KV_HEADS, DIM), dtype=torch.bfloat16, device="cuda")
    chosen = torch.randperm(4096, device="cuda")[: 2 * pages]
    took = share(lambda: copy_pages(cache, chosen[:pages], chosen[pages:]), 1, nothing)
    return took, 2 * cache[:, :pages].numel() * cache.element_size()


def matmul_speed() -> float:
    """Multiplications and additions in a second of a large matrix product in bf16."""
    size = 8192
    a, b = (torch.randn((size, size), dtype=torch.bfloat16, device="cuda") for _ in range(2))
    graph = captured(lambda: a @ b)
    return 2 * size**3 / (statistics.median(replay(graph) for _ in range(10)) * 1e-6)


def main() -> int:
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    torch.manual_seed(0)
    nothing, bandwidth, speed = empty_replay(), copy_bandwidth(), matmul_speed()
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}")
    print(f"copy: {bandwidth / 1e12:.2f} TB/s; matrix product: {speed / 1e12:.0f} TFLOP/s; in us")
    worst = 0.0
    columns = (
        f"{'ours':>9} {'torch':>9} {'floor':>9} {'floor/ours':>10} {'torch/ours':>10} {'diff':>8}"
    )

    def line(name: str, ours: float, torchs: float, floor: float, difference: float) -> None:
        ratios = f"{floor / ours:>10.2f} {torchs / ours:>10.2f}"
        print(f"{name} {ours:>9.1f} {torchs:>9.1f} {floor:>9.1f} {ratios} {difference:>8.4f}")

    print(f"\n{'decode':>8} {'context':>15} {columns}")
    for batch, context in DECODE:
        ours, torchs, difference = decode(batch, context, nothing)
        floor = 2 * batch * context * KV_HEADS * DIM * 2 / bandwidth * 1e6
        line(f"{batch:>8} {context:>15}", ours, torchs, floor, difference)
        worst = max(worst, difference)
        torch.cuda.empty_cache()
    print(f"\n{'prefill':>8} {'rows':>7} {'context':>7} {columns}")
    for batch, n, context in PREFILL:
        ours, torchs, difference = prefill(batch, n, context, nothing)
        seen = n * (context - n) + n * (n + 1) // 2
        nbytes = (2 * batch * context * KV_HEADS + 2 * batch * n * HEADS) * DIM * 2
        floor = max(batch * HEADS * seen * 4 * DIM / speed, nbytes / bandwidth) * 1e6
        line(f"{batch:>8} {n:>7} {context:>7}", ours, torchs, floor, difference)
        worst = max(worst, difference)
    print(f"\n{'copied pages':>24} {'ours':>9} {'floor':>9}")
    for pages in (1, 16, 256):
        took, nbytes = copying(pages, nothing)
        print(f"{pages:>24} {took:>9.1f} {nbytes / bandwidth * 1e6:>9.1f}")
    print(f"\nlargest difference from torch: {worst:.4f} (up to {TOLERANCE} is rounding)")
    return int(not worst <= TOLERANCE)


if __name__ == "__main__":
    raise SystemExit(main())
