"""Answers over HTTP that are no session: errors, in the shape that OpenAI's clients read."""

from collections.abc import Mapping

from aiohttp import web


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
    error = {"type": "invalid_request_error", "code": code, "message": message, "param": param}
    return web.json_response({"error": error}, status=status, headers=headers)
