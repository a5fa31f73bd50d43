"""A lexer whose terminals are live together, chosen by what the parser can take.

A state is the set of terminals that may still match, each with a state of its own automaton. All
parser states share these states, so that the inside of an identifier is one state wherever it
comes. The longest match is the token; of equal length, the terminal of higher priority, then a
literal.

A lexer may read on past the end of a token, for a longer one that then does not come: in ``1..2``
the ``.`` could have begun the fraction of ``1.5``. From there on both are followed: the longer
token, and the shorter one with a *watch* on the longer, which ends that reading where the longer
one matches after all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np

from structgen.grammar.ir import Follow
from structgen.pushdown.rules import ByteClasses
from structgen.regular.bytewise import utf8
from structgen.regular.charset import UNICODE, Ranges, negate
from structgen.regular.dfa import DFA, from_edges
from structgen.vocabulary.spelling import SYMBOL

DEAD = -1
Live: TypeAlias = "tuple[tuple[int, int], ...]"  # terminals and states of their automata


@dataclass(frozen=True)
class Pattern:
    """A terminal's bytes, and how it is chosen among others that match as much."""

    dfa: DFA
    follows: tuple[Follow, ...] = ()
    priority: int = 0
    is_literal: bool = False
    commits: bool = False


@dataclass(frozen=True, slots=True)
class First:
    """The next character must be one of a set (by its number); ``state``: how far it is read."""

    chars: int
    state: int = 0


@dataclass(frozen=True, slots=True)
class Watch:
    """A longer token must not match."""

    live: Live


Guards: TypeAlias = "tuple[First | Watch, ...]"

# Longer tokens that may be watched for at the same time; more are not, which refuses texts.
MAX_WATCHES = 4


@dataclass(frozen=True, slots=True)
class LexState:
    """Terminals that may match, and what must hold of the bytes to come."""

    live: Live
    guards: Guards = ()


@dataclass(frozen=True, slots=True)
class Token:
    """The end of a token, and what must hold of the bytes to come."""

    terminal: int
    guards: Guards = ()


