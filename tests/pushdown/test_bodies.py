"""Rewritten rule bodies have the language they had: every text up to a length, by brute force."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from structgen.pushdown.bodies import (
    Body,
    nullable,
    simplify,
    unroll,
    without_empty,
    without_silent,
)

LETTERS = "ab"
LONGEST = 5
MANY = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
MORE = settings(MANY, max_examples=300)


@st.composite
def bodies(draw: st.DrawFn, rules: int) -> Body:
    """A body with silent edges, cycles, useless nodes, and calls of ``rules`` rules."""
    body = Body()
    n = draw(st.integers(1, 5))
    for _ in range(n - 1):
        body.node()
    nodes = st.integers(0, n - 1)
    for _ in range(draw(st.integers(0, 2 * n))):
        source, target = draw(nodes), draw(nodes)
        match draw(st.sampled_from("ttccs")):
            case "t":
                body.add_shift(source, draw(st.integers(1, 3)), target)
            case "c":
                body.calls[source].add((draw(st.integers(0, rules - 1)), target))
            case _:
                body.silent[source].add(target)
    for node in draw(st.lists(nodes, min_size=1, max_size=2)):
        body.final[node] = True
    return body


def grammars(most: int) -> st.SearchStrategy[list[Body]]:
    return st.integers(1, most).flatmap(lambda n: st.lists(bodies(n), min_size=n, max_size=n))


Texts = frozenset[str]


def languages(grammar: Sequence[Body], opaque: Sequence[str] = ()) -> list[Texts]:
    """Texts up to LONGEST of each rule: the least fixpoint over all nodes.

    ``opaque``: texts of further rules, each a letter of its own.
    """
    known: list[list[Texts]] = [[frozenset()] * len(body) for body in grammar]
    changed = True
    while changed:
        changed = False
        for rule, body in enumerate(grammar):
            for node in range(len(body)):
                found = set(known[rule][node])
                if body.final[node]:
                    found.add("")
                for target, mask in body.shift[node].items():
                    letters = [x for i, x in enumerate(LETTERS) if mask >> i & 1]
                    found |= joined(letters, known[rule][target])
                for called, target in body.calls[node]:
                    texts = (
                        known[called][0] if called < len(grammar)
                        else [opaque[called - len(grammar)]]
                    )  # fmt: skip
                    found |= joined(texts, known[rule][target])
                for target in body.silent[node]:
                    found |= known[rule][target]
                if len(found) > len(known[rule][node]):
                    known[rule][node] = frozenset(found)
                    changed = True
    return [nodes[0] for nodes in known]


def joined(first: Sequence[str] | Texts, second: Texts) -> set[str]:
    return {a + b for a in first for b in second if len(a) + len(b) <= LONGEST}


@MANY
@given(bodies(2))
def test_without_silent(body: Body) -> None:
    """Over letters and calls, which stand for themselves."""
    renamed = copy.deepcopy(body)
    renamed.calls = [{(rule + 1, target) for rule, target in calls} for calls in body.calls]
    before = languages([renamed], "XY")
    closed = without_silent(body)
    assert not any(closed.silent)
    closed.calls = [{(rule + 1, target) for rule, target in calls} for calls in closed.calls]
    assert languages([closed], "XY") == before


@MANY
@given(grammars(3))
def test_without_empty(grammar: list[Body]) -> None:
    before = languages(grammar)
    assert nullable(grammar) == {i for i, texts in enumerate(before) if "" in texts}
    found, empty = without_empty(copy.deepcopy(grammar))
    assert empty == {i for i, texts in enumerate(before) if "" in texts}
    assert languages(found) == [texts - {""} for texts in before]


@MORE
@given(bodies(2), st.booleans())
def test_unroll(body: Body, first: bool) -> None:
    """Rule 0 calls itself, and rule 1, which stands for itself and is never empty."""
    [body] = without_empty_of(body)
    before = languages([body], "X")
    unrolled = unroll(0, copy.deepcopy(body), first=first)
    assert languages([unrolled], "X") == before
    if first:
        entered = {target for rule, target in unrolled.calls[0] if rule == 0}
        ends = [t for calls in unrolled.calls for r, t in calls if r == 0 and unrolled.final[t]]
        assert not entered and not ends


def without_empty_of(body: Body) -> list[Body]:
    """Rule 0 without its empty text."""
    other = Body()
    other.add_shift(0, 1, other.node(final=True))
    return without_empty([body, other])[0][:1]


@MORE
@given(grammars(4), st.sampled_from([0, 3, 10, 1000]), st.sampled_from([0, 20, 1000]))
def test_simplify(grammar: list[Body], copies: int, most: int) -> None:
    grammar, _ = without_empty(grammar)
    before = languages(grammar)[0]
    simplify(grammar, 0, copies=copies, most=most)
    assert languages(grammar)[0] == before
    for body in grammar:
        assert not any(body.silent)


@MORE
@given(grammars(4))
def test_simplify_leaves_recursion_only(grammar: list[Body]) -> None:
    """With room to copy, a rule that is still called calls itself."""
    grammar, _ = without_empty(grammar)
    simplify(grammar, 0, copies=10**6, most=10**7)
    alive, queue = {0}, [0]
    for rule in queue:
        more = grammar[rule].called() - alive
        alive |= more
        queue += sorted(more)
    assert all(rule in grammar[rule].called() for rule in alive - {0})
