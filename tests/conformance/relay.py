"""Stands between a client and the server, writes down all that passes, and checks what the server says on the way."""

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import WSMsgType, web

from tests.wire_checker import WireChecker

_PASSED_ON = ("authorization", "api-key", "openai-beta", "user-agent", "openai-safety-identifier")


@dataclass
class Wire:
    """One connection: what either side said, and what was wrong with the server's part."""

    path: str
    beta: bool
    asked: list[dict[str, Any]] = field(default_factory=list)
    said: WireChecker = field(default_factory=WireChecker)
    faults: list[str] = field(default_factory=list)
    closed: asyncio.Event = field(default_factory=asyncio.Event)

    def of_type(self, kind: str) -> list[dict[str, Any]]:
        """What the client said of a kind."""
        return [event for event in self.asked if event["type"] == kind]

    @property
    def errors(self) -> list[dict[str, Any]]:
        """The server's errors."""
        return [event["error"] for event in self.said.of_type("error")]

    def see(self, event: dict[str, Any]) -> None:
        try:
            self.said.see(event)
        except (AssertionError, ValueError) as fault:
            self.faults.append(f"{event['type']}: {fault}")


class Relay:
    """A server of its own on loopback; `url` leads through it, with `scheme` http, https, ws or wss."""

    def __init__(self, upstream: str, trust: ssl.SSLContext, identity: ssl.SSLContext | None) -> None:
        self.wires: list[Wire] = []
        self.requests: list[tuple[str, str, int]] = []
        """What was asked for over HTTP: method, path, and the status of the answer."""
        self._upstream = upstream
        self._trust = trust
        self._identity = identity
        self._port = 0

    def url(self, scheme: str, path: str = "/v1") -> str:
        secure = "s" if self._identity is not None else ""
        return f"{scheme}{secure}://127.0.0.1:{self._port}{path}"

    @property
    def wire(self) -> Wire:
        """The only connection there was."""
        (wire,) = self.wires
        return wire

    def check(self, expected: Collection[str] = ()) -> None:
        """Raises AssertionError when the server said what it must not say, or refused what the client asked, but for
        the codes that the client expects.
        """
        for wire in self.wires:
            refused = [error for error in wire.errors if error["code"] not in expected]
            assert not refused, refused
            assert not wire.faults, wire.faults
            wire.said.end()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Relay"]:
        app = web.Application(client_max_size=0)
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=self._identity)
        await site.start()
        self._port = runner.addresses[0][1]
        async with aiohttp.ClientSession() as self._http:
            try:
                yield self
            finally:
                await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        headers = {name: value for name, value in request.headers.items() if name.lower() in _PASSED_ON}
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._join(request, headers)
        headers["Content-Type"] = request.headers.get("Content-Type", "application/octet-stream")
        url, body = self._upstream + request.path_qs, await request.read()
        async with self._http.request(request.method, url, data=body, headers=headers, ssl=self._trust) as answer:
            self.requests.append((request.method, request.path, answer.status))
            return web.Response(status=answer.status, body=await answer.read(), content_type=answer.content_type)

    async def _join(self, request: web.Request, headers: dict[str, str]) -> web.StreamResponse:
        offered = [each.strip() for each in request.headers.get("Sec-WebSocket-Protocol", "").split(",") if each]
        try:
            upstream = await self._http.ws_connect(
                self._upstream + request.path_qs,
                headers=headers,
                protocols=offered,
                ssl=self._trust,
                max_msg_size=0,
                autoping=True,
            )
        except aiohttp.WSServerHandshakeError as refused:
            return web.Response(status=refused.status)
        chosen = [upstream.protocol] if upstream.protocol else []
        client = web.WebSocketResponse(protocols=chosen, compress=False, max_msg_size=0)
        await client.prepare(request)
        beta = "realtime=v1" in request.headers.get("OpenAI-Beta", "") or "openai-beta.realtime-v1" in offered
        wire = Wire(request.path_qs, beta or request.path == "/openai/realtime")
        self.wires.append(wire)
        async with asyncio.TaskGroup() as both:
            both.create_task(_pass_on(client, upstream, wire.asked.append))
            both.create_task(_pass_on(upstream, client, wire.see))
        wire.closed.set()
        return client


_End = web.WebSocketResponse | aiohttp.ClientWebSocketResponse


async def _pass_on(here: _End, there: _End, see: Callable[[dict[str, Any]], None]) -> None:
    async for message in here:
        if message.type is WSMsgType.TEXT:
            see(json.loads(message.data))
            with contextlib.suppress(ConnectionError):
                await there.send_str(message.data)
        elif message.type is WSMsgType.BINARY:
            await there.send_bytes(message.data)
    await there.close(code=here.close_code or 1000)
