"""``structgen serve``: the OpenAI-compatible HTTP server."""

from __future__ import annotations

from typing import Annotated

import typer


def serve(
    model: Annotated[
        str | None,
        typer.Option(help="A directory or hub id; default: the small model that comes with this."),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=0, max=65535)] = 8000,
    device: Annotated[
        str | None, typer.Option(help="Such as cpu or cuda:1; default: the first GPU, or the CPU.")
    ] = None,
    max_batch_size: Annotated[int, typer.Option(help="Texts generated at once.", min=1)] = 64,
) -> None:
    """Serve an OpenAI-compatible API: POST /v1/chat/completions, GET /v1/models, GET /health."""
    import uvicorn

    from structgen.engine import LLM
    from structgen.server import create_app

    llm = LLM(model, device=device, max_batch_size=max_batch_size)
    llm.compiler.compile_json()  # now, so that no request waits for the kernels
    uvicorn.run(create_app(llm), host=host, port=port)
