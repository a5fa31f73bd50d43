"""Rules and terminals of a structural tag while it is read."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TypeAlias

from structgen.grammar.expand import to_grammar
from structgen.grammar.expression import EMPTY, Alt, Expr, Rep, Seq, alt, seq
from structgen.grammar.ir import (
    Grammar,
    Production,
    Ref,
    Repetition,
    Special,
    Symbol,
    Term,
    Terminal,
)
from structgen.grammar.lexeme import nonempty
from structgen.grammar.source import quote
from structgen.grammar.structural_tag_text import SURROGATES, Alphabet
from structgen.regular.charset import UNICODE
from structgen.regular.dfa import DFA, from_edges

START = "structural_tag"

Edge: TypeAlias = tuple[int, int, int]


class Rules:
    """Collects what a grammar is made of; equal terminals are made once."""

    def __init__(self, alphabet: Alphabet) -> None:
        self.alphabet = alphabet
        self.rules: dict[str, Expr] = {}
        self.terminals: dict[str, Terminal] = {}
        self.repetitions: dict[str, Repetition] = {}
        self.helpers: set[str] = set()
        self.warnings: list[str] = []
        self._languages: dict[str, Expr] = {}
        self._texts = 0

    def rule(self, name: str, expr: Expr) -> Ref:
        if name in self.rules:
            raise ValueError(f"two rules of a structural tag are named {name}")
        self.rules[name] = expr
        return Ref(name)

    def literal(self, text: str) -> Expr:
        """An encoded text: its special tokens are symbols."""
        return seq(
            [
                Special(piece) if special else self._text(piece)
                for piece, special in self.alphabet.split(text)
            ]
        )

    def _text(self, text: str) -> Term:
        name = quote(text)
        self.terminals.setdefault(name, Terminal(name, name, text=text, is_literal=True))
        return Term(name)

    def language(self, description: str, dfa: DFA) -> Expr:
        """The texts of an automaton, which may read special tokens.

        ``description`` says exactly which texts they are: where it is equal, so are they.
        """
        if description not in self._languages:
            self._languages[description] = self._language(description, dfa)
        return self._languages[description]

    def _language(self, description: str, dfa: DFA) -> Expr:
        if not self.alphabet.names:
            return self._terminal(description, dfa)
        columns = (dfa.lo, dfa.hi, dfa.target)
        edges = list(zip(*(column.tolist() for column in columns), strict=True))
        texts: list[list[Edge]] = []
        specials: list[list[tuple[str, int]]] = []
        for begin, end in pairwise(dfa.offsets.tolist()):
            texts.append([])
            specials.append([])
            for lo, hi, target in edges[begin:end]:
                # Characters next to the surrogates may share a range with them.
                for a, b in ((lo, min(hi, SURROGATES[0] - 1)), (max(lo, SURROGATES[1] + 1), hi)):
                    if a <= b:
                        texts[-1].append((a, b, target))
                for code in range(max(lo, SURROGATES[0]), min(hi, SURROGATES[1]) + 1):
                    specials[-1].append((self.alphabet.names[code], target))
        if not any(specials):
            return self._terminal(description, dfa)
        # A right-linear rule for the start, and for each state that a special token enters.
        number = len(self._languages) + 1
        named = {0: f"SPECIAL_TEXT_{number}"}
        for target in sorted({target for pairs in specials for _, target in pairs}):
            named.setdefault(target, f"SPECIAL_TEXT_{number}_{target}")
        ends = {state for state, final in enumerate(dfa.final.tolist()) if final >= 0}
        exits: dict[tuple[str, int], set[int]] = {}
        for state, pairs in enumerate(specials):
            for pair in pairs:
                exits.setdefault(pair, set()).add(state)
        for entry, rule in named.items():
            where = description if entry == 0 else f"{description}, from state {entry}"
            parts: list[Expr] = []
            if not (text := _between(texts, entry, ends)).is_empty:
                parts.append(self._terminal(f"{where}, to its end", text))
            for (symbol, target), goals in exits.items():
                if not (text := _between(texts, entry, goals)).is_empty:
                    before = self._terminal(f"{where}, before {symbol}", text)
                    parts.append(Seq((before, Special(symbol), Ref(named[target]))))
            self.rules[rule] = alt(parts)
        return Ref(named[0])

    def _terminal(self, description: str, dfa: DFA) -> Expr:
        may_be_empty = dfa.final[0] >= 0
        some = nonempty(dfa)
        if some.is_empty:
            return EMPTY if may_be_empty else Alt(())
        self._texts += 1
        name = f"TEXT_{self._texts}"
        self.terminals[name] = Terminal(name, description, automaton=some)
        return Rep(Term(name), 0, 1) if may_be_empty else Term(name)

    def include(self, grammar: Grammar, place: str) -> Ref:
        """Merge a scannerless grammar; its names are prefixed by ``place``."""
        named: dict[str, str] = {}
        for name, terminal in grammar.terminals.items():
            same = self.terminals.get(name)
            plain = same and same.automaton is None and terminal.automaton is None
            if same and plain and (same.text, same.chars) == (terminal.text, terminal.chars):
                named[name] = name
                continue
            named[name] = f"{place}:{name}"
            self.terminals[named[name]] = replace(terminal, name=named[name])

        def renamed(production: Production) -> Production:
            return tuple(symbol(s) for s in production)

        def symbol(old: Symbol) -> Symbol:
            match old:
                case Ref(name):
                    return Ref(f"{place}:{name}")
                case Term(name):
                    return Term(named[name])
            return old

        for name, productions in grammar.rules.items():
            self.rules[f"{place}:{name}"] = Alt(tuple(Seq(renamed(p)) for p in productions))
        for name, known in grammar.repetitions.items():
            item = symbol(known.item)
            self.repetitions[f"{place}:{name}"] = Repetition(item, known.low, known.high)
        self.helpers |= {f"{place}:{name}" for name in grammar.helpers}
        self.warnings += [f"{warning} (in the grammar at {place})" for warning in grammar.warnings]
        return Ref(f"{place}:{grammar.start}")

    def grammar(self, start: Expr) -> Grammar:
        grammar = to_grammar(
            {START: start, **self.rules},
            START,
            self.terminals,
            scannerless=True,
            warnings=dict.fromkeys(self.warnings),
        )
        kept = {n: r for n, r in self.repetitions.items() if n in grammar.rules}
        grammar.repetitions = {**grammar.repetitions, **kept}
        grammar.helpers |= self.helpers & set(grammar.rules)
        return grammar


def _between(texts: list[list[Edge]], entry: int, goals: set[int]) -> DFA:
    """The texts that lead from one state to one of ``goals``, without special tokens."""
    order = [entry, *(state for state in range(len(texts)) if state != entry)]
    at = {state: i for i, state in enumerate(order)}
    edges = [[(lo, hi, at[target]) for lo, hi, target in texts[state]] for state in order]
    return from_edges(edges, [0 if state in goals else -1 for state in order], UNICODE)
