"""Loading the array kernels, which compiles them the first time on a machine."""

from __future__ import annotations

import sys
import threading
from typing import Any

import numba.core.event as events

_started = threading.Lock()


class _Tell(events.Listener):
    """Says once that something is being compiled; kernels from the cache are not."""

    told = False

    def on_start(self, event: Any) -> None:
        if not self.told:
            self.told = True
            text = "structgen: compiling array kernels, once on this machine (half a minute)..."
            print(text, file=sys.stderr, flush=True)

    def on_end(self, event: Any) -> None:
        pass


def load_kernels() -> None:
    """Use the kernels once, so that no input pays for it; later calls do nothing.

    On a new machine this takes half a minute, which a line on standard error says.
    """
    if not _started.acquire(blocking=False):  # never given back: once in a process
        return
    with events.install_listener("numba:compile", _Tell()):
        _use_all()


def _use_all() -> None:
    from structgen.bitmask import allocate_bitmask
    from structgen.compiler import Compiler
    from structgen.vocabulary import Vocabulary

    vocabulary = Vocabulary.byte_vocabulary()
    compiler = Compiler(vocabulary, cache_bytes=0)
    mask = allocate_bitmask(1, len(vocabulary))
    schema = {
        "type": "object",
        "properties": {
            "a": {"type": "string", "pattern": "^[a-z]+$|é", "minLength": 2, "maxLength": 90},
            "b": {"anyOf": [{"minimum": 2, "maximum": 7.5}, {"multipleOf": 3}]},
            "c": {"not": {"enum": ["x", 1]}, "format": "date"},
        },
    }
    grammars = [
        compiler.compile_json_schema(schema),
        compiler.compile_lark('start: e\n?e: e "+" e | NUMBER | "<eos>"\nNUMBER: /\\d+(\\.\\d+)?/'),
    ]
    distinct = {"type": "array", "items": {"type": ["string", "object"]}, "uniqueItems": True}
    grammars.append(compiler.compile_json_schema(distinct))
    texts = (b'{"a":"ab', b"1.5+2", b'["a","b",{"c":1},{"c":2},"')
    for grammar, text in zip(grammars, texts, strict=True):
        matcher = grammar.matcher()
        for byte in text:
            matcher.fill_bitmask(mask, 0)
            matcher.accept_token(byte)
        matcher.is_accepting()
        matcher.forced_bytes()
        matcher.accept_bytes(b'"}')
