"""The grammar that every reader produces: plain rules over symbols.

A *rule* is a name with its *productions*; a production is a tuple of symbols, the empty tuple
derives the empty text. There are no operators left. Symbols are

- ``Ref``: another rule;
- ``Term``: a terminal, a regular set of non-empty texts of code points;
- ``Special``: one special token of the vocabulary, never the text it is spelled with;
- ``Embedded``: a constraint in another language (a JSON Schema, a Lark grammar), kept as it was
  written.

Invariants, which :meth:`Grammar.verify` checks: every name that occurs is defined; every rule can
be reached from the start and derives some text; a rule has no production twice; no terminal is
empty or accepts the empty text (readers write ``T?`` for one that did); a scannerless grammar
ignores nothing.

How terminals make up a text depends on ``scannerless``. Where it is true (GBNF), any division of
the text into terminals counts. Where it is false (Lark), a lexer chooses: at each place, among the
terminals that may come there, the longest match; of equal length, the higher ``priority``, then a
literal before a pattern (``Terminal.commits`` is the exception); and texts of the terminals in
``ignore`` may stand before, between and after tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeAlias

from structgen.regular.charset import UNICODE, Ranges
from structgen.regular.dfa import DFA, from_edges, literals


@dataclass(frozen=True, slots=True)
class Ref:
    rule: str


@dataclass(frozen=True, slots=True)
class Term:
    terminal: str


@dataclass(frozen=True, slots=True)
class Special:
    """One token of the vocabulary: of this name, or with an id in ``ids`` (inclusive ranges).

    ``negated``: any token but those, nor one named in ``others``. ``ids == ()`` and negated is any
    token at all.
    """

    name: str | None = None
    ids: tuple[tuple[int, int], ...] = ()
    negated: bool = False
    others: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        spelled = self.name
        if spelled is None:
            spelled = ",".join(str(a) if a == b else f"{a}-{b}" for a, b in self.ids)
            spelled = f"<[{','.join(filter(None, (spelled, *self.others)))}]>"
        return f"!{spelled}" if self.negated else spelled


@dataclass(frozen=True, slots=True)
class Embedded:
    """A constraint in another language.

    Attributes:
        kind: "json_schema", or "lark": a grammar in Lark's syntax, with its own lexer and ignored
            terminals, from its rule ``start``.
        value: the schema's JSON text, or the grammar's text.
        options: how a schema is read, the JSON text of an object of keyword arguments of
            :meth:`structgen.Compiler.compile_json_schema`; "" is none.
    """

    kind: str
    value: str
    options: str = ""


Symbol: TypeAlias = Ref | Term | Special | Embedded
Production: TypeAlias = tuple[Symbol, ...]


@dataclass(frozen=True, slots=True)
class Follow:
    """What may come right after a token: the end of the text, or one of these characters."""

    end: bool
    chars: Ranges


@dataclass(frozen=True)
class Terminal:
    """A regular set of texts, given by exactly one of ``text``, ``chars``, ``automaton``.

    Attributes:
        name: as the grammar names it, or made up; unique.
        source: as it was written, for messages.
        text: the terminal is this one text.
        chars: the terminal is one character of this set.
        automaton: any other set, over code points. Its final class is 0 where the token may end
            whatever follows, and i > 0 where ``follows[i - 1]`` must hold of what follows: a
            pattern may look one character past its end, as ``\\b`` and ``(?!=)`` do.
        priority: of two matches of equal length the one of higher priority is the token.
        is_literal: written as a text (with or without regard to case), not as a pattern.
        commits: no text of it begins another, and where it may come and its text is complete, it
            is the token, whatever longer match another terminal might have (llguidance's lazy, stop
            and suffix).
    """

    name: str
    source: str
    text: str | None = None
    chars: Ranges | None = None
    automaton: DFA | None = None
    follows: tuple[Follow, ...] = ()
    priority: int = 0
    is_literal: bool = False
    commits: bool = False

    @cached_property
    def dfa(self) -> DFA:
        """The automaton, built when it is first asked for where ``text`` or ``chars`` say it."""
        if self.automaton is not None:
            return self.automaton
        if self.text is not None:
            return literals([self.text])
        assert self.chars is not None
        return from_edges([[(lo, hi, 1) for lo, hi in self.chars], []], [-1, 0], UNICODE)

    def verify(self) -> None:
        given = [self.text is not None, self.chars is not None, self.automaton is not None]
        _check(sum(given) == 1, f"terminal {self.name} is given in one way")
        self.dfa.verify()
        _check(not self.dfa.is_empty, f"terminal {self.name} accepts some text")
        _check(self.dfa.final[0] < 0, f"terminal {self.name} rejects the empty text")
        _check(self.dfa.final.max() <= len(self.follows), "final classes index follows")


@dataclass(frozen=True, slots=True)
class Repetition:
    """A rule that stands for ``low`` to ``high`` times ``item``; ``high`` None: no bound."""

    item: Symbol
    low: int
    high: int | None


@dataclass
class Grammar:
    """See the module's description.

    Attributes:
        start: name of the start rule.
        rules: productions by name, in order of first use from the start.
        terminals: by name.
        ignore: names of terminals that may stand before, between and after tokens.
        scannerless: any division of a text into terminals counts.
        repetitions: rules that were made for a bounded repetition ``x{m,n}``, and what they mean.
            Their productions spell the repetition out in O(log n) rules; a stage that can count may
            use this instead.
        helpers: rules that were made for operators; not names of the grammar's author.
        warnings: for people; what was removed, what has no effect.
    """

    start: str
    rules: dict[str, tuple[Production, ...]]
    terminals: dict[str, Terminal]
    ignore: tuple[str, ...] = ()
    scannerless: bool = False
    repetitions: dict[str, Repetition] = field(default_factory=dict)
    helpers: frozenset[str] = frozenset()
    warnings: tuple[str, ...] = ()

    def symbols(self) -> Iterator[Symbol]:
        """Every occurrence of a symbol."""
        for productions in self.rules.values():
            for production in productions:
                yield from production

    def verify(self) -> None:
        """Raise ValueError naming the first broken invariant."""
        _check(self.start in self.rules, "the start rule is defined")
        _check(not (self.scannerless and self.ignore), "a scannerless grammar ignores nothing")
        used = set(self.ignore)
        for symbol in self.symbols():
            match symbol:
                case Ref(rule):
                    _check(rule in self.rules, f"rule {rule} is defined")
                case Term(terminal):
                    used.add(terminal)
                case Embedded(kind):
                    _check(kind in ("json_schema", "lark"), f"embedded {kind} is known")
                    _check(kind == "json_schema" or not symbol.options, "options are of a schema")
                case Special(name, ids, negated, others):
                    _check(name is None or not ids, "a special token is a name or ids")
                    _check(bool(name or ids or negated), "a special token is some token")
                    _check(not others or (negated and name is None), "others are excluded tokens")
        _check(used == set(self.terminals), "terminals are those that are used")
        for name, defined in self.terminals.items():
            _check(name == defined.name, f"terminal {name} knows its name")
            defined.verify()
        for name, productions in self.rules.items():
            _check(len(set(productions)) == len(productions), f"{name} has no production twice")
        _check(reachable(self.rules, self.start) == set(self.rules), "every rule is reachable")
        _check(productive(self.rules) == set(self.rules), "every rule derives some text")
        _check(set(self.repetitions) <= set(self.rules), "repetitions are rules")
        _check(self.helpers <= set(self.rules), "helpers are rules")

    def dump(self) -> str:
        """Rules and terminals, a line each, for people."""
        lines = [f"start {self.start}" + (" (scannerless)" if self.scannerless else "")]
        for name, productions in self.rules.items():
            bodies = (" ".join(map(show, p)) or "ε" for p in productions)
            lines.append(f"{name} -> " + " | ".join(bodies))
            if known := self.repetitions.get(name):
                high = "" if known.high is None else known.high
                lines[-1] += f"    = {show(known.item)}{{{known.low},{high}}}"
        lines += [
            f"{t.name} = {t.source}"
            + (f" priority {t.priority}" if t.priority else "")
            + (" ignored" if t.name in self.ignore else "")
            for t in self.terminals.values()
        ]
        lines += [f"warning: {warning}" for warning in self.warnings]
        return "\n".join(lines)


def show(symbol: Symbol) -> str:
    match symbol:
        case Ref(name) | Term(name):
            return name
        case Special():
            return symbol.text
        case Embedded(kind, value):
            return f"%{kind} {value if len(value) <= 40 else value[:37] + '...'}"


def reachable(rules: dict[str, tuple[Production, ...]], start: str) -> set[str]:
    """Rules that the start rule leads to."""
    seen = {start}
    stack = [start]
    while stack:
        for production in rules[stack.pop()]:
            for symbol in production:
                if isinstance(symbol, Ref) and symbol.rule not in seen:
                    seen.add(symbol.rule)
                    stack.append(symbol.rule)
    return seen


def productive(rules: dict[str, tuple[Production, ...]]) -> set[str]:
    """Rules that derive some text, in time linear in the size of the grammar."""
    waiting: dict[str, list[int]] = {}
    missing: list[int] = []
    owner: list[str] = []
    done: set[str] = set()
    stack: list[str] = []
    for name, productions in rules.items():
        for production in productions:
            needs = {s.rule for s in production if isinstance(s, Ref)}
            for need in needs:
                waiting.setdefault(need, []).append(len(missing))
            missing.append(len(needs))
            owner.append(name)
            if not needs and name not in done:
                done.add(name)
                stack.append(name)
    while stack:
        for index in waiting.get(stack.pop(), ()):
            missing[index] -= 1
            if not missing[index] and owner[index] not in done:
                done.add(owner[index])
                stack.append(owner[index])
    return done


def _check(holds: bool, what: str) -> None:
    if not holds:
        raise ValueError(f"Grammar: {what}")
