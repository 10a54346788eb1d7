"""How the server is doing, for whoever asks: `GET /parley/load?seconds=5` watches it for so long, then answers in JSON.

Nothing is watched while nobody asks: a server that has nothing to do sleeps.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import numpy as np
from aiohttp import web

from server.replies import refusal
from server.voice import VoiceHub

PATH: Final = "/parley/load"

MAX_SECONDS: Final = 600.0
"""Longest that a request may watch, in seconds."""

_TICK_S: Final = 0.005
"""How often the loop is asked to be on time."""


class Spread(msgspec.Struct, frozen=True):
    """What lies how far apart, in milliseconds."""

    p50: float
    p99: float
    max: float
    count: int


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen in so many `seconds`."""

    seconds: float
    event_loop: str
    """Whose it is: `uvloop`, or `asyncio` where there is no other."""
    sessions: int
    """How many are open at the end."""
    tasks: int
    threads: int
    cpu: float
    """Share of one core that the process used, its children not counted."""
    loop_lag_ms: Spread | None
    """By how much timers of the event loop were late: what anything that comes has to wait before it is looked at."""
    verdict_delay_ms: Spread | None
    """From the arrival of the sound that completes a frame to the voice detector's verdict on it."""


def spread(milliseconds: Sequence[float]) -> Spread | None:
    """Returns the percentiles of what was measured; None of nothing."""
    if not len(milliseconds):
        return None
    p50, p99, most = map(float, np.percentile(milliseconds, (50, 99, 100)))
    return Spread(round(p50, 2), round(p99, 2), round(most, 2), len(milliseconds))


class LoopWatch:
    """Asks the running loop for a timer every 5 ms and notes, in ms, how late each was.

    A stall is counted for every timer that it kept waiting, as for whatever else came meanwhile.
    """

    def __init__(self) -> None:
        self.lags: list[float] = []
        self._loop = asyncio.get_running_loop()
        self._due = time.monotonic() + _TICK_S
        self._timer = self._loop.call_later(_TICK_S, self._tick)

    def _tick(self) -> None:
        now = time.monotonic()
        while self._due <= now:
            self.lags.append(1000 * (now - self._due))
            self._due += _TICK_S
        self._timer = self._loop.call_later(self._due - now, self._tick)

    def stop(self) -> None:
        self._timer.cancel()


class Metrics:
    """The door. It watches only while a request waits for its answer."""

    def __init__(self, hubs: Sequence[VoiceHub], sessions: Callable[[], int]) -> None:
        self._hubs = hubs
        self._sessions = sessions

    async def answer(self, request: web.Request) -> web.Response:
        """Answers `GET /parley/load`."""
        try:
            seconds = float(request.query.get("seconds", "5"))
        except ValueError:
            seconds = 0.0
        if not 0 < seconds <= MAX_SECONDS:
            problem = f"`seconds` is how long to watch: a number above 0, up to {MAX_SECONDS:g}."
            return refusal(400, "invalid_value", problem, "seconds")
        load = await self.watch(seconds)
        return web.Response(body=msgspec.json.encode(load), content_type="application/json")

    async def watch(self, seconds: float) -> Load:
        """Watches for so long."""
        loop = asyncio.get_running_loop()
        delays: list[float] = []
        for hub in self._hubs:
            hub.watchers.append(delays)
        watch = LoopWatch()
        began, used = time.monotonic(), time.process_time()
        try:
            await asyncio.sleep(seconds)
        finally:
            watch.stop()
            for hub in self._hubs:
                # By identity: two that have seen the same are equal.
                hub.watchers = [each for each in hub.watchers if each is not delays]
        passed, used = time.monotonic() - began, time.process_time() - used
        return Load(
            seconds=round(passed, 3),
            event_loop=type(loop).__module__.partition(".")[0],
            sessions=self._sessions(),
            tasks=len(asyncio.all_tasks()),
            threads=threading.active_count(),
            cpu=round(used / passed, 4),
            loop_lag_ms=spread(watch.lags),
            verdict_delay_ms=spread([1000 * delay for delay in delays]),
        )
