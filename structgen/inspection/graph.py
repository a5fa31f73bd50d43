"""Graphs of automata and rules, written for Graphviz (DOT) and for Mermaid."""

from __future__ import annotations

from dataclasses import dataclass, field

from structgen.automaton.step import DEAD, END, HI, INHERIT, LO, NO_LIMIT
from structgen.automaton.tables import Automaton
from structgen.grammar.expression import Alt, Both, Expr, Rep, Seq
from structgen.grammar.ir import Grammar, Ref
from structgen.inspection.expected import show_bytes
from structgen.inspection.expressions import Listed, rule_expressions
from structgen.inspection.labels import definition, label
from structgen.inspection.reachable import build_reachable, edges_of, goto


@dataclass(frozen=True, slots=True)
class Node:
    """``shape``: "state", "final", "box", "literal", "point" or "note"."""

    name: str
    label: str
    shape: str
    cluster: str = ""


@dataclass(frozen=True, slots=True)
class Edge:
    source: str
    target: str
    label: str = ""
    dashed: bool = False


@dataclass(slots=True)
class Graph:
    """Nodes and edges in the order in which they were added; ``clusters`` have a title each."""

    nodes: dict[str, Node] = field(default_factory=dict)
    edges: list[Edge] = field(default_factory=list)
    clusters: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, label: str, shape: str, cluster: str = "") -> str:
        self.nodes.setdefault(name, Node(name, label, shape, cluster))
        return name

    # -- Graphviz -------------------------------------------------------------------------------

    def dot(self) -> str:
        """The graph in Graphviz's language."""
        lines = [
            "digraph grammar {",
            "  rankdir=LR;",
            '  node [fontname="monospace", fontsize=11, shape=circle];',
            '  edge [fontname="monospace", fontsize=10];',
        ]
        for number, (cluster, title) in enumerate({"": "", **self.clusters}.items()):
            inside = [n for n in self.nodes.values() if n.cluster == cluster]
            if not cluster:
                lines += [f"  {self._dot_node(n)}" for n in inside]
                continue
            lines.append(f"  subgraph cluster_{number} {{")
            lines.append(
                f"    label={_dot_text(title)}; labeljust=l; fontname=monospace; color=gray;"
            )
            lines += [f"    {self._dot_node(n)}" for n in inside]
            lines.append("  }")
        for edge in self.edges:
            style = ", style=dashed" if edge.dashed else ""
            lines.append(
                f"  {_dot_text(edge.source)} -> {_dot_text(edge.target)} "
                f"[label={_dot_text(edge.label)}{style}];"
            )
        return "\n".join([*lines, "}"]) + "\n"

    def _dot_node(self, node: Node) -> str:
        shape = {
            "state": "shape=circle",
            "final": "shape=doublecircle",
            "box": "shape=box",
            "literal": 'shape=box, style="rounded,filled", fillcolor="#e6ffe6"',
            "point": "shape=point, width=0.12",
            "note": "shape=plaintext",
        }[node.shape]
        return f"{_dot_text(node.name)} [label={_dot_text(node.label)}, {shape}];"

    # -- Mermaid --------------------------------------------------------------------------------

    def mermaid(self) -> str:
        """The graph as a Mermaid flowchart."""
        numbers = {name: f"n{i}" for i, name in enumerate(self.nodes)}
        lines = ["flowchart LR"]
        for number, (cluster, title) in enumerate({"": "", **self.clusters}.items()):
            inside = [n for n in self.nodes.values() if n.cluster == cluster]
            if cluster:
                lines.append(f"  subgraph c{number}[{_mermaid_text(title)}]")
            for node in inside:
                left, right = {
                    "state": ("((", "))"),
                    "final": ("(((", ")))"),
                    "box": ("[", "]"),
                    "literal": ("([", "])"),
                    "point": ("((", "))"),
                    "note": ("[/", "/]"),
                }[node.shape]
                lines.append(
                    f"  {numbers[node.name]}{left}{_mermaid_text(node.label or ' ')}{right}"
                )
            if cluster:
                lines.append("  end")
        for edge in self.edges:
            arrow = "-.->" if edge.dashed else "-->"
            text = f"|{_mermaid_text(edge.label)}|" if edge.label else ""
            lines.append(f"  {numbers[edge.source]} {arrow}{text} {numbers[edge.target]}")
        return "\n".join(lines) + "\n"


