"""What a constrained decode step costs on a GPU, beside an unconstrained one and XGrammar's.

The slots of a batch follow valid instances of different MaskBench schemas; all their rows are on
the device. A step is: the mask, the likeliest allowed token, the token's bytes through the
automaton, the rows of the next mask. Times are medians of CUDA-graph replays, between events, with
the queue kept full. XGrammar's added time is that of its CPU step: fill, copy, apply, accept.

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

BATCHES = (1, 16, 128, 512)
STEPS = 60  # of each text, at least
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
    for row in common.maskbench(path):
        try:
            grammar = compiler.compile_json_schema(row["schema"])
        except sg.StructgenError:
            continue
        if needs_host(grammar):
            continue
        for test in row["tests"]:
            text = json.dumps(test["data"], ensure_ascii=False)
            tokens = tokenizer.encode(text, add_special_tokens=False)
            if not test["valid"] or not STEPS <= len(tokens) < 500:
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
    """Logits whose greatest allowed value is at a given token: random, and one raised."""

    def __init__(self, batch: int, n_logits: int, dtype: torch.dtype) -> None:
        self.logits = torch.randn((batch, n_logits), device="cuda").to(dtype)
        self.tokens = torch.zeros((batch, 1), dtype=torch.int64, device="cuda")
        self.kept = torch.zeros((batch, 1), dtype=dtype, device="cuda")
        self.high = torch.full((batch, 1), 100.0, dtype=dtype, device="cuda")

    def raise_(self, tokens: torch.Tensor) -> None:
        self.logits.scatter_(1, self.tokens, self.kept)
        self.tokens.copy_(tokens.view(-1, 1))
        torch.gather(self.logits, 1, self.tokens, out=self.kept)
        self.logits.scatter_(1, self.tokens, self.high)


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
    arena: Arena, chosen: list[Case], batch: int, n_logits: int, dtype: torch.dtype, check: bool
) -> dict[str, float]:
    """Medians of the greedy step, with constraints and without, and of torch's own argmax."""
    matcher = BatchMatcher(arena, batch)
    forced, out = (
        Forced(batch, n_logits, dtype),
        torch.zeros(batch, dtype=torch.int32, device="cuda"),
    )
    free = captured(lambda: matcher.greedy(forced.logits, out))
    unconstrained = [replay(free) for _ in range(200)]
    argmax = captured(lambda: torch.argmax(forced.logits, 1))
    plain = [replay(argmax) for _ in range(200)]
    slots = [chosen[i % len(chosen)] for i in range(batch)]
    started = time.perf_counter()
    for slot, case in enumerate(slots):
        matcher.join(slot, case.grammar)
    matcher.resolve()
    joined = time.perf_counter() - started
    times: list[float] = []
    wrong = 0
    at = [0] * batch
    for step in range(STEPS * 3):
        tokens = [case.tokens[i] for case, i in zip(slots, at, strict=True)]
        forced.raise_(torch.tensor(tokens, device="cuda"))
        times.append(replay(free))
        chosen_tokens = out.tolist() if check or step % 16 == 0 else tokens
        wrong += sum(a != b for a, b in zip(chosen_tokens, tokens, strict=True))
        for slot, case in enumerate(slots):
            at[slot] += 1
            if at[slot] == len(case.tokens):
                at[slot] = 0
                matcher.join(slot, case.grammar)
        if any(i == 0 for i in at):
            matcher.resolve()
    return {
        "constrained": statistics.median(times),
        "p90": float(np.percentile(times, 90)),
        "unconstrained": statistics.median(unconstrained),
        "torch.argmax": statistics.median(plain),
        "join_ms": joined * 1e3,
        "wrong": wrong,
    }


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
    parser.add_argument("--check", action="store_true", help="compare every token")
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
    print(f"copy: {bandwidth / 1e12:.2f} TB/s; between two events: {nothing:.1f} us (in all below)")
    header = f"{'batch':>6} {'constrained':>12} {'p90':>8} {'free':>8} {'argmax':>8}"
    print(header + f" {'free/copy':>10} {'xgrammar':>10} {'ratio':>7} {'wrong':>6}")
    for batch in arguments.batch:
        r = constrained(arena, chosen, batch, n_logits, torch.bfloat16, arguments.check)
        peer = float("nan")
        if arguments.peers:
            peer = xgrammar_step(tokenizer, chosen, batch, n_logits)
        share = batch * n_logits * 2 / (r["unconstrained"] * 1e-6) / bandwidth
        print(
            f"{batch:6} {r['constrained']:12.1f} {r['p90']:8.1f} {r['unconstrained']:8.1f} "
            f"{r['torch.argmax']:8.1f} {share:10.2f} {peer:10.0f} "
            f"{peer / r['constrained']:7.0f} {r['wrong']:6.0f}"
        )


if __name__ == "__main__":
    main()
