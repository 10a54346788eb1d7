"""Who may come in: whoever has the server's key, and for a session whoever has an ephemeral key that it gave out.

Without a key of the server's own everybody may. An ephemeral key stands for more than admission: for the session that
was asked for with it. So one that is unknown or has expired is refused even then.

No key is kept in the clear but the server's own, and none is ever logged.
"""

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from multidict import CIMultiDictProxy

from server.realtime.schema import SessionKind

EPHEMERAL = "ek_"
"""What ephemeral keys begin with."""

MAX_HELD_BYTES = 64 * 1024 * 1024
"""Most bytes of configuration that wait with the ephemeral keys; then no more keys are given out until some expire."""

_KEY_BYTES = 24
_OVERHEAD = 1024
"""What an ephemeral key counts at least: the objects that it is made of."""

_SUBPROTOCOL = "openai-insecure-api-key."
"""How a browser says a key: its WebSockets take no headers."""


class NotAdmitted(Exception):  # noqa: N818 - names the client's fault
    """The client has no key that opens this door. The message says what to do, and never a key."""


class TooManyKeys(Exception):  # noqa: N818 - names the client's fault
    """There are so many ephemeral keys that no more fit."""


@dataclass(frozen=True, slots=True)
class Opening:
    """What the sessions of an ephemeral key begin with.

    `model` is what the client called the pipeline, if it named one. `changes` are merged into the pipeline's defaults
    as those of a `session.update` are; None changes nothing. `kind` is None where it is not settled.
    """

    model: str | None = None
    changes: Mapping[str, Any] | None = None
    kind: SessionKind | None = None


@dataclass(frozen=True, slots=True)
class Admission:
    """The door is open. `proved`: by a key that is right, not because none is asked for."""

    proved: bool
    opening: Opening | None = None


@dataclass(frozen=True, slots=True)
class _Ephemeral:
    opening: Opening
    expires_at: int
    size: int


class Keys:
    """The server's key, if it has one, and the ephemeral keys."""

    def __init__(self, own: str | None = None, clock: Callable[[], float] = time.time) -> None:
        """`clock` gives seconds since 1970."""
        self._own = None if own is None else _bytes(own)
        self._clock = clock
        self._ephemeral: dict[bytes, _Ephemeral] = {}
        self._held = 0

    def admit(self, credentials: Sequence[str], to_a_session: bool) -> Admission:
        """Says whether these keys, any of them, open a door.

        Args:
            credentials: the keys that the client shows.
            to_a_session: whether a session lies behind the door; ephemeral keys open no other.

        Raises:
            NotAdmitted: none of them does.
        """
        if self._own is not None and any(hmac.compare_digest(_bytes(key), self._own) for key in credentials):
            return Admission(proved=True)
        if to_a_session:
            ephemeral = [key for key in credentials if key.startswith(EPHEMERAL)]
            for key in ephemeral:
                if (found := self._find(key)) is not None:
                    return Admission(proved=True, opening=found.opening)
            if ephemeral:
                raise NotAdmitted(
                    "This ephemeral key has expired, or this server did not give it out. "
                    "Get a new one: POST /v1/realtime/client_secrets."
                )
        if self._own is None:
            return Admission(proved=False)
        if credentials:
            raise NotAdmitted("Incorrect API key provided. It is the one that the server was started with.")
        raise NotAdmitted(
            "You didn't provide an API key. This server asks for one, in a header (Authorization: Bearer KEY, or "
            f"api-key: KEY) or, for WebSockets in browsers, as the subprotocol {_SUBPROTOCOL}KEY."
        )

    def issue(self, opening: Opening, seconds: int, size: int) -> tuple[str, int]:
        """Gives out an ephemeral key.

        Args:
            opening: what its sessions begin with.
            seconds: how long it opens doors. Sessions go on after that.
            size: the bytes of configuration that are kept with it.

        Returns:
            The key, and when it expires in seconds since 1970.

        Raises:
            TooManyKeys: what waits with other keys is too much.
        """
        self._forget_expired()
        size += _OVERHEAD
        if self._held + size > MAX_HELD_BYTES:
            raise TooManyKeys("Too many ephemeral keys are waiting to be used. Try again when some have expired.")
        key = EPHEMERAL + secrets.token_hex(_KEY_BYTES)
        expires_at = int(self._clock()) + seconds
        self._ephemeral[_digest(key)] = _Ephemeral(opening, expires_at, size)
        self._held += size
        return key, expires_at

    def _find(self, key: str) -> _Ephemeral | None:
        found = self._ephemeral.get(_digest(key))
        return None if found is None or found.expires_at <= self._clock() else found

    def _forget_expired(self) -> None:
        now = self._clock()
        for digest in [digest for digest, each in self._ephemeral.items() if each.expires_at <= now]:
            self._held -= self._ephemeral.pop(digest).size


def subprotocols_of(headers: "CIMultiDictProxy[str]") -> list[str]:
    """Returns the WebSocket subprotocols that a client offers, in its order."""
    lines = headers.getall("Sec-WebSocket-Protocol", [])
    return [part.strip() for line in lines for part in line.split(",")]


def credentials_of(headers: "CIMultiDictProxy[str]") -> list[str]:
    """Returns the keys that a client shows, in every place where clients put them."""
    keys = [key.strip() for key in headers.getall("api-key", [])]
    for line in headers.getall("Authorization", []):
        scheme, _, key = line.strip().partition(" ")
        if scheme.lower() == "bearer":
            keys.append(key.strip())
    offered = subprotocols_of(headers)
    keys += [part.removeprefix(_SUBPROTOCOL) for part in offered if part.startswith(_SUBPROTOCOL)]
    return [key for key in keys if key]


def _bytes(key: str) -> bytes:
    return key.encode("utf-8", "surrogateescape")


def _digest(key: str) -> bytes:
    # Looked up by digest: how long that takes says nothing about the keys.
    return hashlib.sha256(_bytes(key)).digest()
