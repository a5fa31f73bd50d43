"""Lift an automaton over code points to one over the bytes of a JSON string's inside.

Every legal spelling of a code point is a path: its UTF-8 bytes (RFC 3629, no overlong forms, no
surrogates), its short escape, and ``\\uXXXX`` with digits in either case, beyond the basic plane as
a surrogate pair (RFC 8259, section 7). Raw control characters and lone surrogates have no path.
With *minimal* escapes a code point has one path: its UTF-8 bytes, or where JSON does not take them
its short escape, or else ``\\u00xx`` with lower-case digits.

Between the bytes of a spelling the automaton is in a *block*: a form of what is still to be read,
together with the code points that it may still become (``spellings.py``). Where all of a block
leads to one state of the source automaton, the block is *uniform* and its states are shared by all
blocks that lead there.

States are written straight into the automaton's tables, breadth first from the start. A call builds
a bounded number of them; those that it only allocated are built when a text first enters them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate

import numpy as np

from structgen import budget
from structgen.automaton.byte_classes import intern_map
from structgen.automaton.spellings import (
    C1,
    C2,
    C3,
    DONE,
    E0,
    ED,
    ESC,
    F0,
    F4,
    H1,
    H4,
    LAST_CODE_POINT,
    N_FORMS,
    PB,
    PC,
    PD,
    PU,
    X1,
    child,
    classify,
    digit_bytes,
    is_minimal,
    stretches,
    touches,
)  # fmt: skip
from structgen.automaton.step import (
    ARG,
    BASE,
    COUNT,
    DEAD,
    END,
    HI,
    LO,
    MAP,
    NO_LIMIT,
    TARGET,
    UNBUILT,
)  # fmt: skip
from structgen.automaton.tables import Automaton, Edge
from structgen.automaton.tries import trie
from structgen.jit import kernel
from structgen.regular.dfa import DFA

# A call builds so many states before it leaves the rest for later: of those that text without
# escapes leads to, and of the others.
MOST_PLAIN, MOST_ESCAPED = 256, 384

# What an item to be built is: its state, 1 where its block is mixed, the source state (that a
# uniform block leads to), its form and first code point. A source state itself has form -1.
I_STATE, I_MIXED, I_SOURCE, I_FORM, I_START = range(5)
# Counters of an expansion: rows used of each table; the item to look at next, the first new one,
# the phase, and how many items each phase may still build.
N_STATES, N_EDGES, N_MAPS, N_ITEMS, NEXT, NEW, PHASE, LEFT = range(8)
ASKED, PLAIN, ESCAPED = range(3)
# What an expansion answers.
FINISHED, NO_ROOM = 0, 1
# An item has at most so many children (a source state: all of ASCII, the lead bytes of UTF-8, the
# backslash), and one edge more than that for the quote and one for what is dead.
MOST_CHILDREN = 128 + 51 + 1
MOST_EDGES = MOST_CHILDREN + 2


@kernel
def _allocate(states, items, counts, mixed, s, form, start, limit):
    """A new state, with counters up to ``limit``, and the item that it is to be built from."""
    q, i = counts[N_STATES], counts[N_ITEMS]
    counts[N_STATES] += 1
    counts[N_ITEMS] += 1
    states[q, MAP], states[q, BASE], states[q, END] = UNBUILT, 0, -1
    states[q, LO], states[q, HI] = 0, limit
    items[i, I_STATE], items[i, I_MIXED], items[i, I_SOURCE] = q, mixed, s
    items[i, I_FORM], items[i, I_START] = form, start
    return q


@kernel
def _uniform_state(states, items, counts, uniform, limits, count, t, form):
    """The state of the uniform block of a form that leads to source state ``t``."""
    q = np.int64(uniform[t, form])
    if q < 0:
        limit = limits[t]
        if form == DONE:
            q = _allocate(states, items, counts, 1, t, -1, 0, limit)
        else:
            if limit != NO_LIMIT:
                limit -= count
            q = _allocate(states, items, counts, 0, t, form, 0, limit)
        uniform[t, form] = q
    return q


@kernel
def _class_of(edges, base, n_classes, to, count):
    """The byte class of the edge to ``to``, and how many classes there are with it."""
    c = 1
    while c < n_classes and edges[base + c, TARGET] != to:
        c += 1
    if c == n_classes:
        edges[base + c, TARGET], edges[base + c, ARG], edges[base + c, COUNT] = to, -1, count
        n_classes += 1
    return c, n_classes


@kernel
def _expand(
    offsets, lo, hi, target, limits, quote, count, usable, minimal, uniform,
    items, states, edges, maps, slots, counts, max_states,
):  # fmt: skip
    """Build item ``counts[NEXT]``, and breadth first what was allocated since ``counts[NEW]``.

    First without the items that are amid an escape, then with them.

    ``limits`` int32 [n]: highest counter with which each source state may be entered.
    ``quote`` int32 [n, 3]: the edge on the closing quote. ``count``: added per code point.
    ``uniform`` int32 [n, N_FORMS]: states of the uniform blocks, -1 where there is none yet;
    ``uniform[:, DONE]`` are the source's own states.
    """
    row = np.zeros(256, np.uint8)
    # Without a counter every mixed block may be entered; minimal ones may have lost all they held.
    uncounted = not minimal and limits.min() == NO_LIMIT
    while counts[PHASE] <= ESCAPED:
        phase, item = counts[PHASE], counts[NEXT]
        if counts[LEFT + phase] == 0 or item == counts[N_ITEMS]:
            counts[PHASE], counts[NEXT] = phase + 1, counts[NEW]
            continue
        q, mixed, s = items[item, I_STATE], items[item, I_MIXED], items[item, I_SOURCE]
        form, start = items[item, I_FORM], items[item, I_START]
        if states[q, MAP] != UNBUILT or (phase == PLAIN and form >= ESC):
            counts[NEXT] += 1
            continue
        if (
            counts[N_STATES] + MOST_CHILDREN > states.shape[0]
            or counts[N_STATES] > max_states
            or counts[N_EDGES] + MOST_EDGES > edges.shape[0]
            or counts[N_MAPS] >= maps.shape[0]
            or 2 * (counts[N_MAPS] + 1) > slots.shape[0]
            or counts[N_ITEMS] + MOST_CHILDREN > items.shape[0]
        ):
            return NO_ROOM
        row[:] = 0
        base = counts[N_EDGES]
        edges[base, TARGET], edges[base, ARG], edges[base, COUNT] = DEAD, -1, 0
        n_classes = 1
        # Children are read as (byte, last byte, form, start). Those of a source state begin with
        # the code points that a byte spells alone.
        if form == -1:
            end = offsets[s + 1]
            for k in range(offsets[s], end):
                t = target[k]
                if lo[k] >= 128:
                    break
                if limits[t] >= count:
                    c = 0
                    for b in range(max(lo[k], 32), min(hi[k], 127) + 1):
                        if b == 34 or b == 92 or not usable[b]:
                            continue
                        if c == 0:
                            to = _uniform_state(
                                states, items, counts, uniform, limits, count, t, DONE
                            )
                            c, n_classes = _class_of(edges, base, n_classes, to, count)
                        row[b] = c
            first_child = 0 if end > offsets[s] and hi[end - 1] >= 128 else 51
            n_children = 51 + 1
            # Where everything above ASCII leads to one state, no block need be looked up.
            kind, above = classify(offsets, lo, hi, target, s, 0x80, 0xD7FF)
            kind2, t2 = classify(offsets, lo, hi, target, s, 0xE000, LAST_CODE_POINT)
            if kind != 1 or kind2 != 1 or above != t2:
                above = -1
        else:
            first_child = 0
            if form == ESC:
                n_children = 9
            elif form in (PB, PU, PD):
                n_children = 1
            elif C1 <= form <= F4:
                n_children = 64
            else:
                n_children = 16
        last_target, last_form, c = np.int64(-1), 0, 0
        for i in range(first_child, n_children):
            b2 = -1
            if form == -1:
                if i < 51:
                    b = 0xC2 + i
                    if b < 0xE0:
                        f, st = C1, (b & 31) << 6
                    elif b < 0xF0:
                        f, st = C2, (b & 15) << 12
                        if b == 0xE0:
                            f = E0
                        elif b == 0xED:
                            f = ED
                    else:
                        f, st = C3, (b & 7) << 18
                        if b == 0xF0:
                            f = F0
                        elif b == 0xF4:
                            f = F4
                    if not usable[b]:
                        continue
                else:
                    b, f, st = 92, ESC, 0
            elif form == ESC:
                if i == 0:
                    b, f, st = 34, DONE, 34
                elif i == 1:
                    b, f, st = 92, DONE, 92
                elif i == 2:
                    b, f, st = 47, DONE, 47
                elif i == 3:
                    b, f, st = 98, DONE, 8
                elif i == 4:
                    b, f, st = 102, DONE, 12
                elif i == 5:
                    b, f, st = 110, DONE, 10
                elif i == 6:
                    b, f, st = 114, DONE, 13
                elif i == 7:
                    b, f, st = 116, DONE, 9
                else:
                    b, f, st = 117, H4, 0
                if not usable[b] or (minimal and b == 47):
                    continue
            elif form == PB:
                b, f, st = 92, PU, start
            elif form == PU:
                b, f, st = 117, PD, start
            elif form == PD:
                b, b2 = 68, 100
                f, st = PC, start
            else:
                f, st = child(form, i, start)
                if f < 0:
                    continue
                if form <= F4:
                    b = 0x80 + i
                    if not usable[b]:
                        continue
                else:
                    b, b2 = digit_bytes(i)
                    if minimal:
                        if st >= 32 or (form == H1 and not is_minimal(form, st)):
                            continue
                        if f == H1 and st == 16:
                            f = X1
                        b = b2
            # Where does this child lead?
            if not mixed:
                kind, t = 1, s
            elif form == -1 and f != ESC and above >= 0:
                kind, t = 1, above
            else:
                first, last, upper, highest = stretches(f, st)
                kind, t = classify(offsets, lo, hi, target, s, first, last)
                if upper <= highest:
                    kind2, t2 = classify(offsets, lo, hi, target, s, upper, highest)
                    if kind != kind2 or t != t2:
                        kind = 0
                if kind < 0:
                    continue
            if kind == 1 and t == last_target and f == last_form:
                pass  # the class of the child before
            elif kind == 1:
                if limits[t] < count:
                    continue  # one code point more is one too many
                last_target, last_form = t, f
                to = _uniform_state(states, items, counts, uniform, limits, count, t, f)
                c, n_classes = _class_of(edges, base, n_classes, to, count if f == DONE else 0)
            else:
                # A state amid a spelling may be entered where one of its continuations may.
                limit = NO_LIMIT if uncounted else -1
                for k in range(offsets[s], offsets[s] if uncounted else offsets[s + 1]):
                    if touches(f, st, lo[k], hi[k], minimal):
                        limit = max(limit, limits[target[k]])
                if limit < count:
                    continue
                if limit != NO_LIMIT:
                    limit -= count
                to = _allocate(states, items, counts, 1, s, f, st, limit)
                last_target = np.int64(-1)
                c, n_classes = _class_of(edges, base, n_classes, to, 0)
            row[b] = c
            if b2 >= 0:
                row[b2] = c
        if form == -1 and quote[s, TARGET] != DEAD:
            edges[base + n_classes, TARGET] = quote[s, TARGET]
            edges[base + n_classes, ARG] = quote[s, ARG]
            edges[base + n_classes, COUNT] = quote[s, COUNT]
            row[34] = n_classes
            n_classes += 1
        m = intern_map(row, maps, slots, counts[N_MAPS])
        if m == counts[N_MAPS]:
            counts[N_MAPS] += 1
        counts[N_EDGES] += n_classes
        counts[LEFT + phase] -= 1
        states[q, BASE], states[q, MAP] = base, m
    return FINISHED


ALL_BYTES = np.ones(256, np.uint8)
_NO_TAIL = np.full(N_FORMS, -1, np.int32)
UTF8_BYTES = np.array([*range(0x20, 0xC0), *range(0xC2, 0xF5)])  # of strings without escapes


@dataclass(slots=True)
class Lifted:
    """A lifted automaton; see :func:`lift` for its fields. Its states are made by :meth:`place`."""

    dfa: DFA
    quotes: np.ndarray
    limits: np.ndarray
    count: int
    usable: np.ndarray
    minimal: bool
    uniform: np.ndarray
    items: np.ndarray = field(default_factory=lambda: np.empty((2 * MOST_CHILDREN, 5), np.int32))
    n_items: int = 0

    def place(self, automaton: Automaton) -> int:
        """Add it to ``automaton``, once; returns the state of the source's start."""
        start = int(self.uniform[0, DONE])
        if start >= 0:
            return start  # the tail
        start = automaton.reserve_state(hi=int(self.limits[0]))
        self.uniform[0, DONE] = start
        self.items[0] = (start, 1, 0, -1, 0)
        self.n_items = 1
        self.expand(automaton, counters(automaton, 0, 1), 1)
        return start

    def expand(self, a: Automaton, counts: np.ndarray, new: int, answer: int = NO_ROOM) -> None:
        """Go on with an expansion; what was allocated since item ``new`` and is not built waits."""
        dfa = self.dfa
        try:
            while answer == NO_ROOM:
                a.make_room(states=MOST_CHILDREN, edges=MOST_EDGES, maps=1)
                if self.n_items + MOST_CHILDREN > len(self.items):
                    self.items = np.resize(self.items, (2 * len(self.items), 5))
                answer = _expand(
                    dfa.offsets, dfa.lo, dfa.hi, dfa.target, self.limits, self.quotes, self.count,
                    self.usable, self.minimal, self.uniform, self.items,
                    a.states, a.edges, a.maps, a.map_slots, counts, a.max_states,
                )  # fmt: skip
                a.n_states, a.n_edges, a.n_maps, self.n_items = counts[: N_ITEMS + 1].tolist()
        finally:
            added = self.items[new : self.n_items, I_STATE]
            unbuilt = added[a.states[added, MAP] == UNBUILT]
            if len(unbuilt):
                a.defer(unbuilt.tolist(), lambda q: self._build(a, q))

    def _build(self, a: Automaton, q: int) -> None:
        # States are allocated in order, so the items are sorted by them.
        item = int(np.searchsorted(self.items[: self.n_items, I_STATE], q))
        self.expand(a, counters(a, item, self.n_items), self.n_items)


