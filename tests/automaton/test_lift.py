"""Lifting to the bytes of JSON strings, against brute force over all spellings."""

from __future__ import annotations

import json
from itertools import product

import numpy as np
import pytest

from structgen.automaton import Automaton
from structgen.automaton.lift import lift
from structgen.automaton.step import HI, NO_LIMIT, S_EXIT, S_OK, step
from structgen.automaton.tables import NO_EDGE, move
from structgen.regular.dfa import DFA, any_string, literals
from structgen.regular.ecma import compile_pattern
from structgen.schema.scalars import accepted_lengths

# Code points at every boundary of UTF-8's lengths, of the surrogates and of the escapes.
NASTY = [
    0x00, 0x09, 0x1F, 0x20, 0x22, 0x2F, 0x41, 0x5C, 0x61, 0x7F, 0x80, 0x7FF, 0x800, 0xFFF, 0x1000,
    0xCFFF, 0xD000, 0xD7FF, 0xE000, 0xFFFF, 0x10000, 0x103FF, 0x10400, 0x3FFFF, 0x40000, 0xFFFFF,
    0x100000, 0x10FFFF,
]  # fmt: skip
FEW = [0x00, 0x22, 0x61, 0xE9, 0x800, 0xD7FF, 0x1F600]
SHORT = {
    0x22: '\\"',
    0x5C: "\\\\",
    0x2F: "\\/",
    8: "\\b",
    12: "\\f",
    10: "\\n",
    13: "\\r",
    9: "\\t",
}


def spellings(point: int) -> list[bytes]:
    """All ways in which RFC 8259 lets a string contain a code point (hex in two of the cases)."""
    found = []
    if point >= 0x20 and point not in (0x22, 0x5C):
        found.append(chr(point).encode())
    if point in SHORT:
        found.append(SHORT[point].encode())
    if point < 0x10000:
        units = [point]
    else:
        units = [0xD800 + ((point - 0x10000) >> 10), 0xDC00 + ((point - 0x10000) & 0x3FF)]
    for form in ("\\u%04x", "\\u%04X"):
        spelled = "".join(form % unit for unit in units).encode()
        if spelled not in found:
            found.append(spelled)
    for spelled in found:
        assert json.loads(b'"' + spelled + b'"') == chr(point)
    return found


class Lifted:
    """A lifted automaton to run by the step function alone."""

    def __init__(
        self, dfa: DFA, low: int = 0, high: int | None = None, *, minimal: bool = False
    ) -> None:
        self.automaton = Automaton()
        end = self.automaton.reserve_state(lo=low)
        self.automaton.set_final(end, 0)
        quotes = [move(end) if c >= 0 else NO_EDGE for c in dfa.final.tolist()]
        limits = None
        if high is not None:
            shortest = accepted_lengths(dfa, 0, high)[0]
            limits = np.maximum(high - shortest, -1).astype(np.int32)
        counted = int(low > 0 or high is not None)
        lifted = lift(dfa, quotes, limits=limits, count=counted, minimal=minimal)
        self.first = lifted.place(self.automaton)
        self.automaton.build_all()
        self.pool = np.zeros((4, 4), np.int32)
        self.track = np.zeros(2, np.int64)
        self.automaton.verify()

    def accepts(self, inside: bytes) -> bool:
        a = self.automaton
        q, v, relative, sp, top = self.first, 0, -1, -1, 0
        for byte in inside + b'"':
            status, q, v, relative, sp, top = step(
                a.states, a.maps, a.edges, a.returns, a.gotos, a.pushes, self.pool, self.track,
                q, v, relative, sp, top, byte,
            )  # fmt: skip
            if status != S_OK:
                return False
        status = step(
            a.states, a.maps, a.edges, a.returns, a.gotos, a.pushes, self.pool, self.track,
            q, v, relative, sp, top, 0,
        )[0]  # fmt: skip
        return status == S_EXIT


def test_any_string_takes_all_spellings() -> None:
    lifted = Lifted(any_string())
    for point in NASTY:
        assert all(lifted.accepts(s) for s in spellings(point)), hex(point)
    for points in product(FEW, repeat=2):
        for parts in product(*(spellings(p) for p in points)):
            assert lifted.accepts(b"".join(parts))


