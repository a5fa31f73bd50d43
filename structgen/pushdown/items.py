"""Canonical LR(1) item sets over rule automata, built when they are first needed.

An item is a node of a rule's automaton with what to do when the rule ends there: leave ``depth``
frames and tell the frame below that rule ``result`` has ended, if the next terminal is in the
item's lookahead set. It differs from a textbook item in two ways, both because only recognition
matters:

- The stack holds a frame only where one is needed: an item set s is pushed when a terminal is
  shifted that a rule *called in s* begins with. Items that go on without it count it in their
  depth.
- A rule that is called last (after it the caller can only end) takes over the caller's depth and
  result: its end is the caller's end. Recursion on the right leaves no frames, and a chain of rules
  that only call each other ends at once.

So the work for a terminal does not depend on how deep such recursion was. Lookahead sets are those
of the canonical LR(1) construction (Knuth, "On the translation of languages from left to right",
1965), never merged: a terminal that an item set admits can be part of a sentence.
"""

from __future__ import annotations

from typing import NamedTuple

from structgen import budget
from structgen.errors import LimitExceeded
from structgen.pushdown.rules import Rules

ACCEPT = -1  # the result of the start rule

# Frames that an item may count; deeper ones are left to the stack.
MAX_DEPTH = 12

Key = tuple[int, int, int]  # node, depth, result
Kernel = tuple[tuple[Key, int], ...]  # with lookahead masks


class Shift(NamedTuple):
    """Leave ``drop`` frames that no item needs any more, push the item set itself or not, go on."""

    drop: int
    push: bool
    target: int


class Actions(NamedTuple):
    """What may be done about some terminals; more than one thing where they are in conflict.

    ``ends``: pairs of a depth and a result.
    """

    shifts: tuple[Shift, ...]
    ends: tuple[tuple[int, int], ...]


