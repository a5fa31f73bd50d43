"""A slot's configuration moved by bytes: what :mod:`structgen.kernels.advance` is made of.

What a program does here is a chain of loads that depend on each other, two for each byte, so the
tables are laid out to keep the chain short (:mod:`structgen.kernels.layout`).
"""

from __future__ import annotations

import triton
import triton.language as tl

from structgen.kernels.layout import *

# Whether a text may end.
NO = tl.constexpr(0)
YES = tl.constexpr(1)
SEVERAL_ENDS = tl.constexpr(2)  # in one of several classes: the host tries them
UNBUILT = tl.constexpr(3)


@triton.jit
def load_tables(grammars, g):
    """Where the tables of grammar ``g`` are."""
    d = grammars + g * D_WIDTH
    return (
        tl.load(d + D_STATES), tl.load(d + D_MAPS), tl.load(d + D_EDGES), tl.load(d + D_RETURNS),
        tl.load(d + D_GOTOS), tl.load(d + D_PUSHES), tl.load(d + D_ENTRIES), tl.load(d + D_PAIRS),
        tl.load(d + D_PAIR_MASK), tl.load(d + D_SYMBOLS),
    )  # fmt: skip


@triton.jit
def load_state(words, tables, q):
    """The class map and the first edge of state ``q``."""
    state = words + tables[0] + q * STATE_WIDTH
    return tl.load(state + MAP), tl.load(state + BASE)


@triton.jit
def pop(words, returns, gotos, stack, cls, frames, depth):
    """Leave ``frames`` frames with class ``cls``.

    Returns 0 (dead), 1 (gone on), 2 (out of the last frame) or 3 (something is not built yet),
    state, counter, map, first edge, depth.
    """
    depth -= frames - 1
    code = 0
    q = cls
    v = 0
    m = 0
    base = 0
    if depth == 0:
        code = 2
    if depth > 0:
        depth -= 1
        r = tl.load(stack + 2 * depth)
        v = tl.load(stack + 2 * depth + 1)
        point = words + returns + r * RETURN_WIDTH
        first = tl.load(point)
        size = tl.load(point + 1)
        lazy = tl.load(point + 2)
        q = tl.where(lazy != 0, UNKNOWN, DEAD)
        if cls < size:
            goto = words + gotos + (first + cls) * EDGE_WIDTH
            q = tl.load(goto + TARGET)
            count = tl.load(goto + ARG)
            m = tl.load(goto + TO_MAP)
            base = tl.load(goto + TO_BASE)
            lo = tl.load(goto + TO_LO)
            hi = tl.load(goto + TO_HI)
            if q >= 0:
                v = tl.where(count >= 0, v + count, -1 - count)
                if (v >= lo) & (v <= hi):
                    code = 1
                    if m < 0:
                        code = 3
        if q == UNKNOWN:
            code = 3
    return code, q, v, m, base, depth


@triton.jit
def take_bytes(
    words, words8, maps, edges, returns, gotos, pushes, stack, data, length, token, by_name,
    q, v, depth, m, base, DEPTH: tl.constexpr,
):  # fmt: skip
    """Read a token's bytes, or its name; returns what to say of it (a status), the configuration.

    Args:
        data, length: the bytes of its text; a name has four (structgen/vocabulary/spelling.py).
        by_name: bool.
        q, v, depth, m, base: state, counter, depth, class map and first edge before it.
    """
    status = ACTIVE
    i = 0
    byte = tl.load(data, mask=by_name == 0, other=SYMBOL).to(tl.int32)
    while i < length:
        # Asked for before this byte is read: a load less to wait for.
        following_byte = tl.load(data + i + 1, mask=(by_name == 0) & (i + 1 < length), other=0)
        reading = True  # this byte
        while reading:
            c = tl.load(words8 + (maps.to(tl.int64) * 4 + m * 256 + byte)).to(tl.int32)
            edge = words + edges + (base + c) * EDGE_WIDTH
            t = tl.load(edge + TARGET)
            arg = tl.load(edge + ARG)
            if t >= 0:
                count = tl.load(edge + COUNT)
                lo = tl.load(edge + TO_LO)
                hi = tl.load(edge + TO_HI)
                m = tl.load(edge + TO_MAP)
                base = tl.load(edge + TO_BASE)
                v = tl.where(count >= 0, v + count, -1 - count)
                r = arg
                following = -1
                if (arg >= 0) & ((arg & SEVERAL) != 0):
                    entry = words + pushes + (arg & ~SEVERAL) * PUSH_WIDTH
                    r = tl.load(entry)
                    following = tl.load(entry + 1)
                pushing = arg >= 0
                while pushing:
                    if depth >= DEPTH:
                        status = NEED_HOST
                        pushing = False
                    else:
                        tl.store(stack + 2 * depth, r & ~INHERIT)
                        tl.store(stack + 2 * depth + 1, v)
                        depth += 1
                        if r < INHERIT:
                            v = 0
                        pushing = following >= 0
                        if pushing:
                            entry = words + pushes + following * PUSH_WIDTH
                            r = tl.load(entry)
                            following = tl.load(entry + 1)
                        tl.debug_barrier()  # a pop of this thread block reads what was written
                q = t
                if status == ACTIVE:
                    if (v < lo) | (v > hi):
                        status = REJECTED
                    elif m < 0:
                        status = NEED_STATE
                reading = False
            elif t == DEAD:
                status = REJECTED
                reading = False
            elif t < FORK:
                status = NEED_HOST
                reading = False
            else:
                code, q, v, m, base, depth = pop(words, returns, gotos, stack, -2 - t, arg, depth)
                if code != 1:
                    status = tl.where(code == 3, NEED_STATE, REJECTED)
                    reading = False
        i += 1
        byte = following_byte.to(tl.int32)
        if by_name:
            byte = (token >> (24 - 8 * i)) & 0xFF
        if status != ACTIVE:
            i = length
    return status, q, v, depth, m, base


@triton.jit
def may_end(words, states, returns, gotos, stack, cls, depth):
    """Is the text complete in a state with ``END`` ``cls``?

    Returns ``NO``, ``YES``, ``SEVERAL_ENDS`` or ``UNBUILT``.
    """
    answer = NO
    looking = True
    while looking:
        if cls < 0:
            looking = False
            if cls < -1:
                answer = SEVERAL_ENDS
        else:
            code, q, v, m, base, depth = pop(words, returns, gotos, stack, cls, 1, depth)
            if code == 1:
                cls = tl.load(words + states + q * STATE_WIDTH + END)
            else:
                looking = False
                if code == 2:
                    answer = YES
                elif code == 3:
                    answer = UNBUILT
    return answer
