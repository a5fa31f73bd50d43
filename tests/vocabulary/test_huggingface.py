"""Fast tokenizers built here: how decoders are read, and which added tokens are text."""

from __future__ import annotations

import pytest
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from structgen.errors import StructgenError
from structgen.vocabulary import Vocabulary

BYTES = sorted(pre_tokenizers.ByteLevel.alphabet())


def bpe(pieces, decoder, **model):
    vocab = {piece: i for i, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[], **model))
    if decoder is not None:
        tokenizer.decoder = decoder
    return tokenizer


def read(tokenizer, eos=0):
    vocab = Vocabulary.from_huggingface(tokenizer, eos_token_ids=[eos])
    return {p: vocab.token_bytes(i) for p, i in tokenizer.get_vocab().items() if i != eos}


def test_byte_level_decoder_and_pre_tokenizer_agree():
    by_decoder = bpe(["</s>", *BYTES], decoders.ByteLevel())
    by_pre_tokenizer = bpe(["</s>", *BYTES], None)
    by_pre_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    by_normalizer = bpe(["</s>", *BYTES], None)
    by_normalizer.normalizer = normalizers.ByteLevel()
    assert read(by_decoder) == read(by_pre_tokenizer) == read(by_normalizer)
    assert sorted(read(by_decoder).values()) == [bytes([b]) for b in range(256)]


def test_a_piece_outside_the_byte_alphabet_is_its_text():
    pieces = ["</s>", "Ġa", "a b", "日本", "\x80"]
    tokenizer = bpe(pieces, decoders.ByteLevel())
    assert read(tokenizer) == {
        "Ġa": b" a",
        "a b": b"a b",
        "日本": "日本".encode(),
        "\x80": "\x80".encode(),
    }
    for i, piece in enumerate(pieces[1:], 1):
        assert read(tokenizer)[piece].decode() == tokenizer.decode([i])


LLAMA = decoders.Sequence(
    [
        decoders.Replace("▁", " "),
        decoders.ByteFallback(),
        decoders.Fuse(),
        decoders.Strip(" ", 1, 0),
    ]
)
PIECES = ["</s>", "▁the", "x▁", "▁▁", "<0x0A>", "<0xfF>", "<0xGG>", "<0x0A>>"]
TEXTS = [b" the", b"x ", b"  ", b"\n", b"\xff", b"<0xGG>", b"<0x0A>>"]


@pytest.mark.parametrize(
    "decoder",
    [
        LLAMA,
        decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace("▁", "always")]),
        decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse()]),  # bytes by the model
    ],
)
def test_sentencepiece_decoders(decoder):
    tokenizer = bpe(PIECES, decoder, byte_fallback=True)
    assert read(tokenizer) == dict(zip(PIECES[1:], TEXTS, strict=True))


def test_sentencepiece_without_a_decoder():
    by_normalizer = bpe(PIECES, None, byte_fallback=True)
    by_normalizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    by_pre_tokenizer = bpe(PIECES, None, byte_fallback=True)
    by_pre_tokenizer.pre_tokenizer = pre_tokenizers.Metaspace("▁")
    expected = dict(zip(PIECES[1:], TEXTS, strict=True))
    assert read(by_normalizer) == read(by_pre_tokenizer) == expected


def test_byte_pieces_are_text_where_nothing_falls_back_to_bytes():
    assert read(bpe(["</s>", "<0x0A>"], decoders.Metaspace("▁"))) == {"<0x0A>": b"<0x0A>"}


def test_strip_before_fuse_works_on_each_token():
    tokenizer = bpe(["</s>", "  a ", " "], decoders.Strip(" ", 1, 1))
    assert read(tokenizer) == {"  a ": b" a", " ": None}
    assert tokenizer.decode([1]) == " a"


def test_word_piece_brings_the_space_before_a_word():
    vocab = {"[UNK]": 0, "un": 1, "##able": 2, "!": 3}
    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    tokenizer.decoder = decoders.WordPiece("##", cleanup=False)
    reading = Vocabulary.from_huggingface(tokenizer, eos_token_ids=[0])
    texts = [reading.token_bytes(i) for i in range(4)]
    assert texts == [None, b" un", b"able", b" !"]
    assert b"".join(texts[1:]).decode() == " " + tokenizer.decode([1, 2, 3])
    assert reading.special_tokens == {"[UNK]": 0}


def test_bpe_suffix_brings_the_space_after_a_word():
    tokenizer = bpe(["</s>", "low", "er</w>"], decoders.BPEDecoder("</w>"))
    assert read(tokenizer) == {"low": b"low", "er</w>": b"er "}


@pytest.mark.parametrize(
    "decoder", [decoders.CTC(), decoders.Sequence([decoders.Replace(Regex("a+"), "a")])]
)
def test_decoders_that_work_across_tokens_are_refused(decoder):
    with pytest.raises(StructgenError, match="across tokens"):
        read(bpe(["</s>", "a"], decoder))


