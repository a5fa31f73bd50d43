"""Frames that depend on no schema: any string, number, literal, object, array, whitespace.

They are built once for a vocabulary, a kind of whitespace and of escapes; every grammar's tables
begin with a copy, so that the states keep their numbers and the rows of these states are shared by
all.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from structgen.automaton.lift import ALL_BYTES, UTF8_BYTES, Lifted, lift, tail_states
from structgen.automaton.placing import place_bytes
from structgen.automaton.tables import Automaton, Edge, move
from structgen.errors import GrammarSyntaxError, SchemaError, StructgenError
from structgen.regular.dfa import DFA, any_string
from structgen.regular.ecma import compile_full
from structgen.regular.numbers import number
from structgen.schema.frames import (
    NO_WHITESPACE,
    WHITESPACE,
    Entry,
    Frames,
    Whitespace,
    add_literal,
    byte_entries,
)

# Bytes that JSON needs alone; a vocabulary that cannot spell one of them cannot write JSON. All
# others can be written as an escape.
STRUCTURAL = b'{}[]":,-+.0123456789abcdefABCDEF\\utrfalsnE'


class Library:
    """The shared automaton and the entries into its frames.

    Attributes:
        end: the state that ends a frame with class 0.
        string, number, integer, true, false, null, object, array: entries
            (how a value of the kind may begin).
        any_value: the entries of all kinds together.
        counted_string: the state inside any string, its code points counted.
        string_states: the states inside any string, by form; see
            :func:`structgen.automaton.lift.tail_states`.
        usable: uint8 [256], bytes that the vocabulary spells alone.
        minimal: one spelling for each string, with ``escapes="minimal"``.
    """

    def __init__(
        self,
        whitespace: str,
        max_whitespace: int,
        usable: np.ndarray = ALL_BYTES,
        *,
        escapes: str = "any",
    ) -> None:
        if escapes not in ("any", "minimal"):
            raise StructgenError(f"escapes must be 'any' or 'minimal', not {escapes!r:.40}")
        missing = [chr(b) for b in STRUCTURAL if not usable[b]]
        if missing:
            raise StructgenError(
                "the vocabulary has no token for the single characters "
                f"{' '.join(sorted(set(missing)))}, which JSON needs"
            )
        self.minimal = escapes == "minimal"
        if self.minimal and not usable[UTF8_BYTES].all():
            lacking = ", ".join(f"{b:#04x}" for b in UTF8_BYTES.tolist() if not usable[b])
            raise StructgenError(
                "escapes='minimal' needs a token for every byte of UTF-8; the vocabulary has none "
                f"for {lacking:.60}; use escapes='any'"
            )
        self.usable = usable
        a = self.automaton = Automaton()
        self.end = a.reserve_state()
        a.set_final(self.end, 0)
        self.whitespace = _whitespace(a, whitespace, max_whitespace)
        frames = Frames(a, self.whitespace)
        inside = self.lift(any_string(), [move(self.end)])
        first = inside.place(a)
        self.string: list[Entry] = [(b'"', first)]
        self.string_states = tail_states(inside, first)
        counted = self.lift(any_string(), [move(self.end)], count=1)
        self.counted_string = counted.place(a)
        self.number = byte_entries(a, place_bytes(a, number()))
        self.integer = byte_entries(a, place_bytes(a, number(integer=True)))
        self.true = [add_literal(a, b"true", self.end)]
        self.false = [add_literal(a, b"false", self.end)]
        self.null = [add_literal(a, b"null", self.end)]
        scalars = [*self.string, *self.number, *self.true, *self.false, *self.null]
        # An object's frame and an array's refer to each other through the entries.
        open_object = a.new_state(lambda q: self._build_object(frames, q))
        open_array = a.new_state(lambda q: self._build_array(frames, q))
        self.object: list[Entry] = [(b"{", open_object)]
        self.array: list[Entry] = [(b"[", open_array)]
        self.any_value = [*scalars, *self.object, *self.array]
        a.build_all()
        a.verify()

    def lift(self, dfa: DFA, quote: list[Edge] | np.ndarray, **options: Any) -> Lifted:
        """:func:`structgen.automaton.lift.lift` to the spellings that this library allows."""
        return lift(dfa, quote, usable=self.usable, minimal=self.minimal, **options)

    def _build_object(self, frames: Frames, q: int) -> None:
        a = self.automaton
        close = (b"}", move(self.end))
        value = frames.position(lambda: frames.value(self.any_value, after_value))
        colon = frames.position(lambda: [(b":", move(value))])
        after_key = a.new_return([(colon, 0)])
        key = frames.value(self.string, after_key)
        comma = frames.position(lambda: key)
        after = frames.position(lambda: [(b",", move(comma)), close])
        after_value = a.new_return([(after, 0)])
        frames.set_position(q, [*key, close])

    def _build_array(self, frames: Frames, q: int) -> None:
        a = self.automaton
        close = (b"]", move(self.end))
        after = frames.position(lambda: [(b",", move(comma)), close])
        after_item = a.new_return([(after, 0)])
        item = frames.value(self.any_value, after_item)
        comma = frames.position(lambda: item)
        frames.set_position(q, [*item, close])


def _whitespace(automaton: Automaton, kind: str, longest: int) -> Whitespace:
    """The frame of whitespace: ``"compact"``, ``"flexible"`` or a pattern."""
    if kind == "compact":
        return NO_WHITESPACE
    if kind == "flexible":
        # A run is bounded, so that whitespace alone cannot use up an output.
        state = automaton.reserve_state()
        automaton.set_final(state, 0)
        for _ in range(longest - 1):
            more = automaton.reserve_state()
            row = bytearray(256)
            for b in WHITESPACE:
                row[b] = 1
            pop_edge = (-2, 1, 0)
            automaton.set_state(
                more, automaton.class_map(bytes(row)), [pop_edge, move(state)], end=0
            )
            state = more
        return Whitespace(((WHITESPACE, state),) if longest > 0 else ())
    try:
        dfa = compile_full(kind)
    except GrammarSyntaxError as error:
        raise SchemaError(f"whitespace: {error}") from None
    if dfa.is_empty or not _only_whitespace(dfa):
        raise SchemaError(
            "whitespace must be 'compact', 'flexible' or a pattern of space, tab, CR and LF"
        )
    start = place_bytes(automaton, dfa)
    return Whitespace(tuple(byte_entries(automaton, start)), optional=bool(dfa.final[0] >= 0))


def _only_whitespace(dfa: DFA) -> bool:
    ranges = zip(dfa.lo.tolist(), dfa.hi.tolist(), strict=True)
    return all(hi < 128 and all(x in WHITESPACE for x in range(lo, hi + 1)) for lo, hi in ranges)
