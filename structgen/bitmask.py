"""Bitmasks over the vocabulary: int32 [batch, ceil(V / 32)], least significant bit first."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from structgen.errors import StructgenError, whole_number

if TYPE_CHECKING:
    import torch


def allocate_bitmask(batch: int, vocab_size: int) -> np.ndarray:
    """A bitmask that allows everything: int32 [batch, ceil(vocab_size / 32)], all ones.

    ``torch.from_numpy`` shares its memory with a tensor, which :meth:`Matcher.fill_bitmask` and
    :func:`apply_bitmask` take just as well.
    """
    if batch < 1 or vocab_size < 1:
        raise StructgenError(f"a bitmask needs batch and vocab_size >= 1: ({batch}, {vocab_size})")
    return np.full((batch, (vocab_size + 31) // 32), -1, np.int32)


# The torch tensor that was last asked for: a weak reference, its words, rows, address, row length.
_last: tuple[Any, int, int, int, int] = (lambda: None, 0, 0, 0, 0)


def _load_row_of_array(mask: np.ndarray, row: int, words: int) -> int:
    """The kernel's first call: generation without constraints does not import numba."""
    global _row_of_array
    from structgen.masks.decode import row_of_array

    _row_of_array = row_of_array
    return row_of_array(mask, row, words)


_row_of_array: Callable[[np.ndarray, int, int], int] = _load_row_of_array


def row_address(mask: Any, row: int, words: int) -> int:
    """The address of ``mask[row]``; checks what a wrong mask would turn into a stray write."""
    global _last
    if type(row) is not int:
        row = whole_number(row, "a row")
    if isinstance(mask, np.ndarray):
        try:
            address = _row_of_array(mask, row, words)
        except (TypeError, ValueError, OverflowError):
            # Another type than the one that is compiled for, such as a read-only array; a huge row.
            address = 0
        if address:
            return address
    elif hasattr(mask, "data_ptr"):
        found, last_words, rows, address, stride = _last
        # Shape and kind of a tensor stay, unless somebody gives it other memory.
        if not (found() is mask and last_words == words and mask.data_ptr() == address):
            rows = 0
            if (
                mask.dim() == 2
                and str(mask.dtype) == "torch.int32"
                and mask.device.type == "cpu"
                and mask.stride(1) == 1
                and mask.shape[1] == words
            ):
                rows, address, stride = mask.shape[0], mask.data_ptr(), mask.stride(0) * 4
                _last = (weakref.ref(mask), words, rows, address, stride)
        if 0 <= row < rows:
            return address + row * stride
    shape = tuple(getattr(mask, "shape", ()))
    raise StructgenError(
        f"row {row} of a mask of shape {shape}: expected a CPU int32 mask [batch, {words}], "
        "as allocate_bitmask(batch, len(vocab)) gives"
    )


def apply_bitmask(logits: torch.Tensor, mask: Any, indices: Any = None) -> None:
    """Set the logits of forbidden tokens to minus infinity, in place; on the CPU or a GPU.

    Args:
        logits: float [batch, width] or [width]; ids past the mask's last bit are forbidden, so
            padded logits are safe.
        mask: int32 [batch, words] bitmask, NumPy or torch, on any device.
        indices: the rows of ``logits`` to constrain, ``mask[i]`` for row ``indices[i]``; all rows
            in order if None.
    """
    import torch

    bits = torch.as_tensor(mask, device=logits.device)
    if bits.dim() == 1:
        bits = bits.unsqueeze(0)
    if bits.dtype != torch.int32:
        raise StructgenError(f"expected an int32 bitmask, got {bits.dtype}")
    rows = logits.unsqueeze(0) if logits.dim() == 1 else logits
    width = rows.shape[-1]
    if indices is None:
        if bits.shape[0] != rows.shape[0]:
            raise StructgenError(
                f"{bits.shape[0]} mask rows for {rows.shape[0]} logit rows; pass indices="
            )
    else:
        indices = torch.as_tensor(indices, device=logits.device, dtype=torch.long)
        if len(indices) > bits.shape[0]:
            raise StructgenError(f"{len(indices)} indices for {bits.shape[0]} mask rows")
        bits = bits[: len(indices)]
    shifts = torch.arange(32, device=logits.device, dtype=torch.int32)
    allowed = ((bits.unsqueeze(-1) >> shifts) & 1).bool().flatten(1)[:, :width]
    if allowed.shape[1] < width:
        missing = width - allowed.shape[1]
        allowed = torch.nn.functional.pad(allowed, (0, missing), value=False)
    if indices is None:
        rows.masked_fill_(~allowed, float("-inf"))
    else:
        rows[indices] = rows[indices].masked_fill(~allowed, float("-inf"))
