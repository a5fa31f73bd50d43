"""The prefix cache: pages of texts that were computed before, found by their tokens.

A tree with a node for each page. Its key is the page's tokens, so the path from the root spells the
text that the page's keys and values depend on. A text whose end does not fill a page leaves a
*partial* page, which is always a leaf. Among siblings no key is the beginning of another one: the
longer page serves all that the shorter one would.

Siblings are sorted by their keys. So the one that shares the longest beginning with given tokens is
next to where these would be inserted, and a node with thousands of branches takes no scan.

A text that grows keeps a *cursor*, the last full page of it that is in the tree: what a chunk of a
long prompt costs does not grow with what was computed before.

Whoever finds a full page shares it. A page of which only a beginning matches is copied by whoever
goes on from there into a page of their own (copy on write); this also serves where texts part in
the middle of a page. The tree holds references of its own; leaves that nobody else holds are
evicted, those that were not used for longest first.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from structgen.engine.pages import PagePool

_TOKEN = np.dtype(np.int32)  # of the keys


class Match(NamedTuple):
    """The cached beginning of a text. The caller holds a reference on each page that is named.

    Attributes:
        pages: full pages of the text's first tokens, to be read only.
        partial: a page whose first so many slots are what follows, and that number. The caller
            copies them and releases the page; None where nothing more matches.
        n_tokens: tokens matched, those of ``partial`` included; less than the text has.
    """

    pages: list[int]
    partial: tuple[int, int] | None
    n_tokens: int


class _Node:
    """A cached page. ``key`` is its tokens as bytes; shorter than a page's for a partial page.

    ``children`` are sorted by their keys, which ``child_keys`` repeats for bisection. ``queued``:
    an entry of the heap of leaves names the node.
    """

    __slots__ = ("child_keys", "children", "key", "last_used", "page", "parent", "queued")

    def __init__(self, key: bytes, page: int, parent: _Node | None) -> None:
        self.key, self.page, self.parent = key, page, parent
        self.children: list[_Node] = []
        self.child_keys: list[bytes] = []
        self.last_used = 0
        self.queued = False


class Cursor:
    """How far a text is known to be in the tree: the node of the last of its first ``n_pages``.

    It holds no reference. Where the node has left the tree since, one begins at the root again.
    """

    __slots__ = ("n_pages", "node")

    def __init__(self) -> None:
        self.node: _Node | None = None
        self.n_pages = 0


class PrefixCache:
    """Cached pages of a pool, for one thread.

    Attributes:
        lookups: tokens of all texts that were looked up.
        hits: those of them that were found.
        n_pages: pages that the tree holds.
    """

    def __init__(self, pool: PagePool) -> None:
        self.lookups = self.hits = self.n_pages = 0
        self._pool = pool
        self._width = pool.page_size * _TOKEN.itemsize  # bytes of a full page's key
        self._root = _Node(b"", 0, None)  # where all texts begin; it has no page
        self._clock = 0
        self._pushed = 0
        # (last use when it was pushed, number of the push, node). An entry may be out of date: the
        # node was used since or has children now. Each node is in it at most once.
        self._leaves: list[tuple[int, int, _Node]] = []

    def match(self, tokens: Sequence[int]) -> Match:
        """The longest cached beginning of a text, at least one token short of all of it.

        The last token is left out because its logits are wanted. References are taken for the
        caller, on the partial page too, so that nothing of the match is evicted before it is used.
        """
        text = _key(tokens)
        self.lookups += len(tokens)
        end = len(text) - _TOKEN.itemsize
        pages: list[int] = []
        partial: tuple[int, int] | None = None
        node, position = self._root, 0
        self._clock += 1
        while position < end:
            wanted = text[position : min(position + self._width, end)]
            child, n = _covering(node, wanted), len(wanted) // _TOKEN.itemsize
            if child is None:
                child, n = _closest(node, wanted)
            if child is None:
                break
            child.last_used = self._clock
            if n < self._pool.page_size:
                partial = (child.page, n)
                break
            pages.append(child.page)
            position += self._width
            node = child
        self._pool.share(pages)
        n_tokens = len(pages) * self._pool.page_size
        if partial is not None:
            self._pool.share((partial[0],))
            n_tokens += partial[1]
        self.hits += n_tokens
        return Match(pages, partial, n_tokens)

    def follow(self, tokens: Sequence[int], n_pages: int, cursor: Cursor) -> list[int]:
        """The cached full pages of a text behind its first ``n_pages``, which its caller has.

        As with :meth:`match`, at least the last token is left out, and references are taken. What
        is found counts as hits, not as looked up: the text was when it began.
        """
        node, first = self._resume(cursor)
        text = _key(tokens[first * self._pool.page_size :])
        last = len(text) - _TOKEN.itemsize - self._width
        pages: list[int] = []
        self._clock += 1
        for position in range(0, last + 1, self._width):
            child = _covering(node, text[position : position + self._width])
            if child is None:
                break
            child.last_used = self._clock
            pages.append(child.page)
            node = child
        cursor.node, cursor.n_pages = node, first + len(pages)
        found = pages[n_pages - first :]
        self._pool.share(found)
        self.hits += len(found) * self._pool.page_size
        return found

    def _resume(self, cursor: Cursor) -> tuple[_Node, int]:
        """Where to go on, and how many pages of the text are before it."""
        if cursor.node is None or cursor.node.parent is None:
            return self._root, 0
        return cursor.node, cursor.n_pages

    def undo(self, tokens: Sequence[int], match: Match) -> None:
        """Give a match of ``tokens`` back unused: its references, and its part of the figures."""
        self.lookups -= len(tokens)
        self.hits -= match.n_tokens
        self._pool.release(match.pages)
        if match.partial is not None:
            self._pool.release((match.partial[0],))

    def insert(
        self, tokens: Sequence[int], pages: Sequence[int], cursor: Cursor | None = None
    ) -> int:
        """Keep the pages of a text whose keys and values have been computed.

        The tree takes references of its own and leaves the caller's alone. Where it has a page with
        the same tokens, that one is kept and the caller's is not taken. The sequence may go on: the
        tree counts on the slots of ``tokens`` only, which must not be written again.

        Args:
            pages: in the order of the text; more than ``tokens`` fill are ignored.
            cursor: of this text, which may have grown since; it is moved on.

        Returns:
            how many pages were taken.

        Raises:
            ValueError: fewer pages than the tokens fill.
        """
        size = self._pool.page_size
        needed, n_full = -(-len(tokens) // size), len(tokens) // size
        if len(pages) < needed:
            raise ValueError(f"{len(tokens)} tokens fill {needed} pages, {len(pages)} were given")
        cursor = cursor or Cursor()
        node, first = self._resume(cursor)
        text = _key(tokens[first * size :])
        keys = [text[i : i + self._width] for i in range(0, len(text), self._width)]
        self._clock += 1
        known = first
        while known < needed and (child := _covering(node, keys[known - first])) is not None:
            child.last_used = self._clock
            node = child
            known += 1
            if known <= n_full:
                cursor.node, cursor.n_pages = node, known
        if known >= needed:
            return 0
        self._pool.share(pages[known:needed])  # refuses pages that are free: nothing has changed
        for i in range(known, needed):
            node = self._place(node, keys[i - first], pages[i])
            if i < n_full:
                cursor.node, cursor.n_pages = node, i + 1
        return needed - known

    def _place(self, parent: _Node, key: bytes, page: int) -> _Node:
        """A child with a key that no child's begins with; it may take a partial one's place."""
        at = bisect_left(parent.child_keys, key)
        if at and key.startswith(parent.child_keys[at - 1]):
            node = parent.children[at - 1]
            self._pool.release((node.page,))
            node.key, node.page = key, page
            parent.child_keys[at - 1] = key
            node.last_used = self._clock
            return node
        node = _Node(key, page, parent)
        node.last_used = self._clock
        parent.children.insert(at, node)
        parent.child_keys.insert(at, key)
        self.n_pages += 1
        self._queue(node)
        return node

    def _queue(self, node: _Node) -> None:
        node.queued = True
        self._pushed += 1
        heapq.heappush(self._leaves, (node.last_used, self._pushed, node))

    def evict(self, n_pages: int) -> int:
        """Free pages that only the tree holds until ``n_pages`` of the pool are free.

        Returns:
            how many pages were freed; the pool may still have fewer free ones than asked for.
        """
        missing = n_pages - self._pool.n_free
        freed: list[int] = []
        self._clock += 1
        while self._leaves and len(freed) < missing:
            pushed, _, node = self._leaves[0]
            if pushed == self._clock:  # all that is left is in use
                break
            heapq.heappop(self._leaves)
            node.queued = False
            if node.children:
                continue
            if node.last_used > pushed:
                self._queue(node)
            elif self._pool.references[node.page] > 1:
                # Held by a sequence, so it is being used: the next call need not look at it first.
                node.last_used = self._clock
                self._queue(node)
            else:
                self._remove(node)
                freed.append(node.page)
        self._pool.release(freed)
        return len(freed)

    def _remove(self, node: _Node) -> None:
        parent = node.parent
        assert parent is not None  # the root is not in the heap
        at = bisect_left(parent.child_keys, node.key)
        del parent.children[at], parent.child_keys[at]
        node.parent = None  # for cursors
        self.n_pages -= 1
        if parent is not self._root and not parent.children and not parent.queued:
            self._queue(parent)

    def clear(self) -> None:
        """Give back all pages."""
        nodes = list(self._nodes())
        for node in nodes:
            node.parent = None  # for cursors
        self._root = _Node(b"", 0, None)
        self._leaves.clear()
        self.n_pages = 0
        self._pool.release([node.page for node in nodes])

    def _nodes(self) -> Iterator[_Node]:
        """All nodes but the root."""
        stack = list(self._root.children)
        while stack:
            node = stack.pop()
            yield node
            stack += node.children

    def pages(self) -> list[int]:
        """The pages that the tree holds, for :meth:`PagePool.verify`."""
        return [node.page for node in self._nodes()]

    def verify(self) -> None:
        """Check the tree's invariants; raises ValueError naming the first broken one."""
        nodes = list(self._nodes())
        _check(len(nodes) == self.n_pages, f"{len(nodes)} nodes, {self.n_pages} pages counted")
        _check(len({node.page for node in nodes}) == len(nodes), "a page is held by two nodes")
        for node in [self._root, *nodes]:
            keys = [child.key for child in node.children]
            _check(keys == node.child_keys, f"page {node.page}: the keys are not the children's")
            _check(keys == sorted(keys), f"children of page {node.page} are not sorted")
            for left, right in pairwise(keys):
                _check(not right.startswith(left), f"a key below page {node.page} begins another")
            _check(
                all(child.parent is node for child in node.children),
                f"a child of page {node.page} has another parent",
            )
        queued = {id(node) for _, _, node in self._leaves}
        _check(len(queued) == len(self._leaves), "a node is twice in the heap of leaves")
        _check(queued <= {id(node) for node in nodes}, "a node in the heap has left the tree")
        for node in nodes:
            size = len(node.key)
            _check(0 < size <= self._width, f"page {node.page} has a key of {size} bytes")
            _check(size == self._width or not node.children, f"partial page {node.page} goes on")
            _check(self._pool.references[node.page] > 0, f"page {node.page} is cached, and free")
            _check(node.queued == (id(node) in queued), f"page {node.page}: is it in the heap?")
            _check(node.queued or bool(node.children), f"leaf {node.page} cannot be evicted")


