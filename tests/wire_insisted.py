"""What clients insist on although the package's types do not: keys that are always there, whole numbers, exact forms.

Real clients of both dialects stop or misbehave without these.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

Event = dict[str, Any]

WHOLE = re.compile(r".*_(ms|index|tokens)|expires_at|rate")
"""Names of fields that are whole numbers wherever they are."""
_MAY_BE_NULL = {"idle_timeout_ms"}
_MAY_BE_WORDS = {"max_output_tokens", "max_response_output_tokens"}

MAX_EVENT_BYTES = 2**20

_IDS = {"session": "sess_", "response": "resp_", "conversation": "conv_"}
_CONTENT = {
    False: {"input_text", "input_audio", "input_image", "output_text", "output_audio"},
    True: {"input_text", "input_audio", "text", "audio"},
}
_TELEPHONE = ({"type": "audio/pcmu"}, {"type": "audio/pcma"})
_PCM = {"type": "audio/pcm", "rate": 24_000}


def check_insisted(event: Event, beta: bool) -> None:
    """Raises AssertionError when the event lacks what clients insist on."""
    assert event["event_id"].startswith("event_")
    for name, value in _fields(event):
        if WHOLE.fullmatch(name) and not (value is None and name in _MAY_BE_NULL):
            assert type(value) is int or (value == "inf" and name in _MAY_BE_WORDS), f"{name} is a whole number"
    for name, prefix in _IDS.items():
        if isinstance(event.get(name), dict):
            assert event[name]["id"].startswith(prefix)
    if "session" in event:
        _configuration(event, beta)
    if "item" in event:
        _item(event["item"], beta)
    if "response" in event:
        assert isinstance(event["response"]["output"], list), "output is a list"
        for item in event["response"]["output"]:
            _item(item, beta)
    if (handler := _EVENTS.get(event["type"])) is not None:
        handler(event, beta)


def _fields(value: Any) -> Iterator[tuple[str, Any]]:
    """Yields names and values at any depth, but for what a client or a tool has put in as it likes."""
    if isinstance(value, list):
        for each in value:
            yield from _fields(each)
    if isinstance(value, dict):
        for name, inner in value.items():
            if name not in ("parameters", "metadata", "input_schema", "tools"):
                yield name, inner
                yield from _fields(inner)


# --- sessions ---


def _configuration(event: Event, beta: bool) -> None:
    session = event["session"]
    if not beta:
        _session(session)
        if event["type"] == "session.created":
            transcription = session["audio"]["input"]["transcription"] or {}
            assert None not in transcription.values(), "what the client did not set is left out"
        return
    answers = event["type"].startswith("session.")
    _older_hearing(session, answers)
    if answers:
        _older_session(session)


def _session(session: Event) -> None:
    assert session["type"] in ("realtime", "transcription")
    assert session["object"] in ("realtime.session", "realtime.transcription_session")
    _has(session, "id", "expires_at", "audio")
    heard = session["audio"]["input"]
    _has(heard, "format", "transcription", "noise_reduction", "turn_detection")
    assert heard["format"] == _PCM or heard["format"] in _TELEPHONE
    _transcription(heard["transcription"])
    _turn_detection(heard["turn_detection"], answers=session["type"] == "realtime")
    if session["type"] == "realtime":
        _has(session, "model", "instructions", "output_modalities", "tools", "tool_choice", "max_output_tokens")
        assert session["output_modalities"] in (["audio"], ["text"])
        spoken = session["audio"]["output"]
        assert spoken["format"] == _PCM or spoken["format"] in _TELEPHONE
        assert isinstance(spoken["voice"], str)
        assert isinstance(spoken["speed"], int | float)


def _older_session(session: Event) -> None:
    _has(session, "id", "object", "model", "modalities", "instructions", "voice", "tools", "tool_choice")
    _has(session, "output_audio_format", "temperature", "max_response_output_tokens")
    assert isinstance(session["voice"], str)
    assert isinstance(session["tool_choice"], str)
    assert isinstance(session["temperature"], float)


def _older_hearing(session: Event, answers: bool) -> None:
    """What sessions of transcription have, too, which answer nothing."""
    _has(session, "id", "input_audio_format", "input_audio_transcription", "turn_detection")
    _transcription(session["input_audio_transcription"])
    _turn_detection(session["turn_detection"], answers)


def _transcription(transcription: Event | None) -> None:
    if transcription is not None:
        _has(transcription, "model")


def _turn_detection(detection: Event | None, answers: bool) -> None:
    if detection is not None:
        assert detection["type"] in ("server_vad", "semantic_vad")
        if answers:
            _has(detection, "create_response", "interrupt_response")
        if detection["type"] == "server_vad":
            _has(detection, "threshold", "prefix_padding_ms", "silence_duration_ms")


# --- items ---


def _item(item: Event, beta: bool) -> None:
    _has(item, "id", "type")
    if item["type"] == "message":
        _has(item, "object", "role", "status")
        for part in item["content"]:
            assert part["type"] in _CONTENT[beta], f"no content of type {part['type']}"
            if part["type"] != "input_image":
                _has(part, "transcript" if part["type"].endswith("audio") else "text")
    if item["type"] == "function_call":
        _has(item, "object", "call_id", "name", "status")
        assert isinstance(item["arguments"], str)
    if item["type"] == "function_call_output":
        _has(item, "object", "call_id")
        assert isinstance(item["output"], str)


# --- events ---


def _error(event: Event, beta: bool) -> None:
    _has(event["error"], "type", "code", "message", "param", "event_id")
    assert event["error"]["message"]
    assert event["error"]["code"]


def _names_its_place(event: Event, beta: bool) -> None:
    _has(event, "previous_item_id")


def _committed(event: Event, beta: bool) -> None:
    _has(event, "previous_item_id", "item_id")


def _part(event: Event, beta: bool) -> None:
    kind = event["part"]["type"]
    assert kind in ("audio", "text")
    assert isinstance(event["part"]["transcript" if kind == "audio" else "text"], str)


def _call_done(event: Event, beta: bool) -> None:
    _has(event, "call_id", "arguments")
    if not beta:
        assert event["name"]


def _transcribed(event: Event, beta: bool) -> None:
    _has(event, "content_index", "transcript")
    usage = event["usage"]
    if usage["type"] == "tokens":
        _has(usage, "total_tokens", "input_tokens", "output_tokens")
        _has(usage["input_token_details"], "text_tokens", "audio_tokens")
    else:
        _has(usage, "seconds")


def _created(event: Event, beta: bool) -> None:
    response = event["response"]
    assert (response["status"], response["output"]) == ("in_progress", [])
    _has(response, "metadata", "status_details", "conversation_id")


def _done(event: Event, beta: bool) -> None:
    response = event["response"]
    _has(response, "metadata", "status_details", "conversation_id")
    usage = response["usage"]
    assert usage is not None, "usage in full in every status"
    _has(usage, "total_tokens", "input_tokens", "output_tokens")
    for details, names in (
        ("input_token_details", ("text_tokens", "audio_tokens", "cached_tokens")),
        ("output_token_details", ("text_tokens", "audio_tokens")),
    ):
        _has(usage[details], *names)
        assert None not in usage[details].values()
    if response["status"] == "failed":
        _has(response["status_details"]["error"], "type", "code", "message")
    elif response["status"] != "completed":
        _has(response["status_details"], "type", "reason")


def _rate_limits(event: Event, beta: bool) -> None:
    assert event["rate_limits"] == [], "there are none"


def _has(value: Event, *names: str) -> None:
    missing = [name for name in names if name not in value]
    assert not missing, f"clients insist on {missing}"


_EVENTS: dict[str, Callable[[Event, bool], None]] = {
    "error": _error,
    "conversation.item.added": _names_its_place,
    "conversation.item.done": _names_its_place,
    "conversation.item.created": _names_its_place,
    "input_audio_buffer.committed": _committed,
    "response.content_part.added": _part,
    "response.content_part.done": _part,
    "response.function_call_arguments.done": _call_done,
    "conversation.item.input_audio_transcription.completed": _transcribed,
    "response.created": _created,
    "response.done": _done,
    "rate_limits.updated": _rate_limits,
}