def test_no_decoder_and_nothing_to_tell_from_is_refused():
    with pytest.raises(StructgenError, match="no decoder"):
        read(bpe(["</s>", "a"], None))
    assert read(bpe(["</s>", "a"], decoders.Fuse())) == {"a": b"a"}


def added(*tokens):
    tokenizer = bpe(["</s>", *BYTES], decoders.ByteLevel())
    for token in tokens:
        if token.special:
            tokenizer.add_special_tokens([token])
        else:
            tokenizer.add_tokens([token])
    return tokenizer


def test_special_added_tokens_are_symbols():
    tokenizer = added(AddedToken("plain", special=True), AddedToken(" x", special=True))
    vocab = Vocabulary.from_huggingface(tokenizer, eos_token_ids=[0])
    assert vocab.special_tokens == {"plain": 257, " x": 258}
    assert vocab.token_bytes(257) is vocab.token_bytes(258) is None


@pytest.mark.parametrize(
    "marker",
    ["<think>", "</tool_call>", "<|user|>", "<｜User｜>", "[INST]", "|||X|||", "<a b>"],
)
def test_markers_are_symbols_whatever_their_flag(marker):
    assert read(added(AddedToken(marker, special=False)))[marker] is None


@pytest.mark.parametrize("text", ["  ", " " * 24, "\n\n", "\t", "hello", "<>", "[]", "a<b>"])
def test_other_added_tokens_are_text(text):
    tokenizer = added(AddedToken(text, special=False, normalized=False))
    assert read(tokenizer)[text] == text.encode()
    assert tokenizer.decode([257]) == text


def test_an_added_letter_of_the_byte_alphabet_is_ambiguous():
    # Read as the text "õ", decoded as the byte 0xF5: neither is safe to promise.
    tokenizer = bpe(["</s>", "a"], decoders.ByteLevel())
    tokenizer.add_tokens([AddedToken("õ", special=False)])
    vocab = Vocabulary.from_huggingface(tokenizer, eos_token_ids=[0])
    assert vocab.token_bytes(2) is None and vocab.special_tokens == {"õ": 2}


def test_added_spaces_follow_the_sentencepiece_marker():
    tokenizer = bpe(["</s>", "a"], LLAMA, byte_fallback=True)
    tokenizer.add_tokens([AddedToken("▁▁▁", special=False, normalized=False)])
    assert read(tokenizer)["▁▁▁"] == b"   "


def test_holes_are_symbols():
    tokenizer = Tokenizer(models.BPE(vocab={"</s>": 0, "a": 1, "b": 5}, merges=[]))
    tokenizer.decoder = decoders.ByteLevel()
    vocab = Vocabulary.from_huggingface(tokenizer, eos_token_ids=[0])
    assert [vocab.token_bytes(i) for i in range(6)] == [None, b"a", None, None, None, b"b"]
    assert vocab.special_tokens == {}


def wrapped(**roles):
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe(["</s>", "<s>", *BYTES], decoders.ByteLevel()), **roles
    )


def test_end_ids_add_to_the_tokenizers_own():
    tokenizer = wrapped(eos_token="</s>")
    assert Vocabulary.from_huggingface(tokenizer).eos_token_ids == (0,)
    more = Vocabulary.from_huggingface(tokenizer, eos_token_ids=[1, 0])
    assert more.eos_token_ids == (0, 1)
    assert more.token_bytes(1) is None


def test_no_end_is_an_error_that_says_what_to_pass():
    with pytest.raises(StructgenError, match="eos_token_ids"):
        Vocabulary.from_huggingface(wrapped())
    assert Vocabulary.from_huggingface(wrapped(), eos_token_ids=[0]).eos_token_ids == (0,)
    with pytest.raises(StructgenError, match="outside the vocabulary"):
        Vocabulary.from_huggingface(wrapped(), eos_token_ids=[999])


def test_a_role_lent_to_ordinary_text_leaves_it_text():
    tokenizer = wrapped(eos_token="</s>")
    tokenizer.pad_token = "!"
    vocab = Vocabulary.from_huggingface(tokenizer)
    assert vocab.token_bytes(tokenizer.convert_tokens_to_ids("!")) == b"!"


def test_raw_and_wrapped_read_the_same():
    tokenizer = wrapped(eos_token="</s>")
    raw = Vocabulary.from_huggingface(tokenizer.backend_tokenizer, eos_token_ids=[0])
    assert raw == Vocabulary.from_huggingface(tokenizer)


def test_something_else_is_refused_by_name():
    with pytest.raises(StructgenError, match="SimpleNamespace does not say"):
        from types import SimpleNamespace

        Vocabulary.from_huggingface(SimpleNamespace(eos_token_id=0))
