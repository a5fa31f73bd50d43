"""Which sequences run in the next step, and what each of them computes.

A step decodes every running sequence, and computes a *chunk* of the prompts that are not done, as
many tokens as the budget leaves. Waiting requests begin in order of priority and arrival, as soon
as the admission policy expects room for their whole text. Where a running sequence needs a page and
none is left, first the prefix cache gives up what nobody uses, then the sequence that comes last
makes room: its pages go to the prefix cache, and it waits again, with what it has generated.

Pages: a sequence holds a reference on each of its pages, the prefix cache another on those it
keeps. What a chunk computes goes to the prefix cache as soon as the chunk is planned: a page is
always written, in the order of the device, before others that were planned later read it.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from structgen.engine.admission import Aggressive, Conservative, PastFuture, Policy, Running
from structgen.engine.admission import Plan as Admission
from structgen.engine.config import EngineConfig
from structgen.engine.pages import PagePool
from structgen.engine.prefix import Cursor, Match, PrefixCache
from structgen.engine.sequence import Sequence
from structgen.errors import StructgenError

NO_MATCH = Match([], None, 0)

POLICIES: dict[str, type[Policy]] = {
    "past_future": PastFuture,
    "conservative": Conservative,
    "aggressive": Aggressive,
}


class Drain(Exception):
    """Nothing can be planned before the steps under way are done."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Tokens ``start`` to ``end`` of a sequence; after the last ones a token is sampled."""

    sequence: Sequence
    start: int
    end: int
    is_last: bool


@dataclass(slots=True)
class Plan:
    """One step.

    Attributes:
        copies: pages to copy first, (source, target).
        chunks: prompts, or parts of them.
        decodes: sequences that compute the token sampled last.
    """

    copies: list[tuple[int, int]] = field(default_factory=list)
    chunks: list[Chunk] = field(default_factory=list)
    decodes: list[Sequence] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.chunks or self.decodes)

    @property
    def sequences(self) -> Iterator[Sequence]:
        """All that take part."""
        yield from (chunk.sequence for chunk in self.chunks)
        yield from self.decodes


