"""Schemas written to be hard for masks: every keyword, in awkward neighbourhoods."""

from __future__ import annotations

from typing import Any

A_OR_AB = {
    "anyOf": [
        {"properties": {"a": {"type": "integer"}, "ab": {"type": "string"}}, "required": ["a"]},
        {"properties": {"a": {"type": "string"}, "b": {"type": "null"}}, "required": ["b"]},
        {"properties": {"ab": {"enum": [1, "x", None]}}, "additionalProperties": False},
    ]
}

SCHEMAS: dict[str, Any] = {
    "anything": True,
    "any object": {"type": "object"},
    "any array": {"type": "array"},
    "string": {"type": "string"},
    "number": {"type": "number"},
    "recursive ref": {
        "$ref": "#/$defs/tree",
        "$defs": {
            "tree": {
                "type": "object",
                "properties": {
                    "value": {"type": ["integer", "null"]},
                    "children": {"type": "array", "items": {"$ref": "#/$defs/tree"}},
                    "next": {"$ref": "#/$defs/tree"},
                },
                "required": ["value"],
                "additionalProperties": False,
            }
        },
    },
    "overlapping objects": {"type": "object", **A_OR_AB},
    "overlapping objects in arrays": {"type": "array", "items": A_OR_AB, "maxItems": 3},
    "anyOf of arrays": {
        "anyOf": [
            {"type": "array", "items": {"type": "integer"}, "minItems": 2},
            {"type": "array", "prefixItems": [{"type": "string"}], "maxItems": 2},
            {"type": "array", "items": {"type": "array", "items": {"type": "boolean"}}},
        ]
    },
    "enum": {"enum": ["a", "ab", "é", "\U0001f600", "a\nb", 'q"\\', 1, -2.50, 1e3, None, [1, {}]]},
    "const object": {"const": {"k": [1, {"é": "\u0000"}], "z": {}, "": None}},
    "pattern": {"type": "string", "pattern": "^(\\d{3}-)?[a-zé]{2,5}$"},
    "unanchored pattern": {"type": "string", "pattern": "ab+[^\\n]c"},
    "pattern and lengths": {"type": "string", "pattern": "[0-9]", "minLength": 3, "maxLength": 5},
    "lengths": {"type": "string", "minLength": 2, "maxLength": 4},
    "no characters": {"type": "array", "items": {"type": "string", "maxLength": 0}},
    "any pattern": {"type": "object", "properties": {"a": {"type": "string", "pattern": ".*"}}},
    "pattern of all": {"type": "array", "items": {"type": "string", "pattern": ""}},
    "long lengths": {"type": "string", "minLength": 30, "maxLength": 40},
    "huge length": {"type": "array", "items": {"type": "string", "maxLength": 100_000}},
    "bounded integer": {"type": "integer", "minimum": -13, "exclusiveMaximum": 1027},
    "bounded number": {"type": "number", "exclusiveMinimum": 0.15, "maximum": 2.5},
    "multiple": {"type": "number", "multipleOf": 0.25, "minimum": -1, "maximum": 30},
    "prefix and items": {
        "type": "array",
        "prefixItems": [{"type": "integer"}, {"enum": ["x", "xy"]}],
        "items": {"type": "array", "items": {"type": "boolean"}, "maxItems": 2},
        "minItems": 1,
        "maxItems": 4,
    },
    "many items": {"type": "array", "items": {"const": 1}, "minItems": 17, "maxItems": 33},
    "no more items": {"type": "array", "prefixItems": [{}, {"type": "null"}], "items": False},
    "additional schema": {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "abc": {"type": "boolean"}},
        "additionalProperties": {"type": "string", "maxLength": 3},
    },
    "optional everywhere": {
        "type": "object",
        "properties": {
            "o1": {"type": "null"}, "o2": {"type": "null"}, "r1": {"type": "null"},
            "o3": {"type": "null"}, "r2": {"type": "null"}, "o4": {"type": "null"},
            "o5": {"type": "null"},
        },
        "required": ["r1", "r2"],
        "additionalProperties": False,
    },
    "optional and open": {
        "type": "object",
        "properties": {"a": {"const": 1}, "b": {"const": 2}, "ab": {"const": 3}},
        "required": ["b", "undeclared"],
    },
    "names in need of escapes": {
        "type": "object",
        "properties": {'"': {"const": 1}, "\\": {"const": 2}, "é\n": {"const": 3}, "": {"const": 4},
                       "\U0001f600": {"const": 5}, "/": {"const": 6}},
        "additionalProperties": False,
    },
    "not required": {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        "not": {"required": ["a", "b"]},
    },
    "oneOf by tag": {
        "oneOf": [
            {"type": "object", "properties": {"kind": {"const": "circle"}, "r": {"type": "number"}},
             "required": ["kind", "r"], "additionalProperties": False},
            {"type": "object", "properties": {"kind": {"const": "circles"},
             "n": {"type": "integer", "minimum": 0}}, "required": ["kind"],
             "additionalProperties": False},
            {"type": "null"},
        ]
    },
    "oneOf of numbers": {"oneOf": [{"type": "integer", "maximum": 5}, {"multipleOf": 3}]},
    "dependencies": {
        "type": "object",
        "properties": {"card": {"type": "integer"}, "address": {"type": "string"},
                       "other": {"type": "null"}},
        "dependentRequired": {"card": ["address"]},
        "dependentSchemas": {"other": {"required": ["extra"]}},
    },
    "if then else": {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "string"}},
        "if": {"required": ["a"]},
        "then": {"required": ["b"]},
        "else": {"required": ["c"]},
    },
    "strings or numbers": {
        "anyOf": [{"type": "string", "maxLength": 2}, {"type": "number", "minimum": 10},
                  {"const": "long enough"}]
    },
    "allOf": {
        "allOf": [
            {"properties": {"a": {"type": "integer"}}, "required": ["a"]},
            {"properties": {"a": {"minimum": 3}, "b": {"maxLength": 1}}, "required": ["b"]},
        ],
        "type": "object",
    },
    "nested arrays": {
        "type": "array",
        "items": {"type": "array", "items": {"type": "array", "items": {"type": "integer"},
                  "maxItems": 2}, "minItems": 1},
        "minItems": 2,
    },
    "formats": {
        "type": "array",
        "prefixItems": [{"type": "string", "format": f}
                        for f in ("date", "uuid", "ipv4", "date-time")],
        "minItems": 2,
        "maxItems": 4,
    },
}  # fmt: skip
