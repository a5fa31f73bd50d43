"""An engine with clocks in it: what each of its launches, and its graphs, took."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import torch

import structgen as sg
from structgen.engine.config import EngineConfig
from structgen.engine.device_sampler import DeviceSampler
from structgen.engine.engine import Engine
from structgen.engine.handle import Handle
from structgen.engine.memory import count_pages
from structgen.engine.models.llama import LlamaModel
from structgen.engine.request import Output, Request, SamplingParams
from structgen.engine.runner import Runner, Step
from structgen.engine.sampler import HostSampler, Kind, Sampler
from structgen.engine.scheduler import Plan
from structgen.engine.storage import KVStorage
from structgen.engine.tokens import TokenTable

KINDS: dict[str, dict[str, Any]] = {
    "greedy": {"temperature": 0.0},
    "top-p 0.9": {"temperature": 1.0, "top_p": 0.9},
}
SLEEP = 2_000_000  # cycles: longer than the host takes to launch a graph
WAIT = 60.0  # seconds for one case


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

    def serve(self, statuses: Mapping[int, int]) -> dict[int, str]:
        self.served += len(statuses)
        return self._sampler.serve(statuses)


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
        self.engine = Engine(self.runner, table, ahead=on_gpu)
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


def random_prompts(n_ids: int, count: int, length: int, seed: int) -> list[list[int]]:
    """The same for the same ``seed``."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(n_ids, (count, length), generator=generator).tolist()
