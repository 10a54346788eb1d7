"""Items that clients bring: images and sound in them, what a response is told in place of the conversation, and what of
it comes back.
"""

import base64
import dataclasses
from collections.abc import Sequence
from typing import Any

import pytest

from server.realtime import own_input
from server.wire import beta
from tests.images import jpeg, png, url
from tests.machine.scenes import MANUAL, answered, configured, error_of, kinds, running, say, told, write
from tests.machine.world import PROFILE, World

SEEING = dataclasses.replace(PROFILE, vision=True)
SECOND = base64.b64encode(bytes(48_000)).decode()
SOUND = {"type": "input_audio", "audio": SECOND}
IMAGE = {"type": "input_image", "image_url": url(png())}
TEXT = {"type": "input_text", "text": "What is this?"}


def user(*content: Any, **more: Any) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": list(content), **more}


def give(world: World, item: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    return world.client(type="conversation.item.create", item=item, event_id="mine", **more)


def retrieved(world: World, item_id: str) -> dict[str, Any]:
    (event,) = world.client(type="conversation.item.retrieve", item_id=item_id)
    assert event["type"] == "conversation.item.retrieved"
    item: dict[str, Any] = event["item"]
    return item


def refused(sent: list[dict[str, Any]]) -> tuple[str, str]:
    error = error_of(sent)
    assert error["event_id"] == "mine"
    return error["code"], error["param"]


# --- images ----------------------------------------------------------------------------------------------------------


def test_an_image_reaches_the_model_in_its_place_and_the_client_gets_it_back() -> None:
    world = World(SEEING)
    photo = {"type": "input_image", "image_url": url(jpeg(), "image/jpeg"), "detail": "low"}
    content = [TEXT, IMAGE, {"type": "input_text", "text": "And this?"}, photo]
    added, done = give(world, user(*content))
    shown = [{**IMAGE, "detail": "auto"}, photo]
    assert kinds([added, done]) == ["conversation.item.added", "conversation.item.done"]
    assert [part for part in added["item"]["content"] if part["type"] == "input_image"] == shown
    assert retrieved(world, added["item"]["id"]) == added["item"]
    world.client(type="response.create")
    message = running(world).request.prompt.messages[1]
    assert (message.role, message.text) == ("user", "What is this?\nAnd this?")
    assert [(image.data, image.detail) for image in message.images] == [(png(), "auto"), (jpeg(), "low")]
    assert [message.text[: image.at] for image in message.images] == ["What is this?", "What is this?\nAnd this?"]


def test_an_image_alone_is_something_to_answer() -> None:
    world = World(SEEING)
    give(world, user(IMAGE))
    world.client(type="response.create")
    (message,) = running(world).request.prompt.messages[1:]
    assert (message.text, len(message.images)) == ("", 1)
    assert answered(world)["status"] == "completed"


def test_a_model_that_does_not_see_is_named() -> None:
    error = error_of(give(World(), user(TEXT, IMAGE)))
    assert (error["code"], error["param"]) == ("invalid_value", "item.content[1].type")
    assert "'mini' does not see" in error["message"]


@pytest.mark.parametrize(
    ("part", "param"),
    [
        ({"type": "input_image"}, "image_url"),
        ({"type": "input_image", "image_url": "https://example.com/cat.png"}, "image_url"),
        ({"type": "input_image", "image_url": "data:image/png;base64,!!"}, "image_url"),
        ({"type": "input_image", "image_url": url(b"GIF89a" + bytes(30), "image/gif")}, "image_url"),
        ({**IMAGE, "detail": "very"}, "detail"),
        ({**IMAGE, "text": "x"}, "text"),
        ({"type": "input_text", "text": "x", "image_url": url(png())}, "image_url"),
        ({"type": "input_file"}, "type"),
    ],
)
def test_an_image_that_is_none_is_refused_and_nothing_is_added(part: dict[str, Any], param: str) -> None:
    world = World(SEEING)
    assert refused(give(world, user(TEXT, part)))[1] == f"item.content[1].{param}"
    assert kinds(give(world, user(TEXT))) == ["conversation.item.added", "conversation.item.done"]


@pytest.mark.parametrize("role", ["system", "assistant"])
def test_only_users_show_images(role: str) -> None:
    sent = give(World(SEEING), {"type": "message", "role": role, "content": [IMAGE]})
    assert refused(sent) == ("invalid_value", "item.content[0].type")


def test_an_image_for_which_an_event_has_no_room_is_taken_and_not_sent_back() -> None:
    world = World(SEEING)
    added, done = give(world, user(TEXT, {"type": "input_image", "image_url": url(png(padding=2_000_000))}))
    for item in (added["item"], done["item"], retrieved(world, added["item"]["id"])):
        assert item["content"] == [TEXT, {"type": "input_image", "detail": "auto"}]
    world.client(type="response.create")
    assert len(running(world).request.prompt.messages[1].images[0].data) > 2_000_000


def test_a_session_has_room_for_so_many_images_and_deleting_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_input, "MAX_IMAGES_BYTES", 3 * len(png()) - 1)
    world = World(SEEING)
    first = give(world, user(IMAGE))[0]["item"]["id"]
    give(world, user(IMAGE))
    assert refused(give(world, user(IMAGE))) == ("too_many_images", "item")
    assert kinds(give(world, user(TEXT))) == ["conversation.item.added", "conversation.item.done"]
    sent = world.client(type="response.create", event_id="mine", response={"input": [user(IMAGE)]})
    assert refused(sent) == ("too_many_images", "response.input")
    world.client(type="conversation.item.delete", item_id=first)
    world.client(type="response.create", response={"conversation": "none", "input": [user(IMAGE)]})
    assert refused(give(world, user(IMAGE))) == ("too_many_images", "item"), "what a response is told counts as well"
    answered(world)
    assert kinds(give(world, user(IMAGE))) == ["conversation.item.added", "conversation.item.done"]


