"""The GA dialect: the machine's events are already in its shape, but for what only the older one has."""

from typing import Any, TypeVar, Union

import msgspec

from server.realtime.client_events import CLIENT_EVENTS, ClientEvent, ResponseCreate, SessionUpdate
from server.realtime.inbox import Refused
from server.realtime.mcp_schema import SECRETS
from server.realtime.refusal import Refusal
from server.realtime.schema import ResponseParams, Session
from server.realtime.server_events import (
    ConversationCreated,
    ResponseCreated,
    ResponseDone,
    ServerEvent,
    SessionCreated,
    SessionUpdated,
)
from server.realtime.session_config import refusal_of

_ClientEvents: Any = Union[CLIENT_EVENTS]  # noqa: UP007 - a tuple
_decoder: msgspec.json.Decoder[ClientEvent] = msgspec.json.Decoder(_ClientEvents)
_encoder = msgspec.json.Encoder()
T = TypeVar("T")
_names = frozenset(event.__struct_config__.tag for event in CLIENT_EVENTS)


class Envelope(msgspec.Struct):
    """What can be said of an event that could not be decoded: msgspec's error does not carry it."""

    type: Any = None
    event_id: Any = None


_envelope = msgspec.json.Decoder(Envelope)
_any_object = msgspec.json.Decoder(dict[str, Any])
_NOT_JSON = (msgspec.DecodeError, UnicodeError, RecursionError)


def decode(frame: str | bytes) -> ClientEvent | Refused:
    """Returns the client event in a text frame, or why it is none.

    Bytes stand for a binary frame, which the protocol does not have.
    """
    if isinstance(frame, bytes):
        return _refused("invalid_event", "The protocol is JSON in text frames; this was a binary frame.", None)
    try:
        return _in_ga(_decoder.decode(frame))
    except msgspec.ValidationError as error:
        return _invalid(frame, error)
    except _NOT_JSON as error:
        return _not_json(error)


def encode(event: ServerEvent) -> str | None:
    """Returns the text frame of a server event; None for one that GA does not have."""
    match event:
        case ConversationCreated():
            return None
        case SessionCreated() | SessionUpdated() | ResponseCreated() | ResponseDone():
            body = msgspec.to_builtins(event)
            for whole in body.keys() & {"session", "response"}:
                body[whole] = shown(body[whole])
            return _encoder.encode(body).decode()
        case _:
            return _encoder.encode(event).decode()


def session(asked: dict[str, Any]) -> dict[str, Any]:
    """Returns the session that is asked for beside an offer, in the machine's words.

    Raises:
        Refusal: it has a temperature.
    """
    if "temperature" in asked:
        raise no_temperature("session.temperature")
    return asked


def refusal(refusal: Refusal) -> Refusal:
    """The machine's words are GA's."""
    return refusal


def shown(body: dict[str, Any]) -> dict[str, Any]:
    """Returns what GA shows of a session, or of a response. Credentials for MCP servers are shown to nobody."""
    told = {name: value for name, value in body.items() if name != "temperature"}
    if "tools" in told:
        told["tools"] = [
            {name: value for name, value in tool.items() if tool["type"] != "mcp" or name not in SECRETS}
            for tool in told["tools"]
        ]
    return told


def check(session: Session) -> None:
    """A session that was opened by other means can be anything that the dialect can say."""


def event_of(value: dict[str, Any]) -> ClientEvent | Refused:
    """Returns the client event in an object that was JSON, or why it is none."""
    try:
        event: ClientEvent = msgspec.convert(value, _ClientEvents)
    except msgspec.ValidationError as error:
        return _refusal(Envelope(value.get("type"), value.get("event_id")), error)
    return event


def _in_ga(event: ClientEvent) -> ClientEvent | Refused:
    """Refuses the temperature: the machine knows it, GA has none."""
    match event:
        case SessionUpdate() if "temperature" in event.session:
            where = "session.temperature"
        case ResponseCreate(response=ResponseParams(temperature=float())):
            where = "response.temperature"
        case _:
            return event
    return Refused(no_temperature(where).body(event.event_id))


def no_temperature(where: str) -> Refusal:
    """Returns the refusal of the field `where`."""
    problem = f"Invalid '{where}': this dialect of the protocol has no temperature."
    return Refusal("unknown_parameter", problem, where)


def envelope_of(frame: str) -> Envelope | Refused:
    """Returns the event's type and id, whatever they are, or why it is none."""
    return _object(_envelope, frame)


def object_of(frame: str) -> dict[str, Any] | Refused:
    """Returns the object in a text frame, or why there is none."""
    return _object(_any_object, frame)


def _object(decoder: msgspec.json.Decoder[T], frame: str) -> T | Refused:
    try:
        return decoder.decode(frame)
    except msgspec.ValidationError:
        return _refused("invalid_event", "An event is a JSON object with a `type`.", None)
    except _NOT_JSON as error:
        return _not_json(error)


def _invalid(frame: str, error: msgspec.ValidationError) -> Refused:
    envelope = envelope_of(frame)  # what is no JSON may lie behind what was wrong first
    return envelope if isinstance(envelope, Refused) else _refusal(envelope, error)


def _refusal(envelope: Envelope, error: msgspec.ValidationError) -> Refused:
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
