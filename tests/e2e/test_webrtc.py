"""Calls: a question over one track, the answer over the other, and the events over the data channel."""

import asyncio
import re
import socket
from pathlib import Path

import aiohttp
import pytest
from openai import AsyncOpenAI, NotFoundError

from tests.e2e.call import Caller, calling, url
from tests.e2e.client import spoken, understood
from tests.e2e.conftest import Server, python_path, serving
from tests.e2e.ears import hear
from tests.e2e.test_faults import footprint

ECHO = """
default: echo
models:
  echo:
    vad: {engine: silero}
    transcription: {engine: openai, base_url: "http://127.0.0.1:9/v1", model: none}
    llm: {engine: echo}
    tts: {engine: beeper}
"""

QUESTION = "what is your name"


async def test_a_spoken_question_is_answered_in_sound_that_says_so(server: Server) -> None:
    async with calling(server.port) as call:
        call.microphone.say(spoken(QUESTION))
        await call.wait_for("output_audio_buffer.stopped")
        (transcript,) = call.wire.of_type("conversation.item.input_audio_transcription.completed")
        assert understood(QUESTION, transcript["transcript"])
        (answer,) = call.wire.of_type("response.output_audio_transcript.done")
        started = call.time_of(call.wire.of_type("output_audio_buffer.started")[0])
        heard = hear(call.heard(started))
        assert set(heard.split()) & set(answer["transcript"].lower().replace(".", "").split()), heard
        assert "response.output_audio.delta" not in call.kinds
        assert "response.output_audio.done" in call.kinds
        assert call.kinds.index("response.content_part.added") < call.kinds.index("output_audio_buffer.started")
        assert call.kinds.index("response.done") < call.kinds.index("output_audio_buffer.stopped")


async def test_speaking_over_a_reply_stops_the_sound_and_the_history_has_what_was_played(server: Server) -> None:
    async with calling(server.port, model="echo") as call:
        call.ask("repeat 30")
        started = await call.wait_for("output_audio_buffer.started")
        await call.wait_for("response.done")
        call.microphone.say(spoken(QUESTION))
        speech = await call.wait_for("input_audio_buffer.speech_started")
        cleared = await call.wait_for("output_audio_buffer.cleared")
        assert cleared["response_id"] == started["response_id"]
        truncated = await call.wait_for("conversation.item.truncated")
        played_s = call.time_of(speech) - call.time_of(started)
        assert abs(truncated["audio_end_ms"] / 1000 - played_s) < 0.5, "by what was played, not by what was made"
        call.send(type="conversation.item.retrieve", item_id=truncated["item_id"])
        retrieved = await call.wait_for("conversation.item.retrieved")
        (whole,) = call.wire.of_type("response.output_audio_transcript.done")
        kept = retrieved["item"]["content"][0]["transcript"]
        assert whole["transcript"].startswith(kept)
        assert len(kept) < len(whole["transcript"]) / 2
        await call.wait_for("response.created", 2)
        quiet_from = call.time_of(cleared) + 0.3  # what is on its way, and in the client's own buffer
        second = call.time_of(await call.wait_for("output_audio_buffer.started", 2))
        assert not [at for at in call.loud(quiet_from) if at < second]
        print("voice to silence", max(at for at in call.loud(0) if at < second) - call.time_of(speech))


async def test_a_text_turn_and_its_sound(server: Server) -> None:
    async with calling(server.port, microphone=False) as call:
        call.ask(QUESTION)
        done = await call.wait_for("response.done")
        assert done["response"]["status"] == "completed"
        await call.wait_for("output_audio_buffer.stopped")
        assert call.loud(0.0)


async def test_the_openai_package_begins_and_ends_a_call(server: Server) -> None:
    api = AsyncOpenAI(api_key="local", base_url=f"http://127.0.0.1:{server.port}/v1")
    caller = Caller()
    answer = await api.realtime.calls.create(
        sdp=await caller.offer(),
        session={"type": "realtime", "model": "echo", "instructions": "Be kind.", "output_modalities": ["text"]},
    )
    await caller.connect(answer.text)
    (created,) = caller.wire.of_type("session.created")
    assert created["session"]["instructions"] == "Be kind."
    caller.ask("hello")
    done = await caller.wait_for("response.done")
    assert done["response"]["output"][0]["content"][0]["text"] == "You said hello.  "
    call_id = answer.response.headers["Location"].rpartition("/")[2]
    await api.realtime.calls.hangup(call_id)
    await asyncio.wait_for(caller.closed.wait(), 10)
    with pytest.raises(NotFoundError):
        await api.realtime.calls.hangup(call_id)
    await caller.close()
    await api.close()


