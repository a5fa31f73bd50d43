"""Prompts as people write them, to token ids."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from structgen.engine.request import shown
from structgen.errors import StructgenError

Message = Mapping[str, Any]
Prompt = str | list[int] | list[Message]


def read_prompts(prompts: Any) -> list[Prompt]:
    """One prompt or many, as a list.

    A prompt is a string, a list of token ids, or a chat: a list of ``{"role", "content"}`` objects.

    Raises:
        StructgenError: it is none of these.
    """
    if _is_prompt(prompts):
        return [prompts]
    if not isinstance(prompts, list | tuple):
        raise StructgenError(f"a prompt cannot be {prompts!r:.80}: {_ACCEPTED}")
    for index, prompt in enumerate(prompts):
        if not _is_prompt(prompt) and prompt != []:
            raise StructgenError(f"prompt {index} cannot be {prompt!r:.80}: {_ACCEPTED}")
    return list(prompts)


_ACCEPTED = "pass a string, a list of token ids, a list of chat messages, or a list of these"


def _is_prompt(value: Any) -> bool:
    if isinstance(value, str):
        return True
    return (
        isinstance(value, list | tuple)
        and bool(value)
        and (all(map(_is_token_id, value)) or all(isinstance(one, Mapping) for one in value))
    )


def _is_token_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def encode_prompt(tokenizer: Any, prompt: Prompt, *, model_tokens: int) -> tuple[int, ...]:
    """Token ids of ``prompt``; chats go through the tokenizer's chat template.

    Args:
        tokenizer: a transformers tokenizer.
        model_tokens: size of the model's embedding; ids must be below it.

    Raises:
        StructgenError: the prompt is empty, not valid Unicode, or holds an unknown token id.
    """
    if not prompt:
        raise StructgenError("the prompt is empty")
    if isinstance(prompt, str):
        _check_unicode(prompt)
        ids = tokenizer(prompt, verbose=False)["input_ids"]
    elif isinstance(prompt[0], Mapping):
        ids = _encode_chat(tokenizer, prompt)
    else:
        ids = prompt
    bad = next((i for i in ids if not 0 <= i < model_tokens), None)
    if bad is not None:
        raise StructgenError(
            f"token id {shown(bad)} is not one of the model's {model_tokens} tokens"
        )
    if not ids:
        raise StructgenError("the prompt is empty: the tokenizer makes no tokens of it")
    return tuple(ids)


def _encode_chat(tokenizer: Any, messages: Any) -> list[int]:
    for message in messages:
        if not isinstance(message.get("role"), str) or not isinstance(message.get("content"), str):
            raise StructgenError('a chat message is {"role": string, "content": string}')
        _check_unicode(message["content"])
    if not tokenizer.chat_template:
        return tokenizer(_join(messages), verbose=False)["input_ids"]
    try:
        text = tokenizer.apply_chat_template(
            [dict(message) for message in messages], tokenize=False, add_generation_prompt=True
        )
    except Exception as error:  # templates refuse, for example, roles that do not alternate
        raise StructgenError(f"the model's chat template refuses the messages: {error}") from error
    return tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]


def _join(messages: Any) -> str:
    """The plain form for a model without a chat template: one line per message."""
    lines = [f"{message['role']}: {message['content']}" for message in messages]
    return "\n".join([*lines, "assistant:"])


def _check_unicode(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise StructgenError(
            f"the prompt is not valid Unicode: a lone surrogate at position {error.start}"
        ) from None
