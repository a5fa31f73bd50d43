"""The contracts between a model, and the engine that knows the sequences of a batch."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch


class AttentionBatch(Protocol):
    """What one forward pass knows of its sequences: their tokens are packed, one after another.

    A model asks for attention once in each layer, after the keys and values of all T tokens are in
    the cache: :meth:`write` puts them there, or a kernel that got the pages from :meth:`cache`.
    """

    @property
    def positions(self) -> torch.Tensor:
        """int64 [T], contiguous: where in its sequence each token stands."""
        ...

    @property
    def places(self) -> torch.Tensor:
        """int64 [T], contiguous: page * page_size + offset, where a token's key and value go.

        Padding goes to page 0, which no sequence has. A kernel that writes to :meth:`cache` takes
        negative places too, and keeps nothing of them.
        """
        ...

    def cache(self, layer: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys [pages, page_size, kv_heads, key_dim] and values [..., value_dim] of a layer."""
        ...

    def write(self, layer: int, key: torch.Tensor, value: torch.Tensor) -> None:
        """Put keys [T, kv_heads, key_dim] and values [T, kv_heads, value_dim] at ``places``."""
        ...

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
        """Causal attention of each token to its own sequence.

        Args:
            layer: whose keys and values.
            query: [T, heads, key_dim]; the tokens may be strided. Query head h reads key head
                h // (heads / kv_heads).
            scale: of the scores.
            window: how many tokens a token sees, itself among them; None for all.
            softcap: c * tanh(score / c) instead of the score.
            sinks: [heads], a score that each head may give to nothing.

        Returns:
            [T, heads, value_dim], contiguous.
        """
        ...


class LayerShape(NamedTuple):
    """What the cache keeps of a token in one layer."""

    kv_heads: int
    key_dim: int
    value_dim: int


class Model(Protocol):
    """A causal language model that runs over packed sequences.

    Attributes:
        layers: what each layer keeps.
        heads: query heads of a layer, the most of any.
        vocab_size: the width of the logits.
        max_positions: positions must stay below.
        dtype: of weights, activations and logits.
        device: where all of it is.
    """

    layers: tuple[LayerShape, ...]
    heads: int
    vocab_size: int
    max_positions: int
    dtype: torch.dtype
    device: torch.device

    def forward(
        self, tokens: torch.Tensor, batch: AttentionBatch, rows: torch.Tensor | None
    ) -> torch.Tensor:
        """The logits after some of the tokens.

        Nothing waits for the host, and no shape depends on values: a CUDA graph can hold it.

        Args:
            tokens: int64 [T], packed; -1 for padding.
            batch: their sequences; what it keeps of the tokens is written.
            rows: int64 [R], indices of the tokens whose logits are wanted; None for all.

        Returns:
            [R, vocab_size].
        """
        ...
