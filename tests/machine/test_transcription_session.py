"""Transcription sessions: what is said comes back in words, and nothing is ever answered; log probabilities."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.types import Segment, TokenLogProbability, Transcript
from server.realtime import commands as do
from server.realtime.transcripts import tokens_between
from server.wire import Dialect, beta, ga
from tests.machine.scenes import error_of, kinds, say
from tests.machine.world import FRAME, PROFILE, READING, SEMANTIC, World
from tests.wire.test_ga import SEGMENT

LOGPROBS = "item.input_audio_transcription.logprobs"
TOLD = "conversation.item.input_audio_transcription"

ABLE = dataclasses.replace(PROFILE, log_probabilities=True, transcriber_prompt=True)
"""Whose transcriber tells log probabilities and takes a prompt."""

HEARD = Transcript(
    "hello there",
    tokens=3,
    segments=(Segment("hello", 0.1, 0.5), Segment("there", 0.6, 1.25)),
    token_log_probabilities=(TokenLogProbability("hello", -0.25), TokenLogProbability(" thé", -1.5)),
)


def listening(profile: Any = PROFILE, dialect: Dialect = ga) -> World:
    return World(profile, dialect, kind="transcription")


def update(world: World, **session: Any) -> list[dict[str, Any]]:
    return world.client(type="session.update", session={"type": "transcription", **session}, event_id="mine")


def hears(world: World, **settings: Any) -> dict[str, Any]:
    """Changes how a session hears; returns what it shows of that."""
    (event,) = update(world, audio={"input": settings})
    assert event["type"] == "session.updated", event
    shown: dict[str, Any] = event["session"]["audio"]["input"]
    return shown


# --- what it is ------------------------------------------------------------------------------------------------


def test_it_begins_with_every_default_and_nothing_of_responses() -> None:
    (created,) = listening().wire.events
    assert created["type"] == "session.created"
    assert created["session"] == {
        "type": "transcription",
        "object": "realtime.transcription_session",
        "id": created["session"]["id"],
        "expires_at": 2_000_000_000,
        "audio": {
            "input": {
                "format": {"type": "audio/pcm", "rate": 24_000},
                "transcription": {"model": "ears"},
                "noise_reduction": None,
                "turn_detection": {
                    "type": "server_vad",
                    "threshold": 0.5,
                    "prefix_padding_ms": 300,
                    "silence_duration_ms": 500,
                },
            }
        },
        "include": None,
    }


def test_where_a_detector_listens_it_begins_with_that() -> None:
    (created,) = listening(SEMANTIC).wire.events
    assert created["session"]["audio"]["input"]["turn_detection"] == {"type": "semantic_vad", "eagerness": "auto"}


def test_in_beta_it_begins_flat_and_with_an_event_of_its_own() -> None:
    (created,) = listening(dialect=beta).wire.events
    assert created["type"] == "transcription_session.created"
    assert created["session"] == {
        "object": "realtime.transcription_session",
        "id": created["session"]["id"],
        "expires_at": 2_000_000_000,
        "input_audio_format": "pcm16",
        "input_audio_transcription": {"model": "ears"},
        "input_audio_noise_reduction": None,
        "turn_detection": {
            "type": "server_vad",
            "threshold": 0.5,
            "prefix_padding_ms": 300,
            "silence_duration_ms": 500,
        },
        "include": None,
    }


# --- what is said ----------------------------------------------------------------------------------------------


def test_a_turn_by_voice_becomes_an_item_and_words_and_no_response() -> None:
    world = listening()
    sent = say(world, "hello there")
    assert kinds(sent) == [
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        f"{TOLD}.delta",
        f"{TOLD}.completed",
    ]
    assert len({event["item_id"] for event in sent if "item_id" in event}) == 1
    assert sent[-1]["transcript"] == sent[-2]["delta"] == "hello there"
    assert sent[-1]["usage"]["output_tokens"] == 2
    assert not world.runs


def test_no_reply_is_made_ready_in_secret() -> None:
    world = listening()
    world.speak(10, voiced=True)
    world.speak(5, voiced=False)
    assert not world.questions, "a hypothesis would only be for a reply"
    assert not world.runs


def test_a_detector_that_reads_words_ends_turns_here_too() -> None:
    world = listening(READING)
    world.speak(10, voiced=True)
    world.speak(3, voiced=False)
    world.answer_hypothesis("hello there")
    world.assess(100)
    world.speak(1, voiced=False)
    assert world.finishing
    assert not world.runs


def test_words_are_shown_while_they_are_spoken() -> None:
    world = listening()
    world.speak(10, voiced=True)
    (turn,) = world.utterances
    (delta,) = world.show_partial(turn, "hello")
    assert (delta["type"], delta["delta"]) == (f"{TOLD}.delta", "hello")
    world.speak(16, voiced=False)
    rest, completed = world.transcribe(turn, "hello there")
    assert (rest["delta"], completed["transcript"]) == (" there", "hello there")


def test_words_of_what_the_client_commits_are_shown_when_it_has_been_told_of_the_item() -> None:
    world = listening()
    hears(world, turn_detection=None)
    world.append(10 * FRAME)
    (turn,) = world.utterances
    assert not world.show_partial(turn, "hello")
    assert not world.show_partial(turn, "hello there")
    sent = world.client(type="input_audio_buffer.commit")
    assert [event["type"] for event in sent][-1:] == [f"{TOLD}.delta"]
    assert (sent[-1]["item_id"], sent[-1]["delta"]) == (sent[0]["item_id"], "hello there")
    rest, completed = world.transcribe(turn, "hello there all")
    assert (rest["delta"], completed["transcript"]) == (" all", "hello there all")


def test_words_of_what_was_cleared_are_not_shown_with_the_next() -> None:
    world = listening()
    hears(world, turn_detection=None)
    world.append(10 * FRAME)
    (turn,) = world.utterances
    world.show_partial(turn, "hello")
    world.client(type="input_audio_buffer.clear")
    world.append(10 * FRAME)
    assert f"{TOLD}.delta" not in kinds(world.client(type="input_audio_buffer.commit"))


def test_without_turn_detection_the_client_commits() -> None:
    world = listening()
    assert hears(world, turn_detection=None)["turn_detection"] is None
    for text in ("first", "second"):
        world.append(10 * FRAME)
        assert kinds(world.client(type="input_audio_buffer.commit")) == [
            "input_audio_buffer.committed",
            "conversation.item.added",
            "conversation.item.done",
        ]
        assert world.transcribe(world.finishing[0], text)[-1]["transcript"] == text
    first, second = world.wire.of_type("input_audio_buffer.committed")
    assert (first["previous_item_id"], second["previous_item_id"]) == (None, first["item_id"])
    assert not world.runs


def test_a_failed_transcription_is_told_and_the_session_goes_on() -> None:
    world = listening()
    assert say(world, None)[-1]["type"] == f"{TOLD}.failed"
    assert say(world, "and now")[-1]["transcript"] == "and now"


def test_items_are_retrieved_and_deleted() -> None:
    world = listening()
    item_id = say(world, "hello there")[-1]["item_id"]
    (retrieved,) = world.client(type="conversation.item.retrieve", item_id=item_id)
    assert retrieved["item"]["content"] == [{"type": "input_audio", "transcript": "hello there"}]
    assert kinds(world.client(type="conversation.item.delete", item_id=item_id)) == ["conversation.item.deleted"]
    assert error_of(world.client(type="conversation.item.retrieve", item_id=item_id))["code"] == "item_not_found"


def test_segments_are_told_where_the_transcriber_has_some() -> None:
    world = listening()
    world.speak(10, voiced=True)
    world.speak(16, voiced=False)
    _, first, second, completed = world.transcribe(world.finishing[0], HEARD)
    assert first == {
        "type": SEGMENT,
        "event_id": first["event_id"],
        "id": first["id"],
        "item_id": completed["item_id"],
        "content_index": 0,
        "text": "hello",
        "start": 0.1,
        "end": 0.5,
        "speaker": "",
    }
    assert (second["text"], second["start"], second["end"]) == ("there", 0.6, 1.25)
    assert first["id"] != second["id"]
    assert completed["transcript"] == "hello there"


def test_a_session_that_answers_tells_no_segments_nor_does_beta() -> None:
    answering, older = World(), listening(dialect=beta)
    for world in (answering, older):
        world.speak(10, voiced=True)
        world.speak(16, voiced=False)
        world.transcribe(world.finishing[0], HEARD)
        assert world.wire.of_type(f"{TOLD}.completed")
        assert not world.wire.of_type(SEGMENT)


def test_it_ends_as_any_session() -> None:
    world = listening()
    say(world, "hello")
    world.speak(10, voiced=True)
    world.disconnect()


DETECTIONS: list[Any] = [
    None,
    {"type": "server_vad", "silence_duration_ms": 200},
    {"type": "server_vad", "create_response": False},
    {"type": "semantic_vad", "eagerness": "high"},
]


@st.composite
def steps(draw: st.DrawFn) -> Callable[[World], object]:
    """Something that the user, the client or a stage does."""
    frames, voiced = draw(st.integers(1, 20)), draw(st.booleans())
    words = draw(st.sampled_from(["", "hello", "hello there", "what"]))
    detection = draw(st.sampled_from(DETECTIONS))
    acts: list[Callable[[World], object]] = [
        lambda world: world.speak(frames, voiced),
        lambda world: world.append(frames * 100),
        lambda world: world.client(type="input_audio_buffer.commit"),
        lambda world: world.client(type="input_audio_buffer.clear"),
        lambda world: update(world, audio={"input": {"turn_detection": detection}}),
        lambda world: update(world, audio={"input": {"transcription": {} if voiced else None}}),
        lambda world: world.client(type="response.create"),
        lambda world: world.questions and world.answer_hypothesis(words),
        lambda world: world.pauses and world.assess(frames * 20),
        lambda world: world.utterances and world.show_partial(max(world.utterances), words),
        lambda world: world.finishing and world.transcribe(world.finishing[0], words if voiced else None),
    ]
    return draw(st.sampled_from(acts))


@given(profile=st.sampled_from([SEMANTIC, READING]), acts=st.lists(steps(), max_size=40))
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_happens_nothing_is_answered_and_every_item_gets_its_words(
    profile: Any, acts: list[Callable[[World], object]]
) -> None:
    """`World` checks each event and the invariants of the wire."""
    world = listening(profile)
    for act in acts:
        act(world)
    hears(world, transcription={})
    for turn in world.finishing:
        (*_, completed) = world.transcribe(turn, "the end")
        assert completed["transcript"] == "the end"
    assert not world.runs
    assert not [kind for kind in kinds(world.wire.events) if kind.startswith("response.")]
    world.wire.end()
    world.disconnect()


# --- what is refused -------------------------------------------------------------------------------------------

MESSAGE = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}


@pytest.mark.parametrize("dialect", [ga, beta])
@pytest.mark.parametrize(
    ("event", "code", "param"),
    [
        ({"type": "response.create"}, "invalid_value", "type"),
        ({"type": "response.create", "response": {"instructions": "Speak."}}, "invalid_value", "type"),
        ({"type": "conversation.item.create", "item": MESSAGE}, "invalid_value", "type"),
        ({"type": "response.cancel"}, "response_cancel_not_active", None),
        ({"type": "output_audio_buffer.clear"}, "invalid_value", "type"),
        ({"type": "input_audio_buffer.commit"}, "input_audio_buffer_commit_empty", None),
    ],
)
def test_what_needs_a_response_is_refused_and_the_session_goes_on(
    dialect: Dialect, event: dict[str, Any], code: str, param: str | None
) -> None:
    world = listening(dialect=dialect)
    error = error_of(world.client(**event, event_id="mine"))
    assert (error["code"], error["param"], error["event_id"]) == (code, param, "mine")
    if code == "invalid_value" and event["type"] != "output_audio_buffer.clear":
        assert "intent=transcription" in error["message"], "the mend"
    assert say(world, "still here")[-1]["transcript"] == "still here"
    assert not world.runs


BAD_UPDATES: list[tuple[dict[str, Any], str, str]] = [
    ({"instructions": "Be kind."}, "unknown_parameter", "session.instructions"),
    ({"model": "mini"}, "unknown_parameter", "session.model"),
    ({"output_modalities": ["text"]}, "unknown_parameter", "session.output_modalities"),
    ({"tools": []}, "unknown_parameter", "session.tools"),
    ({"tracing": "auto"}, "unknown_parameter", "session.tracing"),
    ({"colour": 1}, "unknown_parameter", "session.colour"),
    ({"id": "sess_1"}, "unknown_parameter", "session.id"),
    ({"audio": {"output": {"voice": "one"}}}, "unknown_parameter", "session.audio.output"),
    ({"audio": {"input": {"colour": 1}}}, "unknown_parameter", "session.audio.input.colour"),
    ({"audio": 5}, "invalid_type", "session.audio"),
    ({"include": [LOGPROBS]}, "invalid_value", "session.include"),
    ({"include": ["everything"]}, "invalid_value", "session.include[0]"),
    ({"include": LOGPROBS}, "invalid_type", "session.include"),
    (
        {"audio": {"input": {"turn_detection": {"type": "server_vad", "create_response": True}}}},
        "invalid_value",
        "session.audio.input.turn_detection.create_response",
    ),
    (
        {"audio": {"input": {"turn_detection": {"type": "server_vad", "interrupt_response": True}}}},
        "invalid_value",
        "session.audio.input.turn_detection.interrupt_response",
    ),
    (
        {"audio": {"input": {"turn_detection": {"type": "server_vad", "idle_timeout_ms": 5000}}}},
        "invalid_value",
        "session.audio.input.turn_detection.idle_timeout_ms",
    ),
    (
        {"audio": {"input": {"turn_detection": {"type": "server_vad", "threshold": 2}}}},
        "invalid_value",
        "session.audio.input.turn_detection.threshold",
    ),
    (
        {"audio": {"input": {"transcription": {"model": "gpt-4o-transcribe", "prompt": "Parley"}}}},
        "invalid_value",
        "session.audio.input.transcription.prompt",
    ),
    (
        {"audio": {"input": {"transcription": {"keywords": ["Parley"]}}}},
        "invalid_value",
        "session.audio.input.transcription.keywords",
    ),
    (
        {"audio": {"input": {"transcription": {"language": "fr"}}}},
        "invalid_value",
        "session.audio.input.transcription.language",
    ),
    (
        {"audio": {"input": {"transcription": {"model": "nobody"}}}},
        "invalid_value",
        "session.audio.input.transcription.model",
    ),
    (
        {"audio": {"input": {"transcription": {"model": "gpt-4o-transcribe-diarize"}}}},
        "invalid_value",
        "session.audio.input.transcription.model",
    ),
    (
        {"audio": {"input": {"transcription": {"delay": "low"}}}},
        "invalid_type",
        "session.audio.input.transcription.delay",
    ),
    (
        {"audio": {"input": {"transcription": {"languages": ["en", "en-US"]}}}},
        "invalid_value",
        "session.audio.input.transcription.languages",
    ),
    (
        {"audio": {"input": {"transcription": {"languages": ["fr"]}}}},
        "invalid_value",
        "session.audio.input.transcription.languages",
    ),
    (
        {"audio": {"input": {"transcription": {"languages": ["en"], "language": "en-US"}}}},
        "invalid_value",
        "session.audio.input.transcription.languages",
    ),
]


@pytest.mark.parametrize(("session", "code", "param"), BAD_UPDATES, ids=lambda value: str(value)[:70])
def test_an_update_that_cannot_be_honoured_is_refused_by_name_and_changes_nothing(
    session: dict[str, Any], code: str, param: str
) -> None:
    world = listening()
    error = error_of(update(world, **session))
    assert (error["code"], error["param"], error["event_id"]) == (code, param, "mine")
    (same,) = update(world)
    assert same["session"] == world.wire.events[0]["session"]


def test_a_session_stays_of_the_kind_that_it_was_opened_as() -> None:
    for world, other in ((World(), "transcription"), (listening(), "realtime")):
        error = error_of(world.client(type="session.update", session={"type": other}, event_id="mine"))
        assert (error["code"], error["param"], error["event_id"]) == ("invalid_value", "session.type", "mine")
        assert "intent=transcription" in error["message"]


# --- what is asked for -----------------------------------------------------------------------------------------


def test_all_of_it_is_honoured_and_shown() -> None:
    world = listening(ABLE)
    detection = {"type": "server_vad", "threshold": 0.3, "prefix_padding_ms": 100, "silence_duration_ms": 200}
    asked = {
        "format": {"type": "audio/pcmu"},
        "transcription": {"model": "gpt-4o-transcribe", "language": "en", "prompt": "Of names."},
        "turn_detection": {**detection, "create_response": False, "interrupt_response": False},
    }
    shown = hears(world, **asked)
    assert shown == {**asked, "turn_detection": detection, "noise_reduction": None}
    assert world.transcription == do.SetTranscription("en", "Of names.", shows=True)
    (kept,) = update(world, include=[LOGPROBS])
    assert kept["session"]["audio"]["input"] == shown, "what is not named stays"
    assert kept["session"]["include"] == [LOGPROBS]
    heard = world.machine.session.audio.input.turn_detection
    assert heard is not None
    assert (heard.create_response, heard.interrupt_response) == (False, False)


@pytest.mark.parametrize(
    ("transcription", "shown", "told"),
    [
        ({"model": None}, {"model": "ears"}, (None, None)),
        ({"language": None, "prompt": None}, {"model": "ears", "language": None, "prompt": None}, (None, None)),
        ({"language": "", "prompt": ""}, {"model": "ears", "language": "", "prompt": ""}, (None, None)),
        ({"model": "gpt-realtime-whisper", "delay": None}, None, (None, None)),
        ({"keywords": ["Parley", "Whisper"]}, None, (None, "Parley, Whisper")),
        ({"prompt": "Of names.", "keywords": ["Parley"]}, None, (None, "Of names. Parley")),
        ({"language": "en-US"}, None, ("en-US", None)),
        ({"languages": ["en"]}, None, ("en", None)),
        ({"languages": ["en"], "language": "en"}, None, ("en", None)),
        ({"languages": []}, None, (None, None)),
        ({"languages": None, "keywords": None}, None, (None, None)),
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", ["realtime", "transcription"])
def test_the_transcriber_is_told_the_language_and_the_prompt(
    kind: Any, transcription: dict[str, Any], shown: dict[str, Any] | None, told: tuple[str | None, str | None]
) -> None:
    world = World(ABLE, kind=kind)
    session = {"type": kind, "audio": {"input": {"transcription": transcription}}}
    (event,) = world.client(type="session.update", session=session)
    assert event["type"] == "session.updated", event
    expected = {"model": "ears", **transcription} if shown is None else shown
    assert event["session"]["audio"]["input"]["transcription"] == expected
    assert world.transcription == do.SetTranscription(*told, shows=True)


def test_a_session_whose_transcription_is_off_tells_no_words_and_is_turned_on_again() -> None:
    world = listening()
    assert hears(world, transcription=None)["transcription"] is None
    assert kinds(say(world, "hello"))[-1] == "conversation.item.done"
    assert hears(world, transcription={"model": "whisper-1"})["transcription"] == {"model": "whisper-1"}
    assert say(world, "hello")[-1]["transcript"] == "hello"


# --- log probabilities -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["realtime", "transcription"])
def test_log_probabilities_come_where_they_are_included_and_only_then(kind: Any) -> None:
    world = World(ABLE, kind=kind)

    def completed(transcript: Transcript) -> dict[str, Any]:
        world.speak(10, voiced=True)
        world.speak(16, voiced=False)
        world.transcribe(world.finishing[0], transcript)
        event: dict[str, Any] = world.wire.of_type(f"{TOLD}.completed")[-1]
        return event

    assert "logprobs" not in completed(HEARD)
    (event,) = world.client(type="session.update", session={"type": kind, "include": [LOGPROBS]})
    assert event["session"]["include"] == [LOGPROBS]
    assert completed(HEARD)["logprobs"] == [
        {"token": "hello", "logprob": -0.25, "bytes": list(b"hello")},
        {"token": " thé", "logprob": -1.5, "bytes": [32, 116, 104, 0xC3, 0xA9]},
    ]
    assert completed(Transcript(""))["logprobs"] == []
    assert world.wire.of_type(f"{TOLD}.delta")[-1]["logprobs"] is None, "its tokens do not spell the text"
    assert completed(Transcript("hello"))["logprobs"] is None, "none were given, and none are invented"
    for none in ([], None):
        world.client(type="session.update", session={"type": kind, "include": [LOGPROBS]})
        (event,) = world.client(type="session.update", session={"type": kind, "include": none})
        assert event["session"]["include"] == none
        assert "logprobs" not in completed(HEARD)


def tokens(*texts: str) -> tuple[TokenLogProbability, ...]:
    return tuple(TokenLogProbability(text, -1.0) for text in texts)


def test_each_delta_brings_the_probabilities_of_its_own_tokens() -> None:
    world = listening(ABLE)
    update(world, include=[LOGPROBS])
    world.speak(10, voiced=True)
    (turn,) = world.utterances
    (first,) = world.show_partial(turn, "hello the", *tokens(" hel", "lo", " the", " rain"))
    world.speak(16, voiced=False)
    whole = tokens(" hel", "lo", " the", "re", ".")
    rest, completed = world.transcribe(turn, Transcript("hello there.", 5, token_log_probabilities=whole))
    told = [[token["token"] for token in event["logprobs"]] for event in (first, rest, completed)]
    assert told == [[" hel", "lo", " the"], ["re", "."], [" hel", "lo", " the", "re", "."]]


@pytest.mark.parametrize(
    ("spelled", "text", "start", "found"),
    [
        ((), "hello", 0, ()),
        (("hello",), "hello", 0, ("hello",)),
        (("hello",), "hello", 5, ()),
        ((" hello", " there"), "hello there", 5, (" there",)),
        (("你", "好吗"), "你好", 1, ("好吗",)),
        (("hullo",), "hello", 0, ()),
        (("hel",), "hello", 0, ()),
    ],
)
def test_tokens_are_found_where_they_spell_the_text(
    spelled: tuple[str, ...], text: str, start: int, found: tuple[str, ...]
) -> None:
    assert tokens_between(tokens(*spelled), text, start) == tokens(*found)


def test_a_transcriber_without_log_probabilities_has_them_refused_in_sessions_that_answer_too() -> None:
    world = World()
    error = error_of(world.client(type="session.update", session={"type": "realtime", "include": [LOGPROBS]}))
    assert (error["code"], error["param"]) == ("invalid_value", "session.include")
    assert "'ears'" in error["message"]