def test_the_older_dialect_has_no_images() -> None:
    world = World(SEEING, dialect=beta)
    sent = give(world, user(IMAGE))
    assert refused(sent) == ("invalid_value", "item.content[0].type")
    assert "input_image" in error_of(sent)["message"]


# --- sound -----------------------------------------------------------------------------------------------------------


def test_sound_in_an_item_is_put_into_words_in_its_place_in_the_history() -> None:
    world = World()
    added, _ = give(world, user(SOUND))
    assert added["item"]["content"] == [{"type": "input_audio", "transcript": None}]
    ((turn, audio),) = world.recordings.items()
    assert audio == bytes(48_000)
    write(world, "Well?")
    delta, completed = world.transcribe(turn, "hello there")
    assert (delta["type"], delta["delta"]) == ("conversation.item.input_audio_transcription.delta", "hello there")
    assert completed["type"] == "conversation.item.input_audio_transcription.completed"
    assert (completed["item_id"], completed["content_index"]) == (added["item"]["id"], 0)
    assert completed["transcript"] == "hello there"
    assert completed["usage"]["input_tokens"] == 10
    world.client(type="response.create")
    assert told(running(world)) == [("user", "hello there"), ("user", "Well?")]
    response = answered(world)
    assert response["usage"]["input_token_details"]["audio_tokens"] == 10
    assert retrieved(world, added["item"]["id"])["content"] == [{"type": "input_audio", "transcript": "hello there"}]


def test_a_response_waits_for_the_words_of_sound_that_was_given() -> None:
    world = World()
    give(world, user({"type": "input_text", "text": "Listen:"}, SOUND))
    world.client(type="response.create")
    assert not world.runs
    (turn,) = world.recordings
    world.transcribe(turn, "hello there")
    assert told(running(world)) == [("user", "Listen:\nhello there")]


def test_words_that_cannot_be_found_out_fail_the_response_that_waits_for_them() -> None:
    world = World()
    give(world, user(SOUND))
    world.client(type="response.create")
    (turn,) = world.recordings
    failed, done = world.transcribe(turn, None)
    assert failed["type"] == "conversation.item.input_audio_transcription.failed"
    assert (done["type"], done["response"]["status"]) == ("response.done", "failed")
    world.client(type="response.create")
    assert answered(world)["status"] == "completed", "the session goes on"


def test_silence_that_the_client_put_there_is_no_reason_to_say_nothing() -> None:
    """Clients give a second of silence to make the model speak."""
    world = World()
    write(world, "hello")
    give(world, user(SOUND))
    world.client(type="response.create")
    (turn,) = world.recordings
    world.transcribe(turn, "")
    assert told(running(world)) == [("user", "hello")]


def test_sound_is_heard_beside_what_the_user_says() -> None:
    world = World()
    world.speak(5, voiced=True)
    give(world, user(SOUND), previous_item_id="root")
    (turn,) = world.recordings
    say(world, "and this is me")
    world.transcribe(turn, "first of all")
    assert told(running(world)) == [("user", "first of all"), ("user", "and this is me")]


def test_sound_is_in_the_format_of_the_session() -> None:
    world = configured({"type": "realtime", "audio": {"input": {"format": {"type": "audio/pcmu"}}}})
    give(world, user({"type": "input_audio", "audio": base64.b64encode(b"\xff" * 8000).decode()}))
    (audio,) = world.recordings.values()
    assert len(audio) == 48_000