def test_bytes_that_spell_nothing() -> None:
    """All texts of two bytes, and all damaged spellings, against Python's own decoders."""
    lifted = Lifted(any_string())

    def is_json(inside: bytes) -> bool:
        try:
            text = json.loads((b'"' + inside + b'"').decode("utf-8"))
        except ValueError:
            return False
        return isinstance(text, str) and not any(0xD800 <= ord(c) <= 0xDFFF for c in text)

    for pair in product(range(256), repeat=2):
        if 0x22 not in pair:
            assert lifted.accepts(bytes(pair)) == is_json(bytes(pair)), bytes(pair)
    for point in NASTY:
        for spelled in spellings(point):
            for at in range(len(spelled)):
                for byte in (0x00, 0x30, 0x38, 0x44, 0x64, 0x5C, 0x75, 0x80, 0x8F, 0x90, 0x9F,
                             0xA0, 0xBF, 0xC0, 0xED, 0xF4):  # fmt: skip
                    damaged = spelled[:at] + bytes([byte]) + spelled[at + 1 :]
                    assert lifted.accepts(damaged) == is_json(damaged), damaged
                short = spelled[:at] + spelled[at + 1 :]
                if 0x22 not in short:
                    assert lifted.accepts(short) == is_json(short), short


PATTERNS = ["^a", "é$", "^[^a]*$", "^(a|\U0001f600){2}$", "[\\ud7ff\\u0800]", "^.$",
            "\\u{1F600}a", "^[\\u0000-\\u0800]{1,3}$"]  # fmt: skip


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns(pattern: str) -> None:
    """Texts of up to three code points: a spelling is accepted where the text is."""
    dfa = compile_pattern(pattern)
    lifted = Lifted(dfa)
    for n in range(4):
        for points in product(FEW, repeat=n):
            expected = dfa.accepts("".join(map(chr, points))) >= 0
            ways = [spellings(p) for p in points]
            for k in range(4):  # not all of the product: each spelling of each code point
                inside = b"".join(w[k % len(w)] for w in ways)
                assert lifted.accepts(inside) == expected, (points, inside)


def test_literals() -> None:
    texts = ["", "a", "a\0", "é", "éa", "\U0001f600", "\ud7ff"]
    lifted = Lifted(literals(texts))
    for n in range(3):
        for points in product(FEW, repeat=n):
            text = "".join(map(chr, points))
            for parts in product(*(spellings(p) for p in points)):
                assert lifted.accepts(b"".join(parts)) == (text in texts)


@pytest.mark.parametrize(("low", "high"), [(0, 2), (1, 1), (2, NO_LIMIT), (0, 0), (2, 3)])
def test_lengths_count_code_points(low: int, high: int) -> None:
    lifted = Lifted(any_string(), low, high)
    for n in range(5):
        for points in product([0x00, 0xE9, 0x1F600], repeat=n):
            for parts in product(*(spellings(p)[-2:] for p in points)):
                assert lifted.accepts(b"".join(parts)) == (low <= n <= high), parts


# -- minimal escapes ---------------------------------------------------------------------------

MANY = sorted({*NASTY, *range(0x81), 0x2028})


def minimal(text: str) -> bytes:
    """The one spelling of a text: what ``json.dumps`` writes."""
    return json.dumps(text, ensure_ascii=False)[1:-1].encode()


@pytest.mark.parametrize("pattern", [*PATTERNS, "^\\x1f?[\\x00-\\x0f]?$", '^[\\n\\x10"]*$', "^$"])
def test_minimal_escapes_are_one_spelling(pattern: str) -> None:
    dfa = compile_pattern(pattern)
    lifted = Lifted(dfa, minimal=True)
    for point in MANY:
        accepted = dfa.accepts(chr(point)) >= 0
        for spelled in spellings(point):
            expected = accepted and spelled == minimal(chr(point))
            assert lifted.accepts(spelled) == expected, (point, spelled)
    for points in product(FEW, repeat=2):
        text = "".join(map(chr, points))
        for parts in product(*(spellings(p) for p in points)):
            inside = b"".join(parts)
            assert lifted.accepts(inside) == (dfa.accepts(text) >= 0 and inside == minimal(text))


@pytest.mark.parametrize("pattern", [*PATTERNS, "a[\\x10-\\x12]", "^\\x1f$", "^[^\\n]{2}$"])
@pytest.mark.parametrize("high", [None, 3])
def test_minimal_escapes_have_no_dead_ends(pattern: str, high: int | None) -> None:
    """From every state some byte goes on, with every counter with which it may be entered."""
    lifted = Lifted(compile_pattern(pattern), high=high, minimal=True)
    a = lifted.automaton
    for q in range(lifted.first, a.n_states):
        top = min(int(a.states[q, HI]), 4)
        for v in range(top + 1):
            goes_on = False
            for byte in range(256):
                status, to, counter, *_ = step(
                    a.states, a.maps, a.edges, a.returns, a.gotos, a.pushes,
                    lifted.pool, lifted.track, q, v, -1, -1, 0, byte,
                )  # fmt: skip
                goes_on |= status == S_OK and counter <= a.states[to, HI]
            assert goes_on, (q, v)
