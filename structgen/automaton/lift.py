"""Lift an automaton over code points to one over the bytes of a JSON string's inside.

Every legal spelling of a code point is a path: its UTF-8 bytes (RFC 3629, no overlong forms, no
surrogates), its short escape, and ``\\uXXXX`` with digits in either case, beyond the basic plane as
a surrogate pair (RFC 8259, section 7). Raw control characters and lone surrogates have no path.
With *minimal* escapes a code point has one path: its UTF-8 bytes, or where JSON does not take them
its short escape, or else ``\\u00xx`` with lower-case digits.

A *form* names what is still to be read of a spelling, a *block* is a form together with the code
points that it may still become. Where all of a block leads to one state of the source automaton,
the block is *uniform* and its states are shared by all blocks that lead there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from structgen import budget
from structgen.automaton.step import ARG, BASE, COUNT, DEAD, HI, LO, MAP, NO_LIMIT, TARGET
from structgen.automaton.tables import Automaton, Edge
from structgen.jit import kernel
from structgen.regular.dfa import DFA

# Forms. C1..C3: continuation bytes to come; E0, ED, F0, F4: after lead bytes whose next byte is
# restricted; ESC: after a backslash; H4..H1: hex digits to come; HD: after a first digit D;
# S2, S1: digits of a high surrogate to come; PB, PU, PD, PC: the backslash, u, D, C-F of its
# partner; P2, P1: the partner's last digits; X1: with minimal escapes the last digit after a 1 (H1
# after a 0).
N_FORMS = 23
(
    DONE, C1, C2, C3, E0, ED, F0, F4, ESC, H4, H3, H2, H1, HD, S2, S1, PB, PU, PD, PC, P2, P1, X1,
) = range(N_FORMS)  # fmt: skip
LAST_CODE_POINT = 0x10FFFF
IS_OUTER = 3  # extra edge column: the target is a state of the automaton, not of this lift


@kernel
def _classify(offsets, lo, hi, target, s, a, b):
    """What state ``s`` does on all of [a, b]: (-1: dead | 0: mixed | 1: one, target)."""
    first, last = offsets[s], offsets[s + 1]
    left, right = first, last
    while left < right:  # first range with hi >= a
        mid = (left + right) // 2
        if hi[mid] < a:
            left = mid + 1
        else:
            right = mid
    if left >= last or lo[left] > b:
        return -1, -1
    if lo[left] <= a and hi[left] >= b:
        return 1, target[left]
    return 0, -1


@kernel
def _classify_form(offsets, lo, hi, target, s, form, start):
    """:func:`_classify` over the code points that a form from ``start`` can still become."""
    if form == DONE:
        return _classify(offsets, lo, hi, target, s, start, start)
    if form == C1:
        return _classify(offsets, lo, hi, target, s, start, start + 63)
    if form == C2:
        return _classify(offsets, lo, hi, target, s, start, start + 4095)
    if form == C3:
        return _classify(offsets, lo, hi, target, s, start, start + 0x3FFFF)
    if form == E0:
        return _classify(offsets, lo, hi, target, s, 0x800, 0xFFF)
    if form == ED:
        return _classify(offsets, lo, hi, target, s, 0xD000, 0xD7FF)
    if form == F0:
        return _classify(offsets, lo, hi, target, s, 0x10000, 0x3FFFF)
    if form == F4:
        return _classify(offsets, lo, hi, target, s, 0x100000, LAST_CODE_POINT)
    if form == H3:
        return _classify(offsets, lo, hi, target, s, start, start + 4095)
    if form in (H2, P2):
        return _classify(offsets, lo, hi, target, s, start, start + 255)
    if form in (H1, P1, X1):
        return _classify(offsets, lo, hi, target, s, start, start + 15)
    if form == S2:
        return _classify(offsets, lo, hi, target, s, start, start + 0x3FFFF)
    if form == S1:
        return _classify(offsets, lo, hi, target, s, start, start + 0x3FFF)
    if form in (PB, PU, PD, PC):
        return _classify(offsets, lo, hi, target, s, start, start + 1023)
    # ESC, H4 and HD reach two stretches, below and above the surrogates.
    low = 0xD000 if form == HD else 0
    kind, t = _classify(offsets, lo, hi, target, s, low, 0xD7FF)
    upper = 0x10000 if form == HD else 0xE000
    kind2, t2 = _classify(offsets, lo, hi, target, s, upper, LAST_CODE_POINT)
    if kind == kind2 and kind != 0 and t == t2:
        return kind, t
    return 0, -1


@kernel
def _is_minimal(form, p):
    """Must code point ``p`` be escaped, and is its one spelling of this form?"""
    if form == ESC and (p == 34 or p == 92):
        return True
    if form in (ESC, X1):
        return p < 32
    return p < 32 and (p < 8 or p == 11 or p > 13)


@kernel
def _digit_bytes(d):
    """The two bytes that spell hex digit ``d`` (equal below 10)."""
    if d < 10:
        return 48 + d, 48 + d
    return 55 + d, 87 + d


@kernel
def _child(form, i, start):
    """Child ``i`` of a block of 64 (continuation) or 16 (hex) children: (form, start), -1: none."""
    if form == C1:
        return DONE, start + i
    if form in (C2, E0, ED):
        if (form == E0 and i < 32) or (form == ED and i >= 32):
            return -1, 0
        return C1, start + 64 * i
    if form in (C3, F0, F4):
        if (form == F0 and i < 16) or (form == F4 and i >= 16):
            return -1, 0
        return C2, start + 4096 * i
    if form == H4:
        if i == 13:
            return HD, 0xD000
        return H3, i << 12
    if form == H3:
        return H2, start + 256 * i
    if form == H2:
        return H1, start + 16 * i
    if form in (H1, P1, X1):
        return DONE, start + i
    if form == HD:
        if i < 8:
            return H2, 0xD000 + 256 * i
        if i < 12:
            return S2, 0x10000 + (i - 8) * 0x40000
        return -1, 0
    if form == S2:
        return S1, start + 0x4000 * i
    if form == S1:
        return PB, start + 0x400 * i
    if form == PC:
        if i >= 12:
            return P2, start + 256 * (i - 12)
        return -1, 0
    if form == P2:
        return P1, start + 16 * i
    return -1, 0


@kernel
def _lift(
    offsets, lo, hi, target, limits, quote, count, usable, minimal, tail, uniform,
    states, edges, maps, slots, work,
):  # fmt: skip
    """Fill ``states``, ``edges``, ``maps``; returns their lengths, or -1s where one is too small.

    ``tail`` is a source state whose blocks exist already: ``uniform[tail]`` holds their states,
    as ``-2 - state`` because they are not of this lift; -1: none.

    ``limits`` int32 [n]: highest counter with which each source state may be entered.
    ``quote`` int32 [n, 3]: the edge on the closing quote. ``count``: added per code point.
    ``slots``: scratch hash table for the class maps. ``work``: scratch [*, 5].
    """
    n = offsets.shape[0] - 1
    n_states, n_edges, n_maps, n_work = n, 0, 0, 0
    slots[:] = -1
    row = np.zeros(256, np.uint8)
    words = row.view(np.uint64)
    map_words = maps.view(np.uint64)
    # The byte ranges of the state at hand: first byte, last byte, target.
    spans = np.empty((300, 3), np.int32)
    failed = (-1, -1, -1)
    # Without a counter every mixed block may be entered; minimal ones may have lost all they held.
    uncounted = not minimal and limits.min() == NO_LIMIT
    for s in range(n):
        if s == tail:
            states[s, :] = 0
            states[s, HI] = NO_LIMIT
            continue
        if n_work >= work.shape[0]:
            return failed
        work[n_work, 0], work[n_work, 1], work[n_work, 2], work[n_work, 3] = s, 1, s, -1
        n_work += 1
    while n_work > 0:
        n_work -= 1
        q, mixed, s, form, start = work[n_work]
        n_spans = 0
        # Children are read as (byte, last byte, form, start); those of a source state come first.
        if form == -1:
            n_children = 128 + 51 + 1
        elif form == ESC:
            n_children = 9
        elif form in (PB, PU, PD):
            n_children = 1
        elif C1 <= form <= F4:
            n_children = 64
        else:
            n_children = 16
        ascii_only = form == -1 and (offsets[s] == offsets[s + 1] or hi[offsets[s + 1] - 1] < 128)
        for i in range(n_children):
            b2 = -1
            if form == -1:
                if i < 128:
                    if i < 32 or i == 34 or i == 92:
                        continue
                    b, f, st = i, DONE, i
                elif i < 128 + 51:
                    if ascii_only:
                        continue
                    b = 0xC2 + i - 128
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
                else:
                    b, f, st = 92, ESC, 0
                if b != 92 and not usable[b]:
                    continue
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
                f, st = _child(form, i, start)
                if f < 0:
                    continue
                if form <= F4:
                    b = 0x80 + i
                    if not usable[b]:
                        continue
                else:
                    b, b2 = _digit_bytes(i)
                    if minimal:
                        if st >= 32 or (form == H1 and not _is_minimal(form, st)):
                            continue
                        if f == H1 and st == 16:
                            f = X1
                        b = b2
            # Where does this child lead?
            if mixed:
                kind, t = _classify_form(offsets, lo, hi, target, s, f, st)
                if kind < 0:
                    continue
            else:
                kind, t = 1, s
            if kind == 1 and limits[t] < count:
                continue  # one code point more is one too many
            if kind == 1:
                if f == DONE and t != tail:
                    to = t
                else:
                    to = uniform[t, f]
                    if to == -1:
                        if n_states >= states.shape[0] or n_work >= work.shape[0]:
                            return failed
                        to = n_states
                        n_states += 1
                        uniform[t, f] = to
                        limit = limits[t]
                        if limit != NO_LIMIT:
                            limit -= count
                        states[to, LO], states[to, HI] = 0, limit
                        work[n_work, 0], work[n_work, 1] = to, 0
                        work[n_work, 2], work[n_work, 3], work[n_work, 4] = t, f, 0
                        n_work += 1
            else:
                if n_states >= states.shape[0] or n_work >= work.shape[0]:
                    return failed
                # A state amid a spelling may be entered where one of its continuations may.
                limit = NO_LIMIT if uncounted else -1
                for k in range(offsets[s], offsets[s] if uncounted else offsets[s + 1]):
                    if _touches(f, st, lo[k], hi[k], minimal):
                        limit = max(limit, limits[target[k]])
                if limit < count:
                    continue
                if limit != NO_LIMIT:
                    limit -= count
                to = n_states
                n_states += 1
                states[to, LO], states[to, HI] = 0, limit
                work[n_work, 0], work[n_work, 1] = to, 1
                work[n_work, 2], work[n_work, 3], work[n_work, 4] = s, f, st
                n_work += 1
            if n_spans > 0 and spans[n_spans - 1, 1] == b - 1 and spans[n_spans - 1, 2] == to:
                spans[n_spans - 1, 1] = b
            else:
                spans[n_spans, 0], spans[n_spans, 1], spans[n_spans, 2] = b, b, to
                n_spans += 1
            if b2 >= 0 and b2 != b:
                spans[n_spans, 0], spans[n_spans, 1], spans[n_spans, 2] = b2, b2, to
                n_spans += 1
        # Emit the state: a class for each distinct target, class 0 dead.
        if n_edges + n_spans + 2 > edges.shape[0] or n_maps + 1 > maps.shape[0]:
            return failed
        row[:] = 0
        base = n_edges
        edges[base, TARGET], edges[base, ARG] = DEAD, -1
        edges[base, COUNT], edges[base, IS_OUTER] = 0, 1
        n_classes = 1
        for k in range(n_spans):
            to = spans[k, 2]
            c = 1
            while c < n_classes and edges[base + c, TARGET] != to:
                c += 1
            if c == n_classes:
                edges[base + c, TARGET], edges[base + c, ARG] = to, -1
                edges[base + c, COUNT] = count if 0 <= to < n else 0
                edges[base + c, IS_OUTER] = 0
                n_classes += 1
            for b in range(spans[k, 0], spans[k, 1] + 1):
                row[b] = c
        for c in range(1, n_classes):
            if edges[base + c, TARGET] < -1:
                edges[base + c, TARGET] = -2 - edges[base + c, TARGET]
                edges[base + c, IS_OUTER] = 1
        if form == -1:
            states[q, LO], states[q, HI] = 0, limits[q]
            if quote[q, 0] != DEAD:
                edges[base + n_classes, TARGET] = quote[q, 0]
                edges[base + n_classes, ARG] = quote[q, 1]
                edges[base + n_classes, COUNT] = quote[q, 2]
                edges[base + n_classes, IS_OUTER] = 1
                row[34] = n_classes
                n_classes += 1
        n_edges += n_classes
        # Equal class maps are stored once.
        h = np.uint64(14695981039346656037)
        for k in range(32):
            h = (h ^ words[k]) * np.uint64(1099511628211)
            h ^= h >> np.uint64(29)
        slot = np.int64(h & np.uint64(slots.shape[0] - 1))
        m = -1
        while slots[slot] >= 0:
            m = slots[slot]
            for k in range(32):
                if map_words[m, k] != words[k]:
                    m = -1
                    break
            if m >= 0:
                break
            slot = (slot + 1) & (slots.shape[0] - 1)
        if m < 0:
            m = n_maps
            n_maps += 1
            slots[slot] = m
            for k in range(32):
                map_words[m, k] = words[k]
        states[q, MAP], states[q, BASE] = m, base
        states[q, 4] = -1
    return n_states, n_edges, n_maps


@kernel
def _touches(form, start, a, b, minimal):
    """Can a form from ``start`` still become a code point of [a, b]?"""
    if minimal and form >= ESC:
        last = start + 15 if form in (H1, X1) else 92
        found = False
        for p in range(max(a, start), min(b, last) + 1):
            found |= _is_minimal(form, p)
        return found
    if form in (ESC, H4):
        return True
    if form == HD:
        return (a <= 0xD7FF and b >= 0xD000) or b >= 0x10000
    if form == E0:
        return a <= 0xFFF and b >= 0x800
    if form == ED:
        return a <= 0xD7FF and b >= 0xD000
    if form == F0:
        return a <= 0x3FFFF and b >= 0x10000
    if form == F4:
        return b >= 0x100000
    size = 1
    if form == C1:
        size = 64
    elif form in (C2, H3):
        size = 4096
    elif form in (C3, S2):
        size = 0x40000
    elif form == S1:
        size = 0x4000
    elif form in (PB, PU, PD, PC):
        size = 1024
    elif form in (H2, P2):
        size = 256
    elif form in (H1, P1):
        size = 16
    return a <= start + size - 1 and b >= start


@dataclass(frozen=True, slots=True)
class Lifted:
    """A lifted automaton, not yet placed: local states, edges [E, 4], class maps."""

    states: np.ndarray
    edges: np.ndarray
    maps: np.ndarray
    uniform: np.ndarray
    tail: tuple[int, np.ndarray] | None = None

    def place(self, automaton: Automaton) -> int:
        """Append to ``automaton``; returns the number of the source's start state there."""
        first = automaton.append(self.states, self.edges, self.maps)
        if self.tail is not None:
            # Nothing enters the source's own copy of the tail, except as a start state.
            automaton.alias(first + self.tail[0], int(self.tail[1][DONE]))
        return first