async def test_large_events_come_whole_or_are_told_of_and_the_session_goes_on(server: Server) -> None:
    async with calling(server.port, model="echo", microphone=False) as call:
        most = 262_144  # what both ends say that they take
        call.send(type="session.update", session={"type": "realtime", "output_modalities": ["text"]})
        words = "w" * (most - 400)
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": words}]}
        call.send(type="conversation.item.create", item=item)
        added = await call.wait_for("conversation.item.added")
        assert added["item"]["content"][0]["text"] == words
        call.send(type="conversation.item.delete", item_id=added["item"]["id"])
        call.ask("repeat 3 " + "w" * (most // 2))
        error = (await call.wait_for("error"))["error"]
        assert (error["type"], error["code"]) == ("server_error", "event_too_large")
        assert "WebSocket" in error["message"]
        call.send(type="session.update", session={"type": "realtime", "instructions": "Be kind."})
        await call.wait_for("session.updated", 2)


async def test_bad_events_are_answered_with_an_error_and_the_call_goes_on(server: Server) -> None:
    async with calling(server.port, model="echo") as call:
        call.channel.send("{")
        assert (await call.wait_for("error"))["error"]["code"] == "invalid_json"
        call.channel.send(b"\x00\x01")
        assert (await call.wait_for("error", 2))["error"]["code"] == "invalid_event"
        call.send(type="input_audio_buffer.append", audio="AAAA", event_id="e")
        assert (await call.wait_for("error", 3))["error"]["event_id"] == "e"
        call.ask("hello")
        await call.wait_for("output_audio_buffer.stopped")


async def test_a_client_of_the_older_dialect_calls_where_calls_were_then(server: Server) -> None:
    caller = Caller()
    async with aiohttp.ClientSession() as http:
        headers = {"Content-Type": "application/sdp"}
        offer = await caller.offer()
        async with http.post(url(server.port, "/v1/realtime?model=echo"), data=offer, headers=headers) as response:
            await caller.connect(await response.text())
    caller.ask("hello")
    await caller.wait_for("output_audio_buffer.stopped")
    assert "response.audio_transcript.done" in caller.kinds
    assert "modalities" in caller.wire.events[0]["session"]
    await caller.close()


async def test_a_call_that_only_hears_is_a_transcription_session(server: Server) -> None:
    caller = Caller(direction="sendonly")
    async with aiohttp.ClientSession() as http:
        offer = {"sdp": await caller.offer(), "session": {"type": "transcription"}}
        async with http.post(url(server.port), json=offer) as response:
            await caller.connect(await response.text())
    caller.microphone.say(spoken(QUESTION))
    completed = await caller.wait_for("conversation.item.input_audio_transcription.completed")
    assert understood(QUESTION, completed["transcript"])
    await caller.close()


def test_a_udp_port_that_is_taken_ends_the_start(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = str(taken.getsockname()[1])
        config = tmp_path / "models.yaml"
        config.write_text(ECHO)
        with (
            pytest.raises(AssertionError, match="--webrtc-port"),
            serving(config, [], tmp_path, "--webrtc-port", port, PYTHONPATH=python_path()),
        ):
            pass


async def test_the_answer_has_the_port_and_the_addresses_that_the_operator_names(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    config = tmp_path / "models.yaml"
    config.write_text(ECHO)
    options = ("--webrtc-port", port, "--webrtc-address", "203.0.113.9")
    with serving(config, [], tmp_path, *options, PYTHONPATH=python_path()) as server:
        async with calling(server.port, model="echo", microphone=False) as call:
            candidates = re.findall(r"a=candidate:\S+ 1 udp (\d+) (\S+) (\d+)", call.peer.remoteDescription.sdp)
            assert max(candidates, key=lambda each: int(each[0]))[1] == "203.0.113.9"
            assert {each[2] for each in candidates} == {port}
            call.ask("hello")
            await call.wait_for("output_audio_buffer.stopped")


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads /proc")
async def test_a_call_that_has_spoken_leaves_nothing_behind(server: Server) -> None:
    async def one() -> None:
        async with calling(server.port, model="slow") as call:
            call.ask("hello")
            await call.wait_for("output_audio_buffer.started")

    await one()
    before = footprint(server.pid)
    await asyncio.gather(*(one() for _ in range(4)))
    for _ in range(100):
        if all(now <= then for now, then in zip(footprint(server.pid), before, strict=True)):
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"threads, files, processes: {footprint(server.pid)}, before: {before}")


async def test_ten_calls_at_once_each_get_their_own_answer(server: Server) -> None:
    async def one(index: int) -> None:
        async with calling(server.port, model="echo") as call:
            call.ask(f"number {index}")
            await call.wait_for("output_audio_buffer.stopped", timeout=40)
            (said,) = call.wire.of_type("response.output_audio_transcript.done")
            assert f"number {index}" in said["transcript"]
            assert call.loud(0.0)

    await asyncio.gather(*(one(index) for index in range(10)))
