"""LiveKit's plugin for OpenAI, as it is and as it was before 1.0, when it spoke the older dialect."""

from pathlib import Path

import pytest

from tests.conformance.brain import SPOKEN
from tests.conformance.conftest import Parley, drive
from tests.conformance.environments import LIVEKIT, LIVEKIT_OLD
from tests.conformance.relay import Relay

pytestmark = pytest.mark.timeout(300)


@pytest.mark.parametrize("pipeline", ["scripted", "slow"])
async def test_an_agent_session(parley: Parley, relay: Relay, sounds: Path, pipeline: str) -> None:
    client = await LIVEKIT.ready()
    report = await drive(client.command, "livekit_agents.py", relay, sounds, PARLEY_MODEL=pipeline)
    assert report["text"]["said"] == ["You said good morning."]
    assert report["call"]["outputs"] == ["sunny in Paris"]
    assert report["call"]["said"][-1] == "The result is sunny in Paris."
    assert report["voice"]["heard"] == [SPOKEN["question"]]
    assert report["voice"]["said"][-1] == f"You said {SPOKEN['question']}."
    cut = report["interruption"]
    assert cut["interrupted"]
    assert cut["said"][-1] == f"You said {SPOKEN['more']}."
    assert report["closed"]["problems"] == []
    assert relay.wire.of_type("conversation.item.truncate"), "the client says what was heard"
    assert len(parley.brain.story_so_far()) < 60, "the user has not heard more of the story"
    relay.check(expected={"response_cancel_not_active"})


async def test_before_1_0(relay: Relay, sounds: Path) -> None:
    client = await LIVEKIT_OLD.ready()
    report = await drive(client.command, "livekit_old.py", relay, sounds, PARLEY_MODEL="slow")
    assert report["session"]["instructions"] == "Be brief."
    assert report["session"]["turn_detection"]["silence_duration_ms"] == 500
    assert report["session"]["memory"][:2] == ["My name is Kim.", "Hello Kim."]
    assert report["text"]["said"] == ["You said good morning."]
    assert report["call"]["result"] == "sunny in Paris"
    assert report["call"]["said"][-1] == "The result is sunny in Paris."
    assert report["aside"]["metadata"] == {"topic": "aside"}
    assert report["voice"]["heard"] == SPOKEN["question"]
    assert report["voice"]["said"][-1] == f"You said {SPOKEN['question']}."
    cut = report["interruption"]
    assert cut["status"] == "cancelled"
    assert cut["said"][-1] == f"You said {SPOKEN['more']}."
    assert report["closed"]["problems"] == []
    assert relay.wire.beta
    relay.check()