def _key(tokens: Sequence[int]) -> bytes:
    return np.asarray(tokens, _TOKEN).tobytes()


def _covering(parent: _Node, key: bytes) -> _Node | None:
    """The child whose key begins with ``key``."""
    at = bisect_left(parent.child_keys, key)
    if at < len(parent.children) and parent.child_keys[at].startswith(key):
        return parent.children[at]
    return None


def _closest(parent: _Node, wanted: bytes) -> tuple[_Node | None, int]:
    """The child that shares the longest beginning with ``wanted``, and how many tokens it is.

    Of sorted keys it is one of the two between which ``wanted`` belongs.
    """
    at = bisect_left(parent.child_keys, wanted)
    best: tuple[_Node | None, int] = (None, 0)
    for i in (at, at - 1):
        if 0 <= i < len(parent.children):
            n = _common(parent.child_keys[i], wanted)
            if n > best[1]:
                best = (parent.children[i], n)
    return best


def _common(one: bytes, other: bytes) -> int:
    """How many tokens two keys share at their beginnings."""
    count = min(len(one), len(other)) // _TOKEN.itemsize
    equal = np.frombuffer(one, _TOKEN, count) == np.frombuffer(other, _TOKEN, count)
    return count if equal.all() else int(equal.argmin())


def _check(holds: bool, text: str) -> None:
    if not holds:
        raise ValueError(text)
