"""Bounds are positive, finite numbers, or refused by name."""

from __future__ import annotations

import math
from dataclasses import asdict, fields
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

import structgen as sg

NAMES = [field.name for field in fields(sg.Limits)]
SECONDS = [name for name in NAMES if name.endswith("_seconds")]
COUNTS = [name for name in NAMES if name not in SECONDS]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [-1, -(2**70), None, "5", [1], 2**70, math.nan, math.inf, -0.5])
def test_what_is_no_bound(name: str, value: Any) -> None:
    if name in SECONDS and value == 2**70:
        return
    with pytest.raises(sg.StructgenError, match=rf"Limits\.{name}"):
        sg.Limits(**{name: value})


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_allowed_to_be_nothing_but_whitespace(name: str) -> None:
    if name == "whitespace":
        assert sg.Limits(whitespace=0).whitespace == 0
    else:
        with pytest.raises(sg.StructgenError, match=rf"Limits\.{name}"):
            sg.Limits(**{name: 0})


@pytest.mark.parametrize("name", COUNTS)
def test_counts_are_whole(name: str) -> None:
    with pytest.raises(sg.StructgenError, match=rf"Limits\.{name}"):
        sg.Limits(**{name: 1.5})
    assert type(getattr(sg.Limits(**{name: np.int64(7)}), name)) is int


@pytest.mark.parametrize("value", [3, 0.25, np.float32(2), Decimal("0.5")])
def test_seconds_are_any_number(value: Any) -> None:
    for name in SECONDS:
        assert asdict(sg.Limits(**{name: value}))[name] == float(value)


def test_stacks_are_what_a_kernel_can_hold() -> None:
    with pytest.raises(sg.StructgenError, match=r"Limits\.stacks.*65,536"):
        sg.Limits(stacks=2**40)
    palindromes = 'root ::= "a" root "a" | "b" root "b" | ""'
    for stacks in (1, 2, 1 << 16):
        limits = sg.Limits(stacks=stacks)
        compiler = sg.Compiler(sg.Vocabulary.byte_vocabulary(), limits=limits)
        matcher = compiler.compile_ebnf(palindromes).matcher()
        if stacks < 3:
            with pytest.raises(sg.LimitExceeded, match="stacks"):
                matcher.accept_bytes(b"a" * 99)
        else:
            assert matcher.accept_bytes(b"a" * 99)
