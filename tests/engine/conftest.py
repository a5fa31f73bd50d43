"""One tiny LLM for the whole folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tiny_model import tiny_model, tiny_tokenizer

from structgen.engine import LLM


@pytest.fixture(scope="session")
def llm() -> Iterator[LLM]:
    llm = LLM(tiny_model(), tokenizer=tiny_tokenizer(), max_batch_size=8)
    yield llm
    llm.close()
