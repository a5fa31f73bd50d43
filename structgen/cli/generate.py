"""``structgen generate``: text on stdout, everything else on stderr."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from structgen.cli.files import read_prompt, read_text
from structgen.errors import SchemaError, StructgenError

if TYPE_CHECKING:
    from structgen.engine import LLM, Output


def generate(
    prompt: Annotated[
        str | None, typer.Argument(help="The prompt, or - to read it from stdin.")
    ] = None,
    schema: Annotated[
        str | None, typer.Option(metavar="FILE", help="The text obeys this JSON Schema.")
    ] = None,
    regex: Annotated[str | None, typer.Option(help="The text matches this expression.")] = None,
    choice: Annotated[
        list[str] | None, typer.Option(help="The text is one of these; repeat the option.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="The text is any JSON value.")] = False,
    lark: Annotated[
        str | None, typer.Option(metavar="FILE", help="The text obeys this Lark grammar.")
    ] = None,
    ebnf: Annotated[
        str | None, typer.Option(metavar="FILE", help="The text obeys this GBNF grammar.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="A directory or hub id; default: the small model that comes with this."),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="Such as cpu or cuda:1; default: the first GPU, or the CPU.")
    ] = None,
    chat: Annotated[
        bool,
        typer.Option("--chat", help="The prompt is a chat message: use the model's chat template."),
    ] = False,
    max_tokens: Annotated[int, typer.Option(help="At most this many tokens.")] = 1024,
    temperature: Annotated[float, typer.Option(help="0 takes the most likely token.")] = 0.7,
    top_p: Annotated[float, typer.Option(help="Sample from this share of probability.")] = 1.0,
    top_k: Annotated[
        int | None, typer.Option(help="Sample from this many most likely tokens.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed gives the same text.")] = None,
    stop: Annotated[
        list[str] | None, typer.Option(help="End before this string; repeat the option.")
    ] = None,
    n: Annotated[int, typer.Option("--n", "-n", help="How many texts.")] = 1,
    whitespace: Annotated[
        str, typer.Option(help="In JSON: flexible, compact or a pattern.")
    ] = "flexible",
    escapes: Annotated[
        str, typer.Option(help="In JSON strings: any, or minimal for none but required ones.")
    ] = "any",
) -> None:
    """Generate text that obeys a constraint.

    Exit status: 0, 1 if a text was cut before it was complete, 2 for bad input.
    """
    options: dict[str, Any] = {
        "schema": None if schema is None else _read_schema(schema),
        "regex": regex,
        "choice": choice or None,
        "json": json,
        "lark": None if lark is None else read_text(lark),
        "ebnf": None if ebnf is None else read_text(ebnf),
        "max_tokens": max_tokens,
        "temperature": temperature,
        "top_p": top_p,
        "top_k": top_k,
        "seed": seed,
        "stop": stop or None,
        "whitespace": whitespace,
        "escapes": escapes,
    }
    text = read_prompt(prompt)
    asked = [{"role": "user", "content": text}] if chat else text

    from structgen.engine import LLM

    llm = LLM(model, device=device)
    outputs = [_stream(llm, asked, options)] if n == 1 else _print_all(llm, asked, n, options)
    constrained = any(options[kind] for kind in ("regex", "choice", "json", "lark", "ebnf"))
    constrained = constrained or schema is not None
    for output in outputs:
        if output.error is not None:
            print(f"error: {output.error}", file=sys.stderr)
        elif constrained and output.finish_reason == "length":
            print(
                f"warning: the text is incomplete: it was cut after "
                f"{output.usage.completion_tokens} tokens (--max-tokens, or the model's context)",
                file=sys.stderr,
            )
        else:
            continue
        raise typer.Exit(1)


def _read_schema(path: str) -> dict[str, Any] | bool:
    from structgen.schema_input import resolve_schema

    try:
        return resolve_schema(read_text(path)).schema
    except SchemaError as error:
        raise StructgenError(f"{path}: {error}") from error


def _stream(llm: LLM, prompt: Any, options: dict[str, Any]) -> Output:
    """Print one text as it grows: nothing else need show that something happens."""
    for event in llm.stream(prompt, **options):
        if not isinstance(event, str):
            print(flush=True)
            return event
        print(event, end="", flush=True)
    raise RuntimeError("a stream ends with an Output")


def _print_all(llm: LLM, prompt: Any, n: int, options: dict[str, Any]) -> list[Output]:
    outputs = llm.generate(prompt, n=n, **options)
    for output in outputs:
        print(output.text)
    return outputs
