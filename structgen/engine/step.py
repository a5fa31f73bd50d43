"""One step of the batch: forward, mask, sample, accept."""

from __future__ import annotations

from collections.abc import Sequence as Rows
from typing import TYPE_CHECKING

import torch

from structgen.bitmask import apply_bitmask
from structgen.engine.sampler import Sampler
from structgen.engine.sequence import Sequence, SequenceError
from structgen.engine.tokens import TokenTable

if TYPE_CHECKING:
    from structgen.engine.runner import Runner

# Prompts prefilled together hold at most this many tokens, padding included (one always goes).
PREFILL_TOKENS = 8192


class Batch:
    """The running sequences and the runner's rows, row i belonging to ``sequences[i]``.

    Between calls every sequence is unfinished and has sampled a token the model has not seen yet.
    """

    def __init__(self, runner: Runner, table: TokenTable, sampler: Sampler | None = None) -> None:
        self.sequences: list[Sequence] = []
        self._runner = runner
        self._table = table
        self._sampler = sampler or Sampler()

    @torch.inference_mode()
    def join(self, new: Rows[Sequence]) -> list[tuple[Sequence, str]]:
        """Prefill ``new`` and sample their first tokens; text that became settled, per sequence."""
        logits = self._runner.prefill([s.request.prompt_ids for s in new])
        self.sequences.extend(new)
        pieces = self._sample(new, logits)
        self._drop_finished()
        return pieces

    @torch.inference_mode()
    def step(self) -> list[tuple[Sequence, str]]:
        """Generate one token for every sequence; text that became settled, per sequence."""
        sequences = list(self.sequences)
        logits = self._runner.decode([s.token_ids[-1] for s in sequences])
        pieces = self._sample(sequences, logits)
        self._drop_finished()
        return pieces

    def drop(self, gone: Rows[Sequence]) -> None:
        """Take out sequences that nobody waits for any more."""
        leaving = set(map(id, gone))
        self._keep([i for i, s in enumerate(self.sequences) if id(s) not in leaving])

    def clear(self) -> None:
        """Forget all rows, also after a forward that failed half-way."""
        self.sequences = []
        self._runner.keep([])

    def _sample(
        self, sequences: Rows[Sequence], logits: torch.Tensor
    ) -> list[tuple[Sequence, str]]:
        self._mask(sequences, logits)
        # Nothing finite to choose from: every allowed token is one that the model cannot produce,
        # or the model's own outputs are not numbers.
        dead = ~logits.amax(dim=1).isfinite()
        logits[dead] = 0.0
        tokens = self._sampler.sample(
            logits,
            [s.request.params for s in sequences],
            [s.generator for s in sequences],
        )
        return [
            (sequence, _refuse(sequence) if is_dead else _accept(sequence, token))
            for sequence, token, is_dead in zip(sequences, tokens, dead.tolist(), strict=True)
        ]

    def _mask(self, sequences: Rows[Sequence], logits: torch.Tensor) -> None:
        """Put -inf, in place, where a grammar or the vocabulary does not allow a token."""
        width = logits.shape[1]
        if all(s.mask is None for s in sequences):
            logits[:, self._table.size :] = -torch.inf
            return
        everything = self._table.everything
        mask = torch.cat([everything if s.mask is None else s.mask for s in sequences])
        # A model may have fewer outputs than its tokenizer has tokens.
        mask = mask[:, : (width + 31) // 32]
        apply_bitmask(logits, mask.to(logits.device))

    def _drop_finished(self) -> None:
        self._keep([i for i, s in enumerate(self.sequences) if s.finish_reason is None])

    def _keep(self, rows: list[int]) -> None:
        # Compacting copies the cache once, which is what the next step's append costs anyway.
        if len(rows) < len(self.sequences):
            self.sequences = [self.sequences[i] for i in rows]
            self._runner.keep(rows)


def _accept(sequence: Sequence, token: int) -> str:
    """Give ``token`` to ``sequence``; whatever goes wrong there ends that sequence only."""
    try:
        return sequence.accept(token)
    except SequenceError as error:
        sequence.fail(str(error))
    except Exception as error:
        sequence.fail(f"{type(error).__name__}: {error}")
    return ""


def _refuse(sequence: Sequence) -> str:
    sequence.fail("the model gives no finite score to any token that is allowed here")
    return ""
