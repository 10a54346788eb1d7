"""Clients that ask for calls of `strict` tools over HTTP."""

from pathlib import Path
from typing import Any

import pytest

from tests.conformance.conftest import Parley, drive
from tests.conformance.environments import AGENTS, LIVEKIT
from tests.conformance.relay import Relay

pytestmark = pytest.mark.timeout(300)


async def test_the_agents_sdk_calls_a_strict_function(relay: Relay, parley: Parley, sounds: Path) -> None:
    client = await AGENTS.ready()
    report = await drive(client.command, "agents_chat.py", relay, sounds, PARLEY_MODEL="scripted")
    assert report["call"]["said"] == "The result is sunny in Paris."
    _check_strict(relay, parley)


async def test_livekit_calls_a_strict_function(relay: Relay, parley: Parley, sounds: Path) -> None:
    client = await LIVEKIT.ready()
    report = await drive(client.command, "livekit_chat.py", relay, sounds, PARLEY_MODEL="scripted")
    assert report["call"]["calls"] == [["get_weather", '{"city": "Paris"}']]
    _check_strict(relay, parley)


def _check_strict(relay: Relay, parley: Parley) -> None:
    assert {status for _, _, status in relay.requests} == {200}
    told: list[dict[str, Any]] = [request.json for request in parley.brain.asked("chat")]
    (tool,) = [body["tools"] for body in told if body.get("tools")][-1]
    assert tool["function"]["strict"] is True, "and it is handed on to the service behind"
