"""Weighted token rows of a few fixed lengths, made in worker processes, in seed order."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import count
from multiprocessing import get_context
from multiprocessing.pool import Pool
from pathlib import Path

import documents
import numpy as np
from documents import Sample
from tokenizers import Tokenizer

LENGTHS = (176, 288, 480, 1024)
"""Rows are padded to the next of these; each is one compiled shape."""

DOCUMENT, STRUCTURE, VALUE, END = 10, 60, 250, 120
"""Loss weights times 250: keys are random or forced, so what counts is the values."""

Chunk = dict[int, tuple[np.ndarray, np.ndarray]]
"""Row length to token ids ``uint16 [n, length]`` and the weight of each, ``uint8 [n, length]``."""


class Encoder:
    """Token ids and loss weights of samples, with the spelling of tokens varied in some of them."""

    def __init__(self, tokenizer_file: Path) -> None:
        self.exact = Tokenizer.from_file(str(tokenizer_file))
        self.varied = Tokenizer.from_file(str(tokenizer_file))
        self.varied.model.dropout = 0.12
        self.bos = self.exact.token_to_id("<|bos|>")
        self.eos = self.exact.token_to_id("<|eos|>")
        self.pad = self.exact.token_to_id("<|pad|>")

    def encode(self, sample: Sample, rng: random.Random) -> tuple[list[int], np.ndarray]:
        """A constraint may force other tokens than the tokenizer would; 15 % use BPE dropout."""
        prompt = self.exact.encode(sample.prompt, add_special_tokens=False).ids
        tokenizer = self.varied if rng.random() < 0.15 else self.exact
        answer = tokenizer.encode(sample.text, add_special_tokens=False)
        per_char = np.full(len(sample.text) + 1, STRUCTURE, np.uint8)
        for span in sample.spans:
            per_char[span.start : span.end + 1] = VALUE
        starts = [start for start, _ in answer.offsets]
        roll = rng.random()
        lead = [] if roll < 0.04 else [self.bos, self.bos] if roll < 0.06 else [self.bos]
        ids = [*lead, *prompt, *answer.ids, self.eos]
        weights = np.full(len(ids), DOCUMENT, np.uint8)
        weights[: len(lead) + 1] = 0
        at = len(lead) + len(prompt)
        weights[at : at + len(starts)] = per_char[starts]
        weights[-1] = END
        return ids, weights


def make_chunk(seed: int, index: int, size: int, encoder: Encoder) -> Chunk:
    rng = random.Random(f"spelling {seed} {index}")
    rows: dict[int, list[tuple[list[int], np.ndarray]]] = {length: [] for length in LENGTHS}
    for n in range(size):
        ids, weights = encoder.encode(documents.sample(f"{seed} {index} {n}"), rng)
        fitting = next((length for length in LENGTHS if len(ids) <= length), None)
        if fitting:
            rows[fitting].append((ids, weights))
    chunk: Chunk = {}
    for length, members in rows.items():
        ids_array = np.full((len(members), length), encoder.pad, np.uint16)
        weight_array = np.zeros((len(members), length), np.uint8)
        for row, (ids, weights) in enumerate(members):
            ids_array[row, : len(ids)] = ids
            weight_array[row, : len(ids)] = weights
        chunk[length] = (ids_array, weight_array)
    return chunk


_encoder: Encoder | None = None


def _start_worker(tokenizer_file: Path) -> None:
    global _encoder
    _encoder = Encoder(tokenizer_file)


def _work(job: tuple[int, int, int]) -> Chunk:
    assert _encoder is not None
    return make_chunk(*job, _encoder)


def start_workers(tokenizer_file: Path, workers: int) -> Pool:
    """To be called before the process touches a GPU or starts threads, since it forks."""
    return get_context("fork").Pool(workers, _start_worker, (tokenizer_file,))


def fresh_batches(
    pool: Pool, workers: int, seed: int, tokens: int, chunk_size: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Batches of about ``tokens`` tokens, all rows of one length; never repeats, never ends."""
    waiting: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {length: [] for length in LENGTHS}
    jobs = ((seed, index, chunk_size) for index in count())
    for chunk in _ahead(pool, jobs, 3 * workers):
        for length, part in chunk.items():
            waiting[length].append(part)
            rows = tokens // length
            while sum(len(ids) for ids, _ in waiting[length]) >= rows:
                ids = np.concatenate([ids for ids, _ in waiting[length]])
                weights = np.concatenate([weights for _, weights in waiting[length]])
                waiting[length] = [(ids[rows:], weights[rows:])]
                yield ids[:rows], weights[:rows]


def _ahead(pool: Pool, jobs: Iterator[tuple[int, int, int]], depth: int) -> Iterator[Chunk]:
    """Results in the order of the jobs, with at most ``depth`` of them under way or waiting."""
    pending = [pool.apply_async(_work, (next(jobs),)) for _ in range(depth)]
    while True:
        done = pending.pop(0).get()
        pending.append(pool.apply_async(_work, (next(jobs),)))
        yield done