def counters(a: Automaton, item: int, n_items: int) -> np.ndarray:
    """The counters of an expansion that begins with ``item`` of ``n_items``."""
    tables = (a.n_states, a.n_edges, a.n_maps)
    return np.array([*tables, n_items, item, n_items, ASKED, 1, MOST_PLAIN, MOST_ESCAPED], np.int64)


def lift(
    dfa: DFA,
    quote: list[Edge] | np.ndarray,
    *,
    limits: np.ndarray | None = None,
    count: int = 0,
    usable: np.ndarray = ALL_BYTES,
    minimal: bool = False,
    tail: tuple[int, np.ndarray] | None = None,
) -> Lifted:
    """The automaton of the JSON spellings of ``dfa``'s strings, from after the opening quote.

    Args:
        dfa: over Unicode scalar values; state 0 is the start.
        quote: for each of its states, the edge on the closing quote (or a dead edge).
        limits: int32 [n], the highest counter with which each state may be entered.
        count: added to the counter for each code point.
        usable: uint8 [256], bytes that the vocabulary can spell alone. Where a raw byte cannot be
            spelled, the escapes remain; with ``minimal`` that needs all of :data:`UTF8_BYTES`.
        minimal: one spelling for each code point, escaped only where it must be.
        tail: a state of ``dfa`` that accepts any string, and the states (int32 [N_FORMS]) of an
            automaton that reads one, to move to instead; see :func:`tail_states`.
    """
    n = dfa.n_states
    if limits is None:
        limits = np.full(n, NO_LIMIT, np.int32)
    quotes = np.asarray(quote, np.int32).reshape(n, 3)
    budget.charge(150 * len(dfa.lo), "the bytes of strings")  # what its states will take, about
    uniform = np.full((n, N_FORMS), -1, np.int32)
    if tail is not None:
        uniform[tail[0]] = tail[1]
    return Lifted(dfa, quotes, limits, count, usable, minimal, uniform)


