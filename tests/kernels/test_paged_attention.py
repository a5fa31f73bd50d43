"""Attention over pages: the kernels and their reference against dense float64 attention."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from structgen.kernels.copy_pages import copy_pages
from structgen.kernels.paged_attention import paged_attention, paged_attention_reference
from structgen.kernels.paged_decode import DecodeWorkspace, paged_decode
from structgen.kernels.paged_prefill import prefill_blocks, split_dim

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
# Relative to the largest value; an output is a convex combination of values.
TOLERANCE = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}


@dataclass(frozen=True)
class Case:
    """Sequences as (query rows, context length) pairs, and the shape of the heads."""

    sequences: tuple[tuple[int, int], ...]
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 16
    value_dim: int = 16
    page_size: int = 16
    dtype: torch.dtype = torch.float32
    window: int = 0
    softcap: float = 0.0
    sinks: bool = False
    seed: int = 0


class Paged:
    """Random keys of some sequences, dense and in pages whose unused rows are NaN.

    Entries of the page table without a key that any query row sees are huge.
    """

    def __init__(self, case: Case) -> None:
        self.case = case
        generator = torch.Generator().manual_seed(case.seed)

        def normal(*shape: int) -> torch.Tensor:
            return torch.randn(shape, generator=generator).to(case.dtype)

        size, window = case.page_size, case.window
        pages_of = [-(-context // size) for _, context in case.sequences]
        n_pages = sum(pages_of) + 3
        free = torch.randperm(n_pages, generator=generator).tolist()
        k_cache = torch.full((n_pages, size, case.kv_heads, case.head_dim), float("nan"))
        v_cache = torch.full((n_pages, size, case.kv_heads, case.value_dim), float("nan"))
        self.k_cache, self.v_cache = k_cache.to(case.dtype), v_cache.to(case.dtype)
        self.page_table = torch.full((len(pages_of), max(pages_of) + 2), 2**31 - 1).int()
        self.keys, self.values = [], []
        for b, (n, context) in enumerate(case.sequences):
            keys = normal(context, case.kv_heads, case.head_dim)
            values = normal(context, case.kv_heads, case.value_dim)
            oldest = max(0, context - max(n, 1) + 1 - window) if window else 0
            for i in range(pages_of[b]):
                if min((i + 1) * size, context) <= oldest or n == 0:
                    continue  # the window has left it behind
                page = free.pop()
                self.page_table[b, i] = page
                for position in range(max(i * size, oldest), min((i + 1) * size, context)):
                    self.k_cache[page, position % size] = keys[position]
                    self.v_cache[page, position % size] = values[position]
            self.keys.append(keys)
            self.values.append(values)
        rows = [n for n, _ in case.sequences]
        self.query_starts = torch.tensor([0, *rows]).cumsum(0).int()
        self.context_lens = torch.tensor([context for _, context in case.sequences]).int()
        self.query = normal(sum(rows), case.heads, case.head_dim)
        self.sinks = torch.randn(case.heads, generator=generator) if case.sinks else None
        self.max_query = max(1, *rows)
        self.scale = case.head_dim**-0.5 * 1.5

    def arguments(self, device: str = DEVICE) -> dict[str, Any]:
        names = ("query", "k_cache", "v_cache", "page_table", "query_starts", "context_lens")
        found = {name: getattr(self, name).to(device) for name in names}
        return found | {
            "scale": self.scale,
            "window": self.case.window,
            "softcap": self.case.softcap,
            "sinks": None if self.sinks is None else self.sinks.to(device),
        }

    def expected(self) -> torch.Tensor:
        """In float64, sequence by sequence, over dense keys."""
        case, group = self.case, self.case.heads // self.case.kv_heads
        found = []
        for b, (n, context) in enumerate(case.sequences):
            if not n or not context:
                found.append(torch.zeros(n, case.heads, case.value_dim, dtype=torch.float64))
                continue
            start = int(self.query_starts[b])
            query = self.query[start : start + n].double().transpose(0, 1)
            keys = self.keys[b].double().transpose(0, 1).repeat_interleave(group, 0)
            values = self.values[b].double().transpose(0, 1).repeat_interleave(group, 0)
            position = torch.arange(context)
            own = position[context - n :, None]
            seen = position <= own
            if case.window:
                seen &= position > own - case.window
            if not case.softcap and self.sinks is None:
                one = F.scaled_dot_product_attention(query, keys, values, seen, scale=self.scale)
            else:
                scores = query @ keys.mT * self.scale
                if case.softcap:
                    scores = torch.tanh(scores / case.softcap) * case.softcap
                shares = scores.masked_fill(~seen, float("-inf")).exp()
                below = shares.sum(2, keepdim=True)
                if self.sinks is not None:
                    below = below + self.sinks.double().exp()[:, None, None]
                one = shares / below @ values
            found.append(one.transpose(0, 1))
        return torch.cat(found)


def check(found: torch.Tensor, expected: torch.Tensor, dtype: torch.dtype) -> None:
    assert found.dtype == dtype
    largest = float(expected.abs().max()) if expected.numel() else 0.0
    torch.testing.assert_close(
        found.cpu().double(), expected, rtol=0, atol=TOLERANCE[dtype] * max(1.0, largest)
    )


def check_both(case: Case) -> None:
    """The kernels and the reference."""
    paged = Paged(case)
    expected = paged.expected()
    check(paged_attention_reference(**paged.arguments()), expected, case.dtype)
    found = paged_attention(**paged.arguments(), max_query=paged.max_query)
    check(found, expected, case.dtype)


DECODE = ((1, 1), (1, 37), (1, 0), (1, 16), (1, 300))
RAGGED = ((5, 5), (1, 40), (0, 0), (3, 33), (2, 0), (0, 9), (19, 150))


@pytest.mark.parametrize("sequences", [DECODE, RAGGED], ids=["decode", "ragged"])
@pytest.mark.parametrize("dtype", list(TOLERANCE), ids=str)
@pytest.mark.parametrize("page_size", [1, 16, 64])
def test_types_and_page_sizes(
    sequences: tuple[tuple[int, int], ...], dtype: torch.dtype, page_size: int
) -> None:
    check_both(Case(sequences, dtype=dtype, page_size=page_size))


@pytest.mark.parametrize("sequences", [DECODE, RAGGED], ids=["decode", "ragged"])
@pytest.mark.parametrize("heads, kv_heads", [(1, 1), (3, 3), (2, 1), (6, 2), (7, 1), (16, 2)])
def test_groups_of_heads(sequences: tuple[tuple[int, int], ...], heads: int, kv_heads: int) -> None:
    check_both(Case(sequences, heads=heads, kv_heads=kv_heads, page_size=8))


def test_more_heads_share_keys_than_a_program_takes() -> None:
    check_both(Case(((1, 150), (1, 20)), heads=71, kv_heads=1))
    check_both(Case(((2, 30), (1, 20)), heads=71, kv_heads=1))


@pytest.mark.parametrize("sequences", [DECODE, RAGGED], ids=["decode", "ragged"])
@pytest.mark.parametrize(
    "head_dim, value_dim",
    [(8, 8), (16, 256), (64, 64), (80, 80), (96, 96), (112, 48), (192, 128), (256, 256)],
)
def test_dimensions(sequences: tuple[tuple[int, int], ...], head_dim: int, value_dim: int) -> None:
    check_both(Case(sequences, head_dim=head_dim, value_dim=value_dim, dtype=torch.float16))


@pytest.mark.parametrize("sequences", [DECODE, RAGGED], ids=["decode", "ragged"])
@pytest.mark.parametrize("window", [0, 1, 7, 16, 40])
@pytest.mark.parametrize("softcap, sinks", [(0.0, False), (1.5, False), (0.0, True), (2.0, True)])
def test_windows_caps_and_sinks(
    sequences: tuple[tuple[int, int], ...], window: int, softcap: float, sinks: bool
) -> None:
    check_both(Case(sequences, window=window, softcap=softcap, sinks=sinks, page_size=4))


def test_blocks_of_many_rows() -> None:
    """The tiles of long prompts, of which several need no mask, and of short ones."""
    case = Case(((150, 150), (3, 140), (70, 333)), dtype=torch.float16, heads=4, kv_heads=2)
    assert prefill_blocks(300, 16, 16, 2).rows > prefill_blocks(40, 16, 16, 2).rows
    check_both(case)
    check_both(replace(case, window=100))
    check_both(replace(case, sequences=((20, 150), (11, 300))))
    check_both(replace(case, sequences=((4, 150), (1, 300))))


def test_more_sequences_than_are_looked_at_together() -> None:
    check_both(Case(tuple((b % 3, 3 + b % 5) for b in range(150)), heads=1, kv_heads=1))


def test_large_scores() -> None:
    """Scores far beyond the cap: their exponentials overflow, the outputs do not."""
    paged = Paged(Case(RAGGED, softcap=30.0))
    paged.scale = 300.0
    found = paged_attention(**paged.arguments(), max_query=paged.max_query)
    torch.testing.assert_close(found.cpu().double(), paged.expected(), rtol=0, atol=1e-3)


@settings(max_examples=30)
@given(data=st.data())
def test_any_shape(data: st.DataObject) -> None:
    decode = data.draw(st.booleans(), "decode")
    rows = st.just(1) if decode else st.integers(0, 20)
    sequences = []
    for n in data.draw(st.lists(rows, min_size=1, max_size=4), "rows"):
        before = data.draw(st.integers(0, 200 if decode else 40), "before")
        sequences.append((n, 0 if data.draw(st.integers(0, 7)) == 0 else n + before))
    kv_heads = data.draw(st.integers(1, 3), "kv_heads")
    check_both(
        Case(
            tuple(sequences),
            heads=kv_heads * data.draw(st.integers(1, 8), "group"),
            kv_heads=kv_heads,
            head_dim=data.draw(st.integers(1, 20), "head_dim") * 2,
            value_dim=data.draw(st.integers(1, 20), "value_dim") * 2,
            page_size=data.draw(st.sampled_from([1, 3, 16, 64]), "page_size"),
            dtype=data.draw(st.sampled_from(list(TOLERANCE)), "dtype"),
            window=data.draw(st.sampled_from([0, 0, 1, 5, 33]), "window"),
            softcap=data.draw(st.sampled_from([0.0, 0.0, 3.0]), "softcap"),
            sinks=data.draw(st.booleans(), "sinks"),
            seed=data.draw(st.integers(0, 99), "seed"),
        )
    )


def eager(paged: Paged, attend: Any, module: Any, **options: Any) -> torch.Tensor:
    """What transformers' eager attention finds, with its masks, for each sequence."""
    from transformers.masking_utils import (
        causal_mask_function,
        sliding_window_causal_mask_function,
    )

    window = paged.case.window
    may_see = sliding_window_causal_mask_function(window) if window else causal_mask_function
    found = []
    for b, (n, context) in enumerate(paged.case.sequences):
        start = int(paged.query_starts[b])
        mask = torch.zeros(1, 1, n, context)
        for row in range(n):
            for key in range(context):
                if not may_see(0, 0, torch.tensor(context - n + row), torch.tensor(key)):
                    mask[0, 0, row, key] = torch.finfo(torch.float32).min
        output, _ = attend(
            module,
            paged.query[None, start : start + n].transpose(1, 2),
            paged.keys[b][None].transpose(1, 2),
            paged.values[b][None].transpose(1, 2),
            mask,
            scaling=paged.scale,
            **options,
        )
        found.append(output[0])
    return torch.cat(found).double()


