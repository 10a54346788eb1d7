"""What a client says in the beta dialect, in the machine's words. Values are judged by the machine, under their own
names: here they only get their places, but for what has another form there.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

from server.realtime.refusal import Refusal

FORMATS: Mapping[str, str] = {"pcm16": "audio/pcm", "g711_ulaw": "audio/pcmu", "g711_alaw": "audio/pcma"}
CONTENT: Mapping[str, str] = {"text": "output_text", "audio": "output_audio"}
"""Types of content, where the dialects differ."""

TRANSCRIPTION_UPDATE = "transcription_session.update"
"""What a transcription session is changed with in this dialect: GA has one event for both kinds."""

TEMPERATURES = (0.6, 1.2)
"""OpenAI's range."""

_Value: TypeAlias = Callable[[Any, str], Any]
"""Puts a value into the machine's words; gets its path as well. Raises Refusal."""


def session(asked: Any) -> Any:
    """Returns the session of a `session.update` in the machine's words.

    Raises:
        Refusal: a field is unknown, or a value has no counterpart.
    """
    if not isinstance(asked, dict):
        return asked
    return {"type": "realtime", **_placed(asked, "session", _SESSION)}


def transcription_session(asked: Any) -> Any:
    """Returns the session of a `transcription_session.update`; see `session`."""
    if not isinstance(asked, dict):
        return asked
    return {"type": "transcription", **_placed(asked, "session", _TRANSCRIPTION_SESSION)}


def response(asked: Any) -> Any:
    """Returns what a `response.create` asks for; see `session`."""
    return _placed(asked, "response", _RESPONSE) if isinstance(asked, dict) else asked


def item(asked: Any, where: str = "item") -> Any:
    """Returns an item; see `session`."""
    if not isinstance(asked, dict):
        return asked
    if str(asked.get("type", "")).startswith("mcp_"):
        raise _invalid(f"{where}.type", "There are no MCP servers in this dialect of the protocol.")
    if not isinstance(asked.get("content"), list):
        return asked
    content = [_content(part, f"{where}.content[{index}]") for index, part in enumerate(asked["content"])]
    return {**asked, "content": content}


def _content(part: Any, where: str) -> Any:
    if not isinstance(part, dict) or not isinstance(kind := part.get("type"), str):
        return part
    if kind not in ("input_text", "input_audio", *CONTENT):
        known = ", ".join(("input_text", "input_audio", *CONTENT))
        raise _invalid(f"{where}.type", f"There is no content of type '{kind}'. There are: {known}.")
    return {**part, "type": CONTENT.get(kind, kind)}


_CLEARED_BY_NULL = frozenset(
    {"input_audio_transcription", "input_audio_noise_reduction", "turn_detection", "tracing", "include"}
)
"""Fields that null clears; of others it says nothing."""


def _placed(asked: Mapping[str, Any], root: str, fields: "Mapping[str, tuple[str, _Value]]") -> dict[str, Any]:
    """Returns an object with each field in the place that the machine has for it."""
    placed: dict[str, Any] = {}
    for name, value in asked.items():
        where = f"{root}.{name}"
        if name not in fields:
            known = ", ".join(sorted(fields))
            raise Refusal("unknown_parameter", f"There is no field '{where}'. There are: {known}.", where)
        if value is None and name not in _CLEARED_BY_NULL:
            continue
        place, in_words = fields[name]
        *outer, last = place.split(".")
        at = placed
        for key in outer:
            at = at.setdefault(key, {})
        at[last] = in_words(value, where)
    return placed


def _as_it_is(value: Any, where: str) -> Any:
    return value


def _modalities(value: Any, where: str) -> list[str]:
    """Sound never comes without its words in this dialect, which says so each time."""
    if not isinstance(value, list):
        raise _wrong_type(where, "array", value)
    if sorted(map(str, value)) not in (["text"], ["audio", "text"]):
        raise _invalid(where, f"Invalid modalities: {value}. They are ['text'] or ['text', 'audio'].")
    return ["audio" if "audio" in value else "text"]


def _format(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, str):
        raise _wrong_type(where, "str", value)
    if value not in FORMATS:
        raise _invalid(where, f"There is no format '{value}'. There are: {', '.join(FORMATS)}.")
    return {"type": FORMATS[value]}


