"""Rows inside strings of bounded length, taken from one walk instead of one for each count.

How many code points each token adds does not depend on the bounds, so the row of a counter is a
selection from the row without bounds: ids that fit in what is left, and that do not close the
string too early. Rows depend on nothing but what is missing to the lower bound and left to the
upper one, and are shared by all grammars.
"""

from __future__ import annotations

import numpy as np

from structgen.jit import kernel


@kernel
def select(needs, missing, left, out):
    """Positions of ids that fit: ``missing`` to the least length, ``left`` to the greatest.

    ``needs`` int32: code points that an id adds, or -1 - n where it closes the string after n.
    """
    n = 0
    for k in range(needs.shape[0]):
        need = needs[k]
        fits = need <= left if need >= 0 else missing <= -1 - need <= left
        if fits:
            out[n] = k
            n += 1
    return n


def bounds(v: int, lowest: int, highest: int, longest: int) -> tuple[int, int, int, int]:
    """``(missing, left, low, high)``: the selection at counter ``v`` and where else it holds.

    ``longest`` is the most that one token adds; more room than that makes no difference.
    """
    missing = min(max(0, lowest - v), longest + 1)
    left = min(highest - v, longest)
    if left < longest:
        return missing, left, v, v
    if missing == 0:
        return missing, left, max(0, lowest), highest - longest
    if missing > longest:
        return missing, left, 0, min(lowest - longest - 1, highest - longest)
    return missing, left, v, v


def selected(needs: np.ndarray, missing: int, left: int) -> np.ndarray:
    """The positions in ``needs`` that :func:`select` keeps, int32."""
    scratch = np.empty(len(needs), np.int32)
    return scratch[: select(needs, missing, left, scratch)]
