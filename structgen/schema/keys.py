"""Automata over the names of an object's properties."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from structgen.automaton.lift import Lifted
from structgen.automaton.step import NO_LIMIT
from structgen.automaton.tables import NO_EDGE, Edge, move
from structgen.regular.charset import UNICODE, has_surrogate
from structgen.regular.dfa import DFA
from structgen.schema.library import Library

# Every string is a sequence of these; surrogates are no code points of text.
SCALARS = UNICODE

# A name, the edge on its closing quote (None: it must not be produced), the highest counter with
# which it may be begun.
Key = tuple[str, Edge | None, int]


def key_block(keys: Iterable[Key], library: Library, *, others: bool = False) -> Lifted:
    """The inside of a property's name, in every spelling.

    With ``others``, names that are not among ``keys`` are allowed too and end like any string,
    with class 0; once a name differs from all of ``keys`` it is read by the library's states of
    any string. A name amid which no allowed name could still be completed has no state.
    """
    other: Edge | None = move(library.end) if others else None
    children: list[dict[int, int]] = [{}]
    quotes: list[Edge | None] = [None]  # None: not the end of a name
    limits: list[int] = [-1]
    for name, edge, limit in keys:
        if edge is None and other is None:
            continue
        if has_surrogate(name):
            continue  # no text can spell it
        points = [ord(c) for c in name]
        node = 0
        for p in points:
            if edge is not None and limit > limits[node]:
                limits[node] = limit
            below = children[node]
            node = below.get(p, -1)
            if node < 0:
                node = below[p] = len(children)
                children.append({})
                quotes.append(None)
                limits.append(-1)
        if edge is not None and limit > limits[node]:
            limits[node] = limit
        quotes[node] = edge if edge is not None else NO_EDGE
    n = len(children)
    tail = None
    lo: list[int] = []
    hi: list[int] = []
    target: list[int] = []
    offsets = [0]
    for below in children:
        if other is None:
            for p in sorted(below):
                lo.append(p)
                hi.append(p)
                target.append(below[p])
        else:
            _with_gaps(below, n, lo, hi, target)
        offsets.append(len(lo))
    edges = [q if q is not None else (NO_EDGE if other is None else other) for q in quotes]
    if other is not None:
        # One more state: a name that has left the trie, so that it is none of the declared.
        _with_gaps({}, n, lo, hi, target)
        offsets.append(len(lo))
        edges.append(other)
        limits = [NO_LIMIT] * (n + 1)
        tail = (n, library.string_states)
    dfa = DFA(
        np.array(offsets, np.int32),
        np.array(lo, np.int32),
        np.array(hi, np.int32),
        np.array(target, np.int32),
        np.zeros(len(edges), np.int32),
    )
    return library.lift(dfa, edges, limits=np.array(limits, np.int32), tail=tail)


def _with_gaps(
    below: dict[int, int], rest: int, lo: list[int], hi: list[int], target: list[int]
) -> None:
    """Append the ranges of ``below``, and of everything between them to state ``rest``."""
    points = sorted(below)
    k = 0
    for first, last in SCALARS:
        at = first
        while k < len(points) and points[k] <= last:
            p = points[k]
            if p > at:
                lo.append(at)
                hi.append(p - 1)
                target.append(rest)
            lo.append(p)
            hi.append(p)
            target.append(below[p])
            at = p + 1
            k += 1
        if at <= last:
            lo.append(at)
            hi.append(last)
            target.append(rest)
