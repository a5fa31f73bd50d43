"""The text of a grammar, and errors that point into it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from structgen.errors import GrammarSyntaxError, LimitExceeded

# Groups in groups. What is deeper was made by a machine, against us.
MAX_NESTING = 1000
# Characters of a grammar's text.
MAX_BYTES = 4 << 20


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """``name`` is a file or library for messages, "" for the text that was given."""

    text: str
    name: str = ""

    def error(self, message: str, position: int | None) -> GrammarSyntaxError:
        if self.name:
            message = f"in {self.name}: {message}"
        return GrammarSyntaxError(message, text=self.text, position=position)

    def line(self, position: int) -> int:
        return self.text.count("\n", 0, position) + 1

    def nested_too_deeply(self, position: int, what: str = "groups") -> LimitExceeded:
        where = f"nested {what} in line {self.line(position)} of the grammar"
        return LimitExceeded(limit="nesting", value=MAX_NESTING, where=where)

    def limit(self, error: LimitExceeded, position: int) -> LimitExceeded:
        """The same, saying where in the grammar."""
        where = f"{error.where} in line {self.line(position)} of the grammar"
        return LimitExceeded(limit=error.limit, value=error.value, where=where)

    def undefined(self, what: str, name: str, known: Iterable[str], at: int) -> GrammarSyntaxError:
        close = difflib.get_close_matches(name, list(known)[:5000], n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        return self.error(f"{what} {name} is used but not defined{hint}", at)


def quote(text: str) -> str:
    """A text as a literal, for names and messages; readable however odd it is."""
    named = {"\n": "\\n", "\t": "\\t", "\r": "\\r", '"': '\\"', "\\": "\\\\"}
    out = []
    for char in text:
        plain = char.isprintable() and char not in named
        out.append(char if plain else named.get(char) or f"\\U{ord(char):08X}")
    return '"' + "".join(out) + '"'
