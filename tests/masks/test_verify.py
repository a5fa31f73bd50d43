"""The check of the stores' format: real stores pass it, damaged ones do not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from masks.walks import verify_rows

import structgen as sg
from structgen.masks.blocks import (
    BITMAP,
    ENTRY_EXIT,
    ENTRY_HIGH,
    ENTRY_NEXT,
    ENTRY_ROW,
    EXIT_LENGTH,
    EXIT_OFFSET,
    LIST,
    ROW_KIND,
    ROW_LENGTH,
    ROW_OFFSET,
)
from structgen.masks.store import RowStore
from structgen.masks.verify import verify

SCHEMA = {
    "type": "object",
    "properties": {
        "a": {"type": "array", "items": {"type": "integer", "maximum": 300}, "maxItems": 9},
        "b": {"type": "string", "pattern": "^[a-z]*$"},
    },
}


def used_store() -> RowStore:
    """The store of a grammar with rows of both kinds and exit sets of several nodes."""
    tokens: list[bytes | None] = [bytes([b]) for b in range(256)]
    tokens += [b"%d" % i for i in range(10, 500)]
    tokens += [b"%d%c" % (i, c) for i in range(300) for c in b",]}"]
    tokens += [b"%c%c" % (i, k) for i in b"abcdef" for k in b"abcdef"] + [None]
    vocabulary = sg.Vocabulary(tokens, eos_token_ids=[len(tokens) - 1])
    grammar = sg.Compiler(vocabulary, cache_bytes=0).compile_json_schema(SCHEMA)
    assert grammar.complete(60)
    verify_rows(grammar)
    return grammar._masks.store


def of_kind(store: RowStore, kind: int) -> int:
    """The first row of a kind that has several ids."""
    rows = store.rows[: store.n_rows]
    return int(np.flatnonzero((rows[:, ROW_KIND] == kind) & (rows[:, ROW_LENGTH] > 1))[0])


def list_offset(store: RowStore) -> int:
    return int(store.rows[of_kind(store, LIST), ROW_OFFSET])


def exit_offset(store: RowStore) -> int:
    return int(store.exits[store.exits[:, EXIT_LENGTH] > 1][0, EXIT_OFFSET])


def swap(array: np.ndarray, at: int) -> None:
    array[[at, at + 1]] = array[[at + 1, at]]


def put(array: np.ndarray, at: int | tuple[int, int], value: int) -> None:
    array[at] = value


DAMAGE: dict[str, tuple[Callable[[RowStore], None], str]] = {
    "row's list": (lambda s: put(s.rows, (of_kind(s, LIST), ROW_OFFSET), 1 << 20), "out of range"),
    "row's bitmap": (lambda s: put(s.rows, (of_kind(s, BITMAP), ROW_OFFSET), 99), "out of range"),
    "row's length": (lambda s: put(s.rows, (of_kind(s, BITMAP), ROW_LENGTH), 257), "of bits"),
    "empty row": (lambda s: put(s.rows, (0, ROW_LENGTH), 1), "not empty"),
    "order of ids": (lambda s: swap(s.lists, list_offset(s)), "not ascending"),
    "id": (lambda s: put(s.lists, list_offset(s), -1), "id out of range"),
    "exit set's length": (lambda s: put(s.exits, (1, EXIT_LENGTH), 1 << 20), "out of range"),
    "order of nodes": (lambda s: swap(s.nodes, exit_offset(s)), "not ascending"),
    "node": (lambda s: put(s.nodes, exit_offset(s), 0), "node out of range"),
    "final class": (lambda s: put(s.classes, exit_offset(s), -1), "class out of range"),
    "entry's row": (lambda s: put(s.entries, (0, ENTRY_ROW), 1 << 20), "no such row"),
    "entry's exit set": (lambda s: put(s.entries, (0, ENTRY_EXIT), 1 << 20), "no such exit set"),
    "counters": (lambda s: put(s.entries, (0, ENTRY_HIGH), -1), "no counter"),
    "circle": (lambda s: put(s.entries, (2, ENTRY_NEXT), 2), "later one"),
    "lost entry": (lambda s: put(s.heads, int(s.heads.argmax()), -1), "one chain"),
    "shared entry": (lambda s: put(s.heads, int(s.heads.argmax()), 0), "one chain"),
    "lost key": (lambda s: put(s.keys, int(s.keys.argmax()), -1), "one chain"),
    "key's return point": (lambda s: put(s.keys, int(s.keys.argmax()), 1 << 32 | 1 << 20), "keys"),
    "rows' table": (lambda s: s.row_table.fill(-1), "row 1: not found"),
    "row's hash": (lambda s: put(s.row_hashes, 1, 0), "row 1: not found"),
    "exit sets' table": (lambda s: s.exit_table.fill(-1), "exit set 1: not found"),
    "equal rows": (lambda s: s.lists.fill(7), "not ascending|not found"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_found(name: str) -> None:
    store = used_store()
    damage, message = DAMAGE[name]
    damage(store)
    with pytest.raises(ValueError, match=message):
        verify(store)
