"""Drives a real server with the `openai` package, as an application would: 20 ms frames in real time."""

import asyncio
import base64
import contextlib
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
from openai import AsyncOpenAI
from openai.resources.realtime.realtime import AsyncRealtimeConnection

from tests.speech import say, silence, word_errors
from tests.wire_checker import WireChecker

FRAME_S = 0.02
RATE = 24_000
FRAME = int(RATE * FRAME_S)


def spoken(*texts: str, pause_s: float = 0.3) -> Any:
    """Returns the texts spoken with a pause between them, int16 at 24 kHz."""
    parts = [part for text in texts for part in (say(text, RATE), silence(pause_s, RATE))]
    return np.concatenate(parts[:-1])


def understood(question: str, transcript: str) -> bool:
    """Whether a transcript is right but for a word: PocketSphinx hears a synthesised voice differently by 20 ms."""
    return word_errors(question, transcript) <= 1


class Client:
    """One session, in either dialect. Every event is checked as it comes in: see `WireChecker`."""

    def __init__(self, connection: AsyncRealtimeConnection) -> None:
        self.connection = connection
        self.wire = WireChecker()
        self.times: list[float] = []
        self._arrived = asyncio.Condition()
        self._reader = asyncio.create_task(self._read())
        self._microphone: asyncio.Task[None] | None = None
        self._say: asyncio.Queue[Any] = asyncio.Queue()

    async def _read(self) -> None:
        while True:
            raw = await self.connection.recv_bytes()
            event = json.loads(raw)
            async with self._arrived:
                self.wire.see(event)
                self.times.append(time.perf_counter())
                self._arrived.notify_all()

    async def wait_for(self, kind: str, count: int = 1, timeout: float = 15.0) -> dict[str, Any]:
        """Returns the `count`th event of a kind, waiting for it to come."""

        def seen() -> list[dict[str, Any]]:
            if self._reader.done():
                self._reader.result()
            return self.wire.of_type(kind)

        try:
            async with asyncio.timeout(timeout), self._arrived:
                await self._arrived.wait_for(lambda: len(seen()) >= count)
        except TimeoutError:
            raise AssertionError(f"no {kind} #{count}; came: {self.kinds}") from None
        return seen()[count - 1]

    @property
    def kinds(self) -> list[str]:
        return [event["type"] for event in self.wire.events]

    def time_of(self, event: dict[str, Any]) -> float:
        return self.times[self.wire.events.index(event)]

    async def send(self, **event: Any) -> None:
        await self.connection.send_raw(json.dumps(event))

    async def configure(self, **session: Any) -> None:
        count = len(self.wire.of_type("session.updated")) + 1
        await self.send(type="session.update", session={"type": "realtime", **session})
        await self.wait_for("session.updated", count)

    async def append(self, samples: Any) -> None:
        audio = base64.b64encode(samples.astype("<i2").tobytes()).decode()
        await self.send(type="input_audio_buffer.append", audio=audio)

    def open_microphone(self) -> None:
        """Sends the sound of a quiet room from now on, and whatever is said, frame by frame in real time."""
        self._microphone = asyncio.create_task(self._send_frames())

    def say(self, samples: Any) -> None:
        """Queues int16 at 24 kHz for the microphone."""
        for start in range(0, len(samples), FRAME):
            self._say.put_nowait(samples[start : start + FRAME])

    async def _send_frames(self) -> None:
        due = time.perf_counter()
        room = silence(FRAME_S, RATE)
        while True:
            frame = room if self._say.empty() else self._say.get_nowait()
            await self.append(frame)
            due += FRAME_S
            await asyncio.sleep(max(0.0, due - time.perf_counter()))

    async def close(self) -> None:
        for task in (self._microphone, self._reader):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, Exception):
                    await task

    def transcripts(self) -> list[str]:
        kind = "conversation.item.input_audio_transcription.completed"
        return [event["transcript"] for event in self.wire.of_type(kind)]

    def answers(self) -> list[str]:
        return [event["transcript"] for event in self.wire.of_type("response.output_audio_transcript.done")]

    def answer_sound(self, response_id: str) -> Any:
        """Returns a response's sound, int16 at 24 kHz."""
        deltas = [e for e in self.wire.of_type("response.output_audio.delta") if e["response_id"] == response_id]
        return np.frombuffer(b"".join(base64.b64decode(event["delta"]) for event in deltas), "<i2")


@contextlib.asynccontextmanager
async def connect(port: int, model: str = "mini", **query: object) -> AsyncIterator[Client]:
    """`query` goes into the URL."""
    api = AsyncOpenAI(
        api_key="local", base_url=f"http://127.0.0.1:{port}/v1", websocket_base_url=f"ws://127.0.0.1:{port}/v1"
    )
    async with api.realtime.connect(model=model, extra_query=query) as connection:
        client = Client(connection)
        try:
            await client.wait_for("session.created")
            yield client
        finally:
            await client.close()
