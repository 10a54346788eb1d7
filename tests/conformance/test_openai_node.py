"""The `openai` package for JavaScript, which takes `wss://` alone, in both dialects."""

import json

import pytest

from tests.conformance.brain import SPOKEN
from tests.conformance.conftest import Parley, drive
from tests.conformance.environments import OPENAI_NODE
from tests.conformance.relay import Relay

pytestmark = pytest.mark.timeout(300)


@pytest.mark.parametrize("dialect", ["ga", "beta"])
async def test_a_conversation(parley: Parley, tls_relay: Relay, sounds: str, dialect: str) -> None:
    client = await OPENAI_NODE.ready()
    own = {"PARLEY_PACKAGES": str(client.folder), "NODE_EXTRA_CA_CERTS": str(parley.certificate)}
    if dialect == "beta":
        own["PARLEY_BETA"] = "yes"
    report = await drive(client.command, "openai_node.mjs", tls_relay, sounds, PARLEY_MODEL="slow", **own)
    assert report["text"]["said"] == ["You said good morning."]
    call = report["call"]["call"]
    assert (call["type"], call["name"], call["status"]) == ("function_call", "get_weather", "completed")
    assert json.loads(call["arguments"]) == {"city": "Paris"}
    assert report["call"]["said"] == "The result is sunny."
    assert report["aside"]["metadata"] == {"topic": "aside"}
    assert report["aside"]["conversation"] is None
    assert report["voice"]["heard"] == SPOKEN["question"]
    assert report["voice"]["said"] == [f"You said {SPOKEN['question']}."]
    assert report["voice"]["bytes"] > 24_000
    cut = report["interruption"]
    assert (cut["status"], cut["reason"]) == ("cancelled", "turn_detected")
    assert cut["said"] == f"You said {SPOKEN['more']}."
    assert cut["kept"].startswith("Sentence")
    assert len(cut["kept"].split()) < 5, "what was not heard in 0.7 s is no part of it any more"
    assert cut["problems"] == []
    assert report["closed"]["code"] == 1000
    assert tls_relay.wire.beta is (dialect == "beta")
    tls_relay.check()
