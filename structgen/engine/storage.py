"""Keys and values of all layers, in pages on the device.

========= ================================================ =======================================
tensor    shape                                            what
========= ================================================ =======================================
keys      [layers, pages, page_size, kv_heads, key_dim]    of the layers of one shape
values    [layers, pages, page_size, kv_heads, value_dim]  the same
========= ================================================ =======================================

A token's *place* is ``page * page_size + offset``; page 0 takes what padding writes. Another layout
(quantised, on several tiers) is another class with these methods.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from structgen.engine.models.base import LayerShape
from structgen.kernels.copy_pages import copy_pages


class KVStorage:
    """One allocation for the keys and one for the values of all layers of one shape."""

    def __init__(
        self,
        layers: Sequence[LayerShape],
        n_pages: int,
        page_size: int,
        *,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        """
        Args:
            layers: the shape of each layer.
            n_pages: page 0 counted.
            page_size: in tokens.
        """
        self.n_pages, self.page_size = n_pages, page_size
        self._groups: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._place: list[tuple[int, int]] = [(0, 0)] * len(layers)  # group, index in it
        for shape in dict.fromkeys(layers):
            members = [i for i, layer in enumerate(layers) if layer == shape]
            for k, i in enumerate(members):
                self._place[i] = (len(self._groups), k)
            # Zeros: padding reads page 0, and what it reads must be a number.
            keys, values = (
                torch.zeros(
                    (len(members), n_pages, page_size, shape.kv_heads, dim),
                    dtype=dtype,
                    device=device,
                )
                for dim in (shape.key_dim, shape.value_dim)
            )
            self._groups.append((keys, values))

    @staticmethod
    def page_bytes(layers: Sequence[LayerShape], page_size: int, dtype: torch.dtype) -> int:
        """Bytes of one page in all layers."""
        numbers = sum(shape.kv_heads * (shape.key_dim + shape.value_dim) for shape in layers)
        return numbers * page_size * dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all pages."""
        return sum(keys.nbytes + values.nbytes for keys, values in self._groups)

    def cache(self, layer: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values of a layer, [pages, page_size, kv_heads, dim] each."""
        group, index = self._place[layer]
        keys, values = self._groups[group]
        return keys[index], values[index]

    def append(
        self, layer: int, key: torch.Tensor, value: torch.Tensor, places: torch.Tensor
    ) -> None:
        """Write keys and values [T, kv_heads, dim] of a layer to their places, int64 [T]."""
        for cache, new in zip(self.cache(layer), (key, value), strict=True):
            cache.flatten(0, 1).index_copy_(0, places, new.to(cache.dtype))

    def copy(self, sources: torch.Tensor, targets: torch.Tensor) -> None:
        """Copy whole pages in all layers; int64 [N] each, no page in both."""
        for tensors in self._groups:
            for tensor in tensors:
                copy_pages(tensor, sources, targets)
