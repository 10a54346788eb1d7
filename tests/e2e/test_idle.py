"""A server that nobody speaks to sleeps."""

import asyncio
import json
import re
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.e2e.client import RATE, connect
from tests.e2e.conftest import Server
from tests.speech import silence

WATCHED_S = 1.0
FEW = 5
"""Wake-ups of threads that end, or of a client that is asked whether it is still there."""


def wake_ups(process: int) -> int:
    """Returns how often the threads of a process have been woken since they began."""
    statuses = [status.read_text() for status in Path(f"/proc/{process}/task").glob("*/status")]
    found = [re.search(r"^voluntary_ctxt_switches:\s*(\d+)", status, re.MULTILINE) for status in statuses]
    return sum(int(each[1]) for each in found if each)


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="counted as Linux does")
async def test_open_sessions_in_which_nothing_is_said_wake_nobody(server: Server) -> None:
    async with connect(server.port) as first, connect(server.port) as second:
        for client in (first, second):
            await client.append(silence(0.1, RATE))  # the detector has heard something
            await client.send(type="input_audio_buffer.clear")
            await client.wait_for("input_audio_buffer.cleared")
        await asyncio.sleep(0.5)  # threads of other tests linger a quarter of a second
        before = wake_ups(server.pid)
        await asyncio.sleep(WATCHED_S)
        assert wake_ups(server.pid) - before <= FEW


@pytest.mark.skipif(sys.platform == "win32", reason="there is no uvloop for Windows")
def test_it_runs_on_uvloop_and_says_so(server: Server) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/parley/load?seconds=0.05", timeout=20) as answer:
        assert json.load(answer)["event_loop"] == "uvloop"
