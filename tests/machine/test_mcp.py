"""Tools on MCP servers: listed, called by Parley, and asked about where the client wants to be asked."""

import json
from typing import Any

import pytest
from msgspec import UnsetType

from pipeline.types import Message, NamedTool, ToolCall, TurnCall
from server.realtime.inbox import McpListingFailed, McpReturned, McpToolsListed
from server.realtime.mcp_calls import MAX_CALLS, MAX_RESULT_BYTES
from server.realtime.mcp_schema import McpError, McpListedTool
from tests.machine.scenes import MANUAL, answered, error_of, kinds, pause_with_hypothesis, running, say, write
from tests.machine.world import World

URL = "http://127.0.0.1:9000/mcp"
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
READS = {"readOnlyHint": True}
TOOLS = (
    McpListedTool(name="get_weather", description="Tells the weather.", input_schema=SCHEMA, annotations=READS),
    McpListedTool(name="set_alarm", input_schema=SCHEMA),
)


def server(label: str = "home", **more: Any) -> dict[str, Any]:
    return {"type": "mcp", "server_label": label, "server_url": URL, "require_approval": "never"} | more


def update(world: World, *tools: dict[str, Any], **session: Any) -> list[dict[str, Any]]:
    return world.client(type="session.update", session={"type": "realtime", "tools": list(tools), **session})


def listed(world: World, tools: tuple[McpListedTool, ...] = TOOLS) -> list[dict[str, Any]]:
    """The oldest server that was asked tells what it has."""
    return world.handle(McpToolsListed(world.listings.pop(0).listing, tools))


def with_servers(*tools: dict[str, Any], **session: Any) -> World:
    """A session whose servers have all answered."""
    world = World()
    sent = update(world, *(tools or [server()]), **session)
    assert sent[0]["type"] == "session.updated"
    while world.listings:
        listed(world)
    return world


def ask(world: World, **response: Any) -> None:
    write(world, "how is the weather in Paris")
    world.client(type="response.create", **({"response": response} if response else {}))


def call(world: World, name: str = "get_weather", arguments: str = '{"city": "Paris"}', index: int = 0) -> Any:
    """The run under way calls a tool."""
    run = running(world).request.run
    return world.handle(TurnCall(run, index, name, "")) + world.handle(TurnCall(run, index, "", arguments))


def finish(world: World) -> list[dict[str, Any]]:
    return world.step_run(running(world), "finish")


def returned(world: World, result: str | McpError = "sunny") -> list[dict[str, Any]]:
    """The oldest call that was made returns."""
    return world.handle(McpReturned(world.mcp_calls.pop(0).call, result))


def approve(world: World, request_id: str, approve: bool = True, **more: Any) -> list[dict[str, Any]]:
    item = {"type": "mcp_approval_response", "approval_request_id": request_id, "approve": approve, **more}
    return world.client(type="conversation.item.create", item=item)


def asked(world: World) -> str:
    """The model calls a tool that needs approval; returns the id of the request."""
    ask(world)
    call(world)
    request: str = answered(world, clauses=0)["output"][0]["id"]
    return request


def tools_of(world: World) -> list[str]:
    return [tool.name for tool in running(world).request.prompt.tools]


# --- listing ---


def test_a_server_is_asked_for_its_tools_and_they_are_an_item() -> None:
    world = World()
    sent = update(world, server(authorization="SESAME", headers={"x-key": "SESAME"}))
    assert kinds(sent) == ["session.updated", "conversation.item.added", "mcp_list_tools.in_progress"]
    item = sent[1]["item"]
    assert (item["type"], item["server_label"], item["tools"]) == ("mcp_list_tools", "home", [])
    (command,) = world.listings
    assert (command.server.url, command.listing) == (URL, item["id"])
    assert dict(command.server.headers) == {"Authorization": "Bearer SESAME", "x-key": "SESAME"}
    sent = listed(world)
    assert kinds(sent) == ["mcp_list_tools.completed", "conversation.item.done"]
    assert [tool["name"] for tool in sent[1]["item"]["tools"]] == ["get_weather", "set_alarm"]
    assert sent[1]["item"]["tools"][0]["annotations"] == READS
    assert sent[1]["item"]["tools"][1]["description"] == ""


