"""Tables kept on disk: what is read back is what was computed, or it is computed again."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of
from tiny_model import save_tiny_model

from structgen import Vocabulary, disk_cache
from structgen.automaton.lift import DONE
from structgen.masks.tokens import TokenTables
from structgen.masks.trie import build_trie
from structgen.schema.library import Library
from structgen.vocabulary.directory import read_directory

same_folder = settings(
    deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
numbers = st.one_of(
    arrays_of.arrays(dtype, arrays_of.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5))
    for dtype in (np.uint8, np.int32, np.int64, np.bool_, np.float32)
)


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """The folder of a cache that keeps everything, however fast it was computed."""
    monkeypatch.setenv("STRUCTGEN_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(disk_cache, "MIN_SECONDS", 0)
    return tmp_path / "arrays"


def forbidden():
    raise AssertionError("it was computed again")


def same(left, right) -> bool:
    return len(left) == len(right) and all(
        a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
        for a, b in zip(left, right, strict=True)
    )


def spend(seconds: float) -> None:
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


def test_the_time_to_compile_is_no_reason_to_keep_an_entry(folder, monkeypatch):
    monkeypatch.setattr(disk_cache, "MIN_SECONDS", 0.05)

    def build():
        with disk_cache.uncounted():
            spend(0.06)
        return ()

    disk_cache.load("some", b"", build)
    assert not folder.exists()
    disk_cache.load("some", b"", lambda: spend(0.06) or ())
    assert folder.exists()


@pytest.mark.parametrize("escapes", ["any", "minimal"])
def test_walks_inside_strings_come_back(folder, monkeypatch, escapes):
    library = Library("compact", 0, np.ones(256, np.uint8), escapes=escapes)
    pieces = [*(bytes([b]) for b in range(256)), b"ab", b'a"', b'\\n"', b"\xc3\xa9", b"a" * 9, None]
    vocabulary = Vocabulary(pieces, eos_token_ids=[len(pieces) - 1])
    states = int(library.string_states[DONE]), library.counted_string

    def walks():
        tables = TokenTables(vocabulary)
        return [tables.template(library.automaton, state, library.end) for state in states]

    kept = walks()
    assert len(list(folder.glob("template-*"))) == 2
    monkeypatch.setattr(TokenTables, "_walk", forbidden)
    found = walks()
    monkeypatch.undo()
    monkeypatch.setenv("STRUCTGEN_CACHE_DIR", "")
    for one, two, computed in zip(kept, found, walks(), strict=True):
        assert one.end == two.end == computed.end
        assert same(one[1:], computed[1:])
        assert same(two[1:], computed[1:])


@same_folder
@given(st.lists(numbers, max_size=4), st.binary(max_size=8))
def test_what_was_kept_comes_back(folder, arrays, key):
    key = key + os.urandom(16)
    assert same(disk_cache.load("some", key, lambda: arrays), arrays)
    kept = disk_cache.load("some", key, forbidden)
    assert same(kept, arrays)
    for array in kept:
        assert array.flags.writeable
        assert array.flags.c_contiguous
        assert array.flags.aligned


def test_kinds_keys_and_sources_are_told_apart(folder, monkeypatch):
    for number, (kind, key) in enumerate([("a", b"b"), ("a", b"c"), ("ab", b""), ("b", b"b")]):
        disk_cache.load(kind, key, lambda number=number: [np.array([number])])
    assert disk_cache.load("a", "c", forbidden)[0] == [1]
    assert disk_cache.load("ab", b"", forbidden)[0] == [2]
    monkeypatch.setattr(disk_cache, "_VERSION", b"other sources")
    assert disk_cache.load("a", b"c", lambda: [np.array([9])])[0] == [9]


@same_folder
@given(st.data())
@example(None)
def test_a_damaged_file_is_computed_again(folder, data):
    arrays = [np.arange(50, dtype=np.int32), np.arange(7, dtype=np.uint8)]
    disk_cache.load("some", "key", lambda: arrays)
    [file] = folder.iterdir()
    content = bytearray(file.read_bytes())
    if data is None:
        content = bytearray()
    elif data.draw(st.booleans()):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] ^= data.draw(st.integers(1, 255))
    else:
        del content[data.draw(st.integers(0, len(content) - 1)) :]
        content += data.draw(st.binary(max_size=9))
    file.write_bytes(content)
    assert same(disk_cache.load("some", "key", lambda: arrays), arrays)
    assert same(disk_cache.load("some", "key", forbidden), arrays)


@pytest.mark.parametrize("content", [b"", b"\x80\x04N.", b"structgen array\n", b"\x93NUMPY" * 999])
def test_a_foreign_file_is_no_entry(folder, content):
    disk_cache.load("some", "key", lambda: [np.arange(3)])
    [file] = folder.iterdir()
    file.write_bytes(content)
    assert same(disk_cache.load("some", "key", lambda: [np.arange(4)]), [np.arange(4)])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("kind", ["pipe", "link to a pipe", "folder", "link to nothing", "loop"])
def test_only_files_are_read(folder, kind):
    disk_cache.load("some", "key", lambda: [np.arange(3)])
    [file] = folder.iterdir()
    file.unlink()
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "link to a pipe":
        os.mkfifo(folder / "pipe")
        file.symlink_to(folder / "pipe")
    elif kind == "folder":
        file.mkdir()
    else:
        file.symlink_to(file if kind == "loop" else folder / "nothing")
    assert same(disk_cache.load("some", "key", lambda: [np.arange(4)]), [np.arange(4)])


def test_a_renamed_entry_is_not_taken_for_another(folder):
    disk_cache.load("some", "one", lambda: [np.arange(1)])
    [one] = folder.iterdir()
    disk_cache.load("some", "two", lambda: [np.arange(2)])
    [two] = {*folder.iterdir()} - {one}
    two.write_bytes(one.read_bytes())
    assert len(disk_cache.load("some", "two", lambda: [np.arange(2)])[0]) == 2


def test_objects_are_never_written(folder):
    with pytest.raises(ValueError, match="arrays of numbers"):
        disk_cache.load("some", "key", lambda: [np.array([{}])])
    assert not folder.exists()


def test_what_is_fast_is_not_kept(folder, monkeypatch):
    monkeypatch.setattr(disk_cache, "MIN_SECONDS", 1000)
    disk_cache.load("some", "key", lambda: [np.arange(3)])
    assert not folder.exists()


def test_the_folder(monkeypatch):
    for name in ("STRUCTGEN_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/home/me")
    assert disk_cache.directory() == Path("/home/me/.cache/structgen/arrays")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert disk_cache.directory() == Path("/home/me/.cache/structgen/arrays")
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert disk_cache.directory() == Path("/cache/structgen/arrays")
    monkeypatch.setenv("STRUCTGEN_CACHE_DIR", "~/mine")
    assert disk_cache.directory() == Path("/home/me/mine/arrays")
    monkeypatch.setenv("STRUCTGEN_CACHE_DIR", "")
    assert disk_cache.directory() is None


def test_without_a_folder_everything_is_computed(tmp_path, monkeypatch):
    monkeypatch.setattr(disk_cache, "MIN_SECONDS", 0)
    (tmp_path / "file").write_text("")
    for chosen in ("", str(tmp_path / "file"), "/dev/null/x", "/proc/structgen"):
        monkeypatch.setenv("STRUCTGEN_CACHE_DIR", chosen)
        for number in (1, 2):
            assert disk_cache.load("some", "key", lambda n=number: [np.array([n])])[0] == [number]


def test_a_full_disk_is_no_error(folder, monkeypatch):
    def full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert same(disk_cache.load("some", "key", lambda: [np.arange(3)]), [np.arange(3)])
    assert list(folder.iterdir()) == []


def test_the_longest_unused_go_first(folder, monkeypatch):
    def entry(key):
        return disk_cache.load("some", key, lambda: [np.zeros(10_000, np.uint8)])

    for number, key in enumerate("abcd"):
        before = set(folder.glob("*"))
        entry(key)
        [new] = {*folder.iterdir()} - before
        os.utime(new, (number, number))
    (folder / "foreign").write_bytes(bytes(99_999))
    entry("a")  # used again, so "b" has been unused longest
    size = new.stat().st_size
    monkeypatch.setattr(disk_cache, "MAX_BYTES", 3 * size)
    entry("e")
    assert (folder / "foreign").exists()
    for key in "ade":
        disk_cache.load("some", key, forbidden)
    assert len(list(folder.glob("some-*"))) == 3


def test_an_entry_beyond_the_bound_is_not_kept(folder, monkeypatch):
    monkeypatch.setattr(disk_cache, "MAX_BYTES", 9999)
    disk_cache.load("some", "key", lambda: [np.zeros(10_000, np.uint8)])
    assert not folder.exists()


WORKER = """
import sys
import numpy as np
from structgen import disk_cache
disk_cache.MIN_SECONDS = 0
disk_cache.MAX_BYTES = 100_000
for turn in range(60):
    number = turn * int(sys.argv[1]) % 7
    [array] = disk_cache.load("some", str(number), lambda: [np.full(5000, number, np.int32)])
    assert array.shape == (5000,) and (array == number).all()
