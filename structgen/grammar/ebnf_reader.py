"""GBNF and XGrammar's EBNF to the IR.

The grammars are scannerless: every literal, class and ``Regex(...)`` is a terminal, and any
division of a text into terminals counts.
"""

from __future__ import annotations

import re

from structgen.errors import GrammarSyntaxError, LimitExceeded
from structgen.grammar.ebnf_syntax import Chars, Macro, Name, Rule, Text, parse_ebnf
from structgen.grammar.expand import to_grammar
from structgen.grammar.expression import Alt, Expr, Rep, Seq, fold, rebuild
from structgen.grammar.ir import Grammar, Ref, Special, Term, Terminal
from structgen.grammar.lexeme import compile_lexeme, nonempty
from structgen.grammar.python_regex import parse as parse_regex
from structgen.grammar.source import MAX_BYTES, Source, quote
from structgen.grammar.substring import substring
from structgen.regular import syntax
from structgen.regular.charset import UNICODE, Ranges, negate, normalize
from structgen.regular.charset import intersect as intersect_sets
from structgen.regular.dfa import DFA, from_edges, intersect
from structgen.regular.syntax import Assertion, Look, Node, Repeat, Set, children, postorder

# A character of a JSON string that needs no escape.
_UNESCAPED = negate(normalize([(0, 0x1F), (0x22, 0x22), (0x5C, 0x5C)]))
# They change how text is sampled or reported, not which texts there are.
HARMLESS = frozenset({"temperature", "capture"})
_ATTRIBUTE = re.compile(r'\s*([A-Za-z_]\w*)\s*(?:=\s*("(?:[^"\\]|\\.)*"|[^,"\s]+)\s*)?(?:,|$)')


def read_ebnf(text: str, root: str = "root") -> Grammar:
    """Read a grammar of rules ``name ::= ...``, with ``root`` as its start rule.

    Raises:
        GrammarSyntaxError: with line, column and a caret, also for what is not supported.
        LimitExceeded: the text, its nesting or a regular expression is too large.
    """
    if len(text) > MAX_BYTES:
        raise LimitExceeded(limit="grammar_bytes", value=MAX_BYTES, where="the grammar's text")
    source = Source(text)
    rules: dict[str, Rule] = {}
    for rule in parse_ebnf(source):
        if rule.name in rules:
            raise source.error(f"the rule {rule.name} is defined twice", rule.position)
        rules[rule.name] = rule
    if root not in rules:
        known = f"; its rules are {', '.join(list(rules)[:8])}" if rules else ""
        raise source.error(f"the grammar has no rule {root} to start from{known}", None)
    reader = _Reader(source, rules)
    bodies = {name: reader.body(rule) for name, rule in rules.items()}
    return to_grammar(
        bodies,
        root,
        reader.terminals,
        scannerless=True,
        warnings=reader.warnings,
        positions={name: (text, rule.position) for name, rule in rules.items()},
    )


