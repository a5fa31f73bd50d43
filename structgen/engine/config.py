"""The engine's settings."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from structgen.errors import StructgenError

AdmissionPolicy = Literal["past_future", "conservative", "aggressive"]


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """How much runs at once, and in how much memory.

    Attributes:
        max_batch_size: sequences that are decoded at once; the others wait.
        max_step_tokens: computed in one step: prompts are cut to what decoding leaves of it.
        page_size: tokens of a page of keys and values.
        kv_tokens: keys and values kept, in tokens; None: what memory has room for (on the CPU,
            what ``max_batch_size`` texts need, at most 1 GiB).
        memory_fraction: of a GPU's free memory that keys and values may take.
        prefix_cache: keep the keys and values of texts for others that begin alike.
        admission: when a waiting request may begin; see :mod:`structgen.engine.admission`.
        max_waiting: requests that may wait; more are refused.
        max_waiting_tokens: prompt tokens that may wait; more are refused.
        ahead: 1: the next step is launched before the last one's tokens are known; 0: not. None:
            1 on a GPU.
        graphs: capture decoding in CUDA graphs, on a GPU.
        verify: check after every step who holds which page; for tests.
    """

    max_batch_size: int = 64
    max_step_tokens: int = 8192
    page_size: int = 16
    kv_tokens: int | None = None
    memory_fraction: float = 0.9
    prefix_cache: bool = True
    admission: AdmissionPolicy = "past_future"
    max_waiting: int = 1 << 20
    max_waiting_tokens: int = 1 << 30
    ahead: int | None = None
    graphs: bool = True
    verify: bool = False

    def __post_init__(self) -> None:
        for name in ("max_batch_size", "max_step_tokens", "page_size", "max_waiting",
                     "max_waiting_tokens"):  # fmt: skip
            self._check(name, getattr(self, name))
        if self.kv_tokens is not None:
            self._check("kv_tokens", self.kv_tokens)
        if self.page_size & (self.page_size - 1):
            raise StructgenError(f"page_size must be a power of two, not {self.page_size}")
        fraction = self.memory_fraction
        if not isinstance(fraction, int | float) or not 0 < fraction <= 1:
            raise StructgenError(f"memory_fraction must be in (0, 1], not {fraction!r:.40}")
        if self.admission not in ("past_future", "conservative", "aggressive"):
            raise StructgenError(
                "admission must be 'past_future', 'conservative' or 'aggressive', not "
                f"{self.admission!r:.40}"
            )
        if self.ahead not in (None, 0, 1):
            raise StructgenError(f"ahead must be 0, 1 or None, not {self.ahead!r:.40}")

    @staticmethod
    def _check(name: str, value: int) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise StructgenError(f"{name} must be 1 or more, not {value!r:.40}")

    @classmethod
    def read(cls, options: dict) -> EngineConfig:
        """From keyword arguments.

        Raises:
            TypeError: there is no such setting.
            StructgenError: a value is out of its range.
        """
        if unknown := options.keys() - {f.name for f in fields(cls)}:
            raise TypeError(f"unexpected keyword argument {min(unknown)!r}")
        return cls(**options)
