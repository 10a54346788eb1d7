"""The dialects of the protocol: decode and encode, nothing else. Nowhere else is a dialect mentioned."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from server.realtime.client_events import ClientEvent
from server.realtime.inbox import Refused
from server.realtime.schema import Session
from server.realtime.server_events import ServerEvent
from server.wire import beta, ga
from server.wire.secrets import FLAT, FLAT_TRANSCRIPTION, NESTED, SecretForm

_BETA = "openai-beta.realtime-v1"

SUBPROTOCOLS = ("realtime", _BETA)
"""WebSocket subprotocols that are answered to where they are offered. What a browser offers besides is its key."""


class Dialect(Protocol):
    """How events are written on the wire."""

    def decode(self, frame: str | bytes) -> ClientEvent | Refused: ...

    def check(self, session: Session) -> None:
        """Raises Refusal when a session that an ephemeral key stands for has what the dialect cannot tell of."""

    def encode(self, event: ServerEvent) -> str | None:
        """Returns the text frame; None: the dialect does not have this event, and the client is not told."""


_BETA_PATH = "/openai/realtime"
"""Azure's older path, which never had another dialect."""

PATHS = ("/v1/realtime", "/openai/v1/realtime", _BETA_PATH)
"""Where sessions are: OpenAI's path, Azure's, and Azure's older one. Azure's clients call the model `deployment`."""

SECRETS: Mapping[str, SecretForm] = {
    "/v1/realtime/client_secrets": NESTED,
    "/openai/v1/realtime/client_secrets": NESTED,
    "/v1/realtime/sessions": FLAT,
    "/v1/realtime/transcription_sessions": FLAT_TRANSCRIPTION,
}
"""Where ephemeral keys are, and how one is asked for there."""


def choose(headers: Mapping[str, str], subprotocols: Sequence[str], path: str = "/v1/realtime") -> Dialect:
    """Returns the dialect that a client asks for when it connects."""
    marked = "realtime=v1" in headers.get("OpenAI-Beta", "") or _BETA in subprotocols
    return beta if marked or path == _BETA_PATH else ga
