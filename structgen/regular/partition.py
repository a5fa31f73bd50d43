"""The coarsest stable partition of an automaton's states (minimisation).

States whose residual language is finite lie on no cycle and reach none: taken with their successors
first, they are equal exactly if their rows are (D. Revuz, 1992). The others go through A. Valmari,
"Fast brief practical DFA minimization", Information Processing Letters 112 (2012): O(m log m) for m
transitions of a partial automaton whose states are all reachable and productive.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


class RefinablePartition:
    """A partition of ``0..n-1``; marking elements and splitting costs time per marked element."""

    __slots__ = ("elements", "first", "location", "marked", "past", "set_of", "touched")

    def __init__(self, keys: Sequence[int]) -> None:
        """Elements with equal keys start in the same set."""
        n = len(keys)
        self.elements = sorted(range(n), key=keys.__getitem__)
        self.location = [0] * n
        self.set_of = [0] * n
        self.first: list[int] = []
        self.past: list[int] = []
        previous = None
        for i, element in enumerate(self.elements):
            if i == 0 or keys[element] != previous:
                previous = keys[element]
                if i:
                    self.past.append(i)
                self.first.append(i)
            self.location[element] = i
            self.set_of[element] = len(self.first) - 1
        if n:
            self.past.append(n)
        self.marked = [0] * len(self.first)
        self.touched: list[int] = []

    def __len__(self) -> int:
        return len(self.first)

    def mark(self, element: int) -> None:
        """Move ``element`` among the marked ones at the front of its set (once per split)."""
        elements, location = self.elements, self.location
        s = self.set_of[element]
        i, j = location[element], self.first[s] + self.marked[s]
        if i < j:
            return
        other = elements[j]
        elements[i], location[other] = other, i
        elements[j], location[element] = element, j
        if not self.marked[s]:
            self.touched.append(s)
        self.marked[s] += 1

    def split(self) -> None:
        """Separate marked from unmarked elements; the smaller part becomes the new set."""
        first, past, marked = self.first, self.past, self.marked
        for s in self.touched:
            middle = first[s] + marked[s]
            marked[s] = 0
            if middle == past[s]:
                continue
            new = len(first)
            if middle - first[s] <= past[s] - middle:
                first.append(first[s])
                past.append(middle)
                first[s] = middle
            else:
                first.append(middle)
                past.append(past[s])
                past[s] = middle
            for i in range(first[new], past[new]):
                self.set_of[self.elements[i]] = new
            marked.append(0)
        self.touched.clear()


def coarsest_partition(table: npt.NDArray[np.int32], final: Sequence[int]) -> list[int]:
    """The block of each state: states share one exactly when their residual languages are equal.

    ``table[state, symbol]`` is the next state or -1; every state is reachable and productive.
    """
    # Symbols that no state tells apart count once.
    columns = np.ascontiguousarray(table.T)
    rows = columns[list({c.tobytes(): i for i, c in enumerate(columns)}.values())].T.tolist()
    block = _merge_finite(rows, final)
    if -1 not in block:
        return block
    # Finite states are blocks of their own, known by negative keys below those of final classes.
    keys = [f if b < 0 else -2 - b for b, f in zip(block, final, strict=True)]
    representative: dict[int, int] = {}
    for state, b in enumerate(block):
        if b >= 0:
            representative.setdefault(b, state)
    tail: list[int] = []
    label: list[int] = []
    head: list[int] = []
    for state, row in enumerate(rows):
        if block[state] < 0:
            for symbol, target in enumerate(row):
                if target >= 0:
                    tail.append(state)
                    label.append(symbol)
                    head.append(target if block[target] < 0 else representative[block[target]])
    return _refine(keys, tail, label, head)


def _merge_finite(rows: list[list[int]], final: Sequence[int]) -> list[int]:
    """Blocks of the states with finite residual languages, -1 for the others."""
    n = len(rows)
    waiting = [0] * n
    before: list[list[int]] = [[] for _ in range(n)]
    for state, row in enumerate(rows):
        following = set(row)
        following.discard(-1)
        waiting[state] = len(following)
        for target in following:
            before[target].append(state)
    ready = [state for state in range(n) if not waiting[state]]
    block = [-1] * n
    block.append(-1)  # read at index -1, where there is no successor
    known: dict[tuple[int, ...], int] = {}
    for state in ready:
        signature = (final[state], *map(block.__getitem__, rows[state]))
        block[state] = known.setdefault(signature, len(known))
        for previous in before[state]:
            waiting[previous] -= 1
            if not waiting[previous]:
                ready.append(previous)
    block.pop()
    return block


def _refine(
    keys: Sequence[int], tail: Sequence[int], label: Sequence[int], head: Sequence[int]
) -> list[int]:
    """The coarsest partition that refines equal keys and is stable under the transitions.

    The i-th transition goes from ``tail[i]`` to ``head[i]`` on ``label[i]``.
    """
    blocks = RefinablePartition(keys)
    cords = RefinablePartition(label)
    into: list[list[int]] = [[] for _ in keys]
    for i, state in enumerate(head):
        into[state].append(i)
    b, c = 1, 0
    while c < len(cords):
        for i in range(cords.first[c], cords.past[c]):
            blocks.mark(tail[cords.elements[i]])
        blocks.split()
        c += 1
        while b < len(blocks):
            for i in range(blocks.first[b], blocks.past[b]):
                for transition in into[blocks.elements[i]]:
                    cords.mark(transition)
            cords.split()
            b += 1
    return blocks.set_of
