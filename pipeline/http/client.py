"""An HTTP client for one endpoint: connections that are kept alive, requests that end the moment they are cancelled."""

import asyncio
import contextlib
import io
import json
import weakref
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Coroutine, Mapping
from contextvars import ContextVar
from typing import IO, Any, TypeAlias, TypeVar

import aiohttp
from yarl import URL

from pipeline.errors import StageError
from pipeline.http.failures import Failures, HttpError
from pipeline.http.loop_thread import ClosedError, Job, LoopThread
from pipeline.http.options import EndpointOptions, endpoint_of
from pipeline.workers import CancelToken

T = TypeVar("T")

Body: TypeAlias = IO[bytes] | AsyncIterable[bytes]

KEEP_ALIVE_S = 60.0
"""How long a connection waits for the next request: longer than most pauses in a conversation."""

_REDIRECTS = 3
_MAX_ERROR_BYTES = 64 * 1024
_ERROR_BODY_S = 2.0
"""How long the body of an error may take to come; what has come by then is shown."""


class _Attempt:
    """One try at a request: which connection it got."""

    def __init__(self) -> None:
        self.transport: asyncio.BaseTransport | None = None
        self.kept_alive = False

    def abort(self) -> None:
        """Closes the connection at once. (`close` would first send what is buffered.)"""
        if isinstance(self.transport, asyncio.WriteTransport):
            self.transport.abort()


_ATTEMPT: ContextVar[_Attempt] = ContextVar("_ATTEMPT")


class _Connector(aiohttp.TCPConnector):
    """Tells each attempt which connection it got, and whether it served another before."""

    def __init__(self, force_close: bool) -> None:
        # Without limits: a request that waited here in line would look as if the endpoint hung.
        keep_alive = {} if force_close else {"keepalive_timeout": KEEP_ALIVE_S}
        super().__init__(limit=0, force_close=force_close, **keep_alive)  # type: ignore[arg-type]
        self._known: weakref.WeakSet[asyncio.BaseTransport] = weakref.WeakSet()

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[Any], timeout: aiohttp.ClientTimeout
    ) -> aiohttp.connector.Connection:
        connection = await super().connect(req, traces, timeout)
        transport = connection.transport
        if transport is not None:
            attempt = _ATTEMPT.get()
            attempt.transport, attempt.kept_alive = transport, transport in self._known
            self._known.add(transport)
        return connection


