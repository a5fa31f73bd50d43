"""What a lexer matches: a pattern's tree to an automaton whose accepting texts are tokens.

A pattern without lazy repetitions stands for all texts that it matches as a whole. One with a lazy
repetition (``/\\*.*?\\*/``) stands for the texts that Python's matcher would stop at, so a comment
ends at its first ``*/``: threads are kept in the order in which a backtracking matcher tries them,
and one that has matched cuts off those after it (Pike's virtual machine). The longest of these is
then what the matcher returns on any text: a lexer of longest matches does what Python does.

Lookaheads may reach past the token. A thread carries what it has promised about the text to come;
where promises are open at the end of a token, they become a condition on the next character
(:class:`structgen.grammar.ir.Follow`), or an error if one character cannot decide them. Lookbehinds
must not reach before the token.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TypeAlias

from structgen.errors import GrammarSyntaxError, LimitExceeded
from structgen.grammar.ir import Follow
from structgen.grammar.python_regex import Lazy
from structgen.regular import subset
from structgen.regular.charset import UNICODE, Partition, Ranges, normalize, partition
from structgen.regular.dfa import DFA, combine, empty, from_edges, from_table, length
from structgen.regular.nfa import build
from structgen.regular.syntax import (
    Alt,
    Assertion,
    Cat,
    Look,
    Node,
    Repeat,
    Set,
    children,
    postorder,
)

MAX_STATES = 50_000
_ACCEPT = 0

# (wanted, threads of the body): one must reach the body's end, or none may.
Promise: TypeAlias = "tuple[bool, frozenset[int]]"
# A node, what it has promised, and whether it asked for the token to end here.
Thread: TypeAlias = "tuple[int, frozenset[Promise], bool]"


def compile_lexeme(
    tree: Node, *, lazy: bool = True, max_states: int = MAX_STATES
) -> tuple[DFA, tuple[Follow, ...]]:
    """The automaton and the conditions that its final classes from 1 on stand for.

    ``lazy`` false takes lazy repetitions for greedy ones: all texts that match as a whole.

    Raises:
        GrammarSyntaxError: what may come before or after the token decides whether it is one, and
            more than one character after it.
        LimitExceeded: more than ``max_states`` states.
    """
    nodes = list(postorder(tree))
    lazy = lazy and any(isinstance(node, Lazy) for node in nodes)
    if not lazy and not any(isinstance(node, Look | Assertion) for node in nodes):
        whole = Cat((Assertion("^"), tree, Assertion("$")))
        return subset.determinize(build(whole, max_states=max_states), max_states=max_states), ()
    if lazy:
        _check_loops(nodes)
    return _Lexeme(tree, lazy, max_states).run()


def _check_loops(nodes: list[Node]) -> None:
    """Refuse loops whose body may match nothing.

    Which rounds of such a loop do depends on the history of a backtracking matcher, which threads
    do not hold, and where a lazy repetition ends may depend on that.
    """
    results: list[bool] = []  # may match nothing
    for node in nodes:
        n = len(children(node))
        parts = results[len(results) - n :]
        del results[len(results) - n :]
        match node:
            case Set():
                results.append(False)
            case Cat():
                results.append(all(parts))
            case Alt():
                results.append(any(parts))
            case Repeat(_, low, high):
                if parts[0] and (high is None or high > 1):
                    raise GrammarSyntaxError(
                        "in a terminal with a lazy repetition no repeated group may match nothing"
                    )
                results.append(low == 0 or parts[0])
            case _:
                results.append(True)


def nonempty(dfa: DFA) -> DFA:
    """The same texts without the empty one."""
    if dfa.final[0] < 0:
        return dfa
    if not len(dfa.lo):
        return empty()
    if not (dfa.target == 0).any():
        final = dfa.final.copy()
        final[0] = -1
        return replace(dfa, final=final)
    # Final classes are kept, so that conditions still belong to them.
    some = length(1, None)
    return combine([dfa, some], lambda v: v[0] if v[1] >= 0 else -1)


def shortest(dfa: DFA) -> DFA:
    """The texts of which no shorter beginning is among the texts."""
    edges: list[list[tuple[int, int, int]]] = []
    for state, final in enumerate(dfa.final.tolist()):
        begin, end = int(dfa.offsets[state]), int(dfa.offsets[state + 1])
        columns = (dfa.lo, dfa.hi, dfa.target)
        rows = list(zip(*(c[begin:end].tolist() for c in columns), strict=True))
        edges.append([] if final >= 0 else rows)
    return from_edges(edges, dfa.final.tolist(), UNICODE)


class _Program:
    """Thompson's construction that keeps the order of alternatives; node 0 accepts."""

    def __init__(self, max_states: int) -> None:
        self.max_nodes = 4 * max_states
        self.sets: list[Ranges] = []
        self.char: list[tuple[int, int] | None] = [None]  # (set, target)
        self.free: list[list[int]] = [[]]  # targets, the preferred one first
        self.guard: list[tuple[str, int] | None] = [None]  # ("^" or "$", 0) or ("look", index)
        self.looks: list[tuple[Look, int]] = []

    def node(self, targets: Iterable[int] = ()) -> int:
        if len(self.free) > self.max_nodes:
            where = "a pattern's repetitions"
            raise LimitExceeded(limit="pattern_states", value=self.max_nodes // 4, where=where)
        self.free.append(list(targets))
        self.char.append(None)
        self.guard.append(None)
        return len(self.free) - 1

    def build(self, tree: Node, end: int) -> int:
        """The first node of ``tree`` followed by ``end``; as deep as the tree is."""
        match tree:
            case Set(ranges):
                start = self.node()
                self.char[start] = (len(self.sets), end)
                self.sets.append(ranges)
                return start
            case Cat(items):
                for item in reversed(items):
                    end = self.build(item, end)
                return end
            case Alt(items):
                return self.node([self.build(item, end) for item in items])
            case Repeat(item, low, high):
                lazy = isinstance(tree, Lazy)
                start = end
                if high is None:
                    # The way in and the way round are nodes apart: a body that matched nothing
                    # goes on to the end, as in a backtracking matcher, and not round again.
                    again = self.node()
                    body = self.build(item, again)
                    self.free[again] = [end, body] if lazy else [body, end]
                    start = self.node([end, body] if lazy else [body, end])
                    if low:
                        start, low = body, low - 1
                else:
                    for _ in range(high - low):
                        body = self.build(item, start)
                        # The way out is straight to the end, however many are left.
                        start = self.node([end, body] if lazy else [body, end])
                for _ in range(low):
                    start = self.build(item, start)
                return start
            case Assertion(kind):
                start = self.node([end])
                self.guard[start] = (kind, 0)
                return start
            case Look(body=body):
                if any(isinstance(node, Look | Assertion) for node in postorder(body)):
                    raise GrammarSyntaxError(
                        "a lookaround or anchor inside a lookaround is not supported in a terminal"
                    )
                start = self.node([end])
                self.guard[start] = ("look", len(self.looks))
                index = len(self.looks)
                self.looks.append((tree, 0))
                self.looks[index] = (tree, self.build(body, _ACCEPT))
                return start


class _Lexeme:
    def __init__(self, tree: Node, ordered: bool, max_states: int) -> None:
        self.program = _Program(max_states)
        self.start = self.program.build(tree, _ACCEPT)
        self.ordered = ordered
        self.max_states = max_states
        self.symbols: Partition = partition(self.program.sets)
        members = self.symbols.members
        self.moves = [
            None if char is None else (frozenset(members[char[0]]), char[1])
            for char in self.program.char
        ]
        self.behind = [i for i, (look, _) in enumerate(self.program.looks) if not look.ahead]
        self.place = {look: place for place, look in enumerate(self.behind)}
        self.closures: dict[int, frozenset[int]] = {}
        self.follows: list[Follow] = []

    # The bodies of lookarounds: plain sets of nodes.

    def body(self, node: int) -> frozenset[int]:
        known = self.closures.get(node)
        if known is None:
            seen, stack = {node}, [node]
            while stack:
                for target in self.program.free[stack.pop()]:
                    if target not in seen:
                        seen.add(target)
                        stack.append(target)
            known = frozenset(n for n in seen if n == _ACCEPT or self.moves[n] is not None)
            self.closures[node] = known
        return known

    def advance(self, nodes: frozenset[int], symbol: int) -> frozenset[int]:
        out: set[int] = set()
        for node in nodes:
            move = self.moves[node]
            if move is not None and symbol in move[0]:
                out |= self.body(move[1])
        return frozenset(out)

    # Threads.

    def close(
        self,
        roots: list[Thread],
        behind: tuple[frozenset[int], ...],
        unknown: tuple[frozenset[int], ...],
        first: bool,
    ) -> tuple[Thread, ...]:
        """Threads reached without a character, in order of preference."""
        program = self.program
        out: dict[Thread, None] = {}
        seen: set[Thread] = set()
        stack = list(reversed(roots))
        while stack:
            thread = stack.pop()
            if thread in seen:
                continue
            seen.add(thread)
            node, promises, ended = thread
            guard = program.guard[node]
            if guard is not None:
                kind, index = guard
                if kind == "^" and not first:
                    continue
                if kind == "$":
                    ended = True
                elif kind == "look":
                    look, start = program.looks[index]
                    if look.ahead:
                        promise = self.promise(not look.negative, self.body(start))
                        if promise is False:
                            continue
                        if promise is not True:
                            promises = promises | {promise}
                    else:
                        place = self.place[index]
                        holds = _ACCEPT in behind[place]
                        if not holds and _ACCEPT in unknown[place]:
                            raise GrammarSyntaxError(
                                "a terminal cannot depend on the text before it, as this one does "
                                "by a lookbehind, \\b or a line's ^ at its start; leave it out"
                            )
                        if holds == look.negative:
                            continue
            if node == _ACCEPT or self.moves[node] is not None:
                out[node, promises, ended] = None
                if self.ordered and node == _ACCEPT and not promises:
                    break  # whatever comes later in the order is never tried
            stack.extend((t, promises, ended) for t in reversed(program.free[node]))
        return self.cut(out)

    def cut(self, threads: dict[Thread, None]) -> tuple[Thread, ...]:
        """Without threads that a match before them cuts off; sorted where order does not count."""
        if not self.ordered:
            return tuple(sorted(threads, key=repr))
        kept: list[Thread] = []
        matched: list[frozenset[Promise]] = []
        for thread in threads:
            if any(promises <= thread[1] for promises in matched):
                continue  # it holds its promises only where the match holds its own
            if matched:
                raise GrammarSyntaxError(
                    "whether this lazy repetition ends depends on a lookahead past the end of the "
                    "terminal, which is not supported"
                )
            kept.append(thread)
            if thread[0] == _ACCEPT:
                matched.append(thread[1])
        return tuple(kept)

    @staticmethod
    def promise(wanted: bool, nodes: frozenset[int]) -> Promise | bool:
        """A promise about the text to come, or its truth where that is known."""
        if _ACCEPT in nodes:
            return wanted
        return (wanted, nodes) if nodes else not wanted

    def keep(self, promises: frozenset[Promise], symbol: int) -> frozenset[Promise] | None:
        """What is left to promise after a character; None if a promise was broken."""
        left: set[Promise] = set()
        for wanted, nodes in promises:
            after = self.promise(wanted, self.advance(nodes, symbol))
            if after is False:
                return None
            if after is not True:
                left.add(after)
        return frozenset(left)

    def final(self, threads: tuple[Thread, ...]) -> int:
        """The final class of a state."""
        at_end = False
        allowed: set[int] = set()
        matched = [promises for node, promises, _ in threads if node == _ACCEPT]
        if not matched:
            return -1
        if frozenset() in matched:
            return 0
        for promises in matched:
            at_end |= not any(wanted for wanted, _ in promises)
            for symbol in range(self.symbols.n_classes):
                left = self.keep(promises, symbol)
                if left:
                    raise GrammarSyntaxError(
                        "a terminal can look one character past its end, and this lookahead needs "
                        "more"
                    )
                if left is not None:
                    allowed.add(symbol)
        if at_end and len(allowed) == self.symbols.n_classes:
            return 0
        follow = Follow(at_end, self.ranges(allowed))
        if follow not in self.follows:
            self.follows.append(follow)
        return self.follows.index(follow) + 1

    def ranges(self, symbols: set[int]) -> Ranges:
        starts = [*self.symbols.starts.tolist(), 0x110000]
        classes = self.symbols.segment_class.tolist()
        return normalize(
            (starts[i], starts[i + 1] - 1) for i, c in enumerate(classes) if c in symbols
        )

    def run(self) -> tuple[DFA, tuple[Follow, ...]]:
        program = self.program
        starts = tuple(self.body(program.looks[i][1]) for i in self.behind)
        # What a lookbehind's body may have read before the token: anything.
        anything = []
        for start in starts:
            seen: set[int] = set(start)
            stack = list(seen)
            while stack:
                move = self.moves[stack.pop()]
                if move is not None:
                    more = self.body(move[1]) - seen
                    seen |= more
                    stack.extend(more)
            anything.append(frozenset(seen))
        nothing: frozenset[Promise] = frozenset()
        unknown = tuple(anything)
        first = self.close([(self.start, nothing, False)], starts, unknown, True)
        State = tuple[tuple[Thread, ...], tuple[frozenset[int], ...], tuple[frozenset[int], ...]]
        begin: State = (first, starts, unknown)
        number: dict[State, int] = {begin: 0}
        queue: list[State] = [begin]
        table: list[list[int]] = []
        final: list[int] = []
        work = 0
        for threads, behind, unknown in queue:
            final.append(self.final(threads))
            row: list[int] = []
            for symbol in range(self.symbols.n_classes):
                roots: list[Thread] = []
                for node, promises, ended in threads:
                    move = self.moves[node]
                    if ended or move is None or symbol not in move[0]:
                        continue
                    left = self.keep(promises, symbol)
                    if left is not None:
                        roots.append((move[1], left, False))
                work += len(threads)
                if not roots:
                    row.append(-1)
                    continue
                behind_after = tuple(
                    self.advance(b, symbol) | s for b, s in zip(behind, starts, strict=True)
                )
                unknown_after = tuple(self.advance(u, symbol) for u in unknown)
                state = (
                    self.close(roots, behind_after, unknown_after, False),
                    behind_after,
                    unknown_after,
                )
                known = number.get(state)
                if known is None:
                    known = number[state] = len(queue)
                    queue.append(state)
                    if known >= self.max_states or work > 40 * self.max_states:
                        raise LimitExceeded(
                            limit="pattern_states", value=self.max_states, where="a terminal"
                        )
                row.append(known)
            table.append(row)
        dfa = from_table(table, final, self.symbols)
        return dfa, tuple(self.follows)
