"""`parley talk --in`: speaks a recording to the server, in real time, and prints what happens and when."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

from pipeline.audio import pcm16_from_bytes, slices
from pipeline.errors import ParleyError
from pipeline.types import WIRE_RATE, Pcm16
from server.cli.address import Address
from server.cli.failure import RunFailedError
from server.cli.loudness import end_of_speech, level_db
from server.cli.realtime_client import FRAME, Event, RealtimeClient, connect, error_text
from server.cli.session_setup import prepare
from server.cli.turn_log import Exchange, Reply, TurnLog
from server.cli.view import View
from server.cli.wav import check_writable, read_wav, resampled, write_wav

NO_SPEECH_S = 5.0
"""How long after the end of the recording the server may take to hear the first of it."""

SETTLE_S = 1.5
"""How long after the end of the recording speech may still begin: detectors are late by a third of a second."""

STALL_S = 60.0
"""How long the server may say nothing while something is unanswered."""

BETWEEN_ANSWERS_S = 0.5


@dataclass(frozen=True, slots=True)
class _FileSent:
    """The recording has been sent; silence follows."""


@dataclass(frozen=True, slots=True)
class _Broken:
    error: BaseException


_News: TypeAlias = Event | _FileSent | _Broken


def talk_file(
    server: Address, question: Path, answer: Path | None, view: View, *, fast: bool, changes: Mapping[str, object]
) -> int:
    """Speaks `question`, waits until all of it is answered, and writes the answers' sound to `answer`.

    Raises:
        ParleyError: a file cannot be read or written.
        RunFailedError: nothing was understood, a response failed, or the server cannot be reached.
    """
    samples, rate = read_wav(question)
    if answer is not None:
        check_writable(answer)
        if answer.exists() and answer.samefile(question):
            raise ParleyError("--in and --out are the same file. Name another one to write to.")
    samples = resampled(samples, rate, WIRE_RATE)
    with view:
        view.note(f"{question}: {len(samples) / WIRE_RATE:.1f} s, {rate} Hz")
        log = asyncio.run(_speak(server, samples, view, fast, changes))
        _raise_for(log, question)
        if answer is not None:
            sound = _joined([exchange.reply for exchange in log.exchanges])
            if not len(sound):
                raise RunFailedError(f"The answer has no sound, so {answer} was not written.")
            write_wav(answer, sound, WIRE_RATE)
            view.note(f"{answer}: {len(sound) / WIRE_RATE:.1f} s")
    return 0


async def _speak(server: Address, samples: Pcm16, view: View, fast: bool, changes: Mapping[str, object]) -> TurnLog:
    view.status("connecting")
    async with connect(server) as client:
        # A file does not listen: it must not interrupt the answer to its first half with its second.
        await prepare(client, changes, interrupt_response=False)
        view.note(f"{server}: {client.session.get('model', 'connected')}")
        return await FileTalk(client, samples, view, fast=fast).run()


class FileTalk:
    """One recording, spoken to one session. `samples` are int16 at 24 kHz."""

    def __init__(self, client: RealtimeClient, samples: Pcm16, view: View, *, fast: bool) -> None:
        self._client = client
        self._samples = samples
        self._view = view
        self._fast = fast
        self._news: asyncio.Queue[_News] = asyncio.Queue()
        self._log = TurnLog()
        self._sent_at: list[float] = []
        """When each frame was sent."""
        self._file_sent_at: float | None = None
        self._last_event_at = 0.0
        self._printed = 0

    async def run(self) -> TurnLog:
        """Returns when everything that was said is answered.

        Raises:
            RunFailedError: the server hears nothing, reports an error, falls silent or goes away.
        """
        tasks = [asyncio.create_task(self._send()), asyncio.create_task(self._receive())]
        try:
            while not self._is_over():
                news = await self._next()
                if isinstance(news, _Broken):
                    raise news.error
                if isinstance(news, _FileSent):
                    self._file_sent_at = self._last_event_at = time.monotonic()
                    self._view.status("waiting for the answer")
                elif news is not None:
                    self._take(news)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return self._log

    # --- the two that run beside ---

    async def _send(self) -> None:
        try:
            began = time.monotonic()
            for index, frame in enumerate(slices(self._samples, FRAME)):
                await self._send_frame(frame, began + (index + 1) * FRAME / WIRE_RATE)
                self._view.status(f"speaking: {index * FRAME / WIRE_RATE:.0f} of {self._seconds:.0f} s")
            self._news.put_nowait(_FileSent())
            # A turn ends by silence, and a stream of sound does not end with the recording.
            index = len(self._sent_at)
            while True:
                index += 1
                due = began + index * FRAME / WIRE_RATE if not self._fast else time.monotonic() + FRAME / WIRE_RATE
                await asyncio.sleep(due - time.monotonic())
                await self._client.append(np.zeros(FRAME, np.int16))
        except Exception as error:  # the one who waits for news has to know
            self._news.put_nowait(_Broken(error))

    async def _send_frame(self, frame: Pcm16, due: float) -> None:
        await asyncio.sleep(0.0 if self._fast else due - time.monotonic())
        self._sent_at.append(time.monotonic())
        await self._client.append(frame)

    async def _receive(self) -> None:
        try:
            while True:
                self._news.put_nowait(await self._client.receive())
        except Exception as error:  # as in _send
            self._news.put_nowait(_Broken(error))

    # --- what has come, and what is waited for ---

    async def _next(self) -> _News | None:
        """Returns what comes next, or None when it is time to look whether the waiting is over."""
        due = self._due()
        try:
            async with asyncio.timeout(None if due is None else max(due - time.monotonic(), 0.0)):
                return await self._news.get()
        except TimeoutError:
            return None

    def _due(self) -> float | None:
        """Returns the moment at which waiting any longer makes no sense."""
        if self._file_sent_at is None:
            return None
        if not self._log.heard_anything:
            return self._file_sent_at + NO_SPEECH_S
        if self._log.settled:
            return self._file_sent_at + SETTLE_S
        return self._last_event_at + STALL_S

    def _is_over(self) -> bool:
        due = self._due()
        if due is None or time.monotonic() < due or not self._news.empty():
            return False
        if not self._log.heard_anything:
            raise RunFailedError(
                f"The server heard no speech in the recording ({self._seconds:.1f} s, "
                f"{level_db(self._samples):.0f} dB of full scale). Is it silent, or very quiet?"
            )
        if not self._log.settled:
            raise RunFailedError(f"The server has said nothing for {STALL_S:g} s, and something is still unanswered.")
        return True

    def _take(self, event: Event) -> None:
        now = time.monotonic()
        self._last_event_at = now
        self._log.take(event, now)
        match event.get("type"):
            case "error":
                raise RunFailedError(f"The server reports an error: {error_text(event)}")
            case "conversation.item.input_audio_transcription.completed":
                self._view.heard(str(event.get("transcript") or "").strip() or "(nothing understood)")
            case "conversation.item.input_audio_transcription.failed":
                self._view.note(f"transcription failed: {error_text(event)}", "red")
            case "response.output_audio_transcript.delta" | "response.output_text.delta":
                if self._log.find(str(event.get("response_id"))) is not None:
                    self._view.reply(str(event.get("delta", "")))
            case "response.done":
                self._end_reply(str(event["response"]["id"]))
        self._print_timings()

    def _end_reply(self, response_id: str) -> None:
        exchange = self._log.find(response_id)
        if exchange is None:
            return
        reply = exchange.reply
        note = "" if reply.text or reply.audio else "(no answer)"
        if reply.status != "completed":
            note = f"[{reply.status}: {reply.problem}]"
        self._view.end_reply(note)

    def _print_timings(self) -> None:
        """Prints the timings of the exchanges that have ended, in order."""
        while self._printed < len(self._log.exchanges) and self._log.exchanges[self._printed].over:
            for line in self._timings(self._log.exchanges[self._printed]):
                self._view.note(line)
            self._printed += 1

    def _timings(self, exchange: Exchange) -> list[str]:
        reply = exchange.reply
        if not exchange.utterances:
            return []
        last = exchange.utterances[-1]
        start, end = (ms * WIRE_RATE // 1000 for ms in (last.start_ms, last.end_ms))
        speech_end = end_of_speech(self._samples, WIRE_RATE, start, end)
        moment = self._moment(speech_end)
        rows = [
            ("speech_stopped", last.stopped_at),
            ("transcript", last.transcript_at),
            ("first text", reply.first_text_at),
            ("first audio", reply.first_audio_at),
            ("response.done", reply.done_at),
        ]
        what = "your speech was sent" if self._fast else "your speech"
        lines = ["", f"        ms after the end of {what}, {speech_end / WIRE_RATE:.2f} s into the recording"]
        lines += [f"        {name:<15}{1000 * (at - moment):6.0f}" for name, at in rows if at is not None]
        return [*lines, f"        answer         {len(reply.audio) / 2 / WIRE_RATE:6.1f} s of sound", ""]

    def _moment(self, sample: int) -> float:
        """Returns when a sample was spoken: a frame is sent as soon as it has been."""
        index = min(max(sample - 1, 0) // FRAME, len(self._sent_at) - 1)
        early = 0.0 if self._fast else ((index + 1) * FRAME - sample) / WIRE_RATE
        return self._sent_at[index] - early

    @property
    def _seconds(self) -> float:
        return len(self._samples) / WIRE_RATE


def _raise_for(log: TurnLog, question: Path) -> None:
    """Says what went wrong.

    Raises:
        RunFailedError: a response failed, or nothing was understood of the whole recording.
    """
    for exchange in log.exchanges:
        if exchange.reply.status == "failed":
            raise RunFailedError("A response failed; the reason stands above. The server's log may tell more.")
    said = [utterance for exchange in log.exchanges for utterance in exchange.utterances]
    if not any(utterance.transcript for utterance in said):
        raise RunFailedError(f"Nothing was understood of {question}. Is it clear, in a language that it knows?")
    if not any(exchange.reply.text or exchange.reply.audio for exchange in log.exchanges):
        raise RunFailedError("The server understood, but answered nothing.")


def _joined(replies: list[Reply]) -> Pcm16:
    """Returns the sound of the replies, with a pause between them."""
    pause = np.zeros(int(BETWEEN_ANSWERS_S * WIRE_RATE), np.int16)
    parts: list[Pcm16] = []
    for reply in replies:
        if reply.audio:
            parts += [pause, pcm16_from_bytes(reply.audio)] if parts else [pcm16_from_bytes(reply.audio)]
    return np.concatenate(parts) if parts else np.zeros(0, np.int16)
