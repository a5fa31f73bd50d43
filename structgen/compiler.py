"""From a constraint to a compiled grammar, through a bounded cache."""

from __future__ import annotations

import threading
import time
import weakref
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from structgen.automaton.lift import DONE
from structgen.automaton.tables import Automaton
from structgen.background import Background
from structgen.budget import Budget, Cancel, spending
from structgen.errors import LimitExceeded, StructgenError
from structgen.forking import hold_while_forking
from structgen.json_text import read_json, write_json
from structgen.limits import Limits
from structgen.masks.completion import Completion
from structgen.masks.grammar import MaskGrammar
from structgen.masks.tokens import TokenTables
from structgen.matcher import Matcher
from structgen.regular.charset import has_surrogate
from structgen.schema.compile import build_schema
from structgen.schema.document import snapshot
from structgen.schema.family import Families, group_of
from structgen.schema.library import Library
from structgen.schema.options import SchemaOptions
from structgen.vocabulary import Vocabulary
from structgen.warmup import load_kernels

if TYPE_CHECKING:
    from structgen.grammar.ir import Grammar
    from structgen.pushdown import Built

FORMAT_VERSION = 1

# A repetition that makes texts of so many code points is counted, not spelled out.
COUNTED_FROM = 512


class CompiledGrammar:
    """What a constraint does with every token of one vocabulary. Shared freely between threads."""

    def __init__(
        self,
        masks: MaskGrammar,
        start: int,
        source: dict[str, Any],
        vocabulary: Vocabulary,
        warnings: Sequence[str],
        seconds: float,
        limits: Limits,
    ) -> None:
        self._limits = limits
        self._masks, self._start, self._source = masks, start, source
        self.vocabulary = vocabulary
        self._warnings = list(warnings)
        self._conflict: str | None = None
        self._looked = False
        self._seconds = seconds
        # Taken out by the thread that works on it; another begins anew.
        self._completion: deque[Completion] = deque(maxlen=1)
        # A grammar in rules, and how it was placed; for those who look inside.
        self.rules: tuple[Grammar, Built] | None = None

    def matcher(self) -> Matcher:
        """A matcher at the empty text."""
        return Matcher(self._masks, self._start)

    def complete(
        self,
        seconds: float = 1.0,
        memory_bytes: int = 64 << 20,
        *,
        cancel: Cancel | None = None,
    ) -> bool:
        """Compute rows ahead of the texts that need them; other threads get between.

        Args:
            seconds: of wall-clock time; another call goes on where this one ended.
            memory_bytes: what the grammar's tables may grow to.
            cancel: stops soon after it is set.

        Returns:
            Is nothing left to compute ahead? Even then a text may need a row that was not foreseen.
        """
        try:
            completion = self._completion.pop()
        except IndexError:
            completion = Completion(self._masks, self._start)
        try:
            return completion.run(seconds, memory_bytes, cancel)
        finally:
            self._completion.append(completion)

    @property
    def kind(self) -> str:
        """What it was compiled from: "json_schema", "regex", "choice", "lark", "ebnf"..."""
        return self._source["kind"]

    @property
    def automaton(self) -> Automaton:
        """The tables, which grow as texts are generated; for those who look inside."""
        return self._masks.automaton

    @property
    def start(self) -> int:
        """The automaton's state at the empty text."""
        return self._start

    @property
    def nbytes(self) -> int:
        """Bytes of the grammar's own tables and rows so far; they grow as texts are generated.

        Grammars that share definitions (see :mod:`structgen.schema.family`) have one set of tables
        together.
        """
        return self._masks.nbytes

    @property
    def warnings(self) -> list[str]:
        """For people: what is enforced in part or has no effect, and what makes it slow.

        A grammar that is not LR(1) is named here, with a text that shows it, where a conflict is
        found among the item sets nearest to the start.
        """
        if not self._looked and self.rules is not None:
            from structgen.pushdown.conflicts import warning

            self._conflict = warning(self.rules[1], self._limits.stacks)
            self._looked = True
        return self._warnings + ([] if self._conflict is None else [self._conflict])

    @property
    def stats(self) -> dict[str, int | float]:
        """Counts of what was built so far, and the seconds that compiling took.

        What is shared with other grammars (see :attr:`nbytes`) is counted in each.
        """
        a, s = self._masks.automaton, self._masks.store
        return {
            "states": a.n_states,
            "edges": a.n_edges,
            "rows": s.n_rows - 1,
            "entries": s.n_entries,
            "nbytes": self.nbytes,
            "compile_seconds": self._seconds,
        }

    def dump(self) -> str:
        """The automaton's states reachable from its start, as text."""
        return self._masks.automaton.dump(self._start)

    def serialize(self) -> bytes:
        """The constraint with its options and the vocabulary's fingerprint.

        Tables are built lazily and compile in milliseconds, so they are not part of it.
        """
        if self._source["options"] is None:
            raise StructgenError("a grammar with a resolver function cannot be serialized")
        text = self._source["text"]
        return write_json(
            {
                "structgen": FORMAT_VERSION,
                "vocabulary": self.vocabulary.fingerprint,
                "limits": asdict(self._limits),
                **self._source,
                "text": text() if callable(text) else text,
            }
        ).encode()

    @staticmethod
    def deserialize(data: bytes, vocabulary: Vocabulary) -> CompiledGrammar:
        """The grammar that :meth:`serialize` wrote; for the same vocabulary only."""
        try:
            source = read_json(data)
            version, fingerprint = source.pop("structgen"), source.pop("vocabulary")
            kind, options = source["kind"], source["options"]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise StructgenError(f"not a serialized grammar: {error}") from None
        if version != FORMAT_VERSION:
            raise StructgenError(
                f"serialized grammar of format {version}, this is format {FORMAT_VERSION}"
            )
        if fingerprint != vocabulary.fingerprint:
            raise StructgenError("the grammar was compiled for another vocabulary")
        try:
            limits = Limits(**source.pop("limits"))
        except (KeyError, TypeError) as error:
            raise StructgenError(f"not a serialized grammar: {error}") from None
        compiler = Compiler(vocabulary, cache_bytes=0, limits=limits)
        methods: dict[str, Callable[..., CompiledGrammar]] = {
            "json_schema": compiler.compile_json_schema,
            "regex": compiler.compile_regex,
            "choice": compiler.compile_choice,
            "lark": compiler.compile_lark,
            "ebnf": compiler.compile_ebnf,
            "structural_tag": compiler.compile_structural_tag,
        }
        if not isinstance(kind, str) or kind not in methods:
            raise StructgenError(f"serialized grammar of unknown kind {kind!r}")
        try:
            if "cancel" in options:
                raise TypeError("a compilation is cancelled by whoever calls it")
            return methods[kind](source["text"], **options)
        except (KeyError, TypeError) as error:
            raise StructgenError(f"not a serialized grammar: {error}") from None


