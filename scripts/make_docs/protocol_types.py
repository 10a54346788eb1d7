"""What the `openai` package knows of the protocol: its events, their fields at any depth, and values to try them with.

Nothing here names a field in order to say that it exists: that comes from the package's types, so that a new one is
found by itself. The tables only give values that make sense where any value of the type would not.
"""

import base64
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeAlias, Union, get_args, get_origin

from openai.types.beta.realtime.realtime_client_event import RealtimeClientEvent as BetaClientEvent
from openai.types.beta.realtime.realtime_server_event import RealtimeServerEvent as BetaServerEvent
from openai.types.realtime.realtime_client_event import RealtimeClientEvent
from openai.types.realtime.realtime_server_event import RealtimeServerEvent
from pydantic import BaseModel

Object = dict[str, Any]
Model = type[BaseModel]


def client_events(beta: bool) -> dict[str, Model]:
    """Returns the client events of a dialect, by type."""
    return _by_type(BetaClientEvent if beta else RealtimeClientEvent)


def server_events(beta: bool) -> dict[str, Model]:
    return _by_type(BetaServerEvent if beta else RealtimeServerEvent)


def _by_type(union: Any) -> dict[str, Model]:
    models: tuple[Model, ...] = get_args(get_args(union)[0])
    return {name: model for model in models for name in _plain(model.model_fields["type"].annotation).literals}


@dataclass(slots=True)
class Kinds:
    """What a value may be."""

    literals: list[Any] = field(default_factory=list)
    scalars: list[type] = field(default_factory=list)
    models: list[Model] = field(default_factory=list)
    items: list[Any] = field(default_factory=list)
    """Annotations of what a list holds."""
    has_map: bool = False
    is_any: bool = False


def _plain(annotation: Any) -> Kinds:
    found = Kinds()
    _collect(annotation, found)
    return found


def _collect(annotation: Any, found: Kinds) -> None:
    origin = get_origin(annotation)
    if origin is Annotated:
        _collect(get_args(annotation)[0], found)
    elif origin in (Union, UnionType):
        for each in get_args(annotation):
            _collect(each, found)
    elif origin is Literal:
        found.literals += get_args(annotation)
    elif origin is list:
        found.items.append(get_args(annotation)[0])
    elif origin is dict:
        found.has_map = True
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        found.models.append(annotation)
    elif annotation in (str, int, float, bool):
        found.scalars.append(annotation)
    elif annotation is not NoneType:
        found.is_any = True


# --- values to try ---

TOOL = {"type": "function", "name": "look_up", "description": "Looks it up.", "parameters": {"type": "object"}}
SHOP = {"type": "mcp", "server_label": "shop", "server_url": "http://127.0.0.1:9/mcp"}
_TEXT = {"type": "input_text", "text": "hello"}
_IMAGE = (
    "data:image/png;base64,"
    + base64.b64encode(
        bytes.fromhex(
            "89504e470d0a1a0a0000000d49484452000000010000000108020000009077"
            "53de0000000c49444154789c63f8cfc0000003010100c9fe92ef0000000049454e44ae426082"
        )
    ).decode()
)
_SILENCE = base64.b64encode(bytes(4_800)).decode()

