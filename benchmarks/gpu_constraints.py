"""What a constrained decode step costs on a GPU, beside an unconstrained one and XGrammar's.

The slots of a batch follow valid instances of different MaskBench schemas; all their rows are on
the device. A step is: the mask, the likeliest allowed token, the token's bytes through the
automaton, the rows of the next mask. Times are medians of CUDA-graph replays, between events, with
the queue kept full; eight steps are in a graph. XGrammar's added time is that of its CPU step:
fill, copy, apply, accept; it follows those of the texts that it takes.

Then 64 slots step 10,000 times along their texts, joined again as they end, while whatever waits
for the device is an error; a profile of some steps counts the calls that copy or synchronise.

    python benchmarks/gpu_constraints.py --peers
    python benchmarks/gpu_constraints.py --divisions    # other divisions of a step among programs

Needs a CUDA device, and ``pip install -e ".[bench]"`` for the peer.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import common
import numpy as np
import torch
from transformers import AutoTokenizer

import structgen as sg
from structgen.device import Arena, BatchMatcher
from structgen.device.batch_matcher import needs_host
from structgen.kernels import greedy
from structgen.kernels.sample import SamplingParameters

BATCHES = (1, 16, 128, 512)
STEPS = 56  # of each text
GRAPH = 8  # steps in one graph; what a replay takes is divided by it
PASSES = 6
PROFILED = 200  # steps
DIVISIONS = (
    greedy.Division(2048, 64, 4), greedy.Division(2048, 128, 4), greedy.Division(1024, 128, 4),
    greedy.Division(512, 128, 4), greedy.Division(2048, 256, 8), greedy.Division(1024, 256, 8),
    greedy.Division(1024, 256, 4), greedy.Division(512, 256, 8),
)  # fmt: skip
SLEEP = 60_000  # cycles: the host has enqueued everything before the device gets to it


class Case(NamedTuple):
    """A schema, its grammar, and the tokens of a valid instance with its end."""

    schema: Any
    grammar: sg.CompiledGrammar
    tokens: list[int]


def cases(path: Path, tokenizer: Any, compiler: sg.Compiler, count: int) -> list[Case]:
    """The first schemas with a long valid instance; every row along it is there."""
    found: list[Case] = []
    mask = sg.allocate_bitmask(1, len(compiler.vocabulary))
    for row, grammar in common.compiled(path, compiler):
        if needs_host(grammar):
            continue
        for test in row["tests"]:
            text = json.dumps(test["data"], ensure_ascii=False)
            tokens = tokenizer.encode(text, add_special_tokens=False)
            if not test["valid"] or not STEPS < len(tokens) < 500:
                continue
            tokens.append(compiler.vocabulary.eos_token_ids[0])
            matcher = grammar.matcher()
            fits = True
            for token in tokens:
                matcher.fill_bitmask(mask)
                fits = fits and matcher.accept_token(token)
            if fits:
                found.append(Case(row["schema"], grammar, tokens))
                break
        if len(found) == count:
            break
    return found


class Forced:
    """Logits of some steps, random but for the greatest, which is at a given token."""

    def __init__(self, batch: int, n_logits: int, dtype: torch.dtype) -> None:
        self.logits = torch.empty((GRAPH, batch, n_logits), dtype=dtype, device="cuda")
        for step in self.logits:
            step.copy_(torch.randn((batch, n_logits), device="cuda"))
        self.tokens = torch.zeros((GRAPH, batch, 1), dtype=torch.int64, device="cuda")
        self.kept = torch.gather(self.logits, 2, self.tokens)
        self.high = torch.full((GRAPH, batch, 1), 100.0, dtype=dtype, device="cuda")

    def raise_(self, tokens: torch.Tensor) -> None:
        """``tokens``: integers [GRAPH, batch]."""
        self.logits.scatter_(2, self.tokens, self.kept)
        self.tokens.copy_(tokens.unsqueeze(2))
        torch.gather(self.logits, 2, self.tokens, out=self.kept)
        self.logits.scatter_(2, self.tokens, self.high)


def captured(call: Callable[[], object]) -> torch.cuda.CUDAGraph:
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):
            call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    return graph


def replay(graph: torch.cuda.CUDAGraph) -> float:
    """Microseconds of one replay on the device."""
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda._sleep(SLEEP)
    begin.record()
    graph.replay()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end) * 1e3


def empty_replay() -> float:
    """Microseconds between two events with nothing between them."""
    found = []
    for _ in range(100):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda._sleep(SLEEP)
        begin.record()
        end.record()
        end.synchronize()
        found.append(begin.elapsed_time(end) * 1e3)
    return statistics.median(found)


def constrained(
    arena: Arena, chosen: list[Case], batch: int, n_logits: int, nothing: float, passes: int
) -> dict[str, float]:
    """Medians of the greedy step, with constraints and without, and of torch's own argmax."""
    matcher = BatchMatcher(arena, batch)
    forced = Forced(batch, n_logits, torch.bfloat16)
    out = torch.zeros((GRAPH, batch), dtype=torch.int32, device="cuda")

    def steps() -> None:
        for logits, tokens in zip(forced.logits, out, strict=True):
            matcher.greedy(logits, tokens)

    def argmax() -> None:
        for logits in forced.logits:
            torch.argmax(logits, 1)

    def share(graph: torch.cuda.CUDAGraph) -> float:
        return (replay(graph) - nothing) / GRAPH

    graph, plain = captured(steps), captured(argmax)
    unconstrained = statistics.median(share(graph) for _ in range(50))
    slots = [chosen[i % len(chosen)] for i in range(batch)]
    tokens = torch.tensor([case.tokens[:STEPS] for case in slots], device="cuda").T
    times: list[float] = []
    wrong, joined = 0, 0.0
    for _ in range(passes):
        started = time.perf_counter()
        for slot, case in enumerate(slots):
            matcher.join(slot, case.grammar)
        matcher.resolve()
        joined = time.perf_counter() - started
        for first in range(0, STEPS, GRAPH):
            forced.raise_(tokens[first : first + GRAPH])
            times.append(share(graph))
            wrong += int((out != tokens[first : first + GRAPH]).sum())
    return {
        "constrained": statistics.median(times),
        "p90": float(np.percentile(times, 90)),
        "unconstrained": unconstrained,
        "torch.argmax": statistics.median(share(plain) for _ in range(50)),
        "join_ms": joined * 1e3,
        "wrong": wrong,
    }


