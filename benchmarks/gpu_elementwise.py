"""What the small kernels of a Llama layer cost on a GPU, beside plain torch.

Shapes are those of Llama-3-8B in bf16. Times are means over replays of a CUDA graph, in which the
caches stay warm; the rate counts what has to be read and written once. Eight-bit projections are
compared with cuBLAS's of the same matrix in bf16.

    python benchmarks/gpu_elementwise.py

Needs a CUDA device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch.nn.functional import linear
from triton.testing import do_bench_cudagraph

from structgen.engine.models.linear import QuantizedLinear
from structgen.kernels.embedding import embed, embed_reference
from structgen.kernels.rms_norm import rms_norm, rms_norm_reference
from structgen.kernels.rotary import rotate_and_keep
from structgen.kernels.silu_mul import silu_mul, silu_mul_reference

TOKENS = (1, 16, 128, 2048)
HIDDEN, INTERMEDIATE, HEADS, KV_HEADS, DIM, VOCABULARY = 4096, 14336, 32, 8, 128, 128_256
PAGES, PAGE_SIZE, POSITIONS = 1024, 16, 8192
DEVICE = "cuda"

# What is measured, bytes that must move, structgen's call, and the one it is compared with.
Case = tuple[str, int, Callable[[], object], Callable[[], object] | None]


def cases(tokens: int) -> Iterator[Case]:
    def some(*shape: int) -> torch.Tensor:
        return torch.randn(shape, device=DEVICE, dtype=torch.bfloat16)

    x, residual, weight = some(tokens, HIDDEN), some(tokens, HIDDEN), some(HIDDEN)
    yield (
        "norm and residual",
        8 * tokens * HIDDEN,
        lambda: rms_norm(x, weight, 1e-5, residual),
        lambda: rms_norm_reference(x, weight, 1e-5, residual),
    )
    gate_up = some(tokens, 2 * INTERMEDIATE)
    yield (
        "silu and product",
        6 * tokens * INTERMEDIATE,
        lambda: silu_mul(gate_up),
        lambda: silu_mul_reference(gate_up),
    )
    ids, matrix = torch.randint(VOCABULARY, (tokens,), device=DEVICE), some(VOCABULARY, HIDDEN)
    yield (
        "embedding",
        4 * tokens * HIDDEN,
        lambda: embed(ids, matrix),
        lambda: embed_reference(ids, matrix),
    )
    qkv = some(tokens, (HEADS + 2 * KV_HEADS) * DIM)
    keys, values = some(PAGES, PAGE_SIZE, KV_HEADS, DIM), some(PAGES, PAGE_SIZE, KV_HEADS, DIM)
    table = torch.randn(POSITIONS, DIM, device=DEVICE)
    positions = torch.randint(POSITIONS, (tokens,), device=DEVICE)
    places = torch.randperm(PAGES * PAGE_SIZE, device=DEVICE)[:tokens]
    norms = (some(DIM), some(DIM), 1e-6)
    # The reference selects rows by their values, which a CUDA graph cannot hold.
    for name, options in (("rotary and cache", None), ("the same, heads normalised", norms)):
        yield (
            name,
            4 * qkv.numel(),
            lambda options=options: rotate_and_keep(
                qkv, positions, table, keys, values, places, options
            ),
            None,
        )


def projections(tokens: int) -> Iterator[Case]:
    for rows, columns in ((6144, 4096), (4096, 4096), (2 * 14336, 4096), (4096, 14336)):
        x = torch.randn(tokens, columns, device=DEVICE, dtype=torch.bfloat16)
        dense = torch.randn(rows, columns, device=DEVICE, dtype=torch.bfloat16)
        for kind in ("int8", "fp8"):
            narrow = QuantizedLinear(rows, columns, None, kind, x.device)
            narrow.fill([dense])
            yield (
                f"{kind} {rows} x {columns}",
                rows * columns,
                lambda narrow=narrow, x=x: narrow(x),
                lambda dense=dense, x=x: linear(x, dense),
            )


def main() -> None:
    print(f"{'us':>30} {'structgen':>10} {'torch':>10} {'ratio':>7} {'GB/s':>7}")
    for tokens in TOKENS:
        print(f"{tokens} tokens")
        for kinds in (cases, projections):
            for name, size, ours, theirs in kinds(tokens):
                us = 1e3 * do_bench_cudagraph(ours)
                line = f"{name:>30} {us:>10.1f}"
                if theirs is not None:
                    other = 1e3 * do_bench_cudagraph(theirs)
                    line += f" {other:>10.1f} {us / other:>7.2f}"
                else:
                    line += " " * 19
                print(f"{line} {size / us / 1e3:>7.0f}", flush=True)


if __name__ == "__main__":
    main()
