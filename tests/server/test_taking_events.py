"""An event is worked on where it arrives, if nothing stands before it: in order, one at a time, and never for long."""

import asyncio
from typing import Any

import pytest

from server.outbound import HIGH_WATER, SlowClient
from server.realtime.inbox import Event, VoiceFailed
from server.session import FRAMES_AT_ONCE
from server.wire import ga
from tests.fakes import fake_line
from tests.server.test_session import Client, connect, silence, voice
from tests.threads import end_of_threads, until


async def test_a_frame_of_sound_takes_no_turn_in_the_inbox(monkeypatch: pytest.MonkeyPatch) -> None:
    async with connect(fake_line()) as client:
        queued: list[Event] = []
        monkeypatch.setattr(client.session._inbox, "put_now", queued.append)
        client.say(silence(500))
        await until(lambda: client.session._voice._judged >= 24 * 480)
        monkeypatch.undo()
    assert not queued, "neither the frames nor the verdicts"


async def test_what_comes_while_an_event_is_worked_on_waits_until_that_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    async with connect(fake_line()) as client:
        session = client.session
        depth, deepest = 0, 0
        carry_out = session._carry_out

        def watched(commands: Any) -> None:
            nonlocal depth, deepest
            depth += 1
            deepest = max(deepest, depth)
            carry_out(commands)
            depth -= 1

        def fails_at_once(audio: bytes, position: int) -> None:
            session._heard(VoiceFailed(session._machine.listening.epoch, "no ears"))

        monkeypatch.setattr(session, "_carry_out", watched)
        monkeypatch.setattr(session._voice, "hear", fails_at_once)
        client.say(silence(20))
        assert (await client.wait_for("error"))["error"]["code"] == "vad_failed"
        assert deepest == 1


async def test_a_flood_of_frames_gives_the_loop_to_others_in_between(monkeypatch: pytest.MonkeyPatch) -> None:
    async with connect(fake_line()) as client:
        frames = 0
        most = 0

        def counting(frame: str | bytes) -> Any:
            nonlocal frames
            frames += 1
            return decode(frame)

        decode = ga.decode
        monkeypatch.setattr(ga, "decode", counting)
        client.say(silence(20 * 200))
        seen = 0
        while frames < 200:
            await asyncio.sleep(0)
            most, seen = max(most, frames - seen), frames
        assert most <= FRAMES_AT_ONCE


async def test_a_client_that_does_not_read_is_given_up_by_a_verdict_too() -> None:
    client = Client(fake_line())
    await client.wait_for("session.created")
    client.session.outbound._waiting = HIGH_WATER + 1
    client.session.outbound._calm.set()
    client.say(voice(100))  # speech_started is one event too many
    await client.over()
    with pytest.raises(SlowClient):
        client.running.result()
    client.reader.cancel()
    client.hub.close()
    await end_of_threads()
