"""Small models of the native families, and packed batches over a cache with pages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AutoConfig, AutoModelForCausalLM

from structgen.engine.models import LayerShape, Model

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
PAGE_SIZE = 4
LENGTHS = (13, 1, 22, 7)
CONTEXT = 64

SHAPE: dict[str, Any] = {
    "vocab_size": 131,
    "hidden_size": 36,
    "intermediate_size": 50,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": CONTEXT,
    "tie_word_embeddings": False,
    "initializer_range": 0.3,
}
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 16, "rope_theta": 500.0}  # fmt: skip
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}
WINDOW = {"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 1}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {}),
    "llama, tied": ("llama", {"tie_word_embeddings": True}),
    "llama, biases": ("llama", {"attention_bias": True, "mlp_bias": True}),
    "llama, wide heads": ("llama", {"head_dim": 10, "num_key_value_heads": 6}),
    "llama, one key head": ("llama", {"num_key_value_heads": 1, "rms_norm_eps": 1e-3}),
    "llama, linear": ("llama", {"rope_parameters": {"rope_type": "linear", "factor": 2.5}}),
    "llama, llama3": ("llama", {"rope_parameters": LLAMA3}),
    "llama, yarn": ("llama", {"rope_parameters": YARN}),
    "mistral": ("mistral", {"sliding_window": None}),
    "mistral, window": ("mistral", {"sliding_window": 6, "head_dim": 8}),
    "qwen2": ("qwen2", {}),
    "qwen2, tied": ("qwen2", {"tie_word_embeddings": True}),
    "qwen2, windows": ("qwen2", WINDOW),
    "qwen3": ("qwen3", {"head_dim": 16}),
    "qwen3, biases and windows": ("qwen3", {"head_dim": 6, "attention_bias": True, **WINDOW}),
    "qwen3, yarn, tied": (
        "qwen3",
        {"head_dim": 14, "rope_parameters": YARN, "tie_word_embeddings": True},
    ),
}


def make_config(case: str, **changes: Any) -> Any:
    family, options = CASES[case]
    return AutoConfig.for_model(family, **{**SHAPE, **options, **changes})


def make_model(case: str) -> Any:
    """Of random weights, those that transformers leaves at 0 and 1 too."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(make_config(case), attn_implementation="eager")
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1:
            torch.nn.init.normal_(parameter, mean=float("norm" in name), std=0.3)
    return model.eval().to(DEVICE)


