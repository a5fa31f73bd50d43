"""Hugging Face tokenizers: fast ones by their tokenizer.json components, slow ones by their tables.

Text or symbol. The ids of the model's own vocabulary are text, but for its unknown token. Added
tokens are decided by these rules, the first that fits:

1. ``special=True``: a symbol.
2. The content looks like a control marker, ``<...>`` (``<|...|>`` included), ``[...]`` or
   ``|||...|||``, whatever its flag: a symbol. Qwen3's ``<tool_call>`` and ``<think>`` are such.
3. Anything else is text, such as the runs of spaces that GPT-NeoX and Phi add. Where what the
   tokenizer reads as this token and what it decodes the token to differ, the id is ambiguous (added
   one-character tokens that collide with the byte alphabet) and unusable: a symbol.

The cost of the second rule is small: text such as ``<table>`` is spelled with other tokens.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from structgen.errors import StructgenError
from structgen.vocabulary.pieces import (
    SENTENCEPIECE,
    Config,
    Step,
    byte_level,
    read_piece,
    steps_of_decoder,
    steps_without_decoder,
)
from structgen.vocabulary.tiktoken import Reading, read_tiktoken

_CONTROL_MARKER = re.compile(r"<[^<>]+>|\[[^\[\]]+\]|\|\|\|.+\|\|\|", re.DOTALL)


def read_huggingface(tokenizer: Any, eos_token_ids: Sequence[int] | None) -> Reading:
    """Read any tokenizer that :meth:`structgen.Vocabulary.from_huggingface` takes."""
    fast = getattr(tokenizer, "backend_tokenizer", tokenizer)
    if hasattr(fast, "get_added_tokens_decoder") and hasattr(fast, "decoder"):
        token_bytes, special = _read_fast(fast)
    else:
        token_bytes, special = _read_slow(tokenizer)

    _mark_named_specials(tokenizer, token_bytes, special)
    size = len(tokenizer) if hasattr(tokenizer, "__len__") else 0
    token_bytes += [None] * (size - len(token_bytes))
    return Reading(token_bytes, _eos(tokenizer, eos_token_ids), special)


def _read_fast(fast: Any) -> tuple[list[bytes | None], dict[str, int]]:
    """A ``tokenizers.Tokenizer``."""
    bytes_as_pieces = bool(getattr(fast.model, "byte_fallback", False))
    decoder = _config(fast.decoder)
    if decoder is not None:
        steps = steps_of_decoder(decoder, bytes_as_pieces=bytes_as_pieces)
    else:
        steps = steps_without_decoder(
            _config(fast.normalizer), _config(fast.pre_tokenizer), bytes_as_pieces=bytes_as_pieces
        )
    ids = fast.get_vocab(with_added_tokens=True)
    size = max(ids.values(), default=-1) + 1
    unknown: str | None = getattr(fast.model, "unk_token", None)
    unknown_id = None if unknown is None else ids.pop(unknown, None)
    token_bytes, special = _read_pieces(
        ((token_id, piece) for piece, token_id in ids.items()),
        size,
        steps,
        fast.get_added_tokens_decoder(),
    )
    if unknown is not None and unknown_id is not None:
        special.setdefault(unknown, unknown_id)
    return token_bytes, special


def _config(component: Any) -> Config:
    """The JSON of one component of a ``tokenizers.Tokenizer``, without its whole vocabulary."""
    return None if component is None else json.loads(component.__getstate__())


def _read_slow(tokenizer: Any) -> tuple[list[bytes | None], dict[str, int]]:
    """A tokenizer in Python: around SentencePiece, around tiktoken, or GPT-2's own."""
    added = getattr(tokenizer, "added_tokens_decoder", None)
    added = added if isinstance(added, dict) else {}
    for inner in _layers(tokenizer):
        if hasattr(inner, "is_control"):
            return _read_sentencepiece(tokenizer, inner, added)
        if hasattr(inner, "id_to_byte_piece") and hasattr(inner, "is_byte"):
            return _read_tekken(inner)
        if hasattr(inner, "_mergeable_ranks"):
            reading = read_tiktoken(inner, [])
            token_bytes, special = _read_pieces((), len(reading.token_bytes), [], added)
            for token_id, piece in enumerate(reading.token_bytes):
                if token_id not in added:
                    token_bytes[token_id] = piece
            return token_bytes, {**reading.special_tokens, **special}
    if hasattr(tokenizer, "byte_decoder") and hasattr(tokenizer, "convert_ids_to_tokens"):
        pieces = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
        texts = ((i, p) for i, p in enumerate(pieces) if p is not None)
        return _read_pieces(texts, len(pieces), [byte_level], added)
    raise StructgenError(
        f"{type(tokenizer).__name__} does not say which bytes its tokens stand for: it has no fast "
        "backend, SentencePiece model, tiktoken encoding or byte alphabet; load the fast version "
        "of the tokenizer, or build Vocabulary(token_bytes, eos_token_ids=...) yourself"
    )


