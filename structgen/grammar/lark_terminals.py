"""Lark's terminals to automata: expressions over literals, patterns and other terminals."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import reduce

from structgen.errors import GrammarSyntaxError, LimitExceeded
from structgen.grammar.expression import Alt, Both, Expr, Rep, Seq, fold
from structgen.grammar.ir import Embedded, Follow, Special, Terminal
from structgen.grammar.lark_nodes import (
    CharRange,
    Definition,
    Literal,
    Name,
    Nested,
    Outside,
    Pattern,
    Structured,
    Use,
)
from structgen.grammar.lexeme import MAX_STATES, compile_lexeme, nonempty, shortest
from structgen.grammar.python_regex import Lazy
from structgen.grammar.python_regex import parse as parse_regex
from structgen.grammar.source import Source, quote
from structgen.grammar.substring import chunks_of, substring
from structgen.regular import syntax
from structgen.regular.casefold import ignore_case
from structgen.regular.charset import UNICODE, intersect
from structgen.regular.dfa import DFA, union
from structgen.regular.dfa import intersect as intersect_automata

Value = syntax.Node | DFA
# Trees share the terminals they name, but an automaton's construction walks each occurrence.
MAX_NODES = 4 * MAX_STATES
# The construction for lazy repetitions and lookarounds recurses.
MAX_DEPTH = 200


class Terminals:
    """Compiles the terminals of ``definitions`` when they are asked for."""

    def __init__(self, definitions: Mapping[str, Definition]) -> None:
        self.definitions = definitions
        self.values: dict[str, Value] = {}
        # Nodes, depth and whether a repetition is lazy, by identity of the tree; trees are kept,
        # so that identities stay what they are.
        self.sizes: dict[int, tuple[int, int, bool]] = {}
        self.kept: list[Value] = []

    def named(self, name: str) -> tuple[Terminal, bool]:
        """The terminal and whether it also accepts the empty text."""
        definition = self.definitions[name]
        assert definition.body is not None
        self.define(name)
        return self.terminal(
            name, definition.body, self.values[name], definition.source, definition.position,
            definition.priority,
        )  # fmt: skip

    def anonymous(self, name: str, expr: Expr, source: Source, at: int) -> tuple[Terminal, bool]:
        """A literal, range or pattern that stands in a rule."""
        return self.terminal(name, expr, self.evaluate(expr, source, at), source, at, 0)

    def terminal(
        self, name: str, expr: Expr, value: Value, source: Source, at: int, priority: int
    ) -> tuple[Terminal, bool]:
        match expr:
            case Literal(text, False) if text:
                shown = written(expr)
                literal = Terminal(name, shown, text=text, priority=priority, is_literal=True)
                return literal, False
            case Literal():
                is_literal = True
            case _:
                is_literal = False
        shown = written(expr)
        if isinstance(value, syntax.Set):
            return Terminal(
                name, shown, chars=value.ranges, priority=priority, is_literal=is_literal
            ), False
        dfa, follows = self.automaton(value, source, at)
        nullable = int(dfa.final[0])
        if nullable > 0:
            raise source.error(
                f"the terminal {name} accepts the empty text under a condition on what follows; "
                "leave out its lookahead",
                at,
            )
        return Terminal(
            name,
            shown,
            automaton=nonempty(dfa),
            follows=follows,
            priority=priority,
            is_literal=is_literal,
        ), nullable == 0

    def lexeme_until(
        self, name: str, body: Expr, marker: Expr | None, definition: Definition
    ) -> tuple[Terminal, bool]:
        """The shortest texts of ``body``, then ``marker``: llguidance's lazy, stop and suffix."""
        source, at = definition.source, definition.position
        whole = self.evaluate(body if marker is None else Seq((body, marker)), source, at)
        dfa, follows = self.automaton(whole, source, at, lazy=False)
        if follows:
            raise source.error("a lookahead cannot end a rule with [lazy] or a stop text", at)
        dfa = shortest(dfa)
        terminal = Terminal(name, written(body), automaton=nonempty(dfa), commits=True)
        return terminal, bool(dfa.final[0] >= 0)

    def automaton(
        self, value: Value, source: Source, at: int, *, lazy: bool = True
    ) -> tuple[DFA, tuple[Follow, ...]]:
        if isinstance(value, DFA):
            return value, ()
        try:
            if self.measure(value)[1] > MAX_DEPTH:
                raise source.nested_too_deeply(at, "parts of a terminal")
            return compile_lexeme(value, lazy=lazy)
        except GrammarSyntaxError as error:
            raise source.error(str(error), at) from None
        except LimitExceeded as error:
            raise source.limit(error, at) from None

    def define(self, name: str) -> None:
        """Compute the values of a terminal and of those it names, innermost first."""
        stack: list[tuple[str, Iterator[Name]]] = []
        path: set[str] = set()
        waiting = [Name(name, self.definitions[name].position)]
        while True:
            if waiting:
                use = waiting.pop()
                if use.name in self.values:
                    continue
                definition = self.definitions[use.name]
                if use.name in path:
                    raise definition.source.error(
                        f"the terminal {use.name} refers to itself; only rules may", use.position
                    )
                if definition.body is None:
                    raise declared(definition)
                path.add(use.name)
                stack.append((use.name, iter(names_in(definition, self.definitions))))
            if not stack:
                return
            current, remaining = stack[-1]
            following = next(remaining, None)
            if following is not None:
                waiting.append(following)
                continue
            stack.pop()
            path.discard(current)
            definition = self.definitions[current]
            self.values[current] = self.evaluate(
                definition.body, definition.source, definition.position
            )

    def evaluate(self, expr: Expr, source: Source, at: int) -> Value:
        """A tree where possible, an automaton where ``&`` or ``%regex`` asks for one."""

        def combine(node: Expr, items: list[Value]) -> Value:
            value = self.combine(node, items, source, at)
            if isinstance(value, DFA):
                return value
            size, depth, lazy = self.measure(value)
            if size > MAX_NODES:
                error = LimitExceeded(limit="pattern_states", value=MAX_STATES, where="a terminal")
                raise source.limit(error, at)
            if lazy and depth > MAX_DEPTH:
                raise source.nested_too_deeply(at, "parts of a terminal")
            return value

        return fold(expr, combine)

    def measure(self, tree: syntax.Node) -> tuple[int, int, bool]:
        """Nodes (each as often as it occurs), depth, and whether a repetition is lazy."""
        known = self.sizes.get(id(tree))
        if known is None:
            below = [self.measure(child) for child in syntax.children(tree)]
            known = (
                1 + sum(size for size, _, _ in below),
                1 + max((depth for _, depth, _ in below), default=0),
                isinstance(tree, Lazy) or any(lazy for _, _, lazy in below),
            )
            self.sizes[id(tree)] = known
            self.kept.append(tree)
        return known

    def combine(self, node: Expr, items: list[Value], source: Source, at: int) -> Value:
        match node:
            case Seq() if len(items) == 1:
                return items[0]
            case Seq() | Rep():
                trees = [item for item in items if not isinstance(item, DFA)]
                if len(trees) < len(items):
                    raise source.error(
                        "& and %regex cannot be part of a longer terminal; name the parts in a "
                        "rule instead",
                        at,
                    )
                if isinstance(node, Rep):
                    return syntax.Repeat(trees[0], node.low, node.high)
                return syntax.Cat(tuple(trees))
            case Alt():
                trees = [item for item in items if not isinstance(item, DFA)]
                if len(trees) == len(items):
                    if any(self.measure(tree)[2] for tree in trees):
                        trees = longest_first(trees)
                    return syntax.Alt(tuple(trees))
                return union(*(self.plain(item, source, at) for item in items))
            case Both():
                return reduce(intersect_automata, (self.plain(item, source, at) for item in items))
            case Name(name):
                return self.values[name]
            case Literal(text, fold_case):
                sets = (
                    syntax.Set(ignore_case(one) if fold_case else one)
                    for one in (((ord(char), ord(char)),) for char in text)
                )
                nodes = tuple(sets)
                return nodes[0] if len(nodes) == 1 else syntax.Cat(nodes)
            case CharRange(first, last):
                return syntax.Set(intersect(((ord(first), ord(last)),), UNICODE))
            case Pattern(text, flags, position):
                try:
                    return parse_regex(text, flags)
                except GrammarSyntaxError as error:
                    # The offset is off by escaped slashes before it, at worst.
                    inside = position + 1 + (error.position or 0)
                    message = str(error).split(" (line ")[0].splitlines()[0]
                    raise source.error(message, inside) from None
                except LimitExceeded as error:
                    raise source.limit(error, position) from None
            case Structured(value, position):
                return structured(value, source, position)
            case Special() | Embedded() | Nested() | Outside() | Use():
                raise source.error(f"{written(node)} cannot be part of a terminal", at)
        raise source.error("a terminal cannot hold this", at)

    def plain(self, value: Value, source: Source, at: int) -> DFA:
        dfa, follows = self.automaton(value, source, at)
        if follows:
            raise source.error("& cannot be combined with a lookahead at the end", at)
        return dfa


