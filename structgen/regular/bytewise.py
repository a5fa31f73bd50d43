"""Automata over the UTF-8 bytes of texts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np

from structgen import budget
from structgen.regular.charset import BYTES, normalize
from structgen.regular.dfa import DFA, combine, empty, from_edges

# First and last code point of each encoded length, and of the leading byte's payload.
_LENGTHS = ((0, 0x7F), (0x80, 0x7FF), (0x800, 0xFFFF), (0x10000, 0x10FFFF))


@lru_cache(maxsize=1 << 14)
def utf8_ranges(lo: int, hi: int) -> tuple[tuple[tuple[int, int], ...], ...]:
    """Sequences of byte ranges that spell exactly the code points of [lo, hi]."""
    return tuple(_utf8_ranges(lo, hi))


def _utf8_ranges(lo: int, hi: int) -> Iterable[tuple[tuple[int, int], ...]]:
    stack = [
        (max(lo, first), min(hi, last), n)
        for n, (first, last) in enumerate(_LENGTHS)
        if lo <= last and hi >= first
    ]
    while stack:
        a, b, n = stack.pop()
        # Split until each byte's range is independent of the bytes before it.
        for k in range(1, n + 1):
            size = 1 << (6 * k)
            if a // size != b // size:
                if a % size:
                    stack += [(a, a | (size - 1), n), ((a | (size - 1)) + 1, b, n)]
                    break
                if (b + 1) % size:
                    stack += [(a, b // size * size - 1, n), (b // size * size, b, n)]
                    break
        else:
            yield tuple(zip(chr(a).encode(), chr(b).encode(), strict=True))


def utf8(dfa: DFA) -> DFA:
    """The UTF-8 encodings of the texts that ``dfa`` (over code points) accepts."""
    edges = utf8_edges(dfa)
    final = dfa.final.tolist()
    return from_edges(edges, final + [-1] * (len(edges) - len(final)), BYTES)


def utf8_edges(dfa: DFA) -> list[list[tuple[int, int, int]]]:
    """Byte ranges with targets, by state: ``dfa``'s own states, then those inside a code point."""
    n = dfa.n_states
    edges: list[list[tuple[int, int, int]]] = [[] for _ in range(n)]
    shared: dict[tuple[tuple[tuple[int, int], int], ...], int] = {}
    final = dfa.final.tolist()
    for s in range(n):
        budget.check("a pattern over bytes")
        sequences = []
        for k in range(int(dfa.offsets[s]), int(dfa.offsets[s + 1])):
            goal = int(dfa.target[k])
            sequences += [(q, goal) for q in utf8_ranges(int(dfa.lo[k]), int(dfa.hi[k]))]
        _add(edges, final, shared, s, sequences)
    return edges


def _add(
    edges: list[list[tuple[int, int, int]]],
    final: list[int],
    shared: dict,
    state: int,
    sequences: Sequence[tuple[tuple[tuple[int, int], ...], int]],
) -> None:
    """Give ``state`` the byte sequences, states with equal futures shared; at most 4 deep."""
    groups: dict[tuple[int, int], list[tuple[tuple[tuple[int, int], ...], int]]] = {}
    for sequence, goal in sequences:
        groups.setdefault(sequence[0], []).append((sequence[1:], goal))
    # Leading ranges of one state either coincide or are disjoint, except where a split left a
    # narrower one inside a wider one; cut all at the same places then.
    cuts = sorted({a for a, _ in groups} | {b + 1 for _, b in groups})
    for a, b in pairwise(cuts):
        inside = [t for (lo, hi), tails in groups.items() if lo <= a and b - 1 <= hi for t in tails]
        if not inside:
            continue
        if not inside[0][0]:
            edges[state].append((a, b - 1, inside[0][1]))
            continue
        key = tuple(sorted(inside))
        target = shared.get(key)
        if target is None:
            target = shared[key] = len(edges)
            edges.append([])
            final.append(-1)
            _add(edges, final, shared, target, inside)
        edges[state].append((a, b - 1, target))


def choices_to_bytes(choices: Sequence[str]) -> DFA:
    """The UTF-8 encodings of the given texts."""
    edges: list[dict[int, int]] = [{}]
    final = [-1]
    for choice in choices:
        state = 0
        for b in choice.encode("utf-8", "surrogatepass"):
            if b not in edges[state]:
                edges[state][b] = len(edges)
                edges.append({})
                final.append(-1)
            state = edges[state][b]
        final[state] = 0
    return from_edges(
        [[(b, b, t) for b, t in sorted(state.items())] for state in edges], final, BYTES
    )


def restrict(dfa: DFA, symbols: np.ndarray) -> DFA:
    """The texts of ``dfa`` that use none but these bytes."""
    allowed = normalize((int(b), int(b)) for b in symbols)
    if not allowed:
        return empty()
    only = from_edges([[(lo, hi, 0) for lo, hi in allowed]], [0], BYTES)
    return combine([dfa, only], lambda c: c[0] if min(c) >= 0 else -1, alphabet=BYTES)
