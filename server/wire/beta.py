"""The beta dialect, of clients written before GA: other names, a flat session, other types of content."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from server.realtime.client_events import ClientEvent
from server.realtime.inbox import Refused
from server.realtime.mcp_schema import McpTool
from server.realtime.refusal import Refusal
from server.realtime.schema import Session
from server.realtime.server_events import Error, ServerEvent
from server.realtime.server_objects import ErrorBody
from server.wire import beta_events, beta_requests, ga

_OTHERWISE: Mapping[str, tuple[str, Callable[[Any], Any]]] = {
    "session.update": ("session", beta_requests.session),
    beta_requests.TRANSCRIPTION_UPDATE: ("session", beta_requests.transcription_session),
    "response.create": ("response", beta_requests.response),
    "conversation.item.create": ("item", beta_requests.item),
}
"""The client events that are shaped otherwise than in GA: the field that differs, and what makes it the machine's."""

_encoder = msgspec.json.Encoder()


class _InItsWords(ErrorBody):
    """An error that already names fields as this dialect does."""


def decode(frame: str | bytes) -> ClientEvent | Refused:
    """Returns the client event in a text frame, or why it is none; bytes stand for a binary frame."""
    if isinstance(frame, bytes):
        return ga.decode(frame)
    envelope = ga.envelope_of(frame)
    if isinstance(envelope, Refused):
        return envelope
    if not isinstance(envelope.type, str) or envelope.type not in _OTHERWISE:
        return ga.decode(frame)
    event = ga.object_of(frame)  # what is no JSON may lie where the envelope does not look
    if isinstance(event, Refused):
        return event
    field, translate = _OTHERWISE[envelope.type]
    if envelope.type == beta_requests.TRANSCRIPTION_UPDATE:
        event["type"] = "session.update"
    try:
        return ga.event_of({**event, field: translate(event[field])} if field in event else event)
    except Refusal as refusal:
        event_id = envelope.event_id if isinstance(envelope.event_id, str) else None
        body = _InItsWords(
            type="invalid_request_error",
            message=refusal.message,
            code=refusal.code,
            param=refusal.param,
            event_id=event_id,
        )
        return Refused(body)


def session(asked: dict[str, Any]) -> dict[str, Any]:
    """Returns the session that is asked for beside an offer, in the machine's words.

    Raises:
        Refusal: a field is unknown, or a value has no counterpart. In this dialect's words.
    """
    flat = {name: value for name, value in asked.items() if name != "type"}
    told: dict[str, Any] = beta_requests.session(flat)
    return told


def refusal(refusal: Refusal) -> Refusal:
    """Returns a refusal of the machine's with the fields under their names in this dialect."""
    told = beta_events.error({"message": refusal.message, "param": refusal.param})
    return Refusal(refusal.code, told["message"], told["param"])


def check(session: Session) -> None:
    """Raises:
    Refusal: an ephemeral key is for a session that this dialect cannot tell of.
    """
    if any(isinstance(tool, McpTool) for tool in session.tools):
        problem = "The session has MCP servers, which this dialect of the protocol does not have. Connect without it."
        raise Refusal("invalid_value", problem, "session.tools")


def encode(event: ServerEvent) -> str | None:
    """Returns the text frame of a server event; None for one that this dialect does not have."""
    tag = event.__struct_config__.tag
    assert isinstance(tag, str)
    if tag not in beta_events.EVENTS:
        return None
    name, body_of = beta_events.EVENTS[tag]
    body = msgspec.to_builtins(event)
    if beta_events.is_of_transcription(body):
        name = f"transcription_{name}"
    body = body_of(body)
    if isinstance(event, Error) and not isinstance(event.error, _InItsWords):
        body["error"] = beta_events.error(body["error"])
    return _encoder.encode({**body, "type": name}).decode()
