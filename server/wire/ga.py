"""The GA dialect: the machine's events are already in its shape."""

from typing import Any, Union

import msgspec

from server.realtime.client_events import CLIENT_EVENTS, ClientEvent
from server.realtime.inbox import Refused
from server.realtime.refusal import Refusal
from server.realtime.server_events import ServerEvent
from server.realtime.session_config import refusal_of

_decoder: msgspec.json.Decoder[ClientEvent] = msgspec.json.Decoder(Union[CLIENT_EVENTS])  # noqa: UP007 - a tuple
_encoder = msgspec.json.Encoder()
_names = frozenset(event.__struct_config__.tag for event in CLIENT_EVENTS)


class _Envelope(msgspec.Struct):
    """What can be said of an event that could not be decoded: msgspec's error does not carry it."""

    type: Any = None
    event_id: Any = None


_envelope = msgspec.json.Decoder(_Envelope)
_NOT_JSON = (msgspec.DecodeError, UnicodeError, RecursionError)


def decode(frame: str | bytes) -> ClientEvent | Refused:
    """Returns the client event in a text frame, or why it is none.

    Bytes stand for a binary frame, which the protocol does not have.
    """
    if isinstance(frame, bytes):
        return _refused("invalid_event", "The protocol is JSON in text frames; this was a binary frame.", None)
    try:
        return _decoder.decode(frame)
    except msgspec.ValidationError as error:
        return _invalid(frame, error)
    except _NOT_JSON as error:
        return _not_json(error)


def encode(event: ServerEvent) -> str:
    """Returns the text frame of a server event."""
    return _encoder.encode(event).decode()


def _invalid(frame: str, error: msgspec.ValidationError) -> Refused:
    try:
        envelope = _envelope.decode(frame)
    except msgspec.ValidationError:
        return _refused("invalid_event", "An event is a JSON object with a `type`.", None)
    except _NOT_JSON as problem:  # behind what was wrong first
        return _not_json(problem)
    event_id = envelope.event_id if isinstance(envelope.event_id, str) else None
    if envelope.type is None:
        return _refused("missing_required_parameter", "The event has no `type`.", event_id, "type")
    if not isinstance(envelope.type, str) or envelope.type not in _names:
        named = f"'{envelope.type[:64]}'" if isinstance(envelope.type, str) else "whose `type` is no string"
        known = ", ".join(sorted(map(str, _names)))
        return _refused("invalid_value", f"There is no event {named}. There are: {known}.", event_id, "type")
    return Refused(refusal_of(error).body(event_id))


def _not_json(error: Exception) -> Refused:
    return _refused("invalid_json", f"The event is not valid JSON: {error}.", None)


def _refused(code: str, message: str, event_id: str | None, param: str | None = None) -> Refused:
    return Refused(Refusal(code, message, param).body(event_id))
