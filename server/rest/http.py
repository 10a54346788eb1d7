"""Bodies in, streams out: what the endpoints have in common on the wire."""

import asyncio
import contextlib
import logging
from collections.abc import Iterator
from typing import Any, TypeVar

import msgspec
from aiohttp import web

from server.realtime.session_config import refusal_of
from server.rest.errors import ApiError, of_refusal, refused

T = TypeVar("T")

log = logging.getLogger(__name__)

MAX_JSON = 16 * 1024 * 1024
"""Most bytes of a JSON body."""

_WRITE_S = 60.0
"""How long a client may take no more of a stream before it is let go."""


async def read_object(request: web.Request) -> dict[str, Any]:
    """Reads a JSON object.

    Raises:
        ApiError: the body is too long, or something else.
    """
    body = bytearray()
    async for piece in request.content.iter_any():
        body += piece
        if len(body) > MAX_JSON:
            raise ApiError(413, "request_too_large", f"The body is larger than {MAX_JSON // 2**20} MiB.")
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise refused("invalid_json", f"The body is not valid JSON: {error}.") from error
    if not isinstance(value, dict):
        raise refused("invalid_json", "The body has to be a JSON object.")
    return value


def convert(value: dict[str, Any], kind: type[T], *, from_text: bool = False) -> T:
    """Checks the fields of a body. With `from_text`, numbers and the like may be written as text, as in forms.

    Raises:
        ApiError: one is wrong, missing or unknown; it is named.
    """
    try:
        return msgspec.convert(value, kind, strict=not from_text)
    except msgspec.ValidationError as error:
        raise of_refusal(refusal_of(error)) from error


class Stream:
    """An answer that is sent while it is made. The headers go with its first piece: until then it can still fail as an
    error with a status of its own.
    """

    def __init__(self, request: web.Request, content_type: str) -> None:
        self._request = request
        self.response = web.StreamResponse(headers={"Content-Type": content_type, "Cache-Control": "no-cache"})

    @property
    def has_begun(self) -> bool:
        return self.response.prepared

    async def write(self, data: bytes) -> None:
        """Sends a piece; waits while the client does not read.

        Raises:
            ConnectionError: the client is gone, or has been given up because it takes nothing.
        """
        if not self.has_begun:
            await self.response.prepare(self._request)
        try:
            async with asyncio.timeout(_WRITE_S):
                await self.response.write(data)
        except TimeoutError:
            log.warning("a client was given up: it does not read what it asked for")
            self.break_off()
            raise ConnectionResetError("the client does not read") from None

    async def event(self, value: Any) -> None:
        """Sends a server-sent event with a value as JSON."""
        await self.write(b"data: " + msgspec.json.encode(value) + b"\n\n")

    @contextlib.contextmanager
    def whole_or_broken(self) -> Iterator[None]:
        """Breaks the stream off where it fails in a way nobody reckoned with; before it has begun, that is raised."""
        try:
            yield
        except ConnectionError:
            raise  # there is nobody to answer
        except Exception:
            if not self.has_begun:
                raise
            log.exception("%s broke off", self._request.path)
            self.break_off()

    def break_off(self) -> None:
        """Lets the client see that what it got is not the whole: a stream that ended well would look like it."""
        if self._request.transport is not None:
            self._request.transport.abort()
