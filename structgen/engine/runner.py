"""The model and its KV cache: prefill of new rows, one decode step of all rows."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from transformers import DynamicCache

from structgen.errors import StructgenError

KeyValue = tuple[torch.Tensor, torch.Tensor]


class Runner:
    """Runs a causal LM over a batch whose rows join and leave between steps.

    Rows are left-padded to one length L: ``attention`` is int64 [B, L], 0 on padding, and every
    layer's keys and values are [B, heads, L, head size]. A row's position ids count its own tokens
    only, so padding shifts nothing. Call it under ``torch.inference_mode()``.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.device: torch.device = model.device
        self._cache: DynamicCache | None = None
        self._attention = torch.empty((0, 0), dtype=torch.int64, device=self.device)
        accepted = inspect.signature(model.forward).parameters
        # transformers 5.24 has renamed both the argument and the output.
        self._cache_name = "cache" if "cache" in accepted else "past_key_values"
        self._takes_positions = "position_ids" in accepted
        self._extra = {"logits_to_keep": 1} if "logits_to_keep" in accepted else {}

    @property
    def rows(self) -> int:
        """Rows in the running batch."""
        return self._attention.shape[0]

    def prefill(self, prompts: Sequence[Sequence[int]]) -> torch.Tensor:
        """Append one row per prompt; float32 logits [len(prompts), width] of each next token."""
        length = max(map(len, prompts))
        ids = torch.zeros((len(prompts), length), dtype=torch.int64)
        attention = torch.zeros_like(ids)
        for row, prompt in enumerate(prompts):
            ids[row, length - len(prompt) :] = torch.tensor(prompt)
            attention[row, length - len(prompt) :] = 1
        attention = attention.to(self.device)
        positions = (attention.cumsum(dim=1) - 1).clamp_min(0)
        logits, cache = self._forward(ids.to(self.device), attention, positions, DynamicCache())
        self._append(cache, attention)
        return logits

    def decode(self, tokens: Sequence[int]) -> torch.Tensor:
        """Feed one token to every row; float32 logits [B, width] of the next one."""
        ids = torch.tensor(tokens, device=self.device).unsqueeze(1)
        positions = self._attention.sum(dim=1, keepdim=True)
        self._attention = torch.cat([self._attention, torch.ones_like(ids)], dim=1)
        logits, self._cache = self._forward(ids, self._attention, positions, self._cache)
        return logits

    def keep(self, rows: Sequence[int]) -> None:
        """Keep these rows, in this order, and drop padding that no row needs any more."""
        if not rows:
            self._cache = None
            self._attention = self._attention.new_empty((0, 0))
            return
        index = torch.tensor(rows, device=self.device)
        attention = self._attention[index]
        first = int(attention.argmax(dim=1).min())
        self._attention = attention[:, first:].contiguous()
        self._cache = _map_layers(
            self._cache, lambda kv: (kv[0][index, :, first:], kv[1][index, :, first:])
        )

    def _forward(
        self, ids: torch.Tensor, attention: torch.Tensor, positions: torch.Tensor, cache: Any
    ) -> tuple[torch.Tensor, DynamicCache]:
        extra: dict[str, Any] = {**self._extra, self._cache_name: cache}
        if self._takes_positions:
            extra["position_ids"] = positions
        out = self.model(
            input_ids=ids,
            attention_mask=attention,
            use_cache=True,
            **extra,
        )
        return out.logits[:, -1].float(), getattr(out, self._cache_name)

    def _append(self, cache: DynamicCache, attention: torch.Tensor) -> None:
        if self._cache is None:
            self._cache, self._attention = cache, attention
            return
        length = max(attention.shape[1], self._attention.shape[1])
        old, new = self._attention, attention
        self._attention = torch.cat([_pad_left(old, length, -1), _pad_left(new, length, -1)])
        self._cache = DynamicCache(
            [
                (_join(old_keys, new_keys, length), _join(old_values, new_values, length))
                for (old_keys, old_values), (new_keys, new_values) in zip(
                    _layers(self._cache), _layers(cache), strict=True
                )
            ]
        )


def refuse_unsupported(model: Any) -> None:
    """Raise for models whose state is more than keys and values of the tokens seen."""
    config = model.config.get_text_config(decoder=True)
    kinds = set(getattr(config, "layer_types", None) or ())
    other = kinds - {"full_attention", "sliding_attention"}
    if getattr(model, "_is_stateful", False) or other:
        detail = f" (layers of kind {', '.join(sorted(other))})" if other else ""
        raise StructgenError(
            f"{type(model).__name__} keeps a recurrent state{detail}, which batched decoding does "
            "not support; use a model whose layers are all attention layers"
        )


def _layers(cache: DynamicCache) -> list[KeyValue]:
    return [(layer.keys, layer.values) for layer in cache.layers]


def _map_layers(cache: DynamicCache, change: Any) -> DynamicCache:
    return DynamicCache([change(pair) for pair in _layers(cache)])


def _join(old: torch.Tensor, new: torch.Tensor, length: int) -> torch.Tensor:
    return torch.cat([_pad_left(old, length, -2), _pad_left(new, length, -2)])


def _pad_left(tensor: torch.Tensor, length: int, dim: int) -> torch.Tensor:
    missing = length - tensor.shape[dim]
    if not missing:
        return tensor
    shape = list(tensor.shape)
    shape[dim] = missing
    return torch.cat([tensor.new_zeros(shape), tensor], dim=dim)
