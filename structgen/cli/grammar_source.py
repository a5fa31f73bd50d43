"""The grammar named on the command line: a file, or ``builtin:NAME``; and its kind."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from structgen.cli.files import read_text
from structgen.errors import GrammarSyntaxError, StructgenError, show_place

if TYPE_CHECKING:
    from structgen.compiler import CompiledGrammar, Compiler
    from structgen.inspection.byte_grammar import ByteGrammar
    from structgen.vocabulary import Vocabulary

BUILTIN = "builtin:"


class Kind(StrEnum):
    """What a grammar is written in."""

    LARK = "lark"
    EBNF = "ebnf"
    JSON_SCHEMA = "json-schema"
    REGEX = "regex"
    STRUCTURAL_TAG = "structural-tag"


BY_ENDING = {
    ".lark": Kind.LARK,
    ".gbnf": Kind.EBNF,
    ".ebnf": Kind.EBNF,
    ".json": Kind.JSON_SCHEMA,
    ".regex": Kind.REGEX,
}

# The arguments and options that all commands share.
GrammarArgument = Annotated[
    str, typer.Argument(metavar="GRAMMAR", help="A grammar file, or builtin:NAME.")
]
KindOption = Annotated[
    Kind | None, typer.Option("--kind", help="What the file is; default: by its ending.")
]
RegexOption = Annotated[bool, typer.Option("--regex", help="Short for --kind regex.")]
TagOption = Annotated[
    bool, typer.Option("--structural-tag", help="Short for --kind structural-tag.")
]
StartOption = Annotated[
    str | None, typer.Option(metavar="RULE", help="The start rule; default: start (EBNF: root).")
]
TokenizerOption = Annotated[
    str | None,
    typer.Option(
        "--tokenizer", metavar="PATH", help="Directory or hub id; default: the demo model's."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def forced(kind: Kind | None, regex: bool, structural_tag: bool) -> Kind | None:
    """The kind that the options ask for.

    Raises:
        StructgenError: they contradict each other.
    """
    asked = {kind} - {None}
    asked |= {Kind.REGEX} if regex else set()
    asked |= {Kind.STRUCTURAL_TAG} if structural_tag else set()
    if len(asked) > 1:
        raise StructgenError(
            f"a grammar is of one kind, not {' and '.join(sorted(k.value for k in asked if k))}"
        )
    return next(iter(asked), None)


@dataclass(frozen=True, slots=True)
class GrammarSource:
    """A grammar as it is written.

    Attributes:
        name: as it was named on the command line.
        kind: what it is written in.
        text: the grammar.
        start: its start rule, None for the usual one.
    """

    name: str
    kind: Kind
    text: str
    start: str | None = None

    def compile(self, compiler: Compiler) -> CompiledGrammar:
        """Compile it.

        Raises:
            StructgenError: it cannot be read or compiled.
        """
        match self.kind:
            case Kind.LARK:
                return compiler.compile_lark(
                    self.text, start=self.start or "start", folder=self._folder
                )
            case Kind.EBNF:
                return compiler.compile_ebnf(self.text, root=self.start or "root")
            case Kind.REGEX:
                return compiler.compile_regex(self.constraint())
            case Kind.STRUCTURAL_TAG:
                return compiler.compile_structural_tag(self._json())
            case Kind.JSON_SCHEMA:
                return self._compile_schema(compiler)

    @property
    def _folder(self) -> Path | None:
        """Where the file lies, from which it imports others."""
        return None if self.name.startswith(BUILTIN) else Path(self.name).parent

    def constraint(self) -> str:
        """The text that is compiled: a regular expression without its file's last line break."""
        if self.kind is not Kind.REGEX:
            return self.text
        return self.text.removesuffix("\n").removesuffix("\r")

    def special_names(self) -> Iterable[str]:
        """Names of the special tokens that it asks for."""
        from structgen.grammar import Special, read_ebnf, read_lark, read_structural_tag

        match self.kind:
            case Kind.LARK:
                grammar = read_lark(self.text, self.start or "start", base=self._folder)
            case Kind.EBNF:
                grammar = read_ebnf(self.text, self.start or "root")
            case Kind.STRUCTURAL_TAG:
                grammar = read_structural_tag(self._json())
            case _:
                return
        for symbol in grammar.symbols():
            if isinstance(symbol, Special):
                yield from ([] if symbol.name is None else [symbol.name])
                yield from symbol.others

    def over_bytes(self) -> ByteGrammar:
        """Compiled over single bytes, whatever the tokenizer."""
        from structgen.inspection.byte_grammar import ByteGrammar
        from structgen.warmup import load_kernels_when_called

        load_kernels_when_called()
        return ByteGrammar.compile(self.compile, self.special_names)

    def _compile_schema(self, compiler: Compiler) -> CompiledGrammar:
        from structgen.schema_input import resolve_schema

        try:
            schema = resolve_schema(self.text).schema
        except StructgenError as error:
            try:
                json.loads(self.text)
            except json.JSONDecodeError as reason:
                _, _, place = show_place(self.text, reason.pos)
                raise StructgenError(f"{error}\n{place}") from None
            except (ValueError, RecursionError):
                pass
            raise
        return compiler.compile_json_schema(schema)

    def _json(self) -> Any:
        try:
            return json.loads(self.text)
        except json.JSONDecodeError as error:
            raise GrammarSyntaxError(
                f"not valid JSON: {error.msg}", text=self.text, position=error.pos
            ) from None
        except RecursionError:
            raise StructgenError("the structural tag is nested too deeply to be read") from None


def compiler(vocabulary: Vocabulary) -> Compiler:
    """A compiler for a few grammars: it starts fast."""
    from structgen.compiler import Compiler
    from structgen.warmup import load_kernels_when_called

    load_kernels_when_called()
    return Compiler(vocabulary)


def read_source(
    name: str,
    *,
    kind: Kind | None = None,
    start: str | None = None,
) -> GrammarSource:
    """Read a grammar file, or the built-in grammar ``builtin:NAME``.

    Raises:
        StructgenError: it cannot be read, there is no such built-in grammar, or its kind is not
            known.
    """
    if name.startswith(BUILTIN):
        from structgen import grammars

        try:
            text = grammars.text(name.removeprefix(BUILTIN))
        except ValueError as error:
            raise StructgenError(str(error)) from None
        return GrammarSource(name, Kind.LARK, text, start)
    known = kind or BY_ENDING.get(Path(name).suffix.lower())
    if known is None:
        endings = ", ".join(BY_ENDING)
        raise StructgenError(
            f"{name}: unknown kind of grammar; known endings are {endings}; "
            "or say --kind, as in --kind regex"
        )
    text = read_text(name)
    if kind is None and known is Kind.JSON_SCHEMA and _is_structural_tag(text):
        known = Kind.STRUCTURAL_TAG
    return GrammarSource(name, known, text, start)


def _is_structural_tag(text: str) -> bool:
    """Does it say so itself? No JSON Schema has this type."""
    if '"structural_tag"' not in text:
        return False
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and value.get("type") == "structural_tag"


def error_report(error: StructgenError) -> dict[str, Any]:
    """An error for programs: its message, and where, as far as it says so."""
    report: dict[str, Any] = {"error": str(error)}
    for name in ("line", "column", "pointer", "keyword", "limit"):
        value = getattr(error, name, None)
        if value is not None:
            report[name] = value
    return report