def test_credentials_are_never_told_not_even_to_the_client() -> None:
    world = World()
    sent = update(world, server(authorization="SESAME", headers={"x-key": "SESAME"}))
    sent += listed(world) + world.client(type="session.update", session={"type": "realtime", "instructions": "Hi."})
    assert "SESAME" not in json.dumps(sent)
    assert sent[0]["session"]["tools"] == [server()]
    assert world.closed == [], "what is not shown is not lost: it is the same server"


def test_a_server_that_fails_is_told_with_the_reason_and_the_session_goes_on() -> None:
    world = World()
    update(world, server())
    sent = world.handle(McpListingFailed(world.listings.pop().listing, "127.0.0.1 cannot be reached"))
    assert kinds(sent) == ["mcp_list_tools.failed", "conversation.item.done", "error"]
    error = sent[2]["error"]
    assert (error["type"], error["code"]) == ("server_error", "mcp_list_tools_failed")
    assert "'home'" in error["message"]
    assert "127.0.0.1 cannot be reached" in error["message"]
    ask(world)
    assert tools_of(world) == []
    assert answered(world)["status"] == "completed"


def test_a_server_is_asked_once_unless_it_failed_or_other_tools_are_wanted() -> None:
    world = with_servers()
    update(world, server(require_approval="always"), {"type": "function", "name": "now"})
    assert world.listings == []
    update(world, server(allowed_tools=["set_alarm"]))
    assert len(world.listings) == 1
    world.handle(McpListingFailed(world.listings.pop().listing, "broken"))
    update(world, server(allowed_tools=["set_alarm"]))
    assert len(world.listings) == 1


def test_a_label_alone_means_the_server_as_it_was_defined() -> None:
    world = with_servers(server(authorization="SESAME"))
    update(world, {"type": "mcp", "server_label": "home", "allowed_tools": ["set_alarm"]})
    (command,) = world.listings
    assert dict(command.server.headers) == {"Authorization": "Bearer SESAME"}
    listed(world)
    ask(world)
    assert tools_of(world) == ["set_alarm"]


def test_a_response_waits_for_the_list_of_a_server() -> None:
    world = World()
    update(world, server())
    ask(world)
    assert world.runs == {}
    listed(world)
    assert tools_of(world) == ["get_weather", "set_alarm"]


def test_a_response_that_waits_for_a_server_goes_on_when_that_fails() -> None:
    world = World()
    update(world, server())
    ask(world)
    world.handle(McpListingFailed(world.listings.pop().listing, "broken"))
    assert tools_of(world) == []


def test_a_response_may_have_a_server_of_its_own() -> None:
    world = World()
    ask(world, tools=[server("other")])
    assert [command.server.label for command in world.listings] == ["other"]
    listed(world)
    assert tools_of(world) == ["get_weather", "set_alarm"]
    finish(world)
    assert [closed.server.label for closed in world.closed] == ["other"]
    ask(world)
    assert tools_of(world) == []


def test_a_response_may_narrow_a_server_of_the_session_by_its_label() -> None:
    world = with_servers()
    ask(world, tools=[{"type": "mcp", "server_label": "home", "allowed_tools": ["set_alarm"]}])
    listed(world)
    assert tools_of(world) == ["set_alarm"]
    finish(world)
    assert world.closed == []


def test_a_server_that_nobody_needs_any_more_is_let_go() -> None:
    world = with_servers(server(), server("other"))
    update(world, server("other"))
    assert [closed.server.label for closed in world.closed] == ["home"]


def test_a_server_is_not_let_go_while_it_is_called() -> None:
    world = with_servers()
    ask(world)
    call(world)
    finish(world)
    update(world)
    assert world.closed == []
    returned(world)
    assert [closed.server.label for closed in world.closed] == ["home"]


