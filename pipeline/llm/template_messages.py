"""A conversation with its tools as a chat template sees it: dictionaries in which sentinels stand for what was said.

Templates differ in what they take: some refuse a system message, or two calls at once, some have never heard of tools.
`forms` are the shapes in which a conversation is offered to them, the most faithful first.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any, TypeAlias

from pipeline.types import Image, Message, Tool, ToolCall

Shadow: TypeAlias = dict[str, Any]
"""A message as the template sees it: `role`, a sentinel for `content`, and what belongs to calls."""

# Private-use characters: nothing in a template tests for them, trims them or changes them.
SENTINEL = re.compile("\uf8f0(j?)(\\d+)\uf8f1")
"""What stands for a text: its number, with `j` in front where it is written as a part of a JSON string."""

_PLAIN_SENTINEL = re.compile("\uf8f0(\\d+)\uf8f1")
_NEEDS_SHIELD = re.compile("[<\\[\uf8f0\uf8f1]")
"""The characters that control tokens begin with, and those of sentinels."""

_SHORT_ID = re.compile(r"[A-Za-z0-9]{9}")


def to_json(value: Any, *, indent: int | None = None, separators: Any = None, sort_keys: bool = False) -> str:
    """JSON as models were trained on it: Jinja's own `tojson` escapes for HTML. Sentinels in it are marked as such."""
    text = json.dumps(value, ensure_ascii=False, indent=indent, separators=separators, sort_keys=sort_keys)
    return _PLAIN_SENTINEL.sub("\uf8f0j\\1\uf8f1", text)


class Texts:
    """The texts that sentinels stand for, and the images."""

    def __init__(self) -> None:
        self._texts: list[str | Image] = []

    def put(self, text: str | Image) -> str:
        """Returns a sentinel for `text`."""
        self._texts.append(text)
        return f"\uf8f0{len(self._texts) - 1}\uf8f1"

    def shield(self, value: Any) -> Any:
        """Returns a JSON value with sentinels for those of its strings in which control tokens may be spelled out."""
        match value:
            case str():
                return self.put(value) if _NEEDS_SHIELD.search(value) else value
            case Mapping():
                return {self.shield(str(key)): self.shield(inner) for key, inner in value.items()}
            case list() | tuple():
                return [self.shield(inner) for inner in value]
        return value

    def get(self, index: str, *, in_json: bool) -> str:
        """Returns a text, as it is or as it is written inside the quotes of JSON."""
        text = self._texts[int(index)]
        assert isinstance(text, str)
        return json.dumps(text, ensure_ascii=False)[1:-1] if in_json else text

    def image(self, index: str) -> Image | None:
        """Returns an image, if it is one."""
        found = self._texts[int(index)]
        return found if isinstance(found, Image) else None


class _Arguments(dict[str, Any]):
    """The arguments of a call. Templates that take them for a string get their JSON."""

    def __str__(self) -> str:
        return to_json(self)

    def __add__(self, other: object) -> str:
        return f"{self}{other}"

    def __radd__(self, other: object) -> str:
        return f"{other}{self}"


def shadows_of(messages: Sequence[Message], texts: Texts) -> list[Shadow]:
    """Returns the messages as shadows; those that are empty are left out."""
    shadows: list[Shadow] = []
    names: dict[str, str] = {}
    for message in messages:
        content = message.text.strip()
        if message.role == "tool":
            call = message.call_id or ""
            shadow: Shadow = {"role": "tool", "content": texts.put(content), "tool_call_id": _short(call)}
            shadows.append(shadow | ({"name": texts.shield(names[call])} if call in names else {}))
        elif message.calls:
            names |= {call.id: call.name for call in message.calls}
            calls = [_call(call, texts) for call in message.calls]
            said = texts.put(content) if content else ""
            shadows.append({"role": message.role, "content": said, "tool_calls": calls})
        elif content or message.images:
            said = "".join(map(texts.put, _pieces(message)))
            shadows.append({"role": message.role, "content": said})
    return shadows


