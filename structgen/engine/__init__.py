"""Batched generation: ``LLM`` prepares requests, ``Engine`` runs them step by step.

A request passes ``LLM.prepare`` -> ``Engine.submit`` -> ``Batch.step`` (forward in ``Runner``,
mask, ``Sampler``, ``Sequence.accept``) -> ``Handle``.
"""

from structgen.engine.default import default_llm, generate
from structgen.engine.llm import LLM
from structgen.engine.request import Output, Request, SamplingParams, Usage

__all__ = ["LLM", "Output", "Request", "SamplingParams", "Usage", "default_llm", "generate"]
