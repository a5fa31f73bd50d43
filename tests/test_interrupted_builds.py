"""A state whose building failed half way is built again, and is what it would have been."""

from __future__ import annotations

from typing import Any

import pytest

import structgen as sg
from structgen.budget import Budget

BYTES = sg.Vocabulary.byte_vocabulary()
CASES: dict[str, tuple[Any, bytes]] = {
    "one of many keywords": (
        {
            "type": "array",
            "prefixItems": [
                {"enum": ["a", "b", 1]},
                {"type": "object", "patternProperties": {"^a": {"type": "integer", "minimum": 3}}},
            ],
            "items": False,
        },
        b'["b",{"a":12,"b":{}}]',
    ),
    "combinations": (
        {
            "properties": {
                "a": {"anyOf": [{"pattern": "^x"}, {"maximum": 3}], "not": {"const": 2}}
            },
            "required": ["a"],
            "allOf": [{"maxProperties": 2}, {"properties": {"b": {"$ref": "#"}}}],
        },
        b'{"a":"xy","b":{"a":1}}',
    ),
}


def masks_along(matcher: sg.Matcher, text: bytes) -> list[bytes]:
    mask = sg.allocate_bitmask(1, len(BYTES))
    found = []
    for byte in text:
        matcher.fill_bitmask(mask)
        found.append(mask.tobytes())
        assert matcher.accept_token(byte)
    return found


@pytest.mark.parametrize("name", CASES)
def test_failures_anywhere(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The n-th time that a build asks what it may spend it is told that it is too much."""
    schema, text = CASES[name]
    compiler = sg.Compiler(BYTES, cache_bytes=0)
    expected = masks_along(compiler.compile_json_schema(schema).matcher(), text)
    check, charge = Budget.check, Budget.charge
    left = 0

    def count(where: str) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise sg.LimitExceeded(limit="step_seconds", value=0, where=where)

    def check_or_fail(self: Budget, where: str) -> None:
        count(where)
        check(self, where)

    def charge_or_fail(self: Budget, nbytes: int, where: str) -> None:
        count(where)
        charge(self, nbytes, where)

    monkeypatch.setattr(Budget, "check", check_or_fail)
    monkeypatch.setattr(Budget, "charge", charge_or_fail)
    n, failed = 0, True
    while failed:
        n += 1
        left = 0
        grammar = compiler.compile_json_schema(schema)
        left = n
        failed = False
        try:
            masks_along(grammar.matcher(), text)
        except sg.LimitExceeded:
            failed = True
        left = 0
        assert masks_along(grammar.matcher(), text) == expected, n
    assert n > 20
