"""What a constrained decode step costs on a GPU, beside an unconstrained one and XGrammar's.

The slots of a batch follow valid instances of different MaskBench schemas; all their rows are on
the device. A step is: the mask, the likeliest allowed token, the token's bytes through the
automaton, the rows of the next mask. Times are medians of CUDA-graph replays, between events, with
the queue kept full; eight steps are in a graph. XGrammar's added time is that of its CPU step:
fill, copy, apply, accept.

    python benchmarks/gpu_constraints.py

Needs a CUDA device, and ``pip install -e ".[bench]"`` for the peer.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import common
import numpy as np
import torch
from transformers import AutoTokenizer

import structgen as sg
from structgen.device import Arena, BatchMatcher
from structgen.device.batch_matcher import needs_host
from structgen.kernels import layout
from structgen.kernels.sample import SamplingParameters

BATCHES = (1, 16, 128, 512)
STEPS = 56  # of each text
GRAPH = 8  # steps in one graph; what a replay takes is divided by it
PASSES = 6
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
    arena: Arena, chosen: list[Case], batch: int, n_logits: int, dtype: torch.dtype, nothing: float
) -> dict[str, float]:
    """Medians of the greedy step, with constraints and without, and of torch's own argmax."""
    matcher = BatchMatcher(arena, batch)
    forced = Forced(batch, n_logits, dtype)
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
    for _ in range(PASSES):
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


def run_without_waiting(arena: Arena, chosen: list[Case], n_logits: int, steps: int) -> int:
    """Slots of many grammars step along; a call that waits for the device raises here."""
    batch = 64
    matcher = BatchMatcher(arena, batch)
    logits = torch.randn((batch, n_logits), device="cuda", dtype=torch.bfloat16)
    out = torch.zeros(batch, dtype=torch.int32, device="cuda")
    graph = captured(lambda: matcher.greedy(logits, out))
    torch.cuda.set_sync_debug_mode("error")
    try:
        for step in range(steps):
            if step % 10 == 0:
                matcher.join(step // 10 % batch, chosen[step // 10 % len(chosen)].grammar)
            graph.replay()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    torch.cuda.synchronize()
    return int(matcher.tensors.slots[:, layout.S_STEPS.value].sum())


def xgrammar_step(tokenizer: Any, chosen: list[Case], batch: int, n_logits: int) -> float:
    """Median microseconds of XGrammar's part of a step, as the host sees it."""
    import xgrammar

    info = xgrammar.TokenizerInfo.from_huggingface(tokenizer, vocab_size=len(tokenizer))
    compiler = xgrammar.GrammarCompiler(info, max_threads=16)
    grammars = []
    for case in chosen:
        try:
            grammar = compiler.compile_json_schema(json.dumps(case.schema), strict_mode=False)
            first = xgrammar.GrammarMatcher(grammar)
            if all(map(first.accept_token, case.tokens)):
                grammars.append((grammar, case.tokens))
        except Exception:
            continue
    slots = [grammars[i % len(grammars)] for i in range(batch)]
    matchers = [xgrammar.GrammarMatcher(grammar) for grammar, _ in slots]
    filler = xgrammar.BatchGrammarMatcher(16)
    mask = xgrammar.allocate_token_bitmask(batch, info.vocab_size).pin_memory()
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
    bandwidth = copy_bandwidth()
    print(f"copy: {bandwidth / 1e12:.2f} TB/s; a step is an eighth of a graph's replay, in us")
    header = f"{'batch':>6} {'constrained':>12} {'p90':>8} {'free':>8} {'argmax':>8}"
    print(header + f" {'free/copy':>10} {'xgrammar':>10} {'ratio':>7} {'wrong':>6}")
    for batch in arguments.batch:
        r = constrained(arena, chosen, batch, n_logits, torch.bfloat16, nothing)
        peer = float("nan")
        if arguments.peers:
            peer = xgrammar_step(tokenizer, chosen, batch, n_logits)
        share = batch * n_logits * 2 / (r["unconstrained"] * 1e-6) / bandwidth
        print(
            f"{batch:6} {r['constrained']:12.1f} {r['p90']:8.1f} {r['unconstrained']:8.1f} "
            f"{r['torch.argmax']:8.1f} {share:10.2f} {peer:10.0f} "
            f"{peer / r['constrained']:7.0f} {r['wrong']:6.0f}"
        )
    print(f"{'batch':>6} {'sampled':>8} {'free':>8} {'torch':>8} {'wrong':>6}")
    for batch in arguments.batch:
        r = sampled(arena, chosen, batch, n_logits, nothing)
        print(
            f"{batch:6} {r['constrained']:8.1f} {r['unconstrained']:8.1f} {r['torch']:8.1f} "
            f"{r['wrong']:6.0f}"
        )
    taken = run_without_waiting(arena, chosen, n_logits, 10_000)
    print(f"10,000 steps of 64 slots, none waited for the device; {taken:,} tokens stand there")


if __name__ == "__main__":
    main()