WHOLE: dict[str, list[Object]] = {
    "RealtimeSessionCreateRequest": [
        {"type": "realtime", "tools": [TOOL]},
        {"type": "realtime", "tools": [TOOL, SHOP]},
    ],
    "RealtimeTranscriptionSessionCreateRequest": [{"type": "transcription"}],
    "RealtimeResponseCreateParams": [
        {"instructions": "Go on.", "tools": [TOOL]},
        {"instructions": "Go on.", "tools": [TOOL, SHOP]},
    ],
    "Mcp": [SHOP],
    "RealtimeResponseCreateMcpTool": [SHOP],
    "ToolChoiceMcp": [{"type": "mcp", "server_label": "shop"}],
    "RealtimeFunctionTool": [{"type": "function", "name": "look_up"}],
    "RealtimeConversationItemSystemMessage": [{"type": "message", "role": "system", "content": [_TEXT]}],
    "RealtimeConversationItemUserMessage": [{"type": "message", "role": "user", "content": [_TEXT]}],
    "RealtimeConversationItemAssistantMessage": [
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "hello"}]}
    ],
    "RealtimeConversationItemFunctionCall": [{"type": "function_call", "name": "look_up", "arguments": "{}"}],
    "realtime_conversation_item_system_message.Content": [_TEXT],
    "realtime_conversation_item_user_message.Content": [
        _TEXT,
        {"type": "input_audio", "audio": _SILENCE},
        {"type": "input_image", "image_url": _IMAGE},
    ],
    "realtime_conversation_item_assistant_message.Content": [
        {"type": "output_text", "text": "hello"},
        {"type": "output_audio", "transcript": "hello"},
    ],
    "AudioPCM": [{"type": "audio/pcm", "rate": 24_000}],
    "AudioPCMU": [{"type": "audio/pcmu"}],
    "AudioPCMA": [{"type": "audio/pcma"}],
    "NoiseReduction": [{"type": "near_field"}],
    "AudioTranscription": [{"model": "whisper-1"}],
    "RealtimeMcpToolCall": [
        {
            "type": "mcp_call",
            "id": "mcp_x",
            "server_label": "shop",
            "name": "look_up",
            "arguments": "{}",
            "output": "done",
        }
    ],
    # The older dialect.
    "session_update_event.Session": [{"tools": [TOOL]}],
    "Response": [{"instructions": "Go on.", "tools": [TOOL]}],
    "SessionTool": [TOOL],
    "ResponseTool": [TOOL],
    "SessionTurnDetection": [{"type": "server_vad"}, {"type": "semantic_vad"}],
    "ConversationItem": [
        {"type": "message", "role": "user", "content": [_TEXT]},
        {"type": "message", "role": "assistant", "content": [{"type": "text", "text": "hello"}]},
        {"type": "function_call", "name": "look_up", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "call_x", "output": "done"},
    ],
    "ConversationItemContent": [
        _TEXT,
        {"type": "input_audio", "audio": _SILENCE},
        {"type": "item_reference", "id": "item_x"},
        {"type": "text", "text": "hello"},
        {"type": "audio", "transcript": "hello"},
    ],
}
WHOLE["ConversationItemWithReference"] = [*WHOLE["ConversationItem"], {"type": "item_reference", "id": "item_x"}]
WHOLE["conversation_item_with_reference.Content"] = WHOLE["ConversationItemContent"]
"""Objects that can stand for one of a class, where the required fields alone do not make one that means anything."""

BEFORE: dict[str, list[Object]] = {
    "response.input[]": [{"type": "function_call", "call_id": "call_x", "name": "look_up", "arguments": "{}"}],
}
"""What comes in a list before what is tried in it."""

_VALUES: Sequence[tuple[str, list[Any]]] = (
    (r"session\.model", ["mini"]),
    (r".*transcription\.model", ["whisper-1"]),
    (r".*\.language", ["en"]),
    (r".*\.languages\[\]", ["en"]),
    (r".*\.voice", ["two"]),
    (r".*tool_choice", ["auto", "none", "required"]),
    (r".*\.modalities", [["text"], ["text", "audio"]]),
    (r".*output_modalities", [["text"], ["audio"]]),
    (r".*_(audio|output)_format", ["pcm16", "g711_ulaw", "g711_alaw"]),
    (r".*\.(temperature)", [0.7]),
    (r".*\.speed", [0.5]),
    (r".*idle_timeout_ms", [6_000]),
    (r".*(content_index)", [0]),
    (r".*\.(include)", [["item.input_audio_transcription.logprobs"]]),
    (r"item_id", ["SPOKEN"]),
    (r"response_id", ["RESPONSE"]),
    (r"(item|response\.input\[\])\.call_id", ["call_x"]),
    (r".*item\.id|.*input\[\]\.id|.*content\[\]\.id", ["item_y", "item_x"]),
    (r"previous_item_id", ["item_x", "root"]),
    (r"audio_end_ms", [700]),
    (r"audio|.*content\[\]\.audio", [_SILENCE]),
    (r".*image_url", [_IMAGE]),
    (r".*\.(arguments)", ["{}"]),
    (r".*\.name", ["look_up"]),
    (r".*\.parameters", [{"type": "object"}]),
    (r".*tool_choice\.server_label", ["shop"]),
    (r".*\.server_url", ["http://127.0.0.1:9/mcp"]),
    (r".*\.approval_request_id", ["REQUEST"]),
    (r".*\.delay", ["minimal", "low", "medium", "high", "xhigh"]),
)

_SCALARS: dict[type, list[Any]] = {str: ["text"], int: [1, 100], float: [0.5, 1.0], bool: [False, True]}