@pytest.mark.parametrize(
    ("allowed", "left"),
    [
        (["set_alarm"], ["set_alarm"]),
        ([], []),
        (None, ["get_weather", "set_alarm"]),
        ({"tool_names": ["get_weather"]}, ["get_weather"]),
        ({"read_only": True}, ["get_weather"]),
        ({"read_only": False}, ["set_alarm"]),
        ({"read_only": True, "tool_names": ["set_alarm"]}, []),
    ],
)
def test_only_allowed_tools_are_listed_and_offered(allowed: Any, left: list[str]) -> None:
    world = World()
    update(world, server(allowed_tools=allowed))
    item = listed(world)[1]["item"]
    assert [tool["name"] for tool in item["tools"]] == left
    ask(world)
    assert tools_of(world) == left


def test_a_server_with_too_many_tools_is_refused_with_the_mend() -> None:
    world = World()
    update(world, server())
    sent = listed(world, tuple(McpListedTool(name=f"tool_{number}") for number in range(129)))
    assert kinds(sent) == ["mcp_list_tools.failed", "conversation.item.done", "error"]
    assert "allowed_tools" in sent[2]["error"]["message"]


def test_a_list_that_no_event_has_room_for_is_refused() -> None:
    world = World()
    update(world, server())
    sent = listed(world, (McpListedTool(name="wordy", description="x" * 1_100_000),))
    assert kinds(sent) == ["mcp_list_tools.failed", "conversation.item.done", "error"]
    assert sent[1]["item"]["tools"] == []


def test_the_item_of_a_list_may_be_deleted_before_it_is_done() -> None:
    world = World()
    item = update(world, server())[1]["item"]
    world.client(type="conversation.item.delete", item_id=item["id"])
    assert kinds(listed(world)) == ["mcp_list_tools.completed", "conversation.item.done"]
    ask(world)
    assert tools_of(world) == ["get_weather", "set_alarm"]


# --- what the model is told ---


def test_the_model_sees_the_schemas_beside_functions() -> None:
    world = with_servers({"type": "function", "name": "now"}, server(server_description="The house."))
    ask(world)
    tools = running(world).request.prompt.tools
    assert [tool.name for tool in tools] == ["now", "get_weather", "set_alarm"]
    assert tools[1].parameters == SCHEMA
    assert tools[1].description == "Tells the weather.\nThe house."


def test_tools_of_one_name_are_told_apart_by_their_servers() -> None:
    world = with_servers({"type": "function", "name": "set_alarm"}, server("a"), server("b.c"))
    ask(world)
    assert tools_of(world) == ["set_alarm", "a__get_weather", "a__set_alarm", "b_c__get_weather", "b_c__set_alarm"]
    item = call(world, "b_c__get_weather")[0]["item"]
    assert (item["server_label"], item["name"]) == ("b.c", "get_weather")
    finish(world)
    assert world.mcp_calls[0].server.label == "b.c"


@pytest.mark.parametrize("name", ["get_weather", None])
def test_a_tool_of_a_server_may_be_demanded(name: str | None) -> None:
    choice = {"type": "mcp", "server_label": "b"} | ({"name": name} if name else {})
    world = with_servers({"type": "function", "name": "now"}, server("a"), server("b"), tool_choice=choice)
    assert world.wire.of_type("session.updated")[0]["session"]["tool_choice"] == choice
    ask(world)
    if name:
        assert running(world).request.tool_choice == NamedTool("b__get_weather")
    else:
        assert running(world).request.tool_choice == "required"
        assert tools_of(world) == ["b__get_weather", "b__set_alarm"]


def test_a_demanded_tool_that_the_server_does_not_have_fails_the_response() -> None:
    world = with_servers(tool_choice={"type": "mcp", "server_label": "home", "name": "fly"})
    write(world, "fly")
    sent = world.client(type="response.create")
    response = sent[-1]["response"]
    assert response["status"] == "failed"
    assert "'fly'" in response["status_details"]["error"]["message"]


