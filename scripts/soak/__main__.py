"""An hour in minutes: `python -m scripts.soak --minutes 60`.

One session is sent an hour of sound as fast as the server takes it, with spoken turns, interruptions, clears, commits
and long silences, while others come, say something and go, some without a word of farewell. Server and clients share
this process, so that it can look at everything that the session keeps. A row is printed for each tenth of the time. The
end is an error if something has grown since the third row, but for the conversation itself and the sound of its items,
which keepsakes.py bounds.
"""

import argparse
import asyncio
import contextlib
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import aiohttp
from aiohttp import web

from pipeline.config import find_config, load_config
from pipeline.line import load_lines
from scripts.measure_listening.spoken import room, spoken
from scripts.soak.sizes import grown, open_sessions, sizes
from scripts.soak.talker import Talker
from server.app import Server
from server.bench.memory import resident_mb
from server.event_loop import new_event_loop
from server.session import Session

KEPT: Final = ("._conversation._items", "._keepsakes.", "._engine")
"""What of a session grows with its conversation; and the language model's engine, which is everybody's."""

_ROWS: Final = 10
_SETTLED: Final = 2
"""The row, counted from 0, by which everything has its size."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0, help="of sound (default: %(default)s)")
    parser.add_argument("--guests", type=int, default=200, help="sessions that come and go (default: %(default)s)")
    parser.add_argument("--config", type=Path, help="models.yaml to use")
    arguments = parser.parse_args()
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        sys.exit(runner.run(_soak(arguments.minutes, arguments.guests, arguments.config or find_config())))


async def _soak(minutes: float, guests: int, file: Path) -> int:
    print("| sound, min | s | turns | guests | MB | threads | files | tasks | sessions | entries and bytes kept |")
    print("|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
    seen: list[Counter[str]] = []
    began = time.monotonic()
    async with _server(file) as url, aiohttp.ClientSession() as http:
        main_talker = await Talker.join(http, url)
        (session,) = open_sessions()
        came = 0
        for row in range(_ROWS):
            coming = asyncio.create_task(_guests(http, url, guests // _ROWS))
            await main_talker.talk(until_s=60 * minutes * (row + 1) / _ROWS)
            came += await coming
            await _quiet(session)
            seen.append(_own(sizes(session)))
            print(
                f"| {main_talker.sent_s / 60:.1f} | {time.monotonic() - began:.0f} | {main_talker.turns} | {came} | "
                f"{resident_mb(os.getpid())} | {threading.active_count()} | {_open_files()} | "
                f"{len(asyncio.all_tasks())} | {len(open_sessions())} | {sum(seen[-1].values())} |",
                flush=True,
            )
        await main_talker.leave()
    more = grown(seen[min(_SETTLED, len(seen) - 2)], seen[-1], slack=0.1)
    for path, (before, after) in more.items():
        print(f"grew from {before} to {after}: {path}", file=sys.stderr)
    return int(bool(more))


async def _guests(http: aiohttp.ClientSession, url: str, count: int) -> int:
    for number in range(count):
        guest = await Talker.join(http, url)
        await guest.say(spoken(number))
        await guest.say(room(0.2))
        if number % 2:
            await guest.say(room(1.0))
            await guest.answered()
        await guest.leave(abruptly=number % 4 == 0)
    return count


async def _quiet(session: Session) -> None:
    """Waits, up to 20 s, until all has been heard, and what has ended is gone: threads linger a moment."""
    feed = session._voice
    for _ in range(200):
        behind = feed._heard - feed._judged >= feed._hub.frame_ticks
        if not behind and not [each for each in threading.enumerate() if "transcription" in each.name]:
            break
        await asyncio.sleep(0.1)


def _own(found: Counter[str]) -> Counter[str]:
    return Counter({path: size for path, size in found.items() if not any(kept in path for kept in KEPT)})


def _open_files() -> int:
    return len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").is_dir() else -1


@contextlib.asynccontextmanager
async def _server(file: Path) -> AsyncIterator[str]:
    config = load_config(file)
    lines = await asyncio.to_thread(load_lines, config, [config.default])
    server = Server(config, lines)
    runner = web.AppRunner(server.app(), access_log=None, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    try:
        await site.start()
        yield f"ws://127.0.0.1:{runner.addresses[0][1]}/v1/realtime"
    finally:
        await runner.cleanup()
        server.close()
        for line in lines.values():
            line.close()


if __name__ == "__main__":
    main()
