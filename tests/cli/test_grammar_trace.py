"""``structgen grammar trace``, ``sample`` and ``bench``."""

from __future__ import annotations

import json
import re

import pytest

SUMS = 'start: NUMBER ("+" NUMBER | "-" start)*\nNUMBER: /[0-9]+/\n%ignore " "'


def trace(run, model, text, grammar, *options):
    return run("grammar", "trace", text, "-g", grammar, "--tokenizer", model, *options)


def test_a_text_of_the_grammar(run, write, model):
    result = trace(run, model, "1 + 23", write("g.lark", SUMS))
    assert result.code == 0, result.err
    header, *rows = (line.split("\t") for line in result.out.splitlines())
    assert header == ["token", "id", "state", "stacks", "depth", "allowed", "forbidden", "fits"]
    assert "".join(json.loads(row[0]) for row in rows[:-1]) == "1 + 23"
    assert {row[-1] for row in rows[:-1]} == {"yes"}
    size = int(rows[0][5]) + int(rows[0][6])
    assert size > 256
    assert rows[-1][0] == "(the end)"
    assert rows[-1][-1] == "complete"
    assert all(int(row[5]) + int(row[6]) == size for row in rows)


def test_where_a_text_fails(run, write, model):
    result = trace(run, model, "1 +\n12 * 3", write("g.lark", SUMS.replace('" "', r"/[ \n]/")))
    assert result.code == 1
    assert result.out.splitlines()[-1].split("\t")[-1] == "NO"
    assert result.err == (
        "unexpected '*' (line 2, column 4)\n  12 * 3\n     ^\n"
        'expected:\n  - "+"\n  - "-"\n  - the end of the text\n'
    )


def test_an_incomplete_text(run, write, model):
    result = trace(run, model, "1 +", write("g.lark", SUMS))
    assert result.code == 1
    assert result.out.splitlines()[-1].split("\t")[-1] == "INCOMPLETE"
    assert "the text is incomplete (line 1, column 4)\n  1 +\n     ^\n" in result.err
    assert "NUMBER [0-9]" in result.err


def test_a_schema_expects_characters(run, write, model):
    schema = write("s.json", json.dumps({"enum": ["red", "rot"]}))
    result = trace(run, model, '"rat"', schema, "--json")
    assert result.code == 1
    report = json.loads(result.out)
    assert not report["accepted"]
    assert report["failure"]["position"] == 2
    assert {"terminal": None, "characters": "[\\\\eo]"} in report["failure"]["expected"]
    assert report["steps"][-1]["fits"] is False


def test_several_readings_are_several_stacks(run, write, model):
    grammar = write("g.lark", 'start: "a" start "a" | "b" start "b" | "a" | "b"')
    report = json.loads(trace(run, model, "aaaaa", grammar, "--json").out)
    assert report["accepted"]
    assert max(len(step["states"]) for step in report["steps"]) > 1


def test_where_the_text_comes_from(run, write, model):
    grammar = write("g.lark", SUMS)
    arguments = ("grammar", "trace", "-g", grammar, "--tokenizer", model)
    assert run(*arguments, "-", stdin="1+1").code == 0
    assert run(*arguments, "--file", write("t.txt", "1+1")).code == 0
    for wrong in ((), ("1", "--file", "x")):
        result = run(*arguments, *wrong)
        assert result.code == 2
        assert "one text is traced" in result.err
    result = run("grammar", "trace", "1")
    assert result.code == 2
    assert "a grammar is missing" in result.err


@pytest.mark.parametrize(
    ("name", "grammar", "pattern"),
    [
        ("g.lark", SUMS, r" *\d+( *[-+] *\d+)* *"),
        ("g.gbnf", 'root ::= "(" root ")" | [a-zé]', r"\(*[a-zé]\)*"),
        ("g.regex", "(ab|c){2,9}", "(ab|c){2,9}"),
        ("g.json", '{"type": "array", "items": {"enum": [1, 2]}, "minItems": 9}', r"\[[\s\S]*\]"),
    ],
)
def test_samples(run, write, name, grammar, pattern):
    path = write(name, grammar)
    options = ("grammar", "sample", path, "-n", "8", "--seed", "3", "--length", "20", "--json")
    result = run(*options)
    assert result.code == 0, result.err
    texts = json.loads(result.out)
    assert len(texts) == 8
    assert len(set(texts)) > 1
    assert all(re.fullmatch(pattern, text) for text in texts)
    assert run(*options).out == result.out
    cases = write("cases.json", json.dumps({"grammar": name, "accept": texts}))
    assert run("grammar", "test", cases).code == 0


def test_samples_are_lines(run, write):
    result = run("grammar", "sample", write("g.lark", r'start: "a\nb"'), "-n", "2")
    assert result.out == '"a\\nb"\n"a\\nb"\n'
    assert run("grammar", "sample", write("g.lark", 'start: "a"'), "-n", "0").code == 2


def test_bench(run, write, model):
    path = write("g.lark", SUMS)
    options = ("grammar", "bench", path, "--tokenizer", model, "-n", "3", "--length", "10")
    result = run(*options, "--json", "--no-peers")
    assert result.code == 0, result.err
    report = json.loads(result.out)
    (own,) = report["engines"]
    assert own["engine"] == "structgen"
    assert own["first_mask_ms"] > 0
    assert own["warm_p50_us"] > 0
    assert own["bytes"] > 0
    assert "note" not in own
    result = run(*options)
    assert result.code == 0, result.err
    lines = result.out.splitlines()
    assert lines[0].startswith("engine\tfirst mask ms")
    assert lines[1].startswith("structgen\t")
