"""Pipecat's service for OpenAI's realtime API."""

from pathlib import Path

import pytest

from tests.conformance.brain import SPOKEN
from tests.conformance.conftest import Parley, drive
from tests.conformance.environments import PIPECAT
from tests.conformance.relay import Relay

pytestmark = pytest.mark.timeout(300)


@pytest.mark.parametrize("pipeline", ["scripted", "slow"])
async def test_a_pipeline(parley: Parley, relay: Relay, sounds: Path, pipeline: str) -> None:
    client = await PIPECAT.ready()
    report = await drive(client.command, "pipecat_service.py", relay, sounds, PARLEY_MODEL=pipeline)
    assert report["text"]["said"] == ["You said good morning."]
    assert report["text"]["bytes"] > 24_000
    assert report["call"]["said"][-1] == 'The result is "sunny in Paris".'  # as JSON
    assert report["voice"]["said"][-1] == f"You said {SPOKEN['question']}."
    assert report["interruption"]["said"][-1] == f"You said {SPOKEN['more']}."
    assert report["closed"]["problems"] == []
    assert len(parley.brain.story_so_far()) < 60, "the user has not heard more of the story"
    relay.check()
