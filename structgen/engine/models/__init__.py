"""Models that run over packed sequences and a paged cache.

``base.py`` has the contracts. The Llama family runs natively: ``shape.py`` reads its
configurations, ``checkpoint.py`` its weights, ``llama.py`` and ``linear.py`` run it.
"""

from structgen.engine.models.base import AttentionBatch, LayerShape, Model
from structgen.engine.models.checkpoint import from_transformers, load_native, random_native
from structgen.engine.models.shape import native_supported

__all__ = [
    "AttentionBatch",
    "LayerShape",
    "Model",
    "from_transformers",
    "load_native",
    "native_supported",
    "random_native",
]
