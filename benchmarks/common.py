"""What the benchmarks share: data, engines behind one interface, processes, percentiles, plots.

Every engine runs in a process of its own, on one thread, without a cache of compiled grammars,
with the options that the judge of MaskBench gives it. Times are of the wall clock: run on an
otherwise idle machine.

TTFM is the time from a schema to its first mask; TBM the time of a mask, looking up the token's bit
and accepting the token, the three together.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import gzip
import importlib.util
import json
import math
import multiprocessing
import os
import platform
import random
import resource
import subprocess
import sys
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

SHARED = Path(os.environ.get("STRUCTGEN_SHARED", Path(__file__).parents[2] / "shared"))
JUDGE = SHARED / "bench" / "maskbench.py"
MASKBENCH = SHARED / "data" / "maskbench-dev.jsonl.gz"
TOKENIZERS = SHARED / "data" / "tokenizers"
PLOTS = Path(__file__).with_name("plots")

ONE_THREAD = dict.fromkeys(
    ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"), "1"
) | {"TOKENIZERS_PARALLELISM": "false"}
MEMORY_LIMIT = 16 << 30  # address space of one engine's process, bytes


# -- engines ------------------------------------------------------------------------------------


class Engine(ABC):
    """One engine with one vocabulary; ``mask`` is int32 [1, ceil(V / 32)], 1 = allowed."""

    mask: Any

    @staticmethod
    @abstractmethod
    def prepare() -> None:
        """Load what does not depend on the vocabulary."""

    @abstractmethod
    def __init__(self, tokenizer: Any) -> None:
        """The tables of a transformers tokenizer."""

    @abstractmethod
    def compile(self, schema: Any) -> Any:
        """The grammar of a JSON Schema."""

    @abstractmethod
    def compile_grammar(self, text: str, lark: bool, folder: str | None) -> Any:
        """The grammar of a text in Lark's or in GBNF's dialect; ``folder`` is for imports."""

    @abstractmethod
    def matcher(self, grammar: Any) -> Any:
        """A matcher at the empty text."""

    @abstractmethod
    def fill(self, matcher: Any) -> None:
        """Compute the mask."""

    @abstractmethod
    def step(self, matcher: Any, token: int) -> bool:
        """Compute the mask and accept the token if its bit is set: was it?"""

    def nbytes(self, grammar: Any) -> int | None:
        """Bytes of a grammar's tables so far, as the engine counts them; None if it does not."""
        return None

    def allows(self, token: int) -> bool:
        return bool(int(self.mask[0, token >> 5]) >> (token & 31) & 1)


class Structgen(Engine):
    @staticmethod
    def prepare() -> None:
        from structgen.warmup import load_kernels

        load_kernels()

    def __init__(self, tokenizer: Any) -> None:
        import structgen

        self.vocabulary = structgen.Vocabulary.from_huggingface(tokenizer)
        self.compiler = structgen.Compiler(self.vocabulary, cache_bytes=0)
        self.mask = structgen.allocate_bitmask(1, len(self.vocabulary))

    def compile(self, schema: Any) -> Any:
        return self.compiler.compile_json_schema(schema, whitespace="flexible")

    def compile_grammar(self, text: str, lark: bool, folder: str | None) -> Any:
        if lark:
            return self.compiler.compile_lark(text, folder=folder)
        return self.compiler.compile_ebnf(text)

    def matcher(self, grammar: Any) -> Any:
        return grammar.matcher()

    def fill(self, matcher: Any) -> None:
        matcher.fill_bitmask(self.mask, 0)

    def step(self, matcher: Any, token: int) -> bool:
        matcher.fill_bitmask(self.mask, 0)
        return self.allows(token) and matcher.accept_token(token)

    def nbytes(self, grammar: Any) -> int | None:
        return grammar.nbytes


