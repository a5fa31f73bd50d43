"""What the engine knows about tokens: their bytes, and which of them end a text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from structgen.vocabulary import Vocabulary


class TokenTable:
    """Bytes of every token and the set of end-of-text tokens.

    Attributes:
        size: tokens in the vocabulary, V.
        end_ids: tokens that end a text.
        everything: the mask row that allows all tokens; not to be written to.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.size = len(vocabulary)
        self.end_ids = frozenset(vocabulary.eos_token_ids)
        self._bytes = vocabulary.token_bytes
        ones = self.allocate_mask(fill=-1)
        # The last word has bits past the vocabulary; models may have outputs there.
        self.everything = _mask_without(ones, range(self.size, 32 * ones.shape[1]))
        self._not_end = _mask_without(self.everything, self.end_ids)

    def bytes_of(self, token: int) -> bytes:
        """What ``token`` adds to the text: nothing for special tokens and ids past the end."""
        return (self._bytes(token) or b"") if token < self.size else b""

    def allocate_mask(self, *, fill: int = 0) -> torch.Tensor:
        """An int32 mask row [1, ceil(V / 32)] on the CPU, every word set to ``fill``."""
        return torch.full((1, (self.size + 31) // 32), fill, dtype=torch.int32)

    def only_end(self, mask: torch.Tensor) -> bool:
        """Whether ``mask`` allows end-of-text tokens and no others."""
        return not bool((mask & self._not_end).any())


def _mask_without(mask: torch.Tensor, tokens: Iterable[int]) -> torch.Tensor:
    words = mask.clone().numpy().view("uint32")
    for token in tokens:
        words[0, token // 32] &= ~np.uint32(1 << (token % 32))
    return torch.from_numpy(words.view("int32"))
