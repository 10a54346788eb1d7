"""The calls of a server, and the endpoints that begin and end them."""

import asyncio
import logging
from collections.abc import Callable

from aiohttp import hdrs, web

from server import wire
from server.auth import Opening
from server.client_secrets import Unanswerable, joined, opening_of
from server.ids import new_id
from server.realtime.call import Call
from server.replies import refusal
from server.session import Session
from server.webrtc.call import Connection
from server.webrtc.offer import offer_of, read
from server.webrtc.options import WebRtcOptions
from server.webrtc.ports import Ports
from server.wire import Dialect

log = logging.getLogger(__name__)

MAX_CALLS = 64
"""Calls at a time: each wakes the server fifty times a second."""

_TELEPHONE = ("accept", "reject", "refer")

Plan = Callable[[web.Request, Opening, Dialect, Call], Callable[[], Session]]
"""Returns what makes the session that a request asks for. Raises UnknownModelError, Refusal."""


class Calls:
    """The calls under way, by id."""

    def __init__(self, options: WebRtcOptions, plan: Plan) -> None:
        self._plan = plan
        self._ports = Ports(options)
        self._calls: dict[str, Connection] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._calls)

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Adds the endpoints that are not about beginning a call."""
        for path in wire.CALLS:
            router.add_post(path + "/{id}/hangup", self._hang_up)
            for verb in _TELEPHONE:
                router.add_post(path + "/{id}/" + verb, self._telephone)

    async def open(self) -> None:
        """Opens the UDP sockets.

        Raises:
            ParleyError: they cannot be had.
        """
        await self._ports.open()

    async def begin(self, request: web.Request, opening: Opening, dialect: Dialect) -> web.Response:
        """Begins the call that a request asks for, and returns the SDP answer.

        Raises:
            UnknownModelError: the pipeline is not loaded.
            Refusal: it cannot be had like that.
            Unanswerable: there are too many, or the request is none.
        """
        if len(self._calls) >= MAX_CALLS:
            problem = f"{MAX_CALLS} calls are under way. Try again when one of them has ended."
            raise Unanswerable(refusal(429, "too_many_calls", problem))
        asked = await read(request)
        if asked.session is not None:
            opening = joined(opening, opening_of(dialect.session(asked.session)))
        if asked.model is not None:
            opening = joined(opening, Opening(asked.model))
        transcribes = "transcription" in (request.query.get("intent"), opening.kind)
        offer = offer_of(asked.sdp, answers=not transcribes)
        begin = self._plan(request, opening, dialect, Call(offer.hears, offer.max_message))
        call_id = new_id("rtc")
        connection = Connection(begin, offer, self._ports)
        self._calls[call_id] = connection
        try:
            answer = await connection.answer()
        except BaseException:
            del self._calls[call_id]
            await connection.close()
            raise
        task = asyncio.create_task(self._run(call_id, connection), name=call_id)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        where = f"{wire.call_path(request.path)}/{call_id}"
        return web.Response(status=201, text=answer, content_type="application/sdp", headers={hdrs.LOCATION: where})

    async def _run(self, call_id: str, connection: Connection) -> None:
        try:
            await connection.run()
        except Exception:
            log.exception("a call failed")
        finally:
            del self._calls[call_id]

    async def _hang_up(self, request: web.Request) -> web.Response:
        call = self._calls.get(request.match_info["id"])
        if call is None:
            return refusal(404, "call_not_found", "There is no such call; it may have ended already.", "call_id")
        call.hang_up()
        return web.Response()

    async def _telephone(self, request: web.Request) -> web.Response:
        verb = request.path.rpartition("/")[2]
        problem = f"`{verb}` is for telephone calls (SIP), and Parley has none. A call over WebRTC can be hung up."
        return refusal(400, "unsupported_call", problem)

    async def shutdown(self) -> None:
        """Ends all calls."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._ports.close()
