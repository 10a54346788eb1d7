"""The dialects of the protocol: decode and encode, nothing else. Nowhere else is a dialect mentioned."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from server.realtime.client_events import ClientEvent
from server.realtime.inbox import Refused
from server.realtime.server_events import ServerEvent
from server.wire import ga


class Dialect(Protocol):
    """How events are written on the wire."""

    def decode(self, frame: str | bytes) -> ClientEvent | Refused: ...
    def encode(self, event: ServerEvent) -> str: ...


class UnknownDialect(Exception):  # noqa: N818 - names the client's fault
    """The client asks for a dialect that Parley does not speak."""


_BETA_PATH = "/openai/realtime"
"""Azure's older path, which never had another dialect."""

PATHS = ("/v1/realtime", "/openai/v1/realtime", _BETA_PATH)
"""Where sessions are: OpenAI's path, Azure's, and Azure's older one. Azure's clients call the model `deployment`."""


def choose(headers: Mapping[str, str], subprotocols: Sequence[str], path: str = "/v1/realtime") -> Dialect:
    """Returns the dialect that a client asks for when it connects.

    Raises:
        UnknownDialect: it is not spoken here. The message says what to do.
    """
    marked = "realtime=v1" in headers.get("OpenAI-Beta", "") or "openai-beta.realtime-v1" in subprotocols
    if marked or path == _BETA_PATH:
        raise UnknownDialect(
            "This version of Parley speaks the GA dialect of the Realtime protocol only. "
            "Connect without the beta marker (the OpenAI-Beta header, the openai-beta.realtime-v1 subprotocol, "
            f"or Azure's path {_BETA_PATH}: its GA path is /openai/v1/realtime)."
        )
    return ga