@pytest.mark.parametrize("sequences", [((1, 30), (1, 7)), ((4, 30), (7, 7))])
@pytest.mark.parametrize("window", [0, 5])
def test_as_transformers_gemma2(sequences: tuple[tuple[int, int], ...], window: int) -> None:
    from transformers.models.gemma2.modeling_gemma2 import eager_attention_forward

    paged = Paged(Case(sequences, window=window, softcap=1.0))
    module = SimpleNamespace(num_key_value_groups=2, training=False)
    expected = eager(paged, eager_attention_forward, module, softcap=1.0)
    for found in (
        paged_attention(**paged.arguments(), max_query=paged.max_query),
        paged_attention_reference(**paged.arguments()),
    ):
        check(found, expected, torch.float32)


@pytest.mark.parametrize("sequences", [((1, 30), (1, 7)), ((4, 30), (7, 7))])
@pytest.mark.parametrize("window", [0, 5])
def test_as_transformers_gpt_oss(sequences: tuple[tuple[int, int], ...], window: int) -> None:
    from transformers.models.gpt_oss.modeling_gpt_oss import eager_attention_forward

    paged = Paged(Case(sequences, window=window, sinks=True))
    module = SimpleNamespace(num_key_value_groups=2, training=False, sinks=paged.sinks)
    expected = eager(paged, eager_attention_forward, module)
    for found in (
        paged_attention(**paged.arguments(), max_query=paged.max_query),
        paged_attention_reference(**paged.arguments()),
    ):
        check(found, expected, torch.float32)