class HttpClient:
    """One engine's way to its endpoint.

    Requests are made by coroutines on a thread of the client's own; `run`, `start` and `iterate` lead there. What they
    raise is a `StageError`, which `fail` makes.

    A request is tried again in one case: it went out on a connection kept from an earlier one, and the endpoint closed
    that before the first byte of a reply. Redirects are followed where they keep the method (307, 308) and stay on the
    host. Proxies are used as the environment says, but never for this machine.
    """

    def __init__(self, stage: str, options: EndpointOptions) -> None:
        """Connects to nothing yet.

        Raises:
            EngineError: an option cannot be meant.
        """
        self.endpoint = endpoint_of(options)
        self.fail = Failures(stage, self.endpoint)
        self._stage = stage
        self._thread = LoopThread(f"parley-http-{stage}")
        self._sessions: dict[bool, aiohttp.ClientSession] = {}

    def start(self, work: Callable[[], Coroutine[Any, Any, T]]) -> Job[T]:
        """Starts a coroutine on the client's thread. `result` of what it returns raises ClosedError when cancelled.

        Raises:
            StageError: the engine has been closed.
        """
        try:
            return self._thread.start(work)
        except ClosedError:
            raise self.closed_error() from None

    def run(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Runs a coroutine on the client's thread and waits for it.

        Raises:
            StageError: what it raised, or the engine has been closed.
        """
        try:
            return self.start(work).result()
        except ClosedError:
            raise self.closed_error() from None

    async def iterate(
        self, make: Callable[[], AsyncGenerator[T, None]], cancel: CancelToken
    ) -> AsyncGenerator[T, None]:
        """Runs an async generator on the client's thread for a reader on any loop; see `LoopThread.iterate`.

        Raises:
            StageError: what it raised, or the engine has been closed.
        """
        try:
            async with contextlib.aclosing(self._thread.iterate(make, cancel)) as values:
                async for value in values:
                    if cancel.cancelled:  # what came before the cancel is not wanted any more either
                        return
                    yield value
        except ClosedError:
            raise self.closed_error() from None

    def closed_error(self) -> StageError:
        """Returns what to raise for a request that ended because its engine or stream was closed."""
        return StageError(self._stage, f"The {self._stage} stage has been closed.")

    def close(self) -> None:
        """Ends every request, every connection and the thread. Again: does nothing."""
        self._thread.close(self._close_sessions)

    # --- on the client's thread ---

    @contextlib.asynccontextmanager
    async def request(
        self, method: str, path: str, body: Callable[[], Body] | None = None, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Sends a request and gives its response when the headers are there; `body` is called for each try.

        If the block is left before the whole reply has been read, the connection is closed at once.

        Raises:
            HttpError: the status is not 2xx.
            StageError: no reply, or it broke off.
        """
        attempt = _Attempt()
        response: aiohttp.ClientResponse | None = None
        try:
            response = await self._respond(method, path, body, headers or {}, attempt)
            if not 200 <= response.status < 300:
                raise await self._refused(response)
            yield response
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self.fail.of_network(error) from error
        finally:
            if response is None or response.connection is not None:  # else it is whole, and its connection free again
                attempt.abort()
            if response is not None:
                response.release()

    @contextlib.asynccontextmanager
    async def post_json(self, path: str, value: Mapping[str, Any]) -> AsyncIterator[aiohttp.ClientResponse]:
        """Sends a JSON object; see `request`."""
        # ASCII: a lone surrogate, which the text of a client may have, is then no error here.
        body = json.dumps(value, separators=(",", ":")).encode("ascii")
        headers = {"Content-Type": "application/json"}
        async with self.request("POST", path, lambda: io.BytesIO(body), headers) as response:
            yield response

    async def _respond(
        self,
        method: str,
        path: str,
        body: Callable[[], Body] | None,
        headers: Mapping[str, str],
        attempt: _Attempt,
    ) -> aiohttp.ClientResponse:
        url = self.endpoint.url(path)
        for _ in range(_REDIRECTS):
            response = await self._try_twice(method, url, body, headers, attempt)
            further = _location(response)
            if response.status not in (307, 308) or further is None or further.origin() != url.origin():
                break
            response.close()
            url = further
        return response

    async def _try_twice(
        self,
        method: str,
        url: URL,
        body: Callable[[], Body] | None,
        headers: Mapping[str, str],
        attempt: _Attempt,
    ) -> aiohttp.ClientResponse:
        _ATTEMPT.set(attempt)
        attempt.kept_alive = False
        for fresh in (False, True):
            try:
                return await self._session(fresh).request(
                    method,
                    url,
                    data=body() if body is not None else None,
                    headers={**self.endpoint.headers, **headers},
                    allow_redirects=False,
                    ssl=self.endpoint.tls,
                    proxy=self.endpoint.proxy,
                )
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                if fresh or not attempt.kept_alive:
                    raise
        raise AssertionError("unreachable")

    def _session(self, fresh: bool) -> aiohttp.ClientSession:
        """The session that keeps connections; or one that makes a new one for each request."""
        if fresh not in self._sessions:
            self._sessions[fresh] = aiohttp.ClientSession(
                connector=_Connector(force_close=fresh),
                cookie_jar=aiohttp.DummyCookieJar(),
                # A stage's own `timeout` bounds the silence after that.
                timeout=aiohttp.ClientTimeout(total=None, connect=self.endpoint.connect_timeout),
            )
        return self._sessions[fresh]

    async def _refused(self, response: aiohttp.ClientResponse) -> HttpError:
        body = b""
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            async with asyncio.timeout(_ERROR_BODY_S):
                async for piece in response.content.iter_any():
                    body += piece
                    if len(body) > _MAX_ERROR_BYTES:
                        break
        location = _location(response) if 300 <= response.status < 400 else None
        return self.fail.of_status(response.status, response.reason, body, None if location is None else str(location))

    async def _close_sessions(self) -> None:
        for session in self._sessions.values():
            await session.close()


def _location(response: aiohttp.ClientResponse) -> URL | None:
    if (text := response.headers.get("Location")) is None:
        return None
    try:
        return response.url.join(URL(text))
    except ValueError:
        return None
