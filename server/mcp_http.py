"""HTTP to an MCP server: through the proxy that the environment names, and with answers that do not fill the memory.

Imported when the first server is asked for, as the package is that it builds on.
"""

from collections.abc import AsyncIterator

import httpx2
from yarl import URL

from pipeline.http.options import proxy_of


class TooLong(httpx2.StreamError):
    """An answer is longer than it may be."""


class Bounded(httpx2.AsyncBaseTransport):
    """A transport that breaks off answers that are too long. Streams of events are bounded event by event."""

    def __init__(self, url: str, most: int) -> None:
        """`most` is in bytes of a body."""
        proxy = proxy_of(URL(url))
        self._inner = httpx2.AsyncHTTPTransport(proxy=None if proxy is None else str(proxy))
        self._most = most

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response = await self._inner.handle_async_request(request)
        if not response.headers.get("content-type", "").startswith("text/event-stream"):
            assert isinstance(response.stream, httpx2.AsyncByteStream)
            response.stream = _BoundedStream(response.stream, self._most)
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()


class _BoundedStream(httpx2.AsyncByteStream):
    def __init__(self, inner: httpx2.AsyncByteStream, most: int) -> None:
        self._inner = inner
        self._left = most

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._inner:
            self._left -= len(chunk)
            if self._left < 0:
                raise TooLong("the answer is too long")
            yield chunk

    async def aclose(self) -> None:
        await self._inner.aclose()
