"""Railroad diagrams of a grammar's rules, as SVG."""

from __future__ import annotations

from xml.sax.saxutils import escape

import railroad
from railroad import (
    Choice,
    Comment,
    Diagram,
    DiagramItem,
    NonTerminal,
    OneOrMore,
    Sequence,
    Skip,
    Stack,
    ZeroOrMore,
)

from structgen.grammar.expression import Alt, Both, Expr, Rep, Seq
from structgen.grammar.ir import Grammar, Ref
from structgen.inspection.expressions import Listed, rule_expressions
from structgen.inspection.labels import definition, label

# A sequence that is wider goes on in a new line.
MAX_WIDTH = 900
MARGIN, TITLE = 16, 26

STYLE = """
svg.railroad { background-color: white; }
svg.railroad path { stroke-width: 2; stroke: #333; fill: none; }
svg.railroad text { font: 14px monospace; text-anchor: middle; fill: #111; }
svg.railroad text.title { font: bold 16px monospace; text-anchor: start; }
svg.railroad text.comment { font: italic 12px monospace; }
svg.railroad rect { stroke-width: 2; stroke: #333; fill: #eef3fb; }
svg.railroad .terminal rect { fill: #e6ffe6; }
"""


def railroad_svg(grammar: Grammar) -> str:
    """All rules, one below the other, then the terminals that have a definition of their own.

    A green box is a terminal, its very text in quotes or its name; a blue one is a rule.
    """
    parts: list[str] = []
    width, y = 0.0, float(MARGIN)
    for name, diagram in _diagrams(grammar):
        diagram.format(8)
        diagram.attrs["x"], diagram.attrs["y"] = str(MARGIN), str(y + TITLE)
        width = max(width, float(diagram.attrs["width"]), len(name) * 10.0)
        parts.append(f'<text class="title" x="{MARGIN}" y="{y + 16}">{escape(name)}</text>\n')
        diagram.writeSvg(parts.append)
        y += TITLE + float(diagram.attrs["height"]) + 10
    width += 2 * MARGIN
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="railroad" width="{width:g}" '
        f'height="{y:g}" viewBox="0 0 {width:g} {y:g}">\n<style>{STYLE}</style>\n'
        f'<rect width="100%" height="100%" style="fill: white; stroke: none"/>\n'
        f"{''.join(parts)}</svg>\n"
    )


def _diagrams(grammar: Grammar) -> list[tuple[str, Diagram]]:
    found = []
    for name, expr in rule_expressions(grammar).items():
        items = list(expr.items) if isinstance(expr, Seq) else [expr]
        found.append((name, Diagram(_lines([_item(grammar, item) for item in items]))))
    for terminal in grammar.terminals.values():
        text = definition(grammar, terminal)
        if text is not None:
            shown = text if len(text) <= 100 else text[:97] + "..."
            found.append((terminal.name, Diagram(railroad.Terminal(shown))))
    return found


def _lines(items: list[DiagramItem]) -> DiagramItem:
    """A sequence, broken where it gets too wide."""
    rows: list[list[DiagramItem]] = [[]]
    width = 0.0
    for item in items:
        if rows[-1] and width + item.width > MAX_WIDTH:
            rows.append([])
            width = 0.0
        rows[-1].append(item)
        width += item.width + 20
    sequences = [Sequence(*row) if len(row) > 1 else (row or [Skip()])[0] for row in rows]
    return sequences[0] if len(sequences) == 1 else Stack(*sequences)


def _item(grammar: Grammar, expr: Expr) -> DiagramItem:
    match expr:
        case Seq(items):
            return _lines([_item(grammar, item) for item in items])
        case Alt(items):
            return Choice(0, *(_item(grammar, item) for item in items))
        case Rep(item, 0, 1):
            return Choice(1, Skip(), _item(grammar, item))
        case Rep(item, 0, None):
            return ZeroOrMore(_item(grammar, item))
        case Rep(item, low, high):
            if high is None and low == 1:
                return OneOrMore(_item(grammar, item))
            times = f"{low} or more times" if high is None else f"{low} to {high} times"
            times = f"{low} times" if low == high else times
            loop = OneOrMore(_item(grammar, item), Comment(times))
            return Choice(1, Skip(), loop) if low == 0 else loop
        case Listed(item, separator):
            return OneOrMore(_item(grammar, item), _item(grammar, separator))
        case Ref(rule):
            return NonTerminal(rule)
    assert not isinstance(expr, Both)  # only inside terminals
    text, _ = label(grammar, expr)
    return railroad.Terminal(text if len(text) <= 80 else text[:77] + "...")
