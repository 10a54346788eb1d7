"""An MCP server made with the `mcp` package, on loopback and a thread of its own.

    with McpHost() as host:
        host.url            # of its streamable HTTP
        host.headers        # what the last request came with

Its tools: `get_weather` (which only reads), `set_alarm`, `wait` (until the test opens `gate`), `broken`, `crowd` (a
long text), `picture`. `status` makes it answer every request with that.
"""

import asyncio
import contextlib
import socket
import threading
from types import TracebackType
from typing import Any, Literal

import uvicorn
from mcp.server.mcpserver import MCPServer
from mcp_types import ImageContent, TextContent, ToolAnnotations

PATIENCE_S = 20.0


class McpHost:
    """The server. Use as a context manager, or `start` and `close`."""

    def __init__(self, transport: Literal["streamable", "json", "sse"] = "streamable", port: int = 0) -> None:
        """`json`: streamable HTTP whose answers are no streams of events."""
        self.headers: dict[str, str] = {}
        self.requests: list[str] = []
        """The methods and paths of all requests."""
        self.status: int | None = None
        self.called: list[tuple[str, dict[str, Any]]] = []
        self.waiting = threading.Event()
        """Set when `wait` has been called."""
        self.gone = threading.Event()
        """Set when `wait` was cancelled."""
        self.gate = asyncio.Event()
        self.connections = 0
        self._transport = transport
        self._socket = socket.create_server(("127.0.0.1", port))
        self.port: int = self._socket.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        config = uvicorn.Config(self._app(), log_config=None, lifespan="on", timeout_graceful_shutdown=1)
        self._server = uvicorn.Server(config)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/{'sse' if self._transport == 'sse' else 'mcp'}"

    def open_gate(self) -> None:
        self._loop.call_soon_threadsafe(self.gate.set)

    @property
    def open_connections(self) -> int:
        return len(self._server.server_state.connections)

    def __enter__(self) -> "McpHost":
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends every connection and the thread."""
        self._server.should_exit = True
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        with contextlib.closing(self._loop), contextlib.closing(self._socket):
            self._loop.run_until_complete(self._server.serve(sockets=[self._socket]))

    def _app(self) -> Any:
        tools = MCPServer("test")
        tools.add_tool(self._get_weather, "get_weather", annotations=ToolAnnotations(read_only_hint=True))
        for tool in (self._set_alarm, self._wait, self._broken, self._crowd, self._picture):
            tools.add_tool(tool, tool.__name__.removeprefix("_"))
        in_json = self._transport == "json"
        app = tools.sse_app() if self._transport == "sse" else tools.streamable_http_app(json_response=in_json)

        async def watched(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http":
                self.headers = {name.decode(): value.decode() for name, value in scope["headers"]}
                self.requests.append(f"{scope['method']} {scope['path']}")
                if self.status is not None:
                    await send({"type": "http.response.start", "status": self.status, "headers": []})
                    await send({"type": "http.response.body", "body": b"no"})
                    return
            await app(scope, receive, send)

        return watched

    def _note(self, name: str, **arguments: Any) -> None:
        self.called.append((name, arguments))

    def _get_weather(self, city: str) -> str:
        """Tells the weather in a city."""
        self._note("get_weather", city=city)
        return f"It is sunny in {city}."

    def _set_alarm(self, minutes: int) -> dict[str, int]:
        """Sets an alarm."""
        self._note("set_alarm", minutes=minutes)
        return {"rings_in": minutes}

    async def _wait(self) -> str:
        """Waits."""
        self.waiting.set()
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.gone.set()
            raise
        return "waited"

    def _broken(self) -> str:
        """Fails."""
        raise ValueError("no luck")

    def _crowd(self) -> str:
        """Says a lot."""
        return "word " * 1_000_000

    def _picture(self) -> list[TextContent | ImageContent]:
        """Shows something."""
        return [TextContent(text="A cat."), ImageContent(data="AAAA", mime_type="image/png")]
