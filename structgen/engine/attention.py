"""What one forward knows of its sequences: where their tokens stand, and where their keys are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import torch

from structgen.engine.storage import KVStorage
from structgen.engine.transfer import send
from structgen.kernels.paged_attention import paged_attention
from structgen.kernels.paged_decode import DecodeWorkspace


@dataclass(slots=True)
class AttentionBatch:
    """Implements :class:`structgen.engine.models.base.AttentionBatch` over pages.

    Attributes:
        storage: of keys and values.
        positions: int64 [T], of the packed tokens in their sequences.
        places: int64 [T], where the key and value of each token are kept.
        page_table: int32 [B, P], the pages of each sequence.
        query_starts: int32 [B + 1], sequence b has tokens ``query_starts[b]`` up to the next.
        context_lens: int32 [B], keys of each sequence, its tokens here counted; 0: padding.
        max_query: the most tokens of a sequence; 1 takes the kernel of decoding.
        workspace: of that kernel.
    """

    storage: KVStorage
    positions: torch.Tensor
    places: torch.Tensor
    page_table: torch.Tensor
    query_starts: torch.Tensor
    context_lens: torch.Tensor
    max_query: int
    workspace: DecodeWorkspace | None = None

    def cache(self, layer: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values of a layer, [pages, page_size, kv_heads, dim] each."""
        return self.storage.cache(layer)

    def write(self, layer: int, key: torch.Tensor, value: torch.Tensor) -> None:
        """Keep keys and values [T, kv_heads, dim] of the tokens."""
        self.storage.append(layer, key, value, self.places)

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
        """Attention of the tokens over all keys before them: [T, H, D] -> [T, H, Dv]."""
        keys, values = self.storage.cache(layer)
        return paged_attention(
            query, keys, values, self.page_table, self.query_starts, self.context_lens,
            max_query=self.max_query, scale=scale, window=window or 0, softcap=softcap or 0.0,
            sinks=sinks, workspace=self.workspace,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Span:
    """Some tokens of one sequence, with its pages."""

    tokens: Sequence[int]
    start: int  # position of the first of them
    pages: Sequence[int]


def pack(
    spans: Sequence[Span], storage: KVStorage, device: torch.device
) -> tuple[torch.Tensor, AttentionBatch]:
    """The tokens of some spans, int64 [T], and the batch in which they are packed."""
    size = storage.page_size
    lengths = [len(s.tokens) for s in spans]
    table = np.zeros((len(spans), max(len(s.pages) for s in spans)), np.int32)
    positions, places = [], []
    for row, s, length in zip(table, spans, lengths, strict=True):
        row[: len(s.pages)] = s.pages
        position = np.arange(s.start, s.start + length)
        positions.append(position)
        places.append(row[position // size] * np.int64(size) + position % size)
    batch = AttentionBatch(
        storage,
        send(np.concatenate(positions), torch.int64, device),
        send(np.concatenate(places), torch.int64, device),
        send(table, torch.int32, device),
        send([0, *accumulate(lengths)], torch.int32, device),
        send([s.start + n for s, n in zip(spans, lengths, strict=True)], torch.int32, device),
        max_query=max(lengths),
    )
    tokens = np.concatenate([np.asarray(s.tokens, np.int64) for s in spans])
    return send(tokens, torch.int64, device), batch