def torch_sampling(logits: torch.Tensor) -> torch.Tensor:
    """Temperature, top-k 50 and top-p 0.9 as a chain of torch's own operations."""
    values, ids = torch.sort(logits.float() / 0.8, dim=1, descending=True)
    values[:, 50:] = float("-inf")
    share = torch.softmax(values, 1)
    share[share.cumsum(1) - share > 0.9] = 0
    return ids.gather(1, torch.multinomial(share, 1))


def sampled(
    arena: Arena, chosen: list[Case], batch: int, n_logits: int, nothing: float
) -> dict[str, float]:
    """Medians of a step that samples, with constraints and without, and of torch's operations."""
    matcher = BatchMatcher(arena, batch)
    forced = Forced(batch, n_logits, torch.bfloat16)
    out = torch.zeros((GRAPH, batch), dtype=torch.int32, device="cuda")
    parameters = SamplingParameters.allocate(batch, "cuda")
    parameters.temperature.fill_(0.8)
    parameters.top_k.fill_(50)
    parameters.top_p.fill_(0.9)

    def steps() -> None:
        for logits, tokens in zip(forced.logits, out, strict=True):
            matcher.sample(logits, tokens, parameters)

    def plain() -> None:
        for logits in forced.logits:
            torch_sampling(logits)

    graph, chain = captured(steps), captured(plain)
    found = {}
    for name, one in (("unconstrained", graph), ("torch", chain)):
        found[name] = statistics.median((replay(one) - nothing) / GRAPH for _ in range(20))
    slots = [chosen[i % len(chosen)] for i in range(batch)]
    tokens = torch.tensor([case.tokens[:STEPS] for case in slots], device="cuda").T
    times: list[float] = []
    wrong = 0
    for _ in range(2):
        for slot, case in enumerate(slots):
            matcher.join(slot, case.grammar)
        matcher.resolve()
        for first in range(0, STEPS, GRAPH):
            forced.raise_(tokens[first : first + GRAPH])
            times.append((replay(graph) - nothing) / GRAPH)
            wrong += int((out != tokens[first : first + GRAPH]).sum())
    return found | {"constrained": statistics.median(times), "wrong": wrong}


