"""Where a grammar is not LR(1): conflicts with a shortest beginning of a text that shows each.

A conflict is a terminal in an item set about which more than one thing may be done. A text is then
read in several ways at once, on several stacks, until all but one have failed; nothing is wrong
with the result, but each step costs as much as there are stacks, and a grammar that is ambiguous
without bound needs more stacks than there may be.

The item sets are explored in the order of the shortest text, in terminals, that leads to them:
through shifts, and through the ends of rules by the shortest text of the rule.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from structgen.errors import LimitExceeded
from structgen.grammar.source import quote
from structgen.pushdown.items import ACCEPT, MAX_DEPTH, Actions, ItemSets
from structgen.pushdown.rules import Rules
from structgen.pushdown.scannerless import ScannerlessBuilder

if TYPE_CHECKING:
    from structgen.pushdown.compile import Built

# Item sets that a warning may look at: a few hundredths of a second.
WARNING_SETS = 300


@dataclass(frozen=True, slots=True)
class Conflict:
    """More than one thing to do about a terminal.

    Attributes:
        item_set: its number among the sets that were explored.
        before: terminals that lead there from the start, as few as possible.
        terminals: the mask of those in conflict.
        actions: what may be done about each of them.
        going_on: rules in which one of the terminals may be read there.
    """

    item_set: int
    before: tuple[int, ...]
    terminals: int
    actions: Actions
    going_on: tuple[str, ...]

    @property
    def terminal(self) -> int:
        """The lowest terminal in conflict."""
        return (self.terminals & -self.terminals).bit_length() - 1

    def alternatives(self, rules: Rules) -> list[str]:
        """What may be done, in words."""
        found = []
        if self.actions.shifts:
            found.append(f"go on in {' or '.join(self.going_on) or 'the rule'}")
        results = [result for _, result in self.actions.ends]
        for depth, result in self.actions.ends:
            name = "the text" if result == ACCEPT else rules.names[result]
            # Ends of one rule differ in how many rules around the innermost end with it.
            where = f" {depth} frames down" if results.count(result) > 1 else ""
            found.append(f"end {name}{where}")
        return found


@dataclass(slots=True)
class Exploration:
    """Item sets as far as they were explored.

    Attributes:
        sets: a copy of the grammar's item sets, so that looking costs the grammar nothing.
        order: the sets that were explored, the nearest to the start first.
        conflicts: in the same order.
        complete: are there no others?
    """

    sets: ItemSets
    order: list[int]
    conflicts: list[Conflict]
    complete: bool


def explore(sets: ItemSets, *, limit: int, most_conflicts: int | None = None) -> Exploration:
    """Look for conflicts in up to ``limit`` item sets; stop after ``most_conflicts``."""
    rules = sets.rules
    own = ItemSets(rules, sets.kernels[sets.start][0][1], limit=limit)
    result = Exploration(own, [], [], complete=True)
    texts = shortest_texts(rules)
    # By set: length of its text, the set before it and the terminals that lead on from there.
    best: dict[int, tuple[int, int, tuple[int, ...]]] = {own.start: (0, -1, ())}
    queue = [(0, own.start)]
    done: set[int] = set()
    while queue:
        length, s = heapq.heappop(queue)
        if s in done:
            continue
        done.add(s)
        if s >= len(own):  # past the limit
            result.complete = False
            continue
        try:
            conflicts = list(_conflicts(own, s))
            following = list(_following(own, s, texts))
        except LimitExceeded:
            result.complete = False
            continue
        result.order.append(s)
        for terminals, actions, going_on in conflicts:
            found = Conflict(s, _text(best, s), terminals, actions, going_on)
            result.conflicts.append(found)
            if most_conflicts is not None and len(result.conflicts) >= most_conflicts:
                result.complete = False
                return result
        for target, text in following:
            total = length + len(text)
            if target not in best or total < best[target][0]:
                best[target] = (total, s, text)
                heapq.heappush(queue, (total, target))
    return result


def _conflicts(sets: ItemSets, s: int) -> Iterator[tuple[int, Actions, tuple[str, ...]]]:
    rules = sets.rules
    for terminals, actions in sets.groups(s):
        if len(actions.shifts) + len(actions.ends) > 1:
            owners = {
                rules.names[rules.owner[node]]
                for node, _, _ in sets.items(s)
                if any(mask & terminals for mask, _ in rules.shift[node])
            }
            yield terminals, actions, tuple(sorted(owners))


def _following(
    sets: ItemSets, s: int, texts: dict[int, tuple[int, ...]]
) -> Iterator[tuple[int, tuple[int, ...]]]:
    for terminals, actions in sets.groups(s):
        for shift in actions.shifts:
            yield shift.target, ((terminals & -terminals).bit_length() - 1,)
    rules = sets.rules
    called = {
        rule
        for node, depth, _ in sets.items(s)
        for rule, after in rules.calls[node]
        # A rule that is called last ends its caller with it: there is no set after it here.
        if depth > MAX_DEPTH or not rules.only_ends(after)
    }
    for rule in sorted(called):
        if rule in texts:
            yield sets.goto(s, rule)[1], texts[rule]


def _text(best: dict[int, tuple[int, int, tuple[int, ...]]], s: int) -> tuple[int, ...]:
    parts = []
    while s >= 0:
        _, before, text = best[s]
        parts.append(text)
        s = before
    return tuple(terminal for text in reversed(parts) for terminal in text)


def sentence(built: Built, terminals: Iterable[int]) -> str:
    """Terminals as people write them: names of tokens, or a text with a byte of each class."""
    builder = built.builder
    names = built.terminal_names
    if not isinstance(builder, ScannerlessBuilder):
        return " ".join(names[t] for t in terminals)
    parts: list[str] = []
    text = bytearray()
    for terminal in terminals:
        if terminal < builder.n_classes:
            members = [b for b, cls in enumerate(builder.byte_classes) if cls == terminal]
            text.append(min(members, key=_oddness))
            continue
        parts += [quote(text.decode("utf-8", "backslashreplace"))] if text else []
        parts.append(names[terminal])
        text.clear()
    parts += [quote(text.decode("utf-8", "backslashreplace"))] if text else []
    return " ".join(parts)


def _oddness(byte: int) -> tuple[bool, bool, int]:
    char = chr(byte)
    return byte >= 128 or not char.isprintable(), not char.isalnum(), byte


def warning(built: Built, stacks: int) -> str | None:
    """One line about a grammar that has a conflict, None where none was found nearby.

    ``stacks``: how many stacks a text may be read on.
    """
    found = explore(built.builder.sets, limit=WARNING_SETS, most_conflicts=1).conflicts
    if not found:
        return None
    conflict = found[0]
    before = sentence(built, conflict.before)
    place = f"after {before}" if before else "at the start"
    what = " or ".join(conflict.alternatives(built.builder.sets.rules))
    terminal = sentence(built, [conflict.terminal])
    return (
        f"not LR(1): {place}, {terminal} may {what}; a text runs on up to {stacks} stacks, "
        "one for each way to read it"
    )


def shortest_texts(rules: Rules) -> dict[int, tuple[int, ...]]:
    """A shortest text, in terminals, of each rule that is called; and of the start rule."""
    length, step = shortest_ways(rules, [1] * (rules.end + 1))
    return {
        rule: _spell(begin, step)
        for rule, begin in enumerate(rules.start)
        if begin >= 0 and begin in length
    }


def shortest_ways(
    rules: Rules, costs: Sequence[int]
) -> tuple[dict[int, int], dict[int, tuple[int, int]]]:
    """The least cost from each node to an end of its rule, and how the way begins.

    ``costs``: of each terminal. A way begins with a terminal, or with a call (-1 - the first node
    of the rule), and goes on at a node.

    Knuth's generalization of Dijkstra's algorithm ("A generalization of Dijkstra's algorithm",
    1977): a node is settled once its shortest way to an end is known.
    """
    n = len(rules.final)
    into: list[list[tuple[int, int]]] = [[] for _ in range(n)]  # shifts: node before, terminal
    around: list[list[tuple[int, int, int]]] = [[] for _ in range(n)]  # calls: caller, start, after
    for node in range(n):
        for mask, target in rules.shift[node]:
            terminals = (t for t in range(rules.end) if mask >> t & 1)
            into[target].append((node, min(terminals, key=costs.__getitem__)))
        for rule, target in rules.calls[node]:
            begin = rules.start[rule]
            around[begin].append((node, begin, target))
            around[target].append((node, begin, target))
    length: dict[int, int] = {}
    # How a node's shortest text goes on: a terminal or a call (-1 - start node), and the next node.
    step: dict[int, tuple[int, int]] = {}
    queue: list[tuple[int, int, tuple[int, int] | None]] = [
        (0, node, None) for node in range(n) if rules.final[node]
    ]
    heapq.heapify(queue)
    while queue:
        cost, node, how = heapq.heappop(queue)
        if node in length:
            continue
        length[node] = cost
        if how is not None:
            step[node] = how
        for before, terminal in into[node]:
            if before not in length:
                heapq.heappush(queue, (cost + costs[terminal], before, (terminal, node)))
        for before, begin, after in around[node]:
            if before not in length and begin in length and after in length:
                total = length[begin] + length[after]
                heapq.heappush(queue, (total, before, (-1 - begin, after)))
    return length, step


def _spell(node: int, step: dict[int, tuple[int, int]]) -> tuple[int, ...]:
    text: list[int] = []
    stack = [node]
    while stack:
        here = stack.pop()
        if here in step:
            what, after = step[here]
            stack.append(after)
            if what >= 0:
                text.append(what)
            else:
                stack.append(-1 - what)
    return tuple(text)
