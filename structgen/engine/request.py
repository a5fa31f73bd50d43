"""What goes into the engine and what comes out: plain frozen data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from structgen.errors import StructgenError

if TYPE_CHECKING:
    from structgen.compiler import CompiledGrammar

FinishReason = Literal["stop", "length", "error"]
MAX_STOP_STRINGS = 64
MAX_TOP_LOGPROBS = 20
MAX_BIASES = 1024
_MOST = 3.4e38  # of a parameter: what float32 holds


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How one request is sampled and when it ends.

    What applies comes in the order of transformers' processors: biases, penalties, the grammar,
    temperature, ``top_k``, ``top_p``, ``min_p``. Probability is shared among the tokens that the
    grammar allows.

    Attributes:
        max_tokens: at most this many tokens; None for all that the context leaves room for.
        temperature: 0 takes the most likely allowed token.
        top_k: keep the k most likely tokens; None keeps all.
        top_p: keep the smallest set of tokens whose probability reaches this, in (0, 1].
        min_p: drop tokens less likely than this fraction of the most likely one, in [0, 1].
        seed: the same seed gives the same text, whatever else runs; None draws a new one.
        stop: strings that end the text; the text is cut before them.
        stop_token_ids: tokens that end the text, beside the model's own; they add nothing to it.
        ignore_eos: go on after the model's end-of-text tokens, where no grammar ends the text.
        presence_penalty: subtracted from the logits of tokens that the text has.
        frequency_penalty: subtracted so many times as the text has the token.
        repetition_penalty: divides the logits (multiplies negative ones) of tokens of the prompt
            and the text; 1 for none.
        logit_bias: what is added to the logits of tokens.
        logprobs: None, or with each token its log-probability, and those of so many of the
            likeliest tokens, at temperature 1, among the tokens that the grammar allows.

    Raises:
        StructgenError: a value is out of its range.
    """

    max_tokens: int | None = 256
    temperature: float = 0.7
    top_p: float = 1.0
    top_k: int | None = None
    min_p: float = 0.0
    seed: int | None = None
    stop: Sequence[str] = ()
    stop_token_ids: Sequence[int] = ()
    ignore_eos: bool = False
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    logprobs: int | None = None

    def __post_init__(self) -> None:
        if self.max_tokens is not None:
            _check_integer("max_tokens", self.max_tokens, least=1)
        if self.top_k is not None:
            _check_integer("top_k", self.top_k, least=1)
        if self.seed is not None:
            _check_integer("seed", self.seed)
        _check_number("temperature", self.temperature, "0 or more", lambda x: x >= 0)
        _check_number("top_p", self.top_p, "in (0, 1]", lambda x: 0 < x <= 1)
        _check_number("min_p", self.min_p, "in [0, 1]", lambda x: 0 <= x <= 1)
        for name in ("presence_penalty", "frequency_penalty"):
            _check_number(name, getattr(self, name), "in [-2, 2]", lambda x: -2 <= x <= 2)
        _check_number(
            "repetition_penalty", self.repetition_penalty, "in (0, 10]", lambda x: 0 < x <= 10
        )
        if self.logprobs is not None:
            _check_integer("logprobs", self.logprobs, least=0)
            if self.logprobs > MAX_TOP_LOGPROBS:
                raise StructgenError(
                    f"logprobs must be {MAX_TOP_LOGPROBS} or less, not {shown(self.logprobs)}"
                )
        if not isinstance(self.ignore_eos, bool):
            raise StructgenError(f"ignore_eos is True or False, not {self.ignore_eos!r:.80}")
        object.__setattr__(self, "stop", _stop_strings(self.stop))
        object.__setattr__(self, "stop_token_ids", _token_ids(self.stop_token_ids))
        object.__setattr__(self, "logit_bias", _biases(self.logit_bias))

    @property
    def is_penalised(self) -> bool:
        """Do logits depend on the tokens before?"""
        return (
            self.presence_penalty != 0
            or self.frequency_penalty != 0
            or self.repetition_penalty != 1
        )

    def sample(self, index: int) -> SamplingParams:
        """The parameters of the ``index``-th of several texts: the seed's own stream for each."""
        if self.seed is None or index == 0:
            return self
        stream = np.random.SeedSequence((self.seed % 2**64, index))
        return replace(self, seed=int(stream.generate_state(1, np.uint64)[0]))


