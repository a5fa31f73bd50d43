"""The engine's face: a language model whose outputs obey what they are asked to obey."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from structgen.engine.assembly import build_engine
from structgen.engine.config import EngineConfig
from structgen.engine.constraint import Compiled, compile_constraints, constraints_per_prompt
from structgen.engine.handle import Event, Handle
from structgen.engine.loading import load
from structgen.engine.metrics import Metrics
from structgen.engine.progress import progress as progress_bar
from structgen.engine.prompts import Prompt, encode_prompt, read_prompts
from structgen.engine.request import Output, Request, SamplingParams, shown
from structgen.errors import StructgenError

if TYPE_CHECKING:
    import torch

    from structgen.compiler import Compiler
    from structgen.limits import Limits

# What is used where neither the caller nor the model's generation config says anything.
DEFAULT_TEMPERATURE = 0.7

log = logging.getLogger("structgen")


class LLM:
    """A language model on one device, with a compiler for its vocabulary.

    All methods may be called from several threads; their requests share one running batch.

    Args:
        model: None for the small model that ships with the package (no network is used), a
            directory, a hub id, or a transformers model object together with ``tokenizer``.
        tokenizer: default the model's own.
        device: default the first GPU, or the CPU.
        dtype: default the checkpoint's own on a GPU, float32 on the CPU.
        native: run it by our own implementation of its architecture; default where there is one,
            for models loaded by name.
        quantize: "int8" or "fp8": keep the weights of a native model in eight bits.
        max_length: the longest text, prompt included, in tokens; default the model's context.
        cache_bytes: bound of the compiler's cache of grammars.
        limits: bounds of a single compilation.
        progress: show progress on stderr; None where it is a terminal.
        settings: of the engine; see :class:`structgen.engine.config.EngineConfig`.

    Attributes:
        context_length: the longest text, prompt included, in tokens.

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
        native: bool | None = None,
        quantize: str | None = None,
        max_length: int | None = None,
        cache_bytes: int = 512 << 20,
        limits: Limits | None = None,
        progress: bool | None = None,
        **settings: Any,
    ) -> None:
        from structgen.vocabulary import Vocabulary

        config = EngineConfig.read(settings)
        loaded = load(
            model, tokenizer, device=device, dtype=dtype, native=native, quantize=quantize,
            show_progress=progress,
        )  # fmt: skip
        self.tokenizer = loaded.tokenizer
        self.model_name = loaded.name
        self.vocabulary = Vocabulary.from_huggingface(
            self.tokenizer, eos_token_ids=_model_end_ids(loaded.generation, self.tokenizer)
        )
        self._compiler: Compiler | None = None
        self._compiler_lock = threading.Lock()
        self._compiler_options: dict[str, Any] = {"cache_bytes": cache_bytes, "limits": limits}
        self._progress = progress
        self._model_tokens = loaded.n_inputs
        self._defaults = _sampling_defaults(loaded.generation)
        context = loaded.model.max_positions
        if max_length is not None:
            if isinstance(max_length, bool) or not isinstance(max_length, int) or max_length < 2:
                raise StructgenError(f"max_length must be 2 or more, not {max_length!r:.40}")
            context = min(context, max_length)
        engine, self.context_length = build_engine(loaded, self.vocabulary, config, context)
        self._engine = engine
        self._device = loaded.model.device
        # The engine's thread holds the engine, not this object, so that this can be collected.
        self._finalizer = weakref.finalize(self, engine.close)

    def __repr__(self) -> str:
        return f"LLM({self.model_name!r}, context {self.context_length}, {self._device})"

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

    def close(self, *, drain: bool = False) -> None:
        """End the engine's thread; requests still running fail, or, with ``drain``, end first."""
        if drain:
            self._engine.close(drain=True)
        self._finalizer()

    def metrics(self) -> Metrics:
        """What was generated so far, and what runs, waits and is kept now."""
        return self._engine.metrics()

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
        seed: int | None = None,
        stop: str | Sequence[str] | None = None,
        n: int = 1,
        whitespace: str = "flexible",
        escapes: str = "any",
        priority: int = 0,
        progress: bool | None = None,
        **sampling: Any,
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
            stop: strings that end the text; it is cut before them.
            seed: the same for every prompt, so that a prompt's result does not depend on the
                others; the ``n`` texts of one prompt use different streams derived from it.
            n: texts per prompt.
            whitespace: JSON whitespace in ``schema=``: "flexible", "compact" or a pattern.
            escapes: in the strings of ``schema=``: "any", or "minimal" for none but required ones.
            priority: lower ones are served first.
            progress: default as for the LLM.
            sampling: ``temperature``, ``top_p``, ``top_k``, ``min_p``, penalties, ``logit_bias``,
                ``logprobs``, ``stop_token_ids``, ``ignore_eos``: see :class:`SamplingParams`.
                Default what the model's generation config says, else a temperature of 0.7.

        At most one constraint holds per prompt. Each may be one value for all prompts, or a list
        with one per prompt, None leaving a prompt free.

        Raises:
            StructgenError: an argument is invalid, before anything is generated.
        """
        show = self._progress if progress is None else progress
        with progress_bar("preparing", show=show):
            requests = self.read(
                prompts,
                max_tokens=max_tokens,
                seed=seed,
                stop=stop or (),
                n=n,
                whitespace=whitespace,
                escapes=escapes,
                priority=priority,
                schema=schema,
                regex=regex,
                choice=choice,
                lark=lark,
                ebnf=ebnf,
                structural_tag=structural_tag,
                json=json,
                **sampling,
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
        with progress_bar("preparing", show=self._progress):
            request = one_request(self, prompt, **options)
            [handle] = self.submit([request])
        return _Stream(self, handle)

    def sampling(self, **given: Any) -> SamplingParams:
        """Sampling parameters: those that are given, for others the model's own defaults.

        Raises:
            StructgenError: a value is out of its range.
            TypeError: there is no such parameter.
        """
        if unknown := given.keys() - SamplingParams.__dataclass_fields__.keys():
            raise TypeError(f"unexpected keyword argument {min(unknown)!r}")
        return SamplingParams(**{**self._defaults, **given})

    def read(self, prompts: Any, **options: Any) -> list[Request]:
        """The requests of a call of :meth:`generate` with these arguments, without running them.

        Raises:
            StructgenError: an argument is invalid; with several prompts it says which.
        """
        names = SamplingParams.__dataclass_fields__
        sampling = {name: options.pop(name) for name in list(options) if name in names}
        sampling["stop"] = sampling.get("stop") or ()
        return self.prepare(prompts, self.sampling(**sampling), **options)

    def prepare(
        self,
        prompts: Any,
        params: SamplingParams,
        *,
        n: int = 1,
        whitespace: str = "flexible",
        escapes: str = "any",
        priority: int = 0,
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
        return self.requests(every_prompt, params, compiled, n=n, priority=priority)

    def requests(
        self,
        prompts: list[Prompt],
        params: SamplingParams,
        compiled: Sequence[Compiled | None],
        *,
        n: int = 1,
        priority: int = 0,
    ) -> list[Request]:
        """The last part of :meth:`prepare`: ``n`` requests for each prompt and its grammar."""
        if isinstance(priority, bool) or not isinstance(priority, int):
            raise StructgenError(f"priority must be an integer, not {priority!r:.80}")
        if isinstance(n, bool) or not isinstance(n, int) or n < 1:
            raise StructgenError(f"n must be an integer, 1 or more, not {shown(n)}")
        most = self._engine.scheduler.config.max_waiting
        if n * len(prompts) > most:
            raise StructgenError(
                f"{len(prompts)} prompts with n = {shown(n)} are more requests than may wait: "
                f"{most}"
            )
        self._check_tokens(params)
        encoded = [
            self._encode(prompt, index if len(prompts) > 1 else None)
            for index, prompt in enumerate(prompts)
        ]
        return [
            self._request(prompt, ids, params.sample(index), grammar, priority)
            for prompt, ids, grammar in zip(prompts, encoded, compiled, strict=True)
            for index in range(n)
        ]

    def submit(
        self, requests: list[Request], on_event: Callable[[int, Event], None] | None = None
    ) -> list[Handle]:
        """Start prepared requests; see :meth:`structgen.engine.engine.Engine.submit`."""
        return self._engine.submit(requests, on_event)

    def _check_tokens(self, params: SamplingParams) -> None:
        for name, ids in (
            ("logit_bias", params.logit_bias), ("stop_token_ids", params.stop_token_ids)
        ):  # fmt: skip
            if any(token >= self._model_tokens for token in ids):
                raise StructgenError(
                    f"{name} names token {shown(max(ids))}, which is not one of the model's "
                    f"{self._model_tokens}"
                )

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
        priority: int,
    ) -> Request:
        room = self.context_length - len(ids)
        return Request(
            prompt_ids=ids,
            params=params,
            max_tokens=room if params.max_tokens is None else min(room, params.max_tokens),
            grammar=None if compiled is None else compiled.grammar,
            prompt=prompt,
            parse=None if compiled is None else compiled.parse,
            priority=priority,
        )


def one_request(llm: LLM, prompt: Any, **options: Any) -> Request:
    """The request of one prompt, with the arguments of :meth:`LLM.stream`."""
    requests = llm.read(prompt, **options)
    if len(requests) != 1:
        raise StructgenError(f"stream takes one prompt, not {len(requests)}")
    return requests[0]


class _Stream(Iterator[str | Output]):
    """The events of one request, which ends when this is closed or dropped."""

    def __init__(self, llm: LLM, handle: Handle) -> None:
        self._llm = llm  # which is not to be collected before
        self._handle, self._events, self._closed = handle, iter(handle), False

    def __next__(self) -> str | Output:
        if self._closed:
            raise StopIteration
        return next(self._events)

    def close(self) -> None:
        """Stop the request; nothing more comes."""
        self._closed = True
        self._handle.cancel()

    def __del__(self) -> None:
        self._handle.cancel()


def _and_then(output: Output, advance: Callable[[int], None]) -> Output:
    advance(output.usage.completion_tokens)
    return output


def _model_end_ids(generation: Any, tokenizer: Any) -> list[int] | None:
    """End-of-text tokens that the model's generation config adds to the tokenizer's own."""
    ids = getattr(generation, "eos_token_id", None)
    if ids is None:
        return None
    ids = [ids] if isinstance(ids, int) else ids
    return [token for token in ids if token < len(tokenizer)] or None


def _sampling_defaults(generation: Any) -> dict[str, Any]:
    """What a generation config says of sampling, where it says that there is any."""
    found: dict[str, Any] = {"temperature": DEFAULT_TEMPERATURE}
    if getattr(generation, "do_sample", None):
        for name in ("temperature", "top_p", "top_k", "min_p", "repetition_penalty"):
            value = getattr(generation, name, None)
            if value is None or (name == "top_k" and value == 0):
                continue
            try:
                SamplingParams(**{name: value})
            except StructgenError as error:
                log.warning("the model's generation config is not followed: %s", error)
            else:
                found[name] = value
    return found
