"""Which formulas some value satisfies, and their disjunctive normal forms."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

from structgen.errors import LimitExceeded, UnsupportedSchemaError
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
from structgen.schema.atoms import ArrayShape, ObjectShape
from structgen.schema.node import Node, Reader, Unsupported
from structgen.schema.scalars import Scalars

# A conjunction of atoms; a value must satisfy all of them.
Conjunct = tuple[Any, ...]


class Satisfiability:
    """Least fixed point over the formulas that values nested in one another must satisfy."""

    def __init__(self, algebra: Algebra, reader: Reader, scalars: Scalars, limits: Limits) -> None:
        self.algebra, self.reader, self.scalars, self.limits = algebra, reader, scalars, limits
        self._known: dict[Formula, bool] = {}
        self._forms: dict[tuple[int, int], list[Conjunct]] = {}
        self._shape_sat: dict[tuple[int, Conjunct], bool] = {}

    # -- normal form ----------------------------------------------------------------------------

    def conjuncts(self, slot: int, i: int) -> list[Conjunct]:
        """Arrays or objects: type formula ``i`` as alternatives, each a conjunction of shapes.

        Raises:
            UnsupportedSchemaError: a negation, or a ``oneOf`` whose branches overlap, that is not
                expressible this way.
        """
        found = self._forms.get((slot, i))
        if found is None:
            found = self._forms[slot, i] = self._minimal(self._normal(slot, i, False))
        return found

    def _normal(self, slot: int, i: int, negated: bool) -> list[Conjunct]:
        if i <= TRUE:
            return [()] if (i == TRUE) != negated else []
        term = self.algebra.terms[i]
        if term.kind == "atom":
            return self._negative(term.atom) if negated else [(term.atom,)]
        if term.kind == "not":
            return self._normal(slot, term.parts[0], not negated)
        if term.kind == "one":
            if negated:
                raise UnsupportedSchemaError("not over oneOf is not enforced", keyword="not")
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
        """The negation of a shape that does nothing but require properties: one is absent."""
        plain = isinstance(atom, ObjectShape) and not atom.properties and atom.additional is None
        if plain:
            false = self.reader.false
            return [(ObjectShape({name: false}),) for name in atom.required]
        if (
            isinstance(atom, ObjectShape)
            and atom.additional is None
            and not atom.required
            and all(node is self.reader.false for node in atom.properties.values())
        ):
            return [(ObjectShape({}, (name,)),) for name in atom.properties]
        raise UnsupportedSchemaError(
            "not over the properties or items of a value is not enforced", keyword="not"
        )

    def _one(self, slot: int, parts: Sequence[int]) -> list[Conjunct]:
        """``oneOf``: the alternatives themselves where no two can hold at once."""
        overlap = any(
            self.is_shape_satisfiable(slot, conjunct)
            for a, b in combinations(parts, 2)
            for conjunct in self.conjuncts(slot, self.algebra.all_of((a, b)))
        )
        if not overlap:
            return [c for p in parts for c in self._normal(slot, p, False)]
        try:
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
        except UnsupportedSchemaError:
            raise UnsupportedSchemaError(
                "oneOf with branches that can hold at once is not enforced", keyword="oneOf"
            ) from None

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
            for f, clauses in list(needs.items()):
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
            for conjunct in self.conjuncts(slot, f[slot]) if f[slot] else ():
                needed = self._needed(slot, conjunct)
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
            self._shape_sat[key] = True  # what is being asked counts as possible
            needed = self._needed(slot, conjunct)
            found = needed is not None and all(self.is_satisfiable(f) for f in needed)
            self._shape_sat[key] = found
        return found

    def _needed(self, slot: int, conjunct: Conjunct) -> list[Formula] | None:
        """The formulas of values that must be there; None where the shapes contradict at once."""
        if any(isinstance(atom, Unsupported) for atom in conjunct):
            return []  # reported where the place is checked
        if slot == OBJECT:
            names = dict.fromkeys(n for shape in conjunct for n in shape.required)
            return [self.property_formula(conjunct, name) for name in names]
        low = max((shape.minimum for shape in conjunct), default=0)
        tops = [shape.maximum for shape in conjunct if shape.maximum is not None]
        if tops and min(tops) < low:
            return None
        prefix = max((len(shape.prefix) for shape in conjunct), default=0)
        return [self.item_formula(conjunct, k) for k in range(min(low, prefix + 1))]

    # -- parts of shapes ------------------------------------------------------------------------

    def node_formula(self, node: Node | None) -> Formula:
        return ANYTHING if node is None else self.reader.formula(node)

    def property_formula(self, conjunct: Conjunct, name: str | None) -> Formula:
        """What a property's value must satisfy; ``name`` None is an undeclared one."""
        return self.algebra.conjunction(self.shape_property(shape, name) for shape in conjunct)

    def shape_property(self, shape: ObjectShape, name: str | None) -> Formula:
        node = shape.properties.get(name) if name is not None else None
        return self.node_formula(shape.additional if node is None else node)

    def item_formula(self, conjunct: Conjunct, k: int) -> Formula:
        """What item ``k`` must satisfy."""
        return self.algebra.conjunction(self.shape_item(shape, k) for shape in conjunct)

    def shape_item(self, shape: ArrayShape, k: int) -> Formula:
        return self.node_formula(shape.prefix[k] if k < len(shape.prefix) else shape.items)


def _join(a: Conjunct, b: Conjunct) -> Conjunct:
    return tuple(dict.fromkeys((*a, *b)))


__all__ = ["STRING", "Conjunct", "Satisfiability"]
