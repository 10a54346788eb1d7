"""Transcription sessions in beta: flat fields, events of their own, and complaints in the client's words."""

import dataclasses
from typing import Any

import pytest

from pipeline.types import TokenLogProbability, Transcript
from server.realtime import commands as do
from server.wire import beta, ga
from tests.machine.scenes import error_of, kinds, say
from tests.machine.world import FRAME, PROFILE, SEMANTIC, World
from tests.wire.test_beta import NOT_ITS_WORDS

UPDATE = "transcription_session.update"
LOGPROBS = "item.input_audio_transcription.logprobs"
ABLE = dataclasses.replace(PROFILE, log_probabilities=True, transcriber_prompt=True)
SESSION: dict[str, Any] = {
    "input_audio_format": "g711_ulaw",
    "input_audio_transcription": {"model": "gpt-4o-transcribe", "language": "en", "prompt": "Of names."},
    "input_audio_noise_reduction": None,
    "turn_detection": {
        "type": "server_vad",
        "threshold": 0.3,
        "prefix_padding_ms": 100,
        "silence_duration_ms": 200,
    },
    "include": [LOGPROBS],
}


def listening(profile: Any = PROFILE) -> World:
    return World(profile, beta, kind="transcription")


def updated(world: World, **session: Any) -> dict[str, Any]:
    (event,) = world.client(type=UPDATE, session=session)
    assert event["type"] == "transcription_session.updated", event
    effective: dict[str, Any] = event["session"]
    return effective


def test_every_field_is_honoured_and_shown() -> None:
    world = listening(ABLE)
    (created,) = world.wire.events
    effective = updated(world, **SESSION)
    assert effective == {**created["session"], **SESSION}
    assert updated(world) == effective, "what is not named stays"
    assert world.transcription == do.SetTranscription("en", "Of names.", shows=True)
    assert type(world.machine.session.audio.input.format).__name__ == "PcmuFormat"


@pytest.mark.parametrize(
    ("session", "shown"),
    [
        ({"turn_detection": None}, {"turn_detection": None}),
        ({"turn_detection": {"threshold": 0.4, "create_response": False}}, {}),
        ({"input_audio_transcription": None}, {"input_audio_transcription": None}),
        ({"input_audio_transcription": {}}, {"input_audio_transcription": {"model": "ears"}}),
        (  # LiveKit's plugin says them always, on a transcriber that takes no prompt, too
            {"input_audio_transcription": {"model": "gpt-4o-transcribe", "prompt": "", "language": ""}},
            {"input_audio_transcription": {"model": "gpt-4o-transcribe", "prompt": "", "language": ""}},
        ),
        ({"include": None}, {"include": None}),
        ({"include": []}, {"include": []}),
    ],
    ids=str,
)
def test_an_update_is_honoured(session: dict[str, Any], shown: dict[str, Any]) -> None:
    effective = updated(listening(), **session)
    assert {name: effective[name] for name in shown} == shown


def test_semantic_detection_has_its_own_fields() -> None:
    detection = updated(listening(SEMANTIC), turn_detection={"type": "semantic_vad", "eagerness": "low"})
    assert detection["turn_detection"] == {"type": "semantic_vad", "eagerness": "low"}


def test_what_is_said_comes_in_words_with_their_probabilities() -> None:
    world = listening(ABLE)
    updated(world, include=[LOGPROBS], turn_detection=None)
    world.append(10 * FRAME)
    sent = world.client(type="input_audio_buffer.commit")
    assert kinds(sent) == ["input_audio_buffer.committed", "conversation.item.created"]
    heard = Transcript("hello", tokens=1, token_log_probabilities=(TokenLogProbability("hello", -0.5),))
    delta, completed = world.transcribe(world.finishing[0], heard)
    assert (delta["delta"], completed["transcript"]) == ("hello", "hello")
    assert completed["logprobs"] == [{"token": "hello", "logprob": -0.5, "bytes": list(b"hello")}]


def test_a_session_that_answers_has_them_too_although_its_flat_shape_does_not_show_that() -> None:
    world = World(ABLE, beta)
    (event,) = world.client(type="session.update", session={"include": [LOGPROBS]})
    assert event["type"] == "session.updated"
    assert "include" not in event["session"]
    say(world, "hello")
    (completed,) = world.wire.of_type("conversation.item.input_audio_transcription.completed")
    assert "logprobs" in completed


