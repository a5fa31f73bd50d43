"""From the grammar IR to rule bodies over numbered symbols."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from structgen.errors import StructgenError
from structgen.grammar.ir import (
    Embedded,
    Grammar,
    Ref,
    Special,
    Symbol,
    Term,
    Terminal,
    productive,
    reachable,
)
from structgen.pushdown.bodies import Body, simplify, without_empty
from structgen.regular.bytewise import restrict, utf8
from structgen.regular.charset import BYTES
from structgen.regular.dfa import DFA, from_edges
from structgen.vocabulary.spelling import SYMBOL

# How much copying rules into their callers may add, in edges: of one rule, and of all.
COPIES, ALL_COPIES = 200, 60_000
TOKEN_COPIES = 200

Foreign = tuple[int, tuple[int, ...]]


@dataclass
class Rules:
    """Rules as automata whose nodes are numbered through; see :class:`..bodies.Body`.

    Terminals are bits of a mask: bit i is terminal i, bit ``end`` stands for the end of the text.

    Attributes:
        shift: by node, pairs of a mask and a target.
        calls: by node, pairs of a rule and a target.
        final: by node.
        first: by node, a mask of the terminals that a text from there may begin with.
        start: by rule, its first node; -1 for a rule that nothing calls.
        names: by rule.
        root: the start rule.
        empty: is the empty text a sentence?
        end: the bit of the end of the text, the number of terminals.
    """

    shift: list[list[tuple[int, int]]]
    calls: list[list[tuple[int, int]]]
    final: list[bool]
    first: list[int]
    start: list[int]
    names: list[str]
    root: int
    empty: bool
    end: int
    owner: list[int] = field(default_factory=list)

    def only_ends(self, node: int) -> bool:
        """May nothing follow in this rule?"""
        return not self.shift[node] and not self.calls[node]


def special_dfa(ids: Sequence[int], negated: bool, size: int) -> DFA:
    """The spellings as a symbol of one token, of ``ids`` or (``negated``) of none of them."""
    chosen = set(ids)
    if negated:
        chosen = set(range(size)) - chosen
    edges: list[list[tuple[int, int, int]]] = [[(SYMBOL, SYMBOL, 1)], [], []]
    final = [-1, -1, 0]
    heads: dict[int, dict[int, list[int]]] = {}
    for token_id in sorted(chosen):
        by_second = heads.setdefault(token_id >> 16, {})
        by_second.setdefault(token_id >> 8 & 0xFF, []).append(token_id & 0xFF)
    for high, by_second in heads.items():
        second = len(edges)
        edges.append([])
        final.append(-1)
        edges[1].append((high, high, second))
        for middle, lows in by_second.items():
            third = len(edges)
            edges.append([(low, low, 2) for low in lows])
            final.append(-1)
            edges[second].append((middle, middle, third))
    return from_edges(edges, final, BYTES)


def number_rules(grammar: Grammar, terminal_of: Callable[[Symbol], int], n_terminals: int) -> Rules:
    """Bodies over whole tokens: ``terminal_of`` is the number of a symbol that is no rule."""
    numbers = {name: i for i, name in enumerate(grammar.rules)}
    bodies = []
    for productions in grammar.rules.values():
        body = Body()
        end = body.node(final=True)
        for production in productions:
            node = 0
            for i, symbol in enumerate(production):
                target = end if i == len(production) - 1 else body.node()
                if isinstance(symbol, Ref):
                    body.calls[node].add((numbers[symbol.rule], target))
                else:
                    body.add_shift(node, 1 << terminal_of(symbol), target)
                node = target
            if not production:
                body.silent[0].add(end)
        bodies.append(body)
    return _finish(bodies, list(grammar.rules), numbers[grammar.start], n_terminals, TOKEN_COPIES)


def byte_rules(
    grammar: Grammar,
    byte_dfa: Callable[[Terminal | Special], DFA],
    classes: ByteClasses,
    foreign: Callable[[Embedded], int],
    n_terminals: int,
) -> Rules:
    """Bodies over bytes: the terminals are byte classes, and then embedded constraints."""
    numbers = {name: i for i, name in enumerate(grammar.rules)}
    names = list(grammar.rules)
    bodies: list[Body] = [Body() for _ in names]
    made: dict[object, int] = {}

    def rule_of(key: object, name: str, dfa: DFA) -> int:
        """A terminal as a rule of its own."""
        if key not in made:
            made[key] = len(bodies)
            names.append(name)
            bodies.append(_body_of(dfa, classes))
        return made[key]

    for rule, productions in enumerate(grammar.rules.values()):
        body = bodies[rule]
        end = body.node(final=True)
        for production in productions:
            node = 0
            for i, symbol in enumerate(production):
                target = end if i == len(production) - 1 else body.node()
                match symbol:
                    case Ref(name):
                        body.calls[node].add((numbers[name], target))
                    case Embedded():
                        body.add_shift(node, 1 << foreign(symbol), target)
                    case Term(name):
                        terminal = grammar.terminals[name]
                        if terminal.text is not None:
                            _add_text(body, node, terminal.text.encode(), target, classes)
                        else:
                            called = rule_of(name, name, byte_dfa(terminal))
                            body.calls[node].add((called, target))
                    case Special():
                        called = rule_of(symbol, symbol.text, byte_dfa(symbol))
                        body.calls[node].add((called, target))
                node = target
            if not production:
                body.silent[0].add(end)
    return _finish(bodies, names, numbers[grammar.start], n_terminals, COPIES)


def _add_text(body: Body, node: int, text: bytes, target: int, classes: ByteClasses) -> None:
    for i, byte in enumerate(text):
        following = target if i == len(text) - 1 else body.node()
        body.add_shift(node, 1 << classes.of_byte[byte], following)
        node = following


def _body_of(dfa: DFA, classes: ByteClasses) -> Body:
    body = Body()
    for _ in range(dfa.n_states - 1):
        body.node()
    for state in range(dfa.n_states):
        body.final[state] = dfa.final[state] >= 0
        for k in range(int(dfa.offsets[state]), int(dfa.offsets[state + 1])):
            mask = classes.mask(int(dfa.lo[k]), int(dfa.hi[k]))
            body.add_shift(state, mask, int(dfa.target[k]))
    return body


class ByteClasses:
    """The coarsest partition of the bytes that all rows added are constant on.

    Attributes:
        of_byte: the class of each byte.
        first_bytes: the lowest byte of each class.
    """

    def __init__(self) -> None:
        self._rows: set[bytes] = set()
        self.of_byte: list[int] = []
        self.first_bytes: list[int] = []

    @property
    def n(self) -> int:
        return len(self.first_bytes)

    def add(self, row: np.ndarray) -> None:
        """Tell bytes apart that this row (int32 [256]) tells apart."""
        self._rows.add(row.astype(np.int32).tobytes())

    def add_dfa(self, dfa: DFA) -> None:
        offsets, lo, hi = dfa.offsets.tolist(), dfa.lo.tolist(), dfa.hi.tolist()
        target = dfa.target.tolist()
        for state in range(dfa.n_states):
            row = np.full(256, -1, np.int32)
            for k in range(offsets[state], offsets[state + 1]):
                row[lo[k] : hi[k] + 1] = target[k]
            self._rows.add(row.tobytes())

    def add_bytes(self, text: bytes) -> None:
        """Tell each of these bytes apart from all others."""
        for byte in set(text):
            row = np.zeros(256, np.int32)
            row[byte] = 1
            self._rows.add(row.tobytes())

    def close(self) -> None:
        # Class numbers, refined by a row at a time.
        classes = np.zeros(256, np.int64)
        for key in sorted(self._rows):
            row = np.frombuffer(key, np.int32).astype(np.int64)
            _, classes = np.unique(classes << 32 | row & 0xFFFFFFFF, return_inverse=True)
        _, first, inverse = np.unique(classes, return_index=True, return_inverse=True)
        order = np.argsort(first)
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        self.of_byte = rank[inverse.ravel()].tolist()
        self.first_bytes = first[order].tolist()

    def mask(self, lo: int, hi: int) -> int:
        found = 0
        for cls in set(self.of_byte[lo : hi + 1]):
            found |= 1 << cls
        return found


def terminal_bytes(terminal: Terminal, usable: np.ndarray) -> DFA:
    """A terminal's texts in UTF-8 that use none but these bytes (uint8 [256], 1: usable).

    Final classes are as in :attr:`Terminal.follows`.
    """
    dfa = utf8(terminal.dfa)
    return dfa if usable.all() else restrict(dfa, np.flatnonzero(usable))


def spellable(grammar: Grammar, usable: np.ndarray) -> Grammar:
    """The grammar without productions that need bytes which no token spells.

    Raises:
        StructgenError: nothing is left.
    """
    if usable.all():
        return grammar
    lost = {name for name, t in grammar.terminals.items() if terminal_bytes(t, usable).is_empty}
    if not lost:
        return grammar
    rules = {
        name: tuple(p for p in ps if not any(isinstance(s, Term) and s.terminal in lost for s in p))
        for name, ps in grammar.rules.items()
    }
    good = productive(rules)
    if grammar.start not in good:
        raise StructgenError("no text that the vocabulary can spell satisfies the grammar")
    rules = {
        name: tuple(p for p in ps if all(not isinstance(s, Ref) or s.rule in good for s in p))
        for name, ps in rules.items()
        if name in good
    }
    kept = reachable(rules, grammar.start)
    left = {name: ps for name, ps in rules.items() if name in kept}
    used = {s.terminal for ps in left.values() for p in ps for s in p if isinstance(s, Term)}
    ignore = tuple(name for name in grammar.ignore if name not in lost)
    return replace(
        grammar,
        rules=left,
        terminals={n: t for n, t in grammar.terminals.items() if n in used or n in ignore},
        ignore=ignore,
        repetitions={n: r for n, r in grammar.repetitions.items() if n in kept},
        helpers=grammar.helpers & kept,
    )


def _finish(bodies: list[Body], names: list[str], root: int, end: int, copies: int) -> Rules:
    bodies, empty_rules = without_empty(bodies)
    simplify(bodies, root, copies=copies, most=ALL_COPIES)
    shift: list[list[tuple[int, int]]] = []
    calls: list[list[tuple[int, int]]] = []
    final: list[bool] = []
    owner: list[int] = []
    start = [-1] * len(bodies)
    used, queue = {root}, [root]
    for rule in queue:
        more = bodies[rule].called() - used
        used |= more
        queue += sorted(more)
    for rule in queue:
        body, base = bodies[rule], len(final)
        start[rule] = base
        for node in range(len(body)):
            shift.append([(mask, base + t) for t, mask in sorted(body.shift[node].items())])
            calls.append([(r, base + t) for r, t in sorted(body.calls[node])])
            final.append(body.final[node])
            owner.append(rule)
    rules = Rules(shift, calls, final, [], start, names, root, root in empty_rules, end, owner)
    rules.first = _first(rules)
    return rules


def _first(rules: Rules) -> list[int]:
    own = [0] * len(rules.final)
    for node, edges in enumerate(rules.shift):
        for mask, _ in edges:
            own[node] |= mask
    of_rule = {rule: own[node] for rule, node in enumerate(rules.start) if node >= 0}
    while True:
        changed = False
        for rule, mask in of_rule.items():
            found = mask
            for called, _ in rules.calls[rules.start[rule]]:
                found |= of_rule[called]
            if found != mask:
                of_rule[rule], changed = found, True
        if not changed:
            break
    first = list(own)
    for node, edges in enumerate(rules.calls):
        for called, _ in edges:
            first[node] |= of_rule[called]
    return first