def test_without_transcription_the_model_still_knows_what_was_said() -> None:
    world = configured({"type": "realtime", "audio": {"input": {"transcription": None}}})
    give(world, user(SOUND))
    (turn,) = world.recordings
    assert world.transcribe(turn, "hello there") == []
    world.client(type="response.create")
    assert told(running(world)) == [("user", "hello there")]


def test_an_item_that_was_deleted_meanwhile_is_not_spoken_of() -> None:
    world = World()
    item_id = give(world, user(SOUND))[0]["item"]["id"]
    world.client(type="conversation.item.delete", item_id=item_id)
    (turn,) = world.recordings
    assert world.transcribe(turn, "hello there") == []


def test_a_transcript_of_the_clients_own_is_shown_and_the_model_hears_the_sound() -> None:
    world = World()
    item = give(world, user({**SOUND, "transcript": "Hello, there!"}))[0]["item"]
    assert item["content"] == [{"type": "input_audio", "transcript": "Hello, there!"}]
    (turn,) = world.recordings
    world.transcribe(turn, "hello there")
    assert retrieved(world, item["id"]) == item
    world.client(type="response.create")
    assert told(running(world)) == [("user", "hello there")]


def test_speech_of_the_past_may_come_as_its_transcript_alone() -> None:
    world = World()
    give(world, user({"type": "input_audio", "audio": None, "transcript": "hello there"}))
    said = {"type": "output_audio", "audio": None, "transcript": "Good day."}
    written = {"type": "output_text", "text": "How are you?"}
    item = give(world, {"type": "message", "role": "assistant", "content": [said, written]})[0]["item"]
    assert item["content"] == [{"type": "output_audio", "transcript": "Good day."}, written]
    assert not world.recordings
    world.client(type="response.create")
    assert told(running(world)) == [("user", "hello there"), ("assistant", "Good day.\nHow are you?")]


@pytest.mark.parametrize(
    ("part", "param"),
    [
        ({"type": "input_audio"}, "item.content[0].audio"),
        ({"type": "input_audio", "audio": ""}, "item.content[0].audio"),
        ({"type": "input_audio", "audio": "AAA="}, "item.content[0].audio"),
        ({"type": "input_audio", "audio": "AAAA"}, "item.content[0].audio"),
        ({"type": "input_audio", "audio": "not base64!"}, "item.content[0].audio"),
        ({"type": "input_audio", "audio": SECOND, "text": "x"}, "item.content[0].text"),
        ({"type": "input_audio", "audio": SECOND, "detail": "low"}, "item.content[0].detail"),
    ],
)
def test_sound_that_is_none_is_refused(part: dict[str, Any], param: str) -> None:
    world = World()
    assert refused(give(world, user(part)))[1] == param
    assert not world.recordings


def test_the_assistants_sound_cannot_be_given() -> None:
    said = {"type": "output_audio", "audio": SECOND, "transcript": "Good day."}
    error = error_of(give(World(), {"type": "message", "role": "assistant", "content": [said]}))
    assert (error["code"], error["param"]) == ("unknown_parameter", "item.content[0].audio")


def test_the_sound_of_items_is_kept_until_they_are_deleted() -> None:
    world = World()
    say(world, "hello there")
    answered(world)
    spoken = world.wire.of_type("input_audio_buffer.committed")[0]["item_id"]
    given = give(world, user(SOUND))[0]["item"]["id"]
    assert list(world.kept) == [spoken, given]
    start, end = world.kept[spoken]
    assert end - start > 24_000 // 4  # type: ignore[operator]
    for item_id in (spoken, given):
        world.client(type="conversation.item.delete", item_id=item_id)
    assert not world.kept


def test_the_older_dialect_takes_sound_as_well() -> None:
    world = World(dialect=beta)
    (created,) = give(world, user(SOUND))
    assert created["item"]["content"] == [{"type": "input_audio", "transcript": None}]
    (turn,) = world.recordings
    assert kinds(world.transcribe(turn, "hello"))[-1] == "conversation.item.input_audio_transcription.completed"
    said = {"type": "message", "role": "assistant", "content": [{"type": "audio", "transcript": "Hi."}]}
    assert give(world, said)[0]["item"]["content"] == said["content"]


# --- a response's own input -------------------------------------------------------------------------------------------


def respond(world: World, items: Sequence[Any], **more: Any) -> list[dict[str, Any]]:
    return world.client(type="response.create", event_id="mine", response={"input": list(items), **more})


def test_a_response_may_be_told_something_else_than_the_conversation() -> None:
    world = World()
    write(world, "hello")
    respond(world, [user({"type": "input_text", "text": "Say blue."})], conversation="none")
    assert told(running(world)) == [("user", "Say blue.")]
    answered(world)
    world.client(type="response.create")
    assert told(running(world)) == [("user", "hello")], "nothing of it is in the conversation"


