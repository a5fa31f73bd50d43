"""Batched generation: ``LLM`` prepares requests, ``Engine`` runs them step by step.

In ``Engine.step`` a request passes ``Scheduler.plan``, ``Runner.launch`` and ``Sampler.step``; what
was sampled comes back through ``Step.results`` to whoever holds its ``Handle``.
"""

from structgen.engine.async_llm import AsyncLLM
from structgen.engine.config import EngineConfig
from structgen.engine.default import default_llm, generate
from structgen.engine.llm import LLM
from structgen.engine.metrics import Metrics
from structgen.engine.request import Output, Request, SamplingParams, TokenLogprob, Usage

__all__ = [
    "LLM",
    "AsyncLLM",
    "EngineConfig",
    "Metrics",
    "Output",
    "Request",
    "SamplingParams",
    "TokenLogprob",
    "Usage",
    "default_llm",
    "generate",
]
