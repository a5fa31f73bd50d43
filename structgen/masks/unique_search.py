"""Where items of an array must differ: what a text does, its dead ends, the tokens it forbids.

Kernels over the automaton and what was read of its arrays (:mod:`structgen.masks.unique_reader`).
"""

from __future__ import annotations

import numba as nb
import numpy as np

from structgen.automaton.pointers import bytes_at, int32_at, int64_at, vector_at
from structgen.automaton.step import (
    BASE,
    DEAD,
    MAP,
    POOL_COUNTER,
    POOL_PARENT,
    POOL_RETURN,
    S_DEAD,
    S_FORK,
    S_FULL,
    S_OK,
    S_UNBUILT,
    TARGET,
    follow_once,
)
from structgen.jit import kernel
from structgen.masks.blocks import (
    G_LENGTH,
    G_WORDS,
    N_POOL,
    NEED_POOL,
    NEED_STATE,
    NO,
    OUT0,
    POOL,
    SEQUENCE_LENGTH,
    TOO_MANY,
    YES,
    Q,
    tables,
)
from structgen.masks.json_values import (
    BEFORE,
    BRACKET,
    COMMA,
    CONTENT,
    LAST,
    LENGTH,
    QUOTE,
    STRING,
    cut_back,
    intern,
    is_space,
)
from structgen.masks.json_values import TOP as ARENA_TOP
from structgen.masks.unique_candidates import (
    A_N,
    A_PARENT,
    A_ROOM,
    INNERMOST,
    MODE,
    N_SET,
    N_TEXT,
    REGISTERS,
    follow,
    is_waiting,
)
from structgen.masks.unique_reader import (
    is_free,
    key_length,
    most_written,
    read,
    write_key,
)

# What a kernel answers besides what those of ``decode`` do.
NEED_ROOM, TOO_LONG, REPEATED, PAUSED = 100, 101, 102, 103

# Configurations that are looked at to tell whether an item can still become a new value.
SEARCHED = 20_000

# The reader's block, int64: its registers, then addresses and lengths; the registers of the memo,
# an arena of its own, the number of the search that goes on, and what searches may still write
# into the memo before the kernel pauses.
(
    R_ARENA, R_N_ARENA, R_HEADS, R_TEXT, R_N_TEXT, R_MEMO, R_N_MEMO, R_MEMO_HEADS, R_MEMO_TOP,
    R_MEMO_LAST, R_SEARCH, R_LEFT,
) = range(REGISTERS, REGISTERS + 12)  # fmt: skip
READER_LENGTH = REGISTERS + 12
BUCKETS = 256  # of a hash table of values, a power of two

# The block of a vocabulary's trie, int64: addresses, the number of nodes and of ids, the depth.
T_BYTE, T_DEPTH, T_END, T_FIRST, T_TOKENS, T_KINDS, T_NODES, T_IDS, T_DEEPEST = range(9)
TRIE_LENGTH = 9

# A token that ends one item and begins another has these in this order (``SOMETHING``: neither a
# comma nor whitespace): wherever it begins; inside a string; outside of arrays whose items differ,
# in what may be a string. Where only few values are left, the last of them counts as found.
SOMETHING, NOTHING = 256, 257
ORDERS = np.array(
    [[COMMA, SOMETHING, NOTHING], [QUOTE, COMMA, SOMETHING], [BRACKET, COMMA, SOMETHING]]
)
FEW = 64

# The order in which a search tries bytes: first those that end a value, as the others may lead to
# ever longer ones; whitespace last, as it leads nowhere.
_ENDS, _SPACES = b'"]}', b" \t\n\r"
_OTHERS = bytes(byte for byte in range(256) if byte not in _ENDS + _SPACES)
TURNS = np.frombuffer(_ENDS + _OTHERS + _SPACES, np.uint8)

UNKNOWN, NONE = -1, -2  # besides YES and NO, or a byte


