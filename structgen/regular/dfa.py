"""Deterministic automata over integers: Unicode scalar values or bytes.

A state holds sorted ranges of symbols, each with the next state; a symbol in no range is rejected.
Everything that builds an automaton goes through :func:`from_table`, which trims and minimises, so
equal languages over one alphabet give automata of equal size, numbered breadth first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from math import prod

import numpy as np
import numpy.typing as npt

from structgen.errors import LimitExceeded
from structgen.regular.charset import BYTES, UNICODE, Partition, Ranges
from structgen.regular.partition import coarsest_partition
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


def _distinct_edges(dense: Int32) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Pairs of a state and a successor, each once."""
    n = np.int64(len(dense))
    tail, symbol = np.nonzero(dense >= 0)
    return np.divmod(np.unique(tail * n + dense[tail, symbol]), n)


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
    classes = np.asarray(final, np.int32)
    dense = np.asarray(table, np.int32).reshape(len(classes), symbols.n_classes)
    n = len(classes)
    tail, head = _distinct_edges(dense)
    productive = np.zeros(n, bool)
    productive[_reach(n, head, tail, np.flatnonzero(classes >= 0).tolist())] = True
    if not productive[0]:
        return empty()
    keep = productive[tail] & productive[head]
    order = _reach(n, tail[keep], head[keep], [0])
    # Renumber by the order, so that what is left is the trimmed automaton.
    number = np.full(n + 1, -1, np.int32)
    number[order] = np.arange(len(order))
    dense = number[dense[order]]  # index -1 reads the last entry, which stays -1
    classes = classes[order]
    if not minimal and len(order) > 1:
        block = coarsest_partition(dense, classes.tolist())
        if max(block) + 1 < len(order):
            # Blocks in order of their first state keep the numbering breadth first.
            first = list(dict.fromkeys(block))
            of_block = np.empty(len(first), np.int32)
            of_block[first] = np.arange(len(first))
            representative = np.empty(len(first), np.int64)
            renamed = of_block[block]
            representative[renamed[::-1]] = np.arange(len(order))[::-1]
            rename = np.append(renamed, np.int32(-1))
            dense, classes = rename[dense[representative]], classes[representative]
    return _spell_out(dense, classes, symbols)


