"""A short way from the beginning of a text to its end."""

from __future__ import annotations

import heapq
from collections.abc import Hashable

from structgen.inspection.byte_grammar import ByteGrammar
from structgen.inspection.distance import Distance
from structgen.matcher import Matcher

# Beginnings that are looked at before the search gives up.
MAX_EXPANDED = 20_000
# How much more than a byte that was read a byte of the distance to the end counts. The distance is
# mostly too short; the greedier the search, the sooner it is through.
GREED = 3


def place_of(matcher: Matcher) -> Hashable:
    """What the rest of the text depends on."""
    return frozenset(matcher.configurations())


def completion(
    grammar: ByteGrammar, matcher: Matcher, *, max_expanded: int = MAX_EXPANDED
) -> list[int] | None:
    """Ids that complete the text of ``matcher``, which stays as it is; None where none were found.

    A best-first search: beginnings with the least sum of their length and (more so) their distance
    from the end come first. The result is short, not always the shortest.
    """
    distance = Distance(grammar)
    start = matcher.copy()
    order = 0
    queue: list[tuple[int, int, Matcher, tuple[int, ...]]] = [(0, order, start, ())]
    seen = {place_of(start)}
    for _ in range(max_expanded):
        if not queue:
            return None
        _, _, at, ids = heapq.heappop(queue)
        if at.is_accepting():
            return list(ids)
        for i, *_ in grammar.groups(at):
            at.accept_token(i)
            place = place_of(at)
            if place not in seen:
                seen.add(place)
                order += 1
                cost = len(ids) + 1 + GREED * distance(at)
                heapq.heappush(queue, (cost, order, at.copy(), (*ids, i)))
            at.rollback(1)
    return None
