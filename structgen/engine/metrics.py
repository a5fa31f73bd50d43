"""What an engine has done so far, and what it is doing."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Metrics:
    """Counts since the engine began, and its state at one moment.

    Attributes:
        steps: that were launched.
        prompt_tokens: computed, those found in the prefix cache not counted.
        generated_tokens: that requests got.
        finished, failed, cancelled: requests.
        preemptions: how often a running sequence had to make room.
        running, waiting: requests at the moment.
        pages, pages_free, pages_cached: of keys and values; those that only the prefix cache
            holds are cached, and count as neither free nor in use.
        kv_bytes: of all pages.
        prefix_lookups, prefix_hits: prompt tokens looked up in the prefix cache, and found there.
        seconds: since the first request.
    """

    steps: int
    prompt_tokens: int
    generated_tokens: int
    finished: int
    failed: int
    cancelled: int
    preemptions: int
    running: int
    waiting: int
    pages: int
    pages_free: int
    pages_cached: int
    kv_bytes: int
    prefix_lookups: int
    prefix_hits: int
    seconds: float

    @property
    def prefix_hit_rate(self) -> float:
        """The share of prompt tokens that the prefix cache had; 0 where none was looked up."""
        return self.prefix_hits / self.prefix_lookups if self.prefix_lookups else 0.0

    @property
    def tokens_per_second(self) -> float:
        """Generated tokens over the time since the first request."""
        return self.generated_tokens / self.seconds if self.seconds > 0 else 0.0
