"""The recorder of the tests finds what it looks for: a wire that was tampered with does not pass."""

import base64
import copy
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from tests.machine.scenes import MANUAL, configured
from tests.machine.world import World
from tests.wire.test_ga import everything_that_is_ever_sent
from tests.wire_checker import WireChecker

Event = dict[str, Any]
Wire = list[Event]
Tamper = Callable[[Wire], None]

STARTED, STOPPED = "input_audio_buffer.speech_started", "input_audio_buffer.speech_stopped"
COMMITTED = "input_audio_buffer.committed"
TRANSCRIPTION = "conversation.item.input_audio_transcription"
ADDED, ITEM_DONE = "conversation.item.added", "conversation.item.done"
OUT_ADDED, OUT_DONE = "response.output_item.added", "response.output_item.done"
PART_ADDED, PART_DONE = "response.content_part.added", "response.content_part.done"
WORDS, SOUND, TEXT = "response.output_audio_transcript", "response.output_audio", "response.output_text"
CALL = "response.function_call_arguments"
CREATED, DONE = "response.created", "response.done"


def places(wire: Wire, kind: str) -> list[int]:
    found = [index for index, event in enumerate(wire) if event["type"] == kind]
    assert found, f"there is no {kind} to tamper with"
    return found


def without(kind: str, which: int = 0) -> Tamper:
    """Leaves out an event of this kind."""
    return lambda wire: wire.pop(places(wire, kind)[which]) and None


def again(kind: str, behind: str | None = None) -> Tamper:
    """Sends the first event of a kind once more, behind the first of another kind."""

    def tamper(wire: Wire) -> None:
        event = {**copy.deepcopy(wire[places(wire, kind)[0]]), "event_id": "event_again"}
        wire.insert(places(wire, behind or kind)[0] + 1, event)

    return tamper


def later(kind: str, behind: str, which: int = 0) -> Tamper:
    """Sends an event only after the next one of another kind."""

    def tamper(wire: Wire) -> None:
        at = places(wire, kind)[which]
        event = wire.pop(at)
        wire.insert(next(place for place in places(wire, behind) if place >= at) + 1, event)

    return tamper


def put(kind: str, path: str, value: Any, which: int = 0) -> Tamper:
    """Writes a value into an event; `...` takes the key away."""

    def tamper(wire: Wire) -> None:
        at: Any = wire[places(wire, kind)[which]]
        *outer, last = [int(name) if name.isdigit() else name for name in path.split(".")]
        for name in outer:
            at = at[name]
        if value is ...:
            del at[last]
        else:
            at[last] = value

    return tamper


def second_response(wire: Wire) -> None:
    at = places(wire, CREATED)[0]
    event = copy.deepcopy(wire[at])
    event["event_id"], event["response"]["id"] = "event_again", "resp_again"
    limits = {**wire[at + 1], "event_id": "event_limits"}
    wire[at + 2 : at + 2] = [event, limits]


def same_id(wire: Wire) -> None:
    wire[places(wire, DONE)[0]]["event_id"] = wire[0]["event_id"]


def long_sound(wire: Wire) -> None:
    wire[places(wire, f"{SOUND}.delta")[0]]["delta"] = base64.b64encode(bytes(20_000)).decode()


def of_an_abandoned_response(wire: Wire) -> None:
    """The reply that was speculated with and dropped, on the wire before the one that counts."""
    delta = copy.deepcopy(wire[places(wire, f"{WORDS}.delta")[0]])
    delta |= {"event_id": "event_early", "response_id": "resp_abandoned"}
    wire.insert(places(wire, STARTED)[0] + 1, delta)


