"""`server_vad.idle_timeout_ms`: nothing is said for so long after the reply was played that the model goes on."""

from typing import Any

import pytest

from server.realtime.conversation import SILENCE as SAYS_NOTHING
from server.realtime.inbox import IdleTimer
from tests.machine.scenes import (
    SILENCE,
    answered,
    configured,
    detection,
    kinds,
    running,
    say,
    sing,
    spoken_item,
    told,
    write,
)
from tests.machine.world import FRAME, World

TIMEOUT = 6_000
FRAME_MS = 32

TRIGGERED = "input_audio_buffer.timeout_triggered"


def asked(**options: Any) -> World:
    return configured(detection(idle_timeout_ms=TIMEOUT, **options))


def replied(world: World, ms: int = 3_000) -> None:
    """The user asks something, and the reply of `ms` of sound is there as soon as it is asked for."""
    say(world, "hello there")
    run = running(world)
    sing(world, run, "General Kenobi.", ms)
    assert world.step_run(run, "finish")[-1]["type"] == "response.done"


def test_the_model_goes_on_when_nothing_was_said_for_so_long_after_the_reply_was_played() -> None:
    world = asked()
    replied(world, ms=3_000)
    assert world.wait(3_000 + TIMEOUT - 1) == []
    sent = world.wait(1)
    assert kinds(sent) == [
        TRIGGERED,
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        "conversation.item.input_audio_transcription.completed",
        "response.created",
        "rate_limits.updated",
    ]
    triggered, committed, added, done, transcribed, *_ = sent
    assert triggered["item_id"] == committed["item_id"] == added["item"]["id"] == transcribed["item_id"]
    assert committed["previous_item_id"] == added["previous_item_id"] == spoken_item(world)
    assert done["item"]["content"] == [{"type": "input_audio", "transcript": ""}]
    assert transcribed["transcript"] == ""
    assert told(running(world))[-1] == ("user", SAYS_NOTHING)
    assert answered(world)["status"] == "completed"


