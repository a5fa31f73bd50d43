"""The command tree."""

from __future__ import annotations

from typing import Annotated

import typer

import structgen
from structgen.cli import generate, grammar, serve, warmup

app = typer.Typer(
    help="Language model output that obeys a JSON Schema, a grammar or a regular expression.",
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("generate")(generate.generate)
app.command("serve")(serve.serve)
app.command("warmup")(warmup.warmup)
app.add_typer(grammar.app, name="grammar")


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        print(f"structgen {structgen.__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit
