"""From a grammar to states of an automaton."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from structgen.automaton.step import MAP
from structgen.automaton.tables import Automaton
from structgen.errors import StructgenError, UnsupportedGrammarError
from structgen.grammar.ir import Embedded, Grammar, Special, Symbol, Term, Terminal
from structgen.limits import Limits
from structgen.pushdown.frames import FrameBuilder
from structgen.pushdown.items import ItemSets
from structgen.pushdown.lexed import LexedBuilder
from structgen.pushdown.lexer import Lexer, Pattern
from structgen.pushdown.rules import (
    ByteClasses,
    byte_rules,
    number_rules,
    special_dfa,
    spellable,
    terminal_bytes,
)
from structgen.pushdown.scannerless import ScannerlessBuilder
from structgen.regular.dfa import DFA
from structgen.vocabulary import Vocabulary


@dataclass
class Built:
    """A grammar placed in an automaton.

    Attributes:
        start: the state before the first byte; its frame ends with class 0.
        empty: is the empty text a sentence?
        builder: makes the states that are not there yet.
        terminal_names: for people; the last one is the end of the text.
    """

    start: int
    empty: bool
    builder: FrameBuilder
    terminal_names: list[str]


def add_grammar(
    automaton: Automaton,
    grammar: Grammar,
    vocabulary: Vocabulary,
    limits: Limits,
    embed: Callable[[Embedded], int],
    usable: np.ndarray,
    *,
    open_ended: bool = False,
) -> Built:
    """Add the states of a grammar to an automaton.

    ``embed`` adds an embedded constraint and returns its start state, whose frame ends with class
    0. ``usable``: uint8 [256], 1 for bytes that tokens spell. ``open_ended``: the grammar is itself
    embedded, so anything may come after it.

    Raises:
        StructgenError: a special token that the vocabulary does not have; no sentence that it
            can spell.
        LimitExceeded: ``limits.states``.
    """
    grammar = spellable(grammar, usable)
    embedded = list(dict.fromkeys(s for s in grammar.symbols() if isinstance(s, Embedded)))
    starts = {e: automaton.built(embed(e)) for e in embedded}
    specials = list(dict.fromkeys(s for s in grammar.symbols() if isinstance(s, Special)))
    spelled = {s: resolve_special(s, vocabulary) for s in specials}
    if spelled:
        automaton.symbols = True
    make = _scannerless if grammar.scannerless else _lexed
    return make(automaton, grammar, limits, starts, spelled, usable, open_ended)


def _scannerless(
    automaton: Automaton,
    grammar: Grammar,
    limits: Limits,
    starts: dict[Embedded, int],
    spelled: dict[Special, DFA],
    usable: np.ndarray,
    open_ended: bool,
) -> Built:
    classes = ByteClasses()
    dfas: dict[object, DFA] = {special: dfa for special, dfa in spelled.items()}
    for terminal in grammar.terminals.values():
        if terminal.follows or terminal.commits:
            raise UnsupportedGrammarError(
                f"terminal {terminal.name} needs a lexer: it depends on what comes after it"
            )
        if terminal.text is not None:
            classes.add_bytes(terminal.text.encode())
        else:
            dfas[terminal.name] = terminal_bytes(terminal, usable)
    for dfa in dfas.values():
        classes.add_dfa(dfa)
    for start in starts.values():
        classes.add(_start_row(automaton, start))
    classes.close()
    order = {embedded: classes.n + i for i, embedded in enumerate(starts)}

    def byte_dfa(symbol: Terminal | Special) -> DFA:
        return dfas[symbol.name if isinstance(symbol, Terminal) else symbol]

    n = classes.n + len(order)
    rules = byte_rules(grammar, byte_dfa, classes, order.__getitem__, n)
    follow = (1 << n + 1) - 1 if open_ended else 1 << n
    sets = ItemSets(rules, follow, limit=limits.states)
    builder = ScannerlessBuilder(automaton, sets, classes, list(starts.values()))
    groups: list[list[int]] = [[] for _ in range(classes.n)]
    for byte, cls in enumerate(classes.of_byte):
        groups[cls].append(byte)
    names = [_class_name(group) for group in groups]
    names += [f"%{e.kind}" for e in order] + ["the end"]
    return Built(builder.start(), rules.empty, builder, names)


def _lexed(
    automaton: Automaton,
    grammar: Grammar,
    limits: Limits,
    starts: dict[Embedded, int],
    spelled: dict[Special, DFA],
    usable: np.ndarray,
    open_ended: bool,
) -> Built:
    numbers: dict[object, int] = {}
    patterns: list[Pattern | None] = []
    names: list[str] = []
    for name, terminal in grammar.terminals.items():
        numbers[Term(name)] = len(patterns)
        names.append(name)
        patterns.append(
            Pattern(
                terminal_bytes(terminal, usable), terminal.follows, terminal.priority,
                terminal.is_literal, terminal.commits,
            )
        )  # fmt: skip
    for special, dfa in spelled.items():
        numbers[special] = len(patterns)
        names.append(special.text)
        patterns.append(Pattern(dfa, is_literal=True))
    foreign = {}
    for embedded, start in starts.items():
        numbers[embedded] = len(patterns)
        foreign[len(patterns)] = start
        names.append(f"%{embedded.kind}")
        patterns.append(None)
    ignore = 0
    for name in grammar.ignore:
        ignore |= 1 << numbers[Term(name)]

    def terminal_of(symbol: Symbol) -> int:
        return numbers[symbol]

    rules = number_rules(grammar, terminal_of, len(patterns))
    sets = ItemSets(rules, 1 << len(patterns), limit=limits.states)
    classes = Lexer.partition(patterns)
    for start in starts.values():
        classes.add(_start_row(automaton, start))
    classes.close()
    lexer = Lexer(patterns, classes)
    builder = LexedBuilder(automaton, sets, lexer, ignore, foreign, open_ended=open_ended)
    return Built(builder.start(), rules.empty, builder, [*names, "the end"])


def _start_row(automaton: Automaton, start: int) -> np.ndarray:
    """What tells the bytes apart in a built state: the class that leads to each edge."""
    return automaton.maps[automaton.states[start, MAP]].astype(np.int32)


def resolve_special(special: Special, vocabulary: Vocabulary) -> DFA:
    """The spellings of a special token of this vocabulary.

    A negated one never stands for the end of the output: no model goes on after it.

    Raises:
        StructgenError: the vocabulary has no such token.
    """
    size = len(vocabulary)
    names = [*([] if special.name is None else [special.name]), *special.others]
    ids = [_token_id(name, vocabulary) for name in names]
    for first, last in special.ids:
        if last >= size:
            raise StructgenError(f"token id {last} is outside the vocabulary of {size} ids")
        ids += range(first, last + 1)
    if special.negated:
        ids += vocabulary.eos_token_ids
    return special_dfa(ids, special.negated, size)


def _token_id(name: str, vocabulary: Vocabulary) -> int:
    found = vocabulary.special_tokens.get(name)
    if found is None:
        found = vocabulary.token_id(name.encode())
    if found is None:
        known = sorted(vocabulary.special_tokens)
        listed = ", ".join(map(repr, known[:12])) + (" ..." if len(known) > 12 else "")
        raise StructgenError(
            f"the vocabulary has no token {name!r}; its special tokens are {listed or 'none'}"
        )
    return found


def _class_name(group: Sequence[int]) -> str:
    """A byte class for people."""
    text = bytes(group)
    if len(group) == 1 or re.fullmatch(rb"[!-~]{1,6}", text):
        return "".join(chr(b) if 32 < b < 127 else f"\\x{b:02x}" for b in group)
    return f"[{group[0]:#04x}-{group[-1]:#04x}]" if len(group) > 1 else ""
