"""Subset construction for patterns whose only assertions are ``^``, ``$``, ``\\b`` and ``\\B``.

The subsets hold the nodes that matter: with a move, accepting, or with an edge that waits for what
comes next: the end of the text, or at a word boundary the kind of the next character. Where a match
may begin anywhere, its first nodes are added to every subset; a subset that holds the accepting
node stays accepting whatever follows, and all such are one state.
"""

from __future__ import annotations

from collections.abc import Sequence

import numba as nb
import numpy as np
import numpy.typing as npt

from structgen import budget
from structgen.errors import LimitExceeded
from structgen.jit import kernel
from structgen.regular.dfa import DFA, from_table
from structgen.regular.nfa import AT_END, AT_START, BOUNDARY, FREE, NFA, NOT_BOUNDARY
from structgen.regular.product import grown, hash_row, hash_table

_ACCEPT = 1
# Work is counted in moves of nodes; a state is expected to cost no more than this on average.
MOVES_PER_STATE = 400
# Moves and jumps between two looks at the budget: tens of milliseconds.
STEPS_PER_CALL = 1 << 21

Int32 = npt.NDArray[np.int32]

# Conditions of jumps as bits of what is passable at a position.
_FREE, _AT_START, _AT_END = 1 << -1 - FREE, 1 << -1 - AT_START, 1 << -1 - AT_END
_BOUNDARY, _NOT_BOUNDARY = 1 << -1 - BOUNDARY, 1 << -1 - NOT_BOUNDARY

# Cells of progress, and what the kernel answers.
EXPANDED, N_STATES, MOVES = range(3)
DONE, FULL, PAUSE = range(3)


@nb.njit
def _close(jump_at, jump_if, jump_to, passable, seen, stamp, reached, n):
    """Add to ``reached[:n]`` what its nodes reach without a symbol; ``seen[x] == stamp`` marks it.

    ``passable``: bits of the conditions that hold at this position. Returns the new length.
    """
    done = 0
    while done < n:
        x = reached[done]
        done += 1
        for j in range(jump_at[x], jump_at[x + 1]):
            t = jump_to[j]
            if seen[t] != stamp and passable >> (-1 - jump_if[j]) & 1:
                seen[t] = stamp
                reached[n] = t
                n += 1
    return n


