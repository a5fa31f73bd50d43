"""Which formulas some value satisfies, and their disjunctive normal forms."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

from structgen import budget
from structgen.automaton.step import NO_LIMIT
from structgen.errors import LimitExceeded
from structgen.limits import Limits
from structgen.regular.charset import has_surrogate
from structgen.schema.algebra import (
    ANYTHING,
    ARRAY,
    FALSE,
    NOTHING,
    NUMBER,
    OBJECT,
    STRING,
    TRUE,
    Algebra,
    Formula,
)
from structgen.schema.atoms import ArrayShape, ObjectShape, UniqueItems
from structgen.schema.node import Node, Reader
from structgen.schema.scalars import Scalars

if TYPE_CHECKING:
    from structgen.schema.distinct import Distinct
    from structgen.schema.vectors import Vectors

# A conjunction of atoms; a value must satisfy all of them.
Conjunct = tuple[Any, ...]


class Satisfiability:
    """Least fixed point over the formulas that values nested in one another must satisfy."""

    def __init__(self, algebra: Algebra, reader: Reader, scalars: Scalars, limits: Limits) -> None:
        self.algebra, self.reader, self.scalars, self.limits = algebra, reader, scalars, limits
        self.vectors: Vectors = _vectors(self, limits)
        self.distinct: Distinct = _distinct(self, limits)
        self._known: dict[Formula, bool] = {}
        self._forms: dict[tuple[int, int], list[Conjunct] | None] = {}
        self._shape_sat: dict[tuple[int, Conjunct], bool] = {}
        # Has an array (or object) of these shapes a value? None where no other grammar has read it.
        self.elsewhere: Callable[[int, Conjunct], bool | None] = lambda slot, conjunct: None

    # -- normal form ----------------------------------------------------------------------------

    def conjuncts(self, slot: int, i: int) -> list[Conjunct] | None:
        """Arrays or objects: type formula ``i`` as alternatives, each a conjunction of shapes.

        None where it is not of that kind: a negation, a ``oneOf`` whose branches overlap, a number
        of properties, ``contains``. Such formulas are judged by :mod:`structgen.schema.judges`.
        """
        key = (slot, i)
        if key not in self._forms:
            self._forms[key] = None  # what is being asked counts as not of that kind
            try:
                self._forms[key] = self._minimal(self._normal(slot, i, False))
            except _NotMonotone:
                pass
            except Exception:
                del self._forms[key]  # a limit, say: ask again another time
                raise
        return self._forms[key]

    def _normal(self, slot: int, i: int, negated: bool) -> list[Conjunct]:
        if i <= TRUE:
            return [()] if (i == TRUE) != negated else []
        term = self.algebra.terms[i]
        if term.kind == "atom":
            if negated:
                return self._negative(term.atom)
            if not _is_plain_shape(term.atom):
                raise _NotMonotone
            return [(term.atom,)]
        if term.kind == "not":
            return self._normal(slot, term.parts[0], not negated)
        if term.kind == "one":
            if negated:
                raise _NotMonotone
            return self._one(slot, term.parts)
        alternatives = (term.kind == "or") != negated
        parts = [self._normal(slot, p, negated) for p in term.parts]
        if alternatives:
            joined = [c for part in parts for c in part]
            self._bound(len(joined))
            return joined
        product: list[Conjunct] = [()]
        for part in parts:
            self._bound(len(product) * len(part))
            product = [_join(a, b) for a in product for b in part]
        return product

    def _bound(self, n: int) -> None:
        if n > self.limits.branches:
            raise LimitExceeded(
                limit="branches", value=self.limits.branches, where="combined anyOf, allOf, oneOf"
            )

    def _negative(self, atom: Any) -> list[Conjunct]:
        """The negation of a shape that does nothing but require, or forbid, properties."""
        if isinstance(atom, ObjectShape) and _is_plain_shape(atom) and atom.additional is None:
            if not atom.properties and not atom.patterns and atom.names is None:
                false = self.reader.false
                return [(ObjectShape({name: false}),) for name in atom.required]
            forbids = all(node is self.reader.false for node in atom.properties.values())
            if forbids and not atom.required and not atom.patterns and atom.names is None:
                return [(ObjectShape({}, (name,)),) for name in atom.properties]
        raise _NotMonotone

    def _one(self, slot: int, parts: Sequence[int]) -> list[Conjunct]:
        """``oneOf``: the alternatives themselves where no two can hold at once."""
        for a, b in combinations(parts, 2):
            budget.check("the alternatives of a oneOf")
            both = self.conjuncts(slot, self.algebra.all_of((a, b)))
            if both is None:
                raise _NotMonotone
            if any(self.is_shape_satisfiable(slot, conjunct) for conjunct in both):
                return self._one_or_none_else(slot, parts)
        return [c for p in parts for c in self._normal(slot, p, False)]

    def _one_or_none_else(self, slot: int, parts: Sequence[int]) -> list[Conjunct]:
        """``oneOf`` as alternatives with all the others negated, where that can be said."""
        result: list[Conjunct] = []
        for p in parts:
            product = self._normal(slot, p, False)
            for other in parts:
                if other != p:
                    negative = self._normal(slot, other, True)
                    self._bound(len(product) * len(negative))
                    product = [_join(a, b) for a in product for b in negative]
            result += product
        return result

    def _minimal(self, forms: list[Conjunct]) -> list[Conjunct]:
        """Without alternatives that another, weaker one contains."""
        if len(forms) < 2:
            return forms
        sets = [frozenset(c) for c in forms]
        keep: list[Conjunct] = []
        for k, own in enumerate(sets):
            weaker = (
                other < own or (other == own and j < k) for j, other in enumerate(sets) if j != k
            )
            if not any(weaker):
                keep.append(forms[k])
        return keep

    # -- satisfiability -------------------------------------------------------------------------

    def is_satisfiable(self, formula: Formula) -> bool:
        known = self._known.get(formula)
        if known is not None:
            return known
        if formula[0] or formula[1] or TRUE in formula[2:]:
            self._known[formula] = True
            return True
        needs: dict[Formula, list[list[Formula]]] = {}
        waiting = [formula]
        while waiting:
            budget.check("what must be nested in a value")
            f = waiting.pop()
            if f in needs or f in self._known:
                continue
            clauses = self._clauses(f)
            if clauses is None:
                self._known[f] = True
                continue
            needs[f] = clauses
            waiting.extend(child for clause in clauses for child in clause)
        changed = True
        while changed:
            changed = False
            # What was found last is nested deepest: from there, a chain settles in one pass.
            budget.check("what must be nested in a value")
            for f, clauses in reversed(list(needs.items())):
                if any(all(self._known.get(c, False) for c in clause) for clause in clauses):
                    self._known[f] = True
                    del needs[f]
                    changed = True
        for f in needs:
            self._known[f] = False
        return self._known[formula]

    def _clauses(self, f: Formula) -> list[list[Formula]] | None:
        """None where ``f`` has a value; else the alternatives of nested formulas it needs."""
        if f[0] or f[1]:
            return None
        for slot in (NUMBER, STRING):
            if f[slot] != FALSE and not self.scalars.is_empty(slot, f[slot]):
                return None
        clauses: list[list[Formula]] = []
        for slot in (ARRAY, OBJECT):
            if f[slot] == TRUE:
                return None
            if f[slot] == FALSE:
                continue
            conjuncts = self.conjuncts(slot, f[slot])
            if conjuncts is None:
                if 1 in self.vectors.nested(slot, (f[slot],)):
                    return None
                continue
            for conjunct in conjuncts:
                known = self.elsewhere(slot, conjunct)
                if known:
                    return None
                needed = self._needed(slot, conjunct) if known is None else None
                if needed is not None:
                    if not needed:
                        return None
                    clauses.append(needed)
        return clauses

    def is_shape_satisfiable(self, slot: int, conjunct: Conjunct) -> bool:
        """Does some array (or object) satisfy all of these shapes?"""
        key = (slot, conjunct)
        found = self._shape_sat.get(key)
        if found is None:
            found = self.elsewhere(slot, conjunct)
        if found is None:
            self._shape_sat[key] = True  # what is being asked counts as possible
            try:
                needed = self._needed(slot, conjunct)
                found = needed is not None and all(self.is_satisfiable(f) for f in needed)
            except Exception:
                del self._shape_sat[key]
                raise
            self._shape_sat[key] = found
        return found

    def _needed(self, slot: int, conjunct: Conjunct) -> list[Formula] | None:
        """The formulas of values that must be there; None where the shapes contradict at once."""
        if slot == OBJECT:
            names = dict.fromkeys(n for shape in conjunct for n in shape.required)
            return [self.property_formula(conjunct, name) for name in names]
        low, high, prefix = array_bounds(conjunct)
        if high < low:
            return None
        # What is not enforced is left out; places in a schema that ask for it are refused.
        if low > 1 and is_unique(conjunct) and not self.distinct.is_enforced(conjunct):
            return None
        return [self.item_formula(conjunct, k) for k in range(min(low, prefix + 1))]

    # -- parts of shapes ------------------------------------------------------------------------

    def node_formula(self, node: Node | None) -> Formula:
        return ANYTHING if node is None else self.reader.place_formula(node)

    def property_formula(self, conjunct: Conjunct, name: str) -> Formula:
        """What the value of a property of this name must satisfy."""
        return self.algebra.conjunction(self.shape_property(shape, name) for shape in conjunct)

    def unread_property(self, conjunct: Conjunct, name: str) -> Node | None:
        """The node that says all about a property of this name, if it need not be read yet.

        Some value satisfies it. None where more than a look says what the value must satisfy.
        """
        if len(conjunct) > 1 or not self.reader.options.additional_properties:
            return None
        shape = conjunct[0]
        node = shape.properties.get(name)
        if node is None or shape.patterns or shape.names is not None or has_surrogate(name):
            return None
        return node if self.reader.looks.is_surely_satisfiable(node.raw) else None

    def shape_property(self, shape: ObjectShape, name: str) -> Formula:
        """What one shape says of the value of a property of this name."""
        if has_surrogate(name):
            return NOTHING  # a lone surrogate: no text can spell the name
        if shape.names is not None:
            condition = self.node_formula(shape.names)[STRING]
            if condition != TRUE and (
                condition == FALSE or self.scalars.language(STRING, condition).accepts(name) < 0
            ):
                return NOTHING
        return self.algebra.conjunction(map(self.node_formula, self._property_nodes(shape, name)))

    def _property_nodes(self, shape: ObjectShape, name: str) -> list[Node]:
        """The subschemas of one shape that a property of this name must satisfy."""
        nodes = [
            node
            for pattern, node in shape.patterns
            if self.scalars.pattern(pattern).accepts(name) >= 0
        ]
        declared = shape.properties.get(name)
        if declared is not None:
            nodes.insert(0, declared)
        if not nodes and shape.additional is not None:
            nodes.append(shape.additional)
        return nodes

    def item_formula(self, conjunct: Conjunct, k: int) -> Formula:
        """What item ``k`` must satisfy."""
        return self.algebra.conjunction(
            self.shape_item(shape, k) for shape in conjunct if isinstance(shape, ArrayShape)
        )

    def joined_formulas(self, slot: int, conjunct: Conjunct) -> Iterator[Formula]:
        """What nested values must satisfy of which several subschemas say something."""
        if slot == OBJECT:
            for name in dict.fromkeys(n for shape in conjunct for n in shape.properties):
                if sum(len(self._property_nodes(shape, name)) for shape in conjunct) > 1:
                    yield self.property_formula(conjunct, name)
            return
        shapes = [shape for shape in conjunct if isinstance(shape, ArrayShape)]
        for k in range(array_bounds(conjunct)[2] + 1 if len(shapes) > 1 else 0):
            yield self.item_formula(conjunct, k)

    def shape_item(self, shape: ArrayShape, k: int) -> Formula:
        return self.node_formula(shape.prefix[k] if k < len(shape.prefix) else shape.items)


def _vectors(sat: Satisfiability, limits: Limits) -> Vectors:
    from structgen.schema.vectors import Vectors  # the two ask each other

    return Vectors(sat, limits)


def _distinct(sat: Satisfiability, limits: Limits) -> Distinct:
    from structgen.schema.distinct import Distinct  # likewise

    return Distinct(sat, limits)


def is_unique(conjunct: Conjunct) -> bool:
    """Must the items of such an array differ?"""
    return any(isinstance(shape, UniqueItems) for shape in conjunct)


def array_bounds(conjunct: Conjunct) -> tuple[int, int, int]:
    """Least and greatest number of items, and from which item on all are alike."""
    shapes = [shape for shape in conjunct if isinstance(shape, ArrayShape)]
    low = max((shape.minimum for shape in shapes), default=0)
    tops = [shape.maximum for shape in shapes if shape.maximum is not None]
    return low, min(tops, default=NO_LIMIT), max((len(s.prefix) for s in shapes), default=0)


class _NotMonotone(Exception):
    """A formula that is no disjunction of conjunctions of shapes."""


def _is_plain_shape(atom: Any) -> bool:
    """Can it be followed by what its nested values say alone, without counting them?"""
    if isinstance(atom, ObjectShape):
        return atom.minimum == 0 and atom.maximum is None
    return isinstance(atom, ArrayShape | UniqueItems)


def _join(a: Conjunct, b: Conjunct) -> Conjunct:
    return tuple(dict.fromkeys((*a, *b)))


def property_order(shapes: Conjunct) -> list[str]:
    """The order of properties of merged shapes: declared ones first, then required names.

    The orders of the shapes are merged: a name that several declare stands where the first does,
    names between two common ones stay between them.
    """
    if len(shapes) == 1:
        return list(dict.fromkeys((*shapes[0].properties, *shapes[0].required)))
    following: dict[str | None, str | None] = {None: None}  # a list that begins behind None
    last: str | None = None
    for shape in shapes:
        at: str | None = None  # the last common name
        for name in shape.properties:
            if name not in following:
                before = last if at is None else at
                following[name], following[before] = following[before], name
                if before == last:
                    last = name
            elif at is None:
                at = name
            at = None if at is None else name
    order: list[str] = []
    name_after = following[None]
    while name_after is not None:
        order.append(name_after)
        name_after = following[name_after]
    return list(dict.fromkeys((*order, *(name for shape in shapes for name in shape.required))))
