"""Whole grammars from other projects: each is read, or refused for a reason that holds."""

from __future__ import annotations

import pytest

from structgen.errors import GrammarSyntaxError
from structgen.grammar import Grammar, read_ebnf, read_lark
from tests.shared_data import shared_data

# What cannot be read, and why.
REFUSED = {
    "lark/lark-parser/common.lark": "no rule start",  # a library of terminals
    "lark/lark-parser/unicode.lark": "no rule start",
    "lark/outlines/common.lark": "no rule start",
    "lark/lark-parser/python.lark": "only declared",  # blocks are told apart by indentation
    "lark/syncode/python.lark": "only declared",
}
STARTS = {"lark/lark-parser/python.lark": "file_input"}
COUNTS = {"ebnf": (21, 0), "gbnf": (10, 0), "lark": (17, 5)}


def read(folder: str, name: str) -> Grammar:
    path = shared_data("grammars") / name
    text = path.read_text(encoding="utf-8")
    if folder == "lark":
        return read_lark(text, STARTS.get(name, "start"), base=path.parent)
    return read_ebnf(text)


@pytest.mark.parametrize("folder", ["ebnf", "gbnf", "lark"])
def test_grammars_in_the_wild(folder: str) -> None:
    root = shared_data("grammars")
    read_in, refused = 0, 0
    print(f"\n{'grammar':62} {'rules':>6} {'terminals':>9}")
    for path in sorted((root / folder).rglob(f"*.{folder}")):
        name = str(path.relative_to(root))
        if name in REFUSED:
            with pytest.raises(GrammarSyntaxError, match=REFUSED[name]) as caught:
                read(folder, name)
            print(f"{name:62} {str(caught.value).splitlines()[0]}")
            refused += 1
            continue
        grammar = read(folder, name)
        grammar.verify()
        print(f"{name:62} {len(grammar.rules):6} {len(grammar.terminals):9}")
        read_in += 1
    assert (read_in, refused) == COUNTS[folder]


def test_expressions_of_python_can_be_read_on_their_own() -> None:
    path = shared_data("grammars", "lark", "lark-parser", "python.lark")
    grammar = read_lark(path.read_text(encoding="utf-8"), "eval_input")
    grammar.verify()
    assert len(grammar.rules) > 60
