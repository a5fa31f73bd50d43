"""Slow judges of context-free grammars over letters, and random grammars to judge.

Written from textbooks: Earley's recogniser, one letter at a time, and Knuth's LR(1) with tables.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

Productions = dict[str, list[tuple[str, ...]]]  # upper case: a rule; other: a letter

END = "$"


@dataclass(frozen=True)
class Random:
    """One grammar: plain productions for the judges, and the text of it in two dialects."""

    productions: Productions
    gbnf: str
    lark: str
    letters: str

    def __repr__(self) -> str:
        return self.gbnf


# -- Earley -----------------------------------------------------------------------------------


class Earley:
    """Charts are lists of item sets ``{(rule, body, dot, origin)}``, one longer for each letter."""

    def __init__(self, productions: Productions, start: str = "S") -> None:
        self.productions, self.start = productions, start
        self.nullable = nullable(productions)

    def begin(self) -> list[dict]:
        chart: list[dict] = []
        return [self._close(chart, {("", (self.start,), 0, 0): None})]

    def feed(self, chart: list[dict], letter: str) -> list[dict] | None:
        """The chart after one more letter; None where no sentence begins so."""
        scanned = {
            (rule, body, dot + 1, origin): None
            for rule, body, dot, origin in chart[-1]
            if dot < len(body) and body[dot] == letter
        }
        return [*chart, self._close(chart, scanned)] if scanned else None

    def accepts(self, chart: list[dict]) -> bool:
        return ("", (self.start,), 1, 0) in chart[-1]

    def _close(self, chart: list[dict], items: dict) -> dict:
        at = len(chart)
        queue = list(items)
        for rule, body, dot, origin in queue:
            if dot == len(body):
                before = items if origin == at else chart[origin]
                news = [(r, b, d + 1, o) for r, b, d, o in before if d < len(b) and b[d] == rule]
            elif body[dot] in self.productions:
                name = body[dot]
                news = [(name, b, 0, at) for b in self.productions[name]]
                if name in self.nullable:
                    news.append((rule, body, dot + 1, origin))
            else:
                continue
            for new in news:
                if new not in items:
                    items[new] = None
                    queue.append(new)
        return items


def nullable(productions: Productions) -> set[str]:
    found: set[str] = set()
    while True:
        more = {n for n, bodies in productions.items() if any(set(b) <= found for b in bodies)}
        if more == found:
            return found
        found = more


# -- LR(1) ------------------------------------------------------------------------------------


class Conflict(Exception):
    """The grammar is not LR(1)."""


class LR1:
    """Canonical LR(1): an error is seen before the letter is shifted."""

    def _first(self) -> dict[str, set[str]]:
        empty = nullable(self.productions)
        first: dict[str, set[str]] = {name: set() for name in self.productions}
        changed = True
        while changed:
            changed = False
            for name, bodies in self.productions.items():
                for body in bodies:
                    found = self._first_of(body, first, empty)
                    if not found <= first[name]:
                        first[name] |= found
                        changed = True
        self.empty = empty
        return first

    @staticmethod
    def _first_of(body: tuple[str, ...], first: dict[str, set[str]], empty: set[str]) -> set[str]:
        found: set[str] = set()
        for symbol in body:
            if symbol not in first:
                return found | {symbol}
            found |= first[symbol]
            if symbol not in empty:
                return found
        return found

    def _closure(self, items: set) -> frozenset:
        queue = list(items)
        for _, body, dot, ahead in queue:
            if dot == len(body) or body[dot] not in self.productions:
                continue
            rest = body[dot + 1 :]
            aheads = self._first_of(rest, self.first, self.empty)
            if set(rest) <= self.empty:
                aheads = aheads | {ahead}
            for production in self.productions[body[dot]]:
                for letter in aheads:
                    new = (body[dot], production, 0, letter)
                    if new not in items:
                        items.add(new)
                        queue.append(new)
        return frozenset(items)

    @classmethod
    def of(cls, productions: Productions) -> LR1:
        """The tables.

        Raises:
            Conflict: the grammar is not LR(1).
        """
        self = object.__new__(cls)
        self.productions = {"": [("S",)], **productions}
        self.first = self._first()
        order = [self._closure({("", ("S",), 0, END)})]
        numbers = {order[0]: 0}
        self.action, self.goto = [], []
        for state in order:
            action: dict[str, tuple] = {}
            after: dict[str, set] = {}
            for rule, body, dot, ahead in state:
                if dot < len(body):
                    after.setdefault(body[dot], set()).add((rule, body, dot + 1, ahead))
                    continue
                found = ("accept",) if rule == "" else ("reduce", rule, len(body))
                if action.setdefault(ahead, found) != found:
                    raise Conflict(ahead)
            goto = {}
            for symbol, kernel in after.items():
                target = self._closure(kernel)
                if target not in numbers:
                    numbers[target] = len(order)
                    order.append(target)
                if symbol in self.productions:
                    goto[symbol] = numbers[target]
                elif symbol in action:
                    raise Conflict(symbol)
                else:
                    action[symbol] = ("shift", numbers[target])
            self.action.append(action)
            self.goto.append(goto)
        return self

    def feed(self, stack: tuple[int, ...], letter: str) -> tuple[int, ...] | None:
        while True:
            match self.action[stack[-1]].get(letter):
                case None:
                    return None
                case ("accept",):
                    return stack
                case ("shift", target):
                    return (*stack, target)
                case ("reduce", rule, n):
                    stack = stack[: len(stack) - n]
                    stack = (*stack, self.goto[stack[-1]][rule])

    def accepts(self, stack: tuple[int, ...]) -> bool:
        return self.feed(stack, END) is not None


# -- random grammars --------------------------------------------------------------------------

COUNTS = {"?": (0, 1), "*": (0, None), "+": (1, None), "{2}": (2, 2), "{1,3}": (1, 3)}
LARK_COUNTS = {"{2}": "~2", "{1,3}": "~1..3"}


def random_grammar(rng: random.Random, letters: str = "ab", rules: int = 3) -> Random:
    """A grammar all of whose rules derive some text and are reached from the start."""
    while True:
        found = _attempt(rng, letters, rng.randint(1, rules))
        if found is not None:
            return found


def _attempt(rng: random.Random, letters: str, n: int) -> Random | None:
    names = ["S", "A", "B", "C", "D"][:n]
    productions: Productions = {}
    texts: dict[str, list[tuple[str, str]]] = {}

    def repeat(symbols: tuple[str, ...], low: int, high: int | None) -> str:
        made = f"R{len(productions)}_{rng.randrange(10**9)}"
        if high is None:
            productions[made] = [symbols * low, (*symbols, made)]
        else:
            productions[made] = [symbols * k for k in range(low, high + 1)]
        return made

    for name in names:
        bodies: list[tuple[str, ...]] = []
        texts[name] = []
        for _ in range(rng.choice((1, 2, 2, 3, 3, 4))):
            body: list[str] = []
            gbnf: list[str] = []
            lark: list[str] = []
            for _ in range(rng.choice((0, 1, 1, 2, 2, 3, 3, 4))):
                group = tuple(
                    rng.choice(names) if rng.random() < 0.5 else rng.choice(letters)
                    for _ in range(2 if rng.random() < 0.1 else 1)
                )
                spelled = " ".join(s if s in names else f'"{s}"' for s in group)
                lower = spelled.replace("S", "start")
                for other in names[1:]:
                    lower = lower.replace(other, other.lower() + "_")
                if rng.random() < 0.12:
                    count = rng.choice(list(COUNTS))
                    body.append(repeat(group, *COUNTS[count]))
                    gbnf.append(f"({spelled}){count}")
                    lark.append(f"({lower}){LARK_COUNTS.get(count, count)}")
                else:
                    body += group
                    gbnf.append(spelled)
                    lark.append(lower)
            if tuple(body) not in bodies:
                bodies.append(tuple(body))
                texts[name].append((" ".join(gbnf) or '""', " ".join(lark)))
        productions[name] = bodies
    if not _whole(productions):
        return None
    lower = {"S": "start", **{name: name.lower() + "_" for name in names[1:]}}
    return Random(
        productions,
        "\n".join(f"{n} ::= {' | '.join(g for g, _ in t)}" for n, t in texts.items()),
        "\n".join(f"{lower[n]}: {' | '.join(k for _, k in t)}" for n, t in texts.items()),
        letters,
    )


def _whole(productions: Productions) -> bool:
    """Does every rule derive some text, and is it reached?"""
    done: set[str] = set()
    while True:
        more = {
            n
            for n, bodies in productions.items()
            if any(all(s in done or s not in productions for s in b) for b in bodies)
        }
        if more == done:
            break
        done = more
    seen, stack = {"S"}, ["S"]
    while stack:
        for body in productions[stack.pop()]:
            for symbol in body:
                if symbol in productions and symbol not in seen:
                    seen.add(symbol)
                    stack.append(symbol)
    return done == seen == set(productions)


def sentences(earley: Earley, letters: str, longest: int) -> Iterator[tuple[str, bool, bool]]:
    """Every text up to a length whose own beginning is one, its prefix and accept verdicts."""
    stack = [("", earley.begin())]
    while stack:
        text, chart = stack.pop()
        yield text, True, earley.accepts(chart)
        if len(text) == longest:
            continue
        for letter in letters:
            more = earley.feed(chart, letter)
            if more is None:
                yield text + letter, False, False
            else:
                stack.append((text + letter, more))
