"""A session over a WebSocket: text frames in, text frames out."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

from aiohttp import WSCloseCode, WSMsgType, web

from server.outbound import Outbound, SlowClient
from server.session import Session
from server.wire import SUBPROTOCOLS

log = logging.getLogger(__name__)

MAX_FRAME = 24 * 1024 * 1024
"""Most bytes a frame in: 15 MiB of sound are 20 MiB of base64, and there is some JSON around it."""

HEARTBEAT_S = 20.0
"""How often a silent client is asked whether it is still there; without an answer it is gone half of that later."""


def new_websocket() -> web.WebSocketResponse:
    """Returns the response that accepts a client; a subprotocol is echoed only to those who offer it."""
    # Sound does not get smaller by deflating: it would only cost time.
    return web.WebSocketResponse(protocols=SUBPROTOCOLS, compress=False, max_msg_size=MAX_FRAME, heartbeat=HEARTBEAT_S)


async def serve(websocket: web.WebSocketResponse, session: Session) -> None:
    """Joins an accepted WebSocket to a session until either ends."""
    writing = asyncio.create_task(_write(websocket, session.outbound), name="session writer")
    try:
        await session.run(_frames(websocket))
    except SlowClient:
        log.warning("a client was given up: it does not read what it is sent")
        await websocket.close(code=WSCloseCode.TRY_AGAIN_LATER, message=b"the client reads too slowly", drain=False)
    finally:
        writing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await writing
        await websocket.close()


async def _frames(websocket: web.WebSocketResponse) -> AsyncIterator[str | bytes]:
    async for message in websocket:
        if message.type is WSMsgType.TEXT or message.type is WSMsgType.BINARY:
            yield message.data


async def _write(websocket: web.WebSocketResponse, outbound: Outbound) -> None:
    try:
        while True:
            frame = await outbound.get()
            await websocket.send_str(frame)
            outbound.sent(frame)
    except ConnectionError:
        pass  # the reader sees the end as well, and ends the session
    finally:
        outbound.close()
