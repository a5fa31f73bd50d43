"""What identifiers and anchors name, where the test suite does not lie beside the repository."""

from __future__ import annotations

from typing import Any

import pytest

import structgen as sg

TEXT = {"$id": "https://x.test/one", "type": "string"}
NULL = {"$id": "https://x.test/one", "type": "null"}


def accepts(schema: Any, text: str) -> bool:
    compiler = sg.Compiler(sg.Vocabulary.byte_vocabulary(), cache_bytes=0)
    matcher = compiler.compile_json_schema(schema).matcher()
    return matcher.accept_bytes(text.encode()) and matcher.is_accepting()


@pytest.mark.parametrize("unknown", [[NULL], {"a": NULL}, [[{"not": NULL}]]], ids=repr)
def test_an_identifier_under_an_unknown_keyword_yields_to_a_real_one(unknown: Any) -> None:
    for schema in (
        {"$ref": "https://x.test/one", "x-other": unknown, "$defs": {"a": TEXT}},
        {"$ref": "https://x.test/one", "$defs": {"a": TEXT, "b": {"x-other": unknown}}},
        {"$ref": "https://x.test/one", "$defs": {"b": {"x-other": unknown}, "a": TEXT}},
    ):
        assert accepts(schema, '"a"') and not accepts(schema, "null")
    alone = {"$ref": "https://x.test/one", "x-other": unknown}
    assert accepts(alone, "null") and not accepts(alone, '"a"')


def test_properties_named_like_keywords() -> None:
    schema = {
        "properties": {"enum": TEXT, "const": {"$anchor": "here", "type": "null"}, "$id": {}},
        "items": {"$ref": "#here"},
        "prefixItems": [{"$ref": "https://x.test/one"}],
    }
    assert accepts(schema, '["a",null]') and not accepts(schema, "[null]")
    assert not accepts(schema, '["a","b"]')
