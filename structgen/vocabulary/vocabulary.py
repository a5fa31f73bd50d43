"""The vocabulary: which bytes every token id stands for, and which ids are symbols.

An id is *text* (it stands for one or more bytes of output) or a *symbol* (end of sequence, a
control token, an unused id). A symbol has no bytes: its spelling never counts as text, so a string
can never contain it; a grammar names it instead.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from structgen.errors import StructgenError, whole_number


class Vocabulary:
    """Exact bytes of every token id of a tokenizer. Immutable; equal where fingerprints are.

    Attributes:
        data: uint8 ``[total]``, the bytes of all ids one after the other. Not to be written to.
        offsets: int32 ``[len(self) + 1]``; id ``i`` is ``data[offsets[i] : offsets[i + 1]]``, and
            that is empty exactly where ``i`` is a symbol. Not to be written to.
        eos_token_ids: ids that end the output, in the order given; symbols, at least one.
        special_tokens: the symbols that have a name, by their content (``"<|im_end|>"``).
    """

    data: npt.NDArray[np.uint8]
    offsets: npt.NDArray[np.int32]
    eos_token_ids: tuple[int, ...]
    special_tokens: dict[str, int]

    def __init__(
        self,
        token_bytes: Sequence[bytes | None],
        *,
        eos_token_ids: Sequence[int],
        special_tokens: Mapping[str, int] | None = None,
    ) -> None:
        """Take ``token_bytes[i]`` as the bytes of id ``i``; ``None`` or ``b""`` is a symbol.

        Ids named in ``eos_token_ids`` and ``special_tokens`` are symbols whatever their bytes.

        Raises:
            StructgenError: there is no end-of-sequence id, an id is out of range, or a token is
                something else than bytes.
        """
        size = len(token_bytes)
        self.special_tokens = {
            str(name): whole_number(i, f"the id of special token {name!r}")
            for name, i in (special_tokens or {}).items()
        }
        ends = (whole_number(i, "an id of eos_token_ids") for i in eos_token_ids)
        self.eos_token_ids = tuple(dict.fromkeys(ends))
        if not self.eos_token_ids:
            raise StructgenError(
                "the vocabulary has no end-of-sequence token, so no output could ever end; "
                "pass eos_token_ids=[...] with the ids that end the model's output"
            )
        named = [("eos_token_ids", i) for i in self.eos_token_ids]
        named += [(f"special token {name!r}", i) for name, i in self.special_tokens.items()]
        pieces = [b"" if piece is None else piece for piece in token_bytes]
        for what, token_id in named:
            if not 0 <= token_id < size:
                raise StructgenError(
                    f"{what}: id {token_id} is outside the vocabulary of {size} ids"
                )
            pieces[token_id] = b""

        if {*map(type, pieces)} != {bytes}:
            for token_id, piece in enumerate(pieces):
                if not isinstance(piece, bytes | bytearray):
                    raise StructgenError(f"token {token_id} is bytes or None, not {piece!r:.40}")
        joined = b"".join(pieces)
        # A bytearray keeps the array writable: numba compiles read-only arrays as another type.
        self.data = np.frombuffer(bytearray(joined), dtype=np.uint8)
        self.offsets = np.zeros(size + 1, dtype=np.int32)
        np.cumsum(np.fromiter(map(len, pieces), np.int32, size), out=self.offsets[1:])
        self._joined = joined

    @classmethod
    def from_huggingface(
        cls, tokenizer: Any, *, eos_token_ids: Sequence[int] | None = None
    ) -> Vocabulary:
        """Read a Hugging Face tokenizer, fast or slow, or a raw ``tokenizers.Tokenizer``.

        ``eos_token_ids`` adds to the tokenizer's own ``eos_token_id``. How bytes are found, and
        which added tokens are symbols, is said in :mod:`structgen.vocabulary.huggingface`.

        Raises:
            StructgenError: the tokenizer does not determine the bytes of its tokens, or has no
                end-of-sequence token and none is passed.
        """
        from structgen.vocabulary.huggingface import read_huggingface

        return cls(**read_huggingface(tokenizer, eos_token_ids)._asdict())

    @classmethod
    def from_tiktoken(
        cls, encoding: Any, *, eos_token_ids: Sequence[int] | None = None
    ) -> Vocabulary:
        """Read a ``tiktoken.Encoding``; ``<|endoftext|>`` ends output unless ids are passed.

        Raises:
            StructgenError: there is no ``<|endoftext|>`` and no ``eos_token_ids``.
        """
        from structgen.vocabulary.tiktoken import read_tiktoken

        return cls(**read_tiktoken(encoding, eos_token_ids)._asdict())

    @classmethod
    def byte_vocabulary(cls) -> Vocabulary:
        """The 256 single bytes, id = byte, and the end of sequence as id 256."""
        pieces: list[bytes | None] = [bytes([b]) for b in range(256)]
        return cls([*pieces, None], eos_token_ids=[256], special_tokens={"<eos>": 256})

    def to_arrays(self) -> tuple[npt.NDArray[Any], ...]:
        """All that it says, for :meth:`from_arrays`: ``data``, ``offsets``, end ids, names."""
        names = json.dumps(self.special_tokens).encode()
        ids = np.array(self.eos_token_ids, np.int64)
        return self.data, self.offsets, ids, np.frombuffer(names, np.uint8)

    @classmethod
    def from_arrays(
        cls,
        data: npt.NDArray[np.uint8],
        offsets: npt.NDArray[np.int32],
        eos_token_ids: npt.NDArray[np.int64],
        names: npt.NDArray[np.uint8],
    ) -> Vocabulary:
        """The vocabulary that :meth:`to_arrays` was called on. The arrays are its own from now."""
        self = cls.__new__(cls)
        self.data, self.offsets = data, offsets
        self.eos_token_ids = tuple(eos_token_ids.tolist())
        self.special_tokens = json.loads(names.tobytes())
        self._joined = data.tobytes()
        return self

    def __len__(self) -> int:
        """Number of ids covered, symbols included: the highest id + 1.

        A model's logits may be wider (padding rows); those columns stand for nothing.
        """
        return len(self.offsets) - 1

    def token_bytes(self, token_id: int) -> bytes | None:
        """The bytes of an id; ``None`` for a symbol.

        Raises:
            IndexError: there is no such id.
        """
        if not 0 <= token_id < len(self):
            raise IndexError(f"token id {token_id} is outside the vocabulary of {len(self)} ids")
        start, end = self.offsets[token_id], self.offsets[token_id + 1]
        return self._joined[start:end] if start < end else None

    def token_id(self, text: bytes) -> int | None:
        """The lowest id that stands for exactly these bytes, or None."""
        lengths = np.diff(self.offsets)
        for i in np.flatnonzero(lengths == len(text)).tolist():
            if self.token_bytes(i) == text:
                return int(i)
        return None

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) over all that it says: bytes, offsets, end ids, special tokens."""
        digest = hashlib.sha256(b"structgen vocabulary 1\0")
        names = sorted(self.special_tokens.items())
        for part in (
            self.offsets.astype("<i4").tobytes(),
            self._joined,
            repr(self.eos_token_ids).encode(),
            repr(names).encode("utf-8", "backslashreplace"),
        ):
            digest.update(len(part).to_bytes(8, "little") + part)
        return digest.hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and self.fingerprint == other.fingerprint

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __repr__(self) -> str:
        return (
            f"Vocabulary({len(self)} ids, {len(self.data)} bytes, eos {list(self.eos_token_ids)}, "
            f"{len(self.special_tokens)} special tokens)"
        )
