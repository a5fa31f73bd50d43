"""Tokenizers in Python: SentencePiece trained here, tiktoken from ranks, GPT-2's old form."""

from __future__ import annotations

import random
from types import SimpleNamespace

import pytest
from tokenizers import pre_tokenizers

from structgen.errors import StructgenError
from structgen.vocabulary import Vocabulary

WORDS = 'the cat sat on the mat and a dog ate {"key": 12} ünïcödé naïve straße'.split()


def tiny_encoding(special):
    tiktoken = pytest.importorskip("tiktoken")
    ranks = {bytes([b]): b for b in range(256)}
    ranks |= {b" t": 256, b"he": 257, b" the": 258, b"\xc3\xbc": 259}
    return tiktoken.Encoding(
        "tiny", pat_str=r"\s?\w+|(?s:.)", mergeable_ranks=ranks, special_tokens=special
    )


def test_tiktoken():
    encoding = tiny_encoding({"<|endoftext|>": 262, "<|call|>": 264})
    vocab = Vocabulary.from_tiktoken(encoding)
    assert len(vocab) == encoding.n_vocab == 265
    assert vocab.eos_token_ids == (262,)
    assert vocab.special_tokens == {"<|endoftext|>": 262, "<|call|>": 264}
    for i in range(260):
        assert vocab.token_bytes(i) == encoding.decode_single_token_bytes(i)
    assert [vocab.token_bytes(i) for i in range(260, 265)] == [None] * 5
    text = "say the ünï the\n\0"
    assert b"".join(vocab.token_bytes(i) for i in encoding.encode(text)) == text.encode()


def test_tiktoken_needs_an_end():
    encoding = tiny_encoding({"<|stop|>": 300})
    with pytest.raises(StructgenError, match=r"eos_token_ids.*<\|stop\|>"):
        Vocabulary.from_tiktoken(encoding)
    assert Vocabulary.from_tiktoken(encoding, eos_token_ids=[300]).eos_token_ids == (300,)


def test_tiktoken_inside_a_python_tokenizer():
    encoding = tiny_encoding({"<|endoftext|>": 262})

    class Wrapper:
        eos_token_id = 262
        tokenizer = encoding
        added_tokens_decoder = {
            265: SimpleNamespace(content="<|x|>", special=True),
            266: SimpleNamespace(content="    ", special=False),
        }

        def __len__(self):
            return 270

    vocab = Vocabulary.from_huggingface(Wrapper())
    assert len(vocab) == 270
    assert vocab.token_bytes(258) == b" the" and vocab.token_bytes(266) == b"    "
    assert [vocab.token_bytes(i) for i in (262, 263, 265, 267, 269)] == [None] * 5
    assert vocab.special_tokens == {"<|endoftext|>": 262, "<|x|>": 265}


@pytest.fixture(scope="module", params=["bpe", "unigram"])
def model_file(request, tmp_path_factory):
    sentencepiece = pytest.importorskip("sentencepiece")
    folder = tmp_path_factory.mktemp("sentencepiece")
    rng = random.Random(0)
    lines = [" ".join(rng.choices(WORDS, k=12)) for _ in range(400)]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_prefix=str(folder / "tiny"),
        model_type=request.param,
        vocab_size=340,
        hard_vocab_limit=False,
        byte_fallback=True,
        control_symbols=["<ctl>"],
        minloglevel=2,
    )
    return folder / "tiny.model"


def check_sentencepiece(vocab, processor, encode):
    # Round trips through the processor's own encoder, which adds one space in front.
    for text in ["the cat", "naïve straße 12", "日本 🙂", 'a{"key"', "x"]:
        spelled = b"".join(vocab.token_bytes(i) for i in encode(text))
        assert spelled == (" " + text).encode()
    anchor = processor.piece_to_id("▁a")
    for i in range(processor.get_piece_size()):
        if processor.is_byte(i):
            assert vocab.token_bytes(i) == bytes([int(processor.id_to_piece(i)[3:5], 16)])
        elif processor.is_control(i) or processor.is_unknown(i):
            assert vocab.token_bytes(i) is None
            assert vocab.special_tokens[processor.id_to_piece(i)] == i
        else:
            assert b"a" + vocab.token_bytes(i) == processor.decode([anchor, i]).encode()


def test_sentencepiece_processor(model_file):
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor(model_file=str(model_file))
    vocab = Vocabulary.from_huggingface(processor)
    assert len(vocab) == processor.get_piece_size()
    assert vocab.eos_token_ids == (processor.eos_id(),)
    check_sentencepiece(vocab, processor, processor.encode)


def test_slow_sentencepiece_tokenizer(model_file):
    backend = pytest.importorskip("transformers.tokenization_utils_sentencepiece")
    tokenizer = backend.SentencePieceBackend(
        vocab_file=str(model_file), eos_token="</s>", unk_token="<unk>", bos_token="<s>"
    )
    tokenizer.add_tokens(["<call>"], special_tokens=True)
    tokenizer.add_tokens(["   "])
    vocab = Vocabulary.from_huggingface(tokenizer)
    size = tokenizer.sp_model.get_piece_size()
    assert len(vocab) == len(tokenizer) == size + 2
    assert vocab.eos_token_ids == (tokenizer.eos_token_id,)
    assert vocab.special_tokens["<call>"] == size and vocab.token_bytes(size) is None
    assert vocab.token_bytes(size + 1) == b"   "
    check_sentencepiece(vocab, tokenizer.sp_model, tokenizer.sp_model.encode)


def test_shifted_ids_of_a_sentencepiece_wrapper(model_file):
    import sentencepiece

    class Shifted:  # as XLM-R and its kin do: one id of their own before the processor's
        sp_model = sentencepiece.SentencePieceProcessor(model_file=str(model_file))
        eos_token_id = 3

        def __len__(self):
            return self.sp_model.get_piece_size() + 1

        def convert_ids_to_tokens(self, ids):
            return [None if i == 0 else self.sp_model.id_to_piece(i - 1) for i in ids]

    vocab = Vocabulary.from_huggingface(Shifted())
    plain = Vocabulary.from_huggingface(Shifted.sp_model)
    assert vocab.special_tokens["</s>"] == 3
    for i in range(len(plain)):
        assert vocab.token_bytes(i + 1) == plain.token_bytes(i)


def test_gpt2_in_python():
    pieces = ["<|end|>", *sorted(pre_tokenizers.ByteLevel.alphabet()), "Ġthe"]

    class OldGPT2:
        byte_decoder = {"a": 97}
        eos_token_id = 0
        added_tokens_decoder = {0: SimpleNamespace(content="<|end|>", special=True)}

        def __len__(self):
            return len(pieces)

        def convert_ids_to_tokens(self, ids):
            return [pieces[i] for i in ids]

    vocab = Vocabulary.from_huggingface(OldGPT2())
    assert vocab.token_bytes(257) == b" the"
    assert sorted(vocab.token_bytes(i) for i in range(1, 257)) == [bytes([b]) for b in range(256)]
    assert vocab.special_tokens == {"<|end|>": 0}
