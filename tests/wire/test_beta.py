"""The beta dialect: other words for the same session, both ways, and every complaint in the client's own."""

import dataclasses
import json
import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.realtime import client_events as client
from server.realtime import server_events as server
from server.realtime.inbox import Refused
from server.realtime.schema import ResponseParams
from server.realtime.session_config import Profile
from server.wire import beta, beta_events, choose, ga
from tests.machine.scenes import error_of, kinds, running, say, sing, spoken_item, told
from tests.machine.world import PROFILE, World
from tests.wire.sdk import BETA_EVENTS, check_beta
from tests.wire.test_ga import JSON, SEGMENT, a_call_is_interrupted, all_server_events, everything_that_is_ever_sent

TOOL = {"type": "function", "name": "f", "description": "Does it.", "parameters": {"type": "object"}}
SESSION = {
    "modalities": ["text"],
    "instructions": "Be loud.",
    "voice": "two",
    "input_audio_format": "g711_ulaw",
    "output_audio_format": "g711_alaw",
    "input_audio_transcription": {"model": "whisper-1", "language": "en"},
    "input_audio_noise_reduction": {"type": "near_field"},
    "turn_detection": {
        "type": "server_vad",
        "threshold": 0.3,
        "prefix_padding_ms": 100,
        "silence_duration_ms": 200,
        "create_response": False,
        "interrupt_response": False,
    },
    "tools": [TOOL],
    "tool_choice": "f",
    "temperature": 0.7,
    "max_response_output_tokens": 100,
    "speed": 1.25,
    "tracing": None,
}
MESSAGE = {"type": "message", "role": "user", "id": "item_x", "content": [{"type": "input_text", "text": "hi"}]}
RESPONSE = {
    "modalities": ["audio", "text"],
    "instructions": "Be brief.",
    "voice": "one",
    "output_audio_format": "g711_ulaw",
    "tools": [TOOL],
    "tool_choice": {"type": "function", "function": {"name": "f"}},
    "temperature": 1.2,
    "max_response_output_tokens": "inf",
    "metadata": {"key": "value"},
    "conversation": "none",
}
EVENTS: list[dict[str, Any]] = [
    {"type": "session.update", "session": SESSION},
    {"type": "response.create", "response": RESPONSE},
    {"type": "response.create"},
    {"type": "conversation.item.create", "item": MESSAGE, "previous_item_id": "root"},
    {"type": "conversation.item.retrieve", "item_id": "item_x"},
    {"type": "conversation.item.delete", "item_id": "item_x"},
    {"type": "conversation.item.truncate", "item_id": "item_x", "content_index": 0, "audio_end_ms": 5},
    {"type": "input_audio_buffer.append", "audio": "AAAA"},
    {"type": "input_audio_buffer.commit"},
    {"type": "input_audio_buffer.clear"},
    {"type": "response.cancel", "response_id": "resp_x"},
]


def beta_world(profile: Profile = PROFILE) -> World:
    return World(profile, beta)


def updated(world: World, **session: Any) -> dict[str, Any]:
    (event,) = world.client(type="session.update", session=session)
    assert event["type"] == "session.updated", event
    effective: dict[str, Any] = event["session"]
    return effective


def decode(value: Any) -> client.ClientEvent | Refused:
    return beta.decode(json.dumps(value))


# --- who speaks it ---------------------------------------------------------------------------------------------


def test_a_client_chooses_when_it_connects() -> None:
    assert choose({}, []) is ga
    assert choose({}, ["realtime", "openai-insecure-api-key.k"]) is ga
    assert choose({"OpenAI-Beta": "assistants=v2"}, []) is ga
    assert choose({"OpenAI-Beta": "realtime=v1"}, []) is beta
    assert choose({"OpenAI-Beta": "assistants=v2, realtime=v1"}, []) is beta
    assert choose({}, ["realtime", "openai-insecure-api-key.k", "openai-beta.realtime-v1"]) is beta
    assert choose({}, [], "/openai/realtime") is beta
    assert choose({}, [], "/openai/v1/realtime") is ga


