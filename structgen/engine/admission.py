"""Which waiting requests may join the running ones: three policies, counted in tokens of KV cache.

A request that is admitted too early is evicted before it ends, and what it had computed is computed
again; one that is admitted too late leaves memory unused. The policies differ in what they believe
running requests still to need: all that they may ask for, nothing, or what requests lately took.

A *plan* holds the running requests of one step and takes candidates one after the other.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np


class Running(NamedTuple):
    """A running request, or a candidate as it will be when it runs, in tokens.

    Attributes:
        held: tokens whose keys and values it holds, those of a prompt still to be computed
            included. Tokens of pages that it shares with others can be left out of ``held`` if
            they are left out of the capacity too.
        generated: tokens of output so far.
        max_new: the most tokens of output; at least ``generated``.
    """

    held: int
    generated: int
    max_new: int


class Plan(ABC):
    """The running requests of one step, and the candidates that were admitted since."""

    def __init__(self, n_running: int, capacity: int) -> None:
        self._n, self._capacity = n_running, capacity

    def admit(self, candidate: Running) -> bool:
        """Does the candidate fit as well? If so, it runs from now on.

        Where nothing runs, a candidate that fits at this moment is admitted whatever it may come
        to need: it would wait for ever.
        """
        if self._n == 0 and candidate.held > self._capacity:
            return False
        admitted = self._fits(candidate) or self._n == 0
        if admitted:
            self._n += 1
            self._keep(candidate)
        return admitted

    @abstractmethod
    def _fits(self, candidate: Running) -> bool:
        """The policy's rule."""

    @abstractmethod
    def _keep(self, candidate: Running) -> None:
        """Count the candidate, about which :meth:`_fits` was asked last, among the running."""