def shown(value: Any) -> str:
    """The beginning of its repr, for an error."""
    try:
        return f"{value!r:.80}"
    except ValueError:  # an integer of more digits than Python writes
        return f"{type(value).__name__} of many digits"


def first_line(error: BaseException) -> str:
    """Of its message, for another error's."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _check_integer(name: str, value: Any, least: int | None = None) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise StructgenError(f"{name} must be an integer, not {shown(value)}")
    if least is not None and value < least:
        raise StructgenError(f"{name} must be {least} or more, not {shown(value)}")


def _check_number(name: str, value: Any, rule: str, holds: Any) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not abs(value) <= _MOST or not holds(value):
        raise StructgenError(f"{name} must be a number {rule}, not {shown(value)}")


def _stop_strings(stop: Any) -> tuple[str, ...]:
    strings = (stop,) if isinstance(stop, str) else _several("stop", stop)
    if not all(isinstance(text, str) and text for text in strings):
        raise StructgenError("stop must hold non-empty strings")
    if len(strings) > MAX_STOP_STRINGS:
        raise StructgenError(f"stop holds {len(strings)} strings; at most {MAX_STOP_STRINGS}")
    return strings


def _several(name: str, values: Any) -> tuple[Any, ...]:
    if values is None:
        return ()
    if not isinstance(values, Iterable):
        raise StructgenError(f"{name} must be a list, not {shown(values)}")
    return tuple(values)


def _token_ids(ids: Any) -> tuple[int, ...]:
    found = _several("stop_token_ids", ids)
    if not all(isinstance(i, int) and not isinstance(i, bool) and i >= 0 for i in found):
        raise StructgenError("stop_token_ids must hold token ids, integers of 0 or more")
    return found


def _biases(given: Any) -> dict[int, float]:
    if not isinstance(given, Mapping):
        raise StructgenError(f"logit_bias maps token ids to numbers, not {given!r:.80}")
    if len(given) > MAX_BIASES:
        raise StructgenError(f"logit_bias holds {len(given)} tokens; at most {MAX_BIASES}")
    for token, bias in given.items():
        _check_integer("a token id of logit_bias", token, least=0)
        _check_number(
            f"logit_bias of token {shown(token)}", bias, "in [-100, 100]", lambda x: abs(x) <= 100
        )
    return dict(given)


@dataclass(frozen=True, slots=True)
class Request:
    """One text to generate.

    Attributes:
        prompt_ids: the prompt's tokens, at least one.
        max_tokens: resolved: the prompt and as many tokens fit into the model's context.
        grammar: what the text must obey.
        prompt: the prompt as a person gave it.
        parse: turns a complete constrained text into a value.
        priority: lower ones are served first, and are the last to make room for others.
    """

    prompt_ids: tuple[int, ...]
    params: SamplingParams
    max_tokens: int
    grammar: CompiledGrammar | None = None
    prompt: Any = None
    parse: Callable[[str], Any] | None = None
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts. An end-of-text token that was sampled counts as a completion token.

    ``cached_tokens``: those of the prompt whose keys and values other requests had left behind.
    """

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = field(default=0, compare=False)

    @property
    def total_tokens(self) -> int:
        """Prompt and completion together."""
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """The log-probability of a token, and the likeliest ones in its place, likeliest first."""

    token_id: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Output:
    """One generated text.

    Attributes:
        text: the text, without special tokens, cut before a stop string.
        finish_reason: "stop" (complete, or a stop string came), "length" (``max_tokens`` or the
            context ran out, so a constrained text may be incomplete), or "error".
        usage: token counts.
        token_ids: the sampled tokens, with the end-of-text token where one was sampled.
        prompt: the prompt as it was passed in.
        parsed: the value of a complete constrained text: an instance for ``schema=`` types, plain
            JSON values for JSON Schemas and ``json=True``, the text itself for other constraints;
            otherwise None.
        error: what went wrong with this request, or why the complete text could not be parsed.
        logprobs: of each token, where they were asked for.
    """

    text: str
    finish_reason: FinishReason
    usage: Usage
    token_ids: tuple[int, ...] = ()
    prompt: Any = None
    parsed: Any = None
    error: str | None = None
    logprobs: tuple[TokenLogprob, ...] | None = None
