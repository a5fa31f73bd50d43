"""The part of an automaton that texts can reach, built."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from structgen.automaton.step import CLASS_BITS, DEAD, END, INHERIT, MAP, UNKNOWN
from structgen.automaton.tables import Automaton, Edge


def edges_of(automaton: Automaton, q: int) -> Iterator[tuple[list[int], list[Edge]]]:
    """The bytes of each byte class of built state ``q``, with the edges that they may take."""
    row = automaton.maps[automaton.states[q, MAP]]
    groups: dict[int, list[int]] = {}
    for byte in range(256):
        groups.setdefault(int(row[byte]), []).append(byte)
    for group in groups.values():
        edges = automaton.alternatives(q, group[0])
        if edges:
            yield group, edges


def goto(automaton: Automaton, return_point: int, cls: int) -> int:
    """Where a return point goes on after a pop with this class, or -1."""
    for _ in range(2):
        base, size, lazy = automaton.returns[return_point].tolist()
        target = int(automaton.gotos[base + cls, 0]) if cls < size else (UNKNOWN if lazy else -1)
        if target != UNKNOWN:
            return target
        automaton.build(-1 - (return_point << CLASS_BITS | cls))
    return -1


def build_reachable(automaton: Automaton, start: int, *, limit: int) -> tuple[list[int], bool]:
    """Build the states that some text reaches from ``start``, the nearest first, up to ``limit``.

    Returns the states and whether there are no others. A state behind a push is reached where the
    pushed frame can end: the classes that a frame can end with, from each of its states, are the
    least fixed point of what its edges say.
    """
    order: list[int] = []
    seen = {start}
    waiting = deque([start])
    ends: dict[int, set[int]] = {}
    # By state: (state, return points) that go on, or end alike where there are none, when it ends.
    listeners: dict[int, list[tuple[int, tuple[int, ...]]]] = {}
    news: list[tuple[int, int]] = []  # states and classes that they can end with

    def end(q: int, cls: int) -> None:
        known = ends.setdefault(q, set())
        if cls not in known:
            known.add(cls)
            news.append((q, cls))

    def resume(q: int, points: tuple[int, ...], cls: int) -> None:
        if not points:
            end(q, cls)
            return
        target = goto(automaton, points[-1] & ~INHERIT, cls)
        if target >= 0:
            enter(q, points[:-1], target)

    def enter(q: int, points: tuple[int, ...], target: int) -> None:
        """From ``q`` a frame at ``target`` is entered, above ``points``."""
        if target not in seen:
            seen.add(target)
            waiting.append(target)
        heard = listeners.setdefault(target, [])
        if (q, points) not in heard:
            heard.append((q, points))
            for cls in sorted(ends.get(target, ())):
                resume(q, points, cls)

    while waiting or news:
        if news:
            state, cls = news.pop()
            for q, points in list(listeners.get(state, ())):
                resume(q, points, cls)
            continue
        q = waiting.popleft()
        if len(order) >= limit:
            break
        automaton.build(q)
        order.append(q)
        for _, edges in edges_of(automaton, q):
            for target, arg, _count in edges:
                if target >= 0:
                    enter(q, automaton.pushed(arg), target)
                elif target < DEAD:
                    end(q, -2 - target)
        if automaton.states[q, END] >= 0:
            end(q, int(automaton.states[q, END]))
    return order, not waiting and not news
