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
        stacks: ways to read one text that are followed at the same time, where a grammar is not
            LR(1).
        whitespace: longest run of JSON whitespace between two tokens (characters).
        compile_seconds: processor time of one compilation, so that what else runs on a machine
            changes no result. Looked at every few milliseconds, except inside the largest single
            array operations (seconds).
        memory_bytes: what one compilation may hold in tables, automata and formulas: an estimate
            from their sizes, within a factor of a few of what the process grows by.
        step_seconds: processor time of what one mask (or one accepted token) may add to the
            tables, as parts of a grammar are built when a text first enters them.
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
    stacks: int = 256
    whitespace: int = 20
    compile_seconds: float = 30.0
    memory_bytes: int = 1 << 30
    step_seconds: float = 10.0
