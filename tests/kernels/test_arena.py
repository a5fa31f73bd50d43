"""The tables of an arena, read back from the device, beside those that they were made of.

Nothing here knows how an update finds out what changed: what is expected is derived anew each time.
"""

from __future__ import annotations

import random
from collections import deque
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from batches import PAIRS, bits_of
from hypothesis import given, settings
from hypothesis import strategies as st
from masks.schemas import SCHEMAS
from masks.walks import words

import structgen as sg
from structgen.automaton.step import BASE, DEAD, FORK, MAP
from structgen.device import Arena
from structgen.device.arena import _Resident
from structgen.device.rows import StoredRows
from structgen.device.space import Space, aligned
from structgen.device.staging import LINE, Ring, Staging
from structgen.errors import LimitExceeded
from structgen.kernels import layout
from structgen.masks.blocks import SHARED
from structgen.masks.store import RowStore

SUM = 'root ::= sum "."\nsum ::= product ("+" product)*\nproduct ::= [0-9]+ | "(" sum ")"'
Chain = list[tuple[Any, ...]]  # of each entry: kind and content of its row, exit set, counters


# -- what is expected ---------------------------------------------------------------------------


def expected_tables(resident: _Resident) -> dict[str, np.ndarray]:
    """All but entries and what leads to them, int32 [rows, columns]; see kernels/layout.py."""
    a = resident.masks.automaton
    states = np.zeros((a.n_states, layout.STATE_WIDTH.value), np.int32)
    states[:, :5] = a.states[: a.n_states]
    states[:, layout.FINAL.value :] = -1
    for q in np.flatnonzero(states[:, MAP] == 0).tolist():
        target, frames, _ = a.edges[states[q, BASE]].tolist()
        if FORK <= target < DEAD:
            states[q, layout.FINAL.value], states[q, layout.FRAMES.value] = -2 - target, frames
    edges = np.zeros((a.n_edges, layout.EDGE_WIDTH.value), np.int32)
    edges[:, :3] = a.edges[: a.n_edges]
    gotos = np.zeros((a.n_gotos, layout.EDGE_WIDTH.value), np.int32)
    gotos[:, :2] = a.gotos[: a.n_gotos]
    for table in (edges, gotos):
        moves = table[:, 0] >= 0
        table[moves, layout.TO_MAP.value : layout.TO_HI.value + 1] = states[table[moves, 0], :4]
    returns = np.zeros((a.n_returns, layout.RETURN_WIDTH.value), np.int32)
    returns[:, :3] = a.returns[: a.n_returns]
    maps = a.maps[: a.n_maps].view(np.int32)
    pushes = a.pushes[: a.n_pushes]
    return {
        "states": states, "maps": maps, "edges": edges, "returns": returns, "gotos": gotos,
        "pushes": pushes,
    }  # fmt: skip


def chain_in_store(store: RowStore, entry: int) -> Chain:
    found: Chain = []
    while entry >= 0:
        row, exit_, low, high, entry = store.entries[entry].tolist()
        owner = (store.shared or store) if row & SHARED else store
        kind, at, length = owner.rows[row & ~SHARED].tolist()
        ids = bits_of(owner.bitmaps[at]) if kind else owner.lists[at : at + length]
        found.append((kind, ids.tolist(), exit_, low, high))
    return found


def expected_chains(resident: _Resident) -> tuple[dict[int, Chain], dict[tuple[int, int], Chain]]:
    """The entries of states and pairs that have any."""
    heads: dict[int, Chain] = {}
    pairs: dict[tuple[int, int], Chain] = {}
    for store in resident.stores:
        for q in np.flatnonzero(store.heads >= 0).tolist():
            heads[q] = chain_in_store(store, int(store.heads[q]))
        for slot in np.flatnonzero(store.keys >= 0).tolist():
            pair = divmod(int(store.keys[slot]), 1 << 32)
            pairs[pair] = chain_in_store(store, int(store.values[slot]))
    return heads, pairs


# -- what is there ------------------------------------------------------------------------------


def chain_in_arena(arena: Arena, memory: np.ndarray, base: int, entry: int) -> Chain:
    found: Chain = []
    while entry >= 0:
        at = base + entry * layout.ENTRY_WIDTH.value
        kind, offset, length, exit_, low, high, entry, _ = memory[at : at + 8].tolist()
        if kind == layout.BITMAP.value:
            ids = bits_of(memory[offset : offset + arena.n_words])
            assert len(ids) == length
        else:
            ids = memory[offset : offset + length]
        found.append((kind, ids.tolist(), exit_, low, high))
    return found


