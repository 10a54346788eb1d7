"""Calls: the server plays the replies itself, knows what was heard of them, and tells when."""

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from server.realtime.call import Call
from server.realtime.inbox import SoundArrived
from server.realtime.session_config import Profile
from tests.machine.call_world import FRAME_MS, CallWorld
from tests.machine.scenes import kinds, running, say, write
from tests.machine.test_invariants import Sessions
from tests.machine.world import READING, SEMANTIC, SimulatedRun

CLAUSE_MS = 100
"""Length of a run's first clause; the second has twice as much, and so on."""


def asked(world: CallWorld, **response: object) -> SimulatedRun:
    """A reply is asked for in writing, and is under way."""
    write(world, "hello")
    world.client(type="response.create", response=response)
    return running(world)


def test_sound_is_played_in_real_time_and_told_of_when_it_begins_and_when_it_is_over() -> None:
    world = CallWorld()
    run = asked(world)
    made = world.step_run(run, "clause") + world.step_run(run, "finish")
    assert "response.output_audio.delta" not in kinds(made)
    assert kinds(made)[-1] == "response.done"
    assert kinds(world.wait(0)) == ["output_audio_buffer.started"]
    assert kinds(world.wait(CLAUSE_MS - 1)) == []
    assert kinds(world.wait(1)) == ["output_audio_buffer.stopped"]
    assert len([frame for frame in world.frames if frame]) == CLAUSE_MS // FRAME_MS


def test_a_reply_that_is_made_too_slowly_pauses_and_has_not_stopped() -> None:
    world = CallWorld()
    run = asked(world)
    world.step_run(run, "clause")
    assert kinds(world.wait(1000)) == ["output_audio_buffer.started"]
    world.step_run(run, "clause")
    assert kinds(world.wait(1000)) == []
    assert kinds(world.step_run(run, "finish"))[-2:] == ["response.done", "output_audio_buffer.stopped"]


def test_whoever_speaks_hears_no_more_and_the_history_has_what_was_played() -> None:
    world = CallWorld()
    run = asked(world)
    for _ in range(5):
        world.step_run(run, "clause")
    world.step_run(run, "finish")
    world.wait(200)
    item_id = world.wire.of_type("response.output_item.done")[0]["item"]["id"]
    before = len(world.wire.events)
    world.speak(1, voiced=True)
    sent = world.wire.events[before:]
    assert kinds(sent) == [
        "input_audio_buffer.speech_started",
        "output_audio_buffer.cleared",
        "conversation.item.truncated",
    ]
    assert 0 <= world.played_ms(item_id) - sent[-1]["audio_end_ms"] <= FRAME_MS
    silent_from = len(world.frames)
    world.wait(2000)
    assert set(world.frames[silent_from:]) == {None}
    world.client(type="conversation.item.retrieve", item_id=item_id)
    kept = world.wire.of_type("conversation.item.retrieved")[0]["item"]["content"][0]["transcript"]
    assert "c1" in kept
    assert "c3" not in kept


def test_a_reply_under_way_is_cancelled_and_cut_where_it_was_played() -> None:
    world = CallWorld()
    run = asked(world)
    for _ in range(5):
        world.step_run(run, "clause")
    world.wait(100)
    before = len(world.wire.events)
    world.speak(1, voiced=True)
    assert kinds(world.wire.events[before:])[-3:] == [
        "response.done",
        "output_audio_buffer.cleared",
        "conversation.item.truncated",
    ]
    assert world.wire.events[-1]["audio_end_ms"] <= 100 + 32 + FRAME_MS
    assert run.cancelled


def test_a_reply_of_which_nothing_was_played_was_not_heard() -> None:
    world = CallWorld()
    run = asked(world)
    world.wait(10)
    world.step_run(run, "clause")
    told = world.client(type="output_audio_buffer.clear")
    assert kinds(told) == ["conversation.item.truncated"]
    assert told[0]["audio_end_ms"] == 0


