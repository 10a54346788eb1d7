"""How a client event is refused: raised anywhere below `Machine.handle`, answered with one `error` event."""

from server.realtime.schema import ErrorBody


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
            message=self.message,
            code=self.code,
            param=self.param,
            event_id=event_id,
        )
