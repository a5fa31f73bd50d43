"""A tiny LLM behind a real server on a free loopback port."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn
from fastapi.testclient import TestClient
from openai import OpenAI
from tiny_model import tiny_model, tiny_tokenizer

from structgen.engine import LLM
from structgen.server import create_app


@pytest.fixture(scope="session")
def llm() -> Iterator[LLM]:
    llm = LLM(tiny_model(), tokenizer=tiny_tokenizer(), max_batch_size=8)
    yield llm
    llm.close()


@pytest.fixture(scope="session")
def client(llm) -> TestClient:
    """In-process HTTP: fast, and server errors become responses as in production."""
    return TestClient(create_app(llm), raise_server_exceptions=False)


@pytest.fixture(scope="session")
def base_url(llm) -> Iterator[str]:
    """The address of a server that listens on a socket."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(create_app(llm), log_level="warning"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="session")
def openai(base_url) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{base_url}/v1", api_key="none", max_retries=0) as client:
        yield client
