"""structgen: a language model's output obeys a JSON Schema, a grammar or a regular expression.

Everything public is imported on first use, so that ``import structgen`` stays fast and does not
pull in torch or transformers.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from structgen.errors import (
    CompileCancelled,
    GrammarSyntaxError,
    LimitExceeded,
    SchemaError,
    StructgenError,
    UnsupportedGrammarError,
    UnsupportedSchemaError,
)

if TYPE_CHECKING:
    from structgen.batch import MatcherBatch, accept_tokens, fill_bitmasks
    from structgen.bitmask import allocate_bitmask, apply_bitmask
    from structgen.compiler import CompiledGrammar, Compiler
    from structgen.compose import concat, union
    from structgen.device import Arena, BatchMatcher
    from structgen.engine import LLM, AsyncLLM, Output, SamplingParams, generate
    from structgen.grammar import tool_call_tag
    from structgen.limits import Limits
    from structgen.matcher import Matcher
    from structgen.vocabulary import Vocabulary

__version__ = "0.1.0"

_LAZY = {
    "LLM": "structgen.engine",
    "Arena": "structgen.device",
    "AsyncLLM": "structgen.engine",
    "BatchMatcher": "structgen.device",
    "CompiledGrammar": "structgen.compiler",
    "Compiler": "structgen.compiler",
    "Limits": "structgen.limits",
    "Matcher": "structgen.matcher",
    "MatcherBatch": "structgen.batch",
    "Output": "structgen.engine",
    "SamplingParams": "structgen.engine",
    "Vocabulary": "structgen.vocabulary",
    "accept_tokens": "structgen.batch",
    "allocate_bitmask": "structgen.bitmask",
    "apply_bitmask": "structgen.bitmask",
    "concat": "structgen.compose",
    "fill_bitmasks": "structgen.batch",
    "generate": "structgen.engine",
    "tool_call_tag": "structgen.grammar",
    "union": "structgen.compose",
}

__all__ = [
    "LLM",
    "Arena",
    "AsyncLLM",
    "BatchMatcher",
    "CompileCancelled",
    "CompiledGrammar",
    "Compiler",
    "GrammarSyntaxError",
    "LimitExceeded",
    "Limits",
    "Matcher",
    "MatcherBatch",
    "Output",
    "SamplingParams",
    "SchemaError",
    "StructgenError",
    "UnsupportedGrammarError",
    "UnsupportedSchemaError",
    "Vocabulary",
    "__version__",
    "accept_tokens",
    "allocate_bitmask",
    "apply_bitmask",
    "concat",
    "fill_bitmasks",
    "generate",
    "tool_call_tag",
    "union",
]


def __getattr__(name: str) -> Any:
    module = _LAZY.get(name)
    if module is None:
        raise AttributeError(f"module 'structgen' has no attribute {name!r}")
    value = getattr(importlib.import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
