"""Operators to rules: the same language, no conflicts that the grammar does not have, little."""

from __future__ import annotations

import lark
import pytest

from structgen.errors import GrammarSyntaxError
from structgen.grammar import read_ebnf, read_lark
from structgen.grammar.ir import Grammar, Ref, Repetition, Term
from tests.grammar.recognizer import recognize


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (0, 3), (1, 4), (2, 2), (0, 9), (3, 17), (5, 5), (7, 31), (13, 64)]
)
def test_bounded_repetitions_count(low: int, high: int) -> None:
    grammar = read_ebnf(f'root ::= "a"{{{low},{high}}} "b"')
    grammar.verify()
    counts = [n for n in range(high + 3) if recognize(grammar, "a" * n + "b").accept]
    assert counts == list(range(low, high + 1))


@pytest.mark.parametrize("low", [0, 1, 2, 7])
def test_unbounded_repetitions_count(low: int) -> None:
    grammar = read_ebnf(f'root ::= ("a" | "bb"){{{low},}} "c"')
    grammar.verify()
    assert [n for n in range(12) if recognize(grammar, "bb" * n + "c").accept] == list(
        range(low, 12)
    )


def test_large_repetitions_take_few_rules_and_are_listed() -> None:
    grammar = read_ebnf("root ::= [a-z]{3,1000000}")
    grammar.verify()
    assert len(grammar.rules) < 90
    ((rule, repetition),) = grammar.repetitions.items()
    assert grammar.rules["root"] == ((Ref(rule),),)
    assert repetition == Repetition(Term("[a-z]"), 3, 1000000)


def as_lark(grammar: Grammar) -> str:
    """The rules of a grammar of one-letter terminals, as Lark writes them."""
    number = {name: f"r{i}" for i, name in enumerate(grammar.rules)}
    lines = []
    for name, productions in grammar.rules.items():
        bodies = [
            " ".join(number[s.rule] if isinstance(s, Ref) else s.terminal for s in production)  # type: ignore[union-attr]
            for production in productions
        ]
        lines.append(f"{number[name]}: " + "\n | ".join(bodies))
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    "body",
    [
        '"a"{0,50} "b"',
        '"a"{7,100} "b"',
        '"a"{9,} "b"',
        '("a" "c"){2,37} "b"',
        '("a" "b")? "a" "c"',
        '"a"* "b" | "a" "c"',
        '("a" | "b")* "c"? "d"',
        '("a" ("," "a")*)? "b"',
    ],
)
def test_expansion_adds_no_conflicts(body: str) -> None:
    grammar = read_ebnf(f"root ::= {body}")
    # Lark's LALR generator raises where it finds a reduce/reduce conflict, and logs nothing else;
    # strict mode raises on a shift/reduce conflict too.
    lark.Lark(as_lark(grammar), start="r0", parser="lalr", strict=_has_interegular())


def _has_interegular() -> bool:
    try:
        import interegular  # noqa: F401
    except ImportError:
        return False
    return True


def test_many_optional_parts_stay_linear() -> None:
    parts = " ".join(f'"{chr(97 + i)}"?' for i in range(26))
    grammar = read_ebnf(f"root ::= {parts}")
    grammar.verify()
    assert sum(map(len, grammar.rules.values())) < 100
    assert recognize(grammar, "acegz").accept
    assert not recognize(grammar, "ca").accept


def test_nullable_bodies_of_repetitions_are_not_ambiguous() -> None:
    grammar = read_ebnf('root ::= ("a"? | "b"*)+ "c"{0} ("d"?){3}')
    grammar.verify()
    for text in ("", "ab", "bbad", "ddd"):
        assert recognize(grammar, text).accept
    assert not recognize(grammar, "dddd").accept
    assert not recognize(grammar, "c").accept


def test_what_no_sentence_uses_is_removed_and_said() -> None:
    grammar = read_ebnf('root ::= "a" | loop "b" | []\nloop ::= loop "x"\nother ::= "y"\n')
    grammar.verify()
    assert list(grammar.rules) == ["root"]
    assert list(grammar.terminals) == ['"a"']
    assert "loop" in grammar.warnings[0]
    assert "other" in grammar.warnings[1]


@pytest.mark.parametrize("text", ["root ::= root", 'root ::= a\na ::= "x" root', "root ::= []"])
def test_a_start_without_sentences_is_an_error(text: str) -> None:
    with pytest.raises(GrammarSyntaxError, match="no text follows from the start rule root"):
        read_ebnf(text)


def test_verify_finds_what_is_broken() -> None:
    grammar = read_lark('start: "a" b\nb: "c"')
    grammar.verify()
    grammar.rules["b"] = ((Ref("nowhere"),),)
    with pytest.raises(ValueError, match="nowhere"):
        grammar.verify()
    grammar.rules["b"] = ((Term("nothing"),),)
    with pytest.raises(ValueError, match="terminals"):
        grammar.verify()
    grammar.rules["b"] = ((Ref("b"),),)
    with pytest.raises(ValueError, match="Grammar"):
        grammar.verify()


def test_dump_is_for_reading() -> None:
    text = read_ebnf('root ::= "a" x*\nx ::= [0-9] | "\\n" |\n').dump()
    assert text.splitlines() == [
        "start root (scannerless)",
        'root -> "a" | "a" root#1',
        "root#1 -> x | root#1 x",
        'x -> [0-9] | "\\n" | ε',
        '"a" = "a"',
        "[0-9] = [0-9]",
        '"\\n" = "\\n"',
    ]
