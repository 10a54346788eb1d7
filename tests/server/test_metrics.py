"""What the server says of its load: right, to those who ask, and nothing is watched for others."""

import asyncio
import threading
import time
from typing import Any

import pytest

from server.metrics import LoopWatch, Metrics, spread
from server.voice import VoiceHub
from tests.fakes import FakeDetector
from tests.pipeline.packages import packages
from tests.server.test_doors import Doors, open_
from tests.server.test_voice import FRAME, Session, sound
from tests.threads import until

__all__ = ["open_", "packages"]


async def ask(those: Doors, seconds: str) -> tuple[int, Any]:
    async with those.client.get("/parley/load", params={"seconds": seconds}) as answer:
        return answer.status, await answer.json()


async def test_whoever_asks_is_told_of_the_loop_and_the_sessions(open_: Doors) -> None:
    async with open_.client.ws_connect("/v1/realtime") as websocket:
        await websocket.receive_json(timeout=10)
        status, load = await ask(open_, "0.05")
    assert status == 200
    assert load["sessions"] == 1
    assert load["event_loop"] in ("asyncio", "uvloop")
    assert load["seconds"] >= 0.05
    assert load["loop_lag_ms"]["count"] >= 5
    assert load["threads"] >= 1
    assert load["verdict_delay_ms"] is None


@pytest.mark.parametrize("seconds", ["0", "-1", "601", "soon", "nan", "inf", ""])
async def test_how_long_to_watch_is_a_number_within_reason(open_: Doors, seconds: str) -> None:
    status, answer = await ask(open_, seconds)
    assert status == 400
    assert answer["error"]["param"] == "seconds"
    assert "600" in answer["error"]["message"]


async def test_a_stall_of_the_loop_is_seen_for_all_that_it_kept_waiting() -> None:
    watch = LoopWatch()
    await asyncio.sleep(0.01)
    time.sleep(0.1)  # noqa: ASYNC251 - the stall
    await asyncio.sleep(0)
    await until(lambda: max(watch.lags, default=0) > 80)
    watch.stop()
    assert len([lag for lag in watch.lags if lag > 40]) >= 8, "a timer was due every 5 ms"


async def test_how_long_verdicts_take_is_told_from_the_sound_that_completes_the_frame() -> None:
    go = threading.Event()
    detector = FakeDetector(hook=lambda frames, cancel: go.wait(5))
    hub = VoiceHub(detector, 10.0)
    session = Session(hub)
    watching = asyncio.create_task(Metrics([hub], lambda: 1).watch(0.4))
    await until(lambda: hub.watchers)
    session.hear(sound(FRAME - 100))
    session.hear(sound(100))
    asyncio.get_running_loop().call_later(0.1, go.set)
    load = await watching
    assert load.verdict_delay_ms is not None
    assert load.verdict_delay_ms.count == 1
    assert load.verdict_delay_ms.max >= 99
    hub.close()


async def test_nothing_is_watched_when_nobody_asks_any_more() -> None:
    hub = VoiceHub(FakeDetector(), 10.0)
    session = Session(hub)
    watching = asyncio.create_task(Metrics([hub], lambda: 1).watch(60))
    await until(lambda: hub.watchers)
    session.hear(sound(FRAME + 1))
    await until(lambda: session.said)
    watching.cancel()
    await asyncio.wait((watching,))
    assert hub.watchers == []
    session.hear(sound(2 * FRAME))
    await until(lambda: len(session.said) == 3)
    assert not session.feed._arrivals
    hub.close()


def test_nothing_measured_has_no_percentiles() -> None:
    assert spread([]) is None
    told = spread([float(number) for number in range(1, 101)])
    assert told is not None
    assert (told.p50, told.max, told.count) == (50.5, 100.0, 100)