def check_tables(arena: Arena, resident: _Resident) -> None:
    """The words of the arena describe the grammar as it is now."""
    memory = arena.words.cpu().numpy()
    directory = arena.grammars[resident.index].tolist()
    expected = expected_tables(resident)
    columns = ("states", "maps", "edges", "returns", "gotos", "pushes")
    heads = np.zeros(0, np.int32)
    for name, offset in zip(columns, directory, strict=False):
        table = expected[name]
        found = memory[offset : offset + table.size].reshape(table.shape).copy()
        if name == "states":
            heads = found[:, layout.HEAD.value].copy()
            found[:, layout.HEAD.value] = 0
            table[:, layout.HEAD.value] = 0
        assert (found == table).all(), name
    assert directory[layout.D_SYMBOLS.value] == resident.masks.automaton.symbols
    base, at = directory[layout.D_ENTRIES.value], directory[layout.D_PAIRS.value]
    by_state, by_pair = expected_chains(resident)
    assert set(np.flatnonzero(heads >= 0).tolist()) == set(by_state)
    for q, chain in by_state.items():
        assert chain_in_arena(arena, memory, base, int(heads[q])) == chain
    size = directory[layout.D_PAIR_MASK.value] + 1
    pairs = memory[at : at + 4 * size].reshape(-1, 4)
    assert size & size - 1 == 0 and 2 * len(by_pair) <= size
    assert int((pairs[:, 0] >= 0).sum()) == len(by_pair)
    for (exit_, point), chain in by_pair.items():
        slot = (exit_ * 40503 + point * 9973 & 0x7FFFFFFF) % size
        while pairs[slot, :2].tolist() != [exit_, point]:
            assert pairs[slot, 0] >= 0, "a pair that no look-up finds"
            slot = (slot + 1) % size
        assert chain_in_arena(arena, memory, base, int(pairs[slot, 2])) == chain


def check_space(arena: Arena) -> None:
    """Whatever is taken belongs to one thing, and to somebody who is there."""
    parts = [part for r in arena._residents.values() for part in r.image.places()]
    parts += [part for rows in arena._rows.values() for part in rows.parts]
    ends = sorted((offset, offset + aligned(length)) for offset, length in parts)
    for (_, stop), (start, _) in pairwise(ends):
        assert stop <= start
    assert sum(stop - start for start, stop in ends) == arena._space.used
    for rows in arena._rows.values():  # a line is one entry's
        lines = [line * LINE for line in rows.numbers[: rows.n_entries].tolist()]
        assert len({*lines}) == len(lines)
        assert all(any(o <= at < o + length for o, length in rows.parts) for at in lines)


# -- walks --------------------------------------------------------------------------------------


class Walks:
    """Grammars of one vocabulary, each with a matcher that is led through them."""

    def __init__(self, arena: Arena, grammars: list[sg.CompiledGrammar]) -> None:
        self.arena, self.grammars = arena, grammars
        self.matchers = [grammar.matcher() for grammar in grammars]
        self.held: dict[int, _Resident] = {}
        self.mask = sg.allocate_bitmask(1, arena.n_tokens)

    def go_on(self, i: int, choice: int) -> None:
        """Take a token, so that states are built and rows computed."""
        matcher = self.matchers[i]
        matcher.fill_bitmask(self.mask)
        allowed = bits_of(self.mask[0])
        if matcher.is_terminated() or not len(allowed):
            self.matchers[i] = self.grammars[i].matcher()
        else:
            assert matcher.accept_token(int(allowed[choice % len(allowed)]))

    def update(self, i: int) -> bool:
        """Bring a grammar up to date, and look at it; False where there is no room."""
        try:
            if i in self.held:
                self.arena.update(self.held[i])
            else:
                self.held[i] = self.arena.hold(self.grammars[i])
        except LimitExceeded:
            check_space(self.arena)
            return False
        check_tables(self.arena, self.held[i])
        check_space(self.arena)
        return True

    def release(self, i: int) -> None:
        resident = self.held.pop(i, None)
        if resident is not None:
            self.arena.release(resident)


LEAVES = st.sampled_from(
    [
        {"type": "string"}, {"type": "string", "maxLength": 3}, {"type": "integer"},
        {"type": "number"}, {"enum": ["a", "ab", 1, None]}, {"type": "boolean"}, True,
        {"type": "string", "pattern": "^(a|bc)+$"}, {"type": "array", "items": {"$ref": "#"}},
    ]
)  # fmt: skip
SCHEMA = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(
            lambda s, n: {"type": "array", "items": s, "maxItems": n}, inner, st.integers(1, 9)
        ),
        st.dictionaries(st.sampled_from("a b ab c".split()), inner, min_size=1).map(
            lambda p: {"properties": p, "required": [*p][:1]}
        ),
        st.lists(inner, min_size=2, max_size=3).map(lambda s: {"anyOf": s}),
    ),
    max_leaves=5,
)
ACTION = st.tuples(st.sampled_from("go go go update update release".split()), st.integers(0, 5),
                   st.integers(0, 300))  # fmt: skip


