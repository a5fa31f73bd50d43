"""``structgen grammar test`` with files of cases."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest

SUMS = 'start: NUMBER ("+" NUMBER)*\nNUMBER: /[0-9]+/\n%ignore " "'


def cases(write, **fields):
    return write("cases.json", json.dumps(fields))


def test_a_file_of_cases(run, write):
    write("sums.lark", SUMS)
    path = cases(
        write,
        grammar="sums.lark",
        accept=["1", {"text": "1 + 2", "name": "a sum"}, {"file": "long.txt"}],
        reject=["+", "1 2"],
        prefix=["1+"],
    )
    write("long.txt", "1+" * 50 + "1")
    result = run("grammar", "test", path)
    assert result.code == 0, result.out
    rows = [line.split("\t") for line in result.out.splitlines()]
    assert [row[0] for row in rows] == ["result"] + ["ok"] * 6
    assert [row[2] for row in rows[1:]] == ["'1'", "a sum", "long.txt", "'+'", "'1 2'", "'1+'"]
    assert rows[4][3] == "refused at byte 0, after '': expected NUMBER [0-9]"


def test_failures_are_counted(run, write):
    write("sums.lark", SUMS)
    path = cases(write, grammar="sums.lark", accept=["1", "x"], reject=["1+"], prefix=["1", "*"])
    result = run("grammar", "test", path)
    assert result.code == 1
    assert "3 of 5 cases failed" in result.err
    assert result.out.count("\nFAIL\t") == 3
    result = run("grammar", "test", "--json", path)
    assert result.code == 1
    assert [case["right"] for case in json.loads(result.out)] == [True, False, True, False, False]


@pytest.mark.parametrize(
    ("field", "grammar", "text"),
    [
        ("lark", SUMS, "1+2"),
        ("ebnf", 'root ::= "a"+', "aa"),
        ("schema", {"type": "integer"}, "12"),
        ("regex", "[ab]+", "ab"),
        (
            "structural_tag",
            {"type": "structural_tag", "format": {"type": "const_string", "value": "a"}},
            "a",
        ),
    ],
)
def test_a_grammar_in_the_file(run, write, field, grammar, text):
    path = cases(write, **{field: grammar}, accept=[text], reject=["?"])
    assert run("grammar", "test", path).code == 0


def test_toml_and_the_grammar_beside_it(run, write):
    write("sums.lark", SUMS)
    path = write("sums.toml", 'accept = ["1+1"]\nreject = ["""\n+"""]\n')
    assert run("grammar", "test", path).code == 0
    path = write("sums.examples.json", json.dumps({"accept": ["1+1"], "prefix": [""]}))
    assert run("grammar", "test", path).code == 0
    other = write("other.toml", 'accept = ["1+1"]\n')
    result = run("grammar", "test", other)
    assert result.code == 2
    assert "does not say which grammar it is about" in result.err
    assert run("grammar", "test", "--grammar", write("s.lark", SUMS), other).code == 0


def test_the_examples_of_a_builtin_grammar(run):
    result = run("grammar", "test", "builtin:arithmetic", "builtin:csv")
    assert result.code == 0, result.out
    assert "builtin:csv" in result.out.splitlines()[-1]


def test_junit(run, write, tmp_path):
    write("sums.lark", SUMS)
    path = cases(write, grammar="sums.lark", accept=["1", "\x00<&\ufffe"], reject=["é"])
    out = tmp_path / "out.xml"
    assert run("grammar", "test", path, "--junit", str(out)).code == 1
    root = ElementTree.parse(out).getroot()
    assert (root.get("tests"), root.get("failures")) == ("3", "1")
    (suite,) = root
    assert suite.get("name") == path
    assert next(case.get("name") for case in suite) == "accept '1'"
    (failure,) = root.iter("failure")
    assert failure.get("message", "").startswith("expected accept: refused at byte 0")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("c.examples.json", "{", "is not valid JSON: Expecting property name"),
        ("c.toml", "accept = [", "is not valid TOML"),
        ("c.examples.json", "[]", "a file of cases is an object"),
        ("c.toml", "accept = 1", "accept is a list of cases"),
        ("c.toml", "accept = [1]", "accept case 1 is a text, or an object"),
        ("c.toml", 'accept = [{name = "x"}]', "needs a text or a file"),
        ("c.toml", 'accept = [{file = "nope"}]', "cannot read"),
        ("c.toml", 'accept = ["a"]\naccpet = []', "unknown field 'accpet'"),
        ("c.toml", 'accept = ["a"]\ngrammar = "nope.lark"', "cannot read"),
        ("c.toml", 'accept = ["a"]\ngrammar = "builtin:nope"', "no built-in grammar 'nope'"),
        ("c.toml", 'accept = ["a"]\nregex = "a"\nlark = "b"', "one grammar, not lark and regex"),
        ("c.toml", 'accept = ["a"]\ngrammar = "g.x"\nkind = "y"', "kind 'y' is not one of"),
        ("c.toml", 'accept = ["a"]\nlark = "start: b"', "c.toml (lark): the rule b is used but"),
        ("c.toml", 'regex = "a"', "has no cases"),
    ],
)
def test_wrong_files(run, write, name, content, message):
    result = run("grammar", "test", write(name, content))
    assert result.code == 2
    assert message in result.err
    assert result.out == ""


def test_special_tokens_by_name(run, write):
    path = cases(write, lark='start: "a" <|end|>', accept=["a<|end|>"], reject=["a<|en"])
    result = run("grammar", "test", path)
    assert result.code == 0, result.out + result.err


def test_texts_in_options_are_about_one_grammar(run, write):
    path = write("g.lark", SUMS)
    result = run("grammar", "test", path, path, "--accept", "1")
    assert result.code == 2
    assert run("grammar", "test", path, "--prefix", "1+", "--accept", "1").code == 0
