"""The errors that people see: what is wrong, where, and what would work instead."""

from __future__ import annotations

import operator


class StructgenError(Exception):
    """Base of every error that structgen raises on purpose."""


class SchemaError(StructgenError):
    """A JSON Schema is malformed, or no value (that the vocabulary can spell) satisfies it.

    ``pointer`` is the JSON Pointer (RFC 6901, fragment form ``#/...``) of the offending subschema.
    """

    def __init__(self, message: str, *, pointer: str = "#") -> None:
        super().__init__(f"{message} (at {pointer})")
        self.pointer = pointer


class UnsupportedSchemaError(SchemaError):
    """A keyword constrains the value in a way that is not enforced; it is not dropped."""

    def __init__(self, message: str, *, keyword: str, pointer: str = "#") -> None:
        super().__init__(message, pointer=pointer)
        self.keyword = keyword


def show_place(text: str, position: int) -> tuple[int, int, str]:
    """Line and column (1-based) of an offset, and its line with a caret under the place.

    The two lines are indented by two spaces; of a long line a window around the place is shown.
    """
    line = text.count("\n", 0, position) + 1
    start = text.rfind("\n", 0, position) + 1
    end = text.find("\n", position)
    left = max(0, position - start - 60)
    shown = text[start : len(text) if end < 0 else end][left : left + 100]
    caret = " " * (position - start - left)
    return line, position - start + 1, f"  {shown}\n  {caret}^"


class GrammarSyntaxError(StructgenError):
    """A grammar or a regular expression cannot be read.

    ``position`` is a 0-based offset into ``text``; ``line`` and ``column`` are 1-based.
    The message shows the line with a caret under the offending place.
    """

    def __init__(self, message: str, *, text: str = "", position: int | None = None) -> None:
        self.text, self.position = text, position
        self.line = self.column = None
        if position is not None:
            self.line, self.column, shown = show_place(text, position)
            message = f"{message} (line {self.line}, column {self.column})\n{shown}"
        super().__init__(message)


class UnsupportedGrammarError(StructgenError):
    """A kind of constraint, or a construct in a grammar, that is not supported."""


class LimitExceeded(StructgenError):
    """A bound of :class:`structgen.Limits` was reached: which one, its value, and where."""

    def __init__(self, *, limit: str, value: int | float, where: str) -> None:
        super().__init__(f"limit {limit} = {value:,} exceeded at {where}; raise it in Limits(...)")
        self.limit, self.value, self.where = limit, value, where


def whole_number(value: object, what: str) -> int:
    """``value`` as an int.

    Raises:
        StructgenError: it is none, nor an integer of another library; ``what`` it should be.
    """
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise StructgenError(f"{what} is a whole number, not {value!r:.40}") from None


class CompileCancelled(StructgenError):
    """The ``cancel`` event of a compilation was set before it was done."""