ALL_BYTES = np.ones(256, np.uint8)
UTF8_BYTES = np.array([*range(0x20, 0xC0), *range(0xC2, 0xF5)])  # of strings without escapes


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
    n = len(dfa.final)
    if limits is None:
        limits = np.full(n, NO_LIMIT, np.int32)
    quotes = np.asarray(quote, np.int32).reshape(n, 3)
    room = 8 * n + 8 * len(dfa.lo) + 64
    budget.charge(150 * len(dfa.lo), "the bytes of strings")  # what is used of the room, about
    while True:
        budget.check("the bytes of strings")
        states = np.empty((room, 5), np.int32)
        edges = np.empty((6 * room, 4), np.int32)
        maps = np.empty((room // 2 + 64, 256), np.uint8)
        slots = np.empty(1 << (2 * len(maps) - 1).bit_length(), np.int32)
        work = np.empty((room, 5), np.int32)
        uniform = np.full((n, N_FORMS), -1, np.int32)
        if tail is not None:
            uniform[tail[0]] = -2 - tail[1]
        a, b, c = _lift(
            dfa.offsets, dfa.lo, dfa.hi, dfa.target, limits, quotes, count, usable, minimal,
            -1 if tail is None else tail[0], uniform, states, edges, maps, slots, work,
        )  # fmt: skip
        if a >= 0:
            return Lifted(states[:a], edges[:b], maps[:c], uniform, tail)
        room *= 2


def tail_states(lifted: Lifted, first: int) -> np.ndarray:
    """The states, by form, of a lifted automaton of any string that was placed at ``first``."""
    states = lifted.uniform[0] + first
    states[DONE] = first
    return states
