"""The tokens of a slot that a cut may keep, and where it cuts: neither is sorted for.

The tokens above a bound are the *candidates*. What is kept of them is given by a *threshold*, found
by a search over keys (:mod:`structgen.kernels.penalties`): the least key above which there is less
than a target, which is k tokens or a mass of p. So of equal values all are kept or none, and there
may be any number of candidates.

A mass is exp((value - greatest) / temperature) in units of 2^-40, an int64: sums do not depend on
their order.
"""

from __future__ import annotations

import triton
import triton.language as tl

from structgen.kernels.penalties import EMPTY, LOWEST, NO_TOKEN, to_value, word_keys

GROUP = tl.constexpr(128)
GROUP_WORDS = tl.constexpr(4)
COLLECT_WORDS = tl.constexpr(128)  # of which candidates are stored at a time
TILE = tl.constexpr(1024)  # candidates looked at at a time
PIVOTS = tl.constexpr(8)
PIVOT_BITS = tl.constexpr(3)
UNIT = tl.constexpr(float(1 << 40))  # of a mass


@triton.jit
def weight_of(key, greatest, temperature):
    """exp((value - greatest) / temperature), 0 for -inf and what is not allowed."""
    weight = tl.exp((to_value(key) - greatest) / temperature)
    return tl.where(key > LOWEST, weight, 0.0)


@triton.jit
def mass_of(weight):
    return (weight * UNIT).to(tl.int64)


@triton.jit
def of_group(rows, b, group):
    """Keys and ids of a group's tokens, int32 [GROUP]."""
    word = tl.arange(0, GROUP_WORDS)
    key, token = word_keys(rows, b, group * GROUP_WORDS + word, word >= 0)
    return tl.reshape(key, [GROUP]), tl.reshape(token, [GROUP])


@triton.jit
def _of_listed(rows, scratch, b, first, n_listed, WORDS: tl.constexpr):
    """Keys and ids of the tokens of the listed groups from ``first`` on, int32 [32 WORDS]."""
    word = tl.arange(0, WORDS)
    at = first + word // GROUP_WORDS
    inside = at < n_listed
    listed = scratch.listed + b.to(tl.int64) * scratch.n_groups
    group = tl.load(listed + at, mask=inside, other=0)
    key, token = word_keys(rows, b, group * GROUP_WORDS + word % GROUP_WORDS, inside)
    return tl.reshape(key, [WORDS * 32]), tl.reshape(token, [WORDS * 32])


@triton.jit
def _list_groups(scratch, b, group_keys, bound, floor, greatest, temperature):
    """List the groups whose greatest value reaches the bounds, in order; returns how many."""
    live = (group_keys >= bound) & (weight_of(group_keys, greatest, temperature) >= floor)
    at = tl.cumsum(live.to(tl.int32), 0) - 1
    listed = scratch.listed + b.to(tl.int64) * scratch.n_groups
    tl.debug_barrier()  # whoever still reads the list, or the candidates, of before
    tl.store(listed + at, tl.arange(0, group_keys.shape[0]), mask=live)
    tl.debug_barrier()
    return tl.sum(live.to(tl.int32), 0)


