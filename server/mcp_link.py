"""A connection to one MCP server, kept for as long as the session needs it: streamable HTTP, or SSE from older servers.

The `mcp` package wants a connection closed by the task that opened it, so each has a task of its own; calls are made by
whoever makes them. The package is imported when the first server is asked for: it takes a second.
"""

import asyncio
import contextlib
import importlib
import json
import threading
from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pipeline.workers import wait_out
from server.realtime.mcp_schema import McpError, McpListedTool, McpServer

if TYPE_CHECKING:
    import httpx2
    from mcp import Client
    from mcp_types import CallToolResult

LIST_S = 10.0
"""Most seconds to connect and to list the tools: responses wait for it."""

CALL_S = 60.0
"""Most seconds of a call."""

CLOSE_S = 2.0
"""Most seconds to say goodbye to a server."""

MAX_BODY = 4 * 1024 * 1024
"""Most bytes of one answer in JSON; an event may have 1 MiB (the package's own bound)."""

LONGEST_ERROR = 2000
"""Most characters of what a server says of an error."""

MAX_PAGES = 64
"""Most pages of a list of tools."""

CONNECTION_CLOSED = -32000
REQUEST_TIMEOUT = -32001
INTERNAL_ERROR = -32603
"""The codes that the `mcp` package uses where there was no answer, or none that could be read."""

_status: ContextVar[list[int] | None] = ContextVar("mcp_status", default=None)
"""Where the statuses of the answers to what is being asked are noted: the package's errors do not carry them."""


class McpFailure(Exception):  # noqa: N818 - what failed is the server, and it is told as it is
    """An MCP server did not do what it was asked for. `error` is what the client is told; it shows no credentials."""

    def __init__(self, error: McpError) -> None:
        super().__init__(error.message)
        self.error = error


