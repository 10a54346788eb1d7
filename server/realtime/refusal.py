"""How a client event is refused: raised anywhere below `Machine.handle`, answered with one `error` event."""

import msgspec

from server.realtime.server_objects import ErrorBody

MAX_OBJECT_BYTES = 1000 * 1024
"""Most bytes of JSON of a session or an item: they come back in events, and clients read frames of up to 1 MiB."""

_MAX_MESSAGE = 2000
_MAX_PARAM = 200
"""Characters of an error: what it quotes of the client's event may be as long as that."""


class Refusal(Exception):  # noqa: N818 - the protocol's word: nothing is broken, the client is told no
    """A client event that cannot be honoured. Nothing has been changed by it.

    Args:
        code: a short machine-readable reason, such as `invalid_value`.
        message: what is wrong and what would be right.
        param: the field at fault, as a path from the top of the event, such as `session.audio.output.voice`.
    """

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param

    def body(self, event_id: str | None) -> ErrorBody:
        """Returns the error that the client gets; `event_id` is the one of its event."""
        return ErrorBody(
            type="invalid_request_error",
            message=_shortened(self.message, _MAX_MESSAGE),
            code=self.code,
            param=None if self.param is None else _shortened(self.param, _MAX_PARAM),
            event_id=event_id,
        )


def check_size(thing: msgspec.Struct, param: str) -> None:
    """Raises:
    Refusal: the events that would carry this object would be longer than clients read.
    """
    size = len(msgspec.json.encode(thing))
    if size > MAX_OBJECT_BYTES:
        raise Refusal(
            "invalid_value", f"`{param}` takes {size} bytes of JSON; there is room for {MAX_OBJECT_BYTES}.", param
        )


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
