"""The same constraint in other engines, for comparison: llguidance and XGrammar, where installed.

Each takes what it can read: XGrammar reads no Lark dialect with lookahead, llguidance no structural
tags. What an engine refuses is reported in its own words.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from functools import partial
from typing import Any

from structgen.errors import StructgenError
from structgen.inspection.along import Follower
from structgen.vocabulary import Vocabulary

# From a kind of constraint (see CompiledGrammar.kind) and its text: a compiled constraint, which
# makes followers.
Peer = Callable[[str, str], Callable[[], Follower]]


def installed_peers(vocabulary: Vocabulary) -> dict[str, Callable[[], Peer]]:
    """Engines that are installed, by name with version; each is prepared when it is called."""
    found: dict[str, Callable[[], Peer]] = {}
    for name, make in (("llguidance", _llguidance), ("xgrammar", _xgrammar)):
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        found[f"{name} {version}"] = partial(make, vocabulary)
    return found


def _llguidance(vocabulary: Vocabulary) -> Peer:
    import llguidance
    from llguidance.gbnf_to_lark import gbnf_to_lark
    from llguidance.numpy import allocate_token_bitmask, fill_next_token_bitmask

    tokenizer = llguidance.LLTokenizer(llguidance.TokenizerWrapper(_Tokens(vocabulary)))
    mask = allocate_token_bitmask(1, tokenizer.vocab_size)

    class Matcher:
        def __init__(self, matcher: Any) -> None:
            self.matcher = matcher

        def fill(self) -> None:
            fill_next_token_bitmask(self.matcher, mask, 0)

        def accept(self, token: int) -> bool:
            if not int(mask[0, token >> 5]) >> (token & 31) & 1:
                return False
            return bool(self.matcher.consume_token(token))

    def compile(kind: str, text: str) -> Callable[[], Follower]:
        match kind:
            case "lark":
                grammar = llguidance.LLMatcher.grammar_from_lark(text)
            case "ebnf":
                grammar = llguidance.LLMatcher.grammar_from_lark(gbnf_to_lark(text))
            case "json_schema":
                grammar = llguidance.LLMatcher.grammar_from_json_schema(text)
            case "regex":
                grammar = llguidance.LLMatcher.grammar_from_regex(text)
            case _:
                raise StructgenError(f"llguidance does not read a {kind}")
        first = llguidance.LLMatcher(tokenizer, grammar)
        if first.is_error():
            raise StructgenError(first.get_error())
        return lambda: Matcher(first.deep_copy())

    return compile


class _Tokens:
    """What llguidance asks of a tokenizer."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.eos_token_id = vocabulary.eos_token_ids[0]
        self.bos_token_id = None
        named = {i: name.encode() for name, i in vocabulary.special_tokens.items()}
        self.tokens = [
            vocabulary.token_bytes(i) or b"\xff" + named.get(i, b"<unused %d>" % i)
            for i in range(len(vocabulary))
        ]
        self.special_token_ids = sorted(named)

    def __call__(self, text: bytes | str) -> list[int]:
        raise NotImplementedError  # canonical splits are not asked for here


def _xgrammar(vocabulary: Vocabulary) -> Peer:
    import xgrammar

    # An empty piece is a special token to XGrammar.
    pieces = [vocabulary.token_bytes(i) or b"" for i in range(len(vocabulary))]
    info = xgrammar.TokenizerInfo(
        pieces, xgrammar.VocabType.RAW, stop_token_ids=list(vocabulary.eos_token_ids)
    )
    compiler = xgrammar.GrammarCompiler(info, max_threads=1, cache_enabled=False)
    mask = xgrammar.allocate_token_bitmask(1, info.vocab_size)

    class Matcher:
        def __init__(self, grammar: Any) -> None:
            self.matcher = xgrammar.GrammarMatcher(grammar)

        def fill(self) -> None:
            self.matcher.fill_next_token_bitmask(mask)

        def accept(self, token: int) -> bool:
            return bool(self.matcher.accept_token(token))

    def compile(kind: str, text: str) -> Callable[[], Follower]:
        match kind:
            case "lark":
                grammar = compiler.compile_lark(text)
            case "ebnf":
                grammar = compiler.compile_grammar(text)
            case "json_schema":
                grammar = compiler.compile_json_schema(text)
            case "regex":
                grammar = compiler.compile_regex(text)
            case "structural_tag":
                grammar = compiler.compile_structural_tag(text)
            case _:
                raise StructgenError(f"xgrammar does not read a {kind}")
        return lambda: Matcher(grammar)

    return compile
