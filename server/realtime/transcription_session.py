"""Transcription sessions: they hear as any session does, and never answer.

The machine runs one with the configuration of a session whose turns make no responses; what is shown of it, what may be
changed of it, and which events it takes is here.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from server.realtime import client_events as client
from server.realtime.refusal import Refusal
from server.realtime.schema import Session, SessionKind, TranscriptionSession

_OF_RESPONSES = ("create_response", "interrupt_response", "idle_timeout_ms")
"""Fields of a turn detection that are about responses."""

_FIELDS: Mapping[str, frozenset[str]] = {
    "session": frozenset({"type", "audio", "include"}),
    "session.audio": frozenset({"input"}),
}
"""All that a client may set, but for what `audio.input` has."""

_REFUSED: Mapping[type, str] = {
    client.ResponseCreate: "A transcription session makes no responses.",
    client.ConversationItemCreate: "The items of a transcription session are what is heard in it: append sound.",
}

_CONNECT = "Connect with ?intent=transcription for a transcription session, and without it for one that answers."


def shown(session: Session) -> Session | TranscriptionSession:
    """Returns what the client is shown of a session's configuration."""
    if session.type == "realtime":
        return session
    hears = msgspec.to_builtins(session.audio.input)
    if hears["turn_detection"] is not None:
        for name in _OF_RESPONSES:
            hears["turn_detection"].pop(name, None)
    return TranscriptionSession(
        id=session.id, expires_at=session.expires_at, audio={"input": hears}, include=session.include
    )


def check_update(update: Mapping[str, Any], kind: SessionKind) -> None:
    """Raises:
    Refusal: the `session` of an update is for a session of another kind than this.
    """
    asked = update.get("type")
    if asked != kind:
        if asked not in ("realtime", "transcription"):
            raise Refusal("invalid_value", f"`session.type` must be '{kind}'.", "session.type")
        raise Refusal(
            "invalid_value",
            f"Passing a {asked} session update event to a {kind} session is not allowed. {_CONNECT}",
            "session.type",
        )
    if kind == "transcription":
        _check_fields(update, "session")
        _check_fields(update.get("audio"), "session.audio")


def _check_fields(asked: Any, where: str) -> None:
    for name in asked if isinstance(asked, Mapping) else ():
        if name not in _FIELDS[where]:
            known = ", ".join(sorted(_FIELDS[where]))
            raise Refusal(
                "unknown_parameter",
                f"A transcription session has no '{where}.{name}'. It has: {known}.",
                f"{where}.{name}",
            )


def without_responses(merged: dict[str, Any]) -> None:
    """Has the turns of a merged session, not yet judged, make no responses.

    Raises:
        Refusal: the client asks for them.
    """
    hears = merged["audio"]["input"] if isinstance(merged["audio"], dict) else None
    detection = hears.get("turn_detection") if isinstance(hears, dict) else None
    if not isinstance(detection, dict):
        return
    for name in _OF_RESPONSES:
        if detection.get(name):
            raise Refusal(
                "invalid_value",
                f"A transcription session makes no responses: leave `{name}` out.",
                f"session.audio.input.turn_detection.{name}",
            )
    for name in ("create_response", "interrupt_response"):
        detection.setdefault(name, False)


def check_event(event: object) -> None:
    """Raises:
    Refusal: a transcription session does not take this event of the client's.
    """
    if (problem := _REFUSED.get(type(event))) is not None:
        raise Refusal("invalid_value", f"{problem} {_CONNECT}", "type")
