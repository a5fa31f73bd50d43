"""The HTTP application: chat completions, models and health."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.types import Receive, Scope, Send

import structgen
from structgen.engine import LLM
from structgen.server.body import read_json_object
from structgen.server.completions import Completion
from structgen.server.errors import ApiError, install_error_handlers
from structgen.server.protocol import ChatRequest


def create_app(llm: LLM) -> FastAPI:
    """An OpenAI-compatible application around ``llm``.

    Serves ``POST /v1/chat/completions``, ``GET /v1/models``, ``GET /v1/models/{id}`` and
    ``GET /health``. Every error is ``{"error": {"message", "type", "param", "code"}}``.
    """
    app = FastAPI(title="structgen", version=structgen.__version__)
    install_error_handlers(app)
    names = {llm.model_name, os.path.basename(llm.model_name)}
    card = {
        "id": llm.model_name,
        "object": "model",
        "created": int(time.time()),
        "owned_by": "structgen",
    }

    def check_model(name: str) -> None:
        if name not in names:
            raise ApiError(
                f"the model {name!r} does not exist; this server has {llm.model_name!r}",
                status=404,
                param="model",
                code="model_not_found",
            )

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [card]}

    @app.get("/v1/models/{name:path}")
    async def model(name: str) -> dict[str, Any]:
        check_model(name)
        return card

    @app.post("/v1/chat/completions")
    async def chat_completions(request: Request) -> Response:
        chat = ChatRequest.read(await read_json_object(request))
        check_model(chat.model)
        loop = asyncio.get_running_loop()
        completion = await run_in_threadpool(Completion, llm, chat, loop)
        if chat.stream:
            return _Streamed(completion)
        return await _respond(request, completion)

    return app


class _Streamed(StreamingResponse):
    """A completion as server-sent events, which ends when its client goes away."""

    def __init__(self, completion: Completion) -> None:
        super().__init__(
            completion.server_sent_events(),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-cache"},
        )
        self._completion = completion

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:  # an iterator that was never begun does not end anything itself
            self._completion.cancel()


async def _respond(request: Request, completion: Completion) -> Response:
    """The whole completion, unless the client goes away first."""
    response = asyncio.ensure_future(completion.response())
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({response, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not response.done():
            return Response(status_code=499)  # nobody reads it
        return JSONResponse(response.result())
    finally:
        completion.cancel()
        for task in (response, gone):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, ApiError):
                await task


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
