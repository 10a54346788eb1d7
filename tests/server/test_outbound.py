"""What is on its way to the client is in order, and bounded whatever the client does."""

import asyncio

import pytest

from server import outbound as limits
from server.outbound import Outbound, SlowClient


@pytest.fixture(autouse=True)
def _small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LOW_WATER", 100)
    monkeypatch.setattr(limits, "FLOOD", 1_000)
    monkeypatch.setattr(limits, "HIGH_WATER", 5_000)


async def is_waiting(task: "asyncio.Task[None]") -> bool:
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return not task.done()


async def send_all(outbound: Outbound, frames: int) -> None:
    for _ in range(frames):
        outbound.sent(await outbound.get())


async def test_frames_leave_in_order() -> None:
    outbound = Outbound()
    for number in range(5):
        outbound.put(str(number))
    assert [await outbound.get() for _ in range(5)] == list("01234")


async def test_the_writer_waits_for_frames() -> None:
    outbound = Outbound()
    getting = asyncio.create_task(outbound.get())
    await asyncio.sleep(0)
    assert not getting.done()
    outbound.put("frame")
    assert await getting == "frame"


async def test_sound_waits_while_more_than_a_little_is_on_its_way() -> None:
    outbound = Outbound()
    outbound.put("x" * 100)
    await outbound.room()
    outbound.put("x")
    waiting = asyncio.create_task(outbound.room())
    assert await is_waiting(waiting)
    outbound.sent(await outbound.get())
    await waiting


async def test_there_is_room_again_as_soon_as_little_enough_waits() -> None:
    outbound = Outbound()
    outbound.put("x")
    outbound.put("x" * 100)
    waiting = asyncio.create_task(outbound.room())
    assert await is_waiting(waiting)
    await send_all(outbound, 1)
    await waiting


async def test_a_frame_counts_until_it_has_been_sent() -> None:
    outbound = Outbound()
    outbound.put("x" * 101)
    frame = await outbound.get()
    waiting = asyncio.create_task(outbound.room())
    assert await is_waiting(waiting)
    outbound.sent(frame)
    await waiting


async def test_a_client_that_does_not_read_is_not_read_from() -> None:
    outbound = Outbound()
    for _ in range(10):
        outbound.put("x" * 100)
    await outbound.calm()
    outbound.put("x")
    waiting = asyncio.create_task(outbound.calm())
    assert await is_waiting(waiting)
    await send_all(outbound, 1)
    await waiting


async def test_a_client_that_never_reads_is_given_up() -> None:
    outbound = Outbound()
    for _ in range(51):
        outbound.put("x" * 100)
    with pytest.raises(SlowClient):
        outbound.put("x")


async def test_when_nothing_can_leave_any_more_nobody_waits_and_nothing_piles_up() -> None:
    """The connection broke while a flood was on its way: whoever waits must get to see the end."""
    outbound = Outbound()
    outbound.put("x" * 2_000)
    waiting = [asyncio.create_task(outbound.room()), asyncio.create_task(outbound.calm())]
    assert await is_waiting(waiting[0])
    outbound.close()
    await asyncio.gather(*waiting)
    for _ in range(1_000):
        outbound.put("x" * 100)
    await outbound.room()
    await outbound.calm()
    assert not outbound._frames
