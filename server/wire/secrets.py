"""Requests for an ephemeral key and the answers to them, which are HTTP: each dialect has bodies of its own."""

import re
from collections.abc import Callable
from typing import Annotated, Any, Literal, Protocol, TypeVar

import msgspec
from msgspec import Meta

from server.realtime.refusal import Refusal
from server.realtime.schema import Session, TranscriptionSession
from server.realtime.session_config import refusal_of
from server.wire import beta, beta_events, beta_requests, ga

T = TypeVar("T")

_ROOT = re.compile(r"(?<![\w.])session\.(?=\w)")


class ExpiresAfter(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """When the key expires: so many seconds after it was made. OpenAI's range and default."""

    anchor: Literal["created_at"] = "created_at"
    seconds: Annotated[int, Meta(ge=10, le=7200)] = 600


class SecretRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What is asked for; `session` is what a `session.update` would say, in the machine's words."""

    expires_after: ExpiresAfter = msgspec.field(default_factory=ExpiresAfter)
    session: dict[str, Any] = msgspec.field(default_factory=lambda: {"type": "realtime"})


class SecretForm(Protocol):
    """How a key is asked for and given."""

    def decode(self, body: bytes) -> SecretRequest:
        """Returns what a body asks for.

        Raises:
            Refusal: it is not what the schema says. In the client's words.
        """

    def encode(self, value: str, expires_at: int, session: Session | TranscriptionSession) -> dict[str, Any]:
        """Returns the answer: the key, when it expires in seconds since 1970, and the whole effective configuration."""

    def refusal(self, refusal: Refusal) -> Refusal:
        """Returns the machine's refusal of the session in the client's words."""


class _Nested:
    """The session is a field of the request, and of the answer."""

    def decode(self, body: bytes) -> SecretRequest:
        asked = _decoded(body, SecretRequest)
        ga.session(asked.session)
        return asked

    def encode(self, value: str, expires_at: int, session: Session | TranscriptionSession) -> dict[str, Any]:
        shown = ga.shown(msgspec.to_builtins(session))
        shown.pop("parallel_tool_calls", None)  # the schema of the answer has it not, although that of a session has
        return {"value": value, "expires_at": expires_at, "session": shown}

    def refusal(self, refusal: Refusal) -> Refusal:
        return refusal


class _Secret(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    expires_after: ExpiresAfter = msgspec.field(default_factory=ExpiresAfter)


class _Beside(msgspec.Struct, kw_only=True):
    client_secret: _Secret = msgspec.field(default_factory=_Secret)


class _TranscriptionSecret(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The like, under the name that it has for transcription sessions."""

    expires_at: ExpiresAfter = msgspec.field(default_factory=ExpiresAfter)


class _BesideTranscription(msgspec.Struct, kw_only=True):
    client_secret: _TranscriptionSecret = msgspec.field(default_factory=_TranscriptionSecret)


def _expires_after(body: bytes) -> ExpiresAfter:
    return _decoded(body, _Beside).client_secret.expires_after


def _expires_at(body: bytes) -> ExpiresAfter:
    return _decoded(body, _BesideTranscription).client_secret.expires_at


class _Flat:
    """The request is the session, and so is the answer; the key is a field of it."""

    def __init__(self, expires: Callable[[bytes], ExpiresAfter], session: Callable[[Any], Any]) -> None:
        """`expires` returns when the key of a body expires; `session` puts its session into the machine's words."""
        self._expires = expires
        self._session = session

    def decode(self, body: bytes) -> SecretRequest:
        expires_after = self._expires(body)
        session = _decoded(body, dict[str, Any])
        session.pop("client_secret", None)
        try:
            return SecretRequest(expires_after=expires_after, session=self._session(session))
        except Refusal as refusal:
            raise _without_root(refusal) from None

    def encode(self, value: str, expires_at: int, session: Session | TranscriptionSession) -> dict[str, Any]:
        secret = {"value": value, "expires_at": expires_at}
        return {**beta_events.session(msgspec.to_builtins(session)), "client_secret": secret}

    def refusal(self, refusal: Refusal) -> Refusal:
        return _without_root(beta.refusal(refusal))


NESTED: SecretForm = _Nested()
FLAT: SecretForm = _Flat(_expires_after, beta_requests.session)
FLAT_TRANSCRIPTION: SecretForm = _Flat(_expires_at, beta_requests.transcription_session)


def _decoded(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body or b"{}", type=kind)
    except msgspec.ValidationError as error:
        raise refusal_of(error) from None
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise Refusal("invalid_json", f"The body is not valid JSON: {error}.") from None


def _without_root(refusal: Refusal) -> Refusal:
    """The fields of the session are at the top of the body."""
    param = refusal.param and refusal.param.removeprefix("session.")
    return Refusal(refusal.code, _ROOT.sub("", refusal.message), param)