@kernel
def _place_words(
    points, ends, highest, ending, others, tail, usable, minimal,
    states, edges, maps, slots, counts, max_states,
):  # fmt: skip
    """Lift the trie of some words, as far as one call builds; see :func:`place_words`."""
    offsets, lo, hi, target, word, limits = trie(points, ends, highest, others)
    n = word.shape[0]
    quotes = np.empty((n, 3), np.int32)
    for s in range(n):
        quotes[s] = ending[word[s]]
    uniform = np.full((n, N_FORMS), -1, np.int32)
    if others:
        limits[:] = NO_LIMIT
        uniform[n - 1] = tail
    items = np.empty((4 * MOST_CHILDREN, 5), np.int32)
    uniform[0, DONE] = _allocate(states, items, counts, 1, 0, -1, 0, limits[0])
    counts[NEW] = 1
    answer = _expand(
        offsets, lo, hi, target, limits, quotes, 0, usable, minimal, uniform,
        items, states, edges, maps, slots, counts, max_states,
    )  # fmt: skip
    return answer, offsets, lo, hi, target, limits, quotes, uniform, items


def place_words(
    a: Automaton,
    words: Sequence[str],
    quotes: Sequence[Edge],
    limits: Sequence[int],
    *,
    usable: np.ndarray,
    minimal: bool,
    tail: np.ndarray | None,
) -> int:
    """Add the JSON spellings of distinct words, sorted by code point; returns the start state.

    Args:
        a: the automaton to add them to.
        words: without surrogates.
        quotes: for each word the edge on the closing quote, then that of every other string.
        limits: the highest counter with which each word may be begun.
        usable, minimal: as for :func:`lift`.
        tail: the states of any string, where others than the words are allowed, which is what a
            string that differs from all of them moves to; see :func:`tail_states`.
    """
    text = bytearray("".join(words).encode("utf-32-le"))
    budget.charge(600 * (len(text) // 4), "the bytes of strings")  # what its states will take
    a.make_room(states=2 * MOST_CHILDREN, edges=4 * MOST_CHILDREN, maps=16)
    counts, start = counters(a, 0, 0), a.n_states
    answer, offsets, lo, hi, target, bounds, edges, uniform, items = _place_words(
        np.frombuffer(text, np.int32), np.array([*accumulate(map(len, words))], np.int64),
        np.array(limits, np.int64), np.array(quotes, np.int32), tail is not None,
        _NO_TAIL if tail is None else tail, usable, minimal,
        a.states, a.edges, a.maps, a.map_slots, counts, a.max_states,
    )  # fmt: skip
    used = counts.tolist()
    a.n_states, a.n_edges, a.n_maps = used[:N_ITEMS]
    if answer == NO_ROOM or used[N_ITEMS] + sum(used[LEFT:]) > 1 + MOST_PLAIN + MOST_ESCAPED:
        source = DFA(offsets, lo, hi, target, np.zeros(len(bounds), np.int32))
        rest = Lifted(source, edges, bounds, 0, usable, minimal, uniform, items, used[N_ITEMS])
        rest.expand(a, counts, 0, answer)
    return start


def tail_states(lifted: Lifted, first: int) -> np.ndarray:
    """The states, by form, of a lifted automaton of any string that was placed at ``first``.

    It is one state of the source, so all of its blocks are uniform, and built at once.
    """
    states = lifted.uniform[0]
    assert states[DONE] == first
    return states