# --- what the server says --------------------------------------------------------------------------------------


def test_the_session_begins_with_everything_that_old_clients_read() -> None:
    created, conversation = beta_world().wire.events
    assert created["session"] == {
        "id": created["session"]["id"],
        "object": "realtime.session",
        "model": "mini",
        "expires_at": 2_000_000_000,
        "modalities": ["text", "audio"],
        "instructions": "Be brief.",
        "voice": "one",
        "input_audio_format": "pcm16",
        "output_audio_format": "pcm16",
        "input_audio_transcription": {"model": "ears"},
        "input_audio_noise_reduction": None,
        "turn_detection": {
            "type": "server_vad",
            "threshold": 0.5,
            "prefix_padding_ms": 300,
            "silence_duration_ms": 500,
            "create_response": True,
            "interrupt_response": True,
        },
        "tools": [],
        "tool_choice": "auto",
        "temperature": 0.8,
        "max_response_output_tokens": "inf",
        "speed": 1.0,
        "tracing": None,
    }
    assert conversation["type"] == "conversation.created"
    assert conversation["conversation"]["object"] == "realtime.conversation"
    assert conversation["conversation"]["id"].startswith("conv_")


def test_the_conversation_is_the_one_that_responses_name() -> None:
    world = beta_world()
    say(world, "hello")
    (created,) = world.wire.of_type("response.created")
    assert created["response"]["conversation_id"] == world.wire.events[1]["conversation"]["id"]


def test_every_event_that_the_dialect_has_is_sent_and_no_other() -> None:
    """`World` checks each of them against the package's types for beta."""
    wires = (everything_that_is_ever_sent().other_wire, a_call_is_interrupted().other_wire)
    sent = {event["type"] for wire in wires for event in wire.events}
    assert sent == {name for tag, (name, _) in beta_events.EVENTS.items() if tag in all_server_events()}
    left_out = all_server_events() - beta_events.EVENTS.keys()
    plain = {name for name in left_out if "mcp" not in name}
    assert plain == {"conversation.item.done", "input_audio_buffer.timeout_triggered", SEGMENT}
    assert not left_out & BETA_EVENTS
    assert {name for name, _ in beta_events.EVENTS.values()} <= BETA_EVENTS


def test_a_spoken_turn_comes_in_the_order_that_old_clients_know() -> None:
    world = beta_world()
    say(world, "hello there")
    world.step_run(running(world), "clause")
    world.step_run(running(world), "finish")
    assert kinds(world.wire.events)[2:] == [
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.created",
        "response.created",
        "rate_limits.updated",
        "conversation.item.input_audio_transcription.delta",
        "conversation.item.input_audio_transcription.completed",
        "response.output_item.added",
        "conversation.item.created",
        "response.content_part.added",
        "response.audio_transcript.delta",
        "response.audio.delta",
        "response.audio.done",
        "response.audio_transcript.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.done",
    ]
    asked, answered = world.wire.of_type("conversation.item.created")
    assert asked["previous_item_id"] is None
    assert asked["item"]["content"] == [{"type": "input_audio", "transcript": None}]
    assert answered["previous_item_id"] == asked["item"]["id"]
    (done,) = world.wire.of_type("response.output_item.done")
    assert done["item"]["content"] == [{"type": "audio", "transcript": "r2.0c1 and more. "}]


def test_a_written_reply_is_text() -> None:
    world = beta_world()
    world.client(type="response.create", response={"modalities": ["text"], "instructions": "Go on."})
    world.step_run(running(world), "clause")
    sent = world.step_run(running(world), "finish")
    assert kinds(sent)[0] == "response.text.done"
    response = sent[-1]["response"]
    assert response["output"][0]["content"] == [{"type": "text", "text": "r1.0c1 and more. "}]
    assert response["modalities"] == ["text"]