@triton.jit
def collect(rows, scratch, b, group_keys, bound, floor, greatest, temperature):
    """Find the candidates: tokens that reach both bounds, a key and a weight.

    They are stored by ascending id if there is room. Returns them as the functions below take them
    (are they stored; how many places to look at; how many groups are listed), and their mass.
    """
    n_listed = _list_groups(scratch, b, group_keys, bound, floor, greatest, temperature)
    n = 0
    mass = tl.zeros([], tl.int64)
    place = b.to(tl.int64) * scratch.capacity
    for first in range(0, n_listed, COLLECT_WORDS // GROUP_WORDS):
        key, token = _of_listed(rows, scratch, b, first, n_listed, COLLECT_WORDS)
        weight = weight_of(key, greatest, temperature)
        found = (key >= bound) & (weight >= floor)
        at = n + tl.cumsum(found.to(tl.int32), 0) - 1
        room = found & (at < scratch.capacity)
        tl.store(scratch.keys + place + at, key, mask=room)
        tl.store(scratch.ids + place + at, token, mask=room)
        n += tl.sum(found.to(tl.int32), 0)
        mass += tl.sum(tl.where(found, mass_of(weight), 0), 0)
    tl.debug_barrier()
    stored = n <= scratch.capacity
    return (stored, tl.where(stored, n, n_listed * GROUP), n_listed), mass


@triton.jit
def tile_of(rows, scratch, b, candidates, start):
    """Keys and ids of some candidates, int32 [TILE], by ascending id; ``EMPTY`` between them.

    Where there was no room to store them, of all tokens of their groups.
    """
    stored, size, n_listed = candidates
    if stored:
        at = start + tl.arange(0, TILE)
        place = b.to(tl.int64) * scratch.capacity + at
        key = tl.load(scratch.keys + place, mask=at < size, other=EMPTY)
        token = tl.load(scratch.ids + place, mask=at < size, other=NO_TOKEN)
    else:
        key, token = _of_listed(rows, scratch, b, start // GROUP, n_listed, TILE // 32)
    return key, token


@triton.jit
def threshold_of(
    rows, scratch, b, candidates, low, high, target, greatest, temperature, OF: tl.constexpr
):
    """The least key from ``low`` to ``high`` above which there is less than ``target``.

    Of candidates (``OF`` is "tokens"), of their mass ("mass") or of groups by their greatest values
    ("groups"). Above ``high``, which is one of them, there must be less. A pass tests eight pivots,
    so that there are eleven at most, and half as many where values are as far apart as usual.
    """
    size = candidates[1]
    index = tl.arange(0, PIVOTS)
    while low < high:
        # The last pivot asks if ``high`` is it, so that a pass settles what holds one value only.
        width = high.to(tl.int64) - low
        pivot = (low + ((width * index) >> PIVOT_BITS)).to(tl.int32)
        pivot = tl.where(index == PIVOTS - 1, high - 1, pivot)
        above = tl.zeros([PIVOTS], tl.int64)
        below = tl.full([PIVOTS], EMPTY, tl.int32)  # the greatest that is not above
        for start in range(0, size, TILE):
            if OF == "groups":
                at = start + tl.arange(0, TILE)
                place = scratch.group_max + b.to(tl.int64) * scratch.n_groups + at
                key = tl.load(place, mask=at < size, other=EMPTY)
            else:
                key, _ = tile_of(rows, scratch, b, candidates, start)
            if OF == "mass":
                amount = mass_of(weight_of(key, greatest, temperature))
            else:
                amount = tl.full([TILE], 1, tl.int64)
            is_above = key[:, None] > pivot[None, :]
            above += tl.sum(tl.where(is_above, amount[:, None], 0), 0)
            below = tl.maximum(below, tl.max(tl.where(is_above, EMPTY, key[:, None]), 0))
        failed = tl.sum((above >= target).to(tl.int32), 0)  # the lower pivots
        low = tl.maximum(low, tl.max(tl.where(index < failed, pivot + 1, EMPTY), 0))
        if failed < PIVOTS:
            high = tl.maximum(low, tl.max(tl.where(index == failed, below, EMPTY), 0))
    return low


@triton.jit
def group_bound(rows, scratch, b, n, top):
    """The n-th greatest of the groups' greatest values; the least above -inf if there is none."""
    lowest = tl.full([], LOWEST + 1, tl.int32)
    groups = (True, scratch.n_groups, scratch.n_groups)
    return threshold_of(
        rows, scratch, b, groups, lowest, tl.maximum(top, lowest), n.to(tl.int64), 0.0, 1.0,
        "groups",
    )  # fmt: skip
