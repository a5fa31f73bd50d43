"""Arrays that satisfy one conjunction of shapes. The frame's counter is the number of items."""

from __future__ import annotations

from structgen.automaton.step import NO_LIMIT
from structgen.automaton.tables import move
from structgen.schema.base import Builder
from structgen.schema.frames import ByteEdge, Entry
from structgen.schema.satisfy import Conjunct, array_bounds


class ArrayFrame:
    """One array, from after its opening bracket; ends with class 0.

    With ``room`` the items must differ: the matcher sees to it. ``room`` is the least number of
    values that an item may have.
    """

    def __init__(self, builder: Builder, shapes: Conjunct, room: int | None = None) -> None:
        self.builder, self.shapes, self.room = builder, shapes, room
        self.automaton = builder.automaton
        self.minimum, self.maximum, self.prefix = array_bounds(shapes)
        self._comma: dict[int, int] = {}

    def entries(self) -> list[Entry]:
        return [(b"[", self.automaton.new_state(self._build_start))]

    def _build_start(self, q: int) -> None:
        sat = self.builder.sat
        # Items from the first that nothing satisfies on cannot be there.
        for k in range(self.prefix + 1):
            if not sat.is_satisfiable(sat.item_formula(self.shapes, k)):
                self.maximum = min(self.maximum, k)
                break
        end = self.builder.library.end
        if self.minimum > 0:
            end = self.automaton.reserve_state(lo=self.minimum)
            self.automaton.set_final(end, 0)
        self.end = end

        edges = self._item(0) if self.maximum > 0 else []
        if not self.minimum:
            edges = [*edges, (b"]", move(self.builder.library.end))]
        self.builder.frames.set_position(q, edges)

    def _item(self, k: int) -> list[ByteEdge]:
        """The edges that begin item ``k``; all items past the prefix are alike."""
        formula = self.builder.sat.item_formula(self.shapes, k)
        following = min(k + 1, self.prefix)
        after = self.builder.frames.position(lambda: self._after(following))
        back = self.automaton.new_return([(after, 1)])
        if self.room is not None:
            self.automaton.mark_unique(back, self.room)
        return self.builder.frames.value(self.builder.entries(formula), back)

    def _after(self, k: int) -> list[ByteEdge]:
        """The edges after an item, where the next one is item ``k`` (or more)."""
        edges: list[ByteEdge] = []
        if k < self.prefix:
            # The number of items is known.
            if k < self.maximum:
                edges.append((b",", move(self._comma_state(k, NO_LIMIT))))
            if k >= self.minimum:
                edges.append((b"]", move(self.builder.library.end)))
            return edges
        if k < self.maximum:
            limit = NO_LIMIT if self.maximum == NO_LIMIT else self.maximum - 1
            edges.append((b",", move(self._comma_state(k, limit))))
        edges.append((b"]", move(self.end)))
        return edges

    def _comma_state(self, k: int, limit: int) -> int:
        state = self._comma.get(k)
        if state is None:
            state = self._comma[k] = self.builder.frames.place(self._item(k), hi=limit)
        return state