def test_nothing_is_held_while_a_list_is_awaited() -> None:
    world = World()
    update(world, server())
    world.speak(10, voiced=True)
    world.speak(3, voiced=False)
    world.answer_hypothesis("hello")
    assert world.runs == {}


def test_a_held_call_is_made_when_the_turn_is_over_and_not_before() -> None:
    world = with_servers()
    run = pause_with_hypothesis(world, "how is the weather")
    world.handle(TurnCall(run.request.run, 0, "get_weather", "{}"))
    world.step_run(run, "finish")
    assert world.mcp_calls == []
    world.speak(13, voiced=False)
    world.transcribe(world.finishing[0], "how is the weather")
    assert [command.name for command in world.mcp_calls] == ["get_weather"]
    assert returned(world)[-1]["response"]["status"] == "completed"


def test_a_held_call_is_never_made_when_the_user_goes_on() -> None:
    world = with_servers()
    run = pause_with_hypothesis(world, "how is the weather")
    world.handle(TurnCall(run.request.run, 0, "get_weather", "{}"))
    world.step_run(run, "finish")
    world.speak(5, voiced=True)
    world.speak(16, voiced=False)
    world.transcribe(world.finishing[0], "how is the weather today")
    world.step_run([made for made in world.runs.values() if not made.cancelled][-1], "finish")
    assert world.mcp_calls == []


def test_speech_without_words_after_a_list_is_not_answered() -> None:
    world = World()
    world.speak(10, voiced=True)
    world.speak(16, voiced=False)
    update(world, server())
    listed(world)
    world.transcribe(world.finishing[0], "")
    assert world.wire.of_type("response.done")[-1]["response"]["output"] == []


# --- calls ---


def test_a_call_is_made_and_told_in_the_order_of_the_protocol() -> None:
    world = with_servers()
    ask(world)
    sent = call(world) + finish(world)
    assert kinds(sent) == [
        "response.output_item.added",
        "conversation.item.added",
        "response.mcp_call_arguments.delta",
        "response.mcp_call_arguments.done",
        "response.mcp_call.in_progress",
    ]
    (command,) = world.mcp_calls
    assert (command.server.url, command.name, command.arguments) == (URL, "get_weather", '{"city": "Paris"}')
    sent = returned(world)
    assert kinds(sent) == [
        "response.mcp_call.completed",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
    ]
    item = sent[2]["item"]
    assert item == {
        "id": command.call,
        "type": "mcp_call",
        "server_label": "home",
        "name": "get_weather",
        "arguments": '{"city": "Paris"}',
        "approval_request_id": None,
        "output": "sunny",
        "error": None,
    }
    assert sent[3]["response"]["output"] == [item]


def test_the_client_asks_for_the_answer_and_the_model_sees_the_result() -> None:
    world = with_servers()
    ask(world)
    call(world)
    finish(world)
    item = returned(world)[-1]["response"]["output"][0]
    assert len(world.runs) == 1, "the server does not go on by itself"
    world.client(type="response.create")
    assert running(world).request.prompt.messages[2:] == (
        Message("assistant", "", (ToolCall(item["id"], "get_weather", '{"city": "Paris"}'),)),
        Message("tool", "sunny", call_id=item["id"]),
    )


@pytest.mark.parametrize(
    "error",
    [
        McpError(type="tool_execution_error", message="no such city"),
        McpError(type="http_error", code=503, message="no such city"),
        McpError(type="protocol_error", code=-32602, message="no such city"),
    ],
)
def test_a_call_that_fails_is_told_and_the_model_sees_why(error: McpError) -> None:
    world = with_servers()
    ask(world)
    call(world)
    finish(world)
    sent = returned(world, error)
    assert kinds(sent)[0] == "response.mcp_call.failed"
    assert sent[-1]["response"]["status"] == "completed"
    item = sent[-1]["response"]["output"][0]
    assert (item["output"], item["error"]["type"], item["error"]["message"]) == (None, error.type, "no such city")
    world.client(type="response.create")
    code = "" if isinstance(error.code, UnsetType) else f" {error.code}"
    assert running(world).request.prompt.messages[-1].text == f"Error{code}: no such city"


