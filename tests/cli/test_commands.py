"""The commands: what they print, where, and how they exit."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from jsonschema import validate

import structgen

SCHEMA = {
    "type": "object",
    "properties": {"on": {"type": "boolean"}, "color": {"enum": ["grün", "red"]}},
    "required": ["on", "color"],
    "additionalProperties": False,
}
UNSATISFIABLE = '{"type": "integer", "minimum": 2, "maximum": 1}'


def test_generate_prints_json_and_nothing_else(run, write, model):
    schema = write("s.json", json.dumps(SCHEMA))
    result = run("generate", "--model", model, "--schema", schema, "--seed", "1", "a prompt")
    assert result.code == 0, result.err
    validate(json.loads(result.out), SCHEMA)
    assert result.err == ""
    again = run("generate", "--model", model, "--schema", schema, "--seed", "1", "a prompt")
    assert again.out == result.out


@pytest.mark.parametrize("arguments", [("-",), ()])
def test_the_prompt_may_come_from_stdin(run, model, arguments):
    options = ("generate", "--model", model, "--temperature", "0", "--max-tokens", "8")
    assert run(*options, *arguments, stdin="the cat").out == run(*options, "the cat").out


def test_a_chat_message_goes_through_the_template(run, model):
    options = ("generate", "--model", model, "--temperature", "0", "--max-tokens", "8")
    chat = run(*options, "--chat", "hi")
    assert chat.code == 0
    assert chat.out == run(*options, "user: hi\nassistant:").out


def test_generate_with_other_constraints(run, model):
    options = ("generate", "--model", model, "--whitespace", "compact", "x")
    choices = run(*options, "--choice", "yes", "--choice", "no", "-n", "3")
    assert choices.code == 0
    assert len(choices.out.splitlines()) == 3
    assert set(choices.out.split()) <= {"yes", "no"}
    assert run(*options, "--regex", "[ab]{3}").out.strip("ab") == "\n"


def test_minimal_escapes(run, write, model):
    schema = write("s.json", json.dumps({"const": 'a/"é\n\x01'}))
    options = ("generate", "--model", model, "--schema", schema, "x", "--escapes")
    assert run(*options, "minimal").out == '"a/\\"é\\n\\u0001"\n'
    wrong = run(*options, "none")
    assert wrong.code == 2
    assert "escapes must be 'any' or 'minimal'" in wrong.err


def test_a_text_that_was_cut_is_reported(run, write, model):
    schema = write("s.json", json.dumps({"const": "long " * 20}))
    result = run("generate", "--model", model, "--schema", schema, "--max-tokens", "3", "x")
    assert result.code == 1
    assert "incomplete: it was cut after 3 tokens" in result.err
    assert result.out.startswith('"')


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.json", None, "No such file"),
        ("bad.json", '{"a": }', "not valid JSON: Expecting value at line 1, column 7"),
        ("bytes.json", b"\xff\xfe\x00", "not UTF-8"),
        ("list.json", "[]", "an object or a boolean"),
        ("deep.json", '{"items":' * 50_000, "nested too deeply"),
        ("none.json", UNSATISFIABLE, "no value satisfies the schema"),
        ("wrong.json", '{"type": "nonsense"}', "nonsense"),
    ],
)
@pytest.mark.parametrize("command", ["generate", "check"])
def test_bad_schemas(run, write, tmp_path, model, command, name, content, message):
    path = str(tmp_path / name) if content is None else write(name, content)
    if command == "generate":
        result = run("generate", "--model", model, "--schema", path, "x")
        assert result.err.startswith("error: ")
        assert result.out == ""
        said = result.err
    else:
        result = run("grammar", "check", "--tokenizer", model, path)
        said = result.out
    assert result.code == 2
    assert message in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--model", "/no/such/place", "x"), "there is no model directory /no/such/place"),
        (("--device", "nonsense", "x"), "device nonsense cannot be used"),
        (("--temperature", "-1", "x"), "temperature must be"),
        (("--max-tokens", "0", "x"), "max_tokens must be"),
        (("--regex", "(", "x"), "("),
        (("--regex", "a", "--json", "x"), "one constraint at a time"),
        (("--lark", "/no/such/file", "x"), "cannot read /no/such/file"),
        (("",), "the prompt is empty"),
        (("--nonsense", "x"), "No such option"),
        (("--max-tokens", "many", "x"), "Invalid value"),
    ],
)
def test_bad_arguments(run, model, arguments, message):
    if "--model" not in arguments:
        arguments = ("--model", model, *arguments)
    result = run("generate", *arguments)
    assert result.code == 2
    assert message in result.err
    assert result.out == ""


def test_a_directory_that_is_no_model(run, tmp_path):
    result = run("generate", "--model", str(tmp_path), "x")
    assert result.code == 2
    assert result.err.startswith(f"error: cannot load the model '{tmp_path}'")


def test_check_prints_lines_or_json(run, write, model):
    good, bad = write("good.json", json.dumps(SCHEMA)), write("bad.json", UNSATISFIABLE)
    result = run("grammar", "check", "--tokenizer", model, good)
    assert result.code == 0
    header, line = (line.split("\t") for line in result.out.splitlines())
    report = dict(zip(header, line, strict=True))
    assert (report["file"], report["ok"]) == (good, "yes")
    assert int(report["states"]) > 0
    assert int(report["bytes"]) > 0
    result = run("grammar", "check", "--tokenizer", model, "--json", good, bad)
    assert result.code == 2
    first, second = json.loads(result.out)
    assert first["ok"]
    assert first["seconds"] > 0
    assert not second["ok"]
    assert second["error"]


def test_a_terminal_gets_a_drawn_table(run, write, model, monkeypatch):
    schema = write("[s].json", json.dumps(SCHEMA))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    out = run("grammar", "check", "--tokenizer", model, schema).out
    assert "━" in out
    assert "[s].json" in out


def test_check_of_an_unknown_kind(run, write, model):
    result = run("grammar", "check", "--tokenizer", model, write("g.txt", "x"))
    assert result.code == 2
    assert "unknown kind of grammar" in result.out


def test_grammar_test(run, write):
    schema = write("s.json", json.dumps(SCHEMA))
    right = write("right.txt", '{"on": true, "color": "grün"}')
    wrong = write("wrong.txt", '{"on": 1')
    accept = ("--accept", '{"on":false,"color":"red"}', "--accept-file", right)
    reject = ("--reject", '{"on":', "--reject", "[]", "--reject-file", wrong)
    result = run("grammar", "test", schema, *accept, *reject)
    assert result.code == 0, result.out
    assert result.out.count("\nok\t") == 5
    result = run("grammar", "test", schema, "--accept", '{"on":tru', "--reject", "[]")
    assert result.code == 1
    assert "FAIL\taccept\t'{\"on\":tru'\tincomplete" in result.out
    assert "refused at byte 0" in result.out
    assert "1 of 2 cases failed" in result.err


def test_grammar_test_without_cases(run, write):
    result = run("grammar", "test", write("s.json", "true"))
    assert result.code == 2
    assert "nothing to test" in result.err


def test_help_and_version(run):
    assert run("--version").out == f"structgen {structgen.__version__}\n"
    for arguments in ((), ("--help",), ("generate", "--help"), ("grammar", "check", "--help")):
        result = run(*arguments)
        assert result.code == 0
        assert "Usage" in result.out
    assert run("nonsense").code == 2


def test_serve_serves(run, model, monkeypatch):
    import uvicorn

    seen = {}
    monkeypatch.setattr(uvicorn, "run", lambda app, **options: seen.update(app=app, **options))
    assert run("serve", "--model", model, "--port", "1234").code == 0
    assert (seen["host"], seen["port"]) == ("127.0.0.1", 1234)
    assert {"/v1/chat/completions", "/health"} <= {
        getattr(r, "path", "") for r in seen["app"].routes
    }
    assert run("serve", "--port", "99999").code == 2


def command(*arguments: str, code: str = "from structgen.cli import main; main()"):
    return [sys.executable, "-c", code, *arguments]


def test_help_does_not_load_torch():
    code = (
        "import sys\nfrom structgen.cli import main\ntry: main()\nexcept SystemExit: pass\n"
        "assert not {'torch', 'transformers', 'numba', 'fastapi'} & set(sys.modules)"
    )
    subprocess.run(command("--help", code=code), check=True, stdout=subprocess.DEVNULL)


def test_a_reader_that_leaves_early_is_no_failure():
    code = (
        "import sys\nfrom structgen.cli import app, main\n"
        "app.app.command('many')(lambda: [print('x' * 100) for _ in range(10000)] and None)\nmain()"
    )
    process = subprocess.Popen(
        command("many", code=code),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b""
    process.wait(timeout=20)


def test_warmup_says_that_it_is_done(run):
    result = run("warmup")
    assert result.code == 0, result.err
    assert result.out.startswith("ready: ")


def test_warmup_says_that_nothing_can_be_kept(run, monkeypatch):
    from structgen import jit

    monkeypatch.setattr(jit, "missing", lambda: ["some.kernel"])
    monkeypatch.setattr(jit, "cache_folder", lambda: None)
    result = run("warmup")
    assert result.code == 1
    assert "NUMBA_CACHE_DIR" in result.err


def test_warmup_shows_a_bar_in_a_terminal(run, monkeypatch):
    from structgen import jit, warmup

    class Dispatcher:
        @staticmethod
        def py_func():
            """Stands for a kernel."""

    name = jit._name_of(Dispatcher)

    def compile_one():
        listener = jit._listener
        listener.on_start(type("Event", (), {"data": {"dispatcher": Dispatcher}}))
        monkeypatch.setattr(jit, "missing", list)

    monkeypatch.setattr(jit, "missing", lambda: [name])
    monkeypatch.setattr(jit, "_listener", jit._listener)
    monkeypatch.setattr(warmup, "load_kernels", compile_one)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    result = run("warmup")
    assert result.code == 0
    assert result.out == "ready: 1 kernels compiled in 0 s\n"
    assert "1/1" in result.err
