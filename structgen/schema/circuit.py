"""Type formulas evaluated over bit masks of their atoms.

A truth assignment is an integer with one bit for each atom. Every connective is a *gate* with a bit
of its own behind those, computed from the bits of its inputs, so that evaluating a formula is a few
operations on integers for each gate.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from structgen.schema.algebra import FALSE, TRUE, Algebra, Kind


class Circuit:
    """The gates of several formulas, the *outputs*, over common atoms.

    Attributes:
        atoms: bit k of an assignment says whether ``atoms[k]`` holds.
    """

    def __init__(self, atoms: Sequence[Any]) -> None:
        self.atoms = tuple(atoms)
        self._bits = {atom: 1 << k for k, atom in enumerate(self.atoms)}
        # Kind, mask of inputs, bit; inputs before the gates that they enter.
        self._gates: list[tuple[Kind, int, int]] = []
        self._outputs: list[int] = []

    @staticmethod
    def of(algebra: Algebra, ids: Iterable[int]) -> Circuit:
        """The circuit of type formulas; the atoms are theirs, each once, in order."""
        ids = tuple(ids)
        circuit = Circuit(tuple(dict.fromkeys(a for i in ids for a in algebra.atoms(i))))
        circuit.add(algebra, ids)
        return circuit

    def mask(self, atoms: Iterable[Any]) -> int:
        """The assignment in which these atoms hold and no others."""
        return sum(self._bits[atom] for atom in atoms)

    def add(self, algebra: Algebra, ids: Iterable[int]) -> None:
        """Add outputs for type formulas over the atoms."""
        bits = {FALSE: self._gate("or", 0), TRUE: self._gate("and", 0)}
        for i in ids:
            stack = [i]
            while stack:
                j = stack[-1]
                term = algebra.terms[j]
                waiting = [] if j in bits else [p for p in term.parts if p not in bits]
                if waiting:
                    stack.extend(waiting)
                    continue
                stack.pop()
                if j in bits:
                    continue
                if term.kind == "atom":
                    bits[j] = self._bits[term.atom]
                else:
                    inputs = 0
                    for p in term.parts:
                        inputs |= bits[p]
                    bits[j] = self._gate(term.kind, inputs)
            self._outputs.append(bits[i])

    def add_alternatives(self, alternatives: Iterable[int]) -> None:
        """Add an output that is true where all atoms of one of these masks are."""
        inputs = 0
        for mask in alternatives:
            inputs |= self._gate("and", mask)
        self._outputs.append(self._gate("or", inputs))

    def _gate(self, kind: Kind, inputs: int) -> int:
        # Never one gate for two terms: both may be inputs of a "one".
        bit = 1 << len(self.atoms) + len(self._gates)
        self._gates.append((kind, inputs, bit))
        return bit

    def evaluate(self, true: int) -> int:
        """The mask of the outputs that are true where these atoms are."""
        for kind, inputs, bit in self._gates:
            x = true & inputs
            if kind == "and":
                holds = x == inputs
            elif kind == "or":
                holds = x != 0
            elif kind == "not":
                holds = not x
            else:
                holds = x != 0 and not x & (x - 1)
            if holds:
                true |= bit
        return self._collect(true)

    def bounds(self, possible: int, certain: int = 0) -> tuple[int, int, int]:
        """Which outputs are certainly true, which may be true, and which atoms decide the others.

        The ``certain`` atoms are true, other ``possible`` ones may be true or false, all others are
        false. What is computed gate by gate may say "may be" where it cannot. A possible atom that
        is not certain and decides nothing may as well be false.
        """
        may, must = possible, certain & possible
        for kind, inputs, bit in self._gates:
            x, sure = may & inputs, must & inputs
            if kind == "and":
                can, has = x == inputs, sure == inputs
            elif kind == "or":
                can, has = x != 0, sure != 0
            elif kind == "not":
                can, has = not sure, not x
            else:
                can = x != 0 and not sure & (sure - 1)
                has = x == sure and x != 0 and not x & (x - 1)
            if can:
                may |= bit
            if has:
                must |= bit
        needed = sum(bit for bit in set(self._outputs) if (may & ~must) & bit)
        for _, inputs, bit in reversed(self._gates):
            if needed & bit:
                needed |= inputs & may & ~must
        return self._collect(must), self._collect(may), needed & possible

    def _collect(self, bits: int) -> int:
        return sum(1 << k for k, bit in enumerate(self._outputs) if bits & bit)
