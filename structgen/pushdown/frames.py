"""From item sets to states of the automaton: what scannerless and lexed grammars have in common.

A *position* is an item set and the item sets that were popped but are still needed, which the next
shift pushes again. At a position a terminal leads, through as many reductions as the position knows
the frames for, to one or several *outcomes*:

- ``Go``: push frames, go on in the next item set;
- ``End``: the rule's frame is further down: pop, and say which rule has ended and how many more
  frames to leave;
- ``Drop``: leave frames that nobody needs, then go on.

A rule's end travels down the stack as the final class of a pop; each frame's return point says what
it means there.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import TypeAlias

from structgen.automaton.tables import Automaton, Edge, pop
from structgen.errors import LimitExceeded
from structgen.pushdown.items import ACCEPT, ItemSets

Position: TypeAlias = "tuple[int, tuple[int, ...]]"


@dataclass(frozen=True, slots=True)
class Go:
    frames: tuple[int, ...]
    target: int


@dataclass(frozen=True, slots=True)
class End:
    rule: int
    depth: int


@dataclass(frozen=True, slots=True)
class Drop:
    depth: int
    target: int


Outcome: TypeAlias = Go | End | Drop
Outcomes: TypeAlias = "frozenset[Outcome]"

# Positions that one terminal may lead through before it is shifted.
MAX_REDUCTIONS = 10_000


class FrameBuilder:
    """States, return points and final classes of one grammar in an automaton.

    Final class 0 is the end of a sentence; the others are numbered as they come up.
    """

    def __init__(self, automaton: Automaton, sets: ItemSets) -> None:
        self.automaton, self.sets = automaton, sets
        self.end = sets.rules.end
        self._classes: dict[Hashable, int] = {}
        self._class_keys: list[Hashable] = [None]
        self._points: dict[int, int] = {}
        self._states: dict[Hashable, int] = {}
        self.conflicts: dict[int, int] = {}  # item sets with a conflict: one of its terminals

    # -- final classes --------------------------------------------------------------------------

    def class_of(self, key: Hashable) -> int:
        """The number of what a pop tells the frame below."""
        number = self._classes.get(key)
        if number is None:
            number = self._classes[key] = len(self._class_keys)
            self._class_keys.append(key)
        return number

    def key_of(self, cls: int) -> Hashable:
        return self._class_keys[cls]

    def state(self, key: Hashable) -> int:
        """The state for ``key``, built by ``self.build`` when it is first entered."""
        found = self._states.get(key)
        if found is None:
            found = self.automaton.new_state(lambda q: self.build(q, key))
            self._states[key] = found
        return found

    def keys(self) -> dict[int, Hashable]:
        """What each state so far stands for, by state; for those who look inside."""
        return {q: key for key, q in self._states.items()}

    def points(self) -> dict[int, int]:
        """The item set of each return point so far; for those who look inside."""
        return {point: s for s, point in self._points.items()}

    def build(self, q: int, key: Hashable) -> None:
        raise NotImplementedError

    def point(self, s: int) -> int:
        """The return point of item set ``s``."""
        found = self._points.get(s)
        if found is None:
            found = self.automaton.new_lazy_return(lambda cls: self.return_to(s, self.key_of(cls)))
            self._points[s] = found
        return found

    def return_to(self, s: int, key: Hashable) -> int:
        """The state in which a frame of item set ``s`` goes on after a pop with this class."""
        raise NotImplementedError

    def passing(self, cls: int) -> int:
        """A state that does nothing but pop once more."""
        key = ("pass", cls)
        found = self._states.get(key)
        if found is None:
            found = self._states[key] = self.automaton.reserve_state()
            self.automaton.set_final(found, cls)
        return found

    def pushes(self, frames: tuple[int, ...], *above: int) -> int:
        """The ARG of a move that pushes these item sets, and these return points above them."""
        return self.automaton.several([*map(self.point, frames), *above])

    # -- outcomes -------------------------------------------------------------------------------

    def outcomes(
        self, position: Position, terminals: int, seen: set[Position] | None = None
    ) -> list[tuple[int, Outcomes]]:
        """Disjoint masks of these terminals, and what each leads to at a position."""
        s, held = position
        seen = set() if seen is None else seen
        if len(seen) > MAX_REDUCTIONS:
            raise LimitExceeded(
                limit="reductions", value=MAX_REDUCTIONS, where="one terminal of the grammar"
            )
        result: list[tuple[int, Outcomes]] = []
        for mask, actions in self.sets.groups(s):
            mask &= terminals
            if not mask:
                continue
            if len(actions.shifts) + len(actions.ends) > 1:
                self.conflicts.setdefault(s, mask)
            here: set[Outcome] = set()
            for drop, push, target in actions.shifts:
                if drop > len(held):
                    here.add(Drop(drop - len(held), target))
                else:
                    frames = held[: len(held) - drop]
                    here.add(Go((*frames, s) if push else frames, target))
            reduced: list[Position] = []
            for depth, rule in actions.ends:
                if depth > len(held):
                    here.add(End(rule, depth - len(held)))
                else:
                    origin = held[-depth]
                    again, target = self.sets.goto(origin, rule)
                    frames = held[: len(held) - depth]
                    reduced.append((target, (*frames, origin) if again else frames))
            parts = [(mask, frozenset(here))]
            for following in reduced:
                if following not in seen:
                    more = self.outcomes(following, mask, seen | {following})
                    parts = _refined(parts, more)
            result += parts
        return result

    def ends_of(self, position: Position) -> End | None:
        """How the text ends at a position, if it may; of several ways, each is right."""
        for _, found in self.outcomes(position, 1 << self.end):
            for outcome in found:
                if isinstance(outcome, End):
                    return outcome
        return None

    def end_class(self, end: End | None, extra: tuple[Hashable, ...] = ()) -> int:
        """The final class of an end, or -1. A sentence's end has class 0."""
        if end is None:
            return -1
        if end == End(ACCEPT, 1):
            return 0
        return self.class_of((end, *extra))

    # -- edges ----------------------------------------------------------------------------------

    def set_rows(self, q: int, rows: list[list[Edge]], byte_classes: list[int], end: int) -> None:
        """Give state ``q`` the alternatives of each byte class."""
        numbers: dict[tuple[Edge, ...], int] = {}
        renamed = []
        for found in rows:
            key = tuple(dict.fromkeys(found)) if len(found) > 1 else tuple(found)
            renamed.append(numbers.setdefault(key, len(numbers)))
        edges = [self.automaton.fork(key) for key in numbers]
        row = bytes([renamed[cls] for cls in byte_classes])
        self.automaton.set_state(q, self.automaton.class_map(row), edges, end=end)

    def pop_edge(self, end: End, extra: tuple[Hashable, ...] = ()) -> Edge:
        return pop(self.end_class(end, extra))


def _refined(
    parts: list[tuple[int, Outcomes]], more: list[tuple[int, Outcomes]]
) -> list[tuple[int, Outcomes]]:
    """The common partition of two; where both say something, both."""
    result = []
    for mask, found in parts:
        rest = mask
        for other, extra in more:
            if both := mask & other:
                result.append((both, found | extra))
                rest &= ~both
        if rest:
            result.append((rest, found))
    return result
