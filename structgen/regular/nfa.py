"""Thompson automata of pattern trees: edges on sets, and conditional edges for assertions."""

from __future__ import annotations

from dataclasses import dataclass, field

from structgen.errors import LimitExceeded
from structgen.regular.charset import Partition, Ranges, partition
from structgen.regular.syntax import WORD, Alt, Assertion, Cat, Look, Node, Repeat, Set, postorder

# Conditions of an edge. Non-negative conditions are indices into `NFA.looks`.
FREE, AT_START, AT_END, BOUNDARY, NOT_BOUNDARY = -1, -2, -3, -4, -5
_CONDITION = {"^": AT_START, "$": AT_END, "b": BOUNDARY, "B": NOT_BOUNDARY}


@dataclass(slots=True)
class LookBody:
    """The automaton of a lookaround's body inside the common one.

    Bodies come innermost first, so that one may refer only to those before it.
    """

    ahead: bool
    negative: bool
    start: int
    accept: int


@dataclass(slots=True)
class NFA:
    """``moves[node]`` holds (set, target), ``jumps[node]`` (condition, target) without a symbol.

    Node 0 is the start and node 1 the accepting node of the whole pattern; neither it nor the
    accepting node of a lookaround's body has edges of its own.
    """

    sets: list[Ranges] = field(default_factory=list)
    moves: list[list[tuple[int, int]]] = field(default_factory=lambda: [[], []])
    jumps: list[list[tuple[int, int]]] = field(default_factory=lambda: [[], []])
    looks: list[LookBody] = field(default_factory=list)
    has_boundary: bool = False

    def node(self) -> int:
        self.moves.append([])
        self.jumps.append([])
        return len(self.moves) - 1

    def symbols(self) -> Partition:
        """Classes of symbols that no set tells apart; the last set is the word characters."""
        return partition([*self.sets, *([WORD] if self.has_boundary else [])])


def build(root: Node, *, max_states: int) -> NFA:
    """The automaton of a tree.

    Raises:
        LimitExceeded: counted repetitions multiply to more than 4 nodes per state allowed.
    """
    nfa = NFA()
    index = _measure(root, nfa, max_states)
    set_ids: dict[Ranges, int] = {}
    tasks: list[tuple[Node, int, int]] = [(root, 0, 1)]
    for look, number in index.values():
        tasks.append((look.body, nfa.looks[number].start, nfa.looks[number].accept))
    while tasks:
        node, begin, end = tasks.pop()
        match node:
            case Set(ranges):
                set_id = set_ids.setdefault(ranges, len(set_ids))
                nfa.moves[begin].append((set_id, end))
            case Cat(items):
                if not items:
                    nfa.jumps[begin].append((FREE, end))
                for i, item in enumerate(items):
                    following = end if i + 1 == len(items) else nfa.node()
                    tasks.append((item, begin, following))
                    begin = following
            case Alt(items):
                tasks.extend((item, begin, end) for item in items)
            case Repeat(item, low, high):
                for _ in range(low):
                    following = nfa.node()
                    tasks.append((item, begin, following))
                    begin = following
                if high is None:
                    loop = nfa.node()
                    nfa.jumps[begin].append((FREE, loop))
                    tasks.append((item, loop, loop))
                    begin = loop
                else:
                    # Every optional copy has its own way out, straight to the end.
                    for _ in range(high - low):
                        nfa.jumps[begin].append((FREE, end))
                        following = nfa.node()
                        tasks.append((item, begin, following))
                        begin = following
                nfa.jumps[begin].append((FREE, end))
            case Assertion(kind):
                nfa.jumps[begin].append((_CONDITION[kind], end))
                nfa.has_boundary |= kind in "bB"
            case Look():
                nfa.jumps[begin].append((index[id(node)][1], end))
    nfa.sets = list(set_ids)
    return nfa


def _measure(root: Node, nfa: NFA, max_states: int) -> dict[int, tuple[Look, int]]:
    """Bound the number of nodes, and number the lookarounds innermost first."""
    index: dict[int, tuple[Look, int]] = {}
    sizes: list[int] = []  # of the subtrees whose parent is still to come
    for node in postorder(root):
        size = 1
        match node:
            case Cat(items) | Alt(items):
                if items:
                    size += sum(sizes[-len(items) :])
                    del sizes[-len(items) :]
            case Repeat(low=low, high=high):
                size += (sizes.pop() + 1) * (low + 1 if high is None else high)
            case Look(ahead, negative):
                size += sizes.pop()
                index[id(node)] = (node, len(nfa.looks))
                nfa.looks.append(LookBody(ahead, negative, nfa.node(), nfa.node()))
        if size > 4 * max_states:
            where = "a pattern's repetitions"
            raise LimitExceeded(limit="pattern_states", value=max_states, where=where)
        sizes.append(size)
    return index
