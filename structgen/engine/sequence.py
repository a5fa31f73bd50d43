"""The state of one request while it runs: its tokens, its text, what it holds."""

from __future__ import annotations

import secrets
from array import array
from typing import TYPE_CHECKING

from structgen.engine.prefix import Cursor
from structgen.engine.request import FinishReason, Output, Request, TokenLogprob, Usage
from structgen.engine.text import TextStream

if TYPE_CHECKING:
    from structgen.engine.tokens import TokenTable


class Sequence:
    """One request being generated.

    Attributes:
        tokens: of the prompt and the text, as far as the host knows them: int32.
        slot: its row of the sampler and of decoding, -1 while it waits.
        waiting: it is in the scheduler's queue.
        pages: of its keys and values, in order; it holds a reference on each.
        cursor: how much of it the prefix cache is known to have.
        computed: tokens whose keys and values are in the pages, or will be after the steps that
            are under way.
        in_flight: steps under way that sample a token for it.
        decoding: its tokens are all computed, but for the one sampled last.
        retries: how often the device ran out of memory in its steps.
        stalls: steps in a row in which its constraint let it wait.
        served: the number of the last step that was launched before what it lacked was brought.
        seed: of its random numbers.
        complete: the text ended where its grammar says a text can end.
    """

    def __init__(self, request: Request, table: TokenTable, number: int = 0) -> None:
        self.request = request
        self.number = number
        self.tokens = array("i", request.prompt_ids)
        self.logprobs: list[TokenLogprob] = []
        self.text = TextStream(request.params.stop)
        self.finish_reason: FinishReason | None = None
        self.error: str | None = None
        self.complete = False
        self.cancelled = False
        params = request.params
        self.seed = secrets.randbits(63) if params.seed is None else params.seed % (1 << 63)
        self.ends = frozenset(params.stop_token_ids)
        if not params.ignore_eos or request.grammar is not None:
            self.ends |= table.end_ids
        self._table = table
        self.slot = -1
        self.waiting = False
        self.pages: list[int] = []
        self.cursor = Cursor()
        self.computed = 0
        self.in_flight = 0
        self.decoding = False
        self.retries = self.stalls = self.served = 0
        self.cached_tokens = 0

    @property
    def is_finished(self) -> bool:
        """Is there a reason for which it ended?"""
        return self.finish_reason is not None

    @property
    def order(self) -> tuple[int, int]:
        """Who comes first: the lower priority number, then the earlier arrival."""
        return self.request.priority, self.number

    @property
    def length(self) -> int:
        """Tokens that the host knows: prompt and text."""
        return len(self.tokens)

    @property
    def n_generated(self) -> int:
        """Tokens of the text that the host knows."""
        return len(self.tokens) - len(self.request.prompt_ids)

    @property
    def token_ids(self) -> list[int]:
        """Those tokens; a copy."""
        return self.tokens[len(self.request.prompt_ids) :].tolist()

    def accept(
        self, token: int, *, ended: bool = False, logprob: TokenLogprob | None = None
    ) -> str:
        """Take a sampled token; ``ended`` where its grammar allows nothing after it.

        Returns the text that became settled. Sets ``finish_reason`` when the sequence is done.
        """
        self.tokens.append(token)
        if logprob is not None:
            self.logprobs.append(logprob)
        if token in self.ends:
            # Of a constrained text only the end that its grammar allows is one.
            complete = self.request.grammar is None or ended or token in self._table.end_ids
            return self._finish("stop", complete=complete)
        piece = self.text.push(self._table.bytes_of(token))
        if self.text.stopped:
            return piece + self._finish("stop", complete=False)
        if ended:
            return piece + self._finish("stop", complete=True)
        if self.n_generated >= self.request.max_tokens:
            whole = self._is_whole()
            return piece + self._finish("stop" if whole else "length", complete=whole)
        return piece

    def _is_whole(self) -> bool:
        """Does the grammar allow nothing after the text? A device says so one token later."""
        if self.request.grammar is None:
            return False
        matcher = self.request.grammar.matcher()
        try:
            if not all(map(matcher.accept_token, self.token_ids)):
                return False
            if matcher.is_terminated():
                return True
            mask = self._table.allocate_mask()
            matcher.fill_bitmask(mask)
            return matcher.is_accepting() and self._table.only_end(mask)
        except Exception:  # a fault in the grammar; the text is there all the same
            return False

    def end(self) -> str:
        """End a text whose grammar allows nothing before its first token."""
        return self._finish("stop", complete=True)

    def fail(self, message: str) -> None:
        """End the sequence with an error of its own."""
        self.error = message
        self._finish("error", complete=False)

    def output(self) -> Output:
        """The result; only for a finished sequence."""
        if self.finish_reason is None:
            raise RuntimeError("the sequence is still running")
        wanted = self.request.params.logprobs is not None
        return Output(
            text=self.text.text,
            finish_reason=self.finish_reason,
            usage=Usage(len(self.request.prompt_ids), self.n_generated, self.cached_tokens),
            token_ids=tuple(self.token_ids),
            prompt=self.request.prompt,
            error=self.error,
            logprobs=tuple(self.logprobs) if wanted else None,
        )

    def _finish(self, reason: FinishReason, *, complete: bool) -> str:
        piece = self.text.finish()
        # A stop string may only become certain once the last bytes are decoded.
        self.finish_reason = "stop" if self.text.stopped and reason != "error" else reason
        self.complete = complete and not self.text.stopped
        return piece
