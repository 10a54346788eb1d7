"""Calls a real server over WebRTC, as a page in a browser would: aiortc is the browser."""

import asyncio
import contextlib
import fractions
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import numpy as np
import soxr
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from av import AudioFrame

from tests.e2e.client import FRAME, FRAME_S, RATE
from tests.speech import silence
from tests.wire_checker import WireChecker

OPUS_RATE = 48_000


class Microphone(MediaStreamTrack):
    """The sound of a quiet room, and whatever is said, in real time."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self._say: asyncio.Queue[Any] = asyncio.Queue()
        self._room = silence(FRAME_S, RATE)
        self._due: float | None = None
        self._frames = 0

    def say(self, samples: Any) -> None:
        """Queues int16 at 24 kHz."""
        for start in range(0, len(samples) - FRAME + 1, FRAME):
            self._say.put_nowait(samples[start : start + FRAME])

    async def recv(self) -> AudioFrame:
        now = asyncio.get_running_loop().time()
        self._due = (now if self._due is None else self._due) + FRAME_S
        await asyncio.sleep(max(0.0, self._due - now))
        samples = self._room if self._say.empty() else self._say.get_nowait()
        frame = AudioFrame.from_ndarray(np.repeat(samples, 2).reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = OPUS_RATE, self._frames * 960, fractions.Fraction(1, OPUS_RATE)
        self._frames += 1
        return frame


class Caller:
    """One call. Every event is checked as it comes in: see `WireChecker`."""

    def __init__(self, microphone: bool = True, direction: str = "sendrecv") -> None:
        self.peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.microphone = Microphone()
        self.wire = WireChecker(call=True)
        self.times: list[float] = []
        self.sound: list[tuple[float, Any]] = []
        """What was received, int16 at 48 kHz, and when each piece of it came."""
        self.channel = self.peer.createDataChannel("oai-events")
        self.closed = asyncio.Event()
        self._arrived = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()
        self.channel.on("message", self._take)
        self.channel.on("close", self.closed.set)
        self.peer.on("track", self._listen)
        self.peer.addTransceiver(self.microphone if microphone else "audio", direction)

    async def offer(self) -> str:
        await self.peer.setLocalDescription(await self.peer.createOffer())
        return self.peer.localDescription.sdp

    async def connect(self, answer: str) -> None:
        await self.peer.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        await self.wait_for("session.created")

    def _take(self, message: str) -> None:
        self.wire.see(json.loads(message))
        self.times.append(time.perf_counter())
        self._spawn(self._notify())

    async def _notify(self) -> None:
        async with self._arrived:
            self._arrived.notify_all()

    def _spawn(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _listen(self, track: MediaStreamTrack) -> None:
        self._spawn(self._hear(track))

    async def _hear(self, track: MediaStreamTrack) -> None:
        with contextlib.suppress(MediaStreamError):
            while True:
                frame: Any = await track.recv()
                self.sound.append((time.perf_counter(), frame.to_ndarray().reshape(-1, 2)[:, 0]))

    async def wait_for(self, kind: str, count: int = 1, timeout: float = 20.0) -> dict[str, Any]:
        """Returns the `count`th event of a kind, waiting for it to come."""
        try:
            async with asyncio.timeout(timeout), self._arrived:
                await self._arrived.wait_for(lambda: len(self.wire.of_type(kind)) >= count)
        except TimeoutError:
            raise AssertionError(f"no {kind} #{count}; came: {self.kinds}") from None
        return self.wire.of_type(kind)[count - 1]

    @property
    def kinds(self) -> list[str]:
        return [event["type"] for event in self.wire.events]

    def time_of(self, event: dict[str, Any]) -> float:
        return self.times[self.wire.events.index(event)]

    def send(self, **event: Any) -> None:
        self.channel.send(json.dumps(event))

    def ask(self, text: str) -> None:
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
        self.send(type="conversation.item.create", item=item)
        self.send(type="response.create")

    def heard(self, since: float = 0.0) -> Any:
        """Returns what was received from a moment on, int16 at 16 kHz."""
        pieces = [np.zeros(0, np.int16), *(samples for at, samples in self.sound if at >= since)]
        return soxr.resample(np.concatenate(pieces), OPUS_RATE, 16_000).astype(np.int16)

    def loud(self, since: float, level: int = 500) -> list[float]:
        """Returns when pieces came from a moment on that are not silence."""
        return [at for at, samples in self.sound if at >= since and np.abs(samples.astype(int)).max() > level]

    async def close(self) -> None:
        await self.peer.close()
        for task in list(self._tasks):
            task.cancel()


def url(port: int, path: str = "/v1/realtime/calls") -> str:
    return f"http://127.0.0.1:{port}{path}"


@contextlib.asynccontextmanager
async def calling(port: int, model: str = "mini", microphone: bool = True) -> AsyncIterator[Caller]:
    """Calls with the offer alone; the call is hung up by closing the connection."""
    caller = Caller(microphone)
    try:
        headers = {"Content-Type": "application/sdp"}
        async with (
            aiohttp.ClientSession() as http,
            http.post(url(port), params={"model": model}, data=await caller.offer(), headers=headers) as response,
        ):
            answer = await response.text()
            assert response.status == 201, answer
        await caller.connect(answer)
        yield caller
    finally:
        await caller.close()
