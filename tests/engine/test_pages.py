"""The pool of pages against counts in a dictionary."""

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from structgen.engine.pages import PagePool

N_PAGES = 9


class Books(RuleBasedStateMachine):
    """Owners that allocate, share and release; wrong calls change nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = PagePool(N_PAGES, 4)
        self.owners: list[list[int]] = []

    @rule(n=st.integers(0, N_PAGES))
    def allocate(self, n: int) -> None:
        free = self.pool.n_free
        pages = self.pool.allocate(n)
        assert (pages is None) == (n > free)
        if pages is not None:
            assert len(pages) == n
            self.owners.append(pages)

    @precondition(lambda self: self.owners)
    @rule(data=st.data())
    def share(self, data: st.DataObject) -> None:
        pages = data.draw(st.sampled_from(self.owners))
        some = [page for page in pages if data.draw(st.booleans())]
        self.pool.share(some)
        self.owners.append(some)

    @precondition(lambda self: self.owners)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        self.pool.release(self.owners.pop(data.draw(st.integers(0, len(self.owners) - 1))))

    @rule(pages=st.lists(st.integers(-1, N_PAGES), max_size=4), share=st.booleans())
    def refused(self, pages: list[int], share: bool) -> None:
        held = {p: self.pool.references[p] if 0 < p < N_PAGES else 0 for p in pages}
        wrong = any(not held[p] or (not share and pages.count(p) > held[p]) for p in pages)
        if wrong:
            with pytest.raises(ValueError, match="page"):
                (self.pool.share if share else self.pool.release)(pages)

    @invariant()
    def books_balance(self) -> None:
        self.pool.verify(self.owners)
        used = {page for owner in self.owners for page in owner}
        assert self.pool.n_free == N_PAGES - 1 - len(used)
        assert 0 not in used


TestBooks = Books.TestCase


def test_last_freed_first():
    pool = PagePool(6, 1)
    first = pool.allocate(3)
    assert first is not None
    pool.allocate(1)
    pool.release(first)
    assert pool.allocate(3) == first


def test_one_owner_may_give_back_for_two():
    pool = PagePool(3, 1)
    pages = pool.allocate(1)
    assert pages is not None
    pool.share(pages)
    pool.release(pages * 2)
    assert pool.n_free == 2
    pool.verify([])


def test_refused_release_changes_nothing():
    pool = PagePool(4, 1)
    one, two = pool.allocate(1), pool.allocate(1)
    assert one is not None and two is not None
    with pytest.raises(ValueError, match=f"page {two[0]} is given back more often"):
        pool.release([*one, *two, *two])
    pool.verify([one, two])


def test_sizes():
    for n_pages, page_size in ((1, 4), (2, 0)):
        with pytest.raises(ValueError, match="least"):
            PagePool(n_pages, page_size)
    with pytest.raises(ValueError, match="allocated"):
        PagePool(2, 1).allocate(-1)


class TestVerify:
    """Each kind of broken books is found."""

    def broken(self, owners: list[list[int]], match: str) -> None:
        with pytest.raises(ValueError, match=match):
            self.pool.verify(owners)

    def setup_method(self) -> None:
        self.pool = PagePool(5, 4)
        self.pages = self.pool.allocate(2) or []

    def test_owners(self) -> None:
        self.pool.verify([self.pages])
        self.broken([], "held 0 times, 1 are counted")
        self.broken([self.pages, self.pages], "held 2 times, 1 are counted")
        self.broken([[*self.pages, self.pages[0]]], "twice")
        self.broken([[*self.pages, 0]], "outside")

    def test_free_list(self) -> None:
        lost = self.pool._free.pop()
        self.broken([self.pages], f"page {lost}, held 0 times, is 0 times")
        self.pool._free += [lost, lost]
        self.broken([self.pages], f"page {lost}, held 0 times, is 2 times")

    def test_page_0(self) -> None:
        self.pool._free.append(0)
        self.broken([self.pages], "page 0, held 0 times, is 1 times")
        assert self.pool.references.dtype == np.int32
