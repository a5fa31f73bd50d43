"""Admission: peaks against requests that grow token by token, draws against brute force."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from structgen.engine.admission import Aggressive, Conservative, PastFuture, Policy, Running


@st.composite
def requests(draw: st.DrawFn, least: int = 0) -> Running:
    max_new = draw(st.integers(1, 30))
    return Running(draw(st.integers(least, 60)), draw(st.integers(0, max_new)), max_new)


batches = st.lists(requests(), max_size=8)


def grow(batch: list[tuple[int, int]]) -> int:
    """The most tokens held at any time by requests of (held, still to come), step by step."""
    peak = 0
    running = list(batch)
    while running:
        peak = max(peak, sum(held for held, _ in running))
        running = [(held + 1, to_come - 1) for held, to_come in running if to_come]
    return peak


class Known(PastFuture):
    """Predictions that are given: rows by request, in the order in which they are asked for."""

    def __init__(self, rows: list[list[int]], page_size: int = 1) -> None:
        super().__init__(page_size, reserved=0)
        self.rows = rows

    def draw(self, generated: np.ndarray, max_new: np.ndarray, n_draws: int) -> np.ndarray:
        n = len(generated)
        taken, self.rows = self.rows[:n], self.rows[n:]
        return np.array(taken, np.int64).reshape(n, self.DRAWS).T


predicted = st.tuples(st.integers(0, 50), st.lists(st.integers(0, 20), min_size=5, max_size=5))


@given(st.lists(predicted, max_size=6), st.lists(predicted, max_size=5), st.integers(0, 300))
def test_peak_is_that_of_growing_requests(running, candidates, capacity):
    """The greatest peak of all predictions, also after candidates have joined."""
    policy = Known([row for _, row in running])
    plan = policy.begin([Running(held, 0, 99) for held, _ in running], capacity)
    batch = list(running)

    def peak(requests):
        return max(grow([(held, row[i]) for held, row in requests]) for i in range(5))

    assert plan.peak == peak(batch)
    for held, row in candidates:
        together = peak([*batch, (held, row)])
        fits = together <= capacity or (not batch and held <= capacity)
        policy.rows = [row]  # it is not asked for where the candidate does not fit now
        assert plan.admit(Running(held, 0, 99)) == fits
        if fits:
            batch.append((held, row))
        assert plan.peak == peak(batch)


lengths = st.lists(st.integers(1, 20), max_size=60)


@given(lengths, st.integers(0, 20), st.integers(0, 25), st.integers(1, 40))
def test_draws_are_lengths_of_late_that_are_longer(observed, generated, more, window):
    """Every such length is drawn, in proportion, and nothing else."""
    max_new = generated + more
    policy = PastFuture(window=window)
    for length in observed:
        policy.observe(length)
    recent = observed[-window:]
    outcomes = [min(length, max_new) - generated for length in recent if length > generated]
    outcomes += [more] * max(0, PastFuture.PRIOR - len(recent))
    outcomes = [max(0, n) for n in outcomes] or [more]
    # An even grid in place of random numbers: each outcome comes up exactly so often.
    grid = (np.arange(len(outcomes) * 3) + 0.5) / (len(outcomes) * 3)
    policy._random = type("Grid", (), {"random": lambda self, shape: grid[:, None]})()
    drawn = policy.draw(np.array([generated]), np.array([max_new]), len(grid))
    assert Counter(drawn[:, 0].tolist()) == Counter(outcomes * 3)


def past_future() -> PastFuture:
    policy = PastFuture()
    for length in range(1, 40):
        policy.observe(length)
    return policy


POLICIES = [Conservative, Aggressive, past_future]


@pytest.mark.parametrize("make", POLICIES)
@given(running=batches, queue=batches, one=st.integers(0, 900), more=st.integers(0, 300))
def test_more_capacity_never_admits_less(make, running, queue, one, more):
    """First come, first served: the queue is admitted up to the first that does not fit."""

    def admitted(capacity: int) -> int:
        plan = make().begin(running, capacity)
        for n, candidate in enumerate(queue):
            if not plan.admit(candidate):
                return n
        return len(queue)

    assert admitted(one) <= admitted(one + more)


@pytest.mark.parametrize("make", POLICIES)
@given(running=batches, queue=batches, capacity=st.integers(0, 900))
def test_a_plan_keeps_what_it_admitted(make, running, queue, capacity):
    """As if the policy, with predictions that are certain, had been asked about each alone."""
    queue = [r._replace(generated=r.max_new - 1) for r in queue]
    running = [r._replace(generated=r.max_new - 1) for r in running]
    plan = make().begin(running, capacity)
    for candidate in queue:
        admitted = plan.admit(candidate)
        assert admitted == make().admits(running, candidate, capacity)
        running += [candidate] * admitted


@given(batches, requests(), st.integers(0, 900), st.integers(1, 16))
def test_conservative_and_aggressive_by_hand(running, candidate, capacity, page_size):
    def pages(tokens: int) -> int:
        return (tokens + page_size - 1) // page_size

    def fits(need) -> bool:
        if not running:
            return candidate.held <= capacity
        return sum(pages(need(r)) for r in [*running, candidate]) * page_size <= capacity

    all_they_may = fits(lambda r: r.held + r.max_new - r.generated)
    now = fits(lambda r: r.held)
    assert Conservative(page_size).admits(running, candidate, capacity) == all_they_may
    assert Aggressive(page_size, reserved=0).admits(running, candidate, capacity) == now


def test_conservative_never_runs_out():
    """Whatever it admits can grow to its limit, in whole pages."""
    policy, running = Conservative(page_size=4), []
    for candidate in [Running(5, 0, 3), Running(6, 0, 7), Running(1, 0, 3)]:
        if policy.admits(running, candidate, 28):
            running.append(candidate)
    assert running == [Running(5, 0, 3), Running(6, 0, 7), Running(1, 0, 3)]
    assert not policy.admits(running, Running(1, 0, 1), 28)


@pytest.mark.parametrize("make", POLICIES)
def test_alone_whatever_fits_now_is_admitted(make):
    assert make().admits([], Running(100, 0, 10_000), 100)
    assert not make().admits([], Running(101, 0, 1), 100)


def test_reserves():
    one = Running(49, 1, 2)
    assert Aggressive(reserved=0.02).admits([one], one, 100)
    assert not Aggressive(reserved=0.03).admits([one], one, 100)
    # 49 and 49 now, 50 and 50 before both end
    assert PastFuture(reserved=0).admits([one], one, 100)
    assert not PastFuture(reserved=0.01).admits([one], one, 100)


def test_half_a_page_is_added():
    one = Running(40, 1, 1)
    assert PastFuture(page_size=8, reserved=0).admits([one], one, 88)
    assert not PastFuture(page_size=8, reserved=0).admits([one], one, 87)


def test_a_policy_learns_how_short_outputs_are():
    policy: Policy = PastFuture()
    running = [Running(100, 0, 10_000)] * 4
    assert not policy.admits(running, running[0], 2_000)
    for _ in range(PastFuture.PRIOR):
        policy.observe(50)
    assert policy.admits(running, running[0], 2_000)


def test_same_seed_same_decisions():
    def decisions(seed: int) -> list[bool]:
        rng, policy = np.random.default_rng(1), PastFuture(seed=seed)
        for length in rng.integers(1, 500, 300).tolist():
            policy.observe(length)
        running = [Running(100, 10, 500)] * 20
        return [policy.admits(running, running[0], 5_300) for _ in range(60)]

    assert decisions(3) == decisions(3)
    assert len(set(decisions(3))) == 2
    assert decisions(3) != decisions(4)
