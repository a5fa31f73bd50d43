"""Batches on a device beside matchers on the CPU: masks compared bit by bit, random walks."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from masks.schemas import SCHEMAS

import structgen as sg
from structgen.device import BatchMatcher

PAIRS = 'start: a\na: "x" a "x" | "x" a "y" | "x"\n'  # not LR(1): read in several ways
UNIQUE = {"type": "array", "items": {"type": "integer"}, "uniqueItems": True}


def without_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the references stand in, as where no kernel can run."""
    for module in ("advance", "mask", "fork_rollback", "greedy", "sample"):
        monkeypatch.setattr(f"structgen.kernels.{module}.launches", lambda tensor: False)


def mask_of(batch: BatchMatcher) -> np.ndarray:
    out = torch.zeros((len(batch), batch.arena.n_words), dtype=torch.int32)
    return batch.fill_bitmask(out.to(batch.arena.device)).cpu().numpy()


def expected_mask(matchers: list[sg.Matcher | None], n_tokens: int) -> np.ndarray:
    out = sg.allocate_bitmask(len(matchers), n_tokens)
    for row, matcher in enumerate(matchers):
        if matcher is None:
            bits = np.zeros(out.shape[1] * 32, np.uint8)
            bits[:n_tokens] = 1
            out[row] = np.packbits(bits, bitorder="little").view(np.int32)
        else:
            matcher.fill_bitmask(out, row)
    return out


def bits_of(row: np.ndarray) -> np.ndarray:
    return np.flatnonzero(np.unpackbits(row.view(np.uint8), bitorder="little"))


def grammars(compiler: sg.Compiler, names: list[str]) -> list[sg.CompiledGrammar | None]:
    found: list[sg.CompiledGrammar | None] = [
        compiler.compile_json_schema(SCHEMAS[name]) for name in names
    ]
    found.append(compiler.compile_json_schema({"type": "array", "uniqueItems": True}))
    found.append(compiler.compile_lark(PAIRS))
    found.append(compiler.compile_regex("(ab|a[^\\n]{2,9})+"))
    found.append(None)
    return found


class Beside:
    """A batch, and a matcher beside each of its slots.

    ``below(n)`` says which of n things happens next.
    """

    def __init__(
        self,
        batch: BatchMatcher,
        choices: list[Any],
        eos: int,
        below: Callable[[int], int],
        undo: int = 4,
    ) -> None:
        n = len(batch)
        self.batch, self.choices, self.eos, self.below = batch, choices, eos, below
        self.n_tokens, self.undo = batch.arena.n_tokens, undo
        self.matchers: list[sg.Matcher | None] = [None] * n
        self.made: list[Any] = [None] * n
        self.texts: list[list[int]] = [[] for _ in range(n)]
        self.taken = [0] * n  # tokens that can be taken back
        for slot in range(n):
            self.join(slot, choices[slot % len(choices)])

    def one_of(self, things: Any) -> Any:
        return things[self.below(len(things))]

    def join(self, slot: int, grammar: Any, tokens: list[int] | None = None) -> None:
        tokens = tokens or []
        self.batch.join(slot, grammar, tokens)
        matcher = None if grammar is None else grammar.matcher()
        assert matcher is None or all(matcher.accept_token(token) for token in tokens)
        self.matchers[slot], self.made[slot] = matcher, grammar
        self.texts[slot], self.taken[slot] = tokens, 0

    def check(self) -> np.ndarray:
        expected = expected_mask(self.matchers, self.n_tokens)
        found = mask_of(self.batch)
        for slot in range(len(self.batch)):
            assert (found[slot] == expected[slot]).all(), (slot, self.batch.statuses.tolist())
        return expected

    def step(self) -> None:
        """A token in each slot, as likely as not one that does not fit now and then."""
        expected = self.check()
        tokens = []
        for slot, matcher in enumerate(self.matchers):
            allowed = bits_of(expected[slot])
            if self.below(7) == 0 or not len(allowed):
                tokens.append(self.below(self.n_tokens))
            elif matcher is not None and matcher.is_accepting() and self.below(3) == 0:
                tokens.append(self.eos)
            else:
                tokens.append(int(self.one_of(allowed)))
        ended = [m is not None and m.is_terminated() for m in self.matchers]
        fits = [m is None or m.accept_token(t) for m, t in zip(self.matchers, tokens, strict=True)]
        answer = self.batch.advance(torch.tensor(tokens))
        assert answer is not None
        for slot, matcher in enumerate(self.matchers):
            if matcher is None or ended[slot]:
                continue
            assert bool(answer[slot]) == fits[slot], (slot, tokens[slot])
            if fits[slot]:
                self.texts[slot].append(tokens[slot])
                self.taken[slot] = min(self.undo, self.taken[slot] + 1)

    def roll_back(self) -> None:
        counts = [self.below(n + 1) if self.below(2) else 0 for n in self.taken]
        self.batch.rollback(counts)
        for slot, matcher in enumerate(self.matchers):
            if matcher is not None and counts[slot]:
                matcher.rollback(counts[slot])
                del self.texts[slot][-counts[slot] :]
            self.taken[slot] -= counts[slot]

    def fork(self) -> None:
        source = self.below(len(self.batch))
        target = (source + 1 + self.below(len(self.batch) - 1)) % len(self.batch)
        self.batch.fork([source], [target])
        matcher = self.matchers[source]
        self.matchers[target] = None if matcher is None else matcher.copy()
        self.made[target], self.taken[target] = self.made[source], self.taken[source]
        self.texts[target] = [*self.texts[source]]

    def act(self) -> None:
        """What happens between two steps: mostly nothing."""
        action = self.below(10)
        slot = self.below(len(self.batch))
        if action < 2:
            self.roll_back()
        elif action == 2:
            self.fork()
        elif action == 3:
            self.join(slot, self.one_of(self.choices))
        elif action == 4:  # it goes on where it is, as if it had been put aside
            self.join(slot, self.made[slot], self.texts[slot])


def walk(batch: BatchMatcher, choices: list[Any], eos: int, steps: int, seed: int) -> None:
    """Random tokens, rollbacks, forks, joins; every mask is compared bit by bit."""
    beside = Beside(batch, choices, eos, random.Random(seed).randrange)
    for _ in range(steps):
        beside.step()
        beside.act()
    beside.check()