@kernel
def kinds_of(byte, depth, first, deepest):
    """uint8 [N], for each node of a trie what the tokens below may be.

    Bit k: some token has all of ``ORDERS[k]`` in order; bit 3 + k: all but the last.
    """
    kinds = np.zeros(byte.shape[0], np.uint8)
    path = np.zeros(deepest + 1, np.int64)
    found = np.zeros((deepest + 1, 3), np.int64)
    for i in range(1, byte.shape[0]):
        d = depth[i]
        path[d] = i
        bits = 0
        for k in range(3):
            n = found[d - 1, k]
            want = ORDERS[k, n] if n < 3 else NOTHING
            b = byte[i]
            visible = not is_space(b) and b != COMMA
            if want == b or (want == SOMETHING and visible):
                n += 1
            found[d, k] = n
            least = 2 if k == 0 else 3
            if n >= least:
                bits |= 1 << k
            if n >= least - 1:
                bits |= 8 << k
        if first[i] < first[i + 1]:
            while d > 0 and kinds[path[d]] | bits != kinds[path[d]]:
                kinds[path[d]] |= bits
                d -= 1
    return kinds


@nb.njit(inline="always")
def _reader(block):
    """Arena, heads, text and registers."""
    b = int64_at(block, READER_LENGTH)
    return (
        vector_at(b[R_ARENA], b[R_N_ARENA]),
        vector_at(b[R_HEADS], BUCKETS),
        bytes_at(b[R_TEXT], 1, b[R_N_TEXT])[0],
        int64_at(block, REGISTERS),
    )


@nb.njit
def _begin(sequence, reader, registers, config):
    """The reader at ``registers``, ``config`` the matcher's configuration, the memo empty."""
    arena, heads, _, r = _reader(reader)
    cut_back(arena, heads, r, registers)
    m = int64_at(sequence, SEQUENCE_LENGTH)
    for i in range(4):
        config[i] = m[Q + i]
    b = int64_at(reader, READER_LENGTH)
    vector_at(b[R_MEMO_HEADS], BUCKETS)[:] = 0
    b[R_MEMO_TOP], b[R_MEMO_LAST], b[R_SEARCH] = 1, 0, 0


@nb.njit
def _go_back(r, saved):
    """Back to saved registers; values that came since stay, so that places can be compared."""
    top, last = r[ARENA_TOP], r[LAST]
    r[:] = saved
    if last != saved[LAST]:
        r[ARENA_TOP], r[LAST] = top, last


@nb.njit
def _step(grammar, sequence, unique, config, byte):
    """Move ``config``, int64 [4]; returns ``(status, room)``, see :func:`unique_reader.read`."""
    states, maps, edges, returns, gotos, pushes = tables(int64_at(grammar, G_LENGTH))
    q, before = config[0], config[3]
    e = states[q, BASE] + np.int64(maps[states[q, MAP], byte])
    if edges[e, TARGET] == DEAD:
        return S_DEAD, np.int64(0)
    m = int64_at(sequence, SEQUENCE_LENGTH)
    pool = int32_at(m[POOL], m[N_POOL], 4)
    untracked = config  # relative -1: the counter's interval is not asked for
    status, q, v, _, sp, top = follow_once(
        states, maps, edges, returns, gotos, pushes, pool, untracked,
        e, config[1], np.int64(-1), config[2], before, byte,
    )  # fmt: skip
    config[0], config[1], config[2], config[3] = q, v, sp, top
    room = np.int64(0)
    if status == S_OK and top > before:
        r = pool[before, POOL_RETURN]
        if r < unique.shape[0]:
            room = unique[r]
    return status, room


@nb.njit
def _need(sequence, status, q):
    """The answer of a kernel whose step did not succeed."""
    if status == S_UNBUILT:
        int64_at(sequence, SEQUENCE_LENGTH)[OUT0] = q
        return NEED_STATE
    if status == S_FORK:
        return TOO_MANY
    return NEED_POOL if status == S_FULL else NO


@nb.njit
def _advance(grammar, sequence, reader, unique, config, byte):
    """One byte more, of automaton and reader."""
    arena, heads, text, r = _reader(reader)
    if r[ARENA_TOP] + most_written(arena, r) > arena.shape[0] or r[N_TEXT] + 2 > text.shape[0]:
        return NEED_ROOM
    status, room = _step(grammar, sequence, unique, config, byte)
    if status != S_OK:
        return _need(sequence, status, config[0])
    if r[INNERMOST] == 0 and room == 0:
        return YES
    return YES if read(arena, heads, text, r, byte, room) else REPEATED


