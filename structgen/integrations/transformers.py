"""Constraints for transformers' ``generate``.

processor = ConstraintProcessor(compiler.compile_json_schema(schema))
model.generate(**inputs, logits_processor=[processor])
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import LogitsProcessor

from structgen.compiler import CompiledGrammar
from structgen.device import Arena, BatchMatcher
from structgen.errors import StructgenError
from structgen.kernels import layout


class ConstraintProcessor(LogitsProcessor):  # type: ignore[misc, unused-ignore]
    """Masks the scores of each row; good for one call of ``generate``.

    The masks are computed where the scores are. A row whose text is complete gets nothing but the
    end-of-sequence ids. Beam search moves texts between rows and is refused.
    """

    def __init__(
        self,
        grammars: CompiledGrammar | Sequence[CompiledGrammar | None],
        *,
        arena: Arena | None = None,
    ) -> None:
        """
        Args:
            grammars: one for all rows, or one for each (None: unconstrained).
            arena: where the grammars are kept; made for this call if None.
        """
        self._grammars, self._arena = grammars, arena
        self._batch: BatchMatcher | None = None
        self._read = torch.empty(0)

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """``input_ids`` [batch, length], ``scores`` [batch, V or more], which are changed.

        Raises:
            StructgenError: another number of rows than grammars, or rows that changed places.
        """
        batch = self._batch
        if batch is None:
            batch = self._batch = self._begin(scores)
        else:
            before = input_ids[:, :-1]
            if before.shape != self._read.shape or not torch.equal(before, self._read):
                raise StructgenError(
                    "the rows are not those of the last step: ConstraintProcessor is good for one "
                    "call of generate, without beam search"
                )
            batch.advance(input_ids[:, -1])
        self._read = input_ids.clone()
        batch.apply_mask(scores)
        finished = batch.statuses == layout.FINISHED.value
        eos = batch.arena.eos.long()
        scores[:, eos] = torch.where(finished[:, None], 0.0, scores[:, eos])
        return scores

    def _begin(self, scores: torch.Tensor) -> BatchMatcher:
        rows, given = len(scores), self._grammars
        grammars = [given] * rows if isinstance(given, CompiledGrammar) else list(given)
        if len(grammars) != rows:
            raise StructgenError(f"{len(grammars)} grammars for a batch of {rows} rows")
        known = [g for g in grammars if g is not None]
        if not known:
            raise StructgenError("there is no grammar among them")
        if scores.shape[1] < len(known[0].vocabulary):
            raise StructgenError(
                f"the model scores {scores.shape[1]} ids, the vocabulary has "
                f"{len(known[0].vocabulary)}"
            )
        arena = self._arena or Arena(known[0].vocabulary, scores.device)
        batch = BatchMatcher(arena, rows)
        for row, grammar in enumerate(grammars):
            batch.join(row, grammar)
        batch.resolve()
        return batch
