"""What the frame builders share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from structgen.automaton.tables import Automaton
from structgen.limits import Limits
from structgen.schema.algebra import Algebra, Formula
from structgen.schema.frames import ByteEdge, Entry, Frames
from structgen.schema.library import Library
from structgen.schema.node import Node
from structgen.schema.options import SchemaOptions
from structgen.schema.satisfy import Satisfiability
from structgen.schema.scalars import Scalars

if TYPE_CHECKING:
    from structgen.schema.judges import Requirement
    from structgen.schema.vectors import Vectors


class Builder(Protocol):
    """Builds the frames of one schema; see :class:`structgen.schema.compile.SchemaBuilder`."""

    automaton: Automaton
    library: Library
    algebra: Algebra
    frames: Frames
    sat: Satisfiability
    scalars: Scalars
    vectors: Vectors
    limits: Limits
    options: SchemaOptions

    def entries(self, formula: Formula) -> list[Entry]:
        """How a value that satisfies ``formula`` may begin; its frame ends with class 0."""
        ...

    def value_of(self, node: Node) -> list[Entry]:
        """How a value at a subschema's place may begin."""
        ...

    def judged(
        self,
        formulas: Sequence[Formula],
        requirement: Requirement,
        follow: Callable[[int], int],
        *,
        room: Callable[[int], int | None] | None = None,
    ) -> list[ByteEdge]:
        """The edges that begin a value which several formulas judge at once.

        With ``room``, it is an item of an array whose items differ: ``room`` says how many values
        the next one has.
        """
        ...
