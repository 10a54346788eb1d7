"""Connections to real MCP servers: listing, calling, what goes wrong, and that nothing stays behind."""

import asyncio
import json
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from server import mcp_link
from server.mcp_link import McpFailure, McpLink
from server.mcp_links import McpLinks
from server.realtime import commands as do
from server.realtime.inbox import Event, McpListingFailed, McpReturned, McpToolsListed
from server.realtime.mcp_schema import McpError, McpServer
from tests.mcp_server import McpHost


@pytest.fixture
def host() -> Iterator[McpHost]:
    with McpHost() as host:
        yield host


@pytest.fixture
async def links() -> AsyncIterator["Links"]:
    links = Links()
    yield links
    await links.end()
    assert asyncio.all_tasks() == {asyncio.current_task()}


class Links:
    """The connections of a session, and what they report."""

    def __init__(self) -> None:
        self.events: asyncio.Queue[Event] = asyncio.Queue()
        self.tasks: set[asyncio.Task[None]] = set()
        self.links = McpLinks(self.events.put_nowait, self._spawn)

    def _spawn(self, work: Any) -> "asyncio.Task[None]":
        task = asyncio.create_task(work)
        self.tasks.add(task)
        return task

    def do(self, command: Any) -> None:
        self.links.dispatch[type(command)](command)

    async def ask(self, command: Any) -> Event:
        self.do(command)
        return await self.next()

    async def next(self) -> Event:
        return await asyncio.wait_for(self.events.get(), 30)

    async def call(self, server: McpServer, name: str, **arguments: Any) -> str | McpError:
        event = await self.ask(do.CallMcpTool("call_1", server, name, json.dumps(arguments)))
        assert isinstance(event, McpReturned)
        assert event.call == "call_1"
        return event.result

    async def end(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.links.close()


def at(host: McpHost, **headers: str) -> McpServer:
    return McpServer("test", host.url, tuple(headers.items()))


@pytest.mark.parametrize("transport", ["streamable", "json", "sse"])
async def test_tools_are_listed_and_called_over_either_transport(links: Links, transport: Any) -> None:
    with McpHost(transport) as host:
        server = at(host, Authorization="Bearer SESAME")
        listed = await links.ask(do.ListMcpTools("item_1", server))
        assert isinstance(listed, McpToolsListed)
        assert listed.listing == "item_1"
        tools = {tool.name: tool for tool in listed.tools}
        assert tools["get_weather"].description == "Tells the weather in a city."
        assert tools["get_weather"].input_schema["required"] == ["city"]
        assert tools["get_weather"].only_reads
        assert not tools["set_alarm"].only_reads
        assert await links.call(server, "get_weather", city="Paris") == "It is sunny in Paris."
        assert host.headers["authorization"] == "Bearer SESAME"
        await links.end()


async def test_what_a_tool_returns_is_told_as_text(host: McpHost, links: Links) -> None:
    assert json.loads(str(await links.call(at(host), "set_alarm", minutes=5))) == {"rings_in": 5}
    assert await links.call(at(host), "picture") == "A cat.\n(image: image/png, which cannot be shown here)"


async def test_a_tool_that_fails_is_an_execution_error(host: McpHost, links: Links) -> None:
    result = await links.call(at(host), "broken")
    assert isinstance(result, McpError)
    assert result.type == "tool_execution_error"
    assert await links.call(at(host), "get_weather", city="Rome") == "It is sunny in Rome."


@pytest.mark.parametrize("status", [401, 500])
async def test_a_status_is_an_http_error(host: McpHost, links: Links, status: int) -> None:
    host.status = status
    listed = await links.ask(do.ListMcpTools("item_1", at(host)))
    assert isinstance(listed, McpListingFailed)
    assert f"127.0.0.1:{host.port} answered {status}" in listed.problem
    result = await links.call(at(host), "get_weather", city="Paris")
    assert isinstance(result, McpError)
    assert (result.type, result.code) == ("http_error", status)


async def test_a_server_that_is_not_there_is_told_and_may_come_back(links: Links) -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    server = McpServer("test", f"http://127.0.0.1:{port}/mcp")
    failed = await links.ask(do.ListMcpTools("item_1", server))
    assert isinstance(failed, McpListingFailed)
    assert "cannot be reached" in failed.problem
    with McpHost(port=port):
        assert isinstance(await links.ask(do.ListMcpTools("item_2", server)), McpToolsListed)
        await links.end()


async def test_a_server_that_dies_during_a_call_is_an_error_and_the_next_call_connects_anew(links: Links) -> None:
    with McpHost() as host:
        server = at(host)
        links.do(do.CallMcpTool("call_1", server, "wait", "{}"))
        assert await asyncio.to_thread(host.waiting.wait, 20)
        port = host.port
    event = await links.next()
    assert isinstance(event, McpReturned)
    assert isinstance(event.result, McpError)
    with McpHost(port=port):
        assert await links.call(server, "get_weather", city="Paris") == "It is sunny in Paris."
        await links.end()


async def test_a_call_takes_as_long_as_it_may(host: McpHost, links: Links, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await links.call(at(host), "get_weather", city="Paris")
    monkeypatch.setattr(mcp_link, "CALL_S", 0.2)
    result = await links.call(at(host), "wait")
    assert isinstance(result, McpError)
    assert (result.type, result.code) == ("protocol_error", mcp_link.REQUEST_TIMEOUT)
    assert await asyncio.to_thread(host.gone.wait, 20), "the server is told that nobody waits"


async def test_a_server_that_says_nothing_takes_as_long_as_it_may(
    links: Links, monkeypatch: pytest.MonkeyPatch
) -> None:
    await asyncio.to_thread(__import__, "mcp")
    monkeypatch.setattr(mcp_link, "LIST_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        server = McpServer("test", f"http://127.0.0.1:{silent.getsockname()[1]}/mcp")
        failed = await links.ask(do.ListMcpTools("item_1", server))
    assert isinstance(failed, McpListingFailed)
    assert "0.2 s" in failed.problem


async def test_a_call_that_is_cancelled_ends_at_the_server(host: McpHost, links: Links) -> None:
    links.do(do.CallMcpTool("call_1", at(host), "wait", "{}"))
    assert await asyncio.to_thread(host.waiting.wait, 20)
    links.do(do.CancelMcpCall("call_1"))
    assert await asyncio.to_thread(host.gone.wait, 20)
    assert links.events.empty()


async def test_calls_run_at_a_time_over_one_connection(host: McpHost, links: Links) -> None:
    links.do(do.CallMcpTool("call_1", at(host), "wait", "{}"))
    assert await asyncio.to_thread(host.waiting.wait, 20)
    event = await links.ask(do.CallMcpTool("call_2", at(host), "get_weather", '{"city": "Paris"}'))
    assert isinstance(event, McpReturned)
    assert event.call == "call_2"
    host.open_gate()
    event = await links.next()
    assert isinstance(event, McpReturned)
    assert (event.call, event.result) == ("call_1", "waited")


@pytest.mark.parametrize("transport", ["streamable", "json", "sse"])
async def test_an_answer_that_would_fill_the_memory_is_broken_off(links: Links, transport: Any) -> None:
    with McpHost(transport) as host:
        result = await links.call(at(host), "crowd")
        assert isinstance(result, McpError)
        assert result.type == "protocol_error"
        assert await links.call(at(host), "get_weather", city="Rome") == "It is sunny in Rome."
        await links.end()


async def test_nothing_is_left_when_a_server_is_let_go_or_the_session_ends(host: McpHost, links: Links) -> None:
    assert await links.call(at(host), "get_weather", city="Paris")
    assert await links.call(at(host, key="x"), "get_weather", city="Paris")
    links.do(do.CloseMcpServer(at(host)))
    await links.end()
    for _ in range(200):
        if host.open_connections == 0:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"{host.open_connections} connections are open")


FRESH = """
import asyncio, sys
import server.session
from server.mcp_link import McpFailure, McpLink
from server.realtime.mcp_schema import McpServer
assert "mcp" not in sys.modules

async def ask(label):
    link = McpLink(McpServer(label, "http://127.0.0.1:9/mcp"))
    try:
        await link.tools()
    except McpFailure as failure:
        print(label, failure)
    link.stop(lambda: None)
    await link.close()

async def main():
    await asyncio.gather(ask("a"), ask("b"))

asyncio.run(main())
"""


async def test_the_package_is_loaded_for_the_first_servers_whole_and_not_before() -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", FRESH, stdout=asyncio.subprocess.PIPE)
    told, _ = await process.communicate()
    assert sorted(line.split(" ", 1)[0] for line in told.decode().splitlines()) == ["a", "b"]
    assert told.decode().count("cannot be reached") == 2


@pytest.mark.parametrize("command", [do.ListMcpTools, do.CallMcpTool])
async def test_even_what_nobody_thought_of_is_reported(
    links: Links, monkeypatch: pytest.MonkeyPatch, command: Any
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("what nobody thought of")

    monkeypatch.setattr(mcp_link, "_load_package", broken)
    server = McpServer("test", "http://127.0.0.1:9/mcp")
    event = await links.ask(command("it", server, *(() if command is do.ListMcpTools else ("now", "{}"))))
    assert isinstance(event, McpListingFailed | McpReturned)


async def test_no_error_shows_a_credential(links: Links, caplog: pytest.LogCaptureFixture) -> None:
    server = McpServer("test", "http://127.0.0.1:9/mcp", (("Authorization", "Bearer SESAME"),))
    link = McpLink(server)
    with pytest.raises(McpFailure):
        await link.tools()
    assert link._hide("You said Bearer SESAME, or SESAME") == "You said …, or …"
    assert "SESAME" not in repr(server)
    link.stop(lambda: None)
    await link.close()
    assert "SESAME" not in caplog.text
