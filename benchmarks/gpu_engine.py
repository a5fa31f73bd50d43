"""What a step of the engine takes on a GPU, and how many tokens a second come out.

Models have the shapes of Llama-3-8B and Qwen3-0.6B, and random weights. *Decode*: all slots of a
batch decode, free or each under a different schema of MaskBench, from prompts of random tokens.
The device's time of a step is that of its CUDA graph, between events, with the queue kept full; the
wall time is that of the engine's whole loop, from launch to launch, and the host's time what is
left of it without waiting for the device. The *floor* is the bytes of the weights, read once, and
of the keys and values of the contexts, at the bandwidth of a large copy measured in the same run.

So that constrained texts go on, each is a long array of values of its schema. Steps with a prompt
in or near them (a text that ended was begun anew) do not count for the wall time. "no token" is the
share of slots and steps in which none was chosen, "served" those in which a constraint asked for
the host, mostly for a row that was not on the device.

*Throughput*: requests through the whole engine, beside transformers' continuous batching with the
same weights. *Profile*: kernels, idle time of the device, and the host's functions.

    python benchmarks/gpu_engine.py --json gpu_engine.json
    python benchmarks/gpu_engine.py --model 8b --only decode --batch 1 32 --profile
    python benchmarks/gpu_engine.py --device cpu --tiny --profile

Needs a CUDA device for figures that mean anything. Ends with status 1 if a part failed.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import common
import torch
from common import figure
from gpu_constraints import copy_bandwidth, empty_replay
from gpu_engine_profile import activity, profile
from gpu_engine_recording import KINDS, SIZES, TINY, Measured, Sizes
from gpu_engine_transformers import LAST_SEED, transformers_throughput
from transformers import AutoTokenizer, LlamaConfig, Qwen3Config

import structgen as sg
from structgen.device.batch_matcher import needs_host
from structgen.engine.models import random_native
from structgen.engine.models.llama import LlamaModel
from structgen.engine.request import Request
from structgen.engine.storage import KVStorage
from structgen.warmup import load_kernels

PARTS = ("decode", "throughput", "transformers")


# -- models and grammars --------------------------------------------------------------------------


def model_config(name: str, vocab_size: int, layers: int | None, tiny: bool) -> Any:
    """Of Llama-3-8B or Qwen3-0.6B; ``tiny``: of the same kind, for a CPU."""
    shape: dict[str, Any] = {"max_position_embeddings": 8192, "eos_token_id": None}
    small = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
             "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
             "vocab_size": vocab_size}  # fmt: skip
    if name == "8b":
        shape |= {"vocab_size": 128256, "hidden_size": 4096, "intermediate_size": 14336,
                  "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
                  "rope_theta": 500000.0, "rms_norm_eps": 1e-5}  # fmt: skip
    else:
        shape |= {"vocab_size": 151936, "hidden_size": 1024, "intermediate_size": 3072,
                  "num_hidden_layers": 28, "num_attention_heads": 16, "num_key_value_heads": 8,
                  "head_dim": 128, "rope_theta": 1000000.0,
                  "tie_word_embeddings": True}  # fmt: skip
    if tiny:
        shape |= small
    if layers is not None:
        shape["num_hidden_layers"] = layers
    return (LlamaConfig if name == "8b" else Qwen3Config)(**shape)


def bytes_read(model: LlamaModel) -> int:
    """Of the weights in a step: all but the embeddings, unless the head is the same matrix."""
    numbers = 0
    for name, size in model.shape.tensors().items():
        if name != "model.embed_tokens.weight" or model.shape.tied:
            numbers += torch.Size(size).numel()
    return numbers * model.dtype.itemsize


def long_grammars(
    path: Path, compiler: sg.Compiler, count: int, seconds: float
) -> list[sg.CompiledGrammar]:
    """Long arrays of values of different schemas; ``seconds`` for the rows of each, ahead."""
    found: list[sg.CompiledGrammar] = []
    complete = 0
    begun = time.perf_counter()
    for row in common.maskbench(path):
        schema = row["schema"]
        if not isinstance(schema, dict):
            continue
        # A resource of its own, so that its references are still looked up in it.
        item = {"$id": "urn:schema", **schema} if '"$ref"' in json.dumps(schema) else schema
        whole: dict[str, Any] = {"type": "array", "minItems": 100_000, "items": item}
        if "$schema" in schema:
            whole["$schema"] = schema["$schema"]
        try:
            grammar = compiler.compile_json_schema(whole)
            if needs_host(grammar):
                continue
            complete += grammar.complete(seconds)
        except sg.StructgenError:
            continue
        found.append(grammar)
        if len(found) == count:
            break
    if not found:
        raise RuntimeError(f"no schema of {path} compiles")
    print(
        f"{len(found)} grammars, {complete} of them completed in {seconds:g} s each, "
        f"{sum(g.nbytes for g in found) / 2**20:.0f} MiB, {time.perf_counter() - begun:.0f} s\n",
        flush=True,
    )
    return found


# -- decode ---------------------------------------------------------------------------------------


def decode_case(
    measured: Measured, requests: list[Request], sizes: Sizes, nothing: float
) -> dict[str, Any]:
    """Medians of a step in milliseconds, and what the slots did."""
    replays = measured.runner.replays
    recording = measured.record(
        requests,
        [(sizes.warm, nullcontext()), (sizes.steps, nullcontext()), (sizes.steps, replays)],
    )
    marks = recording.marks
    wall, host = [], []
    for i in recording.steps(1):
        # What runs on the device between two launches was launched up to two steps before.
        if not any(mark.prompts for mark in marks[max(0, i - 2) : i + 2]):
            wall.append((marks[i + 1].at - marks[i].at) * 1e3)
            host.append(wall[-1] - (marks[i + 1].waited - marks[i].waited) * 1e3)
    first, last = recording.starts[1], recording.starts[3]
    whole = (marks[recording.starts[2]].at - marks[first].at) / sizes.steps * 1e3
    # The tokens of a step are known one launch later, or two.
    lag = 1 + measured.ahead
    counted = marks[first : last + 1 - lag]
    sampled = sum(mark.sampled for mark in counted)
    tokens = marks[last].tokens - marks[first - 1 + lag].tokens
    timed = [marks[i] for i in recording.steps(2)]
    return {
        "device_ms": statistics.median(replays.milliseconds()) - nothing / 1e3,
        "wall_ms": statistics.median(wall) if wall else math.nan,
        "wall_mean_ms": whole,
        "host_ms": statistics.median(host) if host else math.nan,
        "context": sum(m.keys for m in timed) / sum(m.decodes for m in timed),
        "keys": statistics.fmean(m.keys for m in timed),
        "active": statistics.fmean(m.decodes for m in marks[first:last]),
        "no_token": 1 - tokens / sampled,
        "served": (marks[last].served - marks[first].served) / sampled,
        "restarts": recording.restarts,
        "errors": len(recording.errors),
        "error": recording.errors[0] if recording.errors else None,
    }


def decode(
    measured: Measured,
    grammars: list[sg.CompiledGrammar],
    sizes: Sizes,
    bandwidth: float,
    nothing: float,
) -> list[dict[str, Any]]:
    """The table of all batches, kinds of sampling, free and constrained."""
    model = measured.runner.model
    weights = bytes_read(model)
    key = KVStorage.page_bytes(model.layers, 1, model.dtype)
    prompt = max(1, sizes.context - sizes.warm - sizes.steps * 3 // 2)
    print(
        f"{weights / 1e9:.2f} GB of weights a step, {key / 1024:.0f} KiB of keys and values a token"
    )
    results: list[dict[str, Any]] = []
    rows = []
    for batch in sizes.batches:
        for kind, sampling in KINDS.items():
            free: dict[str, Any] = {}
            for constrained in (False, True):
                chosen: list[sg.CompiledGrammar | None] = [
                    grammars[i % len(grammars)] if constrained else None for i in range(batch)
                ]
                requests = measured.requests(prompt, sizes.room - prompt, chosen, **sampling)
                name = {"batch": batch, "sampling": kind, "constrained": constrained}
                try:
                    r: dict[str, Any] = name | decode_case(measured, requests, sizes, nothing)
                except Exception as error:
                    traceback.print_exc()
                    rows.append(
                        [str(batch), kind, "yes" if constrained else "no", str(error)[:200]]
                    )
                    results.append(name | {"error": str(error)})
                    continue
                r["floor_ms"] = (weights + key * r["keys"]) / bandwidth * 1e3
                r["device_over_floor"] = r["device_ms"] / r["floor_ms"]
                for which in ("device", "wall"):
                    if constrained and f"{which}_ms" in free:
                        r[f"{which}_over_free"] = r[f"{which}_ms"] / free[f"{which}_ms"]
                if not constrained:
                    free = r
                results.append(r)
                rows.append([
                    str(batch), kind, "yes" if constrained else "no", figure(r["device_ms"]),
                    figure(r["floor_ms"]), figure(r["device_over_floor"]),
                    figure(r.get("device_over_free")), figure(r["wall_ms"]),
                    figure(r["wall_ms"] / r["floor_ms"]), figure(r.get("wall_over_free")),
                    figure(r["wall_mean_ms"]), figure(r["host_ms"]), f"{r['context']:.0f}",
                    f"{r['active']:.1f}", f"{r['no_token']:.2%}", f"{r['served']:.2%}",
                    f"{r['restarts']}" + (f", {r['errors']} errors" if r["errors"] else ""),
                ])  # fmt: skip
                print(f"  {rows[-1]}", file=sys.stderr, flush=True)
    head = ("batch sampling constrained device floor device/floor constrained/free wall "
            "wall/floor constrained/free,wall wall,mean host context active no,token served "
            "restarts")  # fmt: skip
    columns = [name.replace(",", " ") for name in head.split()]
    print("decode: milliseconds of a step (aims: device/floor 1.25 at batch 1, 1.5 at 32 and 128; "
          "constrained/free 1.02)")  # fmt: skip
    for r in results:
        if r.get("error"):
            print(f"batch {r['batch']}, {r['sampling']}: {r['error']}"[:300])
    common.print_table(columns, [row + [""] * (len(columns) - len(row)) for row in rows])
    return results


# -- throughput -----------------------------------------------------------------------------------


def throughput(
    measured: Measured, grammars: list[sg.CompiledGrammar], sizes: Sizes
) -> dict[str, Any]:
    """Tokens a second of greedy requests, free and constrained; what was generated last."""
    found: dict[str, Any] = {"ids": measured.n_ids}
    rows = []
    every = [grammars[i % len(grammars)] for i in range(sizes.requests)]
    free: list[sg.CompiledGrammar | None] = [None] * sizes.requests
    for name, chosen in (("free", free), ("constrained", every)):
        # Other prompts each time, so that none is in the prefix cache.
        first = LAST_SEED - 2 if chosen is free else LAST_SEED + 1
        rates: list[float] = []
        try:
            for seed in range(first, first + 3):
                requests = measured.requests(
                    sizes.prompt, sizes.output, chosen, seed=seed, temperature=0.0
                )
                before = measured.engine.metrics()
                took, outputs = measured.generate(requests)
                after = measured.engine.metrics()
                lengths = sum(len(output.token_ids) for output in outputs)
                rates.append(lengths / took)
        except Exception as error:
            traceback.print_exc()
            rows.append([name, f"{type(error).__name__}: {error}"[:200], *[""] * 5])
            continue
        found[name], found[f"{name} runs"] = statistics.fmean(rates[1:]), rates
        wrong = sum(
            not _follows(request.grammar, output.token_ids)
            for request, output in zip(requests, outputs, strict=True)
            if request.grammar is not None
        )
        found["wrong"] = found.get("wrong", 0) + wrong
        if chosen is free:
            found["first tokens"] = [output.token_ids[0] for output in outputs]
        rows.append([
            name, figure(found[name]), ", ".join(map(figure, rates)), str(lengths),
            str(after.steps - before.steps), str(after.preemptions - before.preemptions),
            str(wrong),
        ])  # fmt: skip
    ratio = found.get("constrained", math.nan) / found.get("free", math.nan)
    print(
        f"throughput: {sizes.requests} requests of {sizes.prompt} + {sizes.output} tokens, greedy; "
        f"constrained/free {figure(ratio)}"
    )
    head = "|tokens/s|each run, the first warms up|tokens|steps|preemptions|wrong"
    common.print_table(head.split("|"), rows)
    return found


def _follows(grammar: sg.CompiledGrammar, tokens: Sequence[int]) -> bool:
    return all(map(grammar.matcher().accept_token, tokens))


# -- all of it ------------------------------------------------------------------------------------


class Session:
    """What a run of the benchmark has found so far; a part that fails does not end the others."""

    def __init__(self, limit: float, path: Path | None) -> None:
        self.results: dict[str, Any] = {}
        self.failed: list[str] = []
        self._begun, self._limit, self._path = time.perf_counter(), limit, path

    def part(self, name: str, call: Callable[[], Any]) -> Any:
        """What ``call`` returns; None where it fails, or the time is over."""
        begun = time.perf_counter() - self._begun
        if begun > self._limit:
            print(f"{name}: left out, {begun:.0f} s are over\n", flush=True)
            self.failed.append(name)
            return None
        try:
            found = call()
        except Exception as error:
            traceback.print_exc()
            sys.stderr.flush()
            print(f"{name} failed: {type(error).__name__}: {str(error)[:500]}\n", flush=True)
            self.failed.append(name)
            return None
        took = time.perf_counter() - self._begun - begun
        memory = ""
        if torch.cuda.is_available():
            peak = torch.cuda.max_memory_allocated()
            torch.cuda.reset_peak_memory_stats()
            self.results.setdefault("peak_bytes", {})[name] = peak
            memory = f", at most {peak / 2**30:.1f} GiB allocated"
        print(f"{name}: {took:.0f} s{memory}\n", flush=True)
        if isinstance(found, dict | list):
            self.keep(name, found)
        return found

    def keep(self, name: str, found: Any) -> None:
        self.results[name] = found
        if self._path is not None:
            self._path.write_text(json.dumps(self.results, indent=1))


class Loaded(NamedTuple):
    """A model under measurement."""

    model: LlamaModel
    config: Any
    grammars: list[sg.CompiledGrammar]
    measured: Measured


def load(name: str, arguments: argparse.Namespace, sizes: Sizes) -> Loaded:
    """A model of random weights, its grammars, and an engine that has run once."""
    device = torch.device(arguments.device)
    folder = arguments.tokenizer or common.TOKENIZERS / ("llama3" if name == "8b" else "qwen3")
    if not folder.is_dir():
        folder = common.TOKENIZERS / "llama3"
    vocabulary = sg.Vocabulary.from_huggingface(AutoTokenizer.from_pretrained(folder))
    config = model_config(name, len(vocabulary), arguments.layers, arguments.tiny)
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    print(f"## {name}: {config.num_hidden_layers} layers, {dtype}, {folder.name}\n", flush=True)
    model = random_native(config, device, dtype)
    count = max(*sizes.batches, sizes.requests)
    grammars = long_grammars(arguments.data, sg.Compiler(vocabulary), count, sizes.completion)
    measured = Measured(model, vocabulary, sizes)
    print(f"{measured.n_pages:,} pages, {measured.kv_bytes / 2**30:.2f} GiB of keys and values")
    measured.warm_up(sizes)
    return Loaded(model, config, grammars, measured)


def measure(
    name: str,
    loaded: Loaded,
    arguments: argparse.Namespace,
    session: Session,
    sizes: Sizes,
    speed: tuple[float, float],
) -> dict[str, Any]:
    """All parts with one model; returns the throughput."""
    _, _, grammars, measured = loaded
    found: dict[str, Any] = {}
    if "decode" in arguments.only:
        results = session.part(f"{name} decode", lambda: decode(measured, grammars, sizes, *speed))
        if any(r["error"] for r in results or ()):
            session.failed.append(f"{name} decode, in part")
    if "throughput" in arguments.only:
        found = session.part(f"{name} throughput", lambda: throughput(measured, grammars, sizes))
        if found is not None and (not {"free", "constrained"} <= found.keys() or found["wrong"]):
            session.failed.append(f"{name} throughput, in part")
    if arguments.profile is not None:
        for batch in arguments.profile or (min(sizes.batches), max(sizes.batches)):
            for bound in (False, True):
                session.part(
                    f"{name} profile, batch {batch}, {'constrained' if bound else 'free'}",
                    lambda b=batch, c=bound: profile(measured, grammars, sizes, b, c),
                )
    return found or {}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=common.MASKBENCH, help="[%(default)s]")
    parser.add_argument("--tokenizer", type=Path, help="a folder [llama3, qwen3]")
    parser.add_argument("--model", nargs="+", default=["8b", "0.6b"], choices=["8b", "0.6b"])
    parser.add_argument("--only", nargs="+", default=list(PARTS), choices=[*PARTS, "none"])
    parser.add_argument("--batch", type=int, nargs="+", help=f"[{SIZES.batches}]")
    parser.add_argument("--layers", type=int, help="fewer than the model has")
    parser.add_argument(
        "--profile", type=int, nargs="*", metavar="BATCH", help="[smallest and largest batch]"
    )
    parser.add_argument("--device", default="cuda", help="[%(default)s]")
    parser.add_argument("--tiny", action="store_true", help="small, to see that it works")
    parser.add_argument(
        "--limit", type=float, default=400, help="no part begins after [%(default)s s]"
    )
    parser.add_argument("--json", type=Path, help="a file for the figures")
    arguments = parser.parse_args()
    if "transformers" in arguments.only and "throughput" not in arguments.only:
        arguments.only.append("throughput")
    sizes = TINY if arguments.tiny else SIZES
    if arguments.batch:
        sizes = sizes._replace(batches=tuple(arguments.batch))
    session = Session(arguments.limit, arguments.json)
    common.print_machine(["torch", "triton", "transformers", "numba"])
    on_gpu = torch.device(arguments.device).type == "cuda"
    bandwidth, nothing = (copy_bandwidth(), empty_replay()) if on_gpu else (_cpu_bandwidth(), 0.0)
    machine = torch.cuda.get_device_name() if on_gpu else "CPU"
    print(f"{machine}; copy: {bandwidth / 1e12:.2f} TB/s\n", flush=True)
    session.keep("copy_bytes_per_second", bandwidth)
    if arguments.profile is not None:
        # The profiler is set up on this thread, and before there are graphs.
        with torch.profiler.profile(activities=[activity(on_gpu)]):
            torch.zeros(1, device=arguments.device)
    session.part("array kernels", load_kernels)
    peer: Any = None
    for name in arguments.model:
        loaded = session.part(f"{name} load", lambda name=name: load(name, arguments, sizes))
        if loaded is None:
            continue
        found = measure(name, loaded, arguments, session, sizes, (bandwidth, nothing))
        loaded.measured.engine.close()
        if name == "8b":
            peer = loaded.model, loaded.config, found
        del loaded
        gc.collect()
        torch.cuda.empty_cache()
    # Last: whatever it does to the process, the other figures are out.
    if "transformers" in arguments.only and peer is not None:
        session.part("transformers", lambda: transformers_throughput(*peer, sizes))
    if session.failed:
        print("failed or left out:", ", ".join(session.failed))
    session.keep("failed", session.failed)
    return int(bool(session.failed))


def _cpu_bandwidth() -> float:
    source = torch.ones(1 << 26, dtype=torch.uint8)
    target = torch.empty_like(source)
    times = []
    for _ in range(5):
        begun = time.perf_counter()
        target.copy_(source)
        times.append(time.perf_counter() - begun)
    return 2 * len(source) / statistics.median(times)


if __name__ == "__main__":
    raise SystemExit(main())