def test_a_response_has_what_old_clients_read_of_it() -> None:
    world = beta_world()
    world.client(type="response.create", response={**RESPONSE, "tool_choice": "none"})
    world.step_run(running(world), "clause")
    done = world.step_run(running(world), "limit")[-1]["response"]
    usage = done.pop("usage")
    del done["output"], done["id"]
    assert done == {
        "object": "realtime.response",
        "status": "incomplete",
        "status_details": {"type": "incomplete", "reason": "max_output_tokens"},
        "conversation_id": None,
        "modalities": ["text", "audio"],
        "voice": "one",
        "output_audio_format": "g711_ulaw",
        "temperature": 1.2,
        "max_output_tokens": "inf",
        "metadata": {"key": "value"},
    }
    assert usage["input_token_details"].keys() == {"text_tokens", "audio_tokens", "cached_tokens"}
    assert usage["output_token_details"].keys() == {"text_tokens", "audio_tokens"}


def test_usage_has_its_details_in_every_status() -> None:
    for done in everything_that_is_ever_sent().other_wire.of_type("response.done"):
        usage = done["response"]["usage"]
        assert all(isinstance(value, int) for value in usage["input_token_details"].values())
        assert all(isinstance(value, int) for value in usage["output_token_details"].values())


def test_a_call_is_done_without_its_name_which_the_item_has() -> None:
    world = beta_world()
    updated(world, tools=[{**TOOL, "name": "look_up"}])
    world.client(type="response.create", response={"instructions": "Go on."})
    world.step_run(running(world), "call")
    world.step_run(running(world), "finish")
    (done,) = world.wire.of_type("response.function_call_arguments.done")
    assert done["arguments"] == '{"what": "r1"}'
    assert "name" not in done
    (item,) = world.wire.of_type("response.output_item.done")
    assert (item["item"]["name"], item["item"]["call_id"]) == ("look_up", done["call_id"])


# --- what the client asks for ----------------------------------------------------------------------------------


def test_every_field_of_a_session_is_honoured_and_shown() -> None:
    world = beta_world()
    (created, _) = world.wire.events
    effective = updated(world, **SESSION)
    assert effective == {**created["session"], **SESSION, "tool_choice": "f"}
    session = world.machine.session
    assert type(session.audio.input.format).__name__ == "PcmuFormat"
    assert type(session.audio.output.format).__name__ == "PcmaFormat"
    assert (session.audio.output.speed, session.max_output_tokens) == (1.25, 100)
    assert updated(world) == effective, "what is not named stays"


