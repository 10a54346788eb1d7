"""The GA dialect: every event has its shape, and whatever a client sends is an event or is refused in good form."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from server.realtime import client_events as client
from server.realtime import server_events as server
from server.realtime.inbox import McpListingFailed, McpReturned, McpToolsListed, Refused
from server.realtime.mcp_schema import McpError, McpListedTool
from server.realtime.schema import (
    ClientItem,
    ContentPart,
    FunctionChoice,
    FunctionTool,
    PcmFormat,
    ResponseAudio,
    ResponseAudioOutput,
    ResponseParams,
)
from server.wire import ga
from tests.machine.call_world import CallWorld
from tests.machine.scenes import detection
from tests.machine.world import World
from tests.wire.sdk import check

MESSAGE = ClientItem(
    type="message", role="user", id="item_x", status="completed", content=[ContentPart(type="input_text", text="hi")]
)
PARAMS = ResponseParams(
    instructions="Be loud.",
    output_modalities=["text"],
    audio=ResponseAudio(output=ResponseAudioOutput(format=PcmFormat(), voice="two")),
    max_output_tokens=16,
    metadata={"key": "value"},
    conversation="none",
    tools=[FunctionTool(name="f", description="Does it.", parameters={"type": "object"})],
    tool_choice=FunctionChoice(name="f"),
    parallel_tool_calls=False,
)
CALL = ClientItem(type="function_call", name="f", call_id="call_x", arguments="{}")
OUTPUT = ClientItem(type="function_call_output", call_id="call_x", output="done")

CLIENT_EXAMPLES: list[client.ClientEvent] = [
    client.SessionUpdate(event_id="e", session={"type": "realtime", "instructions": "Be kind."}),
    client.InputAudioBufferAppend(audio=b"\x00\x01\xfe\xff"),
    client.InputAudioBufferAppend(audio=b""),
    client.InputAudioBufferCommit(event_id="e"),
    client.InputAudioBufferClear(),
    client.OutputAudioBufferClear(),
    client.ConversationItemCreate(item=MESSAGE),
    client.ConversationItemCreate(item=MESSAGE, previous_item_id="root", event_id="e"),
    client.ConversationItemCreate(item=CALL),
    client.ConversationItemCreate(item=OUTPUT),
    client.ConversationItemRetrieve(item_id="item_x"),
    client.ConversationItemDelete(item_id="item_x"),
    client.ConversationItemTruncate(item_id="item_x", content_index=0, audio_end_ms=1500),
    client.ResponseCreate(event_id="e"),
    client.ResponseCreate(response=PARAMS),
    client.ResponseCreate(response=ResponseParams(max_output_tokens="inf")),
    client.ResponseCancel(),
    client.ResponseCancel(response_id="resp_x"),
]


def decode(value: Any) -> client.ClientEvent | Refused:
    return ga.decode(json.dumps(value))


def test_there_is_an_example_of_every_client_event() -> None:
    assert {type(event) for event in CLIENT_EXAMPLES} == set(client.CLIENT_EVENTS)


@pytest.mark.parametrize("event", CLIENT_EXAMPLES, ids=lambda event: type(event).__name__)
def test_a_client_event_survives_the_wire(event: client.ClientEvent) -> None:
    assert ga.decode(msgspec.json.encode(event).decode()) == event


def test_null_is_as_good_as_absent_in_a_response() -> None:
    event = decode({"type": "response.create", "response": {"metadata": None, "audio": None, "prompt": None}})
    assert isinstance(event, client.ResponseCreate)
    assert event.response == ResponseParams()
    assert decode({"type": "response.create"}) == client.ResponseCreate()


# --- what is refused -------------------------------------------------------------------------------------------

REFUSED: list[tuple[Any, str, str | None]] = [
    ({"type": "nonsense"}, "invalid_value", "type"),
    ({"type": 5}, "invalid_value", "type"),
    ({"type": ["session.update"]}, "invalid_value", "type"),
    ({"type": {"session": "update"}}, "invalid_value", "type"),
    ({"type": None}, "missing_required_parameter", "type"),
    ({}, "missing_required_parameter", "type"),
    ({"type": "response.cancel", "colour": 1}, "unknown_parameter", "colour"),
    ({"type": "session.update"}, "missing_required_parameter", "session"),
    ({"type": "session.update", "session": []}, "invalid_type", "session"),
    ({"type": "input_audio_buffer.append", "audio": "%%%"}, "invalid_value", "audio"),
    ({"type": "input_audio_buffer.append", "audio": [1]}, "invalid_type", "audio"),
    ({"type": "conversation.item.create", "item": {"type": "song"}}, "invalid_value", "item.type"),
    (
        {"type": "conversation.item.truncate", "item_id": "x", "content_index": 0, "audio_end_ms": -1},
        "invalid_value",
        "audio_end_ms",
    ),
    (
        {"type": "conversation.item.truncate", "item_id": "x", "content_index": 0, "audio_end_ms": 1.5},
        "invalid_type",
        "audio_end_ms",
    ),
    ({"type": "response.create", "response": {"temperature": 1}}, "unknown_parameter", "response.temperature"),
    (
        {"type": "response.create", "response": {"audio": {"output": {"format": {"type": "audio/mp3"}}}}},
        "invalid_value",
        "response.audio.output.format.type",
    ),
    ({"type": "session.update", "session": {"temperature": 1}}, "unknown_parameter", "session.temperature"),
    ({"type": "response.create", "response": {"max_output_tokens": 0}}, "invalid_value", "response.max_output_tokens"),
]


@pytest.mark.parametrize(("value", "code", "param"), REFUSED, ids=lambda value: str(value)[:60])
def test_what_is_wrong_is_refused_by_name_with_the_clients_event_id(value: Any, code: str, param: str | None) -> None:
    refused = decode({**value, "event_id": "mine"})
    assert isinstance(refused, Refused)
    error = refused.error
    assert (error.type, error.code, error.param) == ("invalid_request_error", code, param)
    assert error.event_id == "mine"


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ("", "invalid_json"),
        ("{", "invalid_json"),
        ("null", "invalid_event"),
        ("[1, 2]", "invalid_event"),
        ("17" * 400, "invalid_event"),
        ('"session.update"', "invalid_event"),
        ("\x00", "invalid_json"),
        ("\ud800", "invalid_json"),
        ('{"type": "\\ud800"}', "invalid_json"),
        ("[" * 200_000, "invalid_json"),
        ('{"type": 5, "x": ' + "[" * 200_000 + "]" * 200_000 + "}", "invalid_json"),
        ('{"type": "session.update", "session": ' + '{"a":' * 50_000 + "1" + "}" * 50_001, "invalid_json"),
        (b"\x00\x01", "invalid_event"),
        (b'{"type": "response.cancel"}', "invalid_event"),
    ],
    ids=lambda value: str(value)[:30].encode("ascii", "replace").decode(),
)
def test_what_is_no_event_is_refused(frame: str | bytes, code: str) -> None:
    assert_in_good_form(refused := ga.decode(frame))
    assert isinstance(refused, Refused)
    assert refused.error.code in (code, "invalid_event")


# --- whatever comes --------------------------------------------------------------------------------------------


def assert_in_good_form(result: client.ClientEvent | Refused) -> None:
    """An event, or a refusal that itself goes over the wire."""
    if isinstance(result, Refused):
        error = result.error
        assert error.type == "invalid_request_error"
        assert error.code
        assert error.message
        check(json.loads(ga.encode(server.Error(error=error, event_id="event_x")) or ""))
    else:
        assert isinstance(result, client.ClientEvent)


TEXT = st.text(st.characters(), max_size=20)  # lone surrogates as well
NUMBERS = st.one_of(st.integers(), st.integers(10**15, 10**60), st.floats())
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
KEYS = st.sampled_from(
    "type event_id session audio item item_id response response_id previous_item_id content content_index audio_end_ms "
    "role input output turn_detection transcription voice format metadata conversation "
    "tools tool_choice name call_id arguments".split()
)
EVENTS = [json.loads(msgspec.json.encode(event)) for event in CLIENT_EXAMPLES]


@st.composite
def mutated_events(draw: st.DrawFn) -> Any:
    """A valid event of which some values, at any depth, have become something else, or are gone."""
    event = json.loads(json.dumps(draw(st.sampled_from(EVENTS))))
    for _ in range(draw(st.integers(1, 3))):
        at = event
        while True:
            inner = [value for value in at.values() if isinstance(value, dict) and value]
            if not inner or draw(st.booleans()):
                break
            at = draw(st.sampled_from(inner))
        key = draw(st.sampled_from(sorted(at)) if at and draw(st.booleans()) else KEYS)
        if draw(st.integers(0, 3)) == 0:
            at.pop(key, None)
        else:
            at[key] = draw(JSON)
    return event


@given(JSON)
def test_any_json_is_an_event_or_refused(value: Any) -> None:
    assert_in_good_form(ga.decode(json.dumps(value)))
    assert_in_good_form(ga.decode(json.dumps(value, ensure_ascii=False)))


@given(st.text(st.characters()) | st.binary())
@example("\ud800")
def test_any_frame_is_an_event_or_refused(frame: str | bytes) -> None:
    assert_in_good_form(ga.decode(frame))


@given(event=mutated_events(), event_id=st.text(max_size=20))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_mutated_event_is_an_event_or_refused_with_its_event_id(event: Any, event_id: str) -> None:
    event["event_id"] = event_id
    try:
        frame = json.dumps(event, allow_nan=False)
        frame.encode()
        json.dumps(event, ensure_ascii=False).encode()
    except ValueError:  # not JSON: no event, so no event_id either
        assert_in_good_form(ga.decode(json.dumps(event)))
        return
    result = ga.decode(frame)
    assert_in_good_form(result)
    if isinstance(result, Refused):
        assert result.error.event_id == event_id
    else:
        assert result.event_id == event_id


@given(event=mutated_events())
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_gets_through_is_answered_in_good_form(event: Any) -> None:
    """The machine takes every event that the wire lets through; what it sends is checked as it is sent."""
    decoded = ga.decode(json.dumps(event))
    if isinstance(decoded, client.InputAudioBufferAppend):
        return  # the world keeps count of sound by itself
    world = World()
    world.handle(decoded)
    world.client(type="conversation.item.create", item=json.loads(msgspec.json.encode(MESSAGE)))
    world.handle(decoded)


@pytest.mark.parametrize("field", ["threshold", "prefix_padding_ms", "silence_duration_ms"])
@pytest.mark.parametrize("number", [10**19, 10**30, 10**300, -(10**19), 1e300, 1e-300])
def test_a_huge_number_is_refused_or_honoured(field: str, number: float) -> None:
    world = World()
    session = {"type": "realtime", "audio": {"input": {"turn_detection": {"type": "server_vad", field: number}}}}
    world.client(type="session.update", session=session)
    world.speak(10, voiced=False)
    world.speak(10, voiced=True)
    world.speak(20, voiced=False)


def test_a_huge_truncation_is_refused() -> None:
    world = World()
    world.client(type="conversation.item.create", item=json.loads(msgspec.json.encode(MESSAGE)))
    world.client(type="response.create")
    (run,) = world.runs.values()
    world.step_run(run, "clause")
    world.step_run(run, "finish")
    (item,) = world.wire.of_type("response.output_item.added")
    for digits in (20, 500, 10_000):
        frame = (
            f'{{"type": "conversation.item.truncate", "item_id": "{item["item"]["id"]}", "content_index": 0, '
            f'"audio_end_ms": 1{"0" * digits}}}'
        )
        (error,) = world.handle(ga.decode(frame))
        assert (error["error"]["code"], error["error"]["param"]) == ("invalid_value", "audio_end_ms")


# --- what the server says --------------------------------------------------------------------------------------


SEGMENT = "conversation.item.input_audio_transcription.segment"
"""Of transcription sessions: see test_transcription_session.py."""


def everything_that_is_ever_sent() -> World:
    """A session in which every server event occurs."""
    world = World()
    world.client(type="session.update", session={"type": "realtime", "instructions": "Be kind."})
    world.speak(10, voiced=True)
    world.speak(20, voiced=False)
    world.transcribe(world.finishing[0], "hello there")
    run = next(run for run in world.runs.values() if not run.cancelled)
    for step in ("clause", "clause", "call", "finish"):
        world.step_run(run, step)
    item_id = world.wire.of_type("response.output_item.added")[0]["item"]["id"]
    world.client(type="conversation.item.retrieve", item_id=item_id)
    world.client(type="conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=50)
    world.client(type="conversation.item.delete", item_id=item_id)
    world.client(type="input_audio_buffer.clear")
    world.client(type="response.cancel")
    world.client(type="response.create", response={"output_modalities": ["text"]})
    (run,) = [run for run in world.runs.values() if not run.over and not run.cancelled]
    world.step_run(run, "clause")
    world.step_run(run, "limit")
    world.speak(10, voiced=True)
    world.speak(20, voiced=False)
    world.transcribe(world.finishing[0], None)
    mcp_servers_are_used(world)
    world.client(type="session.update", session=detection(idle_timeout_ms=5_000))
    world.wait(60_000)
    return world


def a_call_is_interrupted() -> CallWorld:
    """A call in which every server event occurs that only calls have."""
    world = CallWorld()
    for last in ("finish", "clause"):
        world.client(type="response.create", response={"instructions": "Be kind."})
        run = next(run for run in world.runs.values() if not run.over)
        world.step_run(run, "clause")
        world.step_run(run, last)
        world.wait(200)
    world.speak(10, voiced=True)
    return world


def mcp_servers_are_used(world: World) -> None:
    """One server that fails; another, whose tool is called twice."""
    servers = [
        {"type": "mcp", "server_label": label, "server_url": "http://127.0.0.1:9000/mcp", "require_approval": "never"}
        for label in ("gone", "there")
    ]
    world.client(type="session.update", session={"type": "realtime", "tools": servers})
    world.handle(McpListingFailed(world.listings[0].listing, "it is gone"))
    world.handle(McpToolsListed(world.listings[1].listing, (McpListedTool(name="look_up"),)))
    world.client(type="response.create", response={"instructions": "Look it up."})
    (run,) = [run for run in world.runs.values() if not run.over and not run.cancelled]
    for step in ("call", "call", "finish"):
        world.step_run(run, step)
    results = ("found", McpError(type="http_error", code=503, message="It is busy."))
    for call, result in zip(world.mcp_calls, results, strict=True):
        world.handle(McpReturned(call.call, result))


def all_server_events() -> set[str]:
    def subclasses(kind: type) -> list[type]:
        return [each for direct in kind.__subclasses__() for each in (direct, *subclasses(direct))]

    abstract = {server.PartEvent, server.CallEvent, server.McpListToolsEvent, server.McpCallEvent}
    return {kind.__struct_config__.tag for kind in subclasses(server.ServerEvent) if kind not in abstract}  # type: ignore[attr-defined]


def test_every_server_event_is_valid_by_the_packages_types_as_the_machine_makes_it() -> None:
    events = everything_that_is_ever_sent().wire.events + a_call_is_interrupted().wire.events
    assert {event["type"] for event in events} == all_server_events() - {"conversation.created", SEGMENT}
    for event in events:
        check(event)


def test_the_session_object_has_what_clients_insist_on() -> None:
    (created,) = World().wire.events
    session = created["session"]
    assert session["type"] == "realtime"
    assert session["object"] == "realtime.session"
    assert isinstance(session["expires_at"], int)
    assert session["output_modalities"] == ["audio"]
    assert session["audio"]["input"]["format"] == session["audio"]["output"]["format"] == PCM
    assert session["audio"]["input"]["turn_detection"] == {
        "type": "server_vad",
        "threshold": 0.5,
        "prefix_padding_ms": 300,
        "silence_duration_ms": 500,
        "idle_timeout_ms": None,
        "create_response": True,
        "interrupt_response": True,
    }
    assert isinstance(session["audio"]["output"]["voice"], str)
    assert session["tool_choice"] == "auto"


PCM = {"type": "audio/pcm", "rate": 24_000}


def test_keys_that_clients_read_are_there_also_when_null() -> None:
    events = everything_that_is_ever_sent().wire
    (added, *_) = events.of_type("conversation.item.added")
    assert added["previous_item_id"] is None
    assert added["item"]["content"] == [{"type": "input_audio", "transcript": None}]
    created = events.of_type("response.created")[0]["response"]
    assert (created["status"], created["output"], created["status_details"]) == ("in_progress", [], None)
    assert created["metadata"] is None
    for done in events.of_type("response.done"):
        usage = done["response"]["usage"]
        assert usage["input_token_details"].keys() >= {"text_tokens", "audio_tokens", "cached_tokens"}
        assert usage["output_token_details"].keys() >= {"text_tokens", "audio_tokens"}
    part = events.of_type("response.content_part.added")[0]["part"]
    assert part == {"type": "audio", "transcript": ""}