class Llguidance(Engine):
    @staticmethod
    def prepare() -> None:
        import llguidance.hf
        import llguidance.numpy  # noqa: F401

    def __init__(self, tokenizer: Any) -> None:
        import llguidance
        import llguidance.hf
        from llguidance.numpy import allocate_token_bitmask, fill_next_token_bitmask

        self.llguidance, self._fill = llguidance, fill_next_token_bitmask
        self.tokenizer = llguidance.hf.from_tokenizer(tokenizer)
        self.mask = allocate_token_bitmask(1, self.tokenizer.vocab_size)

    def _first(self, grammar: str) -> Any:
        matcher = self.llguidance.LLMatcher(self.tokenizer, grammar)
        if matcher.is_error():
            raise ValueError(matcher.get_error())
        return matcher

    def compile(self, schema: Any) -> Any:
        return self._first(json.dumps({"grammars": [{"json_schema": schema}]}))

    def compile_grammar(self, text: str, lark: bool, folder: str | None) -> Any:
        from llguidance.gbnf_to_lark import gbnf_to_lark

        text = text if lark else gbnf_to_lark(text)
        return self._first(self.llguidance.LLMatcher.grammar_from_lark(text))

    def matcher(self, grammar: Any) -> Any:
        return grammar.deep_copy()

    def fill(self, matcher: Any) -> None:
        self._fill(matcher, self.mask, 0)
        if matcher.is_error():
            raise ValueError(matcher.get_error())

    def step(self, matcher: Any, token: int) -> bool:
        self._fill(matcher, self.mask, 0)
        if self.allows(token):
            return matcher.consume_token(token)
        if matcher.is_error():
            raise ValueError(matcher.get_error())
        return False


class Xgrammar(Engine):
    @staticmethod
    def prepare() -> None:
        import xgrammar  # noqa: F401

    def __init__(self, tokenizer: Any) -> None:
        import xgrammar

        self.xgrammar = xgrammar
        info = xgrammar.TokenizerInfo.from_huggingface(tokenizer, vocab_size=len(tokenizer))
        self.compiler = xgrammar.GrammarCompiler(info, max_threads=1, cache_enabled=False)
        self.mask = xgrammar.allocate_token_bitmask(1, info.vocab_size)

    def compile(self, schema: Any) -> Any:
        return self.compiler.compile_json_schema(
            json.dumps(schema), any_whitespace=True, strict_mode=False
        )

    def compile_grammar(self, text: str, lark: bool, folder: str | None) -> Any:
        return self.compiler.compile_lark(text) if lark else self.compiler.compile_grammar(text)

    def matcher(self, grammar: Any) -> Any:
        return self.xgrammar.GrammarMatcher(grammar)

    def fill(self, matcher: Any) -> None:
        matcher.fill_next_token_bitmask(self.mask)

    def step(self, matcher: Any, token: int) -> bool:
        matcher.fill_next_token_bitmask(self.mask)
        return matcher.accept_token(token)

    def nbytes(self, grammar: Any) -> int | None:
        return grammar.memory_size_bytes


ENGINES: dict[str, type[Engine]] = {
    "structgen": Structgen,
    "llguidance": Llguidance,
    "xgrammar": Xgrammar,
}


def installed(engines: Iterable[str]) -> list[str]:
    """Those that can be imported; a note on standard error names the others."""
    found = []
    for engine in engines:
        if importlib.util.find_spec(engine) is not None:
            found.append(engine)
        else:
            print(f'{engine} is left out: pip install -e ".[bench]"', file=sys.stderr)
    if not found:
        sys.exit("none of the engines is installed")
    return found


# -- one engine in a process --------------------------------------------------------------------


class Refused(Exception):
    """The engine does not take the schema, or fails on the way; the text is for a table's cell."""


class TookTooLong(Refused):
    """The process was ended, after its time or by itself. The next call has a new one."""


def first_mask(engine: Engine, compile: Callable[[], Any]) -> tuple[Any, float]:
    """The grammar that ``compile`` returns, and the seconds up to its first mask (TTFM)."""
    try:
        begun = time.perf_counter()
        grammar = compile()
        engine.fill(engine.matcher(grammar))
        return grammar, time.perf_counter() - begun
    except Exception as error:
        raise Refused(_cell(error)) from None


def follow(engine: Engine, grammar: Any, tokens: Sequence[int]) -> tuple[list[float], bool]:
    """Microseconds for each token (TBM), up to one that is refused; were all accepted?"""
    times = []
    try:
        matcher = engine.matcher(grammar)
        for token in tokens:
            begun = time.perf_counter()
            accepted = engine.step(matcher, token)
            times.append((time.perf_counter() - begun) * 1e6)
            if not accepted:
                return times, False
    except Exception as error:
        raise Refused(_cell(error)) from None
    return times, True


