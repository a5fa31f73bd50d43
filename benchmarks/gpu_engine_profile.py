"""Kernels and idle time of the device, and the host's functions, in the steps of an engine."""

from __future__ import annotations

import cProfile
import pstats
import statistics
from collections import defaultdict
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import common
import torch
from common import figure
from gpu_engine_recording import KINDS, Measured, Sizes

import structgen as sg


def profile(
    measured: Measured,
    grammars: list[sg.CompiledGrammar],
    sizes: Sizes,
    batch: int,
    constrained: bool,
) -> None:
    """Kernels and idle time of some steps, and the host's functions in some others."""
    prompt = max(1, sizes.context - sizes.warm - sizes.profiled)
    chosen: list[sg.CompiledGrammar | None] = [
        grammars[i % len(grammars)] if constrained else None for i in range(batch)
    ]
    sampling = KINDS["top-p 0.9" if constrained else "greedy"]
    requests = measured.requests(prompt, sizes.room - prompt, chosen, **sampling)
    on_gpu = measured.runner.device.type == "cuda"
    kernels = torch.profiler.profile(activities=[activity(on_gpu)])
    host = cProfile.Profile()
    recording = measured.record(
        requests,
        [(sizes.warm, nullcontext()), (sizes.profiled, kernels), (sizes.warm, nullcontext()),
         (sizes.profiled, host)],
    )  # fmt: skip
    print(f"\nprofile: batch {batch}, {'constrained, sampled' if constrained else 'free, greedy'}; "
          f"{sizes.profiled} steps, {sum(recording.marks[i].prompts for i in recording.steps(1))} "
          f"prompts in them")  # fmt: skip
    _print_kernels(kernels.events(), on_gpu, sizes.profiled)
    marks, steps = recording.marks, recording.steps(3)
    wall = (marks[steps.stop].at - marks[steps.start].at) / len(steps) * 1e3
    waited = (marks[steps.stop].waited - marks[steps.start].waited) / len(steps) * 1e3
    print(f"host, slowed down by its profiler: {wall:.3f} ms a step, {waited:.3f} of them waiting")
    _print_functions(pstats.Stats(host), sizes.profiled)


def activity(on_gpu: bool) -> Any:
    """What the profiler is to look at."""
    known = torch.profiler.ProfilerActivity
    return known.CUDA if on_gpu else known.CPU


def _print_kernels(events: Any, on_gpu: bool, steps: int) -> None:
    wanted = torch.autograd.DeviceType.CUDA if on_gpu else torch.autograd.DeviceType.CPU
    spans = sorted(
        (event.time_range.start, event.time_range.end, event.name)
        for event in events
        if event.device_type == wanted
    )
    if not spans:
        print("the profiler saw nothing on the device\n")
        return
    times: dict[str, list[float]] = defaultdict(list)
    gaps: dict[str, list[float]] = defaultdict(list)
    until, before, busy = spans[0][0], "", 0.0
    for start, end, name in spans:
        times[name].append(end - start)
        if start > until and before:
            gaps[f"{before[:40]} -> {name[:40]}"].append(start - until)
        busy += max(0.0, end - max(start, until))
        if end >= until:
            until, before = end, name
    span = until - spans[0][0]
    print(f"device: {span / steps / 1e3:.3f} ms a step, idle {1 - busy / span:.1%}, "
          f"{len(spans) / steps:.0f} launches a step")  # fmt: skip
    for title, found in (("kernel", times), ("idle between", gaps)):
        most = sorted(found.items(), key=lambda item: -sum(item[1]))[
            : 25 if title == "kernel" else 8
        ]
        common.print_table(
            (title, "us a step", "share", "times a step", "us each, median"),
            [
                (name[:84], figure(sum(each) / steps), f"{sum(each) / span:.1%}",
                 figure(len(each) / steps), figure(statistics.median(each)))
                for name, each in most
            ],
        )  # fmt: skip


def _print_functions(stats: Any, steps: int) -> None:
    """Own times by file, and the functions with the longest ones."""
    groups: dict[str, float] = defaultdict(float)
    functions = []
    for (file, line, name), (_, calls, own, total, _) in stats.stats.items():
        path = Path(file)
        group = "built in" if file == "~" else "other"
        if "structgen" in path.parts or "kernels" in path.parts:
            group = "/".join(path.parts[-2:])
        elif "torch" in path.parts or "triton" in path.parts:
            group = "torch, triton"
        groups[group] += own
        where = name if file == "~" else f"{path.name}:{line} {name}"
        functions.append((own, total, calls, where))

    def ms(seconds: float) -> str:
        return f"{seconds / steps * 1e3:.3f}"

    common.print_table(
        ("file", "own ms a step"),
        [(g, ms(t)) for g, t in sorted(groups.items(), key=lambda item: -item[1])[:14]],
    )
    common.print_table(
        ("function", "calls a step", "own ms a step", "with what it calls"),
        [(where[:80], figure(calls / steps), ms(own), ms(total))
         for own, total, calls, where in sorted(functions, reverse=True)[:25]],
    )  # fmt: skip
