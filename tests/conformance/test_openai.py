"""The `openai` packages, in both dialects: for Python the installed one and the newest, and for JavaScript."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.conformance.brain import SPOKEN
from tests.conformance.conftest import Parley, Report, drive
from tests.conformance.environments import OPENAI_NODE, OPENAI_PYTHON
from tests.conformance.relay import Relay

pytestmark = pytest.mark.timeout(300)

DIALECTS = [{}, {"PARLEY_BETA": "yes"}]
both_dialects = pytest.mark.parametrize("dialect", DIALECTS, ids=["ga", "beta"])


@both_dialects
async def test_the_installed_package(relay: Relay, sounds: Path, dialect: dict[str, str]) -> None:
    await _converse([sys.executable], relay, sounds, dialect)


@both_dialects
async def test_the_newest_package(relay: Relay, sounds: Path, dialect: dict[str, str]) -> None:
    await _converse((await OPENAI_PYTHON.ready()).command, relay, sounds, dialect)


async def _converse(command: Sequence[str], relay: Relay, sounds: Path, dialect: dict[str, str]) -> None:
    report = await drive(command, "openai_python.py", relay, sounds, PARLEY_MODEL="slow", **dialect)
    assert report.has("transcription")
    _check(report, relay, dialect)


@both_dialects
async def test_the_package_for_javascript(
    parley: Parley, tls_relay: Relay, sounds: Path, dialect: dict[str, str]
) -> None:
    """It takes `wss://` alone."""
    client = await OPENAI_NODE.ready()
    own = {"PARLEY_PACKAGES": str(client.folder), "NODE_EXTRA_CA_CERTS": str(parley.certificate), **dialect}
    report = await drive(client.command, "openai_node.mjs", tls_relay, sounds, PARLEY_MODEL="slow", **own)
    assert report.has("transcription") or dialect
    _check(report, tls_relay, dialect)


def _check(report: Report, relay: Relay, dialect: dict[str, str]) -> None:
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
    assert len(cut["kept"].split()) < 9, "what was not heard in 0.7 s of a sentence is no part of it any more"
    assert cut["problems"] == []
    assert report["closed"]["code"] == 1000
    if report.has("transcription"):
        assert report["transcription"] == {"step": "transcription", "heard": SPOKEN["question"], "problems": []}
        assert not relay.wires[1].said.responses, "nothing is answered"
    assert relay.wires[0].beta is bool(dialect)
    relay.check()
