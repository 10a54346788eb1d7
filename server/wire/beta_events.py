"""What the machine says, in the words of the beta dialect: plain objects in, plain objects out."""

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from server.wire.beta_requests import CONTENT, FORMATS, NAMES

Body: TypeAlias = dict[str, Any]

USUAL_TEMPERATURE = 0.8
"""What the schema has as the default; shown where the engine does not say what it is set to."""

_FORMATS = {theirs: ours for ours, theirs in FORMATS.items()}
_CONTENT = {theirs: ours for ours, theirs in CONTENT.items()}
_QUOTED = {**_FORMATS, **_CONTENT}

_PATH = re.compile(rf"({'|'.join(map(re.escape, NAMES))})\b")
_QUOTED_WORD = re.compile("'(" + "|".join(map(re.escape, _QUOTED)) + ")'")
_FORMAT_PART = re.compile(r"(audio_format)\.(?:type|rate)\b")

_TURN_DETECTION: Mapping[str, tuple[str, ...]] = {
    "server_vad": ("threshold", "prefix_padding_ms", "silence_duration_ms"),
    "semantic_vad": ("eagerness",),
}


def session(body: Body) -> Body:
    """Returns the session, flat."""
    if body["type"] == "transcription":
        return _transcription_session(body)
    heard, spoken = body["audio"]["input"], body["audio"]["output"]
    return {
        **_only(body, "id", "object", "model", "expires_at", "instructions", "tracing"),
        **_manner(body, spoken),
        **_hearing(heard),
        "tools": [tool for tool in body["tools"] if tool["type"] == "function"],
        "tool_choice": _tool_choice(body["tool_choice"]),
        "max_response_output_tokens": body["max_output_tokens"],
        "speed": spoken["speed"],
    }


def _transcription_session(body: Body) -> Body:
    return {**_only(body, "id", "object", "expires_at", "include"), **_hearing(body["audio"]["input"])}


def is_of_transcription(body: Body) -> bool:
    """Whether an event tells the configuration of a transcription session, which has events of its own here."""
    told = body.get("session")
    return isinstance(told, dict) and told["type"] == "transcription"


def _hearing(heard: Body) -> Body:
    """How the user is heard: what sessions of both kinds say of it."""
    return {
        "input_audio_format": _FORMATS[heard["format"]["type"]],
        "input_audio_transcription": heard["transcription"] and _only(heard["transcription"], *_TRANSCRIPTION),
        "input_audio_noise_reduction": heard["noise_reduction"],
        "turn_detection": heard["turn_detection"] and _turn_detection(heard["turn_detection"]),
    }


_TRANSCRIPTION = ("model", "language", "prompt")


def response(body: Body) -> Body:
    return {
        **_only(body, "object", "id", "status", "status_details", "conversation_id", "max_output_tokens", "metadata"),
        **_manner(body, body["audio"]["output"]),
        "output": [item(each) for each in body["output"]],
        "usage": body["usage"] and _usage(body["usage"]),
    }


def item(body: Body) -> Body:
    if "content" not in body:
        return body
    content = [{**part, "type": _CONTENT.get(part["type"], part["type"])} for part in body["content"]]
    return {**body, "content": content}


def error(body: Body) -> Body:
    """Returns an error of the machine's, with the fields under their names in this dialect."""
    param = body["param"] and _FORMAT_PART.sub(r"\1", _PATH.sub(_name, body["param"]))
    message = _FORMAT_PART.sub(r"\1", _PATH.sub(_name, body["message"]))
    return {**body, "param": param, "message": _QUOTED_WORD.sub(lambda found: f"'{_QUOTED[found[1]]}'", message)}


def _name(found: "re.Match[str]") -> str:
    return NAMES[found[0]]


def _manner(body: Body, spoken: Body) -> Body:
    """How replies are made: what a session and a response both say of it."""
    temperature = body["temperature"]
    return {
        "modalities": ["text", "audio"] if body["output_modalities"] == ["audio"] else ["text"],
        "voice": spoken["voice"],
        "output_audio_format": _FORMATS[spoken["format"]["type"]],
        "temperature": USUAL_TEMPERATURE if temperature is None else temperature,
    }


def _turn_detection(body: Body) -> Body:
    return _only(body, "type", *_TURN_DETECTION[body["type"]], "create_response", "interrupt_response")


def _tool_choice(choice: Any) -> Any:
    return choice["name"] if isinstance(choice, dict) else choice


def _usage(body: Body) -> Body:
    details = _only(body["input_token_details"], "text_tokens", "audio_tokens", "cached_tokens")
    return {**body, "input_token_details": details}


def _only(body: Body, *names: str) -> Body:
    return {name: body[name] for name in names if name in body}


def _with(field: str, put: Callable[[Body], Body]) -> Callable[[Body], Body]:
    return lambda body: {**body, field: put(body[field])}


def _call_done(body: Body) -> Body:
    return {name: value for name, value in body.items() if name != "name"}


def _as_it_is(body: Body) -> Body:
    return body


EVENTS: Mapping[str, tuple[str, Callable[[Body], Body]]] = {
    "error": ("error", _as_it_is),
    "session.created": ("session.created", _with("session", session)),
    "session.updated": ("session.updated", _with("session", session)),
    "conversation.created": ("conversation.created", _as_it_is),
    "conversation.item.added": ("conversation.item.created", _with("item", item)),
    "conversation.item.retrieved": ("conversation.item.retrieved", _with("item", item)),
    "response.created": ("response.created", _with("response", response)),
    "response.done": ("response.done", _with("response", response)),
    "response.output_item.added": ("response.output_item.added", _with("item", item)),
    "response.output_item.done": ("response.output_item.done", _with("item", item)),
    "response.function_call_arguments.done": ("response.function_call_arguments.done", _call_done),
    "response.output_text.delta": ("response.text.delta", _as_it_is),
    "response.output_text.done": ("response.text.done", _as_it_is),
    "response.output_audio.delta": ("response.audio.delta", _as_it_is),
    "response.output_audio.done": ("response.audio.done", _as_it_is),
    "response.output_audio_transcript.delta": ("response.audio_transcript.delta", _as_it_is),
    "response.output_audio_transcript.done": ("response.audio_transcript.done", _as_it_is),
    **{
        name: (name, _as_it_is)
        for name in (
            "input_audio_buffer.speech_started",
            "input_audio_buffer.speech_stopped",
            "input_audio_buffer.committed",
            "input_audio_buffer.cleared",
            "output_audio_buffer.started",
            "output_audio_buffer.stopped",
            "output_audio_buffer.cleared",
            "conversation.item.deleted",
            "conversation.item.truncated",
            "conversation.item.input_audio_transcription.delta",
            "conversation.item.input_audio_transcription.completed",
            "conversation.item.input_audio_transcription.failed",
            "rate_limits.updated",
            "response.content_part.added",
            "response.content_part.done",
            "response.function_call_arguments.delta",
        )
    },
}
"""The machine's name of an event → this dialect's, and its body. What is not here, the dialect does not have."""