def test_a_reply_that_may_not_be_interrupted_is_played_to_its_end() -> None:
    world = CallWorld()
    detection = {"type": "server_vad", "interrupt_response": False}
    world.client(type="session.update", session={"type": "realtime", "audio": {"input": {"turn_detection": detection}}})
    run = asked(world)
    for _ in range(5):
        world.step_run(run, "clause")
    world.step_run(run, "finish")
    world.wait(100)
    world.speak(10, voiced=True)
    world.wait(2000)
    assert kinds(world.wire.of_type("conversation.item.truncated")) == []
    assert kinds(world.wire.of_type("output_audio_buffer.stopped")) == ["output_audio_buffer.stopped"]


def test_cancelling_ends_the_making_and_what_is_there_is_played() -> None:
    world = CallWorld()
    run = asked(world)
    for _ in range(3):
        world.step_run(run, "clause")
    world.wait(50)
    world.client(type="response.cancel")
    assert not world.wire.of_type("output_audio_buffer.cleared")
    assert kinds(world.wait(1000)) == ["output_audio_buffer.stopped"]
    item_id = world.wire.of_type("response.output_item.done")[0]["item"]["id"]
    assert world.played_ms(item_id) == 600


def test_clearing_cuts_what_is_played_at_once() -> None:
    world = CallWorld()
    run = asked(world)
    for _ in range(3):
        world.step_run(run, "clause")
    world.step_run(run, "finish")
    world.wait(100)
    sent = world.client(type="output_audio_buffer.clear")
    assert kinds(sent) == ["output_audio_buffer.cleared", "conversation.item.truncated"]
    assert kinds(world.wait(1000)) == []


def test_clearing_a_reply_under_way_leaves_its_words_and_plays_no_more_of_it() -> None:
    world = CallWorld()
    run = asked(world)
    world.step_run(run, "clause")
    world.wait(60)
    world.client(type="output_audio_buffer.clear")
    silent_from = len(world.frames)
    world.step_run(run, "clause")
    world.step_run(run, "call")
    world.step_run(run, "finish")
    world.wait(1000)
    assert set(world.frames[silent_from:]) == {None}
    assert world.wire.of_type("response.done")[0]["response"]["status"] == "completed"
    assert len(world.wire.of_type("output_audio_buffer.started")) == 1


def test_whoever_speaks_over_an_item_that_is_deleted_hears_no_more_of_it_either() -> None:
    world = CallWorld()
    run = asked(world)
    for _ in range(5):
        world.step_run(run, "clause")
    world.step_run(run, "finish")
    world.wait(100)
    item_id = world.wire.of_type("response.output_item.done")[0]["item"]["id"]
    world.client(type="conversation.item.delete", item_id=item_id)
    world.speak(1, voiced=True)
    assert len(world.wire.of_type("output_audio_buffer.cleared")) == 1
    assert not world.wire.of_type("conversation.item.truncated"), "it is not there any more"


def test_clearing_where_nothing_is_played_is_no_mistake() -> None:
    assert CallWorld().client(type="output_audio_buffer.clear") == []


def test_replies_beside_the_conversation_are_played_one_after_the_other_and_nobody_interrupts_them() -> None:
    world = CallWorld()
    run = asked(world)
    world.step_run(run, "clause")
    world.client(type="response.create", response={"conversation": "none"})
    (beside,) = [each for each in world.runs.values() if each is not run]
    world.step_run(beside, "clause")
    world.step_run(beside, "finish")
    world.step_run(run, "clause")
    world.step_run(run, "finish")
    world.wait(50)
    world.speak(3, voiced=True)
    world.wait(1000)
    first, second = [event["response_id"] for event in world.wire.of_type("output_audio_buffer.started")]
    assert world.wire.of_type("output_audio_buffer.cleared")[0]["response_id"] == first
    assert world.wire.of_type("output_audio_buffer.stopped")[0]["response_id"] == second


