"""Regular languages: automata over code points or bytes, ECMA-262 patterns, numbers, formats.

- :mod:`~structgen.regular.charset`: sets of symbols as sorted ranges, and their common partition
- :mod:`~structgen.regular.dfa`: the automaton, its invariants, Boolean combinations
- :mod:`~structgen.regular.ecma`: ECMA-262 patterns to automata (``syntax`` parses, ``nfa`` builds,
  ``subset`` and ``lookaround`` determinise)
- :mod:`~structgen.regular.numbers`: JSON number literals within bounds
- :mod:`~structgen.regular.formats`: the string formats of JSON Schema
"""
