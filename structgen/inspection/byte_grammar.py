"""A grammar over single bytes: to try texts on it whatever the tokenizer."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass

import numpy as np

from structgen.automaton.step import MAP
from structgen.bitmask import allocate_bitmask
from structgen.compiler import CompiledGrammar, Compiler
from structgen.errors import StructgenError
from structgen.matcher import Matcher
from structgen.vocabulary import Vocabulary

END = 256  # the id that ends a text


@dataclass(frozen=True, slots=True)
class Refusal:
    """Where a text is no text of the grammar.

    Attributes:
        position: offset in characters of the first one that does not fit; the length of the text
            where all of it fits.
        byte: the same in bytes.
        incomplete: all of it fits, but more would have to follow.
        matcher: after all that fits.
    """

    position: int
    byte: int
    incomplete: bool
    matcher: Matcher


class ByteGrammar:
    """A compiled grammar whose tokens are the 256 bytes (id = byte), ``END``, and special tokens.

    Attributes:
        compiled: the grammar.
        names: special tokens by id. Where one of these names stands in a text it is this token.
    """

    def __init__(self, compiled: CompiledGrammar) -> None:
        self.compiled = compiled
        special = compiled.vocabulary.special_tokens
        self.names = {i: name for name, i in special.items() if i != END}
        longest_first = sorted(self.names.values(), key=len, reverse=True)
        self._ids = {name: i for i, name in self.names.items()}
        self._name = re.compile("|".join(map(re.escape, longest_first))) if self.names else None
        self._mask = allocate_bitmask(1, len(compiled.vocabulary))

    @classmethod
    def compile(
        cls,
        compile: Callable[[Compiler], CompiledGrammar],
        special_names: Callable[[], Iterable[str]] = tuple,
    ) -> ByteGrammar:
        """Compile over bytes.

        ``special_names`` says which special tokens a grammar asks for; it is called where the
        grammar does not compile without any.
        """
        try:
            return cls(compile(Compiler(Vocabulary.byte_vocabulary())))
        except StructgenError as error:
            names = [] if type(error) is not StructgenError else list(special_names())
            if not names:
                raise
        pieces: list[bytes | None] = [bytes([b]) for b in range(256)]
        ids = {name: END + 1 + i for i, name in enumerate(dict.fromkeys(names))}
        special = {**ids, "<eos>": END}
        pieces += [None] * (1 + len(ids))
        vocabulary = Vocabulary(pieces, eos_token_ids=[END], special_tokens=special)
        return cls(compile(Compiler(vocabulary)))

    def matcher(self) -> Matcher:
        return self.compiled.matcher()

    def allowed(self, matcher: Matcher) -> list[int]:
        """The ids that may come next; ``END`` where the text is complete."""
        matcher.fill_bitmask(self._mask, 0)
        bits = np.unpackbits(self._mask[0].view(np.uint8), bitorder="little")
        return np.flatnonzero(bits[: len(self.compiled.vocabulary)]).tolist()

    def groups(self, matcher: Matcher) -> list[list[int]]:
        """What :meth:`allowed` gives; ids of one group are known to lead to the same place."""
        automaton = self.compiled.automaton
        states = [c.state for c in matcher.configurations()]
        found: dict[Hashable, list[int]] = {}
        for i in self.allowed(matcher):
            key: Hashable = i
            if i < END:
                classes = tuple(int(automaton.maps[automaton.states[q, MAP], i]) for q in states)
                key = (classes,)
                if key not in found and not self._moves(states, i):
                    key = i  # a pop looks the byte up again, in another state
            found.setdefault(key, []).append(i)
        return list(found.values())

    def _moves(self, states: list[int], byte: int) -> bool:
        alternatives = self.compiled.automaton.alternatives
        return all(edge[0] >= 0 for q in states for edge in alternatives(q, byte))

    def ids(self, text: str) -> list[tuple[int, int]]:
        """The text as ids, each with the offset of its character."""
        found: list[tuple[int, int]] = []
        at = 0
        for match in self._name.finditer(text) if self._name else ():
            found += _bytes(text[at : match.start()], at)
            found.append((self._ids[match[0]], match.start()))
            at = match.end()
        return found + _bytes(text[at:], at)

    def text(self, ids: Iterable[int]) -> str:
        """The text that ids stand for; bytes that are no UTF-8 become U+FFFD."""
        parts: list[bytes] = []
        for i in ids:
            if i != END:
                parts.append(bytes([i]) if i < END else self.names[i].encode())
        return b"".join(parts).decode("utf-8", "replace")

    def refusal(self, text: str) -> Refusal | None:
        """Where ``text`` stops being one of the grammar; None where it is one."""
        matcher = self.matcher()
        size = 0
        for i, position in self.ids(text):
            if not matcher.accept_token(i):
                return Refusal(position, size, False, matcher)
            size += 1 if i < END else len(self.names[i].encode())
        if matcher.is_accepting():
            return None
        return Refusal(len(text), size, True, matcher)


def _bytes(text: str, offset: int) -> list[tuple[int, int]]:
    try:
        return [(b, offset + i) for i, char in enumerate(text) for b in char.encode()]
    except UnicodeEncodeError:
        # Bytes of a command line that are no UTF-8 arrive as lone surrogates; others fit nowhere.
        return [(b, offset + i) for i, char in enumerate(text) for b in _any_bytes(char)]


def _any_bytes(char: str) -> bytes:
    return char.encode(
        "utf-8", "surrogateescape" if "\udc80" <= char <= "\udcff" else "surrogatepass"
    )