def _transcription(value: Any, where: str) -> Any:
    _check_fields(value, where, ("model", "language", "prompt"))
    return value


def _turn_detection(value: Any, where: str) -> Any:
    common = ("type", "create_response", "interrupt_response")
    _check_fields(value, where, (*common, "threshold", "prefix_padding_ms", "silence_duration_ms", "eagerness"))
    return {"type": "server_vad", **value} if isinstance(value, dict) else value


def _temperature(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong_type(where, "float", value)
    least, most = TEMPERATURES
    if not least <= value <= most:
        raise _invalid(where, f"A temperature is a number from {least} to {most}.")
    return float(value)


def _tools(value: Any, where: str) -> Any:
    if not isinstance(value, list):
        return value
    for index, tool in enumerate(value):
        if isinstance(tool, dict) and tool.get("type", "function") != "function":
            raise _invalid(f"{where}[{index}].type", "Tools are of type 'function' in this dialect of the protocol.")
    return [{"type": "function", **tool} if isinstance(tool, dict) else tool for tool in value]


def _tool_choice(value: Any, where: str) -> Any:
    """A function is named by a bare name, as in GA, or as in OpenAI's chat completions."""
    match value:
        case {"type": "function", "function": {"name": name, **more}, **others} if not more and not others:
            return {"type": "function", "name": name}
        case {"type": "mcp"}:
            raise _invalid(f"{where}.type", "There are no MCP servers in this dialect of the protocol.")
        case _:
            return value


def _input(value: Any, where: str) -> Any:
    return [item(each, f"{where}[{index}]") for index, each in enumerate(value)] if isinstance(value, list) else value


_COMMON: Mapping[str, tuple[str, _Value]] = {
    "modalities": ("output_modalities", _modalities),
    "instructions": ("instructions", _as_it_is),
    "voice": ("audio.output.voice", _as_it_is),
    "output_audio_format": ("audio.output.format", _format),
    "tools": ("tools", _tools),
    "tool_choice": ("tool_choice", _tool_choice),
    "temperature": ("temperature", _temperature),
    "max_response_output_tokens": ("max_output_tokens", _as_it_is),
}

_SESSION: Mapping[str, tuple[str, _Value]] = {
    **_COMMON,
    "model": ("model", _as_it_is),
    "input_audio_format": ("audio.input.format", _format),
    "input_audio_transcription": ("audio.input.transcription", _transcription),
    "input_audio_noise_reduction": ("audio.input.noise_reduction", _as_it_is),
    "turn_detection": ("audio.input.turn_detection", _turn_detection),
    "speed": ("audio.output.speed", _as_it_is),
    "tracing": ("tracing", _as_it_is),
    "include": ("include", _as_it_is),
}

_TRANSCRIPTION_SESSION: Mapping[str, tuple[str, _Value]] = {
    name: _SESSION[name]
    for name in (
        "input_audio_format",
        "input_audio_transcription",
        "input_audio_noise_reduction",
        "turn_detection",
        "include",
    )
}

_RESPONSE: Mapping[str, tuple[str, _Value]] = {
    **_COMMON,
    "conversation": ("conversation", _as_it_is),
    "input": ("input", _input),
    "metadata": ("metadata", _as_it_is),
}


def _names(fields: "Mapping[str, tuple[str, _Value]]", root: str) -> Iterator[tuple[str, str]]:
    for name, (place, _) in fields.items():
        if name != place:
            yield f"{root}.{place}", f"{root}.{name}"


NAMES: Mapping[str, str] = dict(
    [("session.type", "type"), *_names(_SESSION, "session"), *_names(_RESPONSE, "response")]
)
"""The machine's path of a field → this dialect's, where they differ."""


def _check_fields(value: Any, where: str, known: tuple[str, ...]) -> None:
    for name in value if isinstance(value, dict) else ():
        if name not in known:
            path = f"{where}.{name}"
            raise Refusal("unknown_parameter", f"There is no field '{path}'. There are: {', '.join(known)}.", path)


def _invalid(where: str, message: str) -> Refusal:
    return Refusal("invalid_value", message, where)


def _wrong_type(where: str, wanted: str, value: Any) -> Refusal:
    return Refusal("invalid_type", f"Invalid '{where}': Expected `{wanted}`, got `{type(value).__name__}`.", where)
