"""What goes wrong ends a turn, never the session, and leaves nothing behind."""

import asyncio
import contextlib
import os
import signal
from pathlib import Path

import aiohttp
import pytest

from tests.e2e.client import Client, connect, spoken, understood
from tests.e2e.conftest import Server
from tests.speech import word_errors
from tests.wire_checker import next_on


async def ask(client: Client, text: str, count: int) -> dict[str, object]:
    """Asks in writing; returns the response when it is done."""
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
    await client.send(type="conversation.item.create", item=item)
    await client.send(type="response.create")
    done = await client.wait_for("response.done", count)
    return done["response"]  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("llm raise", "llm_failed"),
        ("llm hang", "llm_timeout"),
        ("tts raise", "tts_failed"),
        ("tts hang", "tts_timeout"),
    ],
)
async def test_a_stage_that_fails_fails_the_response_and_the_next_turn_works(
    server: Server, words: str, code: str
) -> None:
    async with connect(server.port, model="slow") as client:
        response = await ask(client, words, 1)
        assert response["status"] == "failed"
        error = response["status_details"]["error"]
        assert (error["type"], error["code"]) == ("server_error", code)
        assert code.partition("_")[0] in error["message"]
        assert (await ask(client, "hi", 2))["status"] == "completed"


async def test_a_transcriber_that_dies_fails_the_response_and_the_next_turn_works(server: Server) -> None:
    async with connect(server.port, model="echo") as client:
        client.open_microphone()
        client.say(spoken("what is your name"))
        await client.wait_for("input_audio_buffer.speech_started")
        await asyncio.sleep(0.3)
        for pid in decoder_processes(server.pid):
            os.kill(pid, signal.SIGKILL)
        done = await client.wait_for("response.done")
        assert done["response"]["status"] == "failed"
        assert done["response"]["status_details"]["error"]["code"] == "transcription_failed"
        assert "conversation.item.input_audio_transcription.failed" in client.kinds
        client.say(spoken("who made you"))
        done = await client.wait_for("response.done", 2)
        assert done["response"]["status"] == "completed"
        assert understood("who made you", client.transcripts()[-1])


def children(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a thread that has ended meanwhile
            found += map(int, (task / "children").read_text().split())
    return found


def decoder_processes(pid: int) -> list[int]:
    """The grandchildren of the server: what its PocketSphinx hosts have forked."""
    return [grandchild for host in children(pid) for grandchild in children(host)]


def footprint(pid: int) -> tuple[int, int, int]:
    """Threads, open files, and processes below the hosts."""
    threads = len(list(Path(f"/proc/{pid}/task").iterdir()))
    files = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    return threads, files, len(decoder_processes(pid))


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads /proc")
async def test_a_client_that_is_killed_in_the_middle_leaves_nothing_behind(server: Server) -> None:
    async def die_in_the_middle() -> None:
        async with connect(server.port, model="slow") as client:
            client.open_microphone()
            client.say(spoken("who made you"))
            await client.wait_for("response.output_audio.delta", 2)
            client.say(spoken("how are you today"))
            await asyncio.sleep(0.3)
            transport = client.connection._connection.transport
            transport.abort()

    await asyncio.gather(*(die_in_the_middle() for _ in range(2)))
    await asyncio.sleep(1.0)
    before = footprint(server.pid)
    await asyncio.gather(*(die_in_the_middle() for _ in range(4)))
    for _ in range(100):
        if all(now <= then for now, then in zip(footprint(server.pid), before, strict=True)):
            break
        await asyncio.sleep(0.1)
    else:
        raise AssertionError(f"threads, files, processes: {footprint(server.pid)}, before: {before}")
    async with connect(server.port) as client:
        client.open_microphone()
        client.say(spoken("who made you"))
        assert (await client.wait_for("response.done"))["response"]["status"] == "completed"


async def test_eight_sessions_at_the_same_time_each_get_their_own_answer(server: Server) -> None:
    questions = ["how are you today", "what is your name", "who made you", "count to ten"]

    async def one(question: str) -> None:
        async with connect(server.port, model="echo") as client:
            client.open_microphone()
            client.say(spoken(question))
            await client.wait_for("response.done", timeout=30)
            (heard,) = client.transcripts()
            assert min(questions, key=lambda each: word_errors(each, heard)) == question
            assert client.answers() == [f"You said {heard}.  "]

    await asyncio.gather(*(one(question) for question in questions * 2))


BAD_FRAMES = [
    ("{", "invalid_json"),
    ("[1, 2]", "invalid_event"),
    ("17" * 400, "invalid_event"),
    ('{"type": 5, "event_id": "e"}', "invalid_value"),
    ('{"event_id": "e"}', "missing_required_parameter"),
    ('{"type": "nonsense", "event_id": "e"}', "invalid_value"),
    ('{"type": "session.update", "event_id": "e"}', "missing_required_parameter"),
    ('{"type": "session.update", "event_id": "e", "session": {"type": "realtime", "colour": 1}}', "unknown_parameter"),
    ('{"type": "input_audio_buffer.append", "event_id": "e", "audio": "%%%"}', "invalid_value"),
    ('{"type": "input_audio_buffer.append", "event_id": "e", "audio": "AAAA"}', "invalid_value"),
    ('{"type": "input_audio_buffer.append", "event_id": "e", "audio": 7}', "invalid_type"),
    ('{"type": "input_audio_buffer.commit", "event_id": "e"}', "input_audio_buffer_commit_empty"),
    ('{"type": "conversation.item.delete", "event_id": "e", "item_id": "x"}', "item_not_found"),
    ('{"type": "response.cancel", "event_id": "e"}', "response_cancel_not_active"),
]


async def test_bad_events_are_answered_with_an_error_and_the_session_goes_on(server: Server) -> None:
    async with connect(server.port, model="echo") as client:
        for count, (frame, code) in enumerate(BAD_FRAMES, start=1):
            await client.connection.send_raw(frame)
            error = (await client.wait_for("error", count))["error"]
            assert error["type"] == "invalid_request_error"
            assert error["code"] == code, frame
            assert error["event_id"] == ("e" if '"e"' in frame else None), frame
        await client.connection.send_raw(b"\x00\x01")
        await client.wait_for("error", len(BAD_FRAMES) + 1)
        assert (await ask(client, "hi", 1))["status"] == "completed"


async def test_a_client_that_cannot_be_served_is_told_why(server: Server) -> None:
    base = f"http://127.0.0.1:{server.port}/v1/realtime"
    async with aiohttp.ClientSession() as http:
        async with http.get(base) as answer:
            assert answer.status == 426
        for url, headers, status in [
            (f"{base}?model=nothing", {}, 404),
            (f"{base}?intent=singing", {}, 400),
            (base, {"Origin": "https://elsewhere.example"}, 403),
        ]:
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await http.ws_connect(url, headers=headers)
            assert refused.value.status == status
        async with http.ws_connect(f"{base}?model=gpt-realtime", protocols=("realtime",)) as websocket:
            assert websocket.protocol == "realtime"
            assert next_on(websocket, await websocket.receive_json())["type"] == "session.created"
