"""Rows computed ahead of the texts that need them.

States are visited from the start, breadth first, together with the return points that may be on top
of the stack there: a state's row, then the rows of its exit set at each of them, and on down the
stack. What is found is an approximation of the configurations that texts lead to: return points
below the first are those of any place that pushes it, and of a counter only the least value that
the state admits is looked at. So a completed grammar still computes a row now and then.
"""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Iterator

import numpy as np

from structgen.automaton.step import ARG, BASE, FORK, INHERIT, MAP, TARGET
from structgen.automaton.tables import Automaton
from structgen.budget import Cancel
from structgen.errors import LimitExceeded
from structgen.masks.grammar import MaskGrammar


class Completion:
    """What is left to compute ahead of one grammar. Steps are short, so other threads get between.

    Args:
        masks: the grammar.
        start: the state at the empty text.
    """

    def __init__(self, masks: MaskGrammar, start: int) -> None:
        self._masks = masks
        self._tops: defaultdict[int, set[int]] = defaultdict(set)  # by state; -1: an empty stack
        self._below: defaultdict[int, set[int]] = defaultdict(set)  # by return point
        self._states: deque[int] = deque()
        self._pairs: deque[tuple[int, int]] = deque()  # exit sets at return points
        self._exits: dict[int, int] = {}
        self._onward: dict[tuple[int, int], int] = {}
        self._reach(start, {-1})

    def run(self, seconds: float, memory_bytes: int, cancel: Cancel | None = None) -> bool:
        """Compute until nothing is left (True), or time, memory or the caller's patience is over.

        ``seconds`` of wall-clock time; ``memory_bytes``: what the grammar's tables may hold.
        """
        until = time.monotonic() + seconds
        masks = self._masks
        while self._states or self._pairs:
            if time.monotonic() > until or masks.nbytes > memory_bytes:
                return False
            if cancel is not None and cancel.is_set():
                return False
            try:
                if self._pairs:
                    self._resume(*self._pairs.popleft())
                else:
                    self._visit(self._states.popleft())
            except LimitExceeded:
                continue  # a text that gets there is told
        return True

    def _visit(self, q: int) -> None:
        """Compute the row of state ``q`` and find what follows it."""
        masks = self._masks
        exit_ = masks.ahead_local(q)
        self._exits[q] = exit_
        for top in self._tops[q]:
            self._add_pair(exit_, top)
        for target, points in list(_moves(masks.automaton, q)):
            tops = self._tops[q]
            for r in points:
                self._push(r, tops)
                tops = {r}
            self._reach(target, tops)

    def _push(self, r: int, below: set[int]) -> None:
        """Return point ``r`` is pushed where one of ``below`` is on top."""
        new = below - self._below[r]
        if not new:
            return
        self._below[r] |= new
        for (_, point), onward in list(self._onward.items()):
            if point == r:
                for top in new:
                    self._add_pair(onward, top)
        for target in _continuations(self._masks.automaton, r):
            self._reach(target, new)

    def _reach(self, q: int, tops: set[int]) -> None:
        new = tops - self._tops[q]
        self._tops[q] |= new
        if q in self._exits:
            for top in new:
                self._add_pair(self._exits[q], top)
        if new:
            self._states.append(q)

    def _add_pair(self, exit_: int, top: int) -> None:
        if exit_ and top >= 0 and (exit_, top) not in self._onward:
            self._onward[exit_, top] = 0
            self._pairs.append((exit_, top))

    def _resume(self, exit_: int, r: int) -> None:
        """Compute the row of an exit set at return point ``r``, and go on down the stack."""
        onward = self._masks.ahead_resume(exit_, r)
        self._onward[exit_, r] = onward
        for top in self._below[r]:
            self._add_pair(onward, top)
        # Walking there may have shown where control goes on.
        for target in _continuations(self._masks.automaton, r):
            self._reach(target, self._below[r])


def _moves(automaton: Automaton, q: int) -> Iterator[tuple[int, tuple[int, ...]]]:
    """States that ``q`` leads to, with the return points pushed on the way, the lowest first."""
    base = int(automaton.states[q, BASE])
    classes = np.unique(automaton.maps[automaton.states[q, MAP]])
    todo = [tuple(edge) for edge in automaton.edges[base + classes.astype(np.int64)].tolist()]
    while todo:
        edge = todo.pop()
        target, arg = edge[TARGET], edge[ARG]
        if target >= 0:
            yield target, tuple(r & ~INHERIT for r in automaton.pushed(arg))
        elif target < FORK:
            todo += [tuple(e) for e in automaton.edges[arg : arg + FORK - target].tolist()]


def _continuations(automaton: Automaton, r: int) -> list[int]:
    """States in which a frame goes on at return point ``r``, as far as they are known."""
    base, n, _ = automaton.returns[r].tolist()
    return [q for q in automaton.gotos[base : base + n, 0].tolist() if q >= 0]
