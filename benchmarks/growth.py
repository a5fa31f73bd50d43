"""How compile time, masks and memory grow with a schema: objects, nested objects in arrays, enums.

A cell is: compile to the first mask (ms) / mean mask and token along valid instances (us) / the
grammar's bytes as the engine counts them (MB) / resident memory that it added (MB). A process sees
the schemas one after the other and keeps them alive; where a schema takes longer than --time-limit,
larger ones of its family are not tried. By default about five minutes on an idle machine, most of
them xgrammar's; --quick half a minute.

    python benchmarks/growth.py

Needs ``pip install -e ".[bench]"`` for peers and plots.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import common

TYPES: tuple[tuple[Any, Any], ...] = (  # a schema and a value of it
    ({"type": "string"}, "some text"),
    ({"type": "integer"}, 1234),
    ({"type": "boolean"}, True),
    ({"type": "number"}, 1.5),
)
OPTIONAL = 50  # properties of an instance where none is required
SIZES = (10, 100, 1_000, 10_000)

Case = tuple[Any, list[Any]]  # a schema and valid instances


def flat(names: list[str], *, closed: bool, required: bool) -> Case:
    kinds = {name: TYPES[i % len(TYPES)] for i, name in enumerate(names)}
    schema: dict[str, Any] = {"type": "object"}
    schema["properties"] = {name: kind for name, (kind, _) in kinds.items()}
    if required:
        schema["required"] = names
    if closed:
        schema["additionalProperties"] = False
    some = names if required else names[:: max(1, len(names) // OPTIONAL)]
    return schema, [{name: kinds[name][1] for name in some}]


def objects(*, closed: bool, required: bool) -> Callable[[int], Case]:
    def build(size: int) -> Case:
        names = [f"property_{i}" for i in range(size)]
        return flat(names, closed=closed, required=required)

    return build


def nested(size: int) -> Case:
    """An array of objects of ten properties, nested until there are ``size`` innermost ones."""
    names = [f"field_{i}" for i in range(10)]
    schema, values = flat(names, closed=True, required=True)
    value = values[0]
    while size > 10:
        size //= 10
        # Texts of their own at each place, so that no two schemas are equal.
        schema, value = nest(schema, value, names)
    return {"type": "array", "items": schema}, [[value] * 5]


def nest(schema: Any, value: Any, names: list[str]) -> Case:
    parts = {}
    for i, name in enumerate(names):
        parts[name] = json.loads(json.dumps(schema).replace('"field_', f'"field_{i}'))
    values = {}
    for i, name in enumerate(names):
        values[name] = json.loads(json.dumps(value).replace('"field_', f'"field_{i}'))
    outer = {"type": "object", "properties": parts, "required": names}
    return outer | {"additionalProperties": False}, values  # type: ignore[return-value]


def enum(size: int) -> Case:
    texts = [f"value number {i}" for i in range(size)]
    return {"enum": texts}, list(texts[:: max(1, size // 20)])


def large(size: int) -> Case:
    """About ``size`` bytes of schema: an object of objects, as a description of an API has them."""
    count = size // len(json.dumps({"resource_0000": resource(1000)}))
    properties = {f"resource_{i}": resource(i) for i in range(count)}
    value = {"id": 7, "name": "x", "labels": {"a": "b"}, "ports": [80]}
    some = range(0, count, max(1, count // 20))
    instance = {f"resource_{i}": value | {f"option_{i}": "Job"} for i in some}
    return {"type": "object", "properties": properties}, [instance]


def resource(i: int) -> dict[str, Any]:
    """No two are equal, so that none can be compiled once for all."""
    fields = {
        "id": {"type": "integer", "minimum": 0, "description": "An identifier of this resource."},
        "name": {"type": "string", "minLength": 1, "maxLength": 63},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "ports": {"type": "array", "items": {"type": "integer", "maximum": 65535}},
        "created": {"type": "string", "format": "date-time"},
        f"option_{i}": {"enum": ["Service", "Deployment", "Job", f"Pod {i}"]},
    }
    return {"type": "object", "properties": fields, "required": ["id", "name"]}


class Family(NamedTuple):
    name: str
    build: Callable[[int], Case]
    sizes: tuple[int, ...] | None = None  # where --sizes does not count


FAMILIES = (
    Family("closed object, all required", objects(closed=True, required=True)),
    Family("closed object, none required", objects(closed=True, required=False)),
    Family("open object, all required", objects(closed=False, required=True)),
    Family("open object, none required", objects(closed=False, required=False)),
    Family("array of nested objects, innermost properties", nested),
    Family("enum, texts", enum),
    Family("object of objects, bytes of schema", large, (1_800_000,)),
)


class Cell(NamedTuple):
    first_ms: float
    mask_us: float
    nbytes: int | None
    resident: int

    def __str__(self) -> str:
        times = common.figure(self.first_ms), common.figure(self.mask_us)
        sizes = common.figure(self.nbytes, 1 << 20), common.figure(self.resident, 1 << 20)
        return " / ".join((*times, *sizes))


_kept: list[Any] = []  # grammars of the process, so that memory of one is not taken by the next


def measure(engine: common.Engine, tokenizer: Any, text: str, values: list[Any], most: int) -> Cell:
    schema = json.loads(text)
    texts = [common.encode(tokenizer, value)[:most] for value in values]
    before = common.resident_bytes()
    grammar, seconds = common.first_mask(engine, lambda: engine.compile(schema))
    _kept.append(grammar)
    times: list[float] = []
    for tokens in texts:
        found, accepted = common.follow(engine, grammar, tokens)
        if not accepted:
            raise common.Refused("refused a valid instance")
        times += found
    resident = common.resident_bytes() - before
    return Cell(seconds * 1e3, statistics.fmean(times), engine.nbytes(grammar), resident)


def run(family: Family, workers: dict[str, common.Worker], options: Any) -> dict[str, list[Any]]:
    """Cells by engine, one for each size; a text where there is none."""
    cells: dict[str, list[Any]] = {engine: [] for engine in workers}
    slow: set[str] = set()
    rows = []
    for size in family.sizes or options.sizes:
        schema, values = family.build(size)
        text = json.dumps(schema)
        for engine, worker in workers.items():
            cell: Cell | str = "not tried"
            if engine not in slow:
                try:
                    arguments = (text, values, options.tokens)
                    cell = worker.call(measure, *arguments, seconds=options.time_limit)
                except common.TookTooLong as error:
                    slow.add(engine)
                    cell = str(error)
                except common.Refused as error:
                    cell = str(error)
            cells[engine].append(cell)
        row = [str(cells[engine][-1]) for engine in workers]
        rows.append([f"{size:,}", f"{len(text) / 1e3:,.0f}", *row])
    common.print_table([family.name, "schema, kB", *workers], rows)
    return cells


def plot(results: dict[str, dict[str, list[Any]]], sizes: tuple[int, ...], folder: Path) -> None:
    pyplot = common.pyplot()
    if pyplot is None:
        return
    quantities = (
        ("first mask (ms)", lambda cell: cell.first_ms),
        ("mean mask (us)", lambda cell: cell.mask_us),
        ("memory added (MB)", lambda cell: max(cell.resident, 1 << 12) / 2**20),
    )
    figure, axes = pyplot.subplots(
        3, len(results), figsize=(2.6 * len(results), 7), sharex=True, sharey="row", squeeze=False
    )
    for column, (family, cells) in enumerate(results.items()):
        for axis, (label, quantity) in zip(axes[:, column], quantities, strict=True):
            for engine, values in cells.items():
                points = [
                    (size, quantity(cell))
                    for size, cell in zip(sizes, values, strict=True)
                    if isinstance(cell, Cell)
                ]
                axis.plot(*zip(*points, strict=True), "o-", c=common.COLOURS[engine], label=engine)
            axis.set(xscale="log", yscale="log")
            axis.minorticks_off()
            if column == 0:
                axis.set_ylabel(label)
        axes[0, column].set_title(family.replace(", ", "\n", 1))
    axes[0, 0].legend()
    common.save(figure, folder, "growth")


def main() -> None:
    parser = common.argument_parser(__doc__)
    common.add_tokenizer(parser)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--time-limit", type=float, default=20, help="s, one cell [%(default)s]")
    parser.add_argument(
        "--tokens", type=int, default=2_000, help="of an instance, at most [%(default)s]"
    )
    options = parser.parse_args()
    if options.quick:
        options.sizes, options.time_limit, options.tokens = [10, 100], 5.0, 200
    engines = common.installed(options.engines)
    common.print_machine(engines)
    print("first mask, ms / mean mask, us / counted, MB / resident, MB\n")
    workers = {engine: common.Worker(engine, options.tokenizer) for engine in engines}
    try:
        results = {family.name: run(family, workers, options) for family in FAMILIES}
    finally:
        for worker in workers.values():
            worker.stop()
    common_sizes = {f.name: results[f.name] for f in FAMILIES if f.sizes is None}
    plot(common_sizes, tuple(options.sizes), options.out)


if __name__ == "__main__":
    main()
