"""What a client is told when a fault is the server's, or an event cannot reach it. The session goes on."""

from server.ids import new_id
from server.realtime.inbox import Event
from server.realtime.server_events import Error, ServerEvent
from server.realtime.server_objects import ErrorBody


def too_large(event: ServerEvent, size: int, most: int) -> Error:
    """Returns what is sent in place of an event that the client cannot take."""
    body = ErrorBody(
        type="server_error",
        code="event_too_large",
        message=f"An event `{event.__struct_config__.tag}` of {size} bytes was left out: your data channel takes "
        f"{most} at a time. Over a WebSocket it would come whole.",
    )
    return Error(error=body, event_id=new_id("event"))


def internal_error(event: Event | None) -> Error:
    body = ErrorBody(
        type="server_error",
        code="internal_error",
        message="Parley failed. The session goes on; the server's log has the details.",
        event_id=getattr(event, "event_id", None),
    )
    return Error(error=body, event_id=new_id("event"))
