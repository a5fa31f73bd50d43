"""One compiled grammar, several matchers at once: what each sees is what it sees alone."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from masks.walks import mask_of

import structgen as sg
from tests.pushdown.test_masks import GRAMMARS, Words, made_up, pick

THREADS = 6


def run(w: Words, compiled: sg.CompiledGrammar, seed: int, barrier: threading.Barrier) -> list:
    """A walk: its tokens and masks, packed."""
    rng, matcher, seen = random.Random(seed), compiled.matcher(), []
    barrier.wait()
    for _ in range(25):
        bits = mask_of(matcher, len(w.vocabulary))
        seen.append((np.packbits(bits).tobytes(), matcher.is_accepting()))
        if not bits.any():
            break
        token = pick(w, bits, rng)
        assert matcher.accept_token(token)
        seen.append(token)
        if rng.random() < 0.1:
            matcher.rollback(1)
    return seen


@pytest.mark.parametrize("name", GRAMMARS)
def test_matchers_side_by_side(name: str) -> None:
    w = made_up()
    together = GRAMMARS[name](w.compiler)
    barrier = threading.Barrier(THREADS)
    with ThreadPoolExecutor(THREADS) as pool:
        jobs = [pool.submit(run, w, together, seed, barrier) for seed in range(THREADS)]
        found = [job.result(timeout=120) for job in jobs]
    alone = GRAMMARS[name](w.compiler)
    for seed, seen in enumerate(found):
        assert seen == run(w, alone, seed, threading.Barrier(1)), seed
    together._masks.automaton.verify()


def test_grammars_compiled_side_by_side() -> None:
    """One compiler, and one library under several grammars."""
    w = made_up()
    compiler = sg.Compiler(w.vocabulary)
    names = list(GRAMMARS) * 2
    barrier = threading.Barrier(THREADS)

    def job(k: int) -> list:
        barrier.wait()
        return [
            run(w, GRAMMARS[name](compiler), 7, threading.Barrier(1)) for name in names[k::THREADS]
        ]

    with ThreadPoolExecutor(THREADS) as pool:
        found = list(pool.map(job, range(THREADS)))
    for k, walks in enumerate(found):
        for name, seen in zip(names[k::THREADS], walks, strict=True):
            assert seen == run(w, GRAMMARS[name](w.compiler), 7, threading.Barrier(1)), name
