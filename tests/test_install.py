"""The package as it is laid out once installed, how it starts, and what it leaves on disk."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import structgen
import structgen.grammars
import structgen.kernels
from structgen import jit, warmup

# What takes long to import.
HEAVY = {
    "fastapi", "hypothesis", "jsonschema", "lark", "numba", "numpy", "pydantic", "rich",
    "tokenizers", "torch", "transformers", "typer",
}  # fmt: skip


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def loaded(code: str) -> set[str]:
    """The top-level modules, and all of structgen's, that a process has loaded after ``code``."""
    end = "\nimport json, sys\nprint(json.dumps([*sys.modules]))"
    done = python(code + end)
    assert done.returncode == 0, done.stderr
    names = json.loads(done.stdout.splitlines()[-1])
    return {n if n.startswith("structgen") else n.partition(".")[0] for n in names}


def test_mapped_packages_shadow_nothing():
    ours = {Path(m.__file__).resolve().parent for m in (structgen.kernels, structgen.grammars)}
    for name in ("kernels", "grammars"):
        spec = importlib.util.find_spec(name)
        assert spec is None or ours.isdisjoint(
            Path(p).resolve() for p in spec.submodule_search_locations or ()
        )


def test_metadata():
    assert metadata.version("structgen") == structgen.__version__
    (script,) = metadata.entry_points(group="console_scripts", name="structgen")
    assert script.value == "structgen.cli:main"
    assert structgen.__file__ is not None
    assert Path(structgen.__file__).with_name("py.typed").exists()


def test_importing_it_imports_nothing_heavy():
    assert not loaded("import structgen") & HEAVY
    assert not loaded("import structgen.cli") & HEAVY


def command(*arguments: str) -> str:
    return f"""
import sys
from structgen.cli import main
sys.argv = ["structgen", *{arguments!r}]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
"""


def test_commands_import_what_they_need(tmp_path):
    assert not loaded(command("--version")) & {"numba", "numpy", "torch", "transformers"}
    schema = tmp_path / "s.json"
    schema.write_text('{"type": "object"}')
    check = loaded(command("grammar", "check", str(schema)))
    assert "structgen.compiler" in check
    assert not check & {"torch", "transformers", "lark", "structgen.grammar"}


def test_a_model_without_constraints_needs_no_compiler():
    llm = structgen.LLM()
    llm.generate(["a", "b"], max_tokens=2, json=[False, False])
    assert llm._compiler is None
    llm.generate("a", max_tokens=2, choice=["c"])
    assert llm._compiler is llm.compiler
    llm.close()


def test_the_engine_alone_does_not_import_numba():
    done = python(
        "import sys, structgen as s; s.LLM, s.apply_bitmask; print('numba' in sys.modules)"
    )
    assert (done.stdout, done.stderr) == ("False\n", "")


# -- compiled kernels -----------------------------------------------------------------------------

COVERAGE = """
from structgen import jit, warmup
warmup.load_kernels()
print(jit.missing())
before = {k.py_func: len(k.overloads) for k in jit._kernels}
import structgen as sg
vocabulary = sg.Vocabulary.byte_vocabulary()
compiler = sg.Compiler(vocabulary)
mask = sg.allocate_bitmask(1, 257)
number = {"type": "number", "minimum": 0.25, "exclusiveMaximum": 7, "multipleOf": 0.5}
text = {"type": "string", "format": "email", "maxLength": 20, "not": {"pattern": "x[0-9]"}}
items = {"type": "array", "items": text, "uniqueItems": True, "contains": {"minLength": 9}}
grammars = [compiler.compile_json_schema(s) for s in (number, text, items)]
grammars.append(compiler.compile_lark('start: A+ | B "x"\\nA: "a"\\nB: "a" "b"?'))
grammars.append(compiler.compile_regex("(ab){2,50000}c"))
for grammar in grammars:
    matcher = grammar.matcher()
    for text in (b"0.5", b'"me@x.org"', b'["me@x.org","me@x.or', b"ab"):
        for byte in text:
            matcher.fill_bitmask(mask, 0)
            if not matcher.accept_token(byte):
                break
        matcher.forced_bytes()
        matcher.is_accepting()
    matcher.copy().fill_bitmask(mask, 0)
    matcher.rollback(1)
print([k.py_func.__name__ for k in jit._kernels if len(k.overloads) != before.get(k.py_func, 0)])
"""


def test_after_warming_up_nothing_is_compiled_or_loaded():
    warmup.load_kernels()
    done = python(COVERAGE)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["[]", "[]"]