class Lexer:
    """Bytes that no terminal tells apart are one symbol: ``classes`` is the partition."""

    def __init__(self, patterns: Sequence[Pattern | None], classes: ByteClasses) -> None:
        """Patterns by terminal; None for one that is no text of its own."""
        self.patterns, self.classes = patterns, classes
        self.tables = [[] if p is None else self._dense(p.dfa) for p in patterns]
        self.finals = [[] if p is None else p.dfa.final.tolist() for p in patterns]
        self._sets: list[list[list[int]]] = []
        self._set_finals: list[list[bool]] = []
        self._set_ids: dict[Ranges, int] = {}
        self._starts: dict[tuple[int, Guards], LexState] = {}
        self._symbol = classes.of_byte[SYMBOL]
        # By terminal: classes that it may begin with, and that may come right after it (an upper
        # bound: where other terminals are live, a longer one may go on with some).
        self.firsts = [
            {cls for cls, target in enumerate(table[0] if table else ()) if target >= 0}
            for table in self.tables
        ]
        # Classes that some token begins with; who embeds constraints adds theirs.
        self.begins: set[int] = set().union(*self.firsts)
        self.enders = [self._enders(t) for t in range(len(patterns))]
        self.ends_text = [
            p is None or any(f == 0 or (f > 0 and p.follows[f - 1].end) for f in self.finals[t])
            for t, p in enumerate(patterns)
        ]

    def _enders(self, terminal: int) -> set[int]:
        pattern = self.patterns[terminal]
        everything = set(range(self.classes.n))
        if pattern is None or pattern.commits:
            return everything
        found: set[int] = set()
        for final, row in zip(self.finals[terminal], self.tables[terminal], strict=True):
            if final < 0:
                continue
            after = {cls for cls, target in enumerate(row) if target < 0}
            if final > 0:
                follow = pattern.follows[final - 1]
                first = self._sets[self._set(follow.chars)][0]
                symbol = {self._symbol} if follow.end else set()
                after &= {cls for cls, target in enumerate(first) if target >= 0} | symbol
            found |= after
        return found

    @staticmethod
    def partition(patterns: Sequence[Pattern | None]) -> ByteClasses:
        """The classes of these patterns, and of what must follow them; not closed yet."""
        classes = ByteClasses()
        for pattern in patterns:
            if pattern is not None:
                classes.add_dfa(pattern.dfa)
                for follow in pattern.follows:
                    for chars in (follow.chars, negate(follow.chars)):
                        classes.add_dfa(_one_of(chars))
        return classes

    def start(self, terminals: int, guards: Guards = ()) -> LexState:
        """Before the first byte of a token, one of the mask."""
        found = self._starts.get((terminals, guards))
        if found is None:
            live = tuple(
                (t, 0)
                for t in range(len(self.patterns))
                if terminals >> t & 1 and self.patterns[t] is not None
            )
            found = self._starts[terminals, guards] = LexState(live, guards)
        return found

    def _accepting(self, live: Live) -> bool:
        return any(self.finals[t][q] >= 0 for t, q in live)

    def _step(self, live: Live, cls: int) -> Live:
        moved = ((t, self.tables[t][q][cls]) for t, q in live)
        return tuple((t, q) for t, q in moved if q >= 0)

    def pass_guards(self, guards: Guards, cls: int) -> Guards | None:
        """What must hold after a byte of this class; None where the class breaks a condition."""
        left: list[First | Watch] = []
        for guard in guards:
            if isinstance(guard, First):
                if cls == self._symbol:
                    continue
                state = self._sets[guard.chars][guard.state][cls]
                if state < 0:
                    return None
                if not self._set_finals[guard.chars][state]:
                    left.append(First(guard.chars, state))
            else:
                live = self._step(guard.live, cls)
                if self._accepting(live):
                    return None
                if live:
                    left.append(Watch(live))
        return tuple(dict.fromkeys(left))

    def accepts(self, state: LexState) -> list[tuple[int, Follow | None]]:
        """Terminals that match here, the preferred one first, with what must follow."""
        found = []
        for terminal, q in state.live:
            final = self.finals[terminal][q]
            if final >= 0:
                pattern = self.patterns[terminal]
                assert pattern is not None
                follow = pattern.follows[final - 1] if final else None
                rank = (not pattern.commits, -pattern.priority, not pattern.is_literal, terminal)
                found.append((rank, terminal, follow))
        found.sort(key=lambda entry: entry[0])
        return [(terminal, follow) for _, terminal, follow in found]

    def row(self, state: LexState) -> list[tuple[list[int], LexState | Token]]:
        """What each byte class does: the state after it, or the token that ends before it.

        A class is in more than one group where what a token needs next is only decided by the
        bytes after its first.
        """
        accepts = self.accepts(state)
        committed = any(
            follow is None and self.patterns[t].commits  # type: ignore[union-attr]
            for t, follow in accepts
        )
        result: list[tuple[list[int], LexState | Token]] = []
        # Classes before which the token ends, and those of them that a longer one goes on with.
        ends = list(range(self.classes.n))
        longer: list[int] = []
        if not committed and state.live:
            groups: dict[tuple[int, ...], list[int]] = {}
            rows = [self.tables[t][q] for t, q in state.live]
            for cls, kind in enumerate(zip(*rows, strict=True)):
                groups.setdefault(kind, []).append(cls)
            ends = []
            for kind, group in groups.items():
                live = tuple((t, q) for (t, _), q in zip(state.live, kind, strict=True) if q >= 0)
                if not live:
                    ends += group
                    continue
                if accepts and not self._accepting(live):
                    longer += [cls for cls in group if cls in self.begins]
                if not state.guards:
                    result.append((group, LexState(live)))
                    continue
                by_guards: dict[Guards, list[int]] = {}
                for cls in group:
                    guards = self.pass_guards(state.guards, cls)
                    if guards is not None:
                        by_guards.setdefault(guards, []).append(cls)
                result += [(g, LexState(live, guards)) for guards, g in by_guards.items()]
        watches = sum(isinstance(guard, Watch) for guard in state.guards)
        result += self._tokens(accepts, ends, state.guards)
        if watches < MAX_WATCHES:
            result += self._tokens(accepts, longer, (*state.guards, Watch(state.live)))
        return result

    def _tokens(
        self, accepts: list[tuple[int, Follow | None]], ends: list[int], guards: Guards
    ) -> list[tuple[list[int], LexState | Token]]:
        """Which token ends before each of these classes."""
        result: list[tuple[list[int], LexState | Token]] = []
        for terminal, follow in accepts:
            if not ends:
                break
            if follow is None:
                result.append((sorted(ends), Token(terminal, guards)))
                break
            # A condition on the next character: decided by its first byte, or left to a guard. A
            # special token is no character: what holds of it is what holds of the end.
            if follow.end and self._symbol in ends:
                result.append(([self._symbol], Token(terminal, guards)))
                ends = [cls for cls in ends if cls != self._symbol]
            chosen = self._set(follow.chars)
            passing = [cls for cls in ends if self._sets[chosen][0][cls] >= 0]
            if passing:
                result.append((passing, Token(terminal, (*guards, First(chosen)))))
            refused = self._set(negate(follow.chars))
            ends = [cls for cls in ends if cls == self._symbol or self._sets[refused][0][cls] >= 0]
            guards = (*guards, First(refused))
        return result

    def at_end(self, state: LexState) -> int:
        """The terminal that the text may end with here, or -1."""
        for terminal, follow in self.accepts(state):
            if follow is None or follow.end:
                return terminal
        return -1

    def _set(self, chars: Ranges) -> int:
        found = self._set_ids.get(chars)
        if found is None:
            dfa = _one_of(chars)
            found = self._set_ids[chars] = len(self._sets)
            self._sets.append(self._dense(dfa))
            self._set_finals.append((dfa.final >= 0).tolist())
        return found

    def _dense(self, dfa: DFA) -> list[list[int]]:
        """The next state by state and byte class, DEAD where there is none."""
        table = np.full((dfa.n_states, 256), DEAD, np.int32)
        for state in range(dfa.n_states):
            for k in range(int(dfa.offsets[state]), int(dfa.offsets[state + 1])):
                table[state, dfa.lo[k] : dfa.hi[k] + 1] = dfa.target[k]
        return table[:, self.classes.first_bytes].tolist()


@lru_cache(maxsize=256)
def _one_of(chars: Ranges) -> DFA:
    """One character of the set, in UTF-8."""
    return utf8(from_edges([[(lo, hi, 1) for lo, hi in chars], []], [-1, 0], UNICODE))
