"""The table itself: text, symbols, errors, identity."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from structgen.errors import StructgenError
from structgen.vocabulary import Vocabulary

pieces = st.lists(st.one_of(st.none(), st.binary(max_size=6)), min_size=1, max_size=40)


@given(pieces, st.data())
def test_table_says_what_it_was_given(token_bytes, data):
    eos = data.draw(st.integers(0, len(token_bytes) - 1))
    vocab = Vocabulary(token_bytes, eos_token_ids=[eos])
    assert len(vocab) == len(token_bytes)
    assert vocab.data.dtype == np.uint8 and vocab.offsets.dtype == np.int32
    assert vocab.offsets[0] == 0 and vocab.offsets[-1] == len(vocab.data)
    for i, piece in enumerate(token_bytes):
        expected = None if i == eos or not piece else piece
        assert vocab.token_bytes(i) == expected
        stored = vocab.data[vocab.offsets[i] : vocab.offsets[i + 1]].tobytes()
        assert stored == (expected or b"")


def test_byte_vocabulary():
    vocab = Vocabulary.byte_vocabulary()
    assert len(vocab) == 257
    assert [vocab.token_bytes(i) for i in range(256)] == [bytes([i]) for i in range(256)]
    assert vocab.token_bytes(256) is None
    assert vocab.eos_token_ids == (256,)
    assert vocab.special_tokens == {"<eos>": 256}


def test_named_ids_are_symbols_whatever_their_bytes():
    vocab = Vocabulary([b"a", b"<call>", b"</s>"], eos_token_ids=[2], special_tokens={"<call>": 1})
    assert [vocab.token_bytes(i) for i in range(3)] == [b"a", None, None]


def test_equal_bytes_keep_their_ids():
    vocab = Vocabulary([b"A", b"A", None], eos_token_ids=[2])
    assert vocab.token_bytes(0) == vocab.token_bytes(1) == b"A"


def test_eos_ids_keep_order_without_repeats():
    assert Vocabulary([b"a"] * 4, eos_token_ids=[3, 1, 3]).eos_token_ids == (3, 1)


def test_without_an_end_is_an_error_that_says_what_to_pass():
    with pytest.raises(StructgenError, match="eos_token_ids"):
        Vocabulary([b"a"], eos_token_ids=[])


@pytest.mark.parametrize("bad", [-1, 3])
def test_ids_out_of_range_are_errors(bad):
    with pytest.raises(StructgenError, match=f"id {bad} is outside"):
        Vocabulary([b"a", b"b", None], eos_token_ids=[bad])
    with pytest.raises(StructgenError, match="'<x>'"):
        Vocabulary([b"a", b"b", None], eos_token_ids=[2], special_tokens={"<x>": bad})
    with pytest.raises(IndexError):
        Vocabulary([b"a", b"b", None], eos_token_ids=[2]).token_bytes(bad)


@pytest.mark.parametrize("piece", ["a", 5, [97], 0.5])
def test_tokens_are_bytes(piece):
    with pytest.raises(StructgenError, match="token 1 is bytes or None"):
        Vocabulary([b"a", piece, None], eos_token_ids=[2])
    assert Vocabulary([b"a", bytearray(b"b"), None], eos_token_ids=[2]).token_bytes(1) == b"b"


@pytest.mark.parametrize("bad", ["2", 2.0, None])
def test_ids_are_whole_numbers(bad):
    with pytest.raises(StructgenError, match="eos_token_ids is a whole number"):
        Vocabulary([b"a", None, None], eos_token_ids=[bad])
    with pytest.raises(StructgenError, match="<x>' is a whole number"):
        Vocabulary([b"a", None, None], eos_token_ids=[2], special_tokens={"<x>": bad})


def test_fingerprint_covers_everything_that_matters():
    base = Vocabulary([b"ab", b"c", None, None], eos_token_ids=[2], special_tokens={"<x>": 3})
    same = Vocabulary([b"ab", b"c", b"", None], eos_token_ids=[2], special_tokens={"<x>": 3})
    others = [
        Vocabulary([b"a", b"bc", None, None], eos_token_ids=[2], special_tokens={"<x>": 3}),
        Vocabulary([b"ab", b"d", None, None], eos_token_ids=[2], special_tokens={"<x>": 3}),
        Vocabulary([b"ab", b"c", None, None], eos_token_ids=[2, 3], special_tokens={"<x>": 3}),
        Vocabulary([b"ab", b"c", None, None], eos_token_ids=[2], special_tokens={"<y>": 3}),
        Vocabulary([b"ab", b"c", None, None, None], eos_token_ids=[2], special_tokens={"<x>": 3}),
    ]
    assert len(base.fingerprint) == 64
    assert base == same and hash(base) == hash(same)
    assert len({v.fingerprint for v in [base, *others]}) == 6
    assert base != "something else"


def test_survives_pickling():
    vocab = Vocabulary.byte_vocabulary()
    assert pickle.loads(pickle.dumps(vocab)) == vocab


def test_repr_is_short():
    assert repr(Vocabulary.byte_vocabulary()) == (
        "Vocabulary(257 ids, 256 bytes, eos [256], 1 special tokens)"
    )
