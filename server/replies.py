"""Answers over HTTP that are no session: errors, in the shape that OpenAI's clients read."""

from collections.abc import Mapping
from typing import Any

from aiohttp import web

INVALID = "invalid_request_error"


def error_body(code: str | None, message: str, param: str | None = None, kind: str = INVALID) -> dict[str, Any]:
    """Returns `{"error": {…}}`. `kind` is the type of error, such as `server_error`."""
    return {"error": {"type": kind, "code": code, "message": message, "param": param}}


def refusal(
    status: int, code: str, message: str, param: str | None = None, headers: Mapping[str, str] | None = None
) -> web.Response:
    """Returns an error that is the client's.

    Args:
        status: the HTTP status, 4xx.
        code: a short machine-readable reason, such as `model_not_found`.
        message: what is wrong and what would be right.
        param: the field at fault, when one is.
        headers: what the status asks for besides.
    """
    return web.json_response(error_body(code, message, param), status=status, headers=headers)