def test_decode_without_query_starts_of_padding() -> None:
    """A padded batch: rows of sequences of length 0 lie past the last query start."""
    paged = Paged(Case(((1, 20), (1, 5), (1, 0), (1, 0))))
    arguments = paged.arguments()
    arguments["query_starts"] = torch.tensor([0, 1, 2, 2, 2], dtype=torch.int32, device=DEVICE)
    arguments["query"][2:] = float("nan")
    check(paged_attention(**arguments, max_query=1), paged.expected(), torch.float32)


def test_strided_query_and_output() -> None:
    """Queries as a part of a fused projection, caches as one layer's part of a tensor."""
    for sequences in (DECODE, RAGGED):
        paged = Paged(Case(sequences, head_dim=16, value_dim=16))
        arguments = paged.arguments()
        query = arguments["query"]
        fused = torch.full((len(query), 4 + 2 + 2, 16), float("nan"), device=DEVICE)
        fused[:, :4] = query
        both = torch.stack((arguments["k_cache"], arguments["v_cache"]), 2)
        arguments |= {"query": fused[:, :4], "k_cache": both[:, :, 0], "v_cache": both[:, :, 1]}
        out = torch.full((len(query), 6, 16), 7.0, device=DEVICE)
        found = paged_attention(**arguments, max_query=paged.max_query, out=out[:, :4])
        assert found.data_ptr() == out.data_ptr()
        check(out[:, :4], paged.expected(), torch.float32)
        assert bool((out[:, 4:] == 7).all())


