"""Rule bodies as automata over symbols, and the recursion that can be taken out of them.

A *body* is a nondeterministic automaton for the right-hand sides of one rule. Its edges read a set
of terminals (a bit mask) or call a rule. Only the language counts, so

- an empty alternative is not derived: a call of a rule that may be empty can be passed over, and
  the rule itself derives non-empty texts only;
- a rule that calls itself last goes on at its own start instead, and one that calls itself first
  goes on, wherever it may end, after that call: ``E -> E + E | x`` becomes ``x (+ x)*``. Both at
  once are right, because a derivation that nests on one side can be turned to nest on the other. (A
  rule that calls itself first only stays as it is where it is called, for an LR parser is good at
  that, and is unrolled where it is copied);
- a rule that does not call itself is copied into its callers, while that does not make the grammar
  much larger. What is left to call is recursion that a finite automaton cannot do, and what is too
  large to copy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from structgen import budget

# A larger rule is not copied where it is found: in a long chain each would copy all after it.
MAX_CALLEE = 100


class Body:
    """An automaton with start node 0. ``silent`` edges read nothing.

    Attributes:
        shift: by node, ``{target: mask of the terminals that lead there}``.
        calls: by node, pairs of a rule and the node to go on in after it.
        silent: by node.
        final: by node, may the rule end here?
    """

    __slots__ = ("calls", "final", "shift", "silent")

    def __init__(self) -> None:
        self.shift: list[dict[int, int]] = []
        self.calls: list[set[tuple[int, int]]] = []
        self.silent: list[set[int]] = []
        self.final: list[bool] = []
        self.node()

    def __len__(self) -> int:
        return len(self.final)

    def node(self, final: bool = False) -> int:
        self.shift.append({})
        self.calls.append(set())
        self.silent.append(set())
        self.final.append(final)
        return len(self.final) - 1

    def add_shift(self, node: int, mask: int, target: int) -> None:
        self.shift[node][target] = self.shift[node].get(target, 0) | mask

    def copy_of(self, other: Body, after: int) -> int:
        """Nodes like ``other``'s, which go on at ``after`` where it ends; returns its start."""
        base = len(self)
        for edges, calls, silent, final in zip(
            other.shift, other.calls, other.silent, other.final, strict=True
        ):
            node = self.node()
            self.shift[node] = {base + t: mask for t, mask in edges.items()}
            self.calls[node] = {(rule, base + t) for rule, t in calls}
            self.silent[node] = {base + t for t in silent}
            if final:
                self.silent[node].add(after)
        return base

    @property
    def size(self) -> int:
        return sum(len(s) + len(c) for s, c in zip(self.shift, self.calls, strict=True))

    def called(self) -> set[int]:
        return {rule for calls in self.calls for rule, _ in calls}


def without_silent(body: Body) -> Body:
    """The same language without silent edges, useless nodes, and nodes that are plainly equal."""
    budget.check("the rules of the grammar")
    closed: list[list[int]] = []
    for node in range(len(body)):
        seen, stack = {node}, [node]
        while stack:
            for target in body.silent[stack.pop()]:
                if target not in seen:
                    seen.add(target)
                    stack.append(target)
        closed.append(sorted(seen))
    out = Body()
    number = {0: 0}
    queue = [0]
    for node in queue:
        here = number[node]
        for part in closed[node]:
            out.final[here] |= body.final[part]
            for target, mask in body.shift[part].items():
                if target not in number:
                    number[target] = out.node()
                    queue.append(target)
                out.add_shift(here, mask, number[target])
            for rule, target in body.calls[part]:
                if target not in number:
                    number[target] = out.node()
                    queue.append(target)
                out.calls[here].add((rule, number[target]))
    return _merged(out)


