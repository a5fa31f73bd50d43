"""Llama, Mistral, Qwen2 and Qwen3 over packed sequences: few launches, no padding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import torch
from torch.nn.functional import linear

from structgen.engine.models.base import AttentionBatch, LayerShape
from structgen.engine.models.linear import Linear, Projection, Quantization, QuantizedLinear
from structgen.engine.models.shape import LlamaShape
from structgen.kernels.embedding import embed
from structgen.kernels.rms_norm import rms_norm
from structgen.kernels.rotary import rotate_and_keep
from structgen.kernels.silu_mul import silu_mul

Norms = tuple[torch.Tensor, torch.Tensor, float]


class Source(Protocol):
    """Where the tensors of a model come from, by the names that transformers gives them."""

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]: ...

    def tensor(self, name: str) -> torch.Tensor:
        """On any device, of any float dtype. Asked for once; may be kept by the model."""
        ...


class _Layer(NamedTuple):
    input_norm: torch.Tensor
    qkv: Projection
    head_norms: Norms | None
    output: Projection
    mlp_norm: torch.Tensor
    gate_up: Projection
    down: Projection
    window: int | None


class LlamaModel:
    """A :class:`~structgen.engine.models.base.Model` of the family.

    Projections that read the same input are one matrix: queries, keys and values; gate and up.
    """

    def __init__(
        self,
        shape: LlamaShape,
        source: Source,
        table: torch.Tensor,
        dtype: torch.dtype,
        quantize: Quantization | None = None,
    ) -> None:
        """Take the tensors from ``source`` one by one: beside them one copy of the model exists.

        Args:
            shape: of which ``source`` has all tensors.
            source: see there.
            table: of rotations, fp32 [max_positions, head_dim], on the model's device.
            dtype: of weights and activations.
            quantize: keep the layers' projections, not the embeddings and the head, in 8 bits.
        """
        self.shape, self.dtype, self.device = shape, dtype, table.device
        self.vocab_size, self.max_positions = shape.vocab_size, shape.max_positions
        layer = LayerShape(shape.kv_heads, shape.head_dim, shape.head_dim)
        self.layers, self.heads = (layer,) * len(shape.windows), shape.heads
        self._table = table
        self._scale = shape.head_dim**-0.5
        loader = _Loader(source, dtype, self.device, quantize)
        self._embedding = loader.tensor("model.embed_tokens.weight")
        self._layers = [_layer(shape, loader, i) for i in range(len(shape.windows))]
        self._final_norm = loader.tensor("model.norm.weight")
        self._head = self._embedding
        if "lm_head.weight" in source.shapes:
            head = loader.tensor("lm_head.weight")
            # As in transformers: a checkpoint that has a head of its own is not tied.
            if not shape.tied or not torch.equal(head, self._embedding):
                self._head = head

    def forward(
        self, tokens: torch.Tensor, batch: AttentionBatch, rows: torch.Tensor | None
    ) -> torch.Tensor:
        """See :meth:`structgen.engine.models.base.Model.forward`."""
        eps = self.shape.eps
        residual = embed(tokens, self._embedding)
        # What the last layer computed and the residual does not contain yet.
        computed: torch.Tensor | None = None
        for index, layer in enumerate(self._layers):
            if computed is None:
                x = rms_norm(residual, layer.input_norm, eps)
            else:
                x = rms_norm(computed, layer.input_norm, eps, residual)
            keys, values = batch.cache(index)
            query = rotate_and_keep(
                layer.qkv(x),
                batch.positions,
                self._table,
                keys,
                values,
                batch.places,
                layer.head_norms,
            )
            found = batch.attend(index, query, scale=self._scale, window=layer.window)
            x = rms_norm(layer.output(found.flatten(1)), layer.mlp_norm, eps, residual)
            computed = layer.down(silu_mul(layer.gate_up(x)))
        assert computed is not None
        if rows is not None:
            computed, residual = computed[rows], residual[rows]
        return linear(rms_norm(computed, self._final_norm, eps, residual), self._head)


def _layer(shape: LlamaShape, loader: _Loader, index: int) -> _Layer:
    prefix = f"model.layers.{index}."
    attention, mlp = prefix + "self_attn.", prefix + "mlp."
    norms = None
    if shape.head_norms:
        query, key = (loader.tensor(f"{attention}{x}_norm.weight") for x in "qk")
        norms = (query, key, shape.eps)
    return _Layer(
        input_norm=loader.tensor(prefix + "input_layernorm.weight"),
        qkv=loader.projection([f"{attention}{x}_proj" for x in "qkv"], shape.qkv_bias),
        head_norms=norms,
        output=loader.projection([attention + "o_proj"], shape.output_bias),
        mlp_norm=loader.tensor(prefix + "post_attention_layernorm.weight"),
        gate_up=loader.projection([mlp + "gate_proj", mlp + "up_proj"], shape.mlp_bias),
        down=loader.projection([mlp + "down_proj"], shape.mlp_bias),
        window=shape.windows[index],
    )


class _Loader:
    """Puts parameters together from the tensors of a source."""

    def __init__(
        self,
        source: Source,
        dtype: torch.dtype,
        device: torch.device,
        quantize: Quantization | None,
    ) -> None:
        self._source, self._dtype, self._device = source, dtype, device
        self._quantize = quantize

    def tensor(self, name: str) -> torch.Tensor:
        """The source's own memory, where device and dtype are right already."""
        return self._source.tensor(name).to(self._device, self._dtype).contiguous()

    def projection(self, names: Sequence[str], bias: bool) -> Projection:
        """One matrix of the rows of several."""
        offset = self._stacked([f"{name}.bias" for name in names]) if bias else None
        weights = [f"{name}.weight" for name in names]
        if self._quantize is None:
            return Linear(self._stacked(weights), offset)
        rows, columns = self._size(weights)
        quantized = QuantizedLinear(rows, columns, offset, self._quantize, self._device)
        # Rounded to the model's dtype first, so that the weights are the unquantised model's.
        quantized.fill(self.tensor(name) for name in weights)
        return quantized

    def _stacked(self, names: Sequence[str]) -> torch.Tensor:
        if len(names) == 1:
            return self.tensor(names[0])
        out = torch.empty(self._size(names), dtype=self._dtype, device=self._device)
        parts = out.split([self._source.shapes[name][0] for name in names])
        for name, part in zip(names, parts, strict=True):
            part.copy_(self._source.tensor(name))
        return out

    def _size(self, names: Sequence[str]) -> tuple[int, ...]:
        shapes = [self._source.shapes[name] for name in names]
        return (sum(shape[0] for shape in shapes), *shapes[0][1:])
