"""OpenAI's Agents SDKs, in JavaScript and in Python."""

from pathlib import Path
from typing import Any

import pytest

from tests.conformance.brain import SPOKEN
from tests.conformance.conftest import Parley, Report, drive
from tests.conformance.environments import AGENTS, AGENTS_NODE
from tests.conformance.relay import Relay

pytestmark = pytest.mark.timeout(300)

SAID = ["You said good morning.", "The result is sunny in Paris.", f"You said {SPOKEN['question']}."]
PIPELINES = ["scripted", "slow"]
"""A reply that has been sent before it is interrupted, and one that is still being sent."""


@pytest.mark.parametrize("pipeline", PIPELINES)
async def test_in_javascript(parley: Parley, tls_relay: Relay, sounds: Path, pipeline: str) -> None:
    client = await AGENTS_NODE.ready()
    own = {"PARLEY_PACKAGES": str(client.folder), "NODE_EXTRA_CA_CERTS": str(parley.certificate)}
    report = await drive(client.command, "agents_node.mjs", tls_relay, sounds, PARLEY_MODEL=pipeline, **own)
    _check(report, tls_relay, parley)
    assert report["text"]["bytes"] > 24_000
    assert report["closed"]["status"] == "disconnected"


@pytest.mark.parametrize("pipeline", PIPELINES)
async def test_in_python(parley: Parley, relay: Relay, sounds: Path, pipeline: str) -> None:
    client = await AGENTS.ready()
    report = await drive(client.command, "openai_agents.py", relay, sounds, PARLEY_MODEL=pipeline)
    _check(report, relay, parley)


def _check(report: Report, relay: Relay, parley: Parley) -> None:
    assert report["text"]["said"] == SAID[:1]
    assert report["call"]["output"] == "sunny in Paris"
    assert report["voice"]["heard"] == SPOKEN["question"]
    said: list[Any] = report["interruption"]["said"]
    assert [said[0], said[2]] == [SAID[0], SAID[2]]
    assert said[3].startswith("Sentence"), said
    assert len(parley.brain.story_so_far()) < 40, "the user has not heard more of the story"
    assert said[4:] == [f"You said {SPOKEN['more']}."]
    assert relay.wire.of_type("conversation.item.truncate"), "the client says what was heard"
    relay.check()
