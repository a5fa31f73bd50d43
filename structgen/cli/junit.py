"""Test results in JUnit's XML, which CI systems read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

# Characters that XML 1.0 has no way to write, escaped or not.
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Outcome:
    """One case, as expected or not; ``happened`` says what the grammar did."""

    suite: str
    name: str
    expected: str
    happened: str
    right: bool
    seconds: float


def junit_xml(outcomes: Sequence[Outcome]) -> str:
    """A ``testsuites`` document: a suite for each file, a test case for each text."""
    about = {"name": "structgen grammar test", **_counts(outcomes)}
    root = ElementTree.Element("testsuites", about)
    for suite in dict.fromkeys(outcome.suite for outcome in outcomes):
        own = [outcome for outcome in outcomes if outcome.suite == suite]
        element = ElementTree.SubElement(root, "testsuite", {"name": _clean(suite), **_counts(own)})
        for outcome in own:
            case = ElementTree.SubElement(
                element,
                "testcase",
                classname=_clean(suite),
                name=_clean(f"{outcome.expected} {outcome.name}"),
                time=f"{outcome.seconds:.6f}",
            )
            if not outcome.right:
                message = _clean(f"expected {outcome.expected}: {outcome.happened}")
                failure = ElementTree.SubElement(case, "failure", message=message)
                failure.text = _clean(outcome.name)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _counts(outcomes: Sequence[Outcome]) -> dict[str, str]:
    return {
        "tests": str(len(outcomes)),
        "failures": str(sum(not outcome.right for outcome in outcomes)),
        "errors": "0",
        "time": f"{sum(outcome.seconds for outcome in outcomes):.6f}",
    }


def _clean(text: str) -> str:
    return _NOT_XML.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
