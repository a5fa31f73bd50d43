"""Admission policies in a simulation of decode steps: memory in use, evictions, tokens recomputed.

All requests wait from the beginning, first come, first served; a step gives each running request a
token. Where a step would need more memory than there is, the request that was admitted last loses
its cache and goes back to the head of the queue; its prompt and output so far are computed again.
Memory is counted in pages, while requests wait. "lengths known" is the Past-Future rule that is
told what is to come: what better predictions could gain. Under a minute.

    python benchmarks/admission.py

Needs ``pip install -e ".[bench]"`` for the plot.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import common
import numpy as np

from structgen.engine.admission import Aggressive, Conservative, PastFuture, Policy, Running

CAPACITY = 131_072  # tokens: about what a 7B model leaves of 80 GB
PAGE_SIZE = 16
MAX_BATCH = 1_024
BYTES_PER_TOKEN = 3  # of JSON, about


class Workload(NamedTuple):
    """Requests in the order of the queue: int64 [n] tokens; ``max_new`` is the same for all."""

    prompts: np.ndarray
    outputs: np.ndarray
    max_new: int


class Result(NamedTuple):
    """What one policy did with one workload.

    Memory and batch are those of the steps in which requests waited, as shares and requests.
    """

    steps: int
    memory: np.ndarray
    batch: float
    evicted: float  # the share of requests that lost their cache at least once
    evictions: int
    recomputed: float  # tokens computed again for each token that had to be computed
    waited: float  # mean steps until a request was first admitted


def lognormal(rng: np.random.Generator, n: int, median: float, sigma: float) -> np.ndarray:
    return np.exp(rng.normal(np.log(median), sigma, n)).astype(np.int64) + 1


def workload(prompts: np.ndarray, outputs: np.ndarray, max_new: int) -> Workload:
    return Workload(prompts, outputs.clip(1, max_new), max_new)


def short_chat(rng: np.random.Generator, n: int) -> Workload:
    return workload(lognormal(rng, n, 120, 0.8), lognormal(rng, n, 150, 0.7), 1024)


def long_tailed(rng: np.random.Generator, n: int) -> Workload:
    return workload(lognormal(rng, n, 200, 1.0), lognormal(rng, n, 250, 1.2), 4096)


def long_outputs(rng: np.random.Generator, n: int) -> Workload:
    n //= 4
    return workload(rng.integers(32, 1024, n), rng.integers(2048, 4096, n), 4096)


def mixed(rng: np.random.Generator, n: int) -> Workload:
    """Chat, long documents with short answers, and long reasoning."""
    n //= 2
    parts = short_chat(rng, n), long_tailed(rng, n), long_outputs(rng, 4 * n)
    documents = parts[1]._replace(prompts=lognormal(rng, n, 3000, 0.5))
    kind = rng.choice(3, n, p=[0.7, 0.2, 0.1])
    parts = parts[0], documents, parts[2]
    prompts = np.choose(kind, [part.prompts for part in parts])
    return workload(prompts, np.choose(kind, [part.outputs for part in parts]), 4096)


def maskbench(path: Path) -> Callable[[np.random.Generator, int], Workload]:
    """Prompts with a schema of MaskBench, outputs as long as a valid instance."""

    def build(rng: np.random.Generator, n: int) -> Workload:
        pairs = []
        for row in common.maskbench(path):
            schema = len(json.dumps(row["schema"]))
            pairs += [(schema, len(json.dumps(t["data"]))) for t in row["tests"] if t["valid"]]
        sizes = np.array(pairs)[rng.choice(len(pairs), n)] // BYTES_PER_TOKEN + 1
        prompts = sizes[:, 0].clip(1, 8192) + lognormal(rng, n, 80, 0.5)
        return workload(prompts, sizes[:, 1], 2048)

    return build


def simulate(work: Workload, policy: Policy, capacity: int, known: bool) -> Result:
    """Run all requests to their ends."""
    n = len(work.prompts)
    limits = work.outputs if known else np.full(n, work.max_new)
    prompts, max_new = work.prompts.tolist(), limits.tolist()
    generated = np.zeros(n, np.int64)
    evictions = np.zeros(n, np.int64)
    admitted = np.full(n, -1)
    queue, running = deque(range(n)), np.zeros(0, np.int64)  # running: in the order of admission
    step = recomputed = 0
    memory, batch = [], []

    def used(requests: np.ndarray) -> np.ndarray:
        """Tokens of the pages that hold each request once it has its next token."""
        return -(-(work.prompts[requests] + generated[requests] + 1) // PAGE_SIZE) * PAGE_SIZE

    def view(request: int, n_generated: int) -> Running:
        return Running(prompts[request] + n_generated, n_generated, max_new[request])

    while queue or len(running):
        waiting = len(queue)
        if queue and len(running) < MAX_BATCH:
            views = map(view, running.tolist(), generated[running].tolist())
            plan = policy.begin(list(views), capacity)
            joined = []
            while queue and len(running) + len(joined) < MAX_BATCH:
                request = queue[0]
                if not plan.admit(view(request, int(generated[request]))):
                    break
                joined.append(queue.popleft())
                if admitted[request] < 0:
                    admitted[request] = step
                else:
                    recomputed += prompts[request] + int(generated[request])
            running = np.append(running, np.array(joined, np.int64))
        pages = used(running)
        while pages.sum() > capacity:
            evictions[running[-1]] += 1
            queue.appendleft(int(running[-1]))
            running, pages = running[:-1], pages[:-1]
        if waiting:
            memory.append(pages.sum() / capacity)
            batch.append(len(running))
        generated[running] += 1
        ended = generated[running] >= work.outputs[running]
        if not known:
            for length in work.outputs[running[ended]].tolist():
                policy.observe(length)
        running = running[~ended]
        step += 1
    tokens = int(work.prompts.sum() + work.outputs.sum())
    return Result(
        step,
        np.array(memory),
        float(np.mean(batch)),
        float((evictions > 0).mean()),
        int(evictions.sum()),
        recomputed / tokens,
        float(admitted.mean()),
    )


POLICIES: dict[str, Callable[[], Policy]] = {
    "conservative": lambda: Conservative(PAGE_SIZE),
    "aggressive": lambda: Aggressive(PAGE_SIZE),
    "past-future, 3 % reserved": lambda: PastFuture(PAGE_SIZE, reserved=0.03),
    "past-future, 5 % reserved": lambda: PastFuture(PAGE_SIZE, reserved=0.05),
    "lengths known": lambda: PastFuture(PAGE_SIZE, reserved=0),
}
COLOURS = dict(zip(POLICIES, ("#d55e00", "#009e73", "#56b4e9", "#0072b2", "#999999"), strict=True))
HEAD = (
    "policy", "decode steps", "memory, mean %", "peak %", "mean batch", "requests evicted %",
    "evictions", "recomputed %", "mean wait, steps",
)  # fmt: skip


def row(policy: str, result: Result) -> list[str]:
    return [
        policy,
        f"{result.steps:,}",
        f"{100 * result.memory.mean():.1f}",
        f"{100 * result.memory.max():.1f}",
        f"{result.batch:.0f}",
        f"{100 * result.evicted:.1f}",
        f"{result.evictions:,}",
        f"{100 * result.recomputed:.1f}",
        f"{result.waited:,.0f}",
    ]


def plot(results: dict[str, dict[str, Result]], folder: Path) -> None:
    pyplot = common.pyplot()
    if pyplot is None:
        return
    figure, axes = pyplot.subplots(
        1, len(results), figsize=(2.6 * len(results), 2.6), sharey=True, squeeze=False
    )
    for axis, (name, by_policy) in zip(axes[0], results.items(), strict=True):
        for policy, result in by_policy.items():
            parts = np.array_split(100 * result.memory, min(100, len(result.memory)))
            steps = np.linspace(0, len(result.memory), len(parts))
            means = [part.mean() for part in parts]
            axis.plot(steps, means, c=COLOURS[policy], lw=1, label=policy)
        axis.set(title=name, xlabel="decode step", ylim=(0, 105))
    axes[0, 0].set_ylabel("memory in use (%)")
    axes[0, 0].legend()
    common.save(figure, folder, "admission")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=common.MASKBENCH, help="[%(default)s]")
    parser.add_argument("--capacity", type=int, default=CAPACITY, help="tokens [%(default)s]")
    parser.add_argument("--requests", type=int, default=2_000, help="[%(default)s]")
    parser.add_argument("--out", type=Path, default=common.PLOTS, help="folder [%(default)s]")
    parser.add_argument("--quick", action="store_true", help="small, to see that it works")
    options = parser.parse_args()
    if options.quick:
        options.capacity, options.requests = 16_384, 400
    workloads = {
        "short chat": short_chat,
        "long-tailed": long_tailed,
        "long outputs": long_outputs,
        "mixed": mixed,
    }
    if options.data.exists():
        workloads["MaskBench instances"] = maskbench(options.data)
    results: dict[str, dict[str, Result]] = {}
    for name, build in workloads.items():
        work = build(np.random.default_rng(7), options.requests)
        results[name] = {}
        begun = time.perf_counter()
        for policy, make in POLICIES.items():
            known = policy == "lengths known"
            results[name][policy] = simulate(work, make(), options.capacity, known)
        print(
            f"{name}: {len(work.prompts):,} requests, prompts of {work.prompts.mean():,.0f} and "
            f"outputs of {work.outputs.mean():,.0f} tokens, at most {work.max_new:,}; "
            f"{options.capacity:,} tokens of memory ({time.perf_counter() - begun:.0f} s)\n"
        )
        common.print_table(HEAD, (row(*item) for item in results[name].items()))
    plot(results, options.out)


if __name__ == "__main__":
    main()
