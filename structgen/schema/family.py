"""Grammars of JSON Schemas in one automaton: definitions that they have in common are built once.

A schema that has definitions of a living grammar is built into that grammar's automaton. What is
shared is decided by content: two schemas *agree* on a definition (``#/$defs/X`` or
``#/definitions/X``) where its text is the same in both, and that of all definitions that it refers
to. Then it says the same in both, and whoever needs its frame asks the grammar that read it first:
its states, their rows, and what else was computed of them are there already.

The grammars of a *family* keep their own documents, formulas and start states. Their matchers share
tables and rows, which only grow, so a grammar that comes later changes no mask of an earlier one.
What a grammar asks another for, and all that it adds, happens under the vocabulary's lock (see
:mod:`structgen.masks.grammar`). A grammar only asks those that were there before it, so questions
come to an end. All is freed when no grammar of the family is left.
"""

from __future__ import annotations

import marshal
import re
import threading
import weakref
from collections import Counter
from collections.abc import Hashable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from structgen.automaton.step import NO_LIMIT
from structgen.collector import paused
from structgen.limits import Limits
from structgen.schema.algebra import Formula
from structgen.schema.compile import SchemaBuilder
from structgen.schema.document import DEFINITIONS, Survey, dialect_of, survey
from structgen.schema.frames import Entry
from structgen.schema.library import Library
from structgen.schema.options import SchemaOptions

if TYPE_CHECKING:
    from structgen.masks.grammar import MaskGrammar

# A family is joined while its tables and the texts of its schemas are smaller.
MOST_BYTES = 4 << 20
# Grammars of one family: a question may go from one to the next through all of them.
MOST_MEMBERS = 32
# Families that are asked whether they agree on a schema's definitions.
MOST_ASKED = 2
# So many names that may be of families which are gone are not looked for.
FORGOTTEN = 1024


class Definition:
    """A definition that a grammar has read and checked, for grammars that agree on it."""

    __slots__ = ("_builder", "_is_satisfiable", "_lock", "_pointer", "_raw")

    def __init__(
        self, builder: SchemaBuilder, raw: Any, pointer: str, lock: threading.RLock
    ) -> None:
        self._builder, self._raw, self._pointer, self._lock = builder, raw, pointer, lock
        self._is_satisfiable: bool | None = None

    def _formula(self) -> Formula:
        reader = self._builder.reader
        return reader.formula(reader.node(self._raw, self._pointer))

    def _shape(self, slot: int) -> int | None:
        """The type formula of its arrays or objects, if it is one shape."""
        i = self._formula()[slot]
        return i if self._builder.algebra.terms[i].kind == "atom" else None

    def entries(self) -> list[Entry]:
        """How a value of it may begin; its frame ends with class 0."""
        with self._lock:
            return self._builder.entries(self._formula())

    def is_satisfiable(self) -> bool:
        with self._lock:
            if self._is_satisfiable is None:
                builder = self._builder
                self._is_satisfiable = builder.reader.looks.is_surely_satisfiable(
                    self._raw
                ) or builder.sat.is_satisfiable(self._formula())
            return self._is_satisfiable

    def typed_entries(self, slot: int) -> list[Entry] | None:
        """How an array (or object) of its shape may begin; None where it is more than a shape."""
        with self._lock:
            i = self._shape(slot)
            return None if i is None else self._builder.typed_entries(slot, i)

    def has_value(self, slot: int) -> bool | None:
        """Is there an array (or object) of its shape? None where it is more than a shape."""
        with self._lock:
            i = self._shape(slot)
            if i is None:
                return None
            shape = self._builder.algebra.terms[i].atom
            return self._builder.sat.is_shape_satisfiable(slot, (shape,))


class _Text(NamedTuple):
    """A definition as bytes, equal for equal ones only, and the definitions that it refers to.

    ``needs`` is None where it refers to something else, or in another way.
    """

    data: bytes
    needs: frozenset[str] | None


class Agreement(NamedTuple):
    """On which definitions a schema agrees with a family.

    Attributes:
        names: their pointers.
        known: those that a member has read.
        shared: what that one knows, by the identity of the schema's own definition.
        size: of the pointers and texts of the known ones, bytes.
    """

    names: set[str]
    known: set[str]
    shared: dict[int, Definition]
    size: int


