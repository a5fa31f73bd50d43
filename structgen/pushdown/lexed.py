"""States for a grammar with a lexer: terminals are tokens, read in frames of their own.

At a *boundary* the first byte of a token pushes the item set's lexer frame and enters the lexer.
Where the token ends, the lexer's frame ends with the terminal as its class, and what the parser
does about it happens before the byte that follows is read: reductions pop with the terminal as part
of their class, the shift pushes, and the byte begins the next token at the boundary after it.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator

from structgen.automaton.tables import Automaton, Edge, pop
from structgen.errors import StructgenError
from structgen.pushdown.frames import Drop, End, FrameBuilder, Go, Position
from structgen.pushdown.items import ItemSets
from structgen.pushdown.lexer import Guards, Lexer, LexState, Token


def _bits(mask: int) -> Iterator[int]:
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


class LexedBuilder(FrameBuilder):
    """Keys of states: ``("begin", guards)``, ``("boundary", item set, guards)``, ``("act",
    position, terminal, guards)``, and lexer states.

    ``open_ended``: the grammar is part of another one; where it is complete and a byte cannot be
    its own, it ends before that byte.
    """

    def __init__(
        self,
        automaton: Automaton,
        sets: ItemSets,
        lexer: Lexer,
        ignore: int,
        foreign: dict[int, int],
        *,
        open_ended: bool = False,
    ) -> None:
        super().__init__(automaton, sets)
        self.lexer, self.ignore, self.foreign = lexer, ignore, foreign
        self.open_ended = open_ended
        self.byte_classes = lexer.classes.of_byte
        self.n_classes = lexer.classes.n
        self._lexer_points: dict[int, int] = {}
        self._foreign_points: dict[tuple[int, int], int] = {}
        self._live_masks: dict[int, tuple[int, int]] = {}
        self._foreign_firsts = {
            t: {
                cls
                for cls, byte in enumerate(lexer.classes.first_bytes)
                if automaton.alternatives(start, byte)
            }
            for t, start in foreign.items()
        }
        lexer.begins.update(*self._foreign_firsts.values())
        self._boundaries: dict[tuple[int, Guards], list[list[Edge]]] = {}

    def start(self) -> int:
        return self.state(("begin", ()))

    def build(self, q: int, key: Hashable) -> None:
        match key:
            case ("begin", tuple(guards)):
                # Nothing but ignored text so far: a state of its own, as the empty text may be a
                # sentence, and the first item set may come again later.
                end = self.end_class(self.ends_of((self.sets.start, ())), (self.end, ()))
                if self.sets.rules.empty:
                    end = 0
                elif not self._live(self.sets.start)[0]:
                    raise StructgenError(
                        "the grammar has no sentence: after each terminal that it may begin with, "
                        "a longer match takes what must follow"
                    )
                rows = self._boundary(self.sets.start, guards, first=True)
                self.set_rows(q, rows, self.byte_classes, end)
            case ("boundary", int(s), tuple(guards)):
                end = self.end_class(self.ends_of((s, ())), (self.end, ()))
                self.set_rows(q, self._boundary(s, guards), self.byte_classes, end)
            case ("act", (int(s), tuple(held)), int(terminal), tuple(guards)):
                self._build_act(q, (s, held), terminal, guards)
            case LexState():
                self._build_lexer(q, key)

    # -- tokens ---------------------------------------------------------------------------------

    def _boundary(self, s: int, guards: Guards, *, first: bool = False) -> list[list[Edge]]:
        """The edges by byte class between two tokens, or before the first one."""
        known = None if first else self._boundaries.get((s, guards))
        if known is not None:
            return known
        terminals, ignore = self._live(s)
        rows: list[list[Edge]] = [[] for _ in range(self.n_classes)]
        point = self.pushes((), self._lexer_point(-1 if first else s))
        for group, after in self.lexer.row(self.lexer.start(terminals | ignore, guards)):
            assert isinstance(after, LexState)
            edge = (self.state(after), point, 0)
            for cls in group:
                rows[cls].append(edge)
        for terminal, start in self.foreign.items():
            if terminals >> terminal & 1:
                back = self._foreign_point(s, terminal)
                for row, byte in zip(rows, self.lexer.classes.first_bytes, strict=True):
                    for goal, arg, count in self.automaton.alternatives(start, byte):
                        inner = self.automaton.pushed(arg)
                        row.append((goal, self.automaton.several([back, *inner]), count))
        if self.open_ended:
            end = self.ends_of((s, ()))
            if end is not None:
                edge = self.pop_edge(end, (self.end, ()))
                rows = [row or [edge] for row in rows]
        if not first:
            self._boundaries[s, guards] = rows
        return rows

    def _live(self, s: int) -> tuple[int, int]:
        """Terminals that may come at item set ``s``, and ignored ones.

        Left out are those after which nothing could follow: no byte that ends them begins what
        comes next, as for a comment up to the end of the line where no line may end.
        """
        known = self._live_masks.get(s)
        if known is not None:
            return known
        lexer = self.lexer
        terminals = self.sets.terminals(s) & ~(1 << self.end)
        begins = self._firsts(terminals)
        ignored = self._firsts(self.ignore)
        ends = self.open_ended or self.ends_of((s, ())) is not None
        ignore = 0
        for t in _bits(self.ignore):
            if lexer.enders[t] & (begins | ignored) or (ends and lexer.ends_text[t]):
                ignore |= 1 << t
        live = 0
        for t in _bits(terminals):
            if lexer.enders[t] & ignored or self._leads_on(s, t):
                live |= 1 << t
        self._live_masks[s] = live, ignore
        return live, ignore

    def _leads_on(self, s: int, terminal: int) -> bool:
        """Can something follow the terminal? Where it is reduced first, that is not looked into."""
        if self.open_ended:
            return True
        lexer = self.lexer
        for _, found in self.outcomes((s, ()), 1 << terminal):
            for outcome in found:
                if not isinstance(outcome, Go):
                    return True
                following = self.sets.terminals(outcome.target) & ~(1 << self.end)
                if lexer.enders[terminal] & self._firsts(following):
                    return True
                end = self.ends_of((outcome.target, outcome.frames))
                if end is not None and lexer.ends_text[terminal]:
                    return True
        return False

    def _firsts(self, terminals: int) -> set[int]:
        """Classes of the bytes that these terminals begin with."""
        found: set[int] = set()
        for t in _bits(terminals):
            found |= self._foreign_firsts[t] if t in self.foreign else self.lexer.firsts[t]
        return found

    def _lexer_point(self, s: int) -> int:
        """Where the lexer's frame returns to from a token that began at item set ``s``.

        -1 is the first item set at the beginning of the text.
        """
        found = self._lexer_points.get(s)
        if found is None:
            found = self.automaton.new_lazy_return(lambda cls: self._after_token(s, cls))
            self._lexer_points[s] = found
        return found

    def points(self) -> dict[int, int]:
        return super().points() | {point: s for s, point in self._lexer_points.items()}

    def _after_token(self, s: int, cls: int) -> int:
        token = self.key_of(cls)
        if not isinstance(token, Token):
            return -1
        terminal, guards = token.terminal, token.guards
        first, s = s < 0, max(s, self.sets.start)
        if self.ignore >> terminal & 1 and not self.sets.terminals(s) >> terminal & 1:
            return self.state(("begin", guards) if first else ("boundary", s, guards))
        return self.state(("act", (s, ()), terminal, guards))

    def _foreign_point(self, s: int, terminal: int) -> int:
        found = self._foreign_points.get((s, terminal))
        if found is None:
            found = self.automaton.new_lazy_return(
                lambda cls: self.state(("act", (s, ()), terminal, ())) if cls == 0 else -1
            )
            self._foreign_points[s, terminal] = found
        return found

    def _build_lexer(self, q: int, state: LexState) -> None:
        rows: list[list[Edge]] = [[] for _ in range(self.n_classes)]
        for group, after in self.lexer.row(state):
            if isinstance(after, LexState):
                edge = (self.state(after), -1, 0)
            else:
                edge = pop(self.class_of(after))
            for cls in group:
                rows[cls].append(edge)
        terminal = self.lexer.at_end(state)
        end = -1 if terminal < 0 else self.class_of(Token(terminal))
        self.set_rows(q, rows, self.byte_classes, end)

    # -- parsing --------------------------------------------------------------------------------

    def _build_act(self, q: int, position: Position, terminal: int, guards: Guards) -> None:
        """The parser's move for a terminal that has been read, before the byte after it."""
        rows: list[list[Edge]] = [[] for _ in range(self.n_classes)]
        ends: list[int] = []
        for _, found in self.outcomes(position, 1 << terminal):
            for outcome in sorted(found, key=repr):
                match outcome:
                    case Go(frames, target):
                        last = self.ends_of((target, frames))
                        stop = self.end_class(last, (self.end, ()))
                        if last is not None:
                            ends.append(stop)
                        for cls, row in enumerate(self._boundary(target, guards)):
                            moves = [edge for edge in row if edge[0] >= 0]
                            rows[cls] += [self._above(frames, edge) for edge in moves]
                            if not moves and last is not None and self.open_ended:
                                rows[cls].append(pop(stop))
                    case Drop():
                        edge = pop(self.class_of((outcome, guards)))
                        rows = [[*row, edge] for row in rows]
                        ends.append(self.class_of((outcome, guards)))
                    case End():
                        edge = self.pop_edge(outcome, (terminal, guards))
                        if terminal != self.end or self.open_ended:
                            rows = [[*row, edge] for row in rows]
                        ends.append(self.end_class(outcome, (terminal, guards)))
        self.set_rows(q, rows, self.byte_classes, self.automaton.ends(ends))

    def _above(self, frames: tuple[int, ...], edge: Edge) -> Edge:
        """An edge of the boundary, its pushes above those of the shift."""
        goal, arg, count = edge
        if not frames:
            return edge
        return (goal, self.pushes(frames, *self.automaton.pushed(arg)), count)

    def return_to(self, s: int, key: Hashable) -> int:
        match key:
            case (End(rule, 1), int(terminal), tuple(guards)):
                again, target = self.sets.goto(s, rule)
                return self.state(("act", (target, (s,) if again else ()), terminal, guards))
            case (End(rule, depth), int(terminal), tuple(guards)):
                return self.passing(self.end_class(End(rule, depth - 1), (terminal, guards)))
            case (Drop(1, target), tuple(guards)):
                return self.state(("boundary", target, guards))
            case (Drop(depth, target), tuple(guards)):
                return self.passing(self.class_of((Drop(depth - 1, target), guards)))
        return -1
