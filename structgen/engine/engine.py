"""The thread that runs the steps: requests join and leave between them."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from collections.abc import Sequence as Rows

import torch

from structgen.engine.handle import Event, Handle
from structgen.engine.metrics import Metrics
from structgen.engine.request import Request, TokenLogprob, first_line
from structgen.engine.runner import Result, Runner, Step
from structgen.engine.sampler import NO_SCORE, WAITING
from structgen.engine.scheduler import Drain, Plan, Scheduler
from structgen.engine.sequence import Sequence
from structgen.engine.tokens import TokenTable
from structgen.errors import StructgenError
from structgen.kernels import layout

MOST_RETRIES = 3  # after the device ran out of memory
RECOVERY_STEPS = 256  # after so many, a step may compute more again
MOST_STALLS = 1000  # steps in a row in which a constraint lets a sequence wait

log = logging.getLogger("structgen")


class Engine:
    """Continuous batching on one thread, which alone touches scheduler and runner.

    While a step runs on the device, the next one is planned and launched (``ahead``); what it
    sampled is looked at one step later. A request that fails ends alone.
    """

    def __init__(self, runner: Runner, table: TokenTable, *, ahead: bool) -> None:
        self._runner = runner
        self._table = table
        self._ahead = ahead
        self._broken: list[Sequence] = []  # that could not begin
        self._cancelled: deque[Sequence] = deque()
        self.scheduler = Scheduler(runner.config, runner.storage.n_pages, self._begin, runner.leave)
        self._handles: dict[Sequence, Handle] = {}
        self._arrived: list[Handle] = []
        self._under_way: Step | None = None
        self._wake = threading.Condition()
        self._closed = self._draining = False
        self._thread: threading.Thread | None = None
        self._number = 0
        self._counts = dict.fromkeys(
            ("steps", "prompt_tokens", "generated_tokens", "finished", "failed", "cancelled"), 0
        )
        self._began: float | None = None

    # -- other threads --------------------------------------------------------------------------

    def submit(
        self,
        requests: Rows[Request],
        on_event: Callable[[int, Event], None] | None = None,
    ) -> list[Handle]:
        """Queue ``requests`` together; ``on_event`` also gets the position in ``requests``.

        Raises:
            StructgenError: the engine is closed, or the requests are more than may wait.
        """
        with self._wake:
            if self._closed:
                raise StructgenError("this LLM is closed")
            others = len(self._arrived)
            tokens = sum(h.sequence.length for h in self._arrived)
            for request in requests:
                self.scheduler.check(len(request.prompt_ids), others, tokens)
                others, tokens = others + 1, tokens + len(request.prompt_ids)
            handles = []
            for index, request in enumerate(requests):
                self._number += 1
                sequence = Sequence(request, self._table, self._number)
                listener = None if on_event is None else _numbered(on_event, index)
                handles.append(Handle(sequence, listener, self._cancelled.append))
            if self._thread is None:
                self._began = time.monotonic()
                self._thread = threading.Thread(
                    target=self._run, name="structgen-engine", daemon=True
                )
                self._thread.start()
            self._arrived += handles
            self._wake.notify()
        return handles

    def close(self, *, drain: bool = False) -> None:
        """End the thread: after its current step, what is unfinished failing, or, with ``drain``,
        once all requests are done. New ones are refused at once."""
        with self._wake:
            self._closed, self._draining = True, drain
            self._wake.notify()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def metrics(self) -> Metrics:
        """Counts so far; may be a step old."""
        scheduler = self.scheduler
        pool, prefix = scheduler.pool, scheduler.prefix
        held = len({page for s in list(scheduler.running) for page in list(s.pages)})
        return Metrics(
            **self._counts,
            preemptions=scheduler.preemptions,
            running=len(scheduler.running),
            waiting=scheduler.n_waiting + len(self._arrived),
            pages=pool.n_pages - 1,
            pages_free=pool.n_free,
            pages_cached=max(0, pool.n_pages - 1 - pool.n_free - held),
            kv_bytes=self._runner.storage.nbytes,
            prefix_lookups=prefix.lookups,
            prefix_hits=prefix.hits,
            seconds=0.0 if self._began is None else time.monotonic() - self._began,
        )

    # -- the engine's thread --------------------------------------------------------------------

    def _run(self) -> None:
        end = StructgenError("this LLM was closed")
        try:
            self._run_steps()
            self._fail(end, self.scheduler.clear())
        except BaseException as error:  # not even those of a failed step can be taken out
            log.error("the engine cannot go on", exc_info=True)
            end = StructgenError(f"this LLM has failed and is closed: {first_line(error)}")
        with self._wake:
            self._closed = True
            left, self._arrived = [*self._handles.values(), *self._arrived], []
        self._handles.clear()
        for handle in left:
            _send(handle, end)

    def _run_steps(self) -> None:
        while True:
            with self._wake:
                while not (self._arrived or self._busy or self._closed):
                    self._wake.wait()
                if self._closed and not (self._draining and (self._arrived or self._busy)):
                    return
                for handle in self._arrived:
                    self._handles[handle.sequence] = handle
                    if handle.sequence.cancelled:
                        self._cancelled.append(handle.sequence)
                    self.scheduler.add(handle.sequence)
                self._arrived = []
            try:
                self.step()
                if self._runner.config.verify:
                    self.scheduler.verify()
            except Exception as error:
                log.debug("a step failed", exc_info=True)
                self._fail(error, [s for s in self._handles if not s.waiting])

    @property
    def _busy(self) -> bool:
        return not self.scheduler.is_idle or self._under_way is not None

    def step(self) -> None:
        """Plan a step, launch it, and look at what the one before it sampled."""
        while self._cancelled:
            sequence = self._cancelled.popleft()
            if sequence in self._handles:
                self._end(sequence)
        try:
            plan = self.scheduler.plan()
        except Drain:
            self._collect()
            return
        finally:
            while self._broken:
                self._end(self._broken.pop())
        step: Step | None = None
        if plan:
            try:
                step = self._runner.launch(plan)
            except torch.cuda.OutOfMemoryError as error:
                self._make_room(plan, error)
                return
            except Exception as error:
                log.debug("a step failed", exc_info=True)
                self._undo(plan)
                self._collect()
                self._fail(error, plan.sequences)
                return
            self._counts["steps"] += 1
            step.number = self._counts["steps"]
            if not step.number % RECOVERY_STEPS:
                most = self._runner.config.max_step_tokens
                self.scheduler.budget = min(most, 2 * self.scheduler.budget)
            self._counts["prompt_tokens"] += sum(c.end - c.start for c in plan.chunks)
        if self._ahead:
            self._under_way, step = step, self._under_way
        self._look(step)

    def _begin(self, sequence: Sequence) -> bool:
        try:
            self._runner.join(sequence)
        except StructgenError as error:
            sequence.fail(str(error))
        except Exception as error:  # a fault in one grammar ends its own request only
            log.debug("a request cannot begin", exc_info=True)
            sequence.fail(f"{type(error).__name__}: {error}")
        else:
            return True
        self._broken.append(sequence)
        return False

    def _collect(self) -> None:
        """Wait for the step under way."""
        step, self._under_way = self._under_way, None
        self._look(step)

    def _look(self, step: Step | None) -> None:
        """Give sequences what a step sampled for them."""
        if step is None:
            return
        stalled: dict[Sequence, int] = {}
        for sequence, result in step.results():
            if sequence not in self._handles:
                continue
            sequence.in_flight -= 1
            piece = ""
            if result.token >= 0:
                sequence.retries = sequence.stalls = 0
                self._counts["generated_tokens"] += 1
                ended = result.status == layout.FINISHED.value
                piece = sequence.accept(
                    result.token, ended=ended, logprob=_logprob(sequence, result)
                )
            elif result.token == NO_SCORE:
                sequence.fail("the model gives no finite score to any token that is allowed here")
            elif result.status == layout.FINISHED.value:
                piece = sequence.end()
            else:
                sequence.computed -= 1
                sequence.stalls += 1
            if piece:
                _send(self._handles[sequence], piece)
            if sequence.is_finished:
                self._end(sequence)
            elif result.status in WAITING and step.number > sequence.served:
                stalled[sequence] = result.status
        if stalled:
            self._serve(stalled)

    def _serve(self, stalled: dict[Sequence, int]) -> None:
        """Bring what constraints lack; steps launched from now on find it there."""
        found = self._runner.sampler.serve({s.slot: status for s, status in stalled.items()})
        for sequence in stalled:
            sequence.served = self._counts["steps"]
            message = found.get(sequence.slot)
            if message is None and sequence.stalls > MOST_STALLS:
                message = "its constraint does not come to an answer"
            if message is not None:
                sequence.fail(message)
                self._end(sequence)

    def _end(self, sequence: Sequence) -> None:
        """Take out a sequence that is finished or cancelled, and tell whoever waits for it."""
        self.scheduler.finish(sequence, keep=sequence.finish_reason != "error")
        handle = self._handles.pop(sequence)
        if sequence.cancelled:
            self._counts["cancelled"] += 1
            return
        self._counts["failed" if sequence.finish_reason == "error" else "finished"] += 1
        _send(handle, sequence.output())

    # -- faults ---------------------------------------------------------------------------------

    def _undo(self, plan: Plan) -> None:
        """Take back what a plan counted on that was not launched."""
        for chunk in plan.chunks:
            chunk.sequence.computed = min(chunk.sequence.computed, chunk.start)
            if chunk.is_last:
                chunk.sequence.decoding = False
                chunk.sequence.in_flight -= 1
        for sequence in plan.decodes:
            sequence.computed -= 1
            sequence.in_flight -= 1

    def _make_room(self, plan: Plan, error: Exception) -> None:
        """The device ran out of memory: all wait again, and less is computed at once."""
        log.warning("out of memory in a step of %d sequences: %s", len(list(plan.sequences)), error)
        self._undo(plan)
        self._collect()
        self.scheduler.forget()
        self.scheduler.budget = max(self._runner.config.page_size, self.scheduler.budget // 2)
        torch.cuda.empty_cache()
        for sequence in list(self.scheduler.running):
            sequence.retries += 1
            if sequence.retries > MOST_RETRIES:
                self._fail(error, [sequence])
            else:
                self.scheduler.preempt(sequence, keep=False)

    def _fail(self, error: Exception, sequences: Rows[Sequence] | Iterator[Sequence]) -> None:
        """End sequences with what broke their step."""
        told = (
            error
            if isinstance(error, StructgenError)
            else StructgenError(f"generation failed: {first_line(error)}")
        )
        for sequence in list(sequences):
            handle = self._handles.pop(sequence, None)
            if handle is None:
                continue
            sequence.fail(str(told))
            self._counts["cancelled" if sequence.cancelled else "failed"] += 1
            _send(handle, told)
            self.scheduler.finish(sequence, keep=False)
        # What the step should have written may be kept for others already.
        self.scheduler.forget()


def _logprob(sequence: Sequence, result: Result) -> TokenLogprob | None:
    if sequence.request.params.logprobs is None:
        return None
    return TokenLogprob(result.token, result.logprob, result.top)


def _send(handle: Handle, event: Event) -> None:
    if handle.sequence.cancelled:
        return
    try:
        handle.deliver(event)
    except BaseException:  # the listener is gone (its event loop closed); others go on
        handle.cancel()


def _numbered(on_event: Callable[[int, Event], None], index: int) -> Callable[[Event], None]:
    return lambda event: on_event(index, event)
