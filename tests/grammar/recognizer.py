"""An Earley recogniser over the IR: any division of the text into terminals counts.

Independent of how grammars are read, and slow. It has no lexer: a text that it rejects is rejected
whatever a lexer chooses; one that it accepts may be divided otherwise by longest matches. Only
terminals that commit are chosen as a lexer would.

A text may be a list of characters and names of special tokens. An embedded schema is left to the
schema compiler, byte by byte, and every value that it ends is checked with ``jsonschema``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import jsonschema

from structgen.compiler import CompiledGrammar, Compiler
from structgen.grammar.ir import Embedded, Grammar, Ref, Special, Term, Terminal
from structgen.regular.charset import contains
from structgen.vocabulary import Vocabulary


@dataclass(frozen=True)
class Verdict:
    accept: bool
    prefix: bool  # some text that begins so is accepted


class Unsupported(Exception):
    """A token that only a vocabulary knows, or an embedded grammar, was needed."""


@cache
def compiled(embedded: Embedded) -> CompiledGrammar:
    compiler = Compiler(Vocabulary.byte_vocabulary(), cache_bytes=0)
    options = json.loads(embedded.options or "{}")
    return compiler.compile_json_schema(embedded.value, **options)


def json_matches(embedded: Embedded, text: Sequence[str], begin: int) -> tuple[list[int], bool]:
    """Where a value that begins here may end, and whether one may go on past the text."""
    matcher = compiled(embedded).matcher()
    schema = json.loads(embedded.value)
    ends = []
    for at in range(begin, len(text) + 1):
        if matcher.is_accepting():
            ends.append(at)
            jsonschema.validate(json.loads("".join(text[begin:at])), schema)
        if at == len(text):
            return ends, True
        if len(text[at]) != 1 or not matcher.accept_bytes(text[at].encode()):
            return ends, False
    raise AssertionError


def matches(terminal: Terminal, text: Sequence[str], begin: int) -> tuple[list[int], bool]:
    """Where a token that begins here may end, and whether one may go on past the text."""
    ends: list[int] = []
    state = 0
    for at in range(begin, len(text) + 1):
        final = int(terminal.dfa.final[state])
        if final > 0 and at > begin:
            follow = terminal.follows[final - 1]
            after = follow.end if at == len(text) else contains(follow.chars, ord(text[at]))
            if after:
                ends.append(at)
        elif final == 0 and at > begin:
            ends.append(at)
        if at == len(text):
            return ends, bool(terminal.dfa.offsets[state] < terminal.dfa.offsets[state + 1])
        state = terminal.dfa.step(state, ord(text[at])) if len(text[at]) == 1 else -1
        if state < 0:
            return ends, False
    raise AssertionError


def nullable_rules(grammar: Grammar) -> set[str]:
    found: set[str] = set()
    while True:
        more = {
            name
            for name, productions in grammar.rules.items()
            if any(all(isinstance(s, Ref) and s.rule in found for s in p) for p in productions)
        }
        if more == found:
            return found
        found = more


def recognize(grammar: Grammar, text: str | list[str]) -> Verdict:
    nullable = nullable_rules(grammar)
    n = len(text)
    chart: list[dict] = [{} for _ in range(n + 1)]
    prefix = False

    def add(at: int, item: tuple) -> None:
        chart[at].setdefault(item)

    def after_ignored(at: int) -> set[int]:
        nonlocal prefix
        places, stack = {at}, [at]
        while stack:
            here = stack.pop()
            for name in grammar.ignore:
                ends, open_ended = matches(grammar.terminals[name], text, here)
                prefix |= open_ended
                for end in ends:
                    if end not in places:
                        places.add(end)
                        stack.append(end)
        return places

    goal = ("", (Ref(grammar.start),))
    for at in after_ignored(0):
        add(at, (*goal, 0, 0))
    for at in range(n + 1):
        queue = list(chart[at])
        waiting: dict[str, list] = {}
        scans: dict[str, list] = {}
        values: dict[Embedded, list] = {}
        specials: dict[Special, list] = {}
        position = 0
        while position < len(queue):
            item = queue[position]
            position += 1
            rule, body, dot, origin = item
            if dot == len(body):
                if rule == "":
                    continue
                waiters = chart[origin] if origin < at else dict.fromkeys(waiting.get(rule, ()))
                news = [
                    (r, b, d + 1, o) for r, b, d, o in waiters if d < len(b) and b[d] == Ref(rule)
                ]
            else:
                symbol = body[dot]
                news = []
                if isinstance(symbol, Ref):
                    waiting.setdefault(symbol.rule, []).append(item)
                    news = [(symbol.rule, p, 0, at) for p in grammar.rules[symbol.rule]]
                    if symbol.rule in nullable:
                        news.append((rule, body, dot + 1, origin))
                elif isinstance(symbol, Term):
                    scans.setdefault(symbol.terminal, []).append((rule, body, dot + 1, origin))
                elif isinstance(symbol, Embedded) and symbol.kind == "json_schema":
                    values.setdefault(symbol, []).append((rule, body, dot + 1, origin))
                elif isinstance(symbol, Special) and symbol.name and not symbol.negated:
                    specials.setdefault(symbol, []).append((rule, body, dot + 1, origin))
                else:
                    raise Unsupported(str(symbol))
            for new in news:
                if new not in chart[at]:
                    chart[at][new] = None
                    queue.append(new)
        committed = n + 1
        found = {name: matches(grammar.terminals[name], text, at) for name in scans}
        for name, (ends, _) in found.items():
            if grammar.terminals[name].commits and ends:
                committed = min(committed, ends[0])
        for name, (ends, open_ended) in found.items():
            prefix |= open_ended and committed > n
            for end in ends:
                if end < committed or grammar.terminals[name].commits:
                    for place in after_ignored(end):
                        for item in scans[name]:
                            add(place, item)
        for value, items in values.items():
            ends, open_ended = json_matches(value, text, at)
            prefix |= open_ended
            for end in ends:
                for item in items:
                    add(end, item)
        for special, items in specials.items():
            if at < n and text[at] == special.name:
                for item in items:
                    add(at + 1, item)
    accept = any(rule == "" and dot == 1 for rule, _, dot, _ in chart[n])
    return Verdict(accept, accept or prefix or bool(chart[n]))
