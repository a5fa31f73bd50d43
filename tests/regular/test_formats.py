"""Formats against the JSON Schema test suite, sampled texts and independent parsers."""

from __future__ import annotations

import calendar
import ipaddress
import json
import re
import time
from random import Random

import idna
import pytest
from regular.oracle import node_search
from shared_data import shared_data

from structgen.regular.dfa import DFA
from structgen.regular.formats import KNOWN_FORMATS, compile_format

# Valid values of the test suite that are rejected on purpose, and why.
REJECTED = {
    "hostname": "punycode labels are not regular",
    "idn-hostname": "scripts, contextual rules, long labels, other dots, punycode labels",
    "idn-email": "an accent as a combining mark",
}


def compiled(name: str) -> DFA:
    dfa = compile_format(name)
    assert dfa is not None
    return dfa


def sample(dfa: DFA, rng: Random, longest: int = 40) -> str | None:
    """A random accepted text, if the walk ends in time."""
    state, out = 0, []
    while True:
        if dfa.final[state] >= 0 and (len(out) > longest or rng.random() < 0.2):
            return "".join(out)
        begin, end = int(dfa.offsets[state]), int(dfa.offsets[state + 1])
        if begin == end:
            return "".join(out)
        if len(out) > 10 * longest:
            return None
        i = rng.randrange(begin, end)
        out.append(chr(rng.randint(int(dfa.lo[i]), int(dfa.hi[i]))))
        state = int(dfa.target[i])


def samples(name: str, count: int, seed: int = 0) -> list[str]:
    rng = Random(seed)
    found = (sample(compiled(name), rng) for _ in range(count))
    return [text for text in found if text is not None]


@pytest.mark.parametrize("name", sorted(KNOWN_FORMATS))
def test_suite(name: str) -> None:
    path = shared_data(
        "json-schema-test-suite", "draft2020-12", "optional", "format", f"{name}.json"
    )
    dfa = compiled(name)
    dfa.verify()
    rejected = []
    for group in json.loads(path.read_text()):
        for case in group["tests"]:
            if not isinstance(case["data"], str):
                continue
            accepted = dfa.accepts(case["data"]) == 0
            assert case["valid"] or not accepted, case
            if case["valid"] and not accepted:
                rejected.append(case["data"])
    assert not rejected or name in REJECTED, rejected
    if name == "hostname":
        assert all("xn--" in text for text in rejected)


def test_conformance_cases() -> None:
    rejected = []
    for line in shared_data("conformance", "json_schema.jsonl").read_text().splitlines():
        row = json.loads(line)
        schema = row["schema"]
        if not isinstance(schema, dict) or set(schema) - {"type", "format", "$schema"}:
            continue
        dfa = compile_format(schema.get("format", ""))
        try:
            text = json.loads(row["instance_text"])
        except ValueError:
            continue
        if dfa is None or not isinstance(text, str):
            continue
        accepted = dfa.accepts(text) == 0
        assert row["truth"] or not accepted, row
        if row["truth"] and not accepted:
            rejected.append((schema["format"], text))
    assert {name for name, _ in rejected} <= set(REJECTED), rejected


@pytest.mark.parametrize("name", sorted(KNOWN_FORMATS))
def test_automata_are_small_and_quick_to_build(name: str) -> None:
    begin = time.process_time()
    compile_format.__wrapped__(name)
    assert time.process_time() - begin < 1.5  # about 0.1 s on an idle machine
    assert compiled(name).n_states < 1000


def test_unknown_formats_constrain_nothing() -> None:
    assert compile_format("color") is None
    assert compile_format("") is None


def test_every_day_that_exists() -> None:
    dfa = compiled("date")
    years = [0, 4, 96, 100, 400, 1600, 1700, 1900, 1999, 2000, 2023, 2024, 2100, 9999]
    for year in years:
        for month in range(14):
            for day in range(33):
                leap = calendar.isleap(year)
                days = 29 if month == 2 and leap else calendar.mdays[month] if month <= 12 else 0
                exists = 1 <= month <= 12 and 1 <= day <= days
                assert (dfa.accepts(f"{year:04}-{month:02}-{day:02}") == 0) == exists