def test_an_input_may_refer_to_items_of_the_conversation() -> None:
    world = World()
    first = write(world, "hello")["item"]["id"]
    write(world, "how are you")
    respond(world, [{"type": "item_reference", "id": first}, user({"type": "input_text", "text": "Well?"})])
    assert told(running(world)) == [("user", "hello"), ("user", "Well?")]
    response = answered(world)
    assert response["conversation_id"] is not None
    world.client(type="response.create")
    assert told(running(world))[-1][0] == "assistant", "what it says is in the conversation"


def test_an_empty_input_leaves_the_instructions() -> None:
    world = World()
    write(world, "hello")
    respond(world, [], instructions="Say blue.")
    (message,) = running(world).request.prompt.messages
    assert (message.role, message.text) == ("system", "Say blue.")


def test_an_input_with_sound_waits_for_its_words_alone() -> None:
    world = configured(MANUAL)
    world.append(24_000)
    world.client(type="input_audio_buffer.commit")
    (spoken,) = world.finishing
    respond(world, [user(SOUND)], conversation="none")
    assert not world.runs
    (turn,) = world.recordings
    assert world.transcribe(turn, "hello there") == [], "it is no item of the conversation"
    assert told(running(world)) == [("user", "hello there")]
    assert spoken in world.finishing


def test_an_input_that_refers_to_speech_waits_for_its_words() -> None:
    world = configured(MANUAL)
    world.append(24_000)
    item_id = world.client(type="input_audio_buffer.commit")[0]["item_id"]
    respond(world, [{"type": "item_reference", "id": item_id}], conversation="none")
    assert not world.runs
    world.transcribe(world.finishing[0], "hello there")
    assert told(running(world)) == [("user", "hello there")]


def test_calls_and_their_outputs_may_be_in_an_input() -> None:
    world = World()
    call = {"type": "function_call", "name": "look_up", "call_id": "c1", "arguments": "{}"}
    output = {"type": "function_call_output", "call_id": "c1", "output": "42"}
    respond(world, [user(TEXT), call, output])
    assert [role for role, _ in told(running(world))] == ["user", "assistant", "tool"]
    answered(world)
    assert refused(respond(world, [output])) == ("invalid_tool_call_id", "response.input[0].call_id")


def test_whole_items_may_be_sent_back_in_an_input_and_their_ids_and_status_count() -> None:
    world = World()
    item = write(world, "hello")["item"]
    respond(world, [item], conversation="none")
    assert told(running(world)) == [("user", "hello")]
    answered(world)
    assert refused(respond(world, [item, item])) == ("item_already_exists", "response.input[1].id")
    call = {"type": "function_call", "name": "look_up", "call_id": "c1", "arguments": "{}", "status": "incomplete"}
    output = {"type": "function_call_output", "call_id": "c1", "output": "42"}
    assert refused(respond(world, [call, output])) == ("invalid_tool_call_id", "response.input[1].call_id")


@pytest.mark.parametrize(
    ("item", "code", "param"),
    [
        ({"type": "item_reference", "id": "item_nowhere"}, "item_not_found", "response.input[1].id"),
        ({"type": "item_reference"}, "missing_required_parameter", "response.input[1].id"),
        ({"type": "item_reference", "id": "x", "role": "user"}, "unknown_parameter", "response.input[1].role"),
        (user(IMAGE), "invalid_value", "response.input[1].content[0].type"),
        (user(), "invalid_value", "response.input[1].content"),
        ({"type": "message", "role": "user"}, "missing_required_parameter", "response.input[1].content"),
        ({"type": "song"}, "invalid_value", "response.input[1].type"),
    ],
)
def test_an_input_that_cannot_be_is_refused_by_name(item: dict[str, Any], code: str, param: str) -> None:
    world = World()
    assert refused(respond(world, [user(TEXT), item])) == (code, param)
    assert not world.runs


def test_a_reference_is_no_item_of_a_conversation() -> None:
    world = World()
    item_id = write(world, "hello")["item"]["id"]
    assert refused(give(world, {"type": "item_reference", "id": item_id})) == ("invalid_value", "item.type")


def test_the_older_dialect_has_inputs_of_its_own_too() -> None:
    world = World(dialect=beta)
    item_id = give(world, user(TEXT))[0]["item"]["id"]
    said = {"type": "message", "role": "assistant", "content": [{"type": "text", "text": "A cat."}]}
    respond(world, [{"type": "item_reference", "id": item_id}, said], conversation="none")
    assert told(running(world)) == [("user", "What is this?"), ("assistant", "A cat.")]
