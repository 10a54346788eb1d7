"""Reads the tool calls in a block that a model has marked as such, in the forms of different families."""

import json
import re
from collections.abc import Iterator

_SEPARATOR = re.compile(r"[\s;,]*")

_NAMED = re.compile(
    r"""(?:function\s*<｜tool▁sep｜>|functions\.)?  # DeepSeek R1, Kimi
    (?P<name>[\w.-]+?)
    (?: :\d+ \s* <\|tool_call_argument_begin\|>  # Kimi
    | <｜tool▁sep｜>  # DeepSeek V3.1
    | (?:\[CALL_ID\]\w*)? \[ARGS\]  # Mistral
    | \s*\n\s*```json  # DeepSeek R1
    )""",
    re.VERBOSE,
)
"""A name in front of its arguments; what it is called by in the markup around it counts as white space."""

_AROUND = re.compile(r"<\|tool_call_begin\|>|<\|tool_call_end\|>|<｜tool▁call▁begin｜>|<｜tool▁call▁end｜>|```(?!json)")

_FUNCTION = re.compile(r"<function=([\w.-]+)>(.*?)(?:</function>|$)", re.DOTALL)
_PARAMETER = re.compile(r"<parameter=([^>\n]+)>\n?(.*?)\n?</parameter>", re.DOTALL)
_GLM_NAME = re.compile(r"\s*([\w.-]+)\s*(?=<arg_key>)")
_GLM_ARGUMENT = re.compile(r"<arg_key>(.*?)</arg_key>\s*<arg_value>(.*?)</arg_value>", re.DOTALL)


def parse_calls(body: str) -> list[tuple[str, str]]:
    """Returns the calls in a block as pairs of a name and JSON arguments; what it cannot read is dropped.

    Knows `{"name": …, "arguments": {…}}` (also `parameters`), several or a list of these, `<function=name>{…}`, values
    in tags of their own (Qwen 3 Coder, GLM), and a name in front of its arguments (Mistral, DeepSeek, Kimi).
    """
    if functions := _FUNCTION.findall(body):
        return [call for name, text in functions if (call := _function(name, text))]
    if name := _GLM_NAME.match(body):
        return [(name[1], _tagged(_GLM_ARGUMENT.findall(body)))]
    body = _AROUND.sub(" ", body).replace("[TOOL_CALLS]", " ")
    return list(_named(body)) if _NAMED.match(body.lstrip()) else list(_objects(body))


def _function(name: str, text: str) -> tuple[str, str] | None:
    if values := _PARAMETER.findall(text):
        return name, _tagged(values)
    arguments = _value(text.strip() or "{}")
    return (name, json.dumps(arguments, ensure_ascii=False)) if isinstance(arguments, dict) else None


def _tagged(values: list[tuple[str, str]]) -> str:
    """Values in tags: text stands as it is, anything else as JSON."""
    read = {}
    for key, text in values:
        value = _value(text)
        read[key] = text if value is None and text.strip() != "null" else value
    return json.dumps(read, ensure_ascii=False)


def _objects(body: str) -> Iterator[tuple[str, str]]:
    for value in _values(body):
        for call in value if isinstance(value, list) else [value]:
            if isinstance(call, dict) and isinstance(call.get("name"), str):
                arguments = call.get("arguments", call.get("parameters", {}))
                if isinstance(arguments, dict):
                    yield call["name"], json.dumps(arguments, ensure_ascii=False)


def _named(body: str) -> Iterator[tuple[str, str]]:
    rest = body.lstrip()
    while match := _NAMED.match(rest):
        arguments, end = _decode(rest, match.end())
        if not isinstance(arguments, dict):
            return
        yield match["name"], json.dumps(arguments, ensure_ascii=False)
        rest = rest[end:].lstrip()


def _values(text: str) -> Iterator[object]:
    """The JSON values that a text is made of; nothing if there is something else in it."""
    found = []
    at = _skip(text, 0)
    while at < len(text):
        value, at = _decode(text, at)
        if value is None:
            return
        found.append(value)
        at = _skip(text, at)
    yield from found


def _skip(text: str, at: int) -> int:
    match = _SEPARATOR.match(text, at)
    return match.end() if match else at


def _decode(text: str, at: int) -> tuple[object, int]:
    """Reads the JSON value at a place. Returns it, or None, and where it ends."""
    try:
        return json.JSONDecoder().raw_decode(text, _skip(text, at))
    except (ValueError, RecursionError):
        return None, len(text)


def _value(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
