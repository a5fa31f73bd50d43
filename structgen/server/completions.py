"""Running chat completions and writing them in OpenAI's format, whole or as server-sent events."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Iterable
from typing import Any

from structgen.engine import LLM, Output, Request
from structgen.engine.constraint import compile_constraints
from structgen.engine.handle import Event
from structgen.errors import StructgenError
from structgen.server.errors import ApiError
from structgen.server.protocol import ChatRequest


class Completion:
    """The ``n`` texts of one request while they are generated.

    Attributes:
        id: the response's id.
    """

    def __init__(self, llm: LLM, chat: ChatRequest, loop: asyncio.AbstractEventLoop) -> None:
        """Check, compile and start; blocks, so it belongs on a worker thread.

        Raises:
            ApiError: the request cannot be served; ``param`` says because of what.
        """
        self.id = f"chatcmpl-{uuid.uuid4().hex}"
        self._head = {"created": int(time.time()), "model": chat.model}
        self._include_usage = bool(chat.stream_options and chat.stream_options.include_usage)
        self._events: asyncio.Queue[tuple[int, Event]] = asyncio.Queue()
        requests = _requests(llm, chat)
        self._n = len(requests)

        def on_event(index: int, event: Event) -> None:
            loop.call_soon_threadsafe(self._events.put_nowait, (index, event))

        try:
            self._handles = llm.submit(requests, on_event)
        except StructgenError as error:  # too many wait already, or it is being shut down
            raise ApiError(str(error), status=503) from error

    def cancel(self) -> None:
        """Stop generating; harmless when everything is done."""
        for handle in self._handles:
            handle.cancel()

    async def response(self) -> dict[str, Any]:
        """The whole completion.

        Raises:
            ApiError: generation failed (500).
        """
        outputs: dict[int, Output] = {}
        async for index, event in self._all_events():
            if isinstance(event, Output):
                outputs[index] = event
        choices = [
            {
                "index": index,
                "message": {"role": "assistant", "content": output.text, "refusal": None},
                "logprobs": None,
                "finish_reason": output.finish_reason,
            }
            for index, output in sorted(outputs.items())
        ]
        return {
            "id": self.id,
            "object": "chat.completion",
            **self._head,
            "choices": choices,
            "usage": _usage(outputs.values()),
        }

    async def server_sent_events(self) -> AsyncIterator[str]:
        """The completion as it grows; closing the iterator stops the generation."""
        outputs: list[Output] = []
        try:
            for index in range(self._n):
                yield self._delta(index, {"role": "assistant", "content": ""})
            async for index, event in self._all_events():
                if isinstance(event, Output):
                    outputs.append(event)
                    yield self._delta(index, {}, event.finish_reason)
                else:
                    yield self._delta(index, {"content": event})
            if self._include_usage:
                yield self._chunk([], usage=_usage(outputs))
        except ApiError as error:
            yield _event(error.body)
        finally:
            self.cancel()
        yield "data: [DONE]\n\n"

    async def _all_events(self) -> AsyncIterator[tuple[int, str | Output]]:
        running = self._n
        while running:
            index, event = await self._events.get()
            if isinstance(event, StructgenError):
                raise ApiError(str(event), status=500)
            if isinstance(event, Output):
                running -= 1
                if event.finish_reason == "error":
                    raise ApiError(f"generation failed: {event.error}", status=500)
            yield index, event

    def _delta(self, index: int, delta: dict[str, Any], finish_reason: str | None = None) -> str:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return self._chunk([choice], usage=None)

    def _chunk(self, choices: list[dict[str, Any]], usage: dict[str, int] | None) -> str:
        chunk = {
            "id": self.id,
            "object": "chat.completion.chunk",
            **self._head,
            "choices": choices,
        }
        if self._include_usage:
            chunk["usage"] = usage
        return _event(chunk)


def _requests(llm: LLM, chat: ChatRequest) -> list[Request]:
    messages = chat.chat()
    try:
        compiled = compile_constraints(llm.compiler, [chat.constraint()])
    except StructgenError as error:
        raise ApiError(str(error), param="response_format") from error
    try:
        return llm.requests([messages], chat.sampling(), compiled, n=chat.n or 1)
    except StructgenError as error:
        raise ApiError(str(error), param="messages") from error


def _usage(outputs: Iterable[Output]) -> dict[str, int]:
    """Tokens of all choices together; their common prompt counts once."""
    prompt, completion = 0, 0
    for output in outputs:
        prompt = output.usage.prompt_tokens
        completion += output.usage.completion_tokens
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }


def _event(body: dict[str, Any]) -> str:
    return f"data: {json.dumps(body, ensure_ascii=False, separators=(',', ':'))}\n\n"