def test_calls_run_at_a_time_and_the_response_ends_with_the_last() -> None:
    world = with_servers()
    ask(world)
    call(world)
    call(world, "set_alarm", index=1)
    finish(world)
    world.mcp_calls.reverse()
    assert kinds(returned(world, "set")) == [
        "response.mcp_call.completed",
        "conversation.item.done",
        "response.output_item.done",
    ]
    response = returned(world)[-1]["response"]
    assert [(item["name"], item["output"]) for item in response["output"]] == [
        ("get_weather", "sunny"),
        ("set_alarm", "set"),
    ]


def test_a_call_that_returns_while_the_reply_goes_on_does_not_end_it() -> None:
    world = with_servers()
    ask(world)
    call(world)
    world.step_run(running(world), "clause")
    assert kinds(returned(world))[-1] == "response.output_item.done"
    response = finish(world)[-1]["response"]
    assert [item["type"] for item in response["output"]] == ["mcp_call", "message"]


def test_a_call_without_arguments_is_made_with_none() -> None:
    world = with_servers()
    ask(world)
    call(world, arguments="")
    finish(world)
    assert world.mcp_calls[0].arguments == "{}"


@pytest.mark.parametrize("end", ["finish", "limit"])
@pytest.mark.parametrize("approval", ["never", "always"])
def test_a_call_that_is_not_whole_is_not_made(end: str, approval: str) -> None:
    world = with_servers(server(require_approval=approval))
    ask(world)
    call(world, arguments='{"city": ')
    response = world.step_run(running(world), end)[-1]["response"]
    (item,) = response["output"]
    assert (item["type"], item["output"], item["error"]["type"]) == ("mcp_call", None, "protocol_error")
    assert world.mcp_calls == []
    world.client(type="response.create")
    assert len(running(world).request.prompt.messages) == 2, "half a call is no history"


def test_more_calls_than_an_event_has_room_for_are_not_made() -> None:
    world = with_servers()
    ask(world)
    for index in range(MAX_CALLS + 1):
        call(world, index=index)
    finish(world)
    assert len(world.mcp_calls) == MAX_CALLS
    while world.mcp_calls:
        sent = returned(world)
    assert str(MAX_CALLS) in sent[-1]["response"]["output"][-1]["error"]["message"]


