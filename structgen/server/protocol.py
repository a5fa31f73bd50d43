"""The body of ``POST /v1/chat/completions``: what is accepted, and what it asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from structgen.engine.constraint import Constraint
from structgen.engine.request import MAX_STOP_STRINGS, SamplingParams
from structgen.server.errors import ApiError

# Fields that would change the result but are not supported, with the values that change nothing.
# Everything else that is unknown (user, metadata, store, ...) is ignored, as clients expect.
_UNSUPPORTED: dict[str, tuple[Any, ...]] = {
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "logit_bias": ({},),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "repetition_penalty": (1,),
    "modalities": (["text"],),
    "audio": (),
    "reasoning_effort": (),
    "verbosity": (),
    "web_search_options": (),
    "guided_json": (),
    "guided_regex": (),
    "guided_choice": (),
    "guided_grammar": (),
}


def _as_list(stop: Any) -> Any:
    return [stop] if isinstance(stop, str) else stop


def _object_or_boolean(schema: Any) -> Any:
    if not isinstance(schema, dict | bool):
        raise ValueError("a JSON Schema is an object or a boolean")
    return schema


# Alternatives of one type at a time: pydantic would name a union's branches in an error's path.
StopStrings = Annotated[
    list[Annotated[str, Field(min_length=1)]],
    Field(max_length=MAX_STOP_STRINGS),
    BeforeValidator(_as_list),
]


class _Model(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")


class Message(_Model):
    """One message of the conversation."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Any = None


class StreamOptions(_Model):
    """Options of a streamed response."""

    include_usage: bool | None = None


class JsonSchema(_Model):
    """The ``json_schema`` of a response format; a schema is always enforced, strict or not."""

    name: str | None = None
    strict: bool | None = None
    json_schema: Annotated[Any, Field(alias="schema"), AfterValidator(_object_or_boolean)]


class ResponseFormat(_Model):
    """What the text must be; a structural tag's own fields stand beside ``type``."""

    type: Literal["text", "json_object", "json_schema", "structural_tag"]
    json_schema: JsonSchema | None = None


class StructuredOutputs(_Model):
    """One constraint of any kind, in vLLM's form; ``lark`` goes beyond it."""

    model_config = ConfigDict(strict=True, extra="forbid")

    json_value: Annotated[Any, Field(alias="json"), AfterValidator(_object_or_boolean)] = None
    json_object: bool | None = None
    regex: str | None = None
    choice: list[str] | None = None
    grammar: str | None = None
    lark: str | None = None
    structural_tag: dict[str, Any] | str | None = None


class ChatRequest(_Model):
    """A chat completion request; ``top_k`` and ``min_p`` go beyond OpenAI's fields."""

    model: str
    messages: Annotated[list[Message], Field(min_length=1)]
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=1)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    stop: StopStrings | None = None
    seed: int | None = None
    n: Annotated[int, Field(ge=1, le=128)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    response_format: ResponseFormat | None = None
    structured_outputs: StructuredOutputs | None = None

    @classmethod
    def read(cls, body: dict[str, Any]) -> ChatRequest:
        """Check ``body``.

        Raises:
            ApiError: a field is missing, wrong, or not supported; ``param`` names it.
        """
        for name, harmless in _UNSUPPORTED.items():
            if (value := body.get(name)) is not None and value not in harmless:
                raise ApiError(f"{name} is not supported", param=name, code="unsupported_parameter")
        try:
            request = cls.model_validate(body)
        except ValidationError as error:
            raise _first_error(error) from None
        if request.stream_options is not None and not request.stream:
            raise ApiError("stream_options is only for stream: true", param="stream_options")
        return request

    def chat(self) -> list[Mapping[str, Any]]:
        """The messages with plain text contents.

        Raises:
            ApiError: a content is not text.
        """
        return [
            {"role": _ROLES.get(message.role, message.role), "content": _text(message, index)}
            for index, message in enumerate(self.messages)
        ]

    def constraint(self) -> Constraint | None:
        """What ``response_format`` or ``structured_outputs`` asks for.

        Raises:
            ApiError: both, or more than one constraint, or none where there must be one.
        """
        other = self._structured_output()
        wanted = self.response_format
        if wanted is None or wanted.type == "text":
            return other
        if other is not None:
            raise ApiError(
                "one constraint at a time: response_format or structured_outputs",
                param="structured_outputs",
            )
        if wanted.type == "json_object":
            return Constraint("schema", {"type": "object"})
        if wanted.type == "structural_tag":
            fields = wanted.model_dump(exclude={"json_schema"})
            return Constraint("structural_tag", fields)
        if wanted.json_schema is None:
            raise ApiError(
                'response_format of type "json_schema" needs json_schema',
                param="response_format.json_schema",
            )
        return Constraint("schema", wanted.json_schema.json_schema)

    def _structured_output(self) -> Constraint | None:
        if self.structured_outputs is None:
            return None
        dumped = self.structured_outputs.model_dump().items()
        given = {k: v for k, v in dumped if v is not None and (k, v) != ("json_object", False)}
        if len(given) != 1:
            raise ApiError(
                "structured_outputs needs exactly one constraint: json, json_object, regex, "
                "choice, grammar (GBNF or EBNF), lark or structural_tag",
                param="structured_outputs",
            )
        [(kind, value)] = given.items()
        if kind == "json_object":
            return Constraint("schema", {"type": "object"})
        return Constraint({"json_value": "schema", "grammar": "ebnf"}.get(kind, kind), value)

    def sampling(self) -> SamplingParams:
        """The sampling parameters, with OpenAI's defaults."""
        return SamplingParams(
            max_tokens=self.max_completion_tokens or self.max_tokens,
            temperature=1.0 if self.temperature is None else self.temperature,
            top_p=1.0 if self.top_p is None else self.top_p,
            top_k=self.top_k,
            min_p=self.min_p or 0.0,
            seed=self.seed,
            stop=tuple(self.stop or ()),
        )


# Chat templates know the older name.
_ROLES = {"developer": "system"}


def _text(message: Message, index: int) -> str:
    content = message.content
    if isinstance(content, str):
        return content
    param = f"messages[{index}].content"
    if not isinstance(content, list):
        raise ApiError("content must be a string or a list of text parts", param=param)
    texts = []
    for position, part in enumerate(content):
        is_text = isinstance(part, dict) and part.get("type") == "text"
        if not is_text or not isinstance(part.get("text"), str):
            raise ApiError(
                'only content parts {"type": "text", "text": string} are supported',
                param=f"{param}[{position}]",
            )
        texts.append(part["text"])
    return "".join(texts)


def _first_error(error: ValidationError) -> ApiError:
    first = error.errors(include_url=False, include_input=False)[0]
    param = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"])
    param = param.removeprefix(".")
    return ApiError(f"{param}: {first['msg']}", param=param)
