"""Where ``%import`` finds grammars: what the user gives, then Lark's own library."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path
from typing import TypeAlias

from structgen.grammar.source import Source

# Given ("folder", "name"), the text of folder/name.lark, or None.
Resolver: TypeAlias = Callable[[tuple[str, ...]], str | None]


class Library:
    """Finds and keeps the files that grammars import.

    ``base`` is the folder that relative imports of the given text start from (None: there is none).
    Only names make up a path, so nothing outside of a folder can be reached.
    """

    def __init__(
        self,
        resolver: Resolver | None = None,
        folders: Sequence[str | Path] = (),
        base: str | Path | None = None,
    ) -> None:
        self.resolver = resolver
        self.folders = [Path(folder) for folder in folders]
        self.base = None if base is None else Path(base)

    def find(
        self, path: tuple[str, ...], relative: bool, folder: Path | None
    ) -> tuple[Source, Path | None] | None:
        """The file and the folder it lies in, None where there is no such file."""
        name = ".".join(path)
        if self.resolver is not None and (text := self.resolver(path)) is not None:
            return Source(text, name), None
        file = Path(*path).with_suffix(".lark")
        for place in [*self.folders, *([folder] if relative and folder is not None else [])]:
            try:
                text = (place / file).read_text(encoding="utf-8")
            except OSError:
                continue
            return Source(text, name), (place / file).parent
        library = resources.files("lark").joinpath("grammars", *file.parts)
        if library.is_file():
            return Source(library.read_text(encoding="utf-8"), name), None
        return None