@pytest.mark.parametrize(
    ("session", "shown"),
    [
        ({"turn_detection": None}, {"turn_detection": None}),
        ({"input_audio_transcription": None}, {"input_audio_transcription": None}),
        ({"input_audio_transcription": {}}, {"input_audio_transcription": {"model": "ears"}}),
        ({"instructions": ""}, {"instructions": ""}),
        ({"modalities": ["audio", "text"]}, {"modalities": ["text", "audio"]}),
        ({"tools": [{"name": "f"}], "tool_choice": "f"}, {"tool_choice": "f"}),
        ({"tools": [TOOL], "tool_choice": {"type": "function", "name": "f"}}, {"tool_choice": "f"}),
        ({"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "f"}}}, {"tool_choice": "f"}),
        (
            {"input_audio_noise_reduction": {"type": "far_field"}},
            {"input_audio_noise_reduction": {"type": "far_field"}},
        ),
        ({"model": "mini"}, {"model": "mini"}),
        ({"temperature": 1}, {"temperature": 1.0}),
        ({"include": None}, {}),
    ],
    ids=lambda value: str(value)[:50],
)
def test_an_update_is_honoured(session: dict[str, Any], shown: dict[str, Any]) -> None:
    effective = updated(beta_world(), **session)
    assert {name: effective[name] for name in shown} == shown


def test_a_turn_detection_without_a_type_is_by_voice() -> None:
    detection = updated(beta_world(), turn_detection={"threshold": 0.4})["turn_detection"]
    assert (detection["type"], detection["threshold"], detection["silence_duration_ms"]) == ("server_vad", 0.4, 500)


def test_semantic_detection_has_its_own_fields() -> None:
    detection = updated(beta_world(), turn_detection={"type": "semantic_vad", "eagerness": "low"})
    assert detection["turn_detection"] == {
        "type": "semantic_vad",
        "eagerness": "low",
        "create_response": True,
        "interrupt_response": True,
    }


def test_the_temperature_is_what_the_model_draws_with() -> None:
    world = beta_world()
    world.client(type="response.create", response={"instructions": "Go on."})
    assert running(world).request.temperature is None, "what the engine is set to, until the client says otherwise"
    world.step_run(running(world), "finish")
    updated(world, temperature=0.6)
    world.client(type="response.create", response={"instructions": "Go on."})
    assert running(world).request.temperature == 0.6
    world.step_run(running(world), "finish")
    world.client(type="response.create", response={"instructions": "Go on.", "temperature": 1.1})
    assert running(world).request.temperature == 1.1


def test_the_temperature_that_the_engine_is_set_to_is_shown() -> None:
    world = beta_world(dataclasses.replace(PROFILE, temperature=0.0))
    assert world.wire.events[0]["session"]["temperature"] == 0.0
    assert updated(world, instructions="Else.")["temperature"] == 0.0


def test_an_assistants_words_can_be_put_into_the_conversation() -> None:
    world = beta_world()
    item = {"type": "message", "role": "assistant", "content": [{"type": "text", "text": "I am here."}]}
    (created,) = world.client(type="conversation.item.create", item=item)
    assert created["type"] == "conversation.item.created"
    assert created["item"]["content"] == [{"type": "text", "text": "I am here."}]
    world.client(type="conversation.item.create", item=MESSAGE)
    (retrieved,) = world.client(type="conversation.item.retrieve", item_id=created["item"]["id"])
    assert retrieved["item"]["content"] == [{"type": "text", "text": "I am here."}]
    world.client(type="response.create")
    assert told(running(world)) == [("assistant", "I am here."), ("user", "hi")]


def test_a_reply_is_truncated_as_in_ga() -> None:
    world = beta_world()
    world.client(type="conversation.item.create", item=MESSAGE)
    world.client(type="response.create")
    run = running(world)
    sing(world, run, "One two three four five six seven eight nine ten. ", 1_000)
    world.step_run(run, "finish")
    sent = world.client(
        type="conversation.item.truncate", item_id=spoken_item(world), content_index=0, audio_end_ms=700
    )
    assert kinds(sent) == ["conversation.item.truncated"]
    world.client(type="response.create")
    assert told(running(world))[1] == ("assistant", "One two three four five six seven")


# --- what is refused, in the client's own words ----------------------------------------------------------------

BAD_SESSIONS: list[tuple[dict[str, Any], str, str]] = [
    ({"type": "realtime"}, "unknown_parameter", "session.type"),
    ({"colour": 1}, "unknown_parameter", "session.colour"),
    ({"id": "sess_mine"}, "unknown_parameter", "session.id"),
    ({"audio": {"output": {"voice": "two"}}}, "unknown_parameter", "session.audio"),
    ({"output_modalities": ["text"]}, "unknown_parameter", "session.output_modalities"),
    ({"max_output_tokens": 5}, "unknown_parameter", "session.max_output_tokens"),
    ({"model": "other"}, "cannot_change_model", "session.model"),
    ({"modalities": ["audio"]}, "invalid_value", "session.modalities"),
    ({"modalities": []}, "invalid_value", "session.modalities"),
    ({"modalities": ["text", "text"]}, "invalid_value", "session.modalities"),
    ({"modalities": [[]]}, "invalid_value", "session.modalities"),
    ({"modalities": "text"}, "invalid_type", "session.modalities"),
    ({"instructions": 5}, "invalid_type", "session.instructions"),
    ({"voice": "three"}, "invalid_value", "session.voice"),
    ({"voice": 5}, "invalid_type", "session.voice"),
    ({"speed": 2.0}, "invalid_value", "session.speed"),
    ({"speed": "fast"}, "invalid_type", "session.speed"),
    ({"input_audio_format": "audio/pcm"}, "invalid_value", "session.input_audio_format"),
    ({"input_audio_format": {"type": "audio/pcm"}}, "invalid_type", "session.input_audio_format"),
    ({"input_audio_transcription": {"model": "nose"}}, "invalid_value", "session.input_audio_transcription.model"),
    ({"input_audio_transcription": {"language": "fr"}}, "invalid_value", "session.input_audio_transcription.language"),
    ({"input_audio_transcription": {"delay": 1}}, "unknown_parameter", "session.input_audio_transcription.delay"),
    ({"input_audio_transcription": "on"}, "invalid_type", "session.input_audio_transcription"),
    ({"turn_detection": {"type": "server_vad", "threshold": 2}}, "invalid_value", "session.turn_detection.threshold"),
    ({"turn_detection": {"type": "nose_vad"}}, "invalid_value", "session.turn_detection.type"),
    (
        {"turn_detection": {"type": "semantic_vad", "eagerness": "eager"}},
        "invalid_value",
        "session.turn_detection.eagerness",
    ),
    (
        {"input_audio_noise_reduction": {"type": "loud"}},
        "invalid_value",
        "session.input_audio_noise_reduction.type",
    ),
    ({"turn_detection": {"idle_timeout_ms": 6000}}, "unknown_parameter", "session.turn_detection.idle_timeout_ms"),
    ({"turn_detection": {"eagerness": "low"}}, "unknown_parameter", "session.turn_detection.eagerness"),
    ({"turn_detection": "server_vad"}, "invalid_type", "session.turn_detection"),
    ({"temperature": 0.5}, "invalid_value", "session.temperature"),
    ({"temperature": 1.3}, "invalid_value", "session.temperature"),
    ({"temperature": "hot"}, "invalid_type", "session.temperature"),
    ({"temperature": True}, "invalid_type", "session.temperature"),
    ({"max_response_output_tokens": 0}, "invalid_value", "session.max_response_output_tokens"),
    ({"max_response_output_tokens": 5000}, "invalid_value", "session.max_response_output_tokens"),
    ({"tools": [{"type": "mcp", "server_label": "x"}]}, "invalid_value", "session.tools[0].type"),
    ({"tools": [{"type": "function"}]}, "missing_required_parameter", "session.tools[0].name"),
    ({"tools": [TOOL, TOOL]}, "invalid_value", "session.tools[1].name"),
    ({"tools": TOOL}, "invalid_type", "session.tools"),
    ({"tool_choice": "f"}, "invalid_value", "session.tool_choice"),
    ({"tool_choice": "required"}, "invalid_value", "session.tool_choice"),
    ({"truncation": "auto"}, "unknown_parameter", "session.truncation"),
    ({"client_secret": {}}, "unknown_parameter", "session.client_secret"),
]

NOT_ITS_WORDS = re.compile(
    r"session\.audio\.|response\.audio\.|output_modalities|[^_]output_(text|audio)\b(?!_)|audio/pcm|session\.max_output"
)


@pytest.mark.parametrize(("update", "code", "param"), BAD_SESSIONS, ids=lambda value: str(value)[:60])
def test_a_bad_update_is_refused_by_name_and_changes_nothing(update: dict[str, Any], code: str, param: str) -> None:
    world = beta_world()
    (created, _) = world.wire.events
    session = {"instructions": "Changed.", **update}
    error = error_of(world.client(type="session.update", event_id="mine", session=session))
    assert (error["code"], error["param"], error["event_id"]) == (code, param, "mine")
    asked = {word for name in update for word in (f"session.{name}", "audio/pcm")}
    assert {found[0] for found in NOT_ITS_WORDS.finditer(error["message"])} <= {
        found[0] for word in asked for found in NOT_ITS_WORDS.finditer(word)
    }
    assert updated(world) == created["session"]


BAD_EVENTS: list[tuple[dict[str, Any], str, str | None]] = [
    ({"type": "session.update"}, "missing_required_parameter", "session"),
    ({"type": "session.update", "session": []}, "invalid_type", "session"),
    ({"type": "session.update", "session": {}, "colour": 1}, "unknown_parameter", "colour"),
    ({"type": "transcription_session.update", "session": {}}, "invalid_value", "type"),
    ({"type": 5}, "invalid_value", "type"),
    ({}, "missing_required_parameter", "type"),
    ({"type": "response.create", "response": 5}, "invalid_type", "response"),
    ({"type": "response.create", "response": {"colour": 1}}, "unknown_parameter", "response.colour"),
    ({"type": "response.create", "response": {"audio": {}}}, "unknown_parameter", "response.audio"),
    ({"type": "response.create", "response": {"voice": "three"}}, "invalid_value", "response.voice"),
    ({"type": "response.create", "response": {"output_audio_format": "mp3"}}, "invalid_value",
     "response.output_audio_format"),
    ({"type": "response.create", "response": {"temperature": 3}}, "invalid_value", "response.temperature"),
    ({"type": "response.create", "response": {"max_response_output_tokens": 0}}, "invalid_value",
     "response.max_response_output_tokens"),
    ({"type": "response.create", "response": {"modalities": ["audio"]}}, "invalid_value", "response.modalities"),
    ({"type": "response.create", "response": {"tool_choice": "f"}}, "invalid_value", "response.tool_choice"),
    ({"type": "response.create", "response": {"metadata": 5}}, "invalid_type", "response.metadata"),
    ({"type": "response.create", "response": {"speed": 1}}, "unknown_parameter", "response.speed"),
    ({"type": "conversation.item.create", "item": 5}, "invalid_type", "item"),
    ({"type": "conversation.item.create", "item": {"type": "song"}}, "invalid_value", "item.type"),
    ({"type": "conversation.item.create", "item": {**MESSAGE, "content": 5}}, "invalid_type", "item.content"),
    ({"type": "conversation.item.create", "item": {**MESSAGE, "content": [5]}}, "invalid_type", "item.content[0]"),
    ({"type": "conversation.item.create", "item": {**MESSAGE, "content": [{"type": 5}]}}, "invalid_type",
     "item.content[0].type"),
    ({"type": "conversation.item.create", "item": {**MESSAGE, "content": [{"type": "output_text", "text": "x"}]}},
     "invalid_value", "item.content[0].type"),
    ({"type": "conversation.item.create", "item": {**MESSAGE, "content": [{"type": "text", "text": "x"}]}},
     "invalid_value", "item.content[0].type"),
    ({"type": "conversation.item.create", "item": {**MESSAGE, "role": "assistant"}}, "invalid_value",
     "item.content[0].type"),
    ({"type": "conversation.item.create", "item": {"type": "mcp_approval_response", "approval_request_id": "x",
      "approve": True}}, "invalid_value", "item.type"),
    ({"type": "session.update", "session": {"tool_choice": {"type": "mcp", "server_label": "x"}}}, "invalid_value",
     "session.tool_choice.type"),
    ({"type": "conversation.item.delete", "item_id": "x"}, "item_not_found", "item_id"),
    ({"type": "conversation.item.truncate", "item_id": "x", "content_index": 0, "audio_end_ms": 1.5}, "invalid_type",
     "audio_end_ms"),
    ({"type": "input_audio_buffer.append", "audio": "%%%"}, "invalid_value", "audio"),
    ({"type": "input_audio_buffer.append", "audio": "AAAA"}, "invalid_value", "audio"),
    ({"type": "input_audio_buffer.commit"}, "input_audio_buffer_commit_empty", None),
    ({"type": "output_audio_buffer.clear"}, "invalid_value", "type"),
    ({"type": "response.cancel"}, "response_cancel_not_active", None),
]  # fmt: skip


@pytest.mark.parametrize(("event", "code", "param"), BAD_EVENTS, ids=lambda value: str(value)[:70])
def test_a_bad_event_is_refused_by_name_and_the_session_goes_on(
    event: dict[str, Any], code: str, param: str | None
) -> None:
    world = beta_world()
    error = error_of(world.client(**event, event_id="mine"))
    assert (error["code"], error["param"], error["event_id"]) == (code, param, "mine")
    if "output_text" not in str(event):
        assert not NOT_ITS_WORDS.search(error["message"]), error["message"]
    world.client(type="response.create", response={"instructions": "Go on."})
    assert running(world)


@pytest.mark.parametrize(
    "frame",
    [
        "",
        "null",
        "[1]",
        "\ud800",
        b"\x00",
        '{"type": "session.update", "session": {"voice": "\\ud800"}}',
        '{"type": "session.update", "session": ' + '{"a":' * 50_000 + "1" + "}" * 50_001,
        '{"type": "session.update", "session": {"temperature": 1' + "0" * 400 + "}}",
        '{"type": "response.create", "response": {"max_response_output_tokens": 1' + "0" * 400 + "}}",
    ],
    ids=lambda value: str(value)[:40].encode("ascii", "replace").decode(),
)
def test_what_is_no_event_is_refused(frame: str | bytes) -> None:
    refused = beta.decode(frame)
    assert isinstance(refused, Refused)
    assert_in_good_form(refused)


# --- whatever comes --------------------------------------------------------------------------------------------


def assert_in_good_form(refused: Refused) -> None:
    assert refused.error.code
    check_beta(json.loads(beta.encode(server.Error(error=refused.error, event_id="event_x")) or ""))


KEYS = st.sampled_from(sorted({*SESSION, *RESPONSE, "item", "session", "response", "content", "type", "text", "role"}))


@st.composite
def mutated_events(draw: st.DrawFn) -> dict[str, Any]:
    """A valid event of which some values, at any depth, have become something else, or are gone."""
    event: dict[str, Any] = json.loads(json.dumps(draw(st.sampled_from(EVENTS))))
    for _ in range(draw(st.integers(1, 3))):
        at: Any = event
        while True:
            inside = at.values() if isinstance(at, dict) else at
            inner = [value for value in inside if isinstance(value, dict | list) and value]
            if not inner or draw(st.booleans()):
                break
            at = draw(st.sampled_from(inner))
        if isinstance(at, list):
            at[draw(st.integers(0, len(at) - 1))] = draw(JSON)
        elif draw(st.integers(0, 3)) == 0:
            at.pop(draw(st.sampled_from(sorted(at))) if at else "", None)
        else:
            at[draw(st.sampled_from(sorted(at)) if at and draw(st.booleans()) else KEYS)] = draw(JSON)
    return event


@given(event=mutated_events())
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_a_client_sends_is_answered_in_good_form_and_the_session_goes_on(event: dict[str, Any]) -> None:
    """What is sent is checked as it is sent; an error has a code and the client's event_id."""
    event["event_id"] = "mine"
    try:
        frame = json.dumps(event, allow_nan=False)
        json.dumps(event, ensure_ascii=False).encode()
    except ValueError:  # not JSON
        refused = beta.decode(json.dumps(event))
        assert isinstance(refused, Refused)
        assert_in_good_form(refused)
        return
    world = beta_world()
    decoded = beta.decode(frame)
    if not isinstance(decoded, client.InputAudioBufferAppend):  # the world keeps count of sound by itself
        for sent in world.handle(decoded):
            if sent["type"] == "error":
                assert sent["error"]["code"]
                assert sent["error"]["event_id"] == "mine"
    assert updated(world)


def test_null_is_as_good_as_absent_in_a_response() -> None:
    event = decode({"type": "response.create", "response": {"metadata": None, "voice": None}})
    assert isinstance(event, client.ResponseCreate)
    assert event.response == ResponseParams()
    assert decode({"type": "response.create"}) == client.ResponseCreate()
