"""What a compilation may cost: seconds, bytes, and stopping it."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from typing import Any

import pytest

import structgen as sg
from structgen import budget
from structgen.budget import Budget, spending

SLOW: dict[str, Any] = {
    "oneOf": [{"type": "integer", "minimum": 20 * i, "maximum": 20 * i + 25} for i in range(2000)]
}


def compiler(**limits: Any) -> sg.Compiler:
    return sg.Compiler(sg.Vocabulary.byte_vocabulary(), limits=sg.Limits(**limits))


def test_without_a_budget_nothing_is_counted() -> None:
    budget.check("nothing")
    budget.charge(1 << 60, "nothing")
    with budget.hold(1 << 60, "nothing"), budget.untimed():
        pass


def test_bytes_are_given_back() -> None:
    with spending(Budget(60, 1000)) as spent:
        for _ in range(5):
            with budget.hold(900, "scratch"):
                assert spent.bytes_left == 100
        budget.charge(800, "a table")
        with (
            pytest.raises(sg.LimitExceeded, match=r"memory_bytes = 1,000.*scratch"),
            budget.hold(900, "scratch"),
        ):
            pass


def work(seconds: float) -> None:
    """Keep the processor busy."""
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


def test_the_clock_runs_only_inside() -> None:
    one = Budget(0.2, 1)
    for _ in range(3):
        with spending(one):
            work(0.01)
        work(0.1)
    with spending(one), budget.untimed():
        work(0.3)
    with spending(one):
        time.sleep(0.25)  # others' time
        budget.check("a loop")
        work(0.25)
        with pytest.raises(sg.LimitExceeded, match="compile_seconds"):
            budget.check("a loop")
    with pytest.raises(sg.LimitExceeded), spending(one):
        pass


def test_budgets_belong_to_one_thread() -> None:
    seen: list[bool] = []

    def other() -> None:
        budget.charge(1 << 60, "elsewhere")
        seen.append(True)

    with spending(Budget(60, 10)):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert seen == [True]


def test_time_is_bounded() -> None:
    with pytest.raises(sg.LimitExceeded) as caught:
        compiler(compile_seconds=0.3).compile_json_schema(SLOW)
    assert caught.value.limit == "compile_seconds" and caught.value.value == 0.3
    assert caught.value.where


@pytest.mark.parametrize("kind", ["schema", "regex", "choice", "json"])
def test_a_set_event_cancels_at_once(kind: str) -> None:
    event = threading.Event()
    event.set()
    c = compiler()
    with pytest.raises(sg.CompileCancelled):
        if kind == "schema":
            c.compile_json_schema(SLOW, cancel=event)
        elif kind == "regex":
            c.compile_regex("a+", cancel=event)
        elif kind == "choice":
            c.compile_choice(["a"], cancel=event)
        else:
            c.compile_json(cancel=event)
    assert issubclass(sg.CompileCancelled, sg.StructgenError)


def test_an_event_set_later_cancels_soon() -> None:
    event, c = threading.Event(), compiler()
    c.compile_json()  # kernels are loaded
    timer = threading.Timer(0.5, event.set)
    timer.start()
    started = time.monotonic()
    with pytest.raises(sg.CompileCancelled):
        c.compile_json_schema(SLOW, cancel=event)
    assert time.monotonic() - started < 5
    timer.join()
    # Nothing half done is left behind.
    assert c.compile_json_schema({"type": "integer"}).matcher().accept_bytes(b"12")


def test_memory_is_bounded() -> None:
    schema = {"type": "string", "pattern": r"^(\p{L}{1,2000}|x)$"}
    with pytest.raises(sg.LimitExceeded) as caught:
        compiler(memory_bytes=64 << 20).compile_json_schema(schema)
    assert caught.value.limit == "memory_bytes"


def test_a_mask_is_bounded() -> None:
    grammar = compiler(step_seconds=1e-9).compile_json_schema({"properties": {"a": {"items": {}}}})
    matcher = grammar.matcher()
    with pytest.raises(sg.LimitExceeded, match="step_seconds"):
        matcher.accept_bytes(b'{"a":[{"b":1}]}')


MEASURE = """
import resource, sys
import structgen as sg
from structgen import budget
c = sg.Compiler(sg.Vocabulary.byte_vocabulary())
c.compile_json_schema({"pattern": "^a+b|c", "maximum": 3}).matcher().accept_bytes(b"1")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
least = []
def charge(self, nbytes, where, original=budget.Budget.charge):
    original(self, nbytes, where)
    least.append(self.memory_bytes - self.bytes_left)
budget.Budget.charge = charge
c.compile_json_schema(eval(sys.argv[1]))
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(max(least), (after - before) * 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in other units elsewhere")
@pytest.mark.parametrize(
    "schema",
    [
        r"""{"pattern": r"^(\p{L}{1,300}|x)$"}""",
        """{"anyOf": [{"minLength": 3 * i, "maxLength": 3 * i + 1} for i in range(5000)]}""",
        """{"properties": {f"p{i}": {"maximum": i, "minLength": i} for i in range(20000)}}""",
        """{"pattern": "^(" + "|".join(f"w{i * 7919 % 99991}" for i in range(20000)) + ")$"}""",
    ],
    ids=["letters", "lengths", "properties", "alternatives"],
)
def test_counted_bytes_are_near_those_of_the_process(schema: str) -> None:
    command = [sys.executable, "-c", MEASURE, schema]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    counted, grown = map(int, done.stdout.split())
    assert grown / 8 < counted + (8 << 20) and counted / 8 < grown + (8 << 20), (counted, grown)
