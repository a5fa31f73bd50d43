"""Exploring the product of several automata.

A product state is a *key*: one state of each operand, where the operand's number of states stands
for its dead one. Its *profile* is what decides about it: for each operand the final class, -1 where
it does not accept, -2 where it is dead. Profiles are few; each is asked about once, in Python.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from math import prod

import numba as nb
import numpy as np
import numpy.typing as npt

from structgen import budget
from structgen.errors import LimitExceeded
from structgen.jit import kernel

Int32 = npt.NDArray[np.int32]

# Cells of progress, and what the kernel answers.
EXPANDED, N_KEYS, N_PROFILES = range(3)
DONE, NEW_PROFILE, FULL, PAUSE = range(4)
DEAD = -2
UNKNOWN, OPEN, HOPELESS = range(3)
# Table entries between two looks at the budget: tens of milliseconds.
WORK_PER_CALL = 1 << 22


@nb.njit
def hash_row(row):
    """64 bits from a row of int32."""
    h = np.uint64(0)
    for i in range(len(row)):
        h = (h ^ np.uint64(row[i] + 3)) * np.uint64(0x9E3779B97F4A7C15)
        h ^= h >> np.uint64(29)
    return h


@nb.njit
def number_row(rows, hashes, slots, n):
    """The number of the row equal to ``rows[n]``, which is entered as ``n`` where it is new."""
    k = rows.shape[1]
    h = hash_row(rows[n])
    slot = np.int64(h) & (len(slots) - 1)
    while slots[slot] >= 0:
        found = slots[slot]
        if hashes[found] == h:
            i = 0
            while i < k and rows[found, i] == rows[n, i]:
                i += 1
            if i == k:
                return found
        slot = (slot + 1) & (len(slots) - 1)
    slots[slot], hashes[n] = n, h
    return n


@kernel(nogil=True)
def _explore(
    rows, base, dead, finals, keys, key_hash, key_slots, profiles, profile_hash, profile_slots,
    future, profile_of, table, progress, work,
):  # fmt: skip
    """Expand product states in order of discovery until something is missing.

    ``rows`` int32 [R, C] are the operands' tables, one after another, -1 where dead: operand i has
    ``dead[i]`` states, from row ``base[i]`` on; ``finals`` int32 [R]. ``keys`` int32 [N, k] and
    ``profiles`` int32 [P, k] come with their hashes and hash tables. ``future`` says of a profile
    UNKNOWN, OPEN or HOPELESS: no text is accepted any more. ``table`` int32 [N, C] is the result.
    """
    k = len(base)
    n_symbols = rows.shape[1]
    n_keys, n_profiles = progress[N_KEYS], progress[N_PROFILES]
    if n_keys == 0:
        keys[0] = 0
        n_keys += number_row(keys, key_hash, key_slots, 0) + 1
    s = progress[EXPANDED]
    answer = DONE
    while s < n_keys:
        if n_keys + n_symbols >= len(keys) or n_profiles + 1 >= len(profiles):
            answer = FULL
            break
        if work < 0:
            answer = PAUSE
            break
        for i in range(k):
            q = keys[s, i]
            profiles[n_profiles, i] = DEAD if q == dead[i] else finals[base[i] + q]
        profile = number_row(profiles, profile_hash, profile_slots, n_profiles)
        if profile == n_profiles:
            future[profile] = UNKNOWN
            n_profiles += 1
        if future[profile] == UNKNOWN:
            answer = NEW_PROFILE
            break
        profile_of[s] = profile
        work -= k * n_symbols
        for c in range(n_symbols):
            if future[profile] == HOPELESS:
                table[s, c] = -1
                continue
            for i in range(k):
                q = keys[s, i]
                t = dead[i]
                if q != t:
                    t = rows[base[i] + q, c]
                    if t < 0:
                        t = dead[i]
                keys[n_keys, i] = t
            found = number_row(keys, key_hash, key_slots, n_keys)
            table[s, c] = found
            if found == n_keys:
                n_keys += 1
        s += 1
    progress[EXPANDED], progress[N_KEYS], progress[N_PROFILES] = s, n_keys, n_profiles
    return answer


@kernel(nogil=True)
def enter(hashes, slots):
    """Fill an empty hash table (a power of two, -1 where free) with numbers by their hashes."""
    mask = len(slots) - 1
    for i in range(len(hashes)):
        slot = np.int64(hashes[i]) & mask
        while slots[slot] >= 0:
            slot = (slot + 1) & mask
        slots[slot] = i


def hash_table(hashes: npt.NDArray[np.uint64], room: int) -> Int32:
    """A hash table for ``room`` numbers that holds those of ``hashes``."""
    slots = np.full(1 << (2 * room - 1).bit_length(), -1, np.int32)
    if len(hashes):
        enter(hashes, slots)
    return slots


def grown(array: np.ndarray, room: int) -> np.ndarray:
    """The array with room for so many rows."""
    out = np.empty((room, *array.shape[1:]), array.dtype)
    out[: len(array)] = array
    return out


def explore(
    tables: Sequence[Int32],
    finals: Sequence[Int32],
    decide: Callable[[tuple[int, ...]], int],
    max_states: int,
) -> tuple[Int32, Int32]:
    """The reachable product of automata over one set of symbol classes.

    ``tables[i]`` int32 [n_i, C] is -1 where dead. ``decide`` maps the operands' final classes to
    that of the result. Returns a table of the same kind, and the final classes.

    Raises:
        LimitExceeded: the product has more than ``max_states`` states.
    """
    k, n_symbols = len(tables), tables[0].shape[1]
    rows, flat_finals = np.concatenate(tables), np.concatenate(finals)
    dead = np.array([len(f) for f in finals], np.int32)
    base = (np.cumsum(dead) - dead).astype(np.int32)
    is_hopeless = _hopeless(finals, decide)
    room, profile_room = 64 + 2 * n_symbols, 16
    keys, key_hash = np.empty((room, k), np.int32), np.zeros(room, np.uint64)
    table, profile_of = np.empty((room, n_symbols), np.int32), np.empty(room, np.int32)
    profiles, profile_hash = np.empty((profile_room, k), np.int32), np.zeros(16, np.uint64)
    future = np.zeros(profile_room, np.int8)
    key_slots, profile_slots = hash_table(key_hash[:0], room), hash_table(key_hash[:0], 16)
    progress = np.zeros(3, np.int64)
    verdicts: list[int] = []
    held = 0
    try:
        while True:
            answer = _explore(
                rows, base, dead, flat_finals, keys, key_hash, key_slots, profiles, profile_hash,
                profile_slots, future, profile_of, table, progress, WORK_PER_CALL,
            )  # fmt: skip
            n_keys, n_profiles = int(progress[N_KEYS]), int(progress[N_PROFILES])
            budget.check("a product of automata")
            if n_keys > max_states:
                raise LimitExceeded(limit="pattern_states", value=max_states, where="a product")
            if answer == DONE:
                break
            if answer == NEW_PROFILE:
                profile = profiles[n_profiles - 1].tolist()
                verdicts.append(decide(tuple(max(p, -1) for p in profile)))
                hopeless = is_hopeless(tuple(p == DEAD for p in profile))
                future[n_profiles - 1] = HOPELESS if hopeless else OPEN
            elif answer == FULL:
                more = 4 * (room * (k + n_symbols + 5) + profile_room * (k + 4))
                budget.charge(more, "a product of automata")
                held += more
                if n_keys + n_symbols >= room:
                    room *= 2
                    keys, key_hash = grown(keys, room), grown(key_hash, room)
                    table, profile_of = grown(table, room), grown(profile_of, room)
                    key_slots = hash_table(key_hash[:n_keys], room)
                else:
                    profile_room *= 2
                    profiles, future = grown(profiles, profile_room), grown(future, profile_room)
                    profile_hash = grown(profile_hash, profile_room)
                    profile_slots = hash_table(profile_hash[:n_profiles], profile_room)
    finally:
        budget.charge(-held, "a product of automata")
    return table[:n_keys], np.array(verdicts, np.int32)[profile_of[:n_keys]]


def _hopeless(
    finals: Sequence[Int32], decide: Callable[[tuple[int, ...]], int]
) -> Callable[[tuple[bool, ...]], bool]:
    """Whether no text is accepted any more, given which operands are dead.

    Conjunctions are over once one operand is: that keeps their products small. Asked of ``decide``
    only where the combinations of final classes are few.
    """
    classes = [sorted({-1, *final.tolist()}) for final in finals]
    known: dict[tuple[bool, ...], bool] = {}

    def hopeless(dead: tuple[bool, ...]) -> bool:
        found = known.get(dead)
        if found is None:
            possible = [(-1,) if d else c for d, c in zip(dead, classes, strict=True)]
            few = prod(map(len, possible)) <= 256
            found = few and all(decide(vector) < 0 for vector in product(*possible))
            known[dead] = found
        return found

    return hopeless
