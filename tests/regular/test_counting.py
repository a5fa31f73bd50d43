"""Patterns taken apart into a language and a length."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from structgen.regular.counting import compile_counted, fixed_length
from structgen.regular.ecma import compile_pattern
from structgen.regular.syntax import parse

unit = st.sampled_from(["a", "[ab]", "(?:ab|ba)", "\\w", "(?:a|b)", "(?:a\\b|b)", "(?=a)a"])
around = st.sampled_from(["", "a", "b{2}", "(?:ab|bb)", "\\b", "[^a]", "(?!a)"])
counts = st.tuples(st.integers(0, 6), st.integers(8, 11))


@given(around, unit, counts, around)
@settings(max_examples=60, deadline=None)
def test_the_language_is_the_same(
    before: str, repeated: str, count: tuple[int, int], after: str
) -> None:
    pattern = f"^{before}{repeated}{{{count[0]},{count[1]}}}{after}$"
    whole, apart = compile_pattern(pattern), compile_counted(pattern)
    assert apart is not None
    for n in [*range(6), 9, 10, 11, 12, 13]:
        for start in map("".join, product("ab", repeat=min(n, 3))):
            for filling in ("a", "b", "ab", "ba"):
                text = (start + filling * n)[:n]
                inside = apart.minimum <= n and (apart.maximum is None or n <= apart.maximum)
                loose = inside and apart.dfa.accepts(text) == 0
                assert loose == (whole.accepts(text) == 0), (pattern, text)


@pytest.mark.parametrize(
    "pattern",
    ["^a{1,20}", "a{1,20}$", "^a{1,20}b{1,20}$", "^(?:a|bb){1,20}$", "^a{3,4}$", "^a{9,}b*$", "^$",
     "^a*$", "^(?:a{1,20}|b)$", "^(?:){1,20}$", "^abc$"],
)  # fmt: skip
def test_what_cannot_be_taken_apart(pattern: str) -> None:
    assert compile_counted(pattern) is None


def test_lengths_of_trees() -> None:
    assert fixed_length(parse("a(?:bc|de){3}(?=x*)\\b")) == 7
    assert fixed_length(parse("a?")) is None
    assert fixed_length(parse("(?:)*")) == 0
    counted = compile_counted("^[0-9a-f]{64}$")
    assert counted is not None and counted[1:] == (64, 64) and counted.dfa.n_states == 1