def _spell_out(dense: Int32, classes: Int32, symbols: Partition) -> DFA:
    """Symbol classes back to ranges, state by state in blocks of bounded memory."""
    n = len(classes)
    starts = symbols.starts
    ends = np.append(starts[1:] - 1, starts[-1])
    columns = np.where(symbols.segment_class < 0, symbols.n_classes, symbols.segment_class)
    dense = np.concatenate([dense, np.full((n, 1), -1, np.int32)], axis=1)
    height = max(1, (1 << 22) // len(starts))
    parts: list[tuple[Int32, Int32, Int32, Int32]] = []
    size = 0
    for begin in range(0, n, height):
        rows = dense[begin : begin + height][:, columns]
        first = np.ones(rows.shape, bool)
        first[:, 1:] = rows[:, 1:] != rows[:, :-1]
        last = np.ones(rows.shape, bool)
        last[:, :-1] = first[:, 1:]
        alive = rows >= 0
        state, segment = np.nonzero(first & alive)
        parts.append(
            (
                np.bincount(state, minlength=len(rows)).astype(np.int32),
                starts[segment].astype(np.int32),
                ends[np.nonzero(last & alive)[1]].astype(np.int32),
                rows[state, segment],
            )
        )
        size += len(state)
        if size > MAX_RANGES:
            where = "an automaton over large character sets"
            raise LimitExceeded(limit="ranges", value=MAX_RANGES, where=where)
    counts, lo, hi, target = (np.concatenate(column) for column in zip(*parts, strict=True))
    offsets = np.zeros(n + 1, np.int32)
    np.cumsum(counts, out=offsets[1:])
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
    # A product state is the mixed-radix number of its parts; rows are multiplied beforehand, so
    # that a product row is their sum. The dead state of an operand is its last row.
    rows: list[list[list[int]]] = []
    radix: list[int] = []
    scale = 1
    for d, table in zip(dfas, tables, strict=True):
        n = d.n_states
        full = np.concatenate([table, np.full((1, symbols.n_classes), -1, np.int32)])
        full[full < 0] = n
        rows.append([[t * scale for t in row] for row in full.tolist()])
        radix.append(n + 1)
        scale *= n + 1
    finals = [[*d.final.tolist(), -1] for d in dfas]
    hopeless = _hopeless(finals, decide)
    decided: dict[tuple[int, ...], int] = {}
    number = {0: 0}
    queue = [0]
    out: list[list[int]] = []
    classes: list[int] = []
    stuck = [-1] * symbols.n_classes
    for key in queue:
        parts: list[int] = []
        rest = key
        for r in radix:
            rest, part = divmod(rest, r)
            parts.append(part)
        vector = tuple(f[p] for f, p in zip(finals, parts, strict=True))
        verdict = decided.get(vector)
        if verdict is None:
            verdict = decided[vector] = decide(vector)
        classes.append(verdict)
        if hopeless(tuple(p + 1 == r for p, r in zip(parts, radix, strict=True))):
            out.append(stuck)
            continue
        operand_rows = [r[p] for r, p in zip(rows, parts, strict=True)]
        successors = (
            operand_rows[0] if len(dfas) == 1 else map(sum, zip(*operand_rows, strict=True))
        )
        line: list[int] = []
        for successor in successors:
            known = number.get(successor)
            if known is None:
                known = number[successor] = len(queue)
                if known >= max_states:
                    raise LimitExceeded(limit="pattern_states", value=max_states, where="a product")
                queue.append(successor)
            line.append(known)
        out.append(line)
    return from_table(out, classes, symbols)


def _hopeless(
    finals: Sequence[Sequence[int]], decide: Callable[[tuple[int, ...]], int]
) -> Callable[[tuple[bool, ...]], bool]:
    """Whether no text is accepted any more, given which operands are dead.

    Conjunctions are over once one operand is: that keeps their products small. Asked of ``decide``
    only where the combinations of final classes are few.
    """
    classes = [sorted({-1, *final}) for final in finals]

    @cache
    def hopeless(dead: tuple[bool, ...]) -> bool:
        possible = [(-1,) if d else c for d, c in zip(dead, classes, strict=True)]
        if prod(map(len, possible)) > 256:
            return False
        return all(decide(vector) < 0 for vector in product(*possible))

    return hopeless


def intersect(*dfas: DFA, max_states: int = 200_000, alphabet: Ranges = UNICODE) -> DFA:
    """Texts that every operand accepts, with final class 0."""
    return combine(
        dfas, lambda v: 0 if min(v) >= 0 else -1, max_states=max_states, alphabet=alphabet
    )


def union(*dfas: DFA, max_states: int = 200_000, alphabet: Ranges = UNICODE) -> DFA:
    """Texts that some operand accepts, with final class 0."""
    return combine(
        dfas, lambda v: 0 if max(v) >= 0 else -1, max_states=max_states, alphabet=alphabet
    )


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
    if minimum < 0:
        minimum = 0
    if maximum is not None and maximum < minimum:
        return empty()
    last = minimum if maximum is None else maximum
    n = last + 1
    # State i has read i code points; without an upper bound the last one loops.
    moves = n if maximum is None else n - 1
    target = np.repeat(np.minimum(np.arange(1, moves + 1), last), 2).astype(np.int32)
    offsets = np.minimum(np.arange(n + 1) * 2, 2 * moves).astype(np.int32)
    lo, hi = (np.tile(np.array(end, np.int32), moves) for end in zip(*UNICODE, strict=True))
    final = np.where(np.arange(n) >= minimum, 0, -1).astype(np.int32)
    return DFA(offsets, lo, hi, target, final)


def any_string() -> DFA:
    """Every string."""
    return length(0, None)