class Scheduler:
    """Waiting and running sequences, and the pages they hold.

    Attributes:
        running: sequences with a slot, in the order in which they got it.
        n_waiting, waiting_tokens: sequences that wait for a slot, and their tokens.
        preemptions: how often a sequence had to make room.
        budget: tokens of a step; ``max_step_tokens`` until the device runs out of memory.
    """

    def __init__(
        self,
        config: EngineConfig,
        n_pages: int,
        begin: Callable[[Sequence], bool],
        leave: Callable[[int], None],
    ) -> None:
        """
        Args:
            n_pages: page 0 counted.
            begin: is told of a sequence that got a slot; False where it cannot begin.
            leave: is told of a slot that is free again.
        """
        self.config = config
        self._begin, self._free_slot = begin, leave
        self.pool = PagePool(n_pages, config.page_size)
        self.prefix = PrefixCache(self.pool)
        self.policy = POLICIES[config.admission](page_size=config.page_size)
        self.running: list[Sequence] = []
        # A heap; of those that were withdrawn some are still in it.
        self._waiting: list[tuple[tuple[int, int], Sequence]] = []
        self._slots = list(range(config.max_batch_size))
        self.n_waiting = self.waiting_tokens = 0
        self.preemptions = 0
        self.budget = config.max_step_tokens

    def check(self, length: int, n_others: int, other_tokens: int) -> None:
        """Raise where a prompt of ``length`` tokens may not wait, beside others on their way here.

        Raises:
            StructgenError: as many wait as may, or it would not fit if it were alone.
        """
        c = self.config
        if length >= self.capacity:
            raise StructgenError(
                f"the prompt has {length} tokens, but there are pages for {self.capacity} keys and "
                "values, and one is needed for the output; a larger kv_tokens would make room"
            )
        if self.n_waiting + n_others >= c.max_waiting:
            raise StructgenError(
                f"{c.max_waiting} requests are waiting, as many as max_waiting allows; try later"
            )
        if self.waiting_tokens + other_tokens + length > c.max_waiting_tokens:
            raise StructgenError(
                f"{self.waiting_tokens + other_tokens} prompt tokens are waiting; with {length} "
                f"more they would be more than max_waiting_tokens, {c.max_waiting_tokens}"
            )

    @property
    def capacity(self) -> int:
        """Tokens whose keys and values fit; page 0 is the padding's."""
        return (self.pool.n_pages - 1) * self.config.page_size

    @property
    def is_idle(self) -> bool:
        """Is there nothing to run?"""
        return not self.running and not self.n_waiting

    def plan(self) -> Plan:
        """The next step; it is empty where nothing can run now.

        Raises:
            Drain: a sequence must make room that takes part in a step under way.
        """
        plan = Plan()
        for sequence in sorted((s for s in self.running if s.decoding), key=lambda s: s.order):
            # A longer text than may come is not begun: what is under way may be its last token.
            if sequence.slot < 0 or _expected(sequence) >= sequence.request.max_tokens:
                continue
            if self._make_room(sequence, sequence.computed + 1):
                plan.decodes.append(sequence)
        budget = self.budget - len(plan.decodes)
        for sequence in [s for s in self.running if not s.decoding]:
            budget -= self._chunk(sequence, budget, plan)
        self._admit(budget, plan)
        for sequence in plan.decodes:
            sequence.computed += 1
            sequence.in_flight += 1
        return plan

    # -- prompts --------------------------------------------------------------------------------

    def _admit(self, budget: int, plan: Plan) -> None:
        admission: Admission | None = None
        while self.n_waiting and self._slots and budget > 0:
            sequence = self._waiting[0][1]
            if not sequence.waiting:
                heapq.heappop(self._waiting)
                continue
            if admission is None:
                admission = self.policy.begin([_running(s) for s in self.running], self.capacity)
            candidate = _running(sequence)
            # Alone it runs in any case.
            if self.running and not admission.admit(candidate):
                break
            if not self._start(sequence, plan):
                break
            budget -= self._chunk(sequence, budget, plan)

    def _start(self, sequence: Sequence, plan: Plan) -> bool:
        """Give a waiting sequence a slot and pages for its tokens; False where pages lack."""
        tokens, size = sequence.tokens, self.config.page_size
        match = self.prefix.match(tokens) if self.config.prefix_cache else NO_MATCH
        wanted = -(-len(tokens) // size)
        own = self._allocate(wanted - len(match.pages))
        if own is None:
            self.prefix.undo(tokens, match)
            if self.running:
                return False
            # Alone it fits, where nothing that matched is held beside what it needs.
            match = NO_MATCH
            own = self._allocate(wanted)
            assert own is not None
        heapq.heappop(self._waiting)
        self._withdraw(sequence)
        sequence.pages = match.pages + own
        sequence.computed = len(match.pages) * size
        sequence.slot = heapq.heappop(self._slots)
        self.running.append(sequence)
        begun = self._begin(sequence)
        if match.partial is not None:
            source, n = match.partial
            # Copies come first in a step: what a chunk of this step writes is not there yet.
            if begun and all(source not in chunk.sequence.pages for chunk in plan.chunks):
                plan.copies.append((source, own[0]))
                sequence.computed += n
            else:
                self.prefix.hits -= n
            # Whoever writes to it next does so after the copy.
            self.pool.release([source])
        if not begun:
            self._leave(sequence)
        elif not sequence.n_generated:
            sequence.cached_tokens = sequence.computed
        return True

    def _chunk(self, sequence: Sequence, budget: int, plan: Plan) -> int:
        """Plan the next tokens of a prompt; returns how many."""
        if budget <= 0 or sequence.slot < 0:
            return 0
        self._skip(sequence)
        start, length = sequence.computed, sequence.length
        end = min(length, start + budget)
        plan.chunks.append(Chunk(sequence, start, end, end == length))
        sequence.computed = end
        if end == length:
            sequence.decoding = True
            sequence.in_flight += 1
        self._keep(sequence, end)
        return end - start

    def _skip(self, sequence: Sequence) -> None:
        """Take over what others have computed of the same prompt since this sequence began."""
        size, first = self.config.page_size, sequence.computed // self.config.page_size
        if not self.config.prefix_cache or sequence.computed % size:
            return
        if sequence.length - sequence.computed <= size:
            return
        found = self.prefix.follow(sequence.tokens, first, sequence.cursor)
        if found:
            self.pool.release(sequence.pages[first : first + len(found)])
            sequence.pages[first : first + len(found)] = found
            sequence.computed += len(found) * size

    def _keep(self, sequence: Sequence, n_tokens: int) -> None:
        """Give what is computed of a sequence to the prefix cache."""
        if self.config.prefix_cache:
            n_pages = -(-n_tokens // self.config.page_size)
            tokens, pages = sequence.tokens[:n_tokens], sequence.pages[:n_pages]
            self.prefix.insert(tokens, pages, cursor=sequence.cursor)

    # -- pages ----------------------------------------------------------------------------------

    def _allocate(self, n: int) -> list[int] | None:
        if n > self.pool.n_free:
            self.prefix.evict(n)
        return self.pool.allocate(n)

    def _make_room(self, sequence: Sequence, n_tokens: int) -> bool:
        """Pages for ``n_tokens``; False where the sequence itself had to make room.

        Who makes room comes last, so it is not among those that were planned before ``sequence``.
        """
        while len(sequence.pages) * self.config.page_size < n_tokens:
            page = self._allocate(1)
            if page is not None:
                sequence.pages += page
                continue
            last = max(self.running, key=lambda s: s.order)
            if last.in_flight:
                raise Drain
            self.preempt(last)
            if last is sequence:
                return False
        return True

    def preempt(self, sequence: Sequence, *, keep: bool = True) -> None:
        """Let a running sequence wait again; ``keep`` what it computed while there is room."""
        self.preemptions += 1
        if keep:
            self._keep(sequence, min(sequence.computed, sequence.length))
        self._leave(sequence)
        self.add(sequence)

    def finish(self, sequence: Sequence, *, keep: bool = True) -> None:
        """Take out a sequence that is done, or that waits and is no longer wanted.

        ``keep`` what it computed for others.
        """
        if sequence.waiting:
            self._withdraw(sequence)
        if sequence.slot < 0:
            return
        if keep:
            self._keep(sequence, min(sequence.computed, sequence.length))
        self._leave(sequence)
        if sequence.finish_reason in ("stop", "length"):
            self.policy.observe(sequence.n_generated)

    def forget(self) -> None:
        """Let go of all that is kept for others: a step failed, and pages may be half written."""
        self.prefix.clear()

    def verify(self) -> None:
        """Raise unless every page belongs to exactly those who hold it."""
        self.prefix.verify()
        self.pool.verify([*(s.pages for s in self.running), self.prefix.pages()])

    def _leave(self, sequence: Sequence) -> None:
        self.running.remove(sequence)
        self.pool.release(sequence.pages)
        slot = sequence.slot
        heapq.heappush(self._slots, slot)
        sequence.slot, sequence.pages, sequence.computed = -1, [], 0
        sequence.cursor, sequence.decoding = Cursor(), False
        self._free_slot(slot)  # last: should it fail, the books are right

    # -- waiting --------------------------------------------------------------------------------

    def add(self, sequence: Sequence) -> None:
        """Let a sequence wait."""
        sequence.waiting = True
        self.n_waiting += 1
        self.waiting_tokens += sequence.length
        heapq.heappush(self._waiting, (sequence.order, sequence))

    def _withdraw(self, sequence: Sequence) -> None:
        """Let a sequence wait no more, wherever it is in the heap."""
        sequence.waiting = False
        self.n_waiting -= 1
        self.waiting_tokens -= sequence.length
        # Not for long, as a prompt may be large; seldom enough that it costs nothing on average.
        if len(self._waiting) > 2 * self.n_waiting:
            self._waiting = [entry for entry in self._waiting if entry[1].waiting]
            heapq.heapify(self._waiting)

    def clear(self) -> list[Sequence]:
        """Take out all that wait and run; returns them."""
        waiting = [s for _, s in self._waiting if s.waiting]
        gone = waiting + self.running
        for sequence in waiting:
            self._withdraw(sequence)
        for sequence in list(self.running):
            self._leave(sequence)
        return gone


def _expected(sequence: Sequence) -> int:
    """Tokens of its text once the steps under way are done."""
    return sequence.n_generated + sequence.in_flight


def _running(sequence: Sequence) -> Running:
    # What it holds, or will once its prompt is computed.
    return Running(
        held=sequence.length + sequence.in_flight,
        generated=sequence.n_generated,
        max_new=sequence.request.max_tokens,
    )
