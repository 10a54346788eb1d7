"""What a client may ask of the language model: how much it reasons, how long its memory is, how many calls it makes;
and what null says.
"""

import dataclasses
from typing import Any

import pytest

from pipeline.types import AUTO, Generated, Truncation, TurnFailed, TurnFinished
from server.wire import beta
from tests.machine.scenes import answered, configured, error_of, kinds, running, say, write
from tests.machine.world import PROFILE, World

ABLE = dataclasses.replace(PROFILE, reasoning=True, truncation=True, context=4096)


def updated(world: World, **session: Any) -> dict[str, Any]:
    (event,) = world.client(type="session.update", event_id="mine", session={"type": "realtime", **session})
    return event


# --- truncation -----------------------------------------------------------------------------------------------

RATIO = {"type": "retention_ratio", "retention_ratio": 0.8}


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("auto", AUTO),
        ("disabled", Truncation("disabled")),
        (RATIO, Truncation("retention_ratio", 0.8)),
        ({**RATIO, "token_limits": {"post_instructions": 2000}}, Truncation("retention_ratio", 0.8, 2000)),
    ],
)
def test_the_model_is_told_what_becomes_of_a_long_conversation(asked: Any, meant: Truncation) -> None:
    world = World(ABLE)
    assert updated(world, truncation=asked)["session"]["truncation"] == asked
    write(world, "hello")
    world.client(type="response.create")
    assert running(world).request.truncation == meant


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ("never", "session.truncation"),
        ({"type": "retention_ratio"}, "session.truncation.retention_ratio"),
        ({**RATIO, "retention_ratio": 1.5}, "session.truncation.retention_ratio"),
        ({**RATIO, "token_limits": {"post_instructions": 0}}, "session.truncation.token_limits.post_instructions"),
        ({**RATIO, "token_limits": {"post_instructions": 5000}}, "session.truncation.token_limits.post_instructions"),
        ({**RATIO, "token_limits": {"all": 1}}, "session.truncation.token_limits.all"),
        ({**RATIO, "keep": 1}, "session.truncation.keep"),
    ],
)
def test_a_truncation_that_cannot_be_is_refused(asked: Any, param: str) -> None:
    error = error_of([updated(World(ABLE), truncation=asked)])
    assert (error["param"], error["event_id"]) == (param, "mine")


def test_a_limit_leaves_room_for_the_reply() -> None:
    world = World(ABLE)
    limit = {**RATIO, "token_limits": {"post_instructions": 4000}}
    assert updated(world, truncation=limit)["type"] == "session.updated"
    error = error_of([updated(world, max_output_tokens=1000)])
    assert "at most 3096" in error["message"]


def test_what_the_model_cannot_be_held_to_is_refused() -> None:
    for asked in ("disabled", RATIO):
        assert error_of([updated(World(), truncation=asked)])["param"] == "session.truncation"
        unknown = dataclasses.replace(ABLE, context=None)
        assert "`context` of" in error_of([updated(World(unknown), truncation=asked)])["message"].replace("\n", " ")
    limited = {**RATIO, "token_limits": {"post_instructions": 2000}}
    assert updated(World(dataclasses.replace(ABLE, context=None)), truncation=limited)["type"] == "session.updated"


def test_what_was_left_out_of_the_prompt_does_not_count() -> None:
    world = World(ABLE)
    say(world, "hello there")
    answered(world)
    world.now += 60_000
    once = world.wire.of_type("response.done")[0]["response"]["usage"]["input_token_details"]["audio_tokens"]
    say(world, "and once more")
    run = running(world).request
    assert [message.text for message in run.prompt.messages][1::2] == ["hello there", "and once more"]
    generated = Generated("stop", input_tokens=20, output_tokens=5, left_out=frozenset({1, 2}))
    done = world.handle(TurnFinished(run.run, generated))[-1]["response"]
    assert 0 < once == done["usage"]["input_token_details"]["audio_tokens"]
    assert done["usage"]["total_tokens"] == 25 + once


def test_a_conversation_that_is_too_long_fails_the_response_by_the_schemas_name() -> None:
    world = World(ABLE)
    write(world, "hello")
    world.client(type="response.create")
    failed = TurnFailed(running(world).request.run, "context_length_exceeded", "Too long.", "invalid_request_error")
    response = world.handle(failed)[-1]["response"]
    assert response["status"] == "failed"
    assert response["status_details"]["error"]["code"] == "context_length_exceeded"
    assert response["status_details"]["error"]["type"] == "invalid_request_error"


# --- reasoning ------------------------------------------------------------------------------------------------


def test_the_effort_of_the_session_is_that_of_its_responses_unless_they_have_their_own() -> None:
    world = World(ABLE)
    assert updated(world)["session"]["reasoning"] is None
    assert updated(world, reasoning={"effort": "low"})["session"]["reasoning"] == {"effort": "low"}
    write(world, "hello")
    world.client(type="response.create", response={"reasoning": {"effort": "xhigh"}})
    assert running(world).request.effort == "xhigh"
    answered(world)
    for reasoning in ({}, {"reasoning": None}, {"reasoning": {}}):
        world.client(type="response.create", response=reasoning)
        assert running(world).request.effort == "low"
        answered(world)
    assert updated(world, reasoning=None)["session"]["reasoning"] is None
    world.client(type="response.create")
    assert running(world).request.effort is None


