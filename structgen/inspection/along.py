"""Masks along a text, timed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Protocol

from structgen.bitmask import allocate_bitmask
from structgen.compiler import CompiledGrammar


class Follower(Protocol):
    """A constraint that a text is followed through; also other engines'."""

    def fill(self) -> None:
        """Compute the mask of the next token."""

    def accept(self, token: int) -> bool:
        """Append a token; False where it does not fit."""


class OwnFollower:
    """A compiled grammar at the beginning of a text."""

    def __init__(self, compiled: CompiledGrammar) -> None:
        self._matcher = compiled.matcher()
        self._mask = allocate_bitmask(1, len(compiled.vocabulary))

    def fill(self) -> None:
        self._matcher.fill_bitmask(self._mask, 0)

    def accept(self, token: int) -> bool:
        return self._matcher.accept_token(token)


def masks_along(compiled: CompiledGrammar, ids: Sequence[int]) -> tuple[list[float], bool]:
    """Seconds of each mask and step along a text; were all its tokens accepted?"""
    return follow(OwnFollower(compiled), ids)


def follow(follower: Follower, ids: Sequence[int]) -> tuple[list[float], bool]:
    """Seconds of each mask and step along a text, the mask after its last token included."""
    seconds = []
    for token in ids:
        started = time.perf_counter()
        follower.fill()
        accepted = follower.accept(token)
        seconds.append(time.perf_counter() - started)
        if not accepted:
            return seconds, False
    started = time.perf_counter()
    follower.fill()
    seconds.append(time.perf_counter() - started)
    return seconds, True
