"""One spoken turn, by voice and by hand: what the client gets to see of it, in order."""

from tests.machine.scenes import MANUAL, SILENCE, answered, configured, error_of, kinds, running, say, told, write
from tests.machine.world import World

# --- one spoken turn -------------------------------------------------------------------------------------------------


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
    assert error == {"type": "server_error", "code": "tts_failed", "message": "broken"}


def test_a_transcriber_that_fails_fails_the_response_and_the_next_turn_works() -> None:
    world = World()
    sent = say(world, None)
    assert "conversation.item.input_audio_transcription.failed" in kinds(sent)
    assert sent[-1]["response"]["status_details"]["error"]["code"] == "transcription_failed"
    assert not world.runs
    say(world, "hello there")
    assert told(running(world)) == [("user", "hello there")]


# --- push to talk ----------------------------------------------------------------------------------------------------


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