def _pieces(message: Message) -> Iterator[str | Image]:
    """Yields what a message says, with the images where they are shown."""
    text = message.text.rstrip()
    begin = len(text) - len(text.lstrip())
    for image in sorted(message.images, key=lambda image: image.at):
        if piece := text[begin : image.at]:
            yield piece
        begin = max(begin, image.at)
        yield image
    if piece := text[begin:]:
        yield piece


def _call(call: ToolCall, texts: Texts) -> Shadow:
    try:
        parsed = json.loads(call.arguments or "{}")
    except (ValueError, RecursionError):
        parsed = None
    as_text = not isinstance(parsed, dict)
    arguments = texts.put(call.arguments) if as_text else _Arguments(texts.shield(parsed))
    # The name's sentinel tells whether the template shows the call at all.
    function = {"name": texts.put(call.name), "arguments": arguments}
    return {"id": _short(call.id), "type": "function", "function": function}


def _short(identifier: str) -> str:
    """An id in the one form that every template takes: nine letters and digits."""
    if _SHORT_ID.fullmatch(identifier):
        return identifier
    return blake2b(identifier.encode("utf-8", "replace")).hexdigest()[:9]


def is_complete(text: str, shadows: list[Shadow], form: list[Shadow]) -> bool:
    """Whether a rendering shows what each message says, and each call's name.

    Args:
        text: the rendering.
        shadows: all that is to be shown. What was said beside calls need not be, unless it is in the form.
        form: the shape that was rendered.
    """
    said = (shadow["content"] for shadow in shadows if "tool_calls" not in shadow)
    names = (call["function"]["name"] for shadow in shadows for call in shadow.get("tool_calls", ()))
    wanted = "".join([*said, *names, *(shadow["content"] for shadow in form)])
    return {index for _, index in SENTINEL.findall(wanted)} <= {index for _, index in SENTINEL.findall(text)}


def tool_shadows(tools: Sequence[Tool], texts: Texts) -> list[Shadow]:
    """Returns the tools in OpenAI's form, which templates take."""
    return [
        {
            "type": "function",
            "function": {
                "name": tool.name,
                "description": texts.shield(tool.description),
                "parameters": {"type": "object", "properties": {}} | texts.shield(tool.parameters),
            },
        }
        for tool in tools
    ]


def forms(shadows: list[Shadow], tools: list[Shadow], knows_tools: bool) -> Iterator[tuple[list[Shadow], list[Shadow]]]:
    """Yields messages and tools in the shapes to offer to a template, one after the other.

    A template that refuses the conversation as it is gets it in stricter shapes: neighbours of one role joined and
    later system messages as the user's; then, the system message in front of the user's first. Calls are made one at
    a time; what was said beside a call is said before it, or not at all; then calls, their results and the tools
    become text, which is all that a template gets that knows no tools.
    """
    shapes: list[tuple[list[Shadow], list[Shadow]]] = []
    with_calls = any(shadow["role"] == "tool" or "tool_calls" in shadow for shadow in shadows)
    if knows_tools or not tools:
        shapes.append((shadows, tools))
        if with_calls:
            parted = _one_call_each(shadows)
            shapes += [(shape, tools) for shape in (parted, _asides_before(shadows), _asides_before(parted))]
            shapes += [(_without_asides(shape), tools) for shape in (shadows, parted)]
    if tools or with_calls:
        shapes.append((_described(shadows, tools), []))
    for messages, offered in shapes:
        for arrange in _ARRANGEMENTS:
            yield arrange(messages), offered


def _as_it_is(shadows: list[Shadow]) -> list[Shadow]:
    return shadows or [{"role": "user", "content": ""}]


