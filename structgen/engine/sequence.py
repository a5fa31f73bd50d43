"""The state of one running request: its tokens, text, automaton and random generator."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from structgen.engine.request import FinishReason, Output, Request, Usage
from structgen.engine.text import TextStream

if TYPE_CHECKING:
    from structgen.engine.tokens import TokenTable


class SequenceError(Exception):
    """This sequence cannot go on; the others of the batch can."""


class Sequence:
    """One request being generated.

    Invariant: while ``finish_reason`` is None and the request is constrained, ``mask`` holds the
    allowed tokens of the next step, at least one of them other than end-of-text.

    Attributes:
        mask: int32 [1, ceil(V / 32)] on the CPU, or None for an unconstrained request.
        complete: the text ended where its grammar says a text can end.
    """

    def __init__(self, request: Request, table: TokenTable) -> None:
        self.request = request
        self.token_ids: list[int] = []
        self.text = TextStream(request.params.stop)
        self.finish_reason: FinishReason | None = None
        self.error: str | None = None
        self.complete = False
        self.generator = torch.Generator()
        if request.params.seed is None:
            self.generator.seed()
        else:
            self.generator.manual_seed(request.params.seed & 0xFFFF_FFFF_FFFF_FFFF)
        self._table = table
        self._matcher = None if request.grammar is None else request.grammar.matcher()
        self.mask = None if self._matcher is None else table.allocate_mask()

    def start(self) -> str:
        """Fill the first mask; text that this already ends is returned as in :meth:`accept`."""
        return self._prepare_next()

    def accept(self, token: int) -> str:
        """Take the sampled ``token`` and prepare the next step.

        Returns the text that became settled. Sets ``finish_reason`` when the sequence is done.

        Raises:
            SequenceError: the grammar refuses the token.
        """
        if self._matcher is not None and not self._matcher.accept_token(token):
            raise SequenceError(f"the grammar refused token {token}, which its mask allowed")
        self.token_ids.append(token)
        if token in self._table.end_ids:
            return self._finish("stop", complete=True)
        piece = self.text.push(self._table.bytes_of(token))
        if self.text.stopped:
            return piece + self._finish("stop", complete=False)
        return piece + self._prepare_next()

    def fail(self, message: str) -> None:
        """End the sequence with an error of its own."""
        self.error = message
        self._finish("error", complete=False)

    def output(self) -> Output:
        """The result; only for a finished sequence."""
        if self.finish_reason is None:
            raise RuntimeError("the sequence is still running")
        return Output(
            text=self.text.text,
            finish_reason=self.finish_reason,
            usage=Usage(len(self.request.prompt_ids), len(self.token_ids)),
            token_ids=tuple(self.token_ids),
            prompt=self.request.prompt,
            error=self.error,
        )

    def _prepare_next(self) -> str:
        matcher, mask = self._matcher, self.mask
        if matcher is not None and mask is not None:
            if matcher.is_terminated():
                return self._finish("stop", complete=True)
            matcher.fill_bitmask(mask, 0)
            if not np.any(mask.numpy()):
                raise SequenceError("the grammar allows no token here")
            # Where nothing but end-of-text may follow, asking the model would be a wasted step.
            if matcher.is_accepting() and self._table.only_end(mask):
                return self._finish("stop", complete=True)
        if len(self.token_ids) >= self.request.max_tokens:
            return self._finish("length", complete=False)
        return ""

    def _finish(self, reason: FinishReason, *, complete: bool) -> str:
        piece = self.text.finish()
        # A stop string may only become certain once the last bytes are decoded.
        self.finish_reason = "stop" if self.text.stopped and reason != "error" else reason
        self.complete = complete and not self.text.stopped
        self._matcher = None
        self.mask = None
        return piece
