"""Asks a question of a server, in real time, as a microphone would, and notes when everything comes."""

import asyncio
import time
from typing import Final

import numpy as np

from pipeline.types import WIRE_RATE, Pcm16
from server.bench.questions import Question
from server.bench.turn import Timed, Turn, measured
from server.cli.failure import RunFailedError
from server.cli.loudness import first_audible
from server.cli.realtime_client import FRAME, Event, RealtimeClient, error_text

LEAD_S: Final = 0.4
"""How long the room is heard before a question."""

INTERRUPT_AFTER_S: Final = 0.5
"""How long after the first sound of a reply it is interrupted, at least."""

GIVE_UP_S: Final = 60.0
"""How long a turn may take before it counts as unanswered."""

SETTLE_S: Final = 0.3
"""How long after a turn events of it may still come, such as the transcript."""

_ROOM_STEPS: Final = 30
"""About -60 dB of noise: digital silence is not what a microphone hears."""


class Microphone:
    """Sends a room's noise frame by frame, and what is spoken into it."""

    def __init__(self, client: RealtimeClient, seed: int = 0) -> None:
        self._client = client
        self._room = np.random.default_rng(seed)
        self._said = np.zeros(0, np.int16)
        self._waiting: list[tuple[int, asyncio.Future[float]]] = []

    def say(self, samples: Pcm16, *moments: int) -> list["asyncio.Future[float]"]:
        """Speaks behind what is still being spoken.

        Returns:
            For each of `moments`, samples within it, when it was spoken, in seconds of `time.monotonic`.
        """
        loop = asyncio.get_running_loop()
        futures = [loop.create_future() for _ in moments]
        self._waiting += [(len(self._said) + at, future) for at, future in zip(moments, futures, strict=True)]
        self._said = np.concatenate([self._said, samples])
        return futures

    async def run(self) -> None:
        """Sends until it is cancelled."""
        began, frames = time.monotonic(), 0
        while True:
            frames += 1
            due = began + frames * FRAME / WIRE_RATE
            await asyncio.sleep(due - time.monotonic())
            voice, self._said = self._said[:FRAME], self._said[FRAME:]
            frame = self._room.integers(-_ROOM_STEPS, _ROOM_STEPS + 1, FRAME)
            frame[: len(voice)] += voice
            sent = time.monotonic()
            await self._client.append(np.clip(frame, -32768, 32767).astype(np.int16))
            self._tell(sent)

    def _tell(self, sent: float) -> None:
        """A frame is sent as soon as all of it was spoken, so a sample within it was spoken a little before."""
        later: list[tuple[int, asyncio.Future[float]]] = []
        for at, future in self._waiting:
            if at <= FRAME and not future.done():
                future.set_result(sent - (FRAME - at) / WIRE_RATE)
            elif at > FRAME:
                later.append((at - FRAME, future))
        self._waiting = later


class Asker:
    """One turn in one session."""

    def __init__(
        self,
        client: RealtimeClient,
        question: Question,
        interruption: Question | None = None,
        interrupt_after_s: float = INTERRUPT_AFTER_S,
    ) -> None:
        """With an `interruption`, it is said so long after the first sound of the reply."""
        self._client = client
        self._question = question
        self._interruption = interruption
        self._interrupt_after_s = interrupt_after_s
        self._microphone = Microphone(client)
        self._events: list[Timed] = []
        self._interrupted: asyncio.Future[float] | None = None

    async def ask(self) -> Turn:
        """Asks and waits for the end of the answer.

        Raises:
            RunFailedError: the server refuses something, or goes away.
        """
        lead = np.zeros(round(LEAD_S * WIRE_RATE), np.int16)
        question = self._question
        speaking = asyncio.create_task(self._microphone.run())
        try:
            (end,) = self._microphone.say(np.concatenate([lead, question.samples]), len(lead) + question.end)
            try:
                async with asyncio.timeout(GIVE_UP_S + len(question.samples) / WIRE_RATE):
                    await self._until_answered()
                async with asyncio.timeout(SETTLE_S):
                    await self._until_heard()
            except TimeoutError:
                pass  # what has come is measured; what has not is missing there
            if not end.done():
                raise RunFailedError("The question could not be sent: the machine does not keep up with real time.")
            voice_at = self._interrupted.result() if self._interrupted and self._interrupted.done() else None
            return measured(
                question.name,
                self._events,
                end.result(),
                voice_at,
                to_be_interrupted=self._interruption is not None,
            )
        finally:
            speaking.cancel()
            await asyncio.gather(speaking, return_exceptions=True)  # what breaks it breaks the receiver too

    async def _until_answered(self) -> None:
        first = ""
        while True:
            event = await self._next()
            kind = event.get("type")
            if kind == "response.created" and not first:
                first = str(event["response"]["id"])
            elif kind == "response.output_audio.delta" and event.get("response_id") == first:
                self._maybe_interrupt()
            elif kind == "response.done" and event["response"]["id"] == first:
                return

    async def _until_heard(self) -> None:
        wanted = "conversation.item.input_audio_transcription.completed"
        while not any(each.event.get("type") == wanted for each in self._events):
            await self._next()

    async def _next(self) -> Event:
        event = await self._client.receive()
        self._events.append(Timed(time.monotonic(), event))
        if event.get("type") == "error":
            raise RunFailedError(f"The server reports an error: {error_text(event)}")
        return event

    def _maybe_interrupt(self) -> None:
        if self._interruption is None or self._interrupted is not None:
            return
        wait = np.zeros(round(self._interrupt_after_s * WIRE_RATE), np.int16)
        said = self._interruption
        onset = first_audible(said.samples, WIRE_RATE) or said.start
        (self._interrupted,) = self._microphone.say(np.concatenate([wait, said.samples]), len(wait) + onset)