def _alternating(shadows: list[Shadow]) -> list[Shadow]:
    merged: list[Shadow] = []
    for original in shadows:
        late = original["role"] == "system" and any(earlier["role"] != "system" for earlier in merged)
        shadow = original | {"role": "user"} if late else original
        last = merged[-1] if merged else None
        if last and last["role"] == shadow["role"] != "tool" and "tool_calls" not in last:
            merged[-1] = shadow | {"content": f"{last['content']}\n\n{shadow['content']}".rstrip()}
        else:
            merged.append(shadow)
    return _as_it_is(merged)


def _without_system(shadows: list[Shadow]) -> list[Shadow]:
    folded = _alternating([shadow | {"role": "user"} if shadow["role"] == "system" else shadow for shadow in shadows])
    if folded[0]["role"] != "user":
        folded.insert(0, {"role": "user", "content": ""})
    return folded


_ARRANGEMENTS: tuple[Callable[[list[Shadow]], list[Shadow]], ...] = (_as_it_is, _alternating, _without_system)


def _one_call_each(shadows: list[Shadow]) -> list[Shadow]:
    """Gives each call a message of its own, with its result behind it."""
    placed: list[Shadow] = []
    waiting: dict[str, int] = {}  # where in `placed` a call is that has no result yet
    for shadow in shadows:
        if shadow["role"] == "tool":
            place = waiting.pop(shadow["tool_call_id"], len(placed) - 1) + 1
            placed.insert(place, shadow)
            waiting = {id: at + (at >= place) for id, at in waiting.items()}
            continue
        waiting = {}
        calls = shadow.get("tool_calls", ())
        if not calls:
            placed.append(shadow)
        for position, call in enumerate(calls):
            waiting[call["id"]] = len(placed)
            placed.append(shadow | {"content": "" if position else shadow["content"], "tool_calls": [call]})
    return placed


def _asides_before(shadows: list[Shadow]) -> list[Shadow]:
    """Gives what was said beside calls a message of its own."""
    placed: list[Shadow] = []
    for shadow in shadows:
        if "tool_calls" in shadow and shadow["content"]:
            placed.append({"role": shadow["role"], "content": shadow["content"]})
        placed.append(shadow | {"content": ""} if "tool_calls" in shadow else shadow)
    return placed


def _without_asides(shadows: list[Shadow]) -> list[Shadow]:
    return [shadow | {"content": ""} if "tool_calls" in shadow else shadow for shadow in shadows]


def _described(shadows: list[Shadow], tools: list[Shadow]) -> list[Shadow]:
    """Writes tools into the system message, calls and results into the assistant's and the user's, in Hermes' tags."""
    told: list[Shadow] = []
    for shadow in shadows:
        calls = [
            f'<tool_call>\n{{"name": "{call["name"]}", "arguments": {call["arguments"]}}}\n</tool_call>'
            for call in (each["function"] for each in shadow.get("tool_calls", ()))
        ]
        if calls:
            told.append({"role": "assistant", "content": "\n".join([shadow["content"], *calls]).lstrip()})
        elif shadow["role"] == "tool":
            told.append({"role": "user", "content": f"<tool_response>\n{shadow['content']}\n</tool_response>"})
        else:
            told.append(shadow)
    if not tools:
        return told
    listed = "\n".join(to_json(tool) for tool in tools)
    manual = _MANUAL.format(tools=listed)
    if told and told[0]["role"] == "system":
        return [told[0] | {"content": f"{told[0]['content']}\n\n{manual}"}, *told[1:]]
    return [{"role": "system", "content": manual}, *told]


_MANUAL = """\
# Tools

These functions can be called, each described by its JSON schema:
<tools>
{tools}
</tools>

To call one, write nothing but its name and its arguments as JSON between these tags, once for each call:
<tool_call>
{{"name": "the function", "arguments": {{"an argument": "its value"}}}}
</tool_call>
What it returns comes back between <tool_response> tags."""
"""For models whose template knows no tools, in the tags that most of those that were trained on calls know."""