class Family:
    """Grammars in one automaton, and what is known of their definitions.

    The automaton owns it: it lives as long as one of its grammars.
    """

    def __init__(self, masks: MaskGrammar, library: Library, founder: SchemaBuilder) -> None:
        self._masks, self._library = weakref.ref(masks), library
        self.lock = masks.tokens.lock
        # By pointer: the first of each definition.
        self._raws: dict[str, Any] = {}
        self._texts: dict[str, _Text] = {}
        self._known: dict[str, Definition] = {}
        # Members of which nobody asked for definitions yet, and what they agree on.
        self._new: list[tuple[SchemaBuilder, set[str] | None]] = [(founder, None)]
        self._n_members = 1  # ever
        self._size = founder.survey.size  # of their schemas, characters
        self._is_open = True
        masks.automaton.on_close.append(self._close)

    def _close(self) -> None:
        for part in (self._raws, self._texts, self._known, self._new):
            part.clear()

    def masks(self) -> MaskGrammar | None:
        """The automaton and rows of all members, if another one may join."""
        masks = self._masks()
        if masks is None or not self._is_open or self._n_members >= MOST_MEMBERS:
            return None
        return masks if self._size + masks.nbytes <= MOST_BYTES else None

    def agreement(self, schema: dict[str, Any]) -> Agreement | None:
        """On which definitions a schema agrees; None where nobody has read one of them."""
        mine = dict(_definitions(schema))
        with self.lock:
            self._take_in()
            # What the others do not have, none of theirs refers to.
            texts = {at: _text(mine[at]) for at in mine if at in self._known}
            if all(texts[at].data != self._text(at).data for at in texts):
                return None
            for at in mine.keys() & self._raws.keys() - texts.keys():
                texts[at] = _text(mine[at])
            names = _closed({a: t for a, t in texts.items() if t.data == self._text(a).data})
            known = names & self._known.keys()
            shared = {id(mine[at]): self._known[at] for at in known}
            size = sum(len(at) + len(texts[at].data) for at in known)
            return Agreement(names, known, shared, size) if shared else None

    def _text(self, at: str) -> _Text:
        found = self._texts.get(at)
        if found is None:
            found = self._texts[at] = _text(self._raws[at])
        return found

    def _take_in(self) -> None:
        """Note the definitions of new members: of a later one, where it agrees, and new ones."""
        for builder, agreed in self._new:
            mine = dict(_definitions(builder.document.root))
            if agreed is None:
                self._raws = mine
            else:
                texts = {at: _text(raw) for at, raw in mine.items() if at not in self._raws}
                texts |= {at: self._text(at) for at in agreed}
                mine = {at: mine[at] for at in _closed(texts)}
                self._raws = mine | self._raws
            for at, raw in mine.items():
                if id(raw) in builder.checked and at not in self._known:
                    self._known[at] = Definition(builder, raw, at, self.lock)
        self._new.clear()

    def add(
        self,
        masks: MaskGrammar,
        schema: dict[str, Any],
        agreement: Agreement,
        found: Survey,
        limits: Limits,
        options: SchemaOptions,
    ) -> tuple[SchemaBuilder, int]:
        """Build one more grammar, of whose schema ``found`` says the rest; its start state.

        Raises:
            StructgenError: as if it were built alone. The other grammars are as they were.
        """
        automaton = masks.automaton
        builder = SchemaBuilder(
            automaton, self._library, schema, limits, options,
            lazily=True, found=found, shared=agreement.shared,
        )  # fmt: skip
        try:
            builder.check_satisfiable()
        except BaseException:
            builder.leave()
            raise
        with self.lock:
            n, room = automaton.n_states, automaton.max_states
            # What each grammar may have of its own.
            automaton.max_states = min(room + limits.states, NO_LIMIT)
            automaton.version += 1
            try:
                start = builder.start()
            except BaseException:
                automaton.max_states = room + automaton.n_states - n
                # States that were not finished stay behind: nothing leads there.
                self._is_open = False
                raise
            self._n_members += 1
            self._size += found.size + agreement.size
            self._new.append((builder, agreement.names))
        return builder, start


_Names = dict[str, weakref.ref[Family]]


class Families:
    """The families of one compiler, by the names of their definitions.

    ``lock`` is the compiler's.
    """

    def __init__(self, lock: threading.RLock) -> None:
        self._lock = lock
        # By what must be equal but the definitions: the latest family that has a name.
        self._by_name: dict[Hashable, tuple[_Names, _Names]] = {}  # for each of DEFINITIONS
        self._n_names, self._most_names = 0, FORGOTTEN

    def build(
        self,
        group: Hashable,
        schema: dict[str, Any],
        limits: Limits,
        options: SchemaOptions,
    ) -> tuple[MaskGrammar, SchemaBuilder, int] | None:
        """Build a schema into a family that agrees on some of its definitions; None: there is none.

        ``group`` is equal for grammars that may be in one family.
        """
        for family in self._candidates(group, schema):
            masks = family.masks()
            if masks is None:
                continue
            agreement = family.agreement(schema)
            if agreement is None:
                continue
            found = _survey(schema, agreement, limits)
            if not _may_share(found):
                return None
            with paused():
                builder, start = family.add(masks, schema, agreement, found, limits, options)
            self._note(group, schema, family)
            return masks, builder, start
        return None

    def add(
        self, group: Hashable, masks: MaskGrammar, library: Library, builder: SchemaBuilder
    ) -> None:
        """Let others join a grammar that was built alone."""
        if _may_share(builder.survey):
            self._note(group, builder.document.root, Family(masks, library, builder))

    def _candidates(self, group: Hashable, schema: dict[str, Any]) -> list[Family]:
        """Families with definitions of the same names, those with the most first."""
        hits: Counter[Family] = Counter()
        with self._lock:
            for keyword, names in zip(DEFINITIONS, self._by_name.get(group, ()), strict=False):
                own = schema.get(keyword)
                if names and isinstance(own, dict):
                    for name in names.keys() & own.keys():
                        family = names[name]()
                        if family is not None:
                            hits[family] += 1
        return [family for family, _ in hits.most_common(MOST_ASKED)]

    def _note(self, group: Hashable, schema: dict[str, Any], family: Family) -> None:
        reference = weakref.ref(family)
        with self._lock:
            for keyword, names in zip(
                DEFINITIONS, self._by_name.setdefault(group, ({}, {})), strict=True
            ):
                own = schema.get(keyword)
                if own and isinstance(own, dict):
                    self._n_names -= len(names)
                    names.update(dict.fromkeys(own, reference))
                    self._n_names += len(names)
            if self._n_names > self._most_names:
                self._forget()

    def _forget(self) -> None:
        """Drop the names of families that are gone."""
        self._n_names = 0
        for group, both in list(self._by_name.items()):
            for names in both:
                for name in [name for name, family in names.items() if family() is None]:
                    del names[name]
                self._n_names += len(names)
            if not any(both):
                del self._by_name[group]
        self._most_names = 2 * self._n_names + FORGOTTEN


