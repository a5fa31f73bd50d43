"""What the server answers to requests that it cannot serve."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from fastapi.testclient import TestClient
from starlette.requests import ClientDisconnect
from tiny_model import tiny_model, tiny_tokenizer

from structgen.engine import LLM
from structgen.server import create_app
from structgen.server.body import _parse_object

GOOD = {"model": "model", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 3}
URL = "/v1/chat/completions"


def check_error(response, status: int, param: str | None = None) -> dict:
    assert response.status_code == status, response.text
    [(key, error)] = response.json().items()
    assert key == "error"
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == ("invalid_request_error" if status < 500 else "server_error")
    assert error["param"] == param
    assert error["message"]
    assert "Traceback" not in response.text
    assert ".py" not in response.text
    return error


def schema_format(schema) -> dict:
    return {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": None}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": ["hi"]}, "messages[0]"),
        ({"messages": [{"role": "alien", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": 3}]}, "messages[0].content"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
            "messages[0].content[0]",
        ),
        ({"messages": [{"role": "user", "content": "\ud800"}]}, "messages"),
        ({"messages": [{"role": "user", "content": "long " * 500}]}, "messages"),
        ({"model": 3}, "model"),
        ({"temperature": -1}, "temperature"),
        ({"temperature": 2.5}, "temperature"),
        ({"temperature": "1"}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"top_p": 1.1}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_completion_tokens": -5}, "max_completion_tokens"),
        ({"n": 0}, "n"),
        ({"n": 1000}, "n"),
        ({"stop": ""}, "stop[0]"),
        ({"stop": [3]}, "stop[0]"),
        ({"stop": ["a"] * 100}, "stop"),
        ({"seed": 1.5}, "seed"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"logprobs": True}, "logprobs"),
        ({"logit_bias": {"3": 1}}, "logit_bias"),
        ({"presence_penalty": 0.5}, "presence_penalty"),
        ({"response_format": {"type": "yaml"}}, "response_format.type"),
        ({"response_format": "json"}, "response_format"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "s"}}},
            "response_format.json_schema.schema",
        ),
        ({"response_format": schema_format("text")}, "response_format.json_schema.schema"),
        ({"response_format": schema_format(False)}, "response_format"),
        ({"response_format": schema_format({"type": "unknown"})}, "response_format"),
        (
            {"response_format": schema_format({"type": "integer", "minimum": 3, "maximum": 1})},
            "response_format",
        ),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_invalid_fields(client, change, param, stream):
    body = {**GOOD, **({"stream": True} if stream and "stream_options" not in change else {})}
    # Escaped, because a lone surrogate has no UTF-8 form.
    response = client.post(URL, content=json.dumps({**body, **change}))
    check_error(response, 400, param)


@pytest.mark.parametrize("missing", ["model", "messages"])
def test_missing_fields(client, missing):
    body = {key: value for key, value in GOOD.items() if key != missing}
    check_error(client.post(URL, json=body), 400, missing)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b"\xff\xfe{}\x00",
        b'{"model": NaN}',
        b'{"model": "a\x00b"}',
        b'{"temperature": 1e9999999999999999999}',
    ],
)
def test_malformed_bodies(client, body):
    check_error(client.post(URL, content=body), 400)


def test_an_integer_of_many_digits(client):
    body = json.dumps({**GOOD, "max_tokens": 17}).replace("17", "9" * 5000)
    check_error(client.post(URL, content=body), 400, "max_tokens")


def test_a_schema_keeps_its_numbers_as_they_were_written():
    body = _parse_object(b'{"temperature": 0.5, "x": {"minimum": 0.12345678901234567890}}')
    assert type(body["temperature"]) is float
    assert str(body["x"]["minimum"]) == "0.12345678901234567890"


def test_deep_nesting(client):
    for depth in (10_000, 100_000):
        deep = '{"items": ' * depth + "true" + "}" * depth
        body = json.dumps({**GOOD, "response_format": schema_format(0)}).replace("0}", deep + "}")
        check_error(client.post(URL, content=body), 400, "response_format")
    messages = json.dumps({**GOOD, "messages": 0}).replace("0", "[" * 10_000 + "]" * 10_000)
    check_error(client.post(URL, content=messages), 400, "messages")


def test_depth_that_json_reads_but_a_schema_should_not_have(client):
    schema: dict = {}
    for _ in range(700):
        schema = {"items": schema}
    body = json.dumps({**GOOD, "response_format": schema_format(schema)})
    check_error(client.post(URL, content=body), 400, "response_format")


def test_a_huge_schema_is_refused(client):
    properties = {f"property_{i}": {"type": "string", "pattern": f"^{i}$"} for i in range(100_000)}
    body = {**GOOD, "response_format": schema_format({"properties": properties})}
    check_error(client.post(URL, json=body), 400, "response_format")


def test_a_body_that_is_too_large(client):
    content = "x" * (11 << 20)
    response = client.post(URL, json={**GOOD, "user": content})
    check_error(response, 413)


def test_nul_characters_are_text(client):
    body = {**GOOD, "messages": [{"role": "user", "content": "a\u0000b"}]}
    assert client.post(URL, json=body).status_code == 200


def test_an_unknown_model(client):
    error = check_error(client.post(URL, json={**GOOD, "model": "gpt-4"}), 404, "model")
    assert error["code"] == "model_not_found"


def test_unknown_paths_and_methods(client):
    check_error(client.get("/v1/nothing"), 404)
    check_error(client.get(URL), 405)


def test_a_bug_leaks_nothing(client, llm, monkeypatch):
    def broken(*_, **__):
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(llm, "requests", broken)
    response = client.post(URL, json=GOOD)
    check_error(response, 500)
    assert "secret" not in response.text


def test_a_failing_batch_is_a_server_error(client, llm, monkeypatch):
    def broken(*_):
        raise RuntimeError("no memory")

    with monkeypatch.context() as patch:
        patch.setattr(llm._engine._runner.model, "forward", broken)
        check_error(client.post(URL, json=GOOD), 500)
        streamed = client.post(URL, json={**GOOD, "stream": True})
        assert streamed.status_code == 200  # the status was sent before the failure
        assert '{"error":{"message":"generation failed: no memory"' in streamed.text
    assert client.post(URL, json=GOOD).status_code == 200


@pytest.mark.parametrize("stream", [False, True])
def test_a_queue_that_is_full_and_an_engine_that_is_closed(stream):
    llm = LLM(tiny_model(), tokenizer=tiny_tokenizer(), max_batch_size=1, max_waiting=1)
    held = threading.Event()
    model, forward = llm._engine._runner.model, llm._engine._runner.model.forward

    def wait(*arguments):
        held.wait(20)
        return forward(*arguments)

    model.forward = wait
    with TestClient(create_app(llm), raise_server_exceptions=False) as client:
        handles = llm.submit(llm.read("a", max_tokens=2))
        while not llm.metrics().running:
            time.sleep(0.001)
        handles += llm.submit(llm.read("a", max_tokens=2))
        error = check_error(client.post(URL, json={**GOOD, "stream": stream}), 503)
        assert "max_waiting" in error["message"]
        held.set()
        assert all(handle.result().error is None for handle in handles)
        assert client.post(URL, json={**GOOD, "stream": stream}).status_code == 200
        llm.close()
        error = check_error(client.post(URL, json={**GOOD, "stream": stream}), 503)
        assert "closed" in error["message"]


def test_a_client_that_is_gone_before_the_first_event_stops_its_request():
    llm = LLM(tiny_model(), tokenizer=tiny_tokenizer())
    held = threading.Event()
    model, forward = llm._engine._runner.model, llm._engine._runner.model.forward

    def wait(*arguments):
        held.wait(20)
        return forward(*arguments)

    model.forward = wait
    body = json.dumps({**GOOD, "stream": True, "max_tokens": 100}).encode()
    scope = {
        "type": "http", "method": "POST", "path": URL, "headers": [], "query_string": b"",
        "http_version": "1.1", "asgi": {"version": "3.0", "spec_version": "2.4"},
    }  # fmt: skip

    async def receive():
        return {"type": "http.request", "body": body}

    async def send(_message):
        raise OSError("the connection is closed")

    with pytest.raises((OSError, ClientDisconnect)):
        asyncio.run(create_app(llm)(scope, receive, send))
    held.set()
    began = time.monotonic()
    while llm.metrics().cancelled != 1:
        assert llm.metrics().finished == 0
        assert time.monotonic() - began < 20
        time.sleep(0.001)
    llm.close()


def test_a_costly_schema_is_refused_and_delays_nobody(client, llm, monkeypatch):
    costly = {
        "oneOf": [
            {"type": "integer", "minimum": 20 * i, "maximum": 20 * i + 25} for i in range(2000)
        ]
    }
    limits = dataclasses.replace(llm.compiler.limits, compile_seconds=3.0)
    monkeypatch.setattr(llm.compiler, "limits", limits)
    with ThreadPoolExecutor(1) as pool:
        body = {**GOOD, "response_format": schema_format(costly)}
        refused = pool.submit(client.post, URL, json=body)
        time.sleep(0.5)
        assert client.post(URL, json=GOOD).status_code == 200
        assert not refused.done()
        error = check_error(refused.result(), 400, "response_format")
    assert "compile_seconds = 3.0" in error["message"]
