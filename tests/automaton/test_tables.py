"""The tables keep their invariants in every grammar, built to the end; dumps are readable."""

from __future__ import annotations

import random
import re
from typing import Any

import numpy as np
import pytest
from masks.schemas import SCHEMAS
from masks.walks import sampled_schemas

import structgen as sg
from structgen.automaton import Automaton
from structgen.automaton.step import INHERIT
from structgen.automaton.tables import move
from structgen.schema.library import Library

MOST = 30_000  # states to build of one grammar


def compiled(
    schema: Any, whitespace: str = "flexible"
) -> tuple[Automaton, int, sg.CompiledGrammar]:
    """A schema's automaton, as far as it is built, its start, and the owner that can build it."""
    compiler = sg.Compiler(sg.Vocabulary.byte_vocabulary(), cache_bytes=0)
    grammar = compiler.compile_json_schema(schema, whitespace=whitespace)
    return grammar.automaton, grammar.start, grammar


def build_reachable(automaton: Automaton, start: int) -> None:
    """Build what a text may enter, like :meth:`Automaton.build_all` does with all there is."""
    waiting, seen, points = [start], {start}, set()
    while waiting and len(seen) < MOST:
        q = waiting.pop()
        automaton.build(q)
        base = int(automaton.states[q, 1])
        last = base + int(automaton.maps[automaton.states[q, 0]].max())
        for target, argument, _ in automaton.edges[base : last + 1].tolist():
            follow = [target] if target >= 0 else []
            if target >= 0 and argument >= 0 and argument & ~INHERIT not in points:
                points.add(argument & ~INHERIT)
                first, size, _ = automaton.returns[argument & ~INHERIT].tolist()
                follow += automaton.gotos[first : first + size, 0].tolist()
            for t in follow:
                if t >= 0 and t not in seen:
                    seen.add(t)
                    waiting.append(t)


WHITESPACE = ["flexible", "compact", " ?\\n?"]


@pytest.mark.parametrize("whitespace", WHITESPACE)
def test_the_library(whitespace: str) -> None:
    library = Library(whitespace, 20)
    library.automaton.verify()
    assert not any(not library.automaton.is_built(q) for q in range(library.automaton.n_states))


@pytest.mark.parametrize("whitespace", WHITESPACE)
@pytest.mark.parametrize("name", list(SCHEMAS))
def test_hard_schemas(name: str, whitespace: str) -> None:
    automaton, start, _grammar = compiled(SCHEMAS[name], whitespace)
    library = Library(whitespace, 20).automaton
    automaton.verify()
    build_reachable(automaton, start)
    automaton.verify()
    for table in ("states", "maps", "edges", "returns", "gotos"):
        n = getattr(library, "n_" + table)
        assert (getattr(automaton, table)[:n] == getattr(library, table)[:n]).all(), table


def test_real_schemas() -> None:
    built = 0
    for row in sampled_schemas(50, 3):
        try:
            automaton, start, _grammar = compiled(row["schema"])
        except (sg.SchemaError, sg.LimitExceeded):
            continue
        build_reachable(automaton, start)
        automaton.verify()
        built += 1
    assert built > 35


def test_build_all() -> None:
    for name in ("recursive ref", "optional everywhere", "enum", "formats", "prefix and items"):
        automaton, _, _grammar = compiled(SCHEMAS[name])
        automaton.build_all()
        automaton.verify()
        assert all(automaton.is_built(q) for q in range(automaton.n_states))


def test_dump() -> None:
    compiler = sg.Compiler(sg.Vocabulary.byte_vocabulary())
    grammar = compiler.compile_json_schema(
        {"type": "array", "items": {"enum": ["é", True]}, "minItems": 2, "maxItems": 3}
    )
    matcher = grammar.matcher()
    assert "not built yet" in grammar.dump()
    assert matcher.accept_bytes('["é",true,"\\u00e9"]'.encode())
    text = grammar.dump()
    assert re.search(r"^state \d+$", text, re.M)
    assert re.search(r"^  \[ +push \d+ \(back to \d+\), go to \d+$", text, re.M)
    assert re.search(r"\\xc3", text) and re.search(r"v \+= 1|\[0 <= v <= 2\]", text)
    assert re.search(r"final 0$", text, re.M)
    assert all(len(line) < 200 for line in text.splitlines())
    for number in re.findall(r"go to (\d+)", text):
        assert f"state {number}" in text


def test_verify_finds_what_is_broken() -> None:
    def fresh() -> Automaton:
        automaton = Automaton()
        end = automaton.reserve_state()
        automaton.set_final(end, 0)
        start = automaton.reserve_state()
        automaton.set_bytes(start, [(b"ab", move(end))])
        automaton.verify()
        return automaton

    automaton = fresh()
    automaton.edges[automaton.states[1, 1] + 1, 0] = 99
    with pytest.raises(ValueError, match="does not exist"):
        automaton.verify()
    automaton = fresh()
    automaton.states[1, 0] = 50
    with pytest.raises(ValueError, match="class map"):
        automaton.verify()
    automaton = fresh()
    automaton.states[1, 2:4] = (5, 4)
    with pytest.raises(ValueError, match="counter"):
        automaton.verify()
    automaton = fresh()
    automaton.set_bytes(automaton.reserve_state(), [])
    with pytest.raises(ValueError, match="dead end"):
        automaton.verify()


@pytest.mark.parametrize("name", list(SCHEMAS))
def test_no_dead_ends(name: str) -> None:
    """From any configuration that random bytes reach, some byte or the end may come."""
    compiler = sg.Compiler(sg.Vocabulary.byte_vocabulary(), cache_bytes=0)
    grammar = compiler.compile_json_schema(SCHEMAS[name])
    rng = random.Random(name)
    mask = sg.allocate_bitmask(1, 257)
    for _ in range(10):
        matcher = grammar.matcher()
        for _ in range(60):
            matcher.fill_bitmask(mask, 0)
            (allowed,) = np.nonzero(np.unpackbits(mask[0].view(np.uint8), bitorder="little"))
            assert len(allowed)
            # Rare bytes are where few have been.
            token = int(allowed[0] if rng.random() < 0.2 else rng.choice(allowed))
            assert matcher.accept_token(token)
            if token == 256:
                break