@nb.njit
def _is_plain(grammar, sequence, reader, unique, config, likely):
    """Is it seen at once that all items can become new: may a byte come that is not likely?"""
    arena, _, text, r = _reader(reader)
    if is_free(arena, r):
        return YES
    follow(arena, text, r, likely)
    here = np.empty(4, np.int64)
    need = NO
    for byte in range(256):
        if likely[byte] == 0:
            here[:] = config
            status, _ = _step(grammar, sequence, unique, here, byte)
            if status == S_OK:
                return YES
            if status != S_DEAD and need == NO:
                need = _need(sequence, status, here[0])
    return need


@nb.njit
def _memo_entry(sequence, reader, config):
    """Where the memo has verdict and search of this place; -1 if there is no room."""
    arena, _, text, r = _reader(reader)
    b = int64_at(reader, READER_LENGTH)
    memo, heads = vector_at(b[R_MEMO], b[R_N_MEMO]), vector_at(b[R_MEMO_HEADS], BUCKETS)
    registers = b[R_MEMO_TOP : R_MEMO_LAST + 1]
    m = int64_at(sequence, SEQUENCE_LENGTH)
    pool = int32_at(m[POOL], m[N_POOL], 4)
    at, last = registers[ARENA_TOP] + CONTENT, registers[LAST]
    need = key_length(arena, r)
    b[R_LEFT] -= need
    sp = config[2]
    while sp >= 0:
        need += 2
        sp = np.int64(pool[sp, POOL_PARENT])
    if at + need > memo.shape[0]:
        return np.int64(-1)
    end = write_key(arena, text, r, memo, at)
    memo[end], memo[end + 1] = config[0], config[1]
    end += 2
    sp = config[2]
    while sp >= 0:
        memo[end], memo[end + 1] = pool[sp, POOL_RETURN], pool[sp, POOL_COUNTER]
        end += 2
        sp = np.int64(pool[sp, POOL_PARENT])
    key = intern(memo, heads, registers, 0, end - at)
    entry = key + CONTENT + memo[key + LENGTH]
    if registers[LAST] != last:
        memo[entry], memo[entry + 1] = UNKNOWN, 0
        registers[ARENA_TOP] += 2
    return entry


@nb.njit
def _can_go_on(grammar, sequence, reader, unique, start, likely):
    """Can all open items become new values, each in its array? YES, NO or what is needed.

    A search over the texts that may become values that were used: what leaves them is free.
    ``likely`` is scratch space, uint8 [256].
    """
    answer = _is_plain(grammar, sequence, reader, unique, start, likely)
    if answer != NO:
        return answer
    b = int64_at(reader, READER_LENGTH)
    r, memo = int64_at(reader, REGISTERS), vector_at(b[R_MEMO], b[R_N_MEMO])
    b[R_SEARCH] += 1
    # Places with bytes that are to be tried: registers, configuration, the next turn, memo entry.
    stack = np.empty((32, REGISTERS + 6), np.int64)
    saved, config = np.empty(REGISTERS, np.int64), np.empty(4, np.int64)
    saved[:], config[:] = r, start
    n, n_seen = 0, 0
    while answer != YES:
        if answer == NO:
            # A place from which nothing leaves at once.
            entry = _memo_entry(sequence, reader, config)
            if entry < 0:
                return NEED_ROOM
            if memo[entry] == YES:
                break
            if memo[entry] == UNKNOWN and memo[entry + 1] != b[R_SEARCH]:
                memo[entry + 1] = b[R_SEARCH]
                n_seen += 1
                if n_seen > SEARCHED:
                    return TOO_LONG
                if b[R_LEFT] < 0:
                    return PAUSED
                if n == stack.shape[0]:
                    grown = np.empty((2 * n, REGISTERS + 6), np.int64)
                    grown[:n] = stack
                    stack = grown
                for i in range(REGISTERS):
                    stack[n, i] = r[i]
                for i in range(4):
                    stack[n, REGISTERS + i] = config[i]
                stack[n, REGISTERS + 4], stack[n, REGISTERS + 5] = 0, entry
                n += 1
        elif answer != REPEATED:
            return answer
        answer = REPEATED
        if n == 0:
            break
        turn = stack[n - 1, REGISTERS + 4]
        stack[n - 1, REGISTERS + 4] += 1
        if turn == 256:
            n -= 1
            continue
        byte = np.int64(TURNS[turn])
        _go_back(r, stack[n - 1, :REGISTERS])
        config[:] = stack[n - 1, REGISTERS : REGISTERS + 4]
        answer = _advance(grammar, sequence, reader, unique, config, byte)
        if answer == NO:
            answer = REPEATED
        elif answer == YES:
            answer = _is_plain(grammar, sequence, reader, unique, config, likely)
    for i in range(n):
        memo[stack[i, REGISTERS + 5]] = YES
    if n == 0 and answer == REPEATED:
        # Nothing that was seen can go on.
        key = b[R_MEMO_LAST]
        while key > 0:
            entry = key + CONTENT + memo[key + LENGTH]
            if memo[entry + 1] == b[R_SEARCH]:
                memo[entry] = NO
            key = np.int64(memo[key + BEFORE])
    _go_back(r, saved)
    return NO if n == 0 and answer == REPEATED else YES


