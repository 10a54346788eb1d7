"""How a request is refused or fails: what is raised on the way to the answer, and which status it has."""

from typing import Any

from aiohttp import web

from pipeline.errors import PromptTooLongError, StageError, StageTimeoutError
from pipeline.turn import failure_code
from server.realtime.refusal import Refusal
from server.replies import INVALID, error_body


class ApiError(Exception):
    """A request that is not answered with what was asked for.

    Args:
        status: of HTTP.
        code: a short machine-readable reason, such as `invalid_value`.
        message: what is wrong and what would be right.
        param: the field at fault, as a path from the top of the body.
        kind: the type of error, such as `server_error`.
    """

    def __init__(
        self, status: int, code: str | None, message: str, param: str | None = None, kind: str = INVALID
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.param = param
        self.kind = kind

    def body(self) -> dict[str, Any]:
        return error_body(self.code, self.message, self.param, self.kind)

    def response(self) -> web.Response:
        return web.json_response(self.body(), status=self.status)


def refused(code: str, message: str, param: str | None = None) -> ApiError:
    """Returns what to raise for a request that cannot be honoured."""
    return ApiError(400, code, message, param)


def of_refusal(refusal: Refusal) -> ApiError:
    """Returns what to raise for a field that a check shared with the sessions refuses."""
    return refused(refusal.code, refusal.message, refusal.param)


def of_stage(error: StageError) -> ApiError:
    """Returns what to raise for a stage that failed."""
    code = failure_code(error)
    if isinstance(error, PromptTooLongError) or code == "context_length_exceeded":
        return refused(code, error.problem, "messages")
    if code in ("rate_limit_exceeded", "insufficient_quota"):
        return ApiError(429, code, error.problem, kind=error.kind)
    status = 504 if isinstance(error, StageTimeoutError) else 500
    return ApiError(status, code, error.problem, kind=error.kind)


def of_fault() -> ApiError:
    """Returns what is said where Parley itself is at fault."""
    return ApiError(500, "internal_error", "Parley failed; the server's log has the details.", kind="server_error")
