"""Symbols of a grammar as drawings name them."""

from __future__ import annotations

from structgen.grammar.ir import Grammar, Symbol, Term, Terminal, show
from structgen.grammar.source import quote


def label(grammar: Grammar, symbol: Symbol) -> tuple[str, bool]:
    """What a symbol is called, and whether that is the very text it stands for."""
    if isinstance(symbol, Term):
        terminal = grammar.terminals[symbol.terminal]
        if terminal.text is not None:
            return quote(terminal.text), True
        if _is_unnamed(terminal):
            return terminal.source, False
    return show(symbol), False


def definition(grammar: Grammar, terminal: Terminal) -> str | None:
    """The right-hand side of a terminal with a name of its own; None for one that needs none."""
    used = any(isinstance(s, Term) and s.terminal == terminal.name for s in grammar.symbols())
    if not used or terminal.text is not None or _is_unnamed(terminal):
        return None
    return terminal.source


def _is_unnamed(terminal: Terminal) -> bool:
    """Was it written in place, in a rule?"""
    return terminal.name == terminal.source or not terminal.name[:1].isalpha()
