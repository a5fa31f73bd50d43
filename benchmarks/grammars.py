"""Grammar files: are they accepted, how long until the first mask, how long per mask; beside peers.

Sentences are sampled with structgen (random allowed tokens), so that each engine follows the same
tokens; a peer that refuses one of them stops there, which the table counts. One process and one
thread for each engine.

    python benchmarks/grammars.py --tokenizer ../shared/data/tokenizers/llama3 \\
        ../shared/data/grammars

Needs ``pip install -e ".[bench]"`` for the peers.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import time
from pathlib import Path
from typing import Any

import numpy as np

TIME_LIMIT = 30.0
SAMPLES, TOKENS = 3, 80


class StructGen:
    def __init__(self, tokenizer: Any) -> None:
        import structgen as sg

        self.sg = sg
        self.vocabulary = sg.Vocabulary.from_huggingface(tokenizer)
        self.compiler = sg.Compiler(self.vocabulary, cache_bytes=0)
        self.mask = sg.allocate_bitmask(1, len(self.vocabulary))

    def compile(self, text: str, lark: bool, folder: str | None = None) -> None:
        if lark:
            self.grammar = self.compiler.compile_lark(text, folder=folder)
        else:
            self.grammar = self.compiler.compile_ebnf(text)

    def reset(self) -> None:
        self.matcher = self.grammar.matcher()

    def fill(self) -> None:
        self.matcher.fill_bitmask(self.mask, 0)

    def accept(self, token: int) -> bool:
        return self.matcher.accept_token(token)

    def sample(self, rng: random.Random) -> list[int]:
        """Random allowed tokens, the end of the text left for later where there is a choice."""
        self.reset()
        tokens: list[int] = []
        end = set(self.vocabulary.eos_token_ids)
        while len(tokens) < TOKENS:
            self.fill()
            bits = np.unpackbits(np.asarray(self.mask)[0].view(np.uint8), bitorder="little")
            allowed = [t for t in np.flatnonzero(bits).tolist() if t not in end]
            if not allowed:
                break
            tokens.append(rng.choice(allowed))
            assert self.accept(tokens[-1])
        return tokens


class LLGuidance:
    def __init__(self, tokenizer: Any) -> None:
        import llguidance
        import llguidance.hf
        from llguidance.gbnf_to_lark import gbnf_to_lark
        from llguidance.numpy import allocate_token_bitmask, fill_next_token_bitmask

        self.llg, self.convert = llguidance, gbnf_to_lark
        self.tokenizer = llguidance.hf.from_tokenizer(tokenizer)
        self.mask = allocate_token_bitmask(1, self.tokenizer.vocab_size)
        self.fill_mask = fill_next_token_bitmask

    def compile(self, text: str, lark: bool, folder: str | None = None) -> None:
        text = text if lark else self.convert(text)
        grammar = self.llg.LLMatcher.grammar_from_lark(text)
        self.first = self.llg.LLMatcher(self.tokenizer, grammar)
        if self.first.is_error():
            raise ValueError(self.first.get_error())

    def reset(self) -> None:
        self.matcher = self.first.deep_copy()

    def fill(self) -> None:
        self.fill_mask(self.matcher, self.mask, 0)

    def accept(self, token: int) -> bool:
        if not int(self.mask[0, token >> 5]) >> (token & 31) & 1:
            return False
        return bool(self.matcher.consume_token(token))


class XGrammar:
    def __init__(self, tokenizer: Any) -> None:
        import xgrammar

        self.xgrammar = xgrammar
        info = xgrammar.TokenizerInfo.from_huggingface(tokenizer, vocab_size=len(tokenizer))
        self.mask = xgrammar.allocate_token_bitmask(1, info.vocab_size)
        self.compiler = xgrammar.GrammarCompiler(info, max_threads=1, cache_enabled=False)

    def compile(self, text: str, lark: bool, folder: str | None = None) -> None:
        if lark:
            self.grammar = self.compiler.compile_lark(text)
        else:
            self.grammar = self.compiler.compile_grammar(text)

    def reset(self) -> None:
        self.matcher = self.xgrammar.GrammarMatcher(self.grammar)

    def fill(self) -> None:
        self.matcher.fill_next_token_bitmask(self.mask)

    def accept(self, token: int) -> bool:
        return bool(self.matcher.accept_token(token))


ENGINES = {"structgen": StructGen, "llguidance": LLGuidance, "xgrammar": XGrammar}


def work(name: str, tokenizer: str, connection: Any) -> None:
    from transformers import AutoTokenizer

    engine = ENGINES[name](AutoTokenizer.from_pretrained(tokenizer))
    warm = (("start: A\nA: /[a-z]+/", True), ('root ::= "a" root | "b"', False))
    for text, lark in warm:
        engine.compile(text, lark)
        engine.reset()
        engine.fill()
    connection.send("ready")
    while True:
        text, lark, folder, sentences = connection.recv()
        result: dict[str, Any] = {}
        try:
            begun = time.perf_counter()
            engine.compile(text, lark, folder)
            result["compile"] = time.perf_counter() - begun
            engine.reset()
            engine.fill()
            result["first"] = time.perf_counter() - begun
            if sentences is None:
                # The grammar that is measured must not have seen the sentences.
                rng = random.Random(0)
                sentences = [engine.sample(rng) for _ in range(SAMPLES)]  # type: ignore[attr-defined]
                engine.compile(text, lark, folder)
            times, stopped = [], 0
            for tokens in sentences:
                engine.reset()
                for token in tokens:
                    begun = time.perf_counter()
                    engine.fill()
                    accepted = engine.accept(token)
                    times.append(time.perf_counter() - begun)
                    if not accepted:
                        stopped += 1
                        break
            result |= {"times": times, "stopped": stopped, "sentences": sentences}
        except Exception as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            result["error"] = lines[0][:150]
        connection.send(result)


class Worker:
    """An engine in a process of its own, started again after it took too long or died."""

    def __init__(self, name: str, tokenizer: str) -> None:
        self.name, self.tokenizer = name, tokenizer
        self._begin()

    def _begin(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, child = context.Pipe()
        self.process = context.Process(target=work, args=(self.name, self.tokenizer, child))
        self.process.start()
        child.close()
        assert self.connection.recv() == "ready"

    def run(self, *task: Any) -> dict[str, Any]:
        self.connection.send(task)
        try:
            if self.connection.poll(TIME_LIMIT):
                return self.connection.recv()
            problem = f"over {TIME_LIMIT:.0f} s"
        except EOFError:
            problem = "the process died"
        self.stop()
        self._begin()
        return {"error": problem}

    def stop(self) -> None:
        self.process.kill()
        self.process.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", maxsplit=1)[0])
    parser.add_argument("files", nargs="+", help="files, or folders to search")
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--engines", nargs="+", default=list(ENGINES), choices=list(ENGINES))
    parser.add_argument("--out", help="write all results as JSON")
    arguments = parser.parse_args()
    files = sorted(
        path
        for given in map(Path, arguments.files)
        for path in (given.rglob("*") if given.is_dir() else [given])
        if path.suffix in (".lark", ".gbnf", ".ebnf")
    )
    engines = [e for e in ENGINES if e in arguments.engines or e == "structgen"]
    workers = {name: Worker(name, arguments.tokenizer) for name in engines}
    results = []
    print("| file | engine | compile ms | to first mask ms | mask p50 us | mean | p99 | max ms | |")
    print("|---|---|---|---|---|---|---|---|---|")
    for path in files:
        text, lark = path.read_text(encoding="utf-8"), path.suffix == ".lark"
        sentences = None
        for name, worker in workers.items():
            result = worker.run(
                text, lark, str(path.parent), sentences if name != "structgen" else None
            )
            if name == "structgen":
                sentences = result.get("sentences", [])
            result.pop("sentences", None)
            results.append({"file": str(path), "engine": name, **result})
            print(_line(path, name, result), flush=True)
    for worker in workers.values():
        worker.stop()
    print("\n| engine | accepted | mask p50 us | mean | p99 | refused a token |")
    print("|---|---|---|---|---|---|")
    for name in engines:
        own = [r for r in results if r["engine"] == name]
        good = [r for r in own if "error" not in r]
        times = np.array([t for r in good for t in r["times"]]) * 1e6
        if len(times):
            p50, p99 = np.percentile(times, [50, 99])
            stopped = sum(r["stopped"] for r in good)
            print(
                f"| {name} | {len(good)} of {len(own)} | {p50:.1f} | {times.mean():.0f} "
                f"| {p99:.0f} | {stopped} |"
            )
    if arguments.out:
        Path(arguments.out).write_text(json.dumps(results), encoding="utf-8")


def _line(path: Path, name: str, result: dict[str, Any]) -> str:
    head = f"| {path.parent.name}/{path.name} | {name} "
    if "error" in result:
        return head + f"| | | | | | | {result['error'].replace('|', '/')} |"
    times = np.array(result["times"] or [0.0]) * 1e6
    p50, p99 = np.percentile(times, [50, 99])
    note = f"refuses {result['stopped']} of {SAMPLES} texts" if result["stopped"] else ""
    return (
        head + f"| {result['compile'] * 1e3:.1f} | {result['first'] * 1e3:.1f} | {p50:.1f} "
        f"| {times.mean():.0f} | {p99:.0f} | {times.max() / 1e3:.1f} | {note} |"
    )


if __name__ == "__main__":
    main()
