"""``nbytes`` is what the process grows by."""

from __future__ import annotations

import subprocess
import sys

from shared_data import shared_data

PROGRAM = """
import gc, gzip, json, sys
import structgen as sg
from structgen.vocabulary import Vocabulary

def resident():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) << 10

pieces = [bytes([b]) for b in range(256)] + [b'{"', b'": ', b", ", b'"}', b"true", b"the", None]
compiler = sg.Compiler(Vocabulary(pieces, eos_token_ids=[len(pieces) - 1]), cache_bytes=0)

def read(row):
    try:
        grammar = compiler.compile_json_schema(row["schema"])
    except sg.StructgenError:
        return None
    mask = sg.allocate_bitmask(1, len(pieces))
    for case in row["tests"]:
        matcher = grammar.matcher()
        for b in json.dumps(case["data"]).encode()[:2000]:
            matcher.fill_bitmask(mask, 0)
            if not matcher.accept_token(b):
                break
    return grammar

with gzip.open(sys.argv[1], "rt") as lines:
    rows = [json.loads(next(lines)) for _ in range(260)]
warm = [read(row) for row in rows[:60]]  # kernels, shared tables and the allocator's own pools
gc.collect()
before = resident()
kept = [read(row) for row in rows[60:]]
gc.collect()
print(sum(grammar.nbytes for grammar in kept if grammar is not None), resident() - before)
"""


def test_nbytes_is_what_grammars_take():
    path = shared_data("maskbench-dev.jsonl.gz")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(path)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    counted, grown = map(int, done.stdout.split())
    assert counted > 8 << 20
    # Builders' objects, and the texts of schemas that are read late, are not counted.
    assert 0.5 * grown < counted < 1.2 * grown
