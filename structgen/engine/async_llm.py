"""An LLM for servers: nothing of it blocks an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

from structgen.engine.handle import Event, Handle
from structgen.engine.llm import LLM, one_request
from structgen.engine.metrics import Metrics
from structgen.engine.request import Output
from structgen.errors import StructgenError


class AsyncLLM:
    """The methods of an :class:`LLM` as coroutines; cancelling one stops its requests."""

    def __init__(self, llm: LLM | None = None, **options: Any) -> None:
        """
        Args:
            llm: None makes one with ``options``, which are those of :class:`LLM`.
        """
        if llm is not None and options:
            raise TypeError("options are for an LLM that is made here")
        self.llm = LLM(**options) if llm is None else llm

    async def generate(self, prompts: Any, **options: Any) -> list[Output]:
        """:meth:`LLM.generate`.

        Raises:
            StructgenError: an argument is invalid, before anything is generated.
        """
        stream = _Events()
        requests = await asyncio.to_thread(self.llm.read, prompts, **options)
        handles = self.llm.submit(requests, stream.put)
        outputs: dict[int, Output] = {}
        try:
            while len(outputs) < len(handles):
                index, event = await stream.get()
                if isinstance(event, Output):
                    outputs[index] = await asyncio.to_thread(handles[index].parse, event)
        finally:
            _cancel(handles)
        return [outputs[index] for index in range(len(handles))]

    async def stream(self, prompt: Any, **options: Any) -> AsyncIterator[str | Output]:
        """:meth:`LLM.stream`: pieces of a text, then its :class:`Output`."""
        events = _Events()
        request = await asyncio.to_thread(partial(one_request, self.llm, prompt, **options))
        [handle] = self.llm.submit([request], events.put)
        try:
            while True:
                _, event = await events.get()
                if isinstance(event, Output):
                    yield await asyncio.to_thread(handle.parse, event)
                    return
                yield event
        finally:
            handle.cancel()

    def metrics(self) -> Metrics:
        """:meth:`LLM.metrics`."""
        return self.llm.metrics()

    async def close(self, *, drain: bool = False) -> None:
        """:meth:`LLM.close`."""
        await asyncio.to_thread(partial(self.llm.close, drain=drain))


class _Events:
    """Events of an engine's thread, for the event loop in which it was made."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[tuple[int, Event]] = asyncio.Queue()

    def put(self, index: int, event: Event) -> None:
        self._loop.call_soon_threadsafe(self._queue.put_nowait, (index, event))

    async def get(self) -> tuple[int, str | Output]:
        index, event = await self._queue.get()
        if isinstance(event, StructgenError):
            raise event
        return index, event


def _cancel(handles: list[Handle]) -> None:
    for handle in handles:
        handle.cancel()