class Policy(ABC):
    """A rule of admission.

    Args:
        page_size: tokens of a page; requests take whole pages.
    """

    def __init__(self, page_size: int = 1) -> None:
        self.page_size = page_size

    @abstractmethod
    def begin(self, running: Sequence[Running], capacity: int) -> Plan:
        """A plan for one step. ``capacity``: tokens of all pages that requests can have."""

    def admits(self, running: Sequence[Running], candidate: Running, capacity: int) -> bool:
        """Does one candidate fit beside the running requests?"""
        return self.begin(running, capacity).admit(candidate)

    @abstractmethod
    def observe(self, length: int) -> None:
        """A request has finished with ``length`` tokens of output."""

    def _pages(self, tokens: int) -> int:
        """Tokens rounded up to whole pages."""
        return -(-tokens // self.page_size) * self.page_size


class _Summed(Policy):
    """Each request counts for so many tokens; the sum has to stay within the capacity.

    Attributes:
        reserved: the share of the capacity that is kept free.
    """

    reserved = 0.0

    @abstractmethod
    def need(self, request: Running) -> int:
        """Tokens that a request counts for, in whole pages."""

    def begin(self, running: Sequence[Running], capacity: int) -> Plan:
        """A plan for one step."""
        return _Sum(self, running, capacity)

    def observe(self, length: int) -> None:
        """Nothing is learned."""


class _Sum(Plan):
    def __init__(self, policy: _Summed, running: Sequence[Running], capacity: int) -> None:
        super().__init__(len(running), capacity)
        self._limit = capacity - int(capacity * policy.reserved)
        self._need = policy.need
        self._used = sum(map(policy.need, running))

    def _fits(self, candidate: Running) -> bool:
        return self._used + self._need(candidate) <= self._limit

    def _keep(self, candidate: Running) -> None:
        self._used += self._need(candidate)


class Conservative(_Summed):
    """Every request gets all that it may ask for: nobody is evicted, much memory stays unused."""

    def need(self, request: Running) -> int:
        """What it holds and all that it may still ask for."""
        return self._pages(request.held + request.max_new - request.generated)


class Aggressive(_Summed):
    """What is held at this moment counts, nothing else.

    Args:
        reserved: the share of the capacity that is kept free for growth.
    """

    def __init__(self, page_size: int = 1, reserved: float = 0.01) -> None:
        super().__init__(page_size)
        self.reserved = reserved

    def need(self, request: Running) -> int:
        """What it holds."""
        return self._pages(request.held)


class PastFuture(Policy):
    """The peak of memory to come counts, with output lengths drawn from those of late.

    After Gong et al., "Past-Future Scheduler for LLM Serving under SLA Guarantees", ASPLOS 2025
    (arXiv:2507.10150). Request i holds a_i tokens and is predicted to get b_i more. Memory is at a
    peak just before a request ends; when those with b_j >= b_i still run, and with b sorted in
    descending order, this peak is b_i * i + sum_{j <= i} a_j. Candidates fit while the greatest of
    them is within the capacity, less what is reserved against predictions that are too low.

    A length is drawn anew in each step, from those of requests that finished lately and were longer
    than what the request has already; ``max_new`` is its bound, and its value where no such request
    was seen. Until ``PRIOR`` requests have finished, each that is missing counts as one that took
    ``max_new``: those that finish first are the shortest. The fewer requests run, the less their
    errors cancel out, so several predictions are made, of which the greatest peak counts.

    With pages of several tokens, the last page of each request is taken to be half empty.

    Args:
        window: how many of the last finished requests are remembered.
        reserved: the share of the capacity that is kept free.
        seed: the same seed and calls give the same decisions.
    """

    PRIOR = 32
    DRAWS = 5  # of each length, at most
    SAMPLES = 200  # as many lengths are drawn in all, if DRAWS allow

    def __init__(
        self, page_size: int = 1, window: int = 1000, reserved: float = 0.05, seed: int = 0
    ) -> None:
        super().__init__(page_size)
        self._reserved = reserved
        self._random = np.random.default_rng(seed)
        self._window = np.zeros(window, np.int64)  # a ring
        self._n_observed = 0
        self._history: np.ndarray | None = None

    def observe(self, length: int) -> None:
        """A request has finished with ``length`` tokens of output."""
        self._window[self._n_observed % len(self._window)] = length
        self._n_observed += 1
        self._history = None

    def begin(self, running: Sequence[Running], capacity: int) -> Plan:
        """A plan for one step."""
        n = len(running)
        table = np.fromiter(chain.from_iterable(running), np.int64, 3 * n).reshape(n, 3)
        n_draws = min(self.DRAWS, -(-self.SAMPLES // max(1, n)))
        remaining = self.draw(table[:, 1], table[:, 2], n_draws)
        held = table[:, 0] + self.page_size // 2
        limit = capacity - int(capacity * self._reserved)
        return _Peaks(self, held, remaining, capacity, limit)

    def draw(self, generated: np.ndarray, max_new: np.ndarray, n_draws: int) -> np.ndarray:
        """Predict what is still to come.

        Args:
            generated: int64 [n], tokens of output so far.
            max_new: int64 [n], the most tokens of output.
            n_draws: predictions for each request.

        Returns:
            int64 [n_draws, n], 0 or more.
        """
        if self._history is None:
            self._history = np.sort(self._window[: self._n_observed])
        history = self._history
        n_unknown = max(0, self.PRIOR - len(history))
        first = history.searchsorted(generated, side="right")
        n_longer = len(history) + n_unknown - first
        chosen = first + (self._random.random((n_draws, len(generated))) * n_longer).astype(int)
        known = chosen < len(history)
        length = np.broadcast_to(max_new, chosen.shape).copy()
        length[known] = history[chosen[known]]
        return np.maximum(np.minimum(length, max_new) - generated, 0)


class _Peaks(Plan):
    """Several predictions of the peaks to come: a row for each, requests sorted by what is to come.

    Arrays are int64 [n_draws, n], but for ``_cumulated`` [n_draws, n + 1]: tokens held by the first
    i requests of a row. ``_candidate`` is what :meth:`_fits` found out about the last one.
    """

    def __init__(
        self, policy: PastFuture, held: np.ndarray, remaining: np.ndarray, capacity: int, limit: int
    ) -> None:
        super().__init__(len(held), capacity)
        self._policy, self._limit = policy, limit
        order = np.argsort(-remaining, axis=1)
        self._remaining = np.take_along_axis(remaining, order, axis=1)
        self._cumulated = np.zeros((len(order), len(held) + 1), np.int64)
        held[order].cumsum(axis=1, out=self._cumulated[:, 1:])
        self._peaks = self._remaining * np.arange(1, len(held) + 1) + self._cumulated[:, 1:]
        self._candidate: _Candidate

    @property
    def peak(self) -> int:
        """The greatest predicted peak, in tokens."""
        return int(self._peaks.max(initial=0))

    def _fits(self, candidate: Running) -> bool:
        draw = self._policy.draw
        generated, max_new = np.array([candidate.generated]), np.array([candidate.max_new])
        remaining = draw(generated, max_new, len(self._remaining))
        held = candidate.held + self._policy.page_size // 2
        longer = self._remaining > remaining
        rank = longer.sum(axis=1, keepdims=True)
        before = np.take_along_axis(self._cumulated, rank, axis=1)
        own = remaining * (rank + 1) + before + held
        # It is still there when requests that end earlier are at their peaks.
        others = self._peaks + np.where(longer, 0, self._remaining + held)
        self._candidate = _Candidate(held, remaining, rank, own, others)
        return max(int(own.max()), int(others.max(initial=0))) <= self._limit

    def _keep(self, candidate: Running) -> None:
        held, remaining, rank, own, others = self._candidate
        columns = np.arange(self._cumulated.shape[1])
        place = columns == rank

        def insert(into: np.ndarray, column: np.ndarray) -> np.ndarray:
            joined = np.empty(place.shape, np.int64)
            joined[place] = column[:, 0]
            joined[~place] = into.ravel()
            return joined

        cumulated = self._cumulated
        ends = np.where(columns[:-1] < rank, cumulated[:, 1:], cumulated[:, 1:] + held)
        before = np.take_along_axis(cumulated, rank, axis=1)
        self._cumulated = np.zeros((len(place), len(columns) + 1), np.int64)
        self._cumulated[:, 1:] = insert(ends, before + held)
        self._remaining = insert(self._remaining, remaining)
        self._peaks = insert(others, own)


class _Candidate(NamedTuple):
    """A candidate in each prediction: int64 [n_draws, 1], but for ``held`` and ``others``."""

    held: int
    remaining: np.ndarray
    rank: np.ndarray  # how many requests run longer
    own: np.ndarray  # the peak before it ends
    others: np.ndarray  # [n_draws, n]: the peaks of the others with it