def _merged(body: Body) -> Body:
    """Drop nodes that never end, and merge those with equal edges, targets first."""
    n = len(body)
    back: list[set[int]] = [set() for _ in range(n)]
    degree = [0] * n
    for node in range(n):
        for target in {*body.shift[node], *(t for _, t in body.calls[node])}:
            back[target].add(node)
    alive = {node for node in range(n) if body.final[node]}
    stack = list(alive)
    while stack:
        for node in back[stack.pop()] - alive:
            alive.add(node)
            stack.append(node)
    for node in alive:
        targets = {*body.shift[node], *(t for _, t in body.calls[node])} & alive
        degree[node] = len(targets)
    # Nodes in cycles are never ready here; each of them is kept as it is.
    same: dict[tuple[object, ...], int] = {}
    into = list(range(n))

    def edges_of(node: int) -> tuple[dict[int, int], set[tuple[int, int]]]:
        shift: dict[int, int] = {}
        for target, mask in body.shift[node].items():
            if target in alive:
                shift[into[target]] = shift.get(into[target], 0) | mask
        return shift, {(rule, into[t]) for rule, t in body.calls[node] if t in alive}

    ready = [node for node in alive if degree[node] == 0]
    for node in ready:
        shift, calls = edges_of(node)
        key = (body.final[node], frozenset(shift.items()), frozenset(calls))
        into[node] = same.setdefault(key, node) if node else node
        for before in back[node] & alive:
            degree[before] -= 1
            if degree[before] == 0:
                ready.append(before)
    out = Body()
    number = {0: 0}
    queue = [0]
    for node in queue:
        here = number[node]
        out.final[here] = body.final[node]
        shift, calls = edges_of(node)
        for target in sorted({*shift, *(t for _, t in calls)}):
            if target not in number:
                number[target] = out.node()
                queue.append(target)
        out.shift[here] = {number[t]: mask for t, mask in shift.items()}
        out.calls[here] = {(rule, number[t]) for rule, t in calls}
    return out


def nullable(bodies: Iterable[Body]) -> set[int]:
    """Rules that derive the empty text."""
    bodies = list(bodies)
    found: set[int] = set()
    while True:
        more = {
            rule for rule, body in enumerate(bodies) if rule not in found and _empty(body, found)
        }
        if not more:
            return found
        found |= more


def _empty(body: Body, empty_rules: set[int]) -> bool:
    seen, stack = {0}, [0]
    while stack:
        node = stack.pop()
        if body.final[node]:
            return True
        passed = {t for rule, t in body.calls[node] if rule in empty_rules}
        for target in (body.silent[node] | passed) - seen:
            seen.add(target)
            stack.append(target)
    return False


def without_empty(bodies: list[Body]) -> tuple[list[Body], set[int]]:
    """Bodies of the rules' non-empty texts, and the rules that had the empty one as well."""
    empty_rules = nullable(bodies)
    out = []
    for body in bodies:
        for node in range(len(body)):
            body.silent[node] |= {t for rule, t in body.calls[node] if rule in empty_rules}
        closed = without_silent(body)
        if closed.final[0]:
            closed = _start_not_final(closed)
        out.append(closed)
    return out, empty_rules


def _start_not_final(body: Body) -> Body:
    """The same texts but the empty one."""
    entered = any(0 in edges for edges in body.shift) or any(
        target == 0 for calls in body.calls for _, target in calls
    )
    if not entered:
        body.final[0] = False
        return _merged(body)
    out = Body()
    first = out.copy_of(body, 0)
    for node in range(len(body)):
        out.silent[first + node].clear()
        out.final[first + node] = body.final[node]
    out.shift[0] = dict(out.shift[first])
    out.calls[0] = set(out.calls[first])
    return _merged(out)


def unroll(rule: int, body: Body, *, first: bool) -> Body:
    """Calls of the rule by itself as jumps: those that come last, and those that come first.

    ``first`` false leaves a rule alone that calls itself first only: an LR parser does that without
    a stack that grows, and has not to decide early whether the repetition goes on.
    """
    if rule not in body.called():
        return body
    last = any(r == rule and body.final[t] for calls in body.calls[1:] for r, t in calls)
    if not first and not last:
        return body
    n = len(body)
    begins = {t for r, t in body.calls[0] if r == rule}
    body.calls[0] = {(r, t) for r, t in body.calls[0] if r != rule}
    out = Body()
    base = out.copy_of(body, 0)
    for node in range(n):
        out.silent[base + node].clear()
        out.final[base + node] = body.final[node]
    out.silent[0].add(base)
    middle: dict[int, int] = {}
    queue = list(range(base, base + n))
    for node in queue:
        for r, target in list(out.calls[node]):
            if r != rule or not out.final[target]:
                continue
            out.calls[node].discard((r, target))
            out.silent[node].add(base)
            if body.shift[target - base] or body.calls[target - base]:
                # The call may also be followed by something: a copy of the node that cannot end.
                if target not in middle:
                    copy = middle[target] = out.node()
                    out.shift[copy] = dict(out.shift[target])
                    out.calls[copy] = {(r, base + t) for r, t in body.calls[target - base]}
                    queue.append(copy)
                out.calls[node].add((r, middle[target]))
    for node in range(base, base + n):
        if out.final[node]:
            out.silent[node] |= {base + t for t in begins}
    body.calls[0] |= {(rule, t) for t in begins}  # as it was
    return without_silent(out)


