"""Which sets of formulas can hold at once for one value.

For scalars an automaton says so, for arrays and objects a judge. Values may nest in values of the
same kind; what is achievable is then a least fixed point.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from structgen.errors import LimitExceeded
from structgen.limits import Limits
from structgen.schema.algebra import ARRAY, NUMBER, OBJECT, STRING, TRUE, Formula
from structgen.schema.judges import ArrayJudge, ObjectJudge
from structgen.schema.satisfy import Satisfiability

Key = tuple[int, tuple[int, ...]]  # the type, and the goals


class Split(NamedTuple):
    """Formulas seen by values of one type: which hold anyway, and the type formulas that decide.

    ``members[k]`` is the mask of the formulas that type formula ``ids[k]`` decides.
    """

    known: int
    ids: tuple[int, ...]
    members: tuple[int, ...]

    def whole(self, verdict: int) -> int:
        """The mask of the formulas that hold, from the mask of the type formulas that do."""
        return self.known | sum(m for k, m in enumerate(self.members) if verdict >> k & 1)

    def part(self, whole: int) -> int | None:
        """The inverse of :meth:`whole`; None for a mask that no value of the type can have."""
        verdict = sum(1 << k for k, m in enumerate(self.members) if m & whole == m)
        return verdict if self.whole(verdict) == whole else None


def split(formulas: Sequence[Formula], slot: int) -> Split:
    known = 0
    groups: dict[int, int] = {}
    for k, f in enumerate(formulas):
        if f[slot] == TRUE:
            known |= 1 << k
        elif f[slot]:
            groups[f[slot]] = groups.get(f[slot], 0) | 1 << k
    return Split(known, tuple(groups), tuple(groups.values()))


class Vectors:
    """Which sets of formulas can hold at once for one value.

    What was computed is *settled* once it cannot change any more: nothing that it came from was
    still being computed itself, or everything that there is was found, or a repetition of all
    changed nothing.
    """

    def __init__(self, sat: Satisfiability, limits: Limits) -> None:
        self.sat, self.limits = sat, limits
        self._known: dict[Key, frozenset[int]] = {}
        self._settled: set[Key] = set()
        self._visited: set[Key] | None = None
        self._changed = self._unfinished = False
        # Changes where what judges have computed before may not hold any more.
        self.epoch = 0
        self._judges: dict[Key, ObjectJudge | ArrayJudge] = {}
        # By formulas: what is settled, and what is not yet.
        self._of: dict[tuple[Formula, ...], frozenset[int]] = {}
        self._passing: dict[tuple[Formula, ...], frozenset[int]] = {}

    def of(self, formulas: tuple[Formula, ...]) -> frozenset[int]:
        """The masks of ``formulas`` that some value satisfies exactly."""
        found = self._of.get(formulas)
        if found is not None:
            return found
        found = self._passing.get(formulas)
        if found is not None:
            self._unfinished = True
            return found
        before, self._unfinished = self._unfinished, False
        found = frozenset(self._masks(formulas))
        (self._passing if self._unfinished else self._of)[formulas] = found
        self._unfinished |= before
        return found

    def _masks(self, formulas: tuple[Formula, ...]) -> Iterator[int]:
        for part, bit in ((0, 1), (1, 1), (1, 2)):
            yield sum(1 << k for k, f in enumerate(formulas) if f[part] & bit)
        for slot in (NUMBER, STRING, ARRAY, OBJECT):
            known, ids, _ = parts = split(formulas, slot)
            if not ids:
                yield known
            elif slot in (NUMBER, STRING):
                yield from map(parts.whole, self.sat.scalars.verdicts(slot, ids))
            else:
                yield from map(parts.whole, self.nested(slot, ids))

    def judge(self, slot: int, ids: tuple[int, ...]) -> ObjectJudge | ArrayJudge:
        found = self._judges.get((slot, ids))
        if found is None:
            kind = ArrayJudge if slot == ARRAY else ObjectJudge
            found = self._judges[slot, ids] = kind(self.sat, ids, self.limits)
        return found

    def nested(self, slot: int, ids: tuple[int, ...]) -> frozenset[int]:
        """The achievable verdicts of an object or array over these goals."""
        key = (slot, ids)
        if key in self._settled:
            return self._known[key]
        if self._visited is not None:
            return self._evaluate(key)
        # Values may nest in values of the same kind: repeat until nothing is added.
        while True:
            self._visited, self._changed, self._unfinished = set(), False, False
            try:
                found = self._evaluate(key)
                visited = self._visited
            except Exception:
                self._forget()  # of an iteration that was not finished
                raise
            finally:
                self._visited, self._unfinished = None, False
            if key in self._settled:
                if self._passing or not visited <= self._settled:
                    self._forget()  # it was complete before all that it came from was
                return found
            if not self._changed:
                self._settled |= visited
                self._of |= self._passing
                self._passing.clear()
                return found
            self._forget()

    def _forget(self) -> None:
        """Drop what came from values that were not settled."""
        self._passing.clear()
        self.epoch += 1

    def _evaluate(self, key: Key) -> frozenset[int]:
        assert self._visited is not None
        if key in self._settled:
            return self._known[key]
        if key in self._visited:
            self._unfinished = True
            return self._known.get(key, frozenset())
        self._visited.add(key)
        before, self._unfinished = self._unfinished, False
        judge = self.judge(*key)
        try:
            found = judge.finals(self)
        except RecursionError:
            raise LimitExceeded(
                limit="nesting", value=self.limits.nesting, where="schemas judged at once"
            ) from None
        if found != self._known.get(key):
            self._known[key] = found
            self._changed = True
        complete = len(found) == 1 << len(judge.ids)
        if isinstance(judge, ArrayJudge) and judge.values:
            complete = False  # it must see all values, to tell them apart
        if complete or not self._unfinished:
            self._settled.add(key)
            self._unfinished = before
        return found
