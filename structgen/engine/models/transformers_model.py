"""Any transformers causal LM whose layers attend through transformers' attention interface.

The library calls a registered function in place of its own attention; ours keeps the keys and
values in pages and attends to them. Not every architecture honours the interface (some compute
attention themselves, some keep other state), so :meth:`TransformersModel.check` compares logits
with those of the model's own eager attention before anything is served.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from structgen.engine.attention import Span, pack
from structgen.engine.models.base import AttentionBatch, LayerShape
from structgen.engine.storage import KVStorage
from structgen.errors import StructgenError

NAME = "structgen_paged"
_KINDS = {"full_attention", "sliding_attention"}
# How far logits may be from eager's, as a share of the largest: sums are in another order.
_TOLERANCE = {torch.float32: 1e-3, torch.float16: 3e-2, torch.bfloat16: 1e-1}

# The context of models that declare none.
UNBOUNDED_CONTEXT = 1 << 20

_calls = threading.local()
# Of a network that several LLMs run: which attention it has is a setting of its own.
_locks: weakref.WeakKeyDictionary[Any, threading.RLock] = weakref.WeakKeyDictionary()
_new_lock = threading.Lock()


class _Recorder:
    """Notes the modules that attend, in order, with the shapes of their keys and values."""

    def __init__(self) -> None:
        self.modules: list[Any] = []
        self.shapes: list[LayerShape] = []
        self.heads = 0

    def attend(self, module: Any, query: Any, key: Any, value: Any, **_: Any) -> torch.Tensor:
        self.modules.append(module)
        self.heads = max(self.heads, query.shape[1])
        self.shapes.append(LayerShape(key.shape[1], key.shape[3], value.shape[3]))
        return query.new_zeros((*query.shape[:3], value.shape[3]))


class _Attending:
    """The forward of one batch: keeps keys and values, and attends to those of the pages."""

    def __init__(self, batch: AttentionBatch, layers: dict[int, int], windows: list[bool]) -> None:
        self._batch, self._layers, self._windows = batch, layers, windows

    def attend(
        self,
        module: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        *,
        scaling: float | None = None,
        sliding_window: int | None = None,
        softcap: float | None = None,
        s_aux: torch.Tensor | None = None,
        **_: Any,
    ) -> torch.Tensor:
        layer = self._layers[id(module)]
        if self._windows[layer] and sliding_window is None:
            raise StructgenError(
                f"{type(module).__name__} has a sliding window and does not say how long it is"
            )
        self._batch.write(layer, key[0].transpose(0, 1), value[0].transpose(0, 1))
        out = self._batch.attend(
            layer,
            query[0].transpose(0, 1),
            scale=query.shape[-1] ** -0.5 if scaling is None else scaling,
            window=sliding_window,
            softcap=softcap,
            sinks=s_aux,
        )
        return out.transpose(0, 1)[None]


def _attention(
    module: Any, query: Any, key: Any, value: Any, attention_mask: Any, **options: Any
) -> tuple[torch.Tensor, None]:
    """What transformers calls: [1, heads, T, dim] each -> [1, T, heads, dim]."""
    current = getattr(_calls, "current", None)
    if current is None:
        raise StructgenError("an LLM is using this model; wait until its requests are done")
    return current.attend(module, query, key, value, **options).transpose(1, 2), None


def _no_mask(*_: Any, **__: Any) -> None:
    """Which keys a token sees follows from the pages."""


class TransformersModel:
    """Implements :class:`structgen.engine.models.base.Model`.

    Attributes:
        network: the transformers model. It is used by the engine's thread alone while that runs.
    """

    def __init__(self, network: Any) -> None:
        """
        Raises:
            StructgenError: the architecture cannot be served through pages of keys and values.
        """
        from transformers import AttentionInterface
        from transformers.masking_utils import AttentionMaskInterface

        AttentionInterface.register(NAME, _attention)
        AttentionMaskInterface.register(NAME, _no_mask)
        self.network = network
        with _new_lock:
            self._lock = _locks.setdefault(network, threading.RLock())
        self._name = type(network).__name__
        config = network.config.get_text_config(decoder=True)
        self._refuse_other_state(config)
        weight = network.get_input_embeddings().weight
        self.dtype: torch.dtype = weight.dtype
        self.device: torch.device = weight.device
        self.n_input_tokens: int = weight.shape[0]
        # Those that the layers look into; most models have one for all.
        found = {id(m.config): m.config for m in network.modules() if hasattr(m, "config")}
        self._configs = list(found.values())
        recorder = _Recorder()
        try:
            logits = self._forward(torch.zeros(2, dtype=torch.int64), None, None, recorder)
        except StructgenError:
            raise
        except Exception as error:
            raise self._refusal(str(error)) from error
        n_layers = getattr(config, "num_hidden_layers", len(recorder.modules))
        if len(recorder.modules) != n_layers or len(set(map(id, recorder.modules))) != n_layers:
            raise self._refusal(
                f"{len(set(map(id, recorder.modules)))} of its {n_layers} layers attend through "
                "transformers' attention interface"
            )
        self.layers: tuple[LayerShape, ...] = tuple(recorder.shapes)
        self.heads: int = recorder.heads
        self._layers = {id(module): i for i, module in enumerate(recorder.modules)}
        kinds = getattr(config, "layer_types", None) or ["full_attention"] * n_layers
        self._windows = [kind == "sliding_attention" for kind in kinds]
        self.vocab_size: int = logits.shape[-1]
        self.max_positions: int = (
            getattr(config, "max_position_embeddings", None) or UNBOUNDED_CONTEXT
        )

    def forward(
        self, tokens: torch.Tensor, batch: AttentionBatch, rows: torch.Tensor | None
    ) -> torch.Tensor:
        """Logits [R, vocab_size] of the tokens at ``rows`` (None: all) of the packed int64 [T]."""
        attending = _Attending(batch, self._layers, self._windows)
        return self._forward(tokens, batch.positions, rows, attending)

    @torch.inference_mode()
    def _forward(
        self,
        tokens: torch.Tensor,
        positions: torch.Tensor | None,
        rows: torch.Tensor | None,
        attending: Any,
    ) -> torch.Tensor:
        if positions is None:
            positions = torch.arange(len(tokens))
        _calls.current = attending
        try:
            with self._attention(NAME):
                out = self.network(
                    input_ids=tokens[None].clamp(min=0).to(self.device),
                    position_ids=positions[None].to(self.device),
                    use_cache=False,
                    logits_to_keep=0 if rows is None else rows,
                )
        finally:
            _calls.current = None
        return out.logits[0]

    def check(self, seed: int = 0) -> None:
        """Compare logits with those of eager attention, in two chunks of a few tokens.

        Raises:
            StructgenError: they differ, so this architecture is not served.
        """
        generator = torch.Generator().manual_seed(seed)
        n = 24
        ids = torch.randint(self.n_input_tokens, (n,), generator=generator)
        size = 4
        storage = KVStorage(self.layers, 1 + n // size, size, dtype=self.dtype, device=self.device)
        pages, cut = list(range(1, 1 + n // size)), n // 2 + 1
        parts = []
        with torch.inference_mode():
            for start, end in ((0, cut), (cut, n - 1), (n - 1, n)):
                span = Span(ids[start:end].tolist(), start, pages)
                parts.append(self.forward(*pack([span], storage, self.device), None).float())
            ours = torch.cat(parts)
            with self._attention("eager"):
                out = self.network(input_ids=ids[None].to(self.device), use_cache=False)
            wanted = out.logits[0].float()
        error = (ours - wanted).abs().max().item()
        scale = wanted.abs().max().item()
        if not error <= _TOLERANCE.get(self.dtype, 1e-1) * max(scale, 1e-6):
            raise self._refusal(
                f"its logits are {error:.2g} away from those of its own attention (largest: "
                f"{scale:.2g})"
            )

    @contextmanager
    def _attention(self, name: str) -> Iterator[None]:
        """With another attention than the network's own, which whoever made it may go on using."""
        with self._lock:
            before = [c._attn_implementation for c in self._configs]
            for config in self._configs:
                config._attn_implementation = name
            try:
                yield
            finally:
                for config, own in zip(self._configs, before, strict=True):
                    config._attn_implementation = own

    def _refuse_other_state(self, config: Any) -> None:
        other = set(getattr(config, "layer_types", None) or ()) - _KINDS
        if getattr(self.network, "_is_stateful", False) or other:
            detail = f" (layers of kind {', '.join(sorted(other))})" if other else ""
            raise StructgenError(
                f"{self._name} keeps a recurrent state{detail}, which the engine does not "
                "support; use a model whose layers are all attention layers"
            )

    def _refusal(self, reason: str) -> StructgenError:
        first = (reason.strip().splitlines() or ["it failed"])[0]
        return StructgenError(
            f"{self._name} cannot be served: {first}; the engine needs an architecture that "
            "attends through transformers' AttentionInterface"
        )
