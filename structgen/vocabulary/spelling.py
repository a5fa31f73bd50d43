"""How an automaton over bytes tells tokens themselves from their texts.

A grammar may name a token, whatever its text: each id has a second spelling, the byte SYMBOL, which
is in no UTF-8 text, and its id in three bytes, the highest first. For an automaton a special token
is then a text like any other.
"""

from __future__ import annotations

SYMBOL = 0xFF
NEVER = 0xFE  # in no text and no spelling of a token


def symbol_bytes(token_id: int) -> bytes:
    """The spelling of a token as a symbol."""
    return bytes([SYMBOL]) + token_id.to_bytes(3, "big")
