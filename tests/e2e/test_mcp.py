"""Tools on a real MCP server, called by a real Parley for a client that is the `openai` package."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.e2e.client import Client, connect, spoken
from tests.e2e.conftest import Server, serving
from tests.e2e.test_every_engine import MINI, WEIGHTS
from tests.mcp_server import McpHost
from tests.openai_endpoint import Endpoint, chunk, events_answer, usage_chunk

TEXT = {"output_modalities": ["text"]}

FIRST_S = 60.0
"""How long a busy machine may take over what the server does for the first time: the package is loaded then."""


@pytest.fixture
def host() -> Iterator[McpHost]:
    with McpHost() as host:
        yield host


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Endpoint]:
    with Endpoint() as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def parley(tmp_path_factory: pytest.TempPathFactory, endpoint: Endpoint) -> Iterator[Server]:
    """A server whose language models are the built-in one, one that was trained to call, and a service."""
    folder = tmp_path_factory.mktemp("mcp")
    tools = WEIGHTS / "llama-tools" / "tools.gguf"
    models = {
        "mini": MINI,
        "tools": MINI | {"llm": {"engine": "llama-cpp", "model": str(tools), "temperature": 0}},
        "remote": MINI | {"llm": {"engine": "openai", "base_url": endpoint.base_url, "model": "test"}},
    }
    config = folder / "models.yaml"
    config.write_text(yaml.safe_dump({"default": "mini", "models": models}))
    with serving(config, list(models), folder) as server:
        yield server


def server(host: McpHost, label: str = "home", **more: Any) -> dict[str, Any]:
    return {"type": "mcp", "server_label": label, "server_url": host.url, "require_approval": "never"} | more


def calls(endpoint: Endpoint, name: str, **arguments: Any) -> None:
    """The service calls a tool when it is asked next."""
    function = {"name": name, "arguments": json.dumps(arguments)}
    call = {"index": 0, "id": "call_1", "type": "function", "function": function}
    endpoint.tell("chat", events_answer(chunk(tool_calls=[call]), chunk(finish="tool_calls"), usage_chunk(9, 5)))


async def with_tools(client: Client, *tools: dict[str, Any], **session: Any) -> None:
    await client.configure(tools=list(tools), **TEXT, **session)
    await client.wait_for("mcp_list_tools.completed", len(tools), FIRST_S)
    await client.wait_for("conversation.item.done", len(tools))


async def write(client: Client, text: str) -> None:
    content = [{"type": "input_text", "text": text}]
    await client.send(type="conversation.item.create", item={"type": "message", "role": "user", "content": content})


def done(client: Client, kind: str) -> list[dict[str, Any]]:
    """The items of a type that are done, as the conversation has them."""
    return [event["item"] for event in client.wire.of_type("conversation.item.done") if event["item"]["type"] == kind]


async def test_a_tool_is_listed_and_called_and_the_client_asks_for_the_answer(parley: Server, host: McpHost) -> None:
    async with connect(parley.port, model="tools") as client:
        await with_tools(client, server(host, allowed_tools=["get_weather"], authorization="SESAME"))
        (listed,) = done(client, "mcp_list_tools")
        assert [tool["name"] for tool in listed["tools"]] == ["get_weather"]
        await write(client, "what is the weather in Paris")
        await client.send(type="response.create", response={"tool_choice": "required"})
        (call,) = (await client.wait_for("response.done"))["response"]["output"]
        assert (call["type"], call["name"], call["server_label"]) == ("mcp_call", "get_weather", "home")
        assert json.loads(call["arguments"]) == {"city": "Paris"}
        assert call["output"] == "It is sunny in Paris."
        assert host.called == [("get_weather", {"city": "Paris"})]
        assert host.headers["authorization"] == "Bearer SESAME"
        await client.send(type="response.create")
        second = (await client.wait_for("response.done", 2))["response"]
        assert second["output"][0]["type"] == "message"
        assert "SESAME" not in json.dumps(client.wire.events)
    assert "SESAME" not in parley.log.read_text()


@pytest.mark.parametrize("name", ["set_alarm", None])
async def test_a_tool_of_a_server_is_demanded_of_the_built_in_model(
    parley: Server, host: McpHost, name: str | None
) -> None:
    choice = {"type": "mcp", "server_label": "b"} | ({"name": name} if name else {})
    function = {"type": "function", "name": "set_alarm", "description": "Sets another alarm."}
    async with connect(parley.port) as client:
        await client.configure(
            tools=[function, server(host, "a"), server(host, "b", allowed_tools=["set_alarm"])], **TEXT
        )
        await write(client, "Set an alarm for five minutes.")
        await client.send(type="response.create", response={"tool_choice": choice})
        (call,) = (await client.wait_for("response.done", 1, FIRST_S))["response"]["output"]
        assert (call["type"], call["server_label"], call["name"]) == ("mcp_call", "b", "set_alarm")
        assert isinstance(json.loads(call["arguments"])["minutes"], int)
        assert json.loads(call["output"])["rings_in"] == json.loads(call["arguments"])["minutes"]


async def test_a_call_is_made_when_it_is_approved(parley: Server, host: McpHost, endpoint: Endpoint) -> None:
    async with connect(parley.port, model="remote") as client:
        await with_tools(client, server(host, require_approval="always"))
        calls(endpoint, "get_weather", city="Paris")
        await write(client, "How is the weather in Paris?")
        await client.send(type="response.create")
        (request,) = (await client.wait_for("response.done"))["response"]["output"]
        assert (request["type"], json.loads(request["arguments"])) == ("mcp_approval_request", {"city": "Paris"})
        assert host.called == []
        answer = {"type": "mcp_approval_response", "approval_request_id": request["id"], "approve": True}
        await client.send(type="conversation.item.create", item=answer)
        await client.wait_for("response.mcp_call.completed")
        await client.send(type="response.create")
        await client.wait_for("response.done", 2)
        (call,) = done(client, "mcp_call")
        assert (call["approval_request_id"], call["output"]) == (request["id"], "It is sunny in Paris.")
        *_, called, told = endpoint.asked("chat")[-1].json["messages"]
        assert called["tool_calls"][0]["function"]["name"] == "get_weather"
        assert (told["role"], told["content"]) == ("tool", "It is sunny in Paris.")


async def test_a_call_that_is_not_approved_is_not_made(parley: Server, host: McpHost, endpoint: Endpoint) -> None:
    async with connect(parley.port, model="remote") as client:
        await with_tools(client, server(host, require_approval="always"))
        calls(endpoint, "set_alarm", minutes=5)
        await write(client, "Wake me in five minutes.")
        await client.send(type="response.create")
        (request,) = (await client.wait_for("response.done"))["response"]["output"]
        answer = {"type": "mcp_approval_response", "approval_request_id": request["id"], "approve": False}
        await client.send(type="conversation.item.create", item={**answer, "reason": "Let me sleep."})
        await client.send(type="response.create")
        await client.wait_for("response.done", 2)
        assert "Let me sleep." in endpoint.asked("chat")[-1].json["messages"][-1]["content"]
        assert host.called == []


async def test_the_result_of_a_call_outlives_an_interruption(parley: Server, host: McpHost, endpoint: Endpoint) -> None:
    async with connect(parley.port, model="remote") as client:
        await with_tools(client, server(host))
        calls(endpoint, "wait")
        await write(client, "Wait.")
        await client.send(type="response.create")
        await client.wait_for("response.mcp_call.in_progress")
        client.open_microphone()
        client.say(spoken("what is your name"))
        response = (await client.wait_for("response.done"))["response"]
        assert response["status_details"]["reason"] == "turn_detected"
        host.open_gate()
        await client.wait_for("response.mcp_call.completed")
        assert (await client.wait_for("response.done", 2, FIRST_S))["response"]["status"] == "completed"
        (call,) = done(client, "mcp_call")
        assert call["output"] == "waited"


async def test_a_call_ends_with_its_session(parley: Server, host: McpHost, endpoint: Endpoint) -> None:
    async with connect(parley.port, model="remote") as client:
        await with_tools(client, server(host))
        calls(endpoint, "wait")
        await write(client, "Wait.")
        await client.send(type="response.create")
        assert await asyncio.to_thread(host.waiting.wait, 20)
    assert await asyncio.to_thread(host.gone.wait, 20)


async def test_a_server_that_is_not_there_leaves_the_session_whole(
    parley: Server, host: McpHost, endpoint: Endpoint
) -> None:
    gone = server(host, "gone") | {"server_url": "http://127.0.0.1:9/mcp"}
    async with connect(parley.port, model="remote") as client:
        await client.configure(tools=[gone, server(host)], **TEXT)
        await client.wait_for("mcp_list_tools.failed", 1, FIRST_S)
        error = (await client.wait_for("error"))["error"]
        assert error["code"] == "mcp_list_tools_failed"
        assert "'gone'" in error["message"]
        calls(endpoint, "get_weather", city="Rome")
        await write(client, "How is the weather in Rome?")
        await client.send(type="response.create")
        (call,) = (await client.wait_for("response.done"))["response"]["output"]
        assert call["output"] == "It is sunny in Rome."


async def test_a_tool_that_fails_is_told_with_its_error(parley: Server, host: McpHost, endpoint: Endpoint) -> None:
    async with connect(parley.port, model="remote") as client:
        await with_tools(client, server(host))
        calls(endpoint, "broken")
        await write(client, "Break.")
        await client.send(type="response.create")
        await client.wait_for("response.mcp_call.failed")
        response = (await client.wait_for("response.done"))["response"]
        assert response["status"] == "completed"
        assert response["output"][0]["error"]["type"] == "tool_execution_error"


async def test_a_response_may_bring_a_server_of_its_own(parley: Server, host: McpHost, endpoint: Endpoint) -> None:
    async with connect(parley.port, model="remote") as client:
        await client.configure(**TEXT)
        calls(endpoint, "get_weather", city="Oslo")
        await write(client, "How is the weather in Oslo?")
        await client.send(type="response.create", response={"tools": [server(host)], "conversation": "none"})
        (call,) = (await client.wait_for("response.done", 1, FIRST_S))["response"]["output"]
        assert call["output"] == "It is sunny in Oslo."
        await client.wait_for("mcp_list_tools.completed")
        assert done(client, "mcp_call") == []