def small_vocabulary() -> sg.Vocabulary:
    """A new one, with a library of its own that grows."""
    pieces: list[bytes | None] = [bytes([b]) for b in range(256)]
    pieces += [b'{"', b'":', b"true", b"ab", b"))", b"1+", b'"a', b"\xff", None]
    return sg.Vocabulary(pieces, eos_token_ids=[len(pieces) - 1])


@settings(max_examples=100, deadline=None)
@given(
    schemas=st.lists(SCHEMA, min_size=2, max_size=4),
    actions=st.lists(ACTION, max_size=60),
    kilobytes=st.sampled_from([100, 300, 4096]),
)
def test_updates_describe_what_is_there(
    schemas: list[Any], actions: list[tuple[str, int, int]], kilobytes: int
) -> None:
    """Tables grow and move, grammars are evicted and come back, and some find no room."""
    vocabulary = small_vocabulary()
    compiler = sg.Compiler(vocabulary)
    grammars = [compiler.compile_json_schema(schema) for schema in schemas]
    grammars += [compiler.compile_lark(PAIRS), compiler.compile_ebnf(SUM)]
    walks = Walks(Arena(vocabulary, "cpu", arena_bytes=kilobytes << 10), grammars)
    for action, i, choice in actions:
        i %= len(grammars)
        if action == "go":
            walks.go_on(i, choice)
        elif action == "update":
            walks.update(i)
        else:
            walks.release(i)
    for i in [*walks.held]:
        if not walks.update(i):
            for other in [*walks.held]:
                walks.release(other)
            walks.update(i)
    if kilobytes == 4096:
        assert all(walks.update(i) for i in range(len(grammars)))


@pytest.mark.parametrize("seed", [0, 1])
def test_updates_of_long_walks(device: str, seed: int) -> None:
    """Until every table has outgrown its first place."""
    rng = random.Random(seed)
    vocabulary = small_vocabulary()
    compiler = sg.Compiler(vocabulary)
    names = rng.sample(list(SCHEMAS), 6)
    grammars = [compiler.compile_json_schema(SCHEMAS[name]) for name in names]
    grammars += [compiler.compile_ebnf(SUM)]
    walks = Walks(Arena(vocabulary, device, arena_bytes=8 << 20), grammars)
    places = [
        {name: t.offset for name, t in r.image.tables.items()}
        for r in map(walks.arena.hold, grammars)
    ]
    for _ in range(500):
        i = rng.randrange(len(grammars))
        walks.go_on(i, rng.randrange(300))
        if rng.random() < 0.3:
            assert walks.update(i)
    moved = set()
    for i, before in enumerate(places):
        assert walks.update(i)
        tables = walks.held[i].image.tables
        moved |= {name for name, offset in before.items() if tables[name].offset != offset}
    assert {"states", "edges", "maps", "pairs"} <= moved
    # The library's entries are there once.
    library = walks.held[0].stores[0]
    own = np.flatnonzero(library.heads >= 0)
    heads = [walks.held[i].image.tables["states"].rows[own, layout.HEAD.value] for i in range(6)]
    assert len(own) and all((other == heads[0]).all() for other in heads)


def test_grammars_that_are_one_share_their_tables() -> None:
    """Definitions that two grammars have are built once, for both."""
    compiler = sg.Compiler(small_vocabulary())
    schema: dict[str, Any] = {
        "$defs": {"d": {"type": "object", "properties": {"x": {"type": "integer"}}}}
    }
    one = compiler.compile_json_schema({**schema, "$ref": "#/$defs/d"})
    two = compiler.compile_json_schema({**schema, "type": "array", "items": {"$ref": "#/$defs/d"}})
    walks = Walks(Arena(compiler.vocabulary, "cpu", arena_bytes=4 << 20), [one, two])
    assert walks.update(0) and walks.update(1)
    assert walks.held[0] is walks.held[1]
    for choice in range(40):
        walks.go_on(choice % 2, choice)
        assert walks.update(1 - choice % 2)


