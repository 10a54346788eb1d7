"""What was heard of a reply, and the items of the conversation."""

from typing import Any

import numpy as np
import pytest

from pipeline.types import TurnAudio, TurnCall, TurnClause
from tests.machine.scenes import (
    SILENCE,
    a_spoken_reply,
    answered,
    error_of,
    kinds,
    running,
    say,
    sing,
    spoken_item,
    told,
    write,
)
from tests.machine.world import World

# --- what was heard --------------------------------------------------------------------------------------------------


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


def test_replies_are_played_one_after_the_other() -> None:
    """Words before a call are still playing when the reply to its output has been made."""
    world = World()
    say(world, "how is the weather")
    run = running(world)
    sing(world, run, "Let me have a look at it.", 3_000)
    world.handle(TurnCall(run.request.run, 0, "look_up", "{}"))
    call_id = world.step_run(run, "finish")[-1]["response"]["output"][-1]["call_id"]
    output = {"type": "function_call_output", "call_id": call_id, "output": "sunny"}
    world.client(type="conversation.item.create", item=output)
    world.client(type="response.create")
    sing(world, running(world), "It is sunny.", 2_000)
    world.now += 1_500
    say(world, "stop")
    assert [message.text for message in running(world).request.prompt.messages[1:]] == [
        "how is the weather",
        "Let me have",
        "sunny",
        "stop",
    ]


def test_after_an_interruption_the_next_reply_plays_at_once() -> None:
    world = World()
    say(world, "tell me a story")
    sing(world, running(world), "Once upon a time there was a king.", 9_000)
    world.now += 1_000
    say(world, "another")
    sing(world, running(world), "There was a dog.", 2_000)
    world.step_run(running(world), "finish")
    world.now += 2_100
    say(world, "thanks")
    assert told(running(world))[-2] == ("assistant", "There was a dog.")


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
    sing(world, running(world), "One two three four. ", 2_000)
    world.client(type="response.cancel")
    item_id = spoken_item(world)
    truncate = {"type": "conversation.item.truncate", "item_id": item_id, "content_index": 0}
    assert error_of(world.client(**truncate, audio_end_ms=2_001))["param"] == "audio_end_ms"
    assert kinds(world.client(**truncate, audio_end_ms=1_000)) == ["conversation.item.truncated"]
    assert transcript_of(world, item_id) == "One two"


@pytest.mark.parametrize("said", [True, False])
def test_of_a_clause_that_was_cut_while_its_sound_was_made_the_rest_was_not_heard(said: bool) -> None:
    """The clause before it tells how long it would have been."""
    world = World()
    write(world, "hello")
    world.client(type="response.create")
    sing(world, running(world), "Once upon a time. ", 2_000)
    sing(world, running(world), "There was a king. ", 1_000)
    world.now += 5_000
    world.client(type="response.cancel")
    if said:
        item_id = spoken_item(world)
        world.client(type="conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=3_000)
    say(world, "go on")
    assert told(running(world))[1] == ("assistant", "Once upon a time. There was")


def test_only_sound_of_the_assistant_can_be_truncated() -> None:
    world, _ = a_spoken_reply()
    user = world.wire.of_type("conversation.item.added")[0]["item"]["id"]
    truncate = {"type": "conversation.item.truncate", "content_index": 0, "audio_end_ms": 0}
    assert error_of(world.client(**truncate, item_id=user))["param"] == "item_id"
    assert error_of(world.client(**truncate, item_id="item_nowhere"))["code"] == "item_not_found"
    error = error_of(world.client(**{**truncate, "content_index": 1}, item_id=spoken_item(world)))
    assert error["param"] == "content_index"


# --- items -----------------------------------------------------------------------------------------------------------


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


def test_no_words_are_shown_of_a_deleted_item() -> None:
    world = World()
    world.speak(10, voiced=True)
    world.speak(SILENCE, voiced=False)
    (turn,) = world.finishing
    item_id = world.wire.of_type("input_audio_buffer.committed")[-1]["item_id"]
    assert kinds(world.show_partial(turn, "hello"))
    world.client(type="conversation.item.delete", item_id=item_id)
    assert not world.show_partial(turn, "hello there")


def test_deleting_what_is_still_being_transcribed_keeps_nobody_waiting() -> None:
    world = World()
    world.speak(10, voiced=True)
    world.speak(SILENCE, voiced=False)
    (item,) = world.wire.of_type("conversation.item.added")
    world.client(type="conversation.item.delete", item_id=item["item"]["id"])
    sent = world.transcribe(world.finishing[0], "hello there")
    assert "conversation.item.input_audio_transcription.completed" not in kinds(sent)
    assert answered(world)["status"] == "completed"
