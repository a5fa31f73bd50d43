"""Automata over the names of an object's properties."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from structgen.automaton.lift import place_words
from structgen.automaton.tables import NO_EDGE, Automaton, Edge, move
from structgen.regular.charset import UNICODE, has_surrogate
from structgen.schema.library import Library

# Every string is a sequence of these; surrogates are no code points of text.
SCALARS = UNICODE

# A name, the edge on its closing quote (None: it must not be produced), the highest counter with
# which it may be begun.
Key = tuple[str, Edge | None, int]


class Names(NamedTuple):
    """The inside of a property's name, in every spelling; not in an automaton yet."""

    keys: dict[str, Key]
    others: bool
    library: Library

    def place(self, automaton: Automaton) -> int:
        """Add it to ``automaton``; returns the state after the opening quote."""
        keys, others, library = self
        names = sorted(keys)
        quotes: list[Edge] = []
        limits: list[int] = []
        for name in names:
            _, edge, limit = keys[name]
            quotes.append(NO_EDGE if edge is None else edge)
            limits.append(limit)
        quotes.append(move(library.end) if others else NO_EDGE)
        return place_words(
            automaton, names, quotes, limits, usable=library.usable, minimal=library.minimal,
            tail=library.string_states if others else None,
        )  # fmt: skip


def key_block(keys: Iterable[Key], library: Library, *, others: bool = False) -> Names:
    """The inside of a property's name, in every spelling.

    With ``others``, names that are not among ``keys`` are allowed too and end like any string,
    with class 0; once a name differs from all of ``keys`` it is read by the library's states of
    any string. A name amid which no allowed name could still be completed has no state.
    """
    known = {
        key[0]: key
        for key in keys
        # No text can spell a surrogate.
        if (others or key[1] is not None) and not has_surrogate(key[0])
    }
    return Names(known, others, library)