def structured(value: str, source: Source, at: int) -> DFA:
    """``%regex {...}``: substrings of a text, by chunks."""
    fields = json.loads(value)
    if isinstance(fields, dict) and len(fields) == 1:
        ((kind, content),) = fields.items()
        chunks = chunks_of(kind, content)
        if chunks is not None:
            try:
                return substring(chunks)
            except LimitExceeded as error:
                raise source.limit(error, at) from None
    raise source.error(
        "%regex takes one of substring_chunks (a list of texts), substring_words and "
        "substring_chars (a text)",
        at,
    )


def names_in(definition: Definition, known: Mapping[str, Definition]) -> list[Name]:
    """The terminals that a terminal's body names; rules among them are an error."""
    names: list[Name] = []

    def collect(node: Expr, _: list[None]) -> None:
        if not isinstance(node, Name):
            return
        if not node.is_terminal:
            raise definition.source.error(
                f"the rule {node.name} cannot be part of the terminal {definition.name}",
                node.position,
            )
        if node.name not in known:
            raise definition.source.undefined("the terminal", node.name, known, node.position)
        names.append(node)

    fold(definition.body, collect)
    return names


def declared(definition: Definition) -> GrammarSyntaxError:
    return definition.source.error(
        f"{definition.name} is only declared: it needs code of its own in the lexer (such as "
        "Lark's Indenter), which is not supported; define it by a pattern",
        definition.position,
    )


