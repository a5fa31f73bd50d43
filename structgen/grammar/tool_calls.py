"""Tool calls as families of chat models write them, as structural tags.

A family says how one call is written, what announces calls in free text, and what stands between
and around several. Markers are plain strings; where they are special tokens of the vocabulary,
``read_structural_tag(spec, special_tokens=...)`` takes them for that.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from structgen.grammar.structural_tag_fields import Fields, error, shown, unknown
from structgen.grammar.structural_tag_schema import write_schema

Spec = dict[str, Any]

# After reasoning, before a call that must come: models write line breaks there.
_GAP: Spec = {"type": "regex", "pattern": "[ \\n\\r\\t]{0,4}"}
# What every family can write without quoting.
_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,256}")
_NO_PARAMETERS: Spec = {"type": "object", "properties": {}, "additionalProperties": False}


@dataclass(frozen=True)
class Family:
    """How a family of models calls tools.

    Attributes:
        title: for people.
        call: from a function's name and the schema of its parameters to the tag of one call.
        trigger: what begins a call, or the section of all calls, in free text.
        separator: between calls.
        section: all calls of a turn stand between the trigger and these formats, and this end.
        reasoning: what stands around reasoning.
    """

    title: str
    call: Callable[[str, Any], Spec]
    trigger: str
    separator: str = ""
    section: tuple[list[Spec], str] | None = None
    reasoning: tuple[str, str] = ("<think>", "</think>")


def _schema(schema: Any, style: str = "json") -> Spec:
    return {"type": "json_schema", "json_schema": schema, "style": style}


def _tag(begin: str, content: Spec, end: str | list[str]) -> Spec:
    return {"type": "tag", "begin": begin, "content": content, "end": end}


def _const(text: str) -> Spec:
    return {"type": "const_string", "value": text}


def _sequence(*elements: Spec) -> Spec:
    return elements[0] if len(elements) == 1 else {"type": "sequence", "elements": [*elements]}


def _wrapped(begin: str, end: str, style: str = "json") -> Callable[[str, Any], Spec]:
    """A call of ``begin`` with the name for NAME, the parameters, and ``end``."""
    return lambda name, schema: _tag(begin.replace("NAME", name), _schema(schema, style), end)


def _numbered(name: str, schema: Any) -> Spec:
    content = _sequence(
        {"type": "regex", "pattern": "[0-9]+"},
        _const("<|tool_call_argument_begin|>"),
        _schema(schema),
    )
    return _tag(f"<|tool_call_begin|>functions.{name}:", content, "<|tool_call_end|>")


_OBJECT = '{"name": "NAME", "arguments": '
_HERMES = Family(
    "Hermes, Qwen 2.5 and Qwen 3: <tool_call> JSON </tool_call>",
    _wrapped(f"<tool_call>\n{_OBJECT}", "}\n</tool_call>"),
    "<tool_call>",
    "\n",
)
_LLAMA = _wrapped('{"name": "NAME", "parameters": ', "}")

FAMILIES: dict[str, Family] = {
    "llama-json": Family(
        'Llama 3.1 and later: {"name": ..., "parameters": {...}}', _LLAMA, '{"name": ', "; "
    ),
    "llama-python-tag": Family(
        "Llama 3.1 and later with built-in tools: <|python_tag|> before the JSON calls",
        _LLAMA,
        "<|python_tag|>",
        "; ",
        section=([], ""),
    ),
    "llama-function-tag": Family(
        "Llama 3.1 and later: <function=NAME>{...}</function>",
        _wrapped("<function=NAME>", "</function>"),
        "<function=",
    ),
    "hermes": _HERMES,
    "qwen": _HERMES,
    "qwen-coder": Family(
        "Qwen 3 Coder: <tool_call> <function=NAME> with a <parameter=KEY> for each argument",
        # The whitespace between is part of the parameters, which may have more of it.
        _wrapped("<tool_call>\n<function=NAME>", "</function>\n</tool_call>", "qwen_xml"),
        "<tool_call>",
        "\n",
    ),
    "mistral-json": Family(
        '[TOOL_CALLS][{"name": ..., "arguments": {...}}, ...] (tokenizers before version 11)',
        _wrapped(_OBJECT, "}"),
        "[TOOL_CALLS]",
        ", ",
        section=([{"type": "regex", "pattern": " ?"}, _const("[")], "]"),
        reasoning=("[THINK]", "[/THINK]"),
    ),
    "mistral": Family(
        "[TOOL_CALLS]NAME[ARGS]{...} (tokenizers from version 11 on)",
        _wrapped("[TOOL_CALLS]NAME[ARGS]", ""),
        "[TOOL_CALLS]",
        reasoning=("[THINK]", "[/THINK]"),
    ),
    "deepseek-v3": Family(
        "DeepSeek V3 and R1: JSON in a code block between special tokens",
        _wrapped(
            "<｜tool▁call▁begin｜>function<｜tool▁sep｜>NAME\n```json\n",
            "\n```<｜tool▁call▁end｜>",
        ),
        "<｜tool▁calls▁begin｜>",
        "\n",
        section=([], "<｜tool▁calls▁end｜>"),
    ),
    "deepseek-v3.1": Family(
        "DeepSeek V3.1: JSON between special tokens",
        _wrapped("<｜tool▁call▁begin｜>NAME<｜tool▁sep｜>", "<｜tool▁call▁end｜>"),
        "<｜tool▁calls▁begin｜>",
        section=([], "<｜tool▁calls▁end｜>"),
    ),
    "kimi-k2": Family(
        "Kimi K2: numbered calls between special tokens",
        _numbered,
        "<|tool_calls_section_begin|>",
        section=([], "<|tool_calls_section_end|>"),
    ),
    "glm": Family(
        "GLM 4.5 and later: <tool_call>NAME with <arg_key> and <arg_value>",
        _wrapped("<tool_call>NAME", "</tool_call>", "glm_xml"),
        "<tool_call>",
        "\n",
    ),
}
HARMONY = "harmony"
HARMONY_TITLE = "gpt-oss: messages in the channels analysis, commentary and final"


def tool_call_families() -> dict[str, str]:
    """The names that :func:`tool_call_tag` knows, and what each stands for."""
    return {**{name: family.title for name, family in FAMILIES.items()}, HARMONY: HARMONY_TITLE}


def tool_call_tag(
    family: str,
    tools: Sequence[Mapping[str, Any]],
    *,
    tool_choice: str | Mapping[str, Any] | None = "auto",
    parallel: bool = True,
    reasoning: bool = False,
) -> Spec:
    """The structural tag of a turn in which a model may, or must, call tools.

    Args:
        family: one of :func:`tool_call_families`.
        tools: in OpenAI's form, ``{"type": "function", "function": {"name": ...,
            "parameters": {...}}}``. The schema of the parameters is enforced, whatever ``strict``
            says; without ``parameters`` a function takes none.
        tool_choice: "auto" (free text with calls in it), "required" (calls, at least one, and
            nothing else), "none" (free text without calls), ``{"type": "function", "function":
            {"name": ...}}`` (one call of this function), or ``{"type": "allowed_tools",
            "allowed_tools": {"mode": "auto" or "required", "tools": [...]}}``. None is "auto".
        parallel: more than one call in a turn.
        reasoning: reasoning comes first: unconstrained, up to its end marker. Its begin marker may
            be missing, for chat templates that write it themselves.

    Raises:
        GrammarSyntaxError, SchemaError: what is wrong with the arguments, as a JSON Pointer into
            ``{"tools": ..., "tool_choice": ...}``.
    """
    known = tool_call_families()
    if family not in known:
        raise error(f"the family of models: {unknown(str(family), list(known))}", "#/family")
    functions = _functions(tools)
    mode, functions, once = _choose(tool_choice, functions)
    once = once or not parallel
    if mode == "none":
        functions = {}
    if family == HARMONY:
        content = _harmony(functions, mode, once, reasoning)
    else:
        content = _turn(FAMILIES[family], functions, mode, once, reasoning)
    return {"type": "structural_tag", "format": content}


def _functions(tools: Any) -> dict[str, Any]:
    """Names and schemas."""
    if not isinstance(tools, list | tuple):
        raise error(f"tools is a list, not {shown(tools)}", "#/tools")
    found: dict[str, Any] = {}
    for i, value in enumerate(tools):
        tool = Fields(_plain(value), f"#/tools/{i}", "a tool")
        if tool.take("type", "function") != "function":
            raise error(f"only functions are tools, not {shown(value['type'])}", tool.at("type"))
        function = Fields(_plain(tool.take("function")), tool.at("function"), "a function")
        name = function.text("name")
        if not _NAME.fullmatch(name):
            message = f"a function's name is of letters, digits and _.:-, not {shown(name)}"
            raise error(message, function.at("name"))
        if name in found:
            raise error(f"two functions are named {name}", function.at("name"))
        schema = function.take("parameters", None)
        schema = _NO_PARAMETERS if schema is None else schema
        write_schema(schema, function.at("parameters"))
        found[name] = schema
    return found


def _choose(choice: Any, functions: dict[str, Any]) -> tuple[str, dict[str, Any], bool]:
    """The mode, the functions that may be called, and whether exactly one is."""
    where = "#/tool_choice"
    if choice is None or isinstance(choice, str):
        mode = choice or "auto"
        if mode not in ("auto", "required", "none"):
            raise error(f"tool_choice {unknown(mode, ['auto', 'required', 'none'])}", where)
        if mode == "required" and not functions:
            raise error("a call is required, and there are no tools", where)
        return mode, functions, False
    fields = Fields(_plain(choice), where, "tool_choice")
    if fields.take("type", "function") == "allowed_tools":
        allowed = Fields(fields.take("allowed_tools"), fields.at("allowed_tools"), "allowed_tools")
        mode = allowed.choice("mode", ("auto", "required"), "auto")
        names = [
            _named(value, allowed.at("tools", i), functions)
            for i, value in enumerate(allowed.some("tools"))
        ]
        return mode, {name: functions[name] for name in names}, False
    name = _named(choice, where, functions)
    return "required", {name: functions[name]}, True


def _named(value: Any, where: str, functions: dict[str, Any]) -> str:
    fields = Fields(_plain(value), where, "the choice of a function")
    fields.take("type", "function")
    function = Fields(_plain(fields.take("function")), fields.at("function"), "function")
    name = function.text("name")
    if name not in functions:
        message = f"the function {unknown(name, list(functions))}" if functions else "no tools"
        raise error(message, function.at("name"))
    function.done()
    fields.done()
    return name


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else value


def _turn(
    family: Family, functions: dict[str, Any], mode: str, once: bool, reasoning: bool
) -> Spec:
    calls: Spec = {
        "type": "tags_with_separator",
        "tags": [family.call(name, schema) for name, schema in functions.items()],
        "separator": family.separator,
        "at_least_one": True,
        "stop_after_first": once,
    }
    if family.section is not None:
        first, end = family.section
        calls = _tag(family.trigger, _sequence(*first, calls), end)
    if not functions:
        rest: Spec = {"type": "any_text", "excludes": [family.trigger]}
    elif mode == "required":
        rest = _sequence(_GAP, calls) if reasoning else calls
    else:
        whole = family.section is not None
        rest = {
            "type": "triggered_tags",
            "triggers": [family.trigger],
            "tags": [calls] if whole else calls["tags"],
            "stop_after_first": whole or once,
        }
    if not reasoning:
        return rest
    begin_marker, end_marker = family.reasoning
    opened = {"type": "optional", "content": _const(begin_marker)}
    return _sequence(opened, _tag("", {"type": "any_text"}, end_marker), rest)


def _harmony(functions: dict[str, Any], mode: str, once: bool, reasoning: bool) -> Spec:
    """Messages ``<|channel|>...<|message|>...`` after a prompt that ends ``<|start|>assistant``."""
    again = "<|start|>assistant"
    text: Spec = {"type": "any_text"}
    before = [_tag("<|channel|>commentary<|message|>", text, "<|end|>")] if functions else []
    if reasoning:
        before.append(_tag("<|channel|>analysis<|message|>", text, "<|end|>"))
    last: list[Spec] = []
    if functions:
        tags = []
        for name, schema in functions.items():
            # The recipient stands in the role's part of the header, or in the channel's.
            for header in (
                f"<|channel|>commentary to=functions.{name} <|constrain|>json",
                f"<|channel|>commentary to=functions.{name}<|constrain|>json",
                f"<|channel|>commentary to=functions.{name}",
                f" to=functions.{name}<|channel|>commentary <|constrain|>json",
                f" to=functions.{name}<|channel|>commentary",
            ):
                tags.append(_tag(f"{header}<|message|>", _schema(schema), "<|call|>"))
        last.append(
            {
                "type": "tags_with_separator",
                "tags": tags,
                "separator": again,
                "at_least_one": True,
                "stop_after_first": once,
            }
        )
    if mode != "required":
        last.append(_tag("<|channel|>final<|message|>", text, ["<|return|>", "<|end|>"]))
    end: Spec = last[0] if len(last) == 1 else {"type": "or", "elements": last}
    if not before:
        return end
    messages: Spec = before[0] if len(before) == 1 else {"type": "or", "elements": before}
    return _sequence({"type": "star", "content": _sequence(messages, _const(again))}, end)
