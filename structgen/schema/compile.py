"""From a schema to the frames of its automaton."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any

from structgen import budget
from structgen.automaton.tables import Automaton, push
from structgen.collector import paused
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
from structgen.schema.atoms import ArrayShape, Contains, ObjectShape, UniqueItems
from structgen.schema.document import DEFINITIONS, Document, Survey, shown, survey
from structgen.schema.frames import ByteEdge, Entry, Frames
from structgen.schema.judges import ArrayJudge, Requirement, minimal_masks
from structgen.schema.library import Library
from structgen.schema.node import Node, Reader, Unsupported
from structgen.schema.objects import ObjectFrame
from structgen.schema.options import SchemaOptions
from structgen.schema.plain import Place
from structgen.schema.satisfy import Conjunct, Satisfiability, is_unique
from structgen.schema.scalars import Scalars
from structgen.schema.unique import UniqueFrame
from structgen.schema.vectors import Split, split
from structgen.schema.verdicts import verdict_entries

if TYPE_CHECKING:
    from structgen.schema.family import Definition


def add_schema(
    automaton: Automaton,
    library: Library,
    schema: Any,
    limits: Limits,
    options: SchemaOptions,
    *,
    lazily: bool = False,
) -> tuple[int, list[str]]:
    """Add the frames of a schema to an automaton that begins with the library's.

    Returns the start state and warnings. Everything the schema says is checked here; frames are
    built when a text first enters them. With ``lazily``, nobody changes ``schema`` any more, and
    what a look finds in order is read only then, too (see :mod:`structgen.schema.plain`).
    """
    builder, start = build_schema(automaton, library, schema, limits, options, lazily=lazily)
    return start, builder.reader.warnings


def build_schema(
    automaton: Automaton,
    library: Library,
    schema: Any,
    limits: Limits,
    options: SchemaOptions,
    *,
    lazily: bool = False,
) -> tuple[SchemaBuilder, int]:
    """As :func:`add_schema`; the builder of the frames, and the start state."""
    # Other documents are the caller's, who may change them.
    lazily = lazily and not options.formats and options.resources is None
    left_out: set[str] = set()
    while True:
        try:
            with paused():
                builder = SchemaBuilder(
                    automaton, library, schema, limits, options, left_out, lazily=lazily
                )
                return builder, builder.start()
        except UnsupportedSchemaError as error:
            # Whether uniqueItems can be enforced is known once the items are.
            if not options.relaxed or error.keyword != "uniqueItems" or error.pointer in left_out:
                raise
            left_out.add(error.pointer)


class SchemaBuilder:
    """Builds the frames of one schema. Implements :class:`structgen.schema.base.Builder`."""

    def __init__(
        self,
        automaton: Automaton,
        library: Library,
        schema: Any,
        limits: Limits,
        options: SchemaOptions,
        left_out: Set[str] = frozenset(),
        *,
        lazily: bool = False,
        found: Survey | None = None,
        shared: Mapping[int, Definition] | None = None,
    ) -> None:
        """``left_out``: pointers of subschemas whose ``uniqueItems`` is not enforced.

        ``lazily``: plain subschemas are read when they are needed. ``found``: what a survey of
        the schema says, if it was made. ``shared``: definitions of the schema (by identity) that
        another grammar in ``automaton`` has read.
        """
        if not isinstance(schema, dict | bool):
            raise SchemaError(f"a schema is an object or a boolean, not {shown(schema)}")
        self.survey = found or survey(schema, limits)
        self.document = Document(schema, options.resources, self.survey)
        self.automaton, self.library = automaton, library
        self.limits, self.options, self.lazily = limits, options, lazily
        self.algebra = Algebra()
        self.reader = Reader(self.document, self.algebra, limits, options, left_out)
        # By identity, of the root's definitions: all of them, and those that were checked here.
        self.reader.definitions = _definitions(schema) if lazily else frozenset()
        self.checked: set[int] = set()
        self.scalars = Scalars(automaton, library, self.algebra, limits, self.reader)
        self.sat = Satisfiability(self.algebra, self.reader, self.scalars, limits)
        self.vectors = self.sat.vectors
        if shared:
            self.reader.looks.shared = shared
            self.sat.elsewhere = self._is_known
        automaton.on_close.append(self._forget)
        self.frames = Frames(automaton, library.whitespace)
        self._entries: dict[Formula, list[Entry]] = {}
        self._frames: dict[tuple[int, Conjunct], list[Entry]] = {}
        self._verdicts: dict[Any, tuple[list[Entry], list[int]]] = {}
        # Are there arrays whose items differ, and places that say several things of nested values?
        self._differ = self._joins = False
        self._joined: list[tuple[int, Conjunct, Node]] = []  # those that are one conjunction
        try:
            self.root = self.reader.node(schema, "#")
            checked: set[tuple[int, int]] = set()  # types and type formulas
            self._check_places(checked)
            self._check_joined(checked)
        except BaseException:
            self.leave()
            raise
        # What is finite in one place need not be so together with another.
        automaton.has_unique |= self._differ and self._joins

    def leave(self) -> None:
        """Give up: no state of the automaton was added."""
        self.automaton.on_close.remove(self._forget)
        self._forget()

    def _forget(self) -> None:
        """Take apart what refers to itself, so that it is freed at once."""
        for part in (self.reader, self.algebra, self.sat, self):
            vars(part).clear()

    def _check_places(self, checked: set[tuple[int, int]]) -> None:
        """Look at every place that a value can reach; raise for what is not enforced."""
        queue: list[Node | Place] = [self.root]
        shared = self.reader.looks.shared
        seen = {id(self.root.raw), *shared}
        for k, place in enumerate(queue):
            if not k % 64:
                budget.check("the subschemas")
            below: Iterable[Node | Place] | None = None
            if self.lazily:
                below = self._look(place)
            if below is None:
                below = self._read(place, checked)
            for child in below:
                raw = child.raw if isinstance(child, Node) else child[0]
                if id(raw) not in seen:
                    seen.add(id(raw))
                    queue.append(child)
        self.checked |= self.reader.definitions & seen
        self.checked -= shared.keys()

    def _look(self, place: Node | Place) -> Iterable[Place] | None:
        """The places within one that is plain; None for any other."""
        if isinstance(place, Node):
            if place.is_read or not isinstance(place.raw, dict):
                return None
            place = (place.raw, place.pointer)
        return self.reader.look(*place)

    def _read(self, place: Node | Place, checked: set[tuple[int, int]]) -> Iterator[Node]:
        """Check what a place's formula says; the places within."""
        node = place if isinstance(place, Node) else self.reader.node(*place)
        formula = self.reader.place_formula(node)
        for slot in (NUMBER, STRING, ARRAY, OBJECT):
            i = formula[slot]
            if i <= TRUE or (slot, i) in checked:
                continue
            checked.add((slot, i))
            atoms = self.algebra.atoms(i)
            self._check(slot, i, atoms, node)
            if slot >= ARRAY:
                self._note_joined(slot, i, node)
                for atom in atoms:
                    source = self.reader.sources.get(atom)
                    if source is not None:
                        if id(source) in self.reader.looks.shared:
                            continue
                        self.checked.add(id(source))
                    yield from _children(atom)

    def _note_joined(self, slot: int, i: int, place: Node) -> None:
        conjuncts = self.sat.conjuncts(slot, i)
        if conjuncts is not None and len(conjuncts) == 1:
            if not _joins(conjuncts[0]):
                return
            self._joined.append((slot, conjuncts[0], place))
        self._joins = True

    def _check_joined(self, checked: set[tuple[int, int]]) -> None:
        """Look at values of which several places say something, as ``allOf`` does."""
        for slot, conjunct, place in self._joined:
            budget.check("the subschemas")
            for formula in self.sat.joined_formulas(slot, conjunct):
                for below in (NUMBER, STRING, ARRAY, OBJECT):
                    i = formula[below]
                    if i > TRUE and (below, i) not in checked:
                        checked.add((below, i))
                        self._check(below, i, self.algebra.atoms(i), place)
                        if below >= ARRAY:
                            self._note_joined(below, i, place)

    def _check(self, slot: int, i: int, atoms: Sequence[Any], place: Node) -> None:
        """:meth:`_check_formula`, with the place in its errors."""
        try:
            self._check_formula(slot, i, atoms)
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
            raise SchemaError(str(error).removesuffix(" (at #)"), pointer=place.pointer) from None
        except LimitExceeded as error:
            raise LimitExceeded(
                limit=error.limit, value=error.value, where=f"{error.where} at {place.pointer}"
            ) from None

    def _check_formula(self, slot: int, i: int, atoms: Sequence[Any]) -> None:
        budget.check("the subschemas")
        for atom in atoms:
            if isinstance(atom, Unsupported):
                raise atom.error()
        if slot in (NUMBER, STRING):
            self.scalars.is_empty(slot, i)  # compiles the patterns
            return
        for atom in atoms:
            for pattern, _ in atom.patterns if isinstance(atom, ObjectShape) else ():
                self.scalars.pattern(pattern)
        if self.sat.conjuncts(slot, i) is None:
            self.vectors.nested(slot, (i,))  # raises what judging it would
        if slot == ARRAY and any(isinstance(a, UniqueItems) for a in atoms):
            self._check_unique(i)

    def _check_unique(self, i: int) -> None:
        """Raise where it cannot be enforced that the items of these arrays differ."""
        self._differ = True
        conjuncts = self.sat.conjuncts(ARRAY, i) or []
        if len(conjuncts) == 1:
            distinct = self.sat.distinct
            if distinct.is_short(conjuncts[0]):
                return
            if distinct.plan(conjuncts[0]).values is None:
                self.automaton.has_unique = True
        else:
            judge = self.vectors.judge(ARRAY, (i,))
            assert isinstance(judge, ArrayJudge)
            judge.check_unique(self.vectors)
            self.automaton.has_unique |= judge.compares

    def check_satisfiable(self) -> None:
        """Raise where no value satisfies the schema."""
        if not self.sat.is_satisfiable(self.reader.place_formula(self.root)):
            raise SchemaError("no value satisfies the schema")

    def start(self) -> int:
        """The state before the first byte of a value that satisfies the schema."""
        self.check_satisfiable()
        formula = self.reader.place_formula(self.root)
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
                found += self.typed_entries(slot, formula[slot])
            self._entries[formula] = found
        return found

    def value_of(self, node: Node) -> list[Entry]:
        """How a value at a subschema's place may begin; its frame ends with class 0."""
        shared = self.reader.looks.shared_with(node.raw)
        return self.entries(self.sat.node_formula(node)) if shared is None else shared.entries()

    def _definition(self, conjunct: Conjunct) -> Definition | None:
        """What another grammar has read, if its shape is all of the conjunct."""
        if len(conjunct) != 1:
            return None
        return self.reader.looks.shared.get(id(self.reader.sources.get(conjunct[0])))

    def _is_known(self, slot: int, conjunct: Conjunct) -> bool | None:
        shared = self._definition(conjunct)
        return None if shared is None else shared.has_value(slot)

    def typed_entries(self, slot: int, i: int) -> list[Entry]:
        """How a value of one type may begin that satisfies ``i``; its frame ends with class 0."""
        if i == FALSE:
            return []
        if slot in (NUMBER, STRING):
            return [] if self.scalars.is_empty(slot, i) else self.scalars.entries(slot, i)
        if i == TRUE:
            return self.library.array if slot == ARRAY else self.library.object
        conjuncts = self.sat.conjuncts(slot, i)
        if conjuncts is None:
            return self._verdict_entries(slot, (i,), Requirement(None, frozenset((1,))))[0]
        forms = [c for c in conjuncts if self.sat.is_shape_satisfiable(slot, c)]
        if not forms:
            return []
        shared = self._definition(forms[0]) if len(forms) == 1 else None
        entries = None if shared is None else shared.typed_entries(slot)
        if entries is not None:
            return entries
        any_order = slot == OBJECT and self.options.property_order == "any"
        if len(forms) > 1 or any_order:
            return self._verdict_entries(slot, (i,), Requirement((1,)))[0]
        key = (slot, forms[0])
        found = self._frames.get(key)
        if found is None:
            frame: ObjectFrame | ArrayFrame | UniqueFrame
            if slot == OBJECT:
                frame = ObjectFrame(self, forms[0])
            elif is_unique(forms[0]):
                frame = self._unique_frame(forms[0])
            else:
                frame = ArrayFrame(self, forms[0])
            found = self._frames[key] = frame.entries()
        return found

    def _unique_frame(self, shapes: Conjunct) -> ArrayFrame | UniqueFrame:
        """An array whose items must differ."""
        plan = self.sat.distinct.plan(shapes)
        if plan.values is not None:
            return UniqueFrame(self, shapes, plan.values)
        self.automaton.has_unique = True
        return ArrayFrame(self, shapes, plan.room)

    def _verdict_entries(
        self, slot: int, ids: tuple[int, ...], requirement: Requirement
    ) -> tuple[list[Entry], list[int]]:
        """How a value judged by ``ids`` may begin, and its verdicts by final class."""
        if requirement.clauses is not None and any(
            conjuncts is None or any(map(is_unique, conjuncts))
            for conjuncts in (self.sat.conjuncts(slot, i) for i in ids)
        ):
            masks = filter(requirement.admits, self.vectors.nested(slot, ids))
            requirement = Requirement(None, frozenset(masks))
        key = (slot, ids, requirement)
        found = self._verdicts.get(key)
        if found is None:
            if requirement.clauses is None:
                verdicts = sorted(requirement.masks)
            elif len(ids) > 12:
                raise LimitExceeded(
                    limit="classes", value=self.limits.classes, where="alternatives of one value"
                )
            else:
                verdicts = [m for m in range(1 << len(ids)) if requirement.admits(m)]
            if len(verdicts) > self.limits.classes:
                raise LimitExceeded(
                    limit="classes", value=self.limits.classes, where="alternatives of one value"
                )
            entries = verdict_entries(self, slot, ids, requirement, verdicts) if verdicts else []
            found = self._verdicts[key] = (entries, verdicts)
        return found

    def judged(
        self,
        formulas: Sequence[Formula],
        requirement: Requirement,
        follow: Callable[[int], int],
        *,
        room: Callable[[int], int | None] | None = None,
    ) -> list[ByteEdge]:
        """The edges that begin a value which several formulas judge at once.

        Args:
            formulas: what judges it.
            requirement: which sets of them (as bit masks) may hold in the end.
            follow: the state to continue in, given the mask of the formulas that hold.
            room: the value is an item of an array whose items differ. Given the mask of the
                formulas that hold, how many values the next item has, at least; None where the
                items need not differ any more.
        """
        edges: list[ByteEdge] = []

        def add(entries: Sequence[Entry], masks: Sequence[int]) -> None:
            if entries:
                back = self.automaton.new_return([(follow(m), 0) for m in masks])
                rooms = [] if room is None else [n for n in map(room, masks) if n is not None]
                if rooms:
                    self.automaton.mark_unique(back, min(rooms))
                edges.extend((first, push(back, target)) for first, target in entries)

        library = self.library
        for literal, part, bit in (
            (library.null, 0, 1),
            (library.false, 1, 1),
            (library.true, 1, 2),
        ):
            mask = sum(1 << k for k, f in enumerate(formulas) if f[part] & bit)
            if requirement.admits(mask):
                add(literal, [mask])
        for slot in (NUMBER, STRING, ARRAY, OBJECT):
            _, ids, _ = parts = split(formulas, slot)
            whole = parts.whole
            inner = _inner(requirement, parts)
            if inner is None:
                continue
            everything = (1 << len(ids)) - 1
            if not ids:
                add(_plain(library, slot), [whole(0)])
            elif inner.clauses == (everything,):
                # All must hold: no verdict to tell apart.
                add(self.typed_entries(slot, self.algebra.all_of(ids)), [whole(everything)])
            elif slot in (NUMBER, STRING):
                exact = inner.clauses is None
                entries, masks = self.scalars.classified(slot, ids, inner.admits, exact=exact)
                add(entries, [whole(m) for m in masks])
            else:
                entries, masks = self._verdict_entries(slot, ids, inner)
                add(entries, [whole(m) for m in masks])
        return edges