def _is_regular(rule: int, body: Body) -> bool:
    """Are all calls of the rule by itself such that jumps can take their place?"""
    return not any(r == rule for calls in body.calls[1:] for r, _ in calls)


def simplify(bodies: list[Body], start: int, *, copies: int, most: int) -> None:
    """Take recursion out of the bodies, and copy rules into their callers, in place.

    ``copies``: how many edges the copies of one rule may add; ``most``: of all together.
    """
    uses = [0] * len(bodies)
    for body in bodies:
        for calls in body.calls:
            for rule, _ in calls:
                uses[rule] += 1
    # Callees first, so that most rules are copied once, in their final form.
    for rule in _callees_first(bodies):
        body = unroll(rule, bodies[rule], first=False)
        chosen = {
            called: unroll(called, bodies[called], first=True)
            for called in body.called() - {rule, start}
            if _is_regular(called, bodies[called])
            and (uses[called] - 1) * bodies[called].size <= copies
            and bodies[called].size <= MAX_CALLEE
        }
        if chosen:
            body = unroll(rule, without_silent(_inlined(body, chosen)), first=False)
        bodies[rule] = body
    # What is left calls each other in circles, or is large: the cheapest goes first.
    alive = {start}
    queue = [start]
    for rule in queue:
        more = bodies[rule].called() - alive
        alive |= more
        queue += sorted(more)
    for rule in range(len(bodies)):
        if rule not in alive:
            bodies[rule] = Body()
    callers: dict[int, dict[int, int]] = {rule: {} for rule in alive}
    sizes = {rule: bodies[rule].size for rule in alive}

    def count(caller: int, sign: int) -> None:
        for rule, _ in {pair for calls in bodies[caller].calls for pair in calls}:
            left = callers[rule].get(caller, 0) + sign
            if left:
                callers[rule][caller] = left
            else:
                del callers[rule][caller]

    for caller in alive:
        count(caller, 1)
    waiting = alive - {start}
    total = sum(sizes.values())
    while True:
        costs = sorted(
            ((sum(n for c, n in callers[rule].items() if c != rule) - 1) * sizes[rule], rule)
            for rule in waiting
            if _is_regular(rule, bodies[rule])
        )
        # Several at once, none of which calls another.
        together: dict[int, Body] = {}
        for cost, rule in costs:
            if cost > copies or total + cost > most:
                break
            others = (callers[rule].keys() | bodies[rule].called()) - {rule}
            if not others & together.keys():
                together[rule] = unroll(rule, bodies[rule], first=True)
                total += max(cost, 0)
        if not together:
            return
        waiting -= together.keys()
        for rule in together:
            count(rule, -1)
        for caller in sorted({c for rule in together for c in callers[rule]}):
            count(caller, -1)
            body = without_silent(_inlined(bodies[caller], together))
            bodies[caller] = unroll(caller, body, first=False)
            sizes[caller] = bodies[caller].size
            count(caller, 1)
        for rule in together:
            bodies[rule] = Body()
            sizes[rule] = 0
        total = sum(sizes.values())


def _callees_first(bodies: list[Body]) -> list[int]:
    """All rules, each after those that it calls as far as calls do not go round."""
    order: list[int] = []
    seen: set[int] = set()
    for root in range(len(bodies)):
        stack = [(root, False)]
        while stack:
            rule, done = stack.pop()
            if done:
                order.append(rule)
            elif rule not in seen:
                seen.add(rule)
                stack.append((rule, True))
                stack += [(called, False) for called in sorted(bodies[rule].called() - seen)]
    return order


def _inlined(body: Body, rules: Mapping[int, Body]) -> Body:
    """``body`` with copies of the rules in place of calls of them."""
    copies: dict[tuple[int, int], int] = {}
    for node in range(len(body)):
        for rule, target in sorted(body.calls[node]):
            if rule in rules:
                body.calls[node].discard((rule, target))
                if (rule, target) not in copies:
                    copies[rule, target] = body.copy_of(rules[rule], target)
                body.silent[node].add(copies[rule, target])
    return body
