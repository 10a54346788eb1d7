"""Functions that the model may call: described to it, called on the wire, answered, and answered to."""

import dataclasses
import json
from typing import Any

import pytest

from pipeline.types import Message, NamedTool, Tool, ToolCall, TurnCall
from tests.machine.scenes import answered, configured, error_of, kinds, pause_with_hypothesis, running, say, sing, write
from tests.machine.world import PROFILE, World

PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}}
WEATHER = {"type": "function", "name": "get_weather", "description": "Tells the weather.", "parameters": PARAMETERS}
WITH_TOOLS = {"type": "realtime", "tools": [WEATHER]}


def call(world: World, *pieces: str, index: int = 0, name: str = "get_weather") -> list[dict[str, Any]]:
    """The run under way calls a function; returns what was sent."""
    sent = []
    for number, piece in enumerate(pieces):
        sent += world.handle(TurnCall(running(world).request.run, index, "" if number else name, piece))
    return sent


def answer_call(world: World, call_id: str, output: str = "sunny") -> list[dict[str, Any]]:
    item = {"type": "function_call_output", "call_id": call_id, "output": output}
    return world.client(type="conversation.item.create", item=item)


def called(world: World) -> tuple[dict[str, Any], str]:
    """A response that calls a function; returns it and the id of the call."""
    say(world, "how is the weather in Paris")
    call(world, '{"city": ', '"Paris"}')
    response = answered(world, clauses=0)
    return response, response["output"][-1]["call_id"]


def test_the_model_is_told_of_the_tools_and_how_to_choose() -> None:
    world = configured({**WITH_TOOLS, "tool_choice": "required"})
    say(world, "hello there")
    request = running(world).request
    assert request.prompt.tools == (Tool("get_weather", "Tells the weather.", PARAMETERS),)
    assert request.tool_choice == "required"


@pytest.mark.parametrize("choice", [{"type": "function", "name": "get_weather"}, "get_weather"])
def test_one_function_may_be_demanded_as_an_object_or_by_its_name(choice: Any) -> None:
    world = configured(WITH_TOOLS)
    world.client(type="response.create", response={"tool_choice": choice})
    assert running(world).request.tool_choice == NamedTool("get_weather")


def test_a_response_may_have_tools_of_its_own() -> None:
    world = configured(WITH_TOOLS)
    other = {"type": "function", "name": "set_alarm"}
    world.client(type="response.create", response={"tools": [other], "parallel_tool_calls": False})
    assert [tool.name for tool in running(world).request.prompt.tools] == ["set_alarm"]
    assert not running(world).request.parallel_tool_calls
    world.client(type="response.cancel")
    world.client(type="response.create")
    assert [tool.name for tool in running(world).request.prompt.tools] == ["get_weather"]


def test_a_call_is_sent_in_the_order_of_the_protocol() -> None:
    world = configured(WITH_TOOLS)
    say(world, "how is the weather in Paris")
    sent = call(world, "", '{"city": ', '"Paris"}')
    sent += world.step_run(running(world), "finish")
    assert kinds(sent) == [
        "response.output_item.added",
        "conversation.item.added",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
    ]
    added, item = sent[0]["item"], sent[-2]["item"]
    assert (added["status"], added["arguments"]) == ("in_progress", "")
    assert (item["status"], item["name"]) == ("completed", "get_weather")
    assert json.loads(item["arguments"]) == {"city": "Paris"}
    assert sent[-1]["response"]["output"] == [item]


def test_words_and_two_calls_in_one_reply_are_three_items() -> None:
    world = configured(WITH_TOOLS)
    say(world, "how is the weather in Paris and Rome")
    sing(world, running(world), "Let me look. ", 500)
    call(world, '{"city": "Paris"}')
    call(world, '{"city": "Rome"}', index=1)
    response = answered(world, clauses=0)
    assert [item["type"] for item in response["output"]] == ["message", "function_call", "function_call"]
    assert response["output"][1]["call_id"] != response["output"][2]["call_id"]
    world.client(type="response.create")
    assert [message.role for message in running(world).request.prompt.messages] == ["system", "user", "assistant"]
    assert running(world).request.prompt.messages[-1].calls == (), "calls without an answer are left out"


def test_the_answer_to_a_call_leads_to_a_second_response() -> None:
    world = configured(WITH_TOOLS)
    _, call_id = called(world)
    sent = answer_call(world, call_id)
    assert kinds(sent) == ["conversation.item.added", "conversation.item.done"]
    assert sent[0]["item"]["output"] == "sunny"
    world.client(type="response.create")
    messages = running(world).request.prompt.messages
    assert messages[2:] == (
        Message("assistant", "", (ToolCall(call_id, "get_weather", '{"city": "Paris"}'),)),
        Message("tool", "sunny", call_id=call_id),
    )
    assert answered(world)["output"][0]["type"] == "message"


def test_an_answer_that_comes_late_is_told_where_the_call_is() -> None:
    world = configured(WITH_TOOLS)
    _, call_id = called(world)
    write(world, "are you there?")
    answer_call(world, call_id)
    world.client(type="response.create")
    roles = [message.role for message in running(world).request.prompt.messages]
    assert roles == ["system", "user", "assistant", "tool", "user"]


