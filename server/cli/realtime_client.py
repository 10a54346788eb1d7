"""A client of the OpenAI Realtime protocol over a WebSocket, GA dialect. Works with any server that speaks it."""

import asyncio
import base64
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, TypeAlias

import aiohttp
import msgspec

from pipeline.audio import pcm16_to_bytes
from pipeline.types import WIRE_RATE, Pcm16
from server.cli.address import Address
from server.cli.failure import RunFailedError

Event: TypeAlias = dict[str, Any]

FRAME: Final = WIRE_RATE // 50
"""Samples of sound that are sent at a time: 20 ms, as a microphone delivers them."""

_CONNECT_S = 10.0
_GREETING_S = 10.0
_MAX_FRAME = 24 * 1024 * 1024
_HEARTBEAT_S = 20.0
"""How often the server is asked whether it is still there; it has half of that to answer."""


class RealtimeClient:
    """One connection. `session` is the effective configuration that the server told last."""

    def __init__(self, websocket: aiohttp.ClientWebSocketResponse, address: Address) -> None:
        self._websocket = websocket
        self._address = address
        self.session: Event = {}

    async def send(self, kind: str, **fields: object) -> None:
        """Sends a client event.

        Raises:
            RunFailedError: the server has gone away.
        """
        try:
            await self._websocket.send_str(msgspec.json.encode({"type": kind, **fields}).decode())
        except ConnectionError as error:
            raise self._gone() from error

    async def append(self, samples: Pcm16) -> None:
        """Sends sound, int16 `[n]` at 24 kHz."""
        audio = base64.b64encode(pcm16_to_bytes(samples)).decode()
        await self.send("input_audio_buffer.append", audio=audio)

    async def receive(self) -> Event:
        """Waits for the next server event.

        Raises:
            RunFailedError: the server has gone away, or sends what is no event.
        """
        message = await self._websocket.receive()
        if message.type is not aiohttp.WSMsgType.TEXT:
            raise self._gone(message.extra if message.type is aiohttp.WSMsgType.CLOSE else None)
        try:
            event = msgspec.json.decode(message.data, type=Event)
        except msgspec.MsgspecError as error:
            raise RunFailedError(f"The server at {self._address} sent something that is no event: {error}.") from error
        if event.get("type") in ("session.created", "session.updated"):
            self.session = event.get("session") or {}
        return event

    async def start(self) -> None:
        """Waits for the server's greeting, after which `session` is known.

        Raises:
            RunFailedError: no greeting comes, or an error.
        """
        await self._expect("session.created")

    async def update(self, changes: Mapping[str, object]) -> None:
        """Changes the session and waits until the server has agreed.

        Raises:
            RunFailedError: it refuses; says why.
        """
        await self.send("session.update", session={"type": "realtime", **changes})
        await self._expect("session.updated")

    async def _expect(self, kind: str) -> None:
        try:
            async with asyncio.timeout(_GREETING_S):
                while (event := await self.receive()).get("type") != kind:
                    if event.get("type") == "error":
                        raise RunFailedError(f"The server refuses: {error_text(event)}")
        except TimeoutError as error:
            raise RunFailedError(
                f"The server at {self._address} does not answer as a Realtime server does: "
                f"no {kind} in {_GREETING_S:g} s."
            ) from error

    def _gone(self, reason: str | None = None) -> RunFailedError:
        return RunFailedError(f"The server at {self._address} has gone away{f': {reason}' if reason else ''}.")


def error_text(event: Event) -> str:
    """Returns what an `error` event says."""
    error = event.get("error") or {}
    return str(error.get("message") or error.get("code") or "it does not say why")


def audio_of(event: Event) -> bytes:
    """Returns the sound in a delta: 16-bit PCM.

    Raises:
        RunFailedError: it is not base64, or not whole samples.
    """
    try:
        sound = base64.b64decode(event.get("delta", ""), validate=True)
    except ValueError as error:
        raise RunFailedError(f"The server sent sound that is not base64: {error}.") from error
    if len(sound) % 2:
        raise RunFailedError(f"The server sent {len(sound)} bytes of sound: not a whole number of 16-bit samples.")
    return sound


@asynccontextmanager
async def connect(address: Address, query: Mapping[str, str] | None = None) -> AsyncIterator[RealtimeClient]:
    """Connects, with more in the URL's query, and waits for the greeting; closes the connection at the end.

    Raises:
        RunFailedError: there is no server, or it refuses. The message says what to do.
    """
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S)
    async with aiohttp.ClientSession(timeout=timeout, headers=address.headers) as http:
        websocket = await _open(http, address, query)
        try:
            client = RealtimeClient(websocket, address)
            await client.start()
            yield client
        finally:
            await websocket.close()


async def _open(
    http: aiohttp.ClientSession, address: Address, query: Mapping[str, str] | None
) -> aiohttp.ClientWebSocketResponse:
    try:
        async with asyncio.timeout(_CONNECT_S):
            return await http.ws_connect(
                address.url,
                params=query,
                compress=0,
                max_msg_size=_MAX_FRAME,
                heartbeat=_HEARTBEAT_S,
                ssl=address.tls,
            )
    except aiohttp.WSServerHandshakeError as error:
        why = await _refusal(http, address)
        raise RunFailedError(f"The server at {address} refuses the connection (HTTP {error.status}){why}") from error
    except aiohttp.ServerFingerprintMismatch as error:
        raise RunFailedError(
            f"The certificate of the server at {address} has another fingerprint: {error.got.hex(':').upper()}. "
            "If that is what the server printed at its start, use it with --fingerprint."
        ) from error
    except aiohttp.ClientConnectorCertificateError as error:
        raise RunFailedError(
            f"The certificate of the server at {address} is not trusted: {error.certificate_error}. "
            "Trust it by what the server printed at its start, with --fingerprint."
        ) from error
    except aiohttp.ClientSSLError as error:
        raise RunFailedError(f"No server speaks TLS at {address}. Without TLS the URL begins with ws://") from error
    except aiohttp.ServerDisconnectedError as error:
        raise RunFailedError(f"The server at {address} hangs up. With TLS the URL begins with wss://") from error
    except (aiohttp.ClientError, TimeoutError) as error:
        raise RunFailedError(
            f"No server answers at {address}. Start it with `make serve` (or `parley serve`), and leave it running; "
            "a server elsewhere is named with --url."
        ) from error


async def _refusal(http: aiohttp.ClientSession, address: Address) -> str:
    """Asks again for the reason: a refused handshake leaves its body unread."""
    headers = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(bytes(16)).decode(),
    }
    url = address.url.with_scheme("https" if address.url.scheme == "wss" else "http")
    try:
        async with asyncio.timeout(_CONNECT_S), http.get(url, headers=headers, ssl=address.tls) as response:
            body = msgspec.json.decode(await response.read())
            return f": {body['error']['message']}"
    except (aiohttp.ClientError, TimeoutError, msgspec.MsgspecError, LookupError, TypeError):
        return ". Is it a Realtime server, and is the path right?"