def test_little_is_sent_for_a_state_or_a_row() -> None:
    w = words("bytes")
    compiler = sg.Compiler(w.vocabulary, cache_bytes=0)
    grammar = compiler.compile_json_schema({"enum": [f"text {i} {i * i}" for i in range(2000)]})
    grammar.complete(1.0)
    arena = Arena(w.vocabulary, "cpu", arena_bytes=64 << 20)
    resident = arena.hold(grammar)
    whole = arena.uploaded
    automaton, store = resident.masks.automaton, resident.masks.store
    assert automaton.n_edges > 10_000 and whole > 32 * automaton.n_edges
    arena.update(resident)
    assert arena.uploaded == whole
    q = automaton.new_state(lambda q: automaton.set_final(q, 0))
    arena.update(resident)
    check_tables(arena, resident)
    resident.masks.build(q, resident.masks.budget())
    arena.update(resident)
    check_tables(arena, resident)
    before = store.n_entries
    resident.masks.ahead_local(q)
    assert store.n_entries == before + 1
    arena.update(resident)
    check_tables(arena, resident)
    assert whole < arena.uploaded < whole + 1000


def test_tables_that_moved_twice_before_there_was_room_for_rows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compiler = sg.Compiler(small_vocabulary())
    walks = Walks(
        Arena(compiler.vocabulary, "cpu", arena_bytes=4 << 20),
        [compiler.compile_json_schema(SCHEMAS["recursive ref"])],
    )
    assert walks.update(0)
    resident = walks.held[0]
    automaton, before = resident.masks.automaton, walks.arena.grammars.clone()

    def no_room(*arguments: Any) -> None:
        raise LimitExceeded(limit="arena_bytes", value=0, where="a test")

    with monkeypatch.context() as patched:
        patched.setattr(StoredRows, "follow", no_room)
        places = set()
        for _ in range(3):
            automaton.new_states(2 * automaton.n_states, lambda q: automaton.set_final(q, 0))
            assert not walks.update(0)
            places.add(resident.image.tables["states"].offset)
        assert len(places) == 3
        assert torch.equal(walks.arena.grammars, before)
    for _ in range(30):
        walks.go_on(0, 7)
        assert walks.update(0)


@given(st.lists(st.integers(1, 60), max_size=20))
def test_lines_of_entries_are_in_parts_of_their_own(counts: list[int]) -> None:
    store = sg.Compiler(words("bytes").vocabulary).compile_regex("a")._masks.store
    rows, space = StoredRows(store), Space(1 << 16)
    seen: set[int] = set()
    for n in counts:
        lines = rows._lines(n, space.take).tolist()
        rows.n_entries += n
        assert len(lines) == n and seen.isdisjoint(lines)
        seen |= {*lines}
    assert len(seen) == sum(counts)
    for line in seen:
        assert any(o <= line * LINE < o + length for o, length in rows.parts)


# -- what is on its way -------------------------------------------------------------------------


@given(
    steps=st.lists(st.tuples(st.integers(1, 40), st.integers(0, 3)), max_size=80),
    size=st.integers(8, 64),
)
def test_a_ring_gives_nothing_that_is_not_read(steps: list[tuple[int, int]], size: int) -> None:
    ring = Ring(size)
    unread: deque[list[Any]] = deque()  # start, stop, was it read?
    for length, read in steps:
        for _ in range(min(read, len(unread))):  # in order, as a stream does
            unread.popleft()[2] = True
        start = ring.take(length)
        if start < 0:
            assert unread or length > size
            continue
        assert start >= 0 and start + length <= size
        assert all(start + length <= other or stop <= start for other, stop, _ in unread)
        part = [start, start + length, False]
        unread.append(part)
        ring.keep(start, length, lambda part=part: part[2])  # type: ignore[misc]
    for part in unread:
        part[2] = True
    assert ring.take(size) == 0


def test_staged_lines_and_rows(device: str) -> None:
    """Many sends without a wait between them, more than a ring holds."""
    memory = torch.zeros(1 << 16, dtype=torch.int32, device=device)
    expected = np.zeros(1 << 16, np.int32)
    staging = Staging(memory)
    rng = np.random.default_rng(0)
    lines = expected.reshape(-1, LINE)
    for length in [1, 2, 700, 8192, *rng.integers(1, 3000, 200).tolist()]:
        for part in np.array_split(rng.permutation(len(lines))[:length], 2):
            content = rng.integers(-(1 << 31), 1 << 31, (len(part), LINE)).astype(np.int32)
            staging.add(part, content)
            lines[part] = content
        staging.send()
        at = int(rng.integers(0, 60000))
        row = rng.integers(0, 1 << 20, 4009).astype(np.int32)
        staging.copy(memory[at : at + len(row)], row)
        expected[at : at + len(row)] = row
    assert (memory.cpu().numpy() == expected).all()