def longest_first(items: list[syntax.Node]) -> list[syntax.Node]:
    """In Lark's order, which decides where a lazy repetition ends."""
    widths = [_width(item) for item in items]
    order = sorted(range(len(items)), key=lambda i: (-widths[i][1], -widths[i][0]))
    return [items[i] for i in order]


def _width(root: syntax.Node) -> tuple[float, float]:
    """The lengths of the shortest and longest text."""
    stack: list[tuple[float, float]] = []
    for node in syntax.postorder(root):
        n = len(syntax.children(node))
        parts = stack[len(stack) - n :]
        del stack[len(stack) - n :]
        match node:
            case syntax.Set():
                stack.append((1, 1))
            case syntax.Cat():
                stack.append((sum(a for a, _ in parts), sum(b for _, b in parts)))
            case syntax.Alt():
                least = min((a for a, _ in parts), default=0)
                stack.append((least, max((b for _, b in parts), default=0)))
            case syntax.Repeat(_, low, high):
                most = float("inf") if high is None else high
                longest = parts[0][1] * most if parts[0][1] else 0
                stack.append((parts[0][0] * low, longest))
            case _:
                stack.append((0, 0))
    return stack[0]


def written(node: Expr) -> str:
    """An expression as the grammar spells it, more or less, for names and messages."""

    def combine(node: Expr, items: list[str]) -> str:
        match node:
            case Seq():
                return " ".join(items)
            case Alt():
                return f"({' | '.join(items)})"
            case Both():
                return f"({' & '.join(items)})"
            case Rep(_, low, high):
                mark = {(0, 1): "?", (0, None): "*", (1, None): "+"}.get((low, high))
                bounds = f"{{{low},{'' if high is None else high}}}"
                return f"({items[0]}){mark or bounds}"
            case Name(name):
                return name
            case Literal(text, ignores):
                return quote(text) + ("i" if ignores else "")
            case Pattern(text, flags):
                return f"/{text}/{flags}"
            case CharRange(first, last):
                return f'"{first}".."{last}"'
            case Special():
                return node.text
            case Structured(value):
                return f"%regex {value}"
            case Embedded(_, value):
                return f"%json {value}"
            case Use(name, arguments):
                return f"{name}{{{','.join(map(written, arguments))}}}"
            case Outside(name):
                return f"@{name}"
        return "%lark {...}"

    return fold(node, combine)
