"""The dialects of the protocol: decode and encode, nothing else. Nowhere else is a dialect mentioned."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from server.realtime.client_events import ClientEvent
from server.realtime.inbox import Refused
from server.realtime.refusal import Refusal
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

    def session(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Returns what a client asks for beside an offer as the `session` of an update, in the machine's words.

        Raises:
            Refusal: it has no counterpart. In the client's words.
        """

    def refusal(self, refusal: Refusal) -> Refusal:
        """Returns a refusal of the machine's in the client's words."""

    def check(self, session: Session) -> None:
        """Raises Refusal when a session that an ephemeral key stands for has what the dialect cannot tell of."""

    def encode(self, event: ServerEvent) -> str | None:
        """Returns the text frame; None: the dialect does not have this event, and the client is not told."""


_BETA_PATH = "/openai/realtime"
"""Azure's older path, which never had another dialect."""

PATHS = ("/v1/realtime", "/openai/v1/realtime", _BETA_PATH)
"""Where sessions are: OpenAI's path, Azure's, and Azure's older one. Azure's clients call the model `deployment`."""

CALLS = tuple(f"{path}/calls" for path in PATHS if path != _BETA_PATH)
"""Where calls are asked for, besides `PATHS`: there it was before calls had a path of their own."""

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


def is_session(path: str) -> bool:
    """Whether a path leads to a session, or to a call that is under way: what an ephemeral key opens."""
    return path in PATHS or any(path == each or path.startswith(f"{each}/") for each in CALLS)


def call_path(path: str) -> str:
    """Returns where a call is found later that is asked for at a path."""
    return path if path in CALLS else CALLS[0]


def choose_for_call(headers: Mapping[str, str], path: str) -> Dialect:
    """Returns the dialect of a call that is asked for at a path."""
    return choose(headers, ()) if path in CALLS else beta
