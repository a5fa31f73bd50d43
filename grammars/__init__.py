"""Built-in grammars, imported as ``structgen.grammars``.

Each comes with examples that it accepts and examples that it rejects.
"""