def group_of(schema: Any, options: SchemaOptions) -> Hashable:
    """What must be equal of two schemas, but their definitions; None: one that is built alone.

    Warnings are each schema's own, so each must be read as a whole where there may be some.
    """
    if not isinstance(schema, dict) or not any(schema.get(keyword) for keyword in DEFINITIONS):
        return None
    if options.relaxed or not options.additional_properties:
        return None
    if options.formats or options.resources is not None:
        return None
    return options.property_order, dialect_of(schema)


def _survey(schema: dict[str, Any], agreement: Agreement, limits: Limits) -> Survey:
    """Survey what others have not read; all of it where its size may be past the limit."""
    rest = dict(schema)
    for keyword in DEFINITIONS:
        own = schema.get(keyword)
        if isinstance(own, dict):
            rest[keyword] = {
                name: raw
                for name, raw in own.items()
                if not (isinstance(name, str) and f"#/{keyword}/{name}" in agreement.known)
            }
    found = survey(rest, limits)
    if found.size + _MOST_PER_BYTE * agreement.size > limits.schema_bytes:
        return survey(schema, limits)
    return found


def _may_share(found: Survey) -> bool:
    """Do references mean the same wherever they stand, and are no items to be compared?"""
    return not (found.mixed or found.named or found.unique)


def _definitions(schema: dict[str, Any]) -> Iterable[tuple[str, Any]]:
    """The definitions of a schema by pointer, those that a plain pointer names."""
    for keyword in DEFINITIONS:
        own = schema.get(keyword)
        if isinstance(own, dict):
            for name, raw in own.items():
                # Before a survey keys need not be strings.
                if isinstance(raw, dict) and isinstance(name, str) and _NAME.fullmatch(name):
                    yield f"#/{keyword}/{name}", raw


_NAME = re.compile(r"[^/~%]+")
_REFERENCE = re.compile(rb"#/(\$defs|definitions)/[^/~%]+(?=/|\Z)")


def _written(text: str) -> bytes:
    return marshal.dumps(text, _VERSION)


_VERSION = 2  # of a format in which equal values are equal bytes
_STRING = _written("")[:1]
_MOST_PER_BYTE = 8  # what a survey counts for a byte of that format, at most
_LENGTH = 4  # bytes, of a string's length
_REF = _written("$ref")
_DYNAMIC_REF, _RECURSIVE_REF = _written("$dynamicRef"), _written("$recursiveRef")


def _text(raw: Any) -> _Text:
    """A definition's bytes. What looks like a reference there counts as one."""
    data = marshal.dumps(raw, _VERSION)
    if _DYNAMIC_REF in data or _RECURSIVE_REF in data:
        return _Text(data, None)
    needs: set[str] = set()
    at = data.find(_REF)
    while at >= 0:
        at += len(_REF)
        first = at + len(_STRING) + _LENGTH
        last = first + int.from_bytes(data[at + len(_STRING) : first], "little")
        found = _REFERENCE.match(data, first, last) if data.startswith(_STRING, at) else None
        if found is None:
            return _Text(data, None)
        needs.add(found[0].decode(errors="surrogatepass"))
        at = data.find(_REF, at)
    return _Text(data, frozenset(needs))


def _closed(texts: dict[str, _Text]) -> set[str]:
    """Those of the definitions that refer to none but them."""
    users: dict[str, list[str]] = {}
    gone: list[str] = []
    for at, (_, needs) in texts.items():
        if needs is None or not needs <= texts.keys():
            gone.append(at)
        else:
            for need in needs:
                users.setdefault(need, []).append(at)
    kept = texts.keys() - gone
    for at in gone:
        for user in users.get(at, ()):
            if user in kept:
                kept.discard(user)
                gone.append(user)
    return kept
