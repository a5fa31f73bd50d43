"""Grammars of every kind as one automaton: what they embed is built into the same tables."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from structgen.automaton.step import END
from structgen.automaton.tables import Automaton
from structgen.errors import UnsupportedGrammarError
from structgen.grammar import read_lark
from structgen.grammar.ir import Embedded, Grammar
from structgen.json_text import read_json
from structgen.limits import Limits
from structgen.pushdown import Built, add_grammar
from structgen.schema.compile import add_schema
from structgen.schema.library import Library
from structgen.schema.options import SchemaOptions
from structgen.vocabulary import Vocabulary


@dataclass
class GrammarBuilder:
    """Adds grammars to an automaton that begins with a library's states.

    ``library`` may be None for grammars that embed no schema. ``usable``: uint8 [256], 1 for the
    bytes that tokens spell.
    """

    automaton: Automaton
    library: Library | None
    vocabulary: Vocabulary
    limits: Limits
    usable: np.ndarray
    warnings: list[str] = field(default_factory=list)

    def add(self, grammar: Grammar, *, open_ended: bool = False) -> Built:
        """Place ``grammar``; see :func:`structgen.pushdown.add_grammar`."""
        self.warnings += grammar.warnings
        return add_grammar(
            self.automaton, grammar, self.vocabulary, self.limits, self._embed, self.usable,
            open_ended=open_ended,
        )  # fmt: skip

    def start(self, grammar: Grammar) -> tuple[int, Built]:
        """The state before the first byte of a sentence, which may be empty."""
        built = self.add(grammar)
        # A text begins in a built state: only entering one builds it.
        start = self.automaton.built(built.start)
        if built.empty and self.automaton.states[start, END] != 0:
            start = self.automaton.reserve_state()
            self.automaton.alias(start, built.start)
            self.automaton.set_end(start, 0)
        return start, built

    def _embed(self, embedded: Embedded) -> int:
        if embedded.kind == "json_schema":
            assert self.library is not None
            options = _options(embedded)
            options.pop("whitespace", None)
            options.pop("escapes", None)
            start, warnings = add_schema(
                self.automaton, self.library, read_json(embedded.value), self.limits,
                SchemaOptions(**options), lazily=True,
            )  # fmt: skip
            self.warnings += warnings
            return start
        if embedded.kind == "lark":
            built = self.add(read_lark(embedded.value), open_ended=True)
            if built.empty:
                raise UnsupportedGrammarError(
                    "a Lark grammar inside another constraint must not accept the empty text; "
                    "make the place where it stands optional instead"
                )
            return built.start
        raise UnsupportedGrammarError(f"embedded {embedded.kind} is not supported")


def _options(embedded: Embedded) -> dict[str, Any]:
    return read_json(embedded.options) if embedded.options else {}


def library_kind(grammar: Grammar) -> tuple[str, str] | None:
    """The whitespace and escapes of the schemas that a grammar embeds; None where it has none.

    Raises:
        UnsupportedGrammarError: they differ: their frames are one library's.
    """
    kinds: set[tuple[str, str]] = set()
    for symbol in grammar.symbols():
        if isinstance(symbol, Embedded):
            if symbol.kind == "lark":
                inner = library_kind(read_lark(symbol.value))
                kinds |= set() if inner is None else {inner}
            else:
                options = _options(symbol)
                kinds.add((options.get("whitespace", "flexible"), options.get("escapes", "any")))
    if len(kinds) > 1:
        raise UnsupportedGrammarError(
            f"the embedded schemas need one kind of whitespace and escapes, not {sorted(kinds)}"
        )
    return next(iter(kinds), None)
