"""Grammars to the automaton: LR(1) over rule automata, reductions as pops.

- :mod:`~structgen.pushdown.bodies`: rules as automata; recursion that needs no stack taken out
- :mod:`~structgen.pushdown.rules`: symbols as numbered terminals, from the grammar IR
- :mod:`~structgen.pushdown.items`: canonical LR(1) item sets, lazily
- :mod:`~structgen.pushdown.frames`: item sets to states and return points
- :mod:`~structgen.pushdown.scannerless`, :mod:`~structgen.pushdown.lexed`: the two ways to read
  terminals; :mod:`~structgen.pushdown.lexer`
- :mod:`~structgen.pushdown.compile`: :func:`add_grammar`
"""

from structgen.pushdown.compile import Built, add_grammar

__all__ = ["Built", "add_grammar"]
