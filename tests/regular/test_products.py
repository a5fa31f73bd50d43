"""The array operations on automata against enumeration of all short texts."""

from __future__ import annotations

import time
from itertools import product
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from structgen.errors import LimitExceeded
from structgen.regular import dense
from structgen.regular.charset import BYTES, partition
from structgen.regular.dfa import DFA, combine, from_edges, from_table, length, lengths, union
from structgen.regular.ecma import compile_full, compile_pattern
from structgen.regular.nfa import NFA, build
from structgen.regular.partition import coarsest_partition
from structgen.regular.product import explore
from structgen.regular.subset import determinize
from structgen.regular.syntax import parse


@st.composite
def tables(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    n, k = draw(st.integers(1, 12)), draw(st.integers(1, 4))
    choice = Random(draw(st.integers(0, 1 << 30)))
    hole = draw(st.sampled_from([0.0, 0.2, 0.6]))
    table = [
        [-1 if choice.random() < hole else choice.randrange(n) for _ in range(k)] for _ in range(n)
    ]
    final = [choice.choice([-1, -1, 0, 1]) for _ in range(n)]
    return np.array(table, np.int32), np.array(final, np.int32)


def run(table: np.ndarray, final: np.ndarray, word: tuple[int, ...], state: int = 0) -> int:
    for symbol in word:
        state = int(table[state, symbol])
        if state < 0:
            return -1
    return int(final[state])


def words(k: int, longest: int = 5) -> list[tuple[int, ...]]:
    return [word for n in range(longest + 1) for word in product(range(k), repeat=n)]


def by_moore(table: np.ndarray, final: np.ndarray) -> list[int]:
    """The coarsest stable partition, by refining until nothing changes (E. F. Moore, 1956)."""
    block = [int(f) for f in final]
    while True:
        rows = [
            (b, *(block[t] if t >= 0 else None for t in row))
            for b, row in zip(block, table.tolist(), strict=True)
        ]
        number = {row: i for i, row in enumerate(dict.fromkeys(rows))}
        refined = [number[row] for row in rows]
        if len(number) == len(set(block)):
            return refined
        block = refined


@given(tables())
@settings(max_examples=150, deadline=None)
def test_trim_keeps_the_language(given_: tuple[np.ndarray, np.ndarray]) -> None:
    table, final = given_
    kept, classes = dense.trim(table, final)
    k = table.shape[1]
    if not len(classes):
        assert all(run(table, final, word) < 0 for word in words(k))
        return
    assert all(run(table, final, w) == run(kept, classes, w) for w in words(k))
    # Breadth first: states in the order in which they are first named.
    named = list(dict.fromkeys([0, *(t for row in kept.tolist() for t in row if t >= 0)]))
    assert named == list(range(len(classes)))


@given(tables())
@settings(max_examples=150, deadline=None)
def test_the_coarsest_partition_is_that_of_moore(given_: tuple[np.ndarray, np.ndarray]) -> None:
    table, final = dense.trim(*given_)
    if not len(final):
        return
    block = coarsest_partition(table, final).tolist()
    expected = by_moore(table, final)
    assert len(set(zip(block, expected, strict=True))) == len(set(block)) == len(set(expected))
    small, classes = dense.quotient(table, final, np.array(block, np.int32))
    assert len(classes) == len(set(block))
    assert all(run(table, final, w) == run(small, classes, w) for w in words(table.shape[1], 4))


def test_partitions_of_larger_automata() -> None:
    choice = Random(5)
    for n in (50, 300):
        for _ in range(5):
            table = np.array([[choice.randrange(n) for _ in range(2)] for _ in range(n)], np.int32)
            final = np.array([choice.choice([-1, 0]) for _ in range(n)], np.int32)
            table, final = dense.trim(table, final)
            block, expected = coarsest_partition(table, final).tolist(), by_moore(table, final)
            assert len(set(zip(block, expected, strict=True))) == len(set(block))
            assert len(set(block)) == len(set(expected))


@given(st.lists(tables(), min_size=1, max_size=4), st.integers(0, 1 << 30))
@settings(max_examples=100, deadline=None)
def test_a_product_decides_on_all_operands(
    operands: list[tuple[np.ndarray, np.ndarray]], seed: int
) -> None:
    k = min(table.shape[1] for table, _ in operands)
    operands = [(np.ascontiguousarray(table[:, :k]), final) for table, final in operands]
    choice = Random(seed)
    known: dict[tuple[int, ...], int] = {}

    def decide(classes: tuple[int, ...]) -> int:
        return known.setdefault(classes, choice.choice([-1, -1, 0, 2]))

    table, final = explore([t for t, _ in operands], [f for _, f in operands], decide, 100_000)
    for word in words(k, 4):
        assert run(table, final, word) == decide(tuple(run(t, f, word) for t, f in operands))


def test_a_product_grows_as_it_must() -> None:
    counters = [compile_full(f"(?:a{{{n}}})*") for n in (7, 11, 13)]
    both = combine(counters, lambda c: 0 if min(c) >= 0 else -1)
    assert both.n_states == 7 * 11 * 13
    profiles = [compile_full(f"[ab]*a[ab]{{{n}}}") for n in range(7)]
    seen = combine(profiles, lambda c: sum((x >= 0) << i for i, x in enumerate(c)))
    for word in product("ab", repeat=8):
        expected = sum((word[-1 - i] == "a") << i for i in range(7))
        assert seen.accepts("".join(word)) == expected
    with pytest.raises(LimitExceeded):
        combine(counters, lambda c: 0 if min(c) >= 0 else -1, max_states=500)


@given(st.lists(st.lists(st.text("ab", max_size=4), max_size=3), min_size=1, max_size=5))
@settings(max_examples=60, deadline=None)
def test_union_of_any_number(languages: list[list[str]]) -> None:
    dfas = [compile_full("|".join(texts) if texts else "[]") for texts in languages]
    joined = union(*dfas)
    joined.verify()
    for n in range(6):
        for word in map("".join, product("ab", repeat=n)):
            assert joined.accepts(word) == (0 if any(word in t for t in languages) else -1)
    everything = combine(dfas, lambda c: 0 if max(c) >= 0 else -1)
    assert everything.n_states == joined.n_states


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3)), max_size=4), st.booleans())
@settings(deadline=None)
def test_lengths_of_several_spans(steps: list[tuple[int, int]], endless: bool) -> None:
    spans: list[tuple[int, int | None]] = []
    at = -1
    for gap, width in steps:
        spans.append((at + 1 + gap + bool(spans), at + 1 + gap + bool(spans) + width))
        at = spans[-1][1] or 0
    if spans and endless:
        spans[-1] = (spans[-1][0], None)
    dfa = lengths(spans)
    dfa.verify()
    for n in range(at + 12):
        inside = any(lo <= n and (hi is None or n <= hi) for lo, hi in spans)
        assert (dfa.accepts("é" * n) == 0) == inside
    if len(spans) == 1:
        assert dfa.n_states == length(*spans[0]).n_states


