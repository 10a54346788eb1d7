"""The reply that is held while the turn may be over."""

import dataclasses
from typing import Any

import pytest

from server.realtime.schema import SemanticVad
from server.realtime.session_config import Profile
from tests.machine.scenes import (
    SILENCE,
    answered,
    configured,
    detection,
    kinds,
    pause_with_hypothesis,
    running,
    say,
    told,
)
from tests.machine.world import FRAME, PROFILE, READING, SEMANTIC, World

MUTE = dataclasses.replace(PROFILE, speculation=False)
"""A pipeline whose transcriber gives no words before the end, and that has no end-of-turn detector of its own."""


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


def test_a_held_reply_gives_way_and_is_made_when_the_turn_is_over() -> None:
    world = World()
    held = pause_with_hypothesis(world, "hello there")
    world.step_run(held, "clause")
    world.want_place(held.request.run)
    assert held.cancelled
    assert world.step_run(held, "clause") == []
    world.speak(SILENCE - 3, voiced=False)
    sent = world.transcribe(world.finishing[0], "hello there")
    assert "response.output_audio.delta" not in kinds(sent)
    assert answered(world)["status"] == "completed"


def test_a_reply_that_was_released_does_not_give_way_any_more() -> None:
    world = World()
    run = pause_with_hypothesis(world, "hello there")
    world.speak(SILENCE - 3, voiced=False)
    world.transcribe(world.finishing[0], "hello there")
    world.want_place(run.request.run)
    assert not run.cancelled
    assert answered(world)["status"] == "completed"


def test_a_held_reply_does_not_give_way_for_one_that_was_held_before_it() -> None:
    world = World()
    before = pause_with_hypothesis(world, "hello")
    world.speak(1, voiced=True)
    held = pause_with_hypothesis(world, "hello there")
    world.want_place(before.request.run)
    assert not held.cancelled


def test_the_sound_of_a_pause_is_cut_at_the_same_sample_whatever_is_asked_about_it() -> None:
    fed = []
    for world in (World(), World(MUTE)):
        world.speak(10, voiced=True)
        world.speak(4, voiced=False)
        world.speak(5, voiced=True)
        world.speak(SILENCE, voiced=False)
        (utterance,) = world.utterances.values()
        fed.append((utterance.fed, utterance.pauses))
    assert fed[0] == fed[1]
    assert len(fed[0][1]) == 2


@pytest.mark.parametrize("words", ["", " "])
def test_nothing_is_held_for_nothing_understood(words: str) -> None:
    world = World()
    world.speak(10, voiced=True)
    world.speak(3, voiced=False)
    world.answer_hypothesis(words)
    assert not world.runs


def test_nothing_is_held_where_replies_are_not_created() -> None:
    world = configured(detection(create_response=False))
    sent = say(world, "hello there")
    assert not world.questions, "nobody wants to know yet"
    assert not world.runs
    assert "response.created" not in kinds(sent)


def test_nothing_is_held_where_the_pipeline_does_not_speculate() -> None:
    world = World(dataclasses.replace(PROFILE, speculation=False))
    world.speak(10, voiced=True)
    world.speak(3, voiced=False)
    assert not world.questions, "nobody wants to know yet"
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
    world = World(READING)
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


@pytest.mark.parametrize("profile", [SEMANTIC, READING], ids=["by sound", "by words"])
def test_the_end_of_turn_detector_decides_how_long_the_pause_lasts(profile: Profile) -> None:
    world = World(profile)
    assert world.machine.session.audio.input.turn_detection == SemanticVad()
    world.speak(10, voiced=True)
    world.speak(3, voiced=False)
    world.answer_hypothesis("hello there")
    assert [pause.words for pause in world.pauses] == [("hello there" if profile is READING else "")]
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


@pytest.mark.parametrize(("eagerness", "most_ms"), [("low", 8000), ("medium", 4000), ("auto", 4000), ("high", 2000)])
def test_eagerness_says_how_long_the_detector_may_make_a_pause_last(eagerness: str, most_ms: int) -> None:
    world = World(SEMANTIC)
    turn_detection = {"type": "semantic_vad", "eagerness": eagerness}
    world.client(
        type="session.update", session={"type": "realtime", "audio": {"input": {"turn_detection": turn_detection}}}
    )
    world.speak(10, voiced=True)
    world.speak(3, voiced=False)
    assert [pause.most_ms for pause in world.pauses] == [most_ms]
    world.assess(60_000)
    world.speak(most_ms // 32 - 4, voiced=False)
    assert not world.finishing, "not yet"
    world.speak(2, voiced=False)
    assert world.finishing


def test_server_vad_is_by_silence_alone_whatever_the_pipeline_could_do() -> None:
    world = World(READING)
    world.client(
        type="session.update",
        session={"type": "realtime", "audio": {"input": {"turn_detection": {"type": "server_vad"}}}},
    )
    pause_with_hypothesis(world, "hello there")
    assert not world.pauses


def test_a_pause_that_the_detector_was_asked_about_ends_by_silence_when_server_vad_is_chosen() -> None:
    world = World(SEMANTIC)
    world.speak(10, voiced=True)
    world.speak(3, voiced=False)
    world.assess(200)
    world.client(type="session.update", session=detection(silence_duration_ms=500))
    world.speak(SILENCE - 4, voiced=False)
    assert not world.finishing, "not yet"
    world.speak(1, voiced=False)
    assert world.finishing


def test_a_word_of_the_detector_that_comes_after_server_vad_was_chosen_does_not_count() -> None:
    world = World(SEMANTIC)
    world.speak(10, voiced=True)
    world.speak(3, voiced=False)
    world.client(type="session.update", session=detection(silence_duration_ms=500))
    world.assess(64)
    world.speak(SILENCE - 4, voiced=False)
    assert not world.finishing


def test_the_detector_is_asked_about_the_pause_in_which_it_is_chosen() -> None:
    world = configured(detection(), SEMANTIC)
    held = pause_with_hypothesis(world, "hello there")
    turn_detection = {"type": "semantic_vad", "eagerness": "low"}
    session = {"type": "realtime", "audio": {"input": {"turn_detection": turn_detection}}}
    world.client(type="session.update", session=session)
    assert held.cancelled
    world.speak(1, voiced=False)
    assert [pause.most_ms for pause in world.pauses] == [8_000]
    world.answer_hypothesis("hello there")
    assert running(world).held
    world.assess(200)
    world.speak(4, voiced=False)
    assert world.finishing


def test_another_update_in_a_pause_leaves_the_pause_as_it_is() -> None:
    world = World(SEMANTIC)
    held = pause_with_hypothesis(world, "hello there")
    world.client(type="session.update", session={"type": "realtime", "tools": []})
    world.assess(200)
    world.speak(4, voiced=False)
    assert world.finishing
    assert not held.cancelled


def test_where_words_are_not_to_be_had_the_pause_is_judged_at_once() -> None:
    turn_detection = {"type": "semantic_vad"}
    world = configured({"type": "realtime", "audio": {"input": {"turn_detection": turn_detection}}}, MUTE)
    world.speak(10, voiced=True)
    world.speak(3, voiced=False)
    assert not world.questions
    assert [(pause.words, pause.most_ms) for pause in world.pauses] == [("", 4_000)]
    world.assess(1_000)
    world.speak(25, voiced=False)
    assert not world.finishing, "not yet"
    world.speak(5, voiced=False)
    assert world.finishing
