"""A whole text of bounded length, its code points counted: no state for each repetition."""

from __future__ import annotations

from collections.abc import Sequence

from structgen import budget
from structgen.automaton.step import DEAD
from structgen.automaton.step import NO_LIMIT as FAR
from structgen.automaton.tables import Automaton, Edge
from structgen.regular.bytewise import utf8_edges
from structgen.regular.dfa import DFA


def place_counted(automaton: Automaton, dfa: DFA, minimum: int, maximum: int) -> int:
    """Add the UTF-8 texts of ``dfa`` that have ``minimum`` to ``maximum`` code points.

    The number of code points of a text must follow from the state that it leads to and how often it
    went round a loop, as in ``A X{m,n} B`` with A, X and B of one length each; then every counter
    that a state admits leads to an end. Returns the start state, whose frame ends with class 0.
    """
    nearest, farthest = _distances(dfa)
    edges = utf8_edges(dfa)
    n = dfa.n_states
    inside = len(edges) - n
    low = [max(0, minimum - d) if d != FAR else 0 for d in farthest] + [FAR] * inside
    high = [maximum - d for d in nearest] + [-1] * inside
    # Between the bytes of a code point the bounds are those of what it leads to.
    for s in range(len(edges) - 1, n - 1, -1):
        for _, _, target in edges[s]:
            ends = target < n
            low[s] = min(low[s], max(0, low[target] - ends))
            high[s] = max(high[s], high[target] - ends)
    # A state in which a text may end is two: with enough code points for it, and with too few.
    short: list[int] = []
    enough: list[int] = []
    for s in range(len(edges)):
        final = s < n and dfa.final[s] >= 0
        most = min(high[s], minimum - 1)
        least = max(low[s], minimum) if final else low[s]
        few = final and low[s] <= most
        short.append(automaton.reserve_state(lo=low[s], hi=most) if few else -1)
        many = least <= high[s]
        enough.append(automaton.reserve_state(lo=least, hi=high[s]) if many else -1)
    for s in range(len(edges)):
        budget.check("a counted pattern")
        places = [q for q in (short[s], enough[s]) if q >= 0]
        if not places:
            continue
        _set(automaton, places[0], edges[s], n, short, enough)
        for q in places[1:]:
            automaton.alias(q, places[0])
        if enough[s] >= 0 and s < n and dfa.final[s] >= 0:
            automaton.set_end(enough[s], 0)
    return short[0] if minimum > 0 and short[0] >= 0 else enough[0]


def _set(
    automaton: Automaton,
    q: int,
    ranges: Sequence[tuple[int, int, int]],
    n: int,
    short: Sequence[int],
    enough: Sequence[int],
) -> None:
    row = bytearray(256)
    found: list[Edge] = [(DEAD, -1, 0)]
    at: dict[int, int] = {}
    for lo, hi, target in ranges:
        if target not in at:
            places = [p for p in (short[target], enough[target]) if p >= 0]
            at[target] = len(found)
            found.append(automaton.fork([(p, -1, int(target < n)) for p in places]))
        row[lo : hi + 1] = bytes([at[target]]) * (hi + 1 - lo)
    automaton.set_state(q, automaton.class_map(bytes(row)), found)


def _distances(dfa: DFA) -> tuple[list[int], list[int]]:
    """Code points to the nearest and the farthest end of a text; FAR where there is no bound."""
    n = dfa.n_states
    follow = [
        sorted(set(dfa.target[dfa.offsets[s] : dfa.offsets[s + 1]].tolist())) for s in range(n)
    ]
    nearest = [0 if f >= 0 else FAR for f in dfa.final.tolist()]
    changed = True
    while changed:
        changed = False
        for s in range(n - 1, -1, -1):
            best = min([nearest[s], *(nearest[t] + 1 for t in follow[s])])
            if best < nearest[s]:
                nearest[s], changed = best, True
    # States with no loop ahead, targets first; of the others there is no farthest end.
    farthest = [FAR] * n
    waiting = [len(targets) for targets in follow]
    back: list[list[int]] = [[] for _ in range(n)]
    for s, targets in enumerate(follow):
        for t in targets:
            back[t].append(s)
    ready = [s for s in range(n) if waiting[s] == 0]
    for s in ready:
        farthest[s] = max([0, *(farthest[t] + 1 for t in follow[s])])
        for before in back[s]:
            waiting[before] -= 1
            if waiting[before] == 0:
                ready.append(before)
    return nearest, farthest
