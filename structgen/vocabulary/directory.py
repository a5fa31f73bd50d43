"""A vocabulary from a model's directory, by the ``tokenizers`` library alone.

transformers and torch take seconds to import; a ``tokenizer.json`` and the files beside it say the
same.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

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


def read_directory(path: str | Path) -> tuple[Vocabulary, Any] | None:
    """The vocabulary of a directory with a ``tokenizer.json``, and its ``tokenizers.Tokenizer``.

    None where the directory has no such file, or does not say which token ends the output.

    Raises:
        StructgenError: the tokenizer does not determine the bytes of its tokens.
    """
    from tokenizers import Tokenizer

    folder = Path(path)
    file = folder / "tokenizer.json"
    if not file.is_file():
        return None
    config = _read(folder / "tokenizer_config.json")
    # The class of some tokenizers makes its own tokenizer.json of the parts of this one.
    if config.get("tokenizer_class", "").startswith(("Llama", "T5", "XLM", "Bert")):
        return None
    try:
        fast = Tokenizer.from_file(str(file))
    except Exception:  # the library raises no narrower kind
        return None
    named = {**_read(folder / "special_tokens_map.json"), **config}
    roles = {role: text for role in _ROLES if (text := _text(named.get(role))) is not None}
    tokenizer = _Tokenizer(fast, roles)
    if tokenizer.eos_token_id is None:
        return None
    return Vocabulary.from_huggingface(tokenizer), fast


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
