"""The members of a JSON object that people write, checked, with errors that name the place."""

from __future__ import annotations

import difflib
from typing import Any

from structgen.errors import GrammarSyntaxError
from structgen.json_text import write_json
from structgen.regular.charset import has_surrogate

REQUIRED: Any = object()


def error(message: str, pointer: str) -> GrammarSyntaxError:
    """``pointer`` is the JSON Pointer (RFC 6901, fragment form) of the offending part."""
    return GrammarSyntaxError(f"{message} (at {pointer})")


def below(pointer: str, *keys: str | int) -> str:
    """The JSON Pointer of a part of what ``pointer`` points to."""
    for key in keys:
        pointer += "/" + str(key).replace("~", "~0").replace("/", "~1")
    return pointer


def shown(value: Any) -> str:
    try:
        text = write_json(value)
    except (TypeError, ValueError, RecursionError):
        text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


class Fields:
    """The members of one object, taken by name; :meth:`done` refuses what was not taken."""

    def __init__(self, value: Any, pointer: str, what: str) -> None:
        if not isinstance(value, dict):
            raise error(f"{what} is an object, not {shown(value)}", pointer)
        self.value, self.pointer, self.what = value, pointer, what
        self.known: list[str] = []

    def at(self, *keys: str | int) -> str:
        return below(self.pointer, *keys)

    def take(self, name: str, default: Any = REQUIRED) -> Any:
        self.known.append(name)
        if name in self.value:
            return self.value[name]
        if default is REQUIRED:
            given = f"; it has {', '.join(map(str, self.value))}" if self.value else ""
            raise error(f"{self.what} needs the field {name}{given}", self.pointer)
        return default

    def text(self, name: str, default: Any = REQUIRED) -> str:
        return self.check_text(self.take(name, default), name)

    def check_text(self, value: Any, *keys: str | int) -> str:
        if not isinstance(value, str):
            raise error(f"{keys[0]} is a string, not {shown(value)}", self.at(*keys))
        if has_surrogate(value):
            raise error(f"{shown(value)} holds half a character", self.at(*keys))
        return value

    def texts(self, name: str, default: Any = REQUIRED) -> list[str]:
        """A list of strings that are not empty."""
        values = self.items(name, default)
        for i, value in enumerate(values):
            if not self.check_text(value, name, i):
                raise error(f"an empty string in {name} occurs everywhere", self.at(name, i))
        return values

    def items(self, name: str, default: Any = REQUIRED) -> list[Any]:
        values = self.take(name, default)
        if not isinstance(values, list | tuple):
            raise error(f"{name} is a list, not {shown(values)}", self.at(name))
        return list(values)

    def some(self, name: str) -> list[Any]:
        """A list that is not empty."""
        values = self.items(name)
        if not values:
            raise error(f"{name} of {self.what} is empty", self.at(name))
        return values

    def boolean(self, name: str, default: bool) -> bool:
        value = self.take(name, default)
        if not isinstance(value, bool):
            raise error(f"{name} is true or false, not {shown(value)}", self.at(name))
        return value

    def integer(self, name: str, default: Any = REQUIRED, *, low: int = 0) -> Any:
        """An integer from ``low`` on; null where that is the default."""
        value = self.take(name, default)
        if value is None and default is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool) or value < low:
            raise error(f"{name} is an integer from {low} on, not {shown(value)}", self.at(name))
        return value

    def choice(self, name: str, choices: tuple[str, ...], default: str) -> str:
        value = self.text(name, default)
        if value not in choices:
            raise error(f"{name} {unknown(value, choices)}", self.at(name))
        return value

    def tokens(self, name: str, default: Any = REQUIRED) -> list[int | str]:
        """A list of tokens: ids or names."""
        return [self.check_token(v, name, i) for i, v in enumerate(self.items(name, default))]

    def check_token(self, value: Any, *keys: str | int) -> int | str:
        if isinstance(value, str) and value:
            return self.check_text(value, *keys)
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
        raise error(f"a token is an id or a name, not {shown(value)}", self.at(*keys))

    def done(self) -> None:
        for name in self.value:
            if name not in self.known:
                message = f"a field of {self.what}: {unknown(str(name), self.known)}"
                raise error(message, self.at(str(name)))


def unknown(value: str, known: list[str] | tuple[str, ...]) -> str:
    """ "is not one of ..." with a hint."""
    close = difflib.get_close_matches(value, known, n=1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    return f"{shown(value)} is not one of {', '.join(known)}{hint}"