class Compiler:
    """Compiles constraints for one vocabulary. Thread-safe.

    Args:
        vocabulary: the tokens' exact bytes.
        cache_bytes: compiled grammars are kept, least recently used first out, up to this size;
            0 keeps none. What several share counts once.
        limits: bounds on one compilation.
        background_seconds: for so long a thread completes each new grammar (see
            :meth:`CompiledGrammar.complete`); 0: rows are computed when a text needs them.
        background_bytes: what the tables of each grammar may grow to meanwhile.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        *,
        cache_bytes: int = 512 << 20,
        limits: Limits | None = None,
        background_seconds: float = 0.0,
        background_bytes: int = 16 << 20,
    ) -> None:
        self.vocabulary = vocabulary
        self.limits = limits or Limits()
        self._tokens = TokenTables.of(vocabulary)
        self._cache_bytes = cache_bytes
        self._cache = _Cache(cache_bytes)
        self._libraries: dict[tuple[str, str], tuple[Library, MaskGrammar]] = {}
        self._lock = threading.RLock()
        self._families = Families(self._lock)
        self._background = (
            Background(background_seconds, background_bytes) if background_seconds > 0 else None
        )
        with _COMPILERS_LOCK:
            _COMPILERS.add(self)
        load_kernels()

    def compile_json_schema(
        self,
        schema: Any,
        *,
        whitespace: str = "flexible",
        escapes: str = "any",
        cancel: Cancel | None = None,
        **options: Any,
    ) -> CompiledGrammar:
        """Compile a JSON Schema.

        Args:
            schema: a dict or bool, JSON text, a pydantic model, or any type that pydantic's
                ``TypeAdapter`` takes.
            whitespace: ``"compact"`` (none), ``"flexible"`` (any JSON whitespace between tokens,
                each run at most ``limits.whitespace`` long) or a pattern of whitespace.
            escapes: ``"any"`` (every legal spelling of a string) or ``"minimal"`` (one: escaped is
                only what JSON requires).
            options: ``property_order``, ``unsupported``, ``additional_properties``, ``formats``;
                see :class:`structgen.schema.options.SchemaOptions`.
            cancel: a :class:`threading.Event`, or anything with ``is_set()``: once it is set, the
                compilation stops. All ``compile_*`` methods take it.

        Raises:
            CompileCancelled: ``cancel`` was set.
            SchemaError: malformed, or satisfied by no value.
            UnsupportedSchemaError: a constraint that is not enforced (keyword and JSON Pointer).
            LimitExceeded: a bound of ``limits`` was reached.
        """
        if not isinstance(schema, dict | bool):
            from structgen.schema_input import resolve_schema

            schema = resolve_schema(schema).schema
        if not isinstance(whitespace, str):
            raise StructgenError(f"whitespace is a string, not {whitespace!r:.40}")
        if not isinstance(escapes, str):
            raise StructgenError(f"escapes is a string, not {escapes!r:.40}")
        started = time.perf_counter()
        try:
            chosen = SchemaOptions(**options)
        except TypeError as error:
            raise StructgenError(f"compile_json_schema: {error}") from None
        try:
            settings = {"whitespace": whitespace, "escapes": escapes, **chosen.to_json()}
        except TypeError:
            settings = None  # a resolver: neither cached nor serialized

        def build() -> CompiledGrammar:
            own = snapshot(schema)  # the caller may change the dict later
            lazily = own is not None
            group, found = group_of(own, chosen), None
            if group is not None:
                group = (group, whitespace, escapes, self.limits)
                found = self._families.build(group, own, self.limits, chosen)
            if found is None:
                library, shared = self._library(whitespace, escapes)
                with self._automaton(library.automaton) as automaton:
                    builder, start = build_schema(
                        automaton, library, own if lazily else schema, self.limits, chosen,
                        lazily=lazily,
                    )  # fmt: skip
                    masks = MaskGrammar(self._tokens, automaton, shared)
                if group is not None:
                    self._families.add(group, masks, library, builder)
            else:
                masks, builder, start = found
            text = partial(write_json, own) if lazily else write_json(schema)
            source = {"kind": "json_schema", "text": text, "options": settings}
            return self._finish(masks, start, source, builder.reader.warnings, started)

        if self._cache_bytes <= 0 or settings is None:
            return self._run(build, cancel)
        try:
            # Not json.dumps, which writes the keys 1 and "1" alike.
            key = ("json_schema", repr(schema), write_json(settings))
        except (RecursionError, TypeError, ValueError):
            return self._run(build, cancel)  # the compiler says what is wrong with it
        return self._cached(key, build, cancel)

    def compile_json(
        self, *, whitespace: str = "flexible", escapes: str = "any", cancel: Cancel | None = None
    ) -> CompiledGrammar:
        """Any JSON value; the options are those of :meth:`compile_json_schema`."""
        return self.compile_json_schema(True, whitespace=whitespace, escapes=escapes, cancel=cancel)

    def compile_choice(
        self, choices: Sequence[str], *, cancel: Cancel | None = None
    ) -> CompiledGrammar:
        """One of the given texts, exactly."""
        from structgen.regular.bytewise import choices_to_bytes

        if isinstance(choices, str | Mapping) or not isinstance(choices, Iterable):
            raise StructgenError(f"choice is a list of texts, not {choices!r:.40}")
        choices = list(choices)
        if not choices or not all(isinstance(c, str) for c in choices):
            raise StructgenError("choice needs at least one text; every choice is a string")
        for choice in choices:
            if has_surrogate(choice):
                raise StructgenError(
                    f"{choice!r:.60} has a lone surrogate, which no text can spell"
                )
        if sum(map(len, choices)) > self.limits.literal_length:
            raise LimitExceeded(
                limit="literal_length", value=self.limits.literal_length, where="the choices"
            )
        source = {"kind": "choice", "text": choices, "options": {}}
        return self._cached(
            ("choice", tuple(choices)),
            lambda: self._compile_bytes(lambda: choices_to_bytes(choices), source),
            cancel,
        )

    def compile_regex(self, pattern: str, *, cancel: Cancel | None = None) -> CompiledGrammar:
        """A text that matches an ECMA-262 regular expression from beginning to end."""
        if not isinstance(pattern, str):
            raise StructgenError(f"a regular expression is a string, not {pattern!r:.40}")
        source = {"kind": "regex", "text": pattern, "options": {}}
        return self._cached(("regex", pattern), lambda: self._build_regex(pattern, source), cancel)

    def _build_regex(self, pattern: str, source: dict[str, Any]) -> CompiledGrammar:
        from structgen.automaton.counted import place_counted
        from structgen.regular.bytewise import utf8
        from structgen.regular.counting import compile_counted_full
        from structgen.regular.ecma import compile_full

        started = time.perf_counter()
        most = self.limits.pattern_states
        counted = compile_counted_full(pattern, max_states=most)
        if (
            counted is not None
            and counted.maximum is not None
            and counted.maximum >= COUNTED_FROM
            and self._tokens.usable_bytes().all()
            and not counted.dfa.is_empty
        ):
            automaton = Automaton(max_states=self.limits.states)
            start = place_counted(automaton, counted.dfa, counted.minimum, counted.maximum)
            masks = MaskGrammar(self._tokens, automaton)
            return self._finish(masks, start, source, (), started)
        return self._compile_bytes(lambda: utf8(compile_full(pattern, max_states=most)), source)

    def compile_lark(
        self,
        text: str,
        *,
        start: str = "start",
        grammars: Mapping[str, str] | None = None,
        folder: str | Path | None = None,
        cancel: Cancel | None = None,
    ) -> CompiledGrammar:
        """A text of a Lark grammar.

        Args:
            text: the grammar, in Lark's dialect with ``%json``, ``%regex`` and special tokens; see
                ``docs/grammars.md``.
            start: the start rule.
            grammars: grammars by name that ``text`` imports or refers to.
            folder: where ``%import .name.RULE`` finds files; without it, nowhere.

        Raises:
            GrammarSyntaxError: the grammar cannot be read; with line, column and a caret.
            UnsupportedGrammarError: a construct that is not supported.
            LimitExceeded: a bound of ``limits`` was reached.
        """
        from structgen.grammar import read_lark

        _check_text("a Lark grammar", text)
        if grammars is not None and not isinstance(grammars, Mapping):
            raise StructgenError(f"grammars are texts by name, not {grammars!r:.40}")
        for name, other in (grammars or {}).items():
            _check_text(f"grammar {name!r:.40}", other)
        options = {
            "start": start,
            "grammars": None if grammars is None else dict(grammars),
            "folder": None if folder is None else str(folder),
        }
        source = {"kind": "lark", "text": text, "options": options}
        return self._compile_grammar(
            lambda: read_lark(text, start, base=folder, grammars=grammars), source, cancel
        )

    def compile_ebnf(
        self, text: str, *, root: str = "root", cancel: Cancel | None = None
    ) -> CompiledGrammar:
        """A text of a grammar in GBNF (llama.cpp) or XGrammar's EBNF; ``root`` is its start rule.

        Raises:
            GrammarSyntaxError: the grammar cannot be read; with line, column and a caret.
            UnsupportedGrammarError: a construct that is not supported.
            LimitExceeded: a bound of ``limits`` was reached.
        """
        from structgen.grammar import read_ebnf

        _check_text("an EBNF grammar", text)
        source = {"kind": "ebnf", "text": text, "options": {"root": root}}
        return self._compile_grammar(lambda: read_ebnf(text, root), source, cancel)

    def compile_structural_tag(
        self, spec: Mapping[str, Any] | str, *, cancel: Cancel | None = None
    ) -> CompiledGrammar:
        """Free text with tags in it: tool calls, reasoning, citations.

        Args:
            spec: a dict or JSON text in XGrammar's documented form, or OpenAI's older one with
                ``structures`` and ``triggers``; see ``docs/structural-tags.md``. Where a string
                of it names a special token of the vocabulary, it stands for that token.

        Raises:
            GrammarSyntaxError, SchemaError, UnsupportedGrammarError: with the place in the
                specification as a JSON Pointer.
            LimitExceeded: a bound of ``limits`` was reached.
        """
        from structgen.grammar import read_structural_tag

        try:
            # As text: the caller may change the dict later.
            text = spec if isinstance(spec, str) else write_json(spec)
        except (RecursionError, TypeError, ValueError):
            text = None  # the reader says what is wrong with it
        source: dict[str, Any] = {"kind": "structural_tag", "text": text, "options": {}}
        specials = self.vocabulary.special_tokens
        return self._compile_grammar(
            lambda: read_structural_tag(spec, special_tokens=specials), source, cancel
        )

    # -- inside ---------------------------------------------------------------------------------

    def _library(self, whitespace: str, escapes: str) -> tuple[Library, MaskGrammar]:
        """The frames that depend on no schema, built once for these options."""
        with self._lock:
            found = self._libraries.pop((whitespace, escapes), None)
            if found is None:
                usable = self._tokens.usable_bytes()
                library = Library(whitespace, self.limits.whitespace, usable, escapes=escapes)
                masks = MaskGrammar(self._tokens, library.automaton)
                masks.store.set_library(
                    int(library.string_states[DONE]), library.end, library.counted_string
                )
                found = (library, masks)
                if len(self._libraries) >= 16:  # explicit patterns: keep the most recent ones
                    self._libraries.pop(next(iter(self._libraries)))
            self._libraries[whitespace, escapes] = found
            return found

    @contextmanager
    def _automaton(self, base: Automaton | None) -> Iterator[Automaton]:
        """An automaton to build in, closed where no grammar comes of it."""
        automaton = Automaton(base, max_states=self.limits.states)
        try:
            yield automaton
        except BaseException:
            automaton.close()
            raise

    def _compile_bytes(self, make: Callable[[], Any], source: dict[str, Any]) -> CompiledGrammar:
        from structgen.automaton.placing import place_bytes

        started = time.perf_counter()
        dfa = make()
        usable = self._tokens.usable_bytes()
        if not usable.all():
            from structgen.regular.bytewise import restrict

            dfa = restrict(dfa, np.flatnonzero(usable))
        if dfa.is_empty:
            raise StructgenError("no text that the vocabulary can spell satisfies the constraint")
        automaton = Automaton()
        start = place_bytes(automaton, dfa)
        return self._finish(MaskGrammar(self._tokens, automaton), start, source, (), started)

    def _compile_grammar(
        self, read: Callable[[], Grammar], source: dict[str, Any], cancel: Cancel | None
    ) -> CompiledGrammar:
        """A grammar in rules, with what it embeds."""
        from structgen.grammar_builder import GrammarBuilder, library_kind

        def build() -> CompiledGrammar:
            started = time.perf_counter()
            grammar = read()
            kind = library_kind(grammar)
            library, shared = (None, None) if kind is None else self._library(*kind)
            base = None if library is None else library.automaton
            usable = self._tokens.usable_bytes()
            with self._automaton(base) as automaton:
                builder = GrammarBuilder(automaton, library, self.vocabulary, self.limits, usable)
                start, built = builder.start(grammar)
                masks = MaskGrammar(self._tokens, automaton, shared)
            compiled = self._finish(masks, start, source, builder.warnings, started)
            compiled.rules = (grammar, built)
            return compiled

        try:
            key = (source["kind"], write_json(source))
        except (RecursionError, TypeError, ValueError):
            return self._run(build, cancel)  # the reader says what is wrong with it
        return self._cached(key, build, cancel)

    def _finish(
        self,
        masks: MaskGrammar,
        start: int,
        source: dict[str, Any],
        warnings: Sequence[str],
        started: float,
    ) -> CompiledGrammar:
        seconds = time.perf_counter() - started
        if masks.limits is not self.limits:  # those of a family are there, and in use
            masks.limits = self.limits
        grammar = CompiledGrammar(
            masks, start, source, self.vocabulary, warnings, seconds, self.limits
        )
        if self._background is not None:
            self._background.add(grammar)
        return grammar

    def close(self) -> None:
        """Stop completing grammars in the background. They and the compiler remain usable."""
        if self._background is not None:
            self._background.close()

    def _run(self, build: Callable[[], CompiledGrammar], cancel: Cancel | None) -> CompiledGrammar:
        """Build within the time and memory of the limits."""
        limits = self.limits
        with spending(Budget(limits.compile_seconds, limits.memory_bytes, cancel)):
            return build()

    def _cached(
        self, key: Any, build: Callable[[], CompiledGrammar], cancel: Cancel | None
    ) -> CompiledGrammar:
        if self._cache_bytes <= 0:
            return self._run(build, cancel)
        with self._lock:
            grammar, _evicted = self._cache.get(key)
        if grammar is None:
            compiled = self._run(build, cancel)
            with self._lock:
                grammar, _evicted = self._cache.add(key, compiled)
        # What was evicted is freed here, where nobody waits for the lock.
        return grammar


_COMPILERS: weakref.WeakSet[Compiler] = weakref.WeakSet()
_COMPILERS_LOCK = threading.RLock()


def _locks() -> Iterator[threading.RLock]:
    yield _COMPILERS_LOCK
    for compiler in list(_COMPILERS):
        yield compiler._lock


hold_while_forking(_locks)


class _Cache:
    """Compiled grammars by key, least recently used first out, up to ``most`` bytes.

    Grammars grow while they are used, by whoever holds them. So a grammar is measured whenever it
    is asked for, and all of them are once in an eighth as many calls as there are grammars: as
    many measurements for each call, however full the cache is.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._grammars: OrderedDict[Any, CompiledGrammar] = OrderedDict()
        # By the tables of one or several grammars: how many grammars, and their size.
        self._users: Counter[MaskGrammar] = Counter()
        self._sizes: dict[MaskGrammar, int] = {}
        self._total = 0
        self._calls = 0  # since all were measured

    def get(self, key: Any) -> tuple[CompiledGrammar | None, list[CompiledGrammar]]:
        """The grammar of ``key``, or None, and what had to go."""
        grammar = self._grammars.get(key)
        if grammar is None:
            return None, []
        self._grammars.move_to_end(key)
        return grammar, self._shrink(grammar)

    def add(
        self, key: Any, grammar: CompiledGrammar
    ) -> tuple[CompiledGrammar, list[CompiledGrammar]]:
        """The grammar of ``key``: this one, unless there is one; and what had to go."""
        if key not in self._grammars:
            self._grammars[key] = grammar
            self._users[grammar._masks] += 1
        grammar = self._grammars[key]
        return grammar, self._shrink(grammar)

    def _shrink(self, used: CompiledGrammar) -> list[CompiledGrammar]:
        self._calls += 1
        if 8 * self._calls >= len(self._grammars):
            self._calls = 0
            self._sizes = {masks: masks.nbytes for masks in self._users}
            self._total = sum(self._sizes.values())
        else:
            size = used.nbytes
            self._total += size - self._sizes.get(used._masks, 0)
            self._sizes[used._masks] = size
        evicted = []
        # The one in use stays, however large it is.
        while self._total > self.most and len(self._grammars) > 1:
            _, grammar = self._grammars.popitem(last=False)
            evicted.append(grammar)
            masks = grammar._masks
            self._users[masks] -= 1
            if not self._users[masks]:
                del self._users[masks]
                self._total -= self._sizes.pop(masks)
        return evicted


def _check_text(what: str, text: object) -> None:
    if not isinstance(text, str):
        raise StructgenError(f"{what} is a string, not {text!r:.40}")
