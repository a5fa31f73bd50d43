"""Lark's grammars to the IR: names, templates and attributes resolved.

Recognition is all that counts here, so what shapes Lark's trees (``?rule``, ``!rule``, aliases,
underscores) has no effect.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from structgen.errors import LimitExceeded
from structgen.grammar.expand import to_grammar
from structgen.grammar.expression import EMPTY, Both, Expr, Rep, fold, rebuild
from structgen.grammar.ir import Embedded, Grammar, Ref, Special, Term, Terminal
from structgen.grammar.lark_definitions import Definitions
from structgen.grammar.lark_imports import Library, Resolver
from structgen.grammar.lark_nodes import (
    CharRange,
    Definition,
    Ignore,
    Literal,
    Name,
    Nested,
    Outside,
    Pattern,
    Structured,
    Use,
)
from structgen.grammar.lark_terminals import Terminals, declared, written
from structgen.grammar.source import MAX_BYTES, Source

MAX_TEMPLATES = 2_000
MAX_TEMPLATE_NAME = 10_000  # characters; a template of ever larger arguments never ends
# Attributes of llguidance's rules: those that change no text, and those that end a rule early.
HARMLESS = frozenset({"temperature", "capture"})
ENDINGS = frozenset({"lazy", "stop", "suffix"})


def read_lark(
    text: str,
    start: str = "start",
    *,
    resolver: Resolver | None = None,
    folders: Sequence[str | Path] = (),
    base: str | Path | None = None,
    grammars: Mapping[str, str] | None = None,
) -> Grammar:
    """Read a grammar in Lark's syntax, with ``start`` as its start rule.

    Args:
        resolver: given the path of an import as a tuple of names, returns the text or None.
        folders: where else imports are looked for, before Lark's own library.
        base: the folder that relative imports (``%import .name.RULE``) start from.
        grammars: texts that ``@name`` stands for, and that ``%import`` finds first, by name.

    Raises:
        GrammarSyntaxError: with line, column and a caret, also for what is not supported.
        LimitExceeded: the text, its nesting, a terminal or the number of templates is too large.
    """
    if len(text) > MAX_BYTES:
        raise LimitExceeded(limit="grammar_bytes", value=MAX_BYTES, where="the grammar's text")
    source = Source(text)
    given = grammars or {}

    def find(path: tuple[str, ...]) -> str | None:
        found = given.get(".".join(path))
        return resolver(path) if found is None and resolver is not None else found

    definitions = Definitions(Library(find, folders, base), given)
    definitions.load(source, None if base is None else Path(base))
    return _Reader(definitions).read(source, start)


class _Template(str):
    """A template's name, passed as an argument."""


