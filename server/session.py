"""One connection: inbox → machine → dispatch. What the machine decides, this carries out.

The transport gives text frames in and takes text frames out; everything between is here, so that a WebSocket and
a data channel are thin shells.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from typing import Any, cast

import msgspec
import numpy as np

from pipeline.audio import StreamResampler, pcm16_from_bytes
from pipeline.errors import StageError, StageTimeoutError
from pipeline.line import Line
from pipeline.stages import LanguageModelStream, Pause, PrefillingStream
from pipeline.turn import failure_code
from pipeline.types import (
    LISTENING_RATE,
    WIRE_RATE,
    TokenLogProbability,
    Transcript,
)
from pipeline.workers import CancelToken, SerialWorker, wait_out
from server.faults import internal_error, too_large
from server.filtering import SoundFilter
from server.hearing import Hearing, Question
from server.ids import new_id
from server.inbox import Inbox
from server.keepsakes import Keepsakes
from server.mcp_links import McpLinks
from server.outbound import Outbound, SlowClient
from server.playing import Player
from server.realtime import commands as do
from server.realtime.call import Call
from server.realtime.client_events import ClientEvent
from server.realtime.inbox import (
    Disconnected,
    Event,
    Hypothesis,
    IdleTimer,
    PartialTranscript,
    PauseAssessed,
    SoundArrived,
    Transcribed,
    TranscriptionFault,
    VoiceFailed,
    VoiceVerdict,
)
from server.realtime.machine import Machine
from server.realtime.schema import SessionKind
from server.realtime.server_events import ServerEvent
from server.realtime.session_config import Profile
from server.runs import Runs
from server.store import AudioStore
from server.timings import Timings
from server.traces import Traces
from server.voice import VoiceHub
from server.wire import Dialect

log = logging.getLogger(__name__)

FRAMES_AT_ONCE = 4
"""Frames of one client that are worked on, when so many have come, before others get the loop: with hundreds of clients
that are all behind, each frame more is milliseconds for whoever waits."""

PAUSE_SAMPLES = 8 * WIRE_RATE
"""Most sound that the end-of-turn detector is given: eight seconds, what smart-turn looks at."""

FALLBACK_SILENCE_MS = 500
"""The silence that ends a turn when the end-of-turn detector fails: OpenAI's default for silence alone."""

SESSION_S = 60 * 60
"""What `expires_at` says, counted from the connection: OpenAI's hour. Parley ends no session for its age."""