def test_it_tells_which_part_of_the_sound_was_silent() -> None:
    world = asked()
    replied(world, ms=320)
    before = world.appended
    for _ in range((320 + TIMEOUT) // FRAME_MS):
        world.append(FRAME)
        world.judge(voiced=False)
    assert world.timer is not None
    sent = world.wait(world.timer[1] - world.now)
    assert sent[0]["type"] == TRIGGERED
    assert sent[0]["audio_start_ms"] == pytest.approx(before // 24 + 320, abs=2 * FRAME_MS)
    assert sent[0]["audio_end_ms"] - sent[0]["audio_start_ms"] == pytest.approx(TIMEOUT, abs=2 * FRAME_MS)


def test_it_goes_on_again_after_every_reply_that_is_met_with_silence() -> None:
    world = asked()
    replied(world, ms=0)
    for _ in range(3):
        assert kinds(world.wait(TIMEOUT))[0] == TRIGGERED
        answered(world, clauses=0)
    assert len(world.wire.of_type(TRIGGERED)) == 3


def test_who_speaks_in_time_is_not_asked() -> None:
    world = asked()
    replied(world, ms=0)
    world.wait(TIMEOUT - 1)
    world.append(FRAME)
    world.judge(voiced=True)
    assert world.wait(10 * TIMEOUT) == []
    world.speak(5, voiced=True)
    world.speak(SILENCE, voiced=False)
    world.transcribe(world.finishing[0], "I am here")
    answered(world)
    assert not world.wire.of_type(TRIGGERED)
    assert kinds(world.wait(100 + TIMEOUT))[0] == TRIGGERED, "and then it is waited for again"


def test_no_word_is_lost_that_the_detector_had_not_judged_yet() -> None:
    world = asked()
    replied(world, ms=0)
    world.append(4 * FRAME)
    assert kinds(world.wait(TIMEOUT))[0] == TRIGGERED
    for _ in range(4):
        world.judge(voiced=True)
    world.check_voiced_was_heard()
    assert "input_audio_buffer.speech_started" in kinds(world.wire.events[-8:])


@pytest.mark.parametrize("timeout_ms", [None, TIMEOUT])
def test_nobody_is_asked_before_the_first_reply_or_without_a_timeout(timeout_ms: int | None) -> None:
    world = configured(detection(idle_timeout_ms=timeout_ms))
    if timeout_ms is None:
        replied(world)
    assert world.timer is None
    assert world.wait(100_000) == []


def test_the_timeout_does_not_run_while_the_model_is_at_work() -> None:
    world = asked()
    replied(world, ms=0)
    write(world, "and now a long story")
    world.client(type="response.create")
    assert world.wait(10 * TIMEOUT) == []
    answered(world, clauses=0)
    assert kinds(world.wait(TIMEOUT))[0] == TRIGGERED


def test_the_timeout_does_not_run_while_the_client_owes_the_output_of_a_call() -> None:
    world = asked()
    say(world, "what time is it")
    run = running(world)
    world.step_run(run, "call")
    world.step_run(run, "finish")
    assert world.wait(10 * TIMEOUT) == []
    call_id = world.wire.of_type("response.function_call_arguments.done")[0]["call_id"]
    world.client(
        type="conversation.item.create",
        item={"type": "function_call_output", "call_id": call_id, "output": "noon"},
    )
    world.client(type="response.create")
    answered(world, clauses=0)
    assert kinds(world.wait(TIMEOUT))[0] == TRIGGERED


def test_a_reply_that_was_cut_by_the_client_has_been_played() -> None:
    world = asked()
    replied(world, ms=20_000)
    world.client(type="conversation.item.truncate", item_id=spoken_item(world), content_index=0, audio_end_ms=1_000)
    assert world.wait(1_000 + TIMEOUT - 1) == []
    assert kinds(world.wait(1))[0] == TRIGGERED


def test_an_update_counts_at_once() -> None:
    world = asked()
    replied(world, ms=0)
    world.wait(5_500)
    world.client(type="session.update", session=detection(idle_timeout_ms=20_000))
    assert world.wait(14_499) == []
    world.client(type="session.update", session=detection(idle_timeout_ms=None))
    assert world.timer is None
    world.client(type="session.update", session=detection(idle_timeout_ms=5_000))
    assert world.wait(4_999) == [], "without a timeout nobody counted"
    assert kinds(world.wait(1))[0] == TRIGGERED


def test_a_response_is_left_to_the_client_where_it_creates_them() -> None:
    world = asked(create_response=False)
    say(world, "hello there")
    world.client(type="response.create")
    answered(world, clauses=0)
    sent = world.wait(TIMEOUT)
    assert kinds(sent)[0] == TRIGGERED
    assert "response.created" not in kinds(sent)
    assert world.wait(10 * TIMEOUT) == [], "the model's turn has not come yet"


def test_a_timer_that_comes_early_is_set_once_more() -> None:
    world = asked()
    replied(world, ms=0)
    assert world.timer is not None
    number, due = world.timer
    world.now = due - 1
    world.timer = None
    assert world.handle(IdleTimer(number)) == []
    assert world.timer == (number + 1, due)


def test_a_timer_of_a_silence_that_is_over_does_nothing() -> None:
    world = asked()
    replied(world, ms=0)
    assert world.timer is not None
    number, due = world.timer
    world.speak(3, voiced=True)
    world.speak(SILENCE, voiced=False)
    world.transcribe(world.finishing[0], "I am here")
    world.now = due
    assert world.handle(IdleTimer(number)) == []


def test_without_transcription_there_is_no_transcript_of_the_silence() -> None:
    world = asked()
    world.client(type="session.update", session={"type": "realtime", "audio": {"input": {"transcription": None}}})
    replied(world, ms=0)
    sent = world.wait(TIMEOUT)
    assert "conversation.item.input_audio_transcription.completed" not in kinds(sent)
    assert "response.created" in kinds(sent)
