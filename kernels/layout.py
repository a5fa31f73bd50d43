"""The formats that the kernels read, as :mod:`structgen.device` writes them.

All tables are int32 and lie in one tensor, the arena's *words*. An offset is an index into it. A
grammar's tables are those of :mod:`structgen.automaton.tables` and :mod:`structgen.masks.store`,
with its library's made one, and rearranged so that a step waits for as few loads as possible: an
edge carries what must be known of the state that it leads to, an entry where its row is.

========== ===== ==================================================================================
table      width columns
========== ===== ==================================================================================
grammars   16    offsets of the tables (``D_*``), the mask of the pairs' hash, 1 if it names tokens
states     8     ``MAP`` row of the class maps or -1; ``BASE`` first edge; ``LO``, ``HI``; ``END``
                 class at the end of the text, -1 for none, less for several; ``HEAD`` first entry
                 or -1; ``FINAL`` class of a state that only ends its frame, or -1; ``FRAMES`` how
                 many it leaves then
maps       64    256 byte classes, uint8
edges      8     ``TARGET``, ``ARG``, ``COUNT``; ``MAP``, ``BASE``, ``LO``, ``HI`` of the target
returns    4     first goto, number of gotos, 1 where what is not there must be asked for
gotos      8     state, change of the counter, -; ``MAP``, ``BASE``, ``LO``, ``HI`` of the state
pushes     2     return point, next entry or -1
entries    8     ``KIND``, ``OFFSET``, ``LENGTH`` of the row; exit set; ``LOW``, ``HIGH``; next
pairs      4     exit set or -1, return point, first entry: a hash table, linear probing
========== ===== ==================================================================================

Entries are not a table of each grammar: a store's entries are in the arena once, for all grammars
that share the store, and the number of an entry is the line of 8 words in which it lies
(``D_ENTRIES`` is 0).

A batch has a row of ``slots`` for each sequence (``S_*``), its stack int32 [batch, depth, 2]
(return point and saved counter, the last one on top), and the rows of its next mask, int32 [batch,
MOST_ROWS, 2] (offset and length), bitmaps from the front and lists from the back.
"""

from __future__ import annotations

import os
from typing import NamedTuple

import torch
import triton
import triton.language as tl

# A grammar's row.
D_WIDTH = tl.constexpr(16)
D_STATES = tl.constexpr(0)
D_MAPS = tl.constexpr(1)
D_EDGES = tl.constexpr(2)
D_RETURNS = tl.constexpr(3)
D_GOTOS = tl.constexpr(4)
D_PUSHES = tl.constexpr(5)
D_ENTRIES = tl.constexpr(6)
D_PAIRS = tl.constexpr(7)
D_PAIR_MASK = tl.constexpr(8)
D_SYMBOLS = tl.constexpr(9)

# States.
STATE_WIDTH = tl.constexpr(8)
MAP = tl.constexpr(0)
BASE = tl.constexpr(1)
LO = tl.constexpr(2)
HI = tl.constexpr(3)
END = tl.constexpr(4)
HEAD = tl.constexpr(5)
FINAL = tl.constexpr(6)
FRAMES = tl.constexpr(7)

# Edges, and gotos, which have the state at TARGET and the change of the counter at ARG.
EDGE_WIDTH = tl.constexpr(8)
TARGET = tl.constexpr(0)
ARG = tl.constexpr(1)
COUNT = tl.constexpr(2)
TO_MAP = tl.constexpr(3)
TO_BASE = tl.constexpr(4)
TO_LO = tl.constexpr(5)
TO_HI = tl.constexpr(6)

RETURN_WIDTH = tl.constexpr(4)
PUSH_WIDTH = tl.constexpr(2)

ENTRY_WIDTH = tl.constexpr(8)
KIND = tl.constexpr(0)
OFFSET = tl.constexpr(1)
LENGTH = tl.constexpr(2)
EXIT = tl.constexpr(3)
LOW = tl.constexpr(4)
HIGH = tl.constexpr(5)
NEXT = tl.constexpr(6)

PAIR_WIDTH = tl.constexpr(4)

LIST = tl.constexpr(0)
BITMAP = tl.constexpr(1)

