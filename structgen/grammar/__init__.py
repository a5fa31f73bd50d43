"""Grammars as people write them, read into one form.

- :mod:`~structgen.grammar.ir`: the form: rules over terminals, special tokens, embedded constraints
- :mod:`~structgen.grammar.expression`: right-hand sides with operators, as readers build them
- :mod:`~structgen.grammar.expand`: operators to plain rules; what no sentence uses is removed
- :mod:`~structgen.grammar.lark_reader`: Lark (``lark_syntax`` parses into ``lark_nodes``,
  ``lark_definitions`` and ``lark_imports`` collect, ``lark_terminals`` compiles terminals)
- :mod:`~structgen.grammar.ebnf_reader`: GBNF and XGrammar's EBNF (``ebnf_syntax`` parses)
- :mod:`~structgen.grammar.structural_tag`: structural tags (``structural_tag_text`` makes the
  automata of free text, ``structural_tag_xml`` parameters in XML, with ``structural_tag_schema``)
- :mod:`~structgen.grammar.tool_calls`: structural tags for the tool calls of model families
- :mod:`~structgen.grammar.python_regex`, :mod:`~structgen.grammar.lexeme`: Python's regular
  expressions to automata of what a lexer would match
"""

from structgen.grammar.ebnf_reader import read_ebnf
from structgen.grammar.ir import Embedded, Follow, Grammar, Ref, Repetition, Special, Term, Terminal
from structgen.grammar.lark_reader import read_lark
from structgen.grammar.structural_tag import read_structural_tag
from structgen.grammar.tool_calls import tool_call_families, tool_call_tag

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
    "read_structural_tag",
    "tool_call_families",
    "tool_call_tag",
]