@kernel(nogil=True)
def _subsets(
    move_at, move_set, move_to, jump_at, jump_if, jump_to, member_at, members, is_word, restart,
    matters, at_boundary, nodes, node_at, words, final, hashes, slots, table, seen, reached,
    progress, steps,
):  # fmt: skip
    """Expand subsets in order of discovery until something is missing.

    Edges are in rows: the moves of node x are ``move_at[x]:move_at[x + 1]``, jumps and the symbol
    classes of a set likewise. ``restart`` holds the nodes of a match that starts here. State s is
    the sorted ``nodes[node_at[s]:node_at[s + 1]]`` with ``words[s]``: was the last character one of
    a word. ``seen`` int64 [nodes + 1] holds stamps, the last one given in its last cell.
    """
    n_nodes, n_symbols, mask = len(matters), table.shape[1], len(slots) - 1
    has_words = is_word.any()
    s, n_states, stamp = progress[EXPANDED], progress[N_STATES], seen[n_nodes]
    begin = np.zeros(n_symbols + 1, np.int64)
    current = np.empty(n_nodes, np.int32)
    answer = DONE
    while s < n_states and answer == DONE:
        if steps < 0:
            answer = PAUSE
            break
        size = node_at[s + 1] - node_at[s]
        asks = False  # does a word boundary here decide anything?
        accepted = False
        for i in range(size):
            x = nodes[node_at[s] + i]
            current[i] = x
            accepted |= x == _ACCEPT
            asks |= has_words and at_boundary[x] != 0
        for group in range(2 if asks else 1):
            n = size
            if asks:
                stamp += 1
                for i in range(n):
                    seen[current[i]] = stamp
                passable = _FREE | (_BOUNDARY if words[s] != group else _NOT_BOUNDARY)
                if s == 0:
                    passable |= _AT_START
                n = _close(jump_at, jump_if, jump_to, passable, seen, stamp, current, n)
                accepted = False
                for i in range(n):
                    accepted |= current[i] == _ACCEPT
            # Targets by symbol.
            begin[:] = 0
            if not accepted:
                for i in range(n):
                    for j in range(move_at[current[i]], move_at[current[i] + 1]):
                        for m in range(member_at[move_set[j]], member_at[move_set[j] + 1]):
                            begin[members[m] + 1] += 1
            for c in range(n_symbols):
                begin[c + 1] += begin[c]
            targets = np.empty(begin[n_symbols], np.int32)
            fill = begin.copy()
            if not accepted:
                for i in range(n):
                    for j in range(move_at[current[i]], move_at[current[i] + 1]):
                        for m in range(member_at[move_set[j]], member_at[move_set[j] + 1]):
                            targets[fill[members[m]]] = move_to[j]
                            fill[members[m]] += 1
            progress[MOVES] += len(targets)
            steps -= len(targets) + n + n_symbols
            previous = -1
            for c in range(n_symbols):
                word = is_word[c]
                if asks and word != group:
                    continue
                if n_states + 1 >= len(words) or node_at[n_states] + n_nodes > len(nodes):
                    answer = FULL  # the state is expanded again
                    break
                if previous >= 0 and is_word[previous] == word:
                    # Neighbouring symbols often lead to the same.
                    width = begin[c + 1] - begin[c]
                    same = width == begin[previous + 1] - begin[previous]
                    i = 0
                    while same and i < width:
                        same = targets[begin[c] + i] == targets[begin[previous] + i]
                        i += 1
                    if same:
                        table[s, c] = table[s, previous]
                        continue
                previous = c
                done = accepted
                top = node_at[n_states]
                length = 0
                if not done:
                    stamp += 1
                    k = 0
                    for i in range(len(restart)):
                        seen[restart[i]] = stamp
                        reached[k] = restart[i]
                        k += 1
                    for i in range(begin[c], begin[c + 1]):
                        if seen[targets[i]] != stamp:
                            seen[targets[i]] = stamp
                            reached[k] = targets[i]
                            k += 1
                    k = _close(jump_at, jump_if, jump_to, _FREE, seen, stamp, reached, k)
                    steps -= k
                    for i in range(k):
                        x = reached[i]
                        done |= x == _ACCEPT
                        if matters[x]:
                            nodes[top + length] = x
                            length += 1
                    if length == 0:
                        table[s, c] = -1
                        continue
                if done:  # whatever follows: all such states are one
                    nodes[top], length, word = _ACCEPT, 1, np.uint8(0)
                candidate = nodes[top : top + length]
                candidate.sort()
                h = hash_row(candidate) ^ np.uint64(word)
                slot = np.int64(h) & mask
                found = slots[slot]
                while found >= 0:
                    if hashes[found] == h and words[found] == word:
                        at = node_at[found]
                        i = 0 if node_at[found + 1] - at == length else length + 1
                        while i < length and nodes[at + i] == candidate[i]:
                            i += 1
                        if i == length:
                            break
                    slot = (slot + 1) & mask
                    found = slots[slot]
                if found < 0:
                    found = slots[slot] = n_states
                    hashes[found], words[found], node_at[found + 1] = h, word, top + length
                    n_states += 1
                    stamp += 1
                    for i in range(length):
                        reached[i] = candidate[i]
                        seen[candidate[i]] = stamp
                    passable = _FREE | _AT_END | (_BOUNDARY if word else _NOT_BOUNDARY)
                    k = _close(jump_at, jump_if, jump_to, passable, seen, stamp, reached, length)
                    steps -= k
                    final[found] = -1
                    for i in range(k):
                        if reached[i] == _ACCEPT:
                            final[found] = 0
                table[s, c] = found
            if answer != DONE:
                break
        if answer == DONE:
            s += 1
    progress[EXPANDED], progress[N_STATES], seen[n_nodes] = s, n_states, stamp
    return answer


def may_restart(nfa: NFA) -> bool:
    """Whether a match may begin after the start of the text."""
    seen = {0}
    stack = [0]
    while stack:
        node = stack.pop()
        if nfa.moves[node] or node == _ACCEPT:
            return True
        for condition, target in nfa.jumps[node]:
            if condition != AT_START and target not in seen:
                seen.add(target)
                stack.append(target)
    return False


