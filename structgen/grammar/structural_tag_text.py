"""Free text: automata of the texts up to the first occurrence of a trigger, an end, or neither.

A text is read once, with every pattern that may be in progress (the sets of Aho and Corasick's
automaton, written out as positions). *Stops* end a text at their first occurrence and are part of
it; *excludes* must not occur before the stop. The stop itself may hold one of them:
``<|close|>`` may be excluded from the text before ``<|close|>think<|sep|>``.

A special token is no text. Where a pattern holds one, it is written as a code point that no text
has (a surrogate) while automata are built, and becomes a symbol of its own afterwards.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from structgen.errors import LimitExceeded
from structgen.regular.charset import UNICODE, Ranges, intersect, negate, normalize
from structgen.regular.dfa import DFA, from_edges

MAX_STATES = 50_000
SURROGATES = (0xD800, 0xDFFF)
_EVERYTHING: Ranges = ((0, 0x10FFFF),)


class Alphabet:
    """Special tokens as code points beside those of texts, numbered as they are met."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        known = sorted((n for n in set(names) if n), key=lambda n: (-len(n), n))
        # Longest first: a tokenizer that splits at special tokens prefers it.
        self._pattern = re.compile("|".join(map(re.escape, known))) if known else None
        self._codes: dict[str, str] = {}
        self.names: dict[int, str] = {}

    def encode(self, text: str) -> str:
        """The text, with a code point for each special token that it spells.

        Raises:
            LimitExceeded: there are more special tokens than code points for them.
        """
        return self._pattern.sub(self._code, text) if self._pattern else text

    def _code(self, match: re.Match[str]) -> str:
        name = match[0]
        if name not in self._codes:
            code = SURROGATES[0] + len(self._codes)
            if code > SURROGATES[1]:
                limit = SURROGATES[1] - SURROGATES[0] + 1
                raise LimitExceeded(limit="special_tokens", value=limit, where="a structural tag")
            self._codes[name] = chr(code)
            self.names[code] = name
        return self._codes[name]

    def spell(self, text: str) -> str:
        """What :meth:`encode` was given."""
        return "".join(self.names.get(ord(c), c) for c in text)

    def split(self, text: str) -> list[tuple[str, bool]]:
        """The pieces of an encoded text, and whether each is a special token."""
        pieces = re.split("([\ud800-\udfff])", text)
        return [
            (self.names[ord(piece)], True) if i % 2 else (piece, False)
            for i, piece in enumerate(pieces)
            if piece
        ]


class FreeText(NamedTuple):
    """What :func:`scan` found: a state machine, start state 0.

    Attributes:
        edges: ``(lo, hi, target)`` of each state, deterministic.
        stopped: of each state, the stops (by index) that end there; nothing follows then.
        open: whether the text so far holds no exclude and may be all.
    """

    edges: list[list[tuple[int, int, int]]]
    stopped: list[frozenset[int]]
    open: list[bool]

    @property
    def events(self) -> list[frozenset[int]]:
        """The different sets of stops that can end a text together."""
        return [s for s in dict.fromkeys(self.stopped) if s]

    def stopping(self, accept: Callable[[frozenset[int]], bool]) -> DFA:
        """The texts that end with a set of stops that is accepted."""
        final = [0 if s and accept(s) else -1 for s in self.stopped]
        return from_edges(self.edges, final, _EVERYTHING)

    def unstopped(self) -> DFA:
        """The texts in which neither a stop nor an exclude occurs."""
        final = [0 if o and not s else -1 for o, s in zip(self.open, self.stopped, strict=True)]
        return from_edges(self.edges, final, _EVERYTHING)


def scan(
    stops: Sequence[str], excludes: Sequence[str] = (), *, max_chars: int | None = None
) -> FreeText:
    """Read texts up to the first stop, none of ``excludes`` before it.

    ``max_chars`` bounds the characters before the stop. Stops and excludes are not empty; a stop
    may hold surrogates (special tokens), the text before it holds none.

    Raises:
        LimitExceeded: more than ``MAX_STATES`` states.
    """
    patterns = [*stops, *excludes]
    n_stops = len(stops)
    symbols = sorted({ord(c) for p in patterns for c in p})
    rest = intersect(UNICODE, negate(normalize((s, s) for s in symbols), _EVERYTHING))
    firsts: dict[int, list[int]] = {}
    for index, pattern in enumerate(patterns):
        firsts.setdefault(ord(pattern[0]), []).append(index)

    # A state: characters before the stop (-1 once there can be no more), patterns in progress.
    State = tuple[int, frozenset[tuple[int, int]]]
    start: State = (0, frozenset())
    number: dict[State, int] = {start: 0}
    queue = [start]
    result = FreeText([], [], [])

    def visit(state: State) -> int:
        found = number.get(state)
        if found is None:
            found = number[state] = len(queue)
            if found >= MAX_STATES:
                raise LimitExceeded(limit="pattern_states", value=MAX_STATES, where="free text")
            queue.append(state)
        return found

    for count, progress in queue:
        done = frozenset(p for p, i in progress if i == len(patterns[p]) and p < n_stops)
        result.stopped.append(done)
        result.open.append(count >= 0)
        edges: list[tuple[int, int, int]] = []
        result.edges.append(edges)
        if done:
            continue
        more = count >= 0 and (max_chars is None or count < max_chars)
        following = (count + 1 if max_chars is not None else 0) if more else -1
        for symbol in symbols:
            moved = {(p, i + 1) for p, i in progress if ord(patterns[p][i]) == symbol}
            if count >= 0:
                moved |= {(p, 1) for p in firsts.get(symbol, ())}
            after = following if not SURROGATES[0] <= symbol <= SURROGATES[1] else -1
            if any(p >= n_stops and i == len(patterns[p]) for p, i in moved):
                after = -1
            if after < 0:  # only stops matter from here on
                moved = {(p, i) for p, i in moved if p < n_stops}
            if after >= 0 or moved:
                edges.append((symbol, symbol, visit((after, frozenset(moved)))))
        if more:
            target = visit((following, frozenset()))
            edges += [(lo, hi, target) for lo, hi in rest]
        edges.sort()
    return result