def _dot_text(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def _mermaid_text(text: str) -> str:
    # Mermaid knows no backslashes: what it would read as its own is written as an entity.
    special = {c: f"#{ord(c)};" for c in '"#<>|[](){}`\\&;'}
    return '"' + "".join("<br>" if c == "\n" else special.get(c, c) for c in text) + '"'


def automaton_graph(automaton: Automaton, start: int, *, limit: int) -> Graph:
    """States that texts reach, up to ``limit``.

    A push is an edge with the return points that it pushes (``+r``); a dashed edge says where a
    return point goes on after a pop with a final class.
    """
    order, complete = build_reachable(automaton, start, limit=limit)
    shown = set(order)
    graph = Graph()
    for q in order:
        lo, hi, end = automaton.states[q, [LO, HI, END]].tolist()
        counter = "" if not lo and hi == NO_LIMIT else f"\n{lo}..{'' if hi == NO_LIMIT else hi}"
        final = f"\nfinal {end}" if end >= 0 else ""
        graph.add(f"q{q}", f"{q}{counter}{final}", "final" if end >= 0 else "state")
    graph.add("start", "", "point")
    graph.edges.append(Edge("start", f"q{start}"))
    points: set[int] = set()
    # Bytes with the same effect are one edge.
    labels: dict[tuple[str, str, str], set[int]] = {}
    for q in order:
        for group, edges in edges_of(automaton, q):
            for target, arg, count in edges:
                if target < DEAD:
                    name, what = graph.add(f"pop{-2 - target}", f"pop {-2 - target}", "note"), ""
                elif target in shown:
                    pushed = [r & ~INHERIT for r in automaton.pushed(arg)]
                    points.update(pushed)
                    name = f"q{target}"
                    what = "".join(f" +r{r}" for r in pushed)
                    what += f" v+{count}" if count > 0 else f" v={-1 - count}" if count else ""
                else:
                    name, what = graph.add("more", "not shown", "note"), ""
                labels.setdefault((f"q{q}", name, what), set()).update(group)
    for (source, to, what), found in labels.items():
        graph.edges.append(Edge(source, to, _bytes_label(found) + what))
    for r in sorted(points):
        base, size, _ = automaton.returns[r].tolist()
        for cls in range(size):
            target = int(automaton.gotos[base + cls, 0])
            if target in shown:
                graph.add(f"r{r}", f"r{r}", "box")
                assert goto(automaton, r, cls) == target
                graph.edges.append(Edge(f"r{r}", f"q{target}", f"pop {cls}", dashed=True))
    if not complete:
        graph.add("rest", f"the first {len(order)} states", "note")
    return graph


def _bytes_label(found: set[int]) -> str:
    if len(found) == 256:
        return "any byte"
    if len(found) > 128:
        return "any byte but " + show_bytes(set(range(256)) - found)
    return show_bytes(found)


def rule_graph(grammar: Grammar) -> Graph:
    """The rules as flow charts, a cluster for each: every way through is a right-hand side."""
    graph = Graph()
    for name, expr in rule_expressions(grammar).items():
        graph.clusters[name] = name
        flow = _Flow(graph, grammar, name)
        begin = graph.add(f"{name}>", "", "point", name)
        ends = flow.add(expr, [begin])
        end = graph.add(f"{name}<", "", "point", name)
        flow.join(ends, end)
    for terminal in grammar.terminals.values():
        text = definition(grammar, terminal)
        if text is not None:
            graph.add(f"={terminal.name}", f"{terminal.name} = {text}", "note")
    return graph


class _Flow:
    """Adds the ways through one rule."""

    def __init__(self, graph: Graph, grammar: Grammar, rule: str) -> None:
        self.graph, self.grammar, self.rule = graph, grammar, rule
        self.count = 0

    def node(self, text: str, shape: str) -> str:
        self.count += 1
        return self.graph.add(f"{self.rule}.{self.count}", text, shape, self.rule)

    def join(self, sources: list[str], target: str) -> None:
        for source in sources:
            edge = Edge(source, target)
            if edge not in self.graph.edges[-len(self.graph.nodes) :]:
                self.graph.edges.append(edge)

    def add(self, expr: Expr, before: list[str]) -> list[str]:
        """Add what ``expr`` stands for after the nodes ``before``; returns its last nodes."""
        match expr:
            case Seq(items):
                for item in items:
                    before = self.add(item, before)
                return before
            case Alt(items):
                return list(dict.fromkeys(end for item in items for end in self.add(item, before)))
            case Rep(item, 0, 1):
                return list(dict.fromkeys([*self.add(item, before), *before]))
            case Rep(item, low, high):
                entry = self.node("", "point")
                self.join(before, entry)
                ends = self.add(item, [entry])
                times = "" if high is None and low <= 1 else f"{low} to {high or 'any'} times"
                for end in ends:
                    self.graph.edges.append(Edge(end, entry, times))
                return [*ends, entry] if low == 0 else ends
            case Listed(item, separator):
                entry = self.node("", "point")
                self.join(before, entry)
                ends = self.add(item, [entry])
                self.join(self.add(separator, ends), entry)
                return ends
        assert not isinstance(expr, Both)  # only inside terminals
        text, literal = label(self.grammar, expr)
        shape = "literal" if literal or not isinstance(expr, Ref) else "box"
        node = self.node(text, shape)
        self.join(before, node)
        return [node]
