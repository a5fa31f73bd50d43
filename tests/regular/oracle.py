"""Node.js as the oracle for ECMA-262 patterns; many cases in one call."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
from collections.abc import Sequence

import pytest

_SCRIPT = """
const cases = JSON.parse(require('fs').readFileSync(0, 'utf8'));
const out = cases.map(([pattern, texts, flags]) => {
  let re;
  try { re = new RegExp(pattern, flags); } catch (e) { return null; }
  return texts.map(t => re.test(t));
});
console.log(JSON.stringify(out));
"""


@functools.lru_cache(maxsize=1)
def node() -> str | None:
    return shutil.which("node")


def node_search(
    cases: Sequence[tuple[str, Sequence[str]]], flags: str = "u"
) -> list[list[bool] | None]:
    """Per pattern: whether it matches somewhere in each text; None where it is not valid."""
    if node() is None:
        pytest.skip("node is not installed: no oracle for ECMA-262 patterns")
    payload = json.dumps([[pattern, list(texts), flags] for pattern, texts in cases])
    command = [str(node()), "-e", _SCRIPT]
    done = subprocess.run(command, input=payload, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)