def test_a_workspace_serves_smaller_batches_again_and_again() -> None:
    workspace = DecodeWorkspace.allocate(6, 4, 2, 16, max_context=400, device=DEVICE)
    for seed, sequences in enumerate((DECODE, ((1, 390), (1, 260)), DECODE, ((1, 500),))):
        paged = Paged(Case(sequences, seed=seed))
        for _ in range(2):
            found = paged_attention(**paged.arguments(), max_query=1, workspace=workspace)
            check(found, paged.expected(), torch.float32)
        assert not workspace.tickets.any()


def test_refuses_what_does_not_go_together() -> None:
    arguments = Paged(Case(DECODE)).arguments() | {"max_query": 1}
    for name, wrong, message in (
        ("query", arguments["query"].half(), "one type"),
        ("query", arguments["query"][:, :3].contiguous(), "multiple"),
        ("query", arguments["query"][:, :, :8], "go together"),
        ("k_cache", arguments["k_cache"][:-1], "go together"),
        ("query_starts", arguments["query_starts"][1:], "query_starts"),
        ("page_table", arguments["page_table"].T.contiguous().T, "contiguous"),
    ):
        with pytest.raises(ValueError, match=message):
            paged_attention(**(arguments | {name: wrong}))
    workspace = DecodeWorkspace.allocate(1, 1, 1, 1, max_context=1, device=DEVICE)
    out = torch.empty_like(arguments["query"])
    names = ("query", "k_cache", "v_cache", "page_table", "context_lens", "scale")
    with pytest.raises(ValueError, match="workspace"):
        paged_decode(**{n: arguments[n] for n in names}, workspace=workspace, out=out)


@given(st.integers(1, 256))
def test_a_dimension_is_two_powers_of_two(dim: int) -> None:
    first, rest = split_dim(dim)
    assert first + rest >= dim and first.bit_count() == 1 and first >= 16
    assert rest == 0 or (rest.bit_count() == 1 and first < dim)


@pytest.mark.skipif(DEVICE == "cpu", reason="graphs are captured on a CUDA device")
@pytest.mark.parametrize("sequences", [DECODE, RAGGED], ids=["decode", "ragged"])
def test_captured(sequences: tuple[tuple[int, int], ...]) -> None:
    """A graph captured over padding serves a batch that is written into its tensors later."""
    paged = Paged(Case(sequences, dtype=torch.bfloat16))
    arguments = paged.arguments()
    context_lens = arguments["context_lens"].clone()
    workspace = DecodeWorkspace.allocate(8, 4, 2, 16, max_context=300, device=DEVICE)
    call: dict[str, Any] = arguments | {"max_query": paged.max_query, "workspace": workspace}
    arguments["context_lens"].zero_()
    paged_attention(**call)  # compiles
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = paged_attention(**call)
    graph.replay()
    assert not found.any()
    arguments["context_lens"].copy_(context_lens)
    graph.replay()
    check(found, paged.expected(), torch.bfloat16)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("dim", [3, 16])
def test_copy_pages(dtype: torch.dtype, dim: int) -> None:
    caches = torch.randn(3, 7, 4, 2, dim, device=DEVICE).to(dtype)
    caches[:, 2, 1] = float("nan")
    before = caches.view(torch.uint8).clone()
    sources = torch.tensor([1, 2, 1, 5], dtype=torch.int32, device=DEVICE)
    targets = torch.tensor([0, 1, 3, 2], dtype=torch.int32, device=DEVICE)
    copy_pages(caches, sources, targets)
    after = caches.view(torch.uint8)
    for page in range(7):
        source = {0: 1, 1: 2, 3: 1, 2: 5}.get(page, page)
        assert torch.equal(after[:, page], before[:, source])
    with pytest.raises(ValueError, match="contiguous"):
        copy_pages(caches.transpose(2, 3), sources, targets)
