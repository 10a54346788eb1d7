"""Calls in-process, with engines that are fakes: how they end, and that nothing is left of them."""

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from server.webrtc import call as one_call
from tests.e2e.call import Caller
from tests.pipeline.packages import Packages, packages
from tests.server.test_doors import Doors, doors
from tests.threads import parley_threads, until

__all__ = ["packages"]

CALLS = "/v1/realtime/calls"


@pytest.fixture
async def server(tmp_path: Path, packages: Packages) -> AsyncIterator[Doors]:
    async with doors(tmp_path, packages) as those:
        yield those


async def called(server: Doors) -> tuple[Caller, str]:
    caller = Caller()
    async with server.client.post(CALLS, json={"sdp": await caller.offer()}) as answer:
        assert answer.status == 201
        await caller.connect(await answer.text())
        return caller, answer.headers["Location"]


def tasks() -> set[str]:
    return {task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith(("call", "session", "rtc"))}


async def gone(server: Doors, where: str) -> bool:
    async with server.client.post(f"{where}/hangup") as answer:
        return answer.status == 404


async def ended(server: Doors, where: str) -> None:
    await until(lambda: not tasks(), within=10)
    assert await gone(server, where)
    await until(lambda: not parley_threads("hearing") and not parley_threads("endpointing"))
    assert not [thread for thread in threading.enumerate() if "decoder" in thread.name]


async def test_a_client_that_closes_its_connection_ends_the_call(server: Doors) -> None:
    caller, where = await called(server)
    assert tasks()
    await caller.close()
    await ended(server, where)


async def test_a_client_that_closes_its_data_channel_ends_the_call(server: Doors) -> None:
    caller, where = await called(server)
    caller.channel.close()
    await until(lambda: not tasks(), within=10)
    await caller.close()
    await ended(server, where)


async def test_a_call_that_is_hung_up_ends_for_the_client_too(server: Doors) -> None:
    caller, where = await called(server)
    async with server.client.post(f"{where}/hangup") as answer:
        assert answer.status == 200
    await asyncio.wait_for(caller.closed.wait(), 10)
    await caller.close()
    await ended(server, where)


async def test_a_client_whose_network_vanishes_is_gone_before_long(
    server: Doors, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert one_call.GONE_S <= 25, "gone within half a minute"
    monkeypatch.setattr(one_call, "GONE_S", 1.0)
    caller, where = await called(server)
    pull_the_plug(caller)
    await until(lambda: not tasks(), within=10)
    assert await gone(server, where)
    await caller.close()
    await ended(server, where)


async def test_a_client_that_never_comes_is_waited_for_no_longer(
    server: Doors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(one_call, "CONNECT_S", 0.2)
    caller = Caller()
    async with server.client.post(CALLS, json={"sdp": await caller.offer()}) as answer:
        where = answer.headers["Location"]
    await ended(server, where)
    await caller.close()


async def test_the_end_of_the_server_ends_its_calls(tmp_path: Path, packages: Packages) -> None:
    async with doors(tmp_path, packages) as server:
        caller, _ = await called(server)
    assert not tasks()
    await asyncio.wait_for(caller.closed.wait(), 10)
    await caller.close()


def pull_the_plug(caller: Caller) -> None:
    """Nothing comes from the client any more, and nothing reaches it; nobody says goodbye."""
    connection: Any = caller.peer.sctp.transport.transport._connection
    for protocol in connection._protocols:
        protocol.transport.abort()
