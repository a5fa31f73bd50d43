"""The shared LLM behind ``structgen.generate``."""

from __future__ import annotations

import threading
from typing import Any

from structgen.engine.llm import LLM
from structgen.engine.request import Output

_lock = threading.Lock()
_llm: LLM | None = None


def default_llm() -> LLM:
    """The LLM around the model that ships with the package, loaded when first needed."""
    global _llm
    with _lock:
        if _llm is None:
            _llm = LLM()
        return _llm


def generate(prompts: Any, **options: Any) -> list[Output]:
    """:meth:`LLM.generate` with the shared default model."""
    return default_llm().generate(prompts, **options)
