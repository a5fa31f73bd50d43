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
import cProfile
import gc
import inspect
import json
import math
import pstats
import statistics
import sys
import threading
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import common
import torch
from common import figure
from gpu_constraints import copy_bandwidth, empty_replay
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    LlamaConfig,
    Qwen3Config,
)

import structgen as sg
from structgen.device.batch_matcher import needs_host
from structgen.engine.config import EngineConfig
from structgen.engine.device_sampler import DeviceSampler
from structgen.engine.engine import Engine, Handle
from structgen.engine.memory import count_pages
from structgen.engine.models import random_native
from structgen.engine.models.llama import LlamaModel
from structgen.engine.request import Output, Request, SamplingParams
from structgen.engine.runner import Runner, Step
from structgen.engine.sampler import HostSampler, Kind, Sampler
from structgen.engine.scheduler import Plan
from structgen.engine.storage import KVStorage
from structgen.engine.tokens import TokenTable
from structgen.warmup import load_kernels

PARTS = ("decode", "throughput", "transformers")
KINDS: dict[str, dict[str, Any]] = {
    "greedy": {"temperature": 0.0},
    "top-p 0.9": {"temperature": 1.0, "top_p": 0.9},
}
SLEEP = 2_000_000  # cycles: longer than the host takes to launch a graph
WAIT = 60.0  # seconds for one case
LAST_SEED = 12  # of the prompts that transformers gets too


class Sizes(NamedTuple):
    """How much is measured, in tokens and steps."""

    batches: tuple[int, ...]
    context: int
    room: int
    warm: int
    steps: int
    profiled: int
    requests: int
    prompt: int
    output: int
    completion: float  # seconds for the rows of each grammar


SIZES = Sizes((1, 8, 32, 128), 512, 1024, 24, 64, 20, 128, 256, 128, 0.25)
TINY = Sizes((1, 4), 32, 128, 3, 6, 4, 6, 16, 8, 0.02)


# -- the engine, with clocks in it ----------------------------------------------------------------


class Mark(NamedTuple):
    """A launch, and what was counted until then."""

    at: float
    waited: float  # seconds, for the device
    decodes: int
    prompts: int
    sampled: int  # slots from which a token is expected
    keys: int  # in the contexts of those that decode
    tokens: int  # that the host knows
    served: int  # slots, by the host


class Replays:
    """Runs the decoding of a step; while it is entered, takes its time on the device."""

    def __init__(self, run: Callable[[int, Kind], None], device: torch.device) -> None:
        self._run, self._device = run, device
        self._on = False
        self._found: list[Callable[[], float]] = []

    def __enter__(self) -> None:
        self._on, self._found = True, []

    def __exit__(self, *_: object) -> None:
        self._on = False

    def run(self, rows: int, kind: Kind) -> None:
        if not self._on:
            self._run(rows, kind)
        elif self._device.type == "cuda":
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            torch.cuda._sleep(SLEEP)
            begin.record()
            self._run(rows, kind)
            end.record()
            self._found.append(lambda: begin.elapsed_time(end))
        else:
            begun = time.perf_counter()
            self._run(rows, kind)
            took = (time.perf_counter() - begun) * 1e3
            self._found.append(lambda: took)

    def milliseconds(self) -> list[float]:
        if self._device.type == "cuda":
            torch.cuda.synchronize()
        return [one() for one in self._found]


class Recording:
    """The steps of a case, in phases: each a number of steps, and a context that they run in.

    It begins when all slots decode.
    """

    def __init__(self, batch: int, phases: Sequence[tuple[int, AbstractContextManager]]) -> None:
        self.marks: list[Mark] = []
        self.done = threading.Event()
        self.restarts = 0
        self.errors: list[str] = []
        self.starts = [0]
        for n, _ in phases:
            self.starts.append(self.starts[-1] + n)
        self._batch = batch
        self._contexts = [context for _, context in phases]

    def add(self, mark: Mark) -> None:
        """Called before each launch, on the engine's thread, as the contexts are entered there."""
        if self.done.is_set() or (not self.marks and mark.decodes < self._batch):
            return
        n = len(self.marks)
        if n in self.starts:
            phase = self.starts.index(n)
            if phase > 0:
                self._contexts[phase - 1].__exit__(None, None, None)
            if phase == len(self._contexts):
                self.done.set()
            else:
                self._contexts[phase].__enter__()
                mark = mark._replace(at=time.perf_counter())
        self.marks.append(mark)

    def steps(self, phase: int) -> range:
        return range(self.starts[phase], self.starts[phase + 1])


class Waiting:
    """The event at a step's end; what the host waits for it is counted."""

    def __init__(self, event: Any, runner: TimedRunner) -> None:
        self._event, self._runner = event, runner

    def synchronize(self) -> None:
        begun = time.perf_counter()
        self._event.synchronize()
        self._runner.waited += time.perf_counter() - begun


