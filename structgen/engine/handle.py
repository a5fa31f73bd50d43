"""What whoever submitted a request has of it: events that come, and a way to stop it."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from dataclasses import replace

from structgen.engine.request import Output
from structgen.engine.sequence import Sequence
from structgen.errors import StructgenError

# A piece of text, the end of one request, or what broke a step that it was part of.
Event = str | Output | StructgenError


class Handle:
    """One submitted request, seen from the thread that waits for it.

    Without ``on_event`` the events are read by iterating or with :meth:`result`. With it they are
    handed to that function, on the engine's thread, which it must not block.
    """

    def __init__(
        self,
        sequence: Sequence,
        on_event: Callable[[Event], None] | None,
        on_cancel: Callable[[Sequence], None],
    ) -> None:
        self.sequence = sequence
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self.deliver = on_event or self._events.put
        self._on_cancel = on_cancel

    def cancel(self) -> None:
        """Stop at the next step; no more events come. Harmless where it has ended."""
        if self.sequence.is_finished or self.sequence.cancelled:
            return
        self.sequence.cancelled = True
        self._on_cancel(self.sequence)
        self._events.put(StructgenError("this request was cancelled"))

    def __iter__(self) -> Iterator[str | Output]:
        """Pieces of text as they settle, then the final :class:`Output`; again the last one only.

        Raises:
            StructgenError: a step failed as a whole, the request was cancelled, or the engine was
                closed.
        """
        while True:
            event = self._events.get()
            if isinstance(event, str):
                yield event
                continue
            self._events.put(event)  # whoever asks again does not wait for ever
            if isinstance(event, StructgenError):
                raise event
            yield self.parse(event)
            return

    def result(self) -> Output:
        """Wait for the final output; raises like iterating."""
        for event in self:
            if isinstance(event, Output):
                return event
        raise RuntimeError("a request ends with an Output")

    def parse(self, output: Output) -> Output:
        """The output with ``parsed``, where its text is complete.

        Not for the engine's thread: a person's validators may be slow or use the engine.
        """
        parse = self.sequence.request.parse
        if parse is None or not self.sequence.complete:
            return output
        try:
            return replace(output, parsed=parse(output.text))
        except Exception as error:
            return replace(output, error=f"the text could not be parsed: {error}")
