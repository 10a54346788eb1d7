"""What is bounded, and that a log replays to the same bytes."""

import itertools

import msgspec

from pipeline.types import RunId, TurnClause
from server.realtime import commands as do
from server.realtime.inbox import VoiceFailed
from server.realtime.machine import Machine
from server.wire import ga
from tests.machine.scenes import MANUAL, answered, running, say, told
from tests.machine.world import FRAME, PROFILE, World

# --- bounds ----------------------------------------------------------------------------------------------------------


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


# --- replay ----------------------------------------------------------------------------------------------------------


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
        str(ga.encode(command.event)).encode() if isinstance(command, do.Send) else repr(command).encode()
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
