"""Determinising patterns with lookaheads and lookbehinds.

A *thread* is a node together with the *obligations* it has taken on: lookaheads that it passed and
that the rest of the text must still satisfy (or, negated, must not). An obligation is itself a set
of threads in the lookahead's body. A state of the result holds

- a set of threads, of which one must succeed (a disjunction of conjunctions of such sets), and
- for each lookbehind the threads of its body, started at every position so far.

Whether a lookbehind holds is known at every position, up to obligations that its body took on: it
holds if for one of the threads at the body's end all of them do. Assertions look one character
ahead (``$``, ``\\b``), so a state's threads are kept as they are after a character, and what they
reach without a character is found again for each kind of next character: none, word, other.

This is an alternating automaton made deterministic on the fly. It may need many states, but the
patterns that people write obey a lookahead or two and stay small.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import product
from typing import TypeAlias

from structgen import budget
from structgen.errors import LimitExceeded
from structgen.regular.dfa import DFA, from_table
from structgen.regular.nfa import AT_END, AT_START, BOUNDARY, FREE, NFA
from structgen.regular.subset import may_restart

# An obligation is (wanted, look, threads): one of the threads has to reach the end of the body, or
# none may.
Obligation: TypeAlias = "tuple[bool, int, Threads]"
Obligations: TypeAlias = "frozenset[Obligation]"
Thread: TypeAlias = "tuple[int, Obligations]"
Threads: TypeAlias = "frozenset[Thread]"
# At the start of the text; the last character is a word character; threads of the pattern; threads
# of the lookbehinds' bodies.
State: TypeAlias = "tuple[bool, bool, Threads, tuple[Threads, ...]]"

_NONE: Obligations = frozenset()
_ACCEPT = 1
_SUCCESS: Thread = (_ACCEPT, _NONE)
# Work is counted in threads; a state is expected to cost no more than this on average.
THREADS_PER_STATE = 5
_DEAD, _SUCCEEDED = -1, -2  # in a row, until the states are numbered


def determinize(nfa: NFA, *, max_states: int) -> DFA:
    """The minimal automaton of the texts in which the pattern matches somewhere."""
    return _Alternating(nfa, max_states).run()


class _Alternating:
    def __init__(self, nfa: NFA, max_states: int) -> None:
        self.nfa = nfa
        self.max_states = max_states
        self.symbols = nfa.symbols()
        self.restart = may_restart(nfa)
        self.behind = [i for i, look in enumerate(nfa.looks) if not look.ahead]
        members = self.symbols.members
        self.word_symbols = frozenset(members[-1] if nfa.has_boundary else ())
        self.moves: list[dict[int, list[int]]] = []
        for moves in nfa.moves:
            by_symbol: dict[int, list[int]] = {}
            for set_id, target in moves:
                for symbol in members[set_id]:
                    by_symbol.setdefault(symbol, []).append(target)
            self.moves.append(by_symbol)
        self.accepting = {_ACCEPT, *(look.accept for look in nfa.looks)}
        self.settled: dict[int, tuple[int, ...]] = {}
        self.work = 0
        # The position that closures are taken at.
        self.at_start = self.at_end = self.boundary = False
        self.alternatives: dict[int, list[Obligations]] = {}

    def run(self) -> DFA:
        k = self.symbols.n_classes
        table: list[list[int]] = []
        final: list[int] = []
        starts = tuple(frozenset(((self.nfa.looks[i].start, _NONE),)) for i in self.behind)
        first: State = (True, False, frozenset(((0, _NONE),)), starts)
        number: dict[State, int] = {first: 0}
        queue: list[State] = [first]
        for state in queue:
            accepted, row = self.expand(state)
            final.append(0 if accepted else -1)
            numbered: list[int] = []
            for following in row:
                if not isinstance(following, tuple):
                    numbered.append(_SUCCEEDED if following else _DEAD)
                    continue
                known = number.get(following)
                if known is None:
                    known = number[following] = len(queue)
                    if known >= self.max_states:
                        self.too_large()
                    queue.append(following)
                numbered.append(known)
            table.append(numbered)
        # Nothing can undo success: it is one more state, the last, with a loop.
        n = len(table)
        table = [[n if t == _SUCCEEDED else t for t in row] for row in table]
        return from_table([*table, [n] * k], [*final, 0], self.symbols)

    def too_large(self) -> None:
        where = "a pattern with lookarounds"
        raise LimitExceeded(limit="pattern_states", value=self.max_states, where=where)

    def expand(self, state: State) -> tuple[bool, list[State | bool]]:
        """Whether the text may end here, and what follows each symbol (True: success)."""
        budget.check("a pattern with lookarounds")
        row: list[State | bool] = [False] * self.symbols.n_classes
        threads = self.look_from(state, at_end=True, word=False)
        accepted = any(n == _ACCEPT and all(map(self.holds_at_end, o)) for n, o in threads)
        words = self.word_symbols
        for word in (False, True) if words else (False,):
            threads = self.look_from(state, at_end=False, word=word)
            succeeded = _SUCCESS in threads
            bodies = [self.close(body) for body in state[3]]
            unburdened = self.advance_unburdened(threads)
            burdened = [thread for thread in threads if thread[1]]
            for symbol in range(self.symbols.n_classes):
                if (symbol in words) != word:
                    continue
                if succeeded:
                    row[symbol] = True
                    continue
                following: Threads = frozenset(unburdened.get(symbol, ()))
                if burdened:
                    more = self.advance_threads(burdened, symbol, _ACCEPT)
                    following = _minimal([*following, *more]) if more else following
                if _SUCCESS in following:
                    row[symbol] = True
                elif following:
                    row[symbol] = (False, word, following, self.advance_bodies(bodies, symbol))
        if self.work > self.max_states * THREADS_PER_STATE:
            self.too_large()
        return accepted, row

    def advance_unburdened(self, threads: Iterable[Thread]) -> dict[int, set[Thread]]:
        """Threads without obligations after each symbol, with the one that starts there.

        They are nearly all, and a pass per symbol over them is what would cost time.
        """
        after: dict[int, set[Thread]] = {}
        if self.restart:
            after = {symbol: {(0, _NONE)} for symbol in range(self.symbols.n_classes)}
        for node, obligations in threads:
            if not obligations:
                for symbol, targets in self.moves[node].items():
                    after.setdefault(symbol, set()).update((t, _NONE) for t in targets)
        return after

    def advance_bodies(self, bodies: list[list[Thread]], symbol: int) -> tuple[Threads, ...]:
        return tuple(
            _minimal([*self.advance_threads(body, symbol, None), (self.nfa.looks[i].start, _NONE)])
            for i, body in zip(self.behind, bodies, strict=True)
        )

    def look_from(self, state: State, *, at_end: bool, word: bool) -> list[Thread]:
        """Set the position, settle the lookbehinds, and close the pattern's threads."""
        self.at_start, previous_word, threads, bodies = state
        self.at_end = at_end
        self.boundary = previous_word != word
        self.alternatives = {}
        for i, body in zip(self.behind, bodies, strict=True):
            accept = self.nfa.looks[i].accept
            ends = _minimal(thread for thread in self.close(body) if thread[0] == accept)
            self.alternatives[i] = [obligations for _, obligations in ends]
        return self.close(threads)

    def close(self, threads: Iterable[Thread]) -> list[Thread]:
        """What the threads reach at this position without a character."""
        seen: set[Thread] = set()
        stack = list(threads)
        while stack:
            root, obligations = stack.pop()
            for node in self.settle(root):
                thread = (node, obligations)
                if thread in seen:
                    continue
                seen.add(thread)
                for condition, target in self.nfa.jumps[node]:
                    if condition != FREE:
                        stack.extend((target, o) for o in self.passing(condition, obligations))
        self.work += len(seen)
        return list(seen)

    def settle(self, root: int) -> tuple[int, ...]:
        """Nodes that matter (moves, conditions, acceptance) along unconditional edges."""
        known = self.settled.get(root)
        if known is None:
            seen = {root}
            stack = [root]
            while stack:
                for condition, target in self.nfa.jumps[stack.pop()]:
                    if condition == FREE and target not in seen:
                        seen.add(target)
                        stack.append(target)
            known = self.settled[root] = tuple(
                n
                for n in seen
                if n in self.accepting
                or self.moves[n]
                or any(condition != FREE for condition, _ in self.nfa.jumps[n])
            )
        return known

    def passing(self, condition: int, obligations: Obligations) -> Iterator[Obligations]:
        """The ways to satisfy a condition here, each with the obligations it adds."""
        if condition < FREE:
            if condition == AT_START:
                passes = self.at_start
            elif condition == AT_END:
                passes = self.at_end
            else:
                passes = self.boundary == (condition == BOUNDARY)
            if passes:
                yield obligations
            return
        look = self.nfa.looks[condition]
        if look.ahead:
            body: Threads = frozenset(((look.start, _NONE),))
            yield _conjunction([*obligations, (not look.negative, condition, body)])
            return
        alternatives = self.alternatives[condition]
        if not look.negative:
            for alternative in alternatives:
                yield _conjunction([*obligations, *alternative])
            return
        # Not (A and B or C ...): one obligation of every alternative fails.
        for failing in product(*alternatives):
            negated = [(not wanted, i, threads) for wanted, i, threads in failing]
            yield _conjunction([*obligations, *negated])

    def advance_threads(self, closed: Iterable[Thread], symbol: int, accept: int | None) -> Threads:
        """Threads after a character; those at ``accept`` wait there for their obligations."""
        out: list[Thread] = []
        for node, obligations in closed:
            targets = [node] if node == accept else self.moves[node].get(symbol)
            if targets:
                kept = self.advance_obligations(obligations, symbol)
                if kept is not None:
                    out.extend((target, kept) for target in targets)
        return _minimal(out)

    def advance_obligations(self, obligations: Obligations, symbol: int) -> Obligations | None:
        """What is left of the obligations after a character; None if one has failed."""
        left: list[Obligation] = []
        for wanted, i, threads in obligations:
            accept = self.nfa.looks[i].accept
            closed = self.close(threads)
            done = (accept, _NONE) in closed
            following: Threads = frozenset()
            if not done:
                following = self.advance_threads(closed, symbol, accept)
                done = (accept, _NONE) in following
            if done or not following:
                if done != wanted:
                    return None
                continue
            left.append((wanted, i, following))
        return _conjunction(left)

    def holds_at_end(self, obligation: Obligation) -> bool:
        wanted, i, threads = obligation
        accept = self.nfa.looks[i].accept
        found = any(n == accept and all(map(self.holds_at_end, o)) for n, o in self.close(threads))
        return found == wanted


def _conjunction(obligations: Iterable[Obligation]) -> Obligations:
    """The same demand in fewer obligations.

    Not A and not B is not (A or B), and threads are a disjunction: so the negated obligations of
    one lookahead are one. Of wanted ones, a set of threads that includes another's is implied.
    """
    unwanted: dict[int, Threads] = {}
    wanted: dict[int, set[Threads]] = {}
    for is_wanted, i, threads in obligations:
        if is_wanted:
            wanted.setdefault(i, set()).add(threads)
        else:
            unwanted[i] = unwanted.get(i, frozenset()) | threads
    out: list[Obligation] = [(False, i, threads) for i, threads in unwanted.items()]
    for i, several in wanted.items():
        out.extend((True, i, t) for t in several if not any(other < t for other in several))
    return frozenset(out)


def _minimal(threads: Iterable[Thread]) -> Threads:
    """Without threads that owe more than another one at the same node."""
    by_node: dict[int, set[Obligations]] = {}
    for node, obligations in threads:
        by_node.setdefault(node, set()).add(obligations)
    return frozenset(
        (node, obligations)
        for node, several in by_node.items()
        for obligations in several
        if len(several) == 1 or not any(other < obligations for other in several)
    )