BAD_SESSIONS: list[tuple[dict[str, Any], str, str]] = [
    ({"type": "transcription"}, "unknown_parameter", "session.type"),
    ({"modalities": ["text"]}, "unknown_parameter", "session.modalities"),
    ({"instructions": "Be kind."}, "unknown_parameter", "session.instructions"),
    ({"model": "mini"}, "unknown_parameter", "session.model"),
    ({"client_secret": {}}, "unknown_parameter", "session.client_secret"),
    ({"audio": {}}, "unknown_parameter", "session.audio"),
    ({"colour": 1}, "unknown_parameter", "session.colour"),
    ({"include": [LOGPROBS]}, "invalid_value", "session.include"),
    ({"include": LOGPROBS}, "invalid_type", "session.include"),
    ({"input_audio_format": "audio/pcm"}, "invalid_value", "session.input_audio_format"),
    (
        {"input_audio_transcription": {"model": "whisper-1", "prompt": "x"}},
        "invalid_value",
        "session.input_audio_transcription.prompt",
    ),
    (
        {"input_audio_transcription": {"keywords": ["x"]}},
        "unknown_parameter",
        "session.input_audio_transcription.keywords",
    ),
    ({"turn_detection": {"create_response": True}}, "invalid_value", "session.turn_detection.create_response"),
    ({"turn_detection": {"interrupt_response": True}}, "invalid_value", "session.turn_detection.interrupt_response"),
    ({"turn_detection": {"idle_timeout_ms": 6000}}, "unknown_parameter", "session.turn_detection.idle_timeout_ms"),
]


@pytest.mark.parametrize(("update", "code", "param"), BAD_SESSIONS, ids=lambda value: str(value)[:60])
def test_a_bad_update_is_refused_by_name_and_changes_nothing(update: dict[str, Any], code: str, param: str) -> None:
    world = listening()
    error = error_of(world.client(type=UPDATE, event_id="mine", session=update))
    assert (error["code"], error["param"], error["event_id"]) == (code, param, "mine")
    asked = {f"session.{name}" for name in update} | {"audio/pcm"}
    assert {found[0] for found in NOT_ITS_WORDS.finditer(error["message"])} <= {
        found[0] for word in asked for found in NOT_ITS_WORDS.finditer(word)
    }
    assert updated(world) == world.wire.events[0]["session"]


def test_each_kind_of_session_has_its_own_update() -> None:
    for world, other in ((World(PROFILE, beta), UPDATE), (listening(), "session.update")):
        error = error_of(world.client(type=other, session={}, event_id="mine"))
        assert (error["code"], error["param"], error["event_id"]) == ("invalid_value", "type", "mine")
        assert "intent=transcription" in error["message"]
    (error,) = World().client(type=UPDATE, session={}, event_id="mine")
    assert (error["error"]["code"], error["error"]["param"]) == ("invalid_value", "type"), "GA has no such event"


@pytest.mark.parametrize(
    ("event", "code", "param"),
    [
        ({"type": UPDATE}, "missing_required_parameter", "session"),
        ({"type": UPDATE, "session": []}, "invalid_type", "session"),
        ({"type": UPDATE, "session": {}, "colour": 1}, "unknown_parameter", "colour"),
        ({"type": "nonsense"}, "invalid_value", "type"),
    ],
    ids=str,
)
def test_a_bad_event_is_refused_and_the_session_goes_on(event: dict[str, Any], code: str, param: str) -> None:
    world = listening()
    error = error_of(world.client(**event, event_id="mine"))
    assert (error["code"], error["param"], error["event_id"]) == (code, param, "mine")
    assert say(world, "still here")[-1]["transcript"] == "still here"


def test_the_events_of_the_two_dialects_are_of_one_session() -> None:
    """What one client is told, a client of the other dialect would have been told in its own words."""
    world = World(PROFILE, ga, kind="transcription")
    world.client(type="session.update", session={"type": "transcription"})
    assert kinds(world.other_wire.events) == [
        "transcription_session.created",
        "transcription_session.updated",
    ]
