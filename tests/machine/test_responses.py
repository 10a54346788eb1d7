"""Responses: nothing understood, interruption, asking for them and cancelling them."""

import pytest

from server.realtime.responding import MAX_RESPONSES
from tests.machine.scenes import (
    MANUAL,
    SILENCE,
    answered,
    configured,
    detection,
    error_of,
    kinds,
    running,
    say,
    sing,
    told,
    write,
)
from tests.machine.world import World

# --- nothing understood ----------------------------------------------------------------------------------------------


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


# --- interruption ----------------------------------------------------------------------------------------------------


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


# --- response.create and response.cancel -----------------------------------------------------------------------------


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
