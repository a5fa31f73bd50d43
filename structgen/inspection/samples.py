"""Random texts of a grammar."""

from __future__ import annotations

import random
from collections.abc import Hashable, Iterator

from structgen.errors import StructgenError
from structgen.inspection.byte_grammar import END, ByteGrammar
from structgen.inspection.completion import completion, place_of
from structgen.matcher import Matcher

# How likely a text ends where it may.
ENDING = 0.25


def samples(
    grammar: ByteGrammar, n: int, *, seed: int | None = None, length: int = 60
) -> Iterator[list[int]]:
    """``n`` random texts, as ids.

    A random walk of about ``length`` bytes, then a short completion. Bytes that come to the same
    thing (all letters in a string, say) count as one choice, so that a text does not stay where
    most bytes lead.

    Raises:
        StructgenError: no completion was found.
    """
    rng = random.Random(seed)
    for _ in range(n):
        yield _sample(grammar, rng, rng.randint(max(length // 4, 1), max(length, 1)))


def _sample(grammar: ByteGrammar, rng: random.Random, length: int) -> list[int]:
    matcher = grammar.matcher()
    ids: list[int] = []
    while len(ids) < length:
        choices = _choices(grammar, matcher)
        if choices.pop(None, None) is not None and (not choices or rng.random() < ENDING):
            return ids
        groups = list(choices.values())
        group = rng.choices(groups, [_weight(g) for g in groups])[0]
        chosen = rng.choices(group, [_plainness(i) for i in group])[0]
        matcher.accept_token(chosen)
        ids.append(chosen)
    rest = completion(grammar, matcher)
    if rest is None:
        raise StructgenError(
            f"no short completion was found for {grammar.text(ids)!r:.200}; try another --seed or "
            "a smaller --length"
        )
    return ids + rest


def _choices(grammar: ByteGrammar, matcher: Matcher) -> dict[Hashable, list[int]]:
    """Ids by what they lead to; the end under None."""
    found: dict[Hashable, list[int]] = {}
    for group in grammar.groups(matcher):
        if group == [END]:
            found[None] = group
            continue
        matcher.accept_token(group[0])
        found.setdefault(place_of(matcher), []).extend(group)
        matcher.rollback(1)
    return found


def _weight(group: list[int]) -> float:
    if all(0x80 <= i < END for i in group):
        # A character beyond ASCII: seldom begun, and then no choice worth weighing.
        return 0.02
    return 0.2 if all(i in b" \t\n\r\f\v" for i in group if i < END) and group[0] < END else 1.0


def _plainness(i: int) -> float:
    if i >= END:
        return 1.0
    if chr(i).isalnum() and i < 0x80:
        return 1.0
    return 0.15 if 0x20 <= i < 0x7F else 0.01