class Run(NamedTuple):
    """What became of a run.

    Attributes:
        tokens: taken; ``wrong`` of them were not those of the texts.
        texts: that were joined.
        to_come: tokens of a slot's text, on average.
        microseconds: of a step with its joins, on the host's clock.
        calls: of the CUDA runtime a step, those that copy or synchronise.
    """

    tokens: int
    wrong: int
    texts: int
    to_come: float
    microseconds: float
    calls: dict[str, float]


def run_without_waiting(arena: Arena, chosen: list[Case], n_logits: int, steps: int) -> Run:
    """Slots of many grammars step along their texts; a call that waits for the device raises."""
    batch = 64
    matcher = BatchMatcher(arena, batch)
    longest = max(len(case.tokens) for case in chosen)
    wanted = torch.zeros((len(chosen), longest), dtype=torch.int64)
    for i, case in enumerate(chosen):
        wanted[i, : len(case.tokens)] = torch.tensor(case.tokens)
    wanted = wanted.cuda()
    texts = torch.zeros(batch, dtype=torch.int64, device="cuda")
    at = torch.zeros(batch, dtype=torch.int64, device="cuda")
    logits = torch.randn((batch, n_logits), device="cuda", dtype=torch.bfloat16)
    high = torch.full((batch, 1), 100.0, dtype=torch.bfloat16, device="cuda")
    out = torch.zeros(batch, dtype=torch.int32, device="cuda")
    wrong = torch.zeros((), dtype=torch.int64, device="cuda")

    def step() -> None:
        tokens = wanted[texts, at].unsqueeze(1)
        kept = logits.gather(1, tokens)
        logits.scatter_(1, tokens, high)
        matcher.greedy(logits, out)
        logits.scatter_(1, tokens, kept)
        wrong.add_((out != tokens.squeeze(1)).sum())
        at.add_(1)

    graph = captured(step)
    left = [0] * batch  # tokens of each slot's text that are still to come
    ended, places = 0, 0.0

    def run(n: int) -> None:
        nonlocal ended, places
        for _ in range(n):
            for slot in range(batch):
                if left[slot] == 0:
                    number = ended % len(chosen)
                    ended += 1
                    matcher.join(slot, chosen[number].grammar)
                    texts[slot].fill_(number)
                    at[slot].zero_()
                    left[slot] = len(chosen[number].tokens)
                left[slot] -= 1
            places += sum(left) / batch
            graph.replay()

    run(longest)  # so that the slots are at different places
    wrong.zero_()
    torch.cuda.synchronize()
    ended, places = 0, 0.0
    torch.cuda.set_sync_debug_mode("error")
    try:
        started = time.perf_counter()
        run(steps - PROFILED)
        taken = time.perf_counter() - started
        # The debug mode sees torch's own calls, a profile those of the runtime.
        activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
        profiler = torch.profiler.profile(activities=activities)
        torch.cuda.set_sync_debug_mode("default")
        profiler.start()
        torch.cuda.set_sync_debug_mode("error")
        with torch.profiler.record_function("steps"):
            run(PROFILED)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    profiler.stop()
    events = profiler.events()
    on_host = torch.autograd.DeviceType.CPU
    span = next(e.time_range for e in events if e.name == "steps" and e.device_type == on_host)
    calls = Counter(
        e.name for e in events
        if e.name.startswith("cu") and ("Synchronize" in e.name or "Memcpy" in e.name)
        and span.start <= e.time_range.start <= span.end
    )  # fmt: skip
    return Run(
        steps * batch, int(wrong), ended, places / steps,
        taken / (steps - PROFILED) * 1e6, {name: n / PROFILED for name, n in calls.items()},
    )  # fmt: skip


