"""Bounds on what one compilation may cost."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from structgen.errors import StructgenError, whole_number

# Counts are kept as int32; sizes in bytes are not.
_MOST = {"schema_bytes": 1 << 62, "memory_bytes": 1 << 62, "stacks": 1 << 16}
_MOST_OF_OTHERS = (1 << 31) - 1


@dataclass(frozen=True, slots=True)
class Limits:
    """Exceeding one raises :class:`structgen.LimitExceeded`: which limit, its value, and where.

    All are positive and finite; ``whitespace`` may be 0. ``stacks`` is at most 65,536, other counts
    fit into int32.

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

    def __post_init__(self) -> None:
        for field in fields(self):
            name, value = field.name, getattr(self, field.name)
            if name.endswith("_seconds"):
                object.__setattr__(self, name, _seconds(value, name))
                continue
            number = whole_number(value, f"Limits.{name}")
            least, most = int(name != "whitespace"), _MOST.get(name, _MOST_OF_OTHERS)
            if not least <= number <= most:
                raise StructgenError(f"Limits.{name} is from {least} to {most:,}, not {value:,}")
            object.__setattr__(self, name, number)


def _seconds(value: object, name: str) -> float:
    try:
        seconds = math.nan if isinstance(value, str) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise StructgenError(f"Limits.{name} is a positive number of seconds, not {value!r:.40}")
    return seconds
