"""`POST /v1/realtime/client_secrets`: an ephemeral key for a client that must not have the server's own, such as a
browser, and the session that it begins with.
"""

from typing import Annotated, Any, Literal

import msgspec
from aiohttp import web
from msgspec import Meta

from server.auth import Keys, Opening, TooManyKeys
from server.realtime.refusal import Refusal
from server.realtime.schema import Session
from server.realtime.session_config import refusal_of
from server.replies import refusal

MAX_BODY = 1024 * 1024
"""Most bytes of a request: a session with the longest list of tools that one event may show."""


class ExpiresAfter(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """When the key expires: so many seconds after it was made. OpenAI's range and default."""

    anchor: Literal["created_at"] = "created_at"
    seconds: Annotated[int, Meta(ge=10, le=7200)] = 600


class SecretRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    expires_after: ExpiresAfter = msgspec.field(default_factory=ExpiresAfter)
    session: dict[str, Any] = msgspec.field(default_factory=lambda: {"type": "realtime"})


class Secret(msgspec.Struct, kw_only=True):
    """The answer. `session` is the whole effective configuration."""

    value: str
    expires_at: int
    session: Session


class Unanswerable(Exception):  # noqa: N818 - names the client's fault
    """The request cannot be honoured; `answer` says why."""

    def __init__(self, answer: web.Response) -> None:
        super().__init__(answer.status)
        self.answer = answer


async def read_request(request: web.Request) -> tuple[SecretRequest, int]:
    """Returns what a client asks for, and the bytes that it took to say.

    Raises:
        Refusal: it is not what the schema says.
        Unanswerable: it is too long.
    """
    body = bytearray()
    async for part in request.content.iter_any():
        body += part
        if len(body) > MAX_BODY:
            raise Unanswerable(
                refusal(413, "request_too_large", f"The request is longer than {MAX_BODY} bytes.", "session")
            )
    try:
        return msgspec.json.decode(bytes(body) or b"{}", type=SecretRequest), len(body)
    except msgspec.ValidationError as error:
        raise refusal_of(error) from None
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise Refusal("invalid_json", f"The body is not valid JSON: {error}.") from None


def opening_of(session: dict[str, Any]) -> Opening:
    """Returns what a `session` object asks for, with the model apart: it decides on the pipeline.

    Raises:
        Refusal: it is a kind of session that there is not, or its model is no name.
    """
    if session.get("type") == "transcription":
        raise Refusal(
            "invalid_value",
            "Transcription sessions are not there yet in this version of Parley: `session.type` must be 'realtime'.",
            "session.type",
        )
    changes = dict(session)
    model = changes.pop("model", None)
    if not isinstance(model, str | None):
        raise Refusal("invalid_type", "`session.model` is the name of a pipeline, or null.", "session.model")
    return Opening(model, changes)


def issue(keys: Keys, asked: SecretRequest, size: int, opening: Opening, session: Session) -> web.Response:
    """Gives out the key.

    Raises:
        Unanswerable: there are too many.
    """
    try:
        value, expires_at = keys.issue(opening, asked.expires_after.seconds, size)
    except TooManyKeys as error:
        raise Unanswerable(refusal(429, "too_many_client_secrets", str(error))) from None
    secret = Secret(value=value, expires_at=expires_at, session=session)
    return web.Response(
        body=msgspec.json.encode(secret), content_type="application/json", headers={"Cache-Control": "no-store"}
    )