# -- subsets ------------------------------------------------------------------------------------


def by_sets(nfa: NFA, text: str) -> bool:
    """Does the pattern match somewhere? Followed node by node, position by position."""
    symbol_word = [c.isascii() and (c.isalnum() or c == "_") for c in text]

    def close(nodes: set[int], at: int) -> set[int]:
        before = at > 0 and symbol_word[at - 1]
        after = at < len(text) and symbol_word[at]
        holds = {-1: True, -2: at == 0, -3: at == len(text), -4: before != after}
        holds[-5] = not holds[-4]
        stack = list(nodes)
        while stack:
            for condition, target in nfa.jumps[stack.pop()]:
                if holds[condition] and target not in nodes:
                    nodes.add(target)
                    stack.append(target)
        return nodes

    nodes: set[int] = set()
    for at in range(len(text) + 1):
        nodes = close(nodes | {0}, at)
        if 1 in nodes:
            return True
        if at < len(text):
            point = ord(text[at])
            nodes = {
                target
                for node in nodes
                for set_id, target in nfa.moves[node]
                if any(lo <= point <= hi for lo, hi in nfa.sets[set_id])
            }
    return False


pieces = st.recursive(
    st.sampled_from(["a", "b", "[ab]", "\\w", "\\W", ".", "^", "$", "\\b", "\\B", "", "[^a]", "é"]),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map("(?:{0[0]}|{0[1]})".format),
        inner.map("(?:{})*".format),
        inner.map("(?:{})?".format),
        inner.map("(?:{}){{1,3}}".format),
    ),
    max_leaves=8,
)


@given(pieces)
@settings(max_examples=200, deadline=None)
def test_subsets_follow_the_nodes(pattern: str) -> None:
    nfa = build(parse(pattern), max_states=1000)
    dfa = determinize(nfa, max_states=1000)
    dfa.verify()
    for n in range(4):
        for text in map("".join, product("ab é", repeat=n)):
            assert (dfa.accepts(text) == 0) == by_sets(nfa, text), text


def test_ranges_of_a_table() -> None:
    symbols = partition([((1, 3), (7, 9)), ((4, 5),)], BYTES)
    a, b = symbols.members[0][0], symbols.members[1][0]
    table = np.full((2, symbols.n_classes), -1, np.int32)
    table[0, a] = table[0, b] = 1
    table[1, b] = 0
    dfa = from_table(table, [-1, 0], symbols)
    dfa.verify()
    assert dfa.lo.tolist() == [1, 7, 4] and dfa.hi.tolist() == [5, 9, 5]
    assert [dfa.accepts([s]) for s in range(11)] == [-1, 0, 0, 0, 0, 0, -1, 0, 0, 0, -1]


def test_edges_in_columns_of_a_matrix() -> None:
    dfa = from_edges([[(0, 4, 1), (5, 9, 0)], [(2, 2, 0)]], [-1, 0], ((0, 9),))
    assert isinstance(dfa, DFA) and dfa.accepts([7, 3]) == 0


@pytest.mark.parametrize(
    "pattern", ["^(?:" + "|".join(f"w{i * 7919 % 99991}" for i in range(5000)) + ")$"]
)
def test_thousands_of_alternatives(pattern: str) -> None:
    started = time.process_time()
    dfa = compile_pattern(pattern)
    assert dfa.accepts("w7919") == 0 and dfa.accepts("w7918") == -1
    assert time.process_time() - started < 20
