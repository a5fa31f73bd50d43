"""``structgen grammar explain``: every stage of a grammar, from its rules to its rows."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from structgen.cli import grammar_source as source

if TYPE_CHECKING:
    from structgen.compiler import CompiledGrammar
    from structgen.grammar import Grammar
    from structgen.pushdown import Built


class Section(StrEnum):
    """A stage that can be shown."""

    RULES = "rules"
    NODES = "nodes"
    ITEM_SETS = "item-sets"
    CONFLICTS = "conflicts"
    AUTOMATON = "automaton"
    SIZES = "sizes"
    ALL = "all"


_NEED_RULES = (Section.RULES, Section.NODES, Section.ITEM_SETS, Section.CONFLICTS)


def explain(
    grammar: source.GrammarArgument,
    sections: Annotated[
        list[Section] | None,
        typer.Option(
            "--section",
            "-s",
            help="Repeatable: rules, nodes (rules after simplification, as automata), item-sets "
            "(of LR(1)), conflicts, automaton, sizes, or all. Default: rules, conflicts, sizes; "
            "where there are no rules, automaton and sizes.",
        ),
    ] = None,
    limit: Annotated[
        int, typer.Option(min=1, help="At most this many nodes, item sets and states.")
    ] = 200,
    kind: source.KindOption = None,
    regex: source.RegexOption = False,
    structural_tag: source.TagOption = False,
    start: source.StartOption = None,
    tokenizer: source.TokenizerOption = None,
    as_json: source.JsonOption = False,
) -> None:
    """Show how a grammar is understood, stage by stage.

    Exit status: 0, or 2 for bad input.
    """
    known = source.forced(kind, regex, structural_tag)
    read = source.read_source(grammar, kind=known, start=start)
    wanted = set(sections or ())
    only_sizes = wanted == {Section.SIZES}
    compiled = None if only_sizes else read.over_bytes().compiled
    has_rules = compiled is not None and compiled.rules is not None
    if not wanted:
        wanted = {Section.RULES, Section.CONFLICTS, Section.SIZES}
        if not has_rules:
            wanted = {Section.AUTOMATON, Section.SIZES}
    if Section.ALL in wanted:
        wanted = set(Section) - {Section.ALL}
        wanted -= set() if has_rules else set(_NEED_RULES)
    shown: dict[str, Any] = {}
    for section in Section:
        if section not in wanted:
            continue
        if section is Section.SIZES:
            shown[section.value] = _sizes(read, tokenizer)
        elif section is Section.AUTOMATON:
            assert compiled is not None
            shown[section.value] = _automaton(compiled, limit)
        elif compiled is None or compiled.rules is None:
            shown[section.value] = f"none: a {read.kind.value} has no rules"
        else:
            shown[section.value] = _OF_RULES[section](*compiled.rules, limit)
    if as_json:
        print(json.dumps({"file": read.name, "kind": read.kind.value, **shown}, indent=2))
    else:
        _print(shown)


def _print(shown: dict[str, Any]) -> None:
    for name, content in shown.items():
        if isinstance(content, dict):
            width = max(map(len, content))
            content = "\n".join(f"{key:<{width}}  {value}" for key, value in content.items())
        elif isinstance(content, list):
            content = "\n\n".join(item["text"] for item in content) or "none"
        if sys.stdout.isatty():
            from rich.console import Console
            from rich.rule import Rule
            from rich.text import Text

            console = Console()
            console.print(Rule(name, align="left"))
            console.print(Text(content), soft_wrap=True)
            console.print()
        else:
            print(f"== {name}\n{content}\n")


def _rules(grammar: Grammar, built: Built, limit: int) -> str:
    return grammar.dump()


def _nodes(grammar: Grammar, built: Built, limit: int) -> str:
    """The rules that are left after inlining, as automata."""
    from structgen.pushdown.conflicts import sentence

    rules = built.builder.sets.rules
    lines: list[str] = []
    for node in range(min(len(rules.final), limit)):
        owner = rules.owner[node]
        base = rules.start[owner]
        if node == base:
            lines.append(f"{rules.names[owner]}{' (start)' if owner == rules.root else ''}")
        lines.append(f"  @{node - base}{' may end' if rules.final[node] else ''}")
        for mask, target in rules.shift[node]:
            names = [sentence(built, [t]) for t in range(rules.end) if mask >> t & 1]
            lines.append(f"    {' '.join(names)} -> @{target - base}")
        for rule, target in rules.calls[node]:
            lines.append(f"    call {rules.names[rule]} -> @{target - base}")
    if len(rules.final) > limit:
        lines.append(f"... {len(rules.final) - limit} more nodes (--limit)")
    return "\n".join(lines)


def _item_sets(grammar: Grammar, built: Built, limit: int) -> str:
    from structgen.pushdown.conflicts import explore

    # A set that is explored needs numbers for those that follow it.
    found = explore(built.builder.sets, limit=max(4 * limit, 100))
    shown = found.order[:limit]
    lines = [found.sets.show(s, built.terminal_names) for s in shown]
    if len(shown) < len(found.order) or not found.complete:
        lines.append(f"... the first {len(shown)} item sets (--limit)")
    return "\n".join(lines)


def _conflicts(grammar: Grammar, built: Built, limit: int) -> list[dict[str, Any]]:
    """Where the grammar is not LR(1), with the shortest beginning of a text that shows it."""
    from structgen.pushdown.conflicts import explore, sentence

    # Looking for conflicts takes more sets than anybody wants to see.
    found = explore(built.builder.sets, limit=max(10 * limit, 2000), most_conflicts=limit)
    rules = built.builder.sets.rules
    reports: list[dict[str, Any]] = []
    for conflict in found.conflicts:
        report = {
            "item_set": conflict.item_set,
            "after": sentence(built, conflict.before),
            "terminal": sentence(built, [conflict.terminal]),
            "alternatives": conflict.alternatives(rules),
        }
        after = report["after"] or "(the start)"
        report["text"] = "\n".join(
            [
                f"item set {conflict.item_set}: after {after}, at {report['terminal']}:",
                *(f"  - {what}" for what in conflict.alternatives(rules)),
            ]
        )
        reports.append(report)
    if not found.complete:
        note = f"... only {len(found.order)} item sets were looked at"
        reports.append({"text": note})
    return reports


_OF_RULES: dict[Section, Callable[[Grammar, Built, int], Any]] = {
    Section.RULES: _rules,
    Section.NODES: _nodes,
    Section.ITEM_SETS: _item_sets,
    Section.CONFLICTS: _conflicts,
}


def _automaton(compiled: CompiledGrammar, limit: int) -> str:
    from structgen.inspection.reachable import build_reachable

    automaton = compiled.automaton
    build_reachable(automaton, compiled.start, limit=limit)
    return automaton.dump(compiled.start, limit=limit)


def _sizes(read: source.GrammarSource, tokenizer: str | None) -> dict[str, Any]:
    """What the grammar costs with a tokenizer, along a few random texts."""
    from structgen.cli.tokenizer import load, split
    from structgen.inspection.along import masks_along
    from structgen.inspection.samples import samples

    loaded = load(tokenizer)
    compiled = read.compile(source.compiler(loaded.vocabulary))
    grammar = read.over_bytes()
    texts = [grammar.text(ids) for ids in samples(grammar, 5, seed=0)]
    for text in texts:
        masks_along(compiled, split(loaded, text))
    stats = compiled.stats
    return {
        "tokenizer": f"{loaded.name} ({len(loaded.vocabulary)} tokens)",
        "kind": read.kind.value,
        "compile_ms": round(stats["compile_seconds"] * 1000, 1),
        "states": stats["states"],
        "edges": stats["edges"],
        "rows": stats["rows"],
        "row_entries": stats["entries"],
        "bytes": stats["nbytes"],
        "measured_on": f"{len(texts)} random texts",
        "warnings": "; ".join(compiled.warnings) or "none",
    }