def test_a_result_that_is_too_long_is_an_error() -> None:
    world = with_servers()
    ask(world)
    call(world)
    finish(world)
    item = returned(world, "é" * (MAX_RESULT_BYTES // 2 + 1))[-1]["response"]["output"][0]
    assert (item["output"], item["error"]["type"]) == (None, "tool_execution_error")


# --- interruptions ---


@pytest.mark.parametrize("how", ["speech", "cancel", "failure"])
def test_the_result_of_a_call_outlives_its_response(how: str) -> None:
    world = with_servers()
    ask(world)
    call(world)
    if how == "failure":
        world.step_run(running(world), "clause")
        sent = world.step_run(running(world), "fail")
    else:
        finish(world)
        before = len(world.wire.events)
        world.speak(10, voiced=True) if how == "speech" else world.client(type="response.cancel")
        sent = [event for event in world.wire.events[before:] if event["type"].startswith("response.")]
    assert sent[-1]["response"]["status"] == ("failed" if how == "failure" else "cancelled")
    assert sent[-1]["response"]["output"][0]["output"] is None
    sent = returned(world)
    assert kinds(sent) == ["response.mcp_call.completed", "conversation.item.done"]
    assert sent[1]["item"]["output"] == "sunny"
    if how == "speech":
        world.speak(16, voiced=False)
        world.transcribe(world.finishing[0], "thanks")
    else:
        world.client(type="response.create")
    assert "sunny" in [message.text for message in running(world).request.prompt.messages]


def test_what_an_interrupted_response_cost_is_not_forgotten() -> None:
    world = with_servers()
    ask(world)
    call(world)
    finish(world)
    sent = world.client(type="response.cancel")
    assert sent[-1]["response"]["usage"]["output_tokens"] > 0


def test_a_call_out_of_band_is_told_in_its_response_alone() -> None:
    world = with_servers()
    ask(world, conversation="none")
    sent = call(world) + finish(world) + returned(world)
    assert not [kind for kind in kinds(sent) if kind.startswith("conversation.")]
    assert sent[-1]["response"]["output"][0]["output"] == "sunny"


def test_a_call_out_of_band_ends_with_its_response() -> None:
    world = with_servers()
    ask(world, conversation="none")
    response_id = (call(world) + finish(world))[0]["response_id"]
    (command,) = world.mcp_calls
    world.client(type="response.cancel", response_id=response_id)
    assert [cancelled.call for cancelled in world.cancelled_calls] == [command.call]
    assert returned(world) == []


def test_calls_end_with_the_session() -> None:
    world = with_servers()
    ask(world)
    call(world)
    finish(world)
    world.disconnect()
    assert [cancelled.call for cancelled in world.cancelled_calls] == [world.mcp_calls[0].call]


def test_a_call_whose_item_was_deleted_is_forgotten() -> None:
    world = with_servers()
    ask(world)
    item_id = call(world)[0]["item"]["id"]
    finish(world)
    world.client(type="conversation.item.delete", item_id=item_id)
    assert kinds(returned(world))[-1] == "response.done"
    world.client(type="response.create")
    assert len(running(world).request.prompt.messages) == 2


# --- approval ---


def test_a_call_that_needs_approval_is_a_request_and_ends_the_response() -> None:
    world = with_servers(server(require_approval="always"))
    ask(world)
    assert call(world) == [], "a request is told when it is whole"
    sent = finish(world)
    assert kinds(sent) == [
        "response.output_item.added",
        "conversation.item.added",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
    ]
    item = sent[0]["item"]
    assert item == {
        "id": item["id"],
        "type": "mcp_approval_request",
        "server_label": "home",
        "name": "get_weather",
        "arguments": '{"city": "Paris"}',
    }
    assert sent[-1]["response"]["output"] == [item]
    assert world.mcp_calls == []


def test_an_approved_call_is_made_and_its_result_is_history() -> None:
    world = with_servers(server(require_approval="always"))
    request_id = asked(world)
    sent = approve(world, request_id)
    assert kinds(sent) == [
        "conversation.item.added",
        "conversation.item.done",
        "conversation.item.added",
        "response.mcp_call.in_progress",
    ]
    assert sent[0]["item"]["type"] == "mcp_approval_response"
    assert (sent[2]["item"]["type"], sent[2]["item"]["approval_request_id"]) == ("mcp_call", request_id)
    assert world.mcp_calls[0].arguments == '{"city": "Paris"}'
    sent = returned(world)
    assert kinds(sent) == ["response.mcp_call.completed", "conversation.item.done"]
    assert sent[1]["item"]["output"] == "sunny"
    world.client(type="response.create")
    assert [message.role for message in running(world).request.prompt.messages[2:]] == ["assistant", "tool"]
    assert running(world).request.prompt.messages[-1].text == "sunny"


def test_a_call_that_is_not_approved_is_not_made_and_the_model_is_told() -> None:
    world = with_servers(server(require_approval="always"))
    request_id = asked(world)
    sent = approve(world, request_id, approve=False, reason="It costs money.")
    assert kinds(sent) == ["conversation.item.added", "conversation.item.done"]
    assert sent[0]["item"]["reason"] == "It costs money."
    assert world.mcp_calls == []
    world.client(type="response.create")
    call_message, told = running(world).request.prompt.messages[2:]
    assert call_message.calls[0].name == "get_weather"
    assert told.text == "The user did not allow this call. It costs money."


def test_a_request_that_is_not_answered_is_no_history() -> None:
    world = with_servers(server(require_approval="always"))
    asked(world)
    world.client(type="response.create")
    assert [message.role for message in running(world).request.prompt.messages] == ["system", "user"]


def test_a_request_is_answered_once_and_there_has_to_be_one() -> None:
    world = with_servers(server(require_approval="always"))
    error = error_of(approve(world, "item_unknown"))
    assert error["param"] == "item.approval_request_id"
    request_id = asked(world)
    approve(world, request_id)
    assert error_of(approve(world, request_id))["param"] == "item.approval_request_id"
    assert len(world.mcp_calls) == 1


@pytest.mark.parametrize(
    ("rule", "asks"),
    [
        ("always", {"get_weather", "set_alarm"}),
        ("never", set()),
        (None, {"get_weather", "set_alarm"}),
        ({"always": {"tool_names": ["set_alarm"]}}, {"set_alarm"}),
        ({"never": {"tool_names": ["set_alarm"]}}, {"get_weather"}),
        ({"never": {"read_only": True}}, {"set_alarm"}),
        ({"always": {"tool_names": ["get_weather"]}, "never": {"read_only": True}}, {"get_weather", "set_alarm"}),
        ({"always": {"read_only": False}, "never": {"tool_names": ["get_weather"]}}, {"set_alarm"}),
        ({}, {"get_weather", "set_alarm"}),
    ],
)
def test_the_client_is_asked_about_the_tools_that_it_says(rule: Any, asks: set[str]) -> None:
    world = with_servers(server(require_approval=rule))
    ask(world)
    for index, tool in enumerate(TOOLS):
        call(world, tool.name, index=index)
    sent = finish(world)
    items = [event["item"] for event in world.wire.of_type("response.output_item.added")]
    assert {item["name"] for item in items if item["type"] == "mcp_approval_request"} == asks
    assert {command.name for command in world.mcp_calls} == {"get_weather", "set_alarm"} - asks
    assert ("response.done" in kinds(sent)) == (not world.mcp_calls)


def test_what_is_approved_out_of_band_is_told_in_the_conversation() -> None:
    world = with_servers(server(require_approval="always"))
    ask(world, conversation="none")
    call(world)
    sent = finish(world)
    assert not [kind for kind in kinds(sent) if kind.startswith("conversation.")]
    approve(world, sent[-1]["response"]["output"][0]["id"])
    assert returned(world)[-1]["item"]["output"] == "sunny"


def test_nothing_said_means_that_the_client_is_asked() -> None:
    world = with_servers({"type": "mcp", "server_label": "home", "server_url": URL})
    ask(world)
    call(world)
    assert answered(world, clauses=0)["output"][0]["type"] == "mcp_approval_request"


def test_a_request_that_was_cut_off_is_no_request() -> None:
    world = with_servers(server(require_approval="always"), **{k: v for k, v in MANUAL.items() if k != "type"})
    ask(world)
    call(world)
    response = world.client(type="response.cancel")[-1]["response"]
    assert [item["type"] for item in response["output"]] == ["mcp_call"]


# --- history that the client tells ---


def test_a_client_may_tell_of_calls_that_were_made_before() -> None:
    world = World()
    item = {"type": "mcp_call", "server_label": "home", "name": "now", "arguments": "{}", "output": "noon"}
    sent = world.client(type="conversation.item.create", item=item)
    assert kinds(sent) == ["conversation.item.added", "conversation.item.done"]
    assert world.mcp_calls == []
    world.client(type="response.create")
    assert running(world).request.prompt.messages[-1].text == "noon"


# --- what is refused ---

REFUSED_TOOLS: list[tuple[dict[str, Any], str]] = [
    ({"connector_id": "connector_gmail", "server_url": None}, "connector_id"),
    ({"tunnel_id": "tunnel_1", "server_url": None}, "tunnel_id"),
    ({"defer_loading": True}, "defer_loading"),
    ({"allowed_callers": ["programmatic"]}, "allowed_callers"),
    ({"server_url": None}, "server_url"),
    ({"server_url": "ftp://host/mcp"}, "server_url"),
    ({"server_url": "/mcp"}, "server_url"),
    ({"server_url": "http://host:port/mcp"}, "server_url"),
    ({"server_url": "http://me:secret@host/mcp"}, "server_url"),
    ({"headers": {"x y": "1"}}, "headers"),
    ({"headers": {"x": "1\r\ny: 2"}}, "headers"),
    ({"headers": {"Host": "elsewhere"}}, "headers"),
    ({"headers": {"Authorization": "Basic x"}, "authorization": "y"}, "authorization"),
    ({"authorization": "a\nb"}, "authorization"),
    ({"server_label": ""}, "server_label"),
    ({"require_approval": "sometimes"}, "require_approval"),
    ({"require_approval": {"always": {"names": []}}}, "require_approval.always.names"),
    ({"allowed_tools": 5}, "allowed_tools"),
    ({"color": "red"}, "color"),
]


@pytest.mark.parametrize(("wrong", "param"), REFUSED_TOOLS, ids=[param for _, param in REFUSED_TOOLS])
def test_what_cannot_be_done_with_a_server_is_refused_by_name(wrong: dict[str, Any], param: str) -> None:
    world = World()
    tool = {name: value for name, value in server(**wrong).items() if value is not None}
    error = error_of(update(world, tool))
    assert error["param"] == f"session.tools[0].{param}"
    assert "secret" not in error["message"]
    assert world.listings == []
    error = error_of(world.client(type="response.create", response={"tools": [tool]}))
    assert error["param"] == f"response.tools[0].{param}"


def test_two_servers_of_one_label_are_refused() -> None:
    assert error_of(update(World(), server(), server()))["param"] == "session.tools[1].server_label"


def test_a_choice_of_a_server_that_is_not_there_is_refused() -> None:
    choice = {"type": "mcp", "server_label": "away"}
    error = error_of(update(World(), server(), tool_choice=choice))
    assert error["param"] == "session.tool_choice"
    assert "home" in error["message"]


@pytest.mark.parametrize(
    ("item", "param"),
    [
        ({"type": "mcp_list_tools", "server_label": "a", "tools": []}, "item.type"),
        ({"type": "mcp_approval_request"}, "item.type"),
        ({"type": "mcp_approval_response", "approve": True}, "item.approval_request_id"),
        ({"type": "mcp_approval_response", "approval_request_id": "x"}, "item.approve"),
        ({"type": "mcp_approval_response", "approval_request_id": "x", "approve": "yes"}, "item.approve"),
        ({"type": "mcp_approval_response", "approval_request_id": "x", "approve": True, "name": "n"}, "item.name"),
        (
            {"type": "mcp_approval_response", "approval_request_id": "x", "approve": True, "status": "completed"},
            "item.status",
        ),
        ({"type": "mcp_call", "server_label": "a", "name": "b", "arguments": "{}"}, "item.output"),
        ({"type": "mcp_call", "server_label": "a", "name": "b", "arguments": "[]", "output": ""}, "item.arguments"),
        ({"type": "function_call", "name": "b", "arguments": "{}", "server_label": "a"}, "item.server_label"),
    ],
)
def test_items_that_are_not_the_clients_to_make_or_are_wrong_are_refused(item: dict[str, Any], param: str) -> None:
    error = error_of(World().client(type="conversation.item.create", item=item, event_id="mine"))
    assert (error["param"], error["event_id"]) == (param, "mine")


def test_a_spoken_turn_calls_a_tool_too() -> None:
    world = with_servers()
    say(world, "how is the weather")
    call(world)
    finish(world)
    assert returned(world)[-1]["response"]["status"] == "completed"
