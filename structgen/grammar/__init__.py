"""Grammars as people write them, read into one form.

- :mod:`~structgen.grammar.ir`: the form: rules over terminals, special tokens, embedded constraints
- :mod:`~structgen.grammar.expression`: right-hand sides with operators, as readers build them
- :mod:`~structgen.grammar.expand`: operators to plain rules; what no sentence uses is removed
- :mod:`~structgen.grammar.lark_reader`: Lark (``lark_syntax`` parses into ``lark_nodes``,
  ``lark_definitions`` and ``lark_imports`` collect, ``lark_terminals`` compiles terminals)
- :mod:`~structgen.grammar.ebnf_reader`: GBNF and XGrammar's EBNF (``ebnf_syntax`` parses)
- :mod:`~structgen.grammar.python_regex`, :mod:`~structgen.grammar.lexeme`: Python's regular
  expressions to automata of what a lexer would match
"""

from structgen.grammar.ebnf_reader import read_ebnf
from structgen.grammar.ir import Embedded, Follow, Grammar, Ref, Repetition, Special, Term, Terminal
from structgen.grammar.lark_reader import read_lark

__all__ = [
    "Embedded",
    "Follow",
    "Grammar",
    "Ref",
    "Repetition",
    "Special",
    "Term",
    "Terminal",
    "read_ebnf",
    "read_lark",
]