GA: list[tuple[str, Tamper, str]] = [
    # Form.
    ("a field outside the schema", put(STARTED, "colour", 1), "outside the schema"),
    ("one at some depth", put(DONE, "response.usage.colour", 1), "outside the schema"),
    ("one in a list", put(DONE, "response.output.0.colour", 1), "outside the schema"),
    ("an event that is not in the schema", put(STARTED, "type", "parley.timings"), "parley.timings"),
    ("a missing field", put(STARTED, "item_id", ...), "item_id"),
    ("a frame of more than 1 MiB", put(f"{TRANSCRIPTION}.delta", "delta", "x" * 2**20), "1 MiB"),
    # What clients insist on.
    ("milliseconds with a fraction", put(STARTED, "audio_start_ms", 1.0), "whole number"),
    ("an index that is none", put(PART_ADDED, "content_index", 0.0), "whole number"),
    ("tokens that are none", put(DONE, "response.usage.input_tokens", True), "whole number"),
    ("no previous item", put(ADDED, "previous_item_id", ...), "previous_item_id"),
    ("no previous item of what was committed", put(COMMITTED, "previous_item_id", ...), "previous_item_id"),
    ("no transcript of the user's sound", put(ADDED, "item.content.0.transcript", ...), "transcript"),
    ("the wrong type of content", put(OUT_DONE, "item.content.0.type", "audio"), ""),
    ("the wrong type of part", put(PART_ADDED, "part.type", "output_audio"), ""),
    ("a part without its words", put(PART_ADDED, "part.transcript", ...), "transcript"),
    ("a call without its name", put(f"{CALL}.done", "name", ...), "name"),
    ("no usage", put(DONE, "response.usage", None), "usage in full"),
    ("usage without details", put(DONE, "response.usage.input_token_details.cached_tokens", ...), "cached_tokens"),
    ("no output", put(DONE, "response.output", None), "is a list"),
    ("no metadata", put(CREATED, "response.metadata", ...), "metadata"),
    ("a failure without its reason", put(DONE, "response.status_details.error", ..., -1), "error"),
    ("an error without the client's id", put("error", "error.event_id", ...), "event_id"),
    ("an error without a code", put("error", "error.code", None), ""),
    ("rate limits", put("rate_limits.updated", "rate_limits", [{"name": "requests"}]), "none"),
    ("a format of another rate", put("session.created", "session.audio.input.format", {"type": "audio/pcm"}), ""),
    ("no voice", put("session.created", "session.audio.output.voice", None), ""),
    ("an expiry that is no whole number", put("session.updated", "session.expires_at", 1.5), ""),
    ("null where the client set nothing", put("session.created", "session.audio.input.transcription.prompt", None), ""),
    ("an id of another kind", put(CREATED, "response.id", "r1"), ""),
    # The session.
    ("no greeting", without("session.created"), "comes first"),
    ("two greetings", again("session.created"), "created once"),
    ("another session", put("session.updated", "session.id", "sess_other"), "one session"),
    ("two events of one id", same_id, "id of its own"),
    # Responses.
    ("a response that is created twice", again(CREATED, "rate_limits.updated"), "id of its own"),
    ("two active responses", second_response, "one active response"),
    ("limits that come later", later("rate_limits.updated", OUT_ADDED), "come with the response"),
    ("a response that was not created", put(f"{WORDS}.delta", "response_id", "resp_other"), "not created"),
    ("something abandoned", of_an_abandoned_response, "not created"),
    ("no end of a response", without(DONE, -1), "gets its response.done"),
    ("two ends", again(DONE), "exactly one response.done"),
    ("something behind the end", again(f"{WORDS}.delta", DONE), "follows its done"),
    ("a sum that is wrong", put(DONE, "response.usage.total_tokens", 1), ""),
    ("an output that was not made", put(DONE, "response.output", []), "output lists"),
    ("an item that has changed", put(DONE, "response.output.1.arguments", '{"a": 1}'), "as they were done"),
    ("details of another status", put(DONE, "response.status_details.type", "cancelled", -1), ""),
    ("metadata that have changed", put(CREATED, "response.metadata", {"a": "b"}), "metadata stays"),
    # Items of a response.
    ("an item that is never done", without(OUT_DONE), "one item after the other"),
    ("one at the end", without(OUT_DONE, -1), "that was added is done"),
    ("an item that is done twice", again(OUT_DONE), "is over"),
    ("an item that is done early", later(PART_DONE, OUT_DONE), "every part"),
    ("a place that is wrong", put(OUT_ADDED, "output_index", 1), "output_index"),
    ("a place that changes", put(OUT_DONE, "output_index", 1), "output_index"),
    ("an item of another response", put(PART_ADDED, "item_id", "item_other"), "its own items"),
    ("a call that ends with other arguments", put(f"{CALL}.done", "arguments", "{}"), "add up"),
    ("an item with other arguments", put(OUT_DONE, "item.arguments", "{}", 1), "arguments that were done"),
    ("a call that nobody can make", put(f"{CALL}.delta", "delta", "[", 0), "add up"),
    ("arguments behind their end", again(f"{CALL}.delta", f"{CALL}.done"), "no delta after"),
    ("arguments that do not end", without(f"{CALL}.done"), "arguments that were done"),
    ("a call of another id", put(f"{CALL}.delta", "call_id", "call_other"), "one id"),
    # Parts.
    ("words before the part", later(PART_ADDED, f"{WORDS}.delta"), "between added and done"),
    ("a part that is opened twice", again(PART_ADDED), "content_index"),
    ("a part of another index", put(PART_ADDED, "content_index", 1), "content_index"),
    ("a part that is done twice", again(PART_DONE), "between added and done"),
    ("a part without the end of its sound", without(f"{SOUND}.done"), "all of it"),
    ("a part without the end of its words", without(f"{WORDS}.done"), "all of it"),
    ("a text that does not end", without(f"{TEXT}.done"), "all of it"),
    ("words that do not add up", put(f"{WORDS}.done", "transcript", "else"), "add up"),
    ("text that does not add up", put(f"{TEXT}.done", "text", "else"), "add up"),
    ("words that are lost", without(f"{WORDS}.delta"), "add up"),
    ("a part that says something else", put(PART_DONE, "part.transcript", "else"), ""),
    ("words behind their end", again(f"{WORDS}.delta", f"{WORDS}.done"), "no delta after"),
    ("sound behind its end", again(f"{SOUND}.delta", f"{SOUND}.done"), "no delta after"),
    ("sound that ends twice", again(f"{SOUND}.done"), "done once"),
    ("too much sound at once", long_sound, "small pieces"),
    ("no sound", put(f"{SOUND}.delta", "delta", ""), "no empty sound"),
    ("sound in a text", put(PART_ADDED, "part", {"type": "text", "text": ""}), "has no audio"),
    # Items of the conversation.
    ("an item that comes twice", again(ADDED), "id of its own"),
    ("an item that is not in the conversation", without(ADDED, 1), "before it has content"),
    ("an item that is done twice in the conversation", again(ITEM_DONE), "done once"),
    ("one that is never done", without(ITEM_DONE), "added is done"),
    ("a reply's that is done late", later(ITEM_DONE, OUT_DONE, 1), "in the conversation first"),
    ("a chain with a hole", put(ADDED, "previous_item_id", "item_other", 1), "one chain"),
    ("a chain that changes", put(ITEM_DONE, "previous_item_id", None, 1), "one chain"),
    ("a deletion of what is not there", put("conversation.item.deleted", "item_id", "item_other"), "was there"),
    ("a truncation of what is not there", put("conversation.item.truncated", "item_id", "item_other"), "is there"),
    ("a look at what is not there", put("conversation.item.retrieved", "item.id", "item_other"), "is there"),
    # The user's speech.
    ("a voice that starts twice", again(STARTED), "one utterance after the other"),
    ("a voice that only stops", without(STARTED), "one id"),
    ("a voice that stops as another", put(STOPPED, "item_id", "item_other"), "one id"),
    ("a voice that stops before it starts", put(STOPPED, "audio_end_ms", 0, -1), "after it has started"),
    ("padding behind the last commit", put(STARTED, "audio_start_ms", 0, 1), "behind the last commit"),
    ("a commit of something else", put(COMMITTED, "item_id", "item_other"), "one id"),
    ("a commit in another place", put(COMMITTED, "previous_item_id", None, 1), "chain's end"),
    ("a commit that comes late", later(COMMITTED, ADDED), "at once"),
    ("words of sound that there is not", put(f"{TRANSCRIPTION}.delta", "item_id", "item_other"), "was told of"),
    ("words behind the whole", again(f"{TRANSCRIPTION}.delta", f"{TRANSCRIPTION}.completed"), "no delta after"),
    ("the whole twice", again(f"{TRANSCRIPTION}.completed"), "told once"),
    ("the whole of nothing", put(f"{TRANSCRIPTION}.completed", "item_id", "item_other"), "committed"),
    ("a part of the whole", put(f"{TRANSCRIPTION}.completed", "transcript", "hello there and more"), "show all"),
]

