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


def choose(headers: Mapping[str, str], subprotocols: Sequence[str]) -> Dialect:
    """Returns the dialect that a client asks for when it connects.

    Raises:
        UnknownDialect: it is not spoken here. The message says what to do.
    """
    if "realtime=v1" in headers.get("OpenAI-Beta", "") or "openai-beta.realtime-v1" in subprotocols:
        raise UnknownDialect(
            "This version of Parley speaks the GA dialect of the Realtime protocol only. "
            "Connect without the beta marker (the OpenAI-Beta header, or the openai-beta.realtime-v1 subprotocol)."
        )
    return ga
