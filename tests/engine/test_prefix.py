"""The prefix cache against a dictionary of all cached beginnings, with pages that have contents."""

import random
from typing import NamedTuple

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from structgen.engine import prefix
from structgen.engine.pages import PagePool
from structgen.engine.prefix import Cursor, PrefixCache

Text = tuple[int, ...]


class Running(NamedTuple):
    """A sequence: its text so far, its pages."""

    tokens: list[int]
    pages: list[int]
    cursor: Cursor


def common(one: Text, other: Text) -> int:
    n = 0
    while n < min(len(one), len(other)) and one[n] == other[n]:
        n += 1
    return n


class Engine(RuleBasedStateMachine):
    """Sequences that start from the cache, grow, end and are inserted, in few pages.

    A slot's content is the text that its keys and values would depend on, so a page
    that is shared wrongly, written twice or reused too early shows.
    """

    @initialize(page_size=st.integers(1, 4), n_pages=st.integers(2, 24))
    def begin(self, page_size: int, n_pages: int) -> None:
        self.pool = PagePool(n_pages, page_size)
        self.cache = PrefixCache(self.pool)
        self.slots: dict[tuple[int, int], Text] = {}
        self.running: list[Running] = []
        self.cached: dict[Text, int] = {}  # texts up to the end of a page

    # -- the model --

    def pages_for(self, n_tokens: int) -> int:
        return -(-n_tokens // self.pool.page_size)

    def longest(self, text: Text) -> int:
        return max((common(c, text) for c in self.cached), default=0)

    def write(self, sequence: Running, begin: int) -> None:
        for i in range(begin, len(sequence.tokens)):
            page = sequence.pages[i // self.pool.page_size]
            self.slots[page, i % self.pool.page_size] = tuple(sequence.tokens[: i + 1])

    def check_slots(self, sequence: Running) -> None:
        for i in range(len(sequence.tokens)):
            slot = sequence.pages[i // self.pool.page_size], i % self.pool.page_size
            assert self.slots[slot] == tuple(sequence.tokens[: i + 1])

    def is_leaf(self, text: Text) -> bool:
        n = len(text)
        return not any(len(c) > n and c[:n] == text for c in self.cached)

    def evictable(self) -> int:
        """Pages that could be freed, from the leaves on."""
        left, n = dict(self.cached), 0
        try:
            while True:
                leaves = [
                    c
                    for c, page in self.cached.items()
                    if self.pool.references[page] == 1 and self.is_leaf(c)
                ]
                if not leaves:
                    return n
                n += len(leaves)
                for leaf in leaves:
                    del self.cached[leaf]
        finally:
            self.cached = left

    def evict_until(self, n_free: int) -> None:
        before = self.pool.n_free
        expected = min(max(0, n_free - before), self.evictable())
        held = {page for sequence in self.running for page in sequence.pages}
        assert self.cache.evict(n_free) == expected
        assert self.pool.n_free == before + expected
        gone = {c for c, page in self.cached.items() if self.pool.references[page] == 0}
        assert len(gone) == expected
        assert not held & {self.cached[c] for c in gone}
        for c in gone:
            del self.cached[c]

    # -- what an engine does --

    texts = st.lists(st.integers(0, 1), min_size=1, max_size=12)

    @rule(tokens=texts, undo=st.booleans())
    def start(self, tokens: list[int], undo: bool) -> None:
        size = self.pool.page_size
        figures = self.cache.lookups, self.cache.hits
        match = self.cache.match(tokens)
        assert match.n_tokens == self.longest(tuple(tokens[:-1]))
        n_partial = match.n_tokens - len(match.pages) * size
        assert 0 <= n_partial < size
        assert (match.partial is None) == (n_partial == 0)
        assert self.cache.lookups == figures[0] + len(tokens)
        assert self.cache.hits == figures[1] + match.n_tokens
        matched = Running(tokens[: match.n_tokens], list(match.pages), Cursor())
        if match.partial is not None:
            assert match.partial[1] == n_partial
            matched.pages.append(match.partial[0])
        self.check_slots(matched)
        self.running.append(matched)  # holds the pages of the match while others are evicted
        self.books_balance()
        needed = self.pages_for(len(tokens)) - len(match.pages)
        if self.pool.n_free < needed:
            self.evict_until(needed)
        self.running.remove(matched)
        own = None if undo else self.pool.allocate(needed)
        if own is None:
            self.cache.undo(tokens, match)
            assert (self.cache.lookups, self.cache.hits) == figures
            return
        sequence = Running(tokens, [*match.pages, *own], Cursor())
        if match.partial is not None:
            page, n = match.partial
            for i in range(n):
                self.slots[own[0], i] = self.slots[page, i]
            self.pool.release([page])
        self.write(sequence, match.n_tokens)
        self.running.append(sequence)

    def pick(self, data: st.DataObject) -> Running:
        return self.running[data.draw(st.integers(0, len(self.running) - 1))]

    @precondition(lambda self: self.running)
    @rule(data=st.data(), more=st.lists(st.integers(0, 1), min_size=1, max_size=5))
    def grow(self, data: st.DataObject, more: list[int]) -> None:
        sequence = self.pick(data)
        for token in more:
            n = len(sequence.tokens)
            if n % self.pool.page_size == 0:
                pages = self.pool.allocate(1)
                if pages is None:
                    return
                sequence.pages.extend(pages)
            sequence.tokens.append(token)
            self.write(sequence, n)

    @precondition(lambda self: self.running)
    @rule(data=st.data(), ends=st.booleans())
    def insert(self, data: st.DataObject, ends: bool) -> None:
        sequence = self.pick(data)
        if data.draw(st.booleans()):
            n = len(sequence.tokens)
        else:
            n = data.draw(st.integers(0, len(sequence.tokens)))  # a prompt without what came after
        cursor = sequence.cursor if data.draw(st.booleans()) else None
        taken = self.cache.insert(sequence.tokens[:n], sequence.pages, cursor)
        before = len(self.cached)
        self.model_insert(sequence, n)
        replaced = before + taken - len(self.cached)
        assert replaced in (0, 1)
        if ends:
            self.end(sequence)

    def model_insert(self, sequence: Running, n: int) -> None:
        for i in range(self.pages_for(n)):
            end = min((i + 1) * self.pool.page_size, n)
            new = tuple(sequence.tokens[:end])
            begin = i * self.pool.page_size
            siblings = [
                c
                for c in self.cached
                if begin < len(c) <= begin + self.pool.page_size and c[:begin] == new[:begin]
            ]
            if any(c[:end] == new for c in siblings):
                continue
            for c in siblings:
                if new[: len(c)] == c:
                    del self.cached[c]
            self.cached[new] = sequence.pages[i]

    def end(self, sequence: Running) -> None:
        at = next(i for i, other in enumerate(self.running) if other is sequence)
        del self.running[at]
        self.pool.release(sequence.pages)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def follow(self, data: st.DataObject) -> None:
        """Take over what others computed of the same text, in place of what comes behind."""
        sequence, size = self.pick(data), self.pool.page_size
        known = sequence.cursor.n_pages
        first = data.draw(st.integers(known, max(known, len(sequence.tokens) // size)))
        hits, lookups = self.cache.hits, self.cache.lookups
        found = self.cache.follow(sequence.tokens, first, sequence.cursor)
        whole = self.longest(tuple(sequence.tokens[:-1])) // size
        assert len(found) == max(0, whole - first)
        assert (self.cache.hits, self.cache.lookups) == (hits + len(found) * size, lookups)
        self.pool.release(sequence.pages[first : first + len(found)])
        sequence.pages[first : first + len(found)] = found

    @rule(chance=st.integers(0, 9))
    def clear(self, chance: int) -> None:
        if chance == 9:  # seldom: most is found out in a full tree
            self.cache.clear()
            self.cached.clear()

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def abort(self, data: st.DataObject) -> None:
        self.end(self.pick(data))

    @rule(n_free=st.integers(0, 24))
    def evict(self, n_free: int) -> None:
        self.evict_until(n_free)

    @invariant()
    def books_balance(self) -> None:
        if not hasattr(self, "pool"):
            return
        self.cache.verify()
        assert sorted(self.cache.pages()) == sorted(self.cached.values())
        assert self.cache.n_pages == len(self.cached)
        self.pool.verify([self.cache.pages(), *(s.pages for s in self.running)])

    @invariant()
    def nothing_is_overwritten(self) -> None:
        for sequence in getattr(self, "running", ()):
            self.check_slots(sequence)


TestEngine = Engine.TestCase
TestEngine.settings = settings(max_examples=200, stateful_step_count=40)


def insert(cache: PrefixCache, pool: PagePool, tokens: list[int]) -> list[int]:
    """Cache a text that nobody holds; its pages."""
    pages = pool.allocate(-(-len(tokens) // pool.page_size))
    assert pages is not None
    cache.insert(tokens, pages)
    pool.release(pages)
    return pages


def test_least_recently_used_leaves_go_first():
    pool = PagePool(10, 2)
    cache = PrefixCache(pool)
    texts = [[7, 7, i, i] for i in range(4)]  # a page that all share, and a leaf each
    for text in texts:
        insert(cache, pool, text)
    order = [2, 0, 3, 1]
    for i in order:
        match = cache.match([*texts[i], 9])
        assert match.n_tokens == 4
        pool.release(match.pages)
    for gone in range(1, 5):
        assert cache.evict(pool.n_free + 1) == 1
        for rank, i in enumerate(order):
            found = cache.match([*texts[i], 9])
            assert found.n_tokens == (2 if rank < gone else 4)
            cache.undo(texts[i], found)
    assert cache.evict(99) == 1
    pool.verify([])


def test_page_in_use_counts_as_used_when_evicting():
    pool = PagePool(10, 1)
    cache = PrefixCache(pool)
    old, young = [1], [2]
    insert(cache, pool, old)
    held = cache.match([*old, 0])
    insert(cache, pool, young)
    insert(cache, pool, [3])
    assert cache.evict(pool.n_free + 1) == 1  # young: old is older, and in use
    pool.release(held.pages)
    assert cache.evict(pool.n_free + 1) == 1  # [3], as old was in use since
    assert cache.match([*old, 0]).n_tokens == 1
    assert cache.match([3, 0]).n_tokens == 0


def test_equal_pages_are_kept_once():
    pool = PagePool(10, 2)
    cache = PrefixCache(pool)
    first = pool.allocate(2)
    second = pool.allocate(2)
    assert first is not None and second is not None
    assert cache.insert([1, 2, 3], first) == 2
    assert cache.insert([1, 2, 3], second) == 0
    pool.release(second)
    assert cache.match([1, 2, 3, 4]).pages == first[:1]


def test_partial_page_grows_in_place():
    pool = PagePool(10, 4)
    cache = PrefixCache(pool)
    pages = pool.allocate(1)
    assert pages is not None
    assert cache.insert([1, 2], pages) == 1
    assert cache.insert([1, 2, 3, 4], pages) == 1
    assert cache.n_pages == 1
    pool.verify([pages, cache.pages()])
    assert cache.match([1, 2, 3, 4, 5]) == (pages, None, 4)
    assert cache.match([1, 2, 3, 4]) == ([], (pages[0], 3), 3)  # one token is left to compute


def test_refused_inserts_change_nothing():
    pool = PagePool(10, 2)
    cache = PrefixCache(pool)
    pages = pool.allocate(2)
    assert pages is not None
    with pytest.raises(ValueError, match="5 tokens fill 3 pages, 2 were given"):
        cache.insert([1, 2, 3, 4, 5], pages)
    with pytest.raises(ValueError, match="free"):
        cache.insert([1, 2, 3, 4, 5], [*pages, 9])
    cache.verify()
    pool.verify([pages])


def test_figures():
    pool = PagePool(10, 2)
    cache = PrefixCache(pool)
    insert(cache, pool, [1, 2, 3])
    cache.match([1, 2, 3, 4])
    cache.match([5, 6])
    assert (cache.lookups, cache.hits) == (6, 3)


def test_a_chunk_of_a_long_text_looks_at_its_own_pages_only(monkeypatch):
    pool = PagePool(2_100, 4)
    cache, cursor, looks = PrefixCache(pool), Cursor(), 0
    covering = prefix._covering

    def counted(parent, key):
        nonlocal looks
        looks += 1
        return covering(parent, key)

    monkeypatch.setattr(prefix, "_covering", counted)
    text = [i % 97 for i in range(8_000)]
    pages = pool.allocate(2_000)
    assert pages is not None
    for end in range(40, 8_001, 40):
        assert cache.follow(text, end // 4 - 10, cursor) == []
        assert cache.insert(text[:end], pages, cursor) == 10
    assert looks < 200 * 5


@pytest.mark.parametrize("is_known", [False, True])
def test_a_growing_text_takes_the_place_of_its_own_partial_page(is_known):
    pool = PagePool(10, 2)
    cache, cursor = PrefixCache(pool), Cursor()
    pages = pool.allocate(3)
    assert pages is not None
    if is_known:
        cache.insert([1, 2, 3], pages)
    for n in (3, 3, 4, 5):
        cache.insert([1, 2, 3, 4, 5][:n], pages, cursor)
        cache.verify()
    assert cache.match([1, 2, 3, 4, 5, 6]).pages == pages[:2]
    assert cache.n_pages == 3


def test_following_others_begins_behind_the_pages_that_one_has():
    pool = PagePool(20, 2)
    cache, cursor = PrefixCache(pool), Cursor()
    theirs = insert(cache, pool, [1, 2, 3, 4, 5, 6])
    assert cache.follow([1, 2, 3, 4, 5, 6], 1, cursor) == theirs[1:2]  # one token is left
    more = insert(cache, pool, [1, 2, 3, 4, 5, 6, 7, 8, 9])
    assert cache.follow([1, 2, 3, 4, 5, 6, 7, 8, 9], 2, cursor) == [theirs[2], more[3]]
    assert cache.follow([1, 2, 3, 4, 5, 6, 7, 8, 9], 4, cursor) == []
    assert cache.hits == 3 * 2


def test_a_cursor_into_what_was_evicted_begins_anew():
    pool = PagePool(10, 2)
    cache, cursor = PrefixCache(pool), Cursor()
    pages = pool.allocate(2)
    assert pages is not None
    cache.insert([1, 2, 3, 4], pages, cursor)
    pool.release(pages)
    assert cache.evict(9) == 2
    more = pool.allocate(3)
    assert more is not None
    assert cache.insert([1, 2, 3, 4, 5, 6], more, cursor) == 3
    assert cache.match([1, 2, 3, 4, 5, 6, 7]).pages == more


class Counted:
    """A heap's work: how often its module's functions are called."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.n = 0
        for name in ("heappush", "heappop"):
            monkeypatch.setattr(prefix.heapq, name, self.counted(getattr(prefix.heapq, name)))

    def counted(self, function):
        def call(*arguments):
            self.n += 1
            return function(*arguments)

        return call


def test_large_trees_take_constant_heap_work_for_each_page(monkeypatch):
    """Thousands of branches and pages, many in use: eviction looks at each leaf about once."""
    rng = random.Random(0)
    pool = PagePool(20_000, 4)
    cache = PrefixCache(pool)
    system = [rng.randrange(50_000) for _ in range(4_000)]
    insert(cache, pool, system)
    for i in range(3_000):
        insert(cache, pool, [*system[: 4 * rng.randrange(1_000)], 60_000 + i, *range(8)])
    held = []
    for i in range(300):
        text = [70_000 + i, *range(9)]
        insert(cache, pool, text)
        match = cache.match(text)
        assert match.partial is not None
        held.append([*match.pages, match.partial[0]])
    cache.verify()
    n_pages = cache.n_pages
    work = Counted(monkeypatch)
    freed = 0
    while cache.evict(pool.n_free + 1):
        freed += 1
    assert cache.n_pages == n_pages - freed == sum(map(len, held))
    assert work.n < 4 * n_pages
    cache.verify()
    pool.verify([cache.pages(), *held])
