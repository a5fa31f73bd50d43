"""Chat completions as the ``openai`` client sees them."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from typing import Literal
from urllib.parse import urlparse

import httpx
import openai as openai_package
import pytest
from jsonschema import validate
from pydantic import BaseModel

from structgen.engine import LLM

MESSAGES = [{"role": "user", "content": "hi"}]


class Person(BaseModel, extra="forbid"):
    """A schema that any model finishes in few tokens."""

    on: bool
    color: Literal["red", "grün"]


def create(openai, **options):
    return openai.chat.completions.create(
        **{"model": "model", "messages": MESSAGES, "max_tokens": 20, **options}
    )


def test_a_plain_completion(openai, llm):
    completion = create(openai, temperature=0)
    [choice] = completion.choices
    [expected] = llm.generate(MESSAGES, temperature=0, max_tokens=20)
    assert completion.object == "chat.completion"
    assert completion.model == "model"
    assert completion.id.startswith("chatcmpl-")
    assert abs(completion.created - time.time()) < 60
    assert choice.message.role == "assistant"
    assert choice.message.content == expected.text
    assert choice.finish_reason == expected.finish_reason == "length"
    assert completion.usage.prompt_tokens == expected.usage.prompt_tokens
    assert completion.usage.completion_tokens == 20
    assert completion.usage.total_tokens == expected.usage.total_tokens


def test_parameters_reach_the_sampler(openai, llm):
    options = {"temperature": 1.3, "top_p": 0.9, "seed": 4}
    [expected] = llm.generate(MESSAGES, max_tokens=9, **options)
    for name in ("max_tokens", "max_completion_tokens"):
        completion = create(openai, **{"max_tokens": None, name: 9}, **options)
        assert completion.choices[0].message.content == expected.text
    extended = create(openai, extra_body={"top_k": 1, "min_p": 0.1}, temperature=1.0)
    assert (
        extended.choices[0].message.content
        == create(openai, temperature=0).choices[0].message.content
    )


def test_without_max_tokens_the_context_is_the_bound(openai, llm):
    completion = create(openai, max_tokens=None, temperature=0)
    assert completion.usage.total_tokens == llm.context_length


def test_content_parts_and_roles(openai):
    parts = [{"type": "text", "text": "h"}, {"type": "text", "text": "i"}]
    whole = create(openai, temperature=0)
    assert (
        create(openai, messages=[{"role": "user", "content": parts}], temperature=0)
        .choices[0]
        .message.content
        == whole.choices[0].message.content
    )
    texts = {
        create(openai, messages=[{"role": role, "content": "x"}, *MESSAGES], temperature=0)
        .choices[0]
        .message.content
        for role in ("system", "developer")
    }
    assert len(texts) == 1


def test_n_and_stop(openai):
    completion = create(openai, n=3, seed=1, temperature=1.0)
    assert [choice.index for choice in completion.choices] == [0, 1, 2]
    assert len({choice.message.content for choice in completion.choices}) == 3
    text = completion.choices[0].message.content
    cut = create(openai, seed=1, temperature=1.0, stop=[text[3:6]])
    assert cut.choices[0].message.content == text[: text.index(text[3:6])]
    assert cut.choices[0].finish_reason == "stop"
    # The prompt counts once.
    assert completion.usage.prompt_tokens == cut.usage.prompt_tokens
    assert completion.usage.completion_tokens == 60


def test_harmless_fields_are_ignored(openai):
    plain = create(openai, temperature=0).choices[0].message.content
    fields = {
        "user": "u",
        "metadata": {"a": "b"},
        "store": False,
        "tools": [],
        "tool_choice": "auto",
        "logprobs": False,
        "logit_bias": {},
        "presence_penalty": 0,
        "frequency_penalty": 0.0,
        "something_new": 1,
    }
    assert create(openai, temperature=0, extra_body=fields).choices[0].message.content == plain


@pytest.mark.parametrize("n", [1, 3])
def test_a_stream_gives_the_same_text(openai, n):
    options = {"n": n, "seed": 2, "temperature": 1.0}
    whole = create(openai, **options)
    chunks = list(create(openai, stream=True, stream_options={"include_usage": True}, **options))
    assert {chunk.id for chunk in chunks} == {chunks[0].id}
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    assert chunks[-1].choices == []
    assert chunks[-1].usage.to_dict() == whole.usage.to_dict()
    assert all(chunk.usage is None for chunk in chunks[:-1])
    for index in range(n):
        mine = [c for chunk in chunks[:-1] for c in chunk.choices if c.index == index]
        assert mine[0].delta.role == "assistant"
        assert mine[0].delta.content == ""
        assert all(c.delta.role is None for c in mine[1:])
        assert [c.finish_reason for c in mine] == [None] * (len(mine) - 1) + ["length"]
        text = "".join(c.delta.content or "" for c in mine)
        assert text == whole.choices[index].message.content
        assert len(mine) > 4


def test_the_bytes_of_a_stream(base_url):
    body = {"model": "model", "messages": MESSAGES, "max_tokens": 4, "stream": True}
    response = httpx.post(f"{base_url}/v1/chat/completions", json=body)
    assert response.headers["content-type"].startswith("text/event-stream")
    *events, end = response.text.split("\n\n")
    assert end == ""
    assert events[-1] == "data: [DONE]"
    chunks = [json.loads(event.removeprefix("data: ")) for event in events[:-1]]
    assert chunks[0]["choices"][0] == {
        "index": 0,
        "delta": {"role": "assistant", "content": ""},
        "logprobs": None,
        "finish_reason": None,
    }
    assert chunks[-1]["choices"][0]["delta"] == {}
    assert "usage" not in chunks[0]


def test_json_schema_by_hand_and_by_parse(openai):
    schema = Person.model_json_schema()
    wanted = {"type": "json_schema", "json_schema": {"name": "p", "schema": schema, "strict": True}}
    finished = 0
    for seed in range(5):
        completion = create(openai, response_format=wanted, seed=seed, max_tokens=100)
        if completion.choices[0].finish_reason == "stop":
            finished += 1
            validate(json.loads(completion.choices[0].message.content), schema)
    assert finished
    parsed = openai.chat.completions.parse(
        model="model", messages=MESSAGES, response_format=Person, seed=0, max_tokens=100
    )
    assert isinstance(parsed.choices[0].message.parsed, Person)


def test_json_object_and_text(openai):
    for seed in range(3):
        completion = create(openai, response_format={"type": "json_object"}, seed=seed)
        if completion.choices[0].finish_reason == "stop":
            assert isinstance(json.loads(completion.choices[0].message.content), dict)
        assert completion.choices[0].message.content.lstrip().startswith("{")
    plain = create(openai, temperature=0).choices[0].message.content
    text = create(openai, temperature=0, response_format={"type": "text"})
    assert text.choices[0].message.content == plain


def test_models_and_health(openai, base_url):
    assert [model.id for model in openai.models.list()] == ["model"]
    assert openai.models.retrieve("model").id == "model"
    assert httpx.get(f"{base_url}/health").json() == {"status": "ok"}
    with pytest.raises(openai_package.NotFoundError):
        openai.models.retrieve("other")


def test_concurrent_requests_with_a_bad_one_among_them(openai):
    texts: dict[int, str] = {}
    alone = [
        create(openai, seed=seed, temperature=1.0).choices[0].message.content for seed in range(8)
    ]

    def work(seed: int) -> None:
        if seed % 4 == 3:
            with pytest.raises(openai_package.BadRequestError):
                create(
                    openai,
                    response_format={
                        "type": "json_schema",
                        "json_schema": {
                            "name": "none",
                            "schema": {"type": "integer", "minimum": 3, "maximum": 1},
                        },
                    },
                )
        texts[seed] = create(openai, seed=seed, temperature=1.0).choices[0].message.content

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [texts[seed] for seed in range(8)] == alone


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_frees_its_row(base_url, llm: LLM, monkeypatch, stream):
    model, scheduler = llm._engine._runner.model, llm._engine.scheduler
    forward = model.forward

    def slow(*arguments):
        time.sleep(0.02)
        return forward(*arguments)

    monkeypatch.setattr(model, "forward", slow)
    body = json.dumps({"model": "model", "messages": MESSAGES, "stream": stream})
    address = urlparse(base_url)
    with socket.create_connection((address.hostname, address.port)) as connection:
        connection.sendall(
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
            f"{body}".encode()
        )
        deadline = time.monotonic() + 5
        while not scheduler.running and time.monotonic() < deadline:
            time.sleep(0.01)
        [sequence] = scheduler.running
    while scheduler.running and time.monotonic() < deadline:
        time.sleep(0.01)
    assert scheduler.running == []
    assert sequence.finish_reason is None  # it was dropped, it did not run to its end


TAG = {
    "type": "structural_tag",
    "format": {
        "type": "tag",
        "begin": "<n>",
        "content": {"type": "regex", "pattern": "[1-9][0-9]"},
        "end": "</n>",
    },
}


@pytest.mark.parametrize(
    ("option", "pattern"),
    [
        ({"structured_outputs": {"regex": "[ab]{3}"}}, "[ab]{3}"),
        ({"structured_outputs": {"choice": ["yes", "no"]}}, "yes|no"),
        ({"structured_outputs": {"grammar": 'root ::= "x" | "(" "y" ")"'}}, r"x|\(y\)"),
        ({"structured_outputs": {"lark": 'start: "x" "y"'}}, "xy"),
        # A value with one spelling: 5 is also 5.0 and 50e-1.
        ({"structured_outputs": {"json": {"const": True}}}, "true"),
        ({"structured_outputs": {"structural_tag": TAG}}, "<n>[1-9][0-9]</n>"),
        ({"response_format": TAG}, "<n>[1-9][0-9]</n>"),
    ],
)
def test_other_constraints(openai, option, pattern):
    completion = create(openai, extra_body=option, max_tokens=60)
    assert re.fullmatch(pattern, completion.choices[0].message.content)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"structured_outputs": {}}, "exactly one constraint"),
        ({"structured_outputs": {"regex": "a", "lark": 'start: "a"'}}, "exactly one constraint"),
        ({"structured_outputs": {"regexp": "a"}}, "regexp"),
        ({"structured_outputs": {"grammar": "root ::= missing"}}, "missing"),
        (
            {"structured_outputs": {"regex": "a"}, "response_format": {"type": "json_object"}},
            "one constraint at a time",
        ),
        ({"response_format": {"type": "structural_tag"}}, "format"),
    ],
)
def test_bad_other_constraints(openai, option, message):
    with pytest.raises(openai_package.BadRequestError, match=message):
        create(openai, extra_body=option)
