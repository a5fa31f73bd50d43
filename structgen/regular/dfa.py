"""Deterministic automata over integers: Unicode scalar values or bytes.

A state holds sorted ranges of symbols, each with the next state; a symbol in no range is rejected.
Everything that builds an automaton goes through :func:`from_table`, which trims and minimises, so
equal languages over one alphabet give automata of equal size, numbered breadth first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heapreplace

import numpy as np
import numpy.typing as npt

from structgen import budget
from structgen.errors import LimitExceeded
from structgen.regular import dense
from structgen.regular.charset import BYTES, UNICODE, Partition, Ranges
from structgen.regular.partition import coarsest_partition
from structgen.regular.product import explore
from structgen.regular.symbols import common_symbols

__all__ = [
    "BYTES",
    "DFA",
    "UNICODE",
    "any_string",
    "combine",
    "complement",
    "empty",
    "from_edges",
    "from_table",
    "intersect",
    "length",
    "lengths",
    "literals",
    "minimize",
    "union",
]

Int32 = npt.NDArray[np.int32]

# Thousands of states times the hundreds of ranges of \p{L}: 12 bytes each.
MAX_RANGES = 4_000_000


@dataclass(frozen=True, slots=True, eq=False)
class DFA:
    """A trimmed deterministic automaton with state 0 as its start.

    Attributes:
        offsets: int32 ``[n + 1]``, the ranges of state s are ``offsets[s]:offsets[s + 1]``.
        lo, hi: int32 ``[m]``, inclusive; sorted and disjoint within a state.
        target: int32 ``[m]``, the next state.
        final: int32 ``[n]``, the final class (>= 0), or -1 where the state does not accept.

    Every state is reachable and productive (some text leads from it to acceptance), and adjacent
    ranges with equal target are one range. The empty language is one state with no ranges.
    """

    offsets: Int32
    lo: Int32
    hi: Int32
    target: Int32
    final: Int32

    @property
    def n_states(self) -> int:
        return len(self.final)

    @property
    def is_empty(self) -> bool:
        return self.n_states == 1 and len(self.lo) == 0 and self.final[0] < 0

    def step(self, state: int, symbol: int) -> int:
        """The next state, or -1."""
        begin, end = int(self.offsets[state]), int(self.offsets[state + 1])
        i = begin + int(np.searchsorted(self.lo[begin:end], symbol, "right")) - 1
        return int(self.target[i]) if i >= begin and symbol <= self.hi[i] else -1

    def accepts(self, text: str | Sequence[int]) -> int:
        """The final class of ``text``, or -1 if it is rejected."""
        state = 0
        for symbol in map(ord, text) if isinstance(text, str) else text:
            state = self.step(state, symbol)
            if state < 0:
                return -1
        return int(self.final[state])

    def verify(self) -> None:
        """Raise ValueError naming the first broken invariant."""

        def check(holds: object, what: str) -> None:
            if not holds:
                raise ValueError(f"DFA: {what}")

        n, m = len(self.final), len(self.lo)
        for array in (self.offsets, self.lo, self.hi, self.target, self.final):
            check(array.dtype == np.int32 and array.ndim == 1, "arrays are one-dimensional int32")
        check(n >= 1 and len(self.offsets) == n + 1, "one offset per state and one past the end")
        check(len(self.hi) == m == len(self.target), "lo, hi and target have one length")
        check(self.offsets[0] == 0 and self.offsets[-1] == m, "offsets span the ranges")
        check((np.diff(self.offsets) >= 0).all(), "offsets ascend")
        check((self.final >= -1).all(), "final classes are -1 or more")
        check(((self.target >= 0) & (self.target < n)).all(), "targets are states")
        check((self.lo >= 0).all() and (self.lo <= self.hi).all(), "ranges are not empty")
        tail = np.repeat(np.arange(n), np.diff(self.offsets))
        same = tail[1:] == tail[:-1]
        check((self.lo[1:] > self.hi[:-1])[same].all(), "ranges are sorted and disjoint")
        touching = same & (self.lo[1:] == self.hi[:-1] + 1)
        check((self.target[1:] != self.target[:-1])[touching].all(), "adjacent ranges coalesced")
        check(len(_reach(n, tail, self.target, [0])) == n, "every state is reachable")
        if not self.is_empty:
            productive = _reach(n, self.target, tail, np.flatnonzero(self.final >= 0).tolist())
            check(len(productive) == n, "every state is productive")


def _reach(
    n: int, tail: npt.NDArray[np.integer], head: npt.NDArray[np.integer], roots: list[int]
) -> list[int]:
    """States reachable from ``roots``, in breadth-first order."""
    follow: list[list[int]] = [[] for _ in range(n)]
    for source, goal in zip(tail.tolist(), head.tolist(), strict=True):
        follow[source].append(goal)
    order = list(dict.fromkeys(roots))
    seen = set(order)
    for state in order:
        for goal in follow[state]:
            if goal not in seen:
                seen.add(goal)
                order.append(goal)
    return order


def empty() -> DFA:
    """The automaton that accepts nothing."""
    zero = np.zeros(0, np.int32)
    return DFA(np.zeros(2, np.int32), zero, zero, zero, np.full(1, -1, np.int32))


def from_table(
    table: npt.NDArray[np.integer] | Sequence[Sequence[int]],
    final: npt.NDArray[np.integer] | Sequence[int],
    symbols: Partition,
    *,
    minimal: bool = False,
) -> DFA:
    """Trim, minimise and spell out ``table[state][symbol class] -> state or -1``; start state 0.

    ``minimal`` promises that no two states are equivalent and skips that step.
    """
    classes = np.ascontiguousarray(final, np.int32)
    rows = np.ascontiguousarray(table, np.int32).reshape(len(classes), symbols.n_classes)
    with budget.hold(3 * rows.nbytes, "an automaton"):
        rows, classes = dense.trim(rows, classes)
        if not len(classes):
            return empty()
        if not minimal and len(classes) > 1:
            block = coarsest_partition(rows, classes)
            if block.max() + 1 < len(classes):
                rows, classes = dense.quotient(rows, classes, block)
        offsets, lo, hi, target = dense.spell_out(
            rows, symbols.starts, symbols.segment_class, MAX_RANGES
        )
    if not len(offsets):
        where = "an automaton over large character sets"
        raise LimitExceeded(limit="ranges", value=MAX_RANGES, where=where)
    budget.charge(12 * len(lo) + 8 * len(classes), "an automaton")
    return DFA(offsets, lo, hi, target, classes)


def from_edges(
    edges: Sequence[Sequence[tuple[int, int, int]]], final: Sequence[int], alphabet: Ranges
) -> DFA:
    """From the edges ``(lo, hi, target)`` of each state (deterministic), start state 0."""
    flat = [edge for state in edges for edge in state]
    offsets = np.zeros(len(edges) + 1, np.int32)
    np.cumsum([len(state) for state in edges], out=offsets[1:])
    columns = np.array(flat, np.int32).reshape(-1, 3)
    raw = DFA(offsets, columns[:, 0], columns[:, 1], columns[:, 2], np.asarray(final, np.int32))
    return minimize(raw, alphabet=alphabet)


def minimize(dfa: DFA, *, alphabet: Ranges | None = None) -> DFA:
    """The smallest automaton with the same final class for every text."""
    if alphabet is None:
        alphabet = ((0, int(dfa.hi.max(initial=0))),)
    symbols, (table,) = common_symbols([dfa], alphabet)
    return from_table(table, dfa.final, symbols)


def combine(
    dfas: Sequence[DFA],
    decide: Callable[[tuple[int, ...]], int],
    *,
    max_states: int = 200_000,
    alphabet: Ranges = UNICODE,
) -> DFA:
    """The automaton whose final class is ``decide`` of the operands' final classes.

    ``decide`` gets one class per operand, -1 where that operand rejects (or is dead), and returns
    the class of the result, -1 to reject. Symbols of ``alphabet`` outside an operand's ranges lead
    to its dead state, so complements are right.

    Raises:
        LimitExceeded: the product has more than ``max_states`` states.
    """
    symbols, tables = common_symbols(dfas, alphabet)
    table, final = explore(tables, [d.final for d in dfas], decide, max_states)
    return from_table(table, final, symbols)


def intersect(*dfas: DFA, max_states: int = 200_000, alphabet: Ranges = UNICODE) -> DFA:
    """Texts that every operand accepts, with final class 0."""
    return combine(
        dfas, lambda v: 0 if min(v) >= 0 else -1, max_states=max_states, alphabet=alphabet
    )


def union(*dfas: DFA, max_states: int = 200_000, alphabet: Ranges = UNICODE) -> DFA:
    """Texts that some operand accepts, with final class 0.

    Joined two at a time, smallest first: with every result minimal, what the operands have in
    common is counted once and not once for each.
    """
    if len(dfas) == 1:
        return combine(dfas, _either, max_states=max_states, alphabet=alphabet)
    heap = [(d.n_states, i, d) for i, d in enumerate(dfas)]
    heapify(heap)
    serial = len(heap)
    while len(heap) > 1:
        _, _, a = heappop(heap)
        _, _, b = heap[0]
        joined = combine([a, b], _either, max_states=max_states, alphabet=alphabet)
        heapreplace(heap, (joined.n_states, serial, joined))
        serial += 1
    return heap[0][2]


def _either(classes: tuple[int, ...]) -> int:
    return 0 if max(classes) >= 0 else -1


def complement(dfa: DFA, *, alphabet: Ranges = UNICODE) -> DFA:
    """Texts over ``alphabet`` that the operand rejects, with final class 0."""
    return combine([dfa], lambda v: 0 if v[0] < 0 else -1, alphabet=alphabet)


def literals(strings: Iterable[str]) -> DFA:
    """A trie; the final class is the index of the string, the first one where it is repeated."""
    children: list[dict[int, int]] = [{}]
    final = [-1]
    for index, text in enumerate(strings):
        if not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text):
            continue  # not a Unicode string: no text can contain a lone surrogate
        state = 0
        for symbol in map(ord, text):
            following = children[state].get(symbol)
            if following is None:
                following = children[state][symbol] = len(children)
                children.append({})
                final.append(-1)
            state = following
        if final[state] < 0:
            final[state] = index
    if max(final) < 0:
        return empty()
    # Final classes are distinct, so no two states of a trie are equivalent; every state lies on the
    # way to a string. The only work left is to number them breadth first.
    order = [0]
    for state in order:
        order.extend(t for _, t in sorted(children[state].items()))
    number = {state: i for i, state in enumerate(order)}
    symbols = [s for state in order for s in sorted(children[state])]
    targets = [number[children[state][s]] for state in order for s in sorted(children[state])]
    offsets = np.zeros(len(order) + 1, np.int32)
    np.cumsum([len(children[state]) for state in order], out=offsets[1:])
    lo = np.array(symbols, np.int32)
    classes = np.array(final, np.int32)[order]
    return DFA(offsets, lo, lo.copy(), np.array(targets, np.int32), classes)


def length(minimum: int, maximum: int | None) -> DFA:
    """Strings of ``minimum`` to ``maximum`` code points (no upper bound if None)."""
    if maximum is not None and maximum < minimum:
        return empty()
    return lengths([(max(minimum, 0), maximum)])


def lengths(spans: Sequence[tuple[int, int | None]]) -> DFA:
    """Strings whose length lies in one of the spans: sorted, not touching, None only at the end."""
    if not spans:
        return empty()
    low, high = spans[-1]
    last = low if high is None else high
    n = last + 1
    # State i has read i code points; without an upper bound the last one loops.
    moves = n if high is None else n - 1
    target = np.repeat(np.minimum(np.arange(1, moves + 1), last), 2).astype(np.int32)
    offsets = np.minimum(np.arange(n + 1) * 2, 2 * moves).astype(np.int32)
    lo, hi = (np.tile(np.array(end, np.int32), moves) for end in zip(*UNICODE, strict=True))
    final = np.full(n, -1, np.int32)
    for begin, end in spans:
        final[begin : last + 1 if end is None else end + 1] = 0
    budget.charge(32 * n, "lengths of strings")
    return DFA(offsets, lo, hi, target, final)


def any_string() -> DFA:
    """Every string."""
    return length(0, None)
