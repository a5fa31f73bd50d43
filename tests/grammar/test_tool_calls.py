"""Each family's calls, as its models write them."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from structgen.errors import GrammarSyntaxError, SchemaError, StructgenError
from structgen.grammar import read_structural_tag, tool_call_families, tool_call_tag
from tests.grammar.recognizer import Verdict, recognize

WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city"],
}
TOOLS: list[dict[str, Any]] = [
    {"type": "function", "function": {"name": "get_weather", "parameters": WEATHER}},
    {"type": "function", "function": {"name": "now", "description": "The time."}},
]
NAMED = {"type": "function", "function": {"name": "get_weather"}}
CITY = '{"city": "Oslo", "days": 2}'

# family: a call of get_weather, a call of now, one with an undeclared function, one with
# parameters that the schema refuses, what stands between calls, before and after all of them
CALLS: dict[str, tuple[str, str, str, str, str, str, str]] = {
    "llama-json": (
        '{"name": "get_weather", "parameters": ' + CITY + "}",
        '{"name": "now", "parameters": {}}',
        '{"name": "then", "parameters": {}}',
        '{"name": "get_weather", "parameters": {"days": 2}}',
        "; ",
        "",
        "",
    ),
    "llama-function-tag": (
        f"<function=get_weather>{CITY}</function>",
        "<function=now>{}</function>",
        "<function=then>{}</function>",
        '<function=get_weather>{"city": 1}</function>',
        "",
        "",
        "",
    ),
    "hermes": (
        '<tool_call>\n{"name": "get_weather", "arguments": ' + CITY + "}\n</tool_call>",
        '<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>',
        '<tool_call>\n{"name": "then", "arguments": {}}\n</tool_call>',
        '<tool_call>\n{"name": "now", "arguments": {"a": 1}}\n</tool_call>',
        "\n",
        "",
        "",
    ),
    "qwen-coder": (
        "<tool_call>\n<function=get_weather>\n<parameter=city>\nOslo\n</parameter>\n"
        "<parameter=days>\n2\n</parameter>\n</function>\n</tool_call>",
        "<tool_call>\n<function=now>\n</function>\n</tool_call>",
        "<tool_call>\n<function=then>\n</function>\n</tool_call>",
        "<tool_call>\n<function=get_weather>\n<parameter=city>\nOslo\n</parameter>\n"
        "<parameter=days>\ntwo\n</parameter>\n</function>\n</tool_call>",
        "\n",
        "",
        "",
    ),
    "mistral-json": (
        '{"name": "get_weather", "arguments": ' + CITY + "}",
        '{"name": "now", "arguments": {}}',
        '{"name": "then", "arguments": {}}',
        '{"name": "get_weather", "arguments": {}}',
        ", ",
        "[TOOL_CALLS][",
        "]",
    ),
    "mistral": (
        f"[TOOL_CALLS]get_weather[ARGS]{CITY}",
        "[TOOL_CALLS]now[ARGS]{}",
        "[TOOL_CALLS]then[ARGS]{}",
        "[TOOL_CALLS]get_weather[ARGS]{}",
        "",
        "",
        "",
    ),
    "deepseek-v3": (
        f"<｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```json\n{CITY}\n```"
        "<｜tool▁call▁end｜>",
        "<｜tool▁call▁begin｜>function<｜tool▁sep｜>now\n```json\n{}\n```<｜tool▁call▁end｜>",
        "<｜tool▁call▁begin｜>function<｜tool▁sep｜>then\n```json\n{}\n```<｜tool▁call▁end｜>",
        "<｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```json\n{}\n```"
        "<｜tool▁call▁end｜>",
        "\n",
        "<｜tool▁calls▁begin｜>",
        "<｜tool▁calls▁end｜>",
    ),
    "deepseek-v3.1": (
        f"<｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>{CITY}<｜tool▁call▁end｜>",
        "<｜tool▁call▁begin｜>now<｜tool▁sep｜>{}<｜tool▁call▁end｜>",
        "<｜tool▁call▁begin｜>then<｜tool▁sep｜>{}<｜tool▁call▁end｜>",
        "<｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>{}<｜tool▁call▁end｜>",
        "",
        "<｜tool▁calls▁begin｜>",
        "<｜tool▁calls▁end｜>",
    ),
    "kimi-k2": (
        f"<|tool_call_begin|>functions.get_weather:0<|tool_call_argument_begin|>{CITY}"
        "<|tool_call_end|>",
        "<|tool_call_begin|>functions.now:1<|tool_call_argument_begin|>{}<|tool_call_end|>",
        "<|tool_call_begin|>functions.then:1<|tool_call_argument_begin|>{}<|tool_call_end|>",
        "<|tool_call_begin|>functions.now:x<|tool_call_argument_begin|>{}<|tool_call_end|>",
        "",
        "<|tool_calls_section_begin|>",
        "<|tool_calls_section_end|>",
    ),
    "glm": (
        "<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>Oslo</arg_value>\n"
        "<arg_key>days</arg_key>\n<arg_value>2</arg_value>\n</tool_call>",
        "<tool_call>now\n</tool_call>",
        "<tool_call>then\n</tool_call>",
        "<tool_call>get_weather\n</tool_call>",
        "\n",
        "",
        "",
    ),
}
CALLS["qwen"] = CALLS["hermes"]
CALLS["llama-python-tag"] = (*CALLS["llama-json"][:5], "<|python_tag|>", "")


def verdict(family: str, text: str | list[str], **options: Any) -> Verdict:
    grammar = read_structural_tag(tool_call_tag(family, TOOLS, **options))
    grammar.verify()
    return recognize(grammar, text)


def test_every_family_is_tested() -> None:
    assert set(tool_call_families()) == {*CALLS, "harmony"}


@pytest.mark.parametrize("family", CALLS)
def test_auto(family: str) -> None:
    weather, now, unknown, wrong, between, before, after = CALLS[family]
    # A call that is over may be followed by text, a section of calls is the last thing.
    rest = "" if before else " Done."
    assert verdict(family, "").accept
    assert verdict(family, "Just text.").accept
    assert verdict(family, before + weather + after).accept
    assert verdict(family, f"Let me see. {before}{weather}{between}{now}{after}{rest}").accept
    for call in (unknown, wrong):
        assert not verdict(family, before + call + after).prefix
    assert verdict(family, before + weather[:-5]) == Verdict(False, True)
    one = verdict(family, before + weather + between + now + after, parallel=False)
    assert not one.accept


@pytest.mark.parametrize("family", CALLS)
def test_required(family: str) -> None:
    weather, now, unknown, wrong, between, before, after = CALLS[family]
    for parallel in (True, False):
        options = {"tool_choice": "required", "parallel": parallel}
        assert verdict(family, before + weather + after, **options).accept
        assert verdict(family, before + now + after, **options).accept
        both = before + now + between + weather + after
        assert verdict(family, both, **options).accept is parallel
        assert verdict(family, "", **options) == Verdict(False, True)
        assert not verdict(family, "Well, ", **options).prefix
        for call in (unknown, wrong):
            assert not verdict(family, before + call + after, **options).prefix


@pytest.mark.parametrize("family", CALLS)
def test_named_and_none(family: str) -> None:
    weather, now, _, _, between, before, after = CALLS[family]
    assert verdict(family, before + weather + after, tool_choice=NAMED).accept
    assert not verdict(family, before + now + after, tool_choice=NAMED).prefix
    both = before + weather + between + weather + after
    assert not verdict(family, both, tool_choice=NAMED).prefix
    assert not verdict(family, before + weather + after, tool_choice="none").prefix
    assert verdict(family, "Just text.", tool_choice="none").accept


@pytest.mark.parametrize("family", CALLS)
def test_reasoning(family: str) -> None:
    weather, _, unknown, _, _, before, after = CALLS[family]
    begin, end = ("[THINK]", "[/THINK]") if "mistral" in family else ("<think>", "</think>")
    thought = f"{begin}\nI could {before}{unknown}{after}, or not.\n{end}\n\n"
    for choice in ("auto", "required"):
        options = {"tool_choice": choice, "reasoning": True}
        assert verdict(family, thought + before + weather + after, **options).accept
        # A chat template may have written the begin marker.
        short = thought.removeprefix(begin)
        assert verdict(family, short + before + weather + after, **options).accept
        assert not verdict(family, thought + before + unknown + after, **options).prefix
        assert verdict(family, before + weather + after, **options) == Verdict(False, True)


def test_allowed_tools() -> None:
    tool = {"type": "function", "function": {"name": "now"}}
    choice = {
        "type": "allowed_tools",
        "allowed_tools": {"mode": "required", "tools": [tool]},
    }
    weather, now, *_ = CALLS["hermes"]
    assert verdict("hermes", now, tool_choice=choice).accept
    assert not verdict("hermes", weather, tool_choice=choice).prefix


def test_harmony() -> None:
    think = "<|channel|>analysis<|message|>Need the weather.<|end|><|start|>assistant"
    say = "<|channel|>commentary<|message|>Looking.<|end|><|start|>assistant"
    call = f"<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>{CITY}"
    role = f" to=functions.get_weather<|channel|>commentary <|constrain|>json<|message|>{CITY}"
    final = "<|channel|>final<|message|>It is 2 degrees.<|return|>"
    for body in (call, role):
        assert verdict("harmony", f"{body}<|call|>").accept
        assert verdict("harmony", f"{say}{body}<|call|>", tool_choice="required").accept
        assert verdict("harmony", f"{think}{say}{body}<|call|>", reasoning=True).accept
        assert not verdict("harmony", body.replace("get_weather", "then")).prefix
        assert not verdict("harmony", body.replace('"city"', '"town"')).prefix
        assert not verdict("harmony", f"{body}<|call|>", tool_choice="none").prefix
        twice = f"{body}<|call|><|start|>assistant{body}<|call|>"
        assert verdict("harmony", twice).accept
        assert not verdict("harmony", twice, parallel=False).prefix
    assert verdict("harmony", final).accept
    assert verdict("harmony", think + final, reasoning=True, tool_choice="none").accept
    assert not verdict("harmony", think + final).prefix
    assert not verdict("harmony", final, tool_choice="required").prefix
    assert not verdict("harmony", "plain text").prefix


def test_markers_that_are_special_tokens() -> None:
    names = ["<|channel|>", "<|constrain|>", "<|message|>", "<|call|>", "<|end|>", "<|start|>"]
    spec = tool_call_tag("harmony", TOOLS, tool_choice="required")
    grammar = read_structural_tag(spec, special_tokens=names)
    grammar.verify()
    call = ["<|channel|>", *"commentary to=functions.get_weather ", "<|constrain|>", *"json"]
    call += ["<|message|>", *CITY, "<|call|>"]
    assert recognize(grammar, call).accept
    # The text of a marker is no marker.
    assert not recognize(grammar, [c for part in call for c in part]).prefix


def test_arguments_are_checked() -> None:
    def tool(**function: Any) -> dict[str, Any]:
        return {"type": "function", "function": function}

    cases: list[tuple[Any, Any, str, str]] = [
        ("llama", TOOLS, "auto", "llama-json"),
        ("hermes", {}, "auto", "#/tools"),
        ("hermes", [{"type": "retrieval"}], "auto", "#/tools/0/type"),
        ("hermes", [{"type": "function"}], "auto", "#/tools/0"),
        ("hermes", [tool()], "auto", "#/tools/0/function"),
        ("hermes", [tool(name="a>b")], "auto", "#/tools/0/function/name"),
        ("hermes", [tool(name="a"), tool(name="a")], "auto", "#/tools/1/function/name"),
        ("hermes", [tool(name="a", parameters=[])], "auto", "#/tools/0/function/parameters"),
        ("hermes", TOOLS, "always", "#/tool_choice"),
        ("hermes", [], "required", "#/tool_choice"),
        ("hermes", TOOLS, {"function": {"name": "get_wether"}}, "did you mean get_weather"),
        ("hermes", TOOLS, 3, "#/tool_choice"),
    ]
    for family, tools, choice, said in cases:
        with pytest.raises((GrammarSyntaxError, SchemaError)) as caught:
            tool_call_tag(family, tools, tool_choice=choice)
        assert said in str(caught.value)
    with pytest.raises(StructgenError):
        read_structural_tag(tool_call_tag("glm", [tool(name="a", parameters={"type": "array"})]))


def test_parameters_are_those_of_the_schema() -> None:
    jsonschema.validate({"city": "Oslo", "days": 2}, WEATHER)
    many = CALLS["hermes"][0].replace('"days": 2', '"days": 2, "hours": 3')
    assert not verdict("hermes", many).prefix
