"""Right-hand sides as they are written, with operators.

Readers build these; :mod:`structgen.grammar.expand` turns them into plain rules. Leaves are symbols
of the IR, or whatever a reader puts there until it has resolved names.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from structgen import budget


@dataclass(frozen=True, slots=True)
class Seq:
    items: tuple[Expr, ...] = ()


@dataclass(frozen=True, slots=True)
class Alt:
    items: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Rep:
    """``low`` to ``high`` times (None: no bound)."""

    item: Expr
    low: int
    high: int | None


@dataclass(frozen=True, slots=True)
class Both:
    """Texts that every item accepts; only inside terminals."""

    items: tuple[Expr, ...]


Expr: TypeAlias = Seq | Alt | Rep | Both | Any  # Any: a leaf

EMPTY = Seq()


def seq(items: list[Expr]) -> Expr:
    return items[0] if len(items) == 1 else Seq(tuple(items))


def alt(items: list[Expr]) -> Expr:
    return items[0] if len(items) == 1 else Alt(tuple(items))


def parts(node: Expr) -> tuple[Expr, ...]:
    match node:
        case Seq(items) | Alt(items) | Both(items):
            return items
        case Rep(item):
            return (item,)
    return ()


def fold(root: Expr, combine: Callable[[Expr, list[Any]], Any]) -> Any:
    """``combine(node, results of its parts)`` from the leaves up, without recursion."""
    results: list[Any] = []
    stack: list[tuple[Expr, bool]] = [(root, False)]
    while stack:
        budget.check("a rule of the grammar")
        node, ready = stack.pop()
        below = parts(node)
        if below and not ready:
            stack.append((node, True))
            stack.extend((part, False) for part in reversed(below))
            continue
        n = len(below)
        arguments = results[len(results) - n :]
        del results[len(results) - n :]
        results.append(combine(node, arguments))
    return results[0]


def rebuild(node: Expr, items: list[Expr]) -> Expr:
    """``node`` with other parts."""
    match node:
        case Seq():
            return Seq(tuple(items))
        case Alt():
            return Alt(tuple(items))
        case Both():
            return Both(tuple(items))
        case Rep(_, low, high):
            return Rep(items[0], low, high)
    return node
