"""A Realtime server that plays a script, on loopback: it hears by loudness, and answers what it is told to."""

import asyncio
import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from aiohttp import web

RATE = 24_000
SILENCE_S = 0.5
LOUD = 500


@dataclass
class Answer:
    """What the server makes of one utterance. `audio` is int16 at 24 kHz."""

    heard: str = "what time is it"
    words: tuple[str, ...] = ("It is", " three o'clock.")
    audio: np.ndarray = field(default_factory=lambda: tone(0.3))
    status: str = "completed"
    delay_s: float = 0.0


def tone(seconds: float, level: int = 8000, rate: int = RATE) -> np.ndarray:
    return (level * np.sin(np.arange(round(seconds * rate)) * 0.1)).astype(np.int16)


def silence(seconds: float, rate: int = RATE) -> np.ndarray:
    return np.zeros(round(seconds * rate), np.int16)


@contextmanager
def leaves_no_thread(within_s: float = 5.0) -> Iterator[None]:
    """Raises AssertionError when a thread that began inside goes on for long after it."""
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + within_s
    while (left := set(threading.enumerate()) - before) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not left


class FakeServer:
    """One script for every connection. What the client sent is in `received`, with the moments in `received_at`."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.received: list[dict[str, Any]] = []
        self.received_at: list[float] = []
        self.query: dict[str, str] = {}
        self.port = 0
        self.refuse_update: str | None = None
        self.refuse_connection: str | None = None
        self.refuse_query = False
        self.refused = 0
        self.hang_up_after_appends: int | None = None
        self.on_append: Callable[[int], None] = lambda count: None
        self._utterances = 0
        self._appends = 0
        self._buffer = np.zeros(0, np.int16)
        self._speech_start: int | None = None
        self._last_loud = 0

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/v1/realtime"

    @property
    def sound(self) -> np.ndarray:
        """All that was appended."""
        return self._buffer

    def sent(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.received if event["type"] == kind]

    @contextmanager
    def running(self) -> Iterator["FakeServer"]:
        loop, ready = asyncio.new_event_loop(), threading.Event()

        async def start() -> web.AppRunner:
            app = web.Application()
            app.router.add_get("/v1/realtime", self._realtime)
            runner = web.AppRunner(app, shutdown_timeout=0.1)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            self.port = runner.addresses[0][1]
            return runner

        def serve() -> None:
            asyncio.set_event_loop(loop)
            runner = loop.run_until_complete(start())
            ready.set()
            loop.run_forever()
            loop.run_until_complete(runner.cleanup())
            loop.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        assert ready.wait(5)
        try:
            yield self
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join(5)

    async def _realtime(self, request: web.Request) -> web.StreamResponse:
        if self.refuse_connection:
            return web.json_response({"error": {"message": self.refuse_connection}}, status=404)
        if self.refuse_query and request.query:
            self.refused += 1
            raise web.HTTPBadRequest
        self.query = dict(request.query)
        self._socket = socket = web.WebSocketResponse(max_msg_size=0)
        await socket.prepare(request)
        await self._send("session.created", session=_session())
        async for message in socket:
            event = json.loads(message.data)
            self.received.append(event)
            self.received_at.append(time.monotonic())
            if event["type"] == "session.update":
                await self._update(event)
            elif event["type"] == "input_audio_buffer.append":
                await self._append(event)
        return socket

    async def _send(self, kind: str, **fields: Any) -> None:
        await self._socket.send_json({"type": kind, "event_id": "event_1", **fields})

    async def _update(self, event: dict[str, Any]) -> None:
        if self.refuse_update:
            await self._send("error", error={"type": "invalid_request_error", "message": self.refuse_update})
            return
        await self._send("session.updated", session=_session())

    async def _append(self, event: dict[str, Any]) -> None:
        samples = np.frombuffer(base64.b64decode(event["audio"]), "<i2")
        self._buffer = np.concatenate([self._buffer, samples])
        self._appends += 1
        self.on_append(self._appends)
        if self._appends == self.hang_up_after_appends:
            await self._socket.close()
            return
        now = len(self._buffer)
        if len(samples) and np.abs(samples).max() > LOUD:
            if self._speech_start is None:
                self._speech_start = now - len(samples)
                await self._send(
                    "input_audio_buffer.speech_started",
                    item_id=f"item_{self._utterances}",
                    audio_start_ms=self._speech_start * 1000 // RATE,
                )
            self._last_loud = now
        elif self._speech_start is not None and now - self._last_loud >= SILENCE_S * RATE:
            self._speech_start = None
            await self._turn(self._utterances, now)
            self._utterances += 1

    async def _turn(self, index: int, now: int) -> None:
        answer = self.answers[index]
        item_id = f"item_{index}"
        await self._send("input_audio_buffer.speech_stopped", item_id=item_id, audio_end_ms=now * 1000 // RATE)
        await self._send("input_audio_buffer.committed", item_id=item_id, previous_item_id=None)
        response_id = f"resp_{index}"
        await self._send("response.created", response={"id": response_id, "status": "in_progress", "output": []})
        await self._send(
            "conversation.item.input_audio_transcription.completed",
            item_id=item_id,
            content_index=0,
            transcript=answer.heard,
        )
        asyncio.get_running_loop().create_task(self._respond(index, response_id, answer))

    async def _respond(self, index: int, response_id: str, answer: Answer) -> None:
        await asyncio.sleep(answer.delay_s)
        place = {"response_id": response_id, "item_id": f"reply_{index}", "output_index": 0, "content_index": 0}
        for words in answer.words:
            await self._send("response.output_audio_transcript.delta", delta=words, **place)
        if len(answer.audio):
            delta = base64.b64encode(answer.audio.tobytes()).decode()
            await self._send("response.output_audio.delta", delta=delta, **place)
            await self._send("response.output_audio.done", **place)
        details = None
        if answer.status != "completed":
            details = {"type": answer.status, "error": {"type": "server_error", "code": "llm_failed"}}
        response = {"id": response_id, "status": answer.status, "status_details": details, "output": []}
        await self._send("response.done", response=response)


def _session() -> dict[str, Any]:
    return {
        "type": "realtime",
        "model": "fake",
        "audio": {"input": {"turn_detection": {"type": "server_vad", "threshold": 0.5}, "transcription": None}},
    }
