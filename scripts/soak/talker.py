"""A client that says one thing after the other and keeps nothing of what it is told."""

import asyncio
import base64
import contextlib
from collections import Counter
from typing import Any, Final

import aiohttp
import msgspec

from pipeline.audio import pcm16_to_bytes, slices
from pipeline.types import WIRE_RATE, Pcm16
from scripts.measure_listening.spoken import room, spoken

_FRAME: Final = WIRE_RATE // 10
_PATIENCE_S: Final = 60.0
_LONG_S: Final = 60.0
"""A long silence."""


class Talker:
    """One session. `join` opens it."""

    def __init__(self, websocket: aiohttp.ClientWebSocketResponse) -> None:
        self._websocket = websocket
        self._came: Counter[str] = Counter()
        self._wanted: Counter[str] = Counter()
        self._news = asyncio.Event()
        self._reading = asyncio.create_task(self._read())
        self.sent_s = 0.0
        self.turns = 0

    @classmethod
    async def join(cls, http: aiohttp.ClientSession, url: str) -> "Talker":
        """Opens a session and waits for its greeting."""
        talker = cls(await http.ws_connect(url, max_msg_size=0))
        await talker._next("session.created")
        return talker

    async def leave(self, abruptly: bool = False) -> None:
        """Ends the session; abruptly, by closing the socket as if the client had died."""
        if abruptly and (transport := self._websocket._response.connection) is not None:
            transport.close()
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        with contextlib.suppress(ConnectionError):
            await self._websocket.close()

    async def talk(self, until_s: float) -> None:
        """Sends sound, in turns of every kind, until it has been so many seconds in all."""
        kinds = (
            self._question,
            self._interruption,
            self._clear,
            self._commit,
            self._aside,
            self._question,
            self._silence,
        )
        while self.sent_s < until_s:
            await kinds[self.turns % len(kinds)]()
            self.turns += 1

    async def say(self, sound: Pcm16) -> None:
        """Sends int16 at 24 kHz, as fast as it is taken."""
        for piece in slices(sound, _FRAME):
            await self._send(type="input_audio_buffer.append", audio=base64.b64encode(pcm16_to_bytes(piece)).decode())
        self.sent_s += len(sound) / WIRE_RATE

    async def answered(self) -> None:
        """Waits for the end of a response, where words were understood and where not."""
        await self._next("response.done")

    async def _question(self) -> None:
        await self.say(spoken(self.turns))
        await self.say(room(1.5))
        await self.answered()

    async def _interruption(self) -> None:
        await self.say(spoken(self.turns))
        await self.say(room(0.7))
        await self._next("response.created")
        await self.say(spoken(self.turns + 1))
        await self.say(room(1.5))
        await self.answered()
        await self.answered()

    async def _clear(self) -> None:
        await self.say(spoken(self.turns)[: WIRE_RATE // 2])
        await self._send(type="input_audio_buffer.clear")
        await self._next("input_audio_buffer.cleared")

    async def _commit(self) -> None:
        await self.say(spoken(self.turns))
        await self._send(type="input_audio_buffer.commit")
        await self._next("conversation.item.input_audio_transcription.completed", of_any=True)

    async def _aside(self) -> None:
        await self._send(
            type="response.create",
            response={"conversation": "none", "output_modalities": ["text"], "input": [], "instructions": "Say hello."},
        )
        await self.answered()

    async def _silence(self) -> None:
        await self.say(room(_LONG_S))

    async def _send(self, **event: Any) -> None:
        await self._websocket.send_str(msgspec.json.encode(event).decode())

    async def _next(self, kind: str, of_any: bool = False) -> None:
        """Waits for one more event of a kind than was waited for before; with `of_any`, for one that comes from now on.

        Raises:
            TimeoutError: it does not come.
        """
        self._wanted[kind] = self._came[kind] + 1 if of_any else self._wanted[kind] + 1
        async with asyncio.timeout(_PATIENCE_S):
            while self._came[kind] < self._wanted[kind]:
                self._news.clear()
                await self._news.wait()

    async def _read(self) -> None:
        async for message in self._websocket:
            event = msgspec.json.decode(message.data, type=dict[str, Any])
            self._came[event["type"]] += 1
            self._news.set()
            if event["type"] == "error":
                raise RuntimeError(f"The server reports an error: {event['error']}")