BETA: list[tuple[str, Tamper, str]] = [
    ("a field outside the schema", put(STARTED, "colour", 1), "outside the schema"),
    ("a name of GA's", put("response.audio.done", "type", "response.output_audio.done"), "literal"),
    ("no previous item", put("conversation.item.created", "previous_item_id", ...), "previous_item_id"),
    ("no transcript", put("conversation.item.created", "item.content.0.transcript", ...), "transcript"),
    ("content of GA's", put(OUT_DONE, "item.content.0.type", "output_audio"), ""),
    ("no temperature", put("session.created", "session.temperature", ...), "temperature"),
    ("no voice", put("session.updated", "session.voice", None), ""),
    ("no instructions", put("session.updated", "session.instructions", ...), "instructions"),
    ("a null among the tokens", put(DONE, "response.usage.input_token_details.cached_tokens", None), ""),
    ("no reason", put(DONE, "response.status_details", {"type": "incomplete"}, 1), "reason"),
    ("words that do not add up", put("response.audio_transcript.done", "transcript", "else"), "add up"),
    ("text that does not add up", put("response.text.done", "text", "else"), "add up"),
    ("sound behind its end", again("response.audio.delta", "response.audio.done"), "no delta after"),
    ("no end of a response", without(DONE, -1), "gets its response.done"),
    ("a chain with a hole", put("conversation.item.created", "previous_item_id", "item_other", 1), "one chain"),
]


