"""``--tokenizer``: a vocabulary, and how it splits a text."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.resources import files
from typing import TYPE_CHECKING, Any, NamedTuple

from structgen.errors import StructgenError

if TYPE_CHECKING:
    from structgen.vocabulary import Vocabulary


class Tokenizer(NamedTuple):
    """``encode`` gives the ids of a text, without tokens that a model would want around it."""

    name: str
    vocabulary: Vocabulary
    encode: Callable[[str], list[int]]


def load(source: str | None) -> Tokenizer:
    """The tokenizer of a directory or hub id; None for the demonstration model's.

    A directory with a ``tokenizer.json`` is read without transformers, which takes long to import.

    Raises:
        StructgenError: it does not load.
    """
    from structgen.vocabulary.directory import read_directory

    name = source or "structgen-demo"
    path = os.fspath(str(files("structgen")) + "/assets/demo") if source is None else source
    found = read_directory(os.path.expanduser(path))
    if found is not None:
        vocabulary, fast = found
        return Tokenizer(
            name, vocabulary, lambda text: fast().encode(text, add_special_tokens=False).ids
        )
    from structgen.engine.loading import load_tokenizer
    from structgen.vocabulary import Vocabulary

    slow = load_tokenizer(source)
    return Tokenizer(name, Vocabulary.from_huggingface(slow), lambda text: _encode(slow, text))


def _encode(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer.encode(text, add_special_tokens=False))


def split(tokenizer: Tokenizer, text: str) -> list[int]:
    """The ids that spell ``text``, as the tokenizer splits it.

    Where it would change the text (a normalizer, a space in front) the longest tokens are taken.

    Raises:
        StructgenError: no tokens spell the text.
    """
    vocabulary = tokenizer.vocabulary
    special = {i: name.encode() for name, i in vocabulary.special_tokens.items()}
    data = text.encode("utf-8", "surrogateescape")
    try:
        ids = tokenizer.encode(text)
        spelled = b"".join(vocabulary.token_bytes(i) or special.get(i, b"") for i in ids)
    except (UnicodeEncodeError, TypeError, IndexError):
        ids, spelled = [], b"\xff"
    return ids if spelled == data else _longest(vocabulary, data)


def _longest(vocabulary: Vocabulary, data: bytes) -> list[int]:
    by_bytes: dict[bytes, int] = {}
    for i in range(len(vocabulary)):
        piece = vocabulary.token_bytes(i)
        if piece:
            by_bytes.setdefault(piece, i)
    most = max(map(len, by_bytes), default=0)
    ids, at = [], 0
    while at < len(data):
        for size in range(min(most, len(data) - at), 0, -1):
            if (found := by_bytes.get(data[at : at + size])) is not None:
                ids.append(found)
                at += size
                break
        else:
            raise StructgenError(
                f"no token of the tokenizer spells byte {data[at]:#04x} of the text"
            )
    return ids