class _Reader:
    def __init__(self, definitions: Definitions) -> None:
        self.definitions = definitions
        self.table = definitions.table
        self.compiler = Terminals(self.table)
        self.terminals: dict[str, Terminal] = {}
        self.known: dict[Any, Expr] = {}
        self.same_text: dict[Any, str] = {}
        self.templates: dict[str, tuple[Definition, dict[str, Expr]]] = {}
        self.rules: dict[str, Expr] = {}
        self.warnings: list[str] = []

    def read(self, source: Source, start: str) -> Grammar:
        known = self.table.get(start)
        if known is None or known.is_terminal:
            rules = [name for name, d in self.table.items() if not d.is_terminal]
            shown = f"; its rules are {', '.join(rules[:8])}" if rules else ""
            raise source.error(f"the grammar has no rule {start} to start from{shown}", None)
        # A text in a rule is the terminal that is defined as this text, if there is one.
        for name, definition in self.table.items():
            if definition.is_terminal and isinstance(definition.body, Literal | Pattern):
                self.same_text.setdefault(_key(definition.body), name)
        work: list[tuple[str, Definition, dict[str, Expr]]]
        work = [(name, d, {}) for name, d in self.table.items() if _is_plain(d)]
        done = 0
        positions: dict[str, tuple[str, int]] = {}
        while work:
            for name, definition, env in work:
                positions[name] = (definition.source.text, definition.position)
                self.rules[name] = self.rule(name, definition, env)
            instances = list(self.templates.items())
            work = [(name, d, env) for name, (d, env) in instances[done:]]
            work += [(n, d, {}) for n, d in self.table.items()
                     if _is_plain(d) and n not in self.rules]  # fmt: skip
            done = len(instances)
        ignore = [self.ignored(i, statement, at) for i, (statement, at) in
                  enumerate(self.definitions.ignored, 1)]  # fmt: skip
        for option in dict.fromkeys(self.definitions.options):
            self.warnings.append(f"the option {option} has no effect")
        grammar = to_grammar(
            self.rules,
            start,
            self.terminals,
            ignore=ignore,
            warnings=self.warnings,
            positions=positions,
        )
        for name in grammar.terminals:
            if name in self.table and self.table[name].body is None:
                raise declared(self.table[name])
        return grammar

    def rule(self, name: str, definition: Definition, env: dict[str, Expr]) -> Expr:
        attributes = dict(definition.attributes)
        for key in attributes:
            if key in HARMLESS:
                note = f"the attribute {key} of {name} does not change what is accepted"
                self.warnings.append(note)
            elif key not in ENDINGS and key != "stop_capture":
                raise definition.source.error(
                    f"the attribute {key} of the rule {name} is not supported", definition.position
                )
        if ENDINGS & attributes.keys():
            return self.ending(name, definition, attributes)
        assert definition.body is not None
        source = definition.source

        def resolve(node: Expr, items: list[Expr]) -> Expr:
            return self.resolve(node, items, source, env)

        return fold(definition.body, resolve)

    def resolve(self, node: Expr, items: list[Expr], source: Source, env: dict[str, Expr]) -> Expr:
        match node:
            case Name(name, position):
                return env[name] if name in env else self.name(name, position, source)
            case Use(name, arguments, position):
                given = [fold(a, lambda n, i: self.resolve(n, i, source, env)) for a in arguments]
                target = env.get(name, name)
                if not isinstance(target, str):
                    raise source.error(f"the parameter {name} is not a template here", position)
                return self.instance(str(target), given, position, source)
            case Literal(""):
                return EMPTY
            case Literal() | Pattern() | CharRange() | Structured():
                return self.anonymous(node, source)
            case Nested() | Outside():
                return Ref(self.definitions.embed(node, source))
            case Both():
                raise source.error(
                    "& stands in terminals only; give the expression a name in upper case",
                    _position(node),
                )
            case Special() | Embedded():
                return node
        return rebuild(node, items)

    def name(self, name: str, position: int, source: Source) -> Expr:
        definition = self.table.get(name)
        if definition is None:
            kind = "the terminal" if name.lstrip("_")[:1].isupper() else "the rule"
            raise source.undefined(kind, name, self.table, position)
        if not definition.is_terminal:
            if definition.body is None:
                raise declared(definition)
            return _Template(name) if definition.params else Ref(name)
        if definition.body is None:
            # An error only where a rule that is used needs it: lark/grammars/python.lark can be
            # read from eval_input.
            self.terminals[name] = Terminal(name, "%declare", text=name)
            return Term(name)
        if name not in self.known:
            self.known[name] = self.leaf(*self.compiler.named(name))
        return self.known[name]

    def leaf(self, terminal: Terminal, nullable: bool) -> Expr:
        self.terminals[terminal.name] = terminal
        return Rep(Term(terminal.name), 0, 1) if nullable else Term(terminal.name)

    def anonymous(self, node: Literal | Pattern | CharRange | Structured, source: Source) -> Expr:
        key = _key(node)
        if key in self.same_text:
            return self.name(self.same_text[key], node.position, source)
        if key not in self.known:
            found = self.compiler.anonymous(written(node), node, source, node.position)
            self.known[key] = self.leaf(*found)
        return self.known[key]

    def instance(self, name: str, given: list[Expr], position: int, source: Source) -> Expr:
        template = self.table.get(name)
        if template is None:
            raise source.undefined("the template", name, self.table, position)
        if len(given) != len(template.params):
            raise source.error(
                f"{name} takes {len(template.params)} arguments, not {len(given)}", position
            )
        key = f"{name}{{{','.join(map(_shown, given))}}}"
        if key not in self.templates:
            if len(self.templates) >= MAX_TEMPLATES or len(key) > MAX_TEMPLATE_NAME:
                where = f"templates in line {source.line(position)} of the grammar"
                raise LimitExceeded(limit="templates", value=MAX_TEMPLATES, where=where)
            self.templates[key] = (template, dict(zip(template.params, given, strict=True)))
        return Ref(key)

    def ending(self, name: str, definition: Definition, attributes: dict[str, Any]) -> Expr:
        """A rule that ends where it first can: one terminal."""
        error, at = definition.source.error, definition.position
        markers = [attributes[key] for key in ("stop", "suffix") if key in attributes]
        if len(markers) > 1:
            raise error("a rule has either stop or suffix", at)
        marker = markers[0] if markers else None
        if markers and not isinstance(marker, Literal | Pattern | Name):
            raise error("stop and suffix take a text, a /pattern/ or a terminal", at)
        if isinstance(marker, Literal) and not marker.text:
            raise error(
                'stop="" ends a rule where the model stops, which no automaton says; leave it out',
                at,
            )
        body = self.regular(definition, (name,))
        for part in (body, marker):
            if part is not None:
                self.define_terminals(part, definition)
        return self.leaf(*self.compiler.lexeme_until(f"%{name}", body, marker, definition))

    def define_terminals(self, part: Expr, definition: Definition) -> None:
        def define(node: Expr, _: list[None]) -> None:
            if isinstance(node, Name):
                if node.name not in self.table:
                    raise definition.source.undefined(
                        "the terminal", node.name, self.table, node.position
                    )
                self.compiler.define(node.name)

        fold(part, define)

    def regular(self, definition: Definition, path: tuple[str, ...]) -> Expr:
        """A rule's body with the rules that it names written out."""

        def inline(node: Expr, items: list[Expr]) -> Expr:
            if not isinstance(node, Name) or node.is_terminal:
                return rebuild(node, items)
            other = self.table.get(node.name)
            if other is None:
                raise definition.source.undefined("the rule", node.name, self.table, node.position)
            special = other.params or ENDINGS & dict(other.attributes).keys()
            if node.name in path or special or len(path) > 50:
                raise definition.source.error(
                    f"a rule with lazy, stop or suffix is made of terminals; {node.name} is not",
                    node.position,
                )
            return self.regular(other, (*path, node.name))

        if definition.body is None:
            raise declared(definition)
        return fold(definition.body, inline)

    def ignored(self, number: int, statement: Ignore, source: Source) -> str:
        body, at = statement.body, statement.position
        if isinstance(body, Name) and body.is_terminal:
            self.name(body.name, body.position, source)
            return body.name
        holder = Definition(f"%ignore {number}", body, at, source)
        self.define_terminals(body, holder)
        terminal, _ = self.compiler.anonymous(holder.name, body, source, at)
        self.terminals[terminal.name] = terminal
        return terminal.name


def _is_plain(definition: Definition) -> bool:
    return not definition.is_terminal and not definition.params and definition.body is not None


def _key(node: Expr) -> Any:
    match node:
        case Literal(text, fold_case):
            return ("literal", text, fold_case)
        case Pattern(text, flags):
            return ("pattern", text, "".join(sorted(flags)))
    return written(node)


def _shown(node: Expr) -> str:
    match node:
        case Ref(name) | Term(name):
            return name
        case Rep(Term(name)):
            return f"{name}?"
        case str():
            return node
    return written(node)


def _position(node: Both) -> int | None:
    for part in node.items:
        if hasattr(part, "position"):
            return int(part.position)
    return None
