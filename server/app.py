"""The HTTP application: who may connect, to which pipeline, and the running sessions."""

import asyncio
import logging
from collections.abc import Mapping
from urllib.parse import urlsplit

from aiohttp import web

from pipeline.config import Config, UnknownModelError
from pipeline.line import Line
from server import websocket, wire
from server.profile import profile_of
from server.rest import routes as rest
from server.session import Session
from server.voice import VoiceHub

log = logging.getLogger(__name__)

_LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})


class Server:
    """The loaded pipelines and the sessions that run on them."""

    def __init__(self, config: Config, lines: Mapping[str, Line]) -> None:
        self._config = config
        self._lines = lines
        self._hubs = {id(line.vad): VoiceHub(line.vad, line.timeouts.vad) for line in lines.values()}
        self._sessions: set[asyncio.Task[None]] = set()

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/", self._index)
        app.router.add_get("/v1/realtime", self._realtime)
        rest.add_routes(app.router, self._config, self._lines, _foreign_origin)
        app.on_shutdown.append(self._shutdown)
        return app

    def close(self) -> None:
        """Ends what the sessions shared. The pipelines are their owner's to close."""
        for hub in self._hubs.values():
            hub.close()

    async def _index(self, request: web.Request) -> web.Response:
        return web.Response(
            text=f"Parley speaks the OpenAI Realtime protocol at ws://{request.host}/v1/realtime\n"
            f"Pipelines: {', '.join(self._lines)}\n"
        )

    async def _realtime(self, request: web.Request) -> web.StreamResponse:
        if (refusal := _foreign_origin(request)) is not None:
            return refusal
        if request.headers.get("Upgrade", "").lower() != "websocket":
            return _error(
                426, "upgrade_required", "This is a WebSocket endpoint: connect with ws://, not http://.", None
            )
        for name in ("intent", "call_id"):
            if name in request.query:
                problem = (
                    f"`?{name}=` asks for what this version of Parley does not have: it serves voice sessions only."
                )
                return _error(400, "unsupported_parameter", problem, name)
        asked = request.query.get("model")
        offered = [part.strip() for part in request.headers.get("Sec-WebSocket-Protocol", "").split(",")]
        try:
            line = self._lines[self._config.resolve(asked, self._lines)]
        except UnknownModelError as error:
            return _error(404, "model_not_found", str(error), "model")
        dialect = wire.choose(request.headers, offered)
        connection = websocket.new_websocket()
        await connection.prepare(request)
        session = Session(line, self._hubs[id(line.vad)], profile_of(line, self._config), dialect, asked or line.name)
        task = asyncio.current_task()
        assert task is not None
        self._sessions.add(task)
        try:
            await websocket.serve(connection, session)
        finally:
            self._sessions.discard(task)
        return connection

    async def _shutdown(self, _: web.Application) -> None:
        for task in self._sessions:
            task.cancel()
        await asyncio.gather(*self._sessions, return_exceptions=True)


def _foreign_origin(request: web.Request) -> web.Response | None:
    """Refuses pages of other sites: a browser lets any page open a WebSocket to this machine, and says from where."""
    origin = request.headers.get("Origin")
    if origin is None or origin == f"{request.scheme}://{request.host}":
        return None
    if urlsplit(origin).hostname in _LOCAL_HOSTS:
        return None
    return _error(403, "origin_not_allowed", f"Pages of {origin} may not use this server.", None)


def _error(status: int, code: str, message: str, param: str | None) -> web.Response:
    error = {"type": "invalid_request_error", "code": code, "message": message, "param": param}
    return web.json_response({"error": error}, status=status)
