"""What every driver in Python needs. It runs in the environment of the client, and has the standard library alone."""

import asyncio
import json
import os
import time
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NoReturn

URL = os.environ.get("PARLEY_URL", "")
"""The base URL for HTTP."""
WEBSOCKET_URL = os.environ.get("PARLEY_WEBSOCKET_URL", "")
MODEL = os.environ.get("PARLEY_MODEL", "")
SECONDS = 40.0
"""How long anything may take that a client waits for."""

RATE = 24_000
FRAME = RATE // 50 * 2
"""Bytes of 20 ms."""


def report(step: str, **seen: Any) -> None:
    """Tells the test what was seen."""
    print(json.dumps({"step": step, **seen}), flush=True)


def sound(name: str) -> bytes:
    """Returns a recording: 16-bit mono at 24 kHz."""
    return (Path(os.environ["PARLEY_SOUNDS"]) / f"{name}.pcm").read_bytes()


class Microphone:
    """Hands over the sound of a quiet room, and whatever is said, in frames of 20 ms and real time."""

    def __init__(self, send: Callable[[bytes], Awaitable[Any]]) -> None:
        self._send = send
        self._said = b""
        self._task = asyncio.create_task(self._run())

    def say(self, name: str) -> None:
        self._said += sound(name)

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        room = sound("room")[:FRAME]
        due = time.perf_counter()
        while True:
            frame, self._said = (self._said[:FRAME], self._said[FRAME:]) if self._said else (room, b"")
            await self._send(frame.ljust(FRAME, b"\0"))
            due += 0.02
            await asyncio.sleep(max(0.0, due - time.perf_counter()))


def run(main: Callable[[], Awaitable[None]]) -> None:
    """Runs a driver; what goes wrong is reported, and ends it with 1."""

    async def reporting() -> None:
        try:
            await main()
        except BaseException as problem:
            _give_up(problem)

    asyncio.run(reporting())


def _give_up(problem: BaseException) -> NoReturn:
    report("failed", problem=f"{type(problem).__name__}: {problem}", where=traceback.format_exc()[-3000:])
    os._exit(1)  # whatever the client still has under way