"""


def test_several_processes_at_once(folder):
    workers = [subprocess.Popen([sys.executable, "-c", WORKER, n]) for n in "1234"]
    assert [worker.wait() for worker in workers] == [0] * 4
    assert list(folder.glob("writing-*")) == []


pieces = st.lists(st.one_of(st.none(), st.binary(min_size=1, max_size=5)), min_size=1, max_size=30)


@same_folder
@given(pieces, st.dictionaries(st.text(max_size=4), st.integers(0, 30), max_size=3))
def test_tries_and_vocabularies_come_back(folder, pieces, names):
    vocabulary = Vocabulary([*pieces, *[None] * 31], eos_token_ids=[30, 2], special_tokens=names)
    built, kept = build_trie(vocabulary), build_trie(vocabulary)
    for name in ("byte", "depth", "end", "first", "tokens"):
        assert same([getattr(built, name)], [getattr(kept, name)])
    again = Vocabulary.from_arrays(*vocabulary.to_arrays())
    assert again == vocabulary
    assert again.special_tokens == vocabulary.special_tokens
    assert [again.token_bytes(i) for i in range(len(again))] == [
        vocabulary.token_bytes(i) for i in range(len(vocabulary))
    ]


def test_a_tokenizer_is_read_once(folder, tmp_path, monkeypatch):
    path = save_tiny_model(tmp_path / "model")
    first = read_directory(path)
    assert first is not None

    class Unreadable:
        from_str = staticmethod(lambda _: forbidden())

    with monkeypatch.context() as patch:
        patch.setattr("tokenizers.Tokenizer", Unreadable)
        again = read_directory(path)
    assert again is not None
    assert again[0] == first[0]
    config = path / "tokenizer.json"
    config.write_text(config.read_text().replace("the", "thy"))
    other = read_directory(path)
    assert other is None or other[0] != first[0]