@kernel
def advance(grammar, sequence, reader, registers, unique, data):
    """Read ``data`` from the matcher's configuration and ``registers``, which are left as they are.

    YES: the reader's registers say where it leads. NO, REPEATED: it must not come.
    """
    config, likely = np.empty(4, np.int64), np.empty(256, np.uint8)
    _begin(sequence, reader, registers, config)
    for i in range(data.shape[0]):
        answer = _advance(grammar, sequence, reader, unique, config, np.int64(data[i]))
        if answer != YES:
            return answer
    return _can_go_on(grammar, sequence, reader, unique, config, likely)


@nb.njit
def _witness(grammar, sequence, reader, unique, start, likely):
    """A byte, no whitespace, after which all items can become new; ``(YES, byte)``, -1 if none.

    Or what is needed to tell, and no byte.
    """
    r, saved = int64_at(reader, REGISTERS), np.empty(REGISTERS, np.int64)
    saved[:] = r
    config = np.empty(4, np.int64)
    for byte in range(256):
        if is_space(byte):
            continue
        config[:] = start
        answer = _advance(grammar, sequence, reader, unique, config, byte)
        if answer == YES:
            answer = _can_go_on(grammar, sequence, reader, unique, config, likely)
        _go_back(r, saved)
        if answer == YES:
            return YES, byte
        if answer not in (NO, REPEATED):
            return answer, -1
    return YES, -1


@nb.njit
def _meet(grammar, sequence, unique, one, other, byte):
    """Are two configurations the same after a byte? ``other`` comes after ``one``."""
    a, b = one.copy(), other.copy()
    a[3] = other[3]  # the stack of the other one is left as it is
    first, _ = _step(grammar, sequence, unique, a, byte)
    b[3] = max(a[3], b[3])
    second, _ = _step(grammar, sequence, unique, b, byte)
    if first != S_OK or second != S_OK or a[0] != b[0] or a[1] != b[1]:
        return False
    m = int64_at(sequence, SEQUENCE_LENGTH)
    pool = int32_at(m[POOL], m[N_POOL], 4)
    p, q = a[2], b[2]
    while p != q:
        if p < 0 or q < 0 or pool[p, POOL_RETURN] != pool[q, POOL_RETURN]:
            return False
        if pool[p, POOL_COUNTER] != pool[q, POOL_COUNTER]:
            return False
        p, q = np.int64(pool[p, POOL_PARENT]), np.int64(pool[q, POOL_PARENT])
    return True


