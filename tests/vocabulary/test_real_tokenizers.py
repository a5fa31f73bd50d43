"""Every id of real tokenizers, against readings of the same files made another way."""

from __future__ import annotations

import functools
import random
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shared_data import shared_data
from transformers import PreTrainedTokenizerFast

from structgen.vocabulary import Vocabulary

BYTE_LEVEL = ["llama3", "qwen3", "gpt2"]
SENTENCEPIECE = ["llama2", "stories260K"]


@functools.cache
def load(name):
    folder = "models" if name == "stories260K" else "tokenizers"
    tokenizer = PreTrainedTokenizerFast.from_pretrained(shared_data(folder, name))
    return tokenizer, Vocabulary.from_huggingface(tokenizer)


def spelled_bytes():
    """The byte alphabet as tiktoken's converter states it: printable ones, then the rest."""
    printable = [b for b in range(256) if chr(b).isprintable() and chr(b) != " "]
    rest = [b for b in range(256) if b not in printable]
    return {chr(b): b for b in printable} | {chr(256 + n): b for n, b in enumerate(rest)}


@pytest.mark.parametrize("name", BYTE_LEVEL + SENTENCEPIECE)
def test_length_ends_and_specials(name):
    tokenizer, vocab = load(name)
    assert len(vocab) == len(tokenizer)
    assert vocab.eos_token_ids == (tokenizer.eos_token_id,)
    for content, token_id in vocab.special_tokens.items():
        assert tokenizer.convert_ids_to_tokens(token_id) == content
        assert vocab.token_bytes(token_id) is None
    assert set(tokenizer.all_special_ids) <= set(vocab.special_tokens.values())
    symbols = {i for i in range(len(vocab)) if vocab.token_bytes(i) is None}
    assert symbols == set(vocab.special_tokens.values())


@pytest.mark.parametrize(
    ("name", "count"),
    [("llama3", 256), ("qwen3", 26), ("gpt2", 1), ("llama2", 3), ("stories260K", 3)],
)
def test_number_of_symbols(name, count):
    assert len(load(name)[1].special_tokens) == count


@pytest.mark.parametrize("name", BYTE_LEVEL)
def test_byte_level_ids(name):
    tokenizer, vocab = load(name)
    alphabet = spelled_bytes()
    decode = tokenizer.backend_tokenizer.decode
    seen = set()
    for piece, token_id in tokenizer.get_vocab().items():
        if token_id in vocab.special_tokens.values():
            continue
        read = vocab.token_bytes(token_id)
        assert read == bytes([alphabet[c] for c in piece])
        assert read.decode(errors="replace") == decode([token_id])
        seen.add(token_id)
    assert len(seen) == len(vocab) - len(vocab.special_tokens)


@pytest.mark.parametrize("name", SENTENCEPIECE)
def test_sentencepiece_ids(name):
    tokenizer, vocab = load(name)
    decode = tokenizer.backend_tokenizer.decode
    anchor = tokenizer.convert_tokens_to_ids("a")
    byte_ids = [tokenizer.convert_tokens_to_ids(f"<0x{b:02X}>") for b in range(256)]
    for token_id in range(len(vocab)):
        read = vocab.token_bytes(token_id)
        if read is None:
            assert token_id in (0, 1, 2)
        elif token_id in byte_ids:
            assert read == bytes([byte_ids.index(token_id)])
        else:
            # Behind another token, nothing of the token's text is trimmed.
            assert b"a" + read == decode([anchor, token_id]).encode()


@pytest.mark.parametrize("name", SENTENCEPIECE)
def test_byte_pieces_make_up_characters(name):
    tokenizer, vocab = load(name)
    for char in ["é", "߿", "ࠀ", "日", "\uffff", "🙂", "\U0010ffff", "\n", "\0"]:
        ids = [tokenizer.convert_tokens_to_ids(f"<0x{b:02X}>") for b in char.encode()]
        assert b"".join(vocab.token_bytes(i) for i in ids) == char.encode()
        assert tokenizer.backend_tokenizer.decode(ids) == char


def test_llama2_has_two_ids_for_ascii_letters():
    tokenizer, vocab = load("llama2")
    byte_piece, letter = tokenizer.convert_tokens_to_ids(["<0x41>", "A"])
    assert byte_piece != letter
    assert vocab.token_bytes(byte_piece) == vocab.token_bytes(letter) == b"A"


def test_qwen3_markers_without_the_special_flag_are_symbols():
    tokenizer, vocab = load("qwen3")
    for marker in ["<think>", "</think>", "<tool_call>", "</tool_call>", "<|fim_prefix|>"]:
        assert vocab.token_bytes(vocab.special_tokens[marker]) is None
    # Its text can still be spelled, with other tokens.
    spelled_out = b"".join(vocab.token_bytes(i) for c in "<think>" for i in tokenizer.encode(c))
    assert spelled_out == b"<think>"


def spelled(name, text):
    """What the tokenizer makes of ``text`` on the way in, as UTF-8."""
    if name == "qwen3":
        text = unicodedata.normalize("NFC", text)
    if name in SENTENCEPIECE and text:
        text = " " + text.replace("\u2581", " ")
    return text.encode()


def check_round_trip(name, text):
    tokenizer, vocab = load(name)
    ids = tokenizer.encode(text, add_special_tokens=False)
    specials = set(vocab.special_tokens.values())
    if specials.isdisjoint(ids):
        assert b"".join(vocab.token_bytes(i) for i in ids) == spelled(name, text)


@pytest.mark.parametrize("name", BYTE_LEVEL + SENTENCEPIECE)
@settings(max_examples=150, deadline=None)
@given(text=st.text(max_size=60))
def test_round_trip_of_any_text(name, text):
    check_round_trip(name, text)


@pytest.mark.parametrize("name", BYTE_LEVEL + SENTENCEPIECE)
def test_round_trip_of_likely_text(name):
    rng = random.Random(0)
    parts = [
        "{",
        '"a": ',
        " ",
        "  ",
        "\n",
        "\t",
        "word",
        " Word",
        "1.5e-3",
        "ß",
        "日本",
        "🙂",
        "\\u00e9",
    ]
    for _ in range(300):
        check_round_trip(name, "".join(rng.choices(parts, k=rng.randint(1, 30))))
