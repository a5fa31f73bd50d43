"""Subset construction for patterns whose only assertions are ``^``, ``$``, ``\\b`` and ``\\B``.

The subsets hold the nodes that matter: with a move, accepting, or with an edge that waits for what
comes next: the end of the text, or at a word boundary the kind of the next character. Where a match
may begin anywhere, its first nodes are added to every subset; a subset that holds the accepting
node stays accepting whatever follows, and all such are one state.
"""

from __future__ import annotations

from collections.abc import Iterable

from structgen.errors import LimitExceeded
from structgen.regular.dfa import DFA, from_table
from structgen.regular.nfa import AT_END, AT_START, BOUNDARY, FREE, NFA, NOT_BOUNDARY

_ACCEPT = 1
# Work is counted in moves of nodes; a state is expected to cost no more than this on average.
WORK_PER_STATE = 40

Subset = frozenset[int]
_NOTHING: Subset = frozenset()
State = tuple[bool, Subset]  # whether the last character is one of a word (if \b asks), and nodes
_SUCCESS: State = (False, frozenset((_ACCEPT,)))


def closure(
    nfa: NFA, roots: Iterable[int], *, start: bool, end: bool, boundary: bool | None = None
) -> set[int]:
    """Nodes reached without a symbol at a position; ``boundary`` is None while not known."""
    passable = {FREE}
    if start:
        passable.add(AT_START)
    if end:
        passable.add(AT_END)
    if boundary is not None:
        passable.add(BOUNDARY if boundary else NOT_BOUNDARY)
    seen = set(roots)
    stack = list(seen)
    while stack:
        for condition, target in nfa.jumps[stack.pop()]:
            if target not in seen and condition in passable:
                seen.add(target)
                stack.append(target)
    return seen


def may_restart(nfa: NFA) -> bool:
    """Whether a match may begin after the start of the text."""
    seen = {0}
    stack = [0]
    while stack:
        node = stack.pop()
        if nfa.moves[node] or node == _ACCEPT:
            return True
        for condition, target in nfa.jumps[node]:
            if condition != AT_START and target not in seen:
                seen.add(target)
                stack.append(target)
    return False


def determinize(nfa: NFA, *, max_states: int) -> DFA:
    """The minimal automaton of the texts in which the pattern matches somewhere."""
    if nfa.looks:
        raise ValueError("lookarounds need lookaround.determinize")
    return _Subsets(nfa, max_states).run()


class _Subsets:
    def __init__(self, nfa: NFA, max_states: int) -> None:
        self.nfa = nfa
        self.max_states = max_states
        self.symbols = nfa.symbols()
        self.word_symbols = frozenset(self.symbols.members[-1] if nfa.has_boundary else ())
        waits = {AT_END, BOUNDARY, NOT_BOUNDARY}
        self.waiting = {n for n, jumps in enumerate(nfa.jumps) if any(c in waits for c, _ in jumps)}
        self.at_boundary = {
            n for n, jumps in enumerate(nfa.jumps) if any(c <= BOUNDARY for c, _ in jumps)
        }
        self.entries: dict[int, Subset] = {}
        self.moves: dict[int, list[tuple[int, Subset]]] = {}
        self.ends: dict[tuple[int, bool], bool] = {}
        self.restart: Subset = self.entry(0) if may_restart(nfa) else frozenset()
        self.work = 0

    def kept(self, nodes: set[int]) -> Subset:
        moves, waiting = self.nfa.moves, self.waiting
        return frozenset(n for n in nodes if moves[n] or n == _ACCEPT or n in waiting)

    def entry(self, node: int) -> Subset:
        """What a subset holds once ``node`` is reached in the middle of the text."""
        known = self.entries.get(node)
        if known is None:
            known = self.kept(closure(self.nfa, (node,), start=False, end=False))
            self.entries[node] = known
        return known

    def moves_of(self, node: int) -> list[tuple[int, Subset]]:
        """The entries that each symbol class leads to."""
        known = self.moves.get(node)
        if known is None:
            known = []
            for set_id, target in self.nfa.moves[node]:
                entry = self.entry(target)
                known.extend((symbol, entry) for symbol in self.symbols.members[set_id])
            self.moves[node] = known
        return known

    def accepts_at_end(self, node: int, after_word: bool) -> bool:
        known = self.ends.get((node, after_word))
        if known is None:
            reached = closure(self.nfa, (node,), start=False, end=True, boundary=after_word)
            known = self.ends[node, after_word] = _ACCEPT in reached
        return known

    def follow(self, nodes: Iterable[int]) -> list[Subset | set[int]]:
        """The nodes after each symbol, including those of a match that starts there."""
        reached: list[Subset | set[int]] = [self.restart] * self.symbols.n_classes
        for node in nodes:
            moves = self.moves_of(node)
            self.work += len(moves)
            for symbol, entry in moves:
                known = reached[symbol]
                if not known:
                    reached[symbol] = entry
                elif isinstance(known, set):
                    known |= entry
                elif known is not entry:
                    reached[symbol] = {*known, *entry}
        return reached

    def expand(self, state: State, first: bool) -> list[State | None]:
        """The state after each symbol."""
        after_word, subset = state
        reached: list[Subset | set[int]]
        words = self.word_symbols
        if not words or self.at_boundary.isdisjoint(subset):
            if _ACCEPT in subset:
                return [_SUCCESS] * self.symbols.n_classes
            reached = self.follow(subset)
        else:
            reached = [_NOTHING] * self.symbols.n_classes
            for word in (False, True):
                boundary = after_word != word
                nodes = closure(self.nfa, subset, start=first, end=False, boundary=boundary)
                done = _ACCEPT in nodes
                following = [] if done else self.follow(nodes)
                for symbol in range(self.symbols.n_classes):
                    if (symbol in words) == word:
                        reached[symbol] = _SUCCESS[1] if done else following[symbol]
        return [
            None
            if not nodes
            else _SUCCESS
            if _ACCEPT in nodes
            else (symbol in words, frozenset(nodes))
            for symbol, nodes in enumerate(reached)
        ]

    def run(self) -> DFA:
        nfa, max_states = self.nfa, self.max_states
        # The first state is set apart: in it ^ still holds.
        queue: list[State] = [(False, self.kept(closure(nfa, (0,), start=True, end=False)))]
        final = [0 if _ACCEPT in closure(nfa, (0,), start=True, end=True, boundary=False) else -1]
        number: dict[State, int] = {}
        table: list[list[int]] = []
        for state in queue:
            row: list[int] = []
            for following in self.expand(state, first=not table):
                if following is None:
                    row.append(-1)
                    continue
                known = number.get(following)
                if known is None:
                    known = number[following] = len(queue)
                    if known >= max_states:
                        raise LimitExceeded(
                            limit="pattern_states", value=max_states, where="a pattern"
                        )
                    queue.append(following)
                    ends = (self.accepts_at_end(node, following[0]) for node in following[1])
                    final.append(0 if any(ends) else -1)
                row.append(known)
            table.append(row)
            if self.work > max_states * WORK_PER_STATE:
                raise LimitExceeded(limit="pattern_states", value=max_states, where="a pattern")
        return from_table(table, final, self.symbols)
