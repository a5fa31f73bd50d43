"""Pages of a KV cache copied, as copy-on-write needs it."""

from __future__ import annotations

import torch

WORD = torch.complex128  # the widest element, 16 bytes: copies are bound by elements, not bytes


def copy_pages(caches: torch.Tensor, sources: torch.Tensor, targets: torch.Tensor) -> None:
    """Copy pages ``sources`` over pages ``targets`` in all layers.

    All sources are read before a target is written. Two index operations of torch do it: a page
    is contiguous, so nothing is left for a kernel of our own to gain. No host synchronisation.

    Args:
        caches: [layers, pages, page_size, kv_heads, dim], contiguous, changed in place.
        sources, targets: integers [n]; the targets are all different.
    """
    words = caches.flatten(2)
    if words.data_ptr() != caches.data_ptr():
        raise ValueError("caches must be contiguous in each page")
    if words.shape[2] * words.element_size() % WORD.itemsize == 0:
        words = words.view(WORD)
    words.index_copy_(1, targets.long(), words.index_select(1, sources.long()))
