"""The form in which the model sees a conversation: ChatML, with functions in the style of Hermes and Qwen.

`CHAT_TEMPLATE` goes into the GGUF; `rendered` writes the same for training. `PHRASES` are the stretches of JSON and
markup that always come in the same spelling: each is one token, so that describing a function costs few of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from .dialogue import Call, Dialogue, Message

TOOLS_HEAD = "# Tools\n\nYou can call these functions:\n<tools>\n"
TOOLS_FOOT = (
    "\n</tools>\n\nTo call one, write its name and its arguments as JSON:\n"
    '<tool_call>\n{"name": <name>, "arguments": <arguments>}\n</tool_call>'
)
CALL_OPENING, CALL_HEAD, CALL_MIDDLE, CALL_END = "<tool_call>\n", '{"name": "', '", "arguments": ', "}\n</tool_call>"
RESULT_OPENING, RESULT_END = "<tool_response>\n", "\n</tool_response>"

PHRASES = [
    TOOLS_HEAD,
    TOOLS_FOOT,
    CALL_OPENING,
    CALL_HEAD,
    CALL_MIDDLE,
    CALL_END,
    "}" + CALL_END,
    '"}' + CALL_END,
    RESULT_OPENING,
    RESULT_END,
    '{"type": "function", "function": {"name": "',
    '", "description": "',
    '", "parameters": {"type": "object", "properties": {"',
    '", "parameters": {"type": "object", "properties": {}',
    *(f'": {{"type": "{kind}' for kind in ("string", "integer", "number", "boolean", "array", "object")),
    '"}, "',
    '"}}, "required": ["',
    '"]}}, "required": ["',
    '"}}, "required": []',
    '"}}}}',
    '"]}}}',
    '", "enum": ["',
    '"], "description": "',
    '"]}, "',
    '", "items": {"type": "',
    ', "additionalProperties": false',
    '": "',
    '", "',
]

CHAT_TEMPLATE = """\
{%- set system = messages[0]['content'] if messages and messages[0]['role'] == 'system' else '' %}
{%- set rest = messages[1:] if messages and messages[0]['role'] == 'system' else messages %}
{%- if system or tools %}
{{- '<|im_start|>system\\n' + system }}
{%- if tools %}
{{- ('\\n\\n' if system else '') + HEAD }}
{%- for tool in tools %}{{ ('' if loop.first else '\\n') + (tool | tojson) }}{% endfor %}
{{- FOOT }}
{%- endif %}
{{- '<|im_end|>\\n' }}
{%- endif %}
{%- for message in rest %}
{{- '<|im_start|>' + message['role'] + '\\n' }}
{%- if message['role'] == 'tool' %}
{{- '<tool_response>\\n' + message['content'] + '\\n</tool_response>' }}
{%- else %}
{{- message['content'] or '' }}
{%- for call in message['tool_calls'] or [] %}
{%- set function = call['function'] or call %}
{%- set arguments = function['arguments'] %}
{{- '\\n' if message['content'] or not loop.first }}
{{- '<tool_call>\\n{"name": "' + function['name'] + '", "arguments": ' }}
{{- arguments if arguments is string else (arguments | tojson) }}
{{- '}\\n</tool_call>' }}
{%- endfor %}
{%- endif %}
{{- '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}""".replace(
    "HEAD", json.dumps(TOOLS_HEAD)
).replace("FOOT", json.dumps(TOOLS_FOOT))
"""Jinja. A call's arguments may be an object or its JSON; a system message may only come first."""


class Part(NamedTuple):
    """What one speaker says: the role written in the markup, the text, and whether it is to be learned."""

    role: str
    text: str
    learned: bool


def rendered(dialogue: Dialogue) -> Iterator[Part]:
    """A dialogue's parts, as CHAT_TEMPLATE writes them between its control tokens."""
    system = system_text(dialogue.instructions, dialogue.tools)
    if system:
        yield Part("system", system, False)
    orders = {tool["name"]: list(tool["parameters"].get("properties", {})) for tool in dialogue.tools}
    for message in dialogue.messages:
        if message.role == "tool":
            yield Part("tool", RESULT_OPENING + message.text + RESULT_END, False)
        else:
            speaker = "assistant" if message.role == "cut" else message.role
            yield Part(speaker, said(message, orders), message.role == "assistant")


def system_text(instructions: str | None, tools: list[dict[str, Any]]) -> str:
    """What stands in the system message; empty if there is none."""
    if not tools:
        return instructions or ""
    listed = "\n".join(json.dumps(listing(tool), ensure_ascii=False) for tool in tools)
    return (f"{instructions}\n\n" if instructions else "") + TOOLS_HEAD + listed + TOOLS_FOOT


def listing(tool: dict[str, Any]) -> dict[str, Any]:
    """A function in the form that Parley gives to chat templates (`pipeline/llm/template_messages.py`)."""
    parameters = {"type": "object", "properties": {}} | tool["parameters"]
    return {
        "type": "function",
        "function": {"name": tool["name"], "description": tool.get("description", ""), "parameters": parameters},
    }


def said(message: Message, orders: dict[str, list[str]]) -> str:
    """A message's text and calls; `orders` is the order of the parameters of each function, which calls keep."""
    calls = [call_text(call, orders.get(call.name, [])) for call in message.calls]
    return "\n".join([message.text, *calls] if message.text else calls or [""])


def call_text(call: Call, order: list[str]) -> str:
    """A call in Hermes' form; arguments come in the order in which the function declares them."""
    ranks = {name: rank for rank, name in enumerate(order)}
    arguments = dict(sorted(call.arguments.items(), key=lambda item: ranks.get(item[0], len(ranks))))
    return CALL_OPENING + CALL_HEAD + call.name + CALL_MIDDLE + json.dumps(arguments, ensure_ascii=False) + CALL_END