class _Reader:
    def __init__(self, source: Source, rules: dict[str, Rule]) -> None:
        self.source = source
        self.rules = rules
        self.terminals: dict[str, Terminal] = {}
        self.leaves: dict[Expr, Expr] = {}
        self.warnings: list[str] = []

    def body(self, rule: Rule) -> Expr:
        self.attributes(rule)
        return fold(rule.body, self.resolve)

    def attributes(self, rule: Rule) -> None:
        text = rule.attributes
        at = 0
        while text[at:].strip():
            match = _ATTRIBUTE.match(text, at)
            if not match:
                raise self.source.error(f"cannot read the attributes [{text}]", rule.position)
            at = match.end()
            if match[1] not in HARMLESS:
                raise self.source.error(
                    f"the attribute {match[1]} of the rule {rule.name} is not supported",
                    rule.position,
                )
            self.warnings.append(
                f"the attribute {match[1]} of {rule.name} does not change what is accepted"
            )

    def resolve(self, node: Expr, items: list[Expr]) -> Expr:
        match node:
            case Name(name, position):
                if name not in self.rules:
                    raise self.source.undefined("the rule", name, self.rules, position)
                return Ref(name)
            case Text() | Chars() | Macro():
                known = self.leaves.get(node)
                if known is None:
                    known = self.leaves[node] = self.leaf(node)
                return known
            case Special():
                return node
        return rebuild(node, items)

    def leaf(self, node: Text | Chars | Macro) -> Expr:
        match node:
            case Text(text):
                name = quote(text)
                if any("\ud800" <= c <= "\udfff" for c in text):
                    raise self.source.error(f"the text {name} holds half a character", None)
                return self.terminal(Terminal(name, name, text=text, is_literal=True))
            case Chars(ranges, source):
                return self.terminal(Terminal(source, source, chars=ranges))
        if node.name == "Regex":
            return self.regex(node)
        self.options(node, {})
        return self.macro(node, substring(node.texts))

    def macro(self, node: Macro, dfa: DFA) -> Expr:
        arguments = [*map(quote, node.texts), *(f"{k}={v}" for k, v in node.options)]
        name = f"{node.name}({', '.join(arguments)})"
        terminal = self.terminal(Terminal(name, name, automaton=nonempty(dfa)))
        return Rep(terminal, 0, 1) if dfa.final[0] >= 0 else terminal

    def terminal(self, terminal: Terminal) -> Term:
        self.terminals.setdefault(terminal.name, terminal)
        return Term(terminal.name)

    def options(self, node: Macro, known: dict[str, str]) -> dict[str, str]:
        for key, value in node.options:
            if key not in known:
                raise self.source.error(
                    f"the option {key} of {node.name} is not supported", node.position
                )
            known[key] = value
        return known

    def regex(self, node: Macro) -> Expr:
        error = self.source.error
        options = self.options(node, {"flags": "", "json_string": "false"})
        if len(node.texts) != 1:
            raise error('Regex takes one "pattern"', node.position)
        if unknown := set(options["flags"]) - set("imsxu"):
            raise error(f"the flag {min(unknown)} of Regex is not supported", node.position)
        allowed = _UNESCAPED if options["json_string"] == "true" else UNICODE
        try:
            # XGrammar's dot matches line breaks, and its flag i is about ASCII letters.
            tree = parse_regex(node.texts[0], options["flags"] + "s", ascii_case=True)
            try:
                dfa, follows = compile_lexeme(tree, lazy=False)
            except LimitExceeded:
                if any(isinstance(n, Look | Assertion) for n in postorder(tree)):
                    raise
                return self.spelled(tree, allowed)
        except GrammarSyntaxError as problem:
            message = f"in {quote(node.texts[0])}: {str(problem).splitlines()[0]}"
            raise error(message, node.position) from None
        except LimitExceeded as problem:
            raise self.source.limit(problem, node.position) from None
        if follows:
            raise error(
                "the pattern depends on the text after it; leave out the lookahead at its end",
                node.position,
            )
        if allowed != UNICODE:
            only = from_edges([[(lo, hi, 0) for lo, hi in allowed]], [0], UNICODE)
            dfa = intersect(dfa, only)
        return self.macro(node, dfa)

    def spelled(self, tree: Node, allowed: Ranges) -> Expr:
        """A pattern as rules, where its automaton is too large: ``(ab){2,50000}``."""
        results: list[Expr] = []
        for node in postorder(tree):
            n = len(children(node))
            items = tuple(results[len(results) - n :])
            del results[len(results) - n :]
            match node:
                case Set(ranges):
                    chars = intersect_sets(ranges, allowed)
                    name = "[" + ",".join(f"{a:X}-{b:X}" for a, b in chars) + "]"
                    results.append(self.terminal(Terminal(name, name, chars=chars)))
                case syntax.Alt():
                    results.append(Alt(items))
                case Repeat(_, low, high):
                    results.append(Rep(items[0], low, high))
                case _:
                    results.append(Seq(items))
        return results[0]
