"""The mouth of one session: its turns in the making, and how far each may run ahead."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from pipeline.line import Line
from pipeline.stages import LanguageModelStream
from pipeline.turn import run_turn
from pipeline.types import WIRE_RATE, RunId, TurnAudio, TurnFailed, TurnRequest
from server.inbox import Inbox
from server.mcp_links import Spawn
from server.realtime import commands as do
from server.realtime.inbox import PlaceWanted
from server.timings import Timings

log = logging.getLogger(__name__)

HELD_SAMPLES = 10 * WIRE_RATE
"""Sound that a held reply may run ahead of its release: ten seconds."""


class Run:
    """A turn in the making: its task, and how far it may run ahead. Held, it asks to be given up when its place with an
    engine is needed (`pipeline.slots.Holder`).
    """

    def __init__(self, held: bool, give_way: Callable[[], None]) -> None:
        self.task: asyncio.Task[None] | None = None
        self._give_way = give_way
        self._is_asked = False
        self._released = asyncio.Event()
        self._made = 0
        if not held:
            self._released.set()

    @property
    def is_held(self) -> bool:
        return not self._released.is_set()

    def give_way(self) -> None:
        if not self._is_asked:
            self._is_asked = True
            self._give_way()

    def release(self) -> None:
        self._released.set()

    async def may_go_on(self, samples: int, room: Callable[[], Awaitable[None]]) -> None:
        """Waits while enough has been made: ten seconds when held, what the client takes when not."""
        self._made += samples
        if self._made >= HELD_SAMPLES:
            await self._released.wait()
        if self._released.is_set():
            await room()


class Runs:
    """The turns of one session that are being made."""

    def __init__(
        self,
        line: Line,
        model: LanguageModelStream,
        inbox: Inbox,
        spawn: Spawn,
        *,
        room: Callable[[], Awaitable[None]],
        timings: Timings | None,
    ) -> None:
        """What is made goes into `inbox`, by tasks that `spawn` starts; `room` waits until the client may have more."""
        self._line = line
        self._model = model
        self._inbox = inbox
        self._spawn = spawn
        self._room = room
        self._timings = timings
        self._runs: dict[RunId, Run] = {}
        self.dispatch: Mapping[type, Callable[[Any], None]] = {
            do.StartRun: self._start,
            do.ReleaseRun: self._release,
            do.CancelRun: self._cancel,
        }
        """Who carries out which command."""

    def _start(self, command: do.StartRun) -> None:
        name = command.request.run
        run = self._runs[name] = Run(command.held, lambda: self._inbox.put_now(PlaceWanted(name)))
        run.task = self._spawn(self._make(command.request, run))
        run.task.add_done_callback(lambda _: self._runs.pop(name, None))

    def _cancel(self, command: do.CancelRun) -> None:
        run = self._runs.get(command.run)
        if run is not None and run.task is not None:
            run.task.cancel()

    def _release(self, command: do.ReleaseRun) -> None:
        if (run := self._runs.get(command.run)) is not None:
            run.release()
            self._line.llm_slots.look_again()
            self._line.tts_slots.look_again()

    async def _make(self, request: TurnRequest, run: Run) -> None:
        watch = partial(self._mark, self._timings, request.run) if self._timings is not None else None
        async with contextlib.aclosing(run_turn(self._line, self._model, request, watch, run)) as events:
            async for event in events:
                if isinstance(event, TurnFailed):
                    log.error("turn %d: %s: %s", request.run.turn, event.code, event.problem)
                await self._inbox.put(event)
                await run.may_go_on(len(event.samples) if isinstance(event, TurnAudio) else 0, self._room)

    @staticmethod
    def _mark(timings: Timings, run: RunId, stage: str) -> None:
        timings.mark(run, stage, time.monotonic())