# As in structgen/automaton/step.py.
DEAD = tl.constexpr(-1)
FORK = tl.constexpr(-(1 << 30))
INHERIT = tl.constexpr(1 << 30)
SEVERAL = tl.constexpr(1 << 29)
UNKNOWN = tl.constexpr(-2)

SYMBOL = tl.constexpr(0xFF)  # as in structgen/vocabulary/spelling.py

# A slot's row.
S_WIDTH = tl.constexpr(16)
S_GRAMMAR = tl.constexpr(0)
S_STATE = tl.constexpr(1)
S_COUNTER = tl.constexpr(2)
S_DEPTH = tl.constexpr(3)
S_STATUS = tl.constexpr(4)
S_PENDING = tl.constexpr(5)  # a token that was taken and not read yet, or -1
S_N_BITMAPS = tl.constexpr(6)
S_N_LISTS = tl.constexpr(7)
S_MAY_END = tl.constexpr(8)  # 1 where the end-of-sequence ids are allowed
S_STEPS = tl.constexpr(9)  # tokens taken
S_UNDOABLE = tl.constexpr(10)  # how many of them can be taken back

# What a slot is doing. From NEED_STATE on it waits for the host.
FREE = tl.constexpr(0)  # without a constraint
ACTIVE = tl.constexpr(1)
FINISHED = tl.constexpr(2)
REJECTED = tl.constexpr(3)  # the last token did not fit; nothing changed
ON_HOST = tl.constexpr(4)  # its mask is one bitmap, which the host writes
NEED_STATE = tl.constexpr(5)  # a state or goto that is not built yet
NEED_ROW = tl.constexpr(6)
NEED_HOST = tl.constexpr(7)  # the text goes on on the host: a fork, too deep, too many rows
HOST_TURN = tl.constexpr(8)  # a token was taken, and the host has not answered yet

MOST_ROWS = tl.constexpr(16)
ROW_WIDTH = tl.constexpr(2)


class ArenaTensors(NamedTuple):
    """What the kernels read, the same for all slots.

    Attributes:
        words: int32 [N], the arena; ``words8`` uint8 [4 N], the same memory.
        grammars: int32 [max_grammars, D_WIDTH].
        token_offsets: int32 [V + 1]; token t is ``token_bytes[offsets[t] : offsets[t + 1]]``.
        token_bytes: uint8.
        eos: int32, the end-of-sequence ids.
    """

    words: torch.Tensor
    words8: torch.Tensor
    grammars: torch.Tensor
    token_offsets: torch.Tensor
    token_bytes: torch.Tensor
    eos: torch.Tensor

    @property
    def n_tokens(self) -> int:
        return len(self.token_offsets) - 1


class SlotTensors(NamedTuple):
    """What is kept of each slot.

    Attributes:
        slots: int32 [batch, S_WIDTH].
        stacks: int32 [batch, depth, 2].
        rows: int32 [batch, MOST_ROWS, ROW_WIDTH], of the next mask.
        snapshots: int32 [batch, ring, 4 + 2 * depth]: state, counter, depth, -, stack before each
            of the last tokens; token n at n % ring.
    """

    slots: torch.Tensor
    stacks: torch.Tensor
    rows: torch.Tensor
    snapshots: torch.Tensor

    def at(self, slot: int) -> SlotTensors:
        """A batch of this one slot, in the same memory."""
        return SlotTensors(*(tensor[slot : slot + 1] for tensor in self))


def allocate_slots(batch: int, depth: int, ring: int, device: torch.device | str) -> SlotTensors:
    """Slots without constraints."""

    def zeros(*shape: int) -> torch.Tensor:
        return torch.zeros(shape, dtype=torch.int32, device=device)

    return SlotTensors(
        zeros(batch, S_WIDTH.value),
        zeros(batch, depth, 2),
        zeros(batch, MOST_ROWS.value, ROW_WIDTH.value),
        zeros(batch, ring, 4 + 2 * depth),
    )


@triton.jit
def is_active(active, b):
    """Is slot ``b`` to be looked at? ``active`` is int32 [at least b + 1] or None."""
    found = True
    if active is not None:
        found = tl.load(active + b) != 0
    return found


def launches(tensor: torch.Tensor) -> bool:
    """Do kernels run where this tensor is? If not, the references stand in for them."""
    return tensor.is_cuda or os.environ.get("TRITON_INTERPRET") == "1"