def test_the_idle_timeout_begins_when_the_reply_has_been_played() -> None:
    world = CallWorld()
    detection = {"type": "server_vad", "idle_timeout_ms": 5000}
    world.client(type="session.update", session={"type": "realtime", "audio": {"input": {"turn_detection": detection}}})
    run = asked(world)
    for _ in range(8):
        world.step_run(run, "clause")  # 3.6 s
    world.step_run(run, "finish")
    world.speak(10, voiced=False)
    timer = world.timer
    world.speak(3280 * 24 // 768, voiced=False)
    assert world.timer == timer, "it is set once"
    stopped_after = world.now
    assert kinds(world.wire.of_type("input_audio_buffer.timeout_triggered")) == []
    world.speak(4800 * 24 // 768, voiced=False)
    assert kinds(world.wire.of_type("input_audio_buffer.timeout_triggered")) == []
    world.speak(700 * 24 // 768, voiced=False)
    assert len(world.wire.of_type("input_audio_buffer.timeout_triggered")) == 1
    assert stopped_after >= 3500


def test_a_spoken_turn_of_a_call_goes_as_any_other() -> None:
    world = CallWorld()
    sent = say(world, "what time is it")
    assert kinds(sent)[0] == "input_audio_buffer.speech_started"
    run = running(world)
    world.step_run(run, "clause")
    world.step_run(run, "finish")
    assert kinds(world.wait(1000)) == ["output_audio_buffer.started", "output_audio_buffer.stopped"]


def test_the_sound_of_a_call_does_not_come_in_events_but_where_it_brings_none() -> None:
    append = {"type": "input_audio_buffer.append", "audio": "AAAA"}
    (refused,) = CallWorld().client(event_id="e", **append)
    assert refused["error"]["event_id"] == "e"
    assert "recvonly" in refused["error"]["message"]
    assert CallWorld(call=Call(hears=False)).client(type="input_audio_buffer.append", audio="AAAAAAAA") == []


@pytest.mark.parametrize("where", ["input", "output"])
def test_a_call_has_the_format_of_its_track(where: str) -> None:
    session = {"type": "realtime", "audio": {where: {"format": {"type": "audio/pcmu"}}}}
    world = CallWorld()
    (refused,) = world.client(type="session.update", session=session)
    assert refused["error"]["param"] == f"session.audio.{where}.format"
    session = {"type": "realtime", "audio": {where: {"format": {"type": "audio/pcm", "rate": 24_000}}}}
    assert kinds(world.client(type="session.update", session=session)) == ["session.updated"]
    response = {"audio": {"output": {"format": {"type": "audio/pcma"}}}}
    (refused,) = world.client(type="response.create", response=response)
    assert refused["error"]["param"] == "response.audio.output.format"


def test_a_full_buffer_is_told_of_once() -> None:
    world = CallWorld()
    world.client(type="session.update", session={"type": "realtime", "audio": {"input": {"turn_detection": None}}})
    world.append(600 * 24_000)
    packet = SoundArrived(bytes(960))
    assert [kinds(world.handle(packet)) for _ in range(3)] == [["error"], [], []]
    world.client(type="input_audio_buffer.clear")
    assert world.handle(SoundArrived(bytes(0))) == []
    world.append(600 * 24_000)
    assert kinds(world.handle(packet)) == ["error"]


class Calls(Sessions):
    """The invariants hold in calls, too; and what is played is what is told of."""

    @initialize(profile=st.sampled_from([SEMANTIC, READING]))
    def pipeline_is_chosen(self, profile: Profile) -> None:
        self.world = CallWorld(profile)

    @rule()
    def client_clears_the_output(self) -> None:
        self.world.client(type="output_audio_buffer.clear")

    @rule(ms=st.integers(0, 400))
    def a_moment_passes(self, ms: int) -> None:
        self.world.wait(ms)

    @rule()
    def all_is_played(self) -> None:
        assert isinstance(self.world, CallWorld)
        self.world.play_out()


Calls.TestCase.settings = settings(
    max_examples=100, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestCalls = Calls.TestCase
