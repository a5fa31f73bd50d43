"""Deterministic pushdown automata over bytes: one table format, one step function."""

from structgen.automaton.tables import Automaton

__all__ = ["Automaton"]
