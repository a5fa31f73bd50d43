"""Looking at grammars: what tests them, explains them and draws them, for tools and people.

- :mod:`~structgen.inspection.byte_grammar`: a grammar over single bytes, whatever the tokenizer
- :mod:`~structgen.inspection.expected`: what may come next, in terminals and characters
- :mod:`~structgen.inspection.completion`, :mod:`~structgen.inspection.samples`: short completions,
  random texts
- :mod:`~structgen.inspection.reachable`: the part of the automaton that texts can reach, built
- :mod:`~structgen.inspection.expressions`: plain rules back to right-hand sides with operators
- :mod:`~structgen.inspection.railroad`, :mod:`~structgen.inspection.graph`: drawings
- :mod:`~structgen.inspection.peers`: the same constraint in other engines, for comparison
"""