class Peer(NamedTuple):
    """XGrammar's grammars with their texts, and how many schemas and texts it does not take."""

    grammars: list[tuple[Any, list[int]]]
    size: int
    refused_schemas: int
    refused_texts: int


def xgrammar_peer(tokenizer: Any, chosen: list[Case]) -> Peer:
    import xgrammar

    info = xgrammar.TokenizerInfo.from_huggingface(tokenizer, vocab_size=len(tokenizer))
    compiler = xgrammar.GrammarCompiler(info, max_threads=16)
    grammars: list[tuple[Any, list[int]]] = []
    refused_schemas = refused_texts = 0
    for case in chosen:
        try:
            grammar = compiler.compile_json_schema(json.dumps(case.schema), strict_mode=False)
        except Exception:
            refused_schemas += 1
            continue
        first = xgrammar.GrammarMatcher(grammar)
        if all(map(first.accept_token, case.tokens)):
            grammars.append((grammar, case.tokens))
        else:
            refused_texts += 1
    return Peer(grammars, info.vocab_size, refused_schemas, refused_texts)


def xgrammar_step(peer: Peer, batch: int, n_logits: int) -> float:
    """Median microseconds of XGrammar's part of a step, as the host sees it."""
    import xgrammar

    grammars = peer.grammars
    slots = [grammars[i % len(grammars)] for i in range(batch)]
    matchers = [xgrammar.GrammarMatcher(grammar) for grammar, _ in slots]
    filler = xgrammar.BatchGrammarMatcher(16)
    mask = xgrammar.allocate_token_bitmask(batch, peer.size).pin_memory()
    logits = torch.randn((batch, n_logits), device="cuda", dtype=torch.float32)
    on_device = mask.cuda()
    at = [0] * batch
    times = []
    for _ in range(STEPS):
        torch.cuda.synchronize()
        started = time.perf_counter()
        filler.batch_fill_next_token_bitmask(matchers, mask)
        on_device.copy_(mask, non_blocking=True)
        xgrammar.apply_token_bitmask_inplace(logits, on_device)
        torch.cuda.synchronize()
        for i, (matcher, (_, tokens)) in enumerate(zip(matchers, slots, strict=True)):
            matcher.accept_token(tokens[at[i]])
        times.append((time.perf_counter() - started) * 1e6)
        for i, (_, tokens) in enumerate(slots):
            at[i] += 1
            if at[i] == len(tokens):
                at[i] = 0
                matchers[i].reset()
    return statistics.median(times)


