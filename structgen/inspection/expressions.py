"""Plain rules back to right-hand sides with operators, for drawings.

Readers expand operators (``x?`` to two productions, ``x*`` to a helper rule; see
:mod:`structgen.grammar.expand`). Here helper rules are put back in line and productions are
factored. The result derives the same texts; it need not be what the author wrote.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from structgen.grammar.expression import Alt, Expr, Rep, Seq, alt, parts, seq
from structgen.grammar.ir import Grammar, Production, Ref

# Productions of one rule for which optional parts are looked for: it takes cubic time.
MAX_FACTORED = 64
# Helper rules in helper rules; deeper ones keep their names.
MAX_DEPTH = 40


@dataclass(frozen=True, slots=True)
class Listed:
    """One or more times ``item``, ``separator`` between."""

    item: Expr
    separator: Expr


def rule_expressions(grammar: Grammar) -> dict[str, Expr]:
    """The right-hand side of every rule that the author named; leaves are symbols."""
    inline = _Inliner(grammar)
    return {
        name: inline.productions(productions, 0)
        for name, productions in grammar.rules.items()
        if name not in grammar.helpers or name in inline.kept
    } | {name: inline.helper(name, 0) for name in inline.kept}


class _Inliner:
    def __init__(self, grammar: Grammar) -> None:
        self.grammar = grammar
        self.kept: dict[str, None] = {}

    def leaf(self, symbol: Expr, depth: int) -> Expr:
        if not isinstance(symbol, Ref) or symbol.rule not in self.grammar.helpers:
            return symbol
        if depth >= MAX_DEPTH:
            self.kept[symbol.rule] = None
            return symbol
        return self.helper(symbol.rule, depth + 1)

    def helper(self, name: str, depth: int) -> Expr:
        known = self.grammar.repetitions.get(name)
        if known is not None:
            return Rep(self.leaf(known.item, depth), known.low, known.high)
        own = Ref(name)
        productions = self.grammar.rules[name]
        first = [p for p in productions if p[:1] != (own,)]
        more = [p[1:] for p in productions if p[:1] == (own,)]
        if not more:
            return self.productions(first, depth)
        if set(first) == set(more):
            return Rep(self.productions(first, depth), 1, None)
        return seq([self.productions(first, depth), Rep(self.productions(more, depth), 0, None)])

    def productions(self, productions: Iterable[Production], depth: int) -> Expr:
        return listed(self._factor(list(dict.fromkeys(productions)), depth))

    def _sequence(self, production: Production, depth: int) -> list[Expr]:
        return [self.leaf(symbol, depth) for symbol in production]

    def _factor(self, productions: list[Production], depth: int) -> Expr:
        if len(productions) == 1:
            return seq(self._sequence(productions[0], depth))
        if len(productions) == 2 and () in productions:
            return optional(self._factor([p for p in productions if p], depth))
        if len(productions) <= MAX_FACTORED:
            found = _optional_prefix(productions)
            if found is not None:
                prefix, rest = found
                head = optional(seq(self._sequence(prefix, depth)))
                return seq(flat([head, self._factor(rest, depth)]))
        if () in productions:
            return optional(self._factor([p for p in productions if p], depth))
        before, after = _shared(productions)
        if before or after:
            size = len(before)
            middle = [p[size : len(p) - len(after)] for p in productions]
            return seq(
                flat([
                    *self._sequence(before, depth),
                    self._factor(middle, depth),
                    *self._sequence(after, depth),
                ])
            )  # fmt: skip
        return self._alternatives(productions, depth)

    def _alternatives(self, productions: list[Production], depth: int) -> Expr:
        by_first: dict[Expr, list[Production]] = {}
        for production in productions:
            by_first.setdefault(production[0], []).append(production[1:])
        # Those that go on alike share what comes after: (a | b) (c | d).
        by_rest: dict[frozenset[Production], list[Expr]] = {}
        for first, rest in by_first.items():
            by_rest.setdefault(frozenset(rest), []).append(first)
        items: list[Expr] = []
        for rests, firsts in by_rest.items():
            heads = alt([self.leaf(first, depth) for first in firsts])
            if rests == {()}:
                items += heads.items if isinstance(heads, Alt) else [heads]
            elif len(firsts) == 1 or len(by_rest) == 1 or len(rests) > 1:
                ordered = [p for p in by_first[firsts[0]] if p in rests]
                items.append(seq(flat([heads, self._factor(ordered, depth)])))
            else:
                (only,) = rests
                items.append(seq(flat([heads, *self._sequence(only, depth)])))
        return alt(items)


def _shared(productions: list[Production]) -> tuple[Production, Production]:
    """What all begin with, and what all end with."""
    shortest = min(productions, key=len)
    before = 0
    while before < len(shortest) and len({p[before] for p in productions}) == 1:
        before += 1
    room = len(shortest) - before
    after = 0
    while after < room and len({p[len(p) - 1 - after] for p in productions}) == 1:
        after += 1
    return shortest[:before], shortest[len(shortest) - after :]


def _optional_prefix(productions: list[Production]) -> tuple[Production, list[Production]] | None:
    """A beginning that may be there or not whatever follows, and what follows."""
    everything = set(productions)
    for production in productions:
        for size in range(1, len(production) + 1):
            prefix = production[:size]
            rest = {p[size:] for p in productions if p[:size] == prefix}
            if 2 * len(rest) == len(everything) and rest == everything - {prefix + r for r in rest}:
                return prefix, [p for p in productions if p in rest]
    return None


def optional(expr: Expr) -> Expr:
    match expr:
        case Rep(item, 1, None):
            return Rep(item, 0, None)
        case Rep(_, 0, _):
            return expr
    return Rep(expr, 0, 1)


def flat(items: list[Expr]) -> list[Expr]:
    """Sequences in a sequence as one."""
    return [part for item in items for part in (item.items if isinstance(item, Seq) else (item,))]


def listed(expr: Expr) -> Expr:
    """``x (s x)*`` as a list of x with separators s, all the way down."""
    match expr:
        case Alt():
            return alt([listed(part) for part in expr.items])
        case Rep(item, low, high):
            return Rep(listed(item), low, high)
        case Seq(items):
            found: list[Expr] = []
            for item in flat([listed(part) for part in items]):
                if isinstance(item, Rep) and (item.low, item.high) == (0, None):
                    loop = parts(item.item) if isinstance(item.item, Seq) else (item.item,)
                    size = _overlap(found, loop)
                    if size:
                        separator = seq(list(loop[: len(loop) - size]))
                        body = seq(found[len(found) - size :])
                        found[len(found) - size :] = [Listed(body, separator)]
                        continue
                found.append(item)
            return seq(found)
    return expr


def _overlap(before: list[Expr], loop: tuple[Expr, ...]) -> int:
    """How many items at the end of a loop, but not all of it, stand right before the loop too."""
    for size in range(min(len(loop) - 1, len(before)), 0, -1):
        if tuple(before[len(before) - size :]) == loop[len(loop) - size :]:
            return size
    return 0
