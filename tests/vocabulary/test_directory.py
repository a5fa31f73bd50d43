"""A directory read by the tokenizers library alone says what transformers says."""

from __future__ import annotations

import json

from tiny_model import save_tiny_model, tiny_tokenizer

from structgen import Vocabulary
from structgen.engine.loading import demo_path, load_tokenizer
from structgen.vocabulary.directory import read_directory


def test_it_is_the_same_vocabulary(tmp_path):
    for path, tokenizer in (
        (save_tiny_model(tmp_path), tiny_tokenizer()),
        (demo_path(), load_tokenizer(None)),
    ):
        found = read_directory(path)
        assert found is not None
        vocabulary, fast = found
        assert vocabulary == Vocabulary.from_huggingface(tokenizer)
        assert fast().encode("the cat", add_special_tokens=False).ids == tokenizer.encode(
            "the cat", add_special_tokens=False
        )


def test_what_it_leaves_to_transformers(tmp_path):
    assert read_directory(tmp_path) is None
    save_tiny_model(tmp_path)
    config = tmp_path / "tokenizer_config.json"
    fields = json.loads(config.read_text())
    config.write_text(json.dumps({**fields, "tokenizer_class": "LlamaTokenizer"}))
    assert read_directory(tmp_path) is None
    config.write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}))
    (tmp_path / "special_tokens_map.json").unlink(missing_ok=True)
    assert read_directory(tmp_path) is None
    config.write_text(json.dumps({**fields, "eos_token": {"content": "</s>"}}))
    assert read_directory(tmp_path) is not None
    (tmp_path / "tokenizer.json").write_text("{")
    assert read_directory(tmp_path) is None
