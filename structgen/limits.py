"""Bounds on what one compilation may cost."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Exceeding one raises :class:`structgen.LimitExceeded`: which limit, its value, and where.

    Attributes:
        schema_bytes: size of the schema as UTF-8 JSON text.
        nesting: depth of nested JSON values in a schema.
        schema_nodes: subschemas reached from the root.
        states: automaton states of one grammar, counted as they are built.
        pattern_states: states of one regular expression's automaton.
        literal_length: code points of the texts of one enum, const or choice.
        branches: alternatives of one value after anyOf, allOf and oneOf are multiplied out.
        judge_states: states of what several schemas say at once of one value.
        classes: verdicts that are told apart when one nested value is judged by several schemas.
        whitespace: longest run of JSON whitespace between two tokens (characters).
    """

    schema_bytes: int = 4 << 20
    nesting: int = 512
    schema_nodes: int = 200_000
    states: int = 4_000_000
    pattern_states: int = 50_000
    literal_length: int = 500_000
    branches: int = 1024
    judge_states: int = 20_000
    classes: int = 1024
    whitespace: int = 20
