"""``structgen grammar``: check, test, explain, draw, trace, sample and measure grammars."""

from __future__ import annotations

import typer

from structgen.cli.grammar_bench import bench
from structgen.cli.grammar_check import check
from structgen.cli.grammar_draw import draw
from structgen.cli.grammar_explain import explain
from structgen.cli.grammar_sample import sample
from structgen.cli.grammar_test import test
from structgen.cli.grammar_trace import trace

app = typer.Typer(
    help="Check, test, explain, draw, trace, sample and measure grammars.", no_args_is_help=True
)
for command in (check, test, explain, draw, trace, sample, bench):
    app.command()(command)
