"""From a schema to the frames of its automaton."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from structgen.automaton.tables import Automaton, push
from structgen.errors import LimitExceeded, SchemaError, UnsupportedSchemaError
from structgen.limits import Limits
from structgen.schema.algebra import (
    ANYTHING,
    ARRAY,
    FALSE,
    NUMBER,
    OBJECT,
    STRING,
    TRUE,
    Algebra,
    Formula,
)
from structgen.schema.arrays import ArrayFrame
from structgen.schema.atoms import ArrayShape, ObjectShape
from structgen.schema.document import Document, check_size
from structgen.schema.frames import ByteEdge, Entry, Frames
from structgen.schema.library import Library
from structgen.schema.node import Node, Reader, Unsupported
from structgen.schema.objects import ObjectFrame
from structgen.schema.satisfy import Conjunct, Satisfiability
from structgen.schema.scalars import Scalars
from structgen.schema.verdicts import ArrayVerdicts, ObjectVerdicts, minimal_masks


def add_schema(
    automaton: Automaton, library: Library, schema: Any, limits: Limits
) -> tuple[int, list[str]]:
    """Add the frames of a schema to an automaton that begins with the library's.

    Returns the start state and warnings. Everything the schema says is read and checked here;
    frames are built when a text first enters them.
    """
    builder = SchemaBuilder(automaton, library, schema, limits)
    return builder.start(), []


class SchemaBuilder:
    """Builds the frames of one schema. Implements :class:`structgen.schema.base.Builder`."""

    def __init__(self, automaton: Automaton, library: Library, schema: Any, limits: Limits) -> None:
        if not isinstance(schema, dict | bool):
            raise SchemaError(f"a schema is an object or a boolean, not {schema!r:.60}")
        check_size(schema, limits)
        self.automaton, self.library, self.limits = automaton, library, limits
        self.algebra = Algebra()
        self.reader = Reader(Document(schema), self.algebra, limits)
        self.scalars = Scalars(automaton, library, self.algebra, limits)
        self.sat = Satisfiability(self.algebra, self.reader, self.scalars, limits)
        self.frames = Frames(automaton, library.whitespace)
        self._entries: dict[Formula, list[Entry]] = {}
        self._frames: dict[tuple[int, Conjunct], list[Entry]] = {}
        self._verdicts: dict[Any, list[Entry]] = {}
        self.root = self.reader.node(schema, "#")
        self._check_places()

    def _check_places(self) -> None:
        """Read every place that a value can reach; raise for what is not enforced."""
        queue, seen = [self.root], {id(self.root)}
        for place in queue:
            formula = self.reader.formula(place)
            try:
                self._check_formula(formula)
            except UnsupportedSchemaError as error:
                if error.pointer != "#":
                    raise
                text = str(error).removesuffix(" (at #)")
                raise UnsupportedSchemaError(
                    text, keyword=error.keyword, pointer=place.pointer
                ) from None
            except SchemaError as error:
                if error.pointer != "#":
                    raise
                raise SchemaError(
                    str(error).removesuffix(" (at #)"), pointer=place.pointer
                ) from None
            except LimitExceeded as error:
                raise LimitExceeded(
                    limit=error.limit, value=error.value, where=f"{error.where} at {place.pointer}"
                ) from None
            for slot in (ARRAY, OBJECT):
                for atom in self.algebra.atoms(formula[slot]) if formula[slot] > TRUE else ():
                    for child in _children(atom):
                        if id(child) not in seen:
                            seen.add(id(child))
                            queue.append(child)

    def _check_formula(self, formula: Formula) -> None:
        for slot in (NUMBER, STRING, ARRAY, OBJECT):
            i = formula[slot]
            if i <= TRUE:
                continue
            for atom in self.algebra.atoms(i):
                if isinstance(atom, Unsupported):
                    raise UnsupportedSchemaError(
                        atom.message, keyword=atom.keyword, pointer=atom.pointer
                    )
            if slot in (NUMBER, STRING):
                self.scalars.is_empty(slot, i)  # compiles the patterns
            else:
                self.sat.conjuncts(slot, i)

    def start(self) -> int:
        """The state before the first byte of a value that satisfies the schema."""
        formula = self.reader.formula(self.root)
        if not self.sat.is_satisfiable(formula):
            raise SchemaError("no value satisfies the schema")
        done = self.automaton.reserve_state()
        self.automaton.set_final(done, 0)
        back = self.automaton.new_return([(done, 0)])
        start = self.automaton.reserve_state()
        self.automaton.set_bytes(start, self.frames.value(self.entries(formula), back))
        return start

    # -- values ---------------------------------------------------------------------------------

    def entries(self, formula: Formula) -> list[Entry]:
        """How a value that satisfies ``formula`` may begin; its frame ends with class 0."""
        if formula == ANYTHING:
            return self.library.any_value
        found = self._entries.get(formula)
        if found is None:
            library = self.library
            found = []
            if formula[0]:
                found += library.null
            if formula[1] & 1:
                found += library.false
            if formula[1] & 2:
                found += library.true
            for slot in (NUMBER, STRING, ARRAY, OBJECT):
                found += self._typed_entries(slot, formula[slot])
            self._entries[formula] = found
        return found

    def _typed_entries(self, slot: int, i: int) -> list[Entry]:
        """How a value of one type that satisfies type formula ``i`` may begin; ends with class 0."""
        if i == FALSE:
            return []
        if slot in (NUMBER, STRING):
            return [] if self.scalars.is_empty(slot, i) else self.scalars.entries(slot, i)
        if i == TRUE:
            return self.library.array if slot == ARRAY else self.library.object
        forms = [c for c in self.sat.conjuncts(slot, i) if self._is_possible(slot, c)]
        if not forms:
            return []
        if len(forms) > 1:
            return self._verdict_entries(slot, [forms], [1])
        key = (slot, forms[0])
        found = self._frames.get(key)
        if found is None:
            frame = ArrayFrame if slot == ARRAY else ObjectFrame
            found = self._frames[key] = frame(self, forms[0]).entries()
        return found

    def _is_possible(self, slot: int, conjunct: Conjunct) -> bool:
        return self.sat.is_shape_satisfiable(slot, conjunct)

    def _verdict_entries(
        self, slot: int, goals: Sequence[Sequence[Conjunct]], clauses: Sequence[int]
    ) -> list[Entry]:
        key = (slot, tuple(map(tuple, goals)), tuple(clauses))
        found = self._verdicts.get(key)
        if found is None:
            frame = ArrayVerdicts if slot == ARRAY else ObjectVerdicts
            single = len(goals) == 1 and list(clauses) == [1]
            found = frame(self, goals, clauses, class_zero=single).entries()
            self._verdicts[key] = found
        return found

    def judged(
        self,
        formulas: Sequence[Formula],
        clauses: Sequence[int],
        follow: Callable[[int], int],
    ) -> list[ByteEdge]:
        """The edges that begin a value which several formulas judge at once.

        Args:
            formulas: what judges it.
            clauses: bit masks over ``formulas``, of which all of one must hold in the end.
            follow: the state to continue in, given the mask of the formulas that hold. Called
                only with masks that contain a clause.
        """
        edges: list[ByteEdge] = []

        def allowed(mask: int) -> bool:
            return any(c & mask == c for c in clauses)

        def add(entries: Sequence[Entry], masks: Sequence[int | None]) -> None:
            back = self.automaton.new_return([(-1 if m is None else follow(m), 0) for m in masks])
            edges.extend((first, push(back, target)) for first, target in entries)

        library = self.library
        for literal, part, bit in (
            (library.null, 0, 1),
            (library.false, 1, 1),
            (library.true, 1, 2),
        ):
            mask = sum(1 << k for k, f in enumerate(formulas) if f[part] & bit)
            if allowed(mask):
                add(literal, [mask])
        for slot in (NUMBER, STRING, ARRAY, OBJECT):
            known = sum(1 << k for k, f in enumerate(formulas) if f[slot] == TRUE)
            # Formulas that say the same of this type share a verdict.
            groups: dict[int, int] = {}
            for k, f in enumerate(formulas):
                if f[slot] > TRUE:
                    groups[f[slot]] = groups.get(f[slot], 0) | 1 << k
            ids, members = list(groups), list(groups.values())
            if len(ids) > 30 or (1 << len(ids) > self.limits.classes and slot in (ARRAY, OBJECT)):
                raise LimitExceeded(
                    limit="classes", value=self.limits.classes, where="alternatives of one value"
                )

            def whole(mask: int, known: int = known, members: list[int] = members) -> int:
                return known | sum(m for k, m in enumerate(members) if mask >> k & 1)

            # The clauses over the undecided formulas; one that asks for a false one is dropped.
            possible = known | sum(members)
            reduced = minimal_masks(
                [
                    sum(1 << k for k, m in enumerate(members) if c & m)
                    for c in clauses
                    if c & possible == c
                ]
            )
            if not reduced:
                continue
            everything = (1 << len(ids)) - 1
            if not ids:
                add(_plain(library, slot), [known])
            elif reduced == [everything]:
                # All must hold: no verdict to tell apart.
                entries = self._typed_entries(slot, self.algebra.all_of(ids))
                if entries:
                    add(entries, [whole(everything)])
            elif slot in (NUMBER, STRING):
                entries, masks = self.scalars.classified(slot, ids, lambda m: allowed(whole(m)))
                if entries:
                    add(entries, [whole(m) for m in masks])
            else:
                goals = [self.sat.conjuncts(slot, i) for i in ids]
                entries = self._verdict_entries(slot, goals, reduced)
                if entries:
                    every = range(1 << len(ids))
                    add(entries, [whole(m) if allowed(whole(m)) else None for m in every])
        return edges


def _plain(library: Library, slot: int) -> list[Entry]:
    """The entries of any value of a type."""
    return {
        NUMBER: library.number,
        STRING: library.string,
        ARRAY: library.array,
        OBJECT: library.object,
    }[slot]


def _children(atom: Any) -> list[Node]:
    if isinstance(atom, ObjectShape):
        children = list(atom.properties.values())
        return [*children, atom.additional] if atom.additional is not None else children
    if isinstance(atom, ArrayShape):
        return [*atom.prefix, atom.items] if atom.items is not None else list(atom.prefix)
    return []
