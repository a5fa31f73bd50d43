"""Type formulas over bit masks, against the truth tables of their connectives."""

from __future__ import annotations

from itertools import product
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from structgen.schema.algebra import Algebra
from structgen.schema.circuit import Circuit

ATOMS = "abcd"

formulas = st.recursive(
    st.sampled_from(ATOMS),
    lambda inner: st.tuples(
        st.sampled_from(("and", "or", "not", "one")), st.lists(inner, min_size=1, max_size=4)
    ),
    max_leaves=10,
)


def interned(algebra: Algebra, formula: Any) -> int:
    if isinstance(formula, str):
        return algebra.atom(formula)
    kind, parts = formula
    ids = [interned(algebra, part) for part in parts]
    if kind == "not":
        return algebra.negate(ids[0])
    return {"and": algebra.all_of, "or": algebra.any_of, "one": algebra.exactly_one}[kind](ids)


def holds(formula: Any, true: set[str]) -> bool:
    if isinstance(formula, str):
        return formula in true
    kind, parts = formula
    values = [holds(part, true) for part in parts]
    if kind == "not":
        return not values[0]
    return {"and": all(values), "or": any(values), "one": sum(values) == 1}[kind]


def subsets(mask: int) -> list[int]:
    bits = [1 << k for k in range(mask.bit_length()) if mask >> k & 1]
    return [sum(chosen) for chosen in product(*((0, bit) for bit in bits))]


@given(st.lists(formulas, min_size=1, max_size=3))
def test_evaluate(several: list[Any]) -> None:
    algebra = Algebra()
    circuit = Circuit.of(algebra, [interned(algebra, f) for f in several])
    for true in subsets((1 << len(circuit.atoms)) - 1):
        atoms = {atom for k, atom in enumerate(circuit.atoms) if true >> k & 1}
        expected = sum(1 << k for k, f in enumerate(several) if holds(f, atoms))
        assert circuit.evaluate(true) == expected


@given(st.lists(formulas, min_size=1, max_size=3))
def test_bounds(several: list[Any]) -> None:
    algebra = Algebra()
    circuit = Circuit.of(algebra, [interned(algebra, f) for f in several])
    for possible in subsets((1 << len(circuit.atoms)) - 1):
        for certain in subsets(possible):
            must, may, deciding = circuit.bounds(possible, certain)
            assert deciding & ~possible == 0
            for true in (certain | rest for rest in subsets(possible & ~certain)):
                verdict = circuit.evaluate(true)
                assert must & ~verdict == 0
                assert verdict & ~may == 0
                assert circuit.evaluate(true & (deciding | certain)) == verdict


def test_alternatives() -> None:
    circuit = Circuit(ATOMS)
    circuit.add_alternatives([0b0011, 0b0100])
    circuit.add_alternatives([])
    circuit.add_alternatives([0])
    for true in range(16):
        first = true & 0b0011 == 0b0011 or bool(true & 0b0100)
        assert circuit.evaluate(true) == first | 0b100