def test_a_model_that_does_not_reason_is_named() -> None:
    world = World()
    error = error_of([updated(world, reasoning={"effort": "low"})])
    assert error["param"] == "session.reasoning.effort"
    assert "'mini' does not reason" in error["message"]
    sent = world.client(type="response.create", response={"reasoning": {"effort": "high"}})
    assert error_of(sent)["param"] == "response.reasoning.effort"
    assert updated(world, reasoning={})["type"] == "session.updated", "nothing is asked for"


@pytest.mark.parametrize("reasoning", ["low", {"effort": "none"}, {"effort": 1}, {"summary": "auto"}])
def test_an_effort_that_there_is_not_is_refused(reasoning: Any) -> None:
    assert error_of([updated(World(ABLE), reasoning=reasoning)])["param"].startswith("session.reasoning")


# --- stored prompts, parallel calls ---------------------------------------------------------------------------


def test_stored_prompts_are_refused_with_a_reason() -> None:
    world = World()
    error = error_of([updated(world, prompt={"id": "pmpt_1"})])
    assert error["param"] == "session.prompt"
    assert "`instructions`" in error["message"]
    error = error_of(world.client(type="response.create", response={"prompt": {"id": "pmpt_1"}}))
    assert error["param"] == "response.prompt"
    assert "`instructions`" in error["message"]


def test_parallel_calls_are_the_sessions_unless_a_response_says_otherwise() -> None:
    world = World()
    assert updated(world)["session"]["parallel_tool_calls"] is True
    assert updated(world, parallel_tool_calls=False)["session"]["parallel_tool_calls"] is False
    write(world, "hello")
    world.client(type="response.create")
    assert running(world).request.parallel_tool_calls is False
    answered(world)
    world.client(type="response.create", response={"parallel_tool_calls": True})
    assert running(world).request.parallel_tool_calls is True


@pytest.mark.parametrize("field", ["reasoning", "truncation", "parallel_tool_calls", "prompt"])
def test_the_older_dialect_has_none_of_these(field: str) -> None:
    world = World(ABLE, dialect=beta)
    (created,) = world.wire.of_type("session.created")
    assert field not in created["session"]
    error = error_of(world.client(type="session.update", session={field: None}))
    assert (error["code"], error["param"]) == ("unknown_parameter", f"session.{field}")


# --- null -----------------------------------------------------------------------------------------------------

TOOL = {"type": "function", "name": "f"}
SETTINGS: dict[str, Any] = {
    "instructions": "Sing.",
    "output_modalities": ["text"],
    "max_output_tokens": 50,
    "tools": [TOOL],
    "tool_choice": "required",
    "parallel_tool_calls": False,
    "truncation": "disabled",
    "audio": {"output": {"voice": "two", "speed": 0.5}},
}


def test_null_changes_nothing_that_cannot_be_absent() -> None:
    world = World(ABLE)
    before = updated(world, **SETTINGS)["session"]
    assert updated(world, **dict.fromkeys(SETTINGS), model=None)["session"] == before
    nested = {"output": {"voice": None, "speed": None, "format": None}, "input": {"format": None}}
    assert updated(world, audio=nested)["session"] == before
    assert updated(world, audio={"input": None, "output": None})["session"] == before
    assert error_of([updated(world, colour=None)])["param"] == "session.colour"


def test_null_is_nothing_in_a_tool_and_in_turn_detection() -> None:
    world = World()
    tool = {**TOOL, "description": None, "parameters": None}
    session = updated(world, tools=[tool])["session"]
    assert session["tools"] == [TOOL]
    world.client(type="response.create", response={"tools": [tool], "instructions": "Sing."})
    (offered,) = running(world).request.prompt.tools
    assert (offered.name, offered.description, offered.parameters) == ("f", "", {})
    detection = {"type": "server_vad", "threshold": None, "idle_timeout_ms": None, "create_response": None}
    heard = updated(world, audio={"input": {"turn_detection": detection}})["session"]["audio"]["input"]
    shown = heard["turn_detection"]
    assert (shown["threshold"], shown["create_response"]) == (0.5, True)


def test_null_in_a_response_is_the_sessions() -> None:
    world = configured({"type": "realtime", **SETTINGS}, ABLE)
    write(world, "hello")
    names = ("instructions", "output_modalities", "max_output_tokens", "tools", "tool_choice", "parallel_tool_calls")
    nothing = {**dict.fromkeys((*names, "audio", "metadata", "conversation", "input", "prompt")), "reasoning": None}
    world.client(type="response.create", response=nothing)
    request = running(world).request
    assert (request.modality, request.max_tokens, request.tool_choice) == ("text", 50, "required")
    assert request.prompt.messages[0].text == "Sing."
    assert not request.parallel_tool_calls
    response = world.wire.of_type("response.created")[0]["response"]
    assert response["conversation_id"] is not None
    answered(world)
    world.client(type="response.create", response={"audio": {"output": {"voice": None, "format": None}}})
    assert running(world).request.voice == "two"


def test_null_says_nothing_in_the_older_dialect_either() -> None:
    world = World(dialect=beta)
    (before,) = world.client(type="session.update", session={"voice": "two", "tools": [TOOL], "temperature": 0.7})
    names = ("voice", "tools", "temperature", "modalities", "instructions", "tool_choice", "max_response_output_tokens")
    (after,) = world.client(type="session.update", session={**dict.fromkeys(names), "input_audio_format": None})
    assert after["session"] == before["session"]
    (cleared,) = world.client(type="session.update", session={"turn_detection": None})
    assert cleared["session"]["turn_detection"] is None
    assert kinds(world.client(type="response.create", response=dict.fromkeys(names)))[0] == "response.created"