def copy_bandwidth() -> float:
    """Bytes read and written in a second by a large copy."""
    source = torch.empty(1 << 30, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    graph = captured(lambda: target.copy_(source))
    return 2 * len(source) / (statistics.median(replay(graph) for _ in range(20)) * 1e-6)


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    cells = [list(header)]
    for row in rows:
        cells.append([f"{c:.1f}" if isinstance(c, float) else str(c) for c in row])
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    print(f"\n{title}")
    for row in cells:
        print("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)))


def times_of_divisions(
    arena: Arena, chosen: list[Case], batches: Sequence[int], n_logits: int, nothing: float
) -> None:
    """The greedy step, divided among programs in other ways."""
    rows = []
    for division in DIVISIONS:
        greedy._FEW_SLOTS = greedy._MANY_SLOTS = division
        cells: list[object] = [division.programs, division.tile, division.warps]
        for batch in batches:
            r = constrained(arena, chosen, batch, n_logits, nothing, 2)
            cells += [r["constrained"], r["unconstrained"]]
            if r["wrong"]:
                cells[-2] = f"{r['wrong']:.0f} wrong"
        rows.append(cells)
    header = ["programs", "tile", "warps"]
    for batch in batches:
        header += [f"{batch}", f"{batch} free"]
    print_table("greedy step by division, us", header, rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=common.MASKBENCH, help="[%(default)s]")
    parser.add_argument(
        "--tokenizer", type=Path, default=common.TOKENIZERS / "llama3", help="[%(default)s]"
    )
    parser.add_argument("--schemas", type=int, default=64, help="different ones [%(default)s]")
    parser.add_argument("--batch", type=int, nargs="+", default=BATCHES)
    parser.add_argument("--peers", action="store_true", help="measure XGrammar too")
    parser.add_argument("--divisions", action="store_true", help="compare these, nothing else")
    arguments = parser.parse_args()
    tokenizer = AutoTokenizer.from_pretrained(arguments.tokenizer)
    vocabulary = sg.Vocabulary.from_huggingface(tokenizer)
    compiler = sg.Compiler(vocabulary)
    chosen = cases(arguments.data, tokenizer, compiler, arguments.schemas)
    n_logits = len(vocabulary)
    arena = Arena(vocabulary)
    uploads = []
    for case in chosen:
        started = time.perf_counter()
        arena.release(arena.hold(case.grammar))
        torch.cuda.synchronize()
        uploads.append((time.perf_counter() - started) * 1e3)
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, {n_logits:,} ids")
    print(
        f"{len(chosen)} grammars: {arena.nbytes / 2**20:.1f} MiB of the arena; upload of one "
        f"{statistics.median(uploads):.2f} ms (median), {max(uploads):.2f} ms (worst)"
    )
    nothing = empty_replay()
    if arguments.divisions:
        return times_of_divisions(arena, chosen, arguments.batch, n_logits, nothing)
    bandwidth = copy_bandwidth()
    print(f"copy: {bandwidth / 1e12:.2f} TB/s; a step is an eighth of a graph's replay")
    peer = xgrammar_peer(tokenizer, chosen) if arguments.peers else None
    if peer is not None:
        print(
            f"XGrammar refuses {peer.refused_schemas} of {len(chosen)} schemas, and the valid "
            f"instance of {peer.refused_texts} others"
        )
    rows: list[list[object]] = []
    for batch in arguments.batch:
        r = constrained(arena, chosen, batch, n_logits, nothing, PASSES)
        free = r["unconstrained"]
        read = batch * n_logits * 2 / (free * 1e-6) / 1e12
        row: list[object] = [
            batch, r["constrained"], r["p90"], free, f"{r['constrained'] / free:.2f}",
            r["torch.argmax"], f"{read:.2f}", r["join_ms"] * 1e3 / batch, int(r["wrong"]),
        ]  # fmt: skip
        if peer is not None:
            added = xgrammar_step(peer, batch, n_logits)
            row += [f"{added:.0f}", f"{added / r['constrained']:.0f}"]
        rows.append(row)
    header = ["batch", "constrained", "p90", "free", "ratio", "argmax", "TB/s", "join", "wrong"]
    header += ["xgrammar", "ratio"] if peer is not None else []
    print_table("greedy step, us", header, rows)
    rows = []
    for batch in arguments.batch:
        r = sampled(arena, chosen, batch, n_logits, nothing)
        ratios = [r["constrained"] / r["unconstrained"], r["torch"] / r["constrained"]]
        rows.append([
            batch, r["constrained"], r["unconstrained"], f"{ratios[0]:.2f}", r["torch"],
            f"{ratios[1]:.1f}", int(r["wrong"]),
        ])  # fmt: skip
    header = ["batch", "constrained", "free", "ratio", "torch", "torch/ours", "wrong"]
    print_table("step that samples with temperature, top-k and top-p, us", header, rows)
    run = run_without_waiting(arena, chosen, n_logits, 10_000)
    print_table(
        "10,000 steps of 64 slots along their texts; nothing waited for the device",
        ["tokens", "wrong", "texts joined", "tokens to come", "us a step"],
        [[run.tokens, run.wrong, run.texts, run.to_come, run.microseconds]],
    )
    print_table(
        f"calls of the CUDA runtime a step, of {PROFILED} steps with their joins",
        ["call", "a step"],
        [[name, f"{n:.3f}"] for name, n in sorted(run.calls.items())] or [["none", 0]],
    )


if __name__ == "__main__":
    main()
