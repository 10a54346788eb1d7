"""Every field with every wrong value, sent to a real server: each is refused as in the simulation, and the session
goes on.
"""

from typing import Any

import pytest

from scripts.make_docs.protocol_session import answer_to, kind_of
from scripts.make_docs.protocol_types import Object
from server.wire import beta, ga
from tests.e2e import client as newer
from tests.e2e import test_beta as older
from tests.e2e.conftest import Server
from tests.wire.every_field import every_field, wrong_events

ITEM = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}]}


def wrong(is_beta: bool) -> list[Object]:
    """Events that a session of the usual kind refuses; `event_id` itself is wrong in none of them."""
    fields = [field for field in every_field(is_beta) if field.name != "event_id"]
    events = [event for field in fields for event in wrong_events(field)]
    return [event for event in events if kind_of(event) == "realtime"]


@pytest.mark.parametrize("is_beta", [False, True], ids=["GA", "beta"])
async def test_whatever_is_wrong_is_refused_and_the_session_goes_on(server: Server, is_beta: bool) -> None:
    events = wrong(is_beta)
    connect: Any = older.connect if is_beta else newer.connect
    async with connect(server.port) as client:
        for number, event in enumerate(events):
            await client.send(**event, event_id=f"e{number}")
        await client.send(type="input_audio_buffer.clear")
        await client.wait_for("input_audio_buffer.cleared", timeout=60)
        errors = {event["error"]["event_id"]: event["error"] for event in client.wire.of_type("error")}
        assert [event for number, event in enumerate(events) if f"e{number}" not in errors] == []
        for number, event in enumerate(events):
            told = errors[f"e{number}"]
            simulated = answer_to(beta if is_beta else ga, event).error
            assert simulated is not None
            assert (told["type"], told["code"], told["param"]) == (
                simulated["type"],
                simulated["code"],
                simulated["param"],
            ), event
        await client.send(type="conversation.item.create", item=ITEM)
        await client.send(type="response.create")
        assert (await client.wait_for("response.done", timeout=30))["response"]["status"] == "completed"
        assert len(client.wire.of_type("error")) == len(events)
