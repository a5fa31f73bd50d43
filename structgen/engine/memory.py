"""How many pages there is room for."""

from __future__ import annotations

import torch

from structgen.engine.attention import Span, pack
from structgen.engine.config import EngineConfig
from structgen.engine.models.base import Model
from structgen.engine.storage import KVStorage
from structgen.errors import StructgenError

CPU_BYTES = 1 << 30


def count_pages(model: Model, config: EngineConfig, context: int) -> int:
    """Pages of keys and values, page 0 counted.

    Args:
        context: the longest text, in tokens.

    Raises:
        StructgenError: there is no room for a single text of a page.
    """
    size = config.page_size
    page = KVStorage.page_bytes(model.layers, size, model.dtype)
    if config.kv_tokens is not None:
        return 1 + max(1, config.kv_tokens // size)
    wanted = config.max_batch_size * -(-context // size)
    if model.device.type != "cuda":
        return 1 + max(1, min(wanted, CPU_BYTES // page))
    _warm_up(model, config)
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info(model.device)
    n = min(1 + wanted, int(free * config.memory_fraction) // page)
    if n < 2:
        raise StructgenError(
            f"the model leaves {free >> 20} MiB of the GPU's memory, and a page of {size} keys and "
            f"values takes {page >> 10} KiB"
        )
    return n


@torch.inference_mode()
def _warm_up(model: Model, config: EngineConfig) -> None:
    """The largest prompt that a step computes, so that what it needs is not counted as free."""
    size, n = config.page_size, config.max_step_tokens
    pages = -(-n // size)
    storage = KVStorage(model.layers, 1 + pages, size, dtype=model.dtype, device=model.device)
    span = Span([0] * n, 0, list(range(1, 1 + pages)))
    tokens, batch = pack([span], storage, model.device)
    rows = torch.zeros(min(config.max_batch_size, n), dtype=torch.int64, device=model.device)
    model.forward(tokens, batch, rows)
    torch.cuda.synchronize(model.device)