def test_a_client_may_tell_of_calls_that_were_made_before() -> None:
    world = configured(WITH_TOOLS)
    item = {"type": "function_call", "name": "get_weather", "arguments": "{}", "call_id": "call_mine"}
    sent = world.client(type="conversation.item.create", item=item)
    assert sent[0]["item"]["call_id"] == "call_mine"
    answer_call(world, "call_mine")
    world.client(type="response.create")
    assert running(world).request.prompt.messages[1].calls[0].id == "call_mine"


def test_a_call_of_a_held_reply_reaches_nobody_before_the_commit() -> None:
    world = configured(WITH_TOOLS)
    run = pause_with_hypothesis(world, "how is the weather")
    before = len(world.wire.events)
    call(world, '{"city": "Paris"}')
    assert len(world.wire.events) == before
    world.speak(1, voiced=True)
    assert run.cancelled
    assert not world.wire.of_type("response.output_item.added")


def test_a_call_that_was_interrupted_is_incomplete_and_cannot_be_answered() -> None:
    world = configured(WITH_TOOLS)
    say(world, "how is the weather in Paris")
    call(world, '{"ci')
    world.speak(1, voiced=True)
    (item,) = world.wire.of_type("response.done")[-1]["response"]["output"]
    assert (item["type"], item["status"]) == ("function_call", "incomplete")
    assert error_of(answer_call(world, item["call_id"]))["code"] == "invalid_tool_call_id"


def test_a_call_without_arguments_has_an_empty_object() -> None:
    world = configured(WITH_TOOLS)
    say(world, "how is the weather")
    call(world, "")
    sent = world.step_run(running(world), "finish")
    assert kinds(sent)[:2] == ["response.function_call_arguments.delta", "response.function_call_arguments.done"]
    item = sent[-1]["response"]["output"][0]
    assert (item["arguments"], item["status"]) == ("{}", "completed")


@pytest.mark.parametrize("arguments", ['{"city": ', "[]", "Paris"])
def test_a_call_whose_arguments_are_no_object_is_incomplete(arguments: str) -> None:
    """A client that makes completed calls can read their arguments, and so can whoever is told of them later."""
    world = configured(WITH_TOOLS)
    say(world, "how is the weather")
    call(world, arguments)
    call(world, "{}", index=1)
    first, second = answered(world, clauses=0)["output"]
    assert (first["status"], first["arguments"]) == ("incomplete", arguments)
    assert second["status"] == "completed"
    assert error_of(answer_call(world, first["call_id"]))["code"] == "invalid_tool_call_id"


def test_an_output_is_answered_although_something_was_said_since_that_nobody_understood() -> None:
    world = configured(WITH_TOOLS)
    _, call_id = called(world)
    answer_call(world, call_id)
    say(world, "")
    assert [message.role for message in running(world).request.prompt.messages][-1] == "tool"
    answered(world)
    say(world, "")
    assert world.wire.of_type("response.done")[-1]["response"]["output"] == [], "it has been answered"


@pytest.mark.parametrize(
    ("item", "param"),
    [
        ({"type": "function_call_output", "call_id": "call_unknown", "output": "x"}, "item.call_id"),
        ({"type": "function_call_output", "call_id": "call_unknown"}, "item.output"),
        ({"type": "function_call_output", "output": "x"}, "item.call_id"),
        ({"type": "function_call", "name": "f", "arguments": "no JSON"}, "item.arguments"),
        ({"type": "function_call", "name": "f", "arguments": "[1]"}, "item.arguments"),
        ({"type": "function_call", "name": "f"}, "item.arguments"),
        ({"type": "function_call", "arguments": "{}"}, "item.name"),
        ({"type": "function_call", "name": "f", "arguments": "{}", "role": "user"}, "item.role"),
        ({"type": "message", "role": "user", "content": [], "output": "x"}, "item.output"),
        ({"type": "message", "content": []}, "item.role"),
        ({"type": "message", "role": "user"}, "item.content"),
    ],
)
def test_an_item_that_is_not_whole_or_not_one_thing_is_refused(item: dict[str, Any], param: str) -> None:
    world = configured(WITH_TOOLS)
    assert error_of(world.client(type="conversation.item.create", item=item))["param"] == param


def test_a_call_has_no_sound_to_truncate() -> None:
    world = configured(WITH_TOOLS)
    response, _ = called(world)
    item_id = response["output"][0]["id"]
    sent = world.client(type="conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=0)
    assert error_of(sent)["param"] == "item_id"


@pytest.mark.parametrize(
    ("able", "session", "param"),
    [
        ({"tools": False}, WITH_TOOLS, "session.tools"),
        ({"forced_calls": False}, {**WITH_TOOLS, "tool_choice": "required"}, "session.tool_choice"),
        ({"forced_calls": False}, {**WITH_TOOLS, "tool_choice": "get_weather"}, "session.tool_choice"),
    ],
)
def test_what_the_model_cannot_do_is_refused(able: dict[str, bool], session: dict[str, Any], param: str) -> None:
    world = World(dataclasses.replace(PROFILE, **able))
    assert error_of(world.client(type="session.update", session=session))["param"] == param


def test_a_choice_of_a_response_is_judged_with_the_tools_that_it_will_have() -> None:
    world = configured(WITH_TOOLS)
    sent = world.client(type="response.create", response={"tools": [], "tool_choice": "get_weather"})
    assert error_of(sent)["param"] == "response.tool_choice"
