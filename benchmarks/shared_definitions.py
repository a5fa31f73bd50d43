"""What a second schema over the same definitions costs, alone and beside the first.

The first is one of MaskBench's schemas with definitions. The second is its *wrapped* form, a new
root over the same definitions, as a tool call has one; or *another* schema of the same source, half
of whose definitions are the first's. A cell is compiling the second schema / all masks and tokens
of its valid instances, ms of processor time, means over the pairs of medians. *Alone*: nobody holds
another grammar. *Beside*: the first grammar is held, and its instances were read. A minute.

    python benchmarks/shared_definitions.py
"""

from __future__ import annotations

import json
import statistics
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import common

Row = dict[str, Any]


class Times(NamedTuple):
    """Processor time of one schema, ms."""

    compiling: float
    masks: float


def definitions(schema: Any) -> set[tuple[str, str]]:
    """Names and texts of the definitions of a schema."""
    found: set[tuple[str, str]] = set()
    for keyword in ("$defs", "definitions"):
        own = schema.get(keyword) if isinstance(schema, dict) else None
        if isinstance(own, dict):
            found |= {(name, json.dumps(raw)) for name, raw in own.items()}
    return found


def wrapped(row: Row) -> Row:
    """A schema and its instances as the arguments of a call."""
    schema = dict(row["schema"])
    own = {k: schema.pop(k) for k in ("$schema", "$defs", "definitions") if k in schema}
    properties = {"name": {"const": "answer"}, "arguments": schema}
    tests = [
        {"valid": test["valid"], "data": {"name": "answer", "arguments": test["data"]}}
        for test in row["tests"]
    ]
    schema = {"type": "object", "properties": properties, "required": list(properties), **own}
    return {"id": row["id"], "schema": schema, "tests": tests}


def pairs(rows: Iterable[Row], least: int) -> Iterator[tuple[str, Row, Row]]:
    """Kind, first and second schema, of those with at least so many definitions."""
    waiting: defaultdict[str, list[tuple[Row, set[tuple[str, str]]]]] = defaultdict(list)
    for row in rows:
        source, own = row["id"].partition("---")[0], definitions(row["schema"])
        if len(own) < least or not any(test["valid"] for test in row["tests"]):
            continue
        yield f"{source}, wrapped", row, wrapped(row)
        for k, (other, others) in enumerate(waiting[source]):
            if 2 * len(own & others) >= len(own):
                del waiting[source][k]
                yield f"{source}, another", other, row
                break
        else:
            waiting[source].append((row, own))


class Comparison:
    """One compiler, which keeps no grammar."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoTokenizer

        import structgen

        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        vocabulary = structgen.Vocabulary.from_huggingface(self.tokenizer)
        self.compiler = structgen.Compiler(vocabulary, cache_bytes=0)
        self.mask = structgen.allocate_bitmask(1, len(vocabulary))

    def texts(self, row: Row) -> list[list[int]]:
        return [common.encode(self.tokenizer, t["data"]) for t in row["tests"] if t["valid"]]

    def use(self, row: Row, texts: list[list[int]]) -> tuple[Any, Times]:
        """Compile a schema and follow its instances: the grammar, and what it took."""
        started = time.process_time()
        grammar = self.compiler.compile_json_schema(row["schema"])
        compiled = time.process_time()
        for text in texts:
            matcher = grammar.matcher()
            for token in text:
                matcher.fill_bitmask(self.mask, 0)
                if not matcher.accept_token(token):
                    break
        return grammar, Times(1e3 * (compiled - started), 1e3 * (time.process_time() - compiled))

    def compare(self, first: Row, second: Row, repeat: int) -> tuple[Times, Times]:
        """The second schema alone, and beside the first."""
        one, two = self.texts(first), self.texts(second)
        for row, texts in ((first, one), (second, two)):
            self.use(row, texts)  # rows of the library, automata of patterns
        alone, beside = [], []
        for _ in range(repeat):
            alone.append(self.use(second, two)[1])
            held = self.use(first, one)[0]
            beside.append(self.use(second, two)[1])
            del held
        return _each(statistics.median, alone), _each(statistics.median, beside)


def _each(average: Any, times: Iterable[Times]) -> Times:
    return Times(*(average(column) for column in zip(*times, strict=True)))


def main() -> None:
    parser = common.argument_parser(__doc__)
    common.add_tokenizer(parser)
    parser.add_argument("--data", type=Path, default=common.MASKBENCH, help="[%(default)s]")
    parser.add_argument("--least", type=int, default=4, help="definitions [%(default)s]")
    parser.add_argument("--pairs", type=int, default=25, help="of one kind [%(default)s]")
    parser.add_argument("--repeat", type=int, default=5, help="[%(default)s]")
    options = parser.parse_args()
    if options.quick:
        options.pairs, options.repeat = 2, 1
    import structgen

    common.print_machine(["structgen"])
    comparison = Comparison(options.tokenizer)
    found: defaultdict[str, list[tuple[Times, Times]]] = defaultdict(list)
    for kind, first, second in pairs(common.maskbench(options.data), options.least):
        if len(found[kind]) < options.pairs:
            try:
                found[kind].append(comparison.compare(first, second, options.repeat))
            except structgen.StructgenError:
                continue
    lines = []
    for kind, times in sorted(found.items()):
        if times:
            alone, beside = (_each(statistics.fmean, which) for which in zip(*times, strict=True))
            ratio = Times(*(b / a for a, b in zip(alone, beside, strict=True)))
            cells = (f"{t.compiling:.2f} / {t.masks:.2f}" for t in (alone, beside, ratio))
            lines.append([kind, str(len(times)), *cells])
    common.print_table(["second schema", "pairs", "alone", "beside", "ratio"], lines)


if __name__ == "__main__":
    main()
