"""Rows from what a walk found: single ids, and ranges of the template's."""

from __future__ import annotations

import numpy as np

from structgen.jit import kernel


@kernel
def to_bitmap(ids, ranges, template_ids, template_bitmap, bitmap):
    """Set ``bitmap`` (int32 words, least significant bit first) to the ids and the ranges.

    Where the ranges are most of the template, its bitmap is copied and the gaps are cleared.
    """
    covered = 0
    for k in range(ranges.shape[0]):
        covered += ranges[k, 1] - ranges[k, 0]
    if 2 * covered > template_ids.shape[0]:
        for w in range(bitmap.shape[0]):
            bitmap[w] = template_bitmap[w]
        at = 0
        for k in range(ranges.shape[0] + 1):
            stop = ranges[k, 0] if k < ranges.shape[0] else template_ids.shape[0]
            for j in range(at, stop):
                t = template_ids[j]
                bitmap[t >> 5] &= ~np.int32(np.uint32(1) << np.uint32(t & 31))
            if k < ranges.shape[0]:
                at = ranges[k, 1]
    else:
        bitmap[:] = 0
        for k in range(ranges.shape[0]):
            for j in range(ranges[k, 0], ranges[k, 1]):
                t = template_ids[j]
                bitmap[t >> 5] |= np.int32(np.uint32(1) << np.uint32(t & 31))
    for t in ids:
        bitmap[t >> 5] |= np.int32(np.uint32(1) << np.uint32(t & 31))
