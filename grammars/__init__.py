"""Built-in grammars, imported as ``structgen.grammars``.

Each is a file ``name.lark`` in Lark's dialect, with ``name.examples.json`` beside it: texts that
it accepts, texts that it rejects, and texts that it rejects but that can be completed.
``docs/grammars.md`` says what each covers and what it leaves out.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources

__all__ = ["Examples", "examples", "names", "text"]

_GRAMMAR, _EXAMPLES = ".lark", ".examples.json"


@dataclass(frozen=True, slots=True)
class Examples:
    """Texts and what a grammar says of them.

    Attributes:
        accept: texts of the grammar.
        reject: texts that are none.
        prefix: beginnings of texts of the grammar that are none themselves.
    """

    accept: tuple[str, ...]
    reject: tuple[str, ...]
    prefix: tuple[str, ...]


def names() -> list[str]:
    """The names of the built-in grammars, in alphabetical order."""
    files = (file.name for file in resources.files(__name__).iterdir())
    return sorted(file.removesuffix(_GRAMMAR) for file in files if file.endswith(_GRAMMAR))


def text(name: str) -> str:
    """The grammar in Lark's dialect; its start rule is ``start``.

    Raises:
        ValueError: there is no such grammar.
    """
    return _read(name, _GRAMMAR)


def examples(name: str) -> Examples:
    """Texts that the grammar accepts, rejects, and accepts the beginnings of.

    Raises:
        ValueError: there is no such grammar.
    """
    fields = json.loads(_read(name, _EXAMPLES))
    return Examples(**{kind: tuple(texts) for kind, texts in fields.items()})


def _read(name: str, ending: str) -> str:
    known = names()
    if name not in known:
        raise ValueError(f"no built-in grammar {name!r}; there are {', '.join(known)}")
    return resources.files(__name__).joinpath(name + ending).read_text(encoding="utf-8")
