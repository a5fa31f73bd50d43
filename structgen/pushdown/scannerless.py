"""States for a grammar without a lexer: every byte is a terminal, or begins an embedded constraint.

A pop says which rule has ended; what the next byte does is looked up by the frame below.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from structgen.automaton.tables import Automaton, Edge, move, pop
from structgen.pushdown.frames import Drop, End, FrameBuilder, Go, Outcome, Position
from structgen.pushdown.items import ItemSets
from structgen.pushdown.rules import ByteClasses

NUMBER_BYTES = b"0123456789.eE+-"


class ScannerlessBuilder(FrameBuilder):
    """Keys of states: a position, or ``("resume", item set)`` and, for an embedded constraint,
    ``("enter", number, item set)``.
    """

    def __init__(
        self,
        automaton: Automaton,
        sets: ItemSets,
        classes: ByteClasses,
        foreign: Sequence[int],
    ) -> None:
        """``foreign``: the start states of embedded constraints, terminals after the classes."""
        super().__init__(automaton, sets)
        self.classes, self.byte_classes, self.n_classes = classes, classes.of_byte, classes.n
        self.foreign = foreign
        self.begins = [
            [bool(automaton.alternatives(q, byte)) for byte in classes.first_bytes] for q in foreign
        ]
        self._number_bytes = 0
        for byte in NUMBER_BYTES:
            self._number_bytes |= classes.mask(byte, byte)
        self._undecided: dict[int, int] = {}
        self._foreign_points: dict[int, int] = {}

    def start(self) -> int:
        return self.state((self.sets.start, ()))

    def build(self, q: int, key: Hashable) -> None:
        match key:
            case ("resume", int(s)):
                goal = move(self.state((s, ())))
                self.automaton.set_state(q, self.automaton.class_map(bytes(256)), [goal])
            case ("enter", int(number), int(s)):
                firsts = self.classes.first_bytes
                rows = [self.entering(number, (), s, byte) for byte in firsts]
                self.set_rows(q, rows, self.byte_classes, -1)
            case (int(s), tuple(held)):
                self._build_position(q, (s, held))

    def _build_position(self, q: int, position: Position) -> None:
        rows: list[list[Edge]] = [[] for _ in range(self.n_classes)]
        for mask, found in self.outcomes(position, (1 << self.n_classes) - 1):
            edges = [self._edge(outcome) for outcome in sorted(found, key=repr)]
            while mask:
                bit = mask & -mask
                rows[bit.bit_length() - 1] = edges
                mask ^= bit
        for number in range(len(self.foreign)):
            for _, found in self.outcomes(position, 1 << (self.n_classes + number)):
                ordered = sorted(found, key=repr)
                for cls, byte in enumerate(self.classes.first_bytes):
                    if self.begins[number][cls]:
                        rows[cls] = [*rows[cls], *self._foreign_edges(number, ordered, byte)]
        end = self.end_class(self.ends_of(position))
        self.set_rows(q, rows, self.byte_classes, end)

    def _edge(self, outcome: Outcome) -> Edge:
        match outcome:
            case Go(frames, target):
                return (self.state((target, ())), self.pushes(frames), 0)
            case Drop():
                return pop(self.class_of(outcome))
            case End():
                return self.pop_edge(outcome)

    def _foreign_edges(self, number: int, found: list[Outcome], byte: int) -> list[Edge]:
        edges = []
        for outcome in found:
            match outcome:
                case Go(frames, target):
                    edges += self.entering(number, frames, target, byte)
                case Drop():
                    edges.append(pop(self.class_of((outcome, number))))
                case End():
                    edges.append(self.pop_edge(outcome))
        return edges

    def entering(self, number: int, frames: tuple[int, ...], target: int, byte: int) -> list[Edge]:
        """The edges into an embedded constraint which returns to item set ``target``."""
        back = self._foreign_points.get(target)
        if back is None:
            back = self.automaton.new_lazy_return(
                lambda cls: self.state((target, ())) if cls == 0 else -1
            )
            self._foreign_points[target] = back
        start = self.foreign[number]
        if self.sets.terminals(target) & self._number_bytes:
            # Where a number ends is not told by the byte after it.
            found = self._undecided.get(number)
            if found is None:
                found = self._undecided[number] = self.automaton.undecided(start)
            start = found
        edges = []
        for goal, arg, count in self.automaton.alternatives(start, byte):
            inner = self.automaton.pushed(arg)
            edges.append((goal, self.pushes(frames, back, *inner), count))
        return edges

    def return_to(self, s: int, key: Hashable) -> int:
        match key:
            case (End(rule, 1),):
                again, target = self.sets.goto(s, rule)
                return self.state((target, (s,) if again else ()))
            case (End(rule, depth),):
                return self.passing(self.end_class(End(rule, depth - 1)))
            case Drop(1, target):
                return self.state(("resume", target))
            case Drop(depth, target):
                return self.passing(self.class_of(Drop(depth - 1, target)))
            case (Drop(1, target), int(number)):
                return self.state(("enter", number, target))
            case (Drop(depth, target), int(number)):
                return self.passing(self.class_of((Drop(depth - 1, target), number)))
        return -1
