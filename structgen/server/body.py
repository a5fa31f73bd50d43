"""Reading a request body: bounded in size and depth, strict JSON."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from fastapi import Request
from fastapi.concurrency import run_in_threadpool

from structgen.json_text import read_json
from structgen.server.errors import ApiError

MAX_BODY_BYTES = 10 << 20


async def read_json_object(request: Request) -> dict[str, Any]:
    """The JSON object that the request carries.

    Raises:
        ApiError: it is too large (413), not JSON, not an object or nested too deeply (400).
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise ApiError(
                f"the request body is larger than {MAX_BODY_BYTES >> 20} MiB", status=413
            )
    return await run_in_threadpool(_parse_object, bytes(body))


def _parse_object(body: bytes) -> dict[str, Any]:
    try:
        value = read_json(body)
    except RecursionError:
        raise ApiError(
            "the request body is nested too deeply", param=_first_deep_field(body)
        ) from None
    except ValueError as error:  # not JSON, or not UTF-8
        raise ApiError(f"the request body is not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise ApiError("the request body must be a JSON object")
    # Schemas, which lie deeper, keep their numbers as they were written.
    return {k: float(v) if isinstance(v, Decimal) else v for k, v in value.items()}


_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)
_DEEP = 100


def _first_deep_field(body: bytes) -> str | None:
    """The field of the top-level object whose value nests deepest first."""
    depth = 0
    field = None
    for match in _TOKEN.finditer(body):
        token = match[0]
        if token in (b"{", b"["):
            depth += 1
            if depth > _DEEP and field is not None:
                return field.strip(b'"').decode("utf-8", "replace")
        elif token in (b"}", b"]"):
            depth -= 1
        elif depth == 1:
            field = token
    return None