def determinize(nfa: NFA, *, max_states: int) -> DFA:
    """The minimal automaton of the texts in which the pattern matches somewhere."""
    if nfa.looks:
        raise ValueError("lookarounds need lookaround.determinize")
    first, accepts = _closure(nfa, _FREE | _AT_START), _FREE | _AT_START | _AT_END | _NOT_BOUNDARY
    symbols = nfa.symbols()
    is_word = np.zeros(symbols.n_classes, np.uint8)
    if nfa.has_boundary:
        is_word[list(symbols.members[-1])] = 1
    n_nodes, n_symbols = len(nfa.moves), symbols.n_classes
    move_at, move_set, move_to = _rows(nfa.moves)
    jump_at, jump_if, jump_to = _rows(nfa.jumps)
    member_at, members, _ = _rows([[(c, 0) for c in of_set] for of_set in symbols.members])
    waits = (AT_END, BOUNDARY, NOT_BOUNDARY)
    matters, at_boundary = np.zeros(n_nodes, np.uint8), np.zeros(n_nodes, np.uint8)
    for x, (moves, jumps) in enumerate(zip(nfa.moves, nfa.jumps, strict=True)):
        matters[x] = bool(moves) or x == _ACCEPT or any(c in waits for c, _ in jumps)
        at_boundary[x] = any(c in (BOUNDARY, NOT_BOUNDARY) for c, _ in jumps)
    restart = sorted(x for x in _closure(nfa, _FREE) if matters[x]) if may_restart(nfa) else []
    begin = sorted(x for x in first if matters[x])
    room, node_room = 64 + 2 * n_symbols, 4 * n_nodes + 256
    nodes, node_at = np.zeros(node_room, np.int32), np.zeros(room + 1, np.int64)
    words, final = np.zeros(room, np.uint8), np.full(room, -1, np.int32)
    hashes, slots = np.zeros(room, np.uint64), hash_table(np.zeros(0, np.uint64), room)
    table = np.empty((room, n_symbols), np.int32)
    # The first state is set apart: in it ^ still holds.
    nodes[: len(begin)], node_at[1] = begin, len(begin)
    final[0] = 0 if _ACCEPT in _closure(nfa, accepts) else -1
    seen, reached = np.zeros(n_nodes + 1, np.int64), np.empty(n_nodes, np.int32)
    progress = np.array([0, 1, 0], np.int64)
    where, held = "a pattern", 0
    try:
        while True:
            answer = _subsets(
                move_at, move_set, move_to, jump_at, jump_if, jump_to, member_at, members, is_word,
                np.array(restart, np.int32), matters, at_boundary, nodes, node_at, words, final,
                hashes, slots, table, seen, reached, progress, STEPS_PER_CALL,
            )  # fmt: skip
            n = int(progress[N_STATES])
            budget.check(where)
            if n > max_states or progress[MOVES] > max_states * MOVES_PER_STATE:
                raise LimitExceeded(limit="pattern_states", value=max_states, where=where)
            if answer == DONE:
                break
            if answer == FULL:
                more = 4 * node_room + 4 * room * (n_symbols + 8)
                budget.charge(more, where)
                held += more
                if int(node_at[n]) + n_nodes > node_room:
                    node_room *= 2
                    nodes = grown(nodes, node_room)
                if n + 1 >= room:
                    room *= 2
                    node_at, words, final = (
                        grown(node_at, room + 1),
                        grown(words, room),
                        grown(final, room),
                    )
                    hashes, table = grown(hashes, room), grown(table, room)
                    # State 0 is not to be found, but the numbers begin with it.
                    slots = hash_table(hashes[1:n], room)
                    slots[slots >= 0] += 1
        return from_table(table[:n], final[:n], symbols)
    finally:
        budget.charge(-held, where)


def _rows(edges: Sequence[Sequence[tuple[int, int]]]) -> tuple[Int32, Int32, Int32]:
    """Lists of pairs as offsets and two columns."""
    at = np.zeros(len(edges) + 1, np.int32)
    np.cumsum([len(row) for row in edges], out=at[1:])
    pairs = np.array([pair for row in edges for pair in row], np.int32).reshape(-1, 2)
    return at, np.ascontiguousarray(pairs[:, 0]), np.ascontiguousarray(pairs[:, 1])


def _closure(nfa: NFA, passable: int) -> set[int]:
    """Nodes reached from the start without a symbol, along jumps whose bit is in ``passable``."""
    seen = {0}
    stack = [0]
    while stack:
        for condition, target in nfa.jumps[stack.pop()]:
            if target not in seen and passable >> (-1 - condition) & 1:
                seen.add(target)
                stack.append(target)
    return seen
