"""One token of a slot, drawn by its weight, and the likeliest ones (``kernels/sample.py``).

The greatest value of each group of 128 tokens, and the sum of its weights, are known.
"""

from __future__ import annotations

import triton
import triton.language as tl

from structgen.kernels.candidates import (
    TILE,
    collect,
    group_bound,
    mass_of,
    of_group,
    threshold_of,
    tile_of,
    weight_of,
)
from structgen.kernels.penalties import EMPTY, LOWEST, NO_TOKEN, to_value

FEW_GROUPS = tl.constexpr(32)  # how many groups top-p looks at first


@triton.jit
def _scaled(fraction, total):
    """The whole part of ``fraction`` (below 1) times ``total``, and below ``total``."""
    return tl.minimum((fraction * total.to(tl.float64)).to(tl.int64), total - 1)


@triton.jit
def uniform(seed, position):
    """53 bits of Philox4x32-10 with key ``seed`` and counter ``position``: float64 in [0, 1)."""
    zero = position * 0
    high, low, _, _ = tl.philox(seed, position, zero, zero, zero)
    bits = (high.to(tl.uint32).to(tl.int64) << 21) | (low.to(tl.uint32).to(tl.int64) >> 11)
    return bits.to(tl.float64) * (1.0 / (1 << 53))


@triton.jit
def draw_from_all(rows, b, group_keys, group_sums, greatest, temperature, fraction):
    """A token of all that are allowed, by their weights: first its group, then the token."""
    mass = mass_of(group_sums * weight_of(group_keys, greatest, temperature))
    wanted = _scaled(fraction, tl.sum(mass, 0))
    group = tl.sum((tl.cumsum(mass, 0) <= wanted).to(tl.int32), 0)
    index = tl.arange(0, group_keys.shape[0])
    before = tl.sum(tl.where(index < group, mass, 0), 0)
    width = tl.sum(tl.where(index == group, mass, 0), 0)
    key, token = of_group(rows, b, group)
    mass = mass_of(weight_of(key, to_value(tl.max(key, 0)), temperature))
    fraction = (wanted - before).to(tl.float64) / width.to(tl.float64)
    wanted = _scaled(fraction, tl.sum(mass, 0))
    chosen = tl.min(tl.where(tl.cumsum(mass, 0) > wanted, token, NO_TOKEN), 0)
    return chosen, tl.max(tl.where(token == chosen, key, EMPTY), 0)


@triton.jit
def _kept_mass(key, threshold, floor, greatest, temperature):
    weight = weight_of(key, greatest, temperature)
    return mass_of(tl.where((key >= threshold) & (weight >= floor), weight, 0.0))


@triton.jit
def _total(rows, scratch, b, candidates, threshold, floor, greatest, temperature):
    total = tl.zeros([], tl.int64)
    for start in range(0, candidates[1], TILE):
        key, _ = tile_of(rows, scratch, b, candidates, start)
        total += tl.sum(_kept_mass(key, threshold, floor, greatest, temperature), 0)
    return total


@triton.jit
def _draw_from_kept(
    rows, scratch, b, candidates, threshold, floor, greatest, temperature, fraction
):
    """One of the candidates that reach the threshold and the least weight, by their weights."""
    total = _total(rows, scratch, b, candidates, threshold, floor, greatest, temperature)
    wanted = _scaled(fraction, total)
    before = tl.zeros([], tl.int64)
    start = 0
    chosen = NO_TOKEN
    chosen_key = EMPTY
    while before <= wanted:
        key, token = tile_of(rows, scratch, b, candidates, start)
        mass = _kept_mass(key, threshold, floor, greatest, temperature)
        chosen = tl.min(tl.where(before + tl.cumsum(mass, 0) > wanted, token, NO_TOKEN), 0)
        chosen_key = tl.max(tl.where(token == chosen, key, EMPTY), 0)
        before += tl.sum(mass, 0)
        start += TILE
    return chosen, chosen_key


@triton.jit
def _share(top_p, total):
    """The least mass that is a share ``top_p`` of ``total``, and not 0: the likeliest is kept."""
    mass = tl.ceil(top_p.to(tl.float64) * total.to(tl.float64)).to(tl.int64)
    return tl.maximum(mass, 1)


@triton.jit
def draw_from_cut(
    rows, scratch, b, group_keys, group_sums, top, temperature, top_k, top_p, min_p, fraction
):
    """A token of those that top-k, top-p and min-p keep, by their weights."""
    greatest = to_value(top)
    has_k = top_k > 0
    has_p = top_p < 1
    min_p = tl.where(min_p > 0, tl.minimum(min_p, 1.0), 0.0)
    # Top-p is a share of what top-k keeps, whether min-p keeps it or not.
    floor = tl.where(has_k, 0.0, min_p)
    total = tl.sum(mass_of(group_sums * weight_of(group_keys, greatest, temperature)), 0)
    target = _share(top_p, total)
    lowest = tl.full([], LOWEST + 1, tl.int32)
    bound = lowest
    n_groups = tl.where(has_k, top_k, FEW_GROUPS)
    candidates = (True, 0, 0)
    searching = True
    while searching:
        if has_k | has_p:
            bound = group_bound(rows, scratch, b, n_groups, top)
        candidates, mass = collect(
            rows, scratch, b, group_keys, bound, floor, greatest, temperature
        )
        searching = has_p & (top_k <= 0) & (mass < target) & (bound > lowest)
        n_groups *= 4
    threshold = bound
    if has_k:
        threshold = threshold_of(
            rows, scratch, b, candidates, bound, top, top_k.to(tl.int64), greatest, temperature,
            "tokens",
        )  # fmt: skip
    if has_p:
        if has_k:
            total = _total(rows, scratch, b, candidates, threshold, 0.0, greatest, temperature)
            target = _share(top_p, total)
        threshold = threshold_of(
            rows, scratch, b, candidates, threshold, top, target, greatest, temperature, "mass"
        )
    return _draw_from_kept(
        rows, scratch, b, candidates, threshold, min_p, greatest, temperature, fraction
    )


@triton.jit
def store_top(rows, scratch, b, group_keys, top, log_total, n_wanted, top_values, top_ids):
    """The likeliest tokens and their log-probabilities; of equal ones the lower id first."""
    greatest = to_value(top)
    bound = group_bound(rows, scratch, b, n_wanted, top)
    candidates, _ = collect(rows, scratch, b, group_keys, bound, 0.0, greatest, 1.0)
    before = tl.full([], 0x7FFFFFFFFFFFFFFF, tl.int64)
    none = tl.full([], EMPTY, tl.int64) << 32
    for j in range(scratch.n_top):
        # A key and an id, inverted, as one number: the greatest below the one before.
        best = none
        if j < n_wanted:
            for start in range(0, candidates[1], TILE):
                key, token = tile_of(rows, scratch, b, candidates, start)
                both = (key.to(tl.int64) << 32) | (token ^ NO_TOKEN).to(tl.int64)
                both = tl.where((key >= bound) & (both < before), both, none)
                best = tl.maximum(best, tl.max(both, 0))
        value = to_value((best >> 32).to(tl.int32)) - greatest - log_total
        token = (best & 0x7FFFFFFF).to(tl.int32) ^ NO_TOKEN
        place = b.to(tl.int64) * scratch.n_top + j
        tl.store(top_values + place, tl.where(best != none, value, float("-inf")))
        tl.store(top_ids + place, tl.where(best != none, token, -1))
        before = best
