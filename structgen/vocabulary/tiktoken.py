"""tiktoken encodings: a rank table from bytes to ids, and special tokens beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from structgen.errors import StructgenError


class Reading(NamedTuple):
    """What a tokenizer says: the arguments of :class:`structgen.vocabulary.Vocabulary`."""

    token_bytes: list[bytes | None]
    eos_token_ids: Sequence[int]
    special_tokens: dict[str, int]


def read_tiktoken(encoding: Any, eos_token_ids: Sequence[int] | None) -> Reading:
    """Read a ``tiktoken.Encoding`` or an object with the same tables.

    Raises:
        StructgenError: it has no ``<|endoftext|>`` and no ``eos_token_ids`` are passed.
    """
    # The public methods find the same one id at a time; the tables themselves have kept their names
    # since tiktoken's first release.
    ranks: Mapping[bytes, int] = encoding._mergeable_ranks
    special: dict[str, int] = dict(encoding._special_tokens)
    token_bytes: list[bytes | None] = [None] * (encoding.max_token_value + 1)
    for piece, token_id in ranks.items():
        token_bytes[token_id] = piece
    if eos_token_ids is None:
        if "<|endoftext|>" not in special:
            raise StructgenError(
                f"the tiktoken encoding {encoding.name!r} has no <|endoftext|>; pass "
                f"eos_token_ids=[...]; its special tokens are {sorted(special)[:8]}"
            )
        eos_token_ids = [special["<|endoftext|>"]]
    return Reading(token_bytes, eos_token_ids, special)