class McpLink:
    """The connection to one server. Made in a running loop; `close` ends it."""

    def __init__(self, server: McpServer) -> None:
        self._server = server
        self._ready: asyncio.Future[Client] = asyncio.get_running_loop().create_future()
        self._stop = asyncio.Event()
        self._task = asyncio.create_task(self._run(), name="mcp link")
        self._task.add_done_callback(lambda _: self._ready.cancel())

    @property
    def is_over(self) -> bool:
        return self._stop.is_set() or self._task.done()

    def stop(self, ended: Callable[[], None]) -> None:
        """Lets the connection go; `ended` is called when it is closed."""
        self._stop.set()
        if not self._ready.done():
            self._task.cancel()
        self._task.add_done_callback(lambda _: ended())

    async def close(self) -> None:
        """Waits until a connection that was stopped is closed, for as long as one may take over it."""
        await wait_out([self._task], CLOSE_S)
        self._task.cancel()
        await wait_out([self._task], CLOSE_S)

    async def tools(self) -> tuple[McpListedTool, ...]:
        """Returns the tools that the server has.

        Raises:
            McpFailure: it cannot be reached, or does not say.
        """
        async with self._asking(LIST_S) as client:
            found: list[McpListedTool] = []
            cursor: str | None = None
            for _ in range(MAX_PAGES):
                page = await client.list_tools(cursor=cursor, cache_mode="bypass")
                found += (_listed(tool) for tool in page.tools)
                if (cursor := page.next_cursor) is None:
                    break
            return tuple(found)

    async def call(self, name: str, arguments: str) -> str:
        """Calls a tool with a JSON object as text; returns what came of it, as text.

        Raises:
            McpFailure: the server cannot be reached, or the tool failed.
        """
        async with self._asking(CALL_S) as client:
            result = await client.call_tool(name, json.loads(arguments))
        text = _text_of(result)
        if result.is_error:
            raise McpFailure(McpError(type="tool_execution_error", message=self._hide(text) or "It does not say why."))
        return text

    @contextlib.asynccontextmanager
    async def _asking(self, seconds: float) -> "AsyncIterator[Client]":
        """Gives the client to ask with, and tells whatever goes wrong as a failure."""
        await asyncio.to_thread(_load_package)  # no fault of the server's, however long it takes
        statuses: list[int] = []
        token = _status.set(statuses)
        try:
            async with asyncio.timeout(seconds):
                yield await asyncio.shield(self._ready)
        except TimeoutError:
            error = McpError(type="protocol_error", code=REQUEST_TIMEOUT, message=f"It took more than {seconds:g} s")
            raise McpFailure(error) from None
        except asyncio.CancelledError:
            if not self._ready.cancelled():
                raise
            error = McpError(type="protocol_error", code=CONNECTION_CLOSED, message="The connection was closed")
            raise McpFailure(error) from None
        except McpFailure:
            raise
        except Exception as error:
            raise self._failure(error, statuses) from None
        finally:
            _status.reset(token)

    async def _run(self) -> None:
        statuses: list[int] = []
        _status.set(statuses)
        try:
            await asyncio.to_thread(_load_package)
            async with contextlib.AsyncExitStack() as stack:
                self._ready.set_result(await self._connect(stack, statuses))
                await self._stop.wait()
        except Exception as error:
            if not self._ready.done():
                self._ready.set_exception(self._failure(error, statuses))
                self._ready.exception()  # nobody may be asking any more

    async def _connect(self, stack: contextlib.AsyncExitStack, statuses: list[int]) -> "Client":
        from mcp import Client
        from mcp.client.sse import sse_client
        from mcp.client.streamable_http import streamable_http_client

        url = self._server.url
        try:
            async with contextlib.AsyncExitStack() as attempt:
                http = await attempt.enter_async_context(self._http())
                client = await attempt.enter_async_context(Client(streamable_http_client(url, http_client=http)))
                stack.push_async_exit(attempt.pop_all())
                return client
        except Exception:
            # Older servers have no POST there: that is what the specification says to try next.
            if not statuses or statuses[-1] not in (400, 404, 405):
                raise
        statuses.clear()
        return await stack.enter_async_context(Client(sse_client(url, httpx_client_factory=self._http)))

    def _http(self, *_: Any, **__: Any) -> "httpx2.AsyncClient":
        import httpx2

        from server.mcp_http import Bounded

        return httpx2.AsyncClient(
            headers=dict(self._server.headers),
            timeout=httpx2.Timeout(LIST_S, read=CALL_S),
            event_hooks={"response": [_note_status]},
            transport=Bounded(self._server.url, MAX_BODY),
            trust_env=False,
        )

    def _failure(self, error: Exception, statuses: list[int]) -> McpFailure:
        import httpx2
        from mcp import MCPError

        inner: BaseException = error
        while isinstance(inner, BaseExceptionGroup):
            inner = inner.exceptions[0]
        host = urlsplit(self._server.url).netloc
        if isinstance(inner, McpFailure):
            return inner
        if isinstance(inner, httpx2.HTTPStatusError):
            statuses = [inner.response.status_code]
        if statuses and statuses[-1] >= 300:
            problem = f"{host} answered {statuses[-1]}"
            if isinstance(inner, MCPError):
                problem += f": {inner.message}"
            return McpFailure(McpError(type="http_error", code=statuses[-1], message=self._hide(problem)))
        if isinstance(inner, MCPError):
            return McpFailure(McpError(type="protocol_error", code=inner.code, message=self._hide(inner.message)))
        if isinstance(inner, httpx2.TransportError):
            code, problem = CONNECTION_CLOSED, f"{host} cannot be reached: {str(inner) or type(inner).__name__}"
        else:
            code, problem = INTERNAL_ERROR, f"{host} is not understood: {str(inner) or type(inner).__name__}"
        return McpFailure(McpError(type="protocol_error", code=code, message=self._hide(problem)))

    def _hide(self, text: str) -> str:
        for _, value in self._server.headers:
            for secret in (value, value.removeprefix("Bearer ")):
                text = text.replace(secret, "…") if len(secret) > 3 else text
        return text[:LONGEST_ERROR]


_loading = threading.Lock()


def _load_package() -> None:
    """Imports what is used of the package: by one thread at a time, or one might see modules that are half there."""
    with _loading:
        for module in ("mcp", "mcp.client.sse", "mcp.client.streamable_http", "server.mcp_http"):
            importlib.import_module(module)


async def _note_status(response: "httpx2.Response") -> None:
    if (statuses := _status.get()) is not None:
        statuses.append(response.status_code)


def _listed(tool: Any) -> McpListedTool:
    annotations = tool.annotations.model_dump(by_alias=True, exclude_none=True) if tool.annotations else None
    return McpListedTool(
        name=tool.name,
        description=tool.description or "",
        input_schema=tool.input_schema,
        annotations=annotations,
    )


def _text_of(result: "CallToolResult") -> str:
    """Returns what a call returned as text. What is no text is named; structure is JSON, if there is nothing else."""
    texts = [
        _text_of_block(block.model_dump(by_alias=True, mode="json", exclude_none=True)) for block in result.content
    ]
    if not texts and result.structured_content is not None:
        return json.dumps(result.structured_content, ensure_ascii=False)
    return "\n".join(texts)


def _text_of_block(block: dict[str, Any]) -> str:
    match block:
        case {"type": "text", "text": str(text)} | {"type": "resource", "resource": {"text": str(text)}}:
            return text
        case {"type": "resource_link", "uri": uri}:
            return f"{block.get('name') or 'resource'}: {uri}"
        case {"type": kind, "mimeType": what} | {"type": kind, "resource": {"mimeType": what}}:
            return f"({kind}: {what}, which cannot be shown here)"
        case _:
            return f"({block.get('type', 'something')}, which cannot be shown here)"
