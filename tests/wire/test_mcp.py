"""MCP servers in the dialects: credentials are shown by none, and the older one has no MCP."""

import json

import pytest

from server.realtime.refusal import Refusal
from server.wire import beta, ga
from server.wire.secrets import NESTED
from tests.machine.world import World

MCP = {
    "type": "mcp",
    "server_label": "a",
    "server_url": "http://127.0.0.1:9/mcp",
    "authorization": "SESAME",
    "headers": {"x-key": "SESAME"},
}


def with_a_server() -> World:
    world = World()
    world.client(type="session.update", session={"type": "realtime", "tools": [MCP]})
    return world


def test_the_answer_to_a_request_for_a_key_shows_no_credentials() -> None:
    session = with_a_server().machine.session
    shown = NESTED.encode("ek_1", 2_000_000_000, session)
    assert "SESAME" in repr(session.tools), "it is there"
    assert "SESAME" not in json.dumps(shown)
    assert shown["session"]["tools"][0]["server_url"] == MCP["server_url"]


def test_a_key_for_mcp_servers_opens_no_session_in_the_older_dialect() -> None:
    session = with_a_server().machine.session
    with pytest.raises(Refusal) as refusal:
        beta.check(session)
    assert refusal.value.param == "session.tools"
    ga.check(session)
    beta.check(World().machine.session)
