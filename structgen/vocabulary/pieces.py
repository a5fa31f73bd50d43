"""From a tokenizer's spelling of a token (its *piece*) to the bytes that the piece stands for.

A piece is not text. Byte-level BPE writes each byte as a printable character (``Ġthe`` is
`` the``); SentencePiece writes a space as U+2581 and bytes without a piece of their own as
``<0xE2>``; WordPiece marks the inside of a word with ``##``. Each reading below is a list of
*steps*, each a function from what is left of the piece to text or, at the end, to bytes; they
mirror the decoders of the ``tokenizers`` library, seen from one token in the middle of a text.

What a decoder does at the very start of a text only (dropping one leading space) is no property of
a token: there the space stays, as in every later position.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from structgen.errors import StructgenError

Step = Callable[[str], "str | bytes"]

SENTENCEPIECE_SPACE = "\u2581"


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's spelling of the 256 bytes: printable Latin-1 as itself, the rest from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in set(printable)]
    alphabet = {chr(b): b for b in printable}
    alphabet.update({chr(0x100 + n): b for n, b in enumerate(others)})
    return alphabet


# For str.translate: alphabet -> the Latin-1 character of the byte. Latin-1 characters outside the
# alphabet go to one that Latin-1 cannot encode, as all other characters are, and so are noticed.
_FROM_BYTE_ALPHABET = {c: 0x10FFFF for c in range(256)}
_FROM_BYTE_ALPHABET.update({ord(c): b for c, b in _byte_alphabet().items()})


def byte_level(piece: str) -> bytes:
    """GPT-2's byte alphabet, back to bytes; a piece with any other character is its text."""
    try:
        return piece.translate(_FROM_BYTE_ALPHABET).encode("latin-1")
    except UnicodeEncodeError:
        return _utf8(piece)


_BYTE_PIECE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


def byte_fallback(piece: str) -> str | bytes:
    """``<0x0A>`` is the byte 0x0A; any other piece is itself."""
    match = _BYTE_PIECE.fullmatch(piece)
    return bytes([int(match[1], 16)]) if match else piece


def replacing(old: str, new: str) -> Step:
    """Every ``old`` in the piece becomes ``new``."""
    return lambda piece: piece.replace(old, new)


# Llama, Mistral, Gemma and everything else that SentencePiece trained.
SENTENCEPIECE: list[Step] = [replacing(SENTENCEPIECE_SPACE, " "), byte_fallback]


def _utf8(text: str) -> bytes:
    # A lone surrogate is not text that UTF-8 can carry; such a piece is unusable.
    try:
        return text.encode()
    except UnicodeEncodeError:
        return b""


def read_piece(piece: str, steps: Sequence[Step]) -> bytes:
    """The bytes that ``piece`` stands for; empty where it stands for nothing."""
    for step in steps:
        result = step(piece)
        if isinstance(result, bytes):
            return result
        piece = result
    return _utf8(piece)


Config = dict[str, Any] | None  # a component of tokenizer.json: {"type": "ByteLevel", ...}


def _flatten(config: Config, children: str) -> Iterable[dict[str, Any]]:
    if config is None:
        return
    if config["type"] == "Sequence":
        for child in config[children]:
            yield from _flatten(child, children)
    else:
        yield config


def steps_of_decoder(decoder: dict[str, Any], *, bytes_as_pieces: bool) -> list[Step]:
    """The steps that a decoder of tokenizer.json takes with one token in the middle of a text.

    ``bytes_as_pieces``: the model falls back to byte pieces, whether the decoder knows it or not.

    Raises:
        StructgenError: the decoder changes text across tokens, so a token has no bytes of its own.
    """
    steps: list[Step] = []
    fused = False
    for part in _flatten(decoder, "decoders"):
        kind = part["type"]
        if kind == "Fuse":
            fused = True
        elif kind == "Strip":
            # After Fuse, it trims the start and end of the whole text: no property of a token.
            if not fused:
                steps.append(_stripping(part["content"], part["start"], part["stop"]))
        elif kind == "ByteFallback":
            steps.append(byte_fallback)
            bytes_as_pieces = False
        elif kind == "ByteLevel":
            steps.append(byte_level)
        elif kind == "Metaspace":
            steps.append(replacing(part["replacement"], " "))
        elif kind == "Replace" and "String" in part["pattern"]:
            steps.append(replacing(part["pattern"]["String"], part["content"]))
        elif kind == "WordPiece":
            steps.append(_word_piece(part["prefix"]))
        elif kind == "BPEDecoder":
            steps.append(replacing(part["suffix"], " "))
        else:
            raise StructgenError(
                f"the tokenizer's decoder {part} rewrites text across tokens, so its tokens have "
                "no bytes of their own; build Vocabulary(token_bytes, eos_token_ids=...) yourself"
            )
    return [*steps, byte_fallback] if bytes_as_pieces else steps


def steps_without_decoder(
    normalizer: Config, pre_tokenizer: Config, *, bytes_as_pieces: bool
) -> list[Step]:
    """Where tokenizer.json has no decoder: undo what the way in did to spaces and bytes.

    Raises:
        StructgenError: nothing on the way in says how pieces spell bytes.
    """
    steps: list[Step] = []
    for part in _flatten(pre_tokenizer, "pretokenizers"):
        if part["type"] == "ByteLevel":
            steps.append(byte_level)
        elif part["type"] == "Metaspace":
            steps.append(replacing(part["replacement"], " "))
    for part in _flatten(normalizer, "normalizers"):
        if part["type"] == "ByteLevel":
            steps.append(byte_level)
        elif part["type"] == "Replace" and part["pattern"].get("String") == " ":
            steps.append(replacing(part["content"], " "))
    if bytes_as_pieces:
        steps.append(byte_fallback)
    if not steps:
        raise StructgenError(
            "the tokenizer has no decoder, and neither its normalizer nor its pre-tokenizer says "
            "how its pieces spell bytes; set tokenizer.decoder (decoders.Fuse() if pieces are "
            "plain text), or build Vocabulary(token_bytes, eos_token_ids=...) yourself"
        )
    return steps


def _stripping(content: str, start: int, stop: int) -> Step:
    def strip(piece: str) -> str:
        left, right = 0, len(piece)
        while left < min(start, right) and piece[left] == content:
            left += 1
        while right > max(left, len(piece) - stop) and piece[right - 1] == content:
            right -= 1
        return piece[left:right]

    return strip


def _word_piece(prefix: str) -> Step:
    # A new word brings the space before it. The decoder's clean-up (no space before a full stop)
    # works across tokens and is not followed: the text is what the bytes say.
    def read(piece: str) -> str:
        return piece[len(prefix) :] if piece.startswith(prefix) else " " + piece

    return read