@nb.njit
def _kind(grammar, sequence, reader, unique, start, least_room):
    """Which of a node's kinds are tokens that may end an item and go on."""
    arena, _, _, r = _reader(reader)
    least, array = np.int64(least_room), r[INNERMOST]
    while array > 0:
        least = min(least, np.int64(arena[array + A_ROOM]) - arena[array + A_N])
        array = np.int64(arena[array + A_PARENT])
    if r[INNERMOST] > 0:
        kind = 1 if r[MODE] == STRING else 0
    else:
        # Inside a string that goes on with any letter; in JSON nothing else begins with z.
        status, _ = _step(grammar, sequence, unique, start.copy(), 122)
        kind = 2 if status in (S_OK, S_UNBUILT) else 0
    return 1 << kind if least > FEW else 8 << kind


@kernel
def restrict(grammar, sequence, reader, registers, unique, least_room, trie, mask):
    """Take out of the mask at this address the tokens after which no item can be new.

    Walks the trie along the texts that may become values that were used, and along all tokens that
    may end an item and go on. What leaves both ends an item that is new, or goes on in one.
    """
    t = int64_at(trie, TRIE_LENGTH)
    nodes = t[T_NODES]
    bytes_ = bytes_at(t[T_BYTE], 1, nodes)[0]
    depth, end = vector_at(t[T_DEPTH], nodes), vector_at(t[T_END], nodes)
    first, tokens = vector_at(t[T_FIRST], nodes + 1), vector_at(t[T_TOKENS], t[T_IDS])
    kinds = bytes_at(t[T_KINDS], 1, nodes)[0]
    bits = vector_at(mask, int64_at(grammar, G_LENGTH)[G_WORDS])
    deepest = t[T_DEEPEST] + 1
    # By depth: the place after the node's prefix, what may follow there, and a byte that
    # can come (or UNKNOWN, NONE).
    places = np.empty((deepest, REGISTERS), np.int64)
    configs = np.empty((deepest, 4), np.int64)
    likely = np.empty((deepest + 1, 256), np.uint8)
    witnesses = np.empty(deepest, np.int64)
    config, scratch = np.empty(4, np.int64), likely[deepest]
    _begin(sequence, reader, registers, config)
    arena, _, text, r = _reader(reader)
    places[0, :], configs[0, :], witnesses[0] = r, config, UNKNOWN
    kind = _kind(grammar, sequence, reader, unique, config, least_room)
    waits = is_waiting(arena, r)
    follow(arena, text, r, likely[0])
    i = 1
    while i < nodes:
        here = i
        d = np.int64(depth[i])
        byte = np.int64(bytes_[i])
        splits = kinds[i] & kind != 0
        i = end[here]
        if not splits and likely[d - 1, byte] == 0:
            continue
        _go_back(r, places[d - 1])
        config[:] = configs[d - 1]
        spaced = is_space(byte) and r[MODE] == 0 and not is_free(arena, r)
        if spaced and witnesses[d - 1] == UNKNOWN:
            answer, witness = _witness(grammar, sequence, reader, unique, config, scratch)
            if answer != YES:
                return answer
            witnesses[d - 1] = witness if witness >= 0 else NONE
        answer = _advance(grammar, sequence, reader, unique, config, byte)
        if answer == NO:
            continue
        followed = r[N_SET] > 0 or (waits and is_waiting(arena, r))
        if answer == YES and not followed and not splits:
            continue
        verdict, witnesses[d] = UNKNOWN, UNKNOWN
        if answer != YES:
            verdict = answer
        elif spaced and witnesses[d - 1] >= 0:
            # Whitespace between tokens, and what can come before it can come after it.
            witness = witnesses[d - 1]
            if _meet(grammar, sequence, unique, configs[d - 1], config, witness):
                verdict, witnesses[d] = YES, witness
        if verdict == UNKNOWN and first[here] < first[here + 1]:
            verdict = _can_go_on(grammar, sequence, reader, unique, config, scratch)
        if verdict in (NO, REPEATED):
            for j in range(first[here], first[i]):
                token = tokens[j]
                bits[token >> 5] &= ~np.int32(np.uint32(1) << np.uint32(token & 31))
            continue
        if verdict != YES and verdict != UNKNOWN:
            return verdict
        if i > here + 1:
            places[d, :], configs[d, :] = r, config
            if followed:
                follow(arena, text, r, likely[d])
            else:
                likely[d, :] = 0
            i = here + 1
    return YES