class ItemSets:
    """The item sets of a grammar, numbered in the order in which they were built."""

    def __init__(self, rules: Rules, follow: int, *, limit: int) -> None:
        """``follow``: the mask of what may come after a sentence."""
        self.rules, self.limit = rules, limit
        self._numbers: dict[Kernel, int] = {}
        self.kernels: list[Kernel] = []
        self._items: list[dict[Key, int] | None] = []
        self._groups: list[list[tuple[int, Actions]] | None] = []
        self._gotos: dict[tuple[int, int], tuple[bool, int]] = {}
        self.start = self._number({(rules.start[rules.root], 1, ACCEPT): follow})

    def __len__(self) -> int:
        return len(self.kernels)

    def _number(self, kernel: dict[Key, int]) -> int:
        key = tuple(sorted(kernel.items()))
        number = self._numbers.get(key)
        if number is None:
            number = len(self.kernels)
            if number >= self.limit:
                raise LimitExceeded(limit="states", value=self.limit, where="the LR(1) item sets")
            self._numbers[key] = number
            self.kernels.append(key)
            self._items.append(None)
            self._groups.append(None)
        return number

    def items(self, s: int) -> dict[Key, int]:
        """All items of a set, with their lookahead sets."""
        known = self._items[s]
        if known is not None:
            return known
        rules = self.rules
        items: dict[Key, int] = dict(self.kernels[s])
        queue = list(items)
        while queue:
            key = queue.pop()
            node, depth, result = key
            ahead = items[key]
            for rule, target in rules.calls[node]:
                if self._is_last(target, depth):
                    new, mask = (rules.start[rule], depth, result), ahead
                else:
                    mask = rules.first[target] | (ahead if rules.final[target] else 0)
                    new = (rules.start[rule], 0, rule)
                before = items.get(new)
                if before is None:
                    items[new] = mask
                elif before | mask != before:
                    items[new] = before | mask
                else:
                    continue
                queue.append(new)
        self._items[s] = items
        return items

    def _is_last(self, target: int, depth: int) -> bool:
        return depth <= MAX_DEPTH and self.rules.only_ends(target)

    def groups(self, s: int) -> list[tuple[int, Actions]]:
        """Disjoint masks of terminals (and the end), and what to do about each of them."""
        known = self._groups[s]
        if known is not None:
            return known
        budget.check("the LR(1) item sets of the grammar")
        # Each part: terminals, the items after them, ends.
        parts: list[tuple[int, dict[Key, int], set[tuple[int, int]]]] = []
        by_mask: dict[int, tuple[dict[Key, int], set[tuple[int, int]]]] = {}
        for (node, depth, result), ahead in self.items(s).items():
            for mask, target in self.rules.shift[node]:
                after, _ = by_mask.setdefault(mask, ({}, set()))
                key = (target, depth, result)
                after[key] = after.get(key, 0) | ahead
            if self.rules.final[node] and ahead:
                by_mask.setdefault(ahead, ({}, set()))[1].add((depth, result))
        for mask, (after, ends) in by_mask.items():
            rest = mask
            split = []
            for terminals, items, found in parts:
                both = terminals & mask
                if not both:
                    split.append((terminals, items, found))
                    continue
                if terminals & ~mask:
                    split.append((terminals & ~mask, items, found))
                merged = dict(items)
                for key, ahead in after.items():
                    merged[key] = merged.get(key, 0) | ahead
                split.append((both, merged, found | ends))
                rest &= ~terminals
            if rest:
                split.append((rest, dict(after), set(ends)))
            parts = split
        groups = [
            (terminals, Actions(self._advance(items), tuple(sorted(ends))))
            for terminals, items, ends in parts
        ]
        self._groups[s] = groups
        return groups

    def _advance(self, after: dict[Key, int]) -> tuple[Shift, ...]:
        """From items whose depths count from the set itself to the next sets."""
        if not after:
            return ()
        depths = {depth for _, depth, _ in after}
        if 0 in depths and max(depths) >= MAX_DEPTH:
            # Who still needs which frame is too far apart for one set: two ways to go on.
            inner = {key: ahead for key, ahead in after.items() if key[1] == 0}
            outer = {key: ahead for key, ahead in after.items() if key[1] > 0}
            return (*self._advance(outer), *self._advance(inner))
        push = 0 in depths
        change = 1 if push else 1 - min(depths)
        moved = {(node, depth + change, r): a for (node, depth, r), a in after.items()}
        return (Shift(0 if push else min(depths) - 1, push, self._number(moved)),)

    def goto(self, s: int, rule: int) -> tuple[bool, int]:
        """Is the set pushed again, and which set follows, when a rule called in ``s`` has ended."""
        known = self._gotos.get((s, rule))
        if known is None:
            after: dict[Key, int] = {}
            for (node, depth, result), ahead in self.items(s).items():
                for called, target in self.rules.calls[node]:
                    if called == rule and not self._is_last(target, depth):
                        key = (target, depth, result)
                        after[key] = after.get(key, 0) | ahead
            push = any(depth == 0 for _, depth, _ in after)
            moved = {(node, depth + push, r): a for (node, depth, r), a in after.items()}
            known = self._gotos[s, rule] = (push, self._number(moved))
        return known

    def terminals(self, s: int) -> int:
        """The mask of what may come next."""
        mask = 0
        for terminals, _ in self.groups(s):
            mask |= terminals
        return mask

    def show(self, s: int, terminal_names: list[str]) -> str:
        """An item set for people."""
        lines = [f"item set {s}"]
        for (node, depth, result), ahead in sorted(self.items(s).items()):
            names = [n for i, n in enumerate(terminal_names) if ahead >> i & 1]
            owner = self.rules.names[self.rules.owner[node]]
            ends = "the text" if result == ACCEPT else self.rules.names[result]
            at = node - self.rules.start[self.rules.owner[node]]
            lines.append(f"  {owner} @{at}, ends {ends} {depth} down, before {' '.join(names)}")
        return "\n".join(lines)
