"""The engine's face: a language model whose outputs obey what they are asked to obey."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from structgen.engine.constraint import Compiled, compile_constraints, constraints_per_prompt
from structgen.engine.engine import Engine, Event, Handle
from structgen.engine.loading import load
from structgen.engine.progress import progress as progress_bar
from structgen.engine.prompts import Prompt, encode_prompt, read_prompts
from structgen.engine.request import Output, Request, SamplingParams
from structgen.engine.runner import Runner
from structgen.engine.step import Batch
from structgen.engine.tokens import TokenTable
from structgen.errors import StructgenError

if TYPE_CHECKING:
    import torch

    from structgen.compiler import Compiler
    from structgen.limits import Limits

# Position limit of models that declare none.
UNBOUNDED_CONTEXT = 1 << 20


class LLM:
    """A language model on one device, with a compiler for its vocabulary.

    All methods may be called from several threads; their requests share one running batch.

    Args:
        model: None for the small model that ships with the package (no network is used), a
            directory, a hub id, or a transformers model object together with ``tokenizer``.
        tokenizer: default the model's own.
        device: default the first GPU, or the CPU.
        dtype: default the checkpoint's own on a GPU, float32 on the CPU.
        max_batch_size: sequences that run at once; the others wait.
        cache_bytes: bound of the compiler's cache of grammars.
        limits: bounds of a single compilation.
        progress: show progress on stderr; None where it is a terminal.

    Raises:
        StructgenError: the model cannot be loaded or is of a kind that is not supported.
    """

    def __init__(
        self,
        model: Any = None,
        *,
        tokenizer: Any = None,
        device: str | torch.device | None = None,
        dtype: str | torch.dtype | None = None,
        max_batch_size: int = 64,
        cache_bytes: int = 512 << 20,
        limits: Limits | None = None,
        progress: bool | None = None,
    ) -> None:
        from structgen.vocabulary import Vocabulary

        if isinstance(max_batch_size, bool) or max_batch_size < 1:
            raise StructgenError(f"max_batch_size must be 1 or more, not {max_batch_size}")
        loaded = load(model, tokenizer, device=device, dtype=dtype, show_progress=progress)
        self.model = loaded.model
        self.tokenizer = loaded.tokenizer
        self.model_name = loaded.name
        self.context_length = _context_length(self.model)
        self.vocabulary = Vocabulary.from_huggingface(
            self.tokenizer, eos_token_ids=_model_end_ids(self.model, self.tokenizer)
        )
        self._compiler: Compiler | None = None
        self._compiler_lock = threading.Lock()
        self._compiler_options: dict[str, Any] = {"cache_bytes": cache_bytes, "limits": limits}
        self._progress = progress
        self._model_tokens = self.model.get_input_embeddings().weight.shape[0]
        table = TokenTable(self.vocabulary)
        engine = Engine(Batch(Runner(self.model), table), table, max_batch_size)
        self._engine = engine
        # The engine's thread holds the engine, not this object, so that this can be collected.
        self._finalizer = weakref.finalize(self, engine.close)

    def __repr__(self) -> str:
        return f"LLM({self.model_name!r}, context {self.context_length}, {self.model.device})"

    @property
    def compiler(self) -> Compiler:
        """The compiler for the model's vocabulary, made when it is first needed.

        That takes the time to load the array kernels, or on a new machine to compile them.
        """
        with self._compiler_lock:
            if self._compiler is None:
                from structgen.compiler import Compiler

                self._compiler = Compiler(self.vocabulary, **self._compiler_options)
            return self._compiler

    def close(self) -> None:
        """End the engine's thread; requests still running fail."""
        self._finalizer()

    def generate(
        self,
        prompts: Any,
        *,
        schema: Any = None,
        regex: Any = None,
        choice: Any = None,
        lark: Any = None,
        ebnf: Any = None,
        structural_tag: Any = None,
        json: Any = False,
        max_tokens: int | None = 256,
        temperature: float = 0.7,
        top_p: float = 1.0,
        top_k: int | None = None,
        min_p: float = 0.0,
        seed: int | None = None,
        stop: str | Sequence[str] | None = None,
        n: int = 1,
        whitespace: str = "flexible",
        escapes: str = "any",
        progress: bool | None = None,
    ) -> list[Output]:
        """Generate ``n`` texts for each prompt, in the order of the prompts.

        Args:
            prompts: a string, token ids, chat messages (``{"role", "content"}``), or a list of
                these. A string goes to the model as it is; messages go through its chat template.
            schema: a JSON Schema (dict, bool, JSON text), or a pydantic model or other type.
            regex: a regular expression that the whole text matches.
            choice: a list of strings, one of which is the text.
            lark: a grammar in Lark's notation.
            ebnf: a grammar in GBNF.
            structural_tag: a structural tag specification.
            json: True for any JSON value.
            max_tokens: at most this many tokens, fewer where the context ends; None fills it.
            temperature: 0 takes the most likely allowed token.
            top_p, top_k, min_p, stop: see :class:`SamplingParams`.
            seed: the same for every prompt, so that a prompt's result does not depend on the
                others; the ``n`` texts of one prompt use different streams derived from it.
            n: texts per prompt.
            whitespace: JSON whitespace in ``schema=``: "flexible", "compact" or a pattern.
            escapes: in the strings of ``schema=``: "any", or "minimal" for none but required ones.
            progress: default as for the LLM.

        At most one constraint holds per prompt. Each may be one value for all prompts, or a list
        with one per prompt, None leaving a prompt free.

        Raises:
            StructgenError: an argument is invalid, before anything is generated.
        """
        params = SamplingParams(max_tokens, temperature, top_p, top_k, min_p, seed, stop or ())
        show = self._progress if progress is None else progress
        with progress_bar("preparing", show=show):
            requests = self.prepare(
                prompts,
                params,
                n=n,
                whitespace=whitespace,
                escapes=escapes,
                schema=schema,
                regex=regex,
                choice=choice,
                lark=lark,
                ebnf=ebnf,
                structural_tag=structural_tag,
                json=json,
            )
            handles = self.submit(requests)
        try:
            with progress_bar("generating", total=len(handles), show=show) as advance:
                return [_and_then(handle.result(), advance) for handle in handles]
        except BaseException:  # a KeyboardInterrupt too must not leave requests running
            for handle in handles:
                handle.cancel()
            raise

    def stream(self, prompt: Any, **options: Any) -> Iterator[str | Output]:
        """Pieces of one text as they are generated, then its :class:`Output`.

        Takes one prompt and the keyword arguments of :meth:`generate`, except ``n`` and
        ``progress``. Closing the iterator stops the request.

        Raises:
            StructgenError: an argument is invalid, before the first piece.
        """
        names = SamplingParams.__dataclass_fields__
        sampling = {name: options.pop(name) for name in list(options) if name in names}
        sampling["stop"] = sampling.get("stop") or ()
        with progress_bar("preparing", show=self._progress):
            requests = self.prepare(prompt, SamplingParams(**sampling), **options)
            if len(requests) != 1:
                raise StructgenError(f"stream takes one prompt, not {len(requests)}")
            [handle] = self.submit(requests)
        return _events(handle)

    def prepare(
        self,
        prompts: Any,
        params: SamplingParams,
        *,
        n: int = 1,
        whitespace: str = "flexible",
        escapes: str = "any",
        **constraints: Any,
    ) -> list[Request]:
        """Check and tokenize ``prompts`` and compile their constraints, without running anything.

        Raises:
            StructgenError: an argument is invalid; with several prompts it says which.
        """
        every_prompt = read_prompts(prompts)
        wanted = constraints_per_prompt(len(every_prompt), constraints)
        compiled: list[Compiled | None] = [None] * len(wanted)
        if any(wanted):
            compiled = compile_constraints(self.compiler, wanted, whitespace, escapes)
        return self.requests(every_prompt, params, compiled, n=n)

    def requests(
        self,
        prompts: list[Prompt],
        params: SamplingParams,
        compiled: Sequence[Compiled | None],
        *,
        n: int = 1,
    ) -> list[Request]:
        """The last part of :meth:`prepare`: ``n`` requests for each prompt and its grammar."""
        if isinstance(n, bool) or not isinstance(n, int) or n < 1:
            raise StructgenError(f"n must be an integer, 1 or more, not {n!r:.80}")
        encoded = [
            self._encode(prompt, index if len(prompts) > 1 else None)
            for index, prompt in enumerate(prompts)
        ]
        return [
            self._request(prompt, ids, params.sample(index), grammar)
            for prompt, ids, grammar in zip(prompts, encoded, compiled, strict=True)
            for index in range(n)
        ]

    def submit(
        self, requests: list[Request], on_event: Callable[[int, Event], None] | None = None
    ) -> list[Handle]:
        """Start prepared requests; see :meth:`structgen.engine.engine.Engine.submit`."""
        return self._engine.submit(requests, on_event)

    def _encode(self, prompt: Prompt, index: int | None) -> tuple[int, ...]:
        try:
            ids = encode_prompt(self.tokenizer, prompt, model_tokens=self._model_tokens)
            if len(ids) >= self.context_length:
                raise StructgenError(
                    f"the prompt has {len(ids)} tokens, but the model's context holds "
                    f"{self.context_length}, and at least one is needed for the output"
                )
        except StructgenError as error:
            if index is None:
                raise
            raise StructgenError(f"prompt {index}: {error}") from error
        return ids

    def _request(
        self,
        prompt: Prompt,
        ids: tuple[int, ...],
        params: SamplingParams,
        compiled: Compiled | None,
    ) -> Request:
        room = self.context_length - len(ids)
        return Request(
            prompt_ids=ids,
            params=params,
            max_tokens=room if params.max_tokens is None else min(room, params.max_tokens),
            grammar=None if compiled is None else compiled.grammar,
            prompt=prompt,
            parse=None if compiled is None else compiled.parse,
        )


def _events(handle: Handle) -> Iterator[str | Output]:
    try:
        yield from handle
    finally:
        handle.cancel()


def _and_then(output: Output, advance: Callable[[], None]) -> Output:
    advance()
    return output


def _context_length(model: Any) -> int:
    config = model.config.get_text_config(decoder=True)
    return getattr(config, "max_position_embeddings", None) or UNBOUNDED_CONTEXT


def _model_end_ids(model: Any, tokenizer: Any) -> list[int] | None:
    """End-of-text tokens that the model's generation config adds to the tokenizer's own."""
    config = getattr(model, "generation_config", None)
    ids = getattr(config, "eos_token_id", None)
    if ids is None:
        return None
    ids = [ids] if isinstance(ids, int) else ids
    return [token for token in ids if token < len(tokenizer)] or None
