"""ECMA-262 patterns to automata over code points."""

from __future__ import annotations

from functools import lru_cache

from structgen.regular import lookaround, subset
from structgen.regular.dfa import DFA
from structgen.regular.nfa import build
from structgen.regular.syntax import Assertion, Cat, Node, parse

__all__ = ["check_pattern", "compile_full", "compile_pattern"]


def check_pattern(pattern: str) -> None:
    """Read a pattern and raise what is wrong with it, without building its automaton."""
    parse(pattern)


@lru_cache(maxsize=1024)
def compile_pattern(pattern: str, *, max_states: int = 50_000) -> DFA:
    """The texts in which ``pattern`` matches somewhere, as JSON Schema's ``pattern`` asks.

    The final class is 0. The dialect is described in :mod:`structgen.regular.syntax`.

    Raises:
        GrammarSyntaxError: the pattern is not valid.
        UnsupportedSchemaError: the pattern is not regular (back-references), or uses modifiers or
            an unknown property.
        LimitExceeded: the automaton needs more than ``max_states`` states, or about as much work.
    """
    return compile_tree(parse(pattern), max_states=max_states)


@lru_cache(maxsize=1024)
def compile_full(pattern: str, *, max_states: int = 50_000) -> DFA:
    """The texts that ``pattern`` matches as a whole; otherwise as :func:`compile_pattern`."""
    tree = Cat((Assertion("^"), parse(pattern), Assertion("$")))
    return compile_tree(tree, max_states=max_states)


def compile_tree(tree: Node, *, max_states: int) -> DFA:
    """The texts in which the pattern of a tree matches somewhere."""
    nfa = build(tree, max_states=max_states)
    determinize = lookaround.determinize if nfa.looks else subset.determinize
    return determinize(nfa, max_states=max_states)