def _cell(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return "refused: " + lines[0][:100].replace("|", "/")


def encode(tokenizer: Any, value: Any) -> list[int]:
    """The tokens of a value's JSON text."""
    return tokenizer.encode(json.dumps(value, ensure_ascii=False), add_special_tokens=False)


def resident_bytes() -> int:
    """The process's resident memory (Linux), after what was freed was given back."""
    gc.collect()
    if hasattr(ctypes.CDLL(None), "malloc_trim"):
        ctypes.CDLL(None).malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


class StartUp(NamedTuple):
    """What an engine's tables of the vocabulary took: seconds, and bytes of resident memory."""

    seconds: float
    bytes: int


class Worker:
    """An engine in a process of its own, started again after it took too long or died.

    Functions that it calls have the engine, the transformers tokenizer and then their arguments;
    they must be defined in a module.

    Args:
        engine: a name in ``ENGINES``.
        tokenizer: a folder that transformers loads.
        warm_up: called once with the engine and the tokenizer, whenever the process starts.
        environment: variables for the process.
    """

    start_up: StartUp

    def __init__(
        self,
        engine: str,
        tokenizer: Path,
        warm_up: Callable[[Engine, Any], None] | None = None,
        **environment: str,
    ) -> None:
        variables = ONE_THREAD | environment
        self._arguments = (engine, str(tokenizer), variables, warm_up or follow_small_schema)
        self._process: Any = None
        self._begin()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _begin(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, child = context.Pipe()
        self._process = context.Process(target=_work, args=(*self._arguments, child))
        self._process.start()
        child.close()
        try:
            self.start_up = self._connection.recv()
        except EOFError:
            sys.exit(f"{self._arguments[0]} did not start, see the traceback above")

    def call(self, function: Callable[..., Any], *arguments: Any, seconds: float) -> Any:
        """What ``function(engine, tokenizer, *arguments)`` returns.

        Raises:
            Refused: the engine raised it.
            TookTooLong: more than ``seconds``.
        """
        if self._process is None:
            self._begin()
        self._connection.send((function, arguments))
        try:
            if not self._connection.poll(seconds):
                self.stop()
                raise TookTooLong(f"over {seconds:g} s")
            result, error = self._connection.recv()
        except EOFError:
            self.stop()
            raise TookTooLong("the process died") from None
        if isinstance(error, Refused):
            raise error
        if error is not None:  # of the benchmark, not of the engine
            raise RuntimeError(error)
        return result

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._connection.close()
            self._process = None


def follow_small_schema(engine: Engine, tokenizer: Any) -> None:
    properties = {"a": {"type": "string", "maxLength": 9}, "d": {"items": {"type": "number"}}}
    schema = {"type": "object", "properties": properties}
    grammar, _ = first_mask(engine, lambda: engine.compile(schema))
    follow(engine, grammar, encode(tokenizer, {"a": "bc", "d": [1.5]}))


def _work(
    name: str,
    tokenizer_path: str,
    environment: dict[str, str],
    warm_up: Callable[[Engine, Any], None],
    connection: Any,
) -> None:
    os.environ.update(environment)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tokenizer_path)
    encode(tokenizer, "")  # whatever it does when it is first used
    ENGINES[name].prepare()
    before, begun = resident_bytes(), time.perf_counter()
    engine = ENGINES[name](tokenizer)
    seconds = time.perf_counter() - begun
    start_up = StartUp(seconds, resident_bytes() - before)
    warm_up(engine, tokenizer)
    connection.send(start_up)
    while True:
        try:
            function, arguments = connection.recv()
        except EOFError:  # the parent ended
            return
        try:
            connection.send((function(engine, tokenizer, *arguments), None))
        except Refused as refusal:
            connection.send((None, refusal))
        except Exception:
            connection.send((None, traceback.format_exc()))


# -- data and figures ---------------------------------------------------------------------------


def maskbench(path: Path, count: int | None = None, seed: int = 7) -> list[dict[str, Any]]:
    """``count`` schemas with instances, all if None, as the judge draws them, in random order."""
    if not path.exists():
        sys.exit(f"{path}: no such file; --data names MaskBench's schemas, JSON Lines, gzip")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    random.Random(seed).shuffle(rows)
    return rows[:count]


def compiled(path: Path, compiler: Any) -> Iterator[tuple[dict[str, Any], Any]]:
    """The schemas that compile, in the order of :func:`maskbench`, with their grammars."""
    from structgen import StructgenError

    for row in maskbench(path):
        try:
            yield row, compiler.compile_json_schema(row["schema"])
        except StructgenError:
            continue


def run_judge(judge: Path, engine: str, out: Path, **options: object) -> None:
    """Let the judge (a script that drives every engine the same way) write its results to ``out``.

    ``options`` are the judge's, as ``time_limit=20`` for ``--time-limit 20``.
    """
    if not judge.exists():
        sys.exit(f"{judge}: no such file; --judge names the judge's script")
    command = [sys.executable, str(judge), "--engine", engine, "--out", str(out)]
    for name, value in options.items():
        command += [f"--{name.replace('_', '-')}", str(value)]
    subprocess.run(command, check=True)


def percentile(values: Sequence[float], p: float) -> float:
    """Of sorted values, by nearest rank, as the judge takes it; NaN of none."""
    return values[min(len(values) - 1, int(len(values) * p / 100))] if values else math.nan


def figure(value: float | None, unit: float = 1) -> str:
    """A figure of a table, divided by ``unit``: three digits, thousands apart; "-" if unknown."""
    if value is None or math.isnan(value):
        return "-"
    value /= unit
    digits = max(0, 2 - math.floor(math.log10(abs(value)))) if value else 0
    return f"{value:,.{min(digits, 3)}f}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table in Markdown."""

    def line(cells: Sequence[str]) -> str:
        shown = (cell.replace("\\", "\\\\").replace("|", "\\|") for cell in cells)
        return f"| {' | '.join(' '.join(cell.split()) for cell in shown)} |"

    return [line(head), "|" + "---|" * len(head), *map(line, rows)]


def print_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    print(*table(head, rows), sep="\n", end="\n\n", flush=True)


def print_machine(engines: Iterable[str]) -> None:
    """The processor, Python, and the engines' versions."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next(line.split(": ")[1] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        processor = platform.processor() or platform.machine()
    names = ", ".join(f"{engine} {version(engine)}" for engine in engines)
    print(f"{processor}, {os.cpu_count()} cores, Python {platform.python_version()}; {names}\n")


# -- command line and plots ---------------------------------------------------------------------


def argument_parser(documentation: str | None) -> argparse.ArgumentParser:
    """With the options that all benchmarks have."""
    parser = argparse.ArgumentParser(
        description=documentation, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--engines", nargs="+", default=list(ENGINES), choices=list(ENGINES))
    parser.add_argument("--out", type=Path, default=PLOTS, help="folder for plots [%(default)s]")
    parser.add_argument("--quick", action="store_true", help="small, to see that it works")
    return parser


def add_tokenizer(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tokenizer",
        type=_folder,
        default=TOKENIZERS / "llama3",
        help="a folder with a tokenizer [%(default)s]",
    )


def _folder(text: str) -> Path:
    if not Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"{text} is no folder")
    return Path(text)


COLOURS = {"structgen": "#0072b2", "llguidance": "#d55e00", "xgrammar": "#009e73"}


def pyplot() -> Any:
    """matplotlib in the style of these plots; None, with a note, if it is not installed."""
    try:
        import matplotlib
    except ImportError:
        print('no plot: pip install -e ".[bench]"', file=sys.stderr)
        return None
    matplotlib.use("svg")
    from matplotlib import pyplot

    style: dict[Any, Any] = {
        "axes.grid": True, "axes.spines.right": False, "axes.spines.top": False,
        "axes.titlesize": 10, "figure.constrained_layout.use": True, "font.size": 9,
        "grid.alpha": 0.25, "legend.frameon": False, "lines.linewidth": 1.5, "lines.markersize": 4,
        "svg.fonttype": "none", "svg.hashsalt": "structgen",
    }  # fmt: skip
    pyplot.rcParams.update(style)
    return pyplot


def save(plot: Any, folder: Path, name: str) -> None:
    """Write a plot as SVG; the same figures make the same file."""
    folder.mkdir(parents=True, exist_ok=True)
    plot.savefig(folder / f"{name}.svg", metadata={"Date": None})
    print(f"wrote {folder / name}.svg", file=sys.stderr)
