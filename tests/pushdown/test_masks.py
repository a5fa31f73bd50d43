"""Masks of grammars: a token's bit, its acceptance, and its bytes one by one are the same."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from masks.walks import Words, mask_of, words

import structgen as sg

# -- vocabularies -----------------------------------------------------------------------------

EOS, END_TURN, CALL, THINK, DONE = range(5)
SPECIALS = {"<eos>": EOS, "<turn>": END_TURN, "<call>": CALL, "<think>": THINK, "</think>": DONE}
PIECES = [
    "ab", "ab", "abc", "ba", "aa", "aaaa", "if", "iff", "f(", "((", "))", "))))", ")+(", " + ",
    "1+", "x*",
    '{"', '"}', '": ', '","', '"a"', '":[', "[[", "]]", "]}", "}]", "},{", "true",
    "alse", "null", "12", ".5",
    "e+", "-1", "  ", "\n\n", "</", "<f", "<fu", "n=", ">x", "</f>", "<call>", "<eos>", "é",
    "日本", "😀", "éa",
]  # fmt: skip
RAW = [
    b"\xff",
    b"a\xff",
    b"\xffb",
    b"\xe6\x97",
    b"\xa5",
    b"\xa5a",
    b"\xf0\x9f",
    b"\x98",
    b'\x80"',
    b"\xfe",
]


@cache
def made_up() -> Words:
    """All single bytes, longer pieces (two alike), bytes of no text, and special tokens."""
    pieces: list[bytes | None] = [None] * len(SPECIALS)
    pieces += [bytes([b]) for b in range(256)]
    pieces += [piece.encode() for piece in PIECES] + RAW
    vocabulary = sg.Vocabulary(pieces, eos_token_ids=[EOS, END_TURN], special_tokens=SPECIALS)
    return Words(vocabulary)


def vocabulary(name: str) -> Words:
    return made_up() if name == "made up" else words(name)


# -- grammars ---------------------------------------------------------------------------------

PERSON = '{"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}'
LIST = '{"type": "array", "items": {"enum": ["a", 1, null]}, "maxItems": 3}'

EBNF = {
    "nested": 'root ::= "(" root ")" | "[" (root ("," root)*)? "]" | "x"',
    "ambiguous sums": 'root ::= root "+" root | root "*" root | "(" root ")" | [a-c]+ | [0-9]{1,3}',
    "palindromes": 'root ::= "a" root "a" | "b" root "b" | [ab]?',
    "which of two": 'root ::= x ")" | y "))"\nx ::= "(" x ")" | "a"\ny ::= "(" y "))" | "a"',
    "unicode": 'root ::= ([^\\x00-\\x7f] | "a" | "é" root "é")+ "."',
    "json": """
        root ::= object | array
        value ::= object | array | string | number | "true" | "false" | "null"
        object ::= "{" ws (pair ("," ws pair)*)? "}" ws
        pair ::= string ":" ws value
        array ::= "[" ws (value ("," ws value)*)? "]" ws
        string ::= "\\"" ([^"\\\\\\x00-\\x1f] | "\\\\" ["\\\\/bfnrt])* "\\"" ws
        number ::= "-"? ("0" | [1-9] [0-9]*) ("." [0-9]+)? ([eE] [+-]? [0-9]+)? ws
        ws ::= [ \\n]*
    """,
    "counted": 'root ::= ("a" | "ab"){2,9} ("b" root){0,3} "c"?',
}
LARK = {
    "arithmetic": """
        start: sum
        ?sum: product | sum "+" product | sum "-" product
        ?product: atom | product "*" atom
        ?atom: NUMBER | NAME | "(" sum ")" | NAME "(" [sum ("," sum)*] ")"
        NUMBER: /[0-9]+(\\.[0-9]+)?/
        NAME: /[a-z_é]+/
        %ignore /[ \\n]+/
    """,
    "keywords": """
        start: stmt+
        stmt: "if" expr "then" stmt ["else" stmt] | NAME "=" expr ";" | "{" stmt* "}"
        expr: NAME | NAME "(" expr ")" | INT
        NAME: /[a-z]+/
        INT: /[0-9]+/
        %ignore " "
        %ignore /#[^\\n]*\\n/
    """,
    "not LR(1)": 'start: x "c" "d" | y "c" | start "a" start\nx: "a"\ny: "a"\n%ignore " "',
    "conditions": """
        start: (A "=" A | B B | "iff" | C)+
        A: /[a-f]+(?![0-9])/
        B: /[0-9]+\\b/
        C: /if(?= |\\n)/
        %ignore /[ \\n]+/
    """,
    "schemas": f"""
        start: "p" %json {PERSON} start | "l" LIST_ list | ";"
        list: %json {LIST}
        LIST_: ":"
        %ignore " "
    """,
    "schemas inside": f"""
        start: "[" (item ("," item)*)? "]"
        item: %json {PERSON}
            | %json {LIST}
            | start
            | STRING
        STRING: /"[ab]*"/
    """,
}


def tagged(format: Any) -> dict[str, Any]:
    return {"type": "structural_tag", "format": format}


def tag(begin: str, content: Any, end: str) -> dict[str, Any]:
    return {"type": "tag", "begin": begin, "content": content, "end": end}


SCHEMA = {
    "type": "json_schema",
    "json_schema": {
        "type": "object",
        "properties": {"n": {"type": "integer"}, "s": {"type": "string", "maxLength": 3}},
        "required": ["n"],
    },
}
LIST_LARK = {
    "type": "grammar",
    "syntax": "lark",
    "grammar": 'start: "(" [NAME ("," NAME)*] ")"\nNAME: /[a-z]+/\n%ignore " "',
}
TAGS = {
    "tool calls": tagged(
        {
            "type": "triggered_tags",
            "triggers": ["<f"],
            "tags": [
                tag("<f=a>", SCHEMA, "</f>"),
                tag("<fu=b>", {"type": "regex", "pattern": "[a-c]{2,4}|\\d+"}, "</f>"),
                tag("<fx>", LIST_LARK, "</f>"),
            ],
        }
    ),
    "in sequence": tagged(
        {
            "type": "sequence",
            "elements": [
                tag("", {"type": "any_text"}, "</think>"),
                {"type": "optional", "content": {"type": "const_string", "value": "\n"}},
                {"type": "or", "elements": [SCHEMA, LIST_LARK]},
            ],
        }
    ),
    "numbers": tagged(
        {
            "type": "sequence",
            "elements": [
                {"type": "json_schema", "json_schema": {"type": "number"}},
                {"type": "regex", "pattern": "[0-9.]*[a-z]"},
                {"type": "json_schema", "json_schema": {"type": ["integer", "null"]}},
            ],
        }
    ),
    "with separators": tagged(
        {
            "type": "tags_with_separator",
            "separator": ", ",
            "tags": [tag("<a>", {"type": "any_text"}, "</a>"), tag("<b>", SCHEMA, "")],
        }
    ),
    "xml": tagged(
        tag("<f>", {**SCHEMA, "style": "qwen_xml"}, "</f>"),
    ),
}

Compile = Callable[[sg.Compiler], sg.CompiledGrammar]
GRAMMARS: dict[str, Compile] = {
    **{f"ebnf {n}": lambda c, g=g: c.compile_ebnf(g) for n, g in EBNF.items()},
    **{f"lark {n}": lambda c, g=g: c.compile_lark(g) for n, g in LARK.items()},
    **{f"tag {n}": lambda c, g=g: c.compile_structural_tag(g) for n, g in TAGS.items()},
}

# -- walks ------------------------------------------------------------------------------------


def expected(w: Words, matcher: sg.Matcher) -> set[int]:
    """Tokens by their bytes, one at a time; symbols by asking for each of a few."""
    found = w.allowed(matcher)
    symbols = {*w.vocabulary.special_tokens.values(), *w.eos}
    found |= {token for token in symbols if matcher.copy().accept_token(token)}
    return found


def check(w: Words, matcher: sg.Matcher, rng: random.Random, *, whole: bool) -> np.ndarray:
    """The mask, after checking it."""
    bits = mask_of(matcher, len(w.vocabulary))
    assert bits.any() or matcher.is_terminated(), "dead end"
    assert all(bool(bits[e]) == matcher.is_accepting() for e in w.eos)
    allowed, refused = np.flatnonzero(bits).tolist(), np.flatnonzero(~bits).tolist()
    if whole:
        assert set(allowed) == expected(w, matcher)
    for token in rng.sample(allowed, min(8, len(allowed))) + rng.sample(
        refused, min(8, len(refused))
    ):
        assert matcher.copy().accept_token(token) == bits[token], (token, w.pieces[token])
    return bits


def walk(w: Words, compiled: sg.CompiledGrammar, rng: random.Random, steps: int) -> int:
    """Tokens at random with steps back; the largest number of configurations at once."""
    matcher = compiled.matcher()
    masks = [check(w, matcher, rng, whole=True)]
    taken: list[int] = []
    largest = 1
    for _ in range(steps):
        bits = masks[-1]
        if not bits.any():
            break
        if rng.random() < 0.15 and taken:
            back = rng.randint(1, len(taken))
            matcher.rollback(back)
            del taken[-back:], masks[-back:]
            assert (mask_of(matcher, len(w.vocabulary)) == masks[-1]).all()
            continue
        token = pick(w, bits, rng)
        twin = matcher.copy()
        assert matcher.accept_token(token)
        taken.append(token)
        # Copies are independent: the old one has not moved, and can follow.
        assert (mask_of(twin, len(w.vocabulary)) == bits).all()
        if (piece := w.pieces[token]) is not None:
            spelled = twin.copy()
            assert all(spelled.accept_bytes(bytes([byte])) for byte in piece)
            assert (mask_of(spelled, len(w.vocabulary)) == mask_of(matcher, len(bits))).all()
        masks.append(check(w, matcher, rng, whole=rng.random() < 0.5))
        largest = max(largest, len(matcher.configurations()))
    matcher.reset()
    assert (mask_of(matcher, len(w.vocabulary)) == masks[0]).all()
    for token, bits in zip(taken, masks, strict=False):
        assert (mask_of(matcher, len(w.vocabulary)) == bits).all()
        assert matcher.accept_token(token)
    return largest


def pick(w: Words, bits: np.ndarray, rng: random.Random) -> int:
    """A token, the longer the likelier; rarely one of the many that only go on in free text."""
    allowed = np.flatnonzero(bits).tolist()
    tokens = rng.choices(allowed, k=4)
    return max(tokens, key=lambda t: len(w.pieces[t] or b"") + rng.random() * 3)


@pytest.mark.parametrize("name", GRAMMARS)
@pytest.mark.parametrize("vocabulary_name", ["bytes", "made up"])
def test_walks(vocabulary_name: str, name: str) -> None:
    w, rng = vocabulary(vocabulary_name), random.Random(name)
    compiled = GRAMMARS[name](w.compiler)
    largest = max(walk(w, compiled, rng, 25) for _ in range(6))
    print(f"\n{name}: up to {largest} configurations")
    compiled._masks.automaton.verify()


@pytest.mark.parametrize("name", GRAMMARS)
def test_walks_over_a_real_vocabulary(name: str) -> None:
    w, rng = words("llama3"), random.Random(name)
    compiled = GRAMMARS[name](w.compiler)
    matcher = compiled.matcher()
    for step in range(14):
        bits = check(w, matcher, rng, whole=False)
        if bits.sum() < 400 or step == 0:
            assert set(np.flatnonzero(bits).tolist()) == expected(w, matcher)
        if not matcher.accept_token(pick(w, bits, rng)) or matcher.is_terminated():
            break


@pytest.mark.slow
@pytest.mark.parametrize("name", GRAMMARS)
@pytest.mark.parametrize("vocabulary_name", ["bytes", "made up", "llama3"])
def test_long_walks(vocabulary_name: str, name: str) -> None:
    w, rng = vocabulary(vocabulary_name), random.Random(name)
    compiled = GRAMMARS[name](w.compiler)
    for _ in range(3 if vocabulary_name == "llama3" else 60):
        walk(w, compiled, rng, 40)


# -- special tokens ---------------------------------------------------------------------------


def allowed(matcher: sg.Matcher, w: Words) -> set[int]:
    bits = mask_of(matcher, len(w.vocabulary))
    return set(np.flatnonzero(bits).tolist())


def lark(text: str) -> sg.Matcher:
    return made_up().compiler.compile_lark(text).matcher()


def after(matcher: sg.Matcher, *steps: int | bytes) -> set[int]:
    """The tokens allowed after these tokens and texts."""
    for step in steps:
        assert matcher.accept_token(step) if isinstance(step, int) else matcher.accept_bytes(step)
    return allowed(matcher, made_up())


def ids_of(*texts: bytes) -> set[int]:
    return {i for i, piece in enumerate(made_up().pieces) if piece in texts}


EVERY = set(range(len(SPECIALS) + 256 + len(PIECES) + len(RAW)))


def test_a_token_by_its_name_is_not_its_text() -> None:
    matcher = lark('start: <call> "x" | "<" "y"')
    assert after(matcher) == {CALL, *ids_of(b"<")}  # the piece <call> is text
    assert after(matcher, CALL) == ids_of(b"x")
    matcher.rollback(1)
    assert not matcher.accept_bytes(b"<call>")
    assert after(matcher, b"<") == ids_of(b"y")


def test_tokens_by_number_and_range() -> None:
    first = len(SPECIALS)
    assert after(lark(f"start: <[{CALL}]>")) == {CALL}
    assert after(lark(f"start: <[{first + 65}]>")) == {first + 65}
    assert after(lark(f"start: <[{first}-{first + 3}, {DONE}]>")) == {
        DONE, *range(first, first + 4),
    }  # fmt: skip


def test_all_tokens_but_some() -> None:
    assert after(lark("start: <[*]>")) == EVERY - {EOS, END_TURN}
    assert after(lark(f"start: <[^{CALL}]>")) == EVERY - {EOS, END_TURN, CALL}
    text = {"type": "any_tokens", "exclude_tokens": ["<call>", 7]}
    compiled = made_up().compiler.compile_structural_tag(tagged(text))
    assert after(compiled.matcher()) == EVERY - {CALL, 7}
    compiled = made_up().compiler.compile_ebnf('root ::= !<call> <call> "a"')
    matcher = compiled.matcher()
    assert after(matcher) == EVERY - {EOS, END_TURN, CALL}
    assert after(matcher, THINK) == {CALL}


def test_tokens_of_a_structural_tag() -> None:
    spec = tagged(
        {
            "type": "token_triggered_tags",
            "trigger_tokens": ["<call>"],
            "tags": [
                {
                    "begin": {"type": "token", "token": "<call>"},
                    "content": {"type": "json_schema", "json_schema": {"type": "boolean"}},
                    "end": {"type": "token", "token": "</think>"},
                }
            ],
            "exclude_tokens": ["<think>"],
        }
    )
    matcher = made_up().compiler.compile_structural_tag(spec).matcher()
    assert after(matcher) == EVERY - {THINK}
    first = after(matcher, *ids_of(b"ba"), CALL)
    assert ids_of(b"t", b"true", b"f") <= first and not first & {EOS, CALL, DONE}
    assert after(matcher, b"true") == {DONE}
    assert after(matcher, DONE) == EVERY - {THINK}


def test_an_end_of_sequence_token_that_is_asked_for() -> None:
    """After it the output is over where the text is complete, and the text must not end before."""
    matcher = lark('start: "a" <eos>')
    assert after(matcher, b"a") == {EOS}
    assert not matcher.is_accepting()
    assert matcher.accept_token(EOS) and matcher.is_terminated()
    assert allowed(matcher, made_up()) == set()
    matcher.rollback(1)
    assert not matcher.is_terminated() and after(matcher) == {EOS}


def test_bytes_of_a_symbol_are_no_text() -> None:
    matcher = lark('start: /(.|\\n)+/ | <call> "x"')
    for piece in (b"\xff", b"a\xff", b"\xff\x00\x00\x02", b"\xfe"):
        assert not matcher.accept_bytes(piece)
    refused = ids_of(*RAW[:3], b"\xfe")
    assert not refused & allowed(matcher, made_up())
    assert not any(matcher.accept_token(token) for token in refused)


def test_tokens_of_equal_bytes_are_equally_allowed() -> None:
    assert len(ids_of(b"ab")) == 2
    assert after(lark('start: "ab" "c"')) == ids_of(b"a", b"ab", b"abc")
    twice = sorted(ids_of(b"ab"))
    assert after(lark(f"start: <[{twice[1]}]>")) == {twice[1]}


def test_a_token_that_is_text_and_symbol_means_both() -> None:
    letter = len(SPECIALS) + ord("a")
    matcher = lark(f'start: <[{letter}]> "x" | "a" "y"')
    assert after(matcher) == {letter}
    assert after(matcher, letter) == ids_of(b"x", b"y")


def test_no_bytes_are_forced_where_a_symbol_must_come() -> None:
    matcher = lark('start: "a" <call> "b"')
    assert matcher.forced_bytes() == b"a"


def test_schemas_that_follow_each_other() -> None:
    text = f"start: %json {PERSON} %json {LIST} %json {PERSON}"
    matcher = made_up().compiler.compile_lark(text).matcher()
    assert matcher.accept_bytes(b'{"n": 12}[1, null, "a"]{"n":')
    assert not matcher.is_accepting()
    assert matcher.accept_bytes(b"0}") and matcher.is_accepting()


def test_a_schema_that_a_grammar_calls_from_within() -> None:
    text = f'start: "<" item ">"\nitem: %json {LIST} ("," start)? | start'
    matcher = made_up().compiler.compile_lark(text).matcher()
    assert matcher.accept_bytes(b'<<[1,"a"],<["a"]>>>') and matcher.is_accepting()
    assert not matcher.accept_bytes(b">")


def test_an_embedded_grammar_keeps_its_own_lexer() -> None:
    matcher = made_up().compiler.compile_structural_tag(TAGS["tool calls"]).matcher()
    assert matcher.accept_bytes(b"call <fx>( ab , c)</f> and <fx>()")
    assert not matcher.is_accepting()
    assert not matcher.accept_bytes(b"x")
    assert matcher.accept_bytes(b"</f>") and matcher.is_accepting()


# -- dead ends --------------------------------------------------------------------------------


def test_a_condition_that_nothing_can_meet_is_no_way_to_go() -> None:
    """Nothing can follow the a: no sentence, so compiling should say it, or a mask not begin it."""
    compiled = made_up().compiler.compile_lark('start: A "b" | "c"\nA: /a(?!b)/')
    assert after(compiled.matcher()) == ids_of(b"c")


@pytest.mark.parametrize("kind", ["ebnf", "lark"])
def test_bytes_that_no_token_spells(kind: str) -> None:
    pieces = [None, b"a", b"b", b"c", "é".encode()[:1]]
    compiler = sg.Compiler(sg.Vocabulary(pieces, eos_token_ids=[0]))
    if kind == "ebnf":
        compiled = compiler.compile_ebnf('root ::= "ab" | "ad" | "é" | "cd"')
    else:
        compiled = compiler.compile_lark('start: "ab" | "ad" | "é" | "cd"')
    bits = mask_of(compiled.matcher(), len(pieces))
    assert np.flatnonzero(bits).tolist() == [1]


@pytest.mark.parametrize("pattern", ["/a(?!b)/", "/a\\b/"])
def test_a_condition_does_not_forbid_a_special_token(pattern: str) -> None:
    """What follows is no character, as at the end of the text."""
    assert after(lark(f"start: A <call>\nA: {pattern}"), b"a") == {CALL}


def test_a_schema_where_a_longer_token_does_not_come() -> None:
    matcher = lark('start: N %json {"type": "object"} "z"\nN: /1({}y)?/')
    assert matcher.accept_bytes(b"1{}z") and matcher.is_accepting()


# -- the constraint itself --------------------------------------------------------------------


@pytest.mark.parametrize("name", GRAMMARS)
def test_a_grammar_comes_back_from_bytes(name: str) -> None:
    w = made_up()
    compiled = GRAMMARS[name](w.compiler)
    again = sg.CompiledGrammar.deserialize(compiled.serialize(), w.vocabulary)
    assert allowed(again.matcher(), w) == allowed(compiled.matcher(), w)
    assert again.serialize() == compiled.serialize()


def test_a_structural_tag_is_kept_as_it_was() -> None:
    spec = tagged({"type": "const_string", "value": "a"})
    compiled = made_up().compiler.compile_structural_tag(spec)
    spec["format"]["value"] = "b"
    again = sg.CompiledGrammar.deserialize(compiled.serialize(), made_up().vocabulary)
    assert after(again.matcher()) == after(compiled.matcher())
