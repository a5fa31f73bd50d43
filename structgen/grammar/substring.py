"""Every text that a run of consecutive chunks spells, the empty run among them.

llguidance's ``%regex {"substring_chunks": [...]}`` and XGrammar's ``Substring(...)``. The suffix
automaton over whole chunks (Blumer et al., 1985) keeps the number of states linear.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from structgen.errors import LimitExceeded
from structgen.regular.dfa import DFA

MAX_STATES = 200_000


def chunks_of(kind: str, value: object) -> list[str] | None:
    """The chunks that a key of ``%regex {...}`` stands for, None where it is malformed."""
    if kind == "substring_chunks":
        is_list = isinstance(value, list) and all(isinstance(chunk, str) for chunk in value)
        return list(value) if is_list else None  # type: ignore[call-overload]
    if not isinstance(value, str):
        return None
    if kind == "substring_chars":
        return list(value)
    if kind == "substring_words":
        # A word and the blanks around it are chunks of their own.
        return re.findall(r"\s+|\w+|[^\w\s]+", value)
    return None


def substring(chunks: Sequence[str]) -> DFA:
    """The automaton; final class 0."""
    moves = _suffix_automaton([chunk for chunk in chunks if chunk])
    # A state here is a set of positions (suffix automaton state, chunk being read, offset in it).
    # Sets of more than one arise only where one chunk begins another.
    outgoing = [sorted(edges.items()) for edges in moves]
    first = frozenset(((0, "", 0),))
    number = {first: 0}
    queue = [first]
    rows: list[list[tuple[int, int, int]]] = []
    final: list[int] = []
    for here in queue:
        boundary = [state for state, chunk, _ in here if not chunk]
        final.append(0 if boundary else -1)
        following: dict[int, set[tuple[int, str, int]]] = {}
        reading = [(state, chunk, at) for state, chunk, at in here if chunk]
        reading += [(goal, chunk, 0) for state in boundary for chunk, goal in outgoing[state]]
        for goal, chunk, at in reading:
            after = (goal, "", 0) if at + 1 == len(chunk) else (goal, chunk, at + 1)
            following.setdefault(ord(chunk[at]), set()).add(after)
        row = []
        for code in sorted(following):
            key = frozenset(following[code])
            if key not in number:
                number[key] = len(queue)
                queue.append(key)
                if len(queue) > MAX_STATES:
                    raise LimitExceeded(limit="states", value=MAX_STATES, where="a substring")
            row.append((code, code, number[key]))
        rows.append(row)
    # Every state is reachable and, since every chunk ends, productive; states were numbered breadth
    # first. Merging equal ones would cost more than it saves.
    edges: list[tuple[int, int, int]] = []
    offsets = [0]
    for row in rows:
        for code, _, target in row:
            if len(edges) > offsets[-1] and edges[-1][1:] == (code - 1, target):
                edges[-1] = (edges[-1][0], code, target)
            else:
                edges.append((code, code, target))
        offsets.append(len(edges))
    lo, hi, goals = np.array(edges, np.int32).reshape(-1, 3).T.copy()
    return DFA(np.array(offsets, np.int32), lo, hi, goals, np.array(final, np.int32))


def _suffix_automaton(chunks: list[str]) -> list[dict[str, int]]:
    moves: list[dict[str, int]] = [{}]
    link, length = [-1], [0]
    last = 0
    for chunk in chunks:
        new = len(moves)
        moves.append({})
        length.append(length[last] + 1)
        link.append(0)
        p = last
        while p >= 0 and chunk not in moves[p]:
            moves[p][chunk] = new
            p = link[p]
        if p >= 0:
            q = moves[p][chunk]
            if length[p] + 1 == length[q]:
                link[new] = q
            else:
                clone = len(moves)
                moves.append(dict(moves[q]))
                length.append(length[p] + 1)
                link.append(link[q])
                while p >= 0 and moves[p].get(chunk) == q:
                    moves[p][chunk] = clone
                    p = link[p]
                link[q] = link[new] = clone
        last = new
    return moves
