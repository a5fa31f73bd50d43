"""Patterns that count, taken apart into a pattern that does not and bounds on the length.

Where a whole text is ``A X{m,n} B``, and all texts of A have one length, as have those of B and of
X, its length tells how often X came. So the pattern is ``A X* B`` of a length within bounds: the
automaton needs no state for each repetition, and a counter can stand for the length.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from structgen.regular.dfa import DFA
from structgen.regular.ecma import compile_tree
from structgen.regular.syntax import Alt, Assertion, Cat, Look, Node, Repeat, Set, parse, postorder

# A repetition of fewer characters is as well spelled out.
SHORTEST = 8


class Counted(NamedTuple):
    """A language: the texts of ``dfa`` with ``minimum`` to ``maximum`` code points."""

    dfa: DFA
    minimum: int
    maximum: int | None


@lru_cache(maxsize=1024)
def compile_counted(pattern: str, *, max_states: int = 50_000) -> Counted | None:
    """What ``compile_pattern`` accepts, where it can be taken apart; otherwise None.

    Raises what :func:`structgen.regular.ecma.compile_pattern` does.
    """
    found = take_apart(parse(pattern))
    if found is None:
        return None
    tree, minimum, maximum = found
    return Counted(compile_tree(tree, max_states=max_states), minimum, maximum)


@lru_cache(maxsize=256)
def compile_counted_full(pattern: str, *, max_states: int = 50_000) -> Counted | None:
    """The texts that ``pattern`` matches as a whole, where it can be taken apart."""
    tree = parse(pattern)
    items = tree.items if isinstance(tree, Cat) else (tree,)
    found = take_apart(Cat((Assertion("^"), *items, Assertion("$"))))
    if found is None:
        return None
    whole, minimum, maximum = found
    return Counted(compile_tree(whole, max_states=max_states), minimum, maximum)


def take_apart(tree: Node) -> tuple[Node, int, int | None] | None:
    """The tree with its repetition unbounded, and the least and greatest length of a text."""
    if not isinstance(tree, Cat) or len(tree.items) < 3:
        return None
    first, *items, last = tree.items
    if not (_is_assertion(first, "^") and _is_assertion(last, "$")):
        return None
    sizes = [fixed_length(item) for item in items]
    counts = [k for k, size in enumerate(sizes) if size is None]
    if not counts:
        counts = [k for k, item in enumerate(items) if isinstance(item, Repeat)]
        counts.sort(key=lambda k: -(sizes[k] or 0))
    elif len(counts) > 1:
        return None
    repeat = items[counts[0]] if counts else None
    if not isinstance(repeat, Repeat):
        return None
    around = sum(size or 0 for k, size in enumerate(sizes) if k != counts[0])
    unit = fixed_length(repeat.item)
    if not unit or repeat.high is None or unit * repeat.high < SHORTEST:
        return None
    items[counts[0]] = Repeat(repeat.item, 0, None)
    return (
        Cat((first, *items, last)),
        around + unit * repeat.low,
        around + unit * repeat.high,
    )


def _is_assertion(node: Node, kind: str) -> bool:
    return isinstance(node, Assertion) and node.kind == kind


def fixed_length(root: Node) -> int | None:
    """The length that all texts of a tree have, None where they differ."""
    sizes: list[int | None] = []  # of the subtrees whose parent is still to come
    for node in postorder(root):
        match node:
            case Set():
                size: int | None = 1
            case Cat(items):
                parts = sizes[len(sizes) - len(items) :]
                del sizes[len(sizes) - len(items) :]
                known = [p for p in parts if p is not None]
                size = sum(known) if len(known) == len(parts) else None
            case Alt(items):
                parts = sizes[len(sizes) - len(items) :]
                del sizes[len(sizes) - len(items) :]
                size = parts[0] if len(set(parts)) == 1 else None
            case Repeat(low=low, high=high):
                inner = sizes.pop()
                size = None if inner is None or (low != high and inner) else inner * low
            case Look():
                sizes.pop()
                size = 0
            case Assertion():
                size = 0
        sizes.append(size)
    return sizes[0]