def test_leap_seconds_are_at_the_end_of_the_utc_day() -> None:
    for name, prefix in (("time", ""), ("date-time", "2016-12-31T")):
        accepted = 0
        for minutes in range(-1439, 1440):
            sign, offset = "-" if minutes < 0 else "+", abs(minutes)
            zone = f"{sign}{offset // 60:02}:{offset % 60:02}"
            local = (23 * 60 + 59 + minutes) % 1440
            for clock in (local, (local + 1) % 1440, 23 * 60 + 59):
                text = f"{prefix}{clock // 60:02}:{clock % 60:02}:60{zone}"
                if compiled(name).accepts(text) == 0:
                    assert clock == local, text
                    accepted += 1
        assert accepted >= 24
    assert compiled("date-time").accepts("2016-12-30T23:59:60Z") == -1


def test_sampled_addresses_parse() -> None:
    for text in [*samples("ipv6", 300), "::1", "fe80::1:2", "1:2:3:4:5:6:7:8"]:
        ipaddress.IPv6Address(text)
        assert compiled("ipv6").accepts(text) == 0
    for text in samples("ipv4", 100):
        ipaddress.IPv4Address(text)
    rng = Random(1)
    for _ in range(500):
        text = str(ipaddress.IPv6Address(rng.getrandbits(128) & rng.getrandbits(128)))
        assert compiled("ipv6").accepts(text) == 0


def test_sampled_regexes_are_valid_ecma() -> None:
    texts = samples("regex", 400)
    for flags in ("", "u"):
        for text, answer in zip(texts, node_search([(t, []) for t in texts], flags), strict=True):
            assert answer is not None, text


def test_sampled_names_are_valid() -> None:
    for text in samples("idn-hostname", 300):
        assert len(idna.encode(text)) <= 253
    for text in [*samples("hostname", 300), "a." * 7 + "b"]:
        assert len(text) <= 253 and max(map(len, text.split("."))) <= 63
        assert compiled("hostname").accepts(text) == 0


def test_every_letter_of_international_names_is_permitted() -> None:
    dfa = compiled("idn-hostname")
    for point in range(0x80, 0x110000):
        if dfa.accepts([point, 97]) == 0:
            idna.check_label(chr(point) + "a")


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("date-time", ["2024-02-29T12:30:00Z", "2024-05-01T00:00:00.123456+02:00"]),
        ("time", ["12:30:00Z", "23:59:59.9-05:30"]),
        ("duration", ["P1Y2M3DT4H5M6S", "PT30M", "P3W"]),
        ("email", ["jane.doe+tag@mail.example.co.uk", "o'brien@example.com", '"a b"@x.org']),
        ("idn-email", ["j\u00fcrgen@m\u00fcller.example", "plain@example.com"]),
        ("hostname", ["example.com", "a.b.c.d.e.f", "my-service.default.svc.cluster.local"]),
        ("idn-hostname", ["m\u00fcnchen.de", "\u4f8b\u5b50.\u6d4b\u8bd5", "example.com"]),
        ("uri", ["https://user@example.com:8080/a/b?q=1#top", "urn:isbn:0451450523", "a:"]),
        ("uri-reference", ["../a/b", "?q", "#f", "", "//host/p"]),
        ("iri", ["https://m\u00fcller.example/\u00e4?q=\u00f6"]),
        ("iri-reference", ["/\u00e4", "\u00e4/b"]),
        ("uri-template", ["/users/{id}{?page,size*}", "{+path:6}/here"]),
        ("uuid", ["123e4567-e89b-12d3-a456-426614174000"]),
        ("json-pointer", ["", "/a/0/~1b~0"]),
        ("relative-json-pointer", ["0", "1/a", "2#"]),
        ("regex", [r"^[a-z0-9_.-]+$", r"^(?:\d{3}-){1,2}\w+\s*$", "(a|b(c|d)?)*", r"\u00e9"]),
    ],
)
def test_ordinary_values(name: str, values: list[str]) -> None:
    for text in values:
        assert compiled(name).accepts(text) == 0, text


def test_sampled_uris_match_the_appendix_b_expression() -> None:
    split = re.compile(r"^(([^:/?#]+):)?(//([^/?#]*))?([^?#]*)(\?([^#]*))?(#(.*))?")
    for text in samples("uri", 300):
        match = split.match(text)
        assert match and match[2] and re.fullmatch(r"[a-zA-Z][a-zA-Z0-9+.-]*", match[2])


def test_quoted_local_parts_are_bounded() -> None:
    dfa = compiled("email")
    for quoted in ("x" * 62, "\\x" * 31, "x" * 60 + '\\"', '\\"@\\\\"'[:-1]):
        assert dfa.accepts(f'"{quoted}"@example.com') == 0, quoted
    for quoted in ("x" * 63, "\\x" * 31 + "x", "x" * 61 + '\\"', "\\"):
        assert dfa.accepts(f'"{quoted}"@example.com') == -1, quoted
