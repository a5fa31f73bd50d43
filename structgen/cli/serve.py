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
    dtype: Annotated[
        str | None,
        typer.Option(help="Such as bfloat16; default: the checkpoint's, float32 on the CPU."),
    ] = None,
    quantize: Annotated[
        str | None, typer.Option(help="int8 or fp8: keep the weights of a native model in 8 bits.")
    ] = None,
    max_length: Annotated[
        int | None,
        typer.Option(help="Longest text, prompt included, in tokens; default: the model's.", min=2),
    ] = None,
    max_batch_size: Annotated[int, typer.Option(help="Texts generated at once.", min=1)] = 64,
    max_step_tokens: Annotated[
        int, typer.Option(help="Tokens computed in one step; longer prompts are cut.", min=1)
    ] = 8192,
    kv_tokens: Annotated[
        int | None,
        typer.Option(help="Keys and values kept, in tokens; default: what fits in memory.", min=1),
    ] = None,
) -> None:
    """Serve an OpenAI-compatible API: POST /v1/chat/completions, GET /v1/models, GET /health."""
    import uvicorn

    from structgen.engine import LLM
    from structgen.server import create_app

    llm = LLM(
        model,
        device=device,
        dtype=dtype,
        quantize=quantize,
        max_length=max_length,
        max_batch_size=max_batch_size,
        max_step_tokens=max_step_tokens,
        kv_tokens=kv_tokens,
    )
    llm.compiler.compile_json()  # now, so that no request waits for the kernels
    uvicorn.run(create_app(llm), host=host, port=port)
    llm.close(drain=True)