def _inner(requirement: Requirement, parts: Split) -> Requirement | None:
    """What is required of the type formulas of one type; None: no verdict will do."""
    if requirement.clauses is None:
        masks = {parts.part(m) for m in requirement.masks} - {None}
        return Requirement(None, frozenset(m for m in masks if m is not None)) if masks else None
    possible = parts.known | sum(parts.members)
    reduced = minimal_masks(
        sum(1 << k for k, m in enumerate(parts.members) if c & m)
        for c in requirement.clauses
        if c & possible == c
    )
    return Requirement(tuple(reduced)) if reduced else None


def _plain(library: Library, slot: int) -> list[Entry]:
    """The entries of any value of a type."""
    return {
        NUMBER: library.number,
        STRING: library.string,
        ARRAY: library.array,
        OBJECT: library.object,
    }[slot]


def _definitions(schema: Any) -> frozenset[int]:
    """The identities of the root's definitions."""
    found: set[int] = set()
    for keyword in DEFINITIONS if isinstance(schema, dict) else ():
        own = schema.get(keyword)
        if isinstance(own, dict):
            found.update(map(id, own.values()))
    return frozenset(found)


def _joins(conjunct: Conjunct) -> bool:
    """May several schemas say something of one nested value?"""
    shapes = [atom for atom in conjunct if not isinstance(atom, UniqueItems)]
    return len(shapes) > 1 or any(isinstance(a, ObjectShape) and a.patterns for a in shapes)


def _children(atom: Any) -> list[Node]:
    if isinstance(atom, Contains):
        return [atom.item]
    if isinstance(atom, ObjectShape):
        children = [*atom.properties.values(), *(node for _, node in atom.patterns)]
        if atom.names is not None:
            children.append(atom.names)
        return [*children, atom.additional] if atom.additional is not None else children
    if isinstance(atom, ArrayShape):
        return [*atom.prefix, atom.items] if atom.items is not None else list(atom.prefix)
    return []
