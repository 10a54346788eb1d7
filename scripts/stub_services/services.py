"""The three services: what they say is fixed, and so is when."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any, Final

import numpy as np
from aiohttp import web

RATE: Final = 24_000
"""Samples a second of the speech: int16, mono."""

TRANSCRIPT: Final = "What is the capital of France?"

REPLY: Final = (
    "The answer to that is easy to find once you know where one has to look for it. Most people begin with the "
    "capital itself and then go on to the river that runs through it."
)
"""33 words. The first comma or stop comes late, so that a first clause is cut where a server cuts words."""

MODELS: Final = ("stub-transcription", "stub-llm", "stub-speech")

_PIECE_S: Final = 0.02
"""How often a piece of speech is sent."""
_SOUND_S: Final = 0.065
"""Speech of a character, in seconds: some 150 words a minute."""


@dataclass(frozen=True, slots=True)
class Delays:
    """When what comes, in seconds after all of the request has arrived."""

    transcript: float = 0.080
    first_token: float = 0.120
    words_a_second: float = 60.0
    first_audio: float = 0.100
    pace: float = 10.0
    """Seconds of speech a second; 1 streams it in real time."""


@dataclass(slots=True)
class Served:
    """What really happened to one request; milliseconds after all of it had arrived."""

    service: str
    wanted_ms: float
    """When the first of the answer was due."""
    first_ms: float | None = None
    """When it had been sent."""
    end_ms: float | None = None
    """When the last had been; None: the client went before."""
    about: str = ""


Report = Callable[[dict[str, Any]], None]


class Services:
    """The handlers of the three services, and what they have served."""

    def __init__(self, delays: Delays, report: Report, transcript: str = TRANSCRIPT, reply: str = REPLY) -> None:
        self._delays = delays
        self._report = report
        self._transcript = transcript
        self._words = reply.split()
        self.served: list[Served] = []

    def app(self) -> web.Application:
        """Returns the application; serve it with `handler_cancellation`, so that whoever hangs up is noticed."""
        app = web.Application(client_max_size=1 << 30)
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/v1/audio/transcriptions", self._transcription)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_post("/v1/audio/speech", self._speech)
        return app

    async def _models(self, _: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": name, "object": "model"} for name in MODELS]})

    async def _transcription(self, request: web.Request) -> web.Response:
        body = await request.read()
        async with self._serving("transcription", self._delays.transcript) as (served, began):
            served.about = f"{len(body)} bytes"
            await _until(began + self._delays.transcript)
            response = web.json_response({"text": self._transcript})
            await response.prepare(request)
            await response.write_eof()
            served.first_ms = _since(began)
            return response

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        async with self._serving("chat", self._delays.first_token) as (served, began):
            served.about = str(body["messages"][-1].get("content"))[:60]
            if not body.get("stream"):
                served.wanted_ms += 1000 * (len(self._words) - 1) / self._delays.words_a_second
                await _until(began + served.wanted_ms / 1000)
                served.first_ms = _since(began)
                return web.json_response(_completion(message={"role": "assistant", "content": " ".join(self._words)}))
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            for number, word in enumerate(self._words):
                await _until(began + self._delays.first_token + number / self._delays.words_a_second)
                if number == 0:
                    await response.prepare(request)
                await response.write(_event(_completion(delta={"content": f" {word}" if number else word})))
                if served.first_ms is None:
                    served.first_ms = _since(began)
            await response.write(_event(_completion(delta={}, finish_reason="stop")))
            usage = {"prompt_tokens": 0, "completion_tokens": len(self._words), "total_tokens": len(self._words)}
            await response.write(_event({**_completion(), "choices": [], "usage": usage}) + b"data: [DONE]\n\n")
            await response.write_eof()
            return response

    async def _speech(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        async with self._serving("speech", self._delays.first_audio) as (served, began):
            text = str(body["input"])
            served.about = text[:60]
            sound = speech(text)
            piece = 2 * round(RATE * _PIECE_S * self._delays.pace)
            response = web.StreamResponse(headers={"Content-Type": "audio/pcm"})
            for number, at in enumerate(range(0, len(sound), piece)):
                await _until(began + self._delays.first_audio + number * _PIECE_S)
                if number == 0:
                    await response.prepare(request)
                await response.write(sound[at : at + piece])
                if served.first_ms is None:
                    served.first_ms = _since(began)
            await response.write_eof()
            return response

    @asynccontextmanager
    async def _serving(self, service: str, delay: float) -> Any:
        """Times a request from the moment at which all of it is there."""
        began = time.monotonic()
        served = Served(service, 1000 * delay)
        try:
            yield served, began
            served.end_ms = _since(began)
        finally:
            self.served.append(served)
            self._report({"at": round(time.time(), 4), **asdict(served)})


def speech(text: str) -> bytes:
    """Returns a buzz as long as a voice would take for the text, loud from its first sample: int16 at 24 kHz."""
    size = 2 * round(RATE * _SOUND_S * max(len(text), 1))
    buzz = _half_a_second()
    return (buzz * (size // len(buzz) + 1))[:size]


@cache
def _half_a_second() -> bytes:
    """Whole periods of a voice at 140 Hz and of syllables at 4 Hz: it can be repeated without a seam."""
    times = np.arange(RATE // 2) / RATE
    voice = sum(np.cos(2 * np.pi * 140 * harmonic * times) / harmonic for harmonic in range(1, 6))
    syllables = 0.7 + 0.3 * np.cos(2 * np.pi * 4 * times)
    return (4000 * voice * syllables).astype("<i2").tobytes()


async def _until(moment: float) -> None:
    """Sleeps until a moment of `time.monotonic`: the loop rounds up to a millisecond; half of one is given back."""
    await asyncio.sleep(moment - time.monotonic() - 0.0005)


def _since(began: float) -> float:
    return round(1000 * (time.monotonic() - began), 2)


def _event(value: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(value)}\n\n".encode()


def _completion(finish_reason: str | None = None, **content: Any) -> dict[str, Any]:
    kind = "chat.completion" if "message" in content else "chat.completion.chunk"
    finish = "stop" if "message" in content else finish_reason
    choices = [{"index": 0, **content, "finish_reason": finish}]
    return {"id": "chatcmpl-stub", "object": kind, "created": 0, "model": "stub-llm", "choices": choices}
