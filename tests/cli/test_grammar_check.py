"""``structgen grammar check``: kinds, errors with their place, warnings."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

TAG = {
    "type": "structural_tag",
    "format": {"type": "tag", "begin": "<a>", "content": {"type": "any_text"}, "end": "</a>"},
}
PALINDROMES = 'start: "a" start "a" | "b" start "b" | "a" | "b"'


def check(run, model, *arguments):
    result = run("grammar", "check", "--tokenizer", model, "--json", *arguments)
    return result, json.loads(result.out)


@pytest.mark.parametrize(
    ("name", "text", "options", "kind"),
    [
        ("g.lark", 'start: "a"+', (), "lark"),
        ("g.gbnf", 'root ::= "a"+', (), "ebnf"),
        ("g.txt", 'root ::= "a"+', ("--kind", "ebnf"), "ebnf"),
        ("g.lark", 'first: "a"+', ("--start", "first"), "lark"),
        ("g.ebnf", 'first ::= "a"+', ("--start", "first"), "ebnf"),
        ("g.json", '{"type": "integer"}', (), "json-schema"),
        ("g.txt", "[ab]+\n", ("--regex",), "regex"),
        ("g.json", json.dumps(TAG), (), "structural-tag"),
        ("g.json", json.dumps(TAG), ("--structural-tag",), "structural-tag"),
    ],
)
def test_kinds(run, write, model, name, text, options, kind):
    result, (report,) = check(run, model, *options, write(name, text))
    assert result.code == 0, report
    assert report["kind"] == kind
    assert report["ok"]
    assert report["states"] > 0
    assert report["bytes"] > 0
    assert report["warnings"] == []


def test_builtin_grammars(run, model):
    result, (report,) = check(run, model, "builtin:arithmetic")
    assert result.code == 0
    assert (report["file"], report["kind"]) == ("builtin:arithmetic", "lark")
    result, (report,) = check(run, model, "builtin:nonsense")
    assert result.code == 2
    assert "no built-in grammar 'nonsense'; there are arithmetic" in report["error"]


def test_a_syntax_error_has_a_place_and_a_caret(run, write, model):
    path = write("g.lark", 'start: "a" item\nitem: "b" nope\n')
    result, (report,) = check(run, model, path)
    assert result.code == 2
    assert (report["line"], report["column"]) == (2, 11)
    result = run("grammar", "check", "--tokenizer", model, path)
    assert result.code == 2
    assert "(line 2, column 11)" in result.out
    assert len(result.out.splitlines()) == 2  # a row is a line, whatever the message
    lines = result.err.splitlines()
    assert lines[1] == '  item: "b" nope'
    assert lines[2] == " " * 12 + "^"


def test_json_that_is_none_has_a_caret(run, write, model):
    result = run("grammar", "check", "--tokenizer", model, write("s.json", '{"type": }'))
    assert result.code == 2
    assert result.err.splitlines()[1:] == ['  {"type": }', "           ^"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("/no/such.lark",), "cannot read /no/such.lark: No such file"),
        (("--regex", "--kind", "lark", "x"), "a grammar is of one kind, not lark and regex"),
        (("--kind", "nonsense", "x"), "Invalid value for '--kind'"),
        ((), "Missing argument"),
    ],
)
def test_wrong_arguments(run, model, arguments, message):
    result = run("grammar", "check", "--tokenizer", model, *arguments)
    assert result.code == 2
    assert message in result.out + result.err


def test_a_grammar_that_is_not_lr1_has_a_warning(run, write, model):
    result, (report,) = check(run, model, write("g.lark", PALINDROMES))
    assert result.code == 0
    (warning,) = report["warnings"]
    assert warning.startswith('not LR(1): after "a" "a", "a" may go on in start or end start')
    result = run("grammar", "check", "--tokenizer", model, write("g.lark", PALINDROMES))
    assert "not LR(1)" in result.out


def test_an_unknown_tokenizer(run, write):
    result = run("grammar", "check", "--tokenizer", "/no/such", write("g.lark", 'start: "a"'))
    assert result.code == 2
    assert "there is no model directory /no/such" in result.err


def test_check_does_not_load_torch(write, model):
    code = (
        "import sys\nfrom structgen.cli import main\nmain.__globals__['sys'].argv[1:] = "
        f"['grammar', 'check', '--tokenizer', {model!r}, {write('g.lark', 'start: NAME')!r}]\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print(sorted({'torch', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stdout


def test_a_grammar_imports_what_lies_beside_it(run, write, model):
    write("words.lark", "WORD: /[a-z]+/\nstart: WORD")
    result, (report,) = check(run, model, write("g.lark", "start: WORD\n%import .words.WORD"))
    assert result.code == 0, report