class Counting:
    """A sampler; the slots that it was asked to serve are counted."""

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler
        self.served = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sampler, name)

    def serve(self, slots: Sequence[int]) -> dict[int, str]:
        self.served += len(slots)
        return self._sampler.serve(slots)


class TimedRunner(Runner):
    """A runner that takes down its launches."""

    counts: dict[str, int]  # the engine's
    recording: Recording | None = None
    waited = 0.0

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.replays = Replays(
            self._decode if self._graphs is None else self._graphs.run, self.device
        )
        self._graphs: Any = self.replays

    def launch(self, plan: Plan) -> Step:
        if self.recording is not None:
            ending = sum(chunk.is_last for chunk in plan.chunks)
            mark = Mark(
                time.perf_counter(), self.waited, len(plan.decodes), len(plan.chunks),
                len(plan.decodes) + ending, sum(s.computed for s in plan.decodes),
                self.counts["generated_tokens"], self.sampler.served,
            )  # fmt: skip
            self.recording.add(mark)
        step: Any = super().launch(plan)
        if step.event is not None:
            step.event = Waiting(step.event, self)
        return step


class Measured:
    """An engine around a model, and its requests."""

    def __init__(self, model: LlamaModel, vocabulary: sg.Vocabulary, sizes: Sizes) -> None:
        batch = max(*sizes.batches, sizes.requests)
        tokens = batch * (max(sizes.room, sizes.prompt + sizes.output) + 256)
        config = EngineConfig(max_batch_size=batch, kv_tokens=tokens)
        table = TokenTable(vocabulary)
        on_gpu = model.device.type == "cuda"
        sampler: Any = (
            DeviceSampler(batch, vocabulary, model.device) if on_gpu else HostSampler(batch, table)
        )
        self.ahead = int(on_gpu)
        self.n_pages = count_pages(model, config, sizes.room)
        storage = KVStorage(
            model.layers, self.n_pages, config.page_size, dtype=model.dtype, device=model.device
        )
        self.kv_bytes = storage.nbytes
        self.runner = TimedRunner(model, Counting(sampler), storage, config, sizes.room)
        self.engine = Engine(self.runner, self.n_pages, table, ahead=self.ahead)
        self.runner.counts = self.engine._counts
        self.n_ids = min(len(vocabulary), model.vocab_size)

    def requests(
        self,
        prompt: int,
        output: int,
        grammars: Sequence[sg.CompiledGrammar | None],
        seed: int = 0,
        **sampling: Any,
    ) -> list[Request]:
        """One for each grammar; the same prompts for the same ``seed``."""
        prompts = random_prompts(self.n_ids, len(grammars), prompt, seed)
        return [
            Request(
                tuple(row), SamplingParams(ignore_eos=True, seed=i, **sampling), output, grammar
            )
            for i, (row, grammar) in enumerate(zip(prompts, grammars, strict=True))
        ]

    def record(
        self, requests: list[Request], phases: Sequence[tuple[int, AbstractContextManager]]
    ) -> Recording:
        """Keep all ``requests`` running through the phases; a text that ends begins anew."""
        recording = self.runner.recording = Recording(len(requests), phases)
        handles: dict[int, Handle] = {}

        def heard(index: int, event: Any) -> None:
            if isinstance(event, str) or recording.done.is_set():
                return
            error = event.error if isinstance(event, Output) else str(event)
            if error is not None:
                recording.errors.append(error)
                if len(recording.errors) > len(requests):
                    recording.done.set()
                    return
            recording.restarts += 1
            [handles[index]] = self.engine.submit(
                [requests[index]], lambda _, event: heard(index, event)
            )

        handles |= enumerate(self.engine.submit(requests, heard))
        in_time = recording.done.wait(WAIT)
        recording.done.set()
        self._end(handles)
        self.runner.recording = None
        if len(recording.marks) <= recording.starts[-1]:
            why = recording.errors[-1] if recording.errors else "the engine stopped"
            raise RuntimeError(
                f"{len(recording.marks)} of {recording.starts[-1]} steps: "
                + (why if in_time else f"over {WAIT:g} s; {recording.errors[-1:]}")
            )
        return recording

    def _end(self, handles: dict[int, Handle]) -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            for handle in list(handles.values()):
                handle.cancel()
            metrics = self.engine.metrics()
            if not metrics.running and not metrics.waiting:
                return
            time.sleep(0.01)
        raise RuntimeError("cancelled requests still run")

    def generate(self, requests: list[Request]) -> tuple[float, list[Output]]:
        """Seconds until all are done, and what came."""
        begun = time.perf_counter()
        outputs = [handle.result() for handle in self.engine.submit(requests)]
        took = time.perf_counter() - begun
        for output in outputs:
            if output.error is not None:
                raise RuntimeError(output.error)
        return took, outputs

    def warm_up(self, sizes: Sizes) -> None:
        """Compile and capture outside of the measurements."""
        for sampling in KINDS.values():
            free: list[None] = [None] * max(sizes.batches)
            self.generate(self.requests(sizes.prompt, 4, free, seed=1, **sampling))


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


