"""Automata written into the tables by kernels, against plain Python."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from structgen.automaton import Automaton, lift
from structgen.automaton.placing import place_bytes
from structgen.automaton.step import NO_LIMIT, S_EXIT, S_OK, S_UNBUILT, step
from structgen.automaton.tables import classes_of, move
from structgen.automaton.tries import trie
from structgen.errors import LimitExceeded
from structgen.regular.dfa import DFA, literals
from structgen.schema.keys import key_block
from structgen.schema.library import Library

LIBRARY = Library("compact", 20)
POINTS = 'ab"\\/\n\x00é\ud7ff\ue000\U0001f600\U0010ffff'
WORDS = st.lists(st.text(st.sampled_from(POINTS), max_size=5), max_size=8, unique=True)


def run(automaton: Automaton, start: int, text: bytes) -> int:
    """The final class with which the frame ends after ``text``, -1 where it does not."""
    pool, track = np.zeros((4, 4), np.int32), np.zeros(2, np.int64)
    a, q, v = automaton, start, 0
    for read, byte in enumerate((*text, 0)):
        while True:
            status, to, after, *_ = step(
                a.states, a.maps, a.edges, a.returns, a.gotos, a.pushes, pool, track,
                q, v, -1, -1, 0, byte,
            )  # fmt: skip
            if status != S_UNBUILT:
                break
            a.build(to)
        if status != S_OK:
            return to if status == S_EXIT and read == len(text) else -1
        q, v = to, after
    return -1


@given(WORDS, st.booleans())
def test_a_trie_is_the_automaton_of_its_words(words: list[str], others: bool) -> None:
    words = sorted(words)
    ends = np.cumsum([len(w) for w in words], dtype=np.int64)
    points = np.array([ord(c) for w in words for c in w], np.int32)
    highest = np.arange(len(words), dtype=np.int64)
    *edges, word, limits = trie(points, ends, highest, others)
    dfa = DFA(*edges, word)
    for k, w in enumerate(words):
        state = 0
        for c in w:
            state = dfa.step(state, ord(c))
        assert word[state] == k
        for length in range(len(w) + 1):  # the words through each state of the path
            state = 0
            for c in w[:length]:
                state = dfa.step(state, ord(c))
            through = [i for i, x in enumerate(words) if x.startswith(w[:length])]
            assert limits[state] == max(through)
    for s in range(len(word)):
        ranges = range(dfa.offsets[s], dfa.offsets[s + 1])
        covered = sum(int(dfa.hi[k]) - int(dfa.lo[k]) + 1 for k in ranges)
        assert not others or covered == 0x110000 - 0x800
        assert all(dfa.lo[k] > dfa.hi[k - 1] for k in ranges[1:])


@pytest.mark.parametrize("chunk", [(256, 384), (1, 1), (3, 0)])
@given(st.lists(st.sampled_from(["name", "na", "é", 'a"', "\n", "\U0001f600x", ""]), unique=True))
def test_names_built_in_pieces(chunk: tuple[int, int], names: list[str]) -> None:
    """However little a call builds, a spelling is read as the name it spells."""
    library = LIBRARY
    automaton = Automaton(library.automaton)
    ends = []
    for cls in range(1, len(names) + 1):
        ends.append(automaton.reserve_state())
        automaton.set_final(ends[-1], cls)
    keys = [(n, move(e), NO_LIMIT) for n, e in zip(names, ends, strict=True)]
    before = lift.MOST_PLAIN, lift.MOST_ESCAPED
    lift.MOST_PLAIN, lift.MOST_ESCAPED = chunk
    try:
        start = key_block(keys, library, others=True).place(automaton)
        automaton.verify()
        for text in [*names, "nam", "names", "b", "éé", "\U0001f601"]:
            expected = names.index(text) + 1 if text in names else 0
            for ascii_only in (True, False):
                spelled = json.dumps(text, ensure_ascii=ascii_only)[1:].encode()
                assert run(automaton, start, spelled) == expected, (text, spelled)
        automaton.build_all()
        automaton.verify()
    finally:
        lift.MOST_PLAIN, lift.MOST_ESCAPED = before


@given(st.dictionaries(st.text("ab0", min_size=1, max_size=4), st.integers(0, 3), max_size=6))
def test_placed_bytes(words: dict[str, int]) -> None:
    renamed = [7, 6, 5, 4]
    dfa = literals(words)
    of_class = [renamed[cls] for cls in words.values()]
    automaton = Automaton()
    start = place_bytes(automaton, dfa, of_class)
    assert start == 0 and automaton.n_states == dfa.n_states
    if words:
        automaton.verify()
    for text in [*words, "x", "bb0a", "aaaa"]:
        # The byte 0 that ends a text continues none of them.
        expected = renamed[words[text]] if text in words else -1
        assert run(automaton, start, text.encode()) == expected


@given(st.lists(st.lists(st.integers(0, 255), max_size=9), min_size=1, max_size=400))
def test_equal_class_maps_are_one(rows: list[list[int]]) -> None:
    automaton = Automaton()
    seen: dict[bytes, int] = {}
    for row in rows:
        classes = classes_of(bytes(row))
        m = automaton.class_map(classes)
        assert seen.setdefault(classes, m) == m
        assert automaton.maps[m].tobytes() == classes
    assert len(set(seen.values())) == len(seen)


def test_the_limit_of_states_holds_inside_a_kernel() -> None:
    library = LIBRARY
    names = [f"{i:x}name" for i in range(200)]
    automaton = Automaton(library.automaton, max_states=library.automaton.n_states + 250)
    keys = [(name, move(library.end), NO_LIMIT) for name in names]
    with pytest.raises(LimitExceeded, match="states"):
        key_block(keys, library).place(automaton)
        automaton.build_all()
    with pytest.raises(LimitExceeded, match="states"):
        place_bytes(Automaton(max_states=10), literals(["a" * 12]))