def _layers(tokenizer: Any) -> Iterable[Any]:
    """The tokenizer and what it wraps, where the wrappers known today keep it."""
    yield tokenizer
    for name in ("sp_model", "tokenizer", "model", "encoder", "instruct_tokenizer", "_model"):
        inner = getattr(tokenizer, name, None)
        if inner is not None and not isinstance(inner, (str, dict)):
            yield from _layers(inner)


def _read_sentencepiece(
    tokenizer: Any, processor: Any, added: dict[int, Any]
) -> tuple[list[bytes | None], dict[str, int]]:
    own = [processor.id_to_piece(i) for i in range(processor.get_piece_size())]
    symbols = {
        piece
        for i, piece in enumerate(own)
        if processor.is_control(i) or processor.is_unknown(i) or processor.is_unused(i)
    }
    # A wrapper's ids may be shifted against the processor's: ask it where it can be asked.
    ask = getattr(tokenizer, "convert_ids_to_tokens", None)
    pieces = ask(list(range(len(tokenizer)))) if ask is not None else own
    texts = ((i, p) for i, p in enumerate(pieces) if p is not None and p not in symbols)
    token_bytes, special = _read_pieces(texts, len(pieces), SENTENCEPIECE, added)
    for token_id, piece in enumerate(pieces):
        if piece in symbols:
            special.setdefault(piece, token_id)
    return token_bytes, special


def _read_tekken(tekken: Any) -> tuple[list[bytes | None], dict[str, int]]:
    """Mistral's tiktoken-like format: the special tokens come first, then the ranks."""
    first = tekken.num_special_tokens
    token_bytes: list[bytes | None] = [None] * first
    token_bytes += [tekken.id_to_byte_piece(i) for i in range(first, tekken.n_words)]
    return token_bytes, {tekken.id_to_piece(i): i for i in range(first)}


def _read_pieces(
    pieces: Iterable[tuple[int, str]], size: int, steps: Sequence[Step], added: dict[int, Any]
) -> tuple[list[bytes | None], dict[str, int]]:
    """Bytes of every id: ``pieces`` by ``steps``, ``added`` tokens by this module's rules."""
    size = max(size, max(added, default=-1) + 1)
    token_bytes: list[bytes | None] = [None] * size
    for token_id, piece in pieces:
        token_bytes[token_id] = read_piece(piece, steps)

    special: dict[str, int] = {}
    for token_id, token in added.items():
        content = str(token.content)
        text = read_piece(content, steps)
        # Two ways in for one id: its content, found in the text, and the bytes that decoding gives.
        ambiguous = byte_level in steps and text != content.encode("utf-8", "surrogatepass")
        if token.special or ambiguous or _CONTROL_MARKER.fullmatch(content):
            token_bytes[token_id] = None
            special[content] = token_id
        else:
            token_bytes[token_id] = text
    return token_bytes, special


def _mark_named_specials(
    tokenizer: Any, token_bytes: list[bytes | None], special: dict[str, int]
) -> None:
    """The tokenizer's roles (bos, eos, unk, pad, ...) that its added tokens do not mention.

    They are symbols where they look like one; a role may also be lent to ordinary text (``pad_token
    = "!"`` is a common way out), and that stays text. The end of sequence is a symbol always.
    """
    known = set(special.values())
    roles = zip(
        getattr(tokenizer, "all_special_tokens", ()),
        getattr(tokenizer, "all_special_ids", ()),
        strict=True,
    )
    end = getattr(tokenizer, "eos_token_id", None)
    for content, token_id in roles:
        if token_id in known or token_id is None or not 0 <= token_id < len(token_bytes):
            continue
        if token_id == end or _CONTROL_MARKER.fullmatch(content):
            token_bytes[token_id] = None
            special[content] = token_id


def _eos(tokenizer: Any, extra: Sequence[int] | None) -> list[int]:
    own = getattr(tokenizer, "eos_token_id", None)
    if own is None and callable(getattr(tokenizer, "eos_id", None)):  # a SentencePieceProcessor
        own = tokenizer.eos_id()
    ids = [*(own if isinstance(own, (list, tuple)) else [own]), *(extra or ())]
    ids = [i for i in ids if i is not None and i >= 0]
    if not ids:
        raise StructgenError(
            f"{type(tokenizer).__name__} has no eos_token_id, so no output could ever end; pass "
            "eos_token_ids=[...] with the ids that end the model's output"
        )
    return ids
