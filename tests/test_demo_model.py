"""The model that ships with the package, and the generator of the documents it learned from."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import jsonschema
import pytest

ROOT = Path(__file__).resolve().parents[1]
ASSETS = ROOT / "structgen" / "assets" / "demo"
needs_assets = pytest.mark.skipif(
    not (ASSETS / "model.safetensors").exists(), reason="the demo model's weights are not here"
)


@pytest.fixture(scope="module", autouse=True)
def example_on_path() -> Iterator[None]:
    """The example's scripts import one another by name, as they do when run from their folder."""
    sys.path.insert(0, str(ROOT / "examples" / "demo_model"))
    yield
    sys.path.pop(0)


@pytest.fixture(scope="module")
def documents(example_on_path: None) -> ModuleType:
    import documents

    return documents


def test_equal_seeds_give_equal_samples(documents: ModuleType) -> None:
    for split in ("train", "heldout"):
        assert documents.sample(7, split) == documents.sample(7, split)
    assert documents.sample(7).prompt != documents.sample(8).prompt


def test_many_kinds_of_documents_and_fields(documents: ModuleType) -> None:
    samples = [documents.sample(n) for n in range(1500)]
    assert len({s.kind for s in samples}) >= 10
    assert len({span.leaf.sort for s in samples for span in s.spans}) >= 25


def test_answers_fit_their_schemas_and_spans(documents: ModuleType) -> None:
    for n in range(120):
        s = documents.sample(n, "heldout", plain=True)
        assert s.text == json.dumps(s.answer, ensure_ascii=False)
        jsonschema.Draft202012Validator.check_schema(s.schema)
        jsonschema.validate(s.answer, s.schema)
        for span in s.spans:
            written = s.text[span.start : span.end]
            quoted = json.dumps(span.leaf.value, ensure_ascii=False)
            assert written in (quoted, quoted[1:-1])


def test_copied_values_stand_in_the_document(documents: ModuleType) -> None:
    copied = {"person", "organisation", "company", "email", "phone", "street", "identifier", "url"}
    checked = 0
    for n in range(400):
        s = documents.sample(n, "heldout", plain=True)
        for span in s.spans:
            if span.leaf.sort in copied and span.leaf.value is not None:
                if s.document in s.prompt:  # not so where a document was asked to be invented
                    assert str(span.leaf.value) in s.document
                checked += 1
    assert checked > 100


def test_splits_share_no_pooled_names(documents: ModuleType) -> None:
    from documents import pools

    for pool in vars(pools).values():
        if isinstance(pool, pools.Pool) and len(pool.heldout) > 1:
            assert not set(pool.train) & set(pool.heldout)


@needs_assets
def test_assets_are_small_and_complete() -> None:
    names = {f.name for f in ASSETS.iterdir()}
    assert names >= {
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert sum(f.stat().st_size for f in ASSETS.iterdir()) <= 16_000_000


@needs_assets
def test_tokenizer_spells_any_bytes() -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(ASSETS)
    every = "".join(map(chr, range(1, 0x250))) + "€ 北京 ☃ 🙂\r\n\t  end"
    ids = tokenizer(every, add_special_tokens=False).input_ids
    assert tokenizer.decode(ids, clean_up_tokenization_spaces=False) == every
    alphabet = {token for token in tokenizer.get_vocab() if len(token) == 1}
    assert len(alphabet) == 256
    assert tokenizer("x").input_ids[0] == tokenizer.bos_token_id


@needs_assets
def test_chat_template_joins_contents() -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(ASSETS)
    messages = [{"role": "system", "content": "Reply in JSON."}, {"role": "user", "content": "Hi"}]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert text == "<|bos|>Reply in JSON.\nHi\n"


@needs_assets
def test_model_reads_held_out_documents(documents: ModuleType) -> None:
    import evaluate
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # matrices this small are slower shared out, most of all on busy cores
    samples = [documents.sample(f"test {n}", "heldout", plain=True) for n in range(200)]
    short = [s for s in samples if len(s.prompt) < 260 and 2 <= len(s.spans) <= 4]
    short = [s for s in short if all(len(str(span.leaf.value)) < 30 for span in s.spans)][:20]
    assert len(short) == 20
    accuracy = evaluate.forced(ASSETS, short, "cpu").accuracy()
    torch.set_num_threads(threads)
    assert accuracy >= 0.85
