"""Projections: dense ones, and ones whose weights are kept in eight bits."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

import torch
from torch.nn.functional import linear

from structgen.kernels.quantized_linear import quantized_linear

Quantization = Literal["int8", "fp8"]
Projection = Callable[[torch.Tensor], torch.Tensor]

# dtype of the weights, and the largest absolute value that a row is scaled to.
FORMATS = {"int8": (torch.int8, 127.0), "fp8": (torch.float8_e4m3fn, 448.0)}


class Linear:
    """``x W^T + b``; ``weight`` [N, K], ``bias`` [N] or None."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        self.weight, self.bias = weight, bias

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return linear(x, self.weight, self.bias)


class QuantizedLinear:
    """The same with the weights in int8 or fp8 (e4m3), and a scale for each row of them.

    Weights are rounded to nearest, symmetrically; activations keep their dtype.
    """

    def __init__(self, rows: int, columns: int, bias: torch.Tensor | None, kind: Quantization,
                 device: torch.device) -> None:  # fmt: skip
        dtype, self._most = FORMATS[kind]
        self.weight = torch.empty(rows, columns, dtype=dtype, device=device)
        self.scale = torch.empty(rows, dtype=torch.float32, device=device)
        self.bias = bias

    def fill(self, parts: Iterable[torch.Tensor]) -> None:
        """Quantise the weights, which come as blocks of rows, one after another."""
        start = 0
        for part in parts:
            rows = slice(start, start + len(part))
            wide = part.to(self.weight.device, torch.float32)
            scale = (wide.abs().amax(1) / self._most).clamp_min(torch.finfo(torch.float32).tiny)
            scaled = wide / scale[:, None]
            if self.weight.dtype == torch.int8:
                scaled = scaled.round_()
            self.weight[rows] = scaled.to(self.weight.dtype)
            self.scale[rows] = scale
            start += len(part)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        out = quantized_linear(x, self.weight, self.scale)
        return out if self.bias is None else out.add_(self.bias)
