"""Operators to plain rules, and the removal of what no sentence uses.

What is chosen here decides how easily an LR(1) parser decides:

- An optional part is written out as two productions, with and without, and a group as one for each
  alternative, while a rule stays small (``MAX_PRODUCTIONS``, ``MAX_SYMBOLS``); a helper rule with
  an empty production would have to be reduced before anything of the part has been seen, and
  ``("a" "b")? "a" "c"`` would conflict. Past the bound the largest parts become helper rules, so
  the result is linear in the size of the grammar.
- ``x+`` is a left-recursive helper ``p -> x | p x``, whose stack stays flat; ``x*`` is ``p`` or
  nothing.
- ``x{m,n}`` takes O(log n) rules: ``all(k)`` derives exactly k times x, halved; ``some(k)`` derives
  fewer than k times, ``some(k) -> some(k/2) | all(k/2) some(k - k/2)``. Both halve alike, so a
  parser that has read some x has the same items in either until the text stops being x: no
  conflict, which the binary ``x4? x2? x?`` would have. The rule is listed in
  ``Grammar.repetitions``, for a stage that would rather count.

Equal helpers are made once for the whole grammar.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import prod
from typing import Any

from structgen.errors import GrammarSyntaxError
from structgen.grammar.expression import Alt, Both, Expr, Rep, Seq, fold
from structgen.grammar.ir import (
    Grammar,
    Production,
    Ref,
    Repetition,
    Symbol,
    Term,
    Terminal,
    productive,
    reachable,
)
from structgen.regular.charset import has_surrogate

MAX_PRODUCTIONS = 32
MAX_SYMBOLS = 512
# A repetition of up to so many is written out.
MAX_SPELLED = 3

Alternatives = list[Production]


def to_grammar(
    rules: Mapping[str, Expr],
    start: str,
    terminals: Mapping[str, Terminal],
    *,
    ignore: Iterable[str] = (),
    scannerless: bool = False,
    warnings: Iterable[str] = (),
    positions: Mapping[str, tuple[str, int]] | None = None,
) -> Grammar:
    """Expand ``rules``, whose leaves are symbols, and remove what is of no use.

    ``positions`` says where a rule was defined, as a text and an offset, for errors. A terminal
    that accepts no text may occur; what needs it is removed as unproductive.

    Raises:
        GrammarSyntaxError: no text follows from the start rule.
    """
    expander = Expander(rules)
    expanded = {name: expander.alternatives(name, expr) for name, expr in rules.items()}
    all_rules = {n: _distinct(n, p) for n, p in {**expanded, **expander.helpers}.items()}
    hopeless = {name for name, t in terminals.items() if t.automaton and t.automaton.is_empty}
    hopeless |= {name for name, t in terminals.items() if t.chars == ()}
    hopeless |= {name for name, t in terminals.items() if t.text and has_surrogate(t.text)}
    kept, notes = _prune(all_rules, start, hopeless, set(rules), positions or {})
    used = dict.fromkeys(
        s.terminal for productions in kept.values() for p in productions for s in p
        if isinstance(s, Term)
    )  # fmt: skip
    for name in ignore:
        used[name] = None
    return Grammar(
        start=start,
        rules=kept,
        terminals={name: terminals[name] for name in used},
        ignore=tuple(dict.fromkeys(ignore)),
        scannerless=scannerless,
        repetitions={n: r for n, r in expander.repetitions.items() if n in kept},
        helpers=frozenset(n for n in expander.helpers if n in kept),
        warnings=(*warnings, *notes),
    )


class Expander:
    def __init__(self, rules: Mapping[str, Expr]) -> None:
        self.names = rules.keys()
        self.helpers: dict[str, Alternatives] = {}
        self.repetitions: dict[str, Repetition] = {}
        self.known: dict[Any, Ref] = {}
        self.rule = ""

    def alternatives(self, rule: str, expr: Expr) -> Alternatives:
        """The productions of a rule with this right-hand side."""
        self.rule = rule
        return fold(expr, self.combine)

    def combine(self, node: Expr, items: list[Alternatives]) -> Alternatives:
        match node:
            case Seq():
                return self.sequence(items)
            case Alt():
                return list(dict.fromkeys(p for item in items for p in item))
            case Rep(_, low, high):
                return self.repeat(items[0], low, high)
            case Both():
                raise TypeError("an intersection stands in terminals only")
        leaf: Symbol = node
        return [(leaf,)]

    def helper(self, key: Any, productions: Alternatives | None = None) -> Ref:
        """The helper rule for ``key``; without productions the caller fills them in."""
        known = self.known.get(key)
        if known is None:
            # "#" is in no dialect's names.
            name = f"{self.rule}#{len(self.helpers) + 1}"
            known = self.known[key] = Ref(name)
            self.helpers[name] = productions if productions is not None else []
        return known

    def symbol(self, item: Alternatives) -> Symbol:
        """One symbol for these alternatives."""
        if len(item) == 1 and len(item[0]) == 1:
            return item[0][0]
        return self.helper(("group", frozenset(item)), item)

    def sequence(self, items: list[Alternatives]) -> Alternatives:
        items = [item for item in items if item != [()]]
        symbols = sum(len(max(item, key=len, default=())) for item in items)
        count = prod(map(len, items))
        while count > 1 and (count > MAX_PRODUCTIONS or count * symbols > MAX_SYMBOLS):
            # Nullable parts are worth more in line; among the others the largest goes first.
            index = max(range(len(items)), key=lambda i: (() not in items[i], len(items[i])))
            if len(items[index]) == 1:
                index = max(range(len(items)), key=lambda i: len(items[i]))
            count //= len(items[index])
            items[index] = [(self.symbol(items[index]),)]
        found: Alternatives = [()]
        if count == 1:
            return [tuple(s for item in items for s in item[0])]
        for item in items:
            found = [left + right for left in found for right in item]
        return list(dict.fromkeys(found))

    def repeat(self, item: Alternatives, low: int, high: int | None) -> Alternatives:
        if () in item:
            item, low = [p for p in item if p], 0
        if not item or high == 0:
            return [()] if low == 0 else []
        if high == 1:
            return [(), *item] if low == 0 else item
        if high is None and low <= 1:
            if len(item) > MAX_PRODUCTIONS // 2:
                item = [(self.symbol(item),)]
            plus = self.plus(("plus", frozenset(item)), item, item)
            return [(plus,)] if low else [(), (plus,)]
        symbol = self.symbol(item)
        if high is not None and high <= MAX_SPELLED:
            return [(symbol,) * n for n in range(low, high + 1)]
        key = ("repeat", symbol, low, high)
        if key in self.known:
            return [(self.known[key],)]
        if high is None:
            rule = self.plus(key, [self.exactly(symbol, low)], [(symbol,)])
        else:
            head = self.exactly(symbol, low)
            tails = self.fewer(symbol, high - low + 1)
            rule = self.helper(key, [head + tail for tail in tails])
        self.repetitions[rule.rule] = Repetition(symbol, low, high)
        return [(rule,)]

    def plus(self, key: Any, first: Alternatives, more: Alternatives) -> Ref:
        if key in self.known:
            return self.known[key]
        plus = self.helper(key)
        self.helpers[plus.rule] = [*first, *((plus, *p) for p in more)]
        return plus

    def exactly(self, symbol: Symbol, n: int) -> Production:
        if n <= MAX_SPELLED:
            return (symbol,) * n
        half = n // 2
        body = self.exactly(symbol, half) + self.exactly(symbol, n - half)
        return (self.helper(("all", symbol, n), [body]),)

    def fewer(self, symbol: Symbol, n: int) -> Alternatives:
        """0 to n - 1 times."""
        if n <= MAX_SPELLED + 1:
            return [(symbol,) * k for k in range(n)]
        key = ("some", symbol, n)
        if key not in self.known:
            half = n // 2
            head = self.exactly(symbol, half)
            body = self.fewer(symbol, half)
            body = body + [head + tail for tail in self.fewer(symbol, n - half)]
            self.helper(key, body)
        return [(self.known[key],)]


def _distinct(name: str, productions: Alternatives) -> Alternatives:
    """Without repetitions, and without a rule that derives nothing but itself."""
    return [p for p in dict.fromkeys(productions) if p != (Ref(name),)]


def _prune(
    rules: dict[str, Alternatives],
    start: str,
    hopeless: set[str],
    named: set[str],
    positions: Mapping[str, tuple[str, int]],
) -> tuple[dict[str, tuple[Production, ...]], list[str]]:
    """Rules that take part in some sentence, in order of first use, and notes on the others."""
    alive = {
        name: tuple(p for p in productions if not any(
            isinstance(s, Term) and s.terminal in hopeless for s in p
        ))
        for name, productions in rules.items()
    }  # fmt: skip
    good = productive(alive)
    if start not in good:
        text, position = positions.get(start, ("", None))
        raise GrammarSyntaxError(
            f"no text follows from the start rule {start}: each of its alternatives needs a rule "
            "that never ends, or a terminal that accepts nothing",
            text=text,
            position=position,
        )
    alive = {
        name: tuple(
            p for p in productions if all(not isinstance(s, Ref) or s.rule in good for s in p)
        )
        for name, productions in alive.items()
        if name in good
    }
    order = {start: alive[start]}
    queue = [start]
    for name in queue:
        for production in alive[name]:
            for symbol in production:
                if isinstance(symbol, Ref) and symbol.rule not in order:
                    order[symbol.rule] = alive[symbol.rule]
                    queue.append(symbol.rule)
    reached = reachable({n: tuple(p) for n, p in rules.items()}, start)
    notes = []
    if barren := [n for n in named if n in reached and n not in good]:
        notes.append(f"no text follows from {_listed(barren)}: alternatives that use it are gone")
    if unused := [n for n in named if n not in reached]:
        notes.append(f"not used, and removed: {_listed(unused)}")
    return order, notes


def _listed(names: list[str]) -> str:
    shown = ", ".join(sorted(names)[:10])
    return shown + (f" and {len(names) - 10} more" if len(names) > 10 else "")
