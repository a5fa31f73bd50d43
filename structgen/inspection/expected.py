"""What may come next, for people: terminals of a lexer by name, otherwise characters."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass

from structgen.grammar.source import quote
from structgen.inspection.byte_grammar import END, ByteGrammar
from structgen.matcher import Matcher
from structgen.pushdown.lexer import LexState


@dataclass(frozen=True, slots=True)
class Expected:
    """Something that may come next.

    Attributes:
        terminal: the name of a terminal, or a literal's text in quotes; None for plain characters.
        characters: what it may go on with, as ranges.
    """

    terminal: str | None
    characters: str

    def __str__(self) -> str:
        return " ".join(filter(None, (self.terminal, self.characters)))


def expected(grammar: ByteGrammar, matcher: Matcher) -> list[Expected]:
    """What may come next in a text, the same terminals together."""
    terminals = _Terminals(grammar)
    ignored = terminals.ignored
    by_terminal: dict[str, set[int]] = {}
    plain: set[int] = set()
    result: list[Expected] = []
    for i in grammar.allowed(matcher):
        if i == END:
            continue
        if i > END:
            result.append(Expected(grammar.names[i], ""))
            continue
        names: set[str] = set()
        matcher.accept_token(i)
        for place in matcher.configurations():
            names |= terminals.at(place.state)
        matcher.rollback(1)
        if not names:
            plain.add(i)
        for name in sorted(names):
            by_terminal.setdefault(name, set()).add(i)
    complete = matcher.is_accepting()
    # What may stand anywhere is named only where nothing else may come.
    wanted = {name: found for name, found in by_terminal.items() if name not in ignored}
    for name, found in (wanted if wanted or complete else by_terminal).items():
        result.append(Expected(name, "" if name in terminals.literals else show_bytes(found)))
    if plain:
        result.append(Expected(None, show_bytes(plain)))
    if complete:
        result.append(Expected("the end of the text", ""))
    return result


class _Terminals:
    """Terminals that are being read, by state of the automaton, for a grammar with a lexer."""

    def __init__(self, grammar: ByteGrammar) -> None:
        self._keys: dict[int, Hashable] = {}
        self._rules = grammar.compiled.rules
        self._names: list[str] = []
        self.ignored: set[str] = set()
        self.literals: set[str] = set()
        if self._rules is not None:
            rules, built = self._rules
            texts = {t.name: quote(t.text) for t in rules.terminals.values() if t.text is not None}
            self._names = [texts.get(name, name) for name in built.terminal_names]
            self.ignored = {texts.get(name, name) for name in rules.ignore}
            literals = (t.name for t in rules.terminals.values() if t.is_literal)
            self.literals = {texts.get(name, name) for name in literals}

    def at(self, state: int) -> set[str]:
        if self._rules is None:
            return set()
        if state not in self._keys:  # built since, as a text entered it
            self._keys = self._rules[1].builder.keys()
        key = self._keys.get(state)
        return {self._names[t] for t, _ in key.live} if isinstance(key, LexState) else set()


def show_bytes(values: Iterable[int]) -> str:
    """Bytes as ranges of characters: ``[0-9+a-z]``."""
    values = sorted(values)
    ascii_, lead = [b for b in values if b < 0x80], [b for b in values if b >= 0xC2]
    inside = [b for b in values if 0x80 <= b < 0xC0]
    parts: list[str] = []
    first = previous = -2
    for b in [*ascii_, 999]:
        if b != previous + 1:
            if first >= 0:
                parts.append(_range(first, previous))
            first = b
        previous = b
    shown = f"[{''.join(parts)}]" if parts else ""
    if lead:
        shown += (" or " if shown else "") + "characters beyond ASCII"
    if inside:
        shown += (" or " if shown else "") + "the rest of a character"
    return shown


def _range(first: int, last: int) -> str:
    if first == last:
        return _char(first)
    return _char(first) + ("" if last == first + 1 else "-") + _char(last)


def _char(code: int) -> str:
    char = chr(code)
    if char in "[]\\-^":
        return "\\" + char
    return {"\n": "\\n", "\t": "\\t", "\r": "\\r", " ": "␠"}.get(
        char, char if char.isprintable() else f"\\x{code:02x}"
    )