class Session:
    """One client's session, from its connection to its end."""

    def __init__(
        self,
        line: Line,
        hub: VoiceHub,
        profile: Profile,
        dialect: Dialect,
        asked_model: str,
        *,
        kind: SessionKind = "realtime",
        changes: Mapping[str, Any] | None = None,
        traces: Traces | None = None,
        timings: bool = False,
        call: Call | None = None,
    ) -> None:
        """For `kind` and `changes`, what the session begins with beyond the pipeline's defaults, see `Machine`. With
        `timings`, the client is told where the time of each response went. A `call` has a `player`.
        """
        self._line = line
        self._dialect = dialect
        self.outbound = Outbound()
        self._inbox = Inbox()
        expires_at = int(time.time()) + SESSION_S
        self._machine = Machine(profile, new_id, expires_at, asked_model, kind=kind, changes=changes, call=call)
        self._max_event = call.max_event if call is not None else 0
        self.player = Player(self._inbox.put_now) if call is not None else None
        self._trace = traces.open(self._machine.session.id) if traces is not None else None
        self._filter = SoundFilter()
        self._timings = Timings() if timings else None
        self._store = AudioStore()
        self._keepsakes = Keepsakes()
        self._voice = hub.open(self._heard)
        self._hearing = Hearing(
            line.transcription, line.timeouts.transcription, self._show_words, line.transcription_slots
        )
        self._model: LanguageModelStream = line.llm.open()
        self._endpointing = SerialWorker("endpointing")
        self._idle_timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._runs = Runs(line, self._model, self._inbox, self._spawn, room=self._room, timings=self._timings)
        self._mcp = McpLinks(self._inbox.put_now, self._spawn)
        self._ended = False
        self._busy = True
        """Whether an event is being worked on, or none may be: before the beginning and after the end."""
        self._dispatch = self._handlers()

    async def run(self, frames: AsyncIterator[str | bytes | SoundArrived]) -> None:
        """Serves the client until `frames` ends; when this returns, nothing of the session is left. What is heard in a
        call comes among them.

        Raises:
            SlowClient: the client sends but does not read.
        """
        reading = asyncio.create_task(self._read(frames), name="session reader")
        try:
            begin = self._machine.start()
            self._note(None, begin)
            self._carry_out(begin)
            self._busy = False
            while not self._ended:
                event = await self._inbox.get()
                self._busy = True
                self._carry_out(await self._filter.apply(self._decide(event)))
                self._busy = False
                # The queue hands over what it has without a pause; others want the loop as well.
                await asyncio.sleep(0)
        finally:
            self._busy = True
            await self._end(reading)

    async def _read(self, frames: AsyncIterator[str | bytes | SoundArrived]) -> None:
        read = 0
        try:
            async for frame in frames:
                event = frame if isinstance(frame, SoundArrived) else self._dialect.decode(frame)
                if not self._take_now(event):
                    await self._inbox.put(event)
                await self._voice.caught_up()
                await self._hearing.caught_up()
                await self.outbound.calm()
                read += 1
                if read % FRAMES_AT_ONCE == 0:
                    await asyncio.sleep(0)
        finally:
            self._inbox.put_now(Disconnected())

    def _take_now(self, event: Event) -> bool:
        """Has the machine take an event at once. Returns whether it has: not while it is at another, nor before one
        that waits, nor where sound is filtered, which takes its time.

        Most events are a frame of sound or the verdict on one. A turn in the inbox costs more than they do.
        """
        if self._busy or self._filter.is_on or not self._inbox.is_empty:
            return False
        self._busy = True
        try:
            self._carry_out(self._decide(event))
        except SlowClient as error:
            self._inbox.put_now(error)
        finally:
            self._busy = False
        return True

    def _decide(self, event: Event) -> list[do.Command]:
        """Returns what is to be done about an event."""
        commands = self._handle(event)
        self._note(event, commands)
        return commands

    def _handle(self, event: Event) -> list[do.Command]:
        self._ended = self._ended or isinstance(event, Disconnected)
        try:
            return self._machine.handle(event, time.monotonic_ns() // 1_000_000)
        except Exception:
            log.exception("the session machine failed on %s; the session goes on", type(event).__name__)
            return [do.Send(internal_error(event))]

    def _handlers(self) -> dict[type, Callable[[Any], None]]:
        """Returns who carries out which command."""
        return {
            do.Send: lambda send: self._send(send.event),
            do.StoreAudio: self._store_audio,
            do.ReduceNoise: lambda how: self._filter.reduce_noise(how.field),
            do.SetIdleTimer: self._set_idle_timer,
            do.ResetVoice: lambda reset: self._voice.reset(reset.epoch),
            do.ForgetAudio: lambda forget: self._store.forget(forget.before),
            do.Transcribe: lambda feed: self._hearing.feed(
                feed.turn, self._store.read(feed.start, feed.end), pauses=feed.pauses
            ),
            do.Hypothesise: self._hypothesise,
            do.AssessPause: self._assess,
            do.FinishTranscript: lambda ask: self._report(ask.turn, self._hearing.finish(ask.turn)),
            do.TranscribeRecording: lambda ask: self._report(
                ask.turn, self._hearing.transcribe(pcm16_from_bytes(ask.audio))
            ),
            do.KeepSpoken: lambda keep: self._keepsakes.keep(keep.item_id, 0, self._store.read(keep.start, keep.end)),
            do.KeepRecording: lambda keep: self._keepsakes.keep(
                keep.item_id, keep.content_index, pcm16_from_bytes(keep.audio)
            ),
            do.ForgetSound: lambda forget: self._keepsakes.forget(forget.item_id),
            do.SendRetrieved: self._send_retrieved,
            do.DiscardUtterance: lambda drop: self._hearing.discard(drop.turn),
            do.SetTranscription: lambda how: self._hearing.configure(how.language, how.prompt, how.shows),
            do.Prefill: self._prefill,
            **self._runs.dispatch,
            **(self.player.dispatch if self.player is not None else {}),
            **self._mcp.dispatch,
        }

    def _carry_out(self, commands: list[do.Command]) -> None:
        for command in commands:
            try:
                self._dispatch[type(command)](command)
            except SlowClient:
                raise
            except Exception:
                log.exception("%s could not be carried out; the session goes on", type(command).__name__)
                self._send(internal_error(None))

    def _send(self, event: ServerEvent) -> None:
        if self._timings is not None:
            event = self._timings.told(event)
        if (frame := self._dialect.encode(event)) is None:
            return
        if self._trace is not None:
            self._trace.server(event)
        if self._max_event and len(frame) > self._max_event // 4 and (size := len(frame.encode())) > self._max_event:
            frame = self._dialect.encode(too_large(event, size, self._max_event)) or ""
        self.outbound.put(frame)

    def _send_retrieved(self, command: do.SendRetrieved) -> None:
        item = self._keepsakes.with_sound(command.event.item, command.format)
        self._send(msgspec.structs.replace(command.event, item=item))

    async def _end(self, reading: asyncio.Task[None]) -> None:
        if not self._ended:
            with contextlib.suppress(SlowClient):
                self._carry_out(self._handle(Disconnected()))
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        self._voice.close()
        self._hearing.close()
        self._endpointing.abandon()
        tasks = (reading, *self._tasks)
        for task in tasks:
            task.cancel()
        try:
            await wait_out(tasks)
        finally:
            self._model.close()
            if self._trace is not None:
                self._trace.close()
            await self._mcp.close()

    def _note(self, event: Event | None, commands: list[do.Command]) -> None:
        """Has the timings and the trace follow the session, and writes down what the client said."""
        if self._timings is not None:
            self._timings.observe(event, commands, time.monotonic())
        if self._trace is not None:
            self._trace.follow(self._machine.session.tracing)
            if isinstance(event, ClientEvent):
                self._trace.client(event)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # --- ears ---

    def _store_audio(self, command: do.StoreAudio) -> None:
        position = self._store.end
        self._store.append(command.audio)
        if command.listen_epoch is not None:
            self._voice.hear(command.audio, position)

    def _heard(self, verdict: VoiceVerdict | VoiceFailed) -> None:
        if not self._take_now(verdict):
            self._inbox.put_now(verdict)

    def _set_idle_timer(self, wait: do.SetIdleTimer) -> None:
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None
        if wait.after_ms is not None:
            due = IdleTimer(wait.number)
            self._idle_timer = asyncio.get_running_loop().call_later(wait.after_ms / 1000, self._inbox.put_now, due)

    def _show_words(self, turn: int, text: str, tokens: tuple[TokenLogProbability, ...]) -> None:
        self._inbox.put_now(PartialTranscript(turn, text, tokens))

    def _hypothesise(self, ask: do.Hypothesise) -> None:
        if ask.is_speculative and self._line.transcription_slots.is_full:
            return
        # Asked here, not in the task: its place among the feeds is now.
        question = self._hearing.hypothesis(ask.run.turn)

        async def report() -> None:
            with contextlib.suppress(StageError):  # what is wrong shows when the utterance is finished
                self._inbox.put_now(Hypothesis(ask.run, await self._hearing.answer(question)))

        self._spawn(report())

    def _report(self, turn: int, question: Question[Transcript]) -> None:
        async def report() -> None:
            try:
                self._inbox.put_now(Transcribed(turn, await self._hearing.answer(question)))
            except StageError as error:
                log.error("transcription: %s", error.problem)
                self._inbox.put_now(TranscriptionFault(turn, failure_code(error), error.problem, error.kind))

        self._spawn(report())

    def _assess(self, ask: do.AssessPause) -> None:
        sound = self._store.read(max(ask.start, ask.end - PAUSE_SAMPLES), ask.end)
        cancel = CancelToken()

        def assess() -> int:
            resampler = StreamResampler(WIRE_RATE, LISTENING_RATE)
            audio = np.concatenate((resampler.process(sound), resampler.flush()))
            pause = Pause(audio, ask.words, ask.most_ms)
            return self._line.judge.assess(pause, cancel)

        async def report() -> None:
            worker = self._endpointing
            try:
                silence_ms = await worker.result(worker.post(assess), self._line.timeouts.endpointing)
                self._inbox.put_now(PauseAssessed(ask.run, silence_ms))
            except StageError as error:
                log.error("endpointing: %s; a silence of %d ms ends the turn", error.problem, FALLBACK_SILENCE_MS)
                self._inbox.put_now(PauseAssessed(ask.run, FALLBACK_SILENCE_MS))
                if isinstance(error, StageTimeoutError) and worker is self._endpointing:
                    worker.abandon()
                    self._endpointing = SerialWorker("endpointing")
            finally:
                cancel.cancel()

        self._spawn(report())

    # --- mouth ---

    def _prefill(self, command: do.Prefill) -> None:
        cast(PrefillingStream, self._model).prefill(command.request)

    async def _room(self) -> None:
        """Waits until more sound may come."""
        await self.outbound.room()
        if self.player is not None:
            await self.player.room()