@cache
def recorded() -> tuple[Wire, Wire]:
    """A session in GA and in beta."""
    world = everything_that_is_ever_sent()
    for run in [run for run in world.runs.values() if not run.over and not run.cancelled]:
        world.step_run(run, "fail")
    return world.wire.events, world.other_wire.events


def push_to_talk() -> World:
    world = configured(MANUAL)
    world.append(4_800)
    world.show_partial(1, "hello")
    return world


def test_words_of_sound_that_the_client_was_not_told_of_are_found_out() -> None:
    world = push_to_talk()
    sent = world.client(type="input_audio_buffer.commit")
    wire = copy.deepcopy(world.wire.events)
    check(wire)
    assert wire[-1]["type"] == f"{TRANSCRIPTION}.delta"
    wire.insert(len(wire) - len(sent), wire.pop())
    with pytest.raises(AssertionError, match="that the client was told of"):
        check(wire)


def check(wire: Wire, max_sound: int | None = 14_400) -> None:
    checker = WireChecker(max_sound)
    for event in wire:
        checker.see(event)
    checker.end()


@pytest.mark.parametrize("beta", [False, True])
def test_a_wire_that_is_right_passes(beta: bool) -> None:
    check(recorded()[beta])


@pytest.mark.parametrize(
    ("beta", "tamper", "why"),
    [
        *(pytest.param(False, tamper, why, id=name) for name, tamper, why in GA),
        *(pytest.param(True, tamper, why, id=f"in beta, {name}") for name, tamper, why in BETA),
    ],
)
def test_a_wire_is_found_out_that_has(beta: bool, tamper: Tamper, why: str) -> None:
    wire = copy.deepcopy(recorded()[beta])
    tamper(wire)
    # pydantic's complaint about the form is a ValueError, a key that is not there at all a KeyError.
    with pytest.raises((AssertionError, ValueError, KeyError)) as found:
        check(wire)
    assert why in str(found.value)
