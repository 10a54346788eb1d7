"""Ephemeral keys by HTTP: one for a client that must not have the server's own, such as a browser, and the session
that it begins with. How it is asked for and given is the dialect's: `wire/secrets.py`.
"""

from typing import Any

import msgspec
from aiohttp import web

from server.auth import Keys, Opening, TooManyKeys
from server.realtime.refusal import Refusal
from server.realtime.schema import Session, TranscriptionSession
from server.realtime.session_config import merged_changes
from server.replies import refusal
from server.wire.secrets import SecretForm, SecretRequest

MAX_BODY = 1024 * 1024
"""Most bytes of a request: a session with the longest list of tools that one event may show."""


class Unanswerable(Exception):  # noqa: N818 - names the client's fault
    """The request cannot be honoured; `answer` says why."""

    def __init__(self, answer: web.Response) -> None:
        super().__init__(answer.status)
        self.answer = answer


async def read_request(request: web.Request, form: SecretForm) -> tuple[SecretRequest, int]:
    """Returns what a client asks for, and the bytes that it took to say.

    Raises:
        Unanswerable: it is too long, or not what the schema says.
    """
    body = bytearray()
    async for part in request.content.iter_any():
        body += part
        if len(body) > MAX_BODY:
            raise Unanswerable(refusal(413, "request_too_large", f"The request is longer than {MAX_BODY} bytes."))
    try:
        return form.decode(bytes(body)), len(body)
    except Refusal as error:
        raise Unanswerable(refusal(400, error.code, error.message, error.param)) from None


def joined(first: Opening, then: Opening) -> Opening:
    """Returns what both ask for; where they differ, the second has the last word.

    Raises:
        Refusal: they are for sessions of different kinds.
    """
    if first.kind is not None and then.kind is not None and first.kind != then.kind:
        problem = f"This ephemeral key is for {first.kind} sessions: `session.type` has to be '{first.kind}'."
        raise Refusal("invalid_value", problem, "session.type")
    changes = first.changes if then.changes is None else merged_changes(first.changes or {}, then.changes)
    return Opening(first.model or then.model, changes, then.kind or first.kind)


def opening_of(session: dict[str, Any]) -> Opening:
    """Returns what a `session` object asks for, with the model apart: it decides on the pipeline. (A transcription
    session has none: its client says in the URL which pipeline it means, or gets the default.)

    Raises:
        Refusal: it is a kind of session that there is not, or its model is no name.
    """
    kind = session.get("type")
    if kind != "realtime" and kind != "transcription":  # noqa: PLR1714 - so that mypy sees which it is
        raise Refusal("invalid_value", "`session.type` must be 'realtime' or 'transcription'.", "session.type")
    changes = dict(session)
    if kind == "transcription":
        return Opening(None, changes, kind)
    model = changes.pop("model", None)
    if not isinstance(model, str | None):
        raise Refusal("invalid_type", "`session.model` is the name of a pipeline, or null.", "session.model")
    return Opening(model, changes, kind)


def issue(
    keys: Keys,
    form: SecretForm,
    asked: SecretRequest,
    *,
    size: int,
    opening: Opening,
    session: Session | TranscriptionSession,
) -> web.Response:
    """Gives out the key.

    Raises:
        Unanswerable: there are too many.
    """
    try:
        value, expires_at = keys.issue(opening, asked.expires_after.seconds, size)
    except TooManyKeys as error:
        raise Unanswerable(refusal(429, "too_many_client_secrets", str(error))) from None
    body = msgspec.json.encode(form.encode(value, expires_at, session))
    return web.Response(body=body, content_type="application/json", headers={"Cache-Control": "no-store"})
