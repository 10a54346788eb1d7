"""The protocol by example: what is said and done, and what the client gets to see of it, in order."""

import copy
import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pytest

from pipeline.types import RunId, TurnAudio, TurnClause
from server.realtime import commands as do
from server.realtime.inbox import VoiceFailed
from server.realtime.machine import Machine
from server.realtime.responding import MAX_RESPONSES
from server.realtime.session_config import Profile
from server.wire import ga
from tests.machine.world import FRAME, PROFILE, SimulatedRun, World

SILENCE = 16
"""Frames after which 500 ms of silence are over."""

MANUAL = {"type": "realtime", "audio": {"input": {"turn_detection": None}}}


def detection(**options: Any) -> dict[str, Any]:
    return {"type": "realtime", "audio": {"input": {"turn_detection": {"type": "server_vad", **options}}}}


def configured(session: dict[str, Any], profile: Profile = PROFILE) -> World:
    world = World(profile)
    sent = world.client(type="session.update", session=session)
    assert kinds(sent) == ["session.updated"]
    return world


def kinds(events: Sequence[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in events]


def say(world: World, text: str | None, hypothesis: str | None = None) -> list[dict[str, Any]]:
    """The user says something and is silent; it is understood as `text` (None: the stage fails)."""
    before = len(world.wire.events)
    world.speak(10, voiced=True)
    world.speak(3, voiced=False)
    if hypothesis is not None:
        world.answer_hypothesis(hypothesis)
    world.speak(SILENCE - 3, voiced=False)
    world.transcribe(world.finishing[0], text)
    return world.wire.events[before:]


def write(world: World, text: str, **options: Any) -> dict[str, Any]:
    """The client adds a message of the user; returns the item."""
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
    sent = world.client(type="conversation.item.create", item=item, **options)
    assert kinds(sent) == ["conversation.item.added", "conversation.item.done"]
    added: dict[str, Any] = sent[0]
    return added


def running(world: World) -> SimulatedRun:
    """The one run that is under way."""
    (run,) = [run for run in world.runs.values() if not run.over and not run.cancelled]
    return run


def told(run: SimulatedRun) -> list[tuple[str, str]]:
    """What the model is told after the instructions: (role, text)."""
    return [(message.role, message.text) for message in run.request.prompt.messages[1:]]


def answered(world: World, clauses: int = 1) -> dict[str, Any]:
    """The reply comes to its end; returns the response of `response.done`."""
    run = running(world)
    for _ in range(clauses):
        world.step_run(run, "clause")
    sent = world.step_run(run, "finish")
    assert sent[-1]["type"] == "response.done"
    response: dict[str, Any] = sent[-1]["response"]
    return response


def sing(world: World, run: SimulatedRun, words: str, ms: int) -> None:
    """The run says `words` in `ms` of sound."""
    world.handle(TurnClause(run.request.run, words))
    world.handle(TurnAudio(run.request.run, np.zeros(24 * ms, np.int16)))


def spoken_item(world: World) -> str:
    """The id of the newest item of the assistant."""
    item_id: str = world.wire.of_type("response.output_item.added")[-1]["item"]["id"]
    return item_id


def error_of(sent: list[dict[str, Any]]) -> dict[str, Any]:
    (event,) = sent
    assert event["type"] == "error"
    assert event["error"]["type"] == "invalid_request_error"
    error: dict[str, Any] = event["error"]
    return error


# --- one spoken turn -------------------------------------------------------------------------------------------


def test_the_events_of_a_spoken_turn_come_in_the_order_of_the_protocol() -> None:
    world = World()
    say(world, "hello there")
    answered(world, clauses=2)
    assert kinds(world.wire.events) == [
        "session.created",
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        "response.created",
        "rate_limits.updated",
        "conversation.item.input_audio_transcription.delta",
        "conversation.item.input_audio_transcription.completed",
        "response.output_item.added",
        "conversation.item.added",
        "response.content_part.added",
        "response.output_audio_transcript.delta",
        "response.output_audio.delta",
        "response.output_audio_transcript.delta",
        "response.output_audio.delta",
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
    ]


def test_the_items_of_a_turn_form_one_chain() -> None:
    world = World()
    for _ in range(2):
        say(world, "hello there")
        answered(world)
    added = world.wire.of_type("conversation.item.added")
    ids = [event["item"]["id"] for event in added]
    assert [event["previous_item_id"] for event in added] == [None, *ids[:-1]]
    assert [event["previous_item_id"] for event in world.wire.of_type("conversation.item.done")] == [None, *ids[:-1]]
    started, stopped, committed, transcribed = (
        world.wire.of_type(kind)[1]["item_id"]
        for kind in (
            "input_audio_buffer.speech_started",
            "input_audio_buffer.speech_stopped",
            "input_audio_buffer.committed",
            "conversation.item.input_audio_transcription.completed",
        )
    )
    assert started == stopped == committed == transcribed == ids[2]


def test_the_times_of_speech_are_those_of_the_sound() -> None:
    world = World()
    world.speak(20, voiced=False)
    say(world, "hello there")
    (started,) = world.wire.of_type("input_audio_buffer.speech_started")
    (stopped,) = world.wire.of_type("input_audio_buffer.speech_stopped")
    assert started["audio_start_ms"] == 20 * 32 - 300, "300 ms of prefix padding"
    assert stopped["audio_end_ms"] == (20 + 10 + SILENCE) * 32


def test_a_reply_in_writing_has_text_events() -> None:
    world = configured({"type": "realtime", "output_modalities": ["text"]})
    write(world, "hello")
    before = len(world.wire.events)
    world.client(type="response.create")
    response = answered(world, clauses=2)
    assert kinds(world.wire.events[before:]) == [
        "response.created",
        "rate_limits.updated",
        "response.output_item.added",
        "conversation.item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
    ]
    (item,) = response["output"]
    (part,) = item["content"]
    assert part == {"type": "output_text", "text": world.wire.of_type("response.output_text.done")[0]["text"]}


def test_usage_counts_text_by_the_engine_and_sound_by_the_published_rule() -> None:
    world = World()
    say(world, "hello there")
    usage = answered(world)["usage"]  # 100 ms of sound
    heard_ms = (10 + SILENCE) * 32
    audio_in = -(-heard_ms // 100)
    assert usage["input_token_details"] == {
        "text_tokens": 20,
        "audio_tokens": audio_in,
        "image_tokens": 0,
        "cached_tokens": 3,
    }
    assert usage["output_token_details"] == {"text_tokens": 5, "audio_tokens": 2}
    assert (usage["input_tokens"], usage["output_tokens"]) == (20 + audio_in, 7)
    (completed,) = world.wire.of_type("conversation.item.input_audio_transcription.completed")
    assert completed["usage"] == {
        "type": "tokens",
        "total_tokens": audio_in + 2,
        "input_tokens": audio_in,
        "output_tokens": 2,
        "input_token_details": {"text_tokens": 0, "audio_tokens": audio_in},
    }


def test_a_reply_that_reaches_its_limit_is_incomplete() -> None:
    world = World()
    write(world, "hello")
    world.client(type="response.create", response={"max_output_tokens": 16})
    run = running(world)
    assert run.request.max_tokens == 16
    world.step_run(run, "clause")
    response = world.step_run(run, "limit")[-1]["response"]
    assert response["status"] == "incomplete"
    assert response["status_details"] == {"type": "incomplete", "reason": "max_output_tokens"}
    assert response["output"][0]["status"] == "incomplete"


def test_a_stage_that_fails_closes_everything_that_is_open() -> None:
    world = World()
    write(world, "hello")
    world.client(type="response.create")
    run = running(world)
    world.step_run(run, "clause")
    sent = world.step_run(run, "fail")
    assert kinds(sent) == [
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
    ]
    assert sent[-1]["response"]["status"] == "failed"
    error = sent[-1]["response"]["status_details"]["error"]
    assert error == {"type": "server_error", "code": "tts_failed"}


def test_a_transcriber_that_fails_fails_the_response_and_the_next_turn_works() -> None:
    world = World()
    sent = say(world, None)
    assert "conversation.item.input_audio_transcription.failed" in kinds(sent)
    assert sent[-1]["response"]["status_details"]["error"]["code"] == "transcription_failed"
    assert not world.runs
    say(world, "hello there")
    assert told(running(world)) == [("user", "hello there")]


# --- push to talk ----------------------------------------------------------------------------------------------


def test_a_commit_makes_an_item_and_never_answers_by_itself() -> None:
    world = configured(MANUAL)
    world.append(24_000)
    sent = world.client(type="input_audio_buffer.commit")
    assert kinds(sent) == ["input_audio_buffer.committed", "conversation.item.added", "conversation.item.done"]
    assert sent[1]["item"]["content"] == [{"type": "input_audio", "transcript": None}]
    world.transcribe(world.finishing[0], "hello there")
    assert not world.runs
    assert kinds(world.client(type="response.create")) == ["response.created", "rate_limits.updated"]
    assert told(running(world)) == [("user", "hello there")]


def test_a_response_waits_for_the_words_of_what_was_committed() -> None:
    world = configured(MANUAL)
    world.append(24_000)
    world.client(type="input_audio_buffer.commit")
    world.client(type="response.create")
    assert not world.runs
    world.transcribe(world.finishing[0], "hello there")
    assert told(running(world)) == [("user", "hello there")]


def test_too_little_sound_cannot_be_committed() -> None:
    world = configured(MANUAL)
    world.append(2_399)
    error = error_of(world.client(type="input_audio_buffer.commit", event_id="mine"))
    assert error["code"] == "input_audio_buffer_commit_empty"
    assert error["event_id"] == "mine"
    world.append(1)
    assert world.client(type="input_audio_buffer.commit")[0]["type"] == "input_audio_buffer.committed"
    assert error_of(world.client(type="input_audio_buffer.commit"))["code"] == "input_audio_buffer_commit_empty"


def test_a_cleared_buffer_is_empty() -> None:
    world = configured(MANUAL)
    world.append(24_000)
    assert kinds(world.client(type="input_audio_buffer.clear")) == ["input_audio_buffer.cleared"]
    assert error_of(world.client(type="input_audio_buffer.commit"))["code"] == "input_audio_buffer_commit_empty"


def test_an_odd_number_of_bytes_is_no_sound() -> None:
    error = error_of(World().client(type="input_audio_buffer.append", audio="AAAA", event_id="mine"))
    assert (error["code"], error["param"], error["event_id"]) == ("invalid_value", "audio", "mine")


def test_the_buffer_holds_ten_minutes() -> None:
    world = configured(MANUAL)
    for _ in range(10):
        world.append(60 * 24_000)
    world.append(24_000)
    (error,) = world.wire.of_type("error")
    assert error["error"]["code"] == "input_audio_buffer_full"
    assert world.client(type="input_audio_buffer.commit")[0]["type"] == "input_audio_buffer.committed"


def test_a_commit_during_speech_takes_all_that_was_said() -> None:
    world = World()
    world.speak(10, voiced=True)
    sent = world.client(type="input_audio_buffer.commit")
    assert kinds(sent)[:2] == ["input_audio_buffer.speech_stopped", "input_audio_buffer.committed"]
    assert "response.created" not in kinds(sent)
    (utterance,) = world.utterances.values()
    assert utterance.fed[-1][1] == world.appended


# --- speculation -----------------------------------------------------------------------------------------------


def pause_with_hypothesis(world: World, words: str) -> SimulatedRun:
    """The user speaks and pauses, and `words` are understood; returns the run that is held."""
    world.speak(10, voiced=True)
    world.speak(3, voiced=False)
    world.answer_hypothesis(words)
    run = running(world)
    assert run.held
    return run


def test_a_held_reply_is_released_at_the_commit_without_another_run() -> None:
    world = World()
    run = pause_with_hypothesis(world, "hello there")
    before = len(world.wire.events)
    world.step_run(run, "clause")
    world.step_run(run, "clause")
    assert len(world.wire.events) == before, "nothing speculative reaches the client"
    world.speak(SILENCE - 3, voiced=False)
    assert run.held, "the transcript is not there yet"
    sent = world.transcribe(world.finishing[0], "hello there")
    assert not run.held
    assert list(world.runs.values()) == [run]
    assert kinds(sent).count("response.output_audio.delta") == 2
    assert world.step_run(run, "finish")[-1]["response"]["status"] == "completed"


def test_a_held_reply_that_is_whole_already_is_sent_in_one_go() -> None:
    world = World()
    run = pause_with_hypothesis(world, "hello there")
    world.step_run(run, "clause")
    world.step_run(run, "finish")
    world.speak(SILENCE - 3, voiced=False)
    sent = world.transcribe(world.finishing[0], "hello there")
    assert sent[-1]["response"]["status"] == "completed"


def test_space_around_the_words_does_not_matter() -> None:
    world = World()
    run = pause_with_hypothesis(world, " hello there ")
    world.speak(SILENCE - 3, voiced=False)
    world.transcribe(world.finishing[0], "hello there")
    assert not run.held
    assert list(world.runs.values()) == [run]


def test_a_reply_to_other_words_is_made_again() -> None:
    world = World()
    held = pause_with_hypothesis(world, "hello")
    world.step_run(held, "clause")
    world.speak(SILENCE - 3, voiced=False)
    sent = world.transcribe(world.finishing[0], "hello there")
    assert held.cancelled
    assert "response.output_audio.delta" not in kinds(sent)
    assert told(running(world)) == [("user", "hello there")]


@pytest.mark.parametrize(
    "change",
    [
        {"type": "session.update", "session": {"type": "realtime", "instructions": "Be loud."}},
        {"type": "session.update", "session": {"type": "realtime", "audio": {"output": {"voice": "two"}}}},
        {"type": "session.update", "session": {"type": "realtime", "audio": {"output": {"speed": 1.5}}}},
        {"type": "session.update", "session": {"type": "realtime", "output_modalities": ["text"]}},
        {"type": "session.update", "session": {"type": "realtime", "max_output_tokens": 7}},
        {
            "type": "conversation.item.create",
            "item": {"type": "message", "role": "system", "content": [{"type": "input_text", "text": "It rains."}]},
        },
    ],
    ids=lambda change: str(change.get("session", change["type"]))[:70],
)
def test_a_reply_for_another_configuration_or_history_is_made_again(change: dict[str, Any]) -> None:
    world = World()
    held = pause_with_hypothesis(world, "hello there")
    world.step_run(held, "clause")
    world.client(**change)
    world.speak(SILENCE - 3, voiced=False)
    world.transcribe(world.finishing[0], "hello there")
    assert held.cancelled
    assert not running(world).held


def test_a_held_reply_is_dropped_when_the_user_goes_on() -> None:
    world = World()
    held = pause_with_hypothesis(world, "hello")
    world.speak(1, voiced=True)
    assert held.cancelled
    assert world.step_run(held, "clause") == []
    world.speak(5, voiced=True)
    world.speak(SILENCE, voiced=False)
    assert len(world.finishing) == 1, "it is one utterance"
    world.transcribe(world.finishing[0], "hello there")
    assert told(running(world)) == [("user", "hello there")]
    assert len(world.wire.of_type("response.created")) == 1


def test_a_held_reply_is_dropped_when_the_buffer_is_cleared() -> None:
    world = World()
    held = pause_with_hypothesis(world, "hello")
    world.client(type="input_audio_buffer.clear")
    assert held.cancelled
    world.speak(30, voiced=False)
    assert not world.wire.of_type("response.created")


def test_a_held_reply_that_failed_is_made_again() -> None:
    world = World()
    held = pause_with_hypothesis(world, "hello there")
    world.step_run(held, "fail")
    world.speak(SILENCE - 3, voiced=False)
    world.transcribe(world.finishing[0], "hello there")
    assert answered(world)["status"] == "completed"


@pytest.mark.parametrize("words", ["", " "])
def test_nothing_is_held_for_nothing_understood(words: str) -> None:
    world = World()
    world.speak(10, voiced=True)
    world.speak(3, voiced=False)
    world.answer_hypothesis(words)
    assert not world.runs


def test_nothing_is_held_where_replies_are_not_created() -> None:
    world = configured(detection(create_response=False))
    sent = say(world, "hello there", hypothesis="hello there")
    assert not world.runs
    assert "response.created" not in kinds(sent)


def test_nothing_is_held_where_the_pipeline_does_not_speculate() -> None:
    world = World(dataclasses.replace(PROFILE, speculation=False))
    world.speak(10, voiced=True)
    world.speak(3, voiced=False)
    world.answer_hypothesis("hello there")
    assert not world.runs


def test_a_hypothesis_that_comes_too_late_starts_nothing() -> None:
    world = World()
    world.speak(10, voiced=True)
    world.speak(3, voiced=False)
    world.speak(1, voiced=True)
    world.answer_hypothesis("hello there")
    assert not world.runs
    assert not world.pauses


def test_what_was_asked_in_an_earlier_pause_does_not_count_in_a_later_one() -> None:
    world = World()
    world.speak(10, voiced=True)
    world.speak(3, voiced=False)
    world.speak(5, voiced=True)
    world.speak(3, voiced=False)
    early, late = world.questions
    assert early.run != late.run
    world.answer_hypothesis("hello")
    assert not world.runs
    world.answer_hypothesis("hello there")
    assert told(running(world)) == [("user", "hello there")]
    assert [pause.run for pause in world.pauses] == [late.run]


def test_padding_reaches_back_but_not_behind_the_last_commit() -> None:
    world = World()
    say(world, "hello there")
    (committed,) = [utterance for utterance in world.utterances.values() if utterance.state == "done"]
    world.speak(2, voiced=False)
    world.speak(3, voiced=True)
    (speaking,) = [utterance for utterance in world.utterances.values() if utterance.state == "open"]
    end = (10 + SILENCE) * FRAME
    assert committed.fed[-1][1] <= end
    assert speaking.fed[0][0] == end, "64 ms are there, 300 were asked for"


def test_the_end_of_turn_detector_decides_how_long_the_pause_lasts() -> None:
    world = World()
    world.speak(10, voiced=True)
    world.speak(3, voiced=False)
    world.answer_hypothesis("hello there")
    world.assess(200)
    world.speak(4, voiced=False)
    assert world.finishing, "200 ms are over"

    world.speak(10, voiced=True)
    world.speak(3, voiced=False)
    world.answer_hypothesis("hello")
    world.assess(2_000)
    world.speak(40, voiced=False)
    assert len(world.finishing) == 1, "not yet"
    world.speak(30, voiced=False)
    assert len(world.finishing) == 2


# --- nothing understood ----------------------------------------------------------------------------------------


def test_what_was_not_understood_is_answered_with_nothing_without_asking_the_model() -> None:
    world = World()
    sent = say(world, "")
    assert sent[-1]["type"] == "response.done"
    response = sent[-1]["response"]
    assert (response["status"], response["output"]) == ("completed", [])
    assert response["usage"]["output_tokens"] == 0
    assert not world.runs


def test_an_empty_conversation_may_be_opened_by_the_model() -> None:
    world = World()
    world.client(type="response.create")
    assert told(running(world)) == []
    assert answered(world)["output"]


def test_noise_after_an_answered_question_does_not_answer_it_again() -> None:
    world = World()
    say(world, "hello there")
    answered(world)
    response = say(world, "")[-1]["response"]
    assert (response["status"], response["output"]) == ("completed", [])


def test_a_question_that_noise_interrupted_before_the_reply_is_answered() -> None:
    """A cough before the first word of the reply must not cost the question (7)."""
    world = World()
    say(world, "hello there")
    cancelled = running(world)
    say(world, "")
    assert cancelled.cancelled
    assert told(running(world)) == [("user", "hello there")]


def test_a_response_is_for_what_was_understood_although_more_is_being_said() -> None:
    """Push to talk: a second commit is still being transcribed when the first one's words come."""
    world = configured(MANUAL)
    world.append(24_000)
    world.client(type="input_audio_buffer.commit")
    world.client(type="response.create")
    world.append(24_000)
    world.client(type="input_audio_buffer.commit")
    world.transcribe(world.finishing[0], "hello there")
    assert told(running(world)) == [("user", "hello there")]


# --- interruption ----------------------------------------------------------------------------------------------


def test_speaking_over_a_reply_cancels_it_at_once() -> None:
    world = World()
    say(world, "hello there")
    run = running(world)
    world.step_run(run, "clause")
    before = len(world.wire.events)
    world.speak(1, voiced=True)
    sent = world.wire.events[before:]
    assert run.cancelled
    assert sent[0]["type"] == "input_audio_buffer.speech_started"
    response = sent[-1]["response"]
    assert response["status"] == "cancelled"
    assert response["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
    assert response["output"][0]["status"] == "incomplete"
    assert world.step_run(run, "clause") == [], "nothing of it follows"


def test_speaking_over_a_reply_leaves_those_out_of_band_alone() -> None:
    world = World()
    write(world, "hello")
    world.client(type="response.create", response={"conversation": "none"})
    run = running(world)
    world.speak(5, voiced=True)
    assert not run.cancelled
    assert answered(world)["status"] == "completed"


def test_without_interruption_the_reply_ends_and_what_was_said_meanwhile_is_answered_next() -> None:
    world = configured(detection(interrupt_response=False))
    say(world, "tell me a joke")
    first = running(world)
    world.step_run(first, "clause")
    say(world, "and the time")
    assert not first.cancelled
    assert len(world.wire.of_type("response.created")) == 1
    sent = world.step_run(first, "finish")
    assert kinds(sent)[-3:] == ["response.done", "response.created", "rate_limits.updated"]
    assert told(running(world))[-1] == ("user", "and the time")
    assert answered(world)["status"] == "completed"


def test_without_interruption_noise_after_what_was_said_meanwhile_does_not_cost_the_answer() -> None:
    world = configured(detection(interrupt_response=False))
    say(world, "tell me a joke")
    first = running(world)
    world.step_run(first, "clause")
    say(world, "and the time")
    say(world, "")
    world.step_run(first, "finish")
    assert told(running(world))[-1] == ("user", "and the time")


def test_without_interruption_the_history_has_the_whole_reply() -> None:
    """The client went on playing it: all of it was heard (8)."""
    world = configured(detection(interrupt_response=False))
    say(world, "tell me a joke")
    first = running(world)
    sing(world, first, "One two three. ", 3_000)
    world.now += 500
    say(world, "and the time")
    sing(world, first, "Four five six.", 3_000)
    world.step_run(first, "finish")
    assert told(running(world)) == [
        ("user", "tell me a joke"),
        ("assistant", "One two three. Four five six."),
        ("user", "and the time"),
    ]


def test_no_reply_is_created_while_the_user_still_speaks() -> None:
    world = configured(detection(interrupt_response=False))
    say(world, "tell me a joke")
    first = running(world)
    say(world, "and the time")
    world.speak(5, voiced=True)
    world.step_run(first, "finish")
    assert len(world.wire.of_type("response.created")) == 1
    world.speak(SILENCE, voiced=False)
    for turn in world.finishing:
        world.transcribe(turn, "please")
    assert [text for role, text in told(running(world)) if role == "user"][-2:] == ["and the time", "please"]


# --- response.create and response.cancel -----------------------------------------------------------------------


def test_a_response_while_one_is_active_is_refused_in_so_many_words() -> None:
    world = World()
    write(world, "hello")
    world.client(type="response.create")
    error = error_of(world.client(type="response.create", event_id="mine"))
    assert error["code"] == "conversation_already_has_active_response"
    assert error["event_id"] == "mine"
    assert "Conversation already has an active response in progress" in error["message"]
    assert answered(world)["status"] == "completed"


def test_there_is_a_most_of_responses_at_a_time() -> None:
    world = World()
    write(world, "hello")
    for _ in range(MAX_RESPONSES):
        sent = world.client(type="response.create", response={"conversation": "none"})
        assert sent[0]["type"] == "response.created"
    assert error_of(world.client(type="response.create"))["code"] == "too_many_responses"
    world.step_run(next(iter(world.runs.values())), "finish")
    assert world.client(type="response.create")[0]["type"] == "response.created"


def test_after_a_cancel_the_model_is_told_only_what_can_have_been_heard() -> None:
    world = configured(detection(interrupt_response=False))
    say(world, "tell me a joke")
    first = running(world)
    sing(world, first, "One two three. ", 3_000)
    sing(world, first, "Four five six.", 3_000)
    world.now += 3_000
    world.client(type="response.cancel")
    write(world, "go on")
    world.client(type="response.create")
    assert ("assistant", "One two three.") in told(running(world))


def test_an_out_of_band_response_may_run_beside_it() -> None:
    world = World()
    write(world, "hello")
    world.client(type="response.create")
    inside = running(world)
    sent = world.client(type="response.create", response={"conversation": "none", "metadata": {"topic": "title"}})
    created = sent[0]["response"]
    assert created["conversation_id"] is None
    assert created["metadata"] == {"topic": "title"}
    (outside,) = [run for run in world.runs.values() if run is not inside]
    world.step_run(outside, "clause")
    sent = world.step_run(outside, "finish")
    assert "conversation.item.done" not in kinds(sent)
    assert sent[-1]["response"]["metadata"] == {"topic": "title"}
    assert answered(world)["status"] == "completed"
    assert len(world.wire.of_type("conversation.item.added")) == 2


def test_right_after_response_done_the_next_one_may_be_created() -> None:
    world = World()
    write(world, "hello")
    for _ in range(3):
        sent = world.client(type="response.create")
        assert kinds(sent) == ["response.created", "rate_limits.updated"]
        answered(world)


def test_a_response_runs_with_what_it_asks_for_and_else_with_the_session() -> None:
    world = configured({"type": "realtime", "instructions": "Be kind.", "audio": {"output": {"speed": 1.5}}})
    write(world, "hello")
    world.client(
        type="response.create",
        response={
            "conversation": "none",
            "instructions": "Be loud.",
            "audio": {"output": {"voice": "two"}},
            "max_output_tokens": 9,
        },
    )
    request = running(world).request
    assert request.prompt.messages[0].text == "Be loud."
    assert (request.voice, request.speed, request.max_tokens, request.modality) == ("two", 1.5, 9, "audio")
    world.client(type="session.update", session={"type": "realtime", "instructions": "Be brief."})
    assert answered(world)["audio"]["output"]["voice"] == "two"
    world.client(type="response.create")
    assert running(world).request.prompt.messages[0].text == "Be brief."


def test_a_response_with_a_voice_that_is_not_there_is_refused() -> None:
    response = {"audio": {"output": {"voice": "three"}}}
    error = error_of(World().client(type="response.create", event_id="mine", response=response))
    assert (error["param"], error["event_id"]) == ("response.audio.output.voice", "mine")


def test_a_client_cancels_the_active_response_or_the_one_it_names() -> None:
    world = World()
    write(world, "hello")
    world.client(type="response.create")
    inside = running(world)
    world.step_run(inside, "clause")
    outside_id = world.client(type="response.create", response={"conversation": "none"})[0]["response"]["id"]
    sent = world.client(type="response.cancel", response_id=outside_id)
    assert sent[-1]["response"]["id"] == outside_id
    assert not inside.cancelled
    sent = world.client(type="response.cancel")
    assert inside.cancelled
    response = sent[-1]["response"]
    assert response["status_details"] == {"type": "cancelled", "reason": "client_cancelled"}
    assert response["usage"]["output_token_details"]["audio_tokens"] == 2


@pytest.mark.parametrize("named", [{}, {"response_id": "resp_nowhere"}])
def test_with_nothing_to_cancel_the_client_is_told_so_in_so_many_words(named: dict[str, str]) -> None:
    world = World()
    write(world, "hello")
    world.client(type="response.create", response={"conversation": "none"})
    error = error_of(world.client(type="response.cancel", event_id="mine", **named))
    assert error["message"] == "Cancellation failed: no active response found"
    assert error["code"] == "response_cancel_not_active"
    assert error["event_id"] == "mine"
    assert not running(world).cancelled


# --- what was heard --------------------------------------------------------------------------------------------


def test_an_interrupted_reply_counts_as_heard_as_far_as_it_could_have_been_played() -> None:
    world = World()
    say(world, "tell me a story")
    run = running(world)
    sing(world, run, "Once upon a time. ", 2_000)
    sing(world, run, "There was a king. ", 2_000)
    sing(world, run, "He had a dog.", 2_000)
    world.step_run(run, "finish")  # made in no time, and still playing at the client
    world.now += 3_000
    say(world, "stop")
    assert told(running(world)) == [
        ("user", "tell me a story"),
        ("assistant", "Once upon a time. There was"),
        ("user", "stop"),
    ]


def test_a_reply_that_was_played_out_counts_as_heard_to_its_end() -> None:
    world = World()
    say(world, "tell me a story")
    run = running(world)
    sing(world, run, "Once upon a time.", 2_000)
    world.step_run(run, "finish")
    world.now += 2_100
    say(world, "thanks")
    assert told(running(world))[1] == ("assistant", "Once upon a time.")


def test_a_reply_of_which_no_sound_was_sent_was_not_heard() -> None:
    world = World()
    say(world, "tell me a story")
    world.handle(TurnClause(running(world).request.run, "Once upon a time."))
    say(world, "stop")
    assert told(running(world)) == [("user", "tell me a story"), ("user", "stop")]


def test_what_the_client_says_was_heard_is_better_than_the_estimate() -> None:
    world = World()
    say(world, "tell me a story")
    run = running(world)
    sing(world, run, "Once upon a time. ", 2_000)
    sing(world, run, "There was a king.", 2_000)
    world.step_run(run, "finish")
    world.now += 1_000
    world.speak(10, voiced=True)
    world.client(type="conversation.item.truncate", item_id=spoken_item(world), content_index=0, audio_end_ms=3_000)
    world.speak(SILENCE, voiced=False)
    world.transcribe(world.finishing[0], "stop")
    assert told(running(world))[1] == ("assistant", "Once upon a time. There was")


def a_spoken_reply(clauses_ms: Sequence[int] = (1_000, 1_000)) -> tuple[World, str]:
    """A finished reply of two clauses; returns its item's id."""
    world = World()
    write(world, "hello")
    world.client(type="response.create")
    run = running(world)
    for index, ms in enumerate(clauses_ms):
        sing(world, run, f"Words of clause {index}. ", ms)
    world.step_run(run, "finish")
    return world, spoken_item(world)


def transcript_of(world: World, item_id: str) -> str:
    (retrieved,) = world.client(type="conversation.item.retrieve", item_id=item_id)
    transcript: str = retrieved["item"]["content"][0]["transcript"]
    return transcript


@pytest.mark.parametrize(
    ("ms", "left"),
    [
        (0, ""),
        (400, "Words"),
        (1_000, "Words of clause 0."),
        (1_500, "Words of clause 0. Words of"),
        (2_000, "Words of clause 0. Words of clause 1."),
    ],
)
def test_a_truncated_item_ends_where_the_client_says(ms: int, left: str) -> None:
    world, item_id = a_spoken_reply()
    sent = world.client(type="conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=ms)
    assert kinds(sent) == ["conversation.item.truncated"]
    assert (sent[0]["item_id"], sent[0]["content_index"], sent[0]["audio_end_ms"]) == (item_id, 0, ms)
    assert transcript_of(world, item_id) == left
    world.client(type="response.create")
    assert told(running(world)) == [("user", "hello"), ("assistant", left)][: 2 if left else 1]


def test_an_item_truncated_at_its_end_in_whole_milliseconds_keeps_its_last_word() -> None:
    world = World()
    write(world, "hello")
    world.client(type="response.create")
    run = running(world).request.run
    world.handle(TurnClause(run, "One two three four."))
    world.handle(TurnAudio(run, np.zeros(24_017, np.int16)))
    world.step_run(running(world), "finish")
    item_id = spoken_item(world)
    world.client(type="conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=1_000)
    assert transcript_of(world, item_id) == "One two three four."


def test_a_clause_whose_sound_had_not_come_was_not_heard() -> None:
    world = World()
    say(world, "tell me a story")
    run = running(world)
    sing(world, run, "Once upon a time.", 1_000)
    world.handle(TurnClause(run.request.run, " There was a king."))
    world.now += 5_000
    say(world, "stop")
    assert told(running(world))[1] == ("assistant", "Once upon a time.")


def test_an_item_cannot_be_truncated_past_its_end() -> None:
    world, item_id = a_spoken_reply()
    truncate = {"type": "conversation.item.truncate", "item_id": item_id, "content_index": 0}
    error = error_of(world.client(**truncate, audio_end_ms=2_001, event_id="mine"))
    assert (error["code"], error["param"], error["event_id"]) == ("invalid_value", "audio_end_ms", "mine")
    assert transcript_of(world, item_id) == "Words of clause 0. Words of clause 1. "
    world.client(**truncate, audio_end_ms=500)
    assert error_of(world.client(**truncate, audio_end_ms=501))["param"] == "audio_end_ms"


def test_an_item_in_the_making_can_be_truncated_and_stays_so() -> None:
    world = World()
    write(world, "hello")
    world.client(type="response.create")
    run = running(world)
    sing(world, run, "One two three four. ", 1_000)
    item_id = spoken_item(world)
    truncate = {"type": "conversation.item.truncate", "item_id": item_id, "content_index": 0}
    assert error_of(world.client(**truncate, audio_end_ms=1_001))["param"] == "audio_end_ms"
    assert kinds(world.client(**truncate, audio_end_ms=500)) == ["conversation.item.truncated"]
    sing(world, run, "Five six seven eight.", 1_000)
    response = world.step_run(run, "finish")[-1]["response"]
    assert response["usage"]["output_token_details"]["audio_tokens"] == 40, "what was sent has its price"
    assert transcript_of(world, item_id) == "One two"


def test_a_cancelled_item_can_be_truncated_up_to_what_was_sent() -> None:
    world = World()
    write(world, "hello")
    world.client(type="response.create")
    sing(world, running(world), "One two three four. ", 1_000)
    world.client(type="response.cancel")
    item_id = spoken_item(world)
    truncate = {"type": "conversation.item.truncate", "item_id": item_id, "content_index": 0}
    assert error_of(world.client(**truncate, audio_end_ms=1_001))["param"] == "audio_end_ms"
    assert kinds(world.client(**truncate, audio_end_ms=500)) == ["conversation.item.truncated"]
    assert transcript_of(world, item_id) == "One two"


def test_only_sound_of_the_assistant_can_be_truncated() -> None:
    world, _ = a_spoken_reply()
    user = world.wire.of_type("conversation.item.added")[0]["item"]["id"]
    truncate = {"type": "conversation.item.truncate", "content_index": 0, "audio_end_ms": 0}
    assert error_of(world.client(**truncate, item_id=user))["param"] == "item_id"
    assert error_of(world.client(**truncate, item_id="item_nowhere"))["code"] == "item_not_found"
    error = error_of(world.client(**{**truncate, "content_index": 1}, item_id=spoken_item(world)))
    assert error["param"] == "content_index"


# --- items -----------------------------------------------------------------------------------------------------


def test_items_go_where_the_client_says() -> None:
    world = World()
    first = write(world, "first")
    last = write(world, "last")
    head = write(world, "head", previous_item_id="root")
    middle = write(world, "middle", previous_item_id=first["item"]["id"])
    assert first["previous_item_id"] is None
    assert last["previous_item_id"] == first["item"]["id"]
    assert head["previous_item_id"] is None
    assert middle["previous_item_id"] == first["item"]["id"]
    world.client(type="response.create")
    assert [text for _, text in told(running(world))] == ["head", "first", "middle", "last"]


def test_an_item_done_names_the_item_that_is_before_it_by_then() -> None:
    world = World()
    user = write(world, "hello")["item"]["id"]
    world.client(type="response.create")
    world.step_run(running(world), "clause")
    between = write(world, "by the way", previous_item_id=user)["item"]["id"]
    world.step_run(running(world), "finish")
    assert world.wire.of_type("conversation.item.done")[-1]["previous_item_id"] == between


@pytest.mark.parametrize(
    ("event", "code", "param"),
    [
        ({"type": "conversation.item.retrieve", "item_id": "item_nowhere"}, "item_not_found", "item_id"),
        ({"type": "conversation.item.delete", "item_id": "item_nowhere"}, "item_not_found", "item_id"),
        (
            {"type": "conversation.item.create", "previous_item_id": "item_nowhere", "text": "x"},
            "item_not_found",
            "previous_item_id",
        ),
        ({"type": "conversation.item.create", "id": "item_taken", "text": "x"}, "item_already_exists", "item.id"),
        (
            {"type": "conversation.item.create", "kind": "output_text", "text": "x"},
            "invalid_value",
            "item.content[0].type",
        ),
        ({"type": "conversation.item.create"}, "missing_required_parameter", "item.content[0].text"),
        ({"type": "conversation.item.create", "content": []}, "invalid_value", "item.content"),
        ({"type": "output_audio_buffer.clear"}, "invalid_value", "type"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_cannot_be_done_to_items_is_refused_and_changes_nothing(
    event: dict[str, Any], code: str, param: str
) -> None:
    world = World()
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}]}
    world.client(type="conversation.item.create", item={**item, "id": "item_taken"})
    if event["type"] == "conversation.item.create":
        part = {"type": event.get("kind", "input_text")} | ({"text": event["text"]} if "text" in event else {})
        item = {**item, "content": event.get("content", [part])} | ({"id": event["id"]} if "id" in event else {})
        event = {"type": event["type"], "item": item} | (
            {"previous_item_id": event["previous_item_id"]} if "previous_item_id" in event else {}
        )
    error = error_of(world.client(**event, event_id="mine"))
    assert (error["code"], error["param"], error["event_id"]) == (code, param, "mine")
    world.client(type="response.create")
    assert told(running(world)) == [("user", "hello")]


def test_a_deleted_item_is_forgotten() -> None:
    world = World()
    first = write(world, "first")["item"]["id"]
    write(world, "second")
    assert kinds(world.client(type="conversation.item.delete", item_id=first)) == ["conversation.item.deleted"]
    assert error_of(world.client(type="conversation.item.retrieve", item_id=first))["code"] == "item_not_found"
    world.client(type="response.create")
    assert told(running(world)) == [("user", "second")]


def test_deleting_what_is_still_being_transcribed_keeps_nobody_waiting() -> None:
    world = World()
    world.speak(10, voiced=True)
    world.speak(SILENCE, voiced=False)
    (item,) = world.wire.of_type("conversation.item.added")
    world.client(type="conversation.item.delete", item_id=item["item"]["id"])
    sent = world.transcribe(world.finishing[0], "hello there")
    assert "conversation.item.input_audio_transcription.completed" not in kinds(sent)
    assert answered(world)["status"] == "completed"


# --- session.update --------------------------------------------------------------------------------------------


def test_an_update_merges_what_is_there_and_keeps_the_rest() -> None:
    world = World()
    (created,) = world.wire.events
    expected = copy.deepcopy(created["session"])
    (updated,) = world.client(
        type="session.update",
        session={"type": "realtime", "audio": {"output": {"voice": "two"}}, "max_output_tokens": 100},
    )
    expected["audio"]["output"]["voice"] = "two"
    expected["max_output_tokens"] = 100
    assert updated["session"] == expected
    (again,) = world.client(type="session.update", session={"type": "realtime"})
    assert again["session"] == expected


UPDATES: list[tuple[dict[str, Any], tuple[str, ...], Any]] = [
    ({"instructions": ""}, ("instructions",), ""),
    ({"output_modalities": ["text"]}, ("output_modalities",), ["text"]),
    ({"max_output_tokens": "inf"}, ("max_output_tokens",), "inf"),
    ({"tool_choice": "none"}, ("tool_choice",), "none"),
    ({"tools": []}, ("tools",), []),
    ({"model": "mini"}, ("model",), "mini"),
    ({"truncation": "auto"}, ("truncation",), "auto"),
    ({"tracing": None}, ("tracing",), None),
    ({"audio": {"input": {"turn_detection": None}}}, ("audio", "input", "turn_detection"), None),
    ({"audio": {"input": {"transcription": None}}}, ("audio", "input", "transcription"), None),
    ({"audio": {"input": {"noise_reduction": None}}}, ("audio", "input", "noise_reduction"), None),
    (
        {"audio": {"input": {"transcription": {"model": "whisper-1", "language": "en"}}}},
        ("audio", "input", "transcription"),
        {"model": "whisper-1", "language": "en"},
    ),
    ({"audio": {"input": {"transcription": {}}}}, ("audio", "input", "transcription"), {"model": "ears"}),
    (
        {"audio": {"input": {"format": {"type": "audio/pcm", "rate": 24000}}}},
        ("audio", "input", "format"),
        {"type": "audio/pcm", "rate": 24000},
    ),
    ({"audio": {"output": {"voice": "one"}}}, ("audio", "output", "voice"), "one"),
    ({"audio": {"output": {"speed": 0.5}}}, ("audio", "output", "speed"), 0.5),
    (
        {"audio": {"input": {"turn_detection": {"type": "server_vad", "threshold": 0.3}}}},
        ("audio", "input", "turn_detection"),
        {
            "type": "server_vad",
            "threshold": 0.3,
            "prefix_padding_ms": 300,
            "silence_duration_ms": 500,
            "idle_timeout_ms": None,
            "create_response": True,
            "interrupt_response": True,
        },
    ),
]


@pytest.mark.parametrize(("update", "path", "value"), UPDATES, ids=lambda value: str(value)[:60])
def test_an_update_is_honoured(update: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    (updated,) = World().client(type="session.update", session={"type": "realtime", **update})
    assert updated["type"] == "session.updated", updated
    at = updated["session"]
    for key in path:
        at = at[key]
    assert at == value


def test_what_has_a_type_is_replaced_whole() -> None:
    world = configured(detection(silence_duration_ms=200, threshold=0.3))
    (updated,) = world.client(type="session.update", session=detection(threshold=0.6))
    now = updated["session"]["audio"]["input"]["turn_detection"]
    assert (now["threshold"], now["silence_duration_ms"]) == (0.6, 500)


BAD_UPDATES: list[tuple[dict[str, Any], str, str]] = [
    ({"type": "transcription"}, "invalid_value", "session.type"),
    ({"type": None}, "invalid_value", "session.type"),
    ({"colour": 1}, "unknown_parameter", "session.colour"),
    ({"id": "sess_mine"}, "unknown_parameter", "session.id"),
    ({"expires_at": 1}, "unknown_parameter", "session.expires_at"),
    ({"object": "realtime.session"}, "unknown_parameter", "session.object"),
    ({"model": "other"}, "cannot_change_model", "session.model"),
    ({"instructions": 5}, "invalid_type", "session.instructions"),
    ({"instructions": None}, "invalid_type", "session.instructions"),
    ({"output_modalities": []}, "invalid_value", "session.output_modalities"),
    ({"output_modalities": ["text", "audio"]}, "invalid_value", "session.output_modalities"),
    ({"output_modalities": ["smell"]}, "invalid_value", "session.output_modalities[0]"),
    ({"max_output_tokens": 0}, "invalid_value", "session.max_output_tokens"),
    ({"max_output_tokens": 5000}, "invalid_value", "session.max_output_tokens"),
    ({"max_output_tokens": "many"}, "invalid_value", "session.max_output_tokens"),
    ({"tools": [{"type": "function", "name": "f"}]}, "invalid_value", "session.tools"),
    ({"tool_choice": "required"}, "invalid_value", "session.tool_choice"),
    ({"truncation": "disabled"}, "invalid_value", "session.truncation"),
    ({"tracing": "auto"}, "invalid_type", "session.tracing"),
    ({"prompt": {"id": "p"}}, "invalid_type", "session.prompt"),
    ({"include": ["item.input_audio_transcription.logprobs"]}, "invalid_type", "session.include"),
    ({"audio": None}, "invalid_type", "session.audio"),
    ({"audio": {"volume": 1}}, "unknown_parameter", "session.audio.volume"),
    ({"audio": {"input": {"format": {"type": "audio/pcmu"}}}}, "invalid_value", "session.audio.input.format.type"),
    (
        {"audio": {"input": {"format": {"type": "audio/pcm", "rate": 16000}}}},
        "invalid_value",
        "session.audio.input.format.rate",
    ),
    (
        {"audio": {"input": {"noise_reduction": {"type": "near_field"}}}},
        "invalid_type",
        "session.audio.input.noise_reduction",
    ),
    (
        {"audio": {"input": {"turn_detection": {"type": "server_vad", "threshold": 1.5}}}},
        "invalid_value",
        "session.audio.input.turn_detection.threshold",
    ),
    (
        {"audio": {"input": {"turn_detection": {"type": "server_vad", "silence_duration_ms": -1}}}},
        "invalid_value",
        "session.audio.input.turn_detection.silence_duration_ms",
    ),
    (
        {"audio": {"input": {"turn_detection": {"type": "server_vad", "prefix_padding_ms": 10**9}}}},
        "invalid_value",
        "session.audio.input.turn_detection.prefix_padding_ms",
    ),
    (
        {"audio": {"input": {"turn_detection": {"type": "server_vad", "idle_timeout_ms": 6000}}}},
        "invalid_type",
        "session.audio.input.turn_detection.idle_timeout_ms",
    ),
    (
        {"audio": {"input": {"turn_detection": {"type": "server_vad", "eagerness": "low"}}}},
        "unknown_parameter",
        "session.audio.input.turn_detection.eagerness",
    ),
    (
        {"audio": {"input": {"turn_detection": {"type": "semantic_vad"}}}},
        "invalid_value",
        "session.audio.input.turn_detection.type",
    ),
    (
        {"audio": {"input": {"transcription": {"model": "ears-9000"}}}},
        "invalid_value",
        "session.audio.input.transcription.model",
    ),
    (
        {"audio": {"input": {"transcription": {"language": "fr"}}}},
        "invalid_value",
        "session.audio.input.transcription.language",
    ),
    (
        {"audio": {"input": {"transcription": {"prompt": "Names."}}}},
        "invalid_value",
        "session.audio.input.transcription.prompt",
    ),
    ({"audio": {"output": {"voice": "three"}}}, "invalid_value", "session.audio.output.voice"),
    ({"audio": {"output": {"voice": {"id": "v"}}}}, "invalid_type", "session.audio.output.voice"),
    ({"audio": {"output": {"speed": 0.3}}}, "invalid_value", "session.audio.output.speed"),
    ({"audio": {"output": {"speed": 2.0}}}, "invalid_value", "session.audio.output.speed"),
    ({"audio": {"output": {"format": {"type": "audio/mp3"}}}}, "invalid_value", "session.audio.output.format.type"),
]


@pytest.mark.parametrize(("update", "code", "param"), BAD_UPDATES, ids=lambda value: str(value)[:60])
def test_a_bad_update_is_refused_by_name_and_changes_nothing(update: dict[str, Any], code: str, param: str) -> None:
    world = World()
    (created,) = world.wire.events
    session = {"type": "realtime", "instructions": "Changed.", **update}
    error = error_of(world.client(type="session.update", event_id="mine", session=session))
    assert (error["code"], error["param"], error["event_id"]) == (code, param, "mine")
    (updated,) = world.client(type="session.update", session={"type": "realtime"})
    assert updated["session"] == created["session"]


def test_the_voice_is_fixed_once_sound_was_sent() -> None:
    world, _ = a_spoken_reply()
    voice = {"type": "realtime", "audio": {"output": {"voice": "two"}}}
    error = error_of(world.client(type="session.update", event_id="mine", session=voice))
    assert (error["code"], error["param"]) == ("cannot_update_voice", "session.audio.output.voice")
    voice["audio"]["output"]["voice"] = "one"  # type: ignore[index]
    assert kinds(world.client(type="session.update", session=voice)) == ["session.updated"]


def test_held_sound_does_not_fix_the_voice() -> None:
    world = World()
    world.step_run(pause_with_hypothesis(world, "hello"), "clause")
    voice = {"type": "realtime", "audio": {"output": {"voice": "two"}}}
    assert kinds(world.client(type="session.update", session=voice)) == ["session.updated"]


def test_without_transcription_the_client_sees_no_words_but_gets_an_answer() -> None:
    world = configured({"type": "realtime", "audio": {"input": {"transcription": None}}})
    sent = say(world, "hello there")
    assert not [kind for kind in kinds(sent) if "transcription" in kind]
    assert told(running(world)) == [("user", "hello there")]


def test_switching_detection_off_in_the_middle_keeps_what_was_said() -> None:
    world = World()
    world.speak(10, voiced=True)
    world.client(type="session.update", session=MANUAL)
    world.append(10 * FRAME)
    world.client(type="input_audio_buffer.commit")
    (utterance,) = world.utterances.values()
    assert (utterance.fed[0][0], utterance.fed[-1][1]) == (0, 20 * FRAME)


# --- bounds ----------------------------------------------------------------------------------------------------


def test_speech_without_end_is_committed_after_ten_minutes() -> None:
    world = World()
    world.speak(10 * 60 * 1000 // 32 + 2, voiced=True)
    assert len(world.wire.of_type("input_audio_buffer.committed")) == 1


def test_silence_is_forgotten() -> None:
    world = World()
    world.speak(2_000, voiced=False)
    assert world.machine.listening.buffered <= 300 * 24 + FRAME


def test_with_a_detector_that_always_fails_sound_does_not_pile_up_for_ever() -> None:
    world = World()
    world.speak(5, voiced=True)
    for _ in range(40):
        world.append(60 * 24_000)
        world.handle(VoiceFailed(world.epoch, "no ears"))
    errors = [event["error"]["code"] for event in world.wire.of_type("error")]
    assert "vad_failed" in errors
    assert "input_audio_buffer_full" in errors
    assert world.machine.listening.buffered <= 20 * 60 * 24_000
    world.client(type="input_audio_buffer.clear")
    say(world, "hello there")
    assert told(running(world)) == [("user", "hello there")]


# --- replay ----------------------------------------------------------------------------------------------------


def test_the_same_log_gives_the_same_bytes() -> None:
    world = World()
    say(world, "hello there", hypothesis="hello there")
    answered(world, clauses=2)
    world.client(type="response.cancel", event_id="mine")
    say(world, "tell me more", hypothesis="tell me")
    world.step_run(running(world), "clause")
    world.now += 50
    say(world, None)
    world.client(type="session.update", session=MANUAL)
    world.append(24_000)
    world.client(type="input_audio_buffer.commit")
    world.client(type="response.create")
    world.disconnect()

    first, second = replay(world), replay(world)
    assert first == second
    sent = [command for command in first if command.startswith(b"{")]
    assert [msgspec.json.decode(event) for event in sent] == world.wire.events


def replay(world: World) -> list[bytes]:
    """The commands that a new machine gives for the log of a world, as bytes."""
    counter = itertools.count()
    machine = Machine(PROFILE, lambda prefix: f"{prefix}_{next(counter)}", 2_000_000_000, PROFILE.model)
    commands = machine.start()
    for event, now in world.log:
        commands += machine.handle(event, now)
    return [
        ga.encode(command.event).encode() if isinstance(command, do.Send) else repr(command).encode()
        for command in commands
    ]


def test_what_comes_after_the_end_does_nothing() -> None:
    world = World()
    say(world, "hello there")
    run = running(world)
    world.disconnect()
    assert run.cancelled
    assert world.step_run(run, "clause") == []
    assert world.client(type="response.create") == []
    assert world.handle(TurnClause(RunId(99, 0), "late")) == []
