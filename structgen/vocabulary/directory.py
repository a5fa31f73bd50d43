"""A vocabulary from a model's directory, by the ``tokenizers`` library alone.

transformers and torch take seconds to import; a ``tokenizer.json`` and the files beside it say the
same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from structgen import disk_cache
from structgen.vocabulary.vocabulary import Vocabulary

_ROLES = (
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
)


class _Tokenizer:
    """What :mod:`structgen.vocabulary.huggingface` asks of a transformers tokenizer."""

    def __init__(self, fast: Any, roles: dict[str, str]) -> None:
        self.backend_tokenizer = fast
        ids = {role: fast.token_to_id(text) for role, text in roles.items()}
        self.eos_token_id: int | None = ids.get("eos_token")
        known = [role for role, i in ids.items() if i is not None]
        self.all_special_tokens = [roles[role] for role in known]
        self.all_special_ids = [ids[role] for role in known]

    def __len__(self) -> int:
        return self.backend_tokenizer.get_vocab_size(with_added_tokens=True)


def read_directory(path: str | Path) -> tuple[Vocabulary, Callable[[], Any]] | None:
    """The vocabulary of a directory with a ``tokenizer.json``, and what loads its tokenizer.

    The vocabulary is kept on disk, as reading a large ``tokenizer.json`` takes a second. The other
    is a function that returns the ``tokenizers.Tokenizer``, loaded when it is first called.

    None where the directory has no such file, or does not say which token ends the output.

    Raises:
        StructgenError: the tokenizer does not determine the bytes of its tokens.
    """
    import tokenizers

    folder = Path(path)
    try:
        text = (folder / "tokenizer.json").read_bytes()
    except OSError:
        return None
    config = _read(folder / "tokenizer_config.json")
    # The class of some tokenizers makes its own tokenizer.json of the parts of this one.
    if config.get("tokenizer_class", "").startswith(("Llama", "T5", "XLM", "Bert")):
        return None
    named = {**_read(folder / "special_tokens_map.json"), **config}
    contents = ((role, _text(named.get(role))) for role in _ROLES)
    roles = {role: content for role, content in contents if content is not None}

    @cache
    def load() -> Any:
        return tokenizers.Tokenizer.from_str(text.decode())

    def read() -> Vocabulary:
        try:
            tokenizer = _Tokenizer(load(), roles)
        except Exception:  # the library raises no narrower kind
            raise _Undetermined from None
        if tokenizer.eos_token_id is None:
            raise _Undetermined
        return Vocabulary.from_huggingface(tokenizer)

    said = json.dumps([tokenizers.__version__, roles]).encode()
    key = hashlib.sha256(text).digest() + said
    try:
        arrays = disk_cache.load("vocabulary", key, lambda: read().to_arrays())
    except _Undetermined:
        return None
    return Vocabulary.from_arrays(*arrays), load


class _Undetermined(Exception):
    """The files do not say enough; transformers may know more."""


def _text(token: Any) -> str | None:
    """A special token as its file writes it: its content, or an object with it."""
    content = token.get("content") if isinstance(token, dict) else token
    return content if isinstance(content, str) else None


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
