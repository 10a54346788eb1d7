"""What the model is told of a prompt while the user still speaks."""

import dataclasses

import pytest

from pipeline.types import Message, NamedTool, Prompt
from tests.machine.scenes import (
    MANUAL,
    SILENCE,
    answered,
    configured,
    detection,
    pause_with_hypothesis,
    running,
    say,
    write,
)
from tests.machine.world import PROFILE, World

TOOL = {"type": "function", "name": "look_up", "parameters": {"type": "object", "properties": {}}}


def newest(world: World) -> Prompt:
    return world.prefills[-1].prompt


def said(prompt: Prompt) -> list[tuple[str, str]]:
    return [(message.role, message.text) for message in prompt.messages]


def test_instructions_are_told_when_the_session_begins() -> None:
    assert [request.prompt for request in World().prefills] == [Prompt((Message("system", "Be brief."),))]


def test_other_instructions_and_tools_are_told_when_the_client_sets_them() -> None:
    world = configured({"type": "realtime", "instructions": "Be loud.", "tools": [TOOL]})
    assert said(newest(world)) == [("system", "Be loud.")]
    assert [tool.name for tool in newest(world).tools] == ["look_up"]


def test_the_history_is_told_when_the_user_begins_to_speak() -> None:
    world = World()
    say(world, "hello there")
    reply = answered(world)["output"][0]["content"][0]["transcript"]
    world.wait(60_000)
    before = len(world.prefills)
    world.speak(1, voiced=True)
    assert len(world.prefills) == before + 1
    assert said(newest(world)) == [("system", "Be brief."), ("user", "hello there"), ("assistant", reply.strip())]


def test_words_are_told_as_soon_as_they_are_agreed_on_and_once() -> None:
    world = World()
    world.speak(10, voiced=True)
    (turn,) = world.utterances
    for words in ("what", "what", "what time"):
        world.show_partial(turn, words)
    told = [said(request.prompt)[1:] for request in world.prefills]
    assert told == [[], [], [("user", "what")], [("user", "what time")]]


def test_what_is_told_is_what_the_reply_is_asked_for_with() -> None:
    settings = {
        "type": "realtime",
        "tools": [TOOL],
        "tool_choice": {"type": "function", "name": "look_up"},
        "max_output_tokens": 70,
        "reasoning": {"effort": "low"},
        "truncation": {"type": "retention_ratio", "retention_ratio": 0.5},
    }
    world = configured(settings, dataclasses.replace(PROFILE, reasoning=True, truncation=True, context=4096))
    world.speak(10, voiced=True)
    (turn,) = world.utterances
    world.show_partial(turn, "what time is it")
    world.speak(SILENCE, voiced=False)
    world.transcribe(turn, "what time is it")
    assert running(world).request.generation == world.prefills[-1]
    assert world.prefills[-1].tool_choice == NamedTool("look_up")


def test_nothing_is_told_while_a_reply_is_held() -> None:
    world = World()
    pause_with_hypothesis(world, "hello there")
    (turn,) = world.utterances
    before = list(world.prefills)
    world.show_partial(turn, "hello there")
    world.client(type="session.update", session={"type": "realtime", "instructions": "Be loud."})
    assert world.prefills == before
    world.speak(1, voiced=True)
    assert said(newest(world)) == [("system", "Be loud."), ("user", "hello there")], "the user went on"


def test_nothing_is_told_at_a_pause_in_which_the_whole_reply_is_about_to_be_begun() -> None:
    world = World()
    world.speak(10, voiced=True)
    world.speak(3, voiced=False)
    (turn,) = world.utterances
    before = list(world.prefills)
    world.show_partial(turn, "hello there")
    assert world.prefills == before


def test_what_changes_while_a_reply_is_made_is_told_after_it() -> None:
    world = configured(detection(interrupt_response=False))
    write(world, "hello")
    world.client(type="response.create")
    before = list(world.prefills)
    world.speak(10, voiced=True)
    (turn,) = world.utterances
    world.show_partial(turn, "what")
    assert world.prefills == before
    answered(world)
    assert [role for role, _ in said(newest(world))] == ["system", "user", "assistant", "user"]


def test_an_interrupted_reply_is_told_as_far_as_it_was_heard() -> None:
    world = World()
    write(world, "hello")
    world.client(type="response.create")
    run = running(world)
    world.step_run(run, "clause")
    world.speak(1, voiced=True)
    assert run.cancelled
    assert said(newest(world)) == [("system", "Be brief."), ("user", "hello")], "nothing of it was heard yet"


def test_a_reply_that_the_client_cuts_shorter_is_told_anew() -> None:
    world = World()
    say(world, "hello there")
    answered(world, clauses=2)
    world.wait(60_000)
    world.speak(1, voiced=True)
    item = world.wire.of_type("response.output_item.added")[-1]["item"]["id"]
    before = said(newest(world))
    world.client(type="conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=0)
    assert said(newest(world)) == before[:-1]


def test_words_still_being_found_out_are_waited_for() -> None:
    world = World()
    world.speak(10, voiced=True)
    world.speak(SILENCE, voiced=False)
    world.speak(10, voiced=True)
    before = list(world.prefills)
    late, under_way = world.utterances
    world.show_partial(under_way, "what")
    assert world.prefills == before
    world.transcribe(late, "hello there")
    assert said(newest(world))[1:] == [("user", "hello there"), ("user", "what")]


def test_words_of_push_to_talk_are_told_too() -> None:
    world = configured(MANUAL)
    before = len(world.prefills)
    world.append(24_000)
    assert len(world.prefills) == before + 1
    (turn,) = world.utterances
    world.show_partial(turn, "what")
    assert said(newest(world))[-1] == ("user", "what")


@pytest.mark.parametrize("prefills", [False, True])
def test_nothing_is_told_where_turns_are_not_answered_or_the_model_gains_nothing(prefills: bool) -> None:
    profile = dataclasses.replace(PROFILE, prefills=prefills)
    world = World(profile, kind="transcription") if prefills else World(profile)
    world.speak(10, voiced=True)
    (turn,) = world.utterances
    world.show_partial(turn, "what")
    assert not world.prefills


def test_nothing_is_told_where_the_client_makes_its_own_responses() -> None:
    world = configured(detection(create_response=False))
    before = list(world.prefills)
    world.speak(10, voiced=True)
    (turn,) = world.utterances
    world.show_partial(turn, "what")
    assert world.prefills == before
