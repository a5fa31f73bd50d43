"""What the text must obey, from the keyword arguments of ``generate`` to compiled grammars."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from structgen.errors import SchemaError, StructgenError
from structgen.schema_input import resolve_schema

if TYPE_CHECKING:
    from structgen.compiler import CompiledGrammar, Compiler

KINDS = ("schema", "regex", "choice", "lark", "ebnf", "structural_tag", "json")


@dataclass(frozen=True, slots=True)
class Constraint:
    """One of ``KINDS`` and its value."""

    kind: str
    value: Any


@dataclass(frozen=True, slots=True)
class Compiled:
    """A grammar and the function that turns a complete text into ``Output.parsed``."""

    grammar: CompiledGrammar
    parse: Callable[[str], Any]


def constraints_per_prompt(count: int, given: dict[str, Any]) -> list[Constraint | None]:
    """The constraint of each of ``count`` prompts.

    ``given`` maps kinds to one value for all prompts or to a list with one value per prompt, None
    (for ``json``, False) leaving a prompt unconstrained.

    Raises:
        StructgenError: a list has the wrong length, or a prompt has two constraints.
        TypeError: there is no such kind.
    """
    if unknown := given.keys() - set(KINDS):
        raise TypeError(f"unexpected keyword argument {min(unknown)!r}")
    result: list[Constraint | None] = [None] * count
    for kind in KINDS:
        value: Any = given.get(kind)
        values = list(value) if _is_per_prompt(kind, value) else [value] * count
        if len(values) != count:
            raise StructgenError(
                f"{kind} holds {len(values)} constraints for {count} prompts; pass one for all, or "
                "a list with one per prompt"
            )
        for index, one in enumerate(values):
            if one is None or (kind == "json" and one is False):
                continue
            other = result[index]
            if other is not None:
                raise StructgenError(
                    f"one constraint at a time: got both {other.kind} and {kind}"
                    + (f" for prompt {index}" if count > 1 else "")
                )
            result[index] = Constraint(kind, one)
    return result


def _is_per_prompt(kind: str, value: Any) -> bool:
    if not isinstance(value, list | tuple):
        return False
    # A list of strings is one choice; with lists (or None) inside, it is one choice per prompt.
    return kind != "choice" or any(one is None or isinstance(one, list | tuple) for one in value)


def compile_constraints(
    compiler: Compiler,
    constraints: Iterable[Constraint | None],
    whitespace: str = "flexible",
    escapes: str = "any",
) -> list[Compiled | None]:
    """Compile each constraint, those that share one value object only once.

    Raises:
        StructgenError: a constraint is malformed, unsupported, unsatisfiable or beyond a limit.
    """
    done: dict[tuple[str, int], Compiled] = {}
    result: list[Compiled | None] = []
    for constraint in constraints:
        if constraint is None:
            result.append(None)
            continue
        key = (constraint.kind, id(constraint.value))
        if key not in done:
            done[key] = _compile(compiler, constraint, whitespace, escapes)
        result.append(done[key])
    return result


def _compile(compiler: Compiler, constraint: Constraint, whitespace: str, escapes: str) -> Compiled:
    kind, value = constraint.kind, constraint.value
    try:
        if kind == "schema":
            schema, parse = resolve_schema(value)
            # A type says which fields it has; its JSON Schema does not forbid others.
            closed = not isinstance(value, bool | str | bytes | bytearray | Mapping)
            grammar = compiler.compile_json_schema(
                schema, whitespace=whitespace, escapes=escapes, additional_properties=not closed
            )
            return Compiled(grammar, parse)
        if kind == "json":
            if value is not True:
                raise StructgenError(f"json must be True or False, not {value!r:.80}")
            grammar = compiler.compile_json(whitespace=whitespace, escapes=escapes)
            return Compiled(grammar, json.loads)
        if kind == "choice":
            return Compiled(compiler.compile_choice(_choices(value)), str)
        if kind != "structural_tag" and not isinstance(value, str):
            raise StructgenError(f"{kind} must be a string, not {value!r:.80}")
        return Compiled(getattr(compiler, f"compile_{kind}")(value), str)
    except RecursionError:
        raise SchemaError(f"the {kind} is nested too deeply") from None


def _choices(value: Any) -> list[str]:
    if not isinstance(value, list | tuple) or not all(isinstance(one, str) for one in value):
        raise StructgenError(f"choice must be a list of strings, not {value!r:.80}")
    if not value:
        raise StructgenError("choice is empty: there is nothing to choose from")
    return list(value)
