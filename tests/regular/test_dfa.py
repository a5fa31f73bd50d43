"""Combinations of small automata against brute force over all short texts."""

from __future__ import annotations

from itertools import product
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from structgen.errors import LimitExceeded
from structgen.regular.charset import BYTES, UNICODE, negate, normalize, union
from structgen.regular.charset import intersect as meet
from structgen.regular.dfa import (
    DFA,
    any_string,
    combine,
    complement,
    empty,
    from_edges,
    intersect,
    length,
    literals,
    minimize,
)
from structgen.regular.dfa import union as either
from structgen.regular.ecma import compile_full

# Symbols on both sides of every range that the random automata use.
ALPHABET = (0, 1, 2, 5, 9)
TEXTS = [word for n in range(6) for word in product(ALPHABET, repeat=n)]
CUTS = (0, 1, 2, 4, 7, 10)


@st.composite
def automata(draw: st.DrawFn) -> DFA:
    n = draw(st.integers(1, 4))
    edges: list[list[tuple[int, int, int]]] = []
    for _ in range(n):
        targets = [draw(st.integers(-1, n - 1)) for _ in CUTS[1:]]
        spans = zip(CUTS, CUTS[1:], targets, strict=False)
        edges.append([(lo, hi - 1, t) for lo, hi, t in spans if t >= 0])
    final = [draw(st.integers(-1, 2)) for _ in range(n)]
    dfa = from_edges(edges, final, ((0, 9),))
    dfa.verify()
    # The construction itself against the edges as they are.
    for word in TEXTS[::37]:
        state = 0
        for symbol in word:
            state = next((t for lo, hi, t in edges[state] if lo <= symbol <= hi), -1)
            if state < 0:
                break
        assert dfa.accepts(word) == (final[state] if state >= 0 else -1)
    return dfa


@given(st.lists(automata(), min_size=1, max_size=3), st.integers(0, 1 << 30))
@settings(max_examples=60, deadline=None)
def test_combine_is_pointwise(dfas: list[DFA], seed: int) -> None:
    choice = Random(seed)
    table: dict[tuple[int, ...], int] = {}

    def decide(vector: tuple[int, ...]) -> int:
        return table.setdefault(vector, choice.randint(-1, 2))

    result = combine(dfas, decide, alphabet=((0, 9),))
    result.verify()
    for word in TEXTS:
        assert result.accepts(word) == decide(tuple(d.accepts(word) for d in dfas)), word


@given(automata())
@settings(max_examples=60, deadline=None)
def test_minimal_automata_have_no_equal_states(dfa: DFA) -> None:
    assert minimize(dfa).n_states == dfa.n_states
    residuals = set()
    for state in range(dfa.n_states):
        answers = []
        for word in TEXTS[:800]:
            at = state
            for symbol in word:
                at = dfa.step(at, symbol) if at >= 0 else -1
            answers.append(int(dfa.final[at]) if at >= 0 else -1)
        residuals.add(tuple(answers))
    assert len(residuals) == dfa.n_states


@given(automata(), automata())
@settings(max_examples=30, deadline=None)
def test_equal_languages_give_equal_automata(a: DFA, b: DFA) -> None:
    alphabet = ((0, 9),)
    neither = complement(either(a, b, alphabet=alphabet), alphabet=alphabet)
    both = intersect(
        complement(a, alphabet=alphabet), complement(b, alphabet=alphabet), alphabet=alphabet
    )
    assert neither.n_states == both.n_states
    for word in TEXTS[::7]:
        assert neither.accepts(word) == both.accepts(word)


@given(st.lists(st.text(max_size=4), max_size=8), st.lists(st.text(max_size=4), max_size=8))
@settings(deadline=None)
def test_literals(strings: list[str], others: list[str]) -> None:
    dfa = literals(strings)
    dfa.verify()
    for text in [*strings, *others]:
        assert dfa.accepts(text) == (strings.index(text) if text in strings else -1)


def test_literals_that_are_not_unicode_are_never_spelled() -> None:
    dfa = literals(["\ud800", "a"])
    dfa.verify()
    assert dfa.n_states == 2 and dfa.accepts("a") == 1
    assert literals(["\udfff"]).is_empty


@pytest.mark.parametrize(("low", "high"), [(0, 0), (0, 3), (2, 2), (2, 5), (0, None), (3, None)])
def test_length(low: int, high: int | None) -> None:
    dfa = length(low, high)
    dfa.verify()
    for n in range(8):
        inside = low <= n and (high is None or n <= high)
        assert (dfa.accepts("\U0001f600" * n) == 0) == inside
    assert dfa.accepts([0xD800] * max(low, 1)) == -1


def test_empty_and_full() -> None:
    for dfa in (empty(), length(3, 2), complement(any_string()), literals([])):
        dfa.verify()
        assert dfa.is_empty
    everything = complement(empty())
    everything.verify()
    assert everything.n_states == 1 and everything.accepts("\ud7ff\ue000") == 0
    assert combine([empty()], lambda v: 4 if v[0] < 0 else -1).accepts("x") == 4
    assert not literals([""]).is_empty


def test_complement_covers_the_whole_alphabet() -> None:
    dfa = complement(literals(["a"]))
    assert dfa.accepts("") == dfa.accepts("\U0010ffff") == dfa.accepts("\0") == 0
    assert complement(literals(["a"]), alphabet=BYTES).accepts([0x100]) == -1


def test_products_are_bounded() -> None:
    a, b = (compile_full(f"(?:a{{{n}}})*") for n in (97, 89))
    assert intersect(a, b, max_states=97 * 89 + 2).n_states == 97 * 89
    with pytest.raises(LimitExceeded):
        intersect(a, b, max_states=5000)


def test_verify_names_what_is_broken() -> None:
    good = literals(["ab", "b"])
    broken = {
        "target": DFA(good.offsets, good.lo, good.hi, good.target + 9, good.final),
        "sorted": DFA(good.offsets, good.lo[::-1], good.hi[::-1], good.target, good.final),
        "empty": DFA(good.offsets, good.lo, good.lo - 1, good.target, good.final),
        "productive": DFA(
            good.offsets, good.lo, good.hi, good.target, np.full_like(good.final, -1)
        ),
    }
    for word, dfa in broken.items():
        with pytest.raises(ValueError, match=word):
            dfa.verify()


spans = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=6)


@given(spans, spans)
def test_charsets_are_sets(a: list[tuple[int, int]], b: list[tuple[int, int]]) -> None:
    def members(ranges: object) -> set[int]:
        return {s for lo, hi in ranges for s in range(lo, hi + 1)}  # type: ignore[attr-defined]

    x, y, alphabet = normalize(a), normalize(b), ((0, 12), (15, 40))
    assert members(x) == members(a)
    assert members(union(x, y)) == members(x) | members(y)
    assert members(meet(x, y)) == members(x) & members(y)
    assert members(negate(x, alphabet)) == members(alphabet) - members(x)
    assert negate(negate(meet(x, alphabet), alphabet), alphabet) == normalize(
        r for r in meet(x, alphabet)
    )
    assert negate((), UNICODE) == UNICODE
