"""From a loaded model to an engine that runs it: memory, sampler, runner."""

from __future__ import annotations

from typing import TYPE_CHECKING

from structgen.engine.config import EngineConfig
from structgen.engine.engine import Engine
from structgen.engine.loading import Loaded
from structgen.engine.memory import count_pages
from structgen.engine.runner import Runner
from structgen.engine.sampler import HostSampler, Sampler
from structgen.engine.storage import KVStorage
from structgen.engine.tokens import TokenTable
from structgen.errors import StructgenError

if TYPE_CHECKING:
    import torch

    from structgen.vocabulary import Vocabulary


def build_engine(
    loaded: Loaded, vocabulary: Vocabulary, config: EngineConfig, context: int
) -> tuple[Engine, int]:
    """The engine around a model, and the longest text it can hold, in tokens.

    Args:
        context: the longest text that is wanted.

    Raises:
        StructgenError: there is no memory for it.
    """
    model, table = loaded.model, TokenTable(vocabulary)
    try:
        sampler = _sampler(config.max_batch_size, vocabulary, table, model.device)
        n_pages = count_pages(model, config, context)
        context = min(context, (n_pages - 1) * config.page_size)
        storage = KVStorage(
            model.layers, n_pages, config.page_size, dtype=model.dtype, device=model.device
        )
    except (RuntimeError, MemoryError) as error:  # torch's for memory that cannot be had
        raise StructgenError(
            f"there is no memory for an engine of max_batch_size {config.max_batch_size}, "
            f"kv_tokens {config.kv_tokens}, page_size {config.page_size} and max_step_tokens "
            f"{config.max_step_tokens}: {str(error).splitlines()[0]:.200}"
        ) from error
    on_gpu = model.device.type == "cuda"
    ahead = on_gpu if config.ahead is None else bool(config.ahead)
    runner = Runner(model, sampler, storage, config, context)
    return Engine(runner, table, ahead=ahead), context


def _sampler(
    batch: int, vocabulary: Vocabulary, table: TokenTable, device: torch.device
) -> Sampler:
    if device.type != "cuda":
        return HostSampler(batch, table)
    from structgen.engine.device_sampler import DeviceSampler

    return DeviceSampler(batch, vocabulary, device)