def random_prompts(n_ids: int, count: int, length: int, seed: int) -> list[list[int]]:
    """The same for the same ``seed``."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(n_ids, (count, length), generator=generator).tolist()


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


# -- transformers ---------------------------------------------------------------------------------


def transformers_model(native: LlamaModel, config: Any) -> Any:
    """A model of transformers on the memory of a native one of the Llama shape."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(
            config, attn_implementation="sdpa", dtype=native.dtype
        )
    shape = native.shape
    q, kv = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    state = {
        "model.embed_tokens.weight": native._embedding,
        "model.norm.weight": native._final_norm,
        "lm_head.weight": native._head,
    }
    for i, layer in enumerate(native._layers):
        at = f"model.layers.{i}."
        parts: Any = [
            ("self_attn", "qkv", layer.qkv, [q, kv, kv]),
            ("self_attn", "o", layer.output, [shape.hidden]),
            ("mlp", ("gate", "up"), layer.gate_up, [shape.intermediate] * 2),
            ("mlp", ("down",), layer.down, [shape.hidden]),
        ]
        for block, names, projection, lengths in parts:
            for name, part in zip(names, projection.weight.split(lengths), strict=True):
                state[f"{at}{block}.{name}_proj.weight"] = part
        state[f"{at}input_layernorm.weight"] = layer.input_norm
        state[f"{at}post_attention_layernorm.weight"] = layer.mlp_norm
    model.load_state_dict(state, assign=True)
    # Its frequencies are no parameters.
    model.model.rotary_emb = type(model.model.rotary_emb)(config).to(native.device)
    return model.eval().requires_grad_(False)


def transformers_throughput(
    native: LlamaModel, config: Any, ours: dict[str, Any], sizes: Sizes
) -> dict[str, Any]:
    """Tokens a second of transformers' own continuous batching, or of ``generate`` without it."""
    model = transformers_model(native, config)
    n_ids = ours.get("ids", config.vocab_size)
    options: dict[str, Any] = {"max_new_tokens": sizes.output, "do_sample": False,
                               "eos_token_id": -1, "pad_token_id": 0}  # fmt: skip
    wanted = sizes.output * sizes.requests
    tokens: list[list[int]] = []

    def batched(prompts: list[list[int]]) -> list[list[int]]:
        # A manager that is kept has its graphs the second time.
        keep = {"persistent_manager"} & inspect.signature(model.generate_batch).parameters.keys()
        found = model.generate_batch(
            inputs=prompts,
            generation_config=GenerationConfig(**options),
            **dict.fromkeys(keep, True),
        )
        return [one.generated_tokens for one in found.values()]

    @torch.inference_mode()
    def padded(prompts: list[list[int]]) -> list[list[int]]:
        settings = GenerationConfig(**options, cache_implementation="static", disable_compile=True)
        ids = torch.tensor(prompts, device=native.device)
        found = model.generate(ids, attention_mask=torch.ones_like(ids), generation_config=settings)
        return found[:, ids.shape[1] :].tolist()

    rows, rate = [], math.nan
    for name, call in (("generate_batch", batched), ("generate, static cache", padded)):
        try:
            rates = []
            for seed in (LAST_SEED - 1, LAST_SEED):  # the first run captures graphs
                prompts = random_prompts(n_ids, sizes.requests, sizes.prompt, seed)
                begun = time.perf_counter()
                tokens = call(prompts)
                rates.append(wanted / (time.perf_counter() - begun))
                if sum(map(len, tokens)) != wanted:
                    raise RuntimeError(f"{sum(map(len, tokens))} of {wanted} tokens came")
        except Exception as error:
            traceback.print_exc()
            rows.append([name, f"{type(error).__name__}: {error}"[:200], "", "", ""])
            continue
        rate = rates[1]
        known = ours.get("first tokens", [])
        same = sum(ours_one == one[0] for ours_one, one in zip(known, tokens, strict=False))
        rows.append([
            name, ", ".join(map(figure, rates)), figure(ours.get("free", math.nan) / rate),
            figure(ours.get("constrained", math.nan) / rate), f"{same} of {sizes.requests}",
        ])  # fmt: skip
        break
    print("throughput of transformers, and how many times as much ours is (aim: 15)")
    head = "|tokens/s, first and second run|ours/second|constrained/second|same first token"
    common.print_table(head.split("|"), rows)
    return {"tokens_per_second": rate, "ratio": ours.get("free", math.nan) / rate, "rows": rows}


# -- profile --------------------------------------------------------------------------------------


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
    kernels = torch.profiler.profile(activities=[_activity(on_gpu)])
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


def _activity(on_gpu: bool) -> Any:
    activity = torch.profiler.ProfilerActivity
    return activity.CUDA if on_gpu else activity.CPU


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
        with torch.profiler.profile(activities=[_activity(on_gpu)]):
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