KERNEL = """
from structgen.jit import kernel

@kernel
def add_up(values):
    total = 0
    for i in range(len(values)):
        total += values[i]
    return total
"""
USE = """
import sys
sys.path.insert(0, {folder!r})
import numpy as np
from some_kernel import add_up
print(add_up(np.arange(5)), add_up(np.arange(5.0)))
"""
COMPILING = "structgen: compiling array kernels, once on this machine (half a minute)...\n"


@pytest.fixture
def use(tmp_path):
    """Use a small kernel in a process of its own: what was printed, and what was said."""
    (tmp_path / "some_kernel.py").write_text(KERNEL)

    def use(**environment: str) -> tuple[str, str]:
        done = python(USE.format(folder=str(tmp_path)), **environment)
        assert done.returncode == 0, done.stderr
        return done.stdout, done.stderr

    return use


def test_kernels_are_compiled_once(use, tmp_path):
    assert use() == ("10 10.0\n", COMPILING)
    assert use() == ("10 10.0\n", "")
    # Those beside the source serve users who cannot write there; numba would look elsewhere only.
    assert use(NUMBA_CACHE_DIR=str(tmp_path / "elsewhere")) == ("10 10.0\n", "")
    source = tmp_path / "some_kernel.py"
    source.write_text("\n" + KERNEL)
    assert use() == ("10 10.0\n", COMPILING)


@pytest.mark.parametrize("ending", ["nbi", "nbc"])
@pytest.mark.parametrize("damage", [b"garbage", b"\x80\x05X\x06\x00\x00\x00"])
def test_a_damaged_cache_is_compiled_again(use, tmp_path, ending, damage):
    use()
    files = list(tmp_path.rglob(f"*.{ending}"))
    assert files
    for file in files:
        file.write_bytes(damage)
    assert use() == ("10 10.0\n", COMPILING)
    assert use() == ("10 10.0\n", "")


CALLER = """
import sys
sys.path.insert(0, {folder!r})
import numba as nb
import numpy as np
from some_kernel import add_up
values = np.arange(5)
add_up(values)

@nb.njit
def twice(values):
    return 2 * add_up(values)

print(twice(values))
"""


def test_a_kernel_from_the_cache_is_compiled_into_others(use, tmp_path):
    use()
    done = python(CALLER.format(folder=str(tmp_path)))
    assert (done.stdout, done.stderr) == ("20\n", "")


RAISING = """
from structgen.jit import kernel

@kernel
def fill(target, values):
    if len(values) == 9:
        raise ValueError("nine", len(values))
    target[:] = values
"""
RAISE = """
import sys
sys.path.insert(0, {folder!r})
import numpy as np
from raising_kernel import fill
for n in (9, 3):
    try:
        fill(np.zeros(4, np.int64), np.zeros(n, np.int64))
    except ValueError as error:
        print(*error.args)
"""


def test_kernels_from_the_cache_raise_the_same(tmp_path):
    (tmp_path / "raising_kernel.py").write_text(RAISING)
    first, second = (python(RAISE.format(folder=str(tmp_path))) for _ in range(2))
    assert (first.stderr, second.stderr) == (COMPILING, "")
    assert first.stdout.startswith("nine 9\n")
    assert len(first.stdout.splitlines()) == 2
    assert second.stdout == first.stdout


def test_without_a_folder_for_them_kernels_work(monkeypatch):
    def nowhere(_):
        raise RuntimeError("cannot cache function: no locator available")

    monkeypatch.setattr(jit, "_KernelCache", nowhere)
    monkeypatch.setattr(jit, "_kernels", [])

    @jit.kernel
    def double(x):
        return 2 * x

    assert double(21) == 42


WAIT = """
from pathlib import Path
from structgen import jit, warmup
jit.cache_folder = lambda: Path({folder!r})
with warmup._alone():
    print("alone")
"""


def test_one_process_compiles_at_a_time(tmp_path):
    pytest.importorskip("fcntl")
    lock = warmup._lock(tmp_path / "structgen-kernels.lock")
    assert lock is not None
    other = subprocess.Popen(
        [sys.executable, "-c", WAIT.format(folder=str(tmp_path))],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert other.stderr is not None
    assert other.stderr.readline().startswith("structgen: waiting for another process")
    assert other.poll() is None
    lock.close()
    out, _ = other.communicate()
    assert out == "alone\n"


def test_without_a_lock_everyone_compiles(tmp_path, monkeypatch):
    monkeypatch.setattr(jit, "cache_folder", lambda: tmp_path / "missing")
    with warmup._alone():
        pass
    monkeypatch.setattr(jit, "cache_folder", lambda: None)
    with warmup._alone():
        pass