def values(path: str, annotation: Any) -> list[Any]:
    """Returns values to try a field with, all of which the package's types allow."""
    for pattern, known in _VALUES:
        if re.fullmatch(pattern, path):
            return known
    kinds = _plain(annotation)
    found = [*kinds.literals]
    for model in kinds.models:
        found += wholes(path, model)
    for inner in kinds.items:
        found += [[each] for each in values(f"{path}[]", inner)[:4]]
    if not found or kinds.scalars:
        found += [value for kind in kinds.scalars for value in _SCALARS[kind]]
    if kinds.has_map or kinds.is_any:
        found.append({"key": "value"})
    return found


def wholes(path: str, model: Model) -> list[Object]:
    """Returns objects that can stand for one of this class."""
    for name in (model.__name__, f"{model.__module__.rsplit('.', 1)[-1]}.{model.__name__}"):
        if name in WHOLE:
            return WHOLE[name]
    required = {name: info for name, info in model.model_fields.items() if info.is_required()}
    # What it is comes first: whoever reads it from the top finds that wrong before the rest.
    in_order = sorted(required, key=lambda name: name not in ("type", "role"))
    return [{name: values(f"{path}.{name}".lstrip("."), required[name].annotation)[0] for name in in_order}]


# --- fields ---


Step: TypeAlias = str | list[Object]
"""A name, or the last place of a list, behind these."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field of an event, at any depth.

    `path` has `[]` for "each of the list". `objects` are the objects that it is tried in, and `place` is how it is put
    into one of them to make an event.
    """

    event: str
    path: str
    annotation: Any
    of: str
    """The type of the object that it is in, where there are several."""
    places: tuple["Place", ...]

    @property
    def name(self) -> str:
        return self.path.rsplit(".", 1)[-1]

    @property
    def values(self) -> list[Any]:
        return values(self.path, self.annotation)

    def events(self, value: Any) -> Iterator[Object]:
        """Yields events with this value in this field, one an object that it can be in."""
        for place in self.places:
            yield place.put({**place.inner, self.name: value})

    @property
    def kinds(self) -> Kinds:
        return _plain(self.annotation)


@dataclass(frozen=True, slots=True)
class Place:
    """An object inside an event: `frame` is the event, `steps` lead to the object, `inner` is what is there."""

    frame: Object
    steps: tuple[Step, ...]
    inner: Object

    def put(self, value: Any) -> Object:
        """Returns the event with another value in this place."""
        made: Object = _put(self.frame, self.steps, value)
        return made


def _put(at: Any, steps: Sequence[Step], value: Any) -> Any:
    """Returns `at` with `value` where the steps lead; what is not there yet is made."""
    if not steps:
        return value
    first, *rest = steps
    if isinstance(first, list):
        return [*first, _put(at[-1] if isinstance(at, list) and at else {}, rest, value)]
    known = at if isinstance(at, dict) else {}
    return {**known, first: _put(known.get(first), rest, value)}


def fields(event: str, model: Model) -> Iterator[Field]:
    """Yields the fields of a client event, at any depth."""
    (whole,) = wholes("", model)
    whole = {**whole, "type": event}
    yield from _fields(event, model, "", "", (Place(whole, (), whole),))


def _fields(event: str, model: Model, prefix: str, of: str, places: tuple[Place, ...]) -> Iterator[Field]:
    for name, info in model.model_fields.items():
        path = f"{prefix}{name}"
        if path == "type":
            continue
        here = Field(event, path, info.annotation, of, places)
        yield here
        yield from _inside(here, info.annotation, path, (name,))


def _inside(outer: Field, annotation: Any, path: str, steps: tuple[Step, ...]) -> Iterator[Field]:
    kinds = _plain(annotation)
    for model in kinds.models:
        found = tuple(
            Place(place.put(place.inner), (*place.steps, *steps), whole)
            for place in outer.places
            for whole in wholes(path, model)
        )
        label = name_of(model) if len(kinds.models) > 1 else ""
        yield from _fields(outer.event, model, f"{path}.", label or outer.of, found)
    for inner in kinds.items:
        yield from _inside(outer, inner, f"{path}[]", (*steps, BEFORE.get(f"{path}[]", [])))


def name_of(model: Model) -> str:
    """Returns what tells an object of this class from others: its type, or its role."""
    for key in ("role", "type"):
        if key in model.model_fields and (literals := _plain(model.model_fields[key].annotation).literals):
            return str(literals[0])
    return ""
