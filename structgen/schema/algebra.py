"""One Boolean formula for each JSON type.

A schema says of a value: a formula over *atoms*, each about values of one type (a range of numbers,
a pattern of strings, the properties of objects...). Splitting it by type makes ``type`` vanish:

    Formula = (null, boolean, number, string, array, object)

where null is a mask of 1 bit, boolean a mask of 2 (1: false, 2: true), and the others are numbers
of interned type formulas. Type formula 0 is FALSE, 1 is TRUE.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, NamedTuple

from structgen import budget

NUMBER, STRING, ARRAY, OBJECT = 2, 3, 4, 5
FALSE, TRUE = 0, 1

Formula = tuple[int, int, int, int, int, int]

NOTHING: Formula = (0, 0, FALSE, FALSE, FALSE, FALSE)
ANYTHING: Formula = (1, 3, TRUE, TRUE, TRUE, TRUE)

Kind = Literal["false", "true", "atom", "and", "or", "not", "one"]


class Term(NamedTuple):
    """An interned type formula: a constant, an atom, or a connective over others.

    ``one`` is true where exactly one of its parts is.
    """

    kind: Kind
    parts: tuple[int, ...] = ()
    atom: Any = None


class Algebra:
    """Interns type formulas and combines formulas."""

    def __init__(self) -> None:
        self.terms: list[Term] = [Term("false"), Term("true")]
        self._ids: dict[Term, int] = {term: i for i, term in enumerate(self.terms)}

    def atom(self, atom: Any) -> int:
        """The type formula of an atom (hashable; equal atoms are one)."""
        return self._intern(Term("atom", (), atom))

    def _intern(self, term: Term) -> int:
        found = self._ids.get(term)
        if found is None:
            budget.charge(300 + 20 * len(term.parts), "the formulas of the schema")
            found = self._ids[term] = len(self.terms)
            self.terms.append(term)
        return found

    # -- type formulas --------------------------------------------------------------------------

    def _gather(self, kind: Kind, ids: Iterable[int], unit: int, zero: int) -> int:
        """And/or: nested ones are flattened, repeated parts dropped, order kept."""
        parts: dict[int, None] = {}
        for i in ids:
            if i == zero:
                return zero
            if i == unit:
                continue
            term = self.terms[i]
            for part in term.parts if term.kind == kind else (i,):
                parts[part] = None
        if not parts:
            return unit
        if len(parts) == 1:
            return next(iter(parts))
        return self._intern(Term(kind, tuple(parts)))

    def all_of(self, ids: Iterable[int]) -> int:
        return self._gather("and", ids, TRUE, FALSE)

    def any_of(self, ids: Iterable[int]) -> int:
        return self._gather("or", ids, FALSE, TRUE)

    def negate(self, i: int) -> int:
        if i <= TRUE:
            return 1 - i
        term = self.terms[i]
        if term.kind == "not":
            return term.parts[0]
        return self._intern(Term("not", (i,)))

    def exactly_one(self, ids: Sequence[int]) -> int:
        true = sum(i == TRUE for i in ids)
        if true > 1:
            return FALSE
        # What occurs twice is true twice or not at all.
        times = Counter(i for i in ids if i > TRUE)
        twice = [i for i, n in times.items() if n > 1]
        if twice:
            once = [i for i in ids if i == TRUE or times[i] == 1]
            return self.all_of([self.exactly_one(once), *map(self.negate, twice)])
        rest = list(times)
        if true == 1:
            return self.all_of(self.negate(i) for i in rest)
        if len(rest) <= 1:
            return rest[0] if rest else FALSE
        return self._intern(Term("one", tuple(rest)))

    # -- formulas -------------------------------------------------------------------------------

    def conjunction(self, formulas: Iterable[Formula]) -> Formula:
        return self._combine(formulas, ANYTHING, lambda a, b: a & b, self.all_of)

    def disjunction(self, formulas: Iterable[Formula]) -> Formula:
        return self._combine(formulas, NOTHING, lambda a, b: a | b, self.any_of)

    def _combine(
        self,
        formulas: Iterable[Formula],
        unit: Formula,
        masks: Callable[[int, int], int],
        terms: Callable[[Iterable[int]], int],
    ) -> Formula:
        given = list(formulas)
        if len(given) > 1:
            given = [f for f in dict.fromkeys(given) if f != unit]
        if len(given) <= 1:
            return given[0] if given else unit
        null, boolean = unit[:2]
        for f in given:
            null, boolean = masks(null, f[0]), masks(boolean, f[1])
        one = unit[NUMBER]
        combined: list[int] = []
        for slot in (NUMBER, STRING, ARRAY, OBJECT):
            parts = {f[slot] for f in given if f[slot] != one}
            if len(parts) > 1:
                combined.append(terms([f[slot] for f in given]))
            else:
                combined.append(parts.pop() if parts else one)
        number, string, array, object_ = combined
        return (null, boolean, number, string, array, object_)

    def complement(self, f: Formula) -> Formula:
        number, string, array, object_ = (self.negate(i) for i in f[2:])
        return (1 - f[0], 3 - f[1], number, string, array, object_)

    def one_of(self, formulas: Sequence[Formula]) -> Formula:
        null = int(sum(f[0] for f in formulas) == 1)
        boolean = sum(bit for bit in (1, 2) if sum(1 for f in formulas if f[1] & bit) == 1)
        number, string, array, object_ = (
            self.exactly_one([f[t] for f in formulas]) for t in range(2, 6)
        )
        return (null, boolean, number, string, array, object_)

    def weaken(self, i: int, satisfied: Callable[[Any], bool]) -> int:
        """A type formula that holds wherever ``i`` does if the ``satisfied`` atoms are unknown.

        They count as true where they stand plainly and as false under a negation; ``one`` over
        parts with such an atom becomes ``or``.
        """
        if not any(satisfied(atom) for atom in self.atoms(i)):
            return i
        # A part is wanted as it is, or under an odd number of negations.
        value: dict[tuple[int, bool], int] = {}
        stack = [(i, False)]
        while stack:
            j, negated = stack[-1]
            term = self.terms[j]
            inner = negated != (term.kind == "not")
            waiting = [(p, inner) for p in term.parts if (p, inner) not in value]
            if waiting and (j, negated) not in value:
                stack.extend(waiting)
                continue
            stack.pop()
            parts = [value[p, inner] for p in term.parts]
            if term.kind == "atom":
                result = (FALSE if negated else TRUE) if satisfied(term.atom) else j
            elif term.kind == "and":
                result = self.all_of(parts)
            elif term.kind == "or":
                result = self.any_of(parts)
            elif term.kind == "not":
                result = self.negate(parts[0])
            elif term.kind == "one" and parts != list(term.parts):
                result = FALSE if negated else self.any_of(parts)
            else:
                result = j
            value[j, negated] = result
        return value[i, False]

    # -- reading them ---------------------------------------------------------------------------

    def atoms(self, i: int) -> list[Any]:
        """The atoms of a type formula, each once, in order."""
        found: dict[Any, None] = {}
        stack = [i]
        while stack:
            term = self.terms[stack.pop()]
            if term.kind == "atom":
                found[term.atom] = None
            stack.extend(reversed(term.parts))
        return list(found)

    def has_negation(self, i: int) -> bool:
        """Can a true atom make the type formula false?"""
        seen, stack = {i}, [i]
        while stack:
            term = self.terms[stack.pop()]
            if term.kind in ("not", "one"):
                return True
            new = [p for p in term.parts if p not in seen]
            seen.update(new)
            stack.extend(new)
        return False