@pytest.fixture
def plain_torch(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The references of the kernels instead of the interpreter, which takes its time."""
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # matrices so small that threads would only wait for each other
    yield
    torch.set_num_threads(threads)


class Sequences:
    """The cache of some sequences; each has pages of its own, in no order."""

    def __init__(self, layers: tuple[LayerShape, ...], count: int, device: Any, dtype: Any) -> None:
        self.pages = torch.randperm(count * CONTEXT // PAGE_SIZE).view(count, -1)
        self.lengths = [0] * count
        shape = (self.pages.numel(), PAGE_SIZE)
        self._cache = [
            tuple(
                torch.full((*shape, layer.kv_heads, dim), float("nan"), device=device, dtype=dtype)
                for dim in (layer.key_dim, layer.value_dim)
            )
            for layer in layers
        ]
        self.device = device

    def step(self, chunks: list[tuple[int, int]], padding: int) -> None:
        """The next tokens: (sequence, how many) for each, then padding."""
        self._rows = []
        positions, places = [], []
        for sequence, count in chunks:
            start = self.lengths[sequence]
            self.lengths[sequence] += count
            self._rows.append((sequence, len(positions), count))
            for position in range(start, start + count):
                page = int(self.pages[sequence, position // PAGE_SIZE])
                positions.append(position)
                places.append(page * PAGE_SIZE + position % PAGE_SIZE)
        self.positions = torch.tensor(positions + [0] * padding, device=self.device)
        self.places = torch.tensor(places + [-1] * padding, device=self.device)

    def cache(self, layer: int) -> Any:
        return self._cache[layer]

    def write(self, layer: int, key: torch.Tensor, value: torch.Tensor) -> None:
        raise NotImplementedError("native models write the pages themselves")

    def attend(
        self,
        layer: int,
        query: torch.Tensor,
        *,
        scale: float,
        window: int | None = None,
        softcap: float | None = None,
        sinks: torch.Tensor | None = None,
    ) -> torch.Tensor:
        assert softcap is None and sinks is None
        keys, values = self._cache[layer]
        out = query.new_zeros(*query.shape[:2], values.shape[-1])
        for sequence, first, count in self._rows:
            length = self.lengths[sequence]
            at = torch.arange(length, device=self.device)
            pages = self.pages.to(self.device)[sequence]
            page, offset = pages[at // PAGE_SIZE], at % PAGE_SIZE
            distance = at[length - count :, None] - at[None, :]
            seen = (distance >= 0) & (distance < (window or length))
            rows = slice(first, first + count)
            out[rows] = scaled_dot_product_attention(
                query[rows].transpose(0, 1),
                keys[page, offset].transpose(0, 1),
                values[page, offset].transpose(0, 1),
                attn_mask=seen,
                scale=scale,
                enable_gqa=True,
            ).transpose(0, 1)
        return out


def texts(vocab_size: int, lengths: tuple[int, ...] = LENGTHS) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    return [torch.randint(vocab_size, (n,), generator=generator).to(DEVICE) for n in lengths]


def run(model: Model, ids: list[torch.Tensor], steps: list[list[tuple[int, int]]]) -> list[Any]:
    """Logits [n, V] of each text, fed in these chunks."""
    sequences = Sequences(model.layers, len(ids), model.device, model.dtype)
    found: list[list[torch.Tensor]] = [[] for _ in ids]
    for number, chunks in enumerate(steps):
        padding = number % 3
        parts = [ids[s][sequences.lengths[s] : sequences.lengths[s] + n] for s, n in chunks]
        tokens = torch.cat([*parts, torch.full((padding,), -1, device=DEVICE)])
        sequences.step(chunks, padding)
        count = len(tokens) - padding
        if number % 2:  # from the last to the first, to see that rows are obeyed
            rows = torch.arange(count, device=DEVICE).flip(0)
            logits = model.forward(tokens, sequences, rows)
            assert logits.shape == (count, model.vocab_size)
            logits = logits.flip(0)
        else:
            logits = model.forward(tokens, sequences, None)
            assert logits.shape == (len(tokens), model.vocab_size)
        assert logits.dtype == model.dtype
        for (sequence, _), part in zip(
            chunks, logits.split([n for _, n in chunks] + [len(logits) - count]), strict=False
        ):
            found[sequence].append(part)
    return [torch.cat(parts) for parts in found]


# Prefill in chunks, beside sequences that decode, and some that wait.
STEPS = [
    [(0, 5), (2, 9)],
    [(2, 1), (0, 8), (3, 6)],
    [(1, 1), (2, 10), (3, 1)],
    [(2, 1)],
    [(2, 1)],
]


class OneTokenEach:
    """A step of decoding in which nothing asks the host: sequence b has its pages in row b."""

    def __init__(self, sequences: Sequences, lengths: torch.Tensor) -> None:
        self._pages = sequences.pages.to(sequences.device)
        self.cache, self.write = sequences.cache, sequences.write
        self.positions = lengths
        self._every = torch.arange(CONTEXT, device=sequences.device)
        page = self._pages.gather(1, lengths[:, None] // PAGE_SIZE)[:, 0]
        self.places = page * PAGE_SIZE + lengths % PAGE_SIZE

    def attend(
        self,
        layer: int,
        query: torch.Tensor,
        *,
        scale: float,
        window: int | None = None,
        softcap: float | None = None,
        sinks: torch.Tensor | None = None,
    ) -> torch.Tensor:
        keys, values = (
            t[self._pages].flatten(1, 2).transpose(1, 2).nan_to_num() for t in self.cache(layer)
        )
        distance = self.positions[:, None] - self._every
        seen = (distance >= 0) & (distance < (window or CONTEXT))
        return scaled_dot_product_attention(
            query[:, :, None],
            keys,
            values,
            attn_mask=seen[:, None, None],
            scale=scale,
            enable_gqa=True,
        )[:, :, 0]
