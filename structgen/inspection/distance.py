"""How far a text is from its end, at least about: what a search for a completion goes by.

The stack of a grammar in rules says which rules are open. What each of them still needs is the
shortest way to its end, in bytes; a terminal costs as much as its shortest text. Lookahead is left
out of account, so that the distance is now and then too short.
"""

from __future__ import annotations

from structgen.inspection.byte_grammar import ByteGrammar
from structgen.matcher import Configuration, Matcher
from structgen.pushdown.conflicts import shortest_ways
from structgen.pushdown.frames import Drop, End, Go, Outcome
from structgen.pushdown.items import ACCEPT
from structgen.pushdown.lexed import LexedBuilder
from structgen.pushdown.lexer import LexState
from structgen.regular.dfa import DFA

FAR = 1 << 30


class Distance:
    """Distances in one grammar; without rules, the depth of the stack."""

    def __init__(self, grammar: ByteGrammar) -> None:
        self._rules = grammar.compiled.rules
        if self._rules is None:
            return
        self._builder = self._rules[1].builder
        self._sets = self._builder.sets
        rules = self._sets.rules
        # By terminal and state of its automaton: bytes to its end.
        self._to_end: list[list[int]] = []
        if isinstance(self._builder, LexedBuilder):
            for pattern in self._builder.lexer.patterns:
                self._to_end.append([] if pattern is None else _distances(pattern.dfa))
        costs = [found[0] if found else 1 for found in self._to_end]
        costs += [1] * (rules.end + 1 - len(costs))
        self._way, _ = shortest_ways(rules, costs)
        self._found: dict[tuple[int, ...], int] = {}
        self._points: dict[int, int] = {}
        self._keys: dict[int, object] = {}

    def __call__(self, matcher: Matcher) -> int:
        return min(self._of(place) for place in matcher.configurations())

    def _of(self, place: Configuration) -> int:
        points = [point for point, _ in place.stack]
        if self._rules is None:
            return len(points)
        if place.state not in self._keys or not self._points.keys() >= set(points):
            self._keys, self._points = dict(self._builder.keys()), self._builder.points()
        key = self._keys.get(place.state)
        # Frames that are none of the grammar's own are inside something that it embeds.
        sets = [self._points.get(point, -1) for point in points]
        extra = 0
        while sets and sets[0] < 0:
            extra += 1
            sets.pop(0)
        stack = [s for s in reversed(sets) if s >= 0]
        match key:
            case LexState() if stack:
                s = stack.pop()
                return min(self._to_end[t][q] + self._after(s, stack, t) for t, q in key.live)
            case ("boundary", int(s), _) | ("resume", int(s)) | ("enter", _, int(s)):
                return self._from(s, stack)
            case (int(s), tuple(held)):
                return self._from(s, [*stack, *held])
            case ("act", (int(s), tuple(held)), int(terminal), _):
                return self._after(s, [*stack, *held], terminal)
        return extra + (self._from(stack[-1], stack[:-1]) if stack else 0)

    def _after(self, s: int, stack: list[int], terminal: int) -> int:
        """From after a terminal that was read at a position."""
        assert isinstance(self._builder, LexedBuilder)
        if not self._sets.terminals(s) >> terminal & 1:
            ignored = self._builder.ignore >> terminal & 1
            return self._from(s, stack) if ignored else FAR
        key = (-1 - terminal, s, *stack)
        found = self._found.get(key)
        if found is None:
            self._found[key] = FAR  # on the way round a circle
            moves = self._builder.outcomes((s, ()), 1 << terminal)
            ways = [self._moved(move, stack, terminal) for _, some in moves for move in some]
            found = self._found[key] = min(ways, default=FAR)
        return found

    def _moved(self, outcome: Outcome, stack: list[int], terminal: int) -> int:
        match outcome:
            case Go(frames, target):
                return self._from(target, [*stack, *frames])
            case Drop(depth, target) if depth <= len(stack):
                return self._from(target, stack[: len(stack) - depth])
            case End(rule, depth) if rule != ACCEPT and depth <= len(stack):
                origin = stack[-depth]
                again, target = self._sets.goto(origin, rule)
                below = stack[: len(stack) - depth]
                return self._after(target, [*below, origin] if again else below, terminal)
        return FAR

    def _from(self, s: int, stack: list[int]) -> int:
        """From a position to the end of the text: the shortest way over all ends of rules."""
        position = (s, *stack)
        found = self._found.get(position)
        if found is None:
            found = self._found[position] = self._search(s, stack)
        return found

    def _search(self, s: int, stack: list[int]) -> int:
        known: dict[tuple[int, int], int] = {}
        waiting = [(s, len(stack), 0)]
        best = FAR
        while waiting:
            here, size, cost = waiting.pop()
            if cost >= min(best, known.get((here, size), FAR)):
                continue
            known[here, size] = cost
            for (node, depth, result), _ in self._sets.kernels[here]:
                total = cost + self._way.get(node, FAR)
                if result == ACCEPT:
                    best = min(best, total)
                elif depth <= size and total < best:
                    again, target = self._sets.goto(stack[size - depth], result)
                    waiting.append((target, size - depth + again, total))
        return best


def _distances(dfa: DFA) -> list[int]:
    """Bytes from each state to the nearest final one."""
    before: list[list[int]] = [[] for _ in range(dfa.n_states)]
    offsets, target = dfa.offsets.tolist(), dfa.target.tolist()
    for state in range(dfa.n_states):
        for k in range(offsets[state], offsets[state + 1]):
            before[target[k]].append(state)
    found = [FAR] * dfa.n_states
    queue = [state for state in range(dfa.n_states) if dfa.final[state] >= 0]
    for state in queue:
        found[state] = 0
    for state in queue:
        for source in before[state]:
            if found[source] == FAR:
                found[source] = found[state] + 1
                queue.append(source)
    return found
