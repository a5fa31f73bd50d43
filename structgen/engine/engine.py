"""The thread that runs the batch: requests join and leave between steps."""

from __future__ import annotations

import logging
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator
from collections.abc import Sequence as Rows
from dataclasses import replace

from structgen.engine.request import Output, Request
from structgen.engine.sequence import Sequence, SequenceError
from structgen.engine.step import PREFILL_TOKENS, Batch
from structgen.engine.tokens import TokenTable
from structgen.errors import StructgenError

# A piece of text, the end of one request, or what broke the whole batch.
Event = str | Output | StructgenError

log = logging.getLogger("structgen")


class Handle:
    """One submitted request, seen from the thread that waits for it.

    Without ``on_event`` the events are read by iterating or with :meth:`result`. With it they are
    handed to that function, on the engine's thread, which it must not block.
    """

    def __init__(self, sequence: Sequence, on_event: Callable[[Event], None] | None) -> None:
        self.sequence = sequence
        self.cancelled = False
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self.deliver = on_event or self._events.put

    def cancel(self) -> None:
        """Stop at the next step; no more events come."""
        self.cancelled = True

    def __iter__(self) -> Iterator[str | Output]:
        """Pieces of text as they settle, then the final :class:`Output`.

        Raises:
            StructgenError: the batch failed as a whole (out of memory, closed engine).
        """
        while True:
            event = self._events.get()
            if isinstance(event, StructgenError):
                raise event
            if isinstance(event, Output):
                yield self._parse(event)
                return
            yield event

    def result(self) -> Output:
        """Wait for the final output; raises like iterating."""
        for event in self:
            if isinstance(event, Output):
                return event
        raise RuntimeError("a request ends with an Output")

    def _parse(self, output: Output) -> Output:
        # Here, not on the engine's thread: a person's validators may be slow or use the engine.
        parse = self.sequence.request.parse
        if parse is None or not self.sequence.complete:
            return output
        try:
            return replace(output, parsed=parse(output.text))
        except Exception as error:
            return replace(output, error=f"the text could not be parsed: {error}")


class Engine:
    """Continuous batching on one thread.

    Waiting requests are admitted in order of arrival as rows become free; a request that fails ends
    alone. Only the engine's thread touches the batch.
    """

    def __init__(self, batch: Batch, table: TokenTable, max_batch_size: int) -> None:
        self._batch = batch
        self._table = table
        self._max_batch_size = max_batch_size
        self._waiting: deque[Handle] = deque()
        self._running: dict[Sequence, Handle] = {}
        self._wake = threading.Condition()
        self._closed = False
        self._thread: threading.Thread | None = None

    def submit(
        self,
        requests: Rows[Request],
        on_event: Callable[[int, Event], None] | None = None,
    ) -> list[Handle]:
        """Queue ``requests`` together; ``on_event`` also gets the position in ``requests``."""
        handles = [
            Handle(
                Sequence(request, self._table),
                None if on_event is None else _numbered(on_event, index),
            )
            for index, request in enumerate(requests)
        ]
        ready = [handle for handle in handles if _start(handle)]
        with self._wake:
            if self._closed:
                raise StructgenError("this LLM is closed")
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="structgen-engine", daemon=True
                )
                self._thread.start()
            self._waiting.extend(ready)
            self._wake.notify()
        return handles

    def close(self) -> None:
        """End the thread after its current step; what is unfinished fails."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        while True:
            with self._wake:
                while not (self._waiting or self._running or self._closed):
                    self._wake.wait()
                if self._closed:
                    break
                arrivals = self._admit()
            try:
                self._advance(arrivals)
            except Exception as error:
                log.debug("the batch failed", exc_info=True)
                self._fail_all(StructgenError(f"generation failed: {_first_line(error)}"))
        self._fail_all(StructgenError("this LLM was closed"))

    def _admit(self) -> list[Handle]:
        """Requests to prefill now: as many as there are free rows and prefill tokens for."""
        arrivals: list[Handle] = []
        longest = 0
        while self._waiting and len(self._running) + len(arrivals) < self._max_batch_size:
            if self._waiting[0].cancelled:
                self._waiting.popleft()
                continue
            longest = max(longest, len(self._waiting[0].sequence.request.prompt_ids))
            if arrivals and longest * (len(arrivals) + 1) > PREFILL_TOKENS:
                break
            arrivals.append(self._waiting.popleft())
        return arrivals

    def _advance(self, arrivals: list[Handle]) -> None:
        gone = [s for s, handle in self._running.items() if handle.cancelled]
        if gone:
            self._batch.drop(gone)
            for sequence in gone:
                del self._running[sequence]
        if arrivals:
            self._running.update((handle.sequence, handle) for handle in arrivals)
            self._deliver(self._batch.join([handle.sequence for handle in arrivals]))
        if self._batch.sequences:
            self._deliver(self._batch.step())

    def _deliver(self, pieces: list[tuple[Sequence, str]]) -> None:
        for sequence, piece in pieces:
            handle = self._running[sequence]
            if piece:
                _send(handle, piece)
            if sequence.finish_reason is not None:
                del self._running[sequence]
                _send(handle, sequence.output())

    def _fail_all(self, error: StructgenError) -> None:
        with self._wake:
            failed = [*self._running.values(), *(self._waiting if self._closed else ())]
            self._running.clear()
            if self._closed:
                self._waiting.clear()
        for handle in failed:
            _send(handle, error)
        self._batch.clear()


def _start(handle: Handle) -> bool:
    """Fill the first mask, on the caller's thread; False where the request is over already."""
    sequence = handle.sequence
    try:
        piece = sequence.start()
    except (SequenceError, StructgenError) as error:
        sequence.fail(str(error))
        piece = ""
    if sequence.finish_reason is None:
        return True
    if piece:
        _send(handle, piece)
    _send(handle, sequence.output())
    return False


def _send(handle: Handle, event: Event) -> None:
    if handle.cancelled:
        return
    try:
        handle.deliver(event)
    except Exception:  # the listener is gone (its event loop closed); nobody else is affected
        handle.cancel()


def _numbered(on_event: Callable[[int, Event], None], index: int) -> Callable[[Event], None]:
    return lambda event: on_event(index, event)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
